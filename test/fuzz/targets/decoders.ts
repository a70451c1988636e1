/** The decoders, each format by its public functions, and the platform's gzip. */

import { DECODERS_WASM_BASE64 } from "../../../src/decoders/decoders-wasm.generated.js";
import type { CompressionFormat } from "../../../src/decoders/index.js";
import { BytesSource } from "../../../src/sources/bytes.js";
import { readWhole } from "../../../src/sources/reading.js";
import { StreamSource } from "../../../src/sources/stream.js";
import { runAsync, runSync } from "../../../src/task/run.js";
import { decodeBase64 } from "../../../src/wasm/instance.js";
import { crc32Twin } from "../../../src/wasm/twins.js";
import { codeLike, compress, METHODS, nameOf, pipe, text } from "../../decoders/tools.js";
import { noise } from "../../support/sources.js";
import { supplyOf } from "../drivers.js";
import { bytesOf, type FuzzInput, maybeNumberOf, numberOf, numbersOf, textOf } from "../input.js";
import { chunkLengths, type Field, mutate, type Seed } from "../mutate.js";
import {
  alike,
  digest,
  expect,
  Finding,
  type Observed,
  type Outcome,
  observe,
  observeAsync,
  same,
  show,
} from "../outcome.js";
import type { Random } from "../random.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy } from "./shared.js";

export const FORMATS: readonly CompressionFormat[] = [
  "gzip",
  "xz",
  "lzma",
  "zstd",
  "lz4",
  "lz4-legacy",
  "bzip2",
  "lzo",
];

/** Most output of an execution. */
const MOST_BYTES = 6 << 20;
/** Bytes of output between two steps of a decoder, and more: what takes several. */
const LONG_BYTES = 5 << 20;

const SMALL = Uint8Array.from(
  Buffer.concat([text(700), noise(60), new Uint8Array(400).fill(5), codeLike(600), text(300)]),
);

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function setU32(bytes: Uint8Array, at: number, value: number, isLittle = true): void {
  if (at >= 0 && at + 4 <= bytes.byteLength) view(bytes).setUint32(at, value, isLittle);
}

// xxHash-32 of fewer than 16 bytes, seed 0.
function shortXxh32(bytes: Uint8Array): number {
  const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
  let hash = (0x1656_67b1 + bytes.byteLength) | 0;
  let at = 0;
  for (; at + 4 <= bytes.byteLength; at += 4) {
    hash = Math.imul(
      rotate((hash + Math.imul(view(bytes).getUint32(at, true), 0xc2b2_ae3d)) | 0, 17),
      0x27d4_eb2f,
    );
  }
  for (; at < bytes.byteLength; at++) {
    hash = Math.imul(rotate((hash + Math.imul(bytes[at] ?? 0, 0x1656_67b1)) | 0, 11), 0x9e37_79b1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x85eb_ca77);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae3d);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return ((b << 16) | a) >>> 0;
}

/** Makes the checksums over headers right. */
const REPAIRS: Partial<Record<CompressionFormat, (bytes: Uint8Array) => void>> = {
  xz: (bytes) => {
    if (bytes.byteLength < 32) return;
    setU32(bytes, 8, crc32Twin(bytes.subarray(6, 8), 0));
    const headerBytes = ((bytes[12] ?? 0) + 1) * 4;
    if (bytes[12] !== 0 && 12 + headerBytes < bytes.byteLength) {
      setU32(bytes, 12 + headerBytes - 4, crc32Twin(bytes.subarray(12, 12 + headerBytes - 4), 0));
    }
    const footer = bytes.byteLength - 12;
    setU32(bytes, footer, crc32Twin(bytes.subarray(footer + 4, footer + 10), 0));
    const index = footer - (view(bytes).getUint32(footer + 4, true) + 1) * 4;
    if (index > 12) setU32(bytes, footer - 4, crc32Twin(bytes.subarray(index, footer - 4), 0));
  },
  lz4: (bytes) => {
    const flags = bytes[4] ?? 0;
    const length = 2 + ((flags & 8) !== 0 ? 8 : 0) + ((flags & 1) !== 0 ? 4 : 0);
    if (4 + length < bytes.byteLength)
      bytes[4 + length] = (shortXxh32(bytes.subarray(4, 4 + length)) >>> 8) & 0xff;
  },
  lzo: (bytes) => {
    if (bytes.byteLength < 40) return;
    const isLong = view(bytes).getUint16(9) >= 0x940;
    const flagsAt = 9 + (isLong ? 8 : 5);
    const nameAt = flagsAt + 4 + (isLong ? 12 : 8);
    const end = nameAt + 1 + (bytes[nameAt] ?? 0);
    const isCrc = (view(bytes).getUint32(flagsAt) & 0x1000) !== 0;
    const header = bytes.subarray(9, end);
    setU32(bytes, end, isCrc ? crc32Twin(header, 0) : adler32(header), false);
  },
};

/** Every byte of the beginning and the end as fields of one, two and four bytes. */
function edgesAsFields(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  const { byteLength } = bytes;
  const add = (from: number, to: number): void => {
    for (let offset = Math.max(0, from); offset < Math.min(to, byteLength); offset++) {
      fields.push({ name: `byte ${offset}`, offset, size: 1 });
      if (offset % 2 === 0)
        fields.push({ name: `u32 ${offset}`, offset, size: 4, bigEndian: offset % 4 === 0 });
    }
  };
  add(0, 48);
  add(byteLength - 40, byteLength);
  return fields;
}

/** Bytes behind an .lz4 or .zst frame, or before it, that are no data. */
const SKIPPABLE = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);

/** Bits of deflate, lowest first, as bytes. */
function bits(...parts: readonly (readonly [value: number, count: number])[]): Uint8Array {
  const all = parts.flatMap(([value, count]) => Array.from({ length: count }, (_, i) => (value >> i) & 1));
  const bytes = new Uint8Array(Math.ceil(all.length / 8) + 8);
  for (const [i, bit] of all.entries()) bytes[i >> 3] = (bytes[i >> 3] ?? 0) | (bit << (i & 7));
  return bytes;
}

/** A dynamic block whose lengths of codes are 1 for the given places of RFC 1951's order, and what follows. */
function dynamic(places: readonly number[], ...rest: readonly (readonly [number, number])[]): Uint8Array {
  const lengths = Array.from({ length: 19 }, (_, i) => [places.includes(i) ? 1 : 0, 3] as const);
  return bits([1, 1], [2, 2], [0, 5], [0, 5], [15, 4], ...lengths, ...rest);
}

/** Blocks (RFC 1951, 3.2) that no compressor makes. In the order of lengths 0 is 16, 2 is 18, 3 is 0, 17 is 1. */
const DEFLATE_MISTAKES: readonly Uint8Array[] = [
  // Fixed codes: the lengths 286 and 287, the distance 30, a match before the beginning; a block of kind 3.
  bits([1, 1], [1, 2], [0b0110_0011, 8]),
  bits([1, 1], [1, 2], [0b0100_0000, 7], [0b01111, 5]),
  bits([1, 1], [1, 2], [0b0100_0000, 7], [0, 5]),
  bits([1, 1], [3, 2]),
  // Dynamic codes: too many of them, a repeat of nothing, more zeros than lengths, no end, no code.
  bits([1, 1], [2, 2], [31, 5], [31, 5], [15, 4]),
  dynamic([0, 3], [1, 1], [0, 2]),
  dynamic([2, 3], [1, 1], [127, 7], [1, 1], [127, 7]),
  dynamic([2, 3], [1, 1], [127, 7], [1, 1], [109, 7]),
  dynamic([17, 2], [0, 1], [0, 1], [1, 1], [127, 7], [1, 1], [108, 7]),
  dynamic([3], [0, 1], [1, 1]),
];

/** Streams that the tools' options don't make. */
function handMade(
  format: CompressionFormat,
  stream: Uint8Array,
): readonly [string, Uint8Array, Uint8Array?][] {
  const twice = concat(SMALL, SMALL);
  switch (format) {
    case "gzip": {
      const fields = concat(
        stream.subarray(0, 3),
        Uint8Array.of(0x1e),
        stream.subarray(4, 10),
        Uint8Array.of(3, 0, 1, 2, 3),
        Buffer.from("name\0comment\0"),
        Uint8Array.of(0, 0),
        stream.subarray(10),
      );
      // A stored block, and one of fixed codes that is empty.
      const stored = concat(stream.subarray(0, 10), Uint8Array.of(0, 3, 0, 0xfc, 0xff, 65, 66, 67, 3, 0));
      const trailer = new Uint8Array(8);
      setU32(trailer, 0, crc32Twin(Uint8Array.of(65, 66, 67), 0));
      setU32(trailer, 4, 3);
      return [
        ["all fields", fields, SMALL],
        ["two members", concat(stream, stream), twice],
        ["zeros behind", concat(stream, new Uint8Array(20)), SMALL],
        ["stored", concat(stored, trailer), Uint8Array.of(65, 66, 67)],
        [
          "no end of the name",
          concat(stream.subarray(0, 3), Uint8Array.of(8), stream.subarray(4, 10), Uint8Array.of(65, 66)),
        ],
        ...DEFLATE_MISTAKES.map((data): [string, Uint8Array] => [
          "bad codes",
          concat(stream.subarray(0, 10), data),
        ]),
      ];
    }
    case "xz":
      return [
        ["two streams", concat(stream, new Uint8Array(8), stream), twice],
        ["padding", concat(stream, new Uint8Array(4)), SMALL],
        ["bad padding", concat(stream, new Uint8Array(5))],
        ["ia64", pipe("xz", ["-c", "--ia64", "--lzma2=preset=0"], SMALL)],
        ["sizes", pipe("xz", ["-c", "-T2", "--block-size=500", "-0"], SMALL), SMALL],
        ["stored chunks", pipe("xz", ["-c", "-0"], noise(3000, 5)), noise(3000, 5)],
        ["crc32", pipe("xz", ["-c", "-0", "--check=crc32"], SMALL), SMALL],
        [
          "sha256 of 60 bytes",
          pipe("xz", ["-c", "-0", "--check=sha256"], SMALL.subarray(0, 60)),
          SMALL.subarray(0, 60),
        ],
        // LZMA2 whose first chunk sets no properties, does not reset, does not begin with a reset.
        ...[0x80, 0xa0, 0xc0, 0x03].map((control): [string, Uint8Array] => [
          "control",
          withControl(stream, control),
        ]),
        ...[1, 2].map((at): [string, Uint8Array] => ["second control", twoChunks(at)]),
      ];
    case "lzma": {
      const sized = stream.slice();
      setU32(sized, 5, SMALL.byteLength);
      setU32(sized, 9, 0);
      const shorter = sized.slice();
      setU32(shorter, 5, SMALL.byteLength - 1);
      const longer = sized.slice();
      setU32(longer, 5, SMALL.byteLength + 1);
      return [
        ["size and end marker", sized, SMALL],
        ["size too small", shorter],
        ["size too large", longer],
        ["properties", concat(Uint8Array.of(8 + 9 * 4), stream.subarray(1))],
        ["size 0", concat(stream.subarray(0, 5), new Uint8Array(13)), new Uint8Array(0)],
      ];
    }
    case "zstd":
      return [
        ["skippable", concat(SKIPPABLE, stream, SKIPPABLE, stream, SKIPPABLE), twice],
        ["dictionary", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x58, 0x07, 0x01, 0, 0)],
        [
          "dictionary 0",
          concat(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x23, 0, 0, 0, 0, 2, 0x11, 0, 0, 65, 66)),
          Uint8Array.of(65, 66),
        ],
        [
          "size of 2 bytes",
          Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x60, 0, 0, 3 | (0 << 3), 8, 0, 65),
          new Uint8Array(256).fill(65),
        ],
        [
          "size of 8 bytes",
          Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 2, 0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 65, 66),
          Uint8Array.of(65, 66),
        ],
        [
          "size of 4 bytes",
          Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 2, 0, 0, 0, 0x11, 0, 0, 65, 66),
          Uint8Array.of(65, 66),
        ],
        ["reserved block", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 7, 0, 0, 65, 66)],
        ["raw blocks", pipe("zstd", ["-q", "-c"], noise(3000, 5)), noise(3000, 5)],
        [
          "content size",
          pipe("zstd", ["-q", "-c", "--content-size", `--stream-size=${SMALL.byteLength}`], SMALL),
          SMALL,
        ],
      ];
    case "lz4":
      return [
        ["skippable", concat(SKIPPABLE, stream, SKIPPABLE, stream, SKIPPABLE), twice],
        ["stored", pipe("lz4", ["-q", "-c", "-BX"], noise(3000, 5)), noise(3000, 5)],
        ["no checksum", pipe("lz4", ["-q", "-c", "--no-frame-crc"], SMALL), SMALL],
        ["another size", lz4OfSize(SMALL.byteLength + 1)],
        ["a block too large", lz4TooLarge()],
      ];
    case "lz4-legacy":
      return [
        ["two archives", concat(stream, stream), twice],
        ["zeros behind", concat(stream, new Uint8Array(16)), SMALL],
        ["size behind", concat(stream, Uint8Array.of(0x24, 8, 0, 0))],
        ["a byte behind", concat(stream, Uint8Array.of(1))],
      ];
    case "bzip2":
      return [["two streams", concat(stream, stream), twice]];
    case "lzo": {
      const old = concat(stream.subarray(0, 9), Uint8Array.of(0x09, 0x10, 0x20, 0x60, 1));
      const rest = concat(
        old,
        Uint8Array.of(0, 0, 0, 0x43),
        new Uint8Array(8),
        Uint8Array.of(0),
        new Uint8Array(4),
      );
      // An old header, with an extra field of two bytes behind it, and no data.
      const whole = concat(rest, Uint8Array.of(0, 0, 0, 2, 7, 7), new Uint8Array(4), new Uint8Array(4));
      REPAIRS.lzo?.(whole);
      const crc = concat(stream);
      return [
        ["old header", whole, new Uint8Array(0)],
        ["two files", concat(stream, stream), twice],
        ["stored", pipe("lzop", ["-c"], noise(3000, 5)), noise(3000, 5)],
        ["header's CRC-32", withHeaderCrc(crc), SMALL],
      ];
    }
  }
}

/** An .xz of one block whose first chunk of LZMA2 has another control byte. */
function withControl(stream: Uint8Array, control: number): Uint8Array {
  const bytes = stream.slice();
  bytes[12 + ((bytes[12] ?? 0) + 1) * 4] = control;
  return bytes;
}

/** An .xz of a stored chunk, which resets the dictionary, and one of LZMA that sets no properties, or does not reset. */
function twoChunks(kind: number): Uint8Array {
  const stream = pipe("xz", ["-c", "-0"], noise(8, 5));
  const at = 12 + ((stream[12] ?? 0) + 1) * 4 + 3 + 8;
  const chunk = kind === 1 ? [0x80, 0, 9, 0, 9, 0, 0, 0, 0, 0] : [0xc0, 0, 9, 0, 9, 0x5d, 0, 0, 0, 0];
  return concat(stream.subarray(0, at), Uint8Array.from(chunk), new Uint8Array(16));
}

/** An LZ4 frame that tells of another size. */
function lz4OfSize(size: number): Uint8Array {
  const plain = pipe("lz4", ["-q", "-c", "--no-frame-crc"], SMALL);
  const head = concat(plain.subarray(0, 6), new Uint8Array(9));
  head[4] = (head[4] ?? 0) | 8;
  setU32(head, 6, size);
  REPAIRS.lz4?.(head);
  return concat(head, plain.subarray(7));
}

/** An LZ4 frame with a block of more than its 64 KiB. */
function lz4TooLarge(): Uint8Array {
  const bytes = pipe("lz4", ["-q", "-c", "-B5", "--no-frame-crc"], new Uint8Array(200_000));
  bytes[5] = 0x40;
  REPAIRS.lz4?.(bytes);
  return bytes;
}

function withHeaderCrc(stream: Uint8Array): Uint8Array {
  view(stream).setUint32(17, view(stream).getUint32(17) | 0x1000);
  REPAIRS.lzo?.(stream);
  return stream;
}

/** An .xz of one block: what follows the header's size byte (its CRC-32 is made), and its LZMA2. */
function xzBlock(header: readonly number[], data: readonly number[]): Uint8Array {
  const size = Math.ceil((1 + header.length + 4) / 4) * 4;
  const stream = new Uint8Array(12 + size + data.length);
  stream.set([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]);
  stream.set([size / 4 - 1, ...header], 12);
  stream.set(data, 12 + size);
  setU32(stream, 8, crc32Twin(stream.subarray(6, 8), 0));
  setU32(stream, 12 + size - 4, crc32Twin(stream.subarray(12, 12 + size - 4), 0));
  return stream;
}

/** The filter LZMA2 in a block's header; a chunk that is the letter A, and the end. */
const LZMA2 = [0x21, 1, 8];
const LETTER = [1, 0, 0, 65];

/** Streams whose checksums are right, and something behind them is not: random changes seldom come so far. */
function behindChecksums(format: CompressionFormat, stream: Uint8Array): readonly Uint8Array[] {
  switch (format) {
    case "xz": {
      const data = 12 + ((stream[12] ?? 0) + 1) * 4;
      const otherSize = (change: number): Uint8Array => {
        const bytes = stream.slice();
        bytes[data + 2] = (bytes[data + 2] ?? 0) + change;
        return bytes;
      };
      return [
        // Reserved flags; numbers that pass the header or the file, end with a zero byte, or have ten bytes.
        xzBlock([4, ...LZMA2], LETTER),
        xzBlock([0x40, 0x80, 0x80], LETTER),
        concat(stream.subarray(0, 12), Uint8Array.of(0, 0x80)),
        xzBlock([0x40, 0x80, 0, ...LZMA2], LETTER),
        xzBlock([0x40, ...new Array<number>(10).fill(0x80), ...LZMA2], LETTER),
        // Delta of two bytes; a branch filter of one, and of a start that is not aligned; properties past the header.
        xzBlock([1, 3, 2, 0, 0, ...LZMA2], LETTER),
        xzBlock([1, 5, 1, 0, ...LZMA2], LETTER),
        xzBlock([1, 5, 4, 1, 0, 0, 0, ...LZMA2], LETTER),
        xzBlock([1, 5, 100, 1, 0, 0, 0, ...LZMA2], LETTER),
        xzBlock([0, 0x21, 1, 41], LETTER),
        // LZMA2: an unknown control byte, a chunk of one byte, properties that can't be, chunks of another size.
        xzBlock([0, ...LZMA2], [...LETTER, 3]),
        xzBlock([0, ...LZMA2], [...LETTER, 2, 0, 0, 66, 0xe0, 0, 0, 0, 0, 0x5d, 0]),
        xzBlock([0, ...LZMA2], [0xe0, 0, 0, 0, 9, 225, ...new Array<number>(12).fill(0)]),
        otherSize(1),
        otherSize(-1),
        // Sizes in the block's header that are not those of its data.
        xzBlock([0x40, 6, ...LZMA2], [...LETTER, 0, 0, 0, 0]),
        xzBlock([0x80, 2, ...LZMA2], [...LETTER, 0, 0, 0, 0]),
      ];
    }
    case "lzma":
      return [concat(Uint8Array.of(225), stream.subarray(1))];
    case "zstd":
      // A match of 128 KiB behind a letter: a block has no more than 128 KiB.
      return [
        Uint8Array.from([
          ...[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0x55, 0, 0],
          ...[8, 65, 1, 0x54, 1, 2, 52, 0xff, 0xff, 4],
        ]),
        // The reserved flag.
        Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x28, 0, 1, 0, 0),
      ];
    case "lz4": {
      const frame = (flags: number, blocks: number): Uint8Array => {
        const bytes = Uint8Array.from([4, 0x22, 0x4d, 0x18, flags, blocks, ...new Array<number>(17).fill(0)]);
        REPAIRS.lz4?.(bytes);
        return bytes;
      };
      // A dictionary, with and without a size; a size that is too large; block sizes that there are not.
      const sized = frame(0x68, 0x40);
      sized.fill(0xff, 6, 14);
      REPAIRS.lz4?.(sized);
      return [
        frame(0x61, 0x40),
        frame(0x69, 0x40),
        sized,
        frame(0x60, 0x30),
        frame(0x60, 0xc0),
        frame(0x62, 0x40),
      ];
    }
    default:
      return [];
  }
}

/** Undamaged streams of several MiB in one block: they are decoded in steps. Long to make and to decode: run once. */
function inSteps(format: CompressionFormat): readonly (readonly [Uint8Array, Uint8Array])[] {
  const zeros = new Uint8Array(LONG_BYTES);
  const random = noise(5 << 19, 5);
  switch (format) {
    case "xz":
      return [[pipe("xz", ["-c", "--x86", "--lzma2=preset=0"], zeros), zeros]];
    case "lz4":
      return [
        [pipe("lz4", ["-q", "-c", "-B7"], zeros), zeros],
        [pipe("lz4", ["-q", "-c", "-B7", "-BX"], random), random],
      ];
    default:
      return [];
  }
}

/** Streams of a format: by its tool's options, made by hand, and one that is long. */
export function decoderSeeds(format: CompressionFormat): Seed[] {
  const repair = REPAIRS[format];
  const seed = (name: string, bytes: Uint8Array, output?: Uint8Array): Seed => ({
    name,
    bytes,
    fields: edgesAsFields(bytes),
    ...(repair === undefined ? {} : { repair }),
    ...(output === undefined ? {} : { output }),
  });
  const methods = METHODS.filter((method) => method.format === format);
  const seeds = methods.map((method) => seed(nameOf(method), compress(method, SMALL), SMALL));
  const [first] = methods;
  if (first === undefined) throw new Error(`there is no tool for ${format}`);
  seeds.push(
    ...handMade(format, compress(first, SMALL)).map(([name, bytes, output]) => seed(name, bytes, output)),
  );
  seeds.push(seed("empty", compress(first, new Uint8Array(0)), new Uint8Array(0)));
  // All of them some times, the long ones once: they take long to decode.
  const long = new Uint8Array(LONG_BYTES);
  const often = [...seeds, ...seeds, ...seeds];
  return [...often, ...methods.slice(0, 2).map((method) => seed("long", compress(method, long), long))];
}

/** The memory that output is made in, with bytes around it that nobody may write to. */
const CANARY = 0xa5;
const CANARY_BYTES = 512;
const INTO_BYTES = 16_384;
const place = lazy(() => {
  const memory = new WebAssembly.Memory({ initial: 16 });
  const bytes = new Uint8Array(memory.buffer);
  const offset = CANARY_BYTES + 3;
  const scratchOffset = offset + INTO_BYTES + CANARY_BYTES;
  return { memory, bytes, offset, scratchOffset };
});
const canary = new Uint8Array(CANARY_BYTES).fill(CANARY);

const wasmModule = lazy(() => new WebAssembly.Module(decodeBase64(DECODERS_WASM_BASE64)));

/** Runs `act` without WebAssembly. */
function withTwin<T>(subject: Subject, act: () => T): T {
  const { decoders } = subject.decoders;
  decoders.use("javascript");
  try {
    return act();
  } finally {
    decoders.use(wasmModule());
  }
}

/** What stands at the beginning of a stream that the decoder takes for its own. */
const MAGICS: Readonly<Record<CompressionFormat, readonly number[]>> = {
  gzip: [0x1f, 0x8b, 8],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0],
  lzma: [],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
  lz4: [4, 0x22, 0x4d, 0x18],
  "lz4-legacy": [2, 0x21, 0x4c, 0x18],
  bzip2: [0x42, 0x5a, 0x68],
  lzo: [0x89, 0x4c, 0x5a, 0x4f],
};

function makeStream(random: Random, seeds: readonly Seed[]): FuzzInput {
  const { seed, bytes, isWhole } = mutate(random, seeds);
  const size = seed.output?.byteLength ?? SMALL.byteLength;
  const isExact = isWhole && seed.output !== undefined && random.oneIn(2);
  return {
    stream: bytes,
    ...(isExact ? { expectedDigest: digest(seed.output ?? bytes) } : {}),
    maximumBytes: isExact
      ? MOST_BYTES
      : random.pick([MOST_BYTES, MOST_BYTES, 8192, size, size - 1, size + 1, 0, 1]),
    expectedBytes:
      isExact || !random.oneIn(4) ? undefined : random.pick([size, size + 1, size - 1, 0, 2 ** 32]),
    allowTrailing: isExact ? undefined : random.pick([undefined, undefined, true, false]),
    // What callers may get wrong.
    wrong: random.oneIn(12) ? random.below(8) : undefined,
    // The twin is slow to switch to.
    withTwin: random.oneIn(6),
    trail: random.oneIn(6) && !isExact ? random.bytes(1 + random.below(12)) : undefined,
  };
}

export function decoderTarget(subject: Subject, format: CompressionFormat): Target {
  const seeds = lazy(() => decoderSeeds(format));
  const { decompress, decompressMember, decompressInto, decodeSteps } = subject.decoders;
  return {
    name: format,
    corpus: lazy(() => {
      const distinct = [...new Set(seeds())];
      const whole = distinct.map(({ bytes, output }) => ({
        stream: bytes,
        ...(output === undefined ? {} : { expectedDigest: digest(output) }),
        maximumBytes: MOST_BYTES,
        withTwin: format === "gzip" || bytes === distinct[0]?.bytes,
      }));
      const wrong = Array.from({ length: 8 }, (_, i) => ({ ...whole[0], maximumBytes: 8192, wrong: i }));
      const [first] = distinct;
      if (first === undefined) throw new Error(`there are no streams of ${format}`);
      const mistakes = behindChecksums(format, first.bytes).map((stream) => ({
        stream,
        maximumBytes: MOST_BYTES,
      }));
      const steps = inSteps(format).map(([stream, output]) => ({
        stream,
        expectedDigest: digest(output),
        maximumBytes: MOST_BYTES,
      }));
      // Of two members, the first fills what is allowed.
      const members = {
        stream: concat(first.bytes, first.bytes),
        maximumBytes: SMALL.byteLength,
        allowTrailing: true,
        withTwin: true,
      };
      // What takes several steps, and its buffer goes away between two of them; other modules and memories.
      const hosts = [
        { stream: distinct.at(-1)?.bytes ?? first.bytes, maximumBytes: MOST_BYTES, host: "detached" },
        ...(format === "xz" ? ["chosen again", "shared"] : []).map((host) => ({
          stream: first.bytes,
          maximumBytes: 8192,
          host,
        })),
      ];
      return [...whole, ...wrong, ...mistakes, ...steps, members, ...hosts];
    }),
    executions: 200,
    make: (random) => makeStream(random, seeds()),
    run: (input): Outcome => {
      const { trail, allowTrailing } = input;
      const bytes = bytesOf(input, "stream");
      const stream = trail instanceof Uint8Array ? concat(bytes, trail) : bytes;
      const before = stream.slice();
      const maximumBytes = Math.max(0, numberOf(input, "maximumBytes"));
      const declared = maybeNumberOf(input, "expectedBytes");
      const expectedBytes = declared === undefined ? undefined : Math.max(0, declared);
      const options = {
        maximumBytes,
        expectedBytes,
        allowTrailing: allowTrailing === true,
      };
      const whole = observe(() => decompress(format, stream, options));
      expect(/^(ok|DECOMPRESS_.*)$/.test(whole.code), `the code is ${whole.code}`);
      if (whole.value instanceof Uint8Array) {
        expect(whole.value.byteLength <= maximumBytes, "there is more output than is allowed");
        expect(
          expectedBytes === undefined || whole.value.byteLength === expectedBytes,
          "the size is another",
        );
      }
      if (input["expectedDigest"] !== undefined) {
        const wanted = textOf(input, "expectedDigest");
        const got = whole.value instanceof Uint8Array ? digest(whole.value) : show(whole);
        expect(got === wanted, `an undamaged stream gives ${got}`);
      }
      const member = observe(() => decompressMember(format, stream, options));
      expect(member.code !== "DECOMPRESS_TRAILING_DATA", "decompressMember looks behind the member");
      // Left in the middle: what it held is given back.
      observe(() => {
        const steps = decodeSteps(format, stream, options);
        steps.next();
        steps.return({ output: new Uint8Array(0), consumed: 0 });
      });
      if (input["wrong"] !== undefined) callWrongly(subject, format, stream, numberOf(input, "wrong"));
      if (input["host"] !== undefined)
        onOtherHost(subject, format, stream, options, whole, textOf(input, "host"));
      if (maximumBytes <= INTO_BYTES - 16)
        alike(whole, into(decompressInto, format, stream, options), "decompress and decompressInto");
      if (format === "gzip" && input["withTwin"] === true) checkTwin(subject, stream, options, whole);
      if (format !== "gzip" && input["withTwin"] === true) {
        const missing = withTwin(subject, () => observe(() => decompress(format, stream, options)));
        expect(
          ["DECOMPRESS_UNSUPPORTED", "DECOMPRESS_TOO_LARGE"].includes(missing.code),
          `without WebAssembly: ${missing.code}`,
        );
      }
      expect(Buffer.compare(before, stream) === 0, "the input was modified");
      const isIdentified = MAGICS[format].every((byte, index) => stream[index] === byte);
      return { kind: `${whole.code} ${member.code === whole.code ? "" : member.code}`, isIdentified };
    },
  };
}

/** Calls with arguments of a wrong type, or places that are not there: TypeErrors in our own words. */
function callWrongly(subject: Subject, format: CompressionFormat, stream: Uint8Array, which: number): void {
  const { memory, offset, scratchOffset } = place();
  const limit = { maximumBytes: 100 };
  const target = { memory, offset, byteLength: 100, scratchOffset };
  const { decompress, decompressInto, decoders } = subject.decoders;
  const calls: readonly (() => unknown)[] = [
    () => decompress("zip" as CompressionFormat, stream, limit),
    () => decompress(format, "text" as unknown as Uint8Array, limit),
    () => decompress(format, stream, null as unknown as typeof limit),
    () => decompressInto(format, stream, { ...target, offset: -1 }, limit),
    () => decompressInto(format, stream, { ...target, scratchOffset: 2 ** 30 }, limit),
    () => decompressInto(format, stream, { ...target, scratchOffset: offset }, limit),
    () => decoders.use("fast" as "auto"),
    () => decoders.use(new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))),
  ];
  const observed = observe(calls[which] ?? (() => {}), { typeErrors: true });
  expect(observed.code === "TypeError", `a wrong argument gives ${observed.code}`);
  // Without scratch the output is made elsewhere and copied.
  const { scratchOffset: _, ...noScratch } = target;
  observe(() => decompressInto(format, stream, noScratch, limit));
}

/** The same with a module that is chosen again, into memory that threads share, or of a buffer that goes away. */
function onOtherHost(
  subject: Subject,
  format: CompressionFormat,
  stream: Uint8Array,
  options: Parameters<Subject["decoders"]["decompress"]>[2],
  whole: Observed,
  host: string,
): void {
  const { decoders, decompress, decompressInto, decodeSteps } = subject.decoders;
  if (host === "chosen again") {
    decoders.use("auto");
    const again = observe(() => decompress(format, stream, options));
    decoders.use(wasmModule());
    same(whole, again, "the decoders and those that are chosen again");
    return;
  }
  if (host === "shared") {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const place = { memory, offset: 0, byteLength: options.maximumBytes, scratchOffset: INTO_BYTES };
    const shared = observe(() => {
      const made = decompressInto(format, stream, place, options);
      return new Uint8Array(memory.buffer).slice(0, made);
    });
    alike(whole, shared, "a memory of its own and one that is shared");
    return;
  }
  const input = Uint8Array.from(stream);
  const observed = observe(() => {
    const steps = decodeSteps(format, input, options);
    const first = steps.next();
    structuredClone(input.buffer, { transfer: [input.buffer] });
    return first.done === true ? undefined : steps.next();
  });
  expect(/^(ok|SOURCE_READ|DECOMPRESS_.*)$/.test(observed.code), `a detached input gives ${observed.code}`);
}

/** Decodes in place, and looks whether anything around was written to. */
function into(
  decompressInto: Subject["decoders"]["decompressInto"],
  format: CompressionFormat,
  stream: Uint8Array,
  options: Parameters<Subject["decoders"]["decompress"]>[2],
): Observed {
  const { memory, bytes, offset, scratchOffset } = place();
  const byteLength = options.maximumBytes;
  bytes.fill(CANARY, 0, scratchOffset);
  const after = offset + byteLength;
  const behind = bytes.byteLength - CANARY_BYTES;
  bytes.fill(CANARY, behind);
  const observed = observe(() => {
    const made = decompressInto(format, stream, { memory, offset, byteLength, scratchOffset }, options);
    return bytes.slice(offset, offset + made);
  });
  const untouched = (at: number): boolean =>
    Buffer.compare(bytes.subarray(at, at + CANARY_BYTES), canary) === 0;
  expect(
    untouched(offset - CANARY_BYTES) && untouched(after) && untouched(behind),
    "bytes outside of the target were written",
  );
  return observed;
}

/** WASM and JavaScript see the same bytes; they may find different mistakes in them. */
function checkTwin(
  subject: Subject,
  stream: Uint8Array,
  options: Parameters<Subject["decoders"]["decompress"]>[2],
  whole: Observed,
): void {
  const twin = withTwin(subject, () => observe(() => subject.decoders.decompress("gzip", stream, options)));
  const isSame =
    whole.code === "ok" ? twin.code === "ok" && twin.detail === whole.detail : twin.code !== "ok";
  if (!isSame) throw new Finding(`WASM and the twin disagree: ${show(whole)} and ${show(twin)}`);
}

/** gzip by the platform: at once, and as a stream. */
export function gunzipTarget(subject: Subject): Target {
  const seeds = lazy(() => decoderSeeds("gzip"));
  return {
    name: "gunzip",
    executions: 70,
    make: (random) => {
      const stream = makeStream(random, seeds());
      return {
        ...stream,
        chunks: chunkLengths(random, bytesOf(stream, "stream").byteLength),
        isStream: random.oneIn(2),
      };
    },
    run: async (input): Promise<Outcome> => {
      const bytes = bytesOf(input, "stream");
      const maximumBytes = Math.max(0, numberOf(input, "maximumBytes"));
      const source = (): BytesSource => new BytesSource(bytes, "input");
      const atOnce = observe(() => runSync(readWhole(subject.gunzipSourceSync(source(), { maximumBytes }))));
      const chunks = numbersOf(input, "chunks");
      const streamed = await observeAsync(async () => {
        const compressed =
          input["isStream"] === true
            ? new StreamSource(supplyOf(bytes, chunks), { name: "input" })
            : source();
        const stream = subject.gunzipSource(compressed, { maximumBytes });
        const whole = await stream.spoolWhole();
        return runAsync(readWhole(whole));
      });
      if (atOnce.code === "ok" && streamed.code === "ok") alike(atOnce, streamed, "at once and streamed");
      const decoded = observe(() =>
        subject.decoders.decompress("gzip", bytes, { maximumBytes, allowTrailing: true }),
      );
      if (atOnce.code === "ok" && decoded.code === "ok")
        alike(atOnce, decoded, "the platform and the decoder");
      for (const { code } of [atOnce, streamed])
        expect(/^(ok|DECOMPRESS_.*)$/.test(code), `the code is ${code}`);
      return {
        kind: `${atOnce.code} ${streamed.code} ${decoded.code}`,
        isIdentified: bytes[0] === 0x1f && bytes[1] === 0x8b,
      };
    },
  };
}
