/** Headers of kernel files, explained format by format. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { decodeAarch64ImageFlags, readArm64Image } from "../images/arm64-image.js";
import { readArm64ImageFields } from "../images/arm64-image-fields.js";
import { type BzImage, formatProtocolVersion, readBzImage, XLF_KERNEL_64 } from "../images/bzimage.js";
import { readBzImageFields } from "../images/bzimage-fields.js";
import { describeFormat, type ImageFormat } from "../images/detect.js";
import { type ElfImage, EM_386, EM_X86_64, readElf, readElf32 } from "../images/elf.js";
import {
  fileTypeName,
  MOST_PROGRAM_HEADERS_SHOWN,
  machineName,
  pvhNoteField,
  readElfFileHeaderFields,
  readElfProgramHeaderFields,
  segmentTypeName,
} from "../images/elf-fields.js";
import { findPvhNote, type PvhNote } from "../images/elf-notes.js";
import type { HeaderField } from "../images/header-fields.js";
import { readZboot } from "../images/zboot.js";
import { readZbootFields } from "../images/zboot-fields.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import type { X86Entry } from "../x86/options.js";

/** A field of a header. */
export interface InspectedField {
  /** The protocol's own name. */
  readonly name: string;
  /** In the file, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** The kind of `value`: an integer as a hex string, or text. */
  readonly kind: "integer" | "text";
  readonly value: string;
  /** The value in words. */
  readonly meaning: string;
  /** The document that says so, and its section. */
  readonly section: string;
  /** The first version of the protocol that has the field, where the protocol counts versions. */
  readonly since?: string;
}

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
  readonly fields: readonly InspectedField[];
  /** The program headers of an ELF file, at most 1024. */
  readonly segments: readonly InspectedSegment[];
  /** Program headers that there are. */
  readonly segmentCount: number;
}

/** The headers, and the error of the parser that refuses them. */
interface Told extends KernelHeaders {
  readonly error: DirectBootError | undefined;
}

type Attempt<T> =
  | { readonly result: T; readonly error: undefined }
  | { readonly result: undefined; readonly error: DirectBootError };

/** The result of a task, or the error with which it refuses the file. */
export function* attempt<T>(task: Task<T>): Task<Attempt<T>> {
  try {
    return { result: yield* task, error: undefined };
  } catch (error) {
    if (error instanceof DirectBootError && error.code !== "ABORTED") return { result: undefined, error };
    throw error;
  }
}

function toField({ value, ...field }: HeaderField): InspectedField {
  return typeof value === "string"
    ? { ...field, kind: "text", value }
    : { ...field, kind: "integer", value: hex(value) };
}

type Findings = Partial<Omit<Told, "fields">> & { readonly fields?: readonly HeaderField[] };

function told(format: ImageFormat, { fields = [], ...found }: Findings): Told {
  return {
    description: describeFormat(format),
    architecture: undefined,
    entries: [],
    header: null,
    kernelVersion: undefined,
    fields: fields.map(toField),
    segments: [],
    segmentCount: 0,
    error: undefined,
    ...found,
  };
}

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

const ELF_MACHINES = {
  32: { machine: EM_386, architecture: "i386", entry: "32" },
  64: { machine: EM_X86_64, architecture: "x86_64", entry: "64" },
} as const;

function elfHeader(
  elf: ElfImage,
  segments: readonly InspectedSegment[],
  note: PvhNote | undefined,
): Record<string, unknown> {
  return {
    type: elf.type,
    typeName: fileTypeName(elf.type),
    machine: elf.machine,
    machineName: machineName(elf.machine),
    entry: hex(elf.entry),
    programHeaderOffset: Number(elf.programHeaderOffset),
    programHeaderCount: elf.programHeaders.length,
    programHeaders: segments,
    pvhEntry: note === undefined ? null : hex(note.entry),
  };
}

function* tellElf(source: Source, elfClass: 32 | 64): Task<Told> {
  const format = elfClass === 64 ? "elf64" : "elf32";
  const fileFields = yield* readElfFileHeaderFields(source, elfClass);
  const { result: elf, error } = yield* attempt((elfClass === 64 ? readElf : readElf32)(source, undefined));
  if (elf === undefined) return told(format, { fields: fileFields, error });
  const segments = segmentsOf(elf);
  const note = yield* attempt(findPvhNote(source, elf));
  const noteFields = note.result === undefined ? [] : [pvhNoteField(note.result)];
  const known = ELF_MACHINES[elfClass];
  const isKnown = elf.machine === known.machine;
  return told(format, {
    description: `${describeFormat(format)} for ${machineName(elf.machine)}`,
    architecture: isKnown ? known.architecture : undefined,
    entries: !isKnown ? [] : note.result === undefined ? [known.entry] : [known.entry, "pvh"],
    header: elfHeader(elf, segments, note.result),
    fields: [...fileFields, ...(yield* readElfProgramHeaderFields(source, elfClass, elf)), ...noteFields],
    segments,
    segmentCount: elf.programHeaders.length,
    error: note.error,
  });
}

function* tellArm64(source: Source): Task<Told> {
  const fields = yield* readArm64ImageFields(source);
  const { result, error } = yield* attempt(readArm64Image(source));
  const header =
    result === undefined
      ? null
      : {
          textOffset: Number(result.textOffset),
          imageSize: Number(result.imageSize),
          flags: hex(result.flags),
          ...decodeAarch64ImageFlags(result.flags),
        };
  return told("arm64-image", { architecture: "aarch64", header, fields, error });
}

function bzImageHeader(image: BzImage, kernelVersion: string | undefined): Record<string, unknown> {
  return {
    protocol: formatProtocolVersion(image.version),
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
}

function* tellBzImage(source: Source): Task<Told> {
  const { fields, kernelVersion } = yield* readBzImageFields(source);
  const { result: image, error } = yield* attempt(readBzImage(source));
  if (image === undefined) return told("bzImage", { fields, kernelVersion, error });
  const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
  return told("bzImage", {
    description: `${describeFormat("bzImage")}, protocol ${formatProtocolVersion(image.version)}`,
    architecture: has64 ? "x86_64" : "i386",
    entries: has64 ? ["64", "32"] : ["32"],
    header: bzImageHeader(image, kernelVersion),
    kernelVersion,
    fields,
  });
}

function* tellZboot(source: Source): Task<Told> {
  const fields = yield* readZbootFields(source);
  const { result, error } = yield* attempt(readZboot(source));
  const header =
    result === undefined
      ? null
      : {
          payloadOffset: result.payloadOffset,
          payloadLength: result.payloadLength,
          compression: result.compression,
        };
  return told("zboot", { header, fields, error });
}

/** Reads the headers of a file of that format, as far as they can be read. */
export function* readHeaders(source: Source, format: ImageFormat): Task<Told> {
  switch (format) {
    case "elf64":
      return yield* tellElf(source, 64);
    case "elf32":
      return yield* tellElf(source, 32);
    case "arm64-image":
      return yield* tellArm64(source);
    case "bzImage":
      return yield* tellBzImage(source);
    case "zboot":
      return yield* tellZboot(source);
    default:
      return told(format, {});
  }
}
