/**
 * The EFI zboot header, field by field. The header has no names for its fields: they are the comments of
 * drivers/firmware/efi/libstub/zboot-header.S, in one word each.
 */
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import {
  decodeFields,
  type FieldDefinition,
  type HeaderField,
  magicMeaning,
  printableText,
  readInteger,
  valueName,
} from "./header-fields.js";
import { ZBOOT_COMPRESSION_LIMIT, ZBOOT_COMPRESSION_OFFSET, ZBOOT_HEADER_BYTES } from "./zboot.js";

const SECTION = "zboot-header.S";
const PE_SECTION = 'PE Format, "COFF File Header"';
/** LINUX_PE_MAGIC of include/linux/pe.h; the first kernels with zboot have none. */
const LINUX_PE_MAGIC = 0x8182_23cd;
/** "PE\0\0" */
const PE_MAGIC = 0x4550;
/** Names that Makefile.zboot may write. */
const COMPRESSIONS: Readonly<Record<string, string>> = {
  gzip: "gzip",
  lz4: "LZ4, legacy format",
  lzma: "LZMA",
  lzo: "LZO",
  xzkern: "xz",
  zstd22: "Zstandard",
  zstd: "Zstandard",
};
// PE Format, "Machine Types"
const MACHINES: Readonly<Record<string, string>> = {
  "0x14c": "i386",
  "0x8664": "x86-64",
  "0x1c2": "arm (Thumb)",
  "0xaa64": "arm64",
  "0x5032": "riscv32",
  "0x5064": "riscv64",
  "0x6232": "loongarch32",
  "0x6264": "loongarch64",
};

/** All integer fields of the header; the name of the compression, at 24, is text. */
export const ZBOOT_FIELDS: readonly FieldDefinition[] = [
  { name: "mz_magic", offset: 0, size: 4, meaning: (value) => magicMeaning(value & 0xffffn, 0x5a4d, '"MZ"') },
  { name: "image_type", offset: 4, size: 4, meaning: (value) => magicMeaning(value, 0x676d_697a, '"zimg"') },
  { name: "payload_offset", offset: 8, size: 4, meaning: "the compressed kernel's place in the file" },
  { name: "payload_size", offset: 12, size: 4, meaning: (value) => `${value} bytes of compressed kernel` },
  { name: "reserved", offset: 16, size: 8, meaning: "reserved" },
  {
    name: "linux_pe_magic",
    offset: 56,
    size: 4,
    meaning: (value) =>
      value === 0n
        ? "none, as in the first kernels with zboot"
        : magicMeaning(value, LINUX_PE_MAGIC, "the mark of Linux's PE programs"),
  },
  {
    name: "pe_header_offset",
    offset: 60,
    size: 4,
    meaning: (value) => `the PE header is at byte ${value}`,
  },
];

const PE_FIELDS: readonly FieldDefinition[] = [
  { name: "pe_magic", offset: 0, size: 4, meaning: (value) => magicMeaning(value, PE_MAGIC, '"PE"') },
  { name: "machine", offset: 4, size: 2, meaning: (value) => valueName(value, MACHINES) },
];

/** The fields of a file that starts like a zboot image; what a shorter file does not have is left out. */
export function* readZbootFields(source: Source): Task<readonly HeaderField[]> {
  const { byteLength } = source;
  const head = (yield* readBytes(source, 0, Math.min(byteLength, ZBOOT_HEADER_BYTES))).slice();
  const fields = decodeFields(head, ZBOOT_FIELDS, SECTION);
  if (head.byteLength < ZBOOT_HEADER_BYTES) return fields;
  const compression = printableText(head.subarray(ZBOOT_COMPRESSION_OFFSET, ZBOOT_COMPRESSION_LIMIT));
  fields.push({
    name: "compression_type",
    offset: ZBOOT_COMPRESSION_OFFSET,
    size: 56 - ZBOOT_COMPRESSION_OFFSET,
    value: compression,
    meaning: Object.hasOwn(COMPRESSIONS, compression) ? (COMPRESSIONS[compression] ?? "") : "not known",
    section: SECTION,
  });
  fields.sort((a, b) => a.offset - b.offset);
  const peOffset = Number(readInteger(head, 60, 4));
  if (peOffset >= ZBOOT_HEADER_BYTES && peOffset + 6 <= byteLength) {
    fields.push(...decodeFields(yield* readBytes(source, peOffset, 6), PE_FIELDS, PE_SECTION, peOffset));
  }
  return fields;
}
