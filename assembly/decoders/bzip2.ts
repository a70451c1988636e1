// bzip2 (as bzip2 1.0.8 writes it): a block at a time, from input that is there as a whole. A block becomes a
// list in `work` first, and output in as many calls as it needs.
import { BAD_CHECKSUM, CORRUPT, DONE, FULL, IN, IN_END, OUT, OUT_LIMIT, OWN, PAUSED, TRUNCATED, UNSUPPORTED } from "./state";

/** Bits of the byte at IN that are taken. */
const BITS: usize = OWN;
/** The CRC that the block has in its header. */
const STORED_CRC: usize = OWN + 4;
const LIST_POSITION: usize = OWN + 8;
const LIST_LEFT: usize = OWN + 12;
const RUN: usize = OWN + 16;
const RUN_BYTE: usize = OWN + 20;
const REPEAT: usize = OWN + 24;
const BLOCK_CRC: usize = OWN + 28;
/** The CRCs of the blocks so far, as the end of the stream has them. */
const STREAM_CRC: usize = OWN + 32;

const BLOCK_MAGIC: u64 = 0x314159265359;
const END_MAGIC: u64 = 0x177245385090;
const HUNDRED_KILOBYTES: u32 = 100_000;
const GROUP_SYMBOLS: u32 = 50;
const MOST_SELECTORS: u32 = 18002;
const LONGEST_CODE: u32 = 20;
const MOST_TABLES: u32 = 6;
/** A run of this many equal bytes is followed by a count of more. */
const RUN_LENGTH: u32 = 4;

// Where things lie in `work`.
const CRC_TABLE: usize = 0; // u32[256]
const COUNTS: usize = CRC_TABLE + 1024; // u32[256]
const MOVE_TO_FRONT: usize = COUNTS + 1024; // u8[256]
const LENGTHS: usize = MOVE_TO_FRONT + 256; // u8[258]
const SELECTORS: usize = LENGTHS + 320; // u8[18002]
const TABLES: usize = SELECTORS + 18048;
// A table: u32 limit[22], first code of the next length shifted to 20 bits; u32 base[22]; u16 symbols[258]; u16 fast[1024]
// of 10 bits: symbol << 5 | length, or 0 for a longer code.
const LIMITS: usize = 0;
const BASES: usize = 88;
const SYMBOLS: usize = 176;
const FAST: usize = SYMBOLS + 520;
const FAST_BITS: u32 = 10;
const TABLE_BYTES: usize = FAST + 2048;
const LIST: usize = (TABLES + 6 * TABLE_BYTES + 15) & ~15; // u32[900000]

/** The next 57 bits or more, at the top. */
// @ts-ignore: decorator
@inline
function peek(input: usize, position: usize): u64 {
  return bswap<u64>(load<u64>(input + (position >>> 3))) << <u64>(position & 7);
}

/** Before the first bit of a stream, behind its four bytes of header. */
export function bzip2Begin(state: usize, work: usize): void {
  store<u32>(state, 0, BITS);
  store<u32>(state, 0, STREAM_CRC);
  // The polynomial of CRC-32, highest bit first.
  for (let i: u32 = 0; i < 256; i++) {
    let remainder = i << 24;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder << 1) ^ (0x04c11db7 & (0 - (remainder >>> 31)));
    }
    store<u32>(work + CRC_TABLE + (<usize>i << 2), remainder);
  }
}

function fail(state: usize, input: usize, position: usize, end: usize): i32 {
  const isTruncated = position > end;
  store<u32>(state, <u32>(input + ((isTruncated ? end : position) >>> 3)), IN);
  return isTruncated ? TRUNCATED : CORRUPT;
}

/**
 * Reads a block into the list: DONE; or the end of the stream, with IN on the byte behind it: PAUSED, or BAD_CHECKSUM. `level` is the 1 to 9
 * of the stream's header.
 */
export function bzip2Header(state: usize, work: usize, level: u32): i32 {
  const input: usize = load<u32>(state, IN);
  const end: usize = (<usize>load<u32>(state, IN_END) - input) << 3;
  let position: usize = load<u32>(state, BITS);
  const magic = peek(input, position) >>> 16;
  position += 48;
  const stored = <u32>(peek(input, position) >>> 32);
  position += 32;
  store<u32>(state, stored, STORED_CRC);
  if (position > end) return fail(state, input, position, end);
  if (magic == END_MAGIC) {
    store<u32>(state, <u32>(input + ((position + 7) >>> 3)), IN);
    return stored == load<u32>(state, STREAM_CRC) ? PAUSED : BAD_CHECKSUM;
  }
  if (magic != BLOCK_MAGIC) return fail(state, input, position - 80, end);

  const word = peek(input, position);
  position += 25;
  if (word >>> 63 != 0) {
    // Randomised blocks: no bzip2 since 0.9.5 writes them.
    store<u32>(state, <u32>(input + (position >>> 3)), IN);
    return UNSUPPORTED;
  }
  const origin = <u32>((word << 1) >>> 40);

  const moveToFront = work + MOVE_TO_FRONT;
  let used: u32 = 0;
  const groups = <u32>(peek(input, position) >>> 48);
  position += 16;
  for (let group: u32 = 0; group < 16; group++) {
    if (((groups << group) & 0x8000) == 0) continue;
    const bits = <u32>(peek(input, position) >>> 48);
    position += 16;
    if (position > end) return fail(state, input, position, end);
    for (let bit: u32 = 0; bit < 16; bit++) {
      if (((bits << bit) & 0x8000) != 0) store<u8>(moveToFront + <usize>(used++), (group << 4) | bit);
    }
  }
  if (used == 0) return fail(state, input, position, end);
  const alphabet = used + 2;
  const endOfBlock = used + 1;

  const tables = <u32>(peek(input, position) >>> 61);
  position += 3;
  const selectors = <u32>(peek(input, position) >>> 49);
  position += 15;
  if (tables < 2 || tables > MOST_TABLES || selectors == 0) return fail(state, input, position, end);
  // The order of the tables, a nibble each, the first one lowest.
  let order: u32 = 0x543210;
  for (let i: u32 = 0; i < selectors; i++) {
    const ones = <u32>clz<u64>(~peek(input, position));
    if (ones >= tables) return fail(state, input, position, end);
    position += <usize>ones + 1;
    if (position > end) return fail(state, input, position, end);
    const shift = ones << 2;
    const selected = (order >>> shift) & 15;
    const lower = order & ((1 << shift) - 1);
    order = ((order >>> shift >>> 4) << shift << 4) | (lower << 4) | selected;
    // More than a block can need are read and ignored, as bzip2 1.0.8 does.
    if (i < MOST_SELECTORS) store<u8>(work + SELECTORS + i, selected);
  }

  const lengths = work + LENGTHS;
  for (let t: u32 = 0; t < tables; t++) {
    let length = <u32>(peek(input, position) >>> 59);
    position += 5;
    for (let symbol: u32 = 0; symbol < alphabet; symbol++) {
      while (true) {
        if (length < 1 || length > LONGEST_CODE || position > end) return fail(state, input, position, end);
        const step = peek(input, position);
        if (step >>> 63 == 0) break;
        position += 2;
        length += (step << 1) >>> 63 == 0 ? 1 : -1;
      }
      position++;
      store<u8>(lengths + <usize>symbol, length);
    }
    buildTable(work + TABLES + <usize>t * TABLE_BYTES, lengths, alphabet);
  }
  if (position > end) return fail(state, input, position, end);

  // Symbols: runs of the front byte as bijective binary numbers, positions of other bytes, the end.
  const counts = work + COUNTS;
  memory.fill(counts, 0, 1024);
  const list = work + LIST;
  const most = level * HUNDRED_KILOBYTES;
  let size: u32 = 0;
  let selector: u32 = 0;
  let left: u32 = 0;
  let table: usize = 0;
  let runBits: u32 = 0;
  let run: u32 = 0;
  while (true) {
    if (left == 0) {
      if (selector >= selectors || selector >= MOST_SELECTORS) return fail(state, input, position, end);
      table = work + TABLES + <usize>load<u8>(work + SELECTORS + selector++) * TABLE_BYTES;
      left = GROUP_SYMBOLS;
    }
    left--;
    const bits = peek(input, position);
    const fast = <u32>load<u16>(table + FAST + (<usize>(bits >>> (64 - FAST_BITS)) << 1));
    let symbol = fast >>> 5;
    if (fast != 0) {
      position += <usize>(fast & 31);
    } else {
      const code = <u32>(bits >>> (64 - LONGEST_CODE));
      let length = FAST_BITS + 1;
      while (length <= LONGEST_CODE && code >= load<u32>(table + LIMITS + (<usize>length << 2))) length++;
      if (length > LONGEST_CODE) return fail(state, input, position, end);
      const index = (code >>> (LONGEST_CODE - length)) - load<u32>(table + BASES + (<usize>length << 2));
      if (index >= alphabet) return fail(state, input, position, end);
      symbol = <u32>load<u16>(table + SYMBOLS + (<usize>index << 1));
      position += <usize>length;
    }
    if (position > end) return fail(state, input, position, end);

    if (symbol < 2) {
      run += (symbol + 1) << runBits++;
      if (run > most) return fail(state, input, position, end);
      continue;
    }
    if (runBits > 0) {
      if (run > most - size) return fail(state, input, position, end);
      const byte = <u32>load<u8>(moveToFront);
      const count = counts + (<usize>byte << 2);
      store<u32>(count, load<u32>(count) + run);
      for (const stop = size + run; size < stop; size++) store<u32>(list + (<usize>size << 2), byte);
      run = 0;
      runBits = 0;
    }
    if (symbol == endOfBlock) break;
    if (size >= most) return fail(state, input, position, end);
    const place: usize = symbol - 1;
    const byte = <u32>load<u8>(moveToFront + place);
    if (place < 16) {
      for (let i = place; i > 0; i--) store<u8>(moveToFront + i, load<u8>(moveToFront + i - 1));
    } else {
      memory.copy(moveToFront + 1, moveToFront, place);
    }
    store<u8>(moveToFront, byte);
    const count = counts + (<usize>byte << 2);
    store<u32>(count, load<u32>(count) + 1);
    store<u32>(list + (<usize>size << 2), byte);
    size++;
  }
  if (origin >= size) return fail(state, input, position, end);

  // The inverse of the Burrows-Wheeler transform: entry i gets, above its byte, the entry that follows it.
  let sum: u32 = 0;
  for (let i: usize = 0; i < 1024; i += 4) {
    const count = load<u32>(counts + i);
    store<u32>(counts + i, sum);
    sum += count;
  }
  for (let i: u32 = 0; i < size; i++) {
    const byte: usize = load<u32>(list + (<usize>i << 2)) & 0xff;
    const count = counts + (byte << 2);
    const to = load<u32>(count);
    store<u32>(count, to + 1);
    const entry = list + (<usize>to << 2);
    store<u32>(entry, load<u32>(entry) | (i << 8));
  }
  store<u32>(state, load<u32>(list + (<usize>origin << 2)) >>> 8, LIST_POSITION);
  store<u32>(state, size, LIST_LEFT);
  store<u32>(state, 0, RUN);
  store<u32>(state, 0, REPEAT);
  store<u32>(state, 0xffff_ffff, BLOCK_CRC);
  store<u32>(state, <u32>(input + (position >>> 3)), IN);
  store<u32>(state, <u32>(position & 7), BITS);
  return DONE;
}

function buildTable(table: usize, lengths: usize, alphabet: u32): void {
  let index: u32 = 0;
  let code: u32 = 0;
  memory.fill(table + FAST, 0, 2048);
  for (let length: u32 = 1; length <= LONGEST_CODE; length++) {
    store<u32>(table + BASES + (<usize>length << 2), code - index);
    for (let symbol: u32 = 0; symbol < alphabet; symbol++) {
      if (<u32>load<u8>(lengths + <usize>symbol) != length) continue;
      store<u16>(table + SYMBOLS + (<usize>index << 1), symbol);
      if (length <= FAST_BITS && code < <u32>1 << length) {
        const first = code << (FAST_BITS - length);
        for (let i: u32 = 0; i < <u32>1 << (FAST_BITS - length); i++) {
          store<u16>(table + FAST + (<usize>(first + i) << 1), (symbol << 5) | length);
        }
      }
      index++;
      code++;
    }
    // Codes that are too many pass 20 bits: they are never found, or their index is checked.
    store<u32>(table + LIMITS + (<usize>length << 2), code << (LONGEST_CODE - length));
    code <<= 1;
  }
}

/** Writes the list to OUT until it is empty (DONE), or the output reaches OUT_LIMIT with more to come (FULL). */
export function bzip2Run(state: usize, work: usize): i32 {
  const list = work + LIST;
  const first: usize = load<u32>(state, OUT);
  let out = first;
  const limit: usize = load<u32>(state, OUT_LIMIT);
  let at = load<u32>(state, LIST_POSITION);
  let left = load<u32>(state, LIST_LEFT);
  let run = load<u32>(state, RUN);
  let runByte = load<u32>(state, RUN_BYTE);
  let repeat: usize = load<u32>(state, REPEAT);
  let crc = load<u32>(state, BLOCK_CRC);
  const table = work + CRC_TABLE;
  let status = DONE;
  while (true) {
    if (repeat > 0) {
      if (out >= limit) {
        status = FULL;
        break;
      }
      store<u8>(out++, runByte);
      crc = (crc << 8) ^ load<u32>(table + (<usize>((crc >>> 24) ^ runByte) << 2));
      repeat--;
      continue;
    }
    if (left == 0) break;
    if (run != RUN_LENGTH && out >= limit) {
      status = FULL;
      break;
    }
    const entry = load<u32>(list + (<usize>at << 2));
    const byte = entry & 0xff;
    at = entry >>> 8;
    left--;
    if (run == RUN_LENGTH) {
      repeat = byte;
      run = 0;
      continue;
    }
    run = run > 0 && byte == runByte ? run + 1 : 1;
    runByte = byte;
    store<u8>(out++, byte);
    crc = (crc << 8) ^ load<u32>(table + (<usize>((crc >>> 24) ^ byte) << 2));
  }
  store<u32>(state, <u32>out, OUT);
  store<u32>(state, at, LIST_POSITION);
  store<u32>(state, left, LIST_LEFT);
  store<u32>(state, run, RUN);
  store<u32>(state, runByte, RUN_BYTE);
  store<u32>(state, <u32>repeat, REPEAT);
  store<u32>(state, crc, BLOCK_CRC);
  if (status != DONE) return status;
  store<u32>(state, rotl<u32>(load<u32>(state, STREAM_CRC), 1) ^ ~crc, STREAM_CRC);
  return ~crc == load<u32>(state, STORED_CRC) ? DONE : BAD_CHECKSUM;
}
