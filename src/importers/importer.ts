/**
 * `ImageLoad`: where pages and registers go. Users write their own for hosts that directboot does not know;
 * the two required methods are OpenVMM's, the optional ones let a load be checked whole before it starts and
 * let a source read straight into guest memory.
 */
import type { IdentityMap } from "../kernels/identity-map.js";
import type { Source, SyncSource } from "../sources/source.js";

/** How a page is accepted into an isolated guest: OpenVMM's `BootPageAcceptance`. */
export type BootPageAcceptance =
  | "Exclusive"
  | "ExclusiveUnmeasured"
  | "VpContext"
  | "ErrorPage"
  | "SecretsPage"
  | "CpuidPage"
  | "CpuidExtendedStatePage"
  | "Shared";

/** GDTR or IDTR: base as a linear address, limit in bytes less one. */
export interface TableRegister {
  readonly base: bigint;
  readonly limit: number;
}

/** A segment register with its hidden part; attributes are bits 8-23 of the descriptor (type … granularity). */
export interface SegmentRegister {
  readonly base: bigint;
  readonly limit: number;
  readonly selector: number;
  readonly attributes: number;
}

/** x86 registers that hold a descriptor table. */
export const X86_TABLE_REGISTERS = ["gdtr", "idtr"] as const;
/** x86 segment registers. */
export const X86_SEGMENT_REGISTERS = ["ds", "es", "fs", "gs", "ss", "cs", "tr"] as const;
/** x86 registers of 64 bits; rax, rbx, rcx, rdx and rdi are used by the 32-bit and PVH entries only. */
export const X86_VALUE_REGISTERS = [
  "cr0",
  "cr3",
  "cr4",
  "efer",
  "pat",
  "rbp",
  "rip",
  "rsi",
  "rsp",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "rflags",
  "mtrrDefType",
  "mtrrPhysBase0",
  "mtrrPhysMask0",
  "mtrrPhysBase1",
  "mtrrPhysMask1",
  "mtrrPhysBase2",
  "mtrrPhysMask2",
  "mtrrPhysBase3",
  "mtrrPhysMask3",
  "mtrrPhysBase4",
  "mtrrPhysMask4",
  "mtrrFix64k00000",
  "mtrrFix16k80000",
  "mtrrFix4kE0000",
  "mtrrFix4kE8000",
  "mtrrFix4kF0000",
  "mtrrFix4kF8000",
  "rax",
  "rbx",
  "rcx",
  "rdx",
  "rdi",
] as const;
/** arm64 registers, all of 64 bits. */
export const AARCH64_REGISTERS = [
  "pc",
  "x0",
  "x1",
  "x2",
  "x3",
  "x4",
  "x5",
  "x6",
  "x7",
  "cpsr",
  "vbarEl1",
  "ttbr0El1",
  "ttbr1El1",
  "mairEl1",
  "sctlrEl1",
  "tcrEl1",
] as const;

/** Registers of x86 that hold a {@link TableRegister}. */
export type X86TableRegisterName = (typeof X86_TABLE_REGISTERS)[number];
/** Registers of x86 that hold a {@link SegmentRegister}. */
export type X86SegmentRegisterName = (typeof X86_SEGMENT_REGISTERS)[number];
/** Registers of x86 that hold a number. */
export type X86ValueRegisterName = (typeof X86_VALUE_REGISTERS)[number];
/** Registers of arm64; each holds a number. */
export type Aarch64RegisterName = (typeof AARCH64_REGISTERS)[number];

/** One x86 register and its value. A register that is not imported is zero. */
export type X86Register =
  | { readonly name: X86TableRegisterName; readonly value: TableRegister }
  | { readonly name: X86SegmentRegisterName; readonly value: SegmentRegister }
  | { readonly name: X86ValueRegisterName; readonly value: bigint };

/** One arm64 register and its value. A register that is not imported is zero. */
export type Aarch64Register = { readonly name: Aarch64RegisterName; readonly value: bigint };

/** A register of either architecture. */
export type VpRegister = X86Register | Aarch64Register;

/** What a load into an importer can take back: see {@link ImageLoad.begin}. */
export interface ImportTransaction {
  /**
   * Makes every page imported since `begin` zero and free again, and forgets the registers since then. What it throws
   * is told in the error of the load, with the pages that could not be made zero.
   */
  rollback(): void;
}

/**
 * The receiver of a load. `R` is the register type of its architecture.
 *
 * `importPages` puts `data` at `pageBase * 4096` and zero-fills up to `pageCount` pages. `data` is only valid
 * during the call: copy what you keep. Whatever these methods throw reaches the caller of the load as the
 * cause of a {@link DirectBootError} with code IMPORTER or REGION_IMPORT_PAGES, or as it is when it is a
 * DirectBootError itself.
 */
export interface ImageLoad<R extends VpRegister = VpRegister> {
  importPages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: Uint8Array,
  ): void;

  importVpRegister(register: R): void;

  /** Throws what importPages would throw, and changes nothing; called for all pages before the first import. */
  checkPages?(pageBase: bigint, pageCount: number, tag: string, dataLength: number): void;

  /** Throws what importVpRegister would throw, and changes nothing. */
  checkVpRegister?(register: R): void;

  /** Starts a load: what it imports can be taken back if its source breaks midway. */
  begin?(): ImportTransaction;

  /**
   * The same as importPages with data that a source reads straight into guest memory: `leadingBytes` zeros,
   * then `length` bytes from `offset` of `source`, then zeros up to `pageCount` pages.
   */
  importSource?(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    source: SyncSource,
    offset: number,
    length: number,
    leadingBytes: number,
  ): void;

  /** The asynchronous form of importSource, for sources that can't be read synchronously. */
  importSourceAsync?(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    source: Source,
    offset: number,
    length: number,
    leadingBytes: number,
    signal?: AbortSignal,
  ): Promise<void>;

  /** The same as importPages with page tables that are written in place. */
  importIdentityMap?(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    map: IdentityMap,
  ): void;
}
