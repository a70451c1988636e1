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
import { type AddressLike, checkAddressAlignment, hex, PAGE_BYTES, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { SegmentRegister, X86Register } from "../importers/importer.js";
import type { PlanBuilder } from "../plan/plan.js";
import { BOOT_PARAMS_BYTES } from "./boot-params.js";
import { GDT_ENTRY_BYTES, segmentDescriptor } from "./gdt.js";
import {
  MTRR_DEF_TYPE_ENABLED_UC,
  MTRR_FIXED_WRITEBACK,
  X64_CR0_PE,
  X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES,
  X86_CODE32_SEGMENT_ATTRIBUTES,
  X86_RFLAGS_DEFAULT,
  X86_TSS32_AVAILABLE_ATTRIBUTES,
  X86_TSS32_BUSY_ATTRIBUTES,
  X86X_MSR_DEFAULT_PAT,
} from "./registers.js";

/** Bytes that the GDT takes in guest memory: one page. */
export const PROTECTED_MODE_GDT_SIZE = 4096n;

/** Selectors of the GDT's entries (boot.rst; arch/x86/include/asm/segment.h, GDT_ENTRY_BOOT_*). */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;
export const BOOT_TSS = 0x20;

/** Limit of the smallest 32-bit TSS (SDM 3A, section 8.2.2), and of the one that PVH demands. */
const TSS32_LIMIT = 0x67;
const FOUR_GIB = 0x1_0000_0000n;

/** Throws PROTECTED_MODE_ADDRESS_TOO_HIGH unless the `byteLength` bytes from `address` on lie below 4 GiB. */
export function checkBelow4Gib(address: bigint, byteLength: bigint, what: string): void {
  if (address + byteLength > FOUR_GIB) {
    throw new DirectBootError(
      "PROTECTED_MODE_ADDRESS_TOO_HIGH",
      `${what} at ${hex(address)} with ${hex(byteLength)} bytes passes ${hex(FOUR_GIB)}`,
    );
  }
}

/**
 * Adds a GDT of one page (tag `linux-gdt32`), GDTR, and the segment registers that use it: DS, ES, FS, GS, SS, CS, TR.
 *
 * The TSS is available in the GDT, so that a host can load TR by LTR, which makes it busy there; TR itself is given as
 * it is after that.
 *
 * @param address guest physical address, page-aligned, below 4 GiB
 * @throws DirectBootError UNALIGNED_ADDRESS, PROTECTED_MODE_ADDRESS_TOO_HIGH, ADDRESS_OUT_OF_RANGE
 */
export function planProtectedModeGdt(builder: PlanBuilder<X86Register>, address: AddressLike): void {
  const base = toAddress(address, "GDT address");
  checkAddressAlignment(base, "GDT address");
  checkBelow4Gib(base, PROTECTED_MODE_GDT_SIZE, "the GDT");

  const flat = { base: 0n, limit: 0xffff_ffff };
  const code: SegmentRegister = { ...flat, selector: BOOT_CS, attributes: X86_CODE32_SEGMENT_ATTRIBUTES };
  const data: SegmentRegister = {
    ...flat,
    selector: BOOT_DS,
    attributes: X64_DEFAULT_DATA_SEGMENT_ATTRIBUTES,
  };
  const task: SegmentRegister = {
    base: 0n,
    limit: TSS32_LIMIT,
    selector: BOOT_TSS,
    attributes: X86_TSS32_BUSY_ATTRIBUTES,
  };

  const gdt = new Uint8Array(BOOT_TSS + GDT_ENTRY_BYTES);
  const view = new DataView(gdt.buffer);
  view.setBigUint64(BOOT_CS, segmentDescriptor(code), true);
  view.setBigUint64(BOOT_DS, segmentDescriptor(data), true);
  view.setBigUint64(
    BOOT_TSS,
    segmentDescriptor({ ...task, attributes: X86_TSS32_AVAILABLE_ATTRIBUTES }),
    true,
  );
  builder.bytes(base, "linux-gdt32", gdt, Number(PROTECTED_MODE_GDT_SIZE) / PAGE_BYTES);
  builder.register({ name: "gdtr", value: { base, limit: gdt.byteLength - 1 } });
  for (const name of ["ds", "es", "fs", "gs", "ss"] as const) builder.register({ name, value: data });
  builder.register({ name: "cs", value: code });
  builder.register({ name: "tr", value: task });
}

/**
 * Adds what firmware would have set up of caching, the same as for the 64-bit entry: the PAT of reset, MTRRs enabled,
 * the default uncached, the lowest 640 KiB write-back. The variable MTRRs for the rest of RAM are the caller's
 * (`computeVariableMtrrs`).
 */
export function planMemoryTypes(builder: PlanBuilder<X86Register>): void {
  builder.register({ name: "pat", value: X86X_MSR_DEFAULT_PAT });
  builder.register({ name: "mtrrDefType", value: MTRR_DEF_TYPE_ENABLED_UC });
  builder.register({ name: "mtrrFix64k00000", value: MTRR_FIXED_WRITEBACK });
  builder.register({ name: "mtrrFix16k80000", value: MTRR_FIXED_WRITEBACK });
}

/** Input of {@link planProtectedModeRegisters}; guest physical addresses below 4 GiB. */
export interface ProtectedModeEntry {
  /** The 32-bit entry: the load address of a bzImage's protected-mode code, or `e_entry` of an ELF32 kernel. */
  readonly entry: AddressLike;
  /** Where boot_params lies. */
  readonly bootParams: AddressLike;
}

/**
 * Adds the registers of the 32-bit entry that are no segments (boot.rst, "32-bit Boot Protocol"): CR0 with PE alone, so
 * paging off; EIP; ESI = boot_params; EBP, EDI and EBX zero; interrupts off; PAT and MTRRs. CR3, CR4, EFER and the
 * other general registers are zero, as all that is not imported.
 *
 * @throws DirectBootError PROTECTED_MODE_ADDRESS_TOO_HIGH, ADDRESS_OUT_OF_RANGE
 */
export function planProtectedModeRegisters(
  builder: PlanBuilder<X86Register>,
  options: ProtectedModeEntry,
): void {
  const entry = toAddress(options.entry, "entry");
  const bootParams = toAddress(options.bootParams, "bootParams");
  checkBelow4Gib(entry, 1n, "the entry");
  checkBelow4Gib(bootParams, BigInt(BOOT_PARAMS_BYTES), "boot_params");
  builder.register({ name: "cr0", value: X64_CR0_PE });
  builder.register({ name: "rip", value: entry });
  builder.register({ name: "rsi", value: bootParams });
  builder.register({ name: "rbp", value: 0n });
  builder.register({ name: "rdi", value: 0n });
  builder.register({ name: "rbx", value: 0n });
  builder.register({ name: "rflags", value: X86_RFLAGS_DEFAULT });
  planMemoryTypes(builder);
}
