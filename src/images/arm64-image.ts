/**
 * The arm64 `Image`: a flat kernel with a 64-byte header (Documentation/arch/arm64/booting.rst, "Call the kernel
 * image").
 */
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { DETECT_BYTES } from "./detect.js";

/** Bytes of the header. */
export const ARM64_IMAGE_HEADER_BYTES = 64;
/** "ARM\x64", little-endian, at offset 56. */
const MAGIC = 0x644d5241;

/** Kernel page size, flags bits 1-2: OpenVMM's `Aarch64ImagePageSize`. */
export const Aarch64ImagePageSize = {
  UNSPECIFIED: 0,
  PAGE4_K: 1,
  PAGE16_K: 2,
  PAGE64_K: 3,
} as const;
/** A value of {@link Aarch64ImagePageSize}. */
export type Aarch64ImagePageSize = (typeof Aarch64ImagePageSize)[keyof typeof Aarch64ImagePageSize];

/** The values in words, by number. */
export const ARM64_PAGE_SIZES = ["unspecified", "4KiB", "16KiB", "64KiB"] as const;
/** A kernel's page size; "unspecified" is what kernels before 4.6 say. */
export type Arm64PageSize = "unspecified" | "4KiB" | "16KiB" | "64KiB";

/** The kernel flags, decoded: OpenVMM's `Aarch64ImageFlags`. Bits 4-63 are reserved. */
export interface Aarch64ImageFlags {
  /** Bit 0. */
  readonly bigEndian: boolean;
  /** Bits 1-2. */
  readonly pageSize: Aarch64ImagePageSize;
  /** Bit 3: the 2 MiB aligned base may be anywhere in physical memory. */
  readonly anyStartAddress: boolean;
}

/** The header: OpenVMM's `Aarch64ImageHeader`. Offsets and sizes in bytes. */
export interface Aarch64ImageHeader {
  /** Executable code. */
  readonly code0: number;
  /** Executable code. */
  readonly code1: number;
  /** Image load offset from a 2 MiB aligned base. */
  readonly textOffset: bigint;
  /** Effective size, bss included; 0 in kernels before 3.17. */
  readonly imageSize: bigint;
  /** The kernel flags; {@link Aarch64ImageFlags} are their fields. */
  readonly flags: bigint;
  /** Reserved. */
  readonly res2: bigint;
  /** Reserved. */
  readonly res3: bigint;
  /** Reserved. */
  readonly res4: bigint;
  /** 0x644d5241, "ARM\x64". */
  readonly magic: number;
  /** Offset of the PE header. */
  readonly res5: number;
}

// The PE header of an Image that is an EFI program, too (PE Format, "MS-DOS Stub", "COFF File Header", "Section Table").
/** "MZ", the low half of code0. */
const MZ_MAGIC = 0x5a4d;
/** "PE\0\0". */
const PE_MAGIC = 0x4550;
/** Bytes of the magic and the COFF header behind it. */
const COFF_HEADER_BYTES = 24;
const COFF_NUMBER_OF_SECTIONS = 6;
const COFF_SIZE_OF_OPTIONAL_HEADER = 20;
const SECTION_BYTES = 40;
const SECTION_SIZE_OF_RAW_DATA = 16;
const SECTION_POINTER_TO_RAW_DATA = 20;
/** PECOFF_FILE_ALIGNMENT (arch/arm64/kernel/efi-header.S): what raw data may be rounded up to. */
const FILE_ALIGNMENT = 0x200;

/** Decodes the flags. */
export function decodeAarch64ImageFlags(flags: bigint): Aarch64ImageFlags {
  return {
    bigEndian: (flags & 1n) !== 0n,
    pageSize: Number((flags >> 1n) & 3n) as Aarch64ImagePageSize,
    anyStartAddress: (flags & 8n) !== 0n,
  };
}

/**
 * Reads the header.
 *
 * @throws DirectBootError ARM64_READ_KERNEL_IMAGE below 64 bytes, ARM64_BAD_IMAGE_MAGIC
 */
export function* readArm64Image(source: Source): Task<Aarch64ImageHeader> {
  if (source.byteLength < ARM64_IMAGE_HEADER_BYTES) {
    throw new DirectBootError(
      "ARM64_READ_KERNEL_IMAGE",
      `${source.name} has ${source.byteLength} bytes, an Image header has ${ARM64_IMAGE_HEADER_BYTES}`,
    );
  }
  const bytes = yield* readBytes(source, 0, ARM64_IMAGE_HEADER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(56, true);
  if (magic !== MAGIC) {
    throw new DirectBootError(
      "ARM64_BAD_IMAGE_MAGIC",
      `${source.name}: the magic at byte 56 is 0x${magic.toString(16)}, 0x${MAGIC.toString(16)} is wanted`,
    );
  }
  return {
    code0: view.getUint32(0, true),
    code1: view.getUint32(4, true),
    textOffset: view.getBigUint64(8, true),
    imageSize: view.getBigUint64(16, true),
    flags: view.getBigUint64(24, true),
    res2: view.getBigUint64(32, true),
    res3: view.getBigUint64(40, true),
    res4: view.getBigUint64(48, true),
    magic,
    res5: view.getUint32(60, true),
  };
}

/**
 * The least bytes that an Image's file has, by its PE header; 0 if it has none that `head` tells of. image_size counts
 * the bss, so only this tells a file that is cut off.
 *
 * @param head the first {@link DETECT_BYTES}, or all of a shorter file; Linux has the PE header and two sections in them
 */
export function leastArm64ImageBytes(head: Uint8Array): number {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.byteLength < ARM64_IMAGE_HEADER_BYTES || view.getUint16(0, true) !== MZ_MAGIC) return 0;
  const start = view.getUint32(60, true);
  const coffEnd = start + COFF_HEADER_BYTES;
  if (coffEnd > DETECT_BYTES) return 0;
  if (coffEnd > head.byteLength) return coffEnd;
  if (view.getUint32(start, true) !== PE_MAGIC) return 0;
  const table = coffEnd + view.getUint16(start + COFF_SIZE_OF_OPTIONAL_HEADER, true);
  const tableEnd = table + view.getUint16(start + COFF_NUMBER_OF_SECTIONS, true) * SECTION_BYTES;
  if (tableEnd > DETECT_BYTES) return 0;
  if (tableEnd > head.byteLength) return tableEnd;
  let least = tableEnd;
  for (let at = table; at < tableEnd; at += SECTION_BYTES) {
    const size = view.getUint32(at + SECTION_SIZE_OF_RAW_DATA, true);
    if (size === 0) continue;
    const end = view.getUint32(at + SECTION_POINTER_TO_RAW_DATA, true) + size;
    least = Math.max(least, end - FILE_ALIGNMENT + 1);
  }
  return least;
}

/** The error for an Image that ends before {@link leastArm64ImageBytes}. */
export function cutOffImage(name: string, byteLength: number, least: number): DirectBootError {
  return new DirectBootError(
    "ARM64_READ_KERNEL_IMAGE",
    `${name} has ${byteLength} bytes, by its PE header an Image has ${least} at least`,
  );
}
