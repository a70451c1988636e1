/**
 * The headers of an ELF file, field by field: the file header, each program header, and the note with the PVH entry.
 * Names: System V gABI, and <elf.h>.
 */
import { hex } from "../base/address.js";
import { flagNames, type Meaning, magic, zeroOr } from "../base/field-meaning.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { type ElfImage, PT_LOAD, PT_NOTE } from "./elf.js";
import type { PvhNote } from "./elf-notes.js";
import { decodeFields, type FieldRow, type HeaderField } from "./header-fields.js";
import { ELF_MACHINES } from "./kinds.js";

const FILE_SECTION = 'gABI, "ELF Header"';
const PROGRAM_SECTION = 'gABI, "Program Header"';
const NOTE_SECTION = 'Xen, "x86/HVM direct boot ABI"';
/** ".ELF", little-endian */
const ELF_MAGIC = 0x464c_457f;
const MANY_HEADERS = "the count is in section 0's sh_info";

const CLASSES: Meaning = { 1: "32-bit", 2: "64-bit" };
const ENCODINGS: Meaning = { 1: "little-endian", 2: "big-endian" };
const ABIS: Meaning = { 0: "System V", 3: "Linux", 255: "standalone" };
const FILE_TYPES: Readonly<Record<number, string>> = {
  1: "relocatable",
  2: "executable",
  3: "shared object",
  4: "core",
};
const SEGMENT_TYPES: Readonly<Record<number, string>> = {
  0: "NULL",
  [PT_LOAD]: "LOAD",
  2: "DYNAMIC",
  3: "INTERP",
  [PT_NOTE]: "NOTE",
  6: "PHDR",
  7: "TLS",
  1685382480: "GNU_EH_FRAME",
  1685382481: "GNU_STACK",
  1685382482: "GNU_RELRO",
  1685382483: "GNU_PROPERTY",
};

/** "LOAD" for 1, the number where there is no name. */
export function segmentTypeName(type: number): string {
  return SEGMENT_TYPES[type] ?? hex(type);
}

/** "executable" for 2 and so on. */
export function fileTypeName(type: number): string {
  return FILE_TYPES[type] ?? "other";
}

/** "x86-64" for 62 and so on. */
export function machineName(machine: number): string {
  return ELF_MACHINES[machine] ?? "other";
}

/** All fields of `Elf64_Ehdr` or `Elf32_Ehdr`; e_ident is split as the gABI splits it. */
function fileHeader(elfClass: 32 | 64): FieldRow[] {
  const word = elfClass / 8;
  return [
    ["e_ident[EI_MAG]", 4, magic(ELF_MAGIC, '"\\x7fELF"')],
    ["e_ident[EI_CLASS]", 1, CLASSES],
    ["e_ident[EI_DATA]", 1, ENCODINGS],
    ["e_ident[EI_VERSION]", 1, magic(1, "the current version")],
    ["e_ident[EI_OSABI]", 1, ABIS],
    ["e_ident[EI_ABIVERSION]", 1, "version of the ABI"],
    ["e_ident[EI_PAD]", 7, "padding"],
    ["e_type", 2, FILE_TYPES],
    ["e_machine", 2, ELF_MACHINES],
    ["e_version", 4, magic(1, "the current version")],
    ["e_entry", word, "address of the first instruction"],
    ["e_phoff", word, zeroOr("no program headers", "program headers at byte {}")],
    ["e_shoff", word, zeroOr("no section headers", "section headers at byte {}")],
    ["e_flags", 4, "flags of the processor"],
    ["e_ehsize", 2, "this header has {} bytes"],
    ["e_phentsize", 2, "a program header has {} bytes"],
    ["e_phnum", 2, (count) => (count === 0xffffn ? MANY_HEADERS : `${count} program headers`)],
    ["e_shentsize", 2, "a section header has {} bytes"],
    ["e_shnum", 2, "{} section headers"],
    ["e_shstrndx", 2, "the section names are in section {}"],
  ];
}

/** All fields of `Elf64_Phdr` or `Elf32_Phdr`, in which p_flags lies after p_memsz. */
function programHeader(elfClass: 32 | 64): FieldRow[] {
  const word = elfClass / 8;
  const flags: FieldRow = ["p_flags", 4, flagNames({ execute: 1, write: 2, read: 4 })];
  return [
    ["p_type", 4, (value) => segmentTypeName(Number(value))],
    ...(elfClass === 64 ? [flags] : []),
    ["p_offset", word, "place in the file"],
    ["p_vaddr", word, "virtual address"],
    ["p_paddr", word, "physical address"],
    ["p_filesz", word, "{} bytes in the file"],
    ["p_memsz", word, "{} bytes in memory"],
    ...(elfClass === 32 ? [flags] : []),
    ["p_align", word, "aligned to {} bytes"],
  ];
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
  const known = isLittleEndian ? head : head.subarray(0, IDENT_BYTES);
  return decodeFields(known, fileHeader(elfClass), FILE_SECTION);
}

/** Program headers that are described: kernels have a handful, and a hostile file may have millions. */
export const MOST_PROGRAM_HEADERS_SHOWN = 1024;

/** The fields of each of the first {@link MOST_PROGRAM_HEADERS_SHOWN} program headers, named `phdr[0].p_type` and so on. */
export function* readElfProgramHeaderFields(
  source: Source,
  elfClass: 32 | 64,
  elf: ElfImage,
): Task<readonly HeaderField[]> {
  const rows = programHeader(elfClass);
  const entryBytes = elfClass === 64 ? 56 : 32;
  const start = Number(elf.programHeaderOffset);
  const count = Math.min(elf.programHeaders.length, MOST_PROGRAM_HEADERS_SHOWN);
  if (count === 0) return [];
  const table = yield* readBytes(source, start, count * entryBytes);
  return Array.from({ length: count }, (_, index) => {
    const at = index * entryBytes;
    const entry = table.subarray(at, at + entryBytes);
    return decodeFields(entry, rows, PROGRAM_SECTION, start + at, `phdr[${index}].`);
  }).flat();
}

/** The PVH entry as a field, named as Xen names the note. */
export function pvhNoteField({ offset, size, entry }: PvhNote): HeaderField {
  return {
    name: "XEN_ELFNOTE_PHYS32_ENTRY",
    offset,
    size,
    kind: "integer",
    value: hex(entry),
    meaning: "address of the PVH entry, in 32-bit mode",
    section: NOTE_SECTION,
  };
}
