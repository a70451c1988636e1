/**
 * OpenVMM's loader crate, call for call, under its names in camelCase: {@link loadX86} and {@link loadConfig},
 * {@link loadKernelAndInitrdArm64} and {@link setDirectBootRegistersArm64}, and what they are made of. Nothing is placed for
 * the caller: every address is an argument. Guest memory, layouts, importers and errors are those of `directboot`.
 *
 * @module
 */
export {
  type KernelAndInitrdArm64Options,
  loadKernelAndInitrdArm64,
  loadKernelAndInitrdArm64Async,
  setDirectBootRegistersArm64,
} from "./arm64/openvmm.js";
export {
  type AddressLike,
  alignUpTo1GbPageSize,
  alignUpToLargePageSize,
  alignUpToPageSize,
  HV_PAGE_SIZE,
} from "./base/address.js";
export {
  type Aarch64ImageFlags,
  type Aarch64ImageHeader,
  Aarch64ImagePageSize,
} from "./images/arm64-image.js";
export { ChunkBuf, type ImportFileRegion } from "./importers/chunk-buf.js";
export type {
  Aarch64Register,
  BootPageAcceptance,
  ImageLoad,
  SegmentRegister,
  TableRegister,
  VpRegister,
  X86Register,
} from "./importers/importer.js";
export type { InitrdAddressType, InitrdConfig } from "./plan/initrd.js";
export type { InitrdInfo, KernelInfo, LoadInfo, LoadInfoInput } from "./plan/load-info.js";
export {
  type Architecture,
  ElfLoadInfo,
  loadStaticElf,
  loadStaticElfAsync,
  type StaticElfOptions,
} from "./plan/static-elf.js";
export {
  E820_ACPI,
  E820_NVS,
  E820_RAM,
  E820_RESERVED,
  E820_UNUSABLE,
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
  loadKernelAndInitrdX64Async,
  loadX86,
  loadX86Async,
  type RegisterConfig,
  type ZeroPageConfig,
} from "./x86/openvmm.js";
export {
  buildPageTables64,
  type IdentityMapSize,
  type PageTableOptions,
} from "./x86/page-table.js";
export {
  type LargestPage,
  type MappedRange,
  PageTableBuilder,
  type PageTableBuilderOptions,
} from "./x86/page-table-builder.js";
export {
  X64_CR0_PE,
  X64_CR0_PG,
  X64_CR4_PAE,
  X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES,
  X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES,
  X64_EFER_LMA,
  X64_EFER_LME,
  X64_EFER_NXE,
  X64_EFER_SCE,
  X86X_MSR_DEFAULT_PAT,
} from "./x86/registers.js";
export { buildZeroPage, type CommandLineConfig, type ZeroPageOptions } from "./x86/zero-page.js";
