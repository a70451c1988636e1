/** Tells a file's format by its first bytes. Nothing here fails: any other file is "unknown". */

import type { CompressionFormat } from "../decoders/options.js";

/** Formats that hold something compressed. */
export type CompressionImageFormat = CompressionFormat;

/** Formats that are recognised. */
export type ImageFormat =
  | CompressionImageFormat
  | "elf64"
  | "elf32"
  | "bzImage"
  | "arm64-image"
  | "zboot"
  | "text"
  | "empty"
  | "unknown";

type KernelFormat = Exclude<ImageFormat, CompressionImageFormat | keyof typeof OTHERS>;

/** Bytes from the start of a file that {@link detectFormat} looks at. */
export const DETECT_BYTES = 0x210;

/** A format, its name in words, and the bytes that tell it, from `offset` (0 by default) on. */
type Row<Format> = readonly [format: Format, words: string, bytes: readonly number[], offset?: number];

const KERNELS: readonly Row<KernelFormat>[] = [
  // gABI, "ELF identification": magic, then EI_CLASS 2 (64-bit) or 1 (32-bit)
  ["elf64", "a 64-bit ELF file", [0x7f, 0x45, 0x4c, 0x46, 2]],
  ["elf32", "a 32-bit ELF file", [0x7f, 0x45, 0x4c, 0x46, 1]],
  // Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header": magic "HdrS" at 0x202
  ["bzImage", "an x86 bzImage", [0x48, 0x64, 0x72, 0x53], 0x202],
  // Documentation/arch/arm64/booting.rst, "Call the kernel image": magic "ARM\x64" at 56
  ["arm64-image", "an arm64 Image", [0x41, 0x52, 0x4d, 0x64], 56],
  // drivers/firmware/efi/libstub/zboot-header.S: "zimg" at 4
  ["zboot", "an EFI zboot image", [0x7a, 0x69, 0x6d, 0x67], 4],
];

const COMPRESSIONS: readonly Row<CompressionImageFormat>[] = [
  // RFC 1952, 2.3.1
  ["gzip", "gzip-compressed data", [0x1f, 0x8b]],
  // The .xz File Format, 2.1.1.1
  ["xz", "xz-compressed data", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  // RFC 8878, 3.1.1
  ["zstd", "zstd-compressed data", [0x28, 0xb5, 0x2f, 0xfd]],
  // lz4_Frame_format.md: "Legacy frame" and "General Structure of LZ4 Frame format"
  ["lz4-legacy", "LZ4-compressed data (legacy format)", [0x02, 0x21, 0x4c, 0x18]],
  ["lz4", "LZ4-compressed data", [0x04, 0x22, 0x4d, 0x18]],
  ["bzip2", "bzip2-compressed data", [0x42, 0x5a, 0x68]],
  // lzop's magic
  ["lzo", "LZO-compressed data", [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a]],
  // lzma-file-format.txt: properties 0x5d (lc 3, lp 0, pb 2), dictionary size of whole KiB
  ["lzma", "LZMA-compressed data", [0x5d, 0x00, 0x00]],
];

const OTHERS = {
  text: "a text file",
  empty: "an empty file",
  unknown: "a file of unknown format",
} as const;

// In order: what stands further inside is more telling than an "MZ" or a code0 that many formats share.
const ALL: readonly Row<ImageFormat>[] = [...KERNELS, ...COMPRESSIONS];

function find<Format>(rows: readonly Row<Format>[], head: Uint8Array): Format | undefined {
  return rows.find(([, , bytes, offset = 0]) =>
    bytes.every((byte, index) => head[offset + index] === byte),
  )?.[0];
}

function isText(head: Uint8Array): boolean {
  return head.every(
    (byte) => byte === 0x09 || byte === 0x0a || byte === 0x0d || (byte >= 0x20 && byte !== 0x7f),
  );
}

/** The format of a file that starts with `head` (the first {@link DETECT_BYTES}, or all of a shorter one). */
export function detectFormat(head: Uint8Array): ImageFormat {
  if (head.byteLength === 0) return "empty";
  return find(ALL, head) ?? (isText(head) ? "text" : "unknown");
}

/** True for a format that holds something compressed. */
export function isCompressionFormat(format: ImageFormat): format is CompressionImageFormat {
  return COMPRESSIONS.some(([name]) => name === format);
}

/**
 * The format of data that nothing but its first bytes tells of, such as a payload or a member of an initrd: what
 * stands further inside, by chance (the time in a gzip header may read "zimg"), is not looked at.
 */
export function detectCompression(head: Uint8Array): CompressionImageFormat | undefined {
  return find(COMPRESSIONS, head);
}

/** `format` in words, with its article. */
export function describeFormat(format: ImageFormat): string {
  if (format === "text" || format === "empty" || format === "unknown") return OTHERS[format];
  return ALL.find(([name]) => name === format)?.[1] ?? OTHERS.unknown;
}
