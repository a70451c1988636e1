/** The default GDT: OpenVMM's `import_default_gdt` (common.rs). */
import { type AddressLike, HV_PAGE_SIZE, hex, PHYSICAL_ADDRESS_LIMIT, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { ImageLoad, SegmentRegister, X86Register } from "../importers/importer.js";
import { applyPlanSync } from "../plan/apply.js";
import { PlanBuilder } from "../plan/plan.js";
import { X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES } from "./registers.js";

/** Bytes that the default GDT takes in guest memory: one page. */
export const DEFAULT_GDT_SIZE = 4096n;

/** Bytes in a descriptor: Intel SDM, volume 3A, figure 3-8. */
const DESCRIPTOR_BYTES = 8;

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

/** A segment of 4 GiB from 0 up. */
export function flatSegment(selector: number, attributes: number): SegmentRegister {
  return { base: 0n, limit: 0xffff_ffff, selector, attributes };
}

/** Adds a GDT of one page, GDTR, and the segment registers that use it: DS, ES, FS, GS, SS, CS. */
export function planGdt(
  builder: PlanBuilder<X86Register>,
  base: bigint,
  tag: string,
  descriptors: readonly bigint[],
  { code, data }: { readonly code: SegmentRegister; readonly data: SegmentRegister },
): void {
  const gdt = new Uint8Array(descriptors.length * DESCRIPTOR_BYTES);
  const view = new DataView(gdt.buffer);
  for (const [index, descriptor] of descriptors.entries()) {
    view.setBigUint64(index * DESCRIPTOR_BYTES, descriptor, true);
  }
  builder.bytes(base, tag, gdt, 1);
  builder.register({ name: "gdtr", value: { base, limit: gdt.byteLength - 1 } });
  for (const name of ["ds", "es", "fs", "gs", "ss"] as const) builder.register({ name, value: data });
  builder.register({ name: "cs", value: code });
}

/** Adds the default GDT at `base` and the seven registers that use it: null, 64-bit code, data, null. */
export function planDefaultGdt(builder: PlanBuilder<X86Register>, base: bigint): void {
  if (base + DEFAULT_GDT_SIZE > PHYSICAL_ADDRESS_LIMIT) {
    throw new DirectBootError(
      "GDT_INVALID_ADDRESS",
      `the GDT at ${hex(base)} passes ${hex(PHYSICAL_ADDRESS_LIMIT)}`,
    );
  }
  const code = flatSegment(1 * DESCRIPTOR_BYTES, X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES);
  const data = flatSegment(2 * DESCRIPTOR_BYTES, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES);
  // OpenVMM leaves limit bits 16-19 zero.
  const [codeEntry, dataEntry] = [code, data].map((segment) => segmentDescriptor(segment) & ~(0xfn << 48n));
  planGdt(builder, base, "default-gdt", [0n, codeEntry ?? 0n, dataEntry ?? 0n, 0n], { code, data });
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
  planDefaultGdt(builder, toAddress(gdtPageBase, "gdtPageBase") * HV_PAGE_SIZE);
  applyPlanSync(builder, importer);
}
