/** Where things go in RAM: what is taken, by whom, and what is still free. */
import { ADDRESS_LIMIT, HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { RangeSet, TaggedRanges } from "../memory/range-set.js";

/** What is to find a place. Addresses and lengths in bytes. */
export interface SpaceRequest {
  /** Who it is for, for messages. */
  readonly tag: string;
  readonly byteLength: bigint;
  /** A power of two; a page if it is less. */
  readonly alignment?: bigint;
  /** It may not start below. */
  readonly from?: bigint;
  /** It must end here or below. */
  readonly below?: bigint;
}

function alignUp(address: bigint, alignment: bigint): bigint {
  return (address + alignment - 1n) & ~(alignment - 1n);
}

/** The whole pages that `byteLength` bytes at `address` touch. Throws ADDRESS_OVERFLOW if they pass 2^64. */
export function pagesAround(address: bigint, byteLength: bigint, tag: string): MemoryRange {
  const end = alignUp(address + byteLength, HV_PAGE_SIZE);
  if (end >= ADDRESS_LIMIT) {
    throw new DirectBootError(
      "ADDRESS_OVERFLOW",
      `${tag}: ${hex(byteLength)} bytes at ${hex(address)} pass 2^64`,
    );
  }
  return new MemoryRange(address & ~(HV_PAGE_SIZE - 1n), end);
}

/** RAM, and who has taken which pages of it. */
export class Placement {
  readonly layout: MemoryLayout;
  /** RAM with adjacent ranges as one: a boundary between NUMA nodes is none for what lies there. */
  readonly #ram = new RangeSet();
  readonly #taken = new TaggedRanges();

  constructor(layout: MemoryLayout) {
    this.layout = layout;
    for (const { range } of layout.ram) this.#ram.add(range.start, range.end);
  }

  /**
   * Takes the pages of RAM around ranges that may overlap or share pages with each other, in any order. What lies
   * outside of RAM is nobody's.
   *
   * @throws DirectBootError IMPORT_OVERLAP, naming both, if another has one of them
   */
  takeAll(ranges: readonly { readonly start: bigint; readonly end: bigint }[], tag: string): void {
    const endOfRam = this.layout.endOfRam;
    const joined = new RangeSet();
    const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    for (const { start, end } of sorted) {
      if (start >= end || start >= endOfRam) continue;
      joined.add(start & ~(HV_PAGE_SIZE - 1n), alignUp(end < endOfRam ? end : endOfRam, HV_PAGE_SIZE));
    }
    for (const { start, end } of joined.ranges) this.take(start, end - start, tag);
  }

  /**
   * Takes the pages around a range that somebody has chosen, in RAM or outside.
   *
   * @throws DirectBootError IMPORT_OVERLAP, naming both, if another has one of them; ADDRESS_OVERFLOW
   */
  take(address: bigint, byteLength: bigint, tag: string): void {
    const range = pagesAround(address, byteLength, tag);
    if (range.isEmpty) return;
    const other = this.#taken.findOverlap(range);
    if (other !== undefined) {
      throw new DirectBootError(
        "IMPORT_OVERLAP",
        `${tag} at ${range} overlaps ${other.tag} at ${other.range}`,
      );
    }
    this.#taken.add(range, tag);
  }

  /** True if all pages around the range are RAM and nobody has one of them. */
  isFree(address: bigint, byteLength: bigint): boolean {
    if (address + byteLength + HV_PAGE_SIZE >= ADDRESS_LIMIT) return false;
    const range = pagesAround(address, byteLength, "range");
    return this.layout.isRam(range) && this.#taken.findOverlap(range) === undefined;
  }

  /** The lowest free place for `request`, not taken yet; undefined if there is none. */
  find(request: SpaceRequest): bigint | undefined {
    const { byteLength, from = 0n, below = ADDRESS_LIMIT } = request;
    const alignment =
      (request.alignment ?? 0n) > HV_PAGE_SIZE ? (request.alignment ?? HV_PAGE_SIZE) : HV_PAGE_SIZE;
    const length = alignUp(byteLength === 0n ? 1n : byteLength, HV_PAGE_SIZE);
    for (const { start, end } of this.#ram.ranges) {
      let at = alignUp(start > from ? start : from, alignment);
      while (at + length <= end && at + length <= below) {
        const other = this.#taken.findOverlap(new MemoryRange(at, at + length));
        if (other === undefined) return at;
        at = alignUp(other.range.end, alignment);
      }
    }
    return undefined;
  }

  /**
   * Takes the first of several choices that has room.
   *
   * @throws DirectBootError PLACEMENT_NO_ROOM, with the last of them, if none has
   */
  place(...choices: readonly [SpaceRequest, ...SpaceRequest[]]): bigint {
    for (const request of choices) {
      const address = this.find(request);
      if (address !== undefined) {
        this.take(address, request.byteLength, request.tag);
        return address;
      }
    }
    const { tag, byteLength, alignment, from, below } = choices.at(-1) ?? choices[0];
    const limits = [
      ...(alignment === undefined ? [] : [`aligned to ${hex(alignment)}`]),
      ...(from === undefined ? [] : [`from ${hex(from)} up`]),
      ...(below === undefined ? [] : [`below ${hex(below)}`]),
    ].join(", ");
    throw new DirectBootError(
      "PLACEMENT_NO_ROOM",
      `${tag}: ${hex(byteLength)} bytes ${limits === "" ? "" : `(${limits}) `}find no room; RAM is ${this.layout}, taken are ${this.#taken}`,
    );
  }
}
