/** x86-64 page tables of any ranges: `page_table::x64::PageTableBuilder` of OpenVMM. */

import { type AddressLike, HV_PAGE_SIZE, hex, hexRange, toAddress, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { named, shape } from "../base/options.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import type { BufferHotPaths } from "../wasm/hot-path-functions.js";
import { generate } from "../wasm/hot-paths.js";
import { checkTable, LINEAR_ADDRESS_LIMIT, toEncryptionMask } from "./page-table.js";

/** A range of addresses to map onto itself. */
export interface MappedRange {
  /** First address, page-aligned. */
  readonly start: AddressLike;
  /** One past the last, page-aligned, at most 2^48. */
  readonly end: AddressLike;
  /** Leaves without the write bit; links above them are writable all the same. */
  readonly readOnly?: boolean;
}

/** The largest leaf that a {@link PageTableBuilder} uses. */
export type LargestPage = "1GiB" | "2MiB" | "4KiB";

/** Options of {@link PageTableBuilder}. */
export interface PageTableBuilderOptions {
  /** Guest physical address of the first table (the PML4), page-aligned. */
  readonly pageTableGpa: AddressLike;
  /** Mapped ranges in ascending order, without overlaps. */
  readonly ranges: readonly MappedRange[];
  /** "1GiB" by default; processors without 1 GiB pages (CPUID 0x80000001, EDX bit 26) need "2MiB". */
  readonly largestPage?: LargestPage;
  /** Number of the bit that is or-ed into every present entry (SEV's C-bit): 12 to 51. */
  readonly confidentialBit?: number;
  /** Most tables that may be needed; more is an error. 524288 (2 GiB of tables) by default and at most. */
  readonly maximumTables?: number;
}

const TABLE_BYTES = 4096;
/** 1 TiB in 4 KiB pages; what is beyond is no plan for a guest, but a mistake. */
const MOST_TABLES = 524288;
const ENTRY_BYTES = 8;
const ENTRIES_PER_TABLE = 512;
// Bytes that an entry covers: of a page table, a page directory, a PDPT, a PML4.
const SPANS = [2 ** 12, 2 ** 21, 2 ** 30, 2 ** 39] as const;
const LARGEST_LEVEL: Readonly<Record<LargestPage, number>> = { "4KiB": 0, "2MiB": 1, "1GiB": 2 };
const PML4_LEVEL = 3;

// Entry bits: Intel SDM, volume 3A, section 4.5.
const PRESENT_ACCESSED = 0x21;
const WRITABLE = 0x02;
const DIRTY = 0x40;
const LARGE_PAGE = 0x80;

interface CheckedRange {
  readonly start: number;
  readonly end: number;
  readonly writable: boolean;
}

/** Called by a walk over the ranges, in ascending order of addresses. */
interface TableVisitor {
  /**
   * `count` tables are needed for the first time, `first` and those that follow it. As many entries of table `parent`, from
   * `entry` on, link to them. The PML4 has the number 0 and is not told.
   *
   * @param areFull true if leaves will fill them, so that what they held does not matter
   */
  tables(parent: number, entry: number, first: number, count: number, areFull: boolean): void;
  /** `count` leaves from `entry` of a table on, and on in the tables that follow it if it has not so many. */
  leaves(
    table: number,
    entry: number,
    count: number,
    address: number,
    level: number,
    writable: boolean,
  ): void;
}

const isRange = /* @__PURE__ */ shape({});

function checkRanges(ranges: readonly MappedRange[]): CheckedRange[] {
  if (!Array.isArray(ranges)) throw new TypeError(`ranges must be an array, got ${describeType(ranges)}`);
  let previous: CheckedRange | undefined;
  return ranges.map((range, index) => {
    isRange(range, `ranges[${index}]`);
    const start = toAddress(range.start, `ranges[${index}].start`);
    const end = toAddress(range.end, `ranges[${index}].end`);
    const text = `range ${index}, ${hexRange(start, end)},`;
    if (
      end < start ||
      start % HV_PAGE_SIZE !== 0n ||
      end % HV_PAGE_SIZE !== 0n ||
      end > LINEAR_ADDRESS_LIMIT
    ) {
      throw new DirectBootError("PAGE_TABLE_INVALID_RANGE", `${text} is reversed, unaligned or passes 2^48`);
    }
    const checked = { start: Number(start), end: Number(end), writable: range.readOnly !== true };
    if (previous !== undefined && checked.start < previous.start) {
      throw new DirectBootError("PAGE_TABLE_UNSORTED", `${text} starts below the one before`);
    }
    if (previous !== undefined && checked.start < previous.end) {
      throw new DirectBootError(
        "PAGE_TABLE_OVERLAPPING",
        `${text} overlaps the one before, which ends at ${hex(previous.end)}`,
      );
    }
    previous = checked;
    return checked;
  });
}

function span(level: number): number {
  return SPANS[level] ?? Number.POSITIVE_INFINITY;
}

/**
 * Walks the ranges with the largest leaf that fits at each address. All arithmetic is exact in a number: addresses
 * are at most 2^48. One turn of the loop fills as much of one table as the range covers, or all tables below a parent
 * that it covers wholly: half a million of them are a thousand turns.
 *
 * @returns the number of tables
 */
function walk(ranges: readonly CheckedRange[], largestLevel: number, visitor?: TableVisitor): number {
  let known = 1;
  // The table of each level that the walk is in, and the first address that it covers.
  const tables = [0, 0, 0, 0];
  const bases = [-1, -1, -1, 0];
  for (const { start, end, writable } of ranges) {
    let address = start;
    while (address < end) {
      let leafLevel = 0;
      while (
        leafLevel < largestLevel &&
        address % span(leafLevel + 1) === 0 &&
        address + span(leafLevel + 1) <= end
      ) {
        leafLevel++;
      }
      const covered = span(leafLevel + 1);
      // More than one only at the largest level: a larger leaf would have been taken.
      const wholeTables = address % covered === 0 ? Math.floor((end - address) / covered) : 0;
      let tableCount = 1;
      for (let level = PML4_LEVEL - 1; level >= leafLevel; level--) {
        const base = address - (address % span(level + 1));
        if (bases[level] === base) continue;
        const entry = Math.floor(address / span(level + 1)) % ENTRIES_PER_TABLE;
        const areFull = level === leafLevel && wholeTables > 0;
        if (areFull) tableCount = Math.min(wholeTables, ENTRIES_PER_TABLE - entry);
        const more = areFull ? tableCount : 1;
        visitor?.tables(tables[level + 1] ?? 0, entry, known, more, areFull);
        bases[level] = base;
        tables[level] = known;
        known += more;
        // Tables further down belong to another one now.
        for (let below = level - 1; below >= 0; below--) bases[below] = -1;
      }
      const entry = Math.floor(address / span(leafLevel)) % ENTRIES_PER_TABLE;
      const count = Math.min(
        tableCount * ENTRIES_PER_TABLE - entry,
        Math.floor((end - address) / span(leafLevel)),
      );
      visitor?.leaves(tables[leafLevel] ?? 0, entry, count, address, leafLevel, writable);
      address += count * span(leafLevel);
    }
  }
  return known;
}

const checkNames = /* @__PURE__ */ named(
  "pageTableGpa",
  "ranges",
  "largestPage",
  "confidentialBit",
  "maximumTables",
);

/**
 * Page tables that map any ranges onto themselves with the largest leaf that fits (1 GiB, 2 MiB, 4 KiB): OpenVMM's
 * `PageTableBuilder`. The PML4 comes first; other tables follow in the order of first need. An aligned range of
 * 512 GiB, on which upstream panics, is mapped by 1 GiB leaves.
 *
 * @example
 * ```ts
 * import { PageTableBuilder } from "directboot/loader";
 *
 * const tables = new PageTableBuilder({
 *   pageTableGpa: 0x4000,
 *   ranges: [
 *     { start: 0, end: 0x8000_0000 },
 *     { start: 0xffff_0000, end: 1n << 32n, readOnly: true },
 *   ],
 * }).build();
 * console.log(tables.byteLength); // 16384
 * ```
 */
export class PageTableBuilder {
  /** Tables that the map takes, of 4096 bytes each. */
  readonly tableCount: number;
  readonly #ranges: readonly CheckedRange[];
  readonly #largestLevel: number;
  readonly #tableAddress: number;
  readonly #encryption: number;

  /**
   * @throws TypeError for an option of a wrong type
   * @throws DirectBootError PAGE_TABLE_INVALID_RANGE, PAGE_TABLE_UNSORTED, PAGE_TABLE_OVERLAPPING,
   *   PAGE_TABLE_NOT_ENOUGH_MEMORY, PAGE_TABLE_INVALID_ADDRESS
   */
  constructor(options: PageTableBuilderOptions) {
    checkNames(options, "");
    const { largestPage = "1GiB", confidentialBit } = options;
    const maximumTables = Math.min(
      toLength(options.maximumTables ?? MOST_TABLES, "maximumTables"),
      MOST_TABLES,
    );
    const isKnown = typeof largestPage === "string" && Object.hasOwn(LARGEST_LEVEL, largestPage);
    const largestLevel = isKnown ? LARGEST_LEVEL[largestPage] : undefined;
    if (largestLevel === undefined) {
      throw new TypeError(`largestPage must be "1GiB", "2MiB" or "4KiB", got ${describeType(largestPage)}`);
    }
    const tableAddress = toAddress(options.pageTableGpa, "pageTableGpa");
    this.#ranges = checkRanges(options.ranges);
    this.#largestLevel = largestLevel;
    this.tableCount = walk(this.#ranges, largestLevel);
    if (this.tableCount > maximumTables) {
      throw new DirectBootError(
        "PAGE_TABLE_NOT_ENOUGH_MEMORY",
        `the ranges need more than ${maximumTables} tables`,
        maximumTables < MOST_TABLES ? {} : { cure: "map less, or with larger pages" },
      );
    }
    const byteLength = BigInt(this.byteLength);
    checkTable(tableAddress, byteLength, "page table address");
    this.#tableAddress = Number(tableAddress);
    // An empty range maps nothing.
    const highest = BigInt(this.#ranges.findLast(({ start, end }) => end > start)?.end ?? 0);
    const tablesEnd = tableAddress + byteLength;
    this.#encryption = toEncryptionMask(confidentialBit, highest > tablesEnd ? highest : tablesEnd);
  }

  /** Bytes of the tables: a multiple of 4096. */
  get byteLength(): number {
    return this.tableCount * TABLE_BYTES;
  }

  /** The tables, to be placed at `pageTableGpa`. Throws PAGE_TABLE_NOT_ENOUGH_MEMORY if the host has too little. */
  build(): Uint8Array {
    try {
      return generate(this.byteLength, (hotPaths, isZero) => this.#write(hotPaths, 0, isZero));
    } catch (cause) {
      // RangeError: the allocation, as all else was checked before.
      throw new DirectBootError(
        "PAGE_TABLE_NOT_ENOUGH_MEMORY",
        `${this.byteLength} bytes of tables can't be allocated`,
        { cause },
      );
    }
  }

  /**
   * Writes the tables to the start of `target`.
   *
   * @returns the part of `target` that holds them
   * @throws TypeError if `target` is no Uint8Array
   * @throws DirectBootError PAGE_TABLE_BAD_BUFFER_SIZE if `target` is not a multiple of 4096 bytes,
   *   PAGE_TABLE_NOT_ENOUGH_MEMORY if it is too small
   */
  buildInto(target: Uint8Array): Uint8Array {
    if (!(target instanceof Uint8Array)) {
      throw new TypeError(`target must be a Uint8Array, got ${describeType(target)}`);
    }
    if (target.byteLength % TABLE_BYTES !== 0) {
      throw new DirectBootError(
        "PAGE_TABLE_BAD_BUFFER_SIZE",
        `the buffer has ${target.byteLength} bytes, no multiple of ${TABLE_BYTES}`,
      );
    }
    if (target.byteLength < this.byteLength) {
      throw new DirectBootError(
        "PAGE_TABLE_NOT_ENOUGH_MEMORY",
        `the buffer has ${target.byteLength} bytes, the tables need ${this.byteLength}`,
      );
    }
    const part = target.subarray(0, this.byteLength);
    part.set(this.build());
    return part;
  }

  /**
   * Writes the tables to their place in guest memory, where they are made: no other buffer, no copy.
   *
   * @throws DirectBootError GUEST_MEMORY_NOT_RAM
   */
  buildIn(memory: GuestMemory): void {
    memory.generate(this.#tableAddress, this.byteLength, (hotPaths, offset, isZero) =>
      this.#write(hotPaths, offset, isZero),
    );
  }

  /** Writes the tables, beginning at `base`. Tables that are zero already, or will be filled, are not zeroed. */
  #write(hotPaths: BufferHotPaths, base: number, isZero: boolean): void {
    const at = (table: number, entry: number): number => base + table * TABLE_BYTES + entry * ENTRY_BYTES;
    if (!isZero) hotPaths.zero(base, TABLE_BYTES);
    walk(this.#ranges, this.#largestLevel, {
      tables: (parent, entry, first, count, areFull) => {
        // None of their entries is written before: they are told of here first.
        if (!isZero && !areFull) hotPaths.zero(at(first, 0), count * TABLE_BYTES);
        const address = this.#tableAddress + first * TABLE_BYTES;
        const bits = PRESENT_ACCESSED | WRITABLE;
        hotPaths.entries(at(parent, entry), count, address, TABLE_BYTES, bits, this.#encryption);
      },
      leaves: (table, entry, count, address, level, writable) => {
        const bits = PRESENT_ACCESSED | DIRTY | (writable ? WRITABLE : 0) | (level === 0 ? 0 : LARGE_PAGE);
        hotPaths.entries(at(table, entry), count, address, span(level), bits, this.#encryption);
      },
    });
  }
}
