/**
 * The processor at the 32-bit entry (boot.rst, "32-bit Boot Protocol"): protected mode, no paging, flat segments of
 * 4 GiB. PVH starts from the same segments (pvh.ts).
 *
 *     GDT   0x00  null
 *           0x08  null
 *           0x10  __BOOT_CS: code, execute/read
 *           0x18  __BOOT_DS: data, read/write
 *           0x20  __BOOT_TSS: 32-bit TSS at 0, 104 bytes
 *
 * boot.rst names no task register. It is set all the same: PVH demands it, Intel VT does not enter a guest without, and
 * the kernel's own real-mode code has one in its GDT for that reason (arch/x86/boot/pm.c).
 */
import type { SegmentRegister, X86Register, X86ValueRegisterName } from "../importers/importer.js";
import type { PlanBuilder } from "../plan/plan.js";
import { flatSegment, planGdt, segmentDescriptor } from "./gdt.js";
import {
  FIXED_MTRRS,
  planRegisters,
  X64_CR0_PE,
  X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES,
  X86_CODE32_SEGMENT_ATTRIBUTES,
  X86_RFLAGS_DEFAULT,
  X86_TSS32_AVAILABLE_ATTRIBUTES,
  X86_TSS32_BUSY_ATTRIBUTES,
  X86X_MSR_DEFAULT_PAT,
} from "./registers.js";

// Selectors of the GDT's entries (boot.rst; arch/x86/include/asm/segment.h, GDT_ENTRY_BOOT_*).
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
const BOOT_TSS = 0x20;

/** Limit of the smallest 32-bit TSS (SDM 3A, section 8.2.2), and of the one that PVH demands. */
const TSS32_LIMIT = 0x67;

/**
 * Adds a GDT of one page (tag `linux-gdt32`), GDTR, and the segment registers that use it: DS, ES, FS, GS, SS, CS, TR.
 *
 * The TSS is available in the GDT, so that a host can load TR by LTR, which makes it busy there; TR itself is given as
 * it is after that.
 *
 * @param base guest physical address, page-aligned, below 4 GiB
 */
export function planProtectedModeGdt(builder: PlanBuilder<X86Register>, base: bigint): void {
  const code = flatSegment(BOOT_CS, X86_CODE32_SEGMENT_ATTRIBUTES);
  const data = flatSegment(BOOT_DS, X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES);
  const task: SegmentRegister = {
    base: 0n,
    limit: TSS32_LIMIT,
    selector: BOOT_TSS,
    attributes: X86_TSS32_BUSY_ATTRIBUTES,
  };
  const available = { ...task, attributes: X86_TSS32_AVAILABLE_ATTRIBUTES };
  const entries = [0n, 0n, ...[code, data, available].map(segmentDescriptor)];
  planGdt(builder, base, "linux-gdt32", entries, { code, data });
  builder.register({ name: "tr", value: task });
}

/**
 * Adds the registers of the 32-bit entry or PVH that are no segments: CR0 with PE alone, so paging off; EFLAGS with
 * interrupts, VM and TF off; `registers`; PAT and MTRRs as for the 64-bit entry. CR3, CR4, EFER and the other general
 * registers are zero, as all that is not imported.
 *
 * @param registers the entry as `rip`, below 4 GiB; for the 32-bit entry (boot.rst) `rsi` is boot_params and `rbp`, `rdi`
 *   and `rbx` are zero; for PVH (pvh.pandoc) `rbx` is the start info and `cr4` is zero
 */
export function planProtectedModeRegisters(
  builder: PlanBuilder<X86Register>,
  registers: Readonly<Partial<Record<X86ValueRegisterName, bigint>>>,
): void {
  planRegisters(builder, {
    cr0: X64_CR0_PE,
    ...registers,
    rflags: X86_RFLAGS_DEFAULT,
    pat: X86X_MSR_DEFAULT_PAT,
    ...FIXED_MTRRS,
  });
}
