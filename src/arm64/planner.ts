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
 * If the first RAM range has no room for all of it there, it is the next one; if none has, parts go elsewhere
 * (arm64-placement.ts). Nothing lies in what the tree reserves, nor in an initrd's place that the caller has chosen.
 */

import { type AddressLike, addAddresses, checkAddressAlignment, toAddress } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { reservationsOfTree, setChosen } from "../firmware/device-tree.js";
import { MOST_TREE_BYTES, readTree } from "../firmware/device-tree-file.js";
import { Aarch64ImagePageSize } from "../images/arm64-image.js";
import type { Aarch64Register } from "../importers/importer.js";
import { resolveMemory } from "../memory/memory-input.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { checkCommandLineLength, commandLineBytes } from "../plan/command-line.js";
import type { LoadInfo } from "../plan/load-info.js";
import type { Extent } from "../plan/packing.js";
import { Placement, pagesAround } from "../plan/placement.js";
import { PlanBuilder } from "../plan/plan.js";
import type { GuestOptions, GuestSources, PlannedGuest } from "../plan/planned-guest.js";
import { BytesSource } from "../sources/bytes.js";
import { knownLength } from "../sources/source.js";
import type { Task } from "../task/task.js";
import {
  type Arm64ImageRules,
  planDirectBootRegistersArm64,
  planKernelAndInitrdArm64,
  readArm64Kernel,
} from "./openvmm.js";
import type { Arm64Options } from "./options.js";
import { INITRD_TAG, placeArm64 } from "./placement.js";
import { arm64LayoutOfSize, checkTreeMemory, treeMemory } from "./tree-memory.js";

const PAGE_SIZES = {
  unspecified: Aarch64ImagePageSize.UNSPECIFIED,
  "4KiB": Aarch64ImagePageSize.PAGE4_K,
  "16KiB": Aarch64ImagePageSize.PAGE16_K,
  "64KiB": Aarch64ImagePageSize.PAGE64_K,
} as const;

/** COMMAND_LINE_SIZE - 1 (arch/arm64/include/uapi/asm/setup.h). */
const COMMAND_LINE_BYTES = 2047;

/** Plans an arm64 guest in the memory that the caller means, or the device tree describes. */
export function* planArm64Guest(
  options: GuestOptions & Arm64Options,
  sources: GuestSources,
): Task<PlannedGuest> {
  const tree = sources.deviceTree === undefined ? undefined : yield* readTree(sources.deviceTree);
  const described = treeMemory(tree);
  const { layout, memory } = resolveMemory(options.memory, arm64LayoutOfSize(described));
  checkTreeMemory(layout, described);
  const { builder: plan, info } = yield* planArm64(options, layout, sources, tree);
  return { plan, info, layout, memory, architecture: "aarch64", entryMode: "aarch64" };
}

/** The place that the caller has chosen for the initrd. Throws UNALIGNED_ADDRESS, ADDRESS_OVERFLOW. */
function chosenPlace(address: AddressLike, byteLength: bigint): Extent {
  const start = toAddress(address, "addresses.initrd");
  checkAddressAlignment(start, "initrd address");
  return { start, end: addAddresses(start, byteLength, "end of the initrd") };
}

/** Plans an arm64 Image, the device tree that tells it of the rest, and its registers. */
function* planArm64(
  options: GuestOptions & Arm64Options,
  layout: MemoryLayout,
  { kernel, initrd: initrdSource }: GuestSources,
  tree: Uint8Array | undefined,
): Task<{ builder: PlanBuilder<Aarch64Register>; info: LoadInfo }> {
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
    whole: true,
  };
  if (options.commandLine !== undefined) {
    checkCommandLineLength(commandLineBytes(options.commandLine), COMMAND_LINE_BYTES);
  }
  // As it is for a base of 0.
  const image = yield* readArm64Kernel(kernel, 0n, rules);
  const initrdBytes = initrdSource === undefined ? undefined : BigInt(knownLength(initrdSource));
  const initrdAddress = options.addresses?.initrd;
  const chosenInitrd =
    initrdBytes === undefined || initrdAddress === undefined
      ? undefined
      : chosenPlace(initrdAddress, initrdBytes);

  const withChosen = (initrdStart: bigint, initrdEnd: bigint): Uint8Array | undefined =>
    tree === undefined
      ? undefined
      : setChosen(tree, {
          bootargs: options.commandLine,
          // A tree that was saved from a running machine names that one's initrd.
          ...(initrdSource === undefined
            ? { initrdStart: null, initrdEnd: null }
            : { initrdStart, initrdEnd }),
        });
  // First what has one place only: what the tree reserves, what the caller has chosen.
  const placement = new Placement(layout);
  const reserved = tree === undefined ? [] : reservationsOfTree(tree);
  // A reservation that starts with the initrd is the one that boot loaders make for it.
  placement.takeAll(
    reserved.filter(({ start }) => start !== chosenInitrd?.start),
    "reserved memory",
  );
  if (chosenInitrd !== undefined) {
    const { start, end } = chosenInitrd;
    layout.checkIsRam(pagesAround(start, end - start, INITRD_TAG), INITRD_TAG);
    placement.take(start, end - start, INITRD_TAG);
  }
  // The tree names the initrd's place; its size does not depend on the numbers in it.
  const treeBytes = withChosen(0n, 0n)?.byteLength;
  const { base, ...places } = placeArm64(placement, {
    textOffset: image.loadAddress,
    // Where nothing else is to be placed, what such a kernel may use behind its file need not be there.
    kernelBytes: treeBytes === undefined ? image.size : image.used,
    anyStartAddress: image.anyStartAddress,
    treeBytes: treeBytes === undefined ? undefined : BigInt(treeBytes),
    initrdBytes: chosenInitrd === undefined ? initrdBytes : undefined,
    chosenInitrd,
  });
  const initrdStart = chosenInitrd?.start ?? places.initrd ?? 0n;
  const final = withChosen(initrdStart, initrdStart + (initrdBytes ?? 0n));
  if (final !== undefined && final.byteLength > MOST_TREE_BYTES) {
    throw new DirectBootError(
      "DEVICE_TREE_TOO_LARGE",
      `with /chosen the device tree has ${final.byteLength} bytes, the limit is ${MOST_TREE_BYTES}`,
    );
  }
  const initrd = initrdSource === undefined ? undefined : { source: initrdSource, address: initrdStart };
  const builder = new PlanBuilder<Aarch64Register>();
  const info = yield* planKernelAndInitrdArm64(
    builder,
    kernel,
    base,
    initrd,
    final === undefined ? undefined : new BytesSource(final, "device tree"),
    rules,
    places.tree,
  );
  planDirectBootRegistersArm64(builder, info);
  return { builder, info };
}
