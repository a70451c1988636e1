/** Options and results of the decoders, and their checks. */
import { toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
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
   * Allows bytes behind the stream. By default they are DECOMPRESS_TRAILING_DATA, except zeros that the format's own
   * tool ignores (gzip, bzip2, lz4-legacy, the padding of xz).
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
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`options must be an object with maxDecompressedSize, got ${describeType(options)}`);
  }
  const maximum = toLength(options.maxDecompressedSize, "maxDecompressedSize");
  if (options.expectedBytes === undefined) return;
  const expected = toLength(options.expectedBytes, "expectedBytes");
  if (expected > maximum) {
    throw new DirectBootError(
      "DECOMPRESS_TOO_LARGE",
      `the declared size is ${expected} bytes, the limit is ${maximum}`,
    );
  }
}

/** Throws TypeError for ranges outside the memory, or that overlap. */
export function checkTarget({ memory, offset, byteLength, scratchOffset }: DecodeTarget): void {
  const size = memory.buffer.byteLength;
  const checkInside = (what: string, at: number, length: number): void => {
    const isInside = Number.isInteger(at) && Number.isInteger(length) && at >= 0 && length >= 0;
    if (isInside && at + length <= size) return;
    throw new TypeError(`the ${what} [${at}, ${at} + ${length}) is not within a memory of ${size} bytes`);
  };
  checkInside("target", offset, byteLength);
  if (scratchOffset === undefined) return;
  checkInside("scratch", scratchOffset, DECODER_SCRATCH_BYTES);
  if (scratchOffset < offset + byteLength && offset < scratchOffset + DECODER_SCRATCH_BYTES) {
    throw new TypeError("the scratch and the target overlap");
  }
}
