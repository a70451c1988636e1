/** Finds the kernel in its file: takes wrappers off until it is there. */
import { alignUpToPageSize } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import {
  type Aarch64ImageHeader,
  cutOffImage,
  leastArm64ImageBytes,
  readArm64Image,
} from "../images/arm64-image.js";
import { type BzImage, readBzImage, XLF_KERNEL_64 } from "../images/bzimage.js";
import {
  DETECT_BYTES,
  describeFormat,
  detectCompression,
  detectFormat,
  type ImageFormat,
  isCompressionFormat,
} from "../images/detect.js";
import { readZboot, SIZE_TRAILER_BYTES } from "../images/zboot.js";
import { BytesSource } from "../sources/bytes.js";
import { openSource } from "../sources/open.js";
import { readBytes, readHead, readWhole } from "../sources/reading.js";
import { type AsyncByteInput, hasKnownLength, isMade, type Source } from "../sources/source.js";
import { sliceSource } from "../sources/views.js";
import type { Task } from "../task/task.js";
import { unpackedHead } from "./head.js";
import { unpackedSource } from "./unpacked-source.js";
import { type Decoders, noDecoder, type PackedRange, Unpacking, type UnpackingOptions } from "./unpacking.js";

/** A decompression that was done, or will be. */
export interface Decompression {
  /** "host": before the guest starts. "guest": by the bzImage's own code. */
  readonly by: "host" | "guest";
  /** The compression format. */
  readonly format: ImageFormat;
  /** Bytes of the compressed data; undefined for a stream of unknown length. */
  readonly compressedBytes: number | undefined;
  /** Bytes that they decompress to; undefined if that is not known beforehand. */
  readonly bytes: number | undefined;
}

/** A bzImage, which unpacks itself. */
export interface BzImageFile {
  readonly source: Source;
  readonly decompression: Decompression | undefined;
  readonly format: "bzImage";
  readonly image: BzImage;
}

/** The kernel in a file, with its header where it was read: it travels on, so that nobody reads it again. */
export type KernelFile = {
  readonly source: Source;
  /** Undefined if nothing is compressed. */
  readonly decompression: Decompression | undefined;
} & (
  | { readonly format: "bzImage"; readonly image: BzImage }
  | { readonly format: "arm64-image"; readonly image: Aarch64ImageHeader }
  | {
      readonly format: Exclude<ImageFormat, "bzImage" | "arm64-image">;
      /** The bzImage that an ELF was taken out of: its header still tells what the kernel takes. */
      readonly image: BzImage | undefined;
      /** The bzImage, if it can lie elsewhere than the kernel that was taken out of it. */
      readonly movable?: BzImageFile | undefined;
    }
);

/** True if the header does not tell how much memory the kernel fills, but the length of its file (before Linux 3.17). */
export function isLengthNeeded(file: KernelFile): boolean {
  return file.format === "arm64-image" && file.image.imageSize === 0n;
}

/** A kernel in a gzip file in a zboot image in a gzip file is the most that anybody has. */
const MOST_WRAPPERS = 3;

/** Bytes that are kept of what is refused: enough to say what it is. */
const REFUSED_BYTES = 131_072;

/** For a bzImage whose payload the host can't take out. */
const GUEST_CURE = 'load it with decompress: "guest", which starts the bzImage\'s own code';

/** The payload of a bzImage or a zboot image, and what it says of its size. */
type Payload = Omit<PackedRange, "format" | "length" | "allowTrailing"> & {
  readonly length: number;
  readonly format: ImageFormat;
};

/** Looks at a payload of `length` bytes with its trailer, which is no part of what is found. */
function* lookAtPayload(source: Source, offset: number, length: number): Task<Payload> {
  const head = yield* readBytes(source, offset, Math.min(DETECT_BYTES, length));
  const format = formatOfKernel(head);
  if (length <= SIZE_TRAILER_BYTES) return { source, offset, length, format, expectedBytes: undefined };
  const withoutSize = length - SIZE_TRAILER_BYTES;
  const trailer = yield* readBytes(source, offset + withoutSize, SIZE_TRAILER_BYTES);
  const expectedBytes = new DataView(trailer.buffer, trailer.byteOffset).getUint32(0, true);
  return { source, offset, length: format === "gzip" ? length : withoutSize, format, expectedBytes };
}

/** An arm64 Image that is unpacked where it is to lie, planned by its first bytes; undefined for anything else. */
function* unpackInPlace(
  decoders: Decoders,
  input: Uint8Array,
  packed: PackedRange,
  maxDecompressedSize: number,
): Task<Source | undefined> {
  const { name } = packed.source;
  const head = unpackedHead(decoders, input, packed, maxDecompressedSize);
  if (head === undefined) return undefined;
  const found = formatOfKernel(head.subarray(0, DETECT_BYTES));
  // What is no kernel, such as an initrd, is refused by its first bytes, and not unpacked for that.
  if (found === "unknown" || found === "text") return new BytesSource(head.slice(0, REFUSED_BYTES), name);
  if (found !== "arm64-image") return undefined;
  // It fills the pages of its image_size at most, which is the room that it gets.
  const pages = alignUpToPageSize((yield* readArm64Image(new BytesSource(head, name))).imageSize);
  if (pages === 0n || pages > BigInt(maxDecompressedSize)) return undefined;
  const first = head.slice(0, DETECT_BYTES);
  const least = leastArm64ImageBytes(first);
  return unpackedSource(decoders, {
    ...packed,
    name,
    packed: input,
    head: first,
    byteLength: Number(pages),
    checkLength: (bytes) => {
      if (bytes < least) throw cutOffImage(name, bytes, least);
    },
  });
}

/**
 * A compressed range, as the source of what it holds.
 *
 * @param isStreamable a stream serves, which is read forwards
 */
function* unpack(packed: PackedRange, unpacking: Unpacking, isStreamable: boolean): Task<Source> {
  const { maxDecompressedSize, inPlace = false } = unpacking.options;
  const { source, offset, length, format, expectedBytes, allowTrailing } = packed;
  const { name } = source;
  const asStream = function* (): Task<Source | undefined> {
    const range = length === undefined ? source : sliceSource(source, offset, length);
    return format === "gzip" ? yield* unpacking.gunzipStream(range) : undefined;
  };
  // The platform's gzip gives a stream, which goes to guest memory as it is unpacked.
  if (isStreamable && inPlace) {
    const stream = yield* asStream();
    if (stream !== undefined) return stream;
  }
  const decoders = yield* unpacking.decoders();
  if (decoders?.decoders.implementation !== "wasm") {
    const stream = yield* asStream();
    if (stream !== undefined) return stream;
    if (decoders === undefined && format !== "gzip") throw noDecoder(name, format);
  }
  if (expectedBytes === 0) {
    throw new DirectBootError("DECOMPRESS_WRONG_SIZE", `the kernel in ${name}: declared are 0 bytes`);
  }
  const input = yield* length === undefined ? readWhole(source) : readBytes(source, offset, length);
  if (inPlace && decoders !== undefined) {
    const image = yield* unpackInPlace(decoders, input, packed, maxDecompressedSize);
    if (image !== undefined) return image;
  }
  const options = { maxDecompressedSize, expectedBytes, allowTrailing };
  const { output } = yield* unpacking.decompress(format, input, options, false, name);
  return new BytesSource(output, name);
}

/** The kernel in an EFI zboot image. */
function* unpackZboot(
  source: Source,
  unpacking: Unpacking,
): Task<Pick<KernelFile, "source" | "decompression">> {
  const { payloadOffset, payloadLength, compression } = yield* readZboot(source);
  const sizeBytes = compression === "gzip" ? 0 : SIZE_TRAILER_BYTES;
  const payload = yield* lookAtPayload(source, payloadOffset, payloadLength + sizeBytes);
  const { format, expectedBytes } = payload;
  if (!isCompressionFormat(format)) {
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      `${source.name} is an EFI zboot image with ${compression} compression`,
    );
  }
  return {
    source: yield* unpack({ ...payload, format, allowTrailing: true }, unpacking, true),
    decompression: { by: "host", format, compressedBytes: payloadLength, bytes: expectedBytes },
  };
}

/**
 * Looks into a file.
 *
 * @param decompress who decompresses the payload of a bzImage, if not as the options say
 * @throws DirectBootError DECOMPRESS_*, ZBOOT_*, BZIMAGE_*, ARM64_*; what reading throws
 */
export function* openKernelFile(
  file: Source,
  unpacking: Unpacking,
  decompress = unpacking.options.decompress,
): Task<KernelFile> {
  let source = file;
  let decompression: Decompression | undefined;
  for (let wrappers = 0; ; wrappers++) {
    const format = formatOfKernel(yield* readHead(source, DETECT_BYTES));
    if (format === "bzImage") return yield* openBzImage(source, decompression, unpacking, decompress);
    if (format === "arm64-image") return yield* parsed(source, format, decompression);
    if (format !== "zboot" && !isCompressionFormat(format)) {
      return { source, format, image: undefined, decompression };
    }
    if (wrappers === MOST_WRAPPERS) {
      throw new DirectBootError(
        "DECOMPRESS_UNSUPPORTED",
        `${source.name} is ${describeFormat(format)}, still`,
      );
    }
    if (format === "zboot") {
      ({ source, decompression } = yield* unpackZboot(source, unpacking));
      continue;
    }
    const packed = { source, offset: 0, length: undefined, format, allowTrailing: false };
    const inner = yield* unpack(packed, unpacking, true);
    const bytes = isMade(inner) ? undefined : lengthOf(inner);
    decompression = { by: "host", format, compressedBytes: lengthOf(source), bytes };
    source = inner;
  }
}

/** Opens a kernel's file, has `use` look into it, and closes it. */
export function* withKernel<T>(
  input: AsyncByteInput,
  options: UnpackingOptions,
  use: (source: Source, unpacking: Unpacking) => Task<T>,
): Task<T> {
  const { source, close } = openSource(input, "kernel", { spoolLimit: options.spoolLimit });
  const unpacking = new Unpacking(options);
  try {
    return yield* use(source, unpacking);
  } finally {
    unpacking.close();
    close();
  }
}

/** Compressed data is known by its first bytes, whatever stands further inside by chance. */
export function formatOfKernel(head: Uint8Array): ImageFormat {
  return detectCompression(head) ?? detectFormat(head);
}

/** A kernel that needs no more unpacking, with its header. */
function* parsed(
  source: Source,
  format: "bzImage" | "arm64-image",
  decompression: Decompression | undefined,
): Task<KernelFile> {
  if (format === "bzImage") return { source, format, image: yield* readBzImage(source), decompression };
  return { source, format, image: yield* readArm64Image(source), decompression };
}

function lengthOf(source: Source): number | undefined {
  return hasKnownLength(source) ? source.byteLength : undefined;
}

// biome-ignore lint/correctness/useYield: a task that has its answer
function* never(): Task<boolean> {
  return false;
}

/** A bzImage, or the ELF in it. */
function* openBzImage(
  source: Source,
  outer: Decompression | undefined,
  unpacking: Unpacking,
  decompress: "host" | "guest" | undefined,
): Task<KernelFile> {
  const { entry, hasKernelAddress = false } = unpacking.options;
  const image = yield* readBzImage(source);
  const asIs: BzImageFile = { source, format: "bzImage", image, decompression: outer };
  if (image.payload === undefined) {
    if (decompress !== "host") return asIs;
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      `${source.name} does not say where its compressed kernel is (protocol before 2.08)`,
      { cure: GUEST_CURE },
    );
  }
  const payload = yield* lookAtPayload(source, image.payload.offset, image.payload.length);
  const { format, length, expectedBytes } = payload;
  const byGuest: BzImageFile = {
    ...asIs,
    decompression: { by: "guest", format, compressedBytes: length, bytes: expectedBytes },
  };
  // The 32-bit entry of a 64-bit kernel is in the bzImage's own code only, which alone can lie elsewhere, too.
  const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
  const canEnter = (entry !== "32" || !has64) && !hasKernelAddress;
  // PVH is an ELF's.
  const mustBeHost = decompress === "host" || (decompress === undefined && entry === "pvh");
  if (!mustBeHost && (decompress !== undefined || !canEnter)) return byGuest;
  const canMove = !mustBeHost && image.relocatableKernel;
  if (canMove && (yield* unpacking.options.isPlaceTaken?.(image) ?? never())) return byGuest;
  if (!isCompressionFormat(format)) {
    if (!mustBeHost) return byGuest;
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      `the payload of ${source.name} is ${describeFormat(format)}`,
      { cure: GUEST_CURE },
    );
  }
  if (!mustBeHost && (yield* unpacking.decoders()) === undefined) return byGuest;
  let kernel: Source;
  try {
    kernel = yield* unpack({ ...payload, format, allowTrailing: true }, unpacking, false);
  } catch (cause) {
    // A compression that the decoders don't know, or can't undo here, the guest's own code may.
    // If not even the guest could run it in its RAM, the planner says how much the kernel needs.
    const { maxDecompressedSize, isLimitedByRam = false } = unpacking.options;
    const code = cause instanceof DirectBootError ? cause.code : undefined;
    const isTooLarge = code === "DECOMPRESS_TOO_LARGE" && isLimitedByRam;
    if (
      (isTooLarge && Number(image.prefAddress) + image.initSize > maxDecompressedSize) ||
      (code === "DECOMPRESS_UNSUPPORTED" && !mustBeHost)
    )
      return byGuest;
    throw cause;
  }
  const inner = detectFormat(yield* readHead(kernel, DETECT_BYTES));
  // A kernel that can't be loaded without the bzImage's own code, or not be entered as it is asked for.
  const isLoadable = (inner === "elf64" && entry !== "32") || (inner === "elf32" && entry !== "64");
  if (!mustBeHost && !isLoadable) return byGuest;
  const bytes = lengthOf(kernel) ?? expectedBytes;
  const decompression: Decompression = { by: "host", format, compressedBytes: length, bytes };
  if (inner === "bzImage" || inner === "arm64-image") return yield* parsed(kernel, inner, decompression);
  return { source: kernel, format: inner, image, decompression, movable: canMove ? byGuest : undefined };
}
