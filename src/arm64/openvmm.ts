/**
 * Linux on arm64 as OpenVMM loads it (linux.rs): `load_kernel_and_initrd_arm64` and
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
import { isAddress, options } from "../base/options.js";
import { readArm64Image } from "../images/arm64-image.js";
import type { Aarch64Register, ImageLoad } from "../importers/importer.js";
import { applyPlanSync, carryOut, checkImporter } from "../plan/apply.js";
import { checkInitrdConfig, type InitrdAddressType, type InitrdConfig, planInitrd } from "../plan/initrd.js";
import { LoadInfo, type LoadInfoInput, toLoadInfo } from "../plan/load-info.js";
import { PlanBuilder } from "../plan/plan.js";
import { checkByteInput, withSources } from "../sources/open.js";
import { withKnownLength } from "../sources/reading.js";
import type { AsyncByteInput, ByteInput, Source } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { type Arm64Kernel, readArm64Kernel } from "./kernel.js";
import { DIRECT_BOOT_CPSR, DIRECT_BOOT_SCTLR_EL1, DIRECT_BOOT_TCR_EL1 } from "./registers.js";

/** Options of {@link loadKernelAndInitrdArm64}. */
export interface KernelAndInitrdArm64Options<Input = ByteInput> {
  /** The uncompressed `Image`: bytes, a source, or in Node a path. */
  readonly kernel: Input;
  /** The base that text_offset counts from, 2 MiB aligned. */
  readonly kernelMinimumStartAddress: AddressLike;
  /** The initrd and its place; none by default. */
  readonly initrd?: InitrdConfig<Input> | null | undefined;
  /** A flattened device tree; goes to the page behind the kernel as it is. */
  readonly deviceTree?: Input | null | undefined;
}

/**
 * Adds kernel, device tree and initrd to a plan.
 *
 * @param places the base that text_offset counts from; where the tree goes, by default the page behind the kernel; where the
 *   initrd goes
 */
export function planKernelAndInitrdArm64(
  builder: PlanBuilder<Aarch64Register>,
  { textOffset, size, used, image }: Arm64Kernel,
  { deviceTree, initrd }: Readonly<Record<"deviceTree" | "initrd", Source | null | undefined>>,
  places: {
    readonly start: bigint;
    readonly tree?: bigint | undefined;
    readonly initrd: InitrdAddressType | undefined;
  },
): LoadInfo {
  const loadAddress = places.start + textOffset;
  const end = loadAddress + used;
  builder.wholeSource(loadAddress, "linux-kernel", image, Number(size / HV_PAGE_SIZE));
  let dtb: LoadInfo["dtb"];
  if (deviceTree != null) {
    const start = places.tree ?? alignUpToPageSize(end);
    dtb = { start, end: addAddresses(start, BigInt(deviceTree.byteLength), "end of the device tree") };
    builder.wholeSource(start, "linux-device-tree", deviceTree);
  }
  const initrdInfo = planInitrd(builder, initrd, places.initrd, dtb?.end ?? end);
  return new LoadInfo({ gpa: places.start, size, entrypoint: loadAddress }, initrdInfo, dtb);
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

const checkKernelOptions = options({
  kernelMinimumStartAddress: isAddress,
  kernel: checkByteInput,
  initrd: checkInitrdConfig,
  deviceTree: () => {},
});

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
  checkKernelOptions(options, "");
  return runSync(load(importer, options));
}

/** The asynchronous {@link loadKernelAndInitrdArm64}: its inputs may also come from Blobs, Responses and streams. */
export async function loadKernelAndInitrdArm64Async(
  importer: ImageLoad<Aarch64Register>,
  options: KernelAndInitrdArm64Options<AsyncByteInput>,
): Promise<LoadInfo> {
  checkKernelOptions(options, "");
  return await runAsync(load(importer, options));
}

function* load(
  importer: ImageLoad<Aarch64Register>,
  options: KernelAndInitrdArm64Options<AsyncByteInput>,
): Task<LoadInfo> {
  checkImporter(importer);
  const start = toAddress(options.kernelMinimumStartAddress, "kernelMinimumStartAddress");
  const { kernel, deviceTree, initrd } = options;
  return yield* withSources({ kernel, deviceTree, initrd: initrd?.initrd }, function* (sources) {
    if (start % LARGE_PAGE_SIZE !== 0n) {
      throw new DirectBootError(
        "ARM64_START_UNALIGNED",
        `the kernel's start address ${hex(start)} is not a multiple of ${hex(LARGE_PAGE_SIZE)}`,
      );
    }
    const header = yield* readArm64Image(sources.kernel);
    const image = yield* readArm64Kernel(sources.kernel, header, undefined, start);
    const builder = new PlanBuilder<Aarch64Register>();
    const places = { start, initrd: initrd?.initrdAddress };
    const whole = {
      deviceTree: sources.deviceTree == null ? undefined : yield* withKnownLength(sources.deviceTree),
      initrd: sources.initrd == null ? undefined : yield* withKnownLength(sources.initrd),
    };
    const info = planKernelAndInitrdArm64(builder, image, whole, places);
    yield* carryOut(builder, importer, {});
    return info;
  });
}

/**
 * Imports the registers of a direct boot: MMU off, EL1h, all exceptions masked, PC at the entry point, X0 at the
 * device tree.
 */
export function setDirectBootRegistersArm64(
  importer: ImageLoad<Aarch64Register>,
  loadInfo: LoadInfoInput,
): void {
  checkImporter(importer);
  const builder = new PlanBuilder<Aarch64Register>();
  planDirectBootRegistersArm64(builder, toLoadInfo(loadInfo));
  applyPlanSync(builder, importer);
}
