/** The arm64 Image header, field by field. Names and meanings: Documentation/arch/arm64/booting.rst. */
import { hex } from "../base/address.js";
import { magic, zeroOr } from "../base/field-meaning.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { ARM64_IMAGE_HEADER_BYTES, decodeAarch64ImageFlags } from "./arm64-image.js";
import { decodeFields, type FieldRow, type HeaderField } from "./header-fields.js";

const PAGE_SIZES = ["unspecified", "4 KiB", "16 KiB", "64 KiB"];
const MAGIC = 0x644d_5241; // "ARM\x64"
const KNOWN_FLAGS = 0xfn;

function describeCode(value: bigint): string {
  return `executable code${(value & 0xffffn) === 0x5a4dn ? ' that is the "MZ" of a PE program, too' : ""}`;
}

function describeFlags(flags: bigint): string {
  const { bigEndian, pageSize, anyStartAddress } = decodeAarch64ImageFlags(flags);
  const words = [
    `${bigEndian ? "big" : "little"}-endian`,
    `page size ${PAGE_SIZES[pageSize]}`,
    anyStartAddress ? "may be placed anywhere" : "must lie at the start of RAM",
  ];
  if (flags > KNOWN_FLAGS) words.push(`unknown ${hex(flags & ~KNOWN_FLAGS)}`);
  return words.join(", ");
}

const FIELDS: readonly FieldRow[] = [
  ["code0", 4, describeCode],
  ["code1", 4, "executable code"],
  ["text_offset", 8, "load offset from a 2 MiB aligned base"],
  ["image_size", 8, zeroOr("not told (before Linux 3.17)", "{} bytes of memory, bss included")],
  ["flags", 8, describeFlags],
  ["res2", 8, "reserved"],
  ["res3", 8, "reserved"],
  ["res4", 8, "reserved"],
  ["magic", 4, magic(MAGIC, '"ARM\\x64"')],
  ["res5", 4, zeroOr("no PE header", "the PE header is at byte {}")],
];

/** The fields of a file that starts like an Image; what a shorter file does not have is left out. */
export function* readArm64ImageFields(source: Source): Task<readonly HeaderField[]> {
  const head = yield* readBytes(source, 0, Math.min(source.byteLength, ARM64_IMAGE_HEADER_BYTES));
  return decodeFields(head, FIELDS, 'booting.rst, "4. Call the kernel image"');
}
