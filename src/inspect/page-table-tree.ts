/**
 * Page tables in guest memory as a tree that unfolds as far as somebody looks.
 *
 * x86: Intel SDM, volume 3A, 4.1.1 "Four Paging Modes", 4.3 "32-Bit Paging", 4.4 "PAE Paging", 4.5 "4-Level Paging and
 * 5-Level Paging". arm64: Arm ARM (DDI 0487), D8.2 "Translation process", D8.3 "Translation table descriptor formats".
 *
 * A tree is never deeper than the processor's walk (five levels), whatever the tables say: a table that points to itself is
 * shown again, as the processor would walk it, and marked. What is not looked at is not read.
 */
import { hex } from "../base/address.js";
import { describeType, messageOf } from "../base/describe.js";
import type { RegistersByName } from "../linux/loaded-linux.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import { jsonSafe } from "./json-safe.js";

/** Guest memory, as far as it is needed here. A `GuestMemory` is one. */
export interface PhysicalMemory {
  /** A copy of the bytes; throws where there is no RAM. */
  read(address: bigint, byteLength: number): Uint8Array;
}

/** What an entry maps, or each entry of a run together. */
export interface MappedPages {
  readonly virtualStart: bigint;
  /** One past the last byte. */
  readonly virtualEnd: bigint;
  /** Where the first byte leads. */
  readonly physical: bigint;
  /** Bytes of one page. */
  readonly pageSize: bigint;
}

/** An entry of a table, or a run of entries that say the same of neighbouring pages. */
export interface PageTableEntry {
  /** Of the first entry. */
  readonly index: number;
  /** Entries in the run; 1 for an entry that points to a table. */
  readonly count: number;
  /** The first entry's bits. */
  readonly raw: bigint;
  readonly present: boolean;
  /** Names of the bits that are set, as the manual has them: "P", "R/W", "PS". */
  readonly flags: readonly string[];
  /** The pages, if the entry maps any. */
  readonly maps: MappedPages | undefined;
  /** The physical address of the table that the entry points to, if it does. */
  readonly table: bigint | undefined;
  /** What is wrong with the entry: a table that is not in RAM, that is its own ancestor, reserved bits. */
  readonly problem: string | undefined;
  /** The table that the entry points to; undefined if it points to none, or to one that can't be read. */
  children(): PageTable | undefined;
}

/** A table. */
export interface PageTable {
  /** Guest physical address. */
  readonly address: bigint;
  /** 1 for the table that maps the smallest pages. */
  readonly level: number;
  /** As the manual has it: "PML4", "page directory", "level 2 table". */
  readonly name: string;
  /** First virtual address that the table is about; of an upper half with its sign. */
  readonly virtualStart: bigint;
  /** Bytes of virtual address space that an entry covers. */
  readonly entrySpan: bigint;
  /** Entries that the table has. */
  readonly entryCount: number;
  /** In order, with runs as one; read when it is first asked for. */
  readonly entries: readonly PageTableEntry[];
}

/** Options of {@link pageTableTree}. */
export interface PageTableTreeOptions {
  /** arm64: the half of the address space: "lower" (default, TTBR0_EL1) or "upper" (TTBR1_EL1). */
  readonly half?: "lower" | "upper" | undefined;
}

/** What an entry says. */
interface Decoded {
  readonly present: boolean;
  readonly flags: readonly string[];
  readonly table: bigint | undefined;
  /** Physical address of the page. */
  readonly page: bigint | undefined;
  readonly problem: string | undefined;
}

/** A level of a format, from the one that the root register points to down. */
interface Level {
  readonly name: string;
  /** log2 of the bytes that an entry covers. */
  readonly shift: number;
  readonly entryCount: number;
}

/** A format of page tables. */
interface PagingFormat {
  readonly entryBytes: 4 | 8;
  readonly levels: readonly Level[];
  /** Bits of a virtual address; what is above them repeats the highest. */
  readonly addressBits: number;
  /** All of the addresses lie in the upper half. */
  readonly isUpper: boolean;
  decode(raw: bigint, levelsBelow: number, shift: number): Decoded;
}

/** Names of bits, lowest first. */
type BitNames = readonly (readonly [bit: number, name: string])[];

function flagsOf(raw: bigint, names: BitNames): string[] {
  return names.filter(([bit]) => (raw >> BigInt(bit)) & 1n).map(([, name]) => name);
}

/** Bits `[low, high]` of an entry, where they are. */
function field(raw: bigint, high: number, low: number): bigint {
  return raw & (((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));
}

const ABSENT: Decoded = {
  present: false,
  flags: [],
  table: undefined,
  page: undefined,
  problem: undefined,
};

// SDM 3A, tables 4-15 to 4-20: bits of an entry.
const X86_TABLE_BITS: BitNames = [
  [0, "P"],
  [1, "R/W"],
  [2, "U/S"],
  [3, "PWT"],
  [4, "PCD"],
  [5, "A"],
  [63, "XD"],
];
const X86_SMALL_PAGE_BITS: BitNames = [...X86_TABLE_BITS, [6, "D"], [7, "PAT"], [8, "G"]];
const X86_LARGE_PAGE_BITS: BitNames = [...X86_TABLE_BITS, [6, "D"], [7, "PS"], [8, "G"], [12, "PAT"]];
const X86_PRESENT = 1n;
const X86_PAGE_SIZE = 1n << 7n;

/** So many levels above the smallest pages, entries map nothing themselves. */
const LEVELS_WITHOUT_PAGES = 3;

/** Entries of 8 bytes: PAE, 4-level and 5-level paging. */
function decodeX86(raw: bigint, levelsBelow: number, shift: number): Decoded {
  if ((raw & X86_PRESENT) === 0n) return ABSENT;
  if (levelsBelow === 0) {
    const page = field(raw, 51, 12);
    return { ...ABSENT, present: true, flags: flagsOf(raw, X86_SMALL_PAGE_BITS), page };
  }
  if ((raw & X86_PAGE_SIZE) === 0n) {
    const table = field(raw, 51, 12);
    return { ...ABSENT, present: true, flags: flagsOf(raw, X86_TABLE_BITS), table };
  }
  const flags = flagsOf(raw, X86_LARGE_PAGE_BITS);
  if (levelsBelow >= LEVELS_WITHOUT_PAGES) {
    return { ...ABSENT, present: true, flags, problem: "PS is set where no page can be that large" };
  }
  const reserved = shift > 13 ? field(raw, shift - 1, 13) : 0n;
  return {
    ...ABSENT,
    present: true,
    flags,
    page: field(raw, 51, shift),
    problem: reserved === 0n ? undefined : `the reserved bits ${hex(reserved)} are set`,
  };
}

/** PAE paging has no pages of 1 GiB: PS is a reserved bit there (SDM 3A, table 4-8). */
function decodePae(raw: bigint, levelsBelow: number, shift: number): Decoded {
  const isLarge = levelsBelow === 2 && (raw & X86_PRESENT) !== 0n && (raw & X86_PAGE_SIZE) !== 0n;
  return decodeX86(raw, isLarge ? LEVELS_WITHOUT_PAGES : levelsBelow, shift);
}

/** Entries of 4 bytes: 32-bit paging (SDM 3A, 4.3). */
function decodeX86Legacy(hasLargePages: boolean): PagingFormat["decode"] {
  return (raw, levelsBelow) => {
    if ((raw & X86_PRESENT) === 0n) return ABSENT;
    if (levelsBelow === 0) {
      const page = field(raw, 31, 12);
      return { ...ABSENT, present: true, flags: flagsOf(raw, X86_SMALL_PAGE_BITS), page };
    }
    if (!hasLargePages || (raw & X86_PAGE_SIZE) === 0n) {
      const table = field(raw, 31, 12);
      return { ...ABSENT, present: true, flags: flagsOf(raw, X86_TABLE_BITS), table };
    }
    // PSE-36: bits 13 to 20 are bits 32 to 39 of the address (SDM 3A, table 4-4).
    const page = field(raw, 31, 22) | (field(raw, 20, 13) << 19n);
    return { ...ABSENT, present: true, flags: flagsOf(raw, X86_LARGE_PAGE_BITS), page };
  };
}

const X86_LEVELS: readonly Level[] = [
  { name: "PML5", shift: 48, entryCount: 512 },
  { name: "PML4", shift: 39, entryCount: 512 },
  { name: "page-directory-pointer table", shift: 30, entryCount: 512 },
  { name: "page directory", shift: 21, entryCount: 512 },
  { name: "page table", shift: 12, entryCount: 512 },
];

// Bits of control registers that choose the format (SDM 3A, 2.5, 2.2.1).
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LME = 1n << 8n;

function x86Format(registers: RegistersByName): { format: PagingFormat; root: bigint } | undefined {
  const { cr0 = 0n, cr3 = 0n, cr4 = 0n, efer = 0n } = registers;
  if ((cr0 & CR0_PG) === 0n) return undefined;
  if ((cr4 & CR4_PAE) === 0n) {
    const format: PagingFormat = {
      entryBytes: 4,
      addressBits: 32,
      isUpper: false,
      levels: [
        { name: "page directory", shift: 22, entryCount: 1024 },
        { name: "page table", shift: 12, entryCount: 1024 },
      ],
      decode: decodeX86Legacy((cr4 & CR4_PSE) !== 0n),
    };
    return { format, root: field(cr3, 31, 12) };
  }
  if ((efer & EFER_LME) === 0n) {
    const [pointers, ...rest] = X86_LEVELS.slice(2);
    const levels = pointers === undefined ? rest : [{ ...pointers, entryCount: 4 }, ...rest];
    const format: PagingFormat = {
      entryBytes: 8,
      addressBits: 32,
      isUpper: false,
      levels,
      decode: decodePae,
    };
    return { format, root: field(cr3, 31, 5) };
  }
  const has5 = (cr4 & CR4_LA57) !== 0n;
  const format: PagingFormat = {
    entryBytes: 8,
    addressBits: has5 ? 57 : 48,
    isUpper: false,
    levels: has5 ? X86_LEVELS : X86_LEVELS.slice(1),
    decode: decodeX86,
  };
  return { format, root: field(cr3, 51, 12) };
}

// Arm ARM, D8.3.1: bits of a descriptor.
const ARM64_PAGE_BITS: BitNames = [
  [5, "NS"],
  [6, "AP[1]"],
  [7, "AP[2]"],
  [8, "SH[0]"],
  [9, "SH[1]"],
  [10, "AF"],
  [11, "nG"],
  [51, "DBM"],
  [52, "Contiguous"],
  [53, "PXN"],
  [54, "UXN"],
];
const ARM64_TABLE_BITS: BitNames = [
  [59, "PXNTable"],
  [60, "UXNTable"],
  [61, "APTable[0]"],
  [62, "APTable[1]"],
  [63, "NSTable"],
];
const ARM64_VALID = 1n;
const ARM64_TABLE_OR_PAGE = 2n;

/** Descriptors of the tables for one size of pages; addresses of 48 bits. */
function decodeArm64(pageShift: number): PagingFormat["decode"] {
  // A 4 KiB granule has blocks of 1 GiB and 2 MiB, the others at their second level alone (Arm ARM, D8.3.1).
  const mostBlockLevels = pageShift === 12 ? 2 : 1;
  return (raw, levelsBelow, shift) => {
    if ((raw & ARM64_VALID) === 0n) return ABSENT;
    if ((raw & ARM64_TABLE_OR_PAGE) !== 0n && levelsBelow > 0) {
      const table = field(raw, 47, pageShift);
      return { ...ABSENT, present: true, flags: flagsOf(raw, ARM64_TABLE_BITS), table };
    }
    const attribute = `AttrIndx=${(raw >> 2n) & 7n}`;
    const flags = [attribute, ...flagsOf(raw, ARM64_PAGE_BITS)];
    const isPage = (raw & ARM64_TABLE_OR_PAGE) !== 0n;
    if (isPage ? levelsBelow > 0 : levelsBelow === 0 || levelsBelow > mostBlockLevels) {
      return { ...ABSENT, present: true, flags, problem: "no such block at this level" };
    }
    return { ...ABSENT, present: true, flags, page: field(raw, 47, shift) };
  };
}

const SCTLR_M = 1n;
// TCR_EL1: log2 of the page size by TG0 and TG1 (Arm ARM, D19.2, TCR_EL1).
const TG0_SHIFTS: readonly (number | undefined)[] = [12, 16, 14];
const TG1_SHIFTS: readonly (number | undefined)[] = [undefined, 14, 12, 16];

function arm64Format(
  registers: RegistersByName,
  half: "lower" | "upper",
): { format: PagingFormat; root: bigint } | undefined {
  const { sctlrEl1 = 0n, tcrEl1 = 0n, ttbr0El1 = 0n, ttbr1El1 = 0n } = registers;
  const isUpper = half === "upper";
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
  const format: PagingFormat = {
    entryBytes: 8,
    addressBits,
    isUpper,
    levels,
    decode: decodeArm64(pageShift),
  };
  // A first table of few entries may lie at any multiple of its size, 64 bytes at least.
  return { format, root: field(isUpper ? ttbr1El1 : ttbr0El1, 47, 6) };
}

/** A virtual address with what is above its highest bit. */
function signed(address: bigint, { addressBits, isUpper }: PagingFormat): bigint {
  if (isUpper) return BigInt.asUintN(64, address | (-1n << BigInt(addressBits)));
  if (addressBits <= 32) return address;
  return BigInt.asUintN(64, BigInt.asIntN(addressBits, address));
}

interface Place {
  readonly address: bigint;
  /** Number of its level in the format. */
  readonly depth: number;
  readonly virtualStart: bigint;
  /** Addresses of the tables on the way, root first. */
  readonly ancestors: readonly bigint[];
}

/** The bytes of a table, or why there are none. */
function readTable(memory: PhysicalMemory, address: bigint, byteLength: number): DataView | string {
  try {
    const bytes = memory.read(address, byteLength);
    if (bytes.byteLength !== byteLength) return `only ${bytes.byteLength} bytes can be read`;
    return new DataView(bytes.buffer, bytes.byteOffset, byteLength);
  } catch (cause) {
    // Whatever a memory of the caller's throws, the tree goes on beside.
    return messageOf(cause);
  }
}

function sameFlags(a: Decoded, b: Decoded): boolean {
  return a.flags.length === b.flags.length && a.flags.every((flag, index) => flag === b.flags[index]);
}

/** True if `next`, `count` entries on, says of its pages what `first` says of its own. */
function continues(first: Decoded, firstRaw: bigint, next: Decoded, raw: bigint, distance: bigint): boolean {
  if (first.table !== undefined || next.table !== undefined || first.problem !== next.problem) return false;
  if (first.page === undefined || next.page === undefined) {
    return first.page === next.page && first.present === next.present && firstRaw === raw;
  }
  return next.page === first.page + distance && sameFlags(first, next);
}

function readEntries(memory: PhysicalMemory, format: PagingFormat, place: Place): PageTableEntry[] {
  const { address, depth, virtualStart, ancestors } = place;
  const level = format.levels[depth];
  if (level === undefined) return [];
  const { shift, entryCount } = level;
  const view = readTable(memory, address, entryCount * format.entryBytes);
  if (typeof view === "string") return [];
  const levelsBelow = format.levels.length - 1 - depth;
  const rawAt = (index: number): bigint =>
    format.entryBytes === 8 ? view.getBigUint64(index * 8, true) : BigInt(view.getUint32(index * 4, true));
  const pageSize = 1n << BigInt(shift);
  const path = [...ancestors, address];

  const entries: PageTableEntry[] = [];
  for (let index = 0; index < entryCount; ) {
    const raw = rawAt(index);
    const decoded = format.decode(raw, levelsBelow, shift);
    let count = 1;
    while (index + count < entryCount) {
      const next = rawAt(index + count);
      const distance = BigInt(count) * pageSize;
      if (!continues(decoded, raw, format.decode(next, levelsBelow, shift), next, distance)) break;
      count++;
    }
    const start = signed(virtualStart + BigInt(index) * pageSize, format);
    const { present, flags, page, table } = decoded;
    let { problem } = decoded;
    if (table !== undefined && path.includes(table)) problem = "the table is its own ancestor";
    else if (table !== undefined && typeof readTable(memory, table, 1) === "string") {
      problem = "the table is not in RAM";
    }
    let child: PageTable | undefined;
    entries.push(
      jsonSafe({
        index,
        count,
        raw,
        present,
        flags,
        maps:
          page === undefined
            ? undefined
            : jsonSafe({
                virtualStart: start,
                virtualEnd: start + BigInt(count) * pageSize,
                physical: page,
                pageSize,
              }),
        table,
        problem,
        children: () => {
          if (table === undefined) return undefined;
          child ??= tableAt(memory, format, {
            address: table,
            depth: depth + 1,
            virtualStart: start,
            ancestors: path,
          });
          return child;
        },
      }),
    );
    index += count;
  }
  return entries;
}

/** A table that can be read, or nothing. */
function tableAt(memory: PhysicalMemory, format: PagingFormat, place: Place): PageTable | undefined {
  const level = format.levels[place.depth];
  if (level === undefined) return undefined;
  const { name, shift, entryCount } = level;
  if (typeof readTable(memory, place.address, entryCount * format.entryBytes) === "string") return undefined;
  let entries: readonly PageTableEntry[] | undefined;
  return jsonSafe({
    address: place.address,
    level: format.levels.length - place.depth,
    name,
    virtualStart: place.virtualStart,
    entrySpan: 1n << BigInt(shift),
    entryCount,
    get entries() {
      entries ??= readEntries(memory, format, place);
      return entries;
    },
  });
}

/**
 * The page tables that a processor with these registers would walk.
 *
 * @param memory where the tables lie
 * @param registers the control registers, as `registers` of a loaded guest has them; what is left out is zero
 * @returns undefined if paging is off, or if the first table can't be read
 *
 * @example
 * ```ts
 * import { loadLinuxSync } from "directboot";
 * import { pageTableTree } from "directboot/inspect";
 *
 * const guest = loadLinuxSync({ kernel: "vmlinuz", memory: 64 * 1024 * 1024 });
 * const pml4 = pageTableTree(guest.memory, guest.registers, guest.architecture);
 * console.log(pml4?.entries[0]?.children()?.entries.length); // 5
 * ```
 */
export function pageTableTree(
  memory: PhysicalMemory,
  registers: RegistersByName,
  architecture: GuestArchitecture,
  { half = "lower" }: PageTableTreeOptions = {},
): PageTable | undefined {
  if (typeof registers !== "object" || registers === null) {
    throw new TypeError(`registers must be an object of registers by name, got ${describeType(registers)}`);
  }
  const found = architecture === "aarch64" ? arm64Format(registers, half) : x86Format(registers);
  if (found === undefined) return undefined;
  const { format, root } = found;
  const virtualStart = format.isUpper ? signed(0n, format) : 0n;
  return tableAt(memory, format, { address: root, depth: 0, virtualStart, ancestors: [] });
}
