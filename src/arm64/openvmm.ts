/**
 * Linux on arm64 as the seeds load it (linux.rs): `load_kernel_and_initrd_arm64` and
 * `set_direct_boot_registers_arm64`. The protocol is Documentation/arch/arm64/booting.rst.
 *
 *     kernelMinimumStartAddress (2 MiB aligned)
 *     + text_offset              Image, image_size bytes, up to a page boundary
 *     next page                  device tree
 *     next 2 MiB boundary        initrd
 */
import {
  type AddressLike,
  addAddresses,
  alignUpToPageSize,
  HV_PAGE_SIZE,
  hex,
  LARGE_PAGE_SIZE,
  toAddress,
} from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import {
  Aarch64ImagePageSize,
  cutOffImage,
  decodeAarch64ImageFlags,
  leastArm64ImageBytes,
  readArm64Image,
} from "../images/arm64-image.js";
import { DETECT_BYTES } from "../images/detect.js";
import type { Aarch64Register, ImageLoad } from "../importers/importer.js";
import { applyPlanSync } from "../plan/apply.js";
import { type InitrdConfig, type OpenInitrd, openInitrd, planInitrd } from "../plan/initrd.js";
import { LoadInfo, type LoadInfoInput, toLoadInfo } from "../plan/load-info.js";
import { PlanBuilder } from "../plan/plan.js";
import { openSource } from "../sources/open.js";
import { readHead } from "../sources/reading.js";
import { type ByteInput, hasKnownLength, knownLength, type Source } from "../sources/source.js";
import { zeroExtend } from "../sources/zero-extend.js";
import { runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { DIRECT_BOOT_CPSR, DIRECT_BOOT_SCTLR_EL1, DIRECT_BOOT_TCR_EL1 } from "./registers.js";

/** Options of {@link loadKernelAndInitrdArm64}. */
export interface KernelAndInitrdArm64Options {
  /** The uncompressed `Image`: bytes, a source, or in Node a path. */
  readonly kernel: ByteInput;
  /** The base that text_offset counts from, 2 MiB aligned. */
  readonly kernelMinimumStartAddress: AddressLike;
  /** The initrd and its place; none by default. */
  readonly initrd?: InitrdConfig | null | undefined;
  /** A flattened device tree; goes to the page behind the kernel as it is. */
  readonly deviceTree?: ByteInput | null | undefined;
}

/** Which Images are taken: the seeds take those of 4 KiB pages that may be placed anywhere. */
export interface Arm64ImageRules {
  readonly pageSizes: readonly Aarch64ImagePageSize[];
  readonly lowPlacement: boolean;
  /**
   * Take an image_size of 0 as booting.rst has it: text_offset is {@link OLD_TEXT_OFFSET} whatever the field says, and
   * the memory behind the file is the kernel's.
   */
  readonly oldImages: boolean;
  /** Refuse a file that ends before what its PE header says. */
  readonly whole: boolean;
}

/** booting.rst, "Call the kernel image": "Where image_size is zero, text_offset can be assumed to be 0x80000." */
const OLD_TEXT_OFFSET = 0x8_0000n;
/**
 * What such a kernel may use from its start on: booting.rst gives no limit, U-Boot takes 16 MiB (arch/arm/lib/image.c,
 * booti_setup).
 */
const OLD_IMAGE_BYTES = 0x100_0000n;

const SEEDS_RULES: Arm64ImageRules = { pageSizes: [1], lowPlacement: false, oldImages: false, whole: false };

/** An Image as it will lie in memory. */
export interface Arm64Kernel {
  /** Where it goes: `start` and text_offset. */
  readonly loadAddress: bigint;
  /** Bytes of its pages. */
  readonly size: bigint;
  /** Bytes that are its own from its start on. */
  readonly used: bigint;
  /** `loadAddress + used`. */
  readonly end: bigint;
  /** Bit 3 of its flags. */
  readonly anyStartAddress: boolean;
  readonly image: Source;
}

/** Reads an Image's header, and says what there is to know of a kernel whose base is `start`. Throws ARM64_*. */
export function* readArm64Kernel(kernel: Source, start: bigint, rules: Arm64ImageRules): Task<Arm64Kernel> {
  const header = yield* readArm64Image(kernel);
  const flags = decodeAarch64ImageFlags(header.flags);
  const refuse = (
    code:
      | "ARM64_BIG_ENDIAN_KERNEL_IMAGE"
      | "ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED"
      | "ARM64_LOW_MEMORY_KERNEL",
    why: string,
  ): never => {
    throw new DirectBootError(code, `${kernel.name}: flags ${hex(header.flags)}: ${why}`);
  };
  if (flags.bigEndian) refuse("ARM64_BIG_ENDIAN_KERNEL_IMAGE", "bit 0 says big-endian");
  if (!rules.pageSizes.includes(flags.pageSize)) {
    refuse(
      "ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED",
      `bits 1-2 say page size ${flags.pageSize}, ${rules.pageSizes.join(" or ")}${rules.pageSizes.length === 1 && rules.pageSizes[0] === Aarch64ImagePageSize.PAGE4_K ? " (4 KiB)" : ""} is wanted`,
    );
  }
  if (!flags.anyStartAddress && !rules.lowPlacement)
    refuse("ARM64_LOW_MEMORY_KERNEL", "bit 3, any placement, is not set");

  const least = rules.whole ? leastArm64ImageBytes(yield* readHead(kernel, DETECT_BYTES)) : 0;
  if (kernel.byteLength < least) throw cutOffImage(kernel.name, kernel.byteLength, least);
  const isOld = rules.oldImages && header.imageSize === 0n;
  const textOffset = isOld ? OLD_TEXT_OFFSET : header.textOffset;
  const loadAddress = addAddresses(start, textOffset, `${kernel.name}: start address and text_offset`);
  if (loadAddress % HV_PAGE_SIZE !== 0n) {
    throw new DirectBootError(
      "ARM64_BAD_IMAGE_SIZE",
      `${kernel.name}: text_offset ${hex(textOffset)} is not a multiple of ${hex(HV_PAGE_SIZE)}`,
    );
  }
  const fileSize = BigInt(header.imageSize === 0n ? knownLength(kernel) : kernel.byteLength);
  const size = alignUpToPageSize(header.imageSize === 0n ? fileSize : header.imageSize);
  const tooLong = (): DirectBootError =>
    new DirectBootError(
      "ARM64_BAD_IMAGE_SIZE",
      `${kernel.name}: the file has ${hasKnownLength(kernel) ? hex(kernel.byteLength) : "more"} bytes, its image_size is ${hex(header.imageSize)}`,
    );
  if (size < fileSize && hasKnownLength(kernel)) throw tooLong();
  const used = isOld && size < OLD_IMAGE_BYTES ? OLD_IMAGE_BYTES : size;
  const end = addAddresses(loadAddress, used, `${kernel.name}: end of the kernel`);
  const tooShort = (byteLength: number): DirectBootError => cutOffImage(kernel.name, byteLength, least);
  // A stream of unknown length fills image_size at most: what it lacks is zero.
  const image = hasKnownLength(kernel)
    ? kernel
    : zeroExtend(kernel, toImageLength(size, kernel), tooLong, { byteLength: least, tooShort });
  return { loadAddress, size, used, end, anyStartAddress: flags.anyStartAddress, image };
}

/**
 * Adds kernel, device tree and initrd to a plan. `start` is checked before the image is read.
 *
 * @param treeAddress where the device tree goes; the page behind the kernel by default
 */
export function* planKernelAndInitrdArm64(
  builder: PlanBuilder<Aarch64Register>,
  kernel: Source,
  start: bigint,
  initrd: OpenInitrd | undefined,
  deviceTree: Source | undefined,
  rules: Arm64ImageRules = SEEDS_RULES,
  treeAddress?: bigint,
): Task<LoadInfo> {
  if (start % LARGE_PAGE_SIZE !== 0n) {
    throw new DirectBootError(
      "ARM64_START_UNALIGNED",
      `the kernel's start address ${hex(start)} is not a multiple of ${hex(LARGE_PAGE_SIZE)}`,
    );
  }
  const { loadAddress, size, end, image } = yield* readArm64Kernel(kernel, start, rules);
  builder.wholeSource(loadAddress, "linux-kernel", image, Number(size / HV_PAGE_SIZE));

  let dtb: LoadInfo["dtb"];
  if (deviceTree !== undefined) {
    const dtbStart = treeAddress ?? alignUpToPageSize(end);
    dtb = {
      start: dtbStart,
      end: addAddresses(dtbStart, BigInt(deviceTree.byteLength), "end of the device tree"),
    };
    builder.wholeSource(dtbStart, "linux-device-tree", deviceTree);
  }
  const initrdInfo = planInitrd(builder, initrd, dtb?.end ?? end);
  return new LoadInfo({ gpa: start, size, entrypoint: loadAddress }, initrdInfo, dtb);
}

/** image_size as a host length. Throws ARM64_BAD_IMAGE_SIZE for one that no memory has. */
function toImageLength(size: bigint, kernel: Source): number {
  if (size <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(size);
  throw new DirectBootError("ARM64_BAD_IMAGE_SIZE", `${kernel.name}: image_size is ${hex(size)}`);
}

/** Adds the registers of a direct boot to a plan, in upstream's order; X0 only if there is a device tree. */
export function planDirectBootRegistersArm64(
  builder: PlanBuilder<Aarch64Register>,
  loadInfo: LoadInfo,
): void {
  builder.register({ name: "pc", value: loadInfo.kernel.entrypoint });
  builder.register({ name: "cpsr", value: DIRECT_BOOT_CPSR });
  builder.register({ name: "sctlrEl1", value: DIRECT_BOOT_SCTLR_EL1 });
  builder.register({ name: "tcrEl1", value: DIRECT_BOOT_TCR_EL1 });
  builder.register({ name: "ttbr0El1", value: 0n });
  builder.register({ name: "ttbr1El1", value: 0n });
  builder.register({ name: "vbarEl1", value: 0n });
  if (loadInfo.dtb !== undefined) builder.register({ name: "x0", value: loadInfo.dtb.start });
}

/**
 * Loads an arm64 Image, an optional device tree and an optional initrd, without registers.
 * `LoadInfo.kernel.gpa` is the minimum start address; `entrypoint` has text_offset added.
 *
 * @throws DirectBootError ARM64_*, UNALIGNED_ADDRESS, ADDRESS_OVERFLOW before anything is imported; see
 *   {@link applyPlanSync} for the rest
 *
 * @example
 * ```ts
 * import { type Aarch64Register, GuestMemory, GuestMemoryImporter, MemoryLayout } from "directboot";
 * import { loadKernelAndInitrdArm64, setDirectBootRegistersArm64 } from "directboot/loader";
 *
 * const layout = new MemoryLayout([{ start: 0x4000_0000, end: 0x4800_0000 }]);
 * const importer = new GuestMemoryImporter<Aarch64Register>(GuestMemory.create(layout));
 * const info = loadKernelAndInitrdArm64(importer, {
 *   kernel: "Image",
 *   kernelMinimumStartAddress: 0x4020_0000,
 *   deviceTree: "machine.dtb",
 * });
 * setDirectBootRegistersArm64(importer, info);
 * console.log(info.kernel.entrypoint === importer.registerList.find(({ name }) => name === "pc")?.value); // true
 * ```
 */
export function loadKernelAndInitrdArm64(
  importer: ImageLoad<Aarch64Register>,
  options: KernelAndInitrdArm64Options,
): LoadInfo {
  const start = toAddress(options.kernelMinimumStartAddress, "kernelMinimumStartAddress");
  const kernel = openSource(options.kernel, "kernel");
  const closers = [kernel.close];
  try {
    const initrd = openInitrd(options.initrd);
    if (initrd !== undefined) closers.push(initrd.close);
    const deviceTree = options.deviceTree == null ? undefined : openSource(options.deviceTree, "device tree");
    if (deviceTree !== undefined) closers.push(deviceTree.close);
    const builder = new PlanBuilder<Aarch64Register>();
    const info = runSync(
      planKernelAndInitrdArm64(builder, kernel.source, start, initrd?.initrd, deviceTree?.source),
    );
    applyPlanSync(builder, importer);
    return info;
  } finally {
    for (const close of closers) close();
  }
}

/**
 * Imports the registers of a direct boot: MMU off, EL1h, all exceptions masked, PC at the entry point, X0 at the
 * device tree.
 */
export function setDirectBootRegistersArm64(
  importer: ImageLoad<Aarch64Register>,
  loadInfo: LoadInfoInput,
): void {
  const builder = new PlanBuilder<Aarch64Register>();
  planDirectBootRegistersArm64(builder, toLoadInfo(loadInfo));
  applyPlanSync(builder, importer);
}
