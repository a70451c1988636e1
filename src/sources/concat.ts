/** Several sources behind each other, as Linux takes several initramfs archives. */
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import {
  type ByteRange,
  checkSourceRange,
  checkTarget,
  guardSource,
  isStreamed,
  isSyncSource,
  knownLength,
  needsNoGuard,
  type Source,
  type StreamedSource,
  toSyncSource,
} from "./source.js";

/**
 * A compressed archive inside an initramfs starts at a multiple of so many bytes
 * (Documentation/driver-api/early-userspace/buffer-format.rst: cpio headers are aligned to 4; zeros may lie between).
 */
export const INITRAMFS_ALIGNMENT = 4;

interface Part {
  readonly source: Source;
  readonly start: number;
  readonly end: number;
}

/** A stretch of a read: of a part, or of the zeros behind it. */
interface Stretch {
  readonly source: Source | undefined;
  /** Where it starts in the source. */
  readonly offset: number;
  /** Where it starts in the read. */
  readonly done: number;
  readonly length: number;
}

/** The pieces of `[offset, offset + length)` of the whole. */
function* stretches(parts: readonly Part[], offset: number, length: number): Generator<Stretch, void, void> {
  let done = 0;
  for (const { source, start, end } of parts) {
    if (done === length) return;
    const at = offset + done;
    if (at >= end) continue;
    if (at < start) {
      const zeros = Math.min(start - at, length - done);
      yield { source: undefined, offset: 0, done, length: zeros };
      done += zeros;
      if (done === length) return;
    }
    const own = Math.min(end - offset - done, length - done);
    yield { source, offset: offset + done - start, done, length: own };
    done += own;
  }
}

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
  const parts: Part[] = [];
  let byteLength = 0;
  for (const each of sources) {
    const source = guardSource(each);
    const start = Math.ceil(byteLength / alignment) * alignment;
    byteLength = start + knownLength(source);
    if (!Number.isSafeInteger(byteLength)) {
      throw new DirectBootError("SOURCE_TOO_LARGE", `${name}: together they pass 2^53 bytes`);
    }
    parts.push({ source, start, end: byteLength });
  }
  const range = { name, byteLength };
  const whole: Source = {
    ...range,
    read: async (target, offset, signal) => {
      const { byteLength: length } = target;
      checkSourceRange(range, offset, length);
      for (const stretch of stretches(parts, offset, length)) {
        checkTarget(name, target, length);
        const piece = target.subarray(stretch.done, stretch.done + stretch.length);
        if (stretch.source === undefined) piece.fill(0);
        else await stretch.source.read(piece, stretch.offset, signal);
      }
    },
    ...(parts.every(({ source }) => isSyncSource(source))
      ? {
          readSync: (target: Uint8Array, offset: number): void => {
            checkSourceRange(range, offset, target.byteLength);
            for (const { source, offset: at, done, length } of stretches(parts, offset, target.byteLength)) {
              const piece = target.subarray(done, done + length);
              if (source === undefined) piece.fill(0);
              else toSyncSource(source).readSync(piece, at);
            }
          },
        }
      : {}),
    peek: (offset, length) => {
      checkSourceRange(range, offset, length);
      const [first] = stretches(parts, offset, length);
      if (first === undefined || first.length < length) return undefined;
      return first.source?.peek?.(first.offset, length);
    },
  };
  needsNoGuard(whole);
  const streamed = parts.flatMap((part) =>
    isStreamed(part.source) ? [{ ...part, source: part.source }] : [],
  );
  if (streamed.length === 0) return whole;
  const within = (ranges: readonly ByteRange[], { start, end }: Part): ByteRange[] =>
    ranges.flatMap((each) => {
      const own = { start: Math.max(each.start, start) - start, end: Math.min(each.end, end) - start };
      return own.start < own.end ? [own] : [];
    });
  const forwards: StreamedSource = {
    ...whole,
    checkStreaming: (ranges) => {
      for (const part of streamed) part.source.checkStreaming(within(ranges, part));
    },
    startStreaming: (ranges) => {
      for (const part of streamed) part.source.startStreaming(within(ranges, part));
    },
    checkEnd: async (signal) => {
      for (const { source } of streamed) await source.checkEnd(signal);
    },
    cancel: (reason) => {
      for (const { source } of streamed) source.cancel(reason);
    },
  };
  needsNoGuard(forwards);
  return forwards;
}
