/**
 * The formats of page tables: which the control registers choose, and what an entry says.
 *
 * x86: Intel SDM, volume 3A, 4.1.1 "Four Paging Modes", 4.3 "32-Bit Paging", 4.4 "PAE Paging", 4.5 "4-Level Paging and
 * 5-Level Paging". arm64: Arm ARM (DDI 0487), D8.2 "Translation process", D8.3 "Translation table descriptor formats".
 */
import { hex } from "../base/address.js";
import type { RegistersByName } from "../linux/registers.js";

/** An entry that is present. */
export interface Decoded {
  readonly flags: readonly string[];
  /** Physical address of the table that it points to. */
  readonly table?: bigint;
  /** Physical address of the page that it maps. */
  readonly page?: bigint;
  readonly problem?: string;
}

/** A level of a format. */
export interface Level {
  readonly name: string;
  /** log2 of the bytes that an entry covers. */
  readonly shift: number;
  readonly entryCount: number;
}

/** A format of page tables. */
export interface PagingFormat {
  /** Physical address of the first table. */
  readonly root: bigint;
  readonly entryBytes: 4 | 8;
  /** From the table that the root register points to down. */
  readonly levels: readonly Level[];
  /** Bits of a virtual address; those above repeat the highest. */
  readonly addressBits: number;
  /** All addresses lie in the upper half. */
  readonly isUpper: boolean;
  /** Undefined for an entry that is not present. */
  decode(raw: bigint, levelsBelow: number, shift: number): Decoded | undefined;
}

/** Names of bits by their numbers. */
type BitNames = Readonly<Record<number, string>>;

/** The names of the bits that are set, lowest first. */
function flagsOf(raw: bigint, names: BitNames): string[] {
  return Object.entries(names)
    .filter(([bit]) => (raw >> BigInt(bit)) & 1n)
    .map(([, name]) => name);
}

/** Bits `[low, high]` of an entry, where they are. */
function field(raw: bigint, high: number, low: number): bigint {
  return raw & (((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));
}

// SDM 3A, tables 4-15 to 4-20: bits of an entry.
const X86_TABLE_BITS: BitNames = { 0: "P", 1: "R/W", 2: "U/S", 3: "PWT", 4: "PCD", 5: "A", 63: "XD" };
const X86_SMALL_PAGE_BITS: BitNames = { ...X86_TABLE_BITS, 6: "D", 7: "PAT", 8: "G" };
const X86_LARGE_PAGE_BITS: BitNames = { ...X86_TABLE_BITS, 6: "D", 7: "PS", 8: "G", 12: "PAT" };
const X86_PRESENT = 1n;
const X86_PAGE_SIZE = 1n << 7n;

/**
 * Entries of x86.
 *
 * @param largest levels above the smallest pages that have pages of their own: 2 in 4-level and 5-level paging; 1 in PAE
 *   paging, where PS is reserved above (SDM 3A, table 4-8), and in 32-bit paging with CR4.PSE, without which PS is ignored
 */
function decodeX86(entryBytes: 4 | 8, largest: 0 | 1 | 2): PagingFormat["decode"] {
  const high = entryBytes === 4 ? 31 : 51;
  return (raw, levelsBelow, shift) => {
    if ((raw & X86_PRESENT) === 0n) return undefined;
    if (levelsBelow === 0) return { flags: flagsOf(raw, X86_SMALL_PAGE_BITS), page: field(raw, high, 12) };
    if (largest === 0 || (raw & X86_PAGE_SIZE) === 0n) {
      return { flags: flagsOf(raw, X86_TABLE_BITS), table: field(raw, high, 12) };
    }
    const flags = flagsOf(raw, X86_LARGE_PAGE_BITS);
    if (levelsBelow > largest) return { flags, problem: "PS is set where no page can be that large" };
    // PSE-36: bits 13 to 20 are bits 32 to 39 of the address (SDM 3A, table 4-4).
    if (entryBytes === 4) return { flags, page: field(raw, 31, 22) | (field(raw, 20, 13) << 19n) };
    const page = field(raw, high, shift);
    const reserved = field(raw, shift - 1, 13);
    return reserved === 0n
      ? { flags, page }
      : { flags, page, problem: `reserved bits are set: ${hex(reserved)}` };
  };
}

const X86_LEVELS: readonly Level[] = [
  { name: "PML5", shift: 48, entryCount: 512 },
  { name: "PML4", shift: 39, entryCount: 512 },
  { name: "page-directory-pointer table", shift: 30, entryCount: 512 },
  { name: "page directory", shift: 21, entryCount: 512 },
  { name: "page table", shift: 12, entryCount: 512 },
];
const PAE_LEVELS: readonly Level[] = [
  { name: "page-directory-pointer table", shift: 30, entryCount: 4 },
  ...X86_LEVELS.slice(3),
];
const LEGACY_LEVELS: readonly Level[] = [
  { name: "page directory", shift: 22, entryCount: 1024 },
  { name: "page table", shift: 12, entryCount: 1024 },
];

// Bits of control registers that choose the format (SDM 3A, 2.5, 2.2.1).
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LME = 1n << 8n;

/** The format that x86 control registers choose; undefined if paging is off. */
export function x86Format(registers: RegistersByName): PagingFormat | undefined {
  const { cr0 = 0n, cr3 = 0n, cr4 = 0n, efer = 0n } = registers;
  if ((cr0 & CR0_PG) === 0n) return undefined;
  const common = { isUpper: false, entryBytes: 8, addressBits: 32 } as const;
  if ((cr4 & CR4_PAE) === 0n) {
    const decode = decodeX86(4, (cr4 & CR4_PSE) === 0n ? 0 : 1);
    return { ...common, entryBytes: 4, root: field(cr3, 31, 12), levels: LEGACY_LEVELS, decode };
  }
  if ((efer & EFER_LME) === 0n) {
    return { ...common, root: field(cr3, 31, 5), levels: PAE_LEVELS, decode: decodeX86(8, 1) };
  }
  const levels = (cr4 & CR4_LA57) === 0n ? X86_LEVELS.slice(1) : X86_LEVELS;
  const addressBits = 12 + 9 * levels.length;
  return { ...common, root: field(cr3, 51, 12), addressBits, levels, decode: decodeX86(8, 2) };
}

// Arm ARM, D8.3.1: bits of a descriptor.
const ARM64_PAGE_BITS: BitNames = {
  5: "NS",
  6: "AP[1]",
  7: "AP[2]",
  8: "SH[0]",
  9: "SH[1]",
  10: "AF",
  11: "nG",
  51: "DBM",
  52: "Contiguous",
  53: "PXN",
  54: "UXN",
};
const ARM64_TABLE_BITS: BitNames = {
  59: "PXNTable",
  60: "UXNTable",
  61: "APTable[0]",
  62: "APTable[1]",
  63: "NSTable",
};
const ARM64_VALID = 1n;
const ARM64_TABLE_OR_PAGE = 2n;

/** Descriptors of the tables for one size of pages; addresses of 48 bits. */
function decodeArm64(pageShift: number): PagingFormat["decode"] {
  // A 4 KiB granule has blocks of 1 GiB and 2 MiB, the others at their second level alone (Arm ARM, D8.3.1).
  const mostBlockLevels = pageShift === 12 ? 2 : 1;
  return (raw, levelsBelow, shift) => {
    if ((raw & ARM64_VALID) === 0n) return undefined;
    const isTableOrPage = (raw & ARM64_TABLE_OR_PAGE) !== 0n;
    if (isTableOrPage && levelsBelow > 0) {
      return { flags: flagsOf(raw, ARM64_TABLE_BITS), table: field(raw, 47, pageShift) };
    }
    const flags = [`AttrIndx=${(raw >> 2n) & 7n}`, ...flagsOf(raw, ARM64_PAGE_BITS)];
    if (!isTableOrPage && (levelsBelow === 0 || levelsBelow > mostBlockLevels)) {
      return { flags, problem: "no such block at this level" };
    }
    return { flags, page: field(raw, 47, shift) };
  };
}

const SCTLR_M = 1n;
// TCR_EL1: log2 of the page size by TG0 and TG1 (Arm ARM, D19.2, TCR_EL1).
const TG0_SHIFTS: readonly (number | undefined)[] = [12, 16, 14];
const TG1_SHIFTS: readonly (number | undefined)[] = [undefined, 14, 12, 16];

/** The format that arm64 system registers choose for one half of the addresses; undefined if it is not translated. */
export function arm64Format(registers: RegistersByName, isUpper: boolean): PagingFormat | undefined {
  const { sctlrEl1 = 0n, tcrEl1 = 0n, ttbr0El1 = 0n, ttbr1El1 = 0n } = registers;
  const base = isUpper ? 16n : 0n;
  const isOff = (sctlrEl1 & SCTLR_M) === 0n || ((tcrEl1 >> (base + 7n)) & 1n) === 1n;
  const granule = Number((tcrEl1 >> (base + 14n)) & 3n);
  const pageShift = (isUpper ? TG1_SHIFTS : TG0_SHIFTS)[granule];
  if (isOff || pageShift === undefined) return undefined;
  // Arm ARM, D8.2.6: between 16 and 39 (4 KiB and 16 KiB granules) without extensions.
  const size = Number((tcrEl1 >> base) & 0x3fn);
  const addressBits = 64 - Math.min(Math.max(size, 16), 48);
  const indexBits = pageShift - 3;
  const levels: Level[] = [];
  for (let shift = pageShift, number = 3; shift < addressBits; shift += indexBits, number--) {
    const entryCount = 2 ** Math.min(indexBits, addressBits - shift);
    levels.unshift({ name: `level ${number} table`, shift, entryCount });
  }
  // A first table of few entries may lie at any multiple of its size, 64 bytes at least.
  const root = field(isUpper ? ttbr1El1 : ttbr0El1, 47, 6);
  return { root, entryBytes: 8, addressBits, isUpper, levels, decode: decodeArm64(pageShift) };
}
