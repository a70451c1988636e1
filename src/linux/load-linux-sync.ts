/** Any kernel, one synchronous call. */

import { planArm64Guest } from "../arm64/planner.js";
import { gunzipByPlatform } from "../decoders/zlib.js";
import { checkMachine } from "../machine/check-machine.js";
import { runSync } from "../task/run.js";
import { isPlaceTaken, planX86Guest } from "../x86/planner.js";
import { checkLoadOptions } from "./check-options.js";
import type { LinuxPlan } from "./linux-plan.js";
import type { LinuxGuest, LoadedLinux } from "./loaded-linux.js";
import type {
  ImporterOption,
  ImportLinuxSyncOptions,
  LoadLinuxSyncOptions,
  PlanLinuxSyncOptions,
} from "./options.js";
import { load, type Planner, planLoad } from "./prepare.js";

const planHere: Planner = {
  plan: (file, options, sources) =>
    file.format === "arm64-image"
      ? planArm64Guest(options, sources, file.image)
      : planX86Guest(options, sources, file),
  isPlaceTaken,
  // biome-ignore lint/correctness/useYield: a task that has nothing to wait for
  *machineCheck() {
    return checkMachine;
  },
  gunzip: gunzipByPlatform,
};

/**
 * Plans a load: reads the kernel's headers, places everything, checks that all of it lies in RAM and that nothing
 * collides. Guest memory is not touched.
 *
 * @throws DirectBootError with the code of what is wrong with the kernel, the placement or the options
 *
 * @example
 * ```ts
 * import { applyPlanSync, GuestMemory, planLinuxSync } from "directboot";
 *
 * const plan = planLinuxSync({ kernel: "vmlinuz", initrd: "initrd.img", memory: 256 * 1024 * 1024 });
 * console.log(plan.pages.map(({ tag }) => tag).includes("linux-initrd")); // true
 * const guests = [1, 2].map(() => GuestMemory.create(plan.layout));
 * for (const memory of guests) applyPlanSync(plan, memory);
 * plan.close();
 * ```
 */
export function planLinuxSync(options: PlanLinuxSyncOptions): LinuxPlan {
  checkLoadOptions(options);
  return runSync(planLoad(options, planHere));
}

/**
 * Loads a kernel into guest memory, or hands its pages and registers to an `importer` of the caller's.
 *
 * @param options with `crc32: true` each region of a guest memory has the CRC-32 of its data
 * @returns the memory, the registers to start the CPU with, and what lies where
 * @throws DirectBootError before guest memory is touched; after a source broke midway, every page that had been
 *   written is zero again
 *
 * @example
 * ```ts
 * import { loadLinuxSync } from "directboot";
 *
 * const guest = loadLinuxSync({ kernel: "vmlinuz", commandLine: "console=ttyS0", memory: 256 * 1024 * 1024 });
 * console.log(guest.entryMode, guest.info.kernel.entrypoint.toString(16)); // long64 1000200
 * ```
 */
export function loadLinuxSync(options: ImportLinuxSyncOptions): LoadedLinux;
export function loadLinuxSync(options: LoadLinuxSyncOptions): LinuxGuest;
export function loadLinuxSync(options: LoadLinuxSyncOptions & Partial<ImporterOption>): LoadedLinux {
  checkLoadOptions(options);
  return runSync(load(options, planHere));
}
