/** Bytes that came in pieces and are kept in pieces: no buffer is grown, and large pieces are not copied. */
import { DirectBootError } from "../base/errors.js";
import { type ByteRange, checkSourceRange, needsNoGuard, type SyncSource } from "./source.js";

// Smaller pieces are gathered in blocks: a stream of single bytes must not become as many objects.
const SMALL_PIECE_BYTES = 16 * 1024;
const BLOCK_BYTES = 64 * 1024;

interface Segment {
  readonly start: number;
  bytes: Uint8Array;
}

/** Pieces of a file, in ascending order, with or without holes between them. */
export class Spool {
  #segments: Segment[] = [];
  /** The block that small pieces are gathered in, if it may have room, and how much of it is used. */
  #block: Uint8Array | undefined;
  #used = 0;

  /** Keeps `bytes`, which lie behind all that is kept already. */
  append(start: number, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    if (bytes.byteLength >= SMALL_PIECE_BYTES) {
      this.#segments.push({ start, bytes });
      this.#block = undefined;
      return;
    }
    if (this.#block === undefined || this.#used + bytes.byteLength > BLOCK_BYTES) {
      this.#block = new Uint8Array(BLOCK_BYTES);
      this.#used = 0;
    }
    this.#block.set(bytes, this.#used);
    const at = this.#used;
    this.#used += bytes.byteLength;
    const last = this.#segments.at(-1);
    const isNext =
      last !== undefined &&
      last.start + last.bytes.byteLength === start &&
      last.bytes.buffer === this.#block.buffer &&
      last.bytes.byteOffset + last.bytes.byteLength === at;
    // Pieces that are apart share a block, too: each in one of its own would be as many times its size.
    if (isNext) last.bytes = this.#block.subarray(last.bytes.byteOffset, this.#used);
    else this.#segments.push({ start, bytes: this.#block.subarray(at, this.#used) });
  }

  /** Index of the segment that holds `offset`, or -1. */
  #indexOf(offset: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#segments[middle]?.start ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    const segment = this.#segments[low - 1];
    return segment !== undefined && offset < segment.start + segment.bytes.byteLength ? low - 1 : -1;
  }

  /** The bytes kept in one piece from `offset` on; empty if that byte is not kept. */
  viewAt(offset: number): Uint8Array {
    const segment = this.#segments[this.#indexOf(offset)];
    return segment === undefined ? new Uint8Array(0) : segment.bytes.subarray(offset - segment.start);
  }

  /** Fills `target` from `offset` on; false, with a part of it filled, if not all of it is kept. */
  copy(target: Uint8Array, offset: number): boolean {
    let index = this.#indexOf(offset);
    for (let done = 0; done < target.byteLength; index++) {
      const segment = this.#segments[index];
      const skip = segment === undefined ? -1 : offset + done - segment.start;
      if (segment === undefined || skip < 0 || skip >= segment.bytes.byteLength) return false;
      const piece = segment.bytes.subarray(skip, skip + target.byteLength - done);
      target.set(piece, done);
      done += piece.byteLength;
    }
    return true;
  }

  /** True if all bytes of `[start, end)` are kept. */
  covers(start: number, end: number): boolean {
    let at = start;
    for (let index = this.#indexOf(start); at < end; index++) {
      const segment = this.#segments[index];
      if (segment === undefined || segment.start > at) return false;
      at = segment.start + segment.bytes.byteLength;
    }
    return true;
  }

  /** Lets go what lies in none of `ranges`, which are in ascending order of their starts. */
  keepOnly(ranges: readonly ByteRange[]): void {
    const kept: Segment[] = [];
    let at = 0;
    let first = 0;
    for (const { start, bytes } of this.#segments) {
      const end = start + bytes.byteLength;
      at = Math.max(at, start);
      while (first < ranges.length && (ranges[first]?.end ?? 0) <= at) first++;
      for (let next = first; next < ranges.length && at < end; next++) {
        const range = ranges[next];
        if (range === undefined || range.start >= end) break;
        const from = Math.max(at, range.start);
        const to = Math.min(end, range.end);
        if (from >= to) continue;
        const piece = bytes.subarray(from - start, to - start);
        // A small rest must not hold a large buffer.
        const isSmall = piece.byteLength * 2 < bytes.byteLength;
        kept.push({ start: from, bytes: isSmall ? piece.slice() : piece });
        at = to;
      }
    }
    this.#segments = kept;
    this.#block = undefined;
  }

  /** Lets go what lies before `offset`, by whole pieces. */
  dropBefore(offset: number): void {
    let count = 0;
    for (const { start, bytes } of this.#segments) {
      if (start + bytes.byteLength > offset) break;
      count++;
    }
    if (count === 0) return;
    this.#segments.splice(0, count);
    if (this.#segments.length === 0) this.#block = undefined;
  }

  /** Lets go everything. */
  clear(): void {
    this.#segments = [];
    this.#block = undefined;
  }
}

/** Bytes `[0, byteLength)` that are all in a spool, as a source. */
export class SpooledSource implements SyncSource {
  readonly name: string;
  readonly byteLength: number;
  readonly #spool: Spool;

  constructor(spool: Spool, byteLength: number, name: string) {
    this.#spool = spool;
    this.byteLength = byteLength;
    this.name = name;
    if (new.target === SpooledSource) needsNoGuard(this);
  }

  readSync(target: Uint8Array, offset: number): void {
    checkSourceRange(this, offset, target.byteLength);
    if (!this.#spool.copy(target, offset)) {
      throw new DirectBootError("SOURCE_READ", `${this.name}: its buffers were detached`);
    }
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    this.readSync(target, offset);
  }

  peek(offset: number, length: number): Uint8Array | undefined {
    checkSourceRange(this, offset, length);
    const view = this.#spool.viewAt(offset);
    return view.byteLength < length ? undefined : view.subarray(0, length);
  }
}
