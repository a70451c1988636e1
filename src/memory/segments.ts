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
import { bytesOfBuffer, type GuestBuffer, HostBuffer, MOST_FLAT_BYTES } from "./host-buffer.js";
import type { MemoryLayout } from "./memory-layout.js";

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

/** RAM ranges with adjacent ones joined. */
function joined(layout: MemoryLayout): { start: bigint; end: bigint }[] {
  const parts: { start: bigint; end: bigint }[] = [];
  for (const { range } of layout.ram) {
    const last = parts.at(-1);
    if (last?.end === range.start) last.end = range.end;
    else parts.push({ start: range.start, end: range.end });
  }
  return parts;
}

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
  const segments: Segment[] = [];
  if (size <= BigInt(MOST_FLAT_BYTES)) {
    const host = HostBuffer.flat(Number(size), shared);
    let byteOffset = 0;
    for (const { start, end } of joined(layout)) {
      segments.push({ start, end, byteOffset, host });
      byteOffset += Number(end - start);
    }
    return segments;
  }
  for (const part of joined(layout)) {
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

/** RAM in a buffer of the caller's, in ascending order. Throws TypeError, GUEST_MEMORY_BAD_BANKS. */
export function attachSegments(
  buffer: GuestBuffer,
  banks: readonly MemoryBankInput[] | undefined,
): Segment[] {
  const { byteLength } = bytesOfBuffer(buffer);
  const host = HostBuffer.of(buffer);
  const inputs = banks ?? [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength }];
  if (inputs.length === 0) throw badBanks("there are no banks");
  const segments = inputs.map((bank, index): Segment => {
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
    (a, b) => {
      return a.byteOffset + Number(a.end - a.start) > b.byteOffset;
    },
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
