/** lzop's container of LZO1X blocks (lzop 1.04, src/lzop.c and src/conf.h; lib/decompress_unlzo.c of Linux). */

import type { Task } from "../task/task.js";
import { sumOf } from "./check.js";
import { DONE, FULL, type Workspace } from "./workspace.js";

export const LZOP_MAGIC = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
/** Headers have a level, and times of 64 bits, from this version on. */
const LONG_HEADER_VERSION = 0x0940;
const LEAST_VERSION = 0x0900;
/** M_LZO1X_1, M_LZO1X_1_15, M_LZO1X_999. */
const METHODS = [1, 2, 3];
const ADLER32_OUTPUT = 0x1;
const ADLER32_INPUT = 0x2;
const HAS_EXTRA = 0x40;
const CRC32_OUTPUT = 0x100;
const CRC32_INPUT = 0x200;
const HAS_FILTER = 0x800;
const HEADER_CRC32 = 0x1000;
/** MAX_BLOCK_SIZE */
const MOST_BLOCK_BYTES = 67_108_864;

/** Reads the header, compares its checksum, and gives its flags. */
function readHeader(w: Workspace): number {
  const what = "the header";
  w.needMagic(LZOP_MAGIC, LZOP_MAGIC.length + 9, "lzop", what);
  const start = w.position + LZOP_MAGIC.length;
  const version = (w.u8(start) << 8) | w.u8(start + 1);
  if (version < LEAST_VERSION) throw w.unsupported(`the version is ${version}`, start);
  const isLong = version >= LONG_HEADER_VERSION;
  let at = start + (isLong ? 6 : 4);
  const method = w.u8(at);
  if (!METHODS.includes(method)) throw w.unsupported(`the method is ${method}`, at);
  at += isLong ? 2 : 1;
  w.position = at;
  w.need(4 + (isLong ? 12 : 8) + 1, what);
  const flags = w.u32BigEndian(at);
  if ((flags & HAS_FILTER) !== 0) throw w.unsupported("there is a filter", at);
  at += 4 + (isLong ? 12 : 8);
  at += 1 + w.u8(at);
  w.need(at + 4 - w.position, what);
  w.position = start;
  w.load(at);
  checkSum(w, (flags & HEADER_CRC32) !== 0, w.window, at - start, at, what);
  at += 4;
  w.position = at;
  if ((flags & HAS_EXTRA) !== 0) {
    w.need(4, what);
    const bytes = w.u32BigEndian(at);
    w.need(8 + bytes, what);
    w.position = at + 8 + bytes;
  }
  return flags;
}

/** One file of an archive. */
export function* decodeLzo(w: Workspace): Task<void> {
  const flags = readHeader(w);
  const outputChecks = [ADLER32_OUTPUT, CRC32_OUTPUT].filter((flag) => (flags & flag) !== 0);
  const inputChecks = [ADLER32_INPUT, CRC32_INPUT].filter((flag) => (flags & flag) !== 0);
  const { exports, state } = w;
  while (true) {
    const what = "a block's header";
    const at = w.position;
    w.need(4, what);
    const outputBytes = w.u32BigEndian(at);
    w.position += 4;
    if (outputBytes === 0) return;
    w.need(4, what);
    const inputBytes = w.u32BigEndian(at + 4);
    if (inputBytes === 0 || inputBytes > outputBytes || outputBytes > MOST_BLOCK_BYTES) {
      throw w.corrupt(`a block of ${inputBytes} bytes becomes ${outputBytes}`, at);
    }
    if (outputBytes > w.limit - w.produced) throw w.tooLarge();
    const checks = w.position + 4;
    const isStored = inputBytes === outputBytes;
    const data = checks + 4 * (outputChecks.length + (isStored ? 0 : inputChecks.length));
    w.need(data - w.position + inputBytes, "a block");
    w.position = data;
    const start = w.produced;
    if (isStored) {
      yield* w.copy(inputBytes, "a block");
    } else {
      w.load(data + inputBytes);
      for (const [i, flag] of inputChecks.entries()) {
        const stored = checks + 4 * (outputChecks.length + i);
        checkSum(w, flag === CRC32_INPUT, w.window, inputBytes, stored, "a block");
      }
      w.room(outputBytes, start, "full");
      const status = exports.lzo1xRun(state);
      w.update();
      if (status === FULL) throw w.corrupt("a block is larger than its header says", at);
      if (status !== DONE) throw w.failure(status, "a block", true);
      if (w.produced - start !== outputBytes) throw w.corrupt("a block is smaller than its header says", at);
    }
    for (const [i, flag] of outputChecks.entries()) {
      checkSum(w, flag === CRC32_OUTPUT, w.outStart + start, outputBytes, checks + 4 * i, "a block");
    }
    yield* w.step();
  }
}

/** Compares the checksum of bytes in the memory with the one at `at` of the input. */
function checkSum(
  w: Workspace,
  isCrc32: boolean,
  address: number,
  byteLength: number,
  at: number,
  what: string,
): void {
  if (sumOf(w, isCrc32, address, byteLength) !== w.u32BigEndian(at)) throw w.badChecksum(what, at);
}
