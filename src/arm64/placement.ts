/**
 * Where the parts of an arm64 guest go (Documentation/arch/arm64/booting.rst). Each goes to the lowest free place of the
 * first of its windows that has one, the kernel first, then the device tree, then the initrd; planner.ts draws where that
 * usually is.
 */
import { HV_PAGE_SIZE, hex, hexRange, LARGE_PAGE_SIZE, PAGE_SIZE_1GB } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { alignFrom, type Extent, type Placement, type Window } from "../plan/placement.js";

const KERNEL_TAG = "linux-kernel";
const TREE_TAG = "linux-device-tree";
export const INITRD_TAG = "linux-initrd";

/** booting.rst: the initrd and the Image lie in "a 1 GB aligned physical memory window of up to 32 GB in size". */
const REACH = 32n * PAGE_SIZE_1GB;
/** booting.rst: before 4.2 the tree lies "within the 512 MB region starting at text_offset bytes below the Image". */
const OLD_TREE_REACH = 0x2000_0000n;

/** The parts to place. Lengths in bytes. */
export interface Arm64Parts {
  /** From the 2 MiB aligned base to the Image. */
  readonly textOffset: bigint;
  /** Bytes that are the kernel's from its start on. */
  readonly kernelBytes: bigint;
  /** Bit 3 of the flags: the base may be anywhere, and what lies below it can be used. */
  readonly anyStartAddress: boolean;
  readonly treeBytes: bigint;
  readonly initrdBytes: bigint | undefined;
  /** The initrd's place, if the caller has chosen it; it is taken already. */
  readonly chosenInitrd: Extent | undefined;
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const floorTo1GB = (address: bigint): bigint => address - (address % PAGE_SIZE_1GB);

/** The lowest address from which a 1 GiB-aligned window of 32 GiB reaches `end`. */
function lowestInReach(end: bigint): bigint {
  return max(0n, floorTo1GB(end + PAGE_SIZE_1GB - 1n) - REACH);
}

/**
 * Where the kernel may lie: as low as possible in RAM, for one that may be anywhere with 2 MiB below it left free; within
 * the reach of an initrd that has its place.
 */
function kernelWindows(
  { layout }: Placement,
  { textOffset, anyStartAddress, chosenInitrd }: Arm64Parts,
): Window[] {
  const window = { alignment: LARGE_PAGE_SIZE, offset: textOffset };
  const lowest = chosenInitrd === undefined ? 0n : lowestInReach(chosenInitrd.end);
  const reach = chosenInitrd === undefined ? {} : { below: floorTo1GB(chosenInitrd.start) + REACH };
  if (!anyStartAddress) return [{ ...window, from: textOffset }];
  const base = alignFrom(layout.ram[0]?.range.start ?? 0n, LARGE_PAGE_SIZE) + LARGE_PAGE_SIZE;
  return [
    { ...window, ...reach, from: max(base + textOffset, lowest) },
    { ...window, ...reach, from: max(textOffset, lowest) },
  ];
}

/** Where the tree may lie: behind the kernel, else anywhere; for an old kernel near it, and in one 2 MiB block. */
function treeWindows(
  { anyStartAddress }: Arm64Parts,
  bytes: bigint,
  base: bigint,
  kernelEnd: bigint,
): Window[] {
  if (anyStartAddress) return [{ from: kernelEnd }, {}];
  // Before 4.2 Linux mapped the tree by one 2 MiB block: it must not cross the boundary of two.
  let alignment = HV_PAGE_SIZE;
  while (alignment < bytes) alignment *= 2n;
  const below = base + OLD_TREE_REACH;
  const block = alignFrom(kernelEnd, LARGE_PAGE_SIZE);
  return [
    { from: kernelEnd, below: block < below ? block : below },
    { from: kernelEnd, below, alignment },
    { from: base, below, alignment },
  ];
}

/** ARM64_INITRD_OUT_OF_REACH for one that the caller has put where the kernel does not look. */
function outOfReach(initrd: Extent, kernel: Extent, why: string): DirectBootError {
  return new DirectBootError(
    "ARM64_INITRD_OUT_OF_REACH",
    `${INITRD_TAG} at ${hexRange(initrd.start, initrd.end)} and ${KERNEL_TAG} at ${hexRange(kernel.start, kernel.end)}, ${why}`,
  );
}

function placeKernel(placement: Placement, parts: Arm64Parts): Extent {
  const { textOffset, kernelBytes, chosenInitrd, anyStartAddress } = parts;
  const extent = (start: bigint): Extent => ({ start, end: start + kernelBytes });
  const windows = kernelWindows(placement, parts);
  const notInReach = `not in one 1 GiB-aligned window of ${hex(REACH)} bytes`;
  if (chosenInitrd !== undefined && placement.find(kernelBytes, windows) === undefined) {
    const elsewhere = placement.find(kernelBytes, [{ alignment: LARGE_PAGE_SIZE, offset: textOffset }]);
    if (elsewhere !== undefined) throw outOfReach(chosenInitrd, extent(elsewhere), notInReach);
  }
  const kernel = extent(placement.place(KERNEL_TAG, kernelBytes, windows));
  if (chosenInitrd === undefined || anyStartAddress) return kernel;
  const base = kernel.start - textOffset;
  if (chosenInitrd.start < base) {
    throw outOfReach(chosenInitrd, kernel, `which uses no memory below ${hex(base)}`);
  }
  if (max(chosenInitrd.end, kernel.end) > floorTo1GB(kernel.start) + REACH) {
    throw outOfReach(chosenInitrd, kernel, notInReach);
  }
  return kernel;
}

/**
 * Places what the caller has not placed beside what is taken already; `base` is the 2 MiB aligned base of the kernel.
 *
 * @throws DirectBootError PLACEMENT_NO_ROOM, ARM64_INITRD_OUT_OF_REACH
 */
export function placeArm64(
  placement: Placement,
  parts: Arm64Parts,
): { base: bigint; tree: bigint; initrd: bigint | undefined } {
  const { textOffset, treeBytes, initrdBytes, anyStartAddress } = parts;
  const kernel = placeKernel(placement, parts);
  const base = kernel.start - textOffset;
  const tree = placement.place(TREE_TAG, treeBytes, treeWindows(parts, treeBytes, base, kernel.end));
  const next = tree >= kernel.end ? tree + treeBytes : kernel.end;
  if (initrdBytes === undefined) return { base, tree, initrd: undefined };
  // Behind the rest at a 2 MiB boundary, at any page there, or elsewhere in the kernel's reach.
  const below = floorTo1GB(kernel.start) + REACH;
  const windows: Window[] = [
    { from: next, below, alignment: LARGE_PAGE_SIZE },
    { from: anyStartAddress ? kernel.end : base, below },
    ...(anyStartAddress ? [{ from: lowestInReach(kernel.end), below: kernel.start }] : []),
  ];
  return { base, tree, initrd: placement.place(INITRD_TAG, initrdBytes, windows) };
}
