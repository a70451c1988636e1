/** The kernel out of its wrappers: what emulators, debuggers and VMMs without a decompressor need. */
import { gunzipByPlatform } from "../decoders/zlib.js";
import type { ImageFormat } from "../images/detect.js";
import { noKernel } from "../images/kinds.js";
import type { OnProgress } from "../plan/progress.js";
import { counting } from "../plan/reading-count.js";
import { readWhole, withKnownLength } from "../sources/reading.js";
import type { AsyncByteInput, ByteInput } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { openKernelFile, withKernel } from "../unpack/kernel-file.js";
import type { Decoders, UnpackingOptions } from "../unpack/unpacking.js";
import { checkExtractOptions } from "./check-options.js";

/** Options of {@link extractKernelSync}. */
export interface ExtractKernelSyncOptions {
  /** Most bytes that the kernel may have when it is unpacked; 1 GiB by default. */
  readonly maxDecompressedSize?: number | undefined;
  /** `import * as decoders from "directboot/decoders"`: what the synchronous function decompresses with. */
  readonly decoders?: Decoders | undefined;
  /** Called as bytes arrive ("read"), and between pieces of some MiB that are unpacked ("decompress"). An error that it throws ends the work. */
  readonly onProgress?: OnProgress | undefined;
}

/** Options of {@link extractKernel}. */
export interface ExtractKernelOptions extends ExtractKernelSyncOptions {
  /** Ends the reading and the decompression. */
  readonly signal?: AbortSignal | undefined;
}

/** The result of {@link extractKernel}. */
export interface ExtractedKernel {
  /** The ELF or Image, in a buffer of its own; the caller's own bytes if nothing was compressed. */
  readonly kernel: Uint8Array;
  /** "elf64", "elf32" or "arm64-image". */
  readonly format: ImageFormat;
  /** The compression that was undone; undefined if nothing was compressed. */
  readonly compression: ImageFormat | undefined;
  /** Bytes of the compressed data. */
  readonly compressedSize: number | undefined;
  /** Bytes of the kernel. */
  readonly size: number;
}

/** More than any kernel has. */
const MOST_BYTES = 1_073_741_824;

const KERNELS: readonly ImageFormat[] = ["elf64", "elf32", "arm64-image"];

function extract(input: AsyncByteInput, options: ExtractKernelSyncOptions): Task<ExtractedKernel> {
  const { maxDecompressedSize = MOST_BYTES, decoders, onProgress } = options;
  const spoolLimit = maxDecompressedSize;
  const unpacking: UnpackingOptions = {
    decoders,
    gunzip: gunzipByPlatform,
    maxDecompressedSize,
    spoolLimit,
    decompress: "host",
    onProgress: onProgress && ((progress) => onProgress({ phase: "decompress", ...progress })),
  };
  return counting(onProgress, (reading) =>
    withKernel(input, unpacking, function* (source, by) {
      reading?.add(source);
      reading?.start();
      const whole = yield* withKnownLength(source, spoolLimit);
      const { source: kernel, format, decompression } = yield* openKernelFile(whole, by);
      if (!KERNELS.includes(format)) throw yield* noKernel(kernel, decompression?.format);
      const bytes = yield* readWhole(kernel);
      reading?.end();
      return {
        kernel: bytes,
        format,
        compression: decompression?.format,
        compressedSize: decompression?.compressedBytes,
        size: bytes.byteLength,
      };
    }),
  );
}

/**
 * Takes the ELF or Image out of a bzImage, an EFI zboot image or a compressed file.
 *
 * @throws DirectBootError DECOMPRESS_*, BZIMAGE_*, ZBOOT_*; NO_KERNEL_INSIDE if what comes out is no kernel; what reading
 *   throws; ABORTED
 *
 * @example
 * ```ts
 * import { extractKernel } from "directboot";
 *
 * const { kernel, format, compression } = await extractKernel("vmlinux.gz");
 * console.log(kernel.byteLength > 0, format, compression); // true elf64 gzip
 * ```
 */
export async function extractKernel(
  input: AsyncByteInput,
  options: ExtractKernelOptions = {},
): Promise<ExtractedKernel> {
  checkExtractOptions(options, "");
  return await runAsync(extract(input, options), options.signal);
}

/**
 * The synchronous {@link extractKernel}: with `decoders` for all but gzip, and for that outside Node.
 *
 * @example
 * ```ts
 * import { extractKernelSync } from "directboot";
 * import * as decoders from "directboot/decoders";
 *
 * console.log(extractKernelSync("vmlinux.xz", { decoders }).compression); // xz
 * ```
 */
export function extractKernelSync(input: ByteInput, options: ExtractKernelSyncOptions = {}): ExtractedKernel {
  checkExtractOptions(options, "");
  return runSync(extract(input, options));
}
