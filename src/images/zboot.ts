/**
 * EFI zboot: a PE program that unpacks the kernel inside it, as arm64, riscv and loongarch distribute their kernels.
 * Layout: the kernel's drivers/firmware/efi/libstub/zboot-header.S and Makefile.zboot.
 *
 *     0x00  "MZ", 0, 0        0x08  payload offset    0x10  reserved            0x38  magic of Linux's PE programs
 *     0x04  "zimg"            0x0c  payload size      0x18  compression, NUL    0x3c  offset of the PE header
 */
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { describeFormat, detectFormat } from "./detect.js";

/** Bytes of the header: up to the PE header at the earliest. */
export const ZBOOT_HEADER_BYTES = 64;
/** Offset of the compression's name. */
export const ZBOOT_COMPRESSION_OFFSET = 24;
/** The name ends before the PE header's offset; the first kernels with zboot have no magic at 56. */
export const ZBOOT_COMPRESSION_LIMIT = 60;
const MZ_MAGIC = 0x5a4d;
const IMAGE_TYPE = 0x676d_697a; // "zimg"
/** Behind a payload stands its size, but for gzip, which has it within (scripts/Makefile.lib, size_append). */
export const SIZE_TRAILER_BYTES = 4;

/** The header. Offsets and lengths in bytes. */
export interface ZbootImage {
  /** Where the compressed kernel starts in the file. */
  readonly payloadOffset: number;
  /**
   * Bytes of the compressed kernel. The 4 bytes behind it, its uncompressed size, are no part of it (with gzip they
   * are: there they belong to the format).
   */
  readonly payloadLength: number;
  /** The build's name of the compression: gzip, lz4, lzma, lzo, xzkern, zstd22 or what later kernels may say. */
  readonly compression: string;
}

/**
 * Reads the header, with one request.
 *
 * @throws DirectBootError in this order: ZBOOT_TRUNCATED below 64 bytes, ZBOOT_BAD_MAGIC, ZBOOT_BAD_COMPRESSION_NAME,
 *   ZBOOT_BAD_PAYLOAD, ZBOOT_TRUNCATED
 */
export function* readZboot(source: Source): Task<ZbootImage> {
  const { name, byteLength } = source;
  const head = yield* readBytes(source, 0, Math.min(byteLength, ZBOOT_HEADER_BYTES));
  if (head.byteLength < ZBOOT_HEADER_BYTES) {
    throw new DirectBootError(
      "ZBOOT_TRUNCATED",
      `${name} is ${describeFormat(detectFormat(head))} of ${byteLength} bytes, a zboot header has ${ZBOOT_HEADER_BYTES}`,
    );
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint16(0, true) !== MZ_MAGIC || view.getUint32(4, true) !== IMAGE_TYPE) {
    throw new DirectBootError(
      "ZBOOT_BAD_MAGIC",
      `${name} is ${describeFormat(detectFormat(head))}: "MZ" at 0 and "zimg" at 4 are wanted`,
    );
  }
  const field = head.subarray(ZBOOT_COMPRESSION_OFFSET, ZBOOT_COMPRESSION_LIMIT);
  const compression = field.subarray(0, Math.max(field.indexOf(0), 0));
  if (compression.byteLength === 0 || !compression.every((byte) => byte > 0x20 && byte < 0x7f)) {
    throw new DirectBootError(
      "ZBOOT_BAD_COMPRESSION_NAME",
      `${name}: bytes ${ZBOOT_COMPRESSION_OFFSET} to ${ZBOOT_COMPRESSION_LIMIT} hold no name that ends with NUL`,
    );
  }
  const payloadOffset = view.getUint32(8, true);
  const payloadLength = view.getUint32(12, true);
  if (payloadOffset < ZBOOT_HEADER_BYTES || payloadLength === 0) {
    throw new DirectBootError(
      "ZBOOT_BAD_PAYLOAD",
      `${name}: a payload of ${payloadLength} bytes at ${payloadOffset} is empty or lies in the header of ${ZBOOT_HEADER_BYTES} bytes`,
    );
  }
  const text = String.fromCharCode(...compression);
  const end = payloadOffset + payloadLength + (text === "gzip" ? 0 : SIZE_TRAILER_BYTES);
  if (end > byteLength) {
    throw new DirectBootError(
      "ZBOOT_TRUNCATED",
      `${name} has ${byteLength} bytes, its payload and the size behind it end at ${end}`,
    );
  }
  return { payloadOffset, payloadLength, compression: text };
}
