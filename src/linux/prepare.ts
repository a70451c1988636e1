/** The steps of a load before it touches memory: open the inputs, find the kernel in its file, plan. */

import { toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { ImportedRegion } from "../importers/guest-memory-importer.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import { ramSizeOf } from "../memory/memory-input.js";
import type { GuestSources, PlannedGuest } from "../plan/planned-guest.js";
import { concatSources } from "../sources/concat.js";
import { type OpenSource, openSource } from "../sources/open.js";
import { withKnownLength } from "../sources/reading.js";
import type { AsyncByteInput, Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { plainInitrds } from "../unpack/initrd.js";
import { isLengthNeeded, type KernelFile, openKernelFile } from "../unpack/kernel-file.js";
import { Unpacking, type UnpackingOptions } from "../unpack/unpacking.js";
import { LinuxPlan } from "./linux-plan.js";
import type { PlanLinuxOptions } from "./options.js";

/** A plan, and the guest memory that the caller gave, if any. */
export interface Prepared {
  readonly plan: LinuxPlan;
  readonly memory: GuestMemory | undefined;
}

/** Plans with the planner of the kernel's architecture, which may be loaded on demand. */
export type Planner = (
  file: KernelFile,
  options: PlanLinuxOptions,
  sources: GuestSources,
) => Task<PlannedGuest>;

const X86_OPTIONS = [
  "acpi",
  "mtrrs",
  "physicalAddressWidth",
  "entry",
  "reservations",
  "rngSeed",
] as const satisfies readonly (keyof PlanLinuxOptions)[];

/** Throws OPTION_NOT_FOR_ARCHITECTURE for options that the kernel's architecture does not have. */
function checkArchitecture(options: PlanLinuxOptions, isArm64: boolean, kernel: string): void {
  let foreign: string | undefined = (isArm64 ? X86_OPTIONS : (["arm64"] as const)).find(
    (name) => options[name] !== undefined,
  );
  if (isArm64 && foreign === undefined) {
    const { initrd: _, ...rest } = options.addresses ?? {};
    const [address] = Object.entries(rest).find(([, value]) => value !== undefined) ?? [];
    foreign = address === undefined ? undefined : `addresses.${address}`;
  }
  if (foreign === undefined) return;
  throw new DirectBootError(
    "OPTION_NOT_FOR_ARCHITECTURE",
    `${foreign}, but ${kernel} is for ${isArm64 ? "arm64" : "x86"}`,
  );
}

/** Opens the inputs, looks into the kernel's file, and plans with what it finds. */
export function* prepare(options: PlanLinuxOptions, plan: Planner): Task<Prepared> {
  const { initrds, close: closeInputs, ...inputs } = open(options);
  const { spoolLimit } = options;
  let unpacking: Unpacking | undefined;
  const close = (): void => {
    unpacking?.close();
    closeInputs();
  };
  try {
    unpacking = new Unpacking(unpackingOptions(options));
    // The kernel is told where these end.
    const whole: Source[] = [];
    for (const initrd of initrds) whole.push(yield* withKnownLength(initrd, spoolLimit));
    const { deviceTree, acpi } = inputs;
    const sources = {
      deviceTree: deviceTree === undefined ? undefined : yield* withKnownLength(deviceTree, spoolLimit),
      acpi:
        acpi === undefined
          ? undefined
          : {
              rsdp: yield* withKnownLength(acpi.rsdp, spoolLimit),
              tables: yield* withKnownLength(acpi.tables, spoolLimit),
            },
    };
    const file = yield* openKernelFile(inputs.kernel, unpacking);
    const { decompression } = file;
    checkArchitecture(options, file.format === "arm64-image", inputs.kernel.name);
    const kernel = isLengthNeeded(file) ? yield* withKnownLength(file.source, spoolLimit) : file.source;
    const plain = options.decompressInitrd === true ? yield* plainInitrds(whole, unpacking) : whole;
    const planned = yield* plan(file, options, { ...sources, kernel, initrd: oneInitrd(plain) });
    const { memory, ...parts } = planned;
    return { plan: new LinuxPlan({ ...parts, decompression }, close), memory };
  } catch (cause) {
    close();
    throw cause;
  }
}

/** The inputs, opened. */
interface Opened {
  readonly kernel: Source;
  readonly initrds: readonly Source[];
  readonly deviceTree: Source | undefined;
  readonly acpi: GuestSources["acpi"];
  readonly close: () => void;
}

/** Opens the inputs; closes them again if one can't be opened. */
function open(options: PlanLinuxOptions): Opened {
  const closers: OpenSource["close"][] = [];
  const close = (): void => {
    for (const each of closers.splice(0)) each();
  };
  const { spoolLimit } = options;
  const opened = (input: AsyncByteInput, name: string): Source => {
    const { source, close: closeOne } = openSource(input, name, { spoolLimit });
    closers.push(closeOne);
    return source;
  };
  try {
    const { initrd, deviceTree, acpi } = options;
    const inputs: readonly AsyncByteInput[] = Array.isArray(initrd)
      ? initrd
      : initrd === undefined
        ? []
        : [initrd];
    return {
      kernel: opened(options.kernel, "kernel"),
      initrds: inputs.map((input, index) =>
        opened(input, inputs.length === 1 ? "initrd" : `initrd ${index}`),
      ),
      deviceTree: deviceTree === undefined ? undefined : opened(deviceTree, "device tree"),
      acpi:
        acpi === undefined
          ? undefined
          : { rsdp: opened(acpi.rsdp, "acpi.rsdp"), tables: opened(acpi.tables, "acpi.tables") },
      close,
    };
  } catch (cause) {
    close();
    throw cause;
  }
}

/** All archives as one. Throws SOURCE_EMPTY if one is empty. */
function oneInitrd(initrds: readonly Source[]): Source | undefined {
  for (const { name, byteLength } of initrds) {
    if (byteLength === 0) {
      throw new DirectBootError("SOURCE_EMPTY", `${name} has 0 bytes`, {
        cure: "leave the initrd out, or give one with at least one byte",
      });
    }
  }
  const [first, ...others] = initrds;
  return others.length === 0 ? first : concatSources(initrds);
}

/** How many bytes a compressed kernel may have. */
function mostDecompressed({ maxDecompressedSize, memory }: PlanLinuxOptions): number {
  const most =
    maxDecompressedSize === undefined
      ? ramSizeOf(memory)
      : toAddress(maxDecompressedSize, "maxDecompressedSize");
  return most > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(most);
}

/** How compressed input is undone. */
function unpackingOptions(options: PlanLinuxOptions): UnpackingOptions {
  const { addresses, decoders, decompress, decompressInto, entry, onProgress, spoolLimit } = options;
  return {
    decoders,
    maxDecompressedSize: mostDecompressed(options),
    decompress,
    entry,
    hasKernelAddress: addresses?.kernel !== undefined,
    inPlace: decompressInto !== "buffer",
    spoolLimit,
    onProgress: onProgress && ((progress) => onProgress({ phase: "decompress", ...progress })),
  };
}

/** The regions of a plan, for importers that keep no record. */
export function plannedRegions(plan: LinuxPlan): ImportedRegion[] {
  return plan.pages.map(({ range, tag, acceptance, dataLength }) => ({ range, tag, acceptance, dataLength }));
}
