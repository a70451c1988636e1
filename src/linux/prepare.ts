/** What a load needs before it starts, synchronous or not: inputs opened, the kernel found in its file, a plan. */

import type { planArm64Guest } from "../arm64/planner.js";
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
import { type Decoders, UnpackProgress } from "../unpack/decoding.js";
import { plainInitrds } from "../unpack/initrd.js";
import { isLengthNeeded, openKernelFile, type Unpacking } from "../unpack/kernel-file.js";
import type { planX86Guest } from "../x86/planner.js";
import { LinuxPlan } from "./linux-plan.js";
import type { PlanLinuxOptions } from "./options.js";

/** A plan, and the guest memory that the caller gave, if any. */
export interface Prepared {
  readonly plan: LinuxPlan;
  readonly memory: GuestMemory | undefined;
}

/** What plans for an architecture: code that is there, or that is loaded when it is known which one is needed. */
export interface Planners {
  readonly x86: () => Task<typeof planX86Guest>;
  readonly arm64: () => Task<typeof planArm64Guest>;
}

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

/** Looks into the kernel's file, and plans with what it finds. */
export function* prepare(
  options: PlanLinuxOptions,
  { initrds, ...sources }: Inputs,
  unpacking: Unpacking,
  planners: Planners,
  close: () => void,
): Task<Prepared> {
  const file = yield* openKernelFile(sources.kernel, unpacking);
  const { format, decompression } = file;
  checkArchitecture(options, format === "arm64-image", sources.kernel.name);
  // A stream whose header does not tell its length is read to its end.
  const kernel = (yield* isLengthNeeded(file))
    ? yield* withKnownLength(file.source, options.spoolLimit)
    : file.source;
  const plain = options.decompressInitrd === true ? yield* plainInitrds(initrds, unpacking) : initrds;
  const opened = { ...sources, kernel, initrd: oneInitrd(plain) };
  let planned: PlannedGuest;
  if (format === "arm64-image") {
    const planArm64 = yield* planners.arm64();
    planned = yield* planArm64(options, opened);
  } else {
    const planX86 = yield* planners.x86();
    // What is none of them is refused by the ELF parser, which says what it is.
    const x86Format = format === "bzImage" || format === "elf32" ? format : "elf64";
    planned = yield* planX86(options, opened, x86Format, file.bzImage);
  }
  const { memory, ...parts } = planned;
  return { plan: new LinuxPlan({ ...parts, decompression }, close), memory };
}

/** The inputs, opened. */
export interface Inputs {
  readonly kernel: Source;
  readonly initrds: readonly Source[];
  readonly deviceTree: Source | undefined;
  readonly acpi: GuestSources["acpi"];
}

export interface Opened extends Inputs {
  readonly close: () => void;
}

/** Opens the inputs; closes them again if one can't be opened. */
export function open(options: PlanLinuxOptions): Opened {
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
export function mostDecompressed({ maxDecompressedSize, memory }: PlanLinuxOptions): number {
  const most =
    maxDecompressedSize === undefined
      ? ramSizeOf(memory)
      : toAddress(maxDecompressedSize, "maxDecompressedSize");
  return most > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(most);
}

/** How compressed input is undone; `gunzip` by the platform where no decoders are asked for. */
export function unpackingOf(
  options: PlanLinuxOptions,
  gunzip: Unpacking["gunzip"],
  decoders: Decoders | undefined,
): Unpacking {
  const { addresses, decompress, decompressInto, entry, onProgress } = options;
  return {
    gunzip,
    decoders,
    maximumBytes: mostDecompressed(options),
    decompress,
    entry,
    hasKernelAddress: addresses?.kernel !== undefined,
    inPlace: decompressInto !== "buffer",
    progress:
      onProgress === undefined
        ? undefined
        : new UnpackProgress(({ loaded, total }) => onProgress({ phase: "decompress", loaded, total })),
  };
}

/** What a plan put where, for importers that keep no record of it. */
export function plannedRegions(plan: LinuxPlan): ImportedRegion[] {
  return plan.pages.map(({ range, tag, acceptance, dataLength }) => ({ range, tag, acceptance, dataLength }));
}
