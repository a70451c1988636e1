/** Bytes that arrive once, in order: a ReadableStream, or whatever gives chunks. */

import { describeType, messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import { abortedError } from "../task/run.js";
import { arrived } from "./arrival.js";
import { type ChunkSupply, supplyOf } from "./chunk-supply.js";
import { type ByteStream, isUint8Array } from "./platform-shapes.js";
import {
  type ByteRange,
  checkSourceRange,
  needsNoGuard,
  type StreamedSource,
  UNKNOWN_LENGTH,
} from "./source.js";
import { Spool, SpooledSource } from "./spool.js";

/** Bytes that a stream keeps at most, unless the caller says otherwise. */
const DEFAULT_SPOOL_LIMIT = 67_108_864; // 64 MiB

const EMPTY_CHUNKS_A_TURN = 256;

/** Options of streams. */
export interface StreamOptions {
  /** Its name in messages. */
  readonly name?: string | undefined;
  /** Its length in bytes, where it is known. Bytes of the stream beyond it are never read. */
  readonly byteLength?: number | undefined;
  /** Bytes that are kept at most for reading them again; 64 MiB by default. */
  readonly spoolLimit?: number | undefined;
}

/** Waits for `work`, or for the signal: then ABORTED. */
function orAborted<T>(work: Promise<T>, name: string, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortedError(name, signal));
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = (): void => signal.removeEventListener("abort", onAbort);
    work.then(resolve, reject).then(settled, settled);
    if (signal.aborted) onAbort();
  });
}

/** A range that is still wanted, and how far it was read. */
interface WantedRange {
  readonly start: number;
  readonly end: number;
  next: number;
}

/** Bytes that lie in more than one of `ranges`, which ascend by their starts: no more are kept at once. */
function wantedTwice(ranges: readonly ByteRange[]): number {
  let bytes = 0;
  let counted = 0;
  let furthest = 0;
  for (const { start, end } of ranges) {
    const from = Math.max(start, counted);
    const to = Math.min(end, furthest);
    if (to > from) {
      bytes += to - from;
      counted = to;
    }
    furthest = Math.max(furthest, end);
  }
  return bytes;
}

const checkNames = /* @__PURE__ */ named("name", "byteLength", "spoolLimit");

/**
 * A stream as a source. Reads may go forwards and back until {@link startStreaming} is called, within the first
 * `spoolLimit` bytes; from then on they go forwards. Reads that are asked for at once are done one after the other. A
 * stream that failed or was aborted stays so: every further read throws the same.
 *
 * A chunk that was given is kept without a copy: whoever gives it must not write to it any more.
 */
export class StreamSource implements StreamedSource {
  readonly name: string;
  readonly #supply: ChunkSupply;
  readonly #declared: number | undefined;
  readonly #spoolLimit: number;
  readonly #isCheckedAtEnd: boolean;
  readonly #spool = new Spool();
  /** Bytes that were pulled and not taken yet; its first byte lies at #position of the stream. */
  #rest: Uint8Array = new Uint8Array(0);
  #position = 0;
  /** How far `takeChunk` is. */
  #taken = 0;
  #end: number | undefined;
  /** Ranges that are still wanted, from #first on; undefined while everything is kept. */
  #wanted: WantedRange[] | undefined;
  #first = 0;
  #isCancelled = false;
  #failure: DirectBootError | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  /**
   * @throws TypeError for options of a wrong type
   * @throws DirectBootError SOURCE_READ if the stream has a reader already
   */
  constructor(stream: ByteStream | ChunkSupply, options: StreamOptions = {}) {
    checkNames(options, "");
    const { name = "stream", byteLength, spoolLimit = DEFAULT_SPOOL_LIMIT } = options;
    if (byteLength !== undefined && (!Number.isSafeInteger(byteLength) || byteLength < 0)) {
      throw new TypeError(
        `${name}: byteLength must be an integer from 0 up, got ${describeType(byteLength)}`,
      );
    }
    if (typeof spoolLimit !== "number" || !(spoolLimit >= 0)) {
      throw new TypeError(`${name}: spoolLimit must be a number from 0 up, got ${describeType(spoolLimit)}`);
    }
    this.name = name;
    this.#declared = byteLength === UNKNOWN_LENGTH ? undefined : byteLength;
    this.#spoolLimit = spoolLimit;
    this.#supply = "pull" in stream ? stream : supplyOf(stream, name);
    this.#isCheckedAtEnd = this.#supply.isCheckedAtEnd === true;
    if (new.target === StreamSource) needsNoGuard(this);
  }

  /** The declared length; without one, UNKNOWN_LENGTH until the end was seen. */
  get byteLength(): number {
    return this.#declared ?? this.#end ?? UNKNOWN_LENGTH;
  }

  async read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    checkSourceRange(this, offset, target.byteLength);
    const { byteLength } = target;
    const got = await this.#oneAtATime(() => this.#read(target, offset, signal));
    if (got < byteLength) throw this.#short(offset, byteLength, offset + got);
  }

  /**
   * As `read`, but a stream that ends before `target` is full is no error.
   *
   * @returns bytes that were read
   */
  async readUpTo(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<number> {
    if (offset >= this.byteLength) return 0;
    const length = Math.min(target.byteLength, this.byteLength - offset);
    return this.#oneAtATime(() => this.#read(target.subarray(0, length), offset, signal));
  }

  /**
   * Pulls the first `byteLength` bytes. A stream without a declared length that ends within them has a known length
   * afterwards.
   *
   * @param isAll whether all of them are wanted: then more than may be kept are refused before they are pulled
   * @throws DirectBootError SOURCE_SPOOL_LIMIT; what reading throws
   */
  async spoolHead(byteLength: number, signal?: AbortSignal, isAll = false): Promise<void> {
    if (isAll && this.#wanted === undefined && byteLength > this.#spoolLimit)
      throw this.#overLimit(byteLength);
    const end = Math.min(byteLength, this.#spoolLimit, this.byteLength);
    await this.#oneAtATime(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#wanted !== undefined) return;
      while (this.#position < end) {
        if (this.#rest.byteLength === 0 && !(await this.#pull(signal))) return;
        this.#keep(this.#take(end - this.#position));
      }
    });
  }

  /**
   * Reads the stream to its end and gives its bytes as a source that can be read anywhere, any number of times.
   *
   * @param limit bytes that it may have at most; the stream's spoolLimit by default
   * @throws DirectBootError SOURCE_SPOOL_LIMIT if it has more; what reading throws
   * @internal
   */
  async spoolWhole(limit = this.#spoolLimit, signal?: AbortSignal): Promise<SpooledSource> {
    const tooLarge = (): DirectBootError =>
      new DirectBootError("SOURCE_SPOOL_LIMIT", `${this.name} has more than ${limit} bytes`);
    return this.#oneAtATime(async () => {
      if (this.#wanted !== undefined) throw this.#consumed(0);
      if (this.#failure !== undefined) throw this.#failure;
      const all = this.#declared ?? UNKNOWN_LENGTH;
      if (this.#declared !== undefined && this.#declared > limit) throw this.#fail(tooLarge());
      while (this.#position < all) {
        if (this.#rest.byteLength === 0 && !(await this.#pull(signal))) {
          if (this.#declared === undefined) break;
          throw this.#fail(this.#short(0, all, this.#position));
        }
        if (this.#position + Math.min(this.#rest.byteLength, all - this.#position) > limit) {
          throw this.#fail(tooLarge());
        }
        this.#keep(this.#take(all - this.#position));
      }
      this.#stop(undefined);
      return new SpooledSource(this.#spool, this.#position, this.name);
    });
  }

  /**
   * The next chunk from the start of the stream on, without a copy; undefined at its end. Bytes taken this way can't be
   * read again.
   */
  async takeChunk(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#oneAtATime(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      const all = this.#declared ?? UNKNOWN_LENGTH;
      if (this.#wanted === undefined) this.startStreaming([{ start: 0, end: all }]);
      if (this.#taken >= all || this.#taken === this.#end) return undefined;
      let chunk: Uint8Array;
      if (this.#taken < this.#position) {
        chunk = this.#spool.viewAt(this.#taken);
        if (chunk.byteLength === 0) throw this.#consumed(this.#taken);
      } else if (this.#rest.byteLength > 0 || (await this.#pull(signal))) {
        chunk = this.#take(all - this.#position);
      } else if (this.#declared === undefined) {
        return undefined;
      } else {
        throw this.#fail(this.#short(0, all, this.#position));
      }
      this.#advance(this.#taken, this.#taken + chunk.byteLength);
      this.#taken += chunk.byteLength;
      this.#release();
      return chunk;
    });
  }

  checkStreaming(ranges: readonly ByteRange[]): void {
    if (this.#failure !== undefined) throw this.#failure;
    let before = 0;
    for (const { start, end } of ranges) {
      if (!(start >= before && end >= start)) {
        throw new TypeError(`${this.name}: ranges must be in ascending order, got ${start} after ${before}`);
      }
      before = start;
      const passed = Math.min(end, this.#position);
      if (start < passed && !this.#spool.covers(start, passed)) throw this.#consumed(start);
      if (this.#isCancelled && end > this.#position && end > start) throw this.#consumed(this.#position);
    }
    const kept = wantedTwice(ranges);
    if (kept > this.#spoolLimit) {
      throw new DirectBootError(
        "SOURCE_SPOOL_LIMIT",
        `${this.name}: ${kept} bytes are wanted more than once, ${this.#spoolLimit} may be kept`,
      );
    }
  }

  startStreaming(ranges: readonly ByteRange[]): void {
    this.checkStreaming(ranges);
    const wanted = ranges.filter(({ start, end }) => end > start);
    this.#wanted = wanted.map(({ start, end }) => ({ start, end, next: start }));
    this.#first = 0;
    this.#spool.keepOnly(wanted);
  }

  async checkEnd(signal?: AbortSignal): Promise<void> {
    if (!this.#isCheckedAtEnd) return;
    await this.#oneAtATime(async () => {
      while (this.#rest.byteLength > 0 || (await this.#pull(signal))) this.#take(this.#rest.byteLength);
    });
  }

  cancel(reason?: unknown): void {
    this.#stop(reason);
    this.#spool.clear();
    this.#rest = new Uint8Array(0);
    this.#failure ??= new DirectBootError(
      "SOURCE_CONSUMED",
      `${this.name} was ended at byte ${this.#position}`,
    );
  }

  /** Ends the supply; what is kept stays. */
  #stop(reason: unknown): void {
    if (this.#isCancelled) return;
    this.#isCancelled = true;
    if (this.#end === undefined) this.#supply.cancel(reason);
  }

  #fail(error: DirectBootError): DirectBootError {
    this.#failure ??= error;
    this.cancel(error);
    return error;
  }

  #short(offset: number, asked: number, end: number): DirectBootError {
    return new DirectBootError(
      "SOURCE_SHORT",
      `${this.name}: it ended at byte ${end}, ${asked} bytes from ${offset} were asked for`,
    );
  }

  #overLimit(end: number): DirectBootError {
    return new DirectBootError(
      "SOURCE_SPOOL_LIMIT",
      `${this.name}: bytes up to ${end} are asked for, ${this.#spoolLimit} may be kept`,
    );
  }

  #consumed(offset: number): DirectBootError {
    return new DirectBootError("SOURCE_CONSUMED", `${this.name}: byte ${offset} was let go already`);
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  /** Pulls a chunk that has bytes into #rest; false at the end. */
  async #pull(signal: AbortSignal | undefined): Promise<boolean> {
    for (let empty = 1; ; empty++) {
      if (signal?.aborted) throw this.#fail(abortedError(this.name, signal));
      if (this.#end !== undefined) return false;
      if (this.#isCancelled) throw this.#failure ?? this.#consumed(this.#position);
      let chunk: unknown;
      try {
        chunk = await orAborted(this.#supply.pull(), this.name, signal);
      } catch (cause) {
        throw this.#fail(this.#readFailure(cause, signal));
      }
      // Somebody may have ended the stream meanwhile; the pull then says that there is no more.
      if (this.#failure !== undefined) throw this.#failure;
      if (chunk === undefined) {
        this.#end = this.#position;
        return false;
      }
      if (!isUint8Array(chunk)) {
        const got = describeType(chunk);
        throw this.#fail(
          new DirectBootError(
            "SOURCE_READ",
            `${this.name}: the chunk at byte ${this.#position} is ${got}, not a Uint8Array`,
            { cure: "give a stream of bytes" },
          ),
        );
      }
      if (chunk.byteLength === 0) {
        // A stream of nothing but empty chunks would let nobody else run, nor abort it.
        if (empty % EMPTY_CHUNKS_A_TURN === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        continue;
      }
      this.#rest = chunk;
      arrived(this, 0, Math.min(this.#position + chunk.byteLength, this.byteLength));
      return true;
    }
  }

  #readFailure(cause: unknown, signal: AbortSignal | undefined): DirectBootError {
    if (signal?.aborted) return abortedError(this.name, signal);
    if (cause instanceof DirectBootError) return cause;
    const said = messageOf(cause);
    return new DirectBootError(
      "SOURCE_READ",
      `${this.name}: the stream failed at byte ${this.#position}: ${said}`,
      { cause },
    );
  }

  /** Takes up to `most` bytes of #rest; #position stands behind them. */
  #take(most: number): Uint8Array {
    const piece = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(piece.byteLength);
    this.#position += piece.byteLength;
    return piece;
  }

  /** Keeps of `piece`, which ends at #position, what will be read again. */
  #keep(piece: Uint8Array): void {
    const start = this.#position - piece.byteLength;
    if (this.#wanted === undefined) {
      this.#spool.append(start, piece);
      return;
    }
    let at = start;
    for (let index = this.#first; index < this.#wanted.length; index++) {
      const range = this.#wanted[index];
      if (range === undefined || range.start >= this.#position || at >= this.#position) break;
      const from = Math.max(at, range.next);
      const to = Math.min(this.#position, range.end);
      if (from >= to) continue;
      const part = piece.subarray(from - start, to - start);
      // A small part must not hold a large buffer.
      this.#spool.append(from, part.byteLength * 2 < piece.byteLength ? part.slice() : part);
      at = to;
    }
  }

  /** Notes that `[offset, end)` is read now: ranges before the one that holds it are over. */
  #advance(offset: number, end: number): void {
    if (this.#wanted === undefined) return;
    for (let index = this.#first; index < this.#wanted.length; index++) {
      const range = this.#wanted[index];
      if (range === undefined || range.start > offset) break;
      if (offset < range.next || end > range.end) continue;
      range.next = end;
      this.#first = range.next === range.end ? index + 1 : index;
      break;
    }
  }

  /** Lets go what no range wants any more, and the stream if none is left. */
  #release(): void {
    if (this.#wanted === undefined) return;
    let lowest = UNKNOWN_LENGTH;
    for (let index = this.#first; index < this.#wanted.length; index++) {
      const range = this.#wanted[index];
      if (range === undefined || range.start >= lowest) break;
      lowest = Math.min(lowest, range.next);
    }
    this.#spool.dropBefore(lowest);
    if (this.#first < this.#wanted.length) return;
    // Nothing of it is wanted any more but what its end says, by checkEnd.
    if (this.#isCheckedAtEnd) return;
    this.#stop(undefined);
    this.#rest = new Uint8Array(0);
  }

  async #read(target: Uint8Array, offset: number, signal: AbortSignal | undefined): Promise<number> {
    const { byteLength } = target;
    const end = offset + byteLength;
    if (this.#failure !== undefined) throw this.#failure;
    if (byteLength === 0) return 0;
    if (this.#wanted === undefined && end > this.#spoolLimit) throw this.#overLimit(end);
    const passed = Math.min(end, this.#position);
    if (offset < passed && !this.#spool.copy(target.subarray(0, passed - offset), offset)) {
      throw this.#consumed(offset);
    }
    this.#advance(offset, end);
    while (this.#position < end) {
      if (this.#rest.byteLength === 0 && !(await this.#pull(signal))) {
        return Math.max(0, this.#position - offset);
      }
      // A memory that grew during the wait has detached its views.
      if (target.byteLength !== byteLength) {
        throw this.#fail(
          new DirectBootError(
            "GUEST_MEMORY_DETACHED",
            `${this.name}: the buffer went away at byte ${this.#position}`,
          ),
        );
      }
      const piece = this.#take(end - this.#position);
      const start = this.#position - piece.byteLength;
      const from = Math.max(offset, start);
      if (from < this.#position) target.set(piece.subarray(from - start), from - offset);
      this.#keep(piece);
    }
    this.#release();
    return byteLength;
  }
}
