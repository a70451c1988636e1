/** An x86 kernel: its entry and its place. */
import { ADDRESS_LIMIT, hex, hexRange, PAGE_BYTES, pagesOf } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import {
  type BzImage,
  cutOffBzImage,
  leastBzImageBytes,
  XLF_CAN_BE_LOADED_ABOVE_4G,
  XLF_KERNEL_64,
} from "../images/bzimage.js";
import { readElf } from "../images/elf.js";
import { findPvhNote } from "../images/elf-notes.js";
import { checkKernelElf, refuseMultiboot } from "../images/kernel-elf.js";
import { nameOfInner, noKernel, refuseMemdisk } from "../images/kinds.js";
import type { X86Register } from "../importers/importer.js";
import { MemoryRange } from "../memory/memory-range.js";
import type { KernelInfo } from "../plan/load-info.js";
import type { Placement } from "../plan/placement.js";
import { PlanBuilder } from "../plan/plan.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import { type ElfLoadInfo, planKernelElf } from "../plan/static-elf.js";
import { hasKnownLength, type Source } from "../sources/source.js";
import { zeroExtend } from "../sources/views.js";
import type { Task } from "../task/task.js";
import type { KernelFile } from "../unpack/kernel-file.js";
import { ENTRY_64_OFFSET, placeBzImage } from "./bzimage-boot.js";
import { FOUR_GIB } from "./low-memory-map.js";
import type { X86Entry } from "./options.js";

const KERNEL_TAG = "linux-kernel";

/** MAXMEM of a 32-bit kernel with the usual split, less 1: what every such bzImage has as initrd_addr_max. */
const I386_INITRD_ADDRESS_MAX = 0x37ff_ffffn;

/** An x86 kernel whose headers were read, and its entry. */
export type X86Kernel = {
  readonly source: Source;
  readonly entry: X86Entry;
  readonly architecture: GuestArchitecture;
} & (
  | {
      readonly format: "elf";
      /** Its segments, as steps of a plan: an ELF lies where it is linked. */
      readonly segments: PlanBuilder<X86Register>;
      readonly info: ElfLoadInfo;
      readonly pvhEntry: bigint | undefined;
      /** The header of the bzImage that it was taken out of. */
      readonly image: BzImage | undefined;
    }
  | { readonly format: "bzImage"; readonly image: BzImage }
);

/** A file for x86, or whatever is no kernel at all. */
export type X86KernelFile = Exclude<KernelFile, { readonly format: "arm64-image" }>;

/** The kernel, placed. */
export interface PlacedKernel {
  readonly info: KernelInfo;
  /** One past all that it uses before it knows its memory map. */
  readonly end: bigint;
}

function notAvailable(source: Source, entry: X86Entry, has: string): DirectBootError {
  return new DirectBootError(
    "X86_ENTRY_NOT_AVAILABLE",
    `${source.name}: entry ${entry} was asked for, the kernel has ${has}`,
  );
}

/**
 * Reads the kernel's headers and chooses its entry. Throws NO_KERNEL_INSIDE, X86_ENTRY_NOT_AVAILABLE, and what the parsers
 * and checkKernelElf throw.
 */
export function* readX86Kernel(
  source: Source,
  file: X86KernelFile,
  asked: X86Entry | undefined,
): Task<X86Kernel> {
  if (file.format === "bzImage") {
    const { format, image } = file;
    yield* refuseMemdisk(source, image);
    const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
    const entry = asked ?? (has64 ? "64" : "32");
    if (entry === "pvh" || (entry === "64" && !has64)) {
      const has = has64 ? "a 64-bit and a 32-bit one; PVH is an ELF's" : "a 32-bit one";
      throw notAvailable(source, entry, has);
    }
    return { source, format, entry, image, architecture: has64 ? "x86_64" : "i386" };
  }
  const packing = file.decompression?.format;
  if (file.format !== "elf64" && file.format !== "elf32") throw yield* noKernel(source, packing);
  const is64 = file.format === "elf64";
  const elf = yield* readElf(source, undefined, is64 ? 64 : 32);
  const name = nameOfInner(source.name, packing);
  if (asked === undefined) yield* refuseMultiboot(source, name, elf);
  checkKernelElf(name, elf, is64 ? 64 : 32, asked !== "pvh");
  const entry = asked ?? (is64 ? "64" : "32");
  if (entry !== "pvh" && entry !== (is64 ? "64" : "32")) {
    throw notAvailable(source, entry, is64 ? "the 64-bit one of an ELF64" : "the 32-bit one of an ELF32");
  }
  const pvhEntry = entry === "pvh" ? (yield* findPvhNote(source, elf))?.entry : undefined;
  if (entry === "pvh" && pvhEntry === undefined) {
    throw notAvailable(source, entry, "no PVH note (CONFIG_PVH)");
  }
  const segments = new PlanBuilder<X86Register>();
  const info = yield* planKernelElf(segments, source, elf, KERNEL_TAG);
  const architecture = is64 ? "x86_64" : "i386";
  return { source, format: "elf", entry, segments, info, pvhEntry, image: file.image, architecture };
}

/** Places the kernel and adds its bytes to the plan: an ELF where it is linked, a bzImage at `address` or where it fits. */
export function planKernel(
  builder: PlanBuilder<X86Register>,
  placement: Placement,
  kernel: X86Kernel,
  address: bigint | undefined,
): PlacedKernel {
  if (kernel.format === "elf") {
    const { source, segments, info, pvhEntry } = kernel;
    builder.append(segments);
    const { minimumAddressUsed: gpa, nextAvailableAddress: end } = info;
    const entrypoint = pvhEntry ?? info.entrypoint;
    if (end > FOUR_GIB || entrypoint < gpa || entrypoint >= end) {
      throw new DirectBootError(
        "X86_ENTRY_NOT_MAPPED",
        `${source.name}: entry ${hex(entrypoint)}, kernel ${hexRange(gpa, end)}, mapped are 0x0-${hex(FOUR_GIB)}`,
      );
    }
    // Gaps between segments stay free for nobody: the kernel may use them before it knows its memory map.
    placement.take(gpa, end - gpa, KERNEL_TAG);
    placement.layout.checkIsRam(new MemoryRange(gpa, end), KERNEL_TAG);
    return { info: { gpa, size: end - gpa, entrypoint }, end };
  }
  const { source, image, entry } = kernel;
  const protocol = entry === "64" ? "64" : "32";
  const { loadAddress, end } = placeBzImage(placement, image, protocol, address, KERNEL_TAG);
  const entrypoint = protocol === "64" ? loadAddress + ENTRY_64_OFFSET : loadAddress;
  const { protectedModeOffset, protectedModeLength } = image;
  builder.sourceRange(
    loadAddress,
    KERNEL_TAG,
    wholeBzImage(source, image),
    protectedModeOffset,
    protectedModeLength,
  );
  const size = BigInt(pagesOf(protectedModeLength) * PAGE_BYTES);
  return { info: { gpa: loadAddress, size, entrypoint }, end };
}

/** The file, with zeros for the bytes that its last paragraph may lack. */
function wholeBzImage(source: Source, { protectedModeOffset, protectedModeLength }: BzImage): Source {
  const end = protectedModeOffset + protectedModeLength;
  if (hasKnownLength(source) && source.byteLength >= end) return source;
  return zeroExtend(source, end, null, {
    byteLength: leastBzImageBytes(protectedModeOffset, protectedModeLength),
    tooShort: (byteLength) => cutOffBzImage(source.name, byteLength, end),
  });
}

/** One past the highest address that the initrd may have a byte at. */
export function initrdLimit({ entry, architecture, image }: X86Kernel): bigint {
  if (entry === "pvh" && architecture === "x86_64") return FOUR_GIB;
  if (image === undefined) return architecture === "i386" ? I386_INITRD_ADDRESS_MAX + 1n : ADDRESS_LIMIT;
  const isFree = entry === "64" && (image.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0;
  return isFree ? ADDRESS_LIMIT : BigInt(image.initrdAddrMax) + 1n;
}
