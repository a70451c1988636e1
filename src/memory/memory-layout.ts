import { ADDRESS_LIMIT, type AddressLike, HV_PAGE_SIZE, hex, hexRange, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { MemoryRange, type MemoryRangeInput } from "./memory-range.js";

/** A range of RAM and the NUMA node that it belongs to. */
export interface RamRange {
  /** The addresses. */
  readonly range: MemoryRange;
  /** Virtual NUMA node. */
  readonly vnode: number;
}

/** RAM as callers give it. */
export interface RamRangeInput extends MemoryRangeInput {
  /** Virtual NUMA node; 0 by default. */
  readonly vnode?: number | undefined;
}

const FOUR_GIB = 1n << 32n;
// OpenVMM keeps the last page of the address space free, so that no end is 2^64.
const RAM_LIMIT = ADDRESS_LIMIT - HV_PAGE_SIZE;

function checkGaps(list: readonly MemoryRange[], name: string): void {
  let previous: MemoryRange | undefined;
  for (const gap of list) {
    if (gap.isEmpty)
      throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", `${name}: the gap ${gap} is empty`);
    if (previous !== undefined && gap.start < previous.end) {
      throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", `${name}: ${gap} comes after ${previous}`);
    }
    previous = gap;
  }
}

function toRanges(inputs: readonly MemoryRangeInput[], name: string): MemoryRange[] {
  if (!Array.isArray(inputs)) throw wrongType(name, "an array of ranges", inputs);
  const list = inputs.map((input, index) => MemoryRange.of(input, `${name}[${index}]`));
  checkGaps(list, name);
  return list;
}

/** Bytes of RAM as u64. Throws LAYOUT_BAD_SIZE unless they are a positive number of pages. */
export function checkRamSize(ramSize: AddressLike): bigint {
  const size = toAddress(ramSize, "ramSize");
  if (size === 0n || size % HV_PAGE_SIZE !== 0n) {
    throw new DirectBootError(
      "LAYOUT_BAD_SIZE",
      `RAM size ${hex(size)} is not a positive multiple of ${hex(HV_PAGE_SIZE)}`,
    );
  }
  return size;
}

function fillUpward(size: bigint, gaps: readonly MemoryRange[]): RamRange[] {
  const ram: RamRange[] = [];
  let remaining = size;
  let start = 0n;
  for (const limit of [...gaps, new MemoryRange(RAM_LIMIT, RAM_LIMIT)]) {
    const end = limit.start - start < remaining ? limit.start : start + remaining;
    if (end > start) {
      ram.push({ range: new MemoryRange(start, end), vnode: 0 });
      remaining -= end - start;
    }
    if (remaining === 0n) return ram;
    start = limit.end;
  }
  throw new DirectBootError(
    "LAYOUT_RAM_DOES_NOT_FIT",
    `${hex(remaining)} of ${hex(size)} bytes of RAM are left over at ${hex(RAM_LIMIT)}`,
  );
}

function checkRanges(inputs: readonly RamRangeInput[], gaps: readonly MemoryRange[]): RamRange[] {
  if (!Array.isArray(inputs)) throw wrongType("ram", "an array of ranges", inputs);
  if (inputs.length === 0) throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", "there are no RAM ranges");
  let previous: MemoryRange | undefined;
  let nextGap = 0;
  return inputs.map((input, index) => {
    const range = MemoryRange.of(input, `ram[${index}]`);
    const { vnode = 0 } = input;
    if (!Number.isInteger(vnode) || vnode < 0) throw new TypeError(`vnode must be an integer, got ${vnode}`);
    if (range.isEmpty) throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", `RAM range ${range} is empty`);
    if (previous !== undefined && range.start < previous.end) {
      throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", `RAM range ${range} comes after ${previous}`);
    }
    // Both lists are sorted: gaps that end below this range end below all later ones.
    while ((gaps[nextGap]?.end ?? ADDRESS_LIMIT) <= range.start) nextGap++;
    const gap = gaps[nextGap];
    if (gap?.overlaps(range)) {
      throw new DirectBootError("LAYOUT_BAD_MEMORY_RANGES", `RAM range ${range} overlaps the gap ${gap}`);
    }
    previous = range;
    return { range, vnode };
  });
}

/**
 * Where a guest's RAM lies (OpenVMM's `vm_topology::memory::MemoryLayout`).
 *
 * @example
 * ```ts
 * import { MemoryLayout, MemoryRange } from "directboot";
 *
 * console.log(`${new MemoryLayout(256 * 1024 * 1024)}`); // 0x0-0x10000000
 * const gap = new MemoryRange(3n << 30n, 4n << 30n);
 * console.log(`${new MemoryLayout(4n << 30n, [gap])}`); // 0x0-0xc0000000, 0x100000000-0x140000000
 * console.log(`${new MemoryLayout([{ start: 0x4000_0000, end: 0x5000_0000 }])}`); // 0x40000000-0x50000000
 * ```
 */
export class MemoryLayout {
  /** The RAM ranges in ascending order. */
  readonly ram: readonly RamRange[];
  /** Ranges for MMIO, where no RAM lies. */
  readonly mmioGaps: readonly MemoryRange[];
  /** Ranges for PCI configuration space, where no RAM lies. */
  readonly pciEcamGaps: readonly MemoryRange[];
  /** Ranges for the BARs of PCI devices, where no RAM lies. */
  readonly pciMmioGaps: readonly MemoryRange[];
  /** RAM of the paravisor, behind the guest's; not part of {@link ram}. */
  readonly vtl2Range: MemoryRange | undefined;

  /**
   * @param ram bytes of RAM, a positive multiple of 4096: they fill the address space from 0 upward, skipping
   *   the gaps, in order; or a list of explicit RAM ranges, in ascending order
   * @param mmioGaps each list of gaps sorted, non-empty ranges, no overlaps, also none between the lists
   * @throws DirectBootError LAYOUT_BAD_SIZE, LAYOUT_BAD_MEMORY_RANGES (of gaps, too),
   *   LAYOUT_RAM_DOES_NOT_FIT, LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM
   */
  constructor(
    ram: AddressLike | readonly RamRangeInput[],
    mmioGaps: readonly MemoryRangeInput[] = [],
    pciEcamGaps: readonly MemoryRangeInput[] = [],
    pciMmioGaps: readonly MemoryRangeInput[] = [],
    vtl2Range?: MemoryRangeInput,
  ) {
    const size = typeof ram === "object" ? undefined : checkRamSize(ram);
    this.mmioGaps = toRanges(mmioGaps, "mmioGaps");
    this.pciEcamGaps = toRanges(pciEcamGaps, "pciEcamGaps");
    this.pciMmioGaps = toRanges(pciMmioGaps, "pciMmioGaps");
    const vtl2 = vtl2Range === undefined ? undefined : MemoryRange.of(vtl2Range, "vtl2Range");
    const gaps = [...this.mmioGaps, ...this.pciEcamGaps, ...this.pciMmioGaps].sort((a, b) =>
      a.start < b.start ? -1 : a.start > b.start ? 1 : 0,
    );
    checkGaps(gaps, "all gaps together");
    this.ram = typeof ram === "object" ? checkRanges(ram, gaps) : fillUpward(size ?? 0n, gaps);
    this.vtl2Range = vtl2;
    const overlapped = [...this.ram.map(({ range }) => range), ...gaps].find(
      (range) => vtl2 !== undefined && !vtl2.isEmpty && range.overlaps(vtl2),
    );
    if (overlapped !== undefined) {
      throw new DirectBootError(
        "LAYOUT_BAD_MEMORY_RANGES",
        `VTL2 range ${vtl2} overlaps RAM or a gap at ${overlapped}`,
      );
    }
    if (vtl2 !== undefined && vtl2.start < this.endOfRam) {
      throw new DirectBootError(
        "LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM",
        `VTL2 range ${vtl2} starts below the end of RAM ${hex(this.endOfRam)}`,
      );
    }
  }

  /** End of the last RAM range. */
  get endOfRam(): bigint {
    return this.ram.at(-1)?.range.end ?? 0n;
  }

  /** Bytes of RAM. */
  get ramSize(): bigint {
    return this.ram.reduce((sum, { range }) => sum + range.length, 0n);
  }

  /** End of the last RAM range that ends strictly below 4 GiB; undefined if there is none. */
  get maxRamBelow4gb(): bigint | undefined {
    return this.ram.findLast(({ range }) => range.end < FOUR_GIB)?.range.end;
  }

  /** True if all of `input` lies in RAM; adjacent RAM ranges count as one. */
  isRam(input: MemoryRangeInput): boolean {
    const range = MemoryRange.of(input);
    // The first that ends behind the start: there may be many, and many to ask for.
    let low = 0;
    let high = this.ram.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.ram[middle]?.range.end ?? 0n) <= range.start) low = middle + 1;
      else high = middle;
    }
    let covered = range.start;
    for (let index = low; covered < range.end; index++) {
      const ram = this.ram[index]?.range;
      if (ram === undefined || ram.start > covered) return false;
      covered = ram.end;
    }
    return true;
  }

  /** Throws GUEST_MEMORY_NOT_RAM, naming `tag` and what it meets, unless all of `input` lies in RAM. */
  checkIsRam(input: MemoryRangeInput, tag: string): void {
    const range = MemoryRange.of(input);
    if (!this.isRam(range)) {
      throw new DirectBootError(
        "GUEST_MEMORY_NOT_RAM",
        `${tag} at ${range} does not lie in RAM (${this}): it meets ${this.#firstNotRam(range)}`,
      );
    }
  }

  /** Names the gap or hole that the first part of `range` outside RAM lies in, with its own range. */
  #firstNotRam(range: MemoryRange): string {
    let covered = range.start;
    for (const { range: ram } of this.ram) if (ram.start <= covered && covered < ram.end) covered = ram.end;
    const gaps = {
      "the MMIO gap": this.mmioGaps,
      "the PCI ECAM gap": this.pciEcamGaps,
      "the PCI MMIO gap": this.pciMmioGaps,
    };
    for (const [name, list] of Object.entries(gaps)) {
      const gap = list.find(({ start, end }) => start <= covered && covered < end);
      if (gap !== undefined) return `${name} at ${gap}`;
    }
    const { vtl2Range } = this;
    if (vtl2Range !== undefined && vtl2Range.start <= covered && covered < vtl2Range.end) {
      return `the VTL2 range at ${vtl2Range}`;
    }
    const next = this.ram.findIndex(({ range: ram }) => ram.start > covered);
    if (next < 0) return `the end of RAM, whose last range is ${this.ram.at(-1)?.range}`;
    return `the hole in RAM at ${hexRange(this.ram[next - 1]?.range.end ?? 0n, this.ram[next]?.range.start ?? 0n)}`;
  }

  /** The RAM ranges, for messages. */
  toString(): string {
    const shown = this.ram.slice(0, 4).map(({ range }) => range.toString());
    return shown.join(", ") + (this.ram.length > 4 ? ", …" : "");
  }

  /** The RAM ranges, with hex strings. */
  toJSON(): { start: string; end: string; vnode: number }[] {
    return this.ram.map(({ range, vnode }) => ({ ...range.toJSON(), vnode }));
  }
}
