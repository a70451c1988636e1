/** Global descriptor tables: OpenVMM's default one (common.rs, `import_default_gdt`), and that of protected mode. */
import { type AddressLike, HV_PAGE_SIZE, hex, PHYSICAL_ADDRESS_LIMIT, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { ImageLoad, SegmentRegister, X86Register } from "../importers/importer.js";
import { applyPlanSync } from "../plan/apply.js";
import { PlanBuilder } from "../plan/plan.js";
import {
  X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES,
  X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES,
  X86_CODE32_SEGMENT_ATTRIBUTES,
  X86_TSS32_AVAILABLE_ATTRIBUTES,
  X86_TSS32_BUSY_ATTRIBUTES,
} from "./registers.js";

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
function flatSegment(selector: number, attributes: number): SegmentRegister {
  return { base: 0n, limit: 0xffff_ffff, selector, attributes };
}

/** Adds a GDT of one page, GDTR, and the segment registers that use it: DS, ES, FS, GS, SS, CS. */
function planGdt(
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

// Selectors of the GDT's entries (boot.rst; arch/x86/include/asm/segment.h, GDT_ENTRY_BOOT_*).
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
const BOOT_TSS = 0x20;

/** Limit of the smallest 32-bit TSS (SDM 3A, section 8.2.2), and of the one that PVH demands. */
const TSS32_LIMIT = 0x67;

/**
 * Adds the GDT of the 32-bit entry (boot.rst, "32-bit Boot Protocol") and of PVH (tag `linux-gdt32`), of flat segments of
 * 4 GiB, and the registers that use it: GDTR, DS, ES, FS, GS, SS, CS, TR.
 *
 *     0x00  null
 *     0x08  null
 *     0x10  __BOOT_CS: code, execute/read
 *     0x18  __BOOT_DS: data, read/write
 *     0x20  __BOOT_TSS: 32-bit TSS at 0, 104 bytes
 *
 * boot.rst names no task register. It is set all the same: PVH demands it, Intel VT does not enter a guest without, and
 * the kernel's own real-mode code has one in its GDT for that reason (arch/x86/boot/pm.c).
 *
 * The TSS is available in the GDT, so that a host can load TR by LTR, which makes it busy there; TR itself is given as
 * it is after that.
 *
 * @param base guest physical address, page-aligned, below 4 GiB
 */
export function planProtectedModeGdt(builder: PlanBuilder<X86Register>, base: bigint): void {
  const code = flatSegment(BOOT_CS, X86_CODE32_SEGMENT_ATTRIBUTES);
  const data = flatSegment(BOOT_DS, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES);
  const task = { ...flatSegment(BOOT_TSS, X86_TSS32_BUSY_ATTRIBUTES), limit: TSS32_LIMIT };
  const available = { ...task, attributes: X86_TSS32_AVAILABLE_ATTRIBUTES };
  const entries = [0n, 0n, ...[code, data, available].map(segmentDescriptor)];
  planGdt(builder, base, "linux-gdt32", entries, { code, data });
  builder.register({ name: "tr", value: task });
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
