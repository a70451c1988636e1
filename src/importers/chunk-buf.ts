/**
 * Streams file data into importers that only know importPages, through one page-aligned buffer.
 */

import { type AddressLike, PAGE_BYTES, toAddress, toLength } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import { openSource } from "../sources/open.js";
import { fill } from "../sources/reading.js";
import {
  type AsyncByteInput,
  type ByteInput,
  checkSourceRange,
  type Source,
  toSyncSource,
} from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { crc32 } from "../wasm/hot-paths.js";
import { callImporter, wrapSourceError } from "./errors.js";
import { checkFileRegion, type FileRegionShape } from "./file-region.js";
import type { BootPageAcceptance, ImageLoad, VpRegister } from "./importer.js";

/** Bytes of the default buffer: OpenVMM's `ChunkBuf::DEFAULT_SIZE`. */
const DEFAULT_CHUNK_BYTES = 64 * 1024;

/** Parameters of {@link ChunkBuf.importFileRegion}: OpenVMM's `ImportFileRegion`. */
export interface ImportFileRegion<Input = ByteInput> {
  /** Where the bytes come from. */
  readonly file: Input;
  /** Offset in the file, bytes. */
  readonly fileOffset: AddressLike;
  /** Bytes to read from the file. */
  readonly fileLength: AddressLike;
  /** Guest physical address to import to; need not be page-aligned. */
  readonly gpa: AddressLike;
  /** Length of the region in memory: the file's bytes, then zeros. */
  readonly memoryLength: AddressLike;
  /** How an isolated guest accepts the pages. */
  readonly acceptance: BootPageAcceptance;
  /** Who the pages belong to. */
  readonly tag: string;
}

/**
 * Imports a region chunk by chunk: only the first chunk has leading zeros, and they count in its data length;
 * the last chunk with file data carries the page count of the whole tail.
 */
export function* importChunks<R extends VpRegister>(
  buffer: Uint8Array,
  importer: ImageLoad<R>,
  source: Source,
  shape: FileRegionShape,
  tag: string,
  acceptance: BootPageAcceptance,
): Task<void> {
  const give = (pageBase: bigint, pageCount: number, data: Uint8Array): void =>
    callImporter(
      () => importer.importPages(pageBase, pageCount, tag, acceptance, data),
      "REGION_IMPORT_PAGES",
      tag,
    );
  if (shape.length === 0) {
    give(shape.pageBase, shape.pageCount, buffer.subarray(0, 0));
    return;
  }
  let pagesDone = 0;
  let fileDone = 0;
  while (fileDone < shape.length) {
    const chunkPages = Math.min(shape.pageCount - pagesDone, buffer.byteLength / PAGE_BYTES);
    const dataStart = pagesDone === 0 ? shape.leadingBytes : 0;
    const dataLength = Math.min(shape.length - fileDone, chunkPages * PAGE_BYTES - dataStart);
    buffer.fill(0, 0, dataStart);
    try {
      yield* fill(source, buffer.subarray(dataStart, dataStart + dataLength), shape.offset + fileDone);
    } catch (cause) {
      throw wrapSourceError("REGION_READ", tag, cause);
    }
    fileDone += dataLength;
    const importPages = fileDone === shape.length ? shape.pageCount - pagesDone : chunkPages;
    give(shape.pageBase + BigInt(pagesDone), importPages, buffer.subarray(0, dataStart + dataLength));
    pagesDone += importPages;
  }
}

const checkRegion = /* @__PURE__ */ named(
  "file",
  "fileOffset",
  "fileLength",
  "gpa",
  "memoryLength",
  "acceptance",
  "tag",
);

/**
 * A buffer of whole pages for streaming file data into guest memory (OpenVMM's `ChunkBuf`). Use one for many imports.
 *
 * @example
 * ```ts
 * import { RecordingImporter } from "directboot";
 * import { ChunkBuf } from "directboot/loader";
 *
 * const buffer = new ChunkBuf();
 * const importer = new RecordingImporter();
 * buffer.importFileRegion(importer, {
 *   file: "initrd.img",
 *   fileOffset: 0,
 *   fileLength: 10_000,
 *   gpa: 0x200_0000,
 *   memoryLength: 10_000,
 *   acceptance: "Exclusive",
 *   tag: "initrd",
 * });
 * console.log(importer.calls.length); // 1
 * ```
 */
export class ChunkBuf {
  /** The buffer: a whole number of pages, at least one. */
  readonly bytes: Uint8Array;

  /**
   * @param byteSize bytes of the buffer, rounded down to whole pages; 64 KiB by default
   * @throws DirectBootError CHUNK_SIZE_TOO_SMALL below one page; TypeError for no integer
   */
  constructor(byteSize = DEFAULT_CHUNK_BYTES) {
    const byteLength = Math.floor(toLength(byteSize, "byteSize") / PAGE_BYTES) * PAGE_BYTES;
    if (byteLength === 0) {
      throw new DirectBootError(
        "CHUNK_SIZE_TOO_SMALL",
        `a chunk buffer of ${byteSize} bytes, one page has ${PAGE_BYTES}`,
      );
    }
    try {
      this.bytes = new Uint8Array(byteLength);
    } catch (cause) {
      throw new DirectBootError("SOURCE_TOO_LARGE", `a chunk buffer of ${byteLength} bytes can't be made`, {
        cause,
        cure: "use a smaller byteSize",
      });
    }
  }

  /** OpenVMM's `with_size`: the same as the constructor. */
  static withSize(byteSize: number): ChunkBuf {
    return new ChunkBuf(byteSize);
  }

  /**
   * Imports a region of a file: `fileLength` bytes from `fileOffset` to `gpa`. Leading bytes of the first page,
   * and what `memoryLength` has beyond `fileLength` up to the end of the last page, are zero.
   *
   * @throws DirectBootError REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH, REGION_OVERFLOW or REGION_READ before
   *   anything is imported; REGION_IMPORT_PAGES when the importer refuses
   */
  importFileRegion<R extends VpRegister>(importer: ImageLoad<R>, region: ImportFileRegion): void {
    runSync(this.#import(importer, region));
  }

  /** The asynchronous {@link importFileRegion}: the file may also be a Blob, a Response or a stream. */
  importFileRegionAsync<R extends VpRegister>(
    importer: ImageLoad<R>,
    region: ImportFileRegion<AsyncByteInput>,
  ): Promise<void> {
    return runAsync(this.#import(importer, region));
  }

  *#import<R extends VpRegister>(
    importer: ImageLoad<R>,
    region: ImportFileRegion<AsyncByteInput>,
  ): Task<void> {
    checkRegion(region, "region");
    const { tag, acceptance } = region;
    const { source, close } = openSource(region.file, "file");
    try {
      const shape = checkFileRegion({
        source,
        fileOffset: toAddress(region.fileOffset, "fileOffset"),
        fileLength: toAddress(region.fileLength, "fileLength"),
        gpa: toAddress(region.gpa, "gpa"),
        memoryLength: toAddress(region.memoryLength, "memoryLength"),
        acceptance,
        tag,
      });
      if (shape === undefined) return;
      callImporter(
        () => importer.checkPages?.(shape.pageBase, shape.pageCount, tag, shape.leadingBytes + shape.length),
        "REGION_IMPORT_PAGES",
        tag,
      );
      yield* importChunks(this.bytes, importer, source, shape, tag, acceptance);
    } finally {
      close();
    }
  }

  /**
   * CRC-32 (zlib's) of the first `byteLength` bytes of a file, read in pieces of the buffer's size.
   *
   * @throws DirectBootError SOURCE_SHORT if the file ends before, SOURCE_READ if reading fails
   */
  crc32(file: ByteInput, byteLength: number | bigint): number {
    const opened = openSource(file, "file");
    try {
      const source = toSyncSource(opened.source);
      const length = toLength(byteLength, "byteLength");
      checkSourceRange(source, 0, length);
      let crc = 0;
      for (let offset = 0; offset < length; offset += this.bytes.byteLength) {
        const piece = this.bytes.subarray(0, Math.min(this.bytes.byteLength, length - offset));
        source.readSync(piece, offset);
        crc = crc32(piece, crc);
      }
      return crc;
    } finally {
      opened.close();
    }
  }
}
