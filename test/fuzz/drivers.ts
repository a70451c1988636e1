/** The ways by which bytes come to a parser: at once, read, awaited, in chunks. */

import { BlobSource } from "../../src/sources/blob.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { responseSource } from "../../src/sources/response.js";
import { checkSourceRange, type Source } from "../../src/sources/source.js";
import { type ChunkSupply, StreamSource } from "../../src/sources/stream.js";
import { runAsync, runSync } from "../../src/task/run.js";
import type { Task } from "../../src/task/task.js";
import { type FuzzInput, numbersOf } from "./input.js";
import { chunkLengths } from "./mutate.js";
import { Finding, type Observed, observe, observeAsync, same, show } from "./outcome.js";
import type { Random } from "./random.js";

/**
 * "peek": bytes in host memory. "sync", "async": a foreign source without them. "stream": chunks of declared length.
 * "open": chunks without. "blob", "response": the platform's own.
 */
export type Driver = "peek" | "sync" | "async" | "stream" | "open" | "blob" | "response";

/** What a message calls the bytes, whatever they come from. */
const NAME = "input";

/** Makes the source of a driver: replaced by tests that plant mistakes. */
export type OpenDriver = (driver: Driver, bytes: Uint8Array, chunks: readonly number[]) => Source;

/** Gives `bytes` in chunks of these lengths, over and over. */
export function supplyOf(bytes: Uint8Array, chunks: readonly number[]): ChunkSupply {
  let at = 0;
  let count = 0;
  return {
    pull: async () => {
      if (at >= bytes.byteLength) return undefined;
      const length = chunks[count++ % chunks.length] ?? 1;
      const chunk = bytes.slice(at, at + length);
      at += chunk.byteLength;
      return chunk;
    },
    cancel: () => {},
  };
}

/** The same as the platform's stream. */
export function webStreamOf(bytes: Uint8Array, chunks: readonly number[]): ReadableStream<Uint8Array> {
  const supply = supplyOf(bytes, chunks);
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const chunk = await supply.pull();
        if (chunk instanceof Uint8Array) controller.enqueue(chunk);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

export const openDriver: OpenDriver = (driver, bytes, chunks) => {
  const { byteLength } = bytes;
  const foreign: Source = {
    name: NAME,
    byteLength,
    read: async (target, offset) => {
      checkSourceRange(foreign, offset, target.byteLength);
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
  };
  switch (driver) {
    case "peek":
      return new BytesSource(bytes, NAME);
    case "sync":
      return {
        ...foreign,
        readSync: (target, offset) => {
          checkSourceRange(foreign, offset, target.byteLength);
          target.set(bytes.subarray(offset, offset + target.byteLength));
        },
      };
    case "async":
      return foreign;
    case "stream":
      return new StreamSource(supplyOf(bytes, chunks), { name: NAME, byteLength });
    case "open":
      return new StreamSource(supplyOf(bytes, chunks), { name: NAME });
    case "blob":
      return new BlobSource(new Blob([Uint8Array.from(bytes)]), NAME);
    case "response":
      return responseSource(new Response(webStreamOf(bytes, chunks)), { name: NAME, byteLength });
  }
};

/** Which drivers an execution compares, for its input: the quick ones always, others now and then. */
export function pickDrivers(
  random: Random,
  byteLength: number,
): { drivers: Driver[]; chunks: readonly number[] } {
  const drivers: Driver[] = ["sync"];
  if (random.oneIn(2)) drivers.push("async");
  if (random.oneIn(3)) drivers.push("stream");
  if (random.oneIn(3)) drivers.push("open");
  if (random.oneIn(24)) drivers.push("blob");
  if (random.oneIn(48)) drivers.push("response");
  return { drivers, chunks: chunkLengths(random, byteLength) };
}

/** The drivers that an input names. */
export function driversOf(input: FuzzInput): { drivers: readonly Driver[]; chunks: readonly number[] } {
  const { drivers } = input;
  if (!Array.isArray(drivers)) throw new TypeError("the input names no drivers");
  return { drivers: drivers.map(String) as Driver[], chunks: numbersOf(input, "chunks") };
}

/** What a stream of unknown length may come to where the same bytes of known length came to `known`. */
export type MayDiffer = (known: Observed, open: Observed) => boolean;

const never: MayDiffer = () => false;

/**
 * Runs a parser by all drivers, and throws a Finding if one of them disagrees. A stream of unknown length passes checks
 * against the length: where the parser refuses the file, the stream may fail by another code, and only there.
 */
export function runDrivers<T>(
  open: OpenDriver,
  bytes: Uint8Array,
  { drivers, chunks }: { drivers: readonly Driver[]; chunks: readonly number[] },
  reading: (source: Source) => Task<T>,
  mayDiffer: MayDiffer = never,
): Observed | Promise<Observed> {
  const first = observe(() => runSync(reading(open("peek", bytes, chunks))));
  const slow: Driver[] = [];
  for (const driver of drivers) {
    if (driver !== "sync") slow.push(driver);
    else
      same(
        first,
        observe(() => runSync(reading(open(driver, bytes, chunks)))),
        "peek and sync",
      );
  }
  return slow.length === 0 ? first : runSlow(first, slow);

  async function runSlow(known: Observed, rest: readonly Driver[]): Promise<Observed> {
    for (const driver of rest) {
      const other = await observeAsync(async () => runAsync(reading(open(driver, bytes, chunks))));
      if (driver !== "open") {
        same(known, other, `peek and ${driver}`);
        continue;
      }
      const isSame = known.code === other.code && (known.code !== "ok" || known.detail === other.detail);
      const areErrors = known.code !== "ok" && other.code !== "ok";
      if (isSame || areErrors || mayDiffer(known, other)) continue;
      throw new Finding(`peek and ${driver} disagree: ${show(known)} and ${show(other)}`);
    }
    return known;
  }
}
