/** Where things go in RAM: what is taken, by whom, and what is still free. */
import { ADDRESS_LIMIT, HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { RangeSet, TaggedRanges } from "../memory/range-set.js";
import { alignFrom, type Extent, lowestFit, packTogether, type Window, type Wish } from "./packing.js";

/** What is to find a place. Addresses and lengths in bytes. */
export interface SpaceRequest extends Omit<Wish, "windows"> {
  /** It may not start below. */
  readonly from?: bigint;
  /** It must end here or below. */
  readonly below?: bigint;
}

/** "from 0x1000 up and below 0xa0000" */
function windowText({ from, below }: Window): string {
  const limits = [
    ...(from === 0n ? [] : [`from ${hex(from)} up`]),
    ...(below >= ADDRESS_LIMIT ? [] : [`below ${hex(below)}`]),
  ];
  return limits.length === 0 ? "anywhere" : limits.join(" and ");
}

/** What is looked for, and where: "0x5000 bytes (aligned to 0x200000) from 0x100000 up". */
function wishText({ byteLength, alignment, offset, windows }: Wish): string {
  const aligned =
    alignment === undefined || alignment <= HV_PAGE_SIZE
      ? ""
      : ` (aligned to ${hex(alignment)}${offset === undefined || offset === 0n ? "" : ` + ${hex(offset)}`})`;
  const texts = new Set(windows.map(windowText));
  return `${hex(byteLength)} bytes${aligned} ${[...texts].join(", or ")}`;
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

  /** Another one with the same RAM, of which the same is taken. */
  copy(): Placement {
    const copy = new Placement(this.layout);
    for (const { range, tag } of this.#taken.ranges) copy.#taken.append(range, tag);
    return copy;
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
    const [ram] = this.#ram.within(range.start, range.end);
    const isRam = range.isEmpty || (ram?.start === range.start && ram.end === range.end);
    return isRam && this.#taken.findOverlap(range) === undefined;
  }

  /** The parts of RAM that nobody has, in ascending order. */
  free(): Extent[] {
    const free: Extent[] = [];
    const taken = this.#taken.ranges;
    let next = 0;
    for (const { start, end } of this.#ram.ranges) {
      let from = start;
      while ((taken[next]?.range.end ?? ADDRESS_LIMIT) <= from) next++;
      for (let i = next; i < taken.length; i++) {
        const range = taken[i]?.range;
        if (range === undefined || range.start >= end) break;
        if (from < range.start) free.push({ start: from, end: range.start });
        from = range.end;
      }
      if (from < end) free.push({ start: from, end });
    }
    return free;
  }

  /** The lowest free place for `request`, not taken yet; undefined if there is none. */
  find(request: SpaceRequest): bigint | undefined {
    const { byteLength, from = 0n, below = ADDRESS_LIMIT, alignment, offset } = request;
    for (const ram of this.#ram.ranges) {
      if (ram.end <= from) continue;
      let gap: Extent = ram;
      for (;;) {
        const at = lowestFit(request, gap, { from, below });
        if (at === undefined) break;
        const other = this.#taken.findOverlap(
          pagesAround(at, byteLength === 0n ? 1n : byteLength, request.tag),
        );
        if (other === undefined) return at;
        gap = { start: alignFrom(other.range.end, alignment, offset), end: ram.end };
      }
    }
    return undefined;
  }

  /** Takes the first of several choices that has room; undefined, and nothing taken, if none has. */
  tryPlace(...choices: readonly [SpaceRequest, ...SpaceRequest[]]): bigint | undefined {
    for (const request of choices) {
      const address = this.find(request);
      if (address === undefined) continue;
      this.take(address, request.byteLength, request.tag);
      return address;
    }
    return undefined;
  }

  /**
   * Takes the first of several choices that has room.
   *
   * @throws DirectBootError PLACEMENT_NO_ROOM, with what was looked for and where, if none has
   */
  place(...choices: readonly [SpaceRequest, ...SpaceRequest[]]): bigint {
    const address = this.tryPlace(...choices);
    if (address !== undefined) return address;
    const windows = choices.map(({ from = 0n, below = ADDRESS_LIMIT }) => ({ from, below }));
    throw this.#noRoom({ ...(choices.at(-1) ?? choices[0]), windows });
  }

  #noRoom(wish: Wish): DirectBootError {
    return new DirectBootError(
      "PLACEMENT_NO_ROOM",
      `${wish.tag}: ${wishText(wish)} find no room; ${this.describe()}`,
    );
  }

  /** What there is, and who has what of it; for messages. */
  describe(): string {
    const taken = this.#taken.ranges.length === 0 ? "nothing is taken" : `taken are ${this.#taken}`;
    return `RAM is ${this.layout}, ${taken}`;
  }

  /** A place for each of several things, not taken yet; undefined exactly if they can't all have one. */
  findTogether(wishes: readonly Wish[]): bigint[] | undefined {
    return packTogether(this.free(), wishes);
  }

  /**
   * Why {@link findTogether} finds nothing: what was looked for, and where. PLACEMENT_NO_ROOM.
   *
   * @param limits what else was asked of them, in words
   */
  noRoomTogether(wishes: readonly Wish[], limits?: string): DirectBootError {
    const free = this.free();
    const alone = wishes.find((wish) => packTogether(free, [wish]) === undefined);
    if (alone !== undefined) return this.#noRoom(alone);
    const all = wishes.map((wish) => `${wish.tag}: ${wishText(wish)}`).join("; ");
    return new DirectBootError(
      "PLACEMENT_NO_ROOM",
      `each finds room alone, but not all of them together${limits === undefined ? "" : ` (${limits})`}: ${all}; ${this.describe()}`,
    );
  }
}
