// CRC-32 of IEEE 802.3 (zlib's crc32): reflected polynomial P = 0xedb88320, init and xor-out 0xffffffff.
//
// No tables for the bulk and no carry-less multiply, but sparse multiples of P ("Chorba", arXiv 2412.16398). Where P
// divides x^a + x^b + … + 1, a coefficient of the message can be taken out and added to the ones a-b, …, a places
// further on without changing the remainder. Over GF(2) P(x)^2 = P(x^2), so the same taps serve for units of 2^k bits:
// the message is folded forward by XOR alone, in whole units, and only its last `a` units remain.
//
//     words   16 bytes a unit: w[i] = in[i] ^ w[i-4] ^ w[i-7] ^ w[i-22] ^ w[i-396] ^ w[i-453]
//             (P divides x^453 + x^449 + x^446 + x^431 + x^57 + 1)          long messages; 453 to 460 units remain
//     bytes   1 byte a unit:   w[i] = in[i] ^ w[i-145] ^ w[i-183] ^ w[i-211] ^ w[i-300]
//             (P divides x^300 + x^155 + x^117 + x^89 + 1)                  short ones and what remains; 300 remain
//     slices  sixteen tables                                                the last few hundred bytes
//
// All state lies in scratch that the caller hands in, since the module has no static data of its own:
//
//     0      tables of the slices, 16 KiB
//     16384  ring of the last 512 words, 8 KiB, and its first 8 words once more
//     24704  what remains of the bytes
//     25088  320 zero bytes before the first w of the bytes (the taps reach back 300)
//     25408  w of the bytes, and zeros behind them
const POLYNOMIAL: u32 = 0xedb88320;
const TABLE_COUNT: usize = 16;
const TABLE_BYTES: usize = 1024;

const UNIT: usize = 16;
const RING: usize = 16384;
const RING_BYTES: usize = 8192;
const RING_MASK: usize = RING_BYTES - 1;
const RING_COPY_BYTES: usize = 128;
const REST: usize = RING + RING_BYTES + RING_COPY_BYTES;
const HISTORY: usize = REST + 384;
const HISTORY_BYTES: usize = 320;
const FOLDED: usize = HISTORY + HISTORY_BYTES;
const BEHIND_BYTES: usize = 336;

/** The longest reach of a tap. */
const WORDS_REACH: usize = 453;
const BYTES_REACH: usize = 300;
/** Below this many bytes the words' remainder costs more than it saves: measured. */
const LEAST_FOR_WORDS: usize = 36864;
/** Below this many bytes the slices are faster than the bytes: measured. */
const LEAST_FOR_BYTES: usize = 704;

/** Below this many bytes both ranges stay in a core's caches, and two passes are as fast as one: measured. */
const LEAST_FOR_FUSED: usize = 1 << 20;

const SCRATCH_BYTES: i32 = <i32>(FOLDED + LEAST_FOR_WORDS + BEHIND_BYTES);

/**
 * Fills the tables at `scratch`, once per scratch area. Returns how many bytes of it crc32 works in. (No exported constant:
 * for globals V8 makes a buffer with each instance, and a buffer made after a large memory starts a collection.)
 */
export function crc32Prepare(scratch: usize): i32 {
  fillTables<u32>(scratch, POLYNOMIAL, TABLE_COUNT);
  return SCRATCH_BYTES;
}

/** Fills `count` tables of 256 remainders of a reflected CRC: of a byte, and of one with a byte more behind it than the last. */
export function fillTables<T>(tables: usize, polynomial: T, count: usize): void {
  const tableBytes = 256 * sizeof<T>();
  for (let i: usize = 0; i < 256; i++) {
    let remainder = <T>i;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder >>> <T>1) ^ (polynomial & (<T>0 - (remainder & <T>1)));
    }
    store<T>(tables + i * sizeof<T>(), remainder);
  }
  for (let at = tables, end = tables + (count - 1) * tableBytes; at < end; at += sizeof<T>()) {
    const remainder = load<T>(at);
    const next = load<T>(tables + (<usize>remainder & 0xff) * sizeof<T>());
    store<T>(at + tableBytes, (remainder >>> <T>8) ^ next);
  }
}

/**
 * The same, and copies the bytes to `target`, in the same pass where that is faster. The ranges must not overlap.
 */
export function copyCrc32(target: usize, pointer: usize, length: usize, seed: u32, scratch: usize): u32 {
  if (length >= LEAST_FOR_FUSED) return ~copyWords(target, pointer, length, ~seed, scratch);
  memory.copy(target, pointer, length);
  return crc32(target, length, seed, scratch);
}

/** CRC-32 of `length` bytes at `pointer`, continued from `seed` (0 at the start). */
export function crc32(pointer: usize, length: usize, seed: u32, scratch: usize): u32 {
  if (length >= LEAST_FOR_WORDS) return ~words(pointer, length, ~seed, scratch);
  if (length >= LEAST_FOR_BYTES) return ~bytes(pointer, length, ~seed, scratch);
  return ~slices(pointer, length, ~seed, scratch);
}

// @ts-ignore: decorator
@inline
function slice(scratch: usize, table: usize, byte: u32): u32 {
  return load<u32>(scratch + table * TABLE_BYTES + ((<usize>byte) << 2));
}

// @ts-ignore: decorator
@inline
function sliceWord(scratch: usize, highest: usize, word: u32): u32 {
  return (
    slice(scratch, highest, word & 0xff) ^
    slice(scratch, highest - 1, (word >>> 8) & 0xff) ^
    slice(scratch, highest - 2, (word >>> 16) & 0xff) ^
    slice(scratch, highest - 3, word >>> 24)
  );
}

/** The register after `length` bytes, without init and xor-out. */
function slices(pointer: usize, length: usize, register: u32, scratch: usize): u32 {
  let crc = register;
  let rest = length;
  while (rest >= 16) {
    crc =
      sliceWord(scratch, 15, load<u32>(pointer) ^ crc) ^
      sliceWord(scratch, 11, load<u32>(pointer, 4)) ^
      sliceWord(scratch, 7, load<u32>(pointer, 8)) ^
      sliceWord(scratch, 3, load<u32>(pointer, 12));
    pointer += 16;
    rest -= 16;
  }
  while (rest > 0) {
    crc = (crc >>> 8) ^ slice(scratch, 0, (crc ^ load<u8>(pointer)) & 0xff);
    pointer++;
    rest--;
  }
  return crc;
}

// @ts-ignore: decorator
@inline
function foldBytes(folded: usize): v128 {
  return v128.xor(
    v128.xor(v128.load(folded - 145), v128.load(folded - 183)),
    v128.xor(v128.load(folded - 211), v128.load(folded - 300)),
  );
}

/** The register after `length` bytes; they may lie at `scratch + FOLDED` themselves. */
function bytes(pointer: usize, length: usize, register: u32, scratch: usize): u32 {
  const folded = scratch + FOLDED;
  memory.fill(scratch + HISTORY, 0, HISTORY_BYTES);
  // The register is added to the first four bytes: as what would be folded to them from 300 bytes before, and to
  // nowhere else.
  store<u32>(folded - BYTES_REACH, register);
  const count = (length - BYTES_REACH) & ~15;
  for (let i: usize = 0; i < count; i += UNIT) {
    v128.store(folded + i, v128.xor(v128.load(pointer + i), foldBytes(folded + i)));
  }

  const remaining = length - count;
  const rest = scratch + REST;
  memory.copy(rest, pointer + count, remaining);
  memory.fill(folded + count, 0, BEHIND_BYTES);
  for (let i: usize = 0; i < remaining; i += UNIT) {
    v128.store(rest + i, v128.xor(v128.load(rest + i), foldBytes(folded + count + i)));
  }
  return slices(rest, remaining, 0, scratch);
}

function words(pointer: usize, length: usize, register: u32, scratch: usize): u32 {
  return foldWords(false, 0, pointer, length, register, scratch);
}

function copyWords(target: usize, pointer: usize, length: usize, register: u32, scratch: usize): u32 {
  return foldWords(true, target, pointer, length, register, scratch);
}

/**
 * The register after `length` bytes, at least 453 units and 8 more. `isCopy` is a constant where this is inlined: the
 * bytes go to `copy`, too.
 */
// @ts-ignore: decorator
@inline
function foldWords(
  isCopy: bool,
  copy: usize,
  pointer: usize,
  length: usize,
  register: u32,
  scratch: usize,
): u32 {
  const ring = scratch + RING;
  memory.fill(ring, 0, RING_BYTES + RING_COPY_BYTES);
  // Added to the first word: as what would be folded to it from 453 words before, and to nowhere else.
  store<u32>(ring + ((RING_BYTES - WORDS_REACH * UNIT) & RING_MASK), register);

  const units = length >> 4;
  const count = ((units - WORDS_REACH) & ~7) << 4;
  let p1 = i64x2.splat(0);
  let p2 = p1;
  let p3 = p1;
  let p4 = p1;
  let p5 = p1;
  let p6 = p1;
  let p7 = p1;
  for (let i: usize = 0; i < count; i += 8 * UNIT) {
    const source = pointer + i;
    const far22 = ring + ((i - 22 * UNIT) & RING_MASK);
    const far396 = ring + ((i - 396 * UNIT) & RING_MASK);
    const far453 = ring + ((i - 453 * UNIT) & RING_MASK);
    const target = ring + (i & RING_MASK);
    const there = copy + i;
    const in0 = v128.load(source);
    if (isCopy) v128.store(there, in0);
    const w0 = fold(in0, v128.load(far22), v128.load(far396), v128.load(far453), p4, p7);
    v128.store(target, w0);
    const in1 = v128.load(source, 16);
    if (isCopy) v128.store(there, in1, 16);
    const w1 = fold(in1, v128.load(far22, 16), v128.load(far396, 16), v128.load(far453, 16), p3, p6);
    v128.store(target, w1, 16);
    const in2 = v128.load(source, 32);
    if (isCopy) v128.store(there, in2, 32);
    const w2 = fold(in2, v128.load(far22, 32), v128.load(far396, 32), v128.load(far453, 32), p2, p5);
    v128.store(target, w2, 32);
    const in3 = v128.load(source, 48);
    if (isCopy) v128.store(there, in3, 48);
    const w3 = fold(in3, v128.load(far22, 48), v128.load(far396, 48), v128.load(far453, 48), p1, p4);
    v128.store(target, w3, 48);
    const in4 = v128.load(source, 64);
    if (isCopy) v128.store(there, in4, 64);
    const w4 = fold(in4, v128.load(far22, 64), v128.load(far396, 64), v128.load(far453, 64), w0, p3);
    v128.store(target, w4, 64);
    const in5 = v128.load(source, 80);
    if (isCopy) v128.store(there, in5, 80);
    const w5 = fold(in5, v128.load(far22, 80), v128.load(far396, 80), v128.load(far453, 80), w1, p2);
    v128.store(target, w5, 80);
    const in6 = v128.load(source, 96);
    if (isCopy) v128.store(there, in6, 96);
    const w6 = fold(in6, v128.load(far22, 96), v128.load(far396, 96), v128.load(far453, 96), w2, p1);
    v128.store(target, w6, 96);
    const in7 = v128.load(source, 112);
    if (isCopy) v128.store(there, in7, 112);
    const w7 = fold(in7, v128.load(far22, 112), v128.load(far396, 112), v128.load(far453, 112), w3, w0);
    v128.store(target, w7, 112);
    // A group of eight that is read across the ring's end finds its second part behind it. Stores, not memory.copy: a
    // call would keep all of p1 to p7 in memory instead of registers (8 % slower, measured).
    if (target == ring) {
      v128.store(ring, w0, RING_BYTES);
      v128.store(ring, w1, RING_BYTES + 16);
      v128.store(ring, w2, RING_BYTES + 32);
      v128.store(ring, w3, RING_BYTES + 48);
      v128.store(ring, w4, RING_BYTES + 64);
      v128.store(ring, w5, RING_BYTES + 80);
      v128.store(ring, w6, RING_BYTES + 96);
      v128.store(ring, w7, RING_BYTES + 112);
    }
    p1 = w7;
    p2 = w6;
    p3 = w5;
    p4 = w4;
    p5 = w3;
    p6 = w2;
    p7 = w1;
  }

  if (isCopy) memory.copy(copy + count, pointer + count, length - count);
  // The rest takes what is folded to it, and folds nothing on: a tap counts as far as it reaches back to a word
  // that was folded.
  const folded = scratch + FOLDED;
  const end = units << 4;
  let target = folded;
  let i = count;
  for (const near = count + 22 * UNIT; i < near; i += UNIT) {
    let sum = v128.xor(v128.load(pointer + i), v128.load(ring + ((i - 22 * UNIT) & RING_MASK)));
    sum = v128.xor(sum, far(ring, i));
    if (i < count + 4 * UNIT) sum = v128.xor(sum, v128.load(ring + ((i - 4 * UNIT) & RING_MASK)));
    if (i < count + 7 * UNIT) sum = v128.xor(sum, v128.load(ring + ((i - 7 * UNIT) & RING_MASK)));
    v128.store(target, sum);
    target += UNIT;
  }
  for (const last = count + 453 * UNIT; i < last; i += UNIT) {
    let sum = v128.xor(v128.load(pointer + i), v128.load(ring + ((i - 453 * UNIT) & RING_MASK)));
    if (i < count + 396 * UNIT) sum = v128.xor(sum, v128.load(ring + ((i - 396 * UNIT) & RING_MASK)));
    v128.store(target, sum);
    target += UNIT;
  }
  memory.copy(target, pointer + i, end - i);
  target += end - i;
  memory.copy(target, pointer + end, length - end);
  return bytes(folded, length - count, 0, scratch);
}

// @ts-ignore: decorator
@inline
function far(ring: usize, i: usize): v128 {
  return v128.xor(
    v128.load(ring + ((i - 396 * UNIT) & RING_MASK)),
    v128.load(ring + ((i - 453 * UNIT) & RING_MASK)),
  );
}

// @ts-ignore: decorator
@inline
function fold(a: v128, b: v128, c: v128, d: v128, e: v128, f: v128): v128 {
  return v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), v128.xor(e, f));
}
