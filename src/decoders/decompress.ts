/** One call for each way to decompress: all, a member, in steps, in place. */
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { bzip2Follows, decodeBzip2 } from "./bzip2.js";
import { decodeGzip, gzipFollows } from "./gzip.js";
import { decodeGzipTwin } from "./gzip-twin.js";
import { decodeLz4, decodeLz4Legacy, lz4Follows } from "./lz4.js";
import { decodeLzma } from "./lzma-alone.js";
import { decodeLzo, lzoFollows } from "./lzo.js";
import { type CompressionFormat, checkOptions, type Decoding, type DecompressOptions } from "./options.js";
import { decoders, decodersOver } from "./wasm.js";
import { checkInput, DECODER_SCRATCH_BYTES, Workspace } from "./workspace.js";
import { decodeXz, xzFollows } from "./xz.js";
import { decodeZstd, zstdFollows } from "./zstd.js";

/** A stream's bytes, and how many bytes of input it took. */
export interface DecodedMember {
  /** The decompressed bytes. */
  readonly output: Uint8Array;
  /** Bytes of input that it took. */
  readonly consumed: number;
}

interface Format {
  /** Decodes one member, stream or frame. */
  readonly decode: (w: Workspace, allowTrailing: boolean) => Decoding<void>;
  /** True if another one stands at the position. */
  readonly follows: (w: Workspace) => boolean;
  /** The format's tool ignores zeros behind the stream. */
  readonly ignoresZeros: boolean;
}

const never = (): boolean => false;

const FORMATS: Readonly<Record<CompressionFormat, Format>> = {
  gzip: { decode: decodeGzip, follows: gzipFollows, ignoresZeros: true },
  xz: { decode: decodeXz, follows: skipXzPadding, ignoresZeros: false },
  lzma: { decode: decodeLzma, follows: never, ignoresZeros: false },
  zstd: { decode: decodeZstd, follows: zstdFollows, ignoresZeros: false },
  lz4: { decode: decodeLz4, follows: lz4Follows, ignoresZeros: false },
  "lz4-legacy": { decode: decodeLz4Legacy, follows: never, ignoresZeros: true },
  bzip2: { decode: decodeBzip2, follows: bzip2Follows, ignoresZeros: true },
  lzo: { decode: decodeLzo, follows: lzoFollows, ignoresZeros: false },
};

/** Streams of .xz may have padding behind them, zeros of a multiple of four bytes (2.2). */
function skipXzPadding(w: Workspace): boolean {
  let next = w.position;
  while (w.input.length - next >= 4 && w.u32(next) === 0) next += 4;
  if (!xzFollows(w, next)) {
    if (next === w.input.length) w.position = next;
    return false;
  }
  w.position = next;
  return true;
}

function formatOf(format: CompressionFormat): Format {
  if (!Object.hasOwn(FORMATS, format)) {
    throw new TypeError(
      `format must be one of ${Object.keys(FORMATS).join(", ")}, got ${describeType(format)}`,
    );
  }
  return FORMATS[format];
}

/** What both implementations leave to check at the end. */
function checkEnd(
  format: CompressionFormat,
  input: Uint8Array,
  position: number,
  produced: number,
  { expectedBytes, allowTrailing = false }: DecompressOptions,
  isMember: boolean,
): void {
  if (expectedBytes !== undefined && produced !== expectedBytes) {
    throw new DirectBootError(
      "DECOMPRESS_WRONG_SIZE",
      `${format}: the output is ${produced} bytes, declared are ${expectedBytes}`,
    );
  }
  if (isMember || allowTrailing || position === input.length) return;
  if (FORMATS[format].ignoresZeros && input.subarray(position).every((byte) => byte === 0)) return;
  throw new DirectBootError(
    "DECOMPRESS_TRAILING_DATA",
    `${format}: the stream ends at byte ${position}, ${input.length - position} more follow`,
  );
}

function* decodeWith(
  w: Workspace,
  { decode, follows }: Format,
  options: DecompressOptions,
  isMember: boolean,
): Decoding<void> {
  const { allowTrailing = false, expectedBytes } = options;
  try {
    do yield* decode(w, allowTrailing || isMember);
    while (!isMember && !(allowTrailing && w.produced === expectedBytes) && follows(w));
    w.checkInput();
  } catch (cause) {
    // Whatever a decoder says of input that went away meanwhile: that is the reason.
    w.checkInput();
    // Every access is checked: a trap would be a mistake in a decoder, which is no reason to take the host down.
    if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
    throw new DirectBootError("DECOMPRESS_CORRUPT", `${w.format}: the decoder stopped`, { cause });
  }
  checkEnd(w.format, w.input, w.position, w.produced, options, isMember);
}

function* decode(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
  isMember: boolean,
): Decoding<DecodedMember> {
  if (format === "gzip" && decoders.implementation === "javascript") {
    const { length } = input;
    let decoded: DecodedMember;
    try {
      decoded = yield* decodeGzipTwin(input, options, isMember);
    } finally {
      checkInput(format, input, length);
    }
    checkEnd(format, input, decoded.consumed, decoded.output.length, options, isMember);
    return decoded;
  }
  const w = new Workspace(format, input, options);
  let isDone = false;
  try {
    yield* decodeWith(w, formatOf(format), options, isMember);
    isDone = true;
    return { output: w.takeOutput(), consumed: w.position };
  } finally {
    if (!isDone) w.release();
  }
}

function finish<T>(decoding: Decoding<T>): T {
  while (true) {
    const { done, value } = decoding.next();
    if (done === true) return value;
  }
}

function check(format: CompressionFormat, input: Uint8Array, options: DecompressOptions): void {
  formatOf(format);
  checkOptions(input, options);
}

/**
 * Decompresses all of `input`: every member, frame or stream in it, one after the other.
 *
 * @returns the bytes, in a buffer of their own, which may be larger than they are
 * @throws DirectBootError DECOMPRESS_CORRUPT, DECOMPRESS_TRUNCATED, DECOMPRESS_CHECKSUM, DECOMPRESS_TOO_LARGE,
 *   DECOMPRESS_WRONG_SIZE, DECOMPRESS_UNSUPPORTED (also where WebAssembly is missing and the format is not gzip),
 *   DECOMPRESS_TRAILING_DATA
 * @throws TypeError for arguments of a wrong type
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { decompress } from "directboot/decoders";
 *
 * const elf = decompress("xz", readFileSync("vmlinux.xz"), { maximumBytes: 64 * 1024 * 1024 });
 * console.log(elf.subarray(1, 4).toString()); // 69,76,70
 * ```
 */
export function decompress(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): Uint8Array {
  check(format, input, options);
  return finish(decode(format, input, options, false)).output;
}

/**
 * Decompresses the first member, frame or stream of `input`; what follows is not looked at. Frames that carry no data
 * are taken along with the one behind them; an archive of legacy LZ4 ends where no block can follow.
 *
 * @throws as {@link decompress}, but never DECOMPRESS_TRAILING_DATA
 */
export function decompressMember(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): DecodedMember {
  check(format, input, options);
  return finish(decode(format, input, options, true));
}

/**
 * The same as {@link decompress} in steps of about 2 MiB of output: yields how far it is between them, so that the
 * caller can report progress, give others a turn, or stop (`return()`). `input` must not change meanwhile.
 *
 * @returns the bytes, and how many bytes of input they took
 * @throws as {@link decompress}
 */
export function decodeSteps(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): Decoding<DecodedMember> {
  check(format, input, options);
  return decode(format, input, options, false);
}

/** {@link decompressMember} in steps, as {@link decodeSteps}. */
export function decodeMemberSteps(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): Decoding<DecodedMember> {
  check(format, input, options);
  return decode(format, input, options, true);
}

/** What {@link decodeStepsInto} gives: bytes of output, and of input that they took. */
export interface DecodedInto {
  /** Bytes of output. */
  readonly byteLength: number;
  /** Bytes of input that it took. */
  readonly consumed: number;
}

/** Where {@link decompressInto} puts its output. */
export interface DecodeTarget {
  /** The memory that it is put into. */
  readonly memory: WebAssembly.Memory;
  /** Offset of the output in `memory`, in bytes. */
  readonly offset: number;
  /** Room for the output: more is DECOMPRESS_TOO_LARGE. */
  readonly byteLength: number;
  /**
   * Offset of {@link DECODER_SCRATCH_BYTES} in `memory`, apart from the output, which are zero afterwards: then the
   * output is made where it is to lie. Without (and for bzip2 and lzo, or where WebAssembly is missing) it is copied
   * there when it is complete.
   */
  readonly scratchOffset?: number | undefined;
}

function checkTarget({ memory, offset, byteLength, scratchOffset }: DecodeTarget): void {
  const size = memory.buffer.byteLength;
  const inside = (at: number, length: number): boolean =>
    Number.isInteger(at) && Number.isInteger(length) && at >= 0 && length >= 0 && at + length <= size;
  if (!inside(offset, byteLength)) {
    throw new TypeError(
      `the target [${offset}, ${offset} + ${byteLength}) is not within a memory of ${size} bytes`,
    );
  }
  if (scratchOffset === undefined) return;
  if (!inside(scratchOffset, DECODER_SCRATCH_BYTES)) {
    throw new TypeError(
      `the scratch [${scratchOffset}, ${scratchOffset} + ${DECODER_SCRATCH_BYTES}) is not within a memory of ${size} bytes`,
    );
  }
  if (scratchOffset < offset + byteLength && offset < scratchOffset + DECODER_SCRATCH_BYTES) {
    throw new TypeError("the scratch and the target overlap");
  }
}

/** The address behind a memory of 4 GiB does not fit the decoders' 32 bits. */
const MOST_ADDRESS = 2 ** 32 - 65_536;

/**
 * As {@link decodeSteps}, straight into a memory, for example a guest's. Nothing outside the target and the scratch is
 * written, whatever the input; up to 1 KiB of the target behind the output is zero afterwards. If it fails, the target
 * holds anything. The memory must not change meanwhile, nor `input` lie in the target or the scratch.
 *
 * @throws as {@link decompress}; TypeError for ranges outside the memory or that overlap
 */
export function decodeStepsInto(
  format: CompressionFormat,
  input: Uint8Array,
  target: DecodeTarget,
  options: DecompressOptions,
): Decoding<DecodedInto> {
  check(format, input, options);
  checkTarget(target);
  return decodeInto(format, input, target, options);
}

function* decodeInto(
  format: CompressionFormat,
  input: Uint8Array,
  target: DecodeTarget,
  options: DecompressOptions,
): Decoding<DecodedInto> {
  const { memory, offset, byteLength, scratchOffset } = target;
  const isInPlace =
    scratchOffset !== undefined &&
    format !== "bzip2" &&
    format !== "lzo" &&
    offset + byteLength <= MOST_ADDRESS &&
    scratchOffset + DECODER_SCRATCH_BYTES <= MOST_ADDRESS &&
    decodersOver(memory) !== undefined;
  if (!isInPlace) {
    const maximumBytes = Math.min(options.maximumBytes, byteLength);
    const limited = { ...options, maximumBytes };
    checkOptions(input, limited);
    const { output, consumed } = yield* decode(format, input, limited, false);
    new Uint8Array(memory.buffer).set(output, offset);
    return { byteLength: output.length, consumed };
  }
  const w = new Workspace(format, input, options, { memory, offset, byteLength, scratch: scratchOffset });
  try {
    yield* decodeWith(w, formatOf(format), options, false);
    return { byteLength: w.produced, consumed: w.position };
  } finally {
    w.cleanTarget();
  }
}

/**
 * {@link decodeStepsInto} in one go; gives the bytes of output.
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { decompressInto } from "directboot/decoders";
 *
 * const memory = new WebAssembly.Memory({ initial: 64 });
 * const target = { memory, offset: 65_536, byteLength: 1024 * 1024 };
 * const byteLength = decompressInto("xz", readFileSync("vmlinux.xz"), target, { maximumBytes: target.byteLength });
 * console.log(new Uint8Array(memory.buffer, target.offset, 4).toString(), byteLength > 0); // 127,69,76,70 true
 * ```
 */
export function decompressInto(
  format: CompressionFormat,
  input: Uint8Array,
  target: DecodeTarget,
  options: DecompressOptions,
): number {
  return finish(decodeStepsInto(format, input, target, options)).byteLength;
}
