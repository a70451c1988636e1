/**
 * Random access to bytes. A source knows no format.
 */
import { describeType } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";

/** Where an image's bytes come from. Offsets and lengths are bytes. */
export interface Source {
  /** What messages call it: a path, a URL, "bytes". */
  readonly name: string;
  /** Total length in bytes. */
  readonly byteLength: number;
  /**
   * Fills all of `target` with the bytes from `offset` on.
   *
   * @throws DirectBootError SOURCE_SHORT if the source ends before, SOURCE_READ if reading fails
   */
  read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void>;
  /** The synchronous form, where the source has one. */
  readSync?(target: Uint8Array, offset: number): void;
  /** The bytes themselves, without a copy, where they lie in host memory already. Not to be written to. */
  peek?(offset: number, length: number): Uint8Array;
}

/** A source that can be read synchronously. */
export interface SyncSource extends Source {
  readSync(target: Uint8Array, offset: number): void;
}

/** What every function takes for a kernel, an initrd or a table of bytes. */
export type ByteInput = Uint8Array | ArrayBuffer | Source | string | URL;

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

/** Throws SOURCE_SHORT unless `[offset, offset + length)` lies within the source. */
export function checkSourceRange(source: Source, offset: number, length: number): void {
  if (offset + length > source.byteLength) {
    throw new DirectBootError(
      "SOURCE_SHORT",
      `${source.name}: bytes ${offset} to ${offset + length} are asked for, it has ${source.byteLength}`,
    );
  }
}

/** Throws SOURCE_NOT_SYNCHRONOUS unless `source` can be read synchronously. */
export function toSyncSource(source: Source): SyncSource {
  if (isSyncSource(source)) return source;
  throw new DirectBootError("SOURCE_NOT_SYNCHRONOUS", `${source.name} has no readSync`);
}

/** The TypeError for what is no {@link ByteInput}. */
export function notBytes(value: unknown, name: string): TypeError {
  return new TypeError(
    `${name} must be a Uint8Array, an ArrayBuffer, a Source or (in Node) a path or file: URL, got ${describeType(value)}`,
  );
}
