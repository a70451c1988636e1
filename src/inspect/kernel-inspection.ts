/** Explains a kernel's file: its format, the compression in it, and its headers field by field. */

import type { DirectBootError, DirectBootErrorCode } from "../base/errors.js";
import { gunzipByPlatform } from "../decoders/zlib.js";
import {
  DETECT_BYTES,
  describeFormat,
  detectFormat,
  type ImageFormat,
  isCompressionFormat,
} from "../images/detect.js";
import { readZboot } from "../images/zboot.js";
import { checkInspectOptions } from "../linux/check-options.js";
import { readBytes, readHead, withKnownLength } from "../sources/reading.js";
import { type AsyncByteInput, type ByteInput, hasKnownLength, type Source } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { formatOfKernel, openKernelFile, withKernel } from "../unpack/kernel-file.js";
import type { Decoders, Unpacking } from "../unpack/unpacking.js";
import { attempt, type KernelHeaders, readHeaders } from "./kernel-headers.js";

/** The compression in a file. */
export interface InspectedCompression {
  readonly format: ImageFormat;
  /** In words, such as "xz-compressed data". */
  readonly description: string;
  /** Bytes of the compressed data; undefined if that is not known. */
  readonly compressedBytes: number | undefined;
  /** Bytes that it decompresses to, as the file says; undefined if it does not. */
  readonly bytes: number | undefined;
}

/** A file, explained. All of it is plain data that JSON has a form for. */
export interface KernelInspection extends KernelHeaders {
  /** The file's name in messages. */
  readonly name: string;
  /** Undefined for a stream that does not say. */
  readonly byteLength: number | undefined;
  readonly format: ImageFormat;
  readonly compression: InspectedCompression | undefined;
  /** The kernel inside a file that is compressed, or a zboot image; of a bzImage only if it is asked for. */
  readonly inside: KernelInspection | undefined;
  /** Why the loaders would refuse the file, in the words of their error. */
  readonly refusal: { readonly code: DirectBootErrorCode; readonly message: string } | undefined;
}

/** Options of {@link inspectKernelSync}. */
export interface InspectKernelSyncOptions {
  /**
   * `import * as decoders from "directboot/decoders"`: what the synchronous function looks into compressed files with. The
   * asynchronous one loads them when it needs them.
   */
  readonly decoders?: Decoders | undefined;
  /**
   * How much is unpacked to look at the kernel inside: "wrappers" (default) are compressed files and zboot images, "all" the
   * payload of a bzImage, too; "none" takes the least time.
   */
  readonly unpack?: "none" | "wrappers" | "all" | undefined;
  /** Bytes of a stream that are kept at most; 64 MiB by default. */
  readonly spoolLimit?: number | undefined;
}

/** Options of {@link inspectKernel}. */
export interface InspectKernelOptions extends InspectKernelSyncOptions {
  /** Aborts the inspection. */
  readonly signal?: AbortSignal | undefined;
}

/** An inspection, and the error that its refusal was, for whoever throws it. */
export interface SourceInspection {
  readonly inspection: KernelInspection;
  readonly error: DirectBootError | undefined;
}

/** More than any kernel has in front of what is looked at. */
const MOST_UNPACKED = 1024 * 1024 * 1024;

type Unpack = NonNullable<InspectKernelSyncOptions["unpack"]>;

function packed(
  format: ImageFormat,
  compressedBytes: number | undefined,
  bytes?: number,
): InspectedCompression {
  return { format, description: describeFormat(format), compressedBytes, bytes };
}

/** The compression in a file, without unpacking it. */
function* packedIn(source: Source, format: ImageFormat): Task<InspectedCompression | undefined> {
  if (isCompressionFormat(format)) {
    return packed(format, hasKnownLength(source) ? source.byteLength : undefined);
  }
  if (format !== "zboot") return undefined;
  const { payloadOffset, payloadLength } = yield* readZboot(source);
  const head = yield* readBytes(source, payloadOffset, Math.min(DETECT_BYTES, payloadLength));
  return packed(formatOfKernel(head), payloadLength);
}

/** The kernel in a file that holds one, and what is compressed in it. */
function* lookInside(
  source: Source,
  format: ImageFormat,
  unpacking: Unpacking,
  unpack: Unpack,
): Task<Pick<SourceInspection, "error"> & Pick<KernelInspection, "compression" | "inside">> {
  const isBzImage = format === "bzImage";
  const { result: compression, error: damage } = yield* attempt(packedIn(source, format));
  const asIs = { compression, inside: undefined, error: damage };
  if (damage !== undefined || (!isBzImage && (compression === undefined || unpack === "none"))) return asIs;
  // The payload's header fields are read without unpacking it.
  const decompress = isBzImage && unpack === "all" ? "host" : "guest";
  const { result: file, error } = yield* attempt(openKernelFile(source, unpacking, decompress));
  // Data that no decoder at hand can undo is no bad file.
  if (file === undefined) return error?.code === "DECOMPRESS_UNSUPPORTED" ? asIs : { ...asIs, error };
  const { decompression: done } = file;
  const inside =
    file.source === source ? undefined : yield* inspectSource(file.source, unpacking, unpack, done?.format);
  return {
    compression: done === undefined ? compression : packed(done.format, done.compressedBytes, done.bytes),
    inside: inside?.inspection,
    error: inside?.error,
  };
}

/** Inspects a source, as far as it can be read: what refuses it comes with what could be told of it. */
export function* inspectSource(
  source: Source,
  unpacking: Unpacking,
  unpack: Unpack,
  packing?: ImageFormat,
): Task<SourceInspection> {
  const format = detectFormat(yield* readHead(source, DETECT_BYTES));
  const { error: refused, ...parts } = yield* readHeaders(source, format, packing);
  const looked = refused === undefined ? yield* lookInside(source, format, unpacking, unpack) : undefined;
  const inside = looked?.inside;
  const error = refused ?? looked?.error;
  return {
    error,
    inspection: {
      name: source.name,
      byteLength: hasKnownLength(source) ? source.byteLength : undefined,
      format,
      ...parts,
      architecture: parts.architecture ?? inside?.architecture,
      entries: parts.entries.length > 0 ? parts.entries : (inside?.entries ?? []),
      compression: looked?.compression,
      inside,
      refusal: error === undefined ? undefined : { code: error.code, message: error.message },
    },
  };
}

function inspect(input: AsyncByteInput, options: InspectKernelSyncOptions): Task<SourceInspection> {
  const { decoders, spoolLimit, unpack = "wrappers" } = options;
  const unpacking = {
    decoders,
    gunzip: gunzipByPlatform,
    maxDecompressedSize: MOST_UNPACKED,
    inPlace: true,
    spoolLimit,
  };
  return withKernel(input, unpacking, function* (source, by) {
    // A header may point anywhere: a source of unknown length is read to its end first.
    return yield* inspectSource(yield* withKnownLength(source, spoolLimit), by, unpack);
  });
}

/** The synchronous {@link inspectKernel} of an open source, with the error that its refusal was. */
export function inspectSourceSync(source: Source, options: InspectKernelSyncOptions = {}): SourceInspection {
  return runSync(inspect(source, options));
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
  options: InspectKernelOptions = {},
): Promise<KernelInspection> {
  checkInspectOptions(options, "");
  return (await runAsync(inspect(input, options), options.signal)).inspection;
}

/** The synchronous {@link inspectKernel}: with `decoders` it looks into all compressed files, without into gzip (Node). */
export function inspectKernelSync(
  input: ByteInput,
  options: InspectKernelSyncOptions = {},
): KernelInspection {
  checkInspectOptions(options, "");
  return runSync(inspect(input, options)).inspection;
}
