/**
 * The linear memory that a decoder works in:
 *
 *     scratch  256 KiB (bzip2: 4 MiB): the decoder's state and tables
 *     window   256 KiB, through which the input passes piece by piece (lzo: a block, bzip2: all of it)
 *     output   contiguous, so that it is itself the history that matches refer to
 *
 * The memory is one of our own, where output comes last and grows as it is made, or a guest's, where the output is its
 * final place and scratch and window are an area that the caller hands in. The WASM checks every access; nothing
 * here depends on a number in a header without comparing it to the limit first.
 */
import { DirectBootError } from "../base/errors.js";
import { pause, type Task } from "../task/task.js";
import { Cursor } from "./cursor.js";
import type { CompressionFormat, DecodeProgress, DecodeTarget, DecompressOptions } from "./options.js";
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

/** A decoder pauses after about this many bytes of output. */
export const STEP_BYTES = 2_097_152;
/** A decoder may pass its pause by this much: the longest match of LZMA or deflate, and the bytes scribbled behind it. */
const OVERSHOOT = 1024;
const NO_PAUSE = 0xffff_ffff;
/** The last page of a memory of 4 GiB is not used: the address behind it does not fit 32 bits. */
export const ADDRESS_END = WASM_PAGES * WASM_PAGE - WASM_PAGE;
/** Output up to this size is copied out, and the memory is kept for the next call. */
const KEPT_BYTES = 1_048_576;
const KEPT_MEMORY = 16_777_216;

/** Where a decoder works. */
export interface Areas {
  readonly memory: WebAssembly.Memory;
  readonly exports: DecoderExports;
  /** False in a guest's memory, which does not grow for more output. */
  readonly isOwn: boolean;
  readonly scratch: number;
  readonly window: number;
  readonly windowBytes: number;
  readonly output: number;
  /** Bytes of memory for the output. */
  readonly capacity: number;
}

/** The memory of an earlier call. */
let kept: WebAssembly.Memory | undefined;

/** Areas in a memory of our own. */
export function ownAreas(format: CompressionFormat, inputBytes: number): Areas {
  if (decoders.implementation === "javascript") throw unavailable(format);
  const scratchBytes = format === "bzip2" ? 16 * SCRATCH : SCRATCH;
  // bzip2 has all of its input in the window, lzo a block.
  const wanted = format === "bzip2" ? inputBytes : format === "lzo" ? Math.min(inputBytes, 256 * WINDOW) : 0;
  const windowBytes = Math.max(WINDOW, wanted);
  const pages = Math.ceil((scratchBytes + windowBytes + READ_AHEAD) / WASM_PAGE);
  let memory = kept;
  kept = undefined;
  try {
    if (memory === undefined || memory.buffer.byteLength < pages * WASM_PAGE) {
      memory = new WebAssembly.Memory({ initial: pages });
    }
  } catch (cause) {
    const message = `${format}: there is no memory for ${inputBytes} bytes of input`;
    throw new DirectBootError("DECOMPRESS_TOO_LARGE", message, { cause });
  }
  return {
    memory,
    exports: exportsOver(format, memory),
    isOwn: true,
    scratch: 0,
    window: scratchBytes,
    windowBytes,
    output: pages * WASM_PAGE,
    capacity: Math.min(memory.buffer.byteLength, ADDRESS_END) - pages * WASM_PAGE,
  };
}

/** Areas in a memory that the caller has: the target, and scratch of {@link DECODER_SCRATCH_BYTES}. */
export function areasIn(
  format: CompressionFormat,
  { memory, offset, byteLength }: DecodeTarget,
  scratchOffset: number,
): Areas {
  const scratch = Math.ceil(scratchOffset / 16) * 16;
  return {
    memory,
    exports: exportsOver(format, memory),
    isOwn: false,
    scratch,
    window: scratch + SCRATCH,
    windowBytes: WINDOW,
    output: offset,
    capacity: byteLength,
  };
}

function exportsOver(format: CompressionFormat, memory: WebAssembly.Memory): DecoderExports {
  const exports = decodersOver(memory);
  if (exports === undefined) throw unavailable(format);
  return exports;
}

function unavailable(format: CompressionFormat): DirectBootError {
  return new DirectBootError(
    "DECOMPRESS_UNSUPPORTED",
    `${format} needs WebAssembly with SIMD, which is missing or forbidden here`,
  );
}

/** Told how far a decoder is. */
export type OnProgress = (progress: DecodeProgress) => void;

/** One decoding: its input, its output, and the progress of both. */
export class Workspace extends Cursor {
  readonly exports: DecoderExports;
  readonly state: number;
  readonly work: number;
  readonly checkState: number;
  readonly filterState: number;
  readonly crc32Scratch: number;
  readonly crc64Tables: number;
  readonly window: number;
  /** Address of the output's first byte. */
  readonly outStart: number;
  readonly #areas: Areas;
  #fields: Uint32Array;
  #bytes: Uint8Array;
  #capacity: number;
  #reported = 0;
  readonly #onProgress: OnProgress | undefined;

  constructor(
    format: CompressionFormat,
    input: Uint8Array,
    options: DecompressOptions,
    areas: Areas,
    onProgress?: OnProgress,
  ) {
    super(format, input, options);
    const { memory, exports, isOwn, scratch, window, output, capacity } = areas;
    this.#areas = areas;
    this.#capacity = capacity;
    this.#onProgress = onProgress;
    if (!isOwn && capacity < this.limit) {
      this.limit = capacity;
      this.limitCode = "DECOMPRESS_TOO_LARGE";
    }
    this.exports = exports;
    this.window = window;
    this.outStart = output;
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

  /** The bytes of the memory, as it is now. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** True once in {@link STEP_BYTES} of output. */
  isStep(): boolean {
    if (this.produced - this.#reported < STEP_BYTES) return false;
    this.#reported = this.produced;
    return true;
  }

  /** Reports progress and pauses, once in {@link STEP_BYTES} of output, or `now`. */
  *step(now = false): Task<void> {
    if (!now && !this.isStep()) return;
    this.#onProgress?.({ consumed: this.position, produced: this.produced });
    yield* pause();
    if (this.#bytes.buffer !== this.#areas.memory.buffer) {
      throw new DirectBootError(
        "GUEST_MEMORY_DETACHED",
        `${this.format}: the memory grew while it was filled`,
      );
    }
  }

  /** Copies as much input before `end` into the window as it holds, and returns how much. */
  load(end: number): number {
    const { window } = this;
    const stop = Math.min(end, this.input.length);
    const count = Math.min(stop - this.position, this.#areas.windowBytes);
    this.#bytes.set(this.input.subarray(this.position, this.position + count), window);
    // Decoders may read a little behind the input before they see that it ends. Without these zeros they would find bytes
    // of an earlier call, and the same damage would give another error each time.
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
   * @param at what the decoder does behind `bytes`: it may go on to the limit, is full, or pauses exactly there
   */
  room(bytes: number, historyStart: number, at: "limit" | "full" | "pause" = "limit"): void {
    const wanted = Math.min(this.produced + bytes, this.limit);
    if (wanted > this.#capacity) this.#grow(wanted);
    let end = this.outStart + Math.min(this.#capacity, this.limit);
    this.#fields[OUT] = this.out;
    this.#fields[OUT_START] = this.outStart + historyStart;
    const pause = Math.min(this.out + Math.min(bytes, STEP_BYTES), end - OVERSHOOT);
    const isLast = this.#capacity >= this.limit && pause + OVERSHOOT >= end;
    if (at !== "limit") end = Math.min(this.out + bytes, end);
    this.#fields[OUT_LIMIT] = end;
    this.#fields[OUT_WILD] = this.outStart + this.#capacity;
    if (at === "limit") this.#fields[OUT_PAUSE] = isLast ? NO_PAUSE : pause;
    else this.#fields[OUT_PAUSE] = at === "pause" ? end : NO_PAUSE;
  }

  #grow(wanted: number): void {
    const { memory } = this.#areas;
    const most = ADDRESS_END - this.outStart;
    if (!this.#areas.isOwn || wanted > most) throw this.tooLarge();
    // Grows geometrically: pages that are never touched cost nothing.
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

  /** Reads the decoder's positions back. The window holds the input from byte `base` on. */
  update(base = this.position): void {
    this.position = base + (this.#fields[IN] ?? 0) - this.window;
    this.produced = (this.#fields[OUT] ?? 0) - this.outStart;
  }

  /** The error for a decoder's status. `what` names the part being decoded; `isWhole` if all of it is there. */
  failure(status: number, what: string, isWhole = false): DirectBootError {
    if (status === FULL) return this.tooLarge();
    if (status === TRUNCATED && !isWhole) return this.truncated(what);
    if (status === BAD_CHECKSUM) return this.badChecksum(what);
    if (status === UNSUPPORTED) return this.unsupported(`${what} is of an unknown kind`);
    return this.corrupt(`${what} is damaged`);
  }

  /** Copies `count` bytes of input to the output. */
  *copy(count: number, what: string): Task<void> {
    this.need(count, what);
    const end = this.position + count;
    while (this.position < end) {
      const piece = Math.min(end - this.position, STEP_BYTES);
      if (this.produced + piece > this.limit) throw this.tooLarge();
      this.room(piece, 0);
      this.#bytes.set(this.input.subarray(this.position, this.position + piece), this.out);
      this.position += piece;
      this.produced += piece;
      yield* this.step();
    }
  }

  /** The output, in a buffer of its own. */
  takeOutput(): Uint8Array {
    const output = this.#bytes.subarray(this.outStart, this.out);
    if (this.produced > KEPT_BYTES) return output;
    const copy = output.slice();
    this.release();
    return copy;
  }

  /** Keeps a memory of our own for the next call, unless it is large. */
  release(): void {
    const { memory, isOwn } = this.#areas;
    if (isOwn && memory.buffer.byteLength <= KEPT_MEMORY) kept = memory;
  }

  /** Clears the scratch area of a guest's memory, and what decoders scribbled behind the output. */
  cleanTarget(): void {
    const { memory, scratch, window, windowBytes } = this.#areas;
    // A memory that grew meanwhile has another buffer, with the same bytes.
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0, this.out, Math.min(this.out + OVERSHOOT, this.outStart + this.#capacity));
    bytes.fill(0, scratch, window + windowBytes);
  }
}
