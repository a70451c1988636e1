import { crc32 as zlibCrc32 } from "node:zlib";
import { crc32 as nodeRsCrc32 } from "@node-rs/crc32";
import bufferCrc32 from "buffer-crc32";
import crc32Package from "crc-32";
import { createCRC32 } from "hash-wasm";
import * as directboot from "../../src/index.js";
import { crc32, GuestMemory } from "../../src/index.js";
import { type Case, type Contender, GATED_ROUNDS, measureCases, type Suite } from "../harness.js";
import { KIB, MIB, noise } from "../image.js";

const IN_MEMORY = "directboot, in guest memory";
const BYTES = "directboot, Uint8Array";
const TWO_THREADS = "directboot, two threads";
const ONE_THREAD = "directboot, one thread, shared memory";

const SIZES: readonly [string, number][] = [
  ["16 B", 16],
  ["64 B", 64],
  ["256 B", 256],
  ["4 KiB", 4 * KIB],
  ["64 KiB", 64 * KIB],
  ["1 MiB", MIB],
  ["64 MiB", 64 * MIB],
];
const MOST_BYTES = 64 * MIB;

/** All of them at one size; throws unless they agree. */
export function crc32Contenders(
  memory: GuestMemory,
  host: Uint8Array<ArrayBuffer>,
  byteLength: number,
  hasher: Awaited<ReturnType<typeof createCRC32>>,
): Record<string, () => unknown> {
  const bytes = host.subarray(0, byteLength);
  const buffer = Buffer.from(host.buffer, host.byteOffset, byteLength);
  const digest = (): Uint8Array => hasher.init().update(bytes).digest("binary");
  const contenders = {
    [IN_MEMORY]: () => memory.crc32(0, byteLength),
    [BYTES]: () => crc32(bytes),
    "crc-32": () => crc32Package.buf(bytes),
    "node:zlib": () => zlibCrc32(bytes),
    "@node-rs/crc32": () => nodeRsCrc32(bytes),
    "hash-wasm": digest,
    "buffer-crc32": () => bufferCrc32.unsigned(buffer),
  };
  const expected = zlibCrc32(bytes);
  for (const [name, run] of Object.entries(contenders)) {
    const got: unknown = run();
    const value = got instanceof Uint8Array ? Buffer.from(got).readUInt32BE(0) : Number(got) >>> 0;
    if (value !== expected) throw new Error(`${name} gives ${value} for ${byteLength} bytes, zlib ${expected}`);
  }
  return contenders;
}

/** Guest memory and host bytes of the same content. */
export function crc32Data(byteLength: number): { memory: GuestMemory; host: Uint8Array<ArrayBuffer> } {
  const host = noise(byteLength);
  const memory = GuestMemory.create(byteLength);
  memory.write(0, host);
  return { memory, host };
}

/** Two threads against one over the same shared memory, if this build has them. */
async function* parallelCases(host: Uint8Array, notes: string[]): AsyncGenerator<Case> {
  const exported: Readonly<Record<string, unknown>> = directboot;
  const { crc32Parallel } = exported;
  if (typeof crc32Parallel !== "function") {
    notes.push("two threads: src/index.ts exports no crc32Parallel");
    return;
  }
  const memory = GuestMemory.create(MOST_BYTES, { shared: true });
  memory.write(0, host);
  for (const [size, byteLength] of [
    ["4 MiB", 4 * MIB],
    ["64 MiB", 64 * MIB],
  ] as const) {
    const expected = zlibCrc32(host.subarray(0, byteLength));
    const view = memory.view(0, byteLength);
    const ways: readonly (() => Promise<unknown>)[] = [
      async () => crc32Parallel(memory, 0, byteLength),
      async () => crc32Parallel(view),
    ];
    let works: (() => Promise<unknown>) | undefined;
    const failures: string[] = [];
    for (const way of ways) {
      try {
        const got = await way();
        if (got === expected) works = way;
        else failures.push(`gave ${String(got)}`);
      } catch (cause) {
        failures.push(String(cause));
      }
      if (works !== undefined) break;
    }
    if (works === undefined) {
      notes.push(`two threads: crc32Parallel(memory, 0, ${byteLength}) and (bytes): ${failures.join("; ")}`);
      return;
    }
    const twoThreads: Contender = { runAsync: works };
    yield {
      size,
      byteLength,
      contenders: {
        [TWO_THREADS]: twoThreads,
        // Timed like the other, call by call.
        [ONE_THREAD]: { runAsync: async () => memory.crc32(0, byteLength) },
      },
    };
  }
}

export function crc32Suite(): Suite {
  const notes: string[] = [];
  return {
    name: "crc32",
    about: "CRC-32 of random-looking bytes",
    ours: [IN_MEMORY, BYTES, TWO_THREADS, ONE_THREAD],
    notes,
    async measure({ quick }) {
      notes.length = 0;
      const { memory, host } = crc32Data(MOST_BYTES);
      const hasher = await createCRC32();
      const timing = { rounds: quick ? 3 : GATED_ROUNDS, milliseconds: quick ? 8 : 20 };
      const cases = function* (): Generator<Case> {
        for (const [size, byteLength] of SIZES) {
          yield { size, byteLength, contenders: crc32Contenders(memory, host, byteLength, hasher) };
        }
      };
      const rows = await measureCases(cases(), timing);
      for await (const one of parallelCases(host, notes)) rows.push(...(await measureCases([one], timing)));
      return rows;
    },
  };
}
