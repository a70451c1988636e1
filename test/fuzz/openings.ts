/** The ways by which bytes come: at once, read, awaited, in chunks. */
import fc from "fast-check";
import { BlobSource } from "../../src/sources/blob.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { responseSource } from "../../src/sources/response.js";
import { checkSourceRange, type Source, type SyncSource } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { runAsync, runSync } from "../../src/task/run.js";
import type { Task } from "../../src/task/task.js";
import { Finding } from "./fuzzer.js";
import { type Observed, observe, observeAsync, same, show } from "./outcome.js";

/**
 * "peek": bytes in host memory. "sync", "async": a source of somebody else. "stream": chunks of declared length, "open":
 * of unknown length. "blob", "response": the platform's own.
 */
export const OPENINGS = ["peek", "sync", "async", "stream", "open", "blob", "response"] as const;
export type Opening = (typeof OPENINGS)[number];

/** How an execution opens its bytes; chunks have at most `chunk` bytes. */
export interface Way {
  readonly opening: Opening;
  readonly chunk: number;
}

export const way: fc.Arbitrary<Way> = fc.record(
  { opening: fc.constantFrom(...OPENINGS), chunk: fc.constantFrom(1, 7, 100, 4096, 65_536) },
  { noNullPrototype: true },
);

function streamOf(bytes: Uint8Array, chunk: number): ReadableStream<Uint8Array> {
  // Some 400 chunks at most: a stream of single bytes takes long.
  const step = Math.max(chunk, Math.ceil(bytes.byteLength / 400));
  let at = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (at >= bytes.byteLength) return controller.close();
        controller.enqueue(bytes.slice(at, at + step));
        at += step;
      },
    },
    { highWaterMark: 0 },
  );
}

export function open(bytes: Uint8Array, { opening, chunk }: Way): Source {
  const { byteLength } = bytes;
  const name = "input";
  const foreign: SyncSource = {
    name,
    byteLength,
    readSync: (target, offset) => {
      checkSourceRange(foreign, offset, target.byteLength);
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
    read: async (target, offset) => foreign.readSync(target, offset),
  };
  const { readSync: _, ...awaited } = foreign;
  switch (opening) {
    case "peek":
      return new BytesSource(bytes, name);
    case "sync":
      return foreign;
    case "async":
      return awaited;
    case "stream":
      return new StreamSource(streamOf(bytes, chunk), { name, byteLength });
    case "open":
      return new StreamSource(streamOf(bytes, chunk), { name });
    case "blob":
      return new BlobSource(new Blob([Uint8Array.from(bytes)]), name);
    case "response":
      return responseSource(new Response(streamOf(bytes, chunk)), { name, byteLength });
  }
}

/** Failures that only the file's length tells of: a stream of unknown length may see them late, never, or as another. */
const LENGTH_CODES = /TRUNCATED|SHORT|LENGTH|SPOOL|READ/;

/** Throws a {@link Finding} if the same bytes come to another end by a way. */
export function compare(atOnce: Observed, other: Observed, { opening }: Way): void {
  const isExact = opening !== "open" || atOnce.code === other.code;
  if (isExact) same(atOnce, other, `bytes and ${opening}`);
  if (isExact || (atOnce.code !== "ok" && other.code !== "ok")) return;
  if (LENGTH_CODES.test(`${atOnce.code} ${other.code}`)) return;
  throw new Finding(`bytes and ${opening} disagree: ${show(atOnce)} and ${show(other)}`);
}

/** Runs a task over bytes at once and by a way; gives the first result. */
export async function runBoth<T>(
  bytes: Uint8Array,
  by: Way,
  task: (source: Source) => Task<T>,
): Promise<Observed> {
  const atOnce = observe(() => runSync(task(open(bytes, { opening: "peek", chunk: 1 }))));
  const isSync = by.opening === "peek" || by.opening === "sync";
  const other = isSync
    ? observe(() => runSync(task(open(bytes, by))))
    : await observeAsync(async () => runAsync(task(open(bytes, by))));
  compare(atOnce, other, by);
  return atOnce;
}
