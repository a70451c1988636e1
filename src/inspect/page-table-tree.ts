/**
 * Page tables in guest memory as a tree that unfolds as far as somebody looks.
 *
 * A tree is never deeper than the processor's walk (five levels), whatever the tables say: a table that points to itself is
 * shown again, as the processor would walk it, and marked. Tables are read when their entries are first asked for.
 */
import { describeType } from "../base/describe.js";
import type { RegistersByName } from "../linux/registers.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import { jsonSafe } from "./json-safe.js";
import { arm64Format, type Decoded, type PagingFormat, x86Format } from "./paging-formats.js";

/** Memory to read tables from. A `GuestMemory` is one. */
export interface PhysicalMemory {
  /** A copy of the bytes; throws where there is no RAM. */
  read(address: bigint, byteLength: number): Uint8Array;
}

/** The pages of an entry, or of a run of entries. */
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
  /** A fault of the entry: a table that is not in RAM or is its own ancestor, reserved bits. */
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

/** The bytes of a table; undefined if they can't be read, whatever a memory of the caller's throws. */
function readTable(memory: PhysicalMemory, address: bigint, byteLength: number): DataView | undefined {
  try {
    const bytes = memory.read(address, byteLength);
    if (bytes.byteLength !== byteLength) return undefined;
    return new DataView(bytes.buffer, bytes.byteOffset, byteLength);
  } catch {
    return undefined;
  }
}

/** True if `next`, `distance` bytes on, says of its pages the same as `first` of its own. */
function continues(first: Decoded | undefined, next: Decoded | undefined, distance: bigint): boolean {
  if (first?.page === undefined || next?.page === undefined) return false;
  return (
    next.page === first.page + distance &&
    next.problem === first.problem &&
    next.flags.join() === first.flags.join()
  );
}

function readEntries(memory: PhysicalMemory, format: PagingFormat, place: Place): PageTableEntry[] {
  const { address, depth, virtualStart, ancestors } = place;
  const { levels, entryBytes } = format;
  const level = levels[depth];
  if (level === undefined) return [];
  const { shift, entryCount } = level;
  const view = readTable(memory, address, entryCount * entryBytes);
  if (view === undefined) return [];
  const rawAt = (index: number): bigint =>
    entryBytes === 8 ? view.getBigUint64(index * 8, true) : BigInt(view.getUint32(index * 4, true));
  const decode = (raw: bigint) => format.decode(raw, levels.length - 1 - depth, shift);
  const pageSize = 1n << BigInt(shift);
  const path = [...ancestors, address];

  const entries: PageTableEntry[] = [];
  for (let index = 0; index < entryCount; ) {
    const raw = rawAt(index);
    const decoded = decode(raw);
    let count = 1;
    for (; index + count < entryCount; count++) {
      const next = rawAt(index + count);
      const isSame = decoded === undefined && next === raw;
      if (!isSame && !continues(decoded, decode(next), BigInt(count) * pageSize)) break;
    }
    const { flags = [], page, table, problem } = decoded ?? {};
    const start = signed(virtualStart + BigInt(index) * pageSize, format);
    const end = start + BigInt(count) * pageSize;
    let child: PageTable | undefined;
    entries.push(
      jsonSafe({
        index,
        count,
        raw,
        present: decoded !== undefined,
        flags,
        maps:
          page === undefined
            ? undefined
            : jsonSafe({ virtualStart: start, virtualEnd: end, physical: page, pageSize }),
        table,
        problem: table === undefined ? problem : problemOf(memory, table, path),
        children: () => {
          if (table === undefined) return undefined;
          const below = { address: table, depth: depth + 1, virtualStart: start, ancestors: path };
          child ??= tableAt(memory, format, below);
          return child;
        },
      }),
    );
    index += count;
  }
  return entries;
}

function problemOf(memory: PhysicalMemory, table: bigint, path: readonly bigint[]): string | undefined {
  if (path.includes(table)) return "the table is its own ancestor";
  return readTable(memory, table, 1) === undefined ? "the table is not in RAM" : undefined;
}

/** A table that can be read, or nothing. */
function tableAt(memory: PhysicalMemory, format: PagingFormat, place: Place): PageTable | undefined {
  const level = format.levels[place.depth];
  if (level === undefined) return undefined;
  const { name, shift, entryCount } = level;
  if (readTable(memory, place.address, entryCount * format.entryBytes) === undefined) return undefined;
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
  const format = architecture === "aarch64" ? arm64Format(registers, half === "upper") : x86Format(registers);
  if (format === undefined) return undefined;
  const virtualStart = format.isUpper ? signed(0n, format) : 0n;
  return tableAt(memory, format, { address: format.root, depth: 0, virtualStart, ancestors: [] });
}
