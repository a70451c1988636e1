/** Options and results of the decoders, and their checks. */
import { describeType, hasMethods } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { is, isBoolean, isLength, optional, options as optionsOf } from "../base/options.js";
import { DECODER_WORK_PAGES } from "../sources/source.js";

/** The compression formats of kernels and initrds. "lz4-legacy" is `lz4 -l`, "lzma" the format of `xz --format=lzma`. */
export type CompressionFormat = "gzip" | "xz" | "lzma" | "zstd" | "lz4" | "lz4-legacy" | "bzip2" | "lzo";

/** Size in bytes of the scratch area that a decoder needs in the caller's memory. */
export const DECODER_SCRATCH_BYTES = DECODER_WORK_PAGES * 65_536;

/** Limits of a decompression. */
export interface DecompressOptions {
  /** Most bytes of output. More is DECOMPRESS_TOO_LARGE, thrown before they are allocated. */
  readonly maxDecompressedSize: number;
  /** Exact bytes of output, where they are known: behind a bzImage's payload, for example. Else DECOMPRESS_WRONG_SIZE. */
  readonly expectedBytes?: number | undefined;
  /**
   * Allows bytes behind the stream. By default they are DECOMPRESS_TRAILING_DATA, except zeros, and the output's size in
   * four bytes, which the kernel's build appends.
   */
  readonly allowTrailing?: boolean | undefined;
}

/** Where `decompressInto` puts its output. */
export interface DecodeTarget {
  /** The memory that receives the output. */
  readonly memory: WebAssembly.Memory;
  /** Offset of the output in `memory`, in bytes. */
  readonly offset: number;
  /** Room for the output: more is DECOMPRESS_TOO_LARGE. */
  readonly byteLength: number;
  /**
   * Offset in `memory` of {@link DECODER_SCRATCH_BYTES} apart from the output; they are zero afterwards. With it, the
   * decoder writes straight into the target. Without it (and always for bzip2 and lzo, or without WebAssembly) the
   * output is copied there once it is complete.
   */
  readonly scratchOffset?: number | undefined;
}

/** Progress of a decoder, in bytes. */
export interface DecodeProgress {
  /** Bytes of input read. */
  readonly consumed: number;
  /** Bytes of output written. */
  readonly produced: number;
}

/** One decompressed member. */
export interface DecodedMember {
  /** The decompressed bytes. */
  readonly output: Uint8Array;
  /** Bytes of input that it occupied. */
  readonly consumed: number;
}

const checkShape = optionsOf({
  maxDecompressedSize: isLength,
  expectedBytes: optional(isLength),
  allowTrailing: optional(isBoolean),
});

/** Throws TypeError for options of a wrong type, DECOMPRESS_TOO_LARGE for a declared size beyond the limit. */
export function checkOptions(
  formats: readonly string[],
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): void {
  if (!formats.includes(format)) {
    throw new TypeError(`format must be one of ${formats.join(", ")}, got ${describeType(format)}`);
  }
  if (!(input instanceof Uint8Array)) {
    throw new TypeError(`input must be a Uint8Array, got ${describeType(input)}`);
  }
  checkShape(options, "");
  const { expectedBytes = 0, maxDecompressedSize } = options;
  if (expectedBytes > maxDecompressedSize) {
    throw new DirectBootError(
      "DECOMPRESS_TOO_LARGE",
      `the declared size is ${expectedBytes} bytes, the limit is ${maxDecompressedSize}`,
    );
  }
}

const checkTargetShape = optionsOf({
  memory: is("a WebAssembly.Memory", (value) => hasMethods(value, ["grow"]) && "buffer" in value),
  offset: isLength,
  byteLength: isLength,
  scratchOffset: optional(isLength),
});

/** Throws TypeError for ranges outside the memory, or that overlap. */
export function checkTarget(target: DecodeTarget): void {
  checkTargetShape(target, "target");
  const { memory, offset, byteLength, scratchOffset } = target;
  const size = memory.buffer.byteLength;
  const checkInside = (what: string, at: number, length: number): void => {
    if (at + length <= size) return;
    throw new TypeError(`the ${what} [${at}, ${at} + ${length}) is not within a memory of ${size} bytes`);
  };
  checkInside("target", offset, byteLength);
  if (scratchOffset === undefined) return;
  checkInside("scratch", scratchOffset, DECODER_SCRATCH_BYTES);
  if (scratchOffset < offset + byteLength && offset < scratchOffset + DECODER_SCRATCH_BYTES) {
    throw new TypeError("the scratch and the target overlap");
  }
}
