/** Damaged streams of every format: typed errors, and never other bytes where the format has a checksum. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirectBootError } from "../../src/base/errors.js";
import { type CompressionFormat, decompress } from "../../src/decoders/index.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { codeLike, compress, METHODS, nameOf, ONE_OF_EACH, pipe, text } from "./tools.js";

const PLAIN = Uint8Array.from(Buffer.concat([text(3000), codeLike(3000)]));
const LIMIT = { maxDecompressedSize: 1 << 20 };
const MAGIC_BYTES = 4;

/** The output, or the code of the error, which must be one of the decoders'. */
function outcome(format: CompressionFormat, stream: Uint8Array): Uint8Array | string {
  try {
    return decompress(format, stream, LIMIT);
  } catch (error) {
    assert.ok(error instanceof DirectBootError, `${error}`);
    assert.match(error.code, /^DECOMPRESS_/);
    return error.code;
  }
}

function hasChecksum(format: CompressionFormat, args: readonly string[]): boolean {
  if (format === "lzma" || format === "lz4-legacy") return false;
  return !args.some((arg) => ["--no-check", "--no-frame-crc", "--check=none"].includes(arg));
}

for (const method of METHODS) {
  const { format, args } = method;
  const stream = compress(method, PLAIN);

  describe(`a damaged stream of ${nameOf(method)}`, () => {
    it("is refused wherever it is cut off", () => {
      for (let length = 0; length < stream.length; length += length < 64 ? 1 : 37) {
        // An archive of legacy LZ4 has no end marker: without blocks it is an empty one.
        if (format === "lz4-legacy" && length === MAGIC_BYTES) continue;
        assert.equal(typeof outcome(format, stream.subarray(0, length)), "string", `${length} bytes`);
      }
    });

    it("with a flipped bit is refused, or gives the same bytes", () => {
      for (const pick of new Uint32Array(noise(1200, 9).buffer)) {
        const damaged = stream.slice();
        const at = pick % (pick % 3 === 0 ? 32 : stream.length);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << (pick >>> 29));
        const found = outcome(format, damaged);
        if (typeof found === "string" || !hasChecksum(format, args)) continue;
        assert.equal(Buffer.compare(found, PLAIN), 0, `byte ${at}`);
      }
    });
  });
}

describe("a stream whose fields lie", () => {
  const of = (format: CompressionFormat): Uint8Array<ArrayBuffer> => {
    const method = ONE_OF_EACH.find((one) => one.format === format);
    assert.ok(method !== undefined);
    return compress(method, PLAIN);
  };
  const sized = pipe("zstd", ["-q", "-c", `--stream-size=${PLAIN.length}`], PLAIN);
  const lzo = of("lzo");
  const size = Buffer.alloc(4);
  size.writeUInt32BE(PLAIN.length);
  const lzoBlock = Buffer.from(lzo).indexOf(size);
  size.writeUInt32LE(PLAIN.length - 256);
  // A size of two bytes counts from 256 (RFC 8878, 3.1.1.1.4).
  const zstdSize = Buffer.from(sized).indexOf(size.subarray(0, 2));

  const cases: readonly [string, CompressionFormat, Uint8Array, number, string][] = [
    ["the size behind a gzip member", "gzip", of("gzip"), -4, "DECOMPRESS_WRONG_SIZE"],
    ["the size in a Zstandard frame's header", "zstd", sized, zstdSize, "DECOMPRESS_WRONG_SIZE"],
    ["the output of an lzop block", "lzo", lzo, lzoBlock + 3, "DECOMPRESS_CORRUPT"],
    ["the checksum of an lzop block", "lzo", lzo, lzoBlock + 8, "DECOMPRESS_CHECKSUM"],
    ["the checksum of an lzop header", "lzo", lzo, lzoBlock - 1, "DECOMPRESS_CHECKSUM"],
    ["the length of a legacy LZ4 block", "lz4-legacy", of("lz4-legacy"), 6, "DECOMPRESS_TRUNCATED"],
    ["the checksum of an LZ4 frame's header", "lz4", of("lz4"), 6, "DECOMPRESS_CHECKSUM"],
    ["the CRC of a bzip2 block", "bzip2", of("bzip2"), 10, "DECOMPRESS_CHECKSUM"],
    ["the CRC of an xz stream's header", "xz", of("xz"), 8, "DECOMPRESS_CHECKSUM"],
    ["the CRC of an xz block's header", "xz", of("xz"), 20, "DECOMPRESS_CHECKSUM"],
    ["the CRC of an xz stream's footer", "xz", of("xz"), -12, "DECOMPRESS_CHECKSUM"],
    ["the CRC of an xz index", "xz", of("xz"), -16, "DECOMPRESS_CHECKSUM"],
  ];
  for (const [name, format, stream, at, code] of cases) {
    it(`is refused: ${name}`, () => {
      const damaged = stream.slice();
      const index = at < 0 ? damaged.length + at : at;
      damaged[index] = (damaged[index] ?? 0) ^ 1;
      assert.throws(() => decompress(format, damaged, LIMIT), refusal(code as "DECOMPRESS_CORRUPT"));
    });
  }
});
