// Deflate (RFC 1951). Bits are taken from a 64-bit register; codes are looked up in tables of 11 and 8 bits, longer ones in
// second tables. Input may come in pieces; the output that matches refer to must be there.
import { copyMatchExact, copyMatchWild } from "./copy";
import {
  CORRUPT,
  DONE,
  FULL,
  IN,
  IN_END,
  IS_LAST,
  NEED_INPUT,
  OUT,
  OUT_LIMIT,
  OUT_PAUSE,
  OUT_START,
  OUT_WILD,
  OWN,
  PAUSED,
  TRUNCATED,
} from "./state";

const HOLD: usize = OWN; // u64
const HAVE: usize = OWN + 8;
const PHASE: usize = OWN + 12;
const STORED_LEFT: usize = OWN + 16;
const IS_FINAL: usize = OWN + 20;

// The part that comes next.
const BLOCK: u32 = 0;
const STORED: u32 = 1;
const SYMBOLS: u32 = 2;

const LITERAL_BITS: u32 = 11;
const DISTANCE_BITS: u32 = 8;
const CODE_BITS: u32 = 7;
const LONGEST_CODE: u32 = 15;
const LONGEST_MATCH: usize = 258;
const MOST_LITERALS: u32 = 286;
const MOST_DISTANCES: u32 = 30;
/** The header of a dynamic block takes at most 14 + 19 × 3 + 316 × 14 bits. */
const HEADER_BYTES: usize = 1024;
/** A pass of the loop over symbols takes at most this much input, read-ahead of the register included. */
const SYMBOL_BYTES: usize = 32;
/** And gives at most three literals and a match, and scribbles on for 16 bytes. */
const OUTPUT_MARGIN: usize = LONGEST_MATCH + 32;

// Where things lie in `work`.
const LENGTHS: usize = 0; // u8[320]
const COUNTS: usize = 320; // u32[16], and the next codes, u32[16]
const NEXT_CODES: usize = COUNTS + 64;
const LITERAL_TABLE: usize = NEXT_CODES + 64; // u32[2048 + second tables of 16]
const DISTANCE_TABLE: usize = LITERAL_TABLE + 4 * (2048 + 144 * 16);
const CODE_TABLE: usize = DISTANCE_TABLE + 4 * (256 + 16 * 128);
/** The symbols' values, filled by inflateBegin: u32[288], u32[32], u32[19], u8[19]. */
const LITERAL_VALUES: usize = CODE_TABLE + 4 * 128;
const DISTANCE_VALUES: usize = LITERAL_VALUES + 4 * 288;
const CODE_VALUES: usize = DISTANCE_VALUES + 4 * 32;
const CODE_ORDER: usize = CODE_VALUES + 4 * 20;

// An entry: bits 0 to 4 the length of the code, or of its rest in a second table; 5 to 7 the kind; 8 to 12 the number of
// extra bits; 16 to 31 the value.
const KIND_MASK: u32 = 0xe0;
const LITERAL: u32 = 0x00;
const MATCH: u32 = 0x20;
const END_OF_BLOCK: u32 = 0x40;
const SECOND: u32 = 0x60;
const INVALID: u32 = 0x80;

/** Before the first bit: resets the state, and fills the tables of values. */
export function inflateBegin(state: usize, work: usize): void {
  store<u64>(state, 0, HOLD);
  store<u32>(state, 0, HAVE);
  store<u32>(state, BLOCK, PHASE);
  store<u32>(state, 0, IS_FINAL);
  for (let i: u32 = 0; i < 256; i++) store<u32>(work + LITERAL_VALUES + (<usize>i << 2), (i << 16) | LITERAL);
  store<u32>(work + LITERAL_VALUES + 1024, END_OF_BLOCK);
  // 257 to 284: four lengths of each number of extra bits, after eight without (RFC 1951, 3.2.5).
  let length: u32 = 3;
  for (let i: u32 = 0; i < 28; i++) {
    const extra = i < 8 ? 0 : (i >>> 2) - 1;
    store<u32>(work + LITERAL_VALUES + (<usize>(257 + i) << 2), (length << 16) | (extra << 8) | MATCH);
    length += 1 << extra;
  }
  store<u32>(work + LITERAL_VALUES + (285 << 2), (258 << 16) | MATCH);
  store<u32>(work + LITERAL_VALUES + (286 << 2), INVALID);
  store<u32>(work + LITERAL_VALUES + (287 << 2), INVALID);
  let distance: u32 = 1;
  for (let i: u32 = 0; i < MOST_DISTANCES; i++) {
    const extra = i < 4 ? 0 : (i >>> 1) - 1;
    store<u32>(work + DISTANCE_VALUES + (<usize>i << 2), (distance << 16) | (extra << 8) | MATCH);
    distance += 1 << extra;
  }
  store<u32>(work + DISTANCE_VALUES + (30 << 2), INVALID);
  store<u32>(work + DISTANCE_VALUES + (31 << 2), INVALID);
  for (let i: u32 = 0; i < 19; i++) store<u32>(work + CODE_VALUES + (<usize>i << 2), i << 16);
  // 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1 15 (RFC 1951, 3.2.7)
  store<u64>(work + CODE_ORDER, 0x060907_0800121110);
  store<u64>(work + CODE_ORDER, 0x020d030c040b050a, 8);
  store<u32>(work + CODE_ORDER, 0x000f010e, 16);
}

/** The table of `count` lengths at work + LENGTHS + `first`; false if they are no code. */
function buildTable(work: usize, first: usize, count: u32, table: usize, bits: u32, values: usize): bool {
  const counts = work + COUNTS;
  const next = work + NEXT_CODES;
  const lengths = work + LENGTHS + first;
  memory.fill(counts, 0, 64);
  for (let i: u32 = 0; i < count; i++) {
    const at = counts + (<usize>load<u8>(lengths + <usize>i) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  const absent = load<u32>(counts);
  let code: u32 = 0;
  let space: i32 = 1;
  for (let length: u32 = 1; length <= LONGEST_CODE; length++) {
    store<u32>(next + (<usize>length << 2), code);
    const some = load<u32>(counts + (<usize>length << 2));
    code = (code + some) << 1;
    space = (space << 1) - <i32>some;
    if (space < 0) return false;
  }
  // An incomplete code is one of a single symbol of one bit, or of none (zlib's inflate_table).
  const present = count - absent;
  if (space > 0 && !(present == 0 || (present == 1 && load<u32>(counts, 4) == 1))) return false;
  const size = <u32>1 << bits;
  for (let i: u32 = 0; i < size; i++) store<u32>(table + (<usize>i << 2), INVALID);
  let behind = size;
  const secondBits = LONGEST_CODE - bits;
  const secondSize = <u32>1 << secondBits;
  for (let symbol: u32 = 0; symbol < count; symbol++) {
    const length = <u32>load<u8>(lengths + <usize>symbol);
    if (length == 0) continue;
    const at = next + (<usize>length << 2);
    const canonical = load<u32>(at);
    store<u32>(at, canonical + 1);
    // Codes come highest bit first, other numbers lowest bit first.
    let reversed = ((canonical & 0x5555) << 1) | ((canonical >>> 1) & 0x5555);
    reversed = ((reversed & 0x3333) << 2) | ((reversed >>> 2) & 0x3333);
    reversed = ((reversed & 0x0f0f) << 4) | ((reversed >>> 4) & 0x0f0f);
    reversed = (((reversed & 0xff) << 8) | (reversed >>> 8)) >>> (16 - length);
    const value = load<u32>(values + (<usize>symbol << 2));
    if (length <= bits) {
      for (let i = reversed; i < size; i += <u32>1 << length) store<u32>(table + (<usize>i << 2), value | length);
      continue;
    }
    const link = table + (<usize>(reversed & (size - 1)) << 2);
    let second = load<u32>(link);
    if ((second & KIND_MASK) != SECOND) {
      second = (behind << 16) | SECOND | bits;
      store<u32>(link, second);
      for (let i: u32 = 0; i < secondSize; i++) store<u32>(table + (<usize>(behind + i) << 2), INVALID);
      behind += secondSize;
    }
    const base = table + (<usize>(second >>> 16) << 2);
    for (let i = reversed >>> bits; i < secondSize; i += <u32>1 << (length - bits)) {
      store<u32>(base + (<usize>i << 2), value | (length - bits));
    }
  }
  return true;
}

/** The lengths of the fixed codes (RFC 1951, 3.2.6), and their tables. */
function fixedTables(work: usize): void {
  memory.fill(work + LENGTHS, 8, 144);
  memory.fill(work + LENGTHS + 144, 9, 112);
  memory.fill(work + LENGTHS + 256, 7, 24);
  memory.fill(work + LENGTHS + 280, 8, 8);
  buildTable(work, 0, 288, work + LITERAL_TABLE, LITERAL_BITS, work + LITERAL_VALUES);
  memory.fill(work + LENGTHS, 5, 32);
  buildTable(work, 0, 32, work + DISTANCE_TABLE, DISTANCE_BITS, work + DISTANCE_VALUES);
}

/** The bits at `position`, counted from `input`: at least 57 of them. */
// @ts-ignore: decorator
@inline
function peek(input: usize, position: u32): u64 {
  return load<u64>(input + <usize>(position >>> 3)) >>> <u64>(position & 7);
}

/** Reads a dynamic block's header at bit `position`; returns the bit behind it, or 0 if it is invalid. */
function dynamicTables(work: usize, input: usize, inEnd: usize, position: u32): u32 {
  const sizes = <u32>peek(input, position);
  position += 14;
  const literals = (sizes & 31) + 257;
  const distances = ((sizes >>> 5) & 31) + 1;
  const codes = ((sizes >>> 10) & 15) + 4;
  if (literals > MOST_LITERALS || distances > MOST_DISTANCES) return 0;
  const lengths = work + LENGTHS;
  memory.fill(lengths, 0, 19);
  for (let i: u32 = 0; i < codes; i++) {
    store<u8>(lengths + <usize>load<u8>(work + CODE_ORDER + <usize>i), <u32>peek(input, position) & 7);
    position += 3;
  }
  // A code of lengths must be complete.
  if (!buildTable(work, 0, 19, work + CODE_TABLE, CODE_BITS, work + CODE_VALUES)) return 0;
  const total = literals + distances;
  let i: u32 = 0;
  while (i < total) {
    // The window may be read a little beyond its end, not a whole header.
    if (input + <usize>(position >>> 3) > inEnd) return position;
    const bits = <u32>peek(input, position);
    const entry = load<u32>(work + CODE_TABLE + (<usize>(bits & 127) << 2));
    if ((entry & KIND_MASK) == INVALID) return 0;
    const length = entry & 31;
    const symbol = entry >>> 16;
    position += length;
    if (symbol < 16) {
      store<u8>(lengths + <usize>(i++), symbol);
      continue;
    }
    let value: u32 = 0;
    let repeat: u32;
    if (symbol == 16) {
      if (i == 0) return 0;
      value = load<u8>(lengths + <usize>i - 1);
      repeat = 3 + ((bits >>> length) & 3);
      position += 2;
    } else if (symbol == 17) {
      repeat = 3 + ((bits >>> length) & 7);
      position += 3;
    } else {
      repeat = 11 + ((bits >>> length) & 127);
      position += 7;
    }
    if (repeat > total - i) return 0;
    memory.fill(lengths + <usize>i, <u8>value, repeat);
    i += repeat;
  }
  if (load<u8>(lengths + 256) == 0) return 0;
  // The distances first: buildTable reads only its own lengths.
  if (!buildTable(work, <usize>literals, distances, work + DISTANCE_TABLE, DISTANCE_BITS, work + DISTANCE_VALUES)) {
    return 0;
  }
  if (!buildTable(work, 0, literals, work + LITERAL_TABLE, LITERAL_BITS, work + LITERAL_VALUES)) return 0;
  return position;
}

/** Decodes until the stream's end (DONE, IN behind its last byte), OUT_PAUSE, or the end of the input. */
export function inflateRun(state: usize, work: usize): i32 {
  let input: usize = load<u32>(state, IN);
  const inEnd: usize = load<u32>(state, IN_END);
  let out: usize = load<u32>(state, OUT);
  const start: usize = load<u32>(state, OUT_START);
  const limit: usize = load<u32>(state, OUT_LIMIT);
  const wild: usize = load<u32>(state, OUT_WILD);
  const pause: usize = load<u32>(state, OUT_PAUSE);
  const isLast = load<u32>(state, IS_LAST) != 0;
  let hold = load<u64>(state, HOLD);
  let have = load<u32>(state, HAVE);
  let phase = load<u32>(state, PHASE);
  // Between blocks IN points to the byte of which `have` bits are left.
  if (phase == BLOCK && have > 0) input++;
  const top = limit < wild ? limit : wild;
  const outSafe = top - out > OUTPUT_MARGIN ? top - OUTPUT_MARGIN : out;
  // The register may hold up to eight bytes behind the end: they count when they are taken.
  const inStop = isLast ? inEnd + 8 : inEnd - input > SYMBOL_BYTES ? inEnd - SYMBOL_BYTES : input - 1;
  const literalTable = work + LITERAL_TABLE;
  const distanceTable = work + DISTANCE_TABLE;
  let status = CORRUPT;

  while (true) {
    if (phase == BLOCK) {
      if (load<u32>(state, IS_FINAL) != 0) {
        status = DONE;
        break;
      }
      // Whole bytes go back: headers are read from memory.
      input -= <usize>(have >>> 3);
      have &= 7;
      if (input > inEnd || (inEnd - input < HEADER_BYTES && !isLast)) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      // `have` bits of the byte before are left.
      const from = have == 0 ? input : input - 1;
      let position = have == 0 ? 0 : 8 - have;
      const header = <u32>peek(from, position);
      position += 3;
      const kind = (header >>> 1) & 3;
      if (kind == 0) {
        input = from + <usize>((position + 7) >>> 3);
        hold = 0;
        have = 0;
        if (input > inEnd || inEnd - input < 4) {
          status = TRUNCATED;
          break;
        }
        const length = <u32>load<u16>(input);
        if ((length ^ 0xffff) != <u32>load<u16>(input, 2)) break;
        input += 4;
        store<u32>(state, length, STORED_LEFT);
        phase = STORED;
      } else {
        if (kind == 3) break;
        if (kind == 1) fixedTables(work);
        else position = dynamicTables(work, from, inEnd, position);
        if (position == 0) break;
        input = from + <usize>(position >>> 3);
        if (input > inEnd) {
          status = TRUNCATED;
          break;
        }
        have = 0;
        hold = 0;
        if ((position & 7) != 0) {
          hold = <u64>(load<u8>(input) >>> (position & 7));
          have = 8 - (position & 7);
          input++;
        }
        phase = SYMBOLS;
      }
      store<u32>(state, header & 1, IS_FINAL);
    }

    if (phase == STORED) {
      let left: usize = load<u32>(state, STORED_LEFT);
      let count = left;
      if (count > inEnd - input) count = inEnd - input;
      const isFull = count > limit - out;
      if (isFull) count = limit - out;
      memory.copy(out, input, count);
      input += count;
      out += count;
      left -= count;
      store<u32>(state, <u32>left, STORED_LEFT);
      if (isFull) {
        status = FULL;
        break;
      }
      if (left > 0) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      phase = BLOCK;
      if (out >= pause && load<u32>(state, IS_FINAL) == 0) {
        status = PAUSED;
        break;
      }
      continue;
    }

    // Symbols
    status = -1;
    while (true) {
      if (input > inStop) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      if (out >= pause) {
        status = PAUSED;
        break;
      }
      hold |= load<u64>(input) << <u64>have;
      input += <usize>((63 - have) >>> 3);
      have |= 56;
      let entry = load<u32>(literalTable + ((<usize>hold & 2047) << 2));
      if (out < outSafe) {
        if ((entry & KIND_MASK) == LITERAL) {
          hold >>>= <u64>(entry & 31);
          have -= entry & 31;
          store<u8>(out++, entry >>> 16);
          entry = load<u32>(literalTable + ((<usize>hold & 2047) << 2));
          if ((entry & KIND_MASK) == LITERAL) {
            hold >>>= <u64>(entry & 31);
            have -= entry & 31;
            store<u8>(out++, entry >>> 16);
            entry = load<u32>(literalTable + ((<usize>hold & 2047) << 2));
            if ((entry & KIND_MASK) == LITERAL) {
              hold >>>= <u64>(entry & 31);
              have -= entry & 31;
              store<u8>(out++, entry >>> 16);
              continue;
            }
          }
          hold |= load<u64>(input) << <u64>have;
          input += <usize>((63 - have) >>> 3);
          have |= 56;
        }
      }
      if ((entry & KIND_MASK) == SECOND) {
        hold >>>= LITERAL_BITS;
        have -= LITERAL_BITS;
        entry = load<u32>(literalTable + (<usize>((entry >>> 16) + (<u32>hold & 15)) << 2));
      }
      hold >>>= <u64>(entry & 31);
      have -= entry & 31;
      const kind = entry & KIND_MASK;
      if (kind == LITERAL) {
        if (out >= limit) {
          status = FULL;
          break;
        }
        store<u8>(out++, entry >>> 16);
        continue;
      }
      if (kind != MATCH) {
        if (kind == END_OF_BLOCK) phase = BLOCK;
        else status = CORRUPT;
        break;
      }
      let extra = (entry >>> 8) & 31;
      const length = <usize>((entry >>> 16) + (<u32>hold & ((1 << extra) - 1)));
      hold >>>= <u64>extra;
      have -= extra;
      entry = load<u32>(distanceTable + ((<usize>hold & 255) << 2));
      if ((entry & KIND_MASK) == SECOND) {
        hold >>>= DISTANCE_BITS;
        have -= DISTANCE_BITS;
        entry = load<u32>(distanceTable + (<usize>((entry >>> 16) + (<u32>hold & 127)) << 2));
      }
      if ((entry & KIND_MASK) != MATCH) {
        status = CORRUPT;
        break;
      }
      hold >>>= <u64>(entry & 31);
      have -= entry & 31;
      extra = (entry >>> 8) & 31;
      const distance = <usize>((entry >>> 16) + (<u32>hold & ((1 << extra) - 1)));
      hold >>>= <u64>extra;
      have -= extra;
      if (distance > out - start) {
        status = CORRUPT;
        break;
      }
      if (out < outSafe) {
        copyMatchWild(out, distance, length);
      } else {
        if (length > limit - out) {
          status = FULL;
          break;
        }
        copyMatchExact(out, distance, length);
      }
      out += length;
    }
    if (status != -1) break;
    status = CORRUPT;
  }

  // Whole bytes that are not taken go back.
  input -= <usize>(have >>> 3);
  have &= 7;
  hold &= (<u64>1 << <u64>have) - 1;
  if (status == DONE) {
    hold = 0;
    have = 0;
  }
  if (input > inEnd) {
    if (status != FULL) status = TRUNCATED;
    input = inEnd;
  } else if (phase == BLOCK && have > 0) {
    input--;
  }
  store<u32>(state, <u32>input, IN);
  store<u32>(state, <u32>out, OUT);
  store<u64>(state, hold, HOLD);
  store<u32>(state, have, HAVE);
  store<u32>(state, phase, PHASE);
  return status;
}
