/** Where in the host's buffers a guest physical address lies. */
import { ADDRESS_LIMIT, hex, hexRange, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { HostBuffer } from "./host-buffer.js";
import type { ClaimedBuffer } from "./memory-claim.js";
import type { MemoryLayout } from "./memory-layout.js";
import type { Segment } from "./segments.js";

/** A part of a range within one host buffer. */
export interface Part {
  readonly host: HostBuffer;
  /** Offset in the buffer, bytes. */
  readonly offset: number;
  readonly length: number;
  /** Bytes of the range before this part. */
  readonly done: number;
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
      if (!host.exists) continue;
      const { byteLength } = host.buffer;
      if (byteOffset + Number(end - start) <= byteLength) continue;
      throw new DirectBootError(
        "GUEST_MEMORY_DETACHED",
        `the buffer of ${hexRange(start, end)} has ${byteLength} bytes left`,
      );
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
      if (offset + length > host.buffer.byteLength) {
        throw new DirectBootError(
          "GUEST_MEMORY_DETACHED",
          `the buffer of ${hexRange(address, address + BigInt(byteLength))} has ${host.buffer.byteLength} bytes left`,
        );
      }
    }
    for (const part of parts) use(part);
  }
}
