/**
 * The headers of an ELF file, field by field: the file header, each program header, and the note with the PVH entry.
 * Names: System V gABI, and <elf.h>.
 */
import { hex } from "../base/address.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { type ElfImage, PT_LOAD, PT_NOTE } from "./elf.js";
import type { PvhNote } from "./elf-notes.js";
import {
  bitNames,
  decodeFields,
  type FieldDefinition,
  type HeaderField,
  magicMeaning,
  valueName,
} from "./header-fields.js";

const FILE_SECTION = 'gABI, "ELF Header"';
const PROGRAM_SECTION = 'gABI, "Program Header"';
const NOTE_SECTION = 'Xen, "x86/HVM direct boot ABI"';
/** ".ELF", little-endian */
const ELF_MAGIC = 0x464c_457f;

const CLASSES: Readonly<Record<string, string>> = { "0x1": "32-bit", "0x2": "64-bit" };
const ENCODINGS: Readonly<Record<string, string>> = { "0x1": "little-endian", "0x2": "big-endian" };
const ABIS: Readonly<Record<string, string>> = { "0x0": "System V", "0x3": "Linux", "0xff": "standalone" };
const FILE_TYPES: Readonly<Record<string, string>> = {
  "0x1": "relocatable",
  "0x2": "executable",
  "0x3": "shared object",
  "0x4": "core",
};
const MACHINES: Readonly<Record<string, string>> = {
  "0x3": "i386",
  "0x28": "arm",
  "0x3e": "x86-64",
  "0xb7": "arm64",
  "0xf3": "riscv",
  "0x102": "loongarch",
};
const SEGMENT_TYPES: Readonly<Record<string, string>> = {
  "0x0": "NULL",
  [`0x${PT_LOAD}`]: "LOAD",
  "0x2": "DYNAMIC",
  "0x3": "INTERP",
  [`0x${PT_NOTE}`]: "NOTE",
  "0x6": "PHDR",
  "0x7": "TLS",
  "0x6474e550": "GNU_EH_FRAME",
  "0x6474e551": "GNU_STACK",
  "0x6474e552": "GNU_RELRO",
  "0x6474e553": "GNU_PROPERTY",
};
const SEGMENT_FLAGS: Readonly<Record<string, number>> = { execute: 1, write: 2, read: 4 };

/** "LOAD" for 1, the number where there is no name. */
export function segmentTypeName(type: number): string {
  return valueName(BigInt(type), SEGMENT_TYPES, hex(type));
}

/** "executable" for 2 and so on. */
export function fileTypeName(type: number): string {
  return valueName(BigInt(type), FILE_TYPES);
}

/** "x86-64" for 62 and so on. */
export function machineName(machine: number): string {
  return valueName(BigInt(machine), MACHINES);
}

const bytesOf = (what: string) => (value: bigint) => `${value} bytes ${what}`;

type Shape = readonly (readonly [name: string, size: number, meaning: FieldDefinition["meaning"]])[];

/** Fields that follow each other without gaps. */
function sequence(shape: Shape): FieldDefinition[] {
  let offset = 0;
  return shape.map(([name, size, meaning]) => {
    const definition = { name, offset, size, meaning };
    offset += size;
    return definition;
  });
}

/** All fields of `Elf64_Ehdr` or `Elf32_Ehdr`; e_ident is split as the gABI splits it. */
export function elfFileHeaderFields(elfClass: 32 | 64): FieldDefinition[] {
  const word = elfClass / 8;
  return sequence([
    ["e_ident[EI_MAG]", 4, (value) => magicMeaning(value, ELF_MAGIC, '"\\x7fELF"')],
    ["e_ident[EI_CLASS]", 1, (value) => valueName(value, CLASSES)],
    ["e_ident[EI_DATA]", 1, (value) => valueName(value, ENCODINGS)],
    ["e_ident[EI_VERSION]", 1, (value) => magicMeaning(value, 1, "the current version")],
    ["e_ident[EI_OSABI]", 1, (value) => valueName(value, ABIS)],
    ["e_ident[EI_ABIVERSION]", 1, "version of the ABI"],
    ["e_ident[EI_PAD]", 7, "padding"],
    ["e_type", 2, (value) => valueName(value, FILE_TYPES)],
    ["e_machine", 2, (value) => valueName(value, MACHINES)],
    ["e_version", 4, (value) => magicMeaning(value, 1, "the current version")],
    ["e_entry", word, "address of the first instruction"],
    ["e_phoff", word, (value) => (value === 0n ? "no program headers" : `program headers at byte ${value}`)],
    ["e_shoff", word, (value) => (value === 0n ? "no section headers" : `section headers at byte ${value}`)],
    ["e_flags", 4, "flags of the processor"],
    ["e_ehsize", 2, (value) => `this header has ${value} bytes`],
    ["e_phentsize", 2, (value) => `a program header has ${value} bytes`],
    [
      "e_phnum",
      2,
      (value) => (value === 0xffffn ? "the count is in section 0's sh_info" : `${value} program headers`),
    ],
    ["e_shentsize", 2, (value) => `a section header has ${value} bytes`],
    ["e_shnum", 2, (value) => `${value} section headers`],
    ["e_shstrndx", 2, (value) => `the section names are in section ${value}`],
  ]);
}

/** All fields of `Elf64_Phdr` or `Elf32_Phdr`. */
export function elfProgramHeaderFields(elfClass: 32 | 64): FieldDefinition[] {
  const type: Shape = [["p_type", 4, (value) => segmentTypeName(Number(value))]];
  const flags: Shape = [["p_flags", 4, (value) => bitNames(value, SEGMENT_FLAGS)]];
  const word = elfClass / 8;
  const addresses: Shape = [
    ["p_offset", word, "place in the file"],
    ["p_vaddr", word, "virtual address"],
    ["p_paddr", word, "physical address"],
    ["p_filesz", word, bytesOf("in the file")],
    ["p_memsz", word, bytesOf("in memory")],
  ];
  const alignment: Shape = [["p_align", word, (value) => `aligned to ${value} bytes`]];
  return sequence(
    elfClass === 64
      ? [...type, ...flags, ...addresses, ...alignment]
      : [...type, ...addresses, ...flags, ...alignment],
  );
}

/** Bytes of e_ident: what has no byte order. */
const IDENT_BYTES = 16;

/**
 * The fields of the file header; what a shorter file does not have is left out, and what a file of another byte order
 * would have reversed.
 */
export function* readElfFileHeaderFields(source: Source, elfClass: 32 | 64): Task<readonly HeaderField[]> {
  const head = yield* readBytes(source, 0, Math.min(source.byteLength, elfClass === 64 ? 64 : 52));
  const isLittleEndian = head[5] === 1;
  return decodeFields(
    isLittleEndian ? head : head.subarray(0, IDENT_BYTES),
    elfFileHeaderFields(elfClass),
    FILE_SECTION,
  );
}

/** Program headers that are described: kernels have a handful, and a hostile file may have millions. */
export const MOST_PROGRAM_HEADERS_SHOWN = 1024;

/** The fields of each of the first {@link MOST_PROGRAM_HEADERS_SHOWN} program headers, named `phdr[0].p_type` and so on. */
export function* readElfProgramHeaderFields(
  source: Source,
  elfClass: 32 | 64,
  elf: ElfImage,
): Task<readonly HeaderField[]> {
  const definitions = elfProgramHeaderFields(elfClass);
  const entryBytes = elfClass === 64 ? 56 : 32;
  const start = Number(elf.programHeaderOffset);
  const count = Math.min(elf.programHeaders.length, MOST_PROGRAM_HEADERS_SHOWN);
  if (count === 0) return [];
  const table = yield* readBytes(source, start, count * entryBytes);
  return Array.from({ length: count }, (_, index) => {
    const at = index * entryBytes;
    return decodeFields(
      table.subarray(at, at + entryBytes),
      definitions,
      PROGRAM_SECTION,
      start + at,
      `phdr[${index}].`,
    );
  }).flat();
}

/** The PVH entry as a field, named as Xen names the note. */
export function pvhNoteField({ offset, size, entry }: PvhNote): HeaderField {
  return {
    name: "XEN_ELFNOTE_PHYS32_ENTRY",
    offset,
    size,
    value: entry,
    meaning: "address of the PVH entry, in 32-bit mode",
    section: NOTE_SECTION,
  };
}
