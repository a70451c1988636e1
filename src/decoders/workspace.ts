/**
 * The linear memory that a decoder works in, and what it is doing there:
 *
 *     scratch  256 KiB (bzip2: 4 MiB): the decoder's state and tables
 *     window   256 KiB, through which the input passes piece by piece (lzo: a block, bzip2: all of it)
 *     output   contiguous, so that it is itself the history that matches refer to
 *
 * The memory is one of our own, where output comes last and grows as it is made, or a guest's, where the output is its
 * final place and scratch and window are an area that the caller hands in. The WASM checks every access; nothing
 * here depends on a number in a header without comparing it to the limit first.
 */
import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";
import type { CompressionFormat, DecodeProgress, Decoding, DecompressOptions } from "./options.js";
import { type DecoderExports, decoders, decodersOver } from "./wasm.js";

// assembly/decoders/state.ts
const IN = 0;
const IN_END = 1;
const OUT = 2;
const OUT_START = 3;
const OUT_LIMIT = 4;
const OUT_WILD = 5;
const OUT_PAUSE = 6;
const IS_LAST = 7;
/** The stream, or the block, is decoded. */
export const DONE = 0;
export const NEED_INPUT = 1;
/** The output has come as far as it should; bzip2: the end of the stream. */
export const PAUSED = 2;
export const FULL = 3;
export const TRUNCATED = 4;
export const CORRUPT = 5;
export const BAD_CHECKSUM = 6;
export const UNSUPPORTED = 7;
const READ_AHEAD = 64;

// Where things lie in scratch.
const CHECK_STATE = 256;
const FILTER_STATE = 1024;
const CRC32_SCRATCH = 2048; // as crc32Prepare tells: less than 64 KiB
const CRC64_TABLES = CRC32_SCRATCH + 65536;
const WORK = CRC64_TABLES + 16384;
const SCRATCH = 262144;
const WINDOW = 262144;
const WASM_PAGE = 65536;
const WASM_PAGES = 65536;

/** Bytes that a decoder needs beside its output in a memory that is not its own: scratch, window, alignment. */
export const DECODER_SCRATCH_BYTES = 589_824;

/** A piece of work: a decoder pauses about once in so many bytes of output. */
export const STEP_BYTES = 2_097_152;
/** A decoder comes at most so far behind its pause: a match of LZMA or deflate, and what is scribbled. */
const OVERSHOOT = 1024;
const NO_PAUSE = 0xffff_ffff;
/** The last page of a memory of 4 GiB is not used: the address behind it does not fit 32 bits. */
const ADDRESS_END = WASM_PAGES * WASM_PAGE - WASM_PAGE;
/** An output of up to so many bytes is copied out of a memory that is kept for the next call. */
const KEPT_BYTES = 1_048_576;
const KEPT_MEMORY = 16_777_216;

interface Areas {
  readonly memory: WebAssembly.Memory;
  readonly exports: DecoderExports;
  readonly scratch: number;
  readonly scratchBytes: number;
  readonly window: number;
  readonly windowBytes: number;
}

let kept: Areas | undefined;

function needs(format: CompressionFormat, inputBytes: number): { scratchBytes: number; windowBytes: number } {
  if (format === "bzip2") {
    return { scratchBytes: 16 * SCRATCH, windowBytes: Math.max(WINDOW, inputBytes) };
  }
  if (format === "lzo") {
    return { scratchBytes: SCRATCH, windowBytes: Math.max(WINDOW, Math.min(inputBytes, 256 * WINDOW)) };
  }
  return { scratchBytes: SCRATCH, windowBytes: WINDOW };
}

function ownAreas(format: CompressionFormat, inputBytes: number): Areas {
  if (decoders.implementation === "javascript") throw unavailable(format);
  const { scratchBytes, windowBytes } = needs(format, inputBytes);
  if (kept !== undefined && kept.scratchBytes >= scratchBytes && kept.windowBytes >= windowBytes) {
    const areas = kept;
    kept = undefined;
    return areas;
  }
  const pages = Math.ceil((scratchBytes + windowBytes + READ_AHEAD) / WASM_PAGE);
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages });
  } catch (cause) {
    throw new DirectBootError(
      "DECOMPRESS_TOO_LARGE",
      `${format}: there is no memory for ${inputBytes} bytes of input`,
      { cause },
    );
  }
  const exports = decodersOver(memory);
  if (exports === undefined) throw unavailable(format);
  return { memory, exports, scratch: 0, scratchBytes, window: scratchBytes, windowBytes };
}

/** The error where there is no WebAssembly. */
export function unavailable(format: CompressionFormat): DirectBootError {
  return new DirectBootError(
    "DECOMPRESS_UNSUPPORTED",
    `${format} needs WebAssembly with SIMD, which is missing or forbidden here`,
  );
}

/** Throws SOURCE_READ if the input of `byteLength` bytes has become another: its buffer was detached or resized. */
export function checkInput(format: CompressionFormat, input: Uint8Array, byteLength: number): void {
  if (input.length === byteLength) return;
  throw new DirectBootError(
    "SOURCE_READ",
    `${format}: the buffer of the ${byteLength} bytes of input was detached or resized`,
    { cure: "leave the input as it is until all of it is decompressed" },
  );
}

/** Where output goes that is not to lie in a memory of its own. */
export interface Target {
  readonly memory: WebAssembly.Memory;
  /** Offset of the output in it. */
  readonly offset: number;
  readonly byteLength: number;
  /** Offset of {@link DECODER_SCRATCH_BYTES} that are overwritten. */
  readonly scratch: number;
}

/** One decoding: its input and how far it is, its output and how far it may go. */
export class Workspace {
  readonly exports: DecoderExports;
  readonly format: CompressionFormat;
  readonly input: Uint8Array;
  readonly state: number;
  readonly work: number;
  readonly checkState: number;
  readonly filterState: number;
  readonly crc32Scratch: number;
  readonly crc64Tables: number;
  /** Address of the output's first byte. */
  readonly outStart: number;
  /** Next byte of input. */
  position = 0;
  /** Bytes of output so far. */
  produced = 0;
  /** Most bytes of output, and why. */
  readonly limit: number;
  readonly #limitCode: DirectBootErrorCode;
  readonly #areas: Areas;
  readonly #isOwn: boolean;
  #fields: Uint32Array;
  #bytes: Uint8Array;
  #capacity: number;
  #reported = 0;
  readonly #inputBytes: number;

  constructor(format: CompressionFormat, input: Uint8Array, options: DecompressOptions, target?: Target) {
    this.format = format;
    this.input = input;
    this.#inputBytes = input.length;
    const { maximumBytes, expectedBytes } = options;
    this.limit = expectedBytes === undefined ? maximumBytes : expectedBytes;
    this.#limitCode = expectedBytes === undefined ? "DECOMPRESS_TOO_LARGE" : "DECOMPRESS_WRONG_SIZE";
    if (target === undefined) {
      this.#areas = ownAreas(format, input.length);
      const { window, windowBytes } = this.#areas;
      this.outStart = Math.ceil((window + windowBytes + READ_AHEAD) / WASM_PAGE) * WASM_PAGE;
      this.#capacity = Math.min(this.#areas.memory.buffer.byteLength, ADDRESS_END) - this.outStart;
    } else {
      const exports = decodersOver(target.memory);
      if (exports === undefined) throw unavailable(format);
      const scratch = Math.ceil(target.scratch / 16) * 16;
      this.#areas = {
        memory: target.memory,
        exports,
        scratch,
        scratchBytes: SCRATCH,
        window: scratch + SCRATCH,
        windowBytes: WINDOW,
      };
      this.outStart = target.offset;
      this.#capacity = target.byteLength;
      if (target.byteLength < this.limit) {
        this.limit = target.byteLength;
        this.#limitCode = "DECOMPRESS_TOO_LARGE";
      }
    }
    this.#isOwn = target === undefined;
    const { scratch, memory } = this.#areas;
    this.exports = this.#areas.exports;
    this.state = scratch;
    this.checkState = scratch + CHECK_STATE;
    this.filterState = scratch + FILTER_STATE;
    this.crc32Scratch = scratch + CRC32_SCRATCH;
    this.crc64Tables = scratch + CRC64_TABLES;
    this.work = scratch + WORK;
    this.#fields = new Uint32Array(memory.buffer, scratch, 8);
    this.#bytes = new Uint8Array(memory.buffer);
  }

  /** Address of the next byte of output. */
  get out(): number {
    return this.outStart + this.produced;
  }

  /** Bytes of input that are left. */
  get left(): number {
    return this.input.length - this.position;
  }

  get windowBytes(): number {
    return this.#areas.windowBytes;
  }

  get window(): number {
    return this.#areas.window;
  }

  /** The bytes of the memory, as it is now. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  progress(): DecodeProgress {
    return { consumed: this.position, produced: this.produced };
  }

  /** True once in {@link STEP_BYTES}: time to yield. */
  isStep(): boolean {
    if (this.produced - this.#reported < STEP_BYTES) return false;
    this.#reported = this.produced;
    return true;
  }

  /** An error of this stream, at byte `position` of the input. */
  error(code: DirectBootErrorCode, what: string, position = this.position): DirectBootError {
    return new DirectBootError(code, `${this.format}: ${what}, at byte ${position} of ${this.input.length}`);
  }

  corrupt(what: string, position?: number): DirectBootError {
    return this.error("DECOMPRESS_CORRUPT", what, position);
  }

  truncated(what: string): DirectBootError {
    return this.error("DECOMPRESS_TRUNCATED", `the input ends within ${what}`, this.input.length);
  }

  /** The error for more output than is allowed; `bytes` if that is known. */
  tooLarge(bytes?: number): DirectBootError {
    const what = bytes === undefined ? `more than ${this.limit}` : `${bytes}`;
    const limit = this.#limitCode === "DECOMPRESS_TOO_LARGE" ? "the limit is" : "declared are";
    return this.error(this.#limitCode, `the output is ${what} bytes, ${limit} ${this.limit}`);
  }

  /** Throws DECOMPRESS_TRUNCATED unless `count` bytes of input are left. */
  need(count: number, what: string): void {
    if (count > this.left) throw this.truncated(what);
  }

  u8(at: number): number {
    return this.input[at] ?? 0;
  }

  u16(at: number): number {
    return this.u8(at) | (this.u8(at + 1) << 8);
  }

  u32(at: number): number {
    return (this.u16(at) | (this.u16(at + 2) << 16)) >>> 0;
  }

  /** Exact up to 2^53; beyond it is rounded, and larger than any limit. */
  u64(at: number): number {
    return this.u32(at) + this.u32(at + 4) * 2 ** 32;
  }

  u32BigEndian(at: number): number {
    return ((this.u8(at) << 24) | (this.u8(at + 1) << 16) | (this.u8(at + 2) << 8) | this.u8(at + 3)) >>> 0;
  }

  /** Throws SOURCE_READ if the input's buffer went away between two steps. */
  checkInput(): void {
    checkInput(this.format, this.input, this.#inputBytes);
  }

  /** Copies input up to `end` into the window, as much as it holds; gives how much. */
  load(end: number): number {
    const { window, windowBytes } = this.#areas;
    const stop = Math.min(end, this.input.length);
    const count = Math.min(stop - this.position, windowBytes);
    this.#bytes.set(this.input.subarray(this.position, this.position + count), window);
    // Decoders look at some bytes behind the input before they see that it ends: what they find there must not be what an
    // earlier call left, or the same damage would have another name each time.
    this.#bytes.fill(0, window + count, window + count + READ_AHEAD);
    this.#fields[IN] = window;
    this.#fields[IN_END] = window + count;
    this.#fields[IS_LAST] = this.position + count === stop ? 1 : 0;
    return count;
  }

  /**
   * Makes room for `bytes` more of output, or as many as are allowed, and says so to the decoder.
   *
   * @param historyStart how far back matches may reach: bytes of output before it are out of bounds
   */
  room(bytes: number, historyStart: number): void {
    const wanted = Math.min(this.produced + bytes, this.limit);
    if (wanted > this.#capacity) this.#grow(wanted);
    const end = this.outStart + Math.min(this.#capacity, this.limit);
    this.#fields[OUT] = this.out;
    this.#fields[OUT_START] = this.outStart + historyStart;
    this.#fields[OUT_LIMIT] = end;
    this.#fields[OUT_WILD] = this.outStart + this.#capacity;
    const pause = this.out + Math.min(bytes, STEP_BYTES);
    this.#fields[OUT_PAUSE] =
      this.#capacity >= this.limit && pause + OVERSHOOT >= end ? NO_PAUSE : Math.min(pause, end - OVERSHOOT);
  }

  /** Sets the end of output that `room` made: a block's. */
  limitTo(bytes: number, pausesThere: boolean): void {
    const end = Math.min(this.out + bytes, this.#fields[OUT_LIMIT] ?? 0);
    this.#fields[OUT_LIMIT] = end;
    this.#fields[OUT_PAUSE] = pausesThere ? end : NO_PAUSE;
  }

  #grow(wanted: number): void {
    const { memory } = this.#areas;
    const most = ADDRESS_END - this.outStart;
    if (!this.#isOwn || wanted > most) throw this.tooLarge();
    // Geometrically: pages that are never touched cost nothing.
    const size = Math.min(
      Math.max(wanted + OVERSHOOT, this.#capacity * 1.5, STEP_BYTES + 2 * OVERSHOOT),
      most,
    );
    const pages = Math.ceil((this.outStart + size) / WASM_PAGE) - memory.buffer.byteLength / WASM_PAGE;
    try {
      memory.grow(Math.max(pages, 0));
    } catch (cause) {
      throw new DirectBootError(
        "DECOMPRESS_TOO_LARGE",
        `${this.format}: there is no memory for ${wanted} bytes of output`,
        { cause },
      );
    }
    this.#capacity = Math.min(memory.buffer.byteLength, ADDRESS_END) - this.outStart;
    this.#fields = new Uint32Array(memory.buffer, this.state, 8);
    this.#bytes = new Uint8Array(memory.buffer);
  }

  /** Takes over how far a call of the decoder came. */
  update(): void {
    this.position += (this.#fields[IN] ?? 0) - this.#areas.window;
    this.produced = (this.#fields[OUT] ?? 0) - this.outStart;
  }

  /** The same where the window holds the input from byte `base` on, whatever was taken before. */
  updateFrom(base: number): void {
    this.position = base + (this.#fields[IN] ?? 0) - this.#areas.window;
    this.produced = (this.#fields[OUT] ?? 0) - this.outStart;
  }

  /** The error of a decoder's status. `what` is what it was decoding; `isWhole` if that is all there. */
  failure(status: number, what: string, isWhole = false): DirectBootError {
    if (status === FULL) return this.tooLarge();
    if (status === TRUNCATED && !isWhole) return this.truncated(what);
    if (status === BAD_CHECKSUM) return this.error("DECOMPRESS_CHECKSUM", `${what} has another checksum`);
    if (status === UNSUPPORTED) return this.error("DECOMPRESS_UNSUPPORTED", `${what} is of an unknown kind`);
    return this.corrupt(`${what} is damaged`);
  }

  /**
   * Runs a decoder that takes input in pieces, up to byte `end` of it, until it is done. Yields now and then.
   *
   * @param onStep is called after each piece
   */
  *pump(
    run: () => number,
    end: number,
    historyStart: number,
    what: string,
    onStep?: () => void,
  ): Decoding<void> {
    while (true) {
      this.load(end);
      this.room(STEP_BYTES, historyStart);
      const status = run();
      this.update();
      if (status === DONE) return;
      if (status !== NEED_INPUT && status !== PAUSED)
        throw this.failure(status, what, end < this.input.length);
      onStep?.();
      if (this.isStep()) yield this.progress();
    }
  }

  /** Copies `count` bytes of input to the output. */
  *copy(count: number, what: string): Decoding<void> {
    this.need(count, what);
    let left = count;
    while (left > 0) {
      const piece = Math.min(left, STEP_BYTES);
      if (this.produced + piece > this.limit) throw this.tooLarge();
      this.room(piece, 0);
      this.#bytes.set(this.input.subarray(this.position, this.position + piece), this.out);
      this.position += piece;
      this.produced += piece;
      left -= piece;
      if (this.isStep()) yield this.progress();
    }
  }

  /** The output, in a buffer of its own. */
  takeOutput(): Uint8Array<ArrayBuffer> {
    const { memory } = this.#areas;
    const { buffer } = memory;
    if (!(buffer instanceof ArrayBuffer)) throw new TypeError("the decoders' own memory is never shared");
    const output = new Uint8Array(buffer, this.outStart, this.produced);
    if (this.produced > KEPT_BYTES) return output;
    const copy = output.slice();
    this.release();
    return copy;
  }

  /** Keeps a memory of our own for the next call, unless it is large. */
  release(): void {
    if (this.#isOwn && this.#areas.memory.buffer.byteLength <= KEPT_MEMORY) kept = this.#areas;
  }

  /** Clears what decoders scribbled behind the output, and the scratch area of a guest's memory. */
  cleanTarget(): void {
    const end = this.outStart + this.#capacity;
    const { memory, scratch, window, windowBytes } = this.#areas;
    // A memory that grew meanwhile has another buffer, with the same bytes.
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0, this.out, Math.min(this.out + OVERSHOOT, end));
    bytes.fill(0, scratch, window + windowBytes);
  }
}
