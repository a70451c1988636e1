/** Any kernel, one asynchronous call. What only one architecture needs is loaded when the kernel is known. */
import { DETECT_BYTES, detectFormat } from "../images/detect.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import type { VpRegister } from "../importers/importer.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { claimMemory } from "../memory/memory-input.js";
import { carryOut } from "../plan/apply.js";
import { gunzipSource } from "../sources/gzip.js";
import { readHead } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import { type StreamSource, spoolIfUnknown } from "../sources/stream.js";
import { runAsync } from "../task/run.js";
import { perform } from "../task/task.js";
import { type Decoders, loadDecoders } from "../unpack/decoding.js";
import { checkLoadOptions } from "./check-options.js";
import type { LinuxPlan } from "./linux-plan.js";
import { LinuxGuest, LoadedLinux } from "./loaded-linux.js";
import type { ImporterOption, ImportLinuxOptions, LoadLinuxOptions, PlanLinuxOptions } from "./options.js";
import {
  type Inputs,
  mostDecompressed,
  open,
  type Planners,
  type Prepared,
  plannedRegions,
  prepare,
  unpackingOf,
} from "./prepare.js";

const refuse = (): never => {
  throw new TypeError("the synchronous driver has its planners at hand");
};

const ON_DEMAND: Planners = {
  x86: () => perform(refuse, async () => (await import("../x86/planner.js")).planX86Guest),
  arm64: () => perform(refuse, async () => (await import("../arm64/planner.js")).planArm64Guest),
};

/** The decoders, if the kernel or the initrds may need them: a file of their own. */
async function decodersFor(
  options: PlanLinuxOptions,
  kernel: Source,
  signal: AbortSignal | undefined,
): Promise<Decoders | undefined> {
  if (options.decoders !== undefined) return options.decoders;
  if (options.decompressInitrd !== true) {
    const format = detectFormat(await runAsync(readHead(kernel, DETECT_BYTES), signal));
    if (format === "elf64" || format === "elf32" || format === "arm64-image") return undefined;
    if (format === "bzImage" && options.decompress === "guest") return undefined;
  }
  return await loadDecoders();
}

async function prepareAsync(options: PlanLinuxOptions, signal: AbortSignal | undefined): Promise<Prepared> {
  const { close: closeInputs, kernel, initrds, deviceTree, acpi } = open(options);
  const unpacked: StreamSource[] = [];
  const close = (): void => {
    for (const each of unpacked.splice(0)) each.cancel();
    closeInputs();
  };
  try {
    const { spoolLimit } = options;
    // What the kernel is told of by its length must be there before.
    const whole = (source: Source): Promise<Source> => spoolIfUnknown(source, spoolLimit, signal);
    const known: Source[] = [];
    for (const initrd of initrds) known.push(await whole(initrd));
    const inputs: Inputs = {
      kernel,
      initrds: known,
      deviceTree: deviceTree === undefined ? undefined : await whole(deviceTree),
      acpi:
        acpi === undefined ? undefined : { rsdp: await whole(acpi.rsdp), tables: await whole(acpi.tables) },
    };
    const maximumBytes = mostDecompressed(options);
    const gunzip = (source: Source): Source => {
      const stream = gunzipSource(source, { maximumBytes, spoolLimit });
      unpacked.push(stream);
      return stream;
    };
    const decoders = await decodersFor(options, kernel, signal);
    const unpacking = unpackingOf(options, gunzip, decoders);
    return await runAsync(prepare(options, inputs, unpacking, ON_DEMAND, close), signal);
  } catch (cause) {
    close();
    throw cause;
  }
}

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
  return (await prepareAsync(options, options.signal)).plan;
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
  const { signal } = options;
  const { memory: input, claim } = claimMemory(options.memory);
  try {
    const { plan, memory } = await prepareAsync({ ...options, memory: input }, signal);
    const carried = { ...options, isSync: false, claim };
    try {
      if (options.importer !== undefined) {
        await runAsync(carryOut<VpRegister>(plan, options.importer, carried), signal);
        return new LoadedLinux(plan, plannedRegions(plan));
      }
      const importer = new GuestMemoryImporter(memory ?? GuestMemory.create(plan.layout), options);
      await runAsync(carryOut(plan, importer, carried), signal);
      return new LinuxGuest(importer, plan);
    } finally {
      plan.close();
    }
  } finally {
    claim?.release();
  }
}
