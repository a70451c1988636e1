import {
  ADDRESS_LIMIT,
  type AddressLike,
  addAddresses,
  HV_PAGE_SIZE,
  hex,
  hexRange,
  toAddress,
} from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";

/** A range as callers give it; both bounds are multiples of 4096. A {@link MemoryRange} is one. */
export interface MemoryRangeInput {
  /** The first byte. */
  readonly start: AddressLike;
  /** One past the last byte. */
  readonly end: AddressLike;
}

/**
 * A half-open range `[start, end)` of guest physical addresses, page-aligned on both ends (OpenVMM's
 * `memory_range::MemoryRange`). Ordered by (start, end).
 *
 * @example
 * ```ts
 * import { MemoryRange } from "directboot";
 *
 * const range = MemoryRange.fromLength(0x10_0000, 0x2000);
 * console.log(`${range}`, range.overlaps(new MemoryRange(0x10_1000, 0x20_0000))); // 0x100000-0x102000 true
 * ```
 */
export class MemoryRange {
  /** The range 0-0. */
  static get EMPTY(): MemoryRange {
    return new MemoryRange(0n, 0n);
  }

  /** The first byte. */
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;

  /**
   * @throws DirectBootError MEMORY_RANGE_INVALID if a bound is not page-aligned or `end` lies below `start`
   */
  constructor(start: AddressLike, end: AddressLike) {
    this.start = toAddress(start, "start");
    this.end = toAddress(end, "end");
    if (this.start % HV_PAGE_SIZE !== 0n || this.end % HV_PAGE_SIZE !== 0n) {
      throw new DirectBootError(
        "MEMORY_RANGE_INVALID",
        `range ${hexRange(this.start, this.end)} is not aligned to ${hex(HV_PAGE_SIZE)}`,
      );
    }
    if (this.end < this.start) {
      throw new DirectBootError(
        "MEMORY_RANGE_INVALID",
        `range ${hexRange(this.start, this.end)} ends below its start`,
      );
    }
  }

  /**
   * The range that a caller gave.
   *
   * @throws TypeError, naming `name`; DirectBootError MEMORY_RANGE_INVALID, ADDRESS_OUT_OF_RANGE
   */
  static of(input: MemoryRangeInput, name = "range"): MemoryRange {
    if (input instanceof MemoryRange) return input;
    if (typeof input !== "object" || input === null) {
      throw new TypeError(`${name} must be an object with start and end, got ${describeType(input)}`);
    }
    return new MemoryRange(toAddress(input.start, `${name}.start`), toAddress(input.end, `${name}.end`));
  }

  /** The `byteLength` bytes from `start` on. */
  static fromLength(start: AddressLike, byteLength: AddressLike): MemoryRange {
    const from = toAddress(start, "start");
    return new MemoryRange(from, addAddresses(from, toAddress(byteLength, "byteLength"), "end of range"));
  }

  /**
   * The whole pages `[pageBase, pageBase + pageCount)`; undefined if they pass 2^64.
   *
   * @throws TypeError for what is no number of pages
   */
  static ofPages(pageBase: bigint, pageCount: number): MemoryRange | undefined {
    if (typeof pageBase !== "bigint") {
      throw new TypeError(`pageBase must be a bigint, got ${describeType(pageBase)}`);
    }
    if (!Number.isSafeInteger(pageCount) || pageCount < 0) {
      throw new TypeError(`pageCount must be an integer from 0 to 2^53 - 1, got ${describeType(pageCount)}`);
    }
    const start = pageBase * HV_PAGE_SIZE;
    const end = start + BigInt(pageCount) * HV_PAGE_SIZE;
    return start < 0n || end >= ADDRESS_LIMIT ? undefined : new MemoryRange(start, end);
  }

  /** Length in bytes. */
  get length(): bigint {
    return this.end - this.start;
  }

  /** True if there is no byte in it. */
  get isEmpty(): boolean {
    return this.end === this.start;
  }

  /** True if every byte of `range` lies in this range. */
  contains(range: MemoryRangeInput): boolean {
    const other = MemoryRange.of(range);
    return other.start >= this.start && other.end <= this.end;
  }

  /** True if the two ranges share a byte: an empty one has none. */
  overlaps(range: MemoryRangeInput): boolean {
    const other = MemoryRange.of(range);
    const start = this.start > other.start ? this.start : other.start;
    const end = this.end < other.end ? this.end : other.end;
    return start < end;
  }

  /** True if both bounds are the same. */
  equals(range: MemoryRangeInput): boolean {
    const other = MemoryRange.of(range);
    return this.start === other.start && this.end === other.end;
  }

  /** `0x…-0x…`. */
  toString(): string {
    return hexRange(this.start, this.end);
  }

  /** The bounds as hex strings. */
  toJSON(): { start: string; end: string } {
    return { start: hex(this.start), end: hex(this.end) };
  }
}

/** Joins ranges that touch or overlap; of a list that is sorted by start. */
export function joinedRanges(
  sorted: readonly { readonly start: bigint; readonly end: bigint }[],
): { start: bigint; end: bigint }[] {
  const found: { start: bigint; end: bigint }[] = [];
  for (const { start, end } of sorted) {
    const last = found.at(-1);
    if (last === undefined || start > last.end) found.push({ start, end });
    else if (end > last.end) last.end = end;
  }
  return found;
}
