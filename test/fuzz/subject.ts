/** What is fuzzed. A test that plants mistakes hands the targets a subject of its own. */
import * as decoders from "../../src/decoders/index.js";
import {
  checkDeviceTree,
  memoryOfTree,
  readDeviceTree,
  reservationsOfTree,
  setChosen,
} from "../../src/firmware/device-tree.js";
import { readTree } from "../../src/firmware/device-tree-file.js";
import { readArm64Image } from "../../src/images/arm64-image.js";
import { readArm64ImageFields } from "../../src/images/arm64-image-fields.js";
import { readBzImage } from "../../src/images/bzimage.js";
import { readBzImageFields } from "../../src/images/bzimage-fields.js";
import { readElf, readElf32 } from "../../src/images/elf.js";
import {
  pvhNoteField,
  readElfFileHeaderFields,
  readElfProgramHeaderFields,
} from "../../src/images/elf-fields.js";
import { findPvhNote } from "../../src/images/elf-notes.js";
import { readZboot } from "../../src/images/zboot.js";
import { readZbootFields } from "../../src/images/zboot-fields.js";
import { checkFileRegion } from "../../src/importers/file-region.js";
import type { VpRegister } from "../../src/importers/importer.js";
import { detectKernel, detectKernelSync } from "../../src/linux/detect-kernel.js";
import { extractKernel, extractKernelSync } from "../../src/linux/extract-kernel.js";
import { loadLinux, planLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync, planLinuxSync } from "../../src/linux/load-linux-sync.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import { checkCommandLineLength, commandLineBytes } from "../../src/plan/command-line.js";
import { PlanBuilder } from "../../src/plan/plan.js";
import { planSegments } from "../../src/plan/segments.js";
import { gunzipSource, gunzipSourceSync } from "../../src/sources/gzip.js";
import { runSync } from "../../src/task/run.js";
import { plainInitrds } from "../../src/unpack/initrd.js";
import { buildBootParams } from "../../src/x86/boot-params.js";
import { buildE820Map, encodeE820Entries } from "../../src/x86/e820.js";
import { computeVariableMtrrs } from "../../src/x86/mtrr.js";
import { buildSetupData, splitE820 } from "../../src/x86/setup-data.js";
import { openDriver } from "./drivers.js";

/** Everything that the targets call. */
export const SUBJECT = {
  openDriver,
  readElf,
  readElf32,
  readElfFileHeaderFields,
  readElfProgramHeaderFields,
  pvhNoteField,
  findPvhNote,
  readBzImage,
  readBzImageFields,
  readArm64Image,
  readArm64ImageFields,
  readZboot,
  readZbootFields,
  readTree,
  checkDeviceTree,
  readDeviceTree,
  memoryOfTree,
  reservationsOfTree,
  setChosen,
  decoders,
  gunzipSource,
  gunzipSourceSync,
  plainInitrds,
  detectKernel,
  detectKernelSync,
  extractKernel,
  extractKernelSync,
  makeLayout: (...parameters: ConstructorParameters<typeof MemoryLayout>): MemoryLayout =>
    new MemoryLayout(...parameters),
  commandLineBytes,
  checkCommandLineLength,
  makePlan: (): PlanBuilder<VpRegister> => new PlanBuilder<VpRegister>(),
  checkFileRegion,
  planSegmentsSync: (...parameters: Parameters<typeof planSegments<VpRegister>>): void =>
    runSync(planSegments(...parameters)),
  buildE820Map,
  encodeE820Entries,
  splitE820,
  buildSetupData,
  buildBootParams,
  computeVariableMtrrs,
  applyPlan,
  applyPlanSync,
  planLinux,
  planLinuxSync,
  loadLinux,
  loadLinuxSync,
} as const;

/** What is fuzzed, or stands in for it. */
export type Subject = typeof SUBJECT;
