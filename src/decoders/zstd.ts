/** Zstandard (RFC 8878): frames of blocks; windows of any size, since the output is its own window. No dictionaries. */

import type { Task } from "../task/task.js";
import { xxhCheck } from "./check.js";
import { frameFollows, skipFrames } from "./lz4.js";
import { DONE, FULL, type Workspace } from "./workspace.js";

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const SINGLE_SEGMENT = 0x20;
const RESERVED_FLAG = 0x08;
const HAS_CHECKSUM = 0x04;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const BLOCK_HEADER_BYTES = 3;
/** Block_Maximum_Size is this, or the window where that is smaller. */
const MOST_BLOCK_BYTES = 131_072;
const RAW = 0;
const RLE = 1;
const RESERVED = 3;

interface FrameHeader {
  readonly contentBytes: number | undefined;
  readonly hasChecksum: boolean;
}

function readHeader(w: Workspace): FrameHeader {
  const what = "the frame's header";
  w.needMagic(MAGIC, 6, "Zstandard", what);
  const at = w.position + 4;
  const descriptor = w.u8(at);
  if ((descriptor & RESERVED_FLAG) !== 0) {
    throw w.unsupported("the frame's reserved flag is set", at);
  }
  const isSingle = (descriptor & SINGLE_SEGMENT) !== 0;
  const dictionaryBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingle ? 1 : 0) : 1 << sizeFlag;
  let next = at + 1 + (isSingle ? 0 : 1);
  w.need(next - w.position + dictionaryBytes + sizeBytes, what);
  for (let i = 0; i < dictionaryBytes; i++) {
    // The identifier 0 means none.
    if (w.u8(next + i) !== 0) throw w.unsupported("the frame needs a dictionary", next);
  }
  next += dictionaryBytes;
  let contentBytes: number | undefined;
  if (sizeBytes === 1) contentBytes = w.u8(next);
  else if (sizeBytes === 2) contentBytes = w.u16(next) + 256;
  else if (sizeBytes === 4) contentBytes = w.u32(next);
  else if (sizeBytes === 8) contentBytes = w.u64(next);
  w.position = next + sizeBytes;
  return { contentBytes, hasChecksum: (descriptor & HAS_CHECKSUM) !== 0 };
}

/** One frame; skippable ones before it are skipped. */
export function* decodeZstd(w: Workspace): Task<void> {
  if (skipFrames(w)) return;
  const { contentBytes, hasChecksum } = readHeader(w);
  w.checkDeclared(contentBytes);
  const start = w.produced;
  const { exports, state, work } = w;
  exports.zstdBegin(state, work);
  const check = hasChecksum ? xxhCheck(w, start, 64) : undefined;
  for (let isLast = false; !isLast; ) {
    w.need(BLOCK_HEADER_BYTES, "a block's header");
    const at = w.position;
    const word = w.u16(at) | (w.u8(at + 2) << 16);
    isLast = (word & 1) !== 0;
    const kind = (word >> 1) & 3;
    const size = word >> 3;
    if (kind === RESERVED || size > MOST_BLOCK_BYTES) throw w.corrupt("a block's header can't be true");
    w.position += BLOCK_HEADER_BYTES;
    if (kind === RAW) {
      yield* w.copy(size, "a block");
    } else if (kind === RLE) {
      w.need(1, "a block");
      if (size > w.limit - w.produced) throw w.tooLarge();
      w.room(size, start);
      w.bytes.fill(w.u8(w.position++), w.out, w.out + size);
      w.produced += size;
    } else {
      w.need(size, "a block");
      w.load(w.position + size);
      w.room(MOST_BLOCK_BYTES, start, "full");
      const before = w.produced;
      const status = exports.zstdBlock(state, work);
      if (status === FULL && w.limit - before >= MOST_BLOCK_BYTES)
        throw w.corrupt("a block is too large", at);
      if (status !== DONE) throw w.failure(status, "a block", true);
      w.update();
      w.position = at + BLOCK_HEADER_BYTES + size;
    }
    if (w.isStep()) {
      check?.update();
      yield* w.step(true);
    }
  }
  w.checkProduced(start, contentBytes, "the frame");
  check?.finish(4, "the frame");
}

/** True if another frame follows. */
export function zstdFollows(w: Workspace): boolean {
  return frameFollows(w, MAGIC);
}
