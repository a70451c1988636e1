// Zstandard's compressed blocks (RFC 8878, 3.1.1.3). Frames and blocks are taken apart by the caller; a block's input is
// there as a whole. Bit streams are read backward, each read by its own load: there is no register to refill.
import { copyMatchExact, copyMatchWild } from "./copy";
import { CORRUPT, DONE, FULL, IN, IN_END, OUT, OUT_LIMIT, OUT_START, OUT_WILD, OWN } from "./state";

const OFFSET1: usize = OWN;
const OFFSET2: usize = OWN + 4;
const OFFSET3: usize = OWN + 8;
/** 0 while a frame has none. */
const HUFFMAN_BITS: usize = OWN + 12;
/** Bits of the table for literal lengths, offsets and match lengths; ABSENT while a frame has none. */
const LITERAL_LENGTH_BITS: usize = OWN + 16;
const OFFSET_BITS: usize = OWN + 20;
const MATCH_LENGTH_BITS: usize = OWN + 24;
const ABSENT: u32 = 0xff;

const MOST_LITERALS: usize = 131072;
const MOST_HUFFMAN_BITS: u32 = 11;
const MOST_WEIGHT_BITS: u32 = 6;

// Where things lie in `work`.
const HUFFMAN: usize = 0; // u16[2048]: symbol << 8 | length
const LITERAL_LENGTHS: usize = HUFFMAN + 4096; // u64[512], as below
const OFFSETS: usize = LITERAL_LENGTHS + 4096; // u64[256]
const MATCH_LENGTHS: usize = OFFSETS + 2048; // u64[512]
const WEIGHT_TABLE: usize = MATCH_LENGTHS + 4096; // u64[64]
const NORMALIZED: usize = WEIGHT_TABLE + 512; // i16[256]
const NEXT: usize = NORMALIZED + 512; // u16[256]
const WEIGHTS: usize = NEXT + 512; // u8[256], and 16 of slack
const RANKS: usize = WEIGHTS + 272; // u32[16]
/** Of each code: base value and number of extra bits, u32 each; filled by zstdBegin. */
const LITERAL_LENGTH_CODES: usize = RANKS + 64; // [36]
const MATCH_LENGTH_CODES: usize = LITERAL_LENGTH_CODES + 36 * 8; // [53]
const OFFSET_CODES: usize = MATCH_LENGTH_CODES + 53 * 8; // [32]
const WEIGHT_CODES: usize = OFFSET_CODES + 32 * 8; // [16]
const LITERALS: usize = (WEIGHT_CODES + 16 * 8 + 15) & ~15;

// An entry of a table of finite state entropy: bits 0 to 15 the base of the next state, 16 to 23 the bits to add to it,
// 24 to 31 the number of extra bits of the value, 32 to 63 its base.

function codes(at: usize, index: u32, base: u32, bits: u32): void {
  store<u32>(at + (<usize>index << 3), base);
  store<u32>(at + (<usize>index << 3), bits, 4);
}

/** Before a frame's first block: resets the state, and fills the tables of codes (RFC 8878, 3.1.1.3.2.1.1). */
export function zstdBegin(state: usize, work: usize): void {
  store<u32>(state, 1, OFFSET1);
  store<u32>(state, 4, OFFSET2);
  store<u32>(state, 8, OFFSET3);
  store<u32>(state, 0, HUFFMAN_BITS);
  store<u32>(state, ABSENT, LITERAL_LENGTH_BITS);
  store<u32>(state, ABSENT, OFFSET_BITS);
  store<u32>(state, ABSENT, MATCH_LENGTH_BITS);
  let base: u32 = 0;
  for (let i: u32 = 0; i < 36; i++) {
    const bits: u32 = i < 16 ? 0 : i < 20 ? 1 : i < 22 ? 2 : i < 24 ? 3 : i == 24 ? 4 : i - 19;
    codes(work + LITERAL_LENGTH_CODES, i, base, bits);
    base += 1 << bits;
  }
  base = 3;
  for (let i: u32 = 0; i < 53; i++) {
    const bits: u32 =
      i < 32 ? 0 : i < 36 ? 1 : i < 38 ? 2 : i < 40 ? 3 : i < 42 ? 4 : i == 42 ? 5 : i - 36;
    codes(work + MATCH_LENGTH_CODES, i, base, bits);
    base += 1 << bits;
  }
  for (let i: u32 = 0; i < 32; i++) codes(work + OFFSET_CODES, i, 1 << i, i);
  for (let i: u32 = 0; i < 16; i++) codes(work + WEIGHT_CODES, i, i, 0);
}

// @ts-ignore: decorator
@inline
function highestBit(word: u32): u32 {
  return 31 - clz<u32>(word);
}

/** Bits before the end mark of a backward stream of `size` bytes, or -1. */
function streamBits(stream: usize, size: usize): i32 {
  if (size == 0) return -1;
  const last = <u32>load<u8>(stream + size - 1);
  if (last == 0) return -1;
  return <i32>((size - 1) << 3) + <i32>highestBit(last);
}

/** The bits from `position` up, which is not negative: 57 of them or more. */
// @ts-ignore: decorator
@inline
function bitsAt(stream: usize, position: i32): u64 {
  return load<u64>(stream + <usize>(position >> 3)) >>> <u64>(position & 7);
}

/** Builds a table from the counts at NORMALIZED of symbols 0 to `last`. */
function buildTable(work: usize, table: usize, bits: u32, last: u32, values: usize): bool {
  const size = <u32>1 << bits;
  const mask = size - 1;
  const normalized = work + NORMALIZED;
  const next = work + NEXT;
  let high = size;
  for (let symbol: u32 = 0; symbol <= last; symbol++) {
    const count = <i32>load<i16>(normalized + (<usize>symbol << 1));
    if (count == -1) store<u32>(table + (<usize>(--high) << 3), symbol);
    store<u16>(next + (<usize>symbol << 1), count == -1 ? 1 : count);
  }
  const step = (size >>> 1) + (size >>> 3) + 3;
  let place: u32 = 0;
  for (let symbol: u32 = 0; symbol <= last; symbol++) {
    const count = <i32>load<i16>(normalized + (<usize>symbol << 1));
    for (let i = 0; i < count; i++) {
      store<u32>(table + (<usize>place << 3), symbol);
      do {
        place = (place + step) & mask;
      } while (place >= high && high > 0);
    }
  }
  if (place != 0) return false;
  for (let i: u32 = 0; i < size; i++) {
    const entry = table + (<usize>i << 3);
    const symbol = <usize>load<u32>(entry);
    const at = next + (symbol << 1);
    const count = <u32>load<u16>(at);
    store<u16>(at, count + 1);
    const more = bits - highestBit(count);
    const value = values + (symbol << 3);
    store<u32>(entry, ((count << more) - size) | (more << 16) | (load<u32>(value, 4) << 24));
    store<u32>(entry, load<u32>(value), 4);
  }
  return true;
}

/** Reads counts (RFC 8878, 4.1.1) and builds the table; returns the bytes read, or 0 if they are invalid. */
function readTable(
  work: usize,
  input: usize,
  inEnd: usize,
  table: usize,
  mostBits: u32,
  mostSymbol: u32,
  values: usize,
  bitsAtState: usize,
): usize {
  const normalized = work + NORMALIZED;
  let position: i32 = 4;
  const end = <i32>(inEnd - input) << 3;
  if (end < 8) return 0;
  const bits = (<u32>load<u8>(input) & 15) + 5;
  if (bits > mostBits) return 0;
  let remaining = <i32>(1 << bits) + 1;
  let threshold = <i32>1 << bits;
  let width = <i32>bits + 1;
  let symbol: u32 = 0;
  while (remaining > 1) {
    if (symbol > mostSymbol || position > end) return 0;
    const word = <i32>bitsAt(input, position);
    const most = 2 * threshold - 1 - remaining;
    let count = word & (threshold - 1);
    if (count < most) {
      position += width - 1;
    } else {
      count = word & (2 * threshold - 1);
      if (count >= threshold) count -= most;
      position += width;
    }
    count--;
    remaining -= count < 0 ? 1 : count;
    store<i16>(normalized + (<usize>(symbol++) << 1), count);
    if (remaining < 1) return 0;
    while (remaining < threshold) {
      width--;
      threshold >>= 1;
    }
    if (count == 0) {
      while (true) {
        if (position > end) return 0;
        const zeros = <u32>bitsAt(input, position) & 3;
        position += 2;
        if (symbol + zeros > mostSymbol + 1) return 0;
        for (let i: u32 = 0; i < zeros; i++) store<i16>(normalized + (<usize>(symbol++) << 1), 0);
        if (zeros != 3) break;
      }
    }
  }
  if (position > end || symbol == 0) return 0;
  if (!buildTable(work, table, bits, symbol - 1, values)) return 0;
  store<u32>(bitsAtState, bits);
  return <usize>((position + 7) >> 3);
}

/** Reads a Huffman tree's description (RFC 8878, 4.2.1); gives the bytes read, or 0. */
function readHuffman(state: usize, work: usize, input: usize, inEnd: usize): usize {
  if (input >= inEnd) return 0;
  const weights = work + WEIGHTS;
  const header = <usize>load<u8>(input);
  let count: u32 = 0;
  let read: usize;
  if (header >= 128) {
    count = <u32>header - 127;
    read = 1 + ((<usize>count + 1) >> 1);
    if (read > inEnd - input) return 0;
    for (let i: u32 = 0; i < count; i += 2) {
      const pair = <u32>load<u8>(input + 1 + <usize>(i >>> 1));
      store<u8>(weights + <usize>i, pair >>> 4);
      store<u8>(weights + <usize>i, pair & 15, 1);
    }
  } else {
    read = 1 + header;
    if (read > inEnd - input || header == 0) return 0;
    const table = work + WEIGHT_TABLE;
    const bitsCell = work + RANKS;
    const stop = input + read;
    const skipped = readTable(
      work, input + 1, stop, table, MOST_WEIGHT_BITS, MOST_HUFFMAN_BITS + 1, work + WEIGHT_CODES, bitsCell,
    );
    if (skipped == 0 || skipped >= header) return 0;
    const bits = <i32>load<u32>(bitsCell);
    const stream = input + 1 + skipped;
    let left = streamBits(stream, header - skipped) - 2 * bits;
    if (left < 0) return 0;
    const mask = (<u32>1 << bits) - 1;
    const first = <u32>bitsAt(stream, left);
    let state1 = (first >>> bits) & mask;
    let state2 = first & mask;
    // Two states in turn, until one can't go on: then the other's symbol is the last.
    while (true) {
      const entry = load<u64>(table + (<usize>state1 << 3));
      store<u8>(weights + <usize>(count++), <u8>(entry >>> 32));
      if (count > 254) return 0;
      const more = <i32>(<u32>entry >>> 16) & 0xff;
      left -= more;
      if (left < 0) {
        store<u8>(weights + <usize>(count++), <u8>(load<u64>(table + (<usize>state2 << 3)) >>> 32));
        break;
      }
      state1 = (<u32>entry & 0xffff) + (<u32>bitsAt(stream, left) & ((1 << more) - 1));
      const swapped = state1;
      state1 = state2;
      state2 = swapped;
    }
  }

  const ranks = work + RANKS;
  memory.fill(ranks, 0, 64);
  let total: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const weight = <u32>load<u8>(weights + <usize>i);
    if (weight > MOST_HUFFMAN_BITS + 1) return 0;
    total += (1 << weight) >>> 1;
  }
  if (total == 0) return 0;
  const bits = highestBit(total) + 1;
  if (bits > MOST_HUFFMAN_BITS) return 0;
  // The last weight is implied: it makes the code complete.
  const rest = (<u32>1 << bits) - total;
  if ((rest & (rest - 1)) != 0) return 0;
  store<u8>(weights + <usize>(count++), highestBit(rest) + 1);
  for (let i: u32 = 0; i < count; i++) {
    const at = ranks + (<usize>load<u8>(weights + <usize>i) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  let next: u32 = 0;
  for (let weight: u32 = 1; weight <= bits; weight++) {
    const at = ranks + (<usize>weight << 2);
    const some = load<u32>(at);
    store<u32>(at, next);
    next += some << (weight - 1);
  }
  if (next != <u32>1 << bits) return 0;
  const table = work + HUFFMAN;
  for (let symbol: u32 = 0; symbol < count; symbol++) {
    const weight = <u32>load<u8>(weights + <usize>symbol);
    if (weight == 0) continue;
    const at = ranks + (<usize>weight << 2);
    const from = load<u32>(at);
    const to = from + ((<u32>1 << weight) >>> 1);
    store<u32>(at, to);
    const entry = (symbol << 8) | (bits + 1 - weight);
    for (let i = from; i < to; i++) store<u16>(table + (<usize>i << 1), entry);
  }
  store<u32>(state, bits, HUFFMAN_BITS);
  return read;
}

/** Decodes the rest of one stream, exactly to `end`. */
function huffmanTail(stream: usize, bitsLeft: i32, out: usize, end: usize, table: usize, bits: i32): bool {
  let left = bitsLeft;
  const mask = (<u32>1 << bits) - 1;
  while (left >= 56 && end - out >= 5) {
    let word = bitsAt(stream, left - 56) << 8;
    const shift = <u64>(64 - bits);
    for (let i: usize = 0; i < 5; i++) {
      const entry = <u32>load<u16>(table + (<usize>(word >>> shift) << 1));
      store<u8>(out + i, entry >>> 8);
      word <<= <u64>(entry & 0xff);
      left -= <i32>(entry & 0xff);
    }
    out += 5;
  }
  while (out < end) {
    const index = left >= bits ? <u32>bitsAt(stream, left - bits) : load<u32>(stream) << (bits - left);
    const entry = <u32>load<u16>(table + (<usize>(index & mask) << 1));
    store<u8>(out++, entry >>> 8);
    left -= <i32>(entry & 0xff);
    if (left < 0) return false;
  }
  return left == 0;
}

/** Four streams at once, five symbols each a turn. */
function huffmanStreams(work: usize, input: usize, size: usize, regenerated: usize, bits: i32): bool {
  const table = work + HUFFMAN;
  const out = work + LITERALS;
  if (size < 6 + 4) return false;
  const size1 = <usize>load<u16>(input);
  const size2 = <usize>load<u16>(input, 2);
  const size3 = <usize>load<u16>(input, 4);
  if (size1 + size2 + size3 + 6 >= size) return false;
  const stream1 = input + 6;
  const stream2 = stream1 + size1;
  const stream3 = stream2 + size2;
  const stream4 = stream3 + size3;
  let left1 = streamBits(stream1, size1);
  let left2 = streamBits(stream2, size2);
  let left3 = streamBits(stream3, size3);
  let left4 = streamBits(stream4, input + size - stream4);
  if ((left1 | left2 | left3 | left4) < 0) return false;
  const quarter = (regenerated + 3) >> 2;
  if (quarter * 3 > regenerated) return false;
  let out1 = out;
  let out2 = out + quarter;
  let out3 = out2 + quarter;
  let out4 = out3 + quarter;
  const end = out + regenerated;
  const shift = <u64>(64 - bits);
  while (
    left1 >= 56 && left2 >= 56 && left3 >= 56 && left4 >= 56 && end - out4 >= 5 && out + quarter - out1 >= 5
  ) {
    let word1 = bitsAt(stream1, left1 - 56) << 8;
    let word2 = bitsAt(stream2, left2 - 56) << 8;
    let word3 = bitsAt(stream3, left3 - 56) << 8;
    let word4 = bitsAt(stream4, left4 - 56) << 8;
    for (let i: usize = 0; i < 5; i++) {
      const entry1 = <u32>load<u16>(table + (<usize>(word1 >>> shift) << 1));
      const entry2 = <u32>load<u16>(table + (<usize>(word2 >>> shift) << 1));
      const entry3 = <u32>load<u16>(table + (<usize>(word3 >>> shift) << 1));
      const entry4 = <u32>load<u16>(table + (<usize>(word4 >>> shift) << 1));
      store<u8>(out1++, entry1 >>> 8);
      store<u8>(out2++, entry2 >>> 8);
      store<u8>(out3++, entry3 >>> 8);
      store<u8>(out4++, entry4 >>> 8);
      word1 <<= <u64>(entry1 & 0xff);
      word2 <<= <u64>(entry2 & 0xff);
      word3 <<= <u64>(entry3 & 0xff);
      word4 <<= <u64>(entry4 & 0xff);
      left1 -= <i32>(entry1 & 0xff);
      left2 -= <i32>(entry2 & 0xff);
      left3 -= <i32>(entry3 & 0xff);
      left4 -= <i32>(entry4 & 0xff);
    }
  }
  return (
    huffmanTail(stream1, left1, out1, out + quarter, table, bits) &&
    huffmanTail(stream2, left2, out2, out + 2 * quarter, table, bits) &&
    huffmanTail(stream3, left3, out3, out + 3 * quarter, table, bits) &&
    huffmanTail(stream4, left4, out4, end, table, bits)
  );
}

/** One of the three tables by its mode (RFC 8878, 3.1.1.3.2.1); gives the input behind it, or 0. */
function sequenceTable(
  state: usize, work: usize, mode: u32, input: usize, inEnd: usize, table: usize, mostBits: u32,
  mostSymbol: u32, values: usize, bitsAtState: usize,
): usize {
  if (mode == 0) {
    // Predefined counts (RFC 8878, 3.1.1.3.2.2).
    const at = work + NORMALIZED;
    let last: u32 = 0;
    let bits: u32 = 6;
    if (table == work + LITERAL_LENGTHS) {
      last = counts(at, last, 4, 1);
      last = counts(at, last, 3, 1);
      last = counts(at, last, 2, 11);
      last = counts(at, last, 1, 3);
      last = counts(at, last, 2, 9);
      last = counts(at, last, 3, 1);
      last = counts(at, last, 2, 1);
      last = counts(at, last, 1, 5);
      last = counts(at, last, -1, 4);
    } else if (table == work + MATCH_LENGTHS) {
      last = counts(at, last, 1, 1);
      last = counts(at, last, 4, 1);
      last = counts(at, last, 3, 1);
      last = counts(at, last, 2, 6);
      last = counts(at, last, 1, 37);
      last = counts(at, last, -1, 7);
    } else {
      last = counts(at, last, 1, 6);
      last = counts(at, last, 2, 3);
      last = counts(at, last, 1, 15);
      last = counts(at, last, -1, 5);
      bits = 5;
    }
    buildTable(work, table, bits, last - 1, values);
    store<u32>(state + bitsAtState, bits);
    return input;
  }
  if (mode == 1) {
    if (input >= inEnd) return 0;
    const symbol = <u32>load<u8>(input);
    if (symbol > mostSymbol) return 0;
    const value = values + (<usize>symbol << 3);
    store<u32>(table, load<u32>(value, 4) << 24);
    store<u32>(table, load<u32>(value), 4);
    store<u32>(state + bitsAtState, 0);
    return input + 1;
  }
  if (mode == 2) {
    const read = readTable(work, input, inEnd, table, mostBits, mostSymbol, values, state + bitsAtState);
    return read == 0 ? 0 : input + read;
  }
  return load<u32>(state + bitsAtState) == ABSENT ? 0 : input;
}

function counts(at: usize, from: u32, value: i32, times: u32): u32 {
  for (let i: u32 = 0; i < times; i++) store<i16>(at + (<usize>(from + i) << 1), value);
  return from + times;
}

/** Decodes the block [IN, IN_END) to OUT. */
export function zstdBlock(state: usize, work: usize): i32 {
  let input: usize = load<u32>(state, IN);
  const inEnd: usize = load<u32>(state, IN_END);
  let out: usize = load<u32>(state, OUT);
  const start: usize = load<u32>(state, OUT_START);
  const limit: usize = load<u32>(state, OUT_LIMIT);
  const wild: usize = load<u32>(state, OUT_WILD);

  // Literals
  if (inEnd - input < 2) return CORRUPT;
  const head = <usize>load<u32>(input);
  const type = head & 3;
  const format = (head >> 2) & 3;
  let literals = work + LITERALS;
  let literalsLeft: usize;
  if (type < 2) {
    const headBytes: usize = format == 1 ? 2 : format == 3 ? 3 : 1;
    literalsLeft = format == 1 ? (head >> 4) & 0xfff : format == 3 ? (head >> 4) & 0xfffff : (head >> 3) & 31;
    input += headBytes;
    if (literalsLeft > MOST_LITERALS || input > inEnd) return CORRUPT;
    if (type == 0) {
      if (literalsLeft > inEnd - input) return CORRUPT;
      literals = input;
      input += literalsLeft;
    } else {
      if (input >= inEnd) return CORRUPT;
      memory.fill(literals, load<u8>(input++), literalsLeft);
    }
  } else {
    const headBytes: usize = format < 2 ? 3 : format + 2;
    if (inEnd - input < headBytes) return CORRUPT;
    const long = load<u64>(input) >>> 4;
    const width = <u64>(format < 2 ? 10 : format == 2 ? 14 : 18);
    const mask = (<usize>1 << <usize>width) - 1;
    literalsLeft = <usize>long & mask;
    const size = <usize>(long >>> width) & mask;
    input += headBytes;
    if (literalsLeft > MOST_LITERALS || literalsLeft == 0 || size > inEnd - input) return CORRUPT;
    const stop = input + size;
    if (type == 2) {
      const read = readHuffman(state, work, input, stop);
      if (read == 0) return CORRUPT;
      input += read;
    }
    const bits = <i32>load<u32>(state, HUFFMAN_BITS);
    if (bits == 0) return CORRUPT;
    if (format == 0) {
      const left = streamBits(input, stop - input);
      if (left < 0) return CORRUPT;
      if (!huffmanTail(input, left, literals, literals + literalsLeft, work + HUFFMAN, bits)) return CORRUPT;
    } else if (!huffmanStreams(work, input, stop - input, literalsLeft, bits)) {
      return CORRUPT;
    }
    input = stop;
  }

  // Sequences
  if (input >= inEnd) return CORRUPT;
  let sequences = <u32>load<u8>(input++);
  if (sequences >= 128) {
    if (inEnd - input < 2) return CORRUPT;
    if (sequences == 255) {
      sequences = <u32>load<u16>(input) + 0x7f00;
      input += 2;
    } else {
      sequences = ((sequences - 128) << 8) + <u32>load<u8>(input++);
    }
  }
  if (sequences > 0) {
    if (input >= inEnd) return CORRUPT;
    const modes = <u32>load<u8>(input++);
    if ((modes & 3) != 0) return CORRUPT;
    const literalLengths = work + LITERAL_LENGTHS;
    const offsets = work + OFFSETS;
    const matchLengths = work + MATCH_LENGTHS;
    input = sequenceTable(
      state, work, modes >>> 6, input, inEnd, literalLengths, 9, 35, work + LITERAL_LENGTH_CODES, LITERAL_LENGTH_BITS,
    );
    if (input == 0) return CORRUPT;
    input = sequenceTable(
      state, work, (modes >>> 4) & 3, input, inEnd, offsets, 8, 31, work + OFFSET_CODES, OFFSET_BITS,
    );
    if (input == 0) return CORRUPT;
    input = sequenceTable(
      state, work, (modes >>> 2) & 3, input, inEnd, matchLengths, 9, 52, work + MATCH_LENGTH_CODES, MATCH_LENGTH_BITS,
    );
    if (input == 0) return CORRUPT;

    const stream = input;
    let left = streamBits(stream, inEnd - input);
    const lengthBits = <i32>load<u32>(state, LITERAL_LENGTH_BITS);
    const offsetBits = <i32>load<u32>(state, OFFSET_BITS);
    const matchBits = <i32>load<u32>(state, MATCH_LENGTH_BITS);
    left -= lengthBits;
    if (left < 0) return CORRUPT;
    let lengthState = <u32>bitsAt(stream, left) & ((1 << lengthBits) - 1);
    left -= offsetBits;
    if (left < 0) return CORRUPT;
    let offsetState = <u32>bitsAt(stream, left) & ((1 << offsetBits) - 1);
    left -= matchBits;
    if (left < 0) return CORRUPT;
    let matchState = <u32>bitsAt(stream, left) & ((1 << matchBits) - 1);
    let offset1: usize = load<u32>(state, OFFSET1);
    let offset2: usize = load<u32>(state, OFFSET2);
    let offset3: usize = load<u32>(state, OFFSET3);

    while (true) {
      const lengthEntry = load<u64>(literalLengths + (<usize>lengthState << 3));
      const offsetEntry = load<u64>(offsets + (<usize>offsetState << 3));
      const matchEntry = load<u64>(matchLengths + (<usize>matchState << 3));
      const offsetExtra = <i32>(<u32>offsetEntry >>> 24);
      const lengthExtra = <i32>(<u32>lengthEntry >>> 24);
      const matchExtra = <i32>(<u32>matchEntry >>> 24);
      let literalLength = <usize>(lengthEntry >>> 32);
      let length = <usize>(matchEntry >>> 32);
      let offset = <usize>(offsetEntry >>> 32);
      left -= offsetExtra;
      if (left < lengthExtra + matchExtra) return CORRUPT;
      offset += <usize>bitsAt(stream, left) & ((1 << offsetExtra) - 1);
      if (lengthExtra + matchExtra != 0) {
        left -= lengthExtra + matchExtra;
        const extra = bitsAt(stream, left);
        literalLength += <usize>extra & ((1 << lengthExtra) - 1);
        length += <usize>(extra >>> <u64>lengthExtra) & ((1 << matchExtra) - 1);
      }
      sequences--;
      if (sequences > 0) {
        const lengthMore = <i32>(<u32>lengthEntry >>> 16) & 0xff;
        const matchMore = <i32>(<u32>matchEntry >>> 16) & 0xff;
        const offsetMore = <i32>(<u32>offsetEntry >>> 16) & 0xff;
        left -= lengthMore + matchMore + offsetMore;
        if (left < 0) return CORRUPT;
        const more = <u32>bitsAt(stream, left);
        offsetState = (<u32>offsetEntry & 0xffff) + (more & ((1 << offsetMore) - 1));
        matchState = (<u32>matchEntry & 0xffff) + ((more >>> offsetMore) & ((1 << matchMore) - 1));
        lengthState =
          (<u32>lengthEntry & 0xffff) + ((more >>> (offsetMore + matchMore)) & ((1 << lengthMore) - 1));
      }

      // Repeated offsets (RFC 8878, 3.1.1.5).
      if (offset > 3) {
        offset3 = offset2;
        offset2 = offset1;
        offset1 = offset - 3;
      } else {
        const which = literalLength == 0 ? offset + 1 : offset;
        if (which != 1) {
          const repeated = which == 2 ? offset2 : which == 3 ? offset3 : offset1 - 1;
          if (which != 2) offset3 = offset2;
          offset2 = offset1;
          offset1 = repeated;
        }
      }

      if (literalLength > literalsLeft) return CORRUPT;
      if (literalLength > limit - out || length > limit - out - literalLength) return FULL;
      const isRoomy = literalLength + length + 32 <= wild - out;
      if (isRoomy) {
        // Literals may be read on behind their end: slack, or input.
        let from = literals;
        let to = out;
        const stop = out + literalLength;
        do {
          v128.store(to, v128.load(from));
          to += 16;
          from += 16;
        } while (to < stop);
      } else {
        memory.copy(out, literals, literalLength);
      }
      out += literalLength;
      literals += literalLength;
      literalsLeft -= literalLength;
      if (offset1 - 1 >= out - start) return CORRUPT;
      if (isRoomy) copyMatchWild(out, offset1, length);
      else copyMatchExact(out, offset1, length);
      out += length;
      if (sequences == 0) break;
    }
    if (left != 0) return CORRUPT;
    store<u32>(state, <u32>offset1, OFFSET1);
    store<u32>(state, <u32>offset2, OFFSET2);
    store<u32>(state, <u32>offset3, OFFSET3);
  } else if (input != inEnd) {
    return CORRUPT;
  }
  if (literalsLeft > limit - out) return FULL;
  memory.copy(out, literals, literalsLeft);
  out += literalsLeft;
  store<u32>(state, <u32>out, OUT);
  return DONE;
}
