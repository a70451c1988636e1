/** .xz (xz-file-format.txt): streams of blocks, each LZMA2 behind up to three filters, with a check; then an index. */

import type { Task } from "../task/task.js";
import { crc32Twin } from "../wasm/twins.js";
import { type Check, crc32Check, crc64Check, sha256Check } from "./check.js";
import { setProperties } from "./lzma-alone.js";
import { DONE, FULL, PAUSED, STEP_BYTES, type Workspace } from "./workspace.js";

const STREAM_HEADER_BYTES = 12;
export const XZ_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = 0x5a59; // "YZ"

interface CheckKind {
  readonly byteLength: number;
  readonly begin?: (w: Workspace, start: number) => Check;
}

/** Checks by their identifiers (2.1.1.2). */
const CHECKS: Readonly<Record<number, CheckKind>> = {
  0: { byteLength: 0 },
  1: { byteLength: 4, begin: crc32Check },
  4: { byteLength: 8, begin: crc64Check },
  10: { byteLength: 32, begin: sha256Check },
};
const HAS_COMPRESSED_SIZE = 0x40;
const HAS_UNCOMPRESSED_SIZE = 0x80;
const RESERVED_BLOCK_FLAGS = 0x3c;
const LONGEST_INTEGER = 9;

const LZMA2 = 0x21;
const DELTA = 0x03;
const X86 = 0x04;
const ARM64 = 0x0a;
/** Branch filters, and the alignment of their start offsets (5.3.2): only those of guest architectures. */
const BRANCH_ALIGNMENTS: Readonly<Record<number, number>> = { [X86]: 1, [ARM64]: 4 };
const MOST_DICTIONARY = 40;

// LZMA2's control byte (5.3.1 and lzma2_decoder.c of xz).
const CHUNK_END = 0x00;
const CHUNK_COPY_RESET = 0x01;
const CHUNK_COPY = 0x02;
const CHUNK_LZMA = 0x80;
const RESET_STATE = 0xa0;
const NEW_PROPERTIES = 0xc0;
const RESET_DICTIONARY = 0xe0;

interface Filter {
  readonly id: number;
  /** Delta's distance, or the start offset of a branch filter. */
  readonly value: number;
}

interface Block {
  readonly unpaddedBytes: number;
  readonly uncompressedBytes: number;
}

/** A variable-length integer (1.2) at the position. */
function readInteger(w: Workspace, end: number, what: string): number {
  let value = 0;
  for (let i = 0; i < LONGEST_INTEGER; i++) {
    if (w.position >= end) {
      throw end >= w.input.length ? w.truncated(what) : w.corrupt(`${what} is too short`);
    }
    const byte = w.u8(w.position++);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (byte === 0 && i > 0) break;
      return value;
    }
  }
  throw w.corrupt(`a number in ${what} is malformed`, w.position - 1);
}

/** Compares the CRC-32 of input with the one at `at`, all of which are there. */
function checkCrc32(w: Workspace, start: number, end: number, what: string, at = end): void {
  if (crc32Twin(w.input.subarray(start, end), 0) !== w.u32(at)) throw w.badChecksum(what, start);
}

/** Passes the zeros before byte `end` of the input, which is all there. */
function skipZeros(w: Workspace, end: number, what: string): void {
  for (; w.position < end; w.position++) {
    if (w.u8(w.position) !== 0) throw w.corrupt(`${what} is not padded with zeros`);
  }
}

function readFilters(w: Workspace, count: number, end: number): Filter[] {
  const what = "a block's header";
  const filters: Filter[] = [];
  for (let i = 0; i < count; i++) {
    const at = w.position;
    const id = readInteger(w, end, what);
    const bytes = readInteger(w, end, what);
    if (bytes > end - w.position) throw w.corrupt(`${what} is too short`, at);
    const properties = w.position;
    w.position += bytes;
    const isLast = i === count - 1;
    if (id === LZMA2) {
      if (!isLast || bytes !== 1 || w.u8(properties) > MOST_DICTIONARY) {
        throw w.corrupt("the filter LZMA2 is malformed", at);
      }
      continue;
    }
    const alignment = BRANCH_ALIGNMENTS[id];
    if (isLast || (id !== DELTA && alignment === undefined)) {
      throw w.unsupported(`the filter 0x${id.toString(16)} is unknown`, at);
    }
    if (id === DELTA) {
      if (bytes !== 1) throw w.corrupt("the filter delta is malformed", at);
      filters.push({ id, value: w.u8(properties) + 1 });
      continue;
    }
    const value = bytes === 4 ? w.u32(properties) : 0;
    if ((bytes !== 0 && bytes !== 4) || value % (alignment ?? 1) !== 0) {
      throw w.corrupt(`the filter 0x${id.toString(16)} is malformed`, at);
    }
    filters.push({ id, value });
  }
  return filters;
}

/** The chunks of LZMA2 up to their end marker. */
function* decodeLzma2(w: Workspace): Task<void> {
  const { exports, state } = w;
  let dictionaryStart: number | undefined;
  let hasProperties = false;
  let properties = 0;
  while (true) {
    w.need(1, "LZMA2");
    const at = w.position;
    const control = w.u8(w.position++);
    if (control === CHUNK_END) return;
    if (control >= RESET_DICTIONARY || control === CHUNK_COPY_RESET) {
      dictionaryStart = w.produced;
      hasProperties = false;
      exports.lzmaPosition(state, w.out);
    }
    if (dictionaryStart === undefined) throw w.corrupt("LZMA2 does not begin with a reset", at);
    if (control < CHUNK_LZMA) {
      if (control > CHUNK_COPY) throw w.corrupt(`LZMA2's control byte is ${control}`, at);
      w.need(2, "LZMA2");
      const size = ((w.u8(w.position) << 8) | w.u8(w.position + 1)) + 1;
      w.position += 2;
      yield* w.copy(size, "LZMA2");
      continue;
    }
    w.need(5, "LZMA2");
    const uncompressed = (((control & 0x1f) << 16) | (w.u8(w.position) << 8) | w.u8(w.position + 1)) + 1;
    const compressed = ((w.u8(w.position + 2) << 8) | w.u8(w.position + 3)) + 1;
    w.position += 4;
    if (control >= NEW_PROPERTIES) {
      properties = w.u8(w.position++);
      hasProperties = true;
    }
    if (!hasProperties) throw w.corrupt("LZMA2 sets no properties", at);
    // New properties always come with a reset of the state.
    if (control >= RESET_STATE) setProperties(w, properties, at);
    w.need(compressed, "LZMA2");
    const end = w.position + compressed;
    if (compressed < 5) throw w.corrupt("a chunk of LZMA2 is too short", at);
    if (uncompressed > w.limit - w.produced) throw w.tooLarge();
    // A chunk is at most 64 KiB: it is in the window as a whole, and the decoder never stops within it.
    w.load(end);
    w.room(uncompressed, dictionaryStart, "pause");
    const stop = w.produced + uncompressed;
    let status = exports.lzmaBegin(state);
    if (status === DONE) status = exports.lzmaRun(state);
    w.update();
    if (status !== PAUSED || w.produced !== stop || w.position !== end || exports.lzmaCode(state) !== 0) {
      if (status === PAUSED || status === FULL || status === DONE) {
        throw w.corrupt("a chunk of LZMA2 has another size");
      }
      throw w.failure(status, "a chunk of LZMA2", true);
    }
    yield* w.step();
  }
}

/** Undoes a filter over the output from `start` on, in place, in pieces. */
function* undoFilter(w: Workspace, { id, value }: Filter, start: number): Task<void> {
  const { exports } = w;
  if (id === X86) exports.x86Begin(w.filterState);
  let done = start;
  while (done < w.produced) {
    const count = Math.min(w.produced - done, STEP_BYTES);
    const at = w.outStart + done;
    const position = (value + done - start) % 2 ** 32;
    let taken = count;
    if (id === X86) taken = exports.x86Filter(w.filterState, at, count, position) >>> 0;
    else if (id === ARM64) taken = exports.arm64Filter(at, count, position) >>> 0;
    else exports.deltaFilter(w.outStart + start, at, count, value);
    // The last few bytes are not a whole instruction, and stay.
    if (taken === 0 || done + count === w.produced) return;
    done += taken;
    yield* w.step(true);
  }
}

function* decodeBlock(w: Workspace, check: CheckKind): Task<Block> {
  const what = "a block's header";
  const headerStart = w.position;
  const headerBytes = (w.u8(headerStart) + 1) * 4;
  w.need(headerBytes, what);
  const end = headerStart + headerBytes - 4;
  checkCrc32(w, headerStart, end, what);
  const flags = w.u8(headerStart + 1);
  w.position += 2;
  if ((flags & RESERVED_BLOCK_FLAGS) !== 0) {
    throw w.unsupported(`a block's flags are 0x${flags.toString(16)}`, headerStart + 1);
  }
  const compressedBytes = (flags & HAS_COMPRESSED_SIZE) !== 0 ? readInteger(w, end, what) : undefined;
  const uncompressedBytes = (flags & HAS_UNCOMPRESSED_SIZE) !== 0 ? readInteger(w, end, what) : undefined;
  w.checkDeclared(uncompressedBytes);
  const filters = readFilters(w, (flags & 3) + 1, end);
  skipZeros(w, end, what);
  w.position = end + 4;

  const dataStart = w.position;
  const start = w.produced;
  yield* decodeLzma2(w);
  const dataBytes = w.position - dataStart;
  if (compressedBytes !== undefined && compressedBytes !== dataBytes) {
    throw w.corrupt(`a block has ${dataBytes} bytes, its header says ${compressedBytes}`);
  }
  w.checkProduced(start, uncompressedBytes, "a block");
  for (const filter of filters.reverse()) yield* undoFilter(w, filter, start);

  const paddedEnd = w.position + ((headerStart - w.position) & 3);
  const unpaddedBytes = w.position - headerStart + check.byteLength;
  w.need(paddedEnd - w.position, "a block's padding");
  skipZeros(w, paddedEnd, "a block");
  const sum = check.begin?.(w, start);
  if (sum !== undefined) {
    for (let done = start + STEP_BYTES; done < w.produced; done += STEP_BYTES) {
      sum.update(done);
      yield* w.step(true);
    }
    sum.finish(check.byteLength, "a block");
  }
  return { unpaddedBytes, uncompressedBytes: w.produced - start };
}

function checkIndex(w: Workspace, blocks: readonly Block[]): void {
  const what = "the index";
  const start = w.position++;
  const end = w.input.length;
  const count = readInteger(w, end, what);
  if (count !== blocks.length)
    throw w.corrupt(`the index has ${count} blocks, there are ${blocks.length}`, start);
  for (const block of blocks) {
    const at = w.position;
    const unpaddedBytes = readInteger(w, end, what);
    const uncompressedBytes = readInteger(w, end, what);
    if (unpaddedBytes !== block.unpaddedBytes || uncompressedBytes !== block.uncompressedBytes) {
      throw w.corrupt("the index has another size for a block", at);
    }
  }
  const padding = (start - w.position) & 3;
  w.need(padding + 4, what);
  skipZeros(w, w.position + padding, what);
  checkCrc32(w, start, w.position, what);
  w.position += 4;

  const footer = w.position;
  w.need(STREAM_HEADER_BYTES, "the stream's footer");
  if (w.u16(footer + 10) !== FOOTER_MAGIC) throw w.corrupt("there is no footer", footer + 10);
  checkCrc32(w, footer + 4, footer + 10, "the stream's footer", footer);
  if ((w.u32(footer + 4) + 1) * 4 !== footer - start) {
    throw w.corrupt("the footer has another size for the index", footer + 4);
  }
}

/** One stream. */
export function* decodeXz(w: Workspace): Task<void> {
  const start = w.position;
  w.needMagic(XZ_MAGIC, STREAM_HEADER_BYTES, "xz", "the stream's header");
  checkCrc32(w, start + 6, start + 8, "the stream's header");
  const check = CHECKS[w.u8(start + 7)];
  if (w.u8(start + 6) !== 0 || check === undefined) {
    throw w.unsupported(`the check ${w.u8(start + 7)} is unknown`, start + 6);
  }
  w.position += STREAM_HEADER_BYTES;
  const blocks: Block[] = [];
  while (true) {
    w.need(1, "a block's header");
    if (w.u8(w.position) === 0) break;
    blocks.push(yield* decodeBlock(w, check));
  }
  checkIndex(w, blocks);
  if (w.u16(w.position + 8) !== w.u16(start + 6)) {
    throw w.corrupt("the stream's footer has other flags than its header", w.position + 8);
  }
  w.position += STREAM_HEADER_BYTES;
}
