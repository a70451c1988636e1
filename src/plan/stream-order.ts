/** Plans that read from streams, whose bytes arrive once and in order. */
import type { VpRegister } from "../importers/importer.js";
import { type ByteRange, isStreamed, type Source, type StreamedSource } from "../sources/source.js";
import type { PageData, PagesStep, PlanStep } from "./plan.js";

/** A step that reads from a source. */
interface SourceStep extends PagesStep {
  readonly data: Extract<PageData, { kind: "source" }>;
}

/** A source that is read forwards once, and the ranges that a plan reads from it, in that order. */
export interface StreamedReads {
  readonly source: StreamedSource;
  readonly ranges: readonly ByteRange[];
}

/**
 * The steps in the order in which they are carried out: those that read from one stream change places with each other,
 * so that its bytes are wanted in the order in which they arrive. All others stay where they are.
 */
export function inStreamOrder<R extends VpRegister>(
  steps: readonly PlanStep<R>[],
  sources: readonly Source[],
): { steps: readonly PlanStep<R>[]; streams: readonly StreamedReads[] } {
  const reads = new Map<StreamedSource, { at: number; step: SourceStep }[]>();
  steps.forEach((step, at) => {
    if (step.kind !== "pages" || step.data.kind !== "source" || step.data.length === 0) return;
    const source = sources[step.data.source];
    if (source === undefined || !isStreamed(source)) return;
    const own = reads.get(source) ?? [];
    own.push({ at, step: { ...step, data: step.data } });
    reads.set(source, own);
  });
  if (reads.size === 0) return { steps, streams: [] };
  const ordered = [...steps];
  const streams: StreamedReads[] = [];
  for (const [source, own] of reads) {
    const sorted = own.map(({ step }) => step).sort((a, b) => a.data.offset - b.data.offset);
    own.forEach(({ at }, index) => {
      const step = sorted[index];
      if (step !== undefined) ordered[at] = step;
    });
    const ranges = sorted.map(({ data: { offset, length } }) => ({ start: offset, end: offset + length }));
    streams.push({ source, ranges });
  }
  return { steps: ordered, streams };
}
