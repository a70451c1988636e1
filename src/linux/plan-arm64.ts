/**
 * arm64, by Documentation/arch/arm64/booting.rst:
 *
 *     start of RAM             ┌──────────────────────────────┐
 *                              │ free, 2 MiB                  │ a boot stub may use its last page
 *     start of RAM + 2 MiB     ├──────────────────────────────┤ start of RAM, for a kernel that must lie there
 *     + text_offset            │ Image, image_size bytes      │ linux-kernel
 *     next page (16 MiB on     ├──────────────────────────────┤
 *     if image_size is 0)      │ device tree, at most 2 MiB   │ linux-device-tree
 *     next 2 MiB boundary      ├──────────────────────────────┤
 *                              │ initrd                       │ linux-initrd
 *                              └──────────────────────────────┘
 */

import {
  type Arm64ImageRules,
  planDirectBootRegistersArm64,
  planKernelAndInitrdArm64,
} from "../arm64/linux.js";
import { alignUpToLargePageSize, hex, LARGE_PAGE_SIZE, PAGE_SIZE_1GB } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { memoryOfTree, setChosen } from "../firmware/device-tree.js";
import { Aarch64ImagePageSize, decodeAarch64ImageFlags, readArm64Image } from "../images/arm64-image.js";
import type { Aarch64Register } from "../importers/importer.js";
import { checkCommandLineLength, commandLineBytes } from "../loading/command-line.js";
import type { LoadInfo } from "../loading/load-info.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { rangeOf } from "../plan/check.js";
import { PlanBuilder } from "../plan/plan.js";
import { BytesSource } from "../sources/bytes.js";
import type { Reading } from "../sources/reader.js";
import type { Source } from "../sources/source.js";
import { MOST_TREE_BYTES, readTree } from "./device-tree-file.js";
import type { PlannedGuest } from "./linux-plan.js";
import { arm64LayoutOfSize, resolveMemory } from "./memory.js";
import type { LinuxOptions, LinuxSources } from "./options.js";

const X86_OPTIONS = [
  "acpi",
  "mtrrs",
  "physicalAddressWidth",
  "entry",
  "addresses",
  "reservations",
  "rngSeed",
] as const satisfies readonly (keyof LinuxOptions)[];

const PAGE_SIZES = {
  unspecified: Aarch64ImagePageSize.UNSPECIFIED,
  "4KiB": Aarch64ImagePageSize.PAGE4_K,
  "16KiB": Aarch64ImagePageSize.PAGE16_K,
  "64KiB": Aarch64ImagePageSize.PAGE64_K,
} as const;

/** COMMAND_LINE_SIZE - 1 (arch/arm64/include/uapi/asm/setup.h). */
const COMMAND_LINE_BYTES = 2047;

/** RAM as /memory has it, in ascending order. */
function treeMemory(tree: Uint8Array | undefined): MemoryRange[] {
  if (tree === undefined) return [];
  return memoryOfTree(tree)
    .map(({ start, end }) => new MemoryRange(start, end))
    .filter((range) => !range.isEmpty)
    .sort((a, b) => (a.start < b.start ? -1 : 1));
}

/**
 * Throws DEVICE_TREE_MEMORY unless all RAM of the layout is in /memory, too: Linux knows of no other.
 */
function checkTreeMemory(layout: MemoryLayout, memory: readonly MemoryRange[]): void {
  if (memory.length === 0) return;
  const described = new MemoryLayout([...memory]);
  for (const { range } of layout.ram) {
    if (!described.isRam(range)) {
      throw new DirectBootError(
        "DEVICE_TREE_MEMORY",
        `RAM at ${range} is not in /memory of the device tree (${described})`,
        { cure: "give memory where the device tree has it, or a tree for this machine" },
      );
    }
  }
}

/** Plans an arm64 guest in the memory that the caller means, or the device tree describes. */
export function* planArm64Guest(options: LinuxOptions, sources: LinuxSources<Source>): Reading<PlannedGuest> {
  const tree = sources.deviceTree === undefined ? undefined : yield* readTree(sources.deviceTree);
  const described = treeMemory(tree);
  const { layout, memory } = resolveMemory(options.memory, arm64LayoutOfSize(described));
  checkTreeMemory(layout, described);
  const { builder: plan, info } = yield* planArm64(options, layout, sources, tree);
  return { plan, info, layout, memory, architecture: "aarch64", entryMode: "aarch64" };
}

/** Plans an arm64 Image, the device tree that tells it of the rest, and its registers. */
function* planArm64(
  options: LinuxOptions,
  layout: MemoryLayout,
  { kernel, initrd: initrdSource }: LinuxSources<Source>,
  tree: Uint8Array | undefined,
): Reading<{ builder: PlanBuilder<Aarch64Register>; info: LoadInfo }> {
  for (const option of X86_OPTIONS) {
    if (options[option] !== undefined) {
      throw new DirectBootError("OPTION_NOT_FOR_ARCHITECTURE", `${option}, but ${kernel.name} is for arm64`);
    }
  }
  if (tree === undefined && (initrdSource ?? options.commandLine) !== undefined) {
    throw new DirectBootError(
      "DEVICE_TREE_MISSING",
      "an arm64 kernel learns of its initrd and command line from the device tree, and there is none",
    );
  }
  const { pageSizes = ["4KiB"], lowPlacement = false } = options.arm64 ?? {};
  const rules: Arm64ImageRules = {
    pageSizes: pageSizes.map((name) => {
      const found = Object.hasOwn(PAGE_SIZES, name) ? PAGE_SIZES[name] : undefined;
      if (found === undefined) throw new TypeError(`arm64.pageSizes: there is no ${describeType(name)}`);
      return found;
    }),
    lowPlacement,
    oldImages: true,
  };
  if (options.commandLine !== undefined) {
    checkCommandLineLength(commandLineBytes(options.commandLine), COMMAND_LINE_BYTES);
  }
  const flags = decodeAarch64ImageFlags((yield* readArm64Image(kernel)).flags);
  const initrd =
    initrdSource === undefined
      ? undefined
      : { source: initrdSource, address: options.initrdAddress ?? ("AfterKernel" as const) };

  const withChosen = (initrdStart: bigint, initrdEnd: bigint): Uint8Array | undefined =>
    tree === undefined
      ? undefined
      : setChosen(tree, {
          bootargs: options.commandLine,
          // A tree that was saved from a running machine names that one's initrd.
          ...(initrd === undefined ? { initrdStart: null, initrdEnd: null } : { initrdStart, initrdEnd }),
        });
  const sourceOf = (bytes: Uint8Array | undefined): Source | undefined =>
    bytes === undefined ? undefined : new BytesSource(bytes, "device tree");

  // The initrd lies behind the tree and the tree names its place: its size does not depend on the numbers in it,
  // so it is planned once with zeros to learn the place. The first RAM range that holds all of it is taken; if none
  // does, the plan for the first one says what does not fit.
  // booting.rst: without bit 3 "the 2MB aligned base should be as close as possible to the base of DRAM".
  const room = flags.anyStartAddress ? LARGE_PAGE_SIZE : 0n;
  const starts = layout.ram.map(({ range }) => alignUpToLargePageSize(range.start) + room);
  const placeholder = sourceOf(withChosen(0n, 0n));
  let found: { start: bigint; draft: LoadInfo } | undefined;
  for (const start of starts) {
    const scratch = new PlanBuilder<Aarch64Register>();
    const draft = yield* planKernelAndInitrdArm64(scratch, kernel, start, initrd, placeholder, rules);
    const fits = scratch.steps.every((step) => step.kind !== "pages" || layout.isRam(rangeOf(step)));
    if (fits || found === undefined) found = { start, draft };
    if (fits) break;
  }
  if (found === undefined) throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", "there are no RAM ranges");
  const { start, draft } = found;
  const initrdStart = draft.initrd?.gpa ?? 0n;
  const final = withChosen(initrdStart, initrdStart + (draft.initrd?.size ?? 0n));
  if (final !== undefined && final.byteLength > MOST_TREE_BYTES) {
    throw new DirectBootError(
      "DEVICE_TREE_TOO_LARGE",
      `with /chosen the device tree has ${final.byteLength} bytes, the limit is ${MOST_TREE_BYTES}`,
    );
  }
  if (draft.initrd !== undefined) {
    const { gpa, size } = draft.initrd;
    const kernelEnd = draft.kernel.entrypoint + draft.kernel.size;
    const lowest = gpa < start ? gpa : start;
    const highest = gpa + size > kernelEnd ? gpa + size : kernelEnd;
    // booting.rst: "a 1 GB aligned physical memory window of up to 32 GB in size that fully covers the kernel Image"
    if (highest > lowest - (lowest % PAGE_SIZE_1GB) + 32n * PAGE_SIZE_1GB) {
      throw new DirectBootError(
        "ARM64_INITRD_OUT_OF_REACH",
        `the initrd at ${hex(gpa)} and the kernel at ${hex(start)} are too far apart`,
      );
    }
  }
  const builder = new PlanBuilder<Aarch64Register>();
  const info = yield* planKernelAndInitrdArm64(builder, kernel, start, initrd, sourceOf(final), rules);
  planDirectBootRegistersArm64(builder, info);
  return { builder, info };
}
