import { createRequire } from "node:module";
import { crc32 as zlibCrc32 } from "node:zlib";
import { crc32 as nodeRsCrc32 } from "@node-rs/crc32";
import crc32Package from "crc-32";
import { createCRC32 } from "hash-wasm";
import { crc32, GuestMemory } from "../../src/index.js";
import { type Case, GATED_ROUNDS, measureCases, type Suite } from "../harness.js";
import { KIB, MIB, noise } from "../image.js";

const IN_MEMORY = "directboot, in guest memory";
const BYTES = "directboot, Uint8Array";

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

// Its types for ES modules don't compile: "export =" in a .d.mts.
const bufferCrc32: unknown = createRequire(import.meta.url)("buffer-crc32");

function bufferCrc32Of(): (bytes: Buffer) => unknown {
  if (typeof bufferCrc32 === "function" && "unsigned" in bufferCrc32) {
    const { unsigned } = bufferCrc32;
    if (typeof unsigned === "function") return (bytes) => unsigned(bytes);
  }
  throw new Error("buffer-crc32 has no unsigned()");
}

/** All of them at one size; throws unless they agree. */
export function crc32Contenders(
  memory: GuestMemory,
  host: Uint8Array,
  byteLength: number,
  hasher: Awaited<ReturnType<typeof createCRC32>>,
): Record<string, () => unknown> {
  const bytes = host.subarray(0, byteLength);
  const buffer = Buffer.from(host.buffer, host.byteOffset, byteLength);
  const bufferUnsigned = bufferCrc32Of();
  const digest = (): Uint8Array => hasher.init().update(bytes).digest("binary");
  const contenders = {
    [IN_MEMORY]: () => memory.crc32(0, byteLength),
    [BYTES]: () => crc32(bytes),
    "crc-32": () => crc32Package.buf(bytes),
    "node:zlib": () => zlibCrc32(bytes),
    "@node-rs/crc32": () => nodeRsCrc32(bytes),
    "hash-wasm": digest,
    "buffer-crc32": () => bufferUnsigned(buffer),
  };
  const expected = zlibCrc32(bytes);
  for (const [name, run] of Object.entries(contenders)) {
    const got: unknown = run();
    const value = got instanceof Uint8Array ? Buffer.from(got).readUInt32BE(0) : Number(got) >>> 0;
    if (value !== expected)
      throw new Error(`${name} gives ${value} for ${byteLength} bytes, zlib ${expected}`);
  }
  return contenders;
}

/**
 * Guest memory, and the same bytes as a view of it: were they in two places, the peers would keep one of them in the
 * caches for each other, and only directboot would read the other.
 */
export function crc32Data(byteLength: number): { memory: GuestMemory; host: Uint8Array } {
  const memory = GuestMemory.create(byteLength);
  memory.write(0, noise(byteLength));
  return { memory, host: memory.view(0, byteLength) };
}

export function crc32Suite(): Suite {
  return {
    name: "crc32",
    about: "CRC-32 of random-looking bytes",
    ours: [IN_MEMORY, BYTES],
    notes: [],
    async measure({ quick }) {
      const { memory, host } = crc32Data(MOST_BYTES);
      const hasher = await createCRC32();
      const timing = { rounds: quick ? 3 : GATED_ROUNDS, milliseconds: quick ? 8 : 20 };
      const cases = function* (): Generator<Case> {
        for (const [size, byteLength] of SIZES) {
          yield { size, byteLength, contenders: crc32Contenders(memory, host, byteLength, hasher) };
        }
      };
      return measureCases(cases(), timing);
    },
  };
}
