/**
 * Puts a Linux kernel into guest memory, in exactly the state that its boot protocol demands: {@link loadLinux} and
 * {@link loadLinuxSync} for any kernel, {@link planLinux} and {@link applyPlan} to plan
 * once and load often. OpenVMM's functions are in `directboot/loader`.
 *
 * Addresses and register values are `bigint` in results, and `number | bigint` in arguments; lengths of host data are
 * `number`. A mistake in an image, an option or a placement is thrown as a {@link DirectBootError}, a wrong argument
 * type as a `TypeError`.
 *
 * @module
 */
export type { Arm64Allowances } from "./arm64/options.js";
export type { AddressLike } from "./base/address.js";
export { ERROR_CODES, type ErrorCode } from "./base/error-codes.js";
export { DirectBootError, type DirectBootErrorCode } from "./base/errors.js";
export { type AcpiTable, type AcpiTables, buildAcpiTables } from "./firmware/acpi/acpi-tables.js";
export { type DeviceTreeNode, readDeviceTree } from "./firmware/device-tree.js";
export { type Chosen, setChosen } from "./firmware/device-tree-chosen.js";
export { type MemoryNodeRange, memoryOfTree } from "./firmware/device-tree-memory.js";
export { buildMpTable } from "./firmware/mp-table.js";
export { buildSmbios } from "./firmware/smbios.js";
export type { Arm64PageSize } from "./images/arm64-image.js";
export type { CompressionImageFormat, ImageFormat } from "./images/detect.js";
export {
  GuestMemoryImporter,
  type GuestMemoryImporterOptions,
  type ImportedRegion,
} from "./importers/guest-memory-importer.js";
export type {
  Aarch64Register,
  Aarch64RegisterName,
  BootPageAcceptance,
  ImageLoad,
  ImportTransaction,
  SegmentRegister,
  TableRegister,
  VpRegister,
  X86Register,
  X86SegmentRegisterName,
  X86TableRegisterName,
  X86ValueRegisterName,
} from "./importers/importer.js";
export { type RecordedCall, RecordingImporter } from "./importers/recording-importer.js";
export { planFromTransferable } from "./linux/arrival-of-plan.js";
export {
  type DetectedKernel,
  type DetectKernelOptions,
  type DetectKernelSyncOptions,
  detectKernel,
  detectKernelSync,
} from "./linux/detect-kernel.js";
export {
  type ExtractedKernel,
  type ExtractKernelOptions,
  type ExtractKernelSyncOptions,
  extractKernel,
  extractKernelSync,
} from "./linux/extract-kernel.js";
export {
  type Arm64LinuxPlan,
  LinuxPlan,
  type PlannedPages,
  type TransferredPlan,
  type X86LinuxPlan,
} from "./linux/linux-plan.js";
export { loadLinux, planLinux } from "./linux/load-linux.js";
export { loadLinuxSync, planLinuxSync } from "./linux/load-linux-sync.js";
export {
  type Arm64LinuxGuest,
  type Arm64LoadedLinux,
  LinuxGuest,
  type LoadedLinux,
  type X86LinuxGuest,
  type X86LoadedLinux,
} from "./linux/loaded-linux.js";
export type {
  ImporterOption,
  ImportLinuxOptions,
  ImportLinuxSyncOptions,
  LinuxOptionsOf,
  LoadLinuxOptions,
  LoadLinuxSyncOptions,
  PlanLinuxOptions,
  PlanLinuxSyncOptions,
} from "./linux/options.js";
export type { Aarch64Registers, ForArm64, ForX86, RegistersByName, X86Registers } from "./linux/registers.js";
export type { TransferOptions, TravellingSource } from "./linux/travel.js";
export { checkMachine } from "./machine/check-machine.js";
export type {
  Arm64Interrupts,
  Arm64Machine,
  InterruptLine,
  InterruptOverride,
  IoApic,
  MachineCpu,
  MachineDescription,
  MachineIdentity,
  MachineParts,
  PciInterruptRoute,
  PciIoWindow,
  PciMemoryWindow,
  PciRoot,
  RealTimeClock,
  RegisterRange,
  ResetRegister,
  Riscv64Interrupts,
  Riscv64Machine,
  SerialPort,
  VirtioMmioDevice,
  X86Interrupts,
  X86Machine,
  X86Power,
  X86Timers,
} from "./machine/description.js";
export { machines } from "./machine/machines.js";
export type { CpusInput, PresetOptions } from "./machine/preset-options.js";
export type { QemuVirtArm64Options } from "./machine/qemu-arm64.js";
export type { QemuMicrovmOptions, QemuPcOptions } from "./machine/qemu-x86.js";
export { GuestMemory, type MemoryBank } from "./memory/guest-memory.js";
export type { GuestBuffer } from "./memory/host-buffer.js";
export type { ClaimedBuffer, MemoryClaim } from "./memory/memory-claim.js";
export type { MemoryInput } from "./memory/memory-input.js";
export { MemoryLayout, type RamRange, type RamRangeInput } from "./memory/memory-layout.js";
export { MemoryRange, type MemoryRangeInput } from "./memory/memory-range.js";
export type { MemoryBankInput } from "./memory/segments.js";
export { type ApplyOptions, type ApplySyncOptions, applyPlan, applyPlanSync } from "./plan/apply.js";
export type { InitrdInfo, KernelInfo, LoadInfo, LoadInfoInput } from "./plan/load-info.js";
export type { LoadPlan, PageData, PagesStep, PlanStep, RegisterStep } from "./plan/plan.js";
export type {
  EntryMode,
  GuestAddresses,
  GuestArchitecture,
  GuestOptions,
  GuestText,
} from "./plan/planned-guest.js";
export type { LoadProgress, OnProgress } from "./plan/progress.js";
export { BlobSource } from "./sources/blob.js";
export { BytesSource } from "./sources/bytes.js";
export { FileSource } from "./sources/file.js";
export type {
  BlobLike,
  ByteStream,
  ByteStreamReader,
  ByteStreamResult,
  FileHandle,
  HeadersLike,
  ResponseLike,
} from "./sources/platform-shapes.js";
export { responseSource } from "./sources/response.js";
export type {
  AsyncByteInput,
  ByteInput,
  ByteRange,
  Source,
  StreamedSource,
  SyncSource,
} from "./sources/source.js";
export type { StreamOptions, StreamSource } from "./sources/stream.js";
export { concatSources } from "./sources/views.js";
export type { Decompression } from "./unpack/kernel-file.js";
export type { Decoders } from "./unpack/unpacking.js";
export type { HotPathImplementation } from "./wasm/hot-path-functions.js";
export { crc32, hotPaths } from "./wasm/hot-paths.js";
export type { IdentityMap } from "./wasm/identity-map.js";
export type { E820Entry, E820EntryInput } from "./x86/e820.js";
export type { X86Addresses, X86Entry } from "./x86/options.js";
