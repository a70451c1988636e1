/**
 * Where things go in RAM: fixed addresses first, then first fit. Each thing goes to the lowest free place of the first of
 * its windows that has one. Nothing that has a place is moved again.
 */
import { ADDRESS_LIMIT, HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { joinedRanges, MemoryRange } from "../memory/memory-range.js";

/** `[start, end)`. */
export interface Extent {
  readonly start: bigint;
  readonly end: bigint;
}

/** Where a thing may lie: in whole pages of RAM that nobody else has. */
export interface Window {
  /** It starts here or above; 0 by default. */
  readonly from?: bigint;
  /** It ends here or below; 2^64 by default. */
  readonly below?: bigint;
  /** A power of two; a page if it is less. */
  readonly alignment?: bigint;
  /** It starts this many bytes, whole pages, behind a multiple of `alignment`; 0 by default. */
  readonly offset?: bigint;
}

function alignUp(address: bigint, alignment = HV_PAGE_SIZE): bigint {
  return (address + alignment - 1n) & ~(alignment - 1n);
}

/** The lowest address from `from` on that lies `offset` bytes behind a multiple of `alignment`. */
export function alignFrom(from: bigint, alignment = HV_PAGE_SIZE, offset = 0n): bigint {
  const unit = alignment > HV_PAGE_SIZE ? alignment : HV_PAGE_SIZE;
  return alignUp(from > offset ? from - offset : 0n, unit) + offset;
}

/** The whole pages that `byteLength` bytes at `address` touch. Throws ADDRESS_OVERFLOW if they pass 2^64. */
export function pagesAround(address: bigint, byteLength: bigint, tag: string): MemoryRange {
  const end = alignUp(address + byteLength);
  if (end >= ADDRESS_LIMIT) {
    throw new DirectBootError(
      "ADDRESS_OVERFLOW",
      `${tag}: ${hex(byteLength)} bytes at ${hex(address)} pass 2^64`,
    );
  }
  return new MemoryRange(address & ~(HV_PAGE_SIZE - 1n), end);
}

/** The parts of `free` that are not in `taken`; both sorted and disjoint. */
export function without(free: readonly Extent[], taken: readonly Extent[]): Extent[] {
  const left: Extent[] = [];
  let first = 0;
  for (const { start, end } of free) {
    let from = start;
    while ((taken[first]?.end ?? ADDRESS_LIMIT) <= from) first++;
    for (let i = first; i < taken.length; i++) {
      const hole = taken[i];
      if (hole === undefined || hole.start >= end) break;
      if (from < hole.start) left.push({ start: from, end: hole.start });
      from = hole.end;
    }
    if (from < end) left.push({ start: from, end });
  }
  return left;
}

/** "from 0x100000 up and below 0x100000000 (aligned to 0x200000)" */
function describeWindow({ from = 0n, below = ADDRESS_LIMIT, alignment = 0n, offset = 0n }: Window): string {
  const limits = [
    ...(from > 0n ? [`from ${hex(from)} up`] : []),
    ...(below < ADDRESS_LIMIT ? [`below ${hex(below)}`] : []),
  ];
  const where = limits.join(" and ") || "anywhere";
  if (alignment <= HV_PAGE_SIZE) return where;
  return `${where} (aligned to ${hex(alignment)}${offset > 0n ? ` + ${hex(offset)}` : ""})`;
}

/** RAM, and who has taken which pages of it. */
export class Placement {
  readonly layout: MemoryLayout;
  /** RAM that nobody has; ranges of different NUMA nodes are one where they touch. */
  #free: readonly Extent[];
  readonly #taken: { readonly range: MemoryRange; readonly tag: string }[] = [];

  constructor(layout: MemoryLayout) {
    this.layout = layout;
    this.#free = joinedRanges(layout.ram.map(({ range }) => range));
  }

  /**
   * Takes the pages of RAM around ranges that may overlap or share pages with each other, in any order. Ignores what lies
   * behind RAM.
   *
   * @throws DirectBootError IMPORT_OVERLAP, naming both, if another has one of them
   */
  takeAll(ranges: readonly Extent[], tag: string): void {
    const { endOfRam } = this.layout;
    const pages = ranges
      .filter(({ start, end }) => start < end && start < endOfRam)
      .map(({ start, end }) => ({
        start: start & ~(HV_PAGE_SIZE - 1n),
        end: alignUp(end < endOfRam ? end : endOfRam),
      }))
      .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    this.#occupy(
      joinedRanges(pages).map(({ start, end }) => new MemoryRange(start, end)),
      tag,
    );
  }

  /**
   * Takes the pages around a fixed range, in RAM or outside.
   *
   * @throws DirectBootError IMPORT_OVERLAP, naming both, if another has one of them; ADDRESS_OVERFLOW
   */
  take(address: bigint, byteLength: bigint, tag: string): void {
    this.#occupy([pagesAround(address, byteLength, tag)], tag);
  }

  #occupy(sorted: readonly MemoryRange[], tag: string): void {
    const earlier = [...this.#taken];
    for (const range of sorted) {
      const other = earlier.find((each) => each.range.overlaps(range));
      if (other !== undefined) {
        throw new DirectBootError(
          "IMPORT_OVERLAP",
          `${tag} at ${range} overlaps ${other.tag} at ${other.range}`,
        );
      }
      this.#taken.push({ range, tag });
    }
    this.#free = without(this.#free, sorted);
  }

  /** The lowest free place in the first of `windows` that has one; undefined if none has. */
  find(byteLength: bigint, windows: readonly Window[]): bigint | undefined {
    for (const { from = 0n, below = ADDRESS_LIMIT, alignment, offset } of windows) {
      for (const { start, end } of this.#free) {
        const at = alignFrom(start > from ? start : from, alignment, offset);
        if (at + byteLength <= below && alignUp(at + (byteLength || 1n)) <= end) return at;
      }
    }
    return undefined;
  }

  /** True if all pages around the range are RAM and nobody has one of them. */
  isFree(address: bigint, byteLength: bigint): boolean {
    const from = address & ~(HV_PAGE_SIZE - 1n);
    return this.find(address + byteLength - from, [{ from, below: address + byteLength }]) === from;
  }

  /**
   * Takes the place that {@link find} finds.
   *
   * @throws DirectBootError PLACEMENT_NO_ROOM: what, how much, where it was looked for, and what RAM there is
   */
  place(tag: string, byteLength: bigint, windows: readonly Window[]): bigint {
    const address = this.find(byteLength, windows);
    if (address === undefined) throw this.noRoom(tag, byteLength, windows);
    this.take(address, byteLength, tag);
    return address;
  }

  /** PLACEMENT_NO_ROOM for a thing that none of `windows` has room for. */
  noRoom(tag: string, byteLength: bigint, windows: readonly Window[]): DirectBootError {
    const where = [...new Set(windows.map(describeWindow))].join(", or ");
    const sorted = [...this.#taken].sort((a, b) => (a.range.start < b.range.start ? -1 : 1));
    const shown = sorted.slice(0, 8).map((each) => `${each.range} (${each.tag})`);
    const more = sorted.length - shown.length;
    const taken = shown.length === 0 ? "nothing is taken" : `taken are ${shown.join(", ")}`;
    return new DirectBootError(
      "PLACEMENT_NO_ROOM",
      `${tag}: ${hex(byteLength)} bytes find no room ${where}; RAM is ${this.layout}, ${taken}${more > 0 ? ` and ${more} more` : ""}`,
    );
  }
}
