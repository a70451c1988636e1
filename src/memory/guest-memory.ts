/**
 * Guest RAM in host buffers.
 *
 *     flat     one buffer, preferably a WebAssembly.Memory, so that the hot paths work on it in place
 *
 *              buffer offset 0                                   ramSize
 *              │ bank 0: [0, 3 GiB) │ bank 1: [4 GiB, 4.5 GiB)   │ scratch of the hot paths, 64 KiB │
 *
 *     sparse   one buffer for each GiB of RAM, made when it is first written: for guests beyond 4 GiB
 */

import {
  type AddressLike,
  HV_PAGE_SIZE,
  hexRange,
  PAGE_BYTES,
  toAddress,
  toLength,
} from "../base/address.js";
import { describeForeign, describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import type { MemoryPlace } from "../sources/source.js";
import type { BufferHotPaths } from "../wasm/hot-path-functions.js";
import { checkSeed, hotPathsOverBuffer } from "../wasm/hot-paths.js";
import { checkIdentityMap, type IdentityMap, identityMapBytes } from "../wasm/identity-map.js";
import { allocate, type GuestBuffer, type HostBuffer } from "./host-buffer.js";
import { checkUnclaimed, claimBytes, type MemoryClaim } from "./memory-claim.js";
import { MemoryLayout } from "./memory-layout.js";
import { PageSet } from "./page-set.js";
import {
  allocateSegments,
  attachSegments,
  type MemoryBankInput,
  type Segment,
  SegmentMap,
} from "./segments.js";

/** A contiguous part of guest RAM and the buffer that it lies in. */
export interface MemoryBank {
  /** Where it lies in the guest, page-aligned. */
  readonly guestPhysicalAddress: bigint;
  /** Where it starts in the buffer, bytes. */
  readonly byteOffset: number;
  /** Its length, a multiple of 4096 bytes. */
  readonly byteLength: number;
  /**
   * The buffer, allocated by this if it was not yet. Whoever has it can write to it unseen, so from then on
   * nothing in this guest memory is taken for zero.
   */
  readonly buffer: ArrayBufferLike;
}

const checkCreateOptions = /* @__PURE__ */ named("shared");

/**
 * RAM of a guest, and the only place that knows in which buffer an address lies.
 *
 * @example
 * ```ts
 * import { GuestMemory } from "directboot";
 *
 * const memory = GuestMemory.create(64 * 1024 * 1024);
 * memory.write(0x1000, Uint8Array.of(1, 2, 3));
 * memory.view(0x1003, 1)[0] = 4; // in place
 * console.log(memory.read(0x1000, 4).join(" ")); // 1 2 3 4
 * console.log(memory.crc32(0x1000, 4).toString(16)); // b63cfbcd
 * ```
 */
export class GuestMemory {
  /** Where the RAM lies. */
  readonly layout: MemoryLayout;
  /** Bytes of RAM. */
  readonly ramSize: bigint;
  readonly #segments: SegmentMap;
  /** The bytes that a load claims: one function for {@link MemoryClaim.isOn}. */
  readonly #claimed = () => this.#segments.claimed;
  // The first segment in numbers, for #quick.
  readonly #first: HostBuffer | undefined;
  readonly #firstStart: number = Number.POSITIVE_INFINITY;
  readonly #firstLength: number = 0;
  readonly #firstOffset: number = 0;
  /** True while every page outside #written and #handedOut is known to be zero. */
  #fresh: boolean;
  readonly #written = new PageSet();
  /** Pages that callers have views of: they may write there whenever they like. */
  readonly #handedOut = new PageSet();

  private constructor(layout: MemoryLayout, segments: readonly Segment[], fresh: boolean) {
    if (!(layout instanceof MemoryLayout) || !Array.isArray(segments)) {
      throw new TypeError("a GuestMemory is made by GuestMemory.create or GuestMemory.attach, not by new");
    }
    this.layout = layout;
    this.ramSize = layout.ramSize;
    this.#segments = new SegmentMap(segments, layout);
    this.#fresh = fresh;
    const [first] = segments;
    if (first !== undefined && first.end < BigInt(Number.MAX_SAFE_INTEGER)) {
      this.#firstStart = Number(first.start);
      this.#firstLength = Number(first.end - first.start);
      this.#firstOffset = first.byteOffset;
      this.#first = first.host;
    }
  }

  /**
   * Allocates RAM for a guest, all zero. Up to 4 GiB it lies in one WebAssembly.Memory (with `shared`, a shared
   * one); more RAM lies in one ArrayBuffer a GiB, each made when it is first needed.
   *
   * @param layout a layout, or bytes of RAM from address 0
   * @throws DirectBootError GUEST_MEMORY_TOO_LARGE if the host can't; LAYOUT_BAD_SIZE
   *
   * @example
   * ```ts
   * import { GuestMemory, MemoryLayout, MemoryRange } from "directboot";
   *
   * const small = GuestMemory.create(256 * 1024 * 1024, { shared: true });
   * const gap = new MemoryRange(3n << 30n, 4n << 30n);
   * const large = GuestMemory.create(new MemoryLayout(6n << 30n, [gap]));
   * console.log(small.banks.length, large.banks.length); // 1 6
   * ```
   */
  static create(layout: MemoryLayout | AddressLike, options: { shared?: boolean } = {}): GuestMemory {
    if (typeof layout === "object" && !(layout instanceof MemoryLayout)) {
      throw new TypeError(
        `layout must be a MemoryLayout or a number of bytes, got ${describeForeign(layout, [MemoryLayout])}`,
      );
    }
    checkCreateOptions(options, "");
    const ram = layout instanceof MemoryLayout ? layout : new MemoryLayout(layout);
    return new GuestMemory(ram, allocateSegments(ram, options.shared ?? false), true);
  }

  /**
   * Guest memory over a buffer that the caller owns. Nothing outside the banks is ever touched, and nothing in
   * them is taken for zero.
   *
   * @param buffer where the RAM lies
   * @param banks which parts of it are which addresses; without, all of it is RAM from address 0
   * @throws TypeError if `buffer` is none of {@link GuestBuffer}
   * @throws DirectBootError GUEST_MEMORY_BAD_BANKS
   *
   * @example
   * ```ts
   * import { GuestMemory } from "directboot";
   *
   * const linear = new WebAssembly.Memory({ initial: 2048 }); // an emulator's, 128 MiB
   * const banks = [{ guestPhysicalAddress: 0, byteOffset: 65536, byteLength: 64 * 1024 * 1024 }];
   * const memory = GuestMemory.attach(linear, banks);
   * memory.write(0x1000, Uint8Array.of(7));
   * console.log(new Uint8Array(linear.buffer)[65536 + 0x1000]); // 7
   * ```
   */
  static attach(buffer: GuestBuffer, banks?: readonly MemoryBankInput[]): GuestMemory {
    const segments = attachSegments(buffer, banks);
    return new GuestMemory(new MemoryLayout(segments), segments, false);
  }

  /** The contiguous parts of RAM in ascending order, with the buffers that they lie in. */
  get banks(): readonly MemoryBank[] {
    return this.#segments.all.map((segment): MemoryBank => {
      const expose = (): ArrayBufferLike => {
        this.#fresh = false;
        return segment.host.buffer;
      };
      return {
        guestPhysicalAddress: segment.start,
        byteOffset: segment.byteOffset,
        byteLength: Number(segment.end - segment.start),
        get buffer() {
          return expose();
        },
      };
    });
  }

  /**
   * Claims all banks for a load, by the buffers that they lie in: until it is released, whoever else wants to load into
   * one of these bytes, `reset` or `zero` them is refused.
   *
   * @throws DirectBootError GUEST_MEMORY_BUSY if another load has claimed one of them
   */
  claim(): MemoryClaim {
    return claimBytes(this.#claimed);
  }

  /** Throws TypeError unless `claim` is on this memory. */
  checkClaim(claim: MemoryClaim): void {
    if (!claim.isOn(this.#claimed)) throw new TypeError("claim must be on this memory, got another memory's");
  }

  /** Throws GUEST_MEMORY_BUSY if a load other than that of `own` has claimed a byte of the banks. */
  checkUnclaimed(own?: MemoryClaim): void {
    checkUnclaimed(this.#claimed, own);
  }

  /** Throws GUEST_MEMORY_DETACHED if a bank's buffer went away, or became too small for it. */
  checkPresent(): void {
    this.#segments.checkPresent();
  }

  /**
   * Offset in the first segment's buffer of a range that lies in it, or -1: without bigint, for the calls that
   * emulators make often.
   */
  #quick(address: AddressLike, byteLength: number): number {
    if (typeof address !== "number" || !(address >= this.#firstStart)) return -1;
    const within = address - this.#firstStart;
    if (!Number.isSafeInteger(address) || !Number.isSafeInteger(byteLength) || byteLength < 0) return -1;
    return within + byteLength <= this.#firstLength ? this.#firstOffset + within : -1;
  }

  /** Number of the page that holds `address`, counted through all RAM; `address` lies in RAM. */
  pageAt(address: bigint): number {
    return this.#segments.pageAt(address);
  }

  /** Adds the pages of a range in RAM to `set`; there is no need to if nothing is taken for zero anyway. */
  #note(set: PageSet, start: bigint, length: number): void {
    if (!this.#fresh || length === 0) return;
    set.add(this.pageAt(start), this.pageAt(start + BigInt(length - 1)) + 1);
  }

  #checked(address: AddressLike, byteLength: number): { start: bigint; length: number } {
    return { start: toAddress(address, "address"), length: toLength(byteLength, "byteLength") };
  }

  /**
   * The bytes of a range, in place. Whoever has them can write to them, so the range counts as written.
   *
   * @throws DirectBootError GUEST_MEMORY_NOT_RAM, GUEST_MEMORY_SPLIT_VIEW (sparse memory only)
   */
  view(address: AddressLike, byteLength: number): Uint8Array {
    const { start, length } = this.#checked(address, byteLength);
    const parts = this.parts(start, length);
    this.#note(this.#handedOut, start, length);
    if (parts.length > 1) {
      throw new DirectBootError(
        "GUEST_MEMORY_SPLIT_VIEW",
        `${hexRange(start, start + BigInt(length))} lies in ${parts.length} buffers`,
      );
    }
    return parts[0] ?? new Uint8Array(0);
  }

  /**
   * The bytes of a range, in place, as one view for each host buffer that it lies in; to be written to at once,
   * not to be kept (see {@link view}).
   *
   * @throws DirectBootError GUEST_MEMORY_NOT_RAM
   */
  parts(address: AddressLike, byteLength: number): Uint8Array[] {
    const { start, length } = this.#checked(address, byteLength);
    const parts: Uint8Array[] = [];
    this.#segments.each(start, length, (part) => {
      parts.push(new Uint8Array(part.host.buffer, part.offset, part.length));
    });
    this.#note(this.#written, start, length);
    return parts;
  }

  /**
   * A range as a place where decoders make bytes, which count as written; undefined if it lies in several buffers, or
   * not in a memory that was made by `create`.
   *
   * @throws DirectBootError GUEST_MEMORY_NOT_RAM
   * @internal
   */
  place(address: AddressLike, byteLength: number): MemoryPlace | undefined {
    const { start, length } = this.#checked(address, byteLength);
    const [part, ...others] = this.#segments.locate(start, length);
    const work = part?.host.work;
    if (part === undefined || work === undefined || others.length > 0) return undefined;
    this.#note(this.#written, start, length);
    return { memory: work.memory, offset: part.offset, byteLength: length, scratchOffset: work.offset };
  }

  /** A copy of a range. Throws GUEST_MEMORY_NOT_RAM. */
  read(address: AddressLike, byteLength: number): Uint8Array {
    const { start, length } = this.#checked(address, byteLength);
    let copy: Uint8Array | undefined;
    this.#segments.each(start, length, (part) => {
      copy ??= allocate(length, () => new Uint8Array(length));
      copy.set(new Uint8Array(part.host.buffer, part.offset, part.length), part.done);
    });
    return copy ?? new Uint8Array(0);
  }

  /**
   * Copies `bytes` to `address`; they may lie in this guest memory themselves. Throws GUEST_MEMORY_NOT_RAM before
   * anything is written.
   */
  write(address: AddressLike, bytes: Uint8Array): void {
    this.#write(address, bytes);
  }

  /**
   * The same as {@link write}, and gives the CRC-32 (zlib's) of the bytes; where they lie in this guest memory, in one
   * pass over them.
   */
  writeWithCrc32(address: AddressLike, bytes: Uint8Array, seed = 0): number {
    checkSeed(seed);
    return this.#write(address, bytes, seed) ?? seed;
  }

  #write(address: AddressLike, bytes: Uint8Array, seed?: number): number | undefined {
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(`bytes must be a Uint8Array, got ${describeType(bytes)}`);
    }
    const { start, length } = this.#checked(address, bytes.byteLength);
    const parts = this.#segments.locate(start, length);
    // Parts that are written one by one must not be read from later on.
    const isOwn = parts.some(({ host }) => host.buffer === bytes.buffer);
    const from = isOwn && parts.length > 1 ? bytes.slice() : bytes;
    let crc = seed;
    this.#segments.each(start, length, ({ host, offset, length: partLength, done }) => {
      const { hotPaths } = host;
      if (host.buffer === from.buffer) {
        const source = from.byteOffset + done;
        if (crc === undefined) hotPaths.copy(offset, source, partLength);
        else crc = hotPaths.copyCrc32(offset, source, partLength, crc);
        return;
      }
      new Uint8Array(host.buffer, offset, partLength).set(from.subarray(done, done + partLength));
      if (crc !== undefined) crc = hotPaths.crc32(offset, partLength, crc);
    });
    this.#note(this.#written, start, length);
    return crc;
  }

  /** True if a range of RAM is known to be all zero. */
  #isZero(start: bigint, length: number): boolean {
    if (!this.#fresh || length === 0) return length === 0;
    const from = this.pageAt(start);
    const to = this.pageAt(start + BigInt(length - 1)) + 1;
    return !this.#written.hasAny(from, to) && !this.#handedOut.hasAny(from, to);
  }

  #fillWithZeros(start: bigint, length: number): void {
    this.#segments.each(start, length, (part) => part.host.hotPaths.zero(part.offset, part.length));
  }

  /**
   * Sets a range to zero; bytes that are known to be zero are not touched.
   *
   * @param own the claim of the load that this is a part of
   * @throws DirectBootError GUEST_MEMORY_NOT_RAM, GUEST_MEMORY_BUSY while another load writes to this memory
   */
  zero(address: AddressLike, byteLength: number, own?: MemoryClaim): void {
    const { start, length } = this.#checked(address, byteLength);
    this.checkUnclaimed(own);
    this.#segments.locate(start, length);
    if (length === 0) return;
    if (!this.#fresh) {
      this.#fillWithZeros(start, length);
      return;
    }
    const first = this.pageAt(start);
    const end = this.pageAt(start + BigInt(length - 1)) + 1;
    const within = Number(start % HV_PAGE_SIZE);
    const zeroPages = (from: number, to: number): void => {
      const done = Math.max((from - first) * PAGE_BYTES - within, 0);
      this.#fillWithZeros(start + BigInt(done), Math.min((to - first) * PAGE_BYTES - within, length) - done);
    };
    this.#written.each(first, end, zeroPages);
    this.#handedOut.each(first, end, zeroPages);
  }

  /**
   * Sets what is left of a range to zero: of RAM in several buffers, those that are still there.
   *
   * @throws DirectBootError GUEST_MEMORY_DETACHED afterwards, if one of them went away
   */
  zeroWhatIsLeft(address: AddressLike, byteLength: number, own?: MemoryClaim): void {
    const { start, length } = this.#checked(address, byteLength);
    let lost: unknown;
    for (const part of this.#segments.locate(start, length)) {
      try {
        this.zero(start + BigInt(part.done), part.length, own);
      } catch (cause) {
        lost = cause;
      }
    }
    if (lost !== undefined) throw lost;
  }

  /**
   * Makes all RAM zero again. As long as nobody was handed a bank's buffer, only what was written through this
   * object is touched.
   *
   * @throws DirectBootError GUEST_MEMORY_BUSY while a load writes to this memory
   */
  reset(): void {
    this.checkUnclaimed();
    for (const { start, end, host } of this.#segments.all) {
      if (host.exists) this.zero(start, Number(end - start));
    }
    this.#written.clear();
  }

  /** CRC-32 (zlib's) of a range, in place, without a copy. Throws GUEST_MEMORY_NOT_RAM. */
  crc32(address: AddressLike, byteLength: number, seed = 0): number {
    checkSeed(seed);
    const quick = this.#quick(address, byteLength);
    if (quick >= 0 && this.#first !== undefined && quick + byteLength <= this.#first.buffer.byteLength) {
      return this.#first.hotPaths.crc32(quick, byteLength, seed);
    }
    const { start, length } = this.#checked(address, byteLength);
    let crc = seed;
    this.#segments.each(start, length, (part) => {
      crc = part.host.hotPaths.crc32(part.offset, part.length, crc);
    });
    return crc;
  }

  /**
   * Hands a range to `write` that makes its bytes in place: hot paths, the offset of the range in their buffer, and
   * whether it is known to be all zero. Where the range lies in several buffers, they are made elsewhere and copied.
   *
   * @throws DirectBootError GUEST_MEMORY_NOT_RAM
   * @internal
   */
  generate(
    address: AddressLike,
    byteLength: number,
    write: (hotPaths: BufferHotPaths, offset: number, isZero: boolean) => void,
  ): void {
    const { start, length } = this.#checked(address, byteLength);
    if (this.#segments.locate(start, length).length <= 1) {
      const isZero = this.#isZero(start, length);
      this.#segments.each(start, length, ({ host, offset }) => {
        // Before: a write that throws midway has written as well.
        this.#note(this.#written, start, length);
        write(host.hotPaths, offset, isZero);
      });
      return;
    }
    const bytes = allocate(length, () => new Uint8Array(length));
    write(hotPathsOverBuffer(bytes.buffer), 0, true);
    this.write(start, bytes);
  }

  /** Writes page tables at `address`, in place. Throws GUEST_MEMORY_NOT_RAM, PAGE_TABLE_INVALID_ADDRESS. */
  writeIdentityMap(address: AddressLike, map: IdentityMap): void {
    checkIdentityMap(map);
    this.generate(address, identityMapBytes(map), (hotPaths, offset) => hotPaths.identityMap(offset, map));
  }
}
