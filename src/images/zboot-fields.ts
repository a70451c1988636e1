/**
 * The EFI zboot header, field by field. The header has no names for its fields: they are the comments of
 * drivers/firmware/efi/libstub/zboot-header.S, in one word each.
 */
import { type Meaning, magic, meaningOf, zeroOr } from "../base/field-meaning.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import {
  decodeFields,
  type FieldRow,
  type HeaderField,
  printableText,
  readInteger,
} from "./header-fields.js";
import { ZBOOT_COMPRESSION_LIMIT, ZBOOT_COMPRESSION_OFFSET, ZBOOT_HEADER_BYTES } from "./zboot.js";

const SECTION = "zboot-header.S";
const PE_SECTION = 'PE Format, "COFF File Header"';
/** LINUX_PE_MAGIC of include/linux/pe.h; the first kernels with zboot have none. */
const LINUX_PE_MAGIC = 0x8182_23cd;
const LINUX_PE_MAGIC_OFFSET = 56;
/** Names that Makefile.zboot may write. */
const COMPRESSIONS: ReadonlyMap<string, string> = new Map([
  ["gzip", "gzip"],
  ["lz4", "LZ4, legacy format"],
  ["lzma", "LZMA"],
  ["lzo", "LZO"],
  ["xzkern", "xz"],
  ["zstd22", "Zstandard"],
  ["zstd", "Zstandard"],
]);
// PE Format, "Machine Types"
const MACHINES: Meaning = {
  332: "i386",
  34404: "x86-64",
  450: "arm (Thumb)",
  43620: "arm64",
  20530: "riscv32",
  20580: "riscv64",
  25138: "loongarch32",
  25188: "loongarch64",
};

const FIRST_FIELDS: readonly FieldRow[] = [
  ["mz_magic", 4, (value) => meaningOf(magic(0x5a4d, '"MZ"'), value & 0xffffn)],
  ["image_type", 4, magic(0x676d_697a, '"zimg"')],
  ["payload_offset", 4, "the compressed kernel's place in the file"],
  ["payload_size", 4, "{} bytes of compressed kernel"],
  ["reserved", 8, "reserved"],
];
const NO_PE_MAGIC = "none, as in the first kernels with zboot";
const LAST_FIELDS: readonly FieldRow[] = [
  ["linux_pe_magic", 4, zeroOr(NO_PE_MAGIC, magic(LINUX_PE_MAGIC, "the mark of Linux's PE programs"))],
  ["pe_header_offset", 4, "the PE header is at byte {}"],
];
const PE_FIELDS: readonly FieldRow[] = [
  ["pe_magic", 4, magic(0x4550, '"PE"')],
  ["machine", 2, MACHINES],
];

/** The fields of a file that starts like a zboot image; what a shorter file does not have is left out. */
export function* readZbootFields(source: Source): Task<readonly HeaderField[]> {
  const { byteLength } = source;
  const head = (yield* readBytes(source, 0, Math.min(byteLength, ZBOOT_HEADER_BYTES))).slice();
  const fields = decodeFields(head, FIRST_FIELDS, SECTION);
  const isWhole = head.byteLength === ZBOOT_HEADER_BYTES;
  if (isWhole) {
    const compression = printableText(head.subarray(ZBOOT_COMPRESSION_OFFSET, ZBOOT_COMPRESSION_LIMIT));
    fields.push({
      name: "compression_type",
      offset: ZBOOT_COMPRESSION_OFFSET,
      size: LINUX_PE_MAGIC_OFFSET - ZBOOT_COMPRESSION_OFFSET,
      kind: "text",
      value: compression,
      meaning: COMPRESSIONS.get(compression) ?? "not known",
      section: SECTION,
    });
  }
  const rest = head.subarray(LINUX_PE_MAGIC_OFFSET);
  fields.push(...decodeFields(rest, LAST_FIELDS, SECTION, LINUX_PE_MAGIC_OFFSET));
  const peOffset = isWhole ? Number(readInteger(head, 60, 4)) : 0;
  if (peOffset >= ZBOOT_HEADER_BYTES && peOffset + 6 <= byteLength) {
    fields.push(...decodeFields(yield* readBytes(source, peOffset, 6), PE_FIELDS, PE_SECTION, peOffset));
  }
  return fields;
}
