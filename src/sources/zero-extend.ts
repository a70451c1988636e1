/** Files that end before the memory that they fill: what they lack is zero. */
import { DirectBootError } from "../base/errors.js";
import {
  type ByteRange,
  checkSourceRange,
  checkTarget,
  guardSource,
  hasKnownLength,
  isStreamed,
  isSyncSource,
  needsNoGuard,
  type Source,
  type StreamedSource,
} from "./source.js";
import { StreamSource } from "./stream.js";

/** The least bytes that a stream of unknown length must have. */
export interface LeastBytes {
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
  const range = { name, byteLength };
  const guarded = guardSource(source);
  const isOpenEnded = source instanceof StreamSource && !hasKnownLength(source);
  /** Bytes of `[offset, offset + length)` that are the source's. */
  const within = (offset: number, length: number): number =>
    Math.max(0, Math.min(length, guarded.byteLength - offset));
  const extended: Source = {
    ...range,
    read: async (target, offset, signal) => {
      const { byteLength: length } = target;
      checkSourceRange(range, offset, length);
      if (!isOpenEnded) {
        const own = within(offset, length);
        if (own > 0) await guarded.read(target.subarray(0, own), offset, signal);
        checkTarget(name, target, length);
        target.fill(0, own);
        return;
      }
      const own = await source.readUpTo(target, offset, signal);
      checkTarget(name, target, length);
      // It ends within this read if anywhere: those before were full.
      if (least !== undefined && own < length && offset + own < least.byteLength) {
        throw least.tooShort(offset + own);
      }
      target.fill(0, own);
      // Whether it ends here is only known by asking for one byte more.
      if (tooLong !== null && length > 0 && offset + length === byteLength) {
        if ((await source.readUpTo(new Uint8Array(1), byteLength, signal)) > 0) throw tooLong();
      }
    },
    ...(isSyncSource(guarded)
      ? {
          readSync: (target: Uint8Array, offset: number): void => {
            checkSourceRange(range, offset, target.byteLength);
            const own = within(offset, target.byteLength);
            if (own > 0) guarded.readSync(target.subarray(0, own), offset);
            target.fill(0, own);
          },
        }
      : {}),
  };
  needsNoGuard(extended);
  if (!isStreamed(guarded)) return extended;
  const inner = (ranges: readonly ByteRange[]): ByteRange[] => {
    const own =
      isOpenEnded && tooLong !== null
        ? [...ranges, { start: byteLength, end: byteLength + 1 }]
        : ranges.map(({ start, end }) => ({
            start: Math.min(start, guarded.byteLength),
            end: Math.min(end, guarded.byteLength),
          }));
    return own;
  };
  const streamed: StreamedSource = {
    ...extended,
    checkStreaming: (ranges) => guarded.checkStreaming(inner(ranges)),
    startStreaming: (ranges) => guarded.startStreaming(inner(ranges)),
    checkEnd: (signal) => guarded.checkEnd(signal),
    cancel: (reason) => guarded.cancel(reason),
  };
  needsNoGuard(streamed);
  return streamed;
}
