/**
 * Puts a Linux kernel into guest memory, in exactly the state that its boot protocol demands: {@link loadLinux} and
 * {@link loadLinuxSync} for any kernel, the functions of OpenVMM's loader for full control, and what both are made of.
 *
 * Addresses and register values are `bigint` in results, and `number | bigint` in arguments; lengths of host data are
 * `number`. What is wrong with an image, an option or a placement is thrown as a {@link DirectBootError}, a wrong argument
 * type as a `TypeError`.
 *
 * @module
 */
export {
  type KernelAndInitrdArm64Options,
  loadKernelAndInitrdArm64,
  setDirectBootRegistersArm64,
} from "./arm64/openvmm.js";
export type { Arm64Allowances } from "./arm64/options.js";
export {
  type AddressLike,
  alignUpTo1GbPageSize,
  alignUpToLargePageSize,
  alignUpToPageSize,
  HV_PAGE_SIZE,
} from "./base/address.js";
export { ERROR_CODES, type ErrorCode } from "./base/error-codes.js";
export { DirectBootError, type DirectBootErrorCode } from "./base/errors.js";
export {
  type Chosen,
  checkDeviceTree,
  type DeviceTreeNode,
  type MemoryNodeRange,
  memoryOfTree,
  readDeviceTree,
  setChosen,
} from "./firmware/device-tree.js";
export {
  type Aarch64ImageFlags,
  type Aarch64ImageHeader,
  Aarch64ImagePageSize,
} from "./images/arm64-image.js";
export type { ImageFormat } from "./images/detect.js";
export { ChunkBuf, type ImportFileRegion } from "./importers/chunk-buf.js";
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
export {
  type DetectedKernel,
  type DetectOptions,
  detectKernel,
  detectKernelSync,
} from "./linux/detect-kernel.js";
export {
  type ExtractedKernel,
  type ExtractOptions,
  extractKernel,
  extractKernelSync,
} from "./linux/extract-kernel.js";
export { LinuxPlan, type PlannedPages } from "./linux/linux-plan.js";
export { loadLinux, planLinux } from "./linux/load-linux.js";
export { loadLinuxSync, planLinuxSync } from "./linux/load-linux-sync.js";
export { LinuxGuest, type LoadedLinux, type RegistersByName } from "./linux/loaded-linux.js";
export type {
  ImporterOption,
  LinuxOptions,
  LinuxOptionsOf,
  LinuxSyncOptions,
} from "./linux/options.js";
export type { LoadOptions } from "./linux/prepare.js";
export {
  type GuestBuffer,
  GuestMemory,
  type MemoryBank,
  type MemoryBankInput,
} from "./memory/guest-memory.js";
export type { ClaimedBuffer, MemoryClaim } from "./memory/memory-claim.js";
export type { MemoryInput } from "./memory/memory-input.js";
export { MemoryLayout, type RamRange, type RamRangeInput } from "./memory/memory-layout.js";
export { MemoryRange } from "./memory/memory-range.js";
export { type ApplyOptions, applyPlan, applyPlanSync, type LoadProgress } from "./plan/apply.js";
export type { InitrdAddressType, InitrdConfig } from "./plan/initrd.js";
export type { InitrdInfo, KernelInfo, LoadInfo, LoadInfoInput } from "./plan/load-info.js";
export type { LoadPlan, PageData, PagesStep, PlanStep, RegisterStep } from "./plan/plan.js";
export type { EntryMode, GuestArchitecture } from "./plan/planned-guest.js";
export {
  type Architecture,
  ElfLoadInfo,
  loadStaticElf,
  type StaticElfOptions,
} from "./plan/static-elf.js";
export { BlobSource } from "./sources/blob.js";
export { BytesSource } from "./sources/bytes.js";
export { concatSources } from "./sources/concat.js";
export { FileSource } from "./sources/file.js";
export { type GunzipOptions, gunzipSource, gunzipSourceSync } from "./sources/gzip.js";
export type {
  BlobLike,
  ByteStream,
  ByteStreamReader,
  ByteStreamResult,
  FileHandle,
  ResponseLike,
} from "./sources/platform-shapes.js";
export { responseSource } from "./sources/response.js";
export {
  type AsyncByteInput,
  type ByteInput,
  type ByteRange,
  hasKnownLength,
  type Source,
  type StreamedSource,
  type SyncSource,
  UNKNOWN_LENGTH,
} from "./sources/source.js";
export { SpooledSource } from "./sources/spool.js";
export { type ChunkSupply, type StreamOptions, StreamSource, spoolIfUnknown } from "./sources/stream.js";
export { type LeastBytes, zeroExtend } from "./sources/zero-extend.js";
export type { Decoders } from "./unpack/decoding.js";
export type { Decompression } from "./unpack/kernel-file.js";
export type { BufferHotPaths, HotPathImplementation } from "./wasm/hot-path-functions.js";
export { crc32, hotPaths } from "./wasm/hot-paths.js";
export type { IdentityMap } from "./wasm/identity-map.js";
export { type BootParamsOptions, buildBootParams } from "./x86/boot-params.js";
export {
  buildE820Map,
  E820_ACPI,
  E820_NVS,
  E820_RAM,
  E820_RESERVED,
  E820_UNUSABLE,
  type E820Entry,
} from "./x86/e820.js";
export { DEFAULT_GDT_SIZE, importDefaultGdt } from "./x86/gdt.js";
export { computeVariableMtrrs, mtrrMask } from "./x86/mtrr.js";
export {
  type AcpiConfig,
  type ConfigOptions,
  type KernelAndInitrdX64Options,
  type LoadX86Options,
  loadConfig,
  loadKernelAndInitrdX64,
  loadX86,
  type RegisterConfig,
  type ZeroPageConfig,
} from "./x86/openvmm.js";
export type { X86Addresses, X86Entry } from "./x86/options.js";
export {
  buildPageTables64,
  type IdentityMapSize,
  type LargestPage,
  type MappedRange,
  PageTableBuilder,
  type PageTableBuilderOptions,
  type PageTableOptions,
} from "./x86/page-table.js";
export { buildZeroPage, type CommandLineConfig, type ZeroPageOptions } from "./x86/zero-page.js";
