/** A plan as data that can be posted to another thread: its files are read before, or opened again where it arrives. */
import { DirectBootError } from "../base/errors.js";
import { oneOf, options } from "../base/options.js";
import type { LoadPlan, PlanStep } from "../plan/plan.js";
import { BlobSource } from "../sources/blob.js";
import { FileSource } from "../sources/file.js";
import type { BlobLike } from "../sources/platform-shapes.js";
import { fill } from "../sources/reading.js";
import { type ByteRange, guardSource, isStreamed, type Source } from "../sources/source.js";
import { piecesOf } from "../sources/views.js";
import type { Task } from "../task/task.js";

/** Where a plan's files are read. */
export interface TransferOptions {
  /**
   * "here": now, what the plan needs of them. "there": where the plan arrives, which opens paths, file: URLs and Blobs
   * again; bytes in memory are sent along.
   */
  readonly read: "here" | "there";
}

/** A source that travels. */
export type TravellingSource = { readonly name: string; readonly byteLength: number } & (
  | { readonly kind: "bytes"; readonly start: number; readonly bytes: Uint8Array }
  | { readonly kind: "file"; readonly file: string; readonly isUrl: boolean }
  | { readonly kind: "blob"; readonly blob: BlobLike }
  | {
      readonly kind: "view";
      readonly pieces: readonly (ByteRange & { readonly from: number; readonly source: TravellingSource })[];
    }
);

export const checkTransferOptions = options({ read: oneOf("here", "there") });

/** What the steps read of each source, as one range. */
function rangesOf({ steps, sources }: LoadPlan): ByteRange[] {
  const ranges = sources.map(() => ({ start: Number.POSITIVE_INFINITY, end: 0 }));
  for (const step of steps) {
    const range = step.kind === "pages" && step.data.kind === "source" && ranges[step.data.source];
    if (!range || step.kind !== "pages" || step.data.kind !== "source") continue;
    range.start = Math.min(range.start, step.data.offset);
    range.end = Math.max(range.end, step.data.offset + step.data.length);
  }
  return ranges.map(({ start, end }) => ({ start: Math.min(start, end), end }));
}

/** Bytes of a source, in a buffer that can be handed on; shared memory is sent as it is. */
function* bytesOf(source: Source, { start, end }: ByteRange, transfer: ArrayBuffer[]): Task<Uint8Array> {
  const known = source.peek?.(start, end - start);
  if (known !== undefined && !(known.buffer instanceof ArrayBuffer)) return known;
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(end - start);
  } catch (cause) {
    const message = `${source.name}: ${end - start} bytes can't be held at once`;
    throw new DirectBootError("SOURCE_TOO_LARGE", message, { cause });
  }
  const stream = isStreamed(source) ? source : undefined;
  stream?.startStreaming([{ start, end }]);
  yield* fill(source, bytes, start);
  if (stream !== undefined) {
    yield { runSync: () => {}, runAsync: (signal) => stream.checkEnd(signal) };
    stream.cancel();
  }
  transfer.push(bytes.buffer);
  return bytes;
}

function* pack(
  given: Source,
  range: ByteRange,
  isHere: boolean,
  transfer: ArrayBuffer[],
): Task<TravellingSource> {
  const source = guardSource(given);
  const { name, byteLength, peek } = source;
  const pieces = piecesOf.get(source);
  if (!isHere && pieces !== undefined) {
    const packed = [];
    for (const { source: inner, from, start, end } of pieces) {
      const own = { start: from, end: from + end - start };
      packed.push({ from, start, end, source: yield* pack(inner, own, isHere, transfer) });
    }
    return { kind: "view", name, byteLength, pieces: packed };
  }
  if (!isHere && source instanceof FileSource && source.path !== undefined) {
    return { kind: "file", name, byteLength, file: `${source.path}`, isUrl: source.path instanceof URL };
  }
  if (!isHere && source instanceof BlobSource) return { kind: "blob", name, byteLength, blob: source.blob };
  if (!isHere && peek === undefined) {
    throw new DirectBootError(
      "PLAN_NOT_TRANSFERABLE",
      `${name} can't be opened again elsewhere: it is no path, file: URL, Blob or bytes in memory`,
    );
  }
  return {
    kind: "bytes",
    name,
    byteLength,
    start: range.start,
    bytes: yield* bytesOf(source, range, transfer),
  };
}

/** The steps and sources of a plan, and the buffers that can be handed on. */
export function* packPlan(
  plan: LoadPlan,
  { read }: TransferOptions,
): Task<{ steps: PlanStep[]; sources: TravellingSource[]; transfer: ArrayBuffer[] }> {
  const transfer: ArrayBuffer[] = [];
  const ranges = rangesOf(plan);
  const sources: TravellingSource[] = [];
  for (const [index, source] of plan.sources.entries()) {
    const range = ranges[index] ?? { start: 0, end: 0 };
    sources.push(yield* pack(source, range, read === "here", transfer));
  }
  // A view would take all of its buffer along.
  const steps = plan.steps.map(
    (step): PlanStep =>
      step.kind === "pages" && step.data.kind === "bytes"
        ? { ...step, data: { kind: "bytes", bytes: step.data.bytes.slice() } }
        : step,
  );
  return { steps, sources, transfer };
}
