/** The public calls: decompress everything, one member, or into a given memory. */
import { DirectBootError } from "../base/errors.js";
import { runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { BZIP2_MAGIC, decodeBzip2 } from "./bzip2.js";
import { decodeGzip } from "./gzip.js";
import { GZIP_MAGIC } from "./gzip-header.js";
import { decodeLz4, decodeLz4Legacy, lz4Follows } from "./lz4.js";
import { decodeLzma } from "./lzma-alone.js";
import { decodeLzo, LZOP_MAGIC } from "./lzo.js";
import {
  type CompressionFormat,
  checkOptions,
  checkTarget,
  DECODER_SCRATCH_BYTES,
  type DecodedMember,
  type DecodeTarget,
  type DecompressOptions,
} from "./options.js";
import { decoders, decodersOver } from "./wasm.js";
import { ADDRESS_END, areasIn, type OnProgress, ownAreas, Workspace } from "./workspace.js";
import { decodeXz, XZ_MAGIC } from "./xz.js";
import { gunzipByPlatform } from "./zlib.js";
import { decodeZstd, zstdFollows } from "./zstd.js";

interface Format {
  /** Decodes one member, stream or frame. */
  readonly decode: (w: Workspace, allowTrailing: boolean) => Task<void>;
  /** True if another one begins at the position. */
  readonly follows: (w: Workspace) => boolean;
}

const never = (): boolean => false;

const FORMATS: Readonly<Record<CompressionFormat, Format>> = {
  gzip: { decode: decodeGzip, follows: (w) => w.startsWith(GZIP_MAGIC) },
  xz: { decode: decodeXz, follows: skipXzPadding },
  lzma: { decode: decodeLzma, follows: never },
  zstd: { decode: decodeZstd, follows: zstdFollows },
  lz4: { decode: decodeLz4, follows: lz4Follows },
  "lz4-legacy": { decode: decodeLz4Legacy, follows: never },
  bzip2: { decode: decodeBzip2, follows: (w) => w.startsWith(BZIP2_MAGIC) },
  lzo: { decode: decodeLzo, follows: (w) => w.startsWith(LZOP_MAGIC) },
};

/** Passes the padding behind an .xz stream: zeros, in a multiple of four bytes (2.2). True if another stream follows. */
function skipXzPadding(w: Workspace): boolean {
  let next = w.position;
  while (w.input.length - next >= 4 && w.u32(next) === 0) next += 4;
  if (!w.startsWith(XZ_MAGIC, next)) {
    if (next === w.input.length) w.position = next;
    return false;
  }
  w.position = next;
  return true;
}

/** The kernel's build appends the size of what it has compressed, but to gzip, which has it (scripts/Makefile.lib, size_append). */
const SIZE_BYTES = 4;

/** Checks the size that is expected, and what follows the stream. */
function checkEnd(
  format: CompressionFormat,
  input: Uint8Array,
  position: number,
  produced: number,
  { expectedBytes, allowTrailing = false }: DecompressOptions,
  isMember: boolean,
): void {
  if (expectedBytes !== undefined && produced !== expectedBytes) {
    throw new DirectBootError(
      "DECOMPRESS_WRONG_SIZE",
      `${format}: the output is ${produced} bytes, declared are ${expectedBytes}`,
    );
  }
  if (isMember || allowTrailing || position === input.length) return;
  const rest = input.subarray(position);
  // Zeros, in whatever number: files are padded to blocks and pages.
  if (rest.every((byte) => byte === 0)) return;
  if (rest.byteLength === SIZE_BYTES && format !== "gzip") {
    const size = new DataView(rest.buffer, rest.byteOffset).getUint32(0, true);
    if (size === produced % 2 ** 32) return;
  }
  throw new DirectBootError(
    "DECOMPRESS_TRAILING_DATA",
    `${format}: the stream ends at byte ${position}, ${input.length - position} more follow that are not zero`,
  );
}

function* decodeWith(w: Workspace, options: DecompressOptions, isMember: boolean): Task<void> {
  const { decode, follows } = FORMATS[w.format];
  const { allowTrailing = false } = options;
  try {
    do yield* decode(w, allowTrailing || isMember);
    while (!isMember && !w.isComplete(options) && follows(w));
    w.checkInput();
  } catch (cause) {
    // If the input was detached meanwhile, that is the reason, whatever the decoder reports.
    w.checkInput();
    // The decoders check every access. A trap would be a bug in one of them, and must still be a typed error.
    if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
    throw new DirectBootError("DECOMPRESS_CORRUPT", `${w.format}: the decoder stopped`, { cause });
  }
  checkEnd(w.format, w.input, w.position, w.produced, options, isMember);
}

/**
 * {@link decompress}, or {@link decompressMember}, as a task that pauses after about every 2 MiB of output.
 * `input` must not change meanwhile.
 */
export function* decodeTask(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
  isMember: boolean,
  onProgress?: OnProgress,
): Task<DecodedMember> {
  checkOptions(Object.keys(FORMATS), format, input, options);
  if (format === "gzip" && decoders.implementation === "javascript") {
    const decoded = gunzipByPlatform(input, options, isMember);
    checkEnd(format, input, decoded.consumed, decoded.output.length, options, isMember);
    return decoded;
  }
  const w = new Workspace(format, input, options, ownAreas(format, input.length), onProgress);
  let isDone = false;
  try {
    yield* decodeWith(w, options, isMember);
    isDone = true;
    return { output: w.takeOutput(), consumed: w.position };
  } finally {
    if (!isDone) w.release();
  }
}

/**
 * Decompresses all of `input`: every member, frame or stream in it, one after the other.
 *
 * @returns the bytes, in a buffer that nothing else uses, and that may be larger
 * @throws DirectBootError DECOMPRESS_CORRUPT, DECOMPRESS_TRUNCATED, DECOMPRESS_CHECKSUM, DECOMPRESS_TOO_LARGE,
 *   DECOMPRESS_WRONG_SIZE, DECOMPRESS_UNSUPPORTED (also where WebAssembly is missing and the format is not gzip),
 *   DECOMPRESS_TRAILING_DATA
 * @throws TypeError for arguments of a wrong type
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { decompress } from "directboot/decoders";
 *
 * const elf = decompress("xz", readFileSync("vmlinux.xz"), { maxDecompressedSize: 64 * 1024 * 1024 });
 * console.log(elf.subarray(1, 4).toString()); // 69,76,70
 * ```
 */
export function decompress(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): Uint8Array {
  return runSync(decodeTask(format, input, options, false)).output;
}

/**
 * Decompresses the first member, frame or stream of `input`, and ignores the rest. A skippable frame counts as part of
 * the frame behind it; an archive of legacy LZ4 ends where no block can follow.
 *
 * @throws as {@link decompress}, but never DECOMPRESS_TRAILING_DATA
 */
export function decompressMember(
  format: CompressionFormat,
  input: Uint8Array,
  options: DecompressOptions,
): DecodedMember {
  return runSync(decodeTask(format, input, options, true));
}

/** {@link decompressInto} as a task. */
export function* decodeIntoTask(
  format: CompressionFormat,
  input: Uint8Array,
  target: DecodeTarget,
  options: DecompressOptions,
  onProgress?: OnProgress,
): Task<number> {
  checkOptions(Object.keys(FORMATS), format, input, options);
  checkTarget(target);
  const { memory, offset, byteLength, scratchOffset } = target;
  const isInPlace =
    scratchOffset !== undefined &&
    format !== "bzip2" &&
    format !== "lzo" &&
    offset + byteLength <= ADDRESS_END &&
    scratchOffset + DECODER_SCRATCH_BYTES <= ADDRESS_END &&
    decodersOver(memory) !== undefined;
  if (!isInPlace) {
    const maxDecompressedSize = Math.min(options.maxDecompressedSize, byteLength);
    const limited = { ...options, maxDecompressedSize };
    const { output } = yield* decodeTask(format, input, limited, false, onProgress);
    new Uint8Array(memory.buffer).set(output, offset);
    return output.length;
  }
  const w = new Workspace(format, input, options, areasIn(format, target, scratchOffset), onProgress);
  try {
    yield* decodeWith(w, options, false);
    return w.produced;
  } finally {
    w.cleanTarget();
  }
}

/**
 * {@link decompress} straight into a memory, for example a guest's. Writes nothing outside the target and the scratch,
 * whatever the input. Up to 1 KiB of the target behind the output is zero afterwards. After an error, the contents of
 * the target are undefined. `input` must not lie in the target or the scratch.
 *
 * @returns the number of bytes of output
 * @throws as {@link decompress}; TypeError for ranges outside the memory or that overlap
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { decompressInto } from "directboot/decoders";
 *
 * const memory = new WebAssembly.Memory({ initial: 64 });
 * const target = { memory, offset: 65_536, byteLength: 1024 * 1024 };
 * const byteLength = decompressInto("xz", readFileSync("vmlinux.xz"), target, { maxDecompressedSize: target.byteLength });
 * console.log(new Uint8Array(memory.buffer, target.offset, 4).toString(), byteLength > 0); // 127,69,76,70 true
 * ```
 */
export function decompressInto(
  format: CompressionFormat,
  input: Uint8Array,
  target: DecodeTarget,
  options: DecompressOptions,
): number {
  return runSync(decodeIntoTask(format, input, target, options));
}

/** The decoders as tasks, for the loader, which receives this module as an option. @internal */
export const tasks = { decode: decodeTask, decodeInto: decodeIntoTask };
