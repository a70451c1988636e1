/**
 * Random access to bytes. A source knows no format.
 */
import { describeType } from "../base/describe.js";
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

/** Throws SOURCE_SHORT unless `[offset, offset + length)` lies within the source; TypeError for no offset. */
export function checkSourceRange(
  source: Pick<Source, "name" | "byteLength">,
  offset: number,
  length: number,
): void {
  if (!Number.isInteger(offset) || offset < 0) {
    throw new TypeError(`offset must be an integer from 0 up, got ${describeType(offset)}`);
  }
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

/** Guarded sources by the ones that they guard; sources that need no guard guard themselves. */
const guards = new WeakMap<Source, Source>();

/** Marks a source of ours, which throws nothing but our errors. */
export function needsNoGuard(source: Source): void {
  guards.set(source, source);
}

/** The error for a load that its signal aborted. */
export function abortedError(name: string, signal: AbortSignal): DirectBootError {
  return new DirectBootError("ABORTED", `${name} was aborted`, { cause: signal.reason });
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
  const { byteLength } = source;
  const name = String(source.name);
  if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
    throw new TypeError(`${name}: byteLength must be an integer, got ${describeType(byteLength)}`);
  }
  const failed = (offset: number, cause: unknown): DirectBootError => {
    if (cause instanceof DirectBootError) return cause;
    const said = cause instanceof Error ? cause.message : String(cause);
    return new DirectBootError("SOURCE_READ", `${name}: reading at byte ${offset} failed: ${said}`, {
      cause,
    });
  };
  const range = { name, byteLength };
  const guarded: Source = {
    ...range,
    read: async (target, offset, signal) => {
      checkSourceRange(range, offset, target.byteLength);
      try {
        await source.read(target, offset, signal);
      } catch (cause) {
        throw signal?.aborted === true ? abortedError(name, signal) : failed(offset, cause);
      }
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
          },
        }),
    // No peek: bytes of a foreign source may change between the check and the copy, and reading costs one copy.
  };
  guards.set(source, guarded);
  guards.set(guarded, guarded);
  return guarded;
}

/** The TypeError for what is no {@link ByteInput}. */
export function notBytes(value: unknown, name: string): TypeError {
  return new TypeError(
    `${name} must be a Uint8Array, an ArrayBuffer, a Source or (in Node) a path or file: URL, got ${describeType(value)}`,
  );
}
