/**
 * Explains kernel files, and a guest's memory and registers, as plain data and as a picture.
 *
 * @module
 */
export { describeGdt, type GdtEntry } from "./describe-gdt.js";
export { describeRegister, type RegisterDescription } from "./describe-register.js";
export { drawMemoryMap } from "./draw-memory-map.js";
export {
  decodeE820,
  decodeE820Extension,
  decodeStartInfoMap,
  e820TypeName,
  type NamedE820Entry,
} from "./e820-table.js";
export type { InspectedField, InspectedSegment, KernelHeaders } from "./kernel-headers.js";
export {
  type InspectedCompression,
  type InspectKernelOptions,
  type InspectKernelSyncOptions,
  inspectKernel,
  inspectKernelSync,
  type KernelInspection,
} from "./kernel-inspection.js";
export type { DrawMemoryMapOptions } from "./map-input.js";
export type { MemoryMapTheme } from "./map-theme.js";
export {
  type MapAddress,
  type MapHole,
  type MapRange,
  type MapRegion,
  type MemoryMap,
  type MemoryMapInput,
  memoryMapOf,
  type RangeInput,
  type RegionKind,
  regionKind,
} from "./memory-map.js";
export {
  type MappedPages,
  type PageTable,
  type PageTableEntry,
  type PageTableTreeOptions,
  type PhysicalMemory,
  pageTableTree,
} from "./page-table-tree.js";
export { type RegionChecksum, regionChecksums } from "./region-checksums.js";
export type { RegisterField, RegisterPart } from "./register-fields.js";
export { describeStartInfo, describeZeroPage } from "./zero-page-fields.js";
