/** How parsers and importers read: as tasks, which run synchronously or asynchronously. */
import { DirectBootError } from "../base/errors.js";
import { perform, type Task } from "../task/task.js";
import {
  checkTarget,
  guardSource,
  hasKnownLength,
  knownLength,
  type Source,
  toSyncSource,
} from "./source.js";
import { StreamSource } from "./stream.js";

/** Parsers read headers and tables. A hostile number in one must not drive an allocation. */
const MOST_BYTES_A_READ = 256 * 1024 * 1024;

/** Bytes that are allocated for a stream of unknown length before any of them has come. */
const FIRST_BYTES = 1024 * 1024;

/** Bytes that are not to be written to: they may be the source's own. */
export function* readBytes(source: Source, offset: number, length: number): Task<Uint8Array> {
  if (!hasKnownLength(source)) yield* arrival(source, offset + length, true);
  const guarded = guardSource(source);
  const known = guarded.peek?.(offset, length);
  if (known !== undefined) return known;
  if (length > MOST_BYTES_A_READ || offset + length > guarded.byteLength) {
    throw new DirectBootError(
      "SOURCE_SHORT",
      `${guarded.name}: ${length} bytes at ${offset} are asked for, it has ${guarded.byteLength}`,
    );
  }
  if (!hasKnownLength(guarded)) return yield* readOpenEnded(guarded, offset, length);
  const bytes = new Uint8Array(length);
  yield* fill(guarded, bytes, offset);
  return bytes;
}

/** The first `length` bytes of a source, or all of a shorter one. */
export function* readHead(source: Source, length: number): Task<Uint8Array> {
  if (!hasKnownLength(source)) yield* arrival(source, length, false);
  return yield* readBytes(source, 0, Math.min(length, source.byteLength));
}

/**
 * All of a source, not to be written to.
 *
 * @throws DirectBootError SOURCE_LENGTH_UNKNOWN where it can't be read to its end first, SOURCE_SPOOL_LIMIT if that is too
 *   far, SOURCE_TOO_LARGE if it can't be held
 */
export function* readWhole(source: Source): Task<Uint8Array> {
  const guarded = guardSource(yield* withKnownLength(source));
  const { name, byteLength } = guarded;
  const known = guarded.peek?.(0, byteLength);
  if (known !== undefined) return known;
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(byteLength);
  } catch (cause) {
    throw new DirectBootError("SOURCE_TOO_LARGE", `${name}: ${byteLength} bytes can't be held at once`, {
      cause,
    });
  }
  yield* fill(guarded, bytes, 0);
  return bytes;
}

/**
 * The same source, or, if only its end will tell its length, its bytes, read whole.
 *
 * @param limit bytes that it may have at most; the stream's spoolLimit by default
 * @throws DirectBootError SOURCE_SPOOL_LIMIT if it has more; SOURCE_LENGTH_UNKNOWN if it is no StreamSource
 */
export function* withKnownLength(source: Source, limit?: number): Task<Source> {
  if (hasKnownLength(source)) return source;
  return yield* perform(
    () => {
      knownLength(source);
      return source;
    },
    async (signal) => {
      if (source instanceof StreamSource) return await source.spoolWhole(limit, signal);
      knownLength(source);
      return source;
    },
  );
}

/** Waits until the first `end` bytes of a stream are spooled, or it has ended, which tells its length. */
function* arrival(source: Source, end: number, isExact: boolean): Task<void> {
  if (!(source instanceof StreamSource)) return;
  yield {
    runSync: () => void toSyncSource(source),
    runAsync: (signal) => source.spoolHead(end, signal, isExact),
  };
}

/**
 * Reads from a source of unknown length. `length` may come from a hostile header, and only bytes that arrive vouch for
 * it: the buffer grows with them.
 */
function* readOpenEnded(source: Source, offset: number, length: number): Task<Uint8Array> {
  let bytes = new Uint8Array(Math.min(length, FIRST_BYTES));
  for (let done = 0; ; ) {
    yield* fill(source, bytes.subarray(done), offset + done);
    done = bytes.byteLength;
    if (done === length) return bytes;
    const grown = new Uint8Array(Math.min(length, 2 * done));
    grown.set(bytes);
    bytes = grown;
  }
}

/** Fills `target` from `offset` of `source`; throws GUEST_MEMORY_DETACHED if it goes away meanwhile. */
export function* fill(source: Source, target: Uint8Array, offset: number): Task<void> {
  const guarded = guardSource(source);
  const { byteLength } = target;
  yield {
    runSync: () => {
      toSyncSource(guarded).readSync(target, offset);
      checkTarget(guarded.name, target, byteLength);
    },
    runAsync: async (signal) => {
      await guarded.read(target, offset, signal);
      checkTarget(guarded.name, target, byteLength);
    },
  };
}
