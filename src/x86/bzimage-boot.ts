/**
 * Where a bzImage goes and where it is entered (Documentation/arch/x86/boot.rst, "Loading The Rest of The Kernel",
 * `init_size`, "32-bit Boot Protocol", "64-bit Boot Protocol").
 *
 *     load address      ┌────────────────────────────┐ ◄─ 32-bit entry, code32_start
 *                       │ protected-mode code, as it │ ◄─ + 0x200: 64-bit entry
 *                       │ stands in the file         │
 *                       └────────────────────────────┘
 *     runtime start     ┌────────────────────────────┐
 *                       │ init_size bytes that the   │ the decompressor moves itself to their end and unpacks the
 *                       │ kernel writes before it    │ kernel to their start; they may lie over the code above
 *                       │ knows its memory map       │
 *                       └────────────────────────────┘
 */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { type BzImage, XLF_CAN_BE_LOADED_ABOVE_4G, XLF_KERNEL_64 } from "../images/bzimage.js";
import { type Placement, pagesAround as pages } from "../loading/placement.js";

/** The 64-bit entry, from the load address (boot.rst, "64-bit Boot Protocol"). */
const ENTRY_64_OFFSET = 0x200n;
const FOUR_GIB = 0x1_0000_0000n;
/** Where every bzImage may be loaded (boot.rst, "Loading The Rest of The Kernel"). */
const DEFAULT_LOAD_ADDRESS = 0x10_0000n;

/** A bzImage's place, which is taken. */
export interface PlacedBzImage {
  /** Where the protected-mode code goes. */
  readonly loadAddress: bigint;
  /** One past all that the kernel uses before it knows its memory map: what is placed behind it starts here. */
  readonly end: bigint;
  readonly entry32: bigint;
  readonly entry64: bigint;
}

function alignUp(address: bigint, alignment: bigint): bigint {
  return ((address + alignment - 1n) / alignment) * alignment;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** kernel_alignment; a relocatable kernel that gives none takes any page. Throws BZIMAGE_BAD_ALIGNMENT. */
function alignmentOf({ kernelAlignment }: BzImage): bigint {
  if ((kernelAlignment & (kernelAlignment - 1)) !== 0) {
    throw new DirectBootError(
      "BZIMAGE_BAD_ALIGNMENT",
      `kernel_alignment is ${hex(kernelAlignment)}, no power of two`,
    );
  }
  return kernelAlignment < 4096 ? 4096n : BigInt(kernelAlignment);
}

/**
 * Where the kernel runs if it is loaded at `load`. A relocatable one aligns its load address up, but never runs below
 * its preferred address (arch/x86/boot/compressed/head_64.S, LOAD_PHYSICAL_ADDR).
 */
function runtimeStart(image: BzImage, load: bigint): bigint {
  if (!image.relocatableKernel) return image.prefAddress;
  return max(alignUp(load, alignmentOf(image)), image.prefAddress);
}

/** Takes what the kernel uses, as one range or, where they don't touch, as two. */
function take(placement: Placement, image: BzImage, load: bigint, tag: string): bigint {
  const loadEnd = load + BigInt(image.protectedModeLength);
  const start = runtimeStart(image, load);
  const end = start + BigInt(image.initSize);
  if (start <= loadEnd && load <= end) {
    const low = load < start ? load : start;
    placement.take(low, max(loadEnd, end) - low, tag);
  } else {
    placement.take(load, loadEnd - load, tag);
    placement.take(start, end - start, `${tag} (init_size)`);
  }
  return max(loadEnd, end);
}

/** True if all that the kernel uses when it is loaded at `load` is free RAM. */
function isFree(placement: Placement, image: BzImage, load: bigint): boolean {
  return (
    placement.isFree(load, BigInt(image.protectedModeLength)) &&
    placement.isFree(runtimeStart(image, load), BigInt(image.initSize))
  );
}

/**
 * Finds the load address, or checks the caller's, and takes what the kernel needs: at its preferred address if that is
 * free; else, if it is relocatable, at the lowest free one above.
 *
 * @param address the caller's choice, or undefined
 * @param tag for the ranges that are taken
 * @throws DirectBootError PLACEMENT_NO_ROOM, IMPORT_OVERLAP, GUEST_MEMORY_NOT_RAM, BZIMAGE_BAD_ALIGNMENT,
 *   BZIMAGE_BAD_LOAD_ADDRESS if the kernel can't be loaded where the caller wants it
 */
export function placeBzImage(
  placement: Placement,
  image: BzImage,
  address: bigint | undefined,
  tag: string,
): PlacedBzImage {
  const preferred = image.prefAddress === 0n ? DEFAULT_LOAD_ADDRESS : image.prefAddress;
  const canBeHigh =
    (image.xloadflags & (XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G)) ===
    (XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G);
  let load = address ?? preferred;
  if (address !== undefined) {
    const limit = `kernel_alignment ${hex(image.kernelAlignment)}, relocatable ${image.relocatableKernel}, pref_address ${hex(image.prefAddress)}`;
    const isBad = (why: string): DirectBootError =>
      new DirectBootError("BZIMAGE_BAD_LOAD_ADDRESS", `the load address ${hex(address)} ${why} (${limit})`);
    if (!image.relocatableKernel && address !== preferred && address !== DEFAULT_LOAD_ADDRESS) {
      throw isBad("is not the kernel's, and it is not relocatable");
    }
    if (address < DEFAULT_LOAD_ADDRESS) throw isBad("lies below 1 MiB");
    if (address % 4096n !== 0n) throw isBad("is not page-aligned");
    if (!canBeHigh && address + BigInt(image.initSize) > FOUR_GIB) {
      throw isBad("leaves no room below 4 GiB, and the kernel does not take a higher one");
    }
  } else if (!isFree(placement, image, load) && image.relocatableKernel) {
    const size = max(BigInt(image.initSize), BigInt(image.protectedModeLength));
    const alignment = alignmentOf(image);
    const request = { tag, byteLength: size, alignment, from: preferred };
    const found =
      placement.find({ ...request, below: FOUR_GIB }) ?? (canBeHigh ? placement.find(request) : undefined);
    if (found === undefined) {
      throw new DirectBootError(
        "PLACEMENT_NO_ROOM",
        `${tag}: the kernel needs ${hex(size)} bytes (init_size) at ${hex(preferred)} or above, aligned to ${hex(alignment)}; RAM is ${placement.layout}`,
      );
    }
    load = found;
  }
  placement.layout.checkIsRam(pages(load, BigInt(image.protectedModeLength), tag), tag);
  placement.layout.checkIsRam(
    pages(runtimeStart(image, load), BigInt(image.initSize), tag),
    `${tag} with init_size`,
  );
  const end = take(placement, image, load, tag);
  return { loadAddress: load, end, entry32: load, entry64: load + ENTRY_64_OFFSET };
}
