/**
 * ELF, little-endian: what a kernel is before it is made a bzImage. Field names and offsets follow the System V gABI,
 * "ELF Header" and "Program Header" (`Elf64_Ehdr`, `Elf64_Phdr`, `Elf32_Ehdr`, `Elf32_Phdr` in <elf.h>).
 */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { describeFile, ELF_MACHINES } from "./kinds.js";

/** e_machine of i386 (gABI: EM_386). */
export const EM_386 = 3;
/** e_machine of x86-64 (gABI: EM_X86_64). */
export const EM_X86_64 = 62;
/** e_machine of arm64 (gABI: EM_AARCH64). */
export const EM_AARCH64 = 183;
/** p_type of a segment that is loaded. */
export const PT_LOAD = 1;
/** p_type of a note segment. */
export const PT_NOTE = 4;

const ELFDATA2LSB = 1;
const ELFDATA2MSB = 2;
const EV_CURRENT = 1;
// gABI: e_phnum with this value means that the count stands in section 0's sh_info.
const PN_XNUM = 0xffff;

/** A program header; addresses and sizes in bytes. */
export interface ElfProgramHeader {
  /** p_type */
  readonly type: number;
  /** p_flags: bit 0 execute, bit 1 write, bit 2 read */
  readonly flags: number;
  /** p_offset, in the file */
  readonly offset: bigint;
  /** p_vaddr */
  readonly virtualAddress: bigint;
  /** p_paddr */
  readonly physicalAddress: bigint;
  /** p_filesz */
  readonly fileSize: bigint;
  /** p_memsz */
  readonly memorySize: bigint;
  /** p_align */
  readonly alignment: bigint;
}

/** The ELF file header and program headers. */
export interface ElfImage {
  /** e_type: 2 executable, 3 shared object */
  readonly type: number;
  /** e_machine */
  readonly machine: number;
  /** e_entry */
  readonly entry: bigint;
  /** e_phoff */
  readonly programHeaderOffset: bigint;
  readonly programHeaders: readonly ElfProgramHeader[];
}

/** One class of ELF: its headers have the same fields, whose addresses, offsets and sizes are words of 4 or 8 bytes. */
interface ElfLayout {
  /** EI_CLASS */
  readonly elfClass: 1 | 2;
  /** The cure for a file of another class, where the code's own cure does not fit. */
  readonly cure: { readonly cure?: string };
  readonly wordBytes: 4 | 8;
  /** sizeof(ElfNN_Ehdr), sizeof(ElfNN_Phdr), sizeof(ElfNN_Shdr) */
  readonly fileHeaderBytes: number;
  readonly programHeaderBytes: number;
  readonly sectionHeaderBytes: number;
}

const ELF64: ElfLayout = {
  elfClass: 2, // ELFCLASS64
  cure: {},
  wordBytes: 8,
  fileHeaderBytes: 64,
  programHeaderBytes: 56,
  sectionHeaderBytes: 64,
};

const ELF32: ElfLayout = {
  elfClass: 1, // ELFCLASS32
  cure: { cure: "give an uncompressed 32-bit ELF kernel (vmlinux)" },
  wordBytes: 4,
  fileHeaderBytes: 52,
  programHeaderBytes: 32,
  sectionHeaderBytes: 40,
};

/** Word number `index` of those that follow `start`. */
function wordAt(view: DataView, start: number, index: number, { wordBytes }: ElfLayout): bigint {
  const at = start + index * wordBytes;
  return wordBytes === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
}

/** e_entry, e_phoff and e_shoff are words from here on. */
const FILE_HEADER_WORDS = 24;
function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The number of program headers; `size` is where e_phentsize stands, e_phnum and e_shentsize follow. */
function* countProgramHeaders(
  source: Source,
  header: DataView,
  size: number,
  layout: ElfLayout,
): Task<number> {
  const count = header.getUint16(size + 2, true);
  if (count !== PN_XNUM) return count;
  const sectionHeaderOffset = wordAt(header, FILE_HEADER_WORDS, 2, layout);
  const entryBytes = header.getUint16(size + 4, true);
  const { sectionHeaderBytes } = layout;
  const invalid = (why: string): DirectBootError =>
    new DirectBootError(
      "ELF_INVALID_PROGRAM_HEADER",
      `${source.name}: e_phnum is ${hex(PN_XNUM)}, but ${why}`,
    );
  if (sectionHeaderOffset === 0n) throw invalid("there is no section 0 to hold the count (e_shoff is 0)");
  if (entryBytes !== sectionHeaderBytes) {
    throw invalid(`e_shentsize is ${entryBytes}, not ${sectionHeaderBytes}`);
  }
  if (sectionHeaderOffset + BigInt(sectionHeaderBytes) > BigInt(source.byteLength)) {
    throw invalid(`section 0 at ${hex(sectionHeaderOffset)} lies past the end, ${source.byteLength} bytes`);
  }
  const section = yield* readBytes(source, Number(sectionHeaderOffset), sectionHeaderBytes);
  // sh_info; sh_addralign and sh_entsize, two words, follow.
  return viewOf(section).getUint32(sectionHeaderBytes - 2 * layout.wordBytes - 4, true);
}

function programHeaderAt(table: DataView, at: number, layout: ElfLayout): ElfProgramHeader {
  const is64 = layout.wordBytes === 8;
  // Behind p_type stand the words; p_flags comes before them in Elf64_Phdr, before the last in Elf32_Phdr.
  const word = (index: number): bigint => wordAt(table, at + layout.wordBytes, index, layout);
  return {
    type: table.getUint32(at, true),
    flags: table.getUint32(at + (is64 ? 4 : 24), true),
    offset: word(0),
    virtualAddress: word(1),
    physicalAddress: word(2),
    fileSize: word(3),
    memorySize: word(4),
    alignment: word(is64 ? 5 : 6),
  };
}

function* readProgramHeaders(source: Source, header: DataView, layout: ElfLayout): Task<ElfProgramHeader[]> {
  const offset = wordAt(header, FILE_HEADER_WORDS, 1, layout);
  if (offset === 0n) return [];
  // Behind the three words stand e_flags and e_ehsize.
  const size = FILE_HEADER_WORDS + 3 * layout.wordBytes + 6;
  const count = yield* countProgramHeaders(source, header, size, layout);
  if (count === 0) return [];
  const entryBytes = header.getUint16(size, true);
  if (entryBytes !== layout.programHeaderBytes) {
    throw new DirectBootError(
      "ELF_INVALID_PROGRAM_HEADER",
      `${source.name}: e_phentsize is ${entryBytes}, it must be ${layout.programHeaderBytes}`,
    );
  }
  const tableBytes = count * layout.programHeaderBytes;
  if (offset + BigInt(tableBytes) > BigInt(source.byteLength)) {
    throw new DirectBootError(
      "ELF_INVALID_PROGRAM_HEADER",
      `${source.name}: ${count} program headers at ${hex(offset)} pass the end, ${source.byteLength} bytes`,
    );
  }
  const table = viewOf(yield* readBytes(source, Number(offset), tableBytes));
  return Array.from({ length: count }, (_, index) =>
    programHeaderAt(table, index * layout.programHeaderBytes, layout),
  );
}

function machineOf(machine: number): string {
  return `${ELF_MACHINES[machine] ?? "another machine"} (e_machine ${machine})`;
}

/**
 * Reads the headers of an ELF64 or ELF32 file. `e_type` and `e_version` are not checked, as upstream. Addresses and sizes of an
 * ELF32 file are below 4 GiB.
 *
 * @param machine the e_machine that is wanted, for example {@link EM_386}, or undefined for any
 * @throws DirectBootError in this order: ELF_READ_FILE_HEADER, ELF_INVALID_FILE_HEADER,
 *   ELF_BIG_ENDIAN_ELF_ON_LITTLE, ELF_TARGET_MACHINE_MISMATCH, ELF_INVALID_PROGRAM_HEADER
 */
export function* readElf(source: Source, machine: number | undefined, bits: 64 | 32 = 64): Task<ElfImage> {
  const layout = bits === 64 ? ELF64 : ELF32;
  if (source.byteLength < layout.fileHeaderBytes) {
    throw new DirectBootError(
      "ELF_READ_FILE_HEADER",
      `${source.name} is ${(yield* describeFile(source)).what} of ${source.byteLength} bytes, an ELF header has ${layout.fileHeaderBytes}`,
      layout.cure,
    );
  }
  // A copy: the bytes of a request are valid until the next only.
  const bytes = (yield* readBytes(source, 0, layout.fileHeaderBytes)).slice();
  const header = viewOf(bytes);
  const [magic0, magic1, magic2, magic3, elfClass, encoding, version] = bytes;
  const isElf = magic0 === 0x7f && magic1 === 0x45 && magic2 === 0x4c && magic3 === 0x46;
  const isKnown = encoding === ELFDATA2LSB || encoding === ELFDATA2MSB;
  if (!isElf || elfClass !== layout.elfClass || !isKnown || version !== EV_CURRENT) {
    const what = isElf
      ? `an ELF of class ${elfClass}, encoding ${encoding}, version ${version}; class ${layout.elfClass}, encoding ${ELFDATA2LSB}, version ${EV_CURRENT} is wanted`
      : (yield* describeFile(source)).what;
    throw new DirectBootError("ELF_INVALID_FILE_HEADER", `${source.name} is ${what}`, layout.cure);
  }
  if (encoding === ELFDATA2MSB) {
    throw new DirectBootError(
      "ELF_BIG_ENDIAN_ELF_ON_LITTLE",
      `${source.name}: EI_DATA is ${encoding}, ${ELFDATA2LSB} is wanted`,
    );
  }
  const found = header.getUint16(18, true);
  if (machine !== undefined && found !== machine) {
    throw new DirectBootError(
      "ELF_TARGET_MACHINE_MISMATCH",
      `${source.name} is an ELF for ${machineOf(found)}, one for ${machineOf(machine)} is wanted`,
    );
  }
  return {
    type: header.getUint16(16, true),
    machine: found,
    entry: wordAt(header, FILE_HEADER_WORDS, 0, layout),
    programHeaderOffset: wordAt(header, FILE_HEADER_WORDS, 1, layout),
    programHeaders: yield* readProgramHeaders(source, header, layout),
  };
}
