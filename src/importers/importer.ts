/**
 * `ImageLoad`: where pages and registers go. Users write their own for hosts that directboot does not know;
 * the two required methods are OpenVMM's, the optional ones let a load be checked whole before it starts and
 * let a source read straight into guest memory.
 */

import type { MemoryLayout } from "../memory/memory-layout.js";
import type { Source, SyncSource } from "../sources/source.js";
import type { IdentityMap } from "../wasm/identity-map.js";

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
  /** Linear address of the table. */
  readonly base: bigint;
  /** Bytes of the table, less one. */
  readonly limit: number;
}

/** A segment register with its hidden part; attributes are bits 8-23 of the descriptor (type … granularity). */
export interface SegmentRegister {
  /** Linear address of the segment. */
  readonly base: bigint;
  /** The last offset in the segment, in bytes, as the processor holds it: with the granularity bit applied. */
  readonly limit: number;
  /** The visible part. */
  readonly selector: number;
  /** Bits 8-23 of the descriptor's upper half (SDM 3A, 3.4.5): type, S, DPL and P; in bits 12-15 here AVL, L, D/B and G. */
  readonly attributes: number;
}

/** General registers; rax, rbx, rcx, rdx and rdi are used by the 32-bit and PVH entries only. */
type X86GeneralRegisterName =
  `r${"ax" | "bx" | "cx" | "dx" | "bp" | "si" | "di" | "sp" | 8 | 9 | 10 | 11 | 12}`;
type MtrrName =
  | "mtrrDefType"
  | `mtrrPhys${"Base" | "Mask"}${0 | 1 | 2 | 3 | 4}`
  | `mtrrFix${"64k00000" | "16k80000" | "4kE0000" | "4kE8000" | "4kF0000" | "4kF8000"}`;

/** Name of an x86 register that holds a descriptor table. */
export type X86TableRegisterName = "gdtr" | "idtr";
/** Name of an x86 segment register, the task register among them. */
export type X86SegmentRegisterName = "ds" | "es" | "fs" | "gs" | "ss" | "cs" | "tr";
/** Name of an x86 register of 64 bits: control registers, MSRs, RIP, RFLAGS and general registers. */
export type X86ValueRegisterName =
  | X86GeneralRegisterName
  | MtrrName
  | `cr${0 | 3 | 4}`
  | "efer"
  | "pat"
  | "rip"
  | "rflags";
/** Name of an arm64 register; all have 64 bits. */
export type Aarch64RegisterName =
  | `x${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`
  | "pc"
  | "cpsr"
  | `${"vbar" | "ttbr0" | "ttbr1" | "mair" | "sctlr" | "tcr"}El1`;

/** One x86 register and its value. A register that is not imported is zero. */
export type X86Register =
  | { readonly name: X86TableRegisterName; readonly value: TableRegister }
  | { readonly name: X86SegmentRegisterName; readonly value: SegmentRegister }
  | { readonly name: X86ValueRegisterName; readonly value: bigint };

/** One arm64 register and its value. A register that is not imported is zero. */
export type Aarch64Register = { readonly name: Aarch64RegisterName; readonly value: bigint };

/** A register of either architecture. */
export type VpRegister = X86Register | Aarch64Register;

/** A load that can be taken back: see {@link ImageLoad.begin}. */
export interface ImportTransaction {
  /**
   * Makes every page imported since `begin` zero and free again, and forgets the registers since then. An error
   * that it throws is told in the error of the load, with the pages that could not be made zero.
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
 *
 * @example
 * ```ts
 * import { type ImageLoad, loadLinuxSync } from "directboot";
 *
 * const ram = new Uint8Array(64 * 1024 * 1024);
 * const registers = new Map<string, unknown>();
 * const importer: ImageLoad = {
 *   importPages(pageBase, pageCount, _tag, _acceptance, data) {
 *     const start = Number(pageBase) * 4096;
 *     ram.fill(0, start + data.byteLength, start + pageCount * 4096);
 *     ram.set(data, start);
 *   },
 *   importVpRegister: ({ name, value }) => registers.set(name, value),
 * };
 * loadLinuxSync({ kernel: "vmlinuz", memory: ram.byteLength, importer });
 * console.log(registers.get("rip") === 0x100_0200n); // true
 * ```
 */
export interface ImageLoad<R extends VpRegister = VpRegister> {
  /**
   * Puts `data` at guest physical address `pageBase * 4096`, then zeros up to `pageCount` pages, before it returns: a
   * promise is refused.
   *
   * @param pageBase guest physical address / 4096
   * @param pageCount pages of 4096 bytes, at least as many as the data needs
   * @param tag who the pages belong to, such as "linux-kernel"
   * @param acceptance how an isolated guest accepts them; of no meaning to others
   * @param data valid during the call only
   */
  importPages(
    pageBase: bigint,
    pageCount: number,
    tag: string,
    acceptance: BootPageAcceptance,
    data: Uint8Array,
  ): void;

  /** Sets a register of the boot processor. */
  importVpRegister(register: R): void;

  /** The guest's RAM. A plan that was made for RAM which is not there is refused. */
  readonly layout?: MemoryLayout;

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
