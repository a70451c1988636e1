/**
 * Carries a plan out. Everything that the importer can refuse is asked of it before the first byte changes; only
 * a source that breaks midway can fail later, and then what was imported is taken back.
 */
import { PAGE_BYTES } from "../base/address.js";
import { describeForeign, describeType, hasMethods, messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { importChunks } from "../importers/chunk-buf.js";
import { callImporter, refusePromise, wrapImporterError, wrapSourceError } from "../importers/errors.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import type { ImageLoad, ImportTransaction, VpRegister } from "../importers/importer.js";
import { GuestMemory } from "../memory/guest-memory.js";
import type { MemoryClaim } from "../memory/memory-claim.js";
import { fill } from "../sources/reading.js";
import {
  type ByteRange,
  guardSource,
  isMade,
  isStreamed,
  isSyncSource,
  type MadeSource,
  needsNoGuard,
  type Source,
  type StreamedSource,
  toSyncSource,
} from "../sources/source.js";
import { abortedError, runAsync, runSync } from "../task/run.js";
import type { Step, Task } from "../task/task.js";
import { generate } from "../wasm/hot-paths.js";
import { checkPlan, OverlapCheck } from "./check.js";
import { dataLength, type LoadPlan, type PageData, type PagesStep, type PlanStep } from "./plan.js";

/** How far a load is. */
export interface LoadProgress {
  /** "decompress": while planning, the kernel is unpacked. "load": data goes to guest memory. */
  readonly phase: "load" | "decompress";
  /** Bytes of data imported, or unpacked, so far. */
  readonly loaded: number;
  /** Bytes of data in all; while decompressing what is known of it. */
  readonly total: number;
}

/** Options of {@link applyPlan} and {@link applyPlanSync}. */
export interface ApplyOptions {
  /** Called at the start, after each piece that was read, and at the end. What it throws ends the load. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

// Between two reports of progress; a read of this size costs as much a byte as one of the whole file.
const PROGRESS_BYTES = 8 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

/** What a callback of the caller's threw, on its way through code that would take it for a source's failure. */
class CallbackFailure {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    this.thrown = thrown;
  }
}

/** A source that reports what is read from it. */
function counted(source: Source, onRead: (byteLength: number) => void): Source {
  const { name, byteLength } = source;
  const pieces = function* (target: Uint8Array, offset: number): Task<void> {
    const { byteLength: total } = target;
    for (let done = 0; done < total; done += PROGRESS_BYTES) {
      // Between two pieces a callback or an await may have let the memory grow, which detaches its views.
      if (target.byteLength !== total) {
        throw new DirectBootError(
          "GUEST_MEMORY_DETACHED",
          `${name}: the buffer went away at byte ${done} of ${total}`,
        );
      }
      const piece = target.subarray(done, Math.min(done + PROGRESS_BYTES, total));
      yield* fill(source, piece, offset + done);
      onRead(piece.byteLength);
    }
  };
  const read = (target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> =>
    runAsync(pieces(target, offset), signal);
  const reporting: Source = {
    name,
    byteLength,
    read,
    ...(isSyncSource(source)
      ? { readSync: (target: Uint8Array, offset: number) => runSync(pieces(target, offset)) }
      : {}),
  };
  if (isMade(source)) {
    const made: MadeSource = {
      ...reporting,
      makeInto: (place) => source.makeInto(place, onRead),
    };
    needsNoGuard(made);
    return made;
  }
  needsNoGuard(reporting);
  return reporting;
}

/** The source of a step. Throws PLAN_INVALID if the plan has none of that number. */
function sourceOf(
  data: Extract<PageData, { kind: "source" }>,
  sources: readonly Source[],
  tag: string,
): Source {
  const source = sources[data.source];
  if (source === undefined) {
    throw new DirectBootError(
      "PLAN_INVALID",
      `${tag} comes from source ${data.source}, the plan has ${sources.length}`,
    );
  }
  return source;
}

/** Asks the importer about every step, if it can be asked, and looks for steps that overlap each other. */
function check<R extends VpRegister>(plan: LoadPlan<R>, importer: ImageLoad<R>, isSync: boolean): void {
  checkPlan(plan);
  for (const step of plan.steps) {
    if (step.kind === "register" || step.data.kind !== "source") continue;
    const source = sourceOf(step.data, plan.sources, step.tag);
    if (isSync && step.data.length > 0) toSyncSource(source);
  }
  const overlaps = new OverlapCheck();
  const registers = new Set<string>();
  for (const step of plan.steps) {
    if (step.kind === "register") {
      if (importer.checkVpRegister === undefined) continue;
      const { name } = step.register;
      if (registers.has(name)) {
        throw new DirectBootError("IMPORT_REGISTER_TWICE", `the plan sets register ${name} twice`);
      }
      registers.add(name);
      callImporter(() => importer.checkVpRegister?.(step.register), "IMPORTER", name);
    } else {
      if (importer.checkPages === undefined) continue;
      const { pageBase, pageCount, tag } = step;
      overlaps.add(step);
      callImporter(
        () => importer.checkPages?.(pageBase, pageCount, tag, dataLength(step.data)),
        refusalCode(step.data),
        tag,
      );
    }
  }
}

/** The upstream variant that an importer's refusal becomes. */
function refusalCode(data: PageData): "REGION_IMPORT_PAGES" | "IMPORTER" {
  return data.kind === "source" && data.chunked ? "REGION_IMPORT_PAGES" : "IMPORTER";
}

/** A buffer for all of a source, for importers that take it by one importPages only. */
function bufferOf(byteLength: number, tag: string): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new DirectBootError("SOURCE_TOO_LARGE", `${tag}: ${byteLength} bytes can't be held at once`, {
      cause,
      cure: "use an importer with importSource",
    });
  }
}

function* importPagesStep<R extends VpRegister>(
  step: PagesStep,
  sources: readonly Source[],
  importer: ImageLoad<R>,
): Task<void> {
  const { pageBase, pageCount, tag, acceptance, data } = step;
  const refused = refusalCode(data);
  switch (data.kind) {
    case "bytes":
      callImporter(
        () => importer.importPages(pageBase, pageCount, tag, acceptance, data.bytes),
        refused,
        tag,
      );
      return;
    case "identity-map": {
      if (importer.importIdentityMap !== undefined) {
        callImporter(
          () => importer.importIdentityMap?.(pageBase, pageCount, tag, acceptance, data.map),
          refused,
          tag,
        );
        return;
      }
      const tables = generate(pageCount * PAGE_BYTES, (hotPaths) => hotPaths.identityMap(0, data.map));
      callImporter(() => importer.importPages(pageBase, pageCount, tag, acceptance, tables), refused, tag);
      return;
    }
    case "source": {
      const source = sourceOf(data, sources, tag);
      const { offset, length, leadingBytes, chunked } = data;
      if (length > 0 && (importer.importSource ?? importer.importSourceAsync) !== undefined) {
        const place = [pageBase, pageCount, tag, acceptance] as const;
        const range = [offset, length, leadingBytes] as const;
        const importSync = (): void => {
          if (importer.importSource === undefined) {
            throw new DirectBootError("IMPORTER", `${tag}: the importer has no importSource`, {
              cure: "use the asynchronous function",
            });
          }
          const given: unknown = importer.importSource(...place, toSyncSource(source), ...range);
          refusePromise(given, refused, tag);
        };
        const effect: Step = {
          runSync: importSync,
          runAsync: async (signal) => {
            if (importer.importSourceAsync === undefined) importSync();
            else await importer.importSourceAsync(...place, source, ...range, signal);
          },
        };
        try {
          yield effect;
        } catch (cause) {
          throw cause instanceof CallbackFailure ? cause : wrapImporterError(refused, tag, cause);
        }
        return;
      }
      if (chunked) {
        const shape = { pageBase, pageCount, leadingBytes, offset, length };
        // A plan may have many small regions: no more is made for one than it has pages.
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, pageCount * PAGE_BYTES));
        yield* importChunks(buffer, importer, source, shape, tag, acceptance);
        return;
      }
      let bytes = source.peek?.(offset, length);
      if (bytes === undefined) {
        bytes = bufferOf(length, tag);
        yield* fill(source, bytes, offset);
      }
      const whole = bytes;
      callImporter(() => importer.importPages(pageBase, pageCount, tag, acceptance, whole), refused, tag);
    }
  }
}

/** A step that reads from a source. */
interface SourceStep extends PagesStep {
  readonly data: Extract<PageData, { kind: "source" }>;
}

/** A source that is read forwards once, and what the plan reads from it, in that order. */
interface StreamedReads {
  readonly source: StreamedSource;
  readonly ranges: readonly ByteRange[];
}

/**
 * The steps in the order in which they are carried out: those that read from one stream change places with each other,
 * so that its bytes are wanted in the order in which they arrive. All others stay where they are.
 */
function inStreamOrder<R extends VpRegister>(
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

/** What became of the pages that a load had written before it failed, for its message; "" if it could not take them back. */
function takenBack(transaction: ImportTransaction | undefined): string {
  if (transaction === undefined) return "";
  try {
    transaction.rollback();
    return "; every page that was written is zero again";
  } catch (cause) {
    const said = cause instanceof DirectBootError ? cause.details : messageOf(cause);
    return `; not every page that was written is zero again: ${said}`;
  }
}

/** What a step failed with midway, as the error of the step. */
function failedMidway(step: PagesStep, cause: unknown, after: string): unknown {
  if (!(cause instanceof DirectBootError)) return cause;
  if (cause.code === "ABORTED" && after !== "") {
    return withFate(cause, `${step.tag}: the load was aborted`, after);
  }
  // A region that was read in chunks has named its failure already, without what became of the pages.
  const isNamed = cause.code === "REGION_READ";
  const first = isNamed && cause.cause instanceof DirectBootError ? cause.cause : cause;
  const code = refusalCode(step.data) === "REGION_IMPORT_PAGES" ? "REGION_READ" : "SOURCE_READ";
  const named = wrapSourceError(code, step.tag, first, after);
  if (named !== first) return named;
  const isReading = first.code.startsWith("SOURCE_") || first.code.startsWith("DECOMPRESS_");
  // What the importer refused is no failure of reading.
  if (!isReading) return after === "" ? first : withFate(first, first.details, after);
  return withFate(first, `${step.tag}: reading failed midway: ${first.details}`, after);
}

/** The same code and cure, saying what became of the pages. */
function withFate(cause: DirectBootError, details: string, after: string): DirectBootError {
  // The reason of the signal is the cause, at whatever depth it was seen.
  const underneath = cause.code === "ABORTED" ? cause.cause : cause;
  return new DirectBootError(cause.code, `${details}${after}`, { cause: underneath, cure: cause.cure });
}

/** A transaction of a caller's importer, if it has any. */
function begun<R extends VpRegister>(importer: ImageLoad<R>): ImportTransaction | undefined {
  let transaction: ImportTransaction | undefined;
  callImporter(
    () => {
      transaction = importer.begin?.();
      return transaction;
    },
    "IMPORTER",
    "begin",
  );
  return transaction;
}

/** What stands behind all that is loaded may say that it is damaged: the trailer of a compressed file. */
function checkEnd(source: StreamedSource): Step {
  // A stream is never read synchronously.
  return { runSync: () => {}, runAsync: (signal) => source.checkEnd(signal) };
}

function* carryOut<R extends VpRegister>(
  plan: LoadPlan<R>,
  importer: ImageLoad<R>,
  options: ApplyOptions,
  isSync: boolean,
): Task<void> {
  if (!(importer instanceof GuestMemoryImporter)) {
    yield* carryOutClaimed(plan, importer, options, isSync, () => begun(importer));
    return;
  }
  // Before anything else: whoever loads into one memory twice at once is told so, not that the pages are taken.
  const claim: MemoryClaim = importer.memory.claim();
  try {
    yield* carryOutClaimed(plan, importer, options, isSync, () => importer.begin(claim));
  } finally {
    claim.release();
  }
}

function* carryOutClaimed<R extends VpRegister>(
  plan: LoadPlan<R>,
  importer: ImageLoad<R>,
  options: ApplyOptions,
  isSync: boolean,
  begin: () => ImportTransaction | undefined,
): Task<void> {
  check(plan, importer, isSync);
  const { onProgress } = options;
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw new TypeError(`onProgress must be a function, got ${describeType(onProgress)}`);
  }
  const total = plan.steps.reduce(
    (sum, step) => sum + (step.kind === "pages" ? dataLength(step.data) : 0),
    0,
  );
  let before = 0;
  let within = 0;
  const report = (): void => {
    try {
      onProgress?.({ phase: "load", loaded: before + within, total });
    } catch (thrown) {
      throw new CallbackFailure(thrown);
    }
  };
  const guarded = plan.sources.map((source) => guardSource(source));
  const { steps, streams } = inStreamOrder(plan.steps, guarded);
  for (const { source, ranges } of streams) source.checkStreaming(ranges);
  const sources =
    onProgress === undefined
      ? guarded
      : guarded.map((source) =>
          counted(source, (byteLength) => {
            within += byteLength;
            report();
          }),
        );

  const transaction = begin();
  let current: PagesStep | undefined;
  try {
    report();
    for (const { source, ranges } of streams) source.startStreaming(ranges);
    for (const step of steps) {
      if (step.kind === "register") {
        callImporter(() => importer.importVpRegister(step.register), "IMPORTER", step.register.name);
        continue;
      }
      current = step;
      yield* importPagesStep(step, sources, importer);
      current = undefined;
      before += dataLength(step.data);
      within = 0;
      if (onProgress !== undefined && step.data.kind !== "source") report();
    }
    for (const { source } of streams) yield checkEnd(source);
    report();
    if (importer instanceof GuestMemoryImporter) importer.memory.checkPresent();
  } catch (cause) {
    const after = takenBack(transaction);
    if (cause instanceof CallbackFailure) throw cause.thrown;
    if (current !== undefined) throw failedMidway(current, cause, after);
    throw cause instanceof DirectBootError && after !== "" ? withFate(cause, cause.details, after) : cause;
  } finally {
    // Whatever became of the load: nobody reads on.
    for (const { source } of streams) source.cancel();
  }
}

/** The importer of a load: what the caller gave, or one into the guest memory that the caller gave. TypeError if it is neither. */
function importerInto<R extends VpRegister>(target: ImageLoad<R> | GuestMemory): ImageLoad<R> {
  if (target instanceof GuestMemory) return new GuestMemoryImporter<R>(target);
  // Before anything is imported: registers come last.
  if (!hasMethods(target, ["importPages", "importVpRegister"])) {
    throw new TypeError(
      `target must be a GuestMemory or an importer, with importPages and importVpRegister, got ${describeForeign(target, [GuestMemory])}`,
    );
  }
  return target;
}

/**
 * Carries `plan` out synchronously, into an importer or straight into guest memory.
 *
 * @throws DirectBootError what the importer refuses (before anything is imported, if it has checkPages);
 *   SOURCE_NOT_SYNCHRONOUS; REGION_READ or SOURCE_READ if a source breaks midway, after taking back what was
 *   imported (if the importer has begin)
 *
 * @example
 * ```ts
 * import { applyPlanSync, planLinuxSync, RecordingImporter } from "directboot";
 *
 * const plan = planLinuxSync({ kernel: "vmlinuz", memory: 64 * 1024 * 1024 });
 * const recorder = new RecordingImporter();
 * applyPlanSync(plan, recorder);
 * plan.close();
 * console.log(recorder.calls[0]?.op); // pages
 * ```
 */
export function applyPlanSync<R extends VpRegister>(
  plan: LoadPlan<R>,
  target: ImageLoad<R> | GuestMemory,
  options: ApplyOptions = {},
): void {
  runSync(carryOut(plan, importerInto(target), options, true));
}

/**
 * Carries `plan` out asynchronously; throws as {@link applyPlanSync}, and ABORTED when `signal` says so.
 *
 * What a plan reads from a stream is read in the order of the stream, straight to its place: the steps that read from
 * it are carried out by their offsets in the file, whatever their order in the plan. The stream is used up and ended
 * then, also by a load that fails after it began. A gzip stream is read to its trailer before the load is over.
 *
 * @throws DirectBootError SOURCE_CONSUMED if a stream was used up by an earlier load, SOURCE_SPOOL_LIMIT if the plan
 *   reads too much of one twice; both before anything is imported
 */
export async function applyPlan<R extends VpRegister>(
  plan: LoadPlan<R>,
  target: ImageLoad<R> | GuestMemory,
  options: ApplyOptions & { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  if (signal?.aborted) throw abortedError("the load", signal);
  await runAsync(carryOut(plan, importerInto(target), options, false), signal);
}
