/** The default GDT: OpenVMM's `import_default_gdt` (common.rs). */
import {
  type AddressLike,
  HV_PAGE_SIZE,
  hex,
  PAGE_BYTES,
  PHYSICAL_ADDRESS_LIMIT,
  toAddress,
} from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { ImageLoad, SegmentRegister, X86Register } from "../importers/importer.js";
import { applyPlanSync } from "../plan/apply.js";
import { PlanBuilder } from "../plan/plan.js";
import { X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES } from "./registers.js";

/** Bytes that the default GDT takes in guest memory: one page. */
export const DEFAULT_GDT_SIZE = 4096n;

/** Bytes in a descriptor: Intel SDM, volume 3A, figure 3-8. */
export const GDT_ENTRY_BYTES = 8;
const ENTRY_COUNT = 4;
const CODE_INDEX = 1;
const DATA_INDEX = 2;

/** The descriptor that loads a segment register so: Intel SDM, volume 3A, figure 3-8. */
export function segmentDescriptor({ base, limit, attributes }: Omit<SegmentRegister, "selector">): bigint {
  const granularity = 1 << 15; // the limit counts pages
  const scaled = BigInt((attributes & granularity) !== 0 ? limit >>> 12 : limit);
  return (
    (scaled & 0xffffn) |
    ((base & 0xff_ffffn) << 16n) |
    (BigInt(attributes) << 40n) |
    (((scaled >> 16n) & 0xfn) << 48n) |
    (((base >> 24n) & 0xffn) << 56n)
  );
}

/** Four entries: null, 64-bit code, data, null. Limit bits 16-19 stay zero, as OpenVMM leaves them. */
function defaultGdt(): Uint8Array {
  const bytes = new Uint8Array(GDT_ENTRY_BYTES * ENTRY_COUNT);
  const view = new DataView(bytes.buffer);
  const entry = (index: number, attributes: number): void => {
    view.setUint16(index * GDT_ENTRY_BYTES, 0xffff, true); // limit 0-15
    view.setUint16(index * GDT_ENTRY_BYTES + 5, attributes, true); // attributes, low and high byte
  };
  entry(CODE_INDEX, X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES);
  entry(DATA_INDEX, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES);
  return bytes;
}

/** Adds the default GDT at `gdtPageBase * 4096` and the seven registers that use it. */
export function planDefaultGdt(builder: PlanBuilder<X86Register>, gdtPageBase: bigint): void {
  const base = gdtPageBase * HV_PAGE_SIZE;
  if (base + DEFAULT_GDT_SIZE > PHYSICAL_ADDRESS_LIMIT) {
    throw new DirectBootError(
      "GDT_INVALID_ADDRESS",
      `the GDT at ${hex(base)} passes ${hex(PHYSICAL_ADDRESS_LIMIT)}`,
    );
  }
  const gdt = defaultGdt();
  builder.bytes(base, "default-gdt", gdt, Number(DEFAULT_GDT_SIZE) / PAGE_BYTES);
  builder.register({ name: "gdtr", value: { base, limit: gdt.byteLength - 1 } });

  const flat = (index: number, attributes: number): SegmentRegister => ({
    base: 0n,
    limit: 0xffff_ffff,
    selector: index * GDT_ENTRY_BYTES,
    attributes,
  });
  const data = flat(DATA_INDEX, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES);
  for (const name of ["ds", "es", "fs", "gs", "ss"] as const) builder.register({ name, value: data });
  builder.register({ name: "cs", value: flat(CODE_INDEX, X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES) });
}

/**
 * Imports a default GDT of one page, and GDTR, DS, ES, FS, GS, SS (entry 2) and CS (entry 1).
 *
 * @param gdtPageBase guest physical address of the GDT / 4096
 * @throws DirectBootError GDT_INVALID_ADDRESS; what the importer refuses
 *
 * @example
 * ```ts
 * import { RecordingImporter } from "directboot";
 * import { importDefaultGdt } from "directboot/loader";
 *
 * const importer = new RecordingImporter();
 * importDefaultGdt(importer, 1);
 * console.log(importer.calls.map((call) => (call.op === "register" ? call.register.name : call.tag)).join(" "));
 * // default-gdt gdtr ds es fs gs ss cs
 * ```
 */
export function importDefaultGdt(importer: ImageLoad<X86Register>, gdtPageBase: AddressLike): void {
  const builder = new PlanBuilder<X86Register>();
  planDefaultGdt(builder, toAddress(gdtPageBase, "gdtPageBase"));
  applyPlanSync(builder, importer);
}
