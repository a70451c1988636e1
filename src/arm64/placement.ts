/**
 * Where the parts of an arm64 guest go (Documentation/arch/arm64/booting.rst): where plan-arm64.ts draws them, in the
 * first RAM range that has room for all of them; else in any other arrangement that booting.rst allows.
 */
import {
  ADDRESS_LIMIT,
  HV_PAGE_SIZE,
  hex,
  hexRange,
  LARGE_PAGE_SIZE,
  PAGE_SIZE_1GB,
} from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { alignFrom, type Extent, lowestFit, type Wish } from "../plan/packing.js";
import type { Placement } from "../plan/placement.js";

export const KERNEL_TAG = "linux-kernel";
export const TREE_TAG = "linux-device-tree";
export const INITRD_TAG = "linux-initrd";

/** booting.rst: the initrd and the Image lie in "a 1 GB aligned physical memory window of up to 32 GB in size". */
const REACH = 32n * PAGE_SIZE_1GB;
/** booting.rst: before 4.2 the tree lies "within the 512 MB region starting at text_offset bytes below the Image". */
const OLD_TREE_REACH = 0x2000_0000n;
/** How many bases are tried for a kernel that should lie as low as possible, and windows for one that need not. */
const MOST_BASES = 64;
const MOST_WINDOWS = 4096;
/** Windows times free parts of RAM that are looked at: a second's work. */
const MOST_LOOKS = 1_000_000;

/** What is to be placed. Lengths in bytes. */
export interface Arm64Parts {
  /** From the 2 MiB aligned base to the Image. */
  readonly textOffset: bigint;
  /** What is the kernel's from its start on. */
  readonly kernelBytes: bigint;
  /** Bit 3 of the flags: the base may be anywhere, and what lies below it can be used. */
  readonly anyStartAddress: boolean;
  readonly treeBytes: bigint | undefined;
  readonly initrdBytes: bigint | undefined;
  /** The initrd's place, if the caller has chosen it; it is taken already. */
  readonly chosenInitrd: Extent | undefined;
}

/** Where things are. */
export interface Arm64Places {
  /** The 2 MiB aligned base. */
  readonly base: bigint;
  readonly tree: bigint | undefined;
  readonly initrd: bigint | undefined;
}

const floorTo1GB = (address: bigint): bigint => address - (address % PAGE_SIZE_1GB);

/** True if some 1 GiB-aligned window of 32 GiB has all of both. */
function areInReach(kernel: Extent, initrd: Extent): boolean {
  const lowest = kernel.start < initrd.start ? kernel.start : initrd.start;
  const highest = kernel.end > initrd.end ? kernel.end : initrd.end;
  return highest <= floorTo1GB(lowest) + REACH;
}

function kernelAt(base: bigint, { textOffset, kernelBytes }: Arm64Parts): Extent {
  return { start: base + textOffset, end: base + textOffset + kernelBytes };
}

/** Before 4.2 Linux mapped the tree by one 2 MiB block: it must not cross the boundary of two. */
function treeAlignment({ anyStartAddress, treeBytes = 0n }: Arm64Parts): bigint {
  let alignment = HV_PAGE_SIZE;
  if (!anyStartAddress) while (alignment < treeBytes) alignment *= 2n;
  return alignment;
}

/** The tree behind the kernel, the initrd at the next 2 MiB boundary; undefined if they can't all be there. */
function placeInTurn(placement: Placement, parts: Arm64Parts, base: bigint): Arm64Places | undefined {
  const { textOffset, kernelBytes, anyStartAddress, treeBytes, initrdBytes, chosenInitrd } = parts;
  const kernel = kernelAt(base, parts);
  if (!placement.isFree(base + textOffset, kernelBytes)) return undefined;
  let end = kernel.end;
  let tree: bigint | undefined;
  if (treeBytes !== undefined) {
    tree = alignFrom(end);
    const crosses = tree / LARGE_PAGE_SIZE !== (tree + treeBytes - 1n) / LARGE_PAGE_SIZE;
    if (!anyStartAddress && crosses) tree = alignFrom(end, treeAlignment(parts));
    if (!placement.isFree(tree, treeBytes)) return undefined;
    if (!anyStartAddress && tree + treeBytes > base + OLD_TREE_REACH) return undefined;
    end = tree + treeBytes;
  }
  if (chosenInitrd !== undefined && anyStartAddress && !areInReach(kernel, chosenInitrd)) return undefined;
  if (initrdBytes === undefined) return { base, tree, initrd: undefined };
  const initrd = alignFrom(end, LARGE_PAGE_SIZE);
  if (!placement.isFree(initrd, initrdBytes)) return undefined;
  if (!areInReach(kernel, { start: initrd, end: initrd + initrdBytes })) return undefined;
  return { base, tree, initrd };
}

/** The wishes for kernel, tree and initrd, the first and the last of them within `window`. */
function wishesOf(parts: Arm64Parts, lowestBase: bigint, window: Extent): Wish[] {
  const { textOffset, kernelBytes, treeBytes, initrdBytes } = parts;
  const lowest = lowestBase + textOffset;
  const wishes: Wish[] = [
    {
      tag: KERNEL_TAG,
      byteLength: kernelBytes,
      alignment: LARGE_PAGE_SIZE,
      offset: textOffset,
      windows: [{ from: lowest > window.start ? lowest : window.start, below: window.end }],
    },
  ];
  if (treeBytes !== undefined) {
    wishes.push({ tag: TREE_TAG, byteLength: treeBytes, windows: [{ from: 0n, below: ADDRESS_LIMIT }] });
  }
  if (initrdBytes !== undefined) {
    const windows = [{ from: window.start, below: window.end }];
    wishes.push({ tag: INITRD_TAG, byteLength: initrdBytes, windows });
  }
  return wishes;
}

const EVERYWHERE: Extent = { start: 0n, end: ADDRESS_LIMIT };

/**
 * Where kernel and initrd may lie to be in each other's reach. Windows between two of the list have no more RAM in them
 * than one of these.
 */
function windowsOf(placement: Placement, { initrdBytes, chosenInitrd }: Arm64Parts): Extent[] {
  if (chosenInitrd !== undefined) {
    // Every window around the initrd; together they are one range.
    const highest = floorTo1GB(chosenInitrd.start);
    const lowest = floorTo1GB(chosenInitrd.end + PAGE_SIZE_1GB - 1n) - REACH;
    return [{ start: lowest < 0n ? 0n : lowest, end: highest + REACH }];
  }
  if (initrdBytes === undefined) return [EVERYWHERE];
  const free = placement.free();
  const first = floorTo1GB(free[0]?.start ?? 0n);
  const starts = new Set([first]);
  if ((free.at(-1)?.end ?? 0n) > first + REACH) {
    const most = Math.max(MOST_BASES, Math.min(MOST_WINDOWS, Math.floor(MOST_LOOKS / free.length)));
    for (const { start, end } of free) {
      if (starts.size > most) break;
      const behind = floorTo1GB(end + PAGE_SIZE_1GB - 1n) - REACH;
      for (const at of [
        floorTo1GB(start),
        floorTo1GB(start) + PAGE_SIZE_1GB,
        behind,
        behind - PAGE_SIZE_1GB,
      ]) {
        if (at >= first) starts.add(at);
      }
    }
  }
  return [...starts].sort((a, b) => (a < b ? -1 : 1)).map((start) => ({ start, end: start + REACH }));
}

function placesOf({ textOffset, treeBytes }: Arm64Parts, found: readonly bigint[]): Arm64Places | undefined {
  const [kernel, ...others] = found;
  if (kernel === undefined) return undefined;
  const tree = treeBytes === undefined ? undefined : others.shift();
  return { base: kernel - textOffset, tree, initrd: others[0] };
}

/** A kernel that should lie as low as possible; it uses what is above its base alone. */
function placeLow(placement: Placement, parts: Arm64Parts): Arm64Places | undefined {
  const [kernelWish] = wishesOf(parts, 0n, EVERYWHERE);
  if (kernelWish === undefined) return undefined;
  let tried = 0;
  for (const gap of placement.free()) {
    const at = lowestFit(kernelWish, gap, { from: parts.textOffset, below: ADDRESS_LIMIT });
    if (at === undefined) continue;
    if (tried++ === MOST_BASES) return undefined;
    const base = at - parts.textOffset;
    const where = placement.copy();
    where.take(at, parts.kernelBytes, KERNEL_TAG);
    const wishes: Wish[] = [];
    if (parts.treeBytes !== undefined) {
      const windows = [{ from: base, below: base + OLD_TREE_REACH }];
      wishes.push({ tag: TREE_TAG, byteLength: parts.treeBytes, alignment: treeAlignment(parts), windows });
    }
    if (parts.initrdBytes !== undefined) {
      const windows = [{ from: base, below: floorTo1GB(at) + REACH }];
      wishes.push({ tag: INITRD_TAG, byteLength: parts.initrdBytes, windows });
    }
    const found = where.findTogether(wishes);
    if (found !== undefined) return placesOf(parts, [at, ...found]);
  }
  return undefined;
}

/** Any arrangement, with the first 2 MiB of RAM left free if that is possible. */
function placeAnywhere(placement: Placement, parts: Arm64Parts, lowestBase: bigint): Arm64Places | undefined {
  for (const lowest of [lowestBase, 0n]) {
    for (const window of windowsOf(placement, parts)) {
      const found = placement.findTogether(wishesOf(parts, lowest, window));
      if (found !== undefined) return placesOf(parts, found);
    }
  }
  return undefined;
}

/** Throws ARM64_INITRD_OUT_OF_REACH for one that the caller has put where the kernel does not look. */
function checkChosen(base: bigint, parts: Arm64Parts): void {
  const { chosenInitrd, anyStartAddress } = parts;
  if (chosenInitrd === undefined) return;
  const kernel = kernelAt(base, parts);
  const isBelow = !anyStartAddress && chosenInitrd.start < base;
  if (!isBelow && areInReach(kernel, chosenInitrd)) return;
  const why = isBelow
    ? `which uses no memory below ${hex(base)}`
    : `not in one 1 GiB-aligned window of ${hex(REACH)} bytes`;
  throw new DirectBootError(
    "ARM64_INITRD_OUT_OF_REACH",
    `${INITRD_TAG} at ${hexRange(chosenInitrd.start, chosenInitrd.end)} and ${KERNEL_TAG} at ${hexRange(kernel.start, kernel.end)}, ${why}`,
  );
}

/**
 * Places what the caller has not placed beside what is taken already.
 *
 * @throws DirectBootError PLACEMENT_NO_ROOM if no arrangement has room for all of it, ARM64_INITRD_OUT_OF_REACH
 */
export function placeArm64(placement: Placement, parts: Arm64Parts): Arm64Places {
  const { anyStartAddress } = parts;
  const { ram } = placement.layout;
  // booting.rst: without bit 3 "the 2MB aligned base should be as close as possible to the base of DRAM".
  const room = anyStartAddress ? LARGE_PAGE_SIZE : 0n;
  for (const { range } of ram) {
    const usual = placeInTurn(placement, parts, alignFrom(range.start, LARGE_PAGE_SIZE) + room);
    if (usual === undefined) continue;
    checkChosen(usual.base, parts);
    return usual;
  }
  // What finds no room even where no limits are asked of it needs no further search.
  const wishes = wishesOf(parts, 0n, EVERYWHERE);
  const apart = placesOf(parts, placement.findTogether(wishes) ?? []);
  if (apart === undefined) throw placement.noRoomTogether(wishes);
  const lowestBase = alignFrom(ram[0]?.range.start ?? 0n, LARGE_PAGE_SIZE) + room;
  const other = anyStartAddress ? placeAnywhere(placement, parts, lowestBase) : placeLow(placement, parts);
  if (other !== undefined) {
    checkChosen(other.base, parts);
    return other;
  }
  checkChosen(apart.base, parts);
  const limits = anyStartAddress
    ? `${KERNEL_TAG} and ${INITRD_TAG} in one 1 GiB-aligned window of ${hex(REACH)} bytes`
    : `${KERNEL_TAG} low, ${TREE_TAG} up to ${hex(OLD_TREE_REACH)} bytes above its base, ${INITRD_TAG} above it, too`;
  throw placement.noRoomTogether(wishes, limits);
}
