/** What a kernel's file is: its format, what is compressed in it, and its headers field by field. */
import { hex } from "../base/address.js";
import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";
import { decodeAarch64ImageFlags, readArm64Image } from "../images/arm64-image.js";
import { readArm64ImageFields } from "../images/arm64-image-fields.js";
import { type BzImage, formatProtocolVersion, readBzImage, XLF_KERNEL_64 } from "../images/bzimage.js";
import { readBzImageFields } from "../images/bzimage-fields.js";
import {
  DETECT_BYTES,
  describeFormat,
  detectFormat,
  type ImageFormat,
  isCompressionFormat,
} from "../images/detect.js";
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
import { gunzipSource, gunzipSourceSync } from "../sources/gzip.js";
import { openSource } from "../sources/open.js";
import { readBytes, readHead } from "../sources/reading.js";
import { type AsyncByteInput, type ByteInput, hasKnownLength, type Source } from "../sources/source.js";
import { type StreamSource, spoolIfUnknown } from "../sources/stream.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { type Decoders, loadDecoders } from "../unpack/decoding.js";
import { formatOfKernel, openKernelFile, type Unpacking } from "../unpack/kernel-file.js";
import type { X86Entry } from "../x86/options.js";

/** A field of a header. */
export interface InspectedField {
  /** The protocol's own name. */
  readonly name: string;
  /** In the file, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** What `value` is: an integer as a hex string, or text. */
  readonly kind: "integer" | "text";
  readonly value: string;
  /** The value in words. */
  readonly meaning: string;
  /** The document that says so, and its section. */
  readonly section: string;
  /** The first version of the protocol that has the field, where the protocol counts versions. */
  readonly since?: string;
}

/** A program header of an ELF file; numbers are hex strings. */
export interface InspectedSegment {
  readonly type: string;
  /** "RWX", with "-" for what is not allowed. */
  readonly flags: string;
  readonly offset: string;
  readonly virtualAddress: string;
  readonly physicalAddress: string;
  readonly fileSize: string;
  readonly memorySize: string;
  readonly alignment: string;
}

/** What is compressed in a file. */
export interface InspectedCompression {
  readonly format: ImageFormat;
  /** In words, such as "xz-compressed data". */
  readonly description: string;
  /** Bytes of the compressed data; undefined if that is not known. */
  readonly compressedBytes: number | undefined;
  /** Bytes that it decompresses to, as the file says; undefined if it does not. */
  readonly bytes: number | undefined;
}

/** What a file is. All of it is plain data that JSON has a form for. */
export interface KernelInspection {
  /** What messages call the file. */
  readonly name: string;
  /** Undefined for a stream that does not say. */
  readonly byteLength: number | undefined;
  readonly format: ImageFormat;
  /** In words, such as "an x86 bzImage, protocol 2.15". */
  readonly description: string;
  /** What it runs on; undefined if that is not known or nothing that `loadLinux` loads. */
  readonly architecture: GuestArchitecture | undefined;
  /** The entries that an x86 kernel has, the one that is taken by default first. */
  readonly entries: readonly X86Entry[];
  readonly compression: InspectedCompression | undefined;
  /** The text that a bzImage has for people. */
  readonly kernelVersion: string | undefined;
  /** What the loader's parser takes from the headers, integers as hex strings; null if it refuses the file. */
  readonly header: Readonly<Record<string, unknown>> | null;
  readonly fields: readonly InspectedField[];
  /** The program headers of an ELF file, at most 1024. */
  readonly segments: readonly InspectedSegment[];
  /** Program headers that there are. */
  readonly segmentCount: number;
  /** The kernel inside a file that is compressed, or a zboot image; of a bzImage only if it is asked for. */
  readonly inside: KernelInspection | undefined;
  /** Why the loaders would refuse the file, in the words of their error. */
  readonly refusal: { readonly code: DirectBootErrorCode; readonly message: string } | undefined;
}

/** Options of {@link inspectKernel} and {@link inspectKernelSync}. */
export interface InspectOptions {
  /**
   * `import * as decoders from "directboot/decoders"`: what the synchronous function looks into compressed files with. The
   * asynchronous one loads them when it needs them.
   */
  readonly decoders?: Decoders | undefined;
  /**
   * What is unpacked to look at the kernel inside: "wrappers" (default) are compressed files and zboot images, "all" the
   * payload of a bzImage, too; "none" takes the least time.
   */
  readonly unpack?: "none" | "wrappers" | "all" | undefined;
  /** Bytes of a stream that are kept at most; 64 MiB by default. */
  readonly spoolLimit?: number | undefined;
}

/** An inspection, and the error that its refusal was, for whoever throws it. */
export interface SourceInspection {
  readonly inspection: KernelInspection;
  readonly error: DirectBootError | undefined;
}

/** More than any kernel has in front of what is looked at. */
const MOST_UNPACKED = 1024 * 1024 * 1024;

type Attempt<T> =
  | { readonly result: T; readonly error: undefined }
  | { readonly result: undefined; readonly error: DirectBootError };

/** What a parser says, or why it refuses. */
function* attempt<T>(reading: Task<T>): Task<Attempt<T>> {
  try {
    return { result: yield* reading, error: undefined };
  } catch (error) {
    if (error instanceof DirectBootError && error.code !== "ABORTED") return { result: undefined, error };
    throw error;
  }
}

/** What is known of a file of one format. */
interface Told
  extends Pick<KernelInspection, "description" | "architecture" | "entries" | "header" | "kernelVersion"> {
  readonly fields: readonly HeaderField[];
  readonly segments: readonly InspectedSegment[];
  readonly segmentCount: number;
  readonly error: DirectBootError | undefined;
}

function told(format: ImageFormat, more: Partial<Told>): Told {
  return {
    description: describeFormat(format),
    architecture: undefined,
    entries: [],
    header: null,
    kernelVersion: undefined,
    fields: [],
    segments: [],
    segmentCount: 0,
    error: undefined,
    ...more,
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
    offset: hex(header.offset),
    virtualAddress: hex(header.virtualAddress),
    physicalAddress: hex(header.physicalAddress),
    fileSize: hex(header.fileSize),
    memorySize: hex(header.memorySize),
    alignment: hex(header.alignment),
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
    programHeaderOffset: hex(elf.programHeaderOffset),
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
          textOffset: hex(result.textOffset),
          imageSize: hex(result.imageSize),
          flags: hex(result.flags),
          ...decodeAarch64ImageFlags(result.flags),
        };
  return told("arm64-image", { architecture: "aarch64", header, fields, error });
}

function bzImageHeader(image: BzImage, kernelVersion: string | undefined): Record<string, unknown> {
  return {
    protocol: formatProtocolVersion(image.version),
    kernelVersion: kernelVersion ?? null,
    setupHeaderLength: hex(image.header.byteLength),
    protectedModeOffset: hex(image.protectedModeOffset),
    protectedModeLength: hex(image.protectedModeLength),
    payload:
      image.payload === undefined
        ? null
        : { offset: hex(image.payload.offset), length: hex(image.payload.length) },
    relocatable: image.relocatableKernel,
    kernelAlignment: hex(image.kernelAlignment),
    prefAddress: hex(image.prefAddress),
    initSize: hex(image.initSize),
    initrdAddrMax: hex(image.initrdAddrMax),
    cmdlineSize: hex(image.cmdlineSize),
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
          payloadOffset: hex(result.payloadOffset),
          payloadLength: hex(result.payloadLength),
          compression: result.compression,
        };
  return told("zboot", { header, fields, error });
}

function* tell(source: Source, format: ImageFormat): Task<Told> {
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

function toField({ name, offset, size, value, meaning, section, since }: HeaderField): InspectedField {
  const isText = typeof value === "string";
  return {
    name,
    offset,
    size,
    kind: isText ? "text" : "integer",
    value: isText ? value : hex(value),
    meaning,
    section,
    ...(since === undefined ? {} : { since }),
  };
}

type Unpack = NonNullable<InspectOptions["unpack"]>;

/** What is compressed in a file, told without unpacking it. */
function* packedIn(source: Source, format: ImageFormat): Task<InspectedCompression | undefined> {
  if (isCompressionFormat(format)) {
    const compressedBytes = hasKnownLength(source) ? source.byteLength : undefined;
    return { format, description: describeFormat(format), compressedBytes, bytes: undefined };
  }
  if (format !== "zboot") return undefined;
  const { payloadOffset, payloadLength } = yield* readZboot(source);
  const head = yield* readBytes(source, payloadOffset, Math.min(DETECT_BYTES, payloadLength));
  const packed = formatOfKernel(head);
  return {
    format: packed,
    description: describeFormat(packed),
    compressedBytes: payloadLength,
    bytes: undefined,
  };
}

/** The kernel in a file that holds one, and what is compressed in it. */
function* lookInside(
  source: Source,
  format: ImageFormat,
  unpacking: Unpacking,
  unpack: Unpack,
): Task<Pick<SourceInspection, "error"> & Pick<KernelInspection, "compression" | "inside">> {
  const isBzImage = format === "bzImage";
  const { result: packed, error: packedError } = yield* attempt(packedIn(source, format));
  if (packedError !== undefined) return { compression: undefined, inside: undefined, error: packedError };
  const asIs = { compression: packed, inside: undefined, error: undefined };
  if (!isBzImage && (packed === undefined || unpack === "none")) return asIs;
  // What a bzImage says of its payload is read without unpacking it.
  const decompress = isBzImage && unpack === "all" ? "host" : "guest";
  const { result: file, error } = yield* attempt(openKernelFile(source, { ...unpacking, decompress }));
  if (file === undefined) {
    // What is compressed with something that is not at hand is no bad file.
    return error?.code === "DECOMPRESS_UNSUPPORTED" ? asIs : { ...asIs, error };
  }
  const { decompression } = file;
  const compression =
    decompression === undefined
      ? packed
      : {
          format: decompression.format,
          description: describeFormat(decompression.format),
          compressedBytes: decompression.compressedBytes,
          bytes: decompression.bytes,
        };
  const inside = file.source === source ? undefined : yield* inspectSource(file.source, unpacking, unpack);
  return { compression, inside: inside?.inspection, error: inside?.error };
}

/** Inspects a source, as far as it can be read: what refuses it comes with what could be told of it. */
export function* inspectSource(source: Source, unpacking: Unpacking, unpack: Unpack): Task<SourceInspection> {
  const format = detectFormat(yield* readHead(source, DETECT_BYTES));
  const { fields, error: refused, ...parts } = yield* tell(source, format);
  const {
    compression,
    inside,
    error: insideError,
  } = refused === undefined
    ? yield* lookInside(source, format, unpacking, unpack)
    : { compression: undefined, inside: undefined, error: undefined };
  const error = refused ?? insideError;
  return {
    error,
    inspection: {
      name: source.name,
      byteLength: hasKnownLength(source) ? source.byteLength : undefined,
      format,
      ...parts,
      architecture: parts.architecture ?? inside?.architecture,
      entries: parts.entries.length > 0 ? parts.entries : (inside?.entries ?? []),
      compression,
      fields: fields.map(toField),
      inside,
      refusal: error === undefined ? undefined : { code: error.code, message: error.message },
    },
  };
}

function unpackingBy(gunzip: Unpacking["gunzip"], decoders: Decoders | undefined): Unpacking {
  return {
    gunzip,
    decoders,
    maximumBytes: MOST_UNPACKED,
    decompress: "guest",
    entry: undefined,
    hasKernelAddress: false,
    inPlace: true,
    progress: undefined,
  };
}

/** The synchronous {@link inspectKernel} of an open source, with the error that its refusal was. */
export function inspectSourceSync(source: Source, options: InspectOptions = {}): SourceInspection {
  const { decoders, unpack = "wrappers" } = options;
  const gunzip =
    decoders === undefined
      ? (packed: Source): Source => gunzipSourceSync(packed, { maximumBytes: MOST_UNPACKED })
      : undefined;
  return runSync(inspectSource(source, unpackingBy(gunzip, decoders), unpack));
}

/**
 * Tells what a kernel's file is, header field by header field. A file that the loaders would refuse is told of as far
 * as it can be read; then `refusal` says why.
 *
 * @throws DirectBootError what reading throws: SOURCE_*, ABORTED
 *
 * @example
 * ```ts
 * import { inspectKernel } from "directboot/inspect";
 *
 * const { description, fields } = await inspectKernel("vmlinuz");
 * console.log(description); // an x86 bzImage, protocol 2.15
 * console.log(fields.find(({ name }) => name === "version")?.meaning); // boot protocol 2.15
 * ```
 */
export async function inspectKernel(
  input: AsyncByteInput,
  options: InspectOptions & { readonly signal?: AbortSignal | undefined } = {},
): Promise<KernelInspection> {
  const { signal, spoolLimit, unpack = "wrappers" } = options;
  const { source: opened, close } = openSource(input, "kernel", { spoolLimit });
  const unpacked: StreamSource[] = [];
  try {
    // A header may point anywhere: what does not say how long it is, is read to its end first.
    const source = await spoolIfUnknown(opened, spoolLimit, signal);
    const gunzip = (packed: Source): Source => {
      const stream = gunzipSource(packed, { maximumBytes: MOST_UNPACKED, spoolLimit });
      unpacked.push(stream);
      return stream;
    };
    const format = detectFormat(await runAsync(readHead(source, DETECT_BYTES), signal));
    const isPacked =
      format === "bzImage" ? unpack === "all" : unpack !== "none" && !HEADERS_ALONE.includes(format);
    const decoders = options.decoders ?? (isPacked ? await loadDecoders() : undefined);
    return (await runAsync(inspectSource(source, unpackingBy(gunzip, decoders), unpack), signal)).inspection;
  } finally {
    for (const each of unpacked) each.cancel();
    close();
  }
}

/** Formats that hold nothing that is compressed. */
const HEADERS_ALONE: readonly ImageFormat[] = ["elf64", "elf32", "arm64-image", "text", "empty", "unknown"];

/** The synchronous {@link inspectKernel}: with `decoders` it looks into all compressed files, without into gzip (Node). */
export function inspectKernelSync(input: ByteInput, options: InspectOptions = {}): KernelInspection {
  const { source, close } = openSource(input, "kernel");
  try {
    return inspectSourceSync(source, options).inspection;
  } finally {
    close();
  }
}
