/** What is in a kernel's file: wrappers are taken off until the kernel itself is there. */
import { DirectBootError } from "../base/errors.js";
import { cutOffImage, leastArm64ImageBytes, readArm64Image } from "../images/arm64-image.js";
import { type BzImage, readBzImage, XLF_KERNEL_64 } from "../images/bzimage.js";
import {
  DETECT_BYTES,
  describeFormat,
  detectCompression,
  detectFormat,
  type ImageFormat,
  isCompressionFormat,
} from "../images/detect.js";
import { readZboot } from "../images/zboot.js";
import { BytesSource } from "../sources/bytes.js";
import { readBytes, readHead } from "../sources/reading.js";
import { sliceSource } from "../sources/slice.js";
import { hasKnownLength, isMade, type Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import {
  type Decoders,
  noDecoder,
  type PackedRange,
  readPacked,
  type UnpackProgress,
  unpackedHead,
  unpackRange,
} from "./decoding.js";
import { unpackedSource } from "./unpacked-source.js";

/** Makes a source of what a gzip file holds, by means of the platform. */
export type Gunzip = (source: Source) => Source;

/** How compressed kernels are undone. */
export interface Unpacking {
  /** The platform's gzip; undefined to use the decoders. */
  readonly gunzip: Gunzip | undefined;
  readonly decoders: Decoders | undefined;
  /** Most bytes that a kernel may decompress to. */
  readonly maximumBytes: number;
  /** Who decompresses the payload of a bzImage; undefined: the host if it can. */
  readonly decompress: "host" | "guest" | undefined;
  /** The entry that is asked for, of an x86 kernel. */
  readonly entry: "64" | "32" | "pvh" | undefined;
  /** The caller has chosen the kernel's address, which only a bzImage has a choice of: it stays one. */
  readonly hasKernelAddress: boolean;
  /** An arm64 Image is unpacked where it is to lie; else all is unpacked before guest memory is touched. */
  readonly inPlace: boolean;
  readonly progress: UnpackProgress | undefined;
}

/** What was decompressed, or will be. */
export interface Decompression {
  /** "host": before the guest starts. "guest": by the bzImage's own code. */
  readonly by: "host" | "guest";
  /** What it is compressed with. */
  readonly format: ImageFormat;
  /** Bytes of the compressed data; undefined for a stream of unknown length. */
  readonly compressedBytes: number | undefined;
  /** Bytes that they decompress to; undefined if that is not known beforehand. */
  readonly bytes: number | undefined;
}

/** The kernel in a file. */
export interface KernelFile {
  readonly source: Source;
  readonly format: ImageFormat;
  /** The bzImage that the kernel was taken out of: its header still tells what the kernel takes. */
  readonly bzImage: BzImage | undefined;
  /** Undefined if nothing is compressed. */
  readonly decompression: Decompression | undefined;
}

/** The first boot protocol whose header tells the kernel's size (boot.rst, syssize). */
const VERSION_SYSSIZE = 0x204;
/** Bytes that tell it: an Image's image_size, a bzImage's version. */
const TELLING_BYTES = 0x208;

/** True if the header does not tell how much memory the kernel fills: the length of its file must. */
export function* isLengthNeeded({ source, format }: KernelFile): Task<boolean> {
  if (format !== "arm64-image" && format !== "bzImage") return false;
  const head = yield* readHead(source, TELLING_BYTES);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (format === "arm64-image") return head.byteLength >= 24 && view.getBigUint64(16, true) === 0n;
  return head.byteLength >= TELLING_BYTES && view.getUint16(0x206, true) < VERSION_SYSSIZE;
}

/** A kernel in a gzip file in a zboot image in a gzip file is the most that anybody has. */
const MOST_WRAPPERS = 3;
/** Behind a payload stands its size, but for gzip, which has it within (scripts/Makefile.lib, size_append). */
const SIZE_TRAILER_BYTES = 4;

/** For a bzImage whose payload the host can't take out. */
const GUEST_CURE = 'load it with decompress: "guest", which starts the bzImage\'s own code';

/** The payload of a bzImage or a zboot image, and what it says of its size. */
interface Payload {
  readonly source: Source;
  readonly offset: number;
  /** Without the trailer. */
  readonly length: number;
  readonly format: ImageFormat;
  readonly expectedBytes: number | undefined;
}

/** Looks at a payload of `length` bytes with its trailer. */
function* lookAtPayload(source: Source, offset: number, length: number): Task<Payload> {
  const head = yield* readBytes(source, offset, Math.min(DETECT_BYTES, length));
  const format = formatOfKernel(head);
  if (length <= SIZE_TRAILER_BYTES) return { source, offset, length, format, expectedBytes: undefined };
  const isOwn = format === "gzip";
  const at = offset + length - SIZE_TRAILER_BYTES;
  const trailer = yield* readBytes(source, at, SIZE_TRAILER_BYTES);
  const expectedBytes = new DataView(trailer.buffer, trailer.byteOffset).getUint32(0, true);
  return { source, offset, length: isOwn ? length : length - SIZE_TRAILER_BYTES, format, expectedBytes };
}

/** A compressed range, as the source of what it holds. */
function* unpack(packed: PackedRange, unpacking: Unpacking): Task<Source> {
  const { decoders, maximumBytes, progress, inPlace } = unpacking;
  const { source, format, expectedBytes, allowTrailing } = packed;
  const { name } = source;
  if (decoders === undefined) throw noDecoder(source, format);
  if (expectedBytes === 0) {
    throw new DirectBootError("DECOMPRESS_WRONG_SIZE", `the kernel in ${name}: declared are 0 bytes`);
  }
  const input = yield* readPacked(packed);
  if (inPlace) {
    const head = unpackedHead(decoders, input, packed, maximumBytes);
    if (head !== undefined && detectFormat(head.subarray(0, DETECT_BYTES)) === "arm64-image") {
      const { imageSize } = yield* readArm64Image(new BytesSource(head, name));
      // It fills image_size at most, which is the room that it gets.
      if (imageSize > 0n && imageSize <= BigInt(maximumBytes)) {
        const byteLength = Number(imageSize);
        const first = head.slice(0, DETECT_BYTES);
        const least = leastArm64ImageBytes(first);
        return unpackedSource(decoders, {
          name,
          format,
          packed: input,
          expectedBytes,
          allowTrailing,
          head: first,
          byteLength,
          checkLength: (bytes) => {
            if (bytes < least) throw cutOffImage(name, bytes, least);
          },
        });
      }
    }
  }
  return new BytesSource(yield* unpackRange(decoders, packed, input, maximumBytes, progress), name);
}

/**
 * Looks into a file.
 *
 * @throws DirectBootError DECOMPRESS_*, ZBOOT_*, BZIMAGE_*; what reading throws
 */
export function* openKernelFile(file: Source, unpacking: Unpacking): Task<KernelFile> {
  // The platform's gzip gives a stream, which goes to guest memory as it is unpacked; or all at once where nobody waits.
  const gunzip = unpacking.inPlace || unpacking.decoders === undefined ? unpacking.gunzip : undefined;
  let source = file;
  let decompression: Decompression | undefined;
  for (let wrappers = 0; ; wrappers++) {
    const head = yield* readHead(source, DETECT_BYTES);
    const format = formatOfKernel(head);
    if (format === "bzImage") {
      return yield* openBzImage(source, decompression, unpacking);
    }
    if (format !== "zboot" && !isCompressionFormat(format)) {
      return { source, format, bzImage: undefined, decompression };
    }
    if (wrappers === MOST_WRAPPERS) {
      throw new DirectBootError(
        "DECOMPRESS_UNSUPPORTED",
        `${source.name} is ${describeFormat(format)}, still`,
      );
    }
    const compressed = source;
    if (format === "zboot") {
      const zboot = yield* readZboot(source);
      const payloadLength = zboot.payloadLength + (zboot.compression === "gzip" ? 0 : SIZE_TRAILER_BYTES);
      if (zboot.payloadOffset + payloadLength > source.byteLength) {
        throw new DirectBootError(
          "ZBOOT_TRUNCATED",
          `${source.name} has ${source.byteLength} bytes, the size behind its payload ends at ${zboot.payloadOffset + payloadLength}`,
        );
      }
      const payload = yield* lookAtPayload(source, zboot.payloadOffset, payloadLength);
      decompression = {
        by: "host",
        format: payload.format,
        compressedBytes: zboot.payloadLength,
        bytes: payload.expectedBytes,
      };
      if (payload.format === "gzip" && gunzip !== undefined) {
        source = gunzip(sliceSource(source, zboot.payloadOffset, zboot.payloadLength));
      } else if (isCompressionFormat(payload.format)) {
        source = yield* unpack({ ...payload, format: payload.format, allowTrailing: true }, unpacking);
      } else {
        throw new DirectBootError(
          "DECOMPRESS_UNSUPPORTED",
          `${source.name} is an EFI zboot image with ${zboot.compression} compression`,
        );
      }
    } else if (format === "gzip" && gunzip !== undefined) {
      decompression = { by: "host", format, compressedBytes: lengthOf(compressed), bytes: undefined };
      source = gunzip(source);
    } else {
      const packed = { source, offset: 0, length: undefined, format, allowTrailing: false };
      source = yield* unpack(packed, unpacking);
      decompression = {
        by: "host",
        format,
        compressedBytes: lengthOf(compressed),
        bytes: isMade(source) ? undefined : source.byteLength,
      };
    }
  }
}

/** Compressed data is known by its first bytes, whatever stands further inside by chance. */
export function formatOfKernel(head: Uint8Array): ImageFormat {
  return detectCompression(head) ?? detectFormat(head);
}

function lengthOf(source: Source): number | undefined {
  return hasKnownLength(source) ? source.byteLength : undefined;
}

/** A bzImage, or the ELF in it. */
function* openBzImage(
  source: Source,
  outer: Decompression | undefined,
  unpacking: Unpacking,
): Task<KernelFile> {
  const { decompress, entry, decoders, gunzip, hasKernelAddress } = unpacking;
  const image = yield* readBzImage(source);
  const asIs: KernelFile = { source, format: "bzImage", bzImage: undefined, decompression: outer };
  if (image.payload === undefined) {
    if (decompress !== "host") return asIs;
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      `${source.name} does not say where its compressed kernel is (protocol before 2.08)`,
      { cure: GUEST_CURE },
    );
  }
  const payload = yield* lookAtPayload(source, image.payload.offset, image.payload.length);
  const { format, offset, length, expectedBytes } = payload;
  const byGuest: KernelFile = {
    ...asIs,
    decompression: { by: "guest", format, compressedBytes: length, bytes: expectedBytes },
  };
  // The 32-bit entry of a 64-bit kernel is in the bzImage's own code only, which alone can lie elsewhere, too.
  const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
  const canEnter = (entry !== "32" || !has64) && !hasKernelAddress;
  const canDecode = isCompressionFormat(format) && decoders !== undefined;
  // PVH is an ELF's.
  const mustBeHost = decompress === "host" || (decompress === undefined && entry === "pvh");
  if (!mustBeHost && !(decompress === undefined && canDecode && canEnter)) return byGuest;
  if (!isCompressionFormat(format)) {
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      `the payload of ${source.name} is ${describeFormat(format)}`,
      { cure: GUEST_CURE },
    );
  }
  const byHost = (kernel: Source, inner: ImageFormat): KernelFile => ({
    source: kernel,
    format: inner,
    bzImage: image,
    decompression: {
      by: "host",
      format,
      compressedBytes: length,
      bytes: lengthOf(kernel) ?? expectedBytes,
    },
  });
  if (decoders === undefined && format === "gzip" && gunzip !== undefined) {
    const kernel = gunzip(sliceSource(source, offset, length));
    return byHost(kernel, detectFormat(yield* readHead(kernel, DETECT_BYTES)));
  }
  let kernel: Source;
  try {
    kernel = yield* unpack({ ...payload, format, allowTrailing: true }, unpacking);
  } catch (cause) {
    // What the decoders don't know, or can't do here, the guest may.
    const isUnsupported = cause instanceof DirectBootError && cause.code === "DECOMPRESS_UNSUPPORTED";
    if (isUnsupported && !mustBeHost) return byGuest;
    throw cause;
  }
  const inner = detectFormat(yield* readHead(kernel, DETECT_BYTES));
  // What can't be loaded without the bzImage's own code, or not be entered as it is asked for.
  const isLoadable = (inner === "elf64" && entry !== "32") || (inner === "elf32" && entry !== "64");
  if (!mustBeHost && !isLoadable) return byGuest;
  return byHost(kernel, inner);
}
