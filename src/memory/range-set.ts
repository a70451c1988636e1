import type { MemoryRange } from "./memory-range.js";

/** A set of guest physical addresses, kept as sorted, disjoint, non-adjacent ranges `[start, end)`. */
export class RangeSet {
  #ranges: { start: bigint; end: bigint }[] = [];

  /** Index of the first range that ends at or behind `address`. */
  #firstEndingAt(address: bigint): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle]?.end ?? 0n) < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Adds `[start, end)`, joining it with what it touches. */
  add(start: bigint, end: bigint): void {
    if (start >= end) return;
    const first = this.#firstEndingAt(start);
    let from = start;
    let to = end;
    let behind = first;
    for (; behind < this.#ranges.length; behind++) {
      const range = this.#ranges[behind];
      if (range === undefined || range.start > end) break;
      if (range.start < from) from = range.start;
      if (range.end > to) to = range.end;
    }
    this.#ranges.splice(first, behind - first, { start: from, end: to });
  }

  /** The parts of `[start, end)` that are in the set, in order. */
  within(start: bigint, end: bigint): { start: bigint; end: bigint }[] {
    const parts: { start: bigint; end: bigint }[] = [];
    for (let i = this.#firstEndingAt(start); i < this.#ranges.length; i++) {
      const range = this.#ranges[i];
      if (range === undefined || range.start >= end) break;
      const from = range.start > start ? range.start : start;
      const to = range.end < end ? range.end : end;
      if (from < to) parts.push({ start: from, end: to });
    }
    return parts;
  }

  clear(): void {
    this.#ranges = [];
  }

  get ranges(): readonly { readonly start: bigint; readonly end: bigint }[] {
    return this.#ranges;
  }
}

/** Ranges with an owner's name, no two of which overlap. */
export class TaggedRanges {
  readonly #sorted: { range: MemoryRange; tag: string }[] = [];

  /** Index of the first range that ends behind `address`. */
  #firstBehind(address: bigint): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sorted[middle]?.range.end ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The range that shares a byte with `range`, or undefined. */
  findOverlap(range: MemoryRange): { range: MemoryRange; tag: string } | undefined {
    const candidate = this.#sorted[this.#firstBehind(range.start)];
    return candidate?.range.overlaps(range) ? candidate : undefined;
  }

  /** Adds a range that overlaps none. */
  add(range: MemoryRange, tag: string): void {
    this.#sorted.splice(this.#firstBehind(range.start), 0, { range, tag });
  }

  /** Adds a range that lies behind all others. */
  append(range: MemoryRange, tag: string): void {
    this.#sorted.push({ range, tag });
  }

  /** All of them, in ascending order. */
  get ranges(): readonly { readonly range: MemoryRange; readonly tag: string }[] {
    return this.#sorted;
  }

  /** The first eight, in words. */
  toString(): string {
    const shown = this.#sorted.slice(0, 8).map(({ range, tag }) => `${range} (${tag})`);
    const more = this.#sorted.length - shown.length;
    return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  }

  delete(range: MemoryRange): void {
    const at = this.#firstBehind(range.start);
    if (this.#sorted[at]?.range.equals(range)) this.#sorted.splice(at, 1);
  }
}
