/**
 * ELF, little-endian: what a kernel is before it is made a bzImage. Field names and offsets follow the System V gABI,
 * "ELF Header" and "Program Header" (`Elf64_Ehdr`, `Elf64_Phdr`, `Elf32_Ehdr`, `Elf32_Phdr` in <elf.h>).
 */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { DETECT_BYTES, describeFormat, detectFormat } from "./detect.js";

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

/** Where the fields of one class of ELF stand. Sizes and offsets in bytes. */
interface ElfLayout {
  /** EI_CLASS */
  readonly elfClass: number;
  /** The cure for a file of another class, where the code's own cure does not fit. */
  readonly cure: { readonly cure?: string };
  /** sizeof(ElfNN_Ehdr), sizeof(ElfNN_Phdr), sizeof(ElfNN_Shdr) */
  readonly fileHeaderBytes: number;
  readonly programHeaderBytes: number;
  readonly sectionHeaderBytes: number;
  /** Offsets in ElfNN_Ehdr; e_phnum and e_shentsize follow e_phentsize. */
  readonly entry: number;
  readonly programHeaderOffset: number;
  readonly sectionHeaderOffset: number;
  readonly programHeaderEntryBytes: number;
  /** Offsets in ElfNN_Phdr; p_offset, p_vaddr, p_paddr, p_filesz and p_memsz are words 1 to 5. */
  readonly segmentFlags: number;
  readonly segmentAlignment: number;
  readonly wordBytes: number;
  /** Offset of sh_info in ElfNN_Shdr */
  readonly sectionInfo: number;
  /** An address, an offset or a size of this class. */
  word(view: DataView, at: number): bigint;
}

const ELF64: ElfLayout = {
  elfClass: 2, // ELFCLASS64
  cure: {},
  fileHeaderBytes: 64,
  programHeaderBytes: 56,
  sectionHeaderBytes: 64,
  entry: 24,
  programHeaderOffset: 32,
  sectionHeaderOffset: 40,
  programHeaderEntryBytes: 54,
  segmentFlags: 4,
  segmentAlignment: 48,
  wordBytes: 8,
  sectionInfo: 44,
  word: (view, at) => view.getBigUint64(at, true),
};

const ELF32: ElfLayout = {
  elfClass: 1, // ELFCLASS32
  cure: { cure: "give an uncompressed 32-bit ELF kernel (vmlinux)" },
  fileHeaderBytes: 52,
  programHeaderBytes: 32,
  sectionHeaderBytes: 40,
  entry: 24,
  programHeaderOffset: 28,
  sectionHeaderOffset: 32,
  programHeaderEntryBytes: 42,
  segmentFlags: 24,
  segmentAlignment: 28,
  wordBytes: 4,
  sectionInfo: 28,
  word: (view, at) => BigInt(view.getUint32(at, true)),
};

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The format of a file that is no such ELF, for the message. */
function* describeSource(source: Source): Task<string> {
  const head = yield* readBytes(source, 0, Math.min(source.byteLength, DETECT_BYTES));
  const format = detectFormat(head);
  const what = describeFormat(format);
  return format === "unknown"
    ? `${what} (it starts with ${[...head.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")})`
    : what;
}

function* countProgramHeaders(source: Source, header: DataView, layout: ElfLayout): Task<number> {
  const count = header.getUint16(layout.programHeaderEntryBytes + 2, true);
  if (count !== PN_XNUM) return count;
  const sectionHeaderOffset = layout.word(header, layout.sectionHeaderOffset);
  const sectionHeaderBytes = header.getUint16(layout.programHeaderEntryBytes + 4, true);
  const invalid = (why: string): DirectBootError =>
    new DirectBootError(
      "ELF_INVALID_PROGRAM_HEADER",
      `${source.name}: e_phnum is ${hex(PN_XNUM)}, but ${why}`,
    );
  if (sectionHeaderOffset === 0n) throw invalid("there is no section 0 to hold the count (e_shoff is 0)");
  if (sectionHeaderBytes !== layout.sectionHeaderBytes) {
    throw invalid(`e_shentsize is ${sectionHeaderBytes}, not ${layout.sectionHeaderBytes}`);
  }
  if (sectionHeaderOffset + BigInt(layout.sectionHeaderBytes) > BigInt(source.byteLength)) {
    throw invalid(`section 0 at ${hex(sectionHeaderOffset)} lies past the end, ${source.byteLength} bytes`);
  }
  const section = yield* readBytes(source, Number(sectionHeaderOffset), layout.sectionHeaderBytes);
  return viewOf(section).getUint32(layout.sectionInfo, true);
}

function programHeaderAt(table: DataView, at: number, layout: ElfLayout): ElfProgramHeader {
  const word = (index: number): bigint => layout.word(table, at + index * layout.wordBytes);
  return {
    type: table.getUint32(at, true),
    flags: table.getUint32(at + layout.segmentFlags, true),
    offset: word(1),
    virtualAddress: word(2),
    physicalAddress: word(3),
    fileSize: word(4),
    memorySize: word(5),
    alignment: layout.word(table, at + layout.segmentAlignment),
  };
}

function* readProgramHeaders(source: Source, header: DataView, layout: ElfLayout): Task<ElfProgramHeader[]> {
  const offset = layout.word(header, layout.programHeaderOffset);
  if (offset === 0n) return [];
  const count = yield* countProgramHeaders(source, header, layout);
  if (count === 0) return [];
  const entryBytes = header.getUint16(layout.programHeaderEntryBytes, true);
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

function* readHeaders(source: Source, machine: number | undefined, layout: ElfLayout): Task<ElfImage> {
  if (source.byteLength < layout.fileHeaderBytes) {
    throw new DirectBootError(
      "ELF_READ_FILE_HEADER",
      `${source.name} is ${yield* describeSource(source)} of ${source.byteLength} bytes, an ELF header has ${layout.fileHeaderBytes}`,
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
      : yield* describeSource(source);
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
      `${source.name}: e_machine is ${found}, ${machine} is wanted`,
    );
  }
  return {
    type: header.getUint16(16, true),
    machine: found,
    entry: layout.word(header, layout.entry),
    programHeaderOffset: layout.word(header, layout.programHeaderOffset),
    programHeaders: yield* readProgramHeaders(source, header, layout),
  };
}

/**
 * Reads the headers of an ELF64 file. `e_type` and `e_version` are not checked, as upstream.
 *
 * @param machine the e_machine that is wanted, or undefined for any
 * @throws DirectBootError in this order: ELF_READ_FILE_HEADER, ELF_INVALID_FILE_HEADER,
 *   ELF_BIG_ENDIAN_ELF_ON_LITTLE, ELF_TARGET_MACHINE_MISMATCH, ELF_INVALID_PROGRAM_HEADER
 */
export function readElf(source: Source, machine: number | undefined): Task<ElfImage> {
  return readHeaders(source, machine, ELF64);
}

/**
 * Reads the headers of an ELF32 file, as {@link readElf} does those of an ELF64 file. Addresses and sizes are below 4 GiB.
 *
 * @param machine the e_machine that is wanted, for example {@link EM_386}, or undefined for any
 * @throws DirectBootError the same codes in the same order
 */
export function readElf32(source: Source, machine: number | undefined): Task<ElfImage> {
  return readHeaders(source, machine, ELF32);
}
