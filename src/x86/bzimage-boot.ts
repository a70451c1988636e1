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
import { HV_PAGE_SIZE, hex, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { type BzImage, XLF_CAN_BE_LOADED_ABOVE_4G, XLF_KERNEL_64 } from "../images/bzimage.js";
import { alignFrom, type Extent, type Placement, pagesAround } from "../plan/placement.js";
import { FOUR_GIB } from "./low-memory-map.js";

/** Flags of a kernel that may be loaded above 4 GiB. */
const HIGH_FLAGS = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
/** The 64-bit entry, from the load address (boot.rst, "64-bit Boot Protocol"). */
export const ENTRY_64_OFFSET = 0x200n;
/** Where every bzImage may be loaded (boot.rst, "Loading The Rest of The Kernel"). */
const DEFAULT_LOAD_ADDRESS = 0x10_0000n;

/** A bzImage's place, which is taken. */
export interface PlacedBzImage {
  /** Where the protected-mode code goes. */
  readonly loadAddress: bigint;
  /** One past all that the kernel uses before it knows its memory map: what is placed behind it starts here. */
  readonly end: bigint;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** Where the kernel wants to run; one that has no preference (pref_address 0) runs where every bzImage may. */
function preferredAddress({ prefAddress }: BzImage): bigint {
  if (prefAddress % HV_PAGE_SIZE !== 0n) {
    throw new DirectBootError(
      "BZIMAGE_BAD_ALIGNMENT",
      `pref_address is ${hex(prefAddress)}, not a multiple of ${hex(HV_PAGE_SIZE)}`,
    );
  }
  return prefAddress === 0n ? DEFAULT_LOAD_ADDRESS : prefAddress;
}

/** kernel_alignment; a relocatable kernel that gives none takes any page. Throws BZIMAGE_BAD_ALIGNMENT. */
function alignmentOf({ kernelAlignment }: BzImage): bigint {
  if ((kernelAlignment & (kernelAlignment - 1)) !== 0) {
    throw new DirectBootError(
      "BZIMAGE_BAD_ALIGNMENT",
      `kernel_alignment is ${hex(kernelAlignment)}, no power of two`,
    );
  }
  return kernelAlignment < PAGE_BYTES ? HV_PAGE_SIZE : BigInt(kernelAlignment);
}

/**
 * What the kernel uses if it is loaded at `load`: the place of its code; and from its runtime start on init_size bytes, never
 * less than the code that moves there. A relocatable one aligns its load address up, but never runs below its preferred
 * address (arch/x86/boot/compressed/head_64.S, LOAD_PHYSICAL_ADDR).
 */
function extentsAt(image: BzImage, load: bigint): { readonly code: Extent; readonly run: Extent } {
  const { protectedModeLength, initSize } = image;
  const start = image.relocatableKernel
    ? max(alignFrom(load, alignmentOf(image)), image.prefAddress)
    : preferredAddress(image);
  return {
    code: { start: load, end: load + BigInt(protectedModeLength) },
    run: { start, end: start + BigInt(Math.max(initSize, protectedModeLength)) },
  };
}

/** The caller's load address, or why the kernel can't take it. */
function checkedAddress(image: BzImage, address: bigint, preferred: bigint): bigint {
  if (!image.relocatableKernel && address !== preferred && address !== DEFAULT_LOAD_ADDRESS) {
    throw badAddress(image, address, "is not the kernel's, and it is not relocatable");
  }
  if (address < DEFAULT_LOAD_ADDRESS) throw badAddress(image, address, "lies below 1 MiB");
  if (address % HV_PAGE_SIZE !== 0n) throw badAddress(image, address, "is not page-aligned");
  return address;
}

function badAddress(image: BzImage, load: bigint, why: string): DirectBootError {
  const header = `kernel_alignment ${hex(image.kernelAlignment)}, relocatable ${image.relocatableKernel}, pref_address ${hex(image.prefAddress)}, init_size ${hex(image.initSize)}`;
  return new DirectBootError("BZIMAGE_BAD_LOAD_ADDRESS", `the load address ${hex(load)} ${why} (${header})`);
}

/**
 * Finds the load address, or checks the caller's, and takes what the kernel needs: at its preferred address if that is
 * free; else, if it is relocatable, at the lowest free one above. Above 4 GiB only a kernel with
 * XLF_CAN_BE_LOADED_ABOVE_4G goes, and only for the 64-bit entry.
 *
 * @param entry the boot protocol that the kernel is entered by
 * @param address the caller's choice, or undefined
 * @param tag for the ranges that are taken
 * @throws DirectBootError PLACEMENT_NO_ROOM, IMPORT_OVERLAP, GUEST_MEMORY_NOT_RAM, BZIMAGE_BAD_ALIGNMENT,
 *   BZIMAGE_BAD_LOAD_ADDRESS if the kernel can't be loaded where the caller or its own header wants it
 */
export function placeBzImage(
  placement: Placement,
  image: BzImage,
  entry: "64" | "32",
  address: bigint | undefined,
  tag: string,
): PlacedBzImage {
  // Real-mode vectors and the BIOS area lie below, whatever a header says.
  const preferred = max(preferredAddress(image), DEFAULT_LOAD_ADDRESS);
  const mayBeHigh = entry === "64" && (image.xloadflags & HIGH_FLAGS) === HIGH_FLAGS;
  let load = address === undefined ? preferred : checkedAddress(image, address, preferred);
  let { code, run } = extentsAt(image, load);
  const isFree = ({ start, end }: Extent): boolean => placement.isFree(start, end - start);
  if (address === undefined && image.relocatableKernel && !(isFree(code) && isFree(run))) {
    const window = { from: preferred, alignment: alignmentOf(image) };
    const windows = [{ ...window, below: FOUR_GIB }, ...(mayBeHigh ? [window] : [])];
    const initSize = run.end - run.start;
    const found = placement.find(initSize, windows);
    if (found === undefined) throw placement.noRoom(`${tag} (init_size)`, initSize, windows);
    load = found;
    ({ code, run } = extentsAt(image, load));
  }
  const end = max(code.end, run.end);
  if (!mayBeHigh && end > FOUR_GIB) {
    const why = "leaves no room below 4 GiB, and the kernel or its entry does not take a higher one";
    throw badAddress(image, load, why);
  }
  // The finished plan knows the file's bytes only, not what the kernel writes before it knows its memory map.
  placement.layout.checkIsRam(pagesAround(run.start, run.end - run.start, tag), `${tag} with init_size`);
  const areApart = run.start > code.end || code.start > run.end;
  placement.takeAll(areApart ? [code] : [code, run], tag);
  if (areApart) placement.takeAll([run], `${tag} (init_size)`);
  return { loadAddress: load, end };
}
