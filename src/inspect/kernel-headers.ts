/** Headers of kernel files, explained format by format. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { decodeAarch64ImageFlags, readArm64Image } from "../images/arm64-image.js";
import { readArm64ImageFields } from "../images/arm64-image-fields.js";
import { formatProtocolVersion, readBzImage, XLF_KERNEL_64 } from "../images/bzimage.js";
import { readBzImageFields } from "../images/bzimage-fields.js";
import { describeFormat, type ImageFormat } from "../images/detect.js";
import { type ElfImage, EM_386, EM_X86_64, readElf } from "../images/elf.js";
import {
  fileTypeName,
  MOST_PROGRAM_HEADERS_SHOWN,
  machineName,
  pvhNoteField,
  readElfFileHeaderFields,
  readElfProgramHeaderFields,
  segmentTypeName,
} from "../images/elf-fields.js";
import { findPvhNote } from "../images/elf-notes.js";
import type { HeaderField } from "../images/header-fields.js";
import { checkKernelElf, refuseMultiboot } from "../images/kernel-elf.js";
import { describeFile, noKernel, refuseMemdisk } from "../images/kinds.js";
import { readZboot } from "../images/zboot.js";
import { readZbootFields } from "../images/zboot-fields.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import type { X86Entry } from "../x86/options.js";

export type { HeaderField as InspectedField };

/** A program header of an ELF file; addresses are hex strings, offsets and sizes bytes. */
export interface InspectedSegment {
  readonly type: string;
  /** "RWX", with "-" for what is not allowed. */
  readonly flags: string;
  readonly offset: number;
  readonly virtualAddress: string;
  readonly physicalAddress: string;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

/** The headers of a file, explained. */
export interface KernelHeaders {
  /** In words, such as "an x86 bzImage, protocol 2.15". */
  readonly description: string;
  /** The architecture; undefined if it is not known, or none that `loadLinux` loads. */
  readonly architecture: GuestArchitecture | undefined;
  /** The entries that an x86 kernel has, the default first. */
  readonly entries: readonly X86Entry[];
  /** The text that a bzImage has for people. */
  readonly kernelVersion: string | undefined;
  /** The parsed header: addresses and flags as hex strings, offsets and sizes in bytes as numbers; null if the parser refuses the file. */
  readonly header: Readonly<Record<string, unknown>> | null;
  readonly fields: readonly HeaderField[];
  /** The program headers of an ELF file, at most 1024. */
  readonly segments: readonly InspectedSegment[];
  /** Program headers that there are. */
  readonly segmentCount: number;
}

interface Attempt<T> {
  readonly result?: T;
  readonly error?: DirectBootError;
}

/** The result of a task, or the error with which it refuses the file. */
export function* attempt<T>(task: Task<T>): Task<Attempt<T>> {
  try {
    return { result: yield* task };
  } catch (error) {
    const isRefusal = error instanceof DirectBootError && !["ABORTED", "SOURCE_READ"].includes(error.code);
    if (isRefusal) return { error };
    throw error;
  }
}

/** The headers as far as they are read. A parser that refuses the file ends the work; the findings stay. */
type Findings = { -readonly [Key in keyof KernelHeaders]: KernelHeaders[Key] };

/** Bits of p_flags (gABI, "Segment Permissions"). */
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;

function permissions(bits: number): string {
  return `${bits & PF_R ? "R" : "-"}${bits & PF_W ? "W" : "-"}${bits & PF_X ? "X" : "-"}`;
}

function segmentsOf(elf: ElfImage): InspectedSegment[] {
  return elf.programHeaders.slice(0, MOST_PROGRAM_HEADERS_SHOWN).map((header) => ({
    type: segmentTypeName(header.type),
    flags: permissions(header.flags),
    offset: Number(header.offset),
    virtualAddress: hex(header.virtualAddress),
    physicalAddress: hex(header.physicalAddress),
    fileSize: Number(header.fileSize),
    memorySize: Number(header.memorySize),
    alignment: Number(header.alignment),
  }));
}

function* tellElf(source: Source, found: Findings, elfClass: 32 | 64): Task<void> {
  found.fields = yield* readElfFileHeaderFields(source, elfClass);
  const elf = yield* readElf(source, undefined, elfClass);
  const is64 = elfClass === 64;
  const entry = is64 ? "64" : "32";
  const isKnown = elf.machine === (is64 ? EM_X86_64 : EM_386);
  found.description = `${found.description} for ${machineName(elf.machine)}`;
  if (isKnown) {
    found.architecture = is64 ? "x86_64" : "i386";
    found.entries = [entry];
  }
  found.segments = segmentsOf(elf);
  found.segmentCount = elf.programHeaders.length;
  const header = {
    type: elf.type,
    typeName: fileTypeName(elf.type),
    machine: elf.machine,
    machineName: machineName(elf.machine),
    entry: hex(elf.entry),
    programHeaderOffset: Number(elf.programHeaderOffset),
    programHeaderCount: elf.programHeaders.length,
    programHeaders: found.segments,
  };
  found.header = { ...header, pvhEntry: null };
  found.fields = [...found.fields, ...(yield* readElfProgramHeaderFields(source, elfClass, elf))];
  const note = yield* findPvhNote(source, elf);
  if (note !== undefined) {
    found.header = { ...header, pvhEntry: hex(note.entry) };
    if (isKnown) found.entries = [entry, "pvh"];
    found.fields = [...found.fields, pvhNoteField(note)];
  }
  if (note === undefined) yield* refuseMultiboot(source, source.name, elf);
  checkKernelElf(source.name, elf, elfClass, note === undefined);
}

function* tellArm64(source: Source, found: Findings): Task<void> {
  found.architecture = "aarch64";
  found.fields = yield* readArm64ImageFields(source);
  const { textOffset, imageSize, flags } = yield* readArm64Image(source);
  found.header = {
    textOffset: Number(textOffset),
    imageSize: Number(imageSize),
    flags: hex(flags),
    ...decodeAarch64ImageFlags(flags),
  };
}

function* tellBzImage(source: Source, found: Findings): Task<void> {
  const { fields, kernelVersion } = yield* readBzImageFields(source);
  found.fields = fields;
  found.kernelVersion = kernelVersion;
  const image = yield* readBzImage(source);
  const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
  const protocol = formatProtocolVersion(image.version);
  found.description = `${found.description}, protocol ${protocol}`;
  found.architecture = has64 ? "x86_64" : "i386";
  found.entries = has64 ? ["64", "32"] : ["32"];
  found.header = {
    protocol,
    kernelVersion: kernelVersion ?? null,
    setupHeaderLength: image.header.byteLength,
    protectedModeOffset: image.protectedModeOffset,
    protectedModeLength: image.protectedModeLength,
    payload: image.payload ?? null,
    relocatable: image.relocatableKernel,
    kernelAlignment: Number(image.kernelAlignment),
    prefAddress: hex(image.prefAddress),
    initSize: Number(image.initSize),
    initrdAddrMax: hex(image.initrdAddrMax),
    cmdlineSize: Number(image.cmdlineSize),
  };
  yield* refuseMemdisk(source, image);
}

function* tellZboot(source: Source, found: Findings): Task<void> {
  found.fields = yield* readZbootFields(source);
  found.header = { ...(yield* readZboot(source)) };
}

function* tell(
  source: Source,
  format: ImageFormat,
  packing: ImageFormat | undefined,
  found: Findings,
): Task<void> {
  if (format === "elf64" || format === "elf32") yield* tellElf(source, found, format === "elf64" ? 64 : 32);
  if (format === "arm64-image") yield* tellArm64(source, found);
  if (format === "bzImage") yield* tellBzImage(source, found);
  if (format === "zboot") yield* tellZboot(source, found);
  if (format === "unknown" || format === "text" || format === "empty") {
    found.description = (yield* describeFile(source)).what;
    throw yield* noKernel(source, packing);
  }
}

/**
 * Reads the headers of a file of that format, as far as they can be read; `error` says why nothing can load it.
 *
 * @param packing what the file was unpacked from
 */
export function* readHeaders(
  source: Source,
  format: ImageFormat,
  packing: ImageFormat | undefined,
): Task<KernelHeaders & { readonly error: DirectBootError | undefined }> {
  const found: Findings = {
    description: describeFormat(format),
    architecture: undefined,
    entries: [],
    header: null,
    kernelVersion: undefined,
    fields: [],
    segments: [],
    segmentCount: 0,
  };
  const { error } = yield* attempt(tell(source, format, packing, found));
  return { ...found, error };
}
