/** A range of a source as a source of its own. */
import {
  type ByteRange,
  checkSourceRange,
  guardSource,
  isStreamed,
  isSyncSource,
  needsNoGuard,
  type Source,
  type StreamedSource,
} from "./source.js";

/**
 * `length` bytes from `offset` of `source`.
 *
 * @throws DirectBootError SOURCE_SHORT if the range passes the end of the source
 */
export function sliceSource(source: Source, offset: number, length: number, name = source.name): Source {
  const inner = guardSource(source);
  checkSourceRange(inner, offset, length);
  const range = { name, byteLength: length };
  const sliced: Source = {
    ...range,
    read: async (target, at, signal) => {
      checkSourceRange(range, at, target.byteLength);
      await inner.read(target, offset + at, signal);
    },
    ...(isSyncSource(inner)
      ? {
          readSync: (target: Uint8Array, at: number): void => {
            checkSourceRange(range, at, target.byteLength);
            inner.readSync(target, offset + at);
          },
        }
      : {}),
    ...(inner.peek === undefined
      ? {}
      : {
          peek: (at: number, byteLength: number): Uint8Array | undefined => {
            checkSourceRange(range, at, byteLength);
            return inner.peek?.(offset + at, byteLength);
          },
        }),
  };
  if (isStreamed(inner)) {
    const moved = (ranges: readonly ByteRange[]): ByteRange[] =>
      ranges.map(({ start, end }) => ({ start: start + offset, end: end + offset }));
    const streamed: StreamedSource = {
      ...sliced,
      checkStreaming: (ranges) => inner.checkStreaming(moved(ranges)),
      startStreaming: (ranges) => inner.startStreaming(moved(ranges)),
      checkEnd: (signal) => inner.checkEnd(signal),
      cancel: (reason) => inner.cancel(reason),
    };
    needsNoGuard(streamed);
    return streamed;
  }
  needsNoGuard(sliced);
  return sliced;
}
