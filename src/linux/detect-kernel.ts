/** Tells a kernel file's kind from its headers; nothing is loaded. */

import { DirectBootError } from "../base/errors.js";
import { gunzipByPlatform } from "../decoders/zlib.js";
import { ARM64_PAGE_SIZES, type Arm64PageSize, decodeAarch64ImageFlags } from "../images/arm64-image.js";
import { formatProtocolVersion, XLF_KERNEL_64 } from "../images/bzimage.js";
import { DETECT_BYTES, describeFormat, type ImageFormat, isCompressionFormat } from "../images/detect.js";
import { type ElfImage, EM_386, EM_X86_64, readElf } from "../images/elf.js";
import { findPvhNote } from "../images/elf-notes.js";
import { describeFile, ELF_MACHINES } from "../images/kinds.js";
import { readZboot } from "../images/zboot.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import { readBytes, readHead } from "../sources/reading.js";
import type { AsyncByteInput, ByteInput, Source } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { formatOfKernel, type KernelFile, openKernelFile, withKernel } from "../unpack/kernel-file.js";
import type { Decoders, Unpacking } from "../unpack/unpacking.js";
import type { X86Entry } from "../x86/options.js";
import { checkDetectOptions } from "./check-options.js";

/** The result of {@link detectKernel}. */
export interface DetectedKernel {
  /** The format of the file itself. */
  readonly format: ImageFormat;
  /** The format of the kernel in it: another one where the file is compressed or an EFI zboot image. */
  readonly kernelFormat: ImageFormat;
  /** In words, such as "an x86 bzImage, protocol 2.15, LZ4-compressed data (legacy format) inside". */
  readonly description: string;
  /** The architecture that it runs on; undefined if that is not known or nothing that {@link loadLinux} loads. */
  readonly architecture: GuestArchitecture | undefined;
  /** The entries that an x86 kernel has, the one that is taken by default first. */
  readonly entries: readonly X86Entry[];
  /** The page size of an arm64 kernel, which the guest's CPU must have. */
  readonly pageSize?: Arm64PageSize | undefined;
  /** The compression of the file, or of the payload in a bzImage or zboot image; undefined if there is none. */
  readonly compression: ImageFormat | undefined;
}

type Told = Omit<DetectedKernel, "format" | "kernelFormat" | "compression"> & {
  readonly payload?: ImageFormat | undefined;
};

/** The machines of the ELF files that are loaded. */
const MACHINES = { elf32: EM_386, elf64: EM_X86_64 } as const;
const ARCHITECTURES = { elf32: "i386", elf64: "x86_64" } as const;

function* tell(file: KernelFile): Task<Told> {
  const { source } = file;
  const description = describeFormat(file.format);
  switch (file.format) {
    case "arm64-image": {
      const pageSize = ARM64_PAGE_SIZES[decodeAarch64ImageFlags(file.image.flags).pageSize];
      return { description, architecture: "aarch64", entries: [], pageSize };
    }
    case "elf64":
    case "elf32": {
      const { format } = file;
      const elf = yield* readElf(source, undefined, format === "elf64" ? 64 : 32);
      const architecture = elf.machine === MACHINES[format] ? ARCHITECTURES[format] : undefined;
      if (architecture === undefined) {
        const machine = ELF_MACHINES[elf.machine] ?? `machine ${elf.machine}`;
        return { description: `${description} for ${machine}`, architecture, entries: [] };
      }
      const pvh = yield* findPvhIfTold(source, elf);
      const entry: X86Entry = format === "elf64" ? "64" : "32";
      return {
        description: `${description} for ${architecture}`,
        architecture,
        entries: pvh === undefined ? [entry] : [entry, "pvh"],
      };
    }
    case "bzImage": {
      const { image, decompression } = file;
      const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
      const told = `${description}, protocol ${formatProtocolVersion(image.version)}`;
      const architecture = has64 ? "x86_64" : "i386";
      const entries: readonly X86Entry[] = has64 ? ["64", "32"] : ["32"];
      const payload = image.payload === undefined ? undefined : decompression?.format;
      const inside = payload === undefined ? "" : `, ${describeFormat(payload)} inside`;
      return { description: `${told}${inside}`, architecture, entries, payload };
    }
    default: {
      const { what } = yield* describeFile(source);
      return { description: what, architecture: undefined, entries: [] };
    }
  }
}

/** The PVH entry; damaged notes tell none: whoever loads the kernel by it is told of them, who asks what it is need not be. */
function* findPvhIfTold(source: Source, elf: ElfImage): Task<bigint | undefined> {
  try {
    return (yield* findPvhNote(source, elf))?.entry;
  } catch (cause) {
    if (cause instanceof DirectBootError && cause.code === "ELF_BAD_NOTE") return undefined;
    throw cause;
  }
}

/** Options of {@link detectKernelSync}. */
export interface DetectKernelSyncOptions {
  /**
   * `import * as decoders from "directboot/decoders"`: what the synchronous function looks into compressed files with.
   * Without, it looks into gzip files only (in Node), and tells of others what they are. The asynchronous one loads them.
   */
  readonly decoders?: Decoders | undefined;
}

/** Options of {@link detectKernel}. */
export interface DetectKernelOptions extends DetectKernelSyncOptions {
  /** Ends the reading. */
  readonly signal?: AbortSignal | undefined;
}

function detect(input: AsyncByteInput, { decoders }: DetectKernelSyncOptions): Task<DetectedKernel> {
  // To tell what a bzImage is, its payload need not be unpacked.
  const options = {
    decoders,
    gunzip: gunzipByPlatform,
    maxDecompressedSize: MOST_UNPACKED,
    decompress: "guest",
    inPlace: true,
  } as const;
  return withKernel(input, options, detectIn);
}

function* detectIn(source: Source, unpacking: Unpacking): Task<DetectedKernel> {
  const format = formatOfKernel(yield* readHead(source, DETECT_BYTES));
  if (format !== "zboot" && !isCompressionFormat(format)) {
    const { payload, ...told } = yield* tell(yield* openKernelFile(source, unpacking));
    return { format, kernelFormat: format, ...told, compression: payload };
  }
  let compression: ImageFormat = format;
  let description = describeFormat(format);
  if (format === "zboot") {
    const zboot = yield* readZboot(source);
    const head = yield* readBytes(source, zboot.payloadOffset, Math.min(DETECT_BYTES, zboot.payloadLength));
    compression = formatOfKernel(head);
    description = `${description}, ${zboot.compression}-compressed`;
  }
  const canOpen =
    isCompressionFormat(compression) &&
    (compression === "gzip" || (yield* unpacking.decoders()) !== undefined);
  if (!canOpen) {
    const kernelFormat = format === "zboot" ? "unknown" : format;
    return { format, kernelFormat, description, architecture: undefined, entries: [], compression };
  }
  const file = yield* openKernelFile(source, unpacking);
  const { payload: _, ...told } = yield* tell(file);
  return {
    format,
    kernelFormat: file.format,
    ...told,
    description: `${describeFormat(format)}: ${told.description}`,
    compression,
  };
}

/** More than any kernel has in front of what is looked at. */
const MOST_UNPACKED = 1024 * 1024 * 1024;

/**
 * Tells what a kernel's file is. A compressed one is unpacked, as far as its headers need it.
 *
 * @throws DirectBootError what the headers are refused with; DECOMPRESS_*; what reading throws
 *
 * @example
 * ```ts
 * import { detectKernel } from "directboot";
 *
 * const { description, architecture, entries } = await detectKernel("vmlinuz");
 * console.log(description); // an x86 bzImage, protocol 2.15
 * console.log(architecture, entries.join(" ")); // x86_64 64 32
 * ```
 */
export async function detectKernel(
  input: AsyncByteInput,
  options: DetectKernelOptions = {},
): Promise<DetectedKernel> {
  checkDetectOptions(options, "");
  return await runAsync(detect(input, options), options.signal);
}

/**
 * The synchronous {@link detectKernel}; a gzip file is unpacked whole where there are no `decoders`.
 *
 * @example
 * ```ts
 * import { detectKernelSync } from "directboot";
 *
 * console.log(detectKernelSync("Image").architecture); // aarch64
 * ```
 */
export function detectKernelSync(input: ByteInput, options: DetectKernelSyncOptions = {}): DetectedKernel {
  checkDetectOptions(options, "");
  return runSync(detect(input, options));
}
