import type { MemoryRange } from "./memory-range.js";

/** What is kept in order: `[start, end)`. */
interface Ordered {
  readonly start: bigint;
  readonly end: bigint;
}

/** Entries in a block of {@link SortedRanges} at most: to move so many costs less than to find their place. */
const BLOCK_ENTRIES = 512;

/**
 * Ranges that don't overlap, in ascending order, in blocks: to put one in front of a million others moves a block, not
 * the million. No block is empty.
 */
class SortedRanges<T extends Ordered> {
  #blocks: T[][] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Index of the first of `count` for which `isBehind`, which stays true once it is. */
  static #search(count: number, isBehind: (index: number) => boolean): number {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBehind(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Where the first range stands that ends behind `address`, or at it, if `touching`. */
  #find(address: bigint, touching: boolean): { block: number; at: number } {
    const isBehind = (range: T | undefined): boolean => {
      const end = range?.end ?? 0n;
      return touching ? end >= address : end > address;
    };
    const block = SortedRanges.#search(this.#blocks.length, (index) => isBehind(this.#blocks[index]?.at(-1)));
    const entries = this.#blocks[block] ?? [];
    return { block, at: SortedRanges.#search(entries.length, (index) => isBehind(entries[index])) };
  }

  /** The ranges in order from the first that ends behind `address`, or at it, if `touching`. */
  *from(address: bigint, touching: boolean): Generator<T, void, void> {
    const { block, at } = this.#find(address, touching);
    let start = at;
    for (let index = block; index < this.#blocks.length; index++) {
      const entries = this.#blocks[index] ?? [];
      for (let i = start; i < entries.length; i++) {
        const entry = entries[i];
        if (entry !== undefined) yield entry;
      }
      start = 0;
    }
  }

  /** The first range that ends behind `address`, or at it, if `touching`. */
  firstBehind(address: bigint, touching = false): T | undefined {
    const { block, at } = this.#find(address, touching);
    return this.#blocks[block]?.[at];
  }

  /** Adds a range that overlaps none. */
  add(range: T): void {
    const found = this.#find(range.start, false);
    // Behind all: at the end of the last block.
    const block = Math.min(found.block, Math.max(this.#blocks.length - 1, 0));
    const entries = this.#blocks[block];
    this.#count++;
    if (entries === undefined) {
      this.#blocks.push([range]);
      return;
    }
    entries.splice(block === found.block ? found.at : entries.length, 0, range);
    if (entries.length <= BLOCK_ENTRIES) return;
    // In ascending order blocks stay full, else half full.
    const keep = range === entries.at(-1) ? entries.length - 1 : entries.length >>> 1;
    this.#blocks.splice(block + 1, 0, entries.splice(keep));
  }

  /** Removes the range that starts at `start`, if there is one; gives it. */
  remove(start: bigint): T | undefined {
    const { block, at } = this.#find(start, false);
    const entries = this.#blocks[block];
    const entry = entries?.[at];
    if (entries === undefined || entry?.start !== start) return undefined;
    entries.splice(at, 1);
    if (entries.length === 0) this.#blocks.splice(block, 1);
    this.#count--;
    return entry;
  }

  clear(): void {
    this.#blocks = [];
    this.#count = 0;
  }

  /** All, in order. */
  get all(): T[] {
    return this.#blocks.flat();
  }
}

/** A set of guest physical addresses, kept as sorted, disjoint, non-adjacent ranges `[start, end)`. */
export class RangeSet {
  readonly #ranges = new SortedRanges<{ start: bigint; end: bigint }>();

  /** Adds `[start, end)`, joining it with what it touches. */
  add(start: bigint, end: bigint): void {
    if (start >= end) return;
    const first = this.#ranges.firstBehind(start, true);
    if (first === undefined || first.start > end) {
      this.#ranges.add({ start, end });
      return;
    }
    const next = end <= first.end ? undefined : this.#ranges.firstBehind(first.end);
    if (next === undefined || next.start > end) {
      // It touches no other: it grows where it stands.
      if (start < first.start) first.start = start;
      if (end > first.end) first.end = end;
      return;
    }
    let from = start;
    let to = end;
    const joined: bigint[] = [];
    for (const range of this.#ranges.from(start, true)) {
      if (range.start > end) break;
      if (range.start < from) from = range.start;
      if (range.end > to) to = range.end;
      joined.push(range.start);
    }
    for (const each of joined) this.#ranges.remove(each);
    this.#ranges.add({ start: from, end: to });
  }

  /** The parts of `[start, end)` that are in the set, in order. */
  within(start: bigint, end: bigint): { start: bigint; end: bigint }[] {
    const parts: { start: bigint; end: bigint }[] = [];
    for (const range of this.#ranges.from(start, false)) {
      if (range.start >= end) break;
      const from = range.start > start ? range.start : start;
      const to = range.end < end ? range.end : end;
      if (from < to) parts.push({ start: from, end: to });
    }
    return parts;
  }

  clear(): void {
    this.#ranges.clear();
  }

  get ranges(): readonly { readonly start: bigint; readonly end: bigint }[] {
    return this.#ranges.all;
  }
}

/** A range and whose it is. */
interface Tagged extends Ordered {
  readonly range: MemoryRange;
  readonly tag: string;
}

/** Ranges with an owner's name, no two of which overlap. */
export class TaggedRanges {
  readonly #sorted = new SortedRanges<Tagged>();

  /** The range that shares a byte with `range`, or undefined. */
  findOverlap(range: MemoryRange): { range: MemoryRange; tag: string } | undefined {
    const candidate = this.#sorted.firstBehind(range.start);
    return candidate?.range.overlaps(range) ? candidate : undefined;
  }

  /** Adds a range that overlaps none. */
  add(range: MemoryRange, tag: string): void {
    this.#sorted.add({ start: range.start, end: range.end, range, tag });
  }

  /** Adds a range that lies behind all others. */
  append(range: MemoryRange, tag: string): void {
    this.add(range, tag);
  }

  /** All of them, in ascending order. */
  get ranges(): readonly { readonly range: MemoryRange; readonly tag: string }[] {
    return this.#sorted.all;
  }

  /** The first eight, in words. */
  toString(): string {
    const shown: string[] = [];
    for (const { range, tag } of this.#sorted.from(0n, true)) {
      if (shown.push(`${range} (${tag})`) === 8) break;
    }
    const more = this.#sorted.count - shown.length;
    return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  }

  delete(range: MemoryRange): void {
    const candidate = this.#sorted.firstBehind(range.start);
    if (candidate?.range.equals(range)) this.#sorted.remove(range.start);
  }
}
