/** Decoders: each format by its public functions, in place between bytes that nobody may write to, and the platform's gzip. */
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import {
  type CompressionFormat,
  DECODER_SCRATCH_BYTES,
  decompress,
  decompressInto,
  decompressMember,
} from "../../../src/decoders/index.js";
import { crc32Twin } from "../../../src/wasm/twins.js";
import { codeLike, compress, METHODS, pipe, text } from "../../decoders/tools.js";
import { noise } from "../../support/sources.js";
import { streamFields } from "../files.js";
import { expect, type Target, type Targets, target } from "../fuzzer.js";
import { type Mutant, mutants, type Seed, whole } from "../mutants.js";
import { isEqual, type Observed, observe, same, show } from "../outcome.js";

const FORMATS = ["gzip", "xz", "lzma", "zstd", "lz4", "lz4-legacy", "bzip2", "lzo"] as const;
const MOST_BYTES = 6 << 20;
/** More output than a decoder makes between two steps. */
const LONG_BYTES = 5 << 20;

const PLAIN = Uint8Array.from(
  Buffer.concat([text(700), noise(60), new Uint8Array(400).fill(5), codeLike(600), text(300)]),
);

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function setU32(bytes: Uint8Array, at: number, value: number, isLittle = true): void {
  if (at >= 0 && at + 4 <= bytes.byteLength) viewOf(bytes).setUint32(at, value, isLittle);
}

/** xxHash-32 of fewer than 16 bytes, seed 0. */
function shortXxh32(bytes: Uint8Array): number {
  const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
  let hash = (0x1656_67b1 + bytes.byteLength) | 0;
  let at = 0;
  for (; at + 4 <= bytes.byteLength; at += 4) {
    const word = Math.imul(viewOf(bytes).getUint32(at, true), 0xc2b2_ae3d);
    hash = Math.imul(rotate((hash + word) | 0, 17), 0x27d4_eb2f);
  }
  for (; at < bytes.byteLength; at++) {
    hash = Math.imul(rotate((hash + Math.imul(bytes[at] ?? 0, 0x1656_67b1)) | 0, 11), 0x9e37_79b1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x85eb_ca77);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae3d);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Makes the checksums over headers right. */
const REPAIRS: Partial<Record<CompressionFormat, (bytes: Uint8Array) => void>> = {
  xz: (bytes) => {
    if (bytes.byteLength < 32) return;
    setU32(bytes, 8, crc32Twin(bytes.subarray(6, 8), 0));
    const end = 12 + ((bytes[12] ?? 0) + 1) * 4;
    if (bytes[12] !== 0 && end < bytes.byteLength)
      setU32(bytes, end - 4, crc32Twin(bytes.subarray(12, end - 4), 0));
    const footer = bytes.byteLength - 12;
    setU32(bytes, footer, crc32Twin(bytes.subarray(footer + 4, footer + 10), 0));
    const index = footer - (viewOf(bytes).getUint32(footer + 4, true) + 1) * 4;
    if (index > 12) setU32(bytes, footer - 4, crc32Twin(bytes.subarray(index, footer - 4), 0));
  },
  lz4: (bytes) => {
    const flags = bytes[4] ?? 0;
    const end = 6 + ((flags & 8) !== 0 ? 8 : 0) + ((flags & 1) !== 0 ? 4 : 0);
    if (end < bytes.byteLength) bytes[end] = (shortXxh32(bytes.subarray(4, end)) >>> 8) & 0xff;
  },
};

const SKIPPABLE = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);

/** A stream and its output. */
interface Stream extends Seed {
  readonly output: Uint8Array;
}

function streamsOf(format: CompressionFormat): Stream[] {
  const repair = REPAIRS[format];
  const stream = (bytes: Uint8Array, output: Uint8Array): Stream => ({
    bytes,
    output,
    fields: streamFields(bytes.length),
    ...(repair === undefined ? {} : { repair }),
  });
  const methods = METHODS.filter((method) => method.format === format);
  const [first = METHODS[0] as (typeof METHODS)[number]] = methods;
  const packed = compress(first, PLAIN);
  const twice = Uint8Array.from(Buffer.concat([PLAIN, PLAIN]));
  const frames =
    format === "zstd" || format === "lz4" ? [SKIPPABLE, packed, SKIPPABLE, packed] : [packed, packed];
  const long = new Uint8Array(LONG_BYTES);
  return [
    ...methods.flatMap((method) =>
      [PLAIN, noise(3000, 5)].map((plain) => stream(compress(method, plain), plain)),
    ),
    stream(compress(first, new Uint8Array(0)), new Uint8Array(0)),
    ...(format === "lzma" ? [] : [stream(Uint8Array.from(Buffer.concat(frames)), twice)]),
    ...(format === "xz" ? [stream(pipe("xz", ["-c", "-T2", "--block-size=500", "-0"], PLAIN), PLAIN)] : []),
    stream(compress(first, long), long),
  ];
}

const CANARY = 0xa5;
const INTO_BYTES = 16_384;
const INTO_AT = 515;
const SCRATCH_AT = INTO_AT + INTO_BYTES + 512;
const memory = new WebAssembly.Memory({
  initial: Math.ceil((SCRATCH_AT + DECODER_SCRATCH_BYTES) / 65_536) + 1,
});

/** Decodes into memory, and looks whether anything around the target was written to. */
function decodeInPlace(
  format: CompressionFormat,
  stream: Uint8Array,
  options: { maxDecompressedSize: number },
): Observed {
  const bytes = new Uint8Array(memory.buffer);
  const { maxDecompressedSize: byteLength } = options;
  bytes.fill(CANARY, 0, SCRATCH_AT);
  bytes.fill(CANARY, bytes.byteLength - 512);
  const observed = observe(() => {
    const place = { memory, offset: INTO_AT, byteLength, scratchOffset: SCRATCH_AT };
    const made = decompressInto(format, stream, place, options);
    return new Uint8Array(memory.buffer).slice(INTO_AT, INTO_AT + made);
  });
  const around = [
    bytes.subarray(0, INTO_AT),
    bytes.subarray(INTO_AT + byteLength, SCRATCH_AT),
    bytes.subarray(-512),
  ];
  for (const part of around)
    expect(
      part.every((byte) => byte === CANARY),
      "bytes outside of the target were written",
    );
  return observed;
}

interface Decoding {
  readonly file: Mutant;
  readonly maxDecompressedSize: number;
  readonly expectedBytes: number | undefined;
  readonly allowTrailing: boolean;
}

function decoder(format: CompressionFormat): Target {
  const streams = streamsOf(format);
  const size = PLAIN.byteLength;
  return target<Decoding>({
    name: format,
    runs: 200,
    input: fc.record(
      {
        file: mutants(streams),
        maxDecompressedSize: fc.constantFrom(MOST_BYTES, 8192, size, size - 1, 0),
        expectedBytes: fc.constantFrom(undefined, undefined, undefined, size, size + 1, 2 ** 32),
        allowTrailing: fc.boolean(),
      },
      { noNullPrototype: true },
    ),
    examples: whole(streams).map((file) => ({
      ...{ file, maxDecompressedSize: MOST_BYTES, expectedBytes: undefined, allowTrailing: false },
    })),
    run: ({ file: { bytes, seed, isWhole }, maxDecompressedSize, expectedBytes, allowTrailing }) => {
      const before = bytes.slice();
      const options = { maxDecompressedSize, expectedBytes, allowTrailing };
      const decoded = observe(() => decompress(format, bytes, options));
      expect(/^(ok|DECOMPRESS_.*)$/.test(decoded.code), `the code is ${decoded.code}`);
      const output = decoded.value as Uint8Array | undefined;
      expect((output?.byteLength ?? 0) <= maxDecompressedSize, "there is more output than is allowed");
      if (isWhole && maxDecompressedSize === MOST_BYTES && expectedBytes === undefined) {
        const wanted = streams[seed]?.output ?? bytes;
        expect(output !== undefined && isEqual(output, wanted), `an undamaged stream gives ${show(decoded)}`);
      }
      observe(() => decompressMember(format, bytes, options));
      if (maxDecompressedSize <= INTO_BYTES) {
        same(decoded, decodeInPlace(format, bytes, options), "decompress and decompressInto");
      }
      if (format === "gzip" && output !== undefined && !allowTrailing) checkPlatform(bytes, output);
      expect(isEqual(before, bytes), "the input was modified");
      return decoded.code;
    },
  });
}

/** The platform's gzip gives the same, where it takes the stream. */
function checkPlatform(bytes: Uint8Array, output: Uint8Array): void {
  let platform: Uint8Array;
  try {
    platform = gunzipSync(bytes);
  } catch {
    return;
  }
  expect(isEqual(platform, output), "the platform's gzip gives other bytes");
}

export const DECODERS: Targets = Object.fromEntries(FORMATS.map((format) => [format, () => decoder(format)]));
