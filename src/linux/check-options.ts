/** Types of all options, checked first thing in a public call: nothing is open yet, and every error names the option. */

import type { Arm64Allowances } from "../arm64/options.js";
import { describeType, hasMethods } from "../base/describe.js";
import {
  type Checks,
  is,
  isAddress,
  isBoolean,
  isLength,
  isSignal,
  listOf,
  oneOf,
  optional,
  options,
  shape,
} from "../base/options.js";
import { ARM64_PAGE_SIZES } from "../images/arm64-image.js";
import { type MemoryInput, ramSizeOf } from "../memory/memory-input.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { APPLY_OPTIONS } from "../plan/apply.js";
import { TEXT_OPTIONS } from "../plan/command-line.js";
import { checkByteInput } from "../sources/open.js";
import type { X86Addresses } from "../x86/options.js";
import type { LoadLinuxOptions } from "./options.js";

const isDecoders = /* @__PURE__ */ is("the module directboot/decoders", (value) =>
  hasMethods(value, ["decompressInto"]),
);
const isAddressOrNone = /* @__PURE__ */ optional(isAddress);

const ADDRESSES: Checks<keyof X86Addresses & string> = {
  initrd: isAddressOrNone,
  kernel: isAddressOrNone,
  gdt: isAddressOrNone,
  zeroPage: isAddressOrNone,
  commandLine: isAddressOrNone,
  pageTables: isAddressOrNone,
  setupData: isAddressOrNone,
  rsdp: isAddressOrNone,
  acpiTables: isAddressOrNone,
};

const ARM64: Checks<keyof Arm64Allowances & string> = /* @__PURE__ */ (() => ({
  pageSizes: optional(listOf(oneOf(...ARM64_PAGE_SIZES))),
  lowPlacement: optional(isBoolean),
}))();

const RESERVATION: Checks = /* @__PURE__ */ (() => ({
  start: isAddress,
  end: isAddress,
  type: is("a number", (value) => typeof value === "number"),
}))();

/** The options of loadLinux, planLinux and their synchronous forms. docs/options.md has a section for each. */
export const LOAD_OPTIONS: Checks<(keyof LoadLinuxOptions | "importer") & string> = /* @__PURE__ */ (() => ({
  memory: (value) => void ramSizeOf(value as MemoryInput),
  kernel: checkByteInput,
  architecture: optional(oneOf("x86_64", "i386", "aarch64")),
  initrd: optional((value, path) =>
    Array.isArray(value) ? listOf(checkByteInput)(value, path) : checkByteInput(value, path),
  ),
  deviceTree: optional(checkByteInput),
  // Looked into by the description's own check, before anything is opened.
  machine: optional(is("a MachineDescription", (value) => typeof value === "object" && value !== null)),
  acpi: optional(options({ rsdp: checkByteInput, tables: checkByteInput })),
  entry: optional(oneOf("64", "32", "pvh")),
  addresses: optional(options(ADDRESSES)),
  reservations: optional(listOf(shape(RESERVATION))),
  mtrrs: optional(oneOf("variable", "fixed-only")),
  physicalAddressWidth: optional(isLength),
  arm64: optional(options(ARM64)),
  spoolLimit: optional(isLength),
  maxDecompressedSize: optional(isAddress),
  decompress: optional(oneOf("host", "guest")),
  decompressInto: optional(oneOf("memory", "buffer")),
  decompressInitrd: optional(isBoolean),
  decoders: optional(isDecoders),
  importer: optional(
    is("an object with importPages and importVpRegister", (value) =>
      hasMethods(value, ["importPages", "importVpRegister"]),
    ),
  ),
  crc32: optional(isBoolean),
  ...TEXT_OPTIONS,
  ...APPLY_OPTIONS,
}))();

const checkLoad = /* @__PURE__ */ options(LOAD_OPTIONS);

/**
 * Throws TypeError for options of a wrong type or an unknown name, and for a memory beside an importer, which has its
 * own; DirectBootError ADDRESS_OUT_OF_RANGE.
 */
export function checkLoadOptions(given: object): void {
  checkLoad(given, "");
  const { importer, memory } = given as Partial<Record<string, unknown>>;
  if (importer === undefined || typeof memory === "number" || typeof memory === "bigint") return;
  if (memory instanceof MemoryLayout) return;
  throw new TypeError(
    `with an importer memory must be a number of bytes or a MemoryLayout, got ${describeType(memory)}`,
  );
}

/** Throws TypeError for options of detectKernel that are of a wrong type or have an unknown name. */
export const checkDetectOptions = /* @__PURE__ */ (() =>
  options({ decoders: optional(isDecoders), signal: optional(isSignal) }))();

/** The same for inspectKernel. */
export const checkInspectOptions = /* @__PURE__ */ (() =>
  options({
    decoders: optional(isDecoders),
    unpack: optional(oneOf("none", "wrappers", "all")),
    spoolLimit: optional(isLength),
    signal: optional(isSignal),
  }))();

/** The same for extractKernel. */
export const checkExtractOptions = /* @__PURE__ */ (() =>
  options({
    maxDecompressedSize: optional(isLength),
    decoders: optional(isDecoders),
    ...APPLY_OPTIONS,
  }))();
