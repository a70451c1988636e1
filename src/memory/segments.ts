/** Contiguous parts of guest RAM, and the host buffers that they lie in. */

import {
  ADDRESS_LIMIT,
  type AddressLike,
  HV_PAGE_SIZE,
  hex,
  hexRange,
  PAGE_BYTES,
  toAddress,
  toLength,
} from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { shape, wrongType } from "../base/options.js";
import { type GuestBuffer, HostBuffer, MOST_FLAT_BYTES } from "./host-buffer.js";
import type { ClaimedBuffer } from "./memory-claim.js";
import type { MemoryLayout } from "./memory-layout.js";
import { joinedRanges } from "./memory-range.js";

/** Where a part of guest RAM lies in a buffer of the caller's. */
export interface MemoryBankInput {
  /** Guest physical address of the first byte, a multiple of 4096. */
  readonly guestPhysicalAddress: AddressLike;
  /** Offset of that byte in the buffer. */
  readonly byteOffset: number;
  /** Length in bytes, a multiple of 4096. */
  readonly byteLength: number;
}

/** A contiguous part of guest RAM. */
export interface Segment {
  readonly start: bigint;
  readonly end: bigint;
  readonly byteOffset: number;
  readonly host: HostBuffer;
}

const SPARSE_BANK_BYTES = 1n << 30n;
// 64 TiB: each bank costs some hundred bytes of bookkeeping before it is first written.
const MOST_SPARSE_BYTES = 65536n * SPARSE_BANK_BYTES;

/** Fresh RAM, all zero: in one buffer up to 4 GiB, else in one for each GiB. Throws GUEST_MEMORY_TOO_LARGE. */
export function allocateSegments(layout: MemoryLayout, shared: boolean): Segment[] {
  const size = layout.ramSize;
  const most = shared ? BigInt(MOST_FLAT_BYTES) : MOST_SPARSE_BYTES;
  if (size > most) {
    throw new DirectBootError(
      "GUEST_MEMORY_TOO_LARGE",
      `${shared ? "shared " : ""}guest memory of ${hex(size)} bytes, the limit is ${hex(most)}`,
    );
  }
  const parts = joinedRanges(layout.ram.map(({ range }) => range));
  const segments: Segment[] = [];
  if (size <= BigInt(MOST_FLAT_BYTES)) {
    const host = HostBuffer.flat(Number(size), shared);
    let byteOffset = 0;
    for (const { start, end } of parts) {
      segments.push({ start, end, byteOffset, host });
      byteOffset += Number(end - start);
    }
    return segments;
  }
  for (const part of parts) {
    for (let start = part.start; start < part.end; start += SPARSE_BANK_BYTES) {
      const end = start + SPARSE_BANK_BYTES < part.end ? start + SPARSE_BANK_BYTES : part.end;
      segments.push({ start, end, byteOffset: 0, host: HostBuffer.lazy(Number(end - start)) });
    }
  }
  return segments;
}

function badBanks(details: string): DirectBootError {
  return new DirectBootError("GUEST_MEMORY_BAD_BANKS", details);
}

const isBank = /* @__PURE__ */ shape({});

/** RAM in a buffer of the caller's, in ascending order. Throws TypeError, GUEST_MEMORY_BAD_BANKS. */
export function attachSegments(
  buffer: GuestBuffer,
  banks: readonly MemoryBankInput[] | undefined,
): Segment[] {
  const host = HostBuffer.of(buffer);
  const { byteLength } = host.buffer;
  const inputs = banks ?? [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength }];
  if (inputs.length === 0) throw badBanks("there are no banks");
  if (!Array.isArray(inputs)) throw wrongType("banks", "an array", inputs);
  const segments = inputs.map((bank, index): Segment => {
    isBank(bank, `banks[${index}]`);
    const start = toAddress(bank.guestPhysicalAddress, `banks[${index}].guestPhysicalAddress`);
    const byteOffset = toLength(bank.byteOffset, `banks[${index}].byteOffset`);
    const length = toLength(bank.byteLength, `banks[${index}].byteLength`);
    const end = start + BigInt(length);
    if (start % HV_PAGE_SIZE !== 0n || length === 0 || length % PAGE_BYTES !== 0 || end >= ADDRESS_LIMIT) {
      throw badBanks(
        `bank ${index}, ${hexRange(start, end)}, is empty, not aligned to ${hex(HV_PAGE_SIZE)}, or passes 2^64`,
      );
    }
    if (byteOffset + length > byteLength) {
      throw badBanks(
        `bank ${index} lies at bytes ${byteOffset} to ${byteOffset + length}, the buffer has ${byteLength}`,
      );
    }
    return { start, end, byteOffset, host };
  });
  checkApart(
    [...segments].sort((a, b) => a.byteOffset - b.byteOffset),
    "share bytes of the buffer",
    (a, b) => a.byteOffset + Number(a.end - a.start) > b.byteOffset,
  );
  segments.sort((a, b) => (a.start < b.start ? -1 : 1));
  checkApart(segments, "overlap", (a, b) => a.end > b.start);
  return segments;
}

function checkApart(
  sorted: readonly Segment[],
  what: string,
  collide: (a: Segment, b: Segment) => boolean,
): void {
  let previous: Segment | undefined;
  for (const segment of sorted) {
    if (previous !== undefined && collide(previous, segment)) {
      throw badBanks(
        `the banks ${hexRange(previous.start, previous.end)} and ${hexRange(segment.start, segment.end)} ${what}`,
      );
    }
    previous = segment;
  }
}

/** A part of a range within one host buffer. */
export interface Part {
  readonly host: HostBuffer;
  /** Offset in the buffer, bytes. */
  readonly offset: number;
  readonly length: number;
  /** Bytes of the range before this part. */
  readonly done: number;
}

/** Throws GUEST_MEMORY_DETACHED, naming `[start, end)`, if the buffer of `host` went away, or ends before byte `bytesEnd`. */
function checkHolds(host: HostBuffer, bytesEnd: number, start: bigint, end: bigint): void {
  const { byteLength } = host.buffer;
  if (bytesEnd <= byteLength) return;
  throw new DirectBootError(
    "GUEST_MEMORY_DETACHED",
    `the buffer of ${hexRange(start, end)} has ${byteLength} bytes left`,
  );
}

/** The segments of a guest's RAM, in ascending order. */
export class SegmentMap {
  readonly all: readonly (Segment & { readonly firstPage: number })[];
  readonly #layout: MemoryLayout;

  /** @param layout where the RAM lies, for messages */
  constructor(all: readonly Segment[], layout: MemoryLayout) {
    let firstPage = 0;
    this.all = all.map((segment) => {
      const numbered = { ...segment, firstPage };
      firstPage += Number(segment.end - segment.start) / PAGE_BYTES;
      return numbered;
    });
    this.#layout = layout;
  }

  /** The bytes of all banks, by their buffers. */
  get claimed(): ClaimedBuffer[] {
    const found = new Map<HostBuffer, { start: number; end: number }[]>();
    for (const { host, start, end, byteOffset } of this.all) {
      const ranges = found.get(host) ?? [];
      ranges.push({ start: byteOffset, end: byteOffset + Number(end - start) });
      found.set(host, ranges);
    }
    return [...found].map(([host, ranges]) => ({ ids: host.ids, ranges }));
  }

  /** Throws GUEST_MEMORY_DETACHED if a bank's buffer went away, or became too small for it. */
  checkPresent(): void {
    for (const { start, end, byteOffset, host } of this.all) {
      if (host.exists) checkHolds(host, byteOffset + Number(end - start), start, end);
    }
  }

  /** Index of the segment that holds `address`, or -1. */
  #segmentAt(address: bigint): number {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.all[middle]?.end ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    return (this.all[low]?.start ?? ADDRESS_LIMIT) <= address ? low : -1;
  }

  /** Number of the page that holds `address`, which lies in RAM, counted through all segments. */
  pageAt(address: bigint): number {
    const segment = this.all[this.#segmentAt(address)];
    return segment === undefined
      ? -1
      : segment.firstPage + Math.floor(Number(address - segment.start) / PAGE_BYTES);
  }

  /** The host parts of a range, in order. Throws GUEST_MEMORY_NOT_RAM unless all of it is RAM. */
  locate(address: bigint, byteLength: number): Part[] {
    const end = address + BigInt(byteLength);
    const parts: Part[] = [];
    let at = address;
    for (let i = this.#segmentAt(address); at < end; i++) {
      const segment = i < 0 ? undefined : this.all[i];
      if (segment === undefined || segment.start > at) {
        throw new DirectBootError(
          "GUEST_MEMORY_NOT_RAM",
          `${hexRange(address, end)} is not all RAM: ${hex(at)} is not, RAM is ${this.#layout}`,
        );
      }
      const to = segment.end < end ? segment.end : end;
      parts.push({
        host: segment.host,
        offset: segment.byteOffset + Number(at - segment.start),
        length: Number(to - at),
        done: Number(at - address),
      });
      at = to;
    }
    return parts;
  }

  /** Calls `use` for each host part of the range, in order; all of it is checked to be there before. */
  each(address: bigint, byteLength: number, use: (part: Part) => void): void {
    const parts = this.locate(address, byteLength);
    for (const { host, offset, length } of parts) {
      checkHolds(host, offset + length, address, address + BigInt(byteLength));
    }
    for (const part of parts) use(part);
  }
}
