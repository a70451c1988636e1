/** x86 register values of the 64-bit entry (names as in OpenVMM's x86defs), the 32-bit entry and PVH. */
import type { X86Register, X86ValueRegisterName } from "../importers/importer.js";
import type { PlanBuilder } from "../plan/plan.js";

// Intel SDM, volume 3A, section 2.5 "Control Registers"
/** CR0.PE: protected mode. */
export const X64_CR0_PE = 1n << 0n;
/** CR0.PG: paging. */
export const X64_CR0_PG = 1n << 31n;
/** CR4.PAE: 64-bit page table entries. */
export const X64_CR4_PAE = 1n << 5n;

// Intel SDM, volume 3A, section 2.2.1 "Extended Feature Enable Register"
/** EFER.SCE: SYSCALL. */
export const X64_EFER_SCE = 1n << 0n;
/** EFER.LME: long mode is enabled. */
export const X64_EFER_LME = 1n << 8n;
/** EFER.LMA: long mode is active. */
export const X64_EFER_LMA = 1n << 10n;
/** EFER.NXE: pages may forbid execution. */
export const X64_EFER_NXE = 1n << 11n;

/** PAT after reset: WB, WT, UC-, UC, twice (Intel SDM, volume 3A, table 12-12). */
export const X86X_MSR_DEFAULT_PAT = 0x0007_0406_0007_0406n;

/** MTRRs enabled (bit 11), fixed ranges enabled (bit 10), default uncacheable (SDM 3A, 12.11.2.1). */
const MTRR_DEF_TYPE_ENABLED_UC = 0xc00n;
/** Eight fixed ranges, all write-back (memory type 6; SDM 3A, 12.11.2.2). */
const MTRR_FIXED_WRITEBACK = 0x0606_0606_0606_0606n;
/** No firmware sets the MTRRs: enabled, default uncached, the lowest 640 KiB write-back. */
const FIXED_MTRRS = {
  mtrrDefType: MTRR_DEF_TYPE_ENABLED_UC,
  mtrrFix64k00000: MTRR_FIXED_WRITEBACK,
  mtrrFix16k80000: MTRR_FIXED_WRITEBACK,
} as const;

// Segment attributes: type (bits 0-3), non-system (4), DPL (5-6), present (7), available (12), long (13), default size
// (14), granularity (15); Intel SDM, volume 3A, section 3.4.5.
/** 64-bit code, execute/read, accessed. */
export const X64_DEFAULT_CODE_SEGMENT_ATTRIBUTES = 0xa09b;
/** Data, read/write, accessed; 32-bit default size. */
export const X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES = 0xc093;
/** 32-bit code, execute/read, accessed. */
export const X86_CODE32_SEGMENT_ATTRIBUTES = 0xc09b;
/** 32-bit TSS, available, present (system types: SDM 3A, table 3-2): what LTR takes from a GDT. */
export const X86_TSS32_AVAILABLE_ATTRIBUTES = 0x89;
/** 32-bit TSS, busy, present: what TR holds after LTR. */
export const X86_TSS32_BUSY_ATTRIBUTES = 0x8b;

/** RFLAGS after reset: bit 1 is always set; interrupts (9), trap (8) and virtual 8086 (17) are off (SDM 1, 3.4.3). */
const X86_RFLAGS_DEFAULT = 0x2n;

/** Registers that hold one number. */
type Values = Readonly<Partial<Record<X86ValueRegisterName, bigint>>>;

/** Adds them in the given order. */
function planRegisters(builder: PlanBuilder<X86Register>, values: Values): void {
  for (const [name, value] of Object.entries(values)) {
    builder.register({ name: name as X86ValueRegisterName, value });
  }
}

/** Adds the registers of the 64-bit entry that are no segments (the GDT brings those), in upstream's order. */
export function planLongModeRegisters(
  builder: PlanBuilder<X86Register>,
  pageTableAddress: bigint,
  entry: bigint,
  bootParams: bigint,
): void {
  planRegisters(builder, {
    cr0: X64_CR0_PG | X64_CR0_PE,
    cr3: pageTableAddress,
    cr4: X64_CR4_PAE,
    efer: X64_EFER_SCE | X64_EFER_LME | X64_EFER_LMA | X64_EFER_NXE,
    pat: X86X_MSR_DEFAULT_PAT,
    rip: entry,
    rsi: bootParams,
    ...FIXED_MTRRS,
  });
}

/**
 * Adds the registers of the 32-bit entry or PVH that are no segments: CR0 with PE alone, so paging off; EFLAGS with
 * interrupts, VM and TF off; `registers`; PAT and MTRRs as for the 64-bit entry. CR3, CR4, EFER and the other general
 * registers are zero, as all that is not imported.
 *
 * @param registers the entry as `rip`, below 4 GiB; for the 32-bit entry (boot.rst) `rsi` is boot_params and `rbp`, `rdi`
 *   and `rbx` are zero; for PVH (pvh.pandoc) `rbx` is the start info and `cr4` is zero
 */
export function planProtectedModeRegisters(builder: PlanBuilder<X86Register>, registers: Values): void {
  planRegisters(builder, {
    cr0: X64_CR0_PE,
    ...registers,
    rflags: X86_RFLAGS_DEFAULT,
    pat: X86X_MSR_DEFAULT_PAT,
    ...FIXED_MTRRS,
  });
}
