/** Header and trailer of a gzip member (RFC 1952). */
import type { Cursor } from "./cursor.js";

export const GZIP_MAGIC = [0x1f, 0x8b];
const DEFLATE = 8;
const HAS_HEADER_CRC = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;
const RESERVED_FLAGS = 0xe0;
const HEADER_BYTES = 10;
const SIZE_BYTES = 4;

/** Reads a member's header, and moves behind it. */
export function readGzipHeader(w: Cursor): void {
  w.needMagic(GZIP_MAGIC, HEADER_BYTES, "gzip", "a member's header");
  const { position } = w;
  if (w.u8(position + 2) !== DEFLATE) throw w.corrupt("the method is not deflate", position + 2);
  const flags = w.u8(position + 3);
  if ((flags & RESERVED_FLAGS) !== 0) throw w.corrupt("reserved flags are set", position + 3);
  w.position += HEADER_BYTES;
  if ((flags & HAS_EXTRA) !== 0) {
    w.need(2, "a member's header");
    const length = 2 + w.u16(w.position);
    w.need(length, "a member's header");
    w.position += length;
  }
  for (const flag of [HAS_NAME, HAS_COMMENT]) {
    if ((flags & flag) === 0) continue;
    const end = w.input.indexOf(0, w.position);
    if (end < 0) throw w.truncated("a member's header");
    w.position = end + 1;
  }
  if ((flags & HAS_HEADER_CRC) !== 0) {
    w.need(2, "a member's header");
    w.position += 2;
  }
}

/** Compares the size in a member's trailer with the output from `start` on, which is less than 4 GiB. */
export function checkGzipSize(w: Cursor, start: number): void {
  w.need(SIZE_BYTES, "a member's size");
  w.checkProduced(start, w.u32(w.position), "a member");
  w.position += SIZE_BYTES;
}
