/**
 * Damaged streams end in a DirectBootError, or in output if nothing noticed; never in anything else, and never with a
 * byte written outside of the target and the scratch.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirectBootError } from "../../src/base/errors.js";
import { type CompressionFormat, DECODER_SCRATCH_BYTES, decompressInto } from "../../src/decoders/index.js";
import { noise } from "../support/sources.js";
import { codeLike, compress, METHODS, nameOf, text } from "./tools.js";

const SMALL = Buffer.concat([text(700), noise(60), new Uint8Array(400).fill(5), codeLike(600), text(300)]);
const CANARY = 0xa5;
const CANARY_BYTES = 4096;
const TARGET_BYTES = 8192;
const FLIPS = 3000;

const memory = new WebAssembly.Memory({ initial: 16 });
const bytes = new Uint8Array(memory.buffer);
const offset = CANARY_BYTES + 3;
const scratchOffset = offset + TARGET_BYTES + CANARY_BYTES;
const target = { memory, offset, byteLength: TARGET_BYTES, scratchOffset };
const gaps = [
  bytes.subarray(0, offset),
  bytes.subarray(offset + TARGET_BYTES, scratchOffset),
  bytes.subarray(scratchOffset + DECODER_SCRATCH_BYTES),
].map((gap) => ({ gap, expected: new Uint8Array(gap.length).fill(CANARY) }));

/** The output, or the code of the error. */
function attempt(format: CompressionFormat, stream: Uint8Array): Uint8Array | string {
  for (const { gap } of gaps) gap.fill(CANARY);
  let result: Uint8Array | string;
  try {
    const length = decompressInto(format, stream, target, { maximumBytes: TARGET_BYTES - 5 });
    assert.ok(length <= TARGET_BYTES - 5);
    result = bytes.slice(offset, offset + length);
  } catch (error) {
    if (!(error instanceof DirectBootError)) throw error;
    assert.match(error.code, /^DECOMPRESS_/);
    result = error.code;
  }
  for (const { gap, expected } of gaps) assert.equal(Buffer.compare(gap, expected), 0);
  return result;
}

/** Formats without a checksum over their output let damage pass. */
const isUnchecked = (name: string): boolean =>
  /lz4 .*-l|--format=lzma|--check=none|--no-check|--no-frame-crc/.test(name);

describe("a damaged stream", () => {
  for (const method of METHODS) {
    const { format } = method;
    const name = nameOf(method);
    const stream = compress(method, SMALL);

    it(`of ${name}: whole, it is decoded in place`, () => {
      const output = attempt(format, stream);
      assert.ok(typeof output !== "string", String(output));
      assert.equal(Buffer.compare(output, SMALL), 0);
    });

    it(`of ${name}: every truncation is noticed`, () => {
      for (let length = 0; length < stream.length; length++) {
        const output = attempt(format, stream.slice(0, length));
        // A legacy archive without its last blocks, a file of lzop without its end: only the former looks complete.
        if (format === "lz4-legacy" && typeof output !== "string") assert.ok(output.length < SMALL.length);
        else assert.equal(typeof output, "string", `${length} of ${stream.length} bytes`);
      }
    });

    it(`of ${name}: flipped bits are noticed, or change nothing that is checked`, () => {
      const picks = new Uint32Array(noise(4 * FLIPS, 11).buffer);
      for (const pick of picks) {
        const damaged = stream.slice();
        const bit = pick % (8 * stream.length);
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        // Every third of them is damaged elsewhere, too.
        if (pick % 3 === 0) damaged[(pick >>> 8) % stream.length] = pick >>> 24;
        const output = attempt(format, damaged);
        if (typeof output === "string" || isUnchecked(name)) continue;
        // Flags that only say that there is no checksum, and fields that nobody needs, may change.
        assert.ok(Buffer.compare(output, SMALL) === 0 || output.length === 0 || pick % 3 === 0, `bit ${bit}`);
      }
    });

    it(`of ${name}: noise behind a true beginning is refused or decoded`, () => {
      const picks = noise(400, 13);
      for (const [i, pick] of picks.entries()) {
        const damaged = Buffer.concat([
          stream.subarray(0, Math.min(14 + (pick % 40), stream.length)),
          noise(300, i + 1),
        ]);
        attempt(format, damaged);
      }
    });
  }
});
