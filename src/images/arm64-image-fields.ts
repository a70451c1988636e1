/** The arm64 Image header, field by field. Names and meanings: Documentation/arch/arm64/booting.rst. */
import { hex } from "../base/address.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { ARM64_IMAGE_HEADER_BYTES, decodeAarch64ImageFlags } from "./arm64-image.js";
import { decodeFields, type FieldDefinition, type HeaderField, magicMeaning } from "./header-fields.js";

const SECTION = 'booting.rst, "4. Call the kernel image"';
const PAGE_SIZES = ["unspecified", "4 KiB", "16 KiB", "64 KiB"];
const MAGIC = 0x644d_5241; // "ARM\x64"
/** Two of the bytes of code0 are "MZ" where the Image is a PE program, too. */
const MZ_MAGIC = 0x5a4dn;
const KNOWN_FLAGS = 0xfn;

/** `flags` in words. */
export function describeAarch64ImageFlags(flags: bigint): string {
  const { bigEndian, pageSize, anyStartAddress } = decodeAarch64ImageFlags(flags);
  const words = [
    `${bigEndian ? "big" : "little"}-endian`,
    `page size ${PAGE_SIZES[pageSize]}`,
    anyStartAddress ? "may be placed anywhere" : "must lie at the start of RAM",
  ];
  if (flags > KNOWN_FLAGS) words.push(`unknown ${hex(flags & ~KNOWN_FLAGS)}`);
  return words.join(", ");
}

/** All fields of the header. */
export const ARM64_IMAGE_FIELDS: readonly FieldDefinition[] = [
  {
    name: "code0",
    offset: 0,
    size: 4,
    meaning: (value) =>
      (value & 0xffffn) === MZ_MAGIC
        ? 'executable code that is the "MZ" of a PE program, too'
        : "executable code",
  },
  { name: "code1", offset: 4, size: 4, meaning: "executable code" },
  { name: "text_offset", offset: 8, size: 8, meaning: "load offset from a 2 MiB aligned base" },
  {
    name: "image_size",
    offset: 16,
    size: 8,
    meaning: (value) =>
      value === 0n ? "not told (before Linux 3.17)" : `${value} bytes of memory, bss included`,
  },
  { name: "flags", offset: 24, size: 8, meaning: describeAarch64ImageFlags },
  { name: "res2", offset: 32, size: 8, meaning: "reserved" },
  { name: "res3", offset: 40, size: 8, meaning: "reserved" },
  { name: "res4", offset: 48, size: 8, meaning: "reserved" },
  { name: "magic", offset: 56, size: 4, meaning: (value) => magicMeaning(value, MAGIC, '"ARM\\x64"') },
  {
    name: "res5",
    offset: 60,
    size: 4,
    meaning: (value) => (value === 0n ? "no PE header" : `the PE header is at byte ${value}`),
  },
];

/** The fields of a file that starts like an Image; what a shorter file does not have is left out. */
export function* readArm64ImageFields(source: Source): Task<readonly HeaderField[]> {
  const head = yield* readBytes(source, 0, Math.min(source.byteLength, ARM64_IMAGE_HEADER_BYTES));
  return decodeFields(head, ARM64_IMAGE_FIELDS, SECTION);
}
