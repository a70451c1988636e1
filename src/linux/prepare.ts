/** The steps of a load: open the inputs, find the kernel in its file, plan, and carry the plan out. */

import { toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { BzImage } from "../images/bzimage.js";
import { GuestMemoryImporter } from "../importers/guest-memory-importer.js";
import type { VpRegister } from "../importers/importer.js";
import type { MachineDescription } from "../machine/description.js";
import { GuestMemory } from "../memory/guest-memory.js";
import { claimMemory, ramSizeOf } from "../memory/memory-input.js";
import { carryOut } from "../plan/apply.js";
import type { GuestArchitecture, GuestSources, PlannedGuest } from "../plan/planned-guest.js";
import { counting, type ReadingCount } from "../plan/reading-count.js";
import { openSource } from "../sources/open.js";
import { withKnownLength } from "../sources/reading.js";
import type { AsyncByteInput, Source } from "../sources/source.js";
import { concatSources } from "../sources/views.js";
import type { Task } from "../task/task.js";
import { plainInitrds } from "../unpack/initrd.js";
import { isLengthNeeded, type KernelFile, openKernelFile } from "../unpack/kernel-file.js";
import { Unpacking, type UnpackingOptions } from "../unpack/unpacking.js";
import { LinuxPlan } from "./linux-plan.js";
import { LinuxGuest, LoadedLinux } from "./loaded-linux.js";
import type { ImporterOption, LoadLinuxOptions, PlanLinuxOptions } from "./options.js";

/** The planners of all architectures, which may be loaded on demand. */
export interface Planner extends Pick<UnpackingOptions, "gunzip"> {
  /** Plans with the one of the kernel's architecture. */
  plan(file: KernelFile, options: PlanLinuxOptions, sources: GuestSources): Task<PlannedGuest>;
  /** True if a bzImage's kernel must lie elsewhere than where it is linked; `initrdBytes` at most are the initrd's. */
  isPlaceTaken(options: PlanLinuxOptions, initrdBytes: number, image: BzImage): Task<boolean>;
  /** The check of a machine's description, which a load without one does not need. */
  machineCheck(): Task<(machine: MachineDescription) => void>;
}

const X86_OPTIONS = [
  "acpi",
  "machine",
  "mtrrs",
  "physicalAddressWidth",
  "entry",
  "reservations",
] as const satisfies readonly (keyof PlanLinuxOptions)[];

function wrongArchitecture(kernel: string, found: string, wanted: GuestArchitecture): DirectBootError {
  return new DirectBootError(
    "ARCHITECTURE_MISMATCH",
    `${kernel} is for ${found}, the option architecture says ${wanted}`,
  );
}

/** Throws ARCHITECTURE_MISMATCH, and OPTION_NOT_FOR_ARCHITECTURE for options that the kernel's architecture does not have. */
function checkArchitecture(options: PlanLinuxOptions, isArm64: boolean, kernel: string): void {
  const { architecture } = options;
  if (architecture !== undefined && (architecture === "aarch64") !== isArm64) {
    throw wrongArchitecture(kernel, isArm64 ? "arm64" : "x86", architecture);
  }
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
    `the option ${foreign} was given, but ${kernel} is for ${isArm64 ? "arm64" : "x86"}`,
  );
}

/** Plans a load. */
export function* planLoad(options: PlanLinuxOptions, planner: Planner): Task<LinuxPlan> {
  return yield* counting(options.onProgress, function* (reading) {
    return (yield* prepare(options, planner, reading)).plan;
  });
}

/** Opens the inputs, looks into the kernel's file, and plans with what it finds; also gives the caller's memory, if any. */
function* prepare(
  options: PlanLinuxOptions,
  planner: Planner,
  reading: ReadingCount | undefined,
): Task<{ plan: LinuxPlan; memory: GuestMemory | undefined }> {
  const { initrd, deviceTree, acpi, machine, spoolLimit } = options;
  if (machine !== undefined) (yield* planner.machineCheck())(machine);
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const each of closers.splice(0)) each();
  };
  const opened = (input: AsyncByteInput, name: string): Source => {
    const { source, close: closeOne } = openSource(input, name, { spoolLimit });
    closers.push(closeOne);
    reading?.add(source);
    return source;
  };
  let opening = "kernel";
  try {
    const kernelInput = opened(options.kernel, "kernel");
    opening = kernelInput.name;
    const inputs: readonly AsyncByteInput[] = initrd === undefined ? [] : [initrd].flat();
    const initrds = inputs.map((input, index) =>
      opened(input, inputs.length === 1 ? "initrd" : `initrd ${index}`),
    );
    const tree = deviceTree === undefined ? undefined : opened(deviceTree, "device tree");
    const tables = acpi && {
      rsdp: opened(acpi.rsdp, "acpi.rsdp"),
      tables: opened(acpi.tables, "acpi.tables"),
    };
    reading?.start();
    // The kernel is told where these end.
    const whole: Source[] = [];
    const isPlaceTaken = (image: BzImage): Task<boolean> =>
      planner.isPlaceTaken(options, concatSources(whole).byteLength, image);
    const unpacking = new Unpacking({ ...unpackingOptions(options), gunzip: planner.gunzip, isPlaceTaken });
    closers.unshift(() => unpacking.close());
    for (const each of initrds) whole.push(yield* withKnownLength(each, spoolLimit));
    const sources = {
      deviceTree: tree && (yield* withKnownLength(tree, spoolLimit)),
      acpi: tables && {
        rsdp: yield* withKnownLength(tables.rsdp, spoolLimit),
        tables: yield* withKnownLength(tables.tables, spoolLimit),
      },
    };
    const file = yield* openKernelFile(kernelInput, unpacking);
    const { decompression } = file;
    checkArchitecture(options, file.format === "arm64-image", kernelInput.name);
    const kernel = isLengthNeeded(file) ? yield* withKnownLength(file.source, spoolLimit) : file.source;
    opening = "the initrd";
    const plain = options.decompressInitrd === true ? yield* plainInitrds(whole, unpacking) : whole;
    const planned = yield* planner.plan(file, options, { ...sources, kernel, initrd: oneInitrd(plain) });
    const { memory, ...parts } = planned;
    const { architecture } = options;
    if (architecture !== undefined && architecture !== planned.architecture) {
      throw wrongArchitecture(kernelInput.name, planned.architecture, architecture);
    }
    return { plan: new LinuxPlan({ decompression, ...parts }, close), memory };
  } catch (cause) {
    close();
    throw asTooLittleRam(cause, opening, options);
  }
}

/** Plans a load and carries it out: into guest memory, or by the caller's importer. */
export function* load(
  options: LoadLinuxOptions & Partial<ImporterOption>,
  planner: Planner,
): Task<LoadedLinux> {
  const { memory: input, claim } = claimMemory(options.memory);
  try {
    return yield* counting(options.onProgress, function* (reading): Task<LoadedLinux> {
      const { plan, memory } = yield* prepare({ ...options, memory: input }, planner, reading);
      const carried = { ...options, claim, reading };
      try {
        if (options.importer !== undefined) {
          yield* carryOut<VpRegister>(plan, options.importer, carried);
          // An importer of the caller's keeps no record.
          return new LoadedLinux(plan, plan.pages);
        }
        const importer = new GuestMemoryImporter(memory ?? GuestMemory.create(plan.layout), {
          crc32: options.crc32,
        });
        yield* carryOut(plan, importer, carried);
        return new LinuxGuest(importer, plan);
      } finally {
        plan.close();
      }
    });
  } finally {
    claim?.release();
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

/** What unpacks to more than the guest's RAM is told as too little RAM, unless the caller has set a limit that it passed. */
function asTooLittleRam(cause: unknown, name: string, options: PlanLinuxOptions): unknown {
  const isTooLarge = cause instanceof DirectBootError && cause.code === "DECOMPRESS_TOO_LARGE";
  if (!isTooLarge || options.maxDecompressedSize !== undefined) return cause;
  const why = `${name} unpacks to more than the guest's RAM, ${ramSizeOf(options.memory)} bytes`;
  return new DirectBootError("GUEST_MEMORY_TOO_SMALL", why, { cause });
}

/** How compressed input is undone. */
function unpackingOptions(options: PlanLinuxOptions): UnpackingOptions {
  const { addresses, decoders, decompress, decompressInto, entry, onProgress, spoolLimit } = options;
  return {
    decoders,
    maxDecompressedSize: mostDecompressed(options),
    isLimitedByRam: options.maxDecompressedSize === undefined,
    decompress,
    entry,
    hasKernelAddress: addresses?.kernel !== undefined,
    inPlace: decompressInto !== "buffer",
    spoolLimit,
    onProgress: onProgress && ((progress) => onProgress({ phase: "decompress", ...progress })),
  };
}
