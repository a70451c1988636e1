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
 *
 * A part whose usual place is taken goes to the lowest place that booting.rst allows it (placement.ts). Nothing lies in
 * what the tree reserves, nor in an initrd's place that the caller has chosen.
 */
import { type AddressLike, addAddresses, toPageAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { MOST_TREE_BYTES, readTree } from "../firmware/device-tree.js";
import { setChosen } from "../firmware/device-tree-chosen.js";
import { reservationsOfTree } from "../firmware/device-tree-memory.js";
import type { Aarch64ImageHeader } from "../images/arm64-image.js";
import type { Aarch64Register } from "../importers/importer.js";
import { resolveMemory } from "../memory/memory-input.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { checkCommandLineLength, commandLineBytes } from "../plan/command-line.js";
import { type Extent, Placement } from "../plan/placement.js";
import { PlanBuilder } from "../plan/plan.js";
import type { GuestOptions, GuestSources, GuestText, PlannedGuest } from "../plan/planned-guest.js";
import { BytesSource } from "../sources/bytes.js";
import { knownLength } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { type Arm64Kernel, readArm64Kernel } from "./kernel.js";
import { planDirectBootRegistersArm64, planKernelAndInitrdArm64 } from "./openvmm.js";
import type { Arm64Options } from "./options.js";
import { INITRD_TAG, placeArm64 } from "./placement.js";
import { arm64LayoutOfSize, checkTreeMemory, treeMemory } from "./tree-memory.js";

/** COMMAND_LINE_SIZE - 1 (arch/arm64/include/uapi/asm/setup.h). */
const COMMAND_LINE_BYTES = 2047;

type Arm64GuestOptions = GuestOptions & Arm64Options;

/** Plans an arm64 guest in the memory that the caller means, or the device tree describes. */
export function* planArm64Guest(
  options: Arm64GuestOptions,
  sources: GuestSources,
  header: Aarch64ImageHeader,
): Task<PlannedGuest> {
  if (sources.deviceTree === undefined) {
    throw new DirectBootError(
      "DEVICE_TREE_MISSING",
      "an arm64 kernel finds its RAM and its devices in the device tree, and there is none",
    );
  }
  const tree = yield* readTree(sources.deviceTree);
  const described = treeMemory(tree);
  const resolved = resolveMemory(options.memory, arm64LayoutOfSize(described));
  checkTreeMemory(resolved.layout, described);
  checkText(options);
  const kernel = yield* readArm64Kernel(sources.kernel, header, options.arm64 ?? {});
  const planned = (given: Arm64GuestOptions): PlannedGuest => ({
    ...planGuest(given, resolved.layout, sources, kernel, tree),
    ...resolved,
    architecture: "aarch64",
    entryMode: "aarch64",
    with: (text) => {
      checkText(text);
      return planned({ ...given, ...text });
    },
  });
  return planned(options);
}

/** Throws COMMAND_LINE_TOO_LONG. */
function checkText({ commandLine }: GuestText): void {
  if (commandLine !== undefined) checkCommandLineLength(commandLineBytes(commandLine), COMMAND_LINE_BYTES);
}

/** Plans with all that was read. */
function planGuest(
  options: Arm64GuestOptions,
  layout: MemoryLayout,
  { initrd }: GuestSources,
  kernel: Arm64Kernel,
  tree: Uint8Array,
): Pick<PlannedGuest, "plan" | "info"> {
  const initrdBytes = initrd === undefined ? undefined : BigInt(knownLength(initrd));
  const chosenInitrd = chosenPlace(options.addresses?.initrd, initrdBytes);
  // The tree names the initrd's place; its size does not depend on the numbers in it.
  const treeBytes = BigInt(treeFor(tree, options, initrdBytes, 0n).byteLength);
  const placement = new Placement(layout);
  // A reservation that starts with the initrd is the one that boot loaders make for it.
  placement.takeAll(
    reservationsOfTree(tree).filter(({ start }) => start !== chosenInitrd?.start),
    "reserved memory",
  );
  if (chosenInitrd !== undefined && initrdBytes !== undefined) {
    placement.take(chosenInitrd.start, initrdBytes, INITRD_TAG);
  }
  const { base, ...places } = placeArm64(placement, {
    textOffset: kernel.textOffset,
    kernelBytes: kernel.used,
    anyStartAddress: kernel.anyStartAddress,
    treeBytes,
    initrdBytes: chosenInitrd === undefined ? initrdBytes : undefined,
    chosenInitrd,
  });
  const address = chosenInitrd?.start ?? places.initrd ?? 0n;
  const plan = new PlanBuilder<Aarch64Register>();
  const deviceTree = new BytesSource(treeFor(tree, options, initrdBytes, address), "device tree");
  const where = { start: base, tree: places.tree, initrd: address };
  const info = planKernelAndInitrdArm64(plan, kernel, { deviceTree, initrd }, where);
  planDirectBootRegistersArm64(plan, info);
  return { plan, info };
}

/** The place that the caller has chosen for the initrd. Throws UNALIGNED_ADDRESS, ADDRESS_OVERFLOW. */
function chosenPlace(address: AddressLike | undefined, byteLength: bigint | undefined): Extent | undefined {
  if (address === undefined || byteLength === undefined) return undefined;
  const start = toPageAddress(address, "addresses.initrd");
  return { start, end: addAddresses(start, byteLength, "end of the initrd") };
}

/** The tree with the command line and the initrd's place in /chosen. Throws DEVICE_TREE_TOO_LARGE. */
function treeFor(
  tree: Uint8Array,
  { commandLine, rngSeed }: GuestText,
  initrdBytes: bigint | undefined,
  initrdStart: bigint,
): Uint8Array {
  const initrd =
    initrdBytes === undefined
      ? // A tree that was saved from a running machine names that one's initrd.
        { initrdStart: null, initrdEnd: null }
      : { initrdStart, initrdEnd: initrdStart + initrdBytes };
  const chosen = setChosen(tree, { bootargs: commandLine, rngSeed, ...initrd });
  if (chosen.byteLength > MOST_TREE_BYTES) {
    throw new DirectBootError(
      "DEVICE_TREE_TOO_LARGE",
      `with /chosen the device tree has ${chosen.byteLength} bytes, the limit is ${MOST_TREE_BYTES}`,
    );
  }
  return chosen;
}
