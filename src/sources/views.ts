/** Sources made of others: a range of one, several behind each other, one with zeros behind it. */
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { arrived } from "./arrival.js";
import {
  type ByteRange,
  checkSourceRange,
  checkTarget,
  guardSource,
  hasKnownLength,
  isStreamed,
  isSyncSource,
  knownLength,
  needsNoGuard,
  type Source,
  type StreamedSource,
  toSyncSource,
} from "./source.js";
import { StreamSource } from "./stream.js";

/** Bytes `[start, end)` of a view: those of `source` from `from` on. */
interface Piece<S extends Source = Source> extends ByteRange {
  readonly source: S;
  readonly from: number;
}

/** A stretch of a read: of a piece, or of the zeros between and behind them. */
interface Stretch {
  readonly source: Source | undefined;
  /** Where it starts in the source. */
  readonly offset: number;
  /** Where it starts in the read. */
  readonly done: number;
  readonly length: number;
}

/** The stretches of `[offset, offset + length)` of the view. */
function* stretches(
  pieces: readonly Piece[],
  offset: number,
  length: number,
): Generator<Stretch, void, void> {
  let done = 0;
  for (const { source, from, start, end } of pieces) {
    if (done === length) return;
    const at = offset + done;
    if (at >= end) continue;
    const zeros = Math.max(0, Math.min(start - at, length - done));
    if (zeros > 0) yield { source: undefined, offset: 0, done, length: zeros };
    done += zeros;
    if (done === length) return;
    const own = Math.min(end - offset - done, length - done);
    yield { source, offset: from + offset + done - start, done, length: own };
    done += own;
  }
  if (done < length) yield { source: undefined, offset: 0, done, length: length - done };
}

/** What will be read of a piece, as ranges of its source. */
function rangesWithin(ranges: readonly ByteRange[], { from, start, end }: Piece): ByteRange[] {
  return ranges
    .map((each) => ({
      start: Math.max(each.start, start) - start + from,
      end: Math.min(each.end, end) - start + from,
    }))
    .filter((own) => own.start < own.end);
}

/** What views are made of. */
export const piecesOf = new WeakMap<Source, readonly Piece[]>();

/**
 * A source of `byteLength` bytes: pieces of guarded sources in ascending order, and zeros elsewhere. It has of the optional
 * methods what all of its sources have.
 */
export function viewOf(name: string, byteLength: number, pieces: readonly Piece[]): Source {
  const range = { name, byteLength };
  const streamed = pieces.filter((piece): piece is Piece<StreamedSource> => isStreamed(piece.source));
  const view: Source & Partial<StreamedSource> = {
    ...range,
    read: async (target, offset, signal) => {
      const { byteLength: length } = target;
      checkSourceRange(range, offset, length);
      for (const { source, offset: at, done, length: own } of stretches(pieces, offset, length)) {
        checkTarget(name, target, length);
        const piece = target.subarray(done, done + own);
        if (source === undefined) piece.fill(0);
        else await source.read(piece, at, signal);
        arrived(view, offset + done, offset + done + own);
      }
    },
    ...(pieces.every(({ source }) => isSyncSource(source)) && {
      readSync: (target: Uint8Array, offset: number): void => {
        checkSourceRange(range, offset, target.byteLength);
        for (const { source, offset: at, done, length } of stretches(pieces, offset, target.byteLength)) {
          const piece = target.subarray(done, done + length);
          if (source === undefined) piece.fill(0);
          else toSyncSource(source).readSync(piece, at);
          arrived(view, offset + done, offset + done + length);
        }
      },
    }),
    ...(pieces.every(({ source }) => source.peek !== undefined) && {
      peek: (offset: number, length: number): Uint8Array | undefined => {
        checkSourceRange(range, offset, length);
        const [first] = stretches(pieces, offset, length);
        return first?.length === length ? first.source?.peek?.(first.offset, length) : undefined;
      },
    }),
    ...(streamed.length > 0 && {
      checkStreaming: (ranges: readonly ByteRange[]): void => {
        for (const piece of streamed) piece.source.checkStreaming(rangesWithin(ranges, piece));
      },
      startStreaming: (ranges: readonly ByteRange[]): void => {
        for (const piece of streamed) piece.source.startStreaming(rangesWithin(ranges, piece));
      },
      checkEnd: async (signal?: AbortSignal): Promise<void> => {
        for (const { source } of streamed) await source.checkEnd(signal);
      },
      cancel: (reason?: unknown): void => {
        for (const { source } of streamed) source.cancel(reason);
      },
    }),
  };
  needsNoGuard(view);
  piecesOf.set(view, pieces);
  return view;
}

/**
 * `length` bytes from `offset` of `source`.
 *
 * @throws DirectBootError SOURCE_SHORT if the range passes the end of the source
 */
export function sliceSource(source: Source, offset: number, length: number, name = source.name): Source {
  const inner = guardSource(source);
  checkSourceRange(inner, offset, length);
  return viewOf(name, length, [{ source: inner, from: offset, start: 0, end: length }]);
}

/**
 * A compressed archive inside an initramfs starts at a multiple of so many bytes
 * (Documentation/driver-api/early-userspace/buffer-format.rst: cpio headers are aligned to 4; zeros may lie between).
 */
const INITRAMFS_ALIGNMENT = 4;

/**
 * One source of several: each starts at the next multiple of `alignment` bytes behind the one before, with zeros
 * between. It can be read synchronously if all of them can.
 *
 * @throws DirectBootError SOURCE_LENGTH_UNKNOWN for a stream without a length, SOURCE_TOO_LARGE beyond 2^53
 *
 * @example
 * ```ts
 * import { BytesSource, concatSources } from "directboot";
 *
 * const parts = [new BytesSource(new Uint8Array(5)), new BytesSource(new Uint8Array(3))];
 * console.log(concatSources(parts).byteLength); // 11
 * ```
 */
export function concatSources(
  sources: readonly Source[],
  alignment: number = INITRAMFS_ALIGNMENT,
  name: string = Array.isArray(sources) ? sources.map((source) => source?.name).join(" + ") : "",
): Source {
  if (!Array.isArray(sources)) throw new TypeError(`sources must be an array, got ${describeType(sources)}`);
  if (!Number.isSafeInteger(alignment) || alignment < 1) {
    throw new TypeError(`alignment must be an integer from 1 up, got ${describeType(alignment)}`);
  }
  const pieces: Piece[] = [];
  let byteLength = 0;
  for (const each of sources) {
    const source = guardSource(each);
    const start = Math.ceil(byteLength / alignment) * alignment;
    byteLength = start + knownLength(source);
    if (!Number.isSafeInteger(byteLength)) {
      throw new DirectBootError("SOURCE_TOO_LARGE", `${name}: together they pass 2^53 bytes`);
    }
    pieces.push({ source, from: 0, start, end: byteLength });
  }
  return viewOf(name, byteLength, pieces);
}

/** The least bytes that a stream of unknown length must have. */
interface LeastBytes {
  readonly byteLength: number;
  /** Makes the error for one that ends before, after so many bytes. */
  readonly tooShort: (byteLength: number) => DirectBootError;
}

/**
 * A source of exactly `byteLength` bytes: those of `source`, then zeros. With it a stream of unknown length, whose
 * header says how much memory it fills, needs no spool: it is read straight to its place.
 *
 * @param tooLong makes the error for a source that has more bytes; SOURCE_TOO_LARGE by default, null to ignore them. Of a
 *   stream of unknown length this is only seen when its last byte is read
 * @param least what a stream of unknown length must have; nothing by default
 * @throws DirectBootError what `tooLong` makes, and `least.tooShort`
 */
export function zeroExtend(
  source: Source,
  byteLength: number,
  tooLong: (() => DirectBootError) | null = () =>
    new DirectBootError("SOURCE_TOO_LARGE", `${source.name} has more than ${byteLength} bytes`),
  least?: LeastBytes,
): Source {
  const { name } = source;
  if (tooLong !== null && hasKnownLength(source) && source.byteLength > byteLength) throw tooLong();
  const guarded = guardSource(source);
  const end = Math.min(guarded.byteLength, byteLength);
  const view = viewOf(name, byteLength, [{ source: guarded, from: 0, start: 0, end }]);
  if (!(source instanceof StreamSource) || hasKnownLength(source)) return view;
  // Whether it ends at its end is only known by asking for one byte more.
  const asked = tooLong === null ? [] : [{ start: byteLength, end: byteLength + 1 }];
  const openEnded: Source & Partial<StreamedSource> = {
    ...view,
    read: async (target, offset, signal) => {
      const { byteLength: length } = target;
      checkSourceRange(view, offset, length);
      const own = await source.readUpTo(target, offset, signal);
      checkTarget(name, target, length);
      // It ends within this read if anywhere: those before were full.
      if (least !== undefined && own < length && offset + own < least.byteLength) {
        throw least.tooShort(offset + own);
      }
      target.fill(0, own);
      if (tooLong !== null && length > 0 && offset + length === byteLength) {
        if ((await source.readUpTo(new Uint8Array(1), byteLength, signal)) > 0) throw tooLong();
      }
    },
    checkStreaming: (ranges) => source.checkStreaming([...ranges, ...asked]),
    startStreaming: (ranges) => source.startStreaming([...ranges, ...asked]),
  };
  needsNoGuard(openEnded);
  return openEnded;
}
