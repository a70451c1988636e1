/** LZ4: the frame format (lz4_Frame_format.md) and the legacy one of `lz4 -l`, which the kernel uses. */

import type { Task } from "../task/task.js";
import { xxh32OfInput, xxhCheck } from "./check.js";
import { DONE, FULL, type Workspace } from "./workspace.js";

const FRAME_MAGIC = [0x04, 0x22, 0x4d, 0x18];
const LEGACY_MAGIC = [0x02, 0x21, 0x4c, 0x18];
const SKIPPABLE_MAGIC = 0x184d_2a50;
const SKIPPABLE_MASK = 0xffff_fff0;
/** Output of every block of an archive but its last. */
const LEGACY_BLOCK_BYTES = 8_388_608;
/** LZ4_compressBound of such a block: no block is larger. */
const LEGACY_MOST_BYTES = LEGACY_BLOCK_BYTES + Math.floor(LEGACY_BLOCK_BYTES / 255) + 16;

// The frame descriptor's FLG byte.
const VERSION_MASK = 0xc0;
const VERSION = 0x40;
const BLOCKS_ARE_INDEPENDENT = 0x20;
const HAS_BLOCK_CHECKSUMS = 0x10;
const HAS_CONTENT_SIZE = 0x08;
const HAS_CONTENT_CHECKSUM = 0x04;
const RESERVED_FLAG = 0x02;
const HAS_DICTIONARY = 0x01;
const RESERVED_BLOCK_BITS = 0x8f;
const UNCOMPRESSED = 0x8000_0000;

/** True if a frame with this magic number begins at the position, or a skippable one, of LZ4 or Zstandard. */
export function frameFollows(w: Workspace, magic: readonly number[]): boolean {
  return w.startsWith(magic) || isSkippable(w);
}

function isSkippable(w: Workspace): boolean {
  return (w.u32(w.position) & SKIPPABLE_MASK) >>> 0 === SKIPPABLE_MAGIC;
}

/** Passes skippable frames; true if nothing is behind them. */
export function skipFrames(w: Workspace): boolean {
  while (isSkippable(w)) {
    w.need(8, "a skippable frame");
    const size = 8 + w.u32(w.position + 4);
    w.need(size, "a skippable frame");
    w.position += size;
  }
  return w.left === 0 && w.position > 0;
}

/** Decodes the block up to byte `end` of the input, of at most `most` bytes of output. */
function* decodeBlock(w: Workspace, end: number, most: number, historyStart: number): Task<void> {
  const blockStart = w.produced;
  const isWhole = end <= w.input.length;
  w.exports.lz4Begin(w.state);
  while (true) {
    w.load(end);
    w.room(blockStart + most - w.produced, historyStart, "full");
    const status = w.exports.lz4Run(w.state);
    w.update();
    if (status === DONE) {
      // Nothing marks the end of a block: one that is cut off between two sequences looks complete.
      if (!isWhole) throw w.truncated("a block");
      return;
    }
    if (status === FULL && blockStart + most <= w.limit) throw w.corrupt("a block is larger than allowed");
    if (status >= FULL) throw w.failure(status, "a block", isWhole);
    yield* w.step();
  }
}

/** One archive of the legacy format, or several one after the other. */
export function* decodeLz4Legacy(w: Workspace, allowTrailing: boolean): Task<void> {
  w.needMagic(LEGACY_MAGIC, 4, "legacy LZ4", "the magic number");
  w.position += 4;
  let isShort = false;
  /** An archive has at least one block: if the first is longer than the input, it is truncated, not trailing data. */
  let isFirst = true;
  while (w.left > 0) {
    if (allowTrailing && w.produced === w.limit) return;
    // Too little for a block: padding, or the size that the kernel's build appends.
    if (w.left <= 4 && !isFirst) return;
    if (w.left < 4) throw w.truncated("a block's size");
    const size = w.u32(w.position);
    if (w.startsWith(LEGACY_MAGIC)) {
      w.position += 4;
      isShort = false;
      isFirst = true;
      continue;
    }
    // Padding, trailing data, or no block: only the last one of an archive is short.
    if (size === 0 || isShort || size > LEGACY_MOST_BYTES) return;
    if (allowTrailing && size > w.left - 4 && !isFirst) return;
    w.position += 4;
    const start = w.produced;
    yield* decodeBlock(w, w.position + size, LEGACY_BLOCK_BYTES, start);
    isShort = w.produced - start < LEGACY_BLOCK_BYTES;
    isFirst = false;
    yield* w.step();
  }
}

/** One frame; skippable ones before it are skipped. */
export function* decodeLz4(w: Workspace): Task<void> {
  if (skipFrames(w)) return;
  w.needMagic(FRAME_MAGIC, 7, "LZ4", "the frame's header");
  const descriptor = w.position + 4;
  const flags = w.u8(descriptor);
  const blocks = w.u8(descriptor + 1);
  if ((flags & VERSION_MASK) !== VERSION || (flags & RESERVED_FLAG) !== 0) {
    throw w.unsupported(`the frame's flags are 0x${flags.toString(16)}`, descriptor);
  }
  const sizeCode = (blocks >> 4) & 7;
  if ((blocks & RESERVED_BLOCK_BITS) !== 0 || sizeCode < 4) {
    throw w.corrupt("the frame's block size is unknown", descriptor + 1);
  }
  const blockBytes = 1 << (8 + 2 * sizeCode);
  const hasSize = (flags & HAS_CONTENT_SIZE) !== 0;
  const headerBytes = 2 + (hasSize ? 8 : 0) + ((flags & HAS_DICTIONARY) !== 0 ? 4 : 0);
  w.need(4 + headerBytes + 1, "the frame's header");
  w.position = descriptor;
  const headerEnd = descriptor + headerBytes;
  if (((xxh32OfInput(w, headerEnd) >>> 8) & 0xff) !== w.u8(headerEnd)) {
    throw w.badChecksum("the frame's header");
  }
  if ((flags & HAS_DICTIONARY) !== 0) throw w.unsupported("the frame needs a dictionary");
  const contentBytes = hasSize ? w.u64(descriptor + 2) : undefined;
  w.checkDeclared(contentBytes);
  w.position = headerEnd + 1;

  const frameStart = w.produced;
  const check = (flags & HAS_CONTENT_CHECKSUM) !== 0 ? xxhCheck(w, frameStart, 32) : undefined;
  while (true) {
    w.need(4, "a block's size");
    const word = w.u32(w.position);
    w.position += 4;
    if (word === 0) break;
    const size = word & (UNCOMPRESSED - 1);
    if (size > blockBytes) throw w.corrupt(`a block of ${size} bytes is larger than allowed`, w.position - 4);
    const hasChecksum = (flags & HAS_BLOCK_CHECKSUMS) !== 0;
    if (hasChecksum) {
      w.need(size + 4, "a block");
      const end = w.position + size;
      if (xxh32OfInput(w, end) !== w.u32(end)) throw w.badChecksum("a block");
    }
    if (word >= UNCOMPRESSED) {
      yield* w.copy(size, "a block");
    } else {
      const history = (flags & BLOCKS_ARE_INDEPENDENT) !== 0 ? w.produced : frameStart;
      yield* decodeBlock(w, w.position + size, blockBytes, history);
    }
    if (hasChecksum) w.position += 4;
    check?.update();
    yield* w.step();
  }
  w.checkProduced(frameStart, contentBytes, "the frame");
  check?.finish(4, "the frame");
}

/** True if another frame follows. */
export function lz4Follows(w: Workspace): boolean {
  return frameFollows(w, FRAME_MAGIC);
}
