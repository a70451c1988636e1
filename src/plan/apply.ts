/**
 * Carries a plan out. Everything that the importer can refuse is asked of it before the first byte changes; only
 * a source that breaks midway can fail later, and then what was imported is taken back.
 */
import { describeForeign, hasMethods } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { type Checks, isFunction, isSignal, optional, options } from "../base/options.js";
import { callImporter } from "../importers/errors.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import type { ImageLoad, ImportTransaction, VpRegister } from "../importers/importer.js";
import { GuestMemory } from "../memory/guest-memory.js";
import type { MemoryClaim } from "../memory/memory-claim.js";
import { guardSource, toSyncSource } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { checkPlan, sourceOf, toLayout } from "./check.js";
import { failedMidway, importStep, refusalCode } from "./import-step.js";
import { dataLength, type LoadPlan, type PagesStep } from "./plan.js";
import { type OnProgress, ProgressCount } from "./progress.js";
import type { ReadingCount } from "./reading-count.js";
import { inStreamOrder } from "./stream-order.js";

/** Options of {@link applyPlanSync}. */
export interface ApplySyncOptions {
  /**
   * Told how far the load is: at the start, after each piece, and at the end. The phases are in docs/options.md. An error
   * that it throws ends the load.
   */
  readonly onProgress?: OnProgress | undefined;
}

/** Options of {@link applyPlan}. */
export interface ApplyOptions extends ApplySyncOptions {
  /** Aborts the load: what it had written is zero again. */
  readonly signal?: AbortSignal | undefined;
}

/** The checks of {@link ApplyOptions}. */
export const APPLY_OPTIONS: Checks<keyof ApplyOptions> = {
  onProgress: optional(isFunction),
  signal: optional(isSignal),
};

const checkApplyOptions = /* @__PURE__ */ options(APPLY_OPTIONS);

/** Options of {@link carryOut}. */
interface CarryOut extends ApplySyncOptions {
  /** The load's claim on the memory; taken and given back here, if there is none yet. */
  readonly claim?: MemoryClaim | undefined;
  /** Counts the inputs of the load. */
  readonly reading?: ReadingCount | undefined;
}

/** Throws PLAN_DOES_NOT_FIT_MEMORY unless all RAM that the plan was made for is RAM of the importer's. */
function checkFits<R extends VpRegister>(plan: LoadPlan<R>, importer: ImageLoad<R>): void {
  if (plan.layout === undefined || plan.layout === importer.layout) return;
  const planned = toLayout(plan.layout, "the layout of a plan");
  const layout = toLayout(importer.layout, "the layout of an importer");
  if (planned === undefined || layout === undefined) return;
  if (planned.ram.every(({ range }) => layout.isRam(range))) return;
  throw new DirectBootError(
    "PLAN_DOES_NOT_FIT_MEMORY",
    `the plan was made for RAM at ${planned}, the memory has RAM at ${layout}`,
  );
}

/** Asks the importer about every step, if it can be asked. */
function askImporter<R extends VpRegister>({ steps }: LoadPlan<R>, importer: ImageLoad<R>): void {
  for (const step of steps) {
    if (step.kind === "register") {
      const { name } = step.register;
      callImporter(() => importer.checkVpRegister?.(step.register), "IMPORTER", name);
    } else {
      const { pageBase, pageCount, tag, data } = step;
      callImporter(
        () => importer.checkPages?.(pageBase, pageCount, tag, dataLength(data)),
        refusalCode(data),
        tag,
      );
    }
  }
}

/** Throws SOURCE_NOT_SYNCHRONOUS if a step reads from a source that can't be read synchronously. */
function checkSynchronous({ steps, sources }: LoadPlan): void {
  for (const step of steps) {
    if (step.kind === "register" || step.data.kind !== "source" || step.data.length === 0) continue;
    toSyncSource(sourceOf(step.data, sources, step.tag));
  }
}

/** Everything that can be said against a load before its first step. */
function* check<R extends VpRegister>(plan: LoadPlan<R>, importer: ImageLoad<R>): Task<void> {
  checkPlan(plan, plan?.layout !== undefined || importer.checkPages !== undefined);
  checkFits(plan, importer);
  yield { runSync: () => checkSynchronous(plan), runAsync: async () => {} };
  askImporter(plan, importer);
}

/** Begins a load into the importer; its transaction, if it has any. */
function begin<R extends VpRegister>(
  importer: ImageLoad<R>,
  claim: MemoryClaim | undefined,
): ImportTransaction | undefined {
  if (importer instanceof GuestMemoryImporter) return importer.begin(claim);
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

/** Carries `plan` out in a memory that is claimed for it. */
export function* carryOut<R extends VpRegister>(
  plan: LoadPlan<R>,
  target: ImageLoad<R> | GuestMemory,
  given: CarryOut,
): Task<void> {
  const importer = importerInto(target);
  if (given.claim !== undefined || !(importer instanceof GuestMemoryImporter)) {
    yield* carryOutClaimed(plan, importer, given);
    return;
  }
  // Before anything else: whoever loads into one memory twice at once is told so, not that the pages are taken.
  const claim: MemoryClaim = importer.memory.claim();
  try {
    yield* carryOutClaimed(plan, importer, { ...given, claim });
  } finally {
    claim.release();
  }
}

function* carryOutClaimed<R extends VpRegister>(
  plan: LoadPlan<R>,
  importer: ImageLoad<R>,
  { onProgress, claim, reading }: CarryOut,
): Task<void> {
  yield* check(plan, importer);
  const total = plan.steps.reduce(
    (sum, step) => sum + (step.kind === "pages" ? dataLength(step.data) : 0),
    0,
  );
  const progress = onProgress === undefined ? undefined : new ProgressCount(onProgress, total);
  const guarded = plan.sources.map((source) => guardSource(source));
  const { steps, streams } = inStreamOrder(plan.steps, guarded);
  for (const { source, ranges } of streams) source.checkStreaming(ranges);
  const sources = progress === undefined ? guarded : guarded.map((source) => progress.counted(source));

  const transaction = begin(importer, claim);
  let current: PagesStep | undefined;
  try {
    progress?.report();
    for (const { source, ranges } of streams) source.startStreaming(ranges);
    for (const step of steps) {
      if (step.kind === "register") {
        callImporter(() => importer.importVpRegister(step.register), "IMPORTER", step.register.name);
        continue;
      }
      current = step;
      yield* importStep(step, sources, importer);
      current = undefined;
      progress?.stepDone(dataLength(step.data), step.data.kind === "source");
    }
    // Damage may show behind all that is loaded: in the trailer of a compressed file. No stream is read synchronously.
    for (const { source } of streams) {
      yield { runSync: () => {}, runAsync: (signal) => source.checkEnd(signal) };
    }
    reading?.end();
    progress?.report();
    if (importer instanceof GuestMemoryImporter) importer.memory.checkPresent();
  } catch (cause) {
    throw failedMidway(current, cause, transaction);
  } finally {
    // Whatever became of the load: nobody reads on.
    for (const { source } of streams) source.cancel();
  }
}

/** Throws TypeError for a target that keeps no registers, which OpenVMM's functions hand over. */
export function checkImporter(target: unknown): void {
  if (hasMethods(target, ["importPages", "importVpRegister"])) return;
  const cure = target instanceof GuestMemory ? "; make a GuestMemoryImporter of it" : "";
  throw new TypeError(
    `importer must have importPages and importVpRegister, got ${describeForeign(target, [GuestMemory])}${cure}`,
  );
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
  given: ApplySyncOptions = {},
): void {
  checkApplyOptions(given, "");
  runSync(carryOut(plan, target, given));
}

/**
 * Carries `plan` out asynchronously; throws as {@link applyPlanSync}, and ABORTED when `signal` says so.
 *
 * A stream is read in its own order, straight to guest memory: the steps that read from
 * it are carried out by their offsets in the file, whatever their order in the plan. The stream is used up and ended
 * then, also by a load that fails after it began. A gzip stream is read to its trailer before the load is over.
 *
 * @throws DirectBootError SOURCE_CONSUMED if a stream was used up by an earlier load, SOURCE_SPOOL_LIMIT if the plan
 *   reads too much of one twice; both before anything is imported
 */
export async function applyPlan<R extends VpRegister>(
  plan: LoadPlan<R>,
  target: ImageLoad<R> | GuestMemory,
  given: ApplyOptions = {},
): Promise<void> {
  checkApplyOptions(given, "");
  await runAsync(carryOut(plan, target, given), given.signal);
}
