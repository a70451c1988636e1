/** Any kernel, one asynchronous call. Code for one architecture is loaded when the kernel is known. */
import { runAsync } from "../task/run.js";
import { perform } from "../task/task.js";
import { checkLoadOptions } from "./check-options.js";
import type { LinuxPlan } from "./linux-plan.js";
import type { LinuxGuest, LoadedLinux } from "./loaded-linux.js";
import type { ImporterOption, ImportLinuxOptions, LoadLinuxOptions, PlanLinuxOptions } from "./options.js";
import { load, type Planner, planLoad } from "./prepare.js";

const refuse = (): never => {
  throw new TypeError("the synchronous driver has its planners at hand");
};

/** Loads the planner that the kernel needs, and no other. */
const planOnDemand: Planner = {
  *plan(file, options, sources) {
    if (file.format === "arm64-image") {
      const { planArm64Guest } = yield* perform(refuse, () => import("../arm64/planner.js"));
      return yield* planArm64Guest(options, sources, file.image);
    }
    const { planX86Guest } = yield* perform(refuse, () => import("../x86/planner.js"));
    return yield* planX86Guest(options, sources, file);
  },
  *isPlaceTaken(options, initrdBytes, image) {
    const { isPlaceTaken } = yield* perform(refuse, () => import("../x86/planner.js"));
    return yield* isPlaceTaken(options, initrdBytes, image);
  },
  *machineCheck() {
    return (yield* perform(refuse, () => import("../x86/planner.js"))).checkMachine;
  },
};

/**
 * The asynchronous {@link planLinuxSync}, for sources that can't be read synchronously. A plan that reads from a stream
 * can be applied once.
 *
 * @throws DirectBootError with the code of what is wrong with the kernel, the placement or the options; ABORTED
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { applyPlan, GuestMemory, planLinux } from "directboot";
 *
 * const kernel = new Blob([readFileSync("vmlinuz")]);
 * const plan = await planLinux({ kernel, memory: 256 * 1024 * 1024 });
 * const memory = GuestMemory.create(plan.layout);
 * await applyPlan(plan, memory);
 * plan.close();
 * ```
 */
export async function planLinux(options: PlanLinuxOptions): Promise<LinuxPlan> {
  checkLoadOptions(options);
  return await runAsync(planLoad(options, planOnDemand), options.signal);
}

/**
 * Loads a kernel into guest memory, or hands its pages and registers to an `importer` of the caller's. Kernel and initrd may
 * come from Blobs, Responses and streams, and are read while they arrive; `signal` aborts the load.
 *
 * @param options each is described, with an example, in [docs/options.md](../../docs/options.md)
 * @returns the memory, the registers to start the CPU with, and what lies where
 * @throws DirectBootError before guest memory is touched; after a source broke midway or the load was aborted, every page
 *   that had been written is zero again
 *
 * @example
 * ```ts
 * import { loadLinux } from "directboot";
 *
 * const guest = await loadLinux({
 *   kernel: "vmlinuz", // or new Blob(…), await fetch(…), a ReadableStream
 *   initrd: "initrd.img",
 *   commandLine: "console=ttyS0",
 *   memory: 256 * 1024 * 1024,
 *   signal: AbortSignal.timeout(60_000),
 * });
 * console.log(guest.architecture, guest.entryMode); // x86_64 long64
 * ```
 */
export function loadLinux(options: ImportLinuxOptions): Promise<LoadedLinux>;
export function loadLinux(options: LoadLinuxOptions): Promise<LinuxGuest>;
export async function loadLinux(options: LoadLinuxOptions & Partial<ImporterOption>): Promise<LoadedLinux> {
  checkLoadOptions(options);
  return await runAsync(load(options, planOnDemand), options.signal);
}
