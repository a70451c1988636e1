/** Matches that overlap themselves, of every distance and length, into memory that holds something already. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DECODER_SCRATCH_BYTES, decompressInto } from "../../src/decoders/index.js";
import { noise } from "../support/sources.js";

const LEGACY_MAGIC = 0x184c_2102;
const MINIMUM_MATCH = 4;
const LONGEST_SHORT = 15;
const LENGTHS = [
  ...Array.from({ length: 90 }, (_, i) => i + MINIMUM_MATCH),
  272,
  273,
  274,
  511,
  512,
  1023,
  1024,
];
/** Longer than a page, some of them by a little. */
const LONG_LENGTHS = [4095, 4096, 4097, 8200, 20_000];
const TARGET_BYTES = 1 << 20;

interface Match {
  readonly literals: Uint8Array;
  readonly distance: number;
  readonly length: number;
}

/** A length of an LZ4 sequence beyond its four bits in the token. */
function more(length: number): number[] {
  if (length < LONGEST_SHORT) return [];
  const rest = length - LONGEST_SHORT;
  return [...Array.from({ length: Math.floor(rest / 255) }, () => 255), rest % 255];
}

/** An archive of one block, of these sequences and five literals. */
function archive(matches: readonly Match[]): Uint8Array {
  const block = matches.flatMap(({ literals, distance, length }) => {
    const rest = length - MINIMUM_MATCH;
    const token = (Math.min(literals.length, LONGEST_SHORT) << 4) | Math.min(rest, LONGEST_SHORT);
    return [token, ...more(literals.length), ...literals, distance & 255, distance >> 8, ...more(rest)];
  });
  block.push(5 << 4, 1, 2, 3, 4, 5);
  const stream = new Uint8Array(8 + block.length);
  const view = new DataView(stream.buffer);
  view.setUint32(0, LEGACY_MAGIC, true);
  view.setUint32(4, block.length, true);
  stream.set(block, 8);
  return stream;
}

/** Its content, byte by byte. */
function expand(matches: readonly Match[]): Uint8Array {
  const output: number[] = [];
  for (const { literals, distance, length } of matches) {
    output.push(...literals);
    for (let i = 0; i < length; i++) output.push(output[output.length - distance] ?? Number.NaN);
  }
  output.push(1, 2, 3, 4, 5);
  return Uint8Array.from(output);
}

const scratchOffset = TARGET_BYTES;
const memory = new WebAssembly.Memory({
  initial: Math.ceil((TARGET_BYTES + DECODER_SCRATCH_BYTES) / 65_536),
});
const bytes = new Uint8Array(memory.buffer);
const target = { memory, offset: 3, byteLength: TARGET_BYTES - 3, scratchOffset };

/** Memory of zeros, of ones, and of zeros with a byte here and there. */
const BEFORE: Readonly<Record<string, () => void>> = {
  zeros: () => void bytes.fill(0),
  ones: () => void bytes.fill(0xff),
  "zeros, and a byte now and then": () => {
    bytes.fill(0);
    for (let at = 0; at < TARGET_BYTES; at += 5003) bytes[at] = 0xff;
  },
};

describe("a match of LZ4 that overlaps itself", () => {
  for (const [name, prepare] of Object.entries(BEFORE)) {
    for (const isZero of [false, true]) {
      const kind = isZero ? "zeros" : "noise";
      it(`of ${kind}, into memory of ${name}: gives what a copy byte by byte gives`, () => {
        for (let distance = 1; distance <= 40; distance++) {
          const matches = [...LENGTHS, ...LONG_LENGTHS].map((length, i): Match => {
            const count = distance + (i % 20);
            return { literals: isZero ? new Uint8Array(count) : noise(count, i + 1), distance, length };
          });
          prepare();
          const length = decompressInto("lz4-legacy", archive(matches), target, {
            maxDecompressedSize: target.byteLength,
          });
          const output = bytes.subarray(target.offset, target.offset + length);
          assert.equal(Buffer.compare(output, expand(matches)), 0, `distance ${distance}`);
        }
      });
    }
  }
});
