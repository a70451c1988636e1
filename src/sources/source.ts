/**
 * Random access to bytes. A source knows no format.
 */
import { describeType, messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { abortedError } from "../task/run.js";
import type { Task } from "../task/task.js";
import { arrived } from "./arrival.js";
import type { BlobLike, ByteStream, FileHandle, ResponseLike } from "./platform-shapes.js";

/**
 * `byteLength` of a source whose length only its end will tell: a stream without a declared length. It passes for the
 * largest length there can be, so every check against it is the check that can be made; what needs the true
 * length asks {@link hasKnownLength} first.
 */
export const UNKNOWN_LENGTH = 9_007_199_254_740_991; // Number.MAX_SAFE_INTEGER

/** Where an image's bytes come from. Offsets and lengths are bytes. */
export interface Source {
  /** Its name in messages: a path, a URL, "bytes". */
  readonly name: string;
  /** Total length in bytes; `Number.MAX_SAFE_INTEGER` if only its end will tell. */
  readonly byteLength: number;
  /**
   * Fills all of `target` with the bytes from `offset` on.
   *
   * @throws DirectBootError SOURCE_SHORT if the source ends before, SOURCE_READ if reading fails
   */
  read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void>;
  /** The synchronous form, where the source has one. */
  readSync?(target: Uint8Array, offset: number): void;
  /**
   * The bytes themselves, without a copy, where they lie in host memory already, and in one piece; else undefined.
   * Not to be written to.
   */
  peek?(offset: number, length: number): Uint8Array | undefined;
}

/** Pages of WebAssembly that decoders need beside their output: DECODER_SCRATCH_BYTES of decoders/, which is not imported. */
export const DECODER_WORK_PAGES = 9;

/** A place in linear memory where bytes can be made. Offsets and lengths in bytes. */
export interface MemoryPlace {
  readonly memory: WebAssembly.Memory;
  readonly offset: number;
  readonly byteLength: number;
  /** Where decoders may work meanwhile; zero before and after. */
  readonly scratchOffset: number;
}

/** A source whose bytes are made by work, such as decompressing, and can be made where they are to lie. */
export interface MadeSource extends Source {
  /**
   * Makes all of its bytes at `place`, which has just the room for them.
   *
   * @param onMade is told how many bytes more there are, byteLength in all
   */
  makeInto(place: MemoryPlace, onMade?: (byteLength: number) => void): Task<void>;
}

/** True for a {@link MadeSource}. */
export function isMade(source: Source): source is MadeSource {
  return "makeInto" in source && typeof source.makeInto === "function" && guards.get(source) === source;
}

/**
 * A source that can be read synchronously.
 *
 * @example
 * ```ts
 * import { readSync, openSync, fstatSync } from "node:fs";
 * import { loadLinuxSync, type SyncSource } from "directboot";
 *
 * const descriptor = openSync("vmlinuz", "r");
 * const source: SyncSource = {
 *   name: "vmlinuz by hand",
 *   byteLength: fstatSync(descriptor).size,
 *   readSync(target, offset) {
 *     for (let done = 0; done < target.byteLength; ) {
 *       const count = readSync(descriptor, target, done, target.byteLength - done, offset + done);
 *       if (count === 0) throw new Error("the file has become shorter");
 *       done += count;
 *     }
 *   },
 *   async read(target, offset) {
 *     this.readSync(target, offset);
 *   },
 * };
 * console.log(loadLinuxSync({ kernel: source, memory: 64 * 1024 * 1024 }).architecture); // x86_64
 * ```
 */
export interface SyncSource extends Source {
  /**
   * Fills `target` with the bytes from `offset` on, all of them; throws if there are fewer.
   *
   * @param offset bytes from the start of the source
   */
  readSync(target: Uint8Array, offset: number): void;
}

/** Bytes `[start, end)` of a source. */
export interface ByteRange {
  /** The first byte. */
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
}

/**
 * A source that is read forwards once. Until `startStreaming` it keeps all that it has read, so that parsers can go
 * back; from then on it keeps what is still wanted, and copies the rest of it once, from where it arrives to where
 * it goes.
 */
export interface StreamedSource extends Source {
  /**
   * Throws what `startStreaming` would throw, and changes nothing.
   *
   * @param ranges in ascending order of their starts; they may overlap
   * @throws DirectBootError SOURCE_CONSUMED if bytes of them are gone, SOURCE_SPOOL_LIMIT if they overlap so much that
   *   more than the limit had to be kept
   */
  checkStreaming(ranges: readonly ByteRange[]): void;
  /** Says which bytes will still be read, in this order; others are dropped as they come. */
  startStreaming(ranges: readonly ByteRange[]): void;
  /** Reads on to the end, if it says there whether what came before was whole; throws what reading throws. */
  checkEnd(signal?: AbortSignal): Promise<void>;
  /** Ends the stream: its producer is told that nobody reads on. Never throws; further calls do nothing. */
  cancel(reason?: unknown): void;
}

/** A kernel, an initrd or a table of bytes, as every function takes it; paths and handles in Node. */
export type ByteInput = Uint8Array | ArrayBuffer | Source | string | URL | FileHandle;

/** A byte input of the asynchronous functions: also Blob, Response and ReadableStream. */
export type AsyncByteInput = ByteInput | BlobLike | ResponseLike | ByteStream;

/** True unless only the end of `source` will tell its length. */
export function hasKnownLength(source: Pick<Source, "byteLength">): boolean {
  return source.byteLength !== UNKNOWN_LENGTH;
}

/** The length of `source` in bytes. Throws SOURCE_LENGTH_UNKNOWN if only its end will tell. */
export function knownLength(source: Pick<Source, "name" | "byteLength">): number {
  if (hasKnownLength(source)) return source.byteLength;
  throw new DirectBootError("SOURCE_LENGTH_UNKNOWN", `${source.name} does not say how long it is`);
}

/** True if `source` is read forwards once. */
export function isStreamed(source: Source): source is StreamedSource {
  return (
    "startStreaming" in source && typeof source.startStreaming === "function" && guards.get(source) === source
  );
}

/** True if `source` can be read synchronously. */
export function isSyncSource(source: Source): source is SyncSource {
  return typeof source.readSync === "function";
}

/** True if `value` has the shape of a {@link Source}. */
export function isSource(value: unknown): value is Source {
  return (
    typeof value === "object" &&
    value !== null &&
    "byteLength" in value &&
    typeof value.byteLength === "number" &&
    "read" in value &&
    typeof value.read === "function"
  );
}

/** Throws SOURCE_SHORT unless `[offset, offset + length)` lies within the source; TypeError for no offset. */
export function checkSourceRange(
  source: Pick<Source, "name" | "byteLength">,
  offset: number,
  length: number,
): void {
  if (!Number.isInteger(offset) || offset < 0) {
    throw new TypeError(`offset must be an integer from 0 up, got ${describeType(offset)}`);
  }
  if (!Number.isInteger(length)) throw new TypeError("the target of a read must be a Uint8Array");
  if (offset + length > source.byteLength) {
    throw new DirectBootError(
      "SOURCE_SHORT",
      `${source.name}: bytes ${offset} to ${offset + length} are asked for, it has ${source.byteLength}`,
    );
  }
}

/**
 * Throws GUEST_MEMORY_DETACHED if a target of `byteLength` bytes has become another: a memory that grows, or a buffer that
 * is handed on or resized, detaches its views, which then have no bytes left to fill and would pass for full.
 */
export function checkTarget(name: string, target: Uint8Array, byteLength: number): void {
  if (target.byteLength === byteLength) return;
  throw new DirectBootError(
    "GUEST_MEMORY_DETACHED",
    `${name}: the buffer of ${byteLength} bytes went away while it was filled`,
  );
}

/** Throws SOURCE_NOT_SYNCHRONOUS unless `source` can be read synchronously. */
export function toSyncSource(source: Source): SyncSource {
  if (isSyncSource(source)) return source;
  throw new DirectBootError("SOURCE_NOT_SYNCHRONOUS", `${source.name} has no readSync`);
}

/** Guarded sources by the ones that they guard; sources that need no guard guard themselves. */
const guards = new WeakMap<Source, Source>();

/** Marks a source of ours, which throws nothing but our errors. */
export function needsNoGuard(source: Source): void {
  guards.set(source, source);
}

/**
 * The same source, throwing nothing but our errors: whatever a source of the caller's throws becomes SOURCE_READ
 * with that as the cause, or ABORTED if the signal says so.
 *
 * @throws TypeError if its length is no integer
 */
export function guardSource(source: Source): Source {
  const known = guards.get(source);
  if (known !== undefined) return known;
  if (!isSource(source)) throw notBytes(source, "source");
  const { byteLength } = source;
  const name = String(source.name ?? "a source without a name");
  if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
    throw new TypeError(`${name}: byteLength must be an integer, got ${describeType(byteLength)}`);
  }
  const failed = (offset: number, cause: unknown): DirectBootError => {
    if (cause instanceof DirectBootError) return cause;
    const said = messageOf(cause);
    return new DirectBootError("SOURCE_READ", `${name}: reading at byte ${offset} failed: ${said}`, {
      cause,
    });
  };
  const range = { name, byteLength };
  const guarded: Source = {
    ...range,
    read: async (target, offset, signal) => {
      const { byteLength: length } = target;
      checkSourceRange(range, offset, length);
      try {
        await source.read(target, offset, signal);
      } catch (cause) {
        if (signal?.aborted === true) throw abortedError(name, signal);
        // Whoever writes to a buffer that went away is told so by the platform, in its own words.
        checkTarget(name, target, length);
        throw failed(offset, cause);
      }
      checkTarget(name, target, length);
      arrived(guarded, offset, offset + length);
    },
    ...(source.readSync === undefined
      ? {}
      : {
          readSync: (target: Uint8Array, offset: number) => {
            checkSourceRange(range, offset, target.byteLength);
            try {
              source.readSync?.(target, offset);
            } catch (cause) {
              throw failed(offset, cause);
            }
            arrived(guarded, offset, offset + target.byteLength);
          },
        }),
    // No peek: bytes of a foreign source may change between the check and the copy, and reading costs one copy.
  };
  guards.set(source, guarded);
  guards.set(guarded, guarded);
  return guarded;
}

/** The TypeError for what is no {@link AsyncByteInput}. */
export function notBytes(value: unknown, name: string): TypeError {
  return new TypeError(
    `${name} must be a Uint8Array, an ArrayBuffer, a Source, (in Node) a path, file: URL or FileHandle, or (asynchronously) a Blob, Response or ReadableStream, got ${describeType(value)}`,
  );
}
