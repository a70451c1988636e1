/** What callers say, and are told. */
import { toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { DECODER_WORK_PAGES } from "../sources/source.js";

/** What kernels and initrds are compressed with. "lz4-legacy" is `lz4 -l`, "lzma" the format of `xz --format=lzma`. */
export type CompressionFormat = "gzip" | "xz" | "lzma" | "zstd" | "lz4" | "lz4-legacy" | "bzip2" | "lzo";

/** Bytes that a decoder needs beside its output in a memory that is not its own: scratch, window, alignment. */
export const DECODER_SCRATCH_BYTES = DECODER_WORK_PAGES * 65_536;

/** What may come out of a compressed stream, and what may follow it. */
export interface DecompressOptions {
  /** Most bytes of output; more is DECOMPRESS_TOO_LARGE, before they are allocated. */
  readonly maxDecompressedSize: number;
  /** Bytes of output that are declared elsewhere, for example behind a bzImage's payload: exactly so many, or DECOMPRESS_WRONG_SIZE. */
  readonly expectedBytes?: number | undefined;
  /**
   * Allows bytes behind the stream. Without it they are DECOMPRESS_TRAILING_DATA, but for zeros where the format's own
   * tool ignores them (gzip, bzip2, lz4-legacy, the padding of xz).
   */
  readonly allowTrailing?: boolean | undefined;
}

/** Where `decompressInto` puts its output. */
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

/** How far a decoder has come; bytes. */
export interface DecodeProgress {
  /** Of the input. */
  readonly consumed: number;
  /** Of output. */
  readonly produced: number;
}

/** A stream's bytes, and how many bytes of input it took. */
export interface DecodedMember {
  /** The decompressed bytes. */
  readonly output: Uint8Array;
  /** Bytes of input that it took. */
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
