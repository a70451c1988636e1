/** gzip (RFC 1952): members of deflate, each with a CRC-32 and a size. */
import { crc32Check } from "./check.js";
import type { Decoding } from "./options.js";
import type { Workspace } from "./workspace.js";

const DEFLATE = 8;
const HAS_HEADER_CRC = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;
const RESERVED_FLAGS = 0xe0;
const HEADER_BYTES = 10;
const TRAILER_BYTES = 8;

/** What reads a header needs: a workspace, or the twin's cursor. */
export interface GzipInput {
  readonly input: Uint8Array;
  position: number;
  u8(at: number): number;
  u16(at: number): number;
  need(count: number, what: string): void;
  corrupt(what: string, position?: number): Error;
  truncated(what: string): Error;
}

/** Reads a member's header; the position is behind it then. */
export function readGzipHeader(w: GzipInput): void {
  w.need(HEADER_BYTES, "a member's header");
  const { position } = w;
  if (w.u8(position) !== 0x1f || w.u8(position + 1) !== 0x8b)
    throw w.corrupt("there is no gzip magic number");
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

/** One member. */
export function* decodeGzip(w: Workspace): Decoding<void> {
  readGzipHeader(w);
  const start = w.produced;
  const { exports, state, work } = w;
  const check = crc32Check(w, start);
  exports.inflatePrepare(work);
  exports.inflateBegin(state);
  yield* w.pump(
    () => exports.inflateRun(state, work),
    w.input.length,
    start,
    "a member",
    () => check.update(w.produced),
  );
  w.need(TRAILER_BYTES, "a member's trailer");
  if (!check.matches(w.produced, w.position)) {
    throw w.error("DECOMPRESS_CHECKSUM", "a member has another CRC-32");
  }
  // ISIZE: the size modulo 2^32.
  if ((w.produced - start) % 2 ** 32 !== w.u32(w.position + 4)) {
    throw w.error(
      "DECOMPRESS_WRONG_SIZE",
      `a member has ${w.produced - start} bytes, its trailer says ${w.u32(w.position + 4)}`,
    );
  }
  w.position += TRAILER_BYTES;
}

/** True if another member follows. */
export function gzipFollows(w: { readonly position: number; u16(at: number): number }): boolean {
  return w.u16(w.position) === 0x8b1f;
}
