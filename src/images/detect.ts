/** Tells a file's format by its first bytes. Nothing here fails: any other file is "unknown". */

/** Formats that are recognised. */
export type ImageFormat =
  | "elf64"
  | "elf32"
  | "bzImage"
  | "arm64-image"
  | "zboot"
  | CompressionImageFormat
  | "text"
  | "empty"
  | "unknown";

/** Bytes from the start of a file that {@link detectFormat} looks at. */
export const DETECT_BYTES = 0x210;

interface Signature {
  readonly format: ImageFormat;
  readonly offset: number;
  readonly bytes: readonly number[];
}

// In order: what stands further inside is more telling than an "MZ" or a code0 that many formats share.
const SIGNATURES: readonly Signature[] = [
  // gABI, "ELF identification": magic, then EI_CLASS 2 (64-bit) or 1 (32-bit)
  { format: "elf64", offset: 0, bytes: [0x7f, 0x45, 0x4c, 0x46, 2] },
  { format: "elf32", offset: 0, bytes: [0x7f, 0x45, 0x4c, 0x46, 1] },
  // Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header": magic "HdrS" at 0x202
  { format: "bzImage", offset: 0x202, bytes: [0x48, 0x64, 0x72, 0x53] },
  // Documentation/arch/arm64/booting.rst, "Call the kernel image": magic "ARM\x64" at 56
  { format: "arm64-image", offset: 56, bytes: [0x41, 0x52, 0x4d, 0x64] },
  // drivers/firmware/efi/libstub/zboot-header.S: "zimg" at 4
  { format: "zboot", offset: 4, bytes: [0x7a, 0x69, 0x6d, 0x67] },
  // RFC 1952, 2.3.1
  { format: "gzip", offset: 0, bytes: [0x1f, 0x8b] },
  // The .xz File Format, 2.1.1.1
  { format: "xz", offset: 0, bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  // RFC 8878, 3.1.1
  { format: "zstd", offset: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  // lz4_Frame_format.md: "Legacy frame" and "General Structure of LZ4 Frame format"
  { format: "lz4-legacy", offset: 0, bytes: [0x02, 0x21, 0x4c, 0x18] },
  { format: "lz4", offset: 0, bytes: [0x04, 0x22, 0x4d, 0x18] },
  { format: "bzip2", offset: 0, bytes: [0x42, 0x5a, 0x68] },
  // lzop's magic
  { format: "lzo", offset: 0, bytes: [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a] },
  // lzma-file-format.txt: properties 0x5d (lc 3, lp 0, pb 2), dictionary size of whole KiB
  { format: "lzma", offset: 0, bytes: [0x5d, 0x00, 0x00] },
];

const DESCRIPTIONS: Readonly<Record<ImageFormat, string>> = {
  elf64: "a 64-bit ELF file",
  elf32: "a 32-bit ELF file",
  bzImage: "an x86 bzImage",
  "arm64-image": "an arm64 Image",
  zboot: "an EFI zboot image",
  gzip: "gzip-compressed data",
  xz: "xz-compressed data",
  zstd: "zstd-compressed data",
  "lz4-legacy": "LZ4-compressed data (legacy format)",
  lz4: "LZ4-compressed data",
  lzma: "LZMA-compressed data",
  bzip2: "bzip2-compressed data",
  lzo: "LZO-compressed data",
  text: "a text file",
  empty: "an empty file",
  unknown: "a file of unknown format",
};

function isText(head: Uint8Array): boolean {
  return head.every(
    (byte) => byte === 0x09 || byte === 0x0a || byte === 0x0d || (byte >= 0x20 && byte !== 0x7f),
  );
}

/** The format of a file that starts with `head` (the first {@link DETECT_BYTES}, or all of a shorter one). */
export function detectFormat(head: Uint8Array): ImageFormat {
  if (head.byteLength === 0) return "empty";
  const found = SIGNATURES.find(({ offset, bytes }) =>
    bytes.every((byte, index) => head[offset + index] === byte),
  );
  if (found !== undefined) return found.format;
  return isText(head) ? "text" : "unknown";
}

const COMPRESSIONS = ["gzip", "xz", "zstd", "lz4-legacy", "lz4", "lzma", "bzip2", "lzo"] as const;

/** Formats that hold something compressed. */
export type CompressionImageFormat = (typeof COMPRESSIONS)[number];

/** True for a format that holds something compressed. */
export function isCompressionFormat(format: ImageFormat): format is CompressionImageFormat {
  return (COMPRESSIONS as readonly ImageFormat[]).includes(format);
}

/**
 * The format of data that nothing but its first bytes tells of, such as a payload or a member of an initrd: what
 * stands further inside, by chance (the time in a gzip header may read "zimg"), is not looked at.
 */
export function detectCompression(head: Uint8Array): CompressionImageFormat | undefined {
  for (const { format, offset, bytes } of SIGNATURES) {
    if (offset !== 0 || !isCompressionFormat(format)) continue;
    if (bytes.every((byte, index) => head[index] === byte)) return format;
  }
  return undefined;
}

/** `format` in words, with its article. */
export function describeFormat(format: ImageFormat): string {
  return DESCRIPTIONS[format];
}
