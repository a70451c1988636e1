// LZMA (lzma-specification.txt of the LZMA SDK; doc/lzma-file-format.txt of xz): literals and matches behind an adaptive
// binary range coder. The range coder's state stays in locals, so its steps are spelled out where they are taken.
//
// A bit that decides what comes next is a branch. The bits of a number (a literal, a length, a distance) are no better
// than chance to a processor that predicts branches: they are taken without. Both probabilities that can be next are
// loaded before the bit is known, and each value is chosen by a comparison of its own, since V8 makes a conditional move
// of a choice only where nothing else needs the comparison.
import { copyMatch } from "./copy";
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

const RANGE: usize = OWN;
const CODE: usize = OWN + 4;
const STATE: usize = OWN + 8;
const REP0: usize = OWN + 12;
const REP1: usize = OWN + 16;
const REP2: usize = OWN + 20;
const REP3: usize = OWN + 24;
const LITERAL_CONTEXT_BITS: usize = OWN + 28;
const LITERAL_POSITION_MASK: usize = OWN + 32;
const POSITION_MASK: usize = OWN + 36;
const PROBABILITIES: usize = OWN + 40;
/** Where the position that lp and pb count begins: the output's address then. */
const POSITION_START: usize = OWN + 44;

// The probabilities, u16 each; offsets in bytes.
const INITIAL_PROBABILITY: u16 = 1024;
const POSITION_STATES: usize = 16;
const IS_MATCH: usize = 0; // [12 states][16 position states]
const IS_REP0_LONG: usize = IS_MATCH + 12 * POSITION_STATES * 2; // the same
const IS_REP: usize = IS_REP0_LONG + 12 * POSITION_STATES * 2; // [12]
const IS_REP_BYTES: usize = 12 * 2;
const IS_REP0: usize = IS_REP + IS_REP_BYTES; // [3 distances][12]
const SLOTS: usize = IS_REP0 + 3 * IS_REP_BYTES; // [4 lengths][64]
const SPECIAL: usize = SLOTS + 4 * 64 * 2; // [115], addressed from 1
const ALIGN: usize = SPECIAL + 116 * 2; // [16]
const MATCH_LENGTHS: usize = ALIGN + 32;
// A length coder: two choices, low[16][8], middle[16][8], high[256].
const LENGTH_TREES: usize = 4;
const LENGTH_TREES_BYTES: usize = POSITION_STATES * 8 * 2;
const LENGTH_BYTES: usize = LENGTH_TREES + 2 * LENGTH_TREES_BYTES + 512;
const REP_LENGTHS: usize = MATCH_LENGTHS + LENGTH_BYTES;
const LITERALS: usize = REP_LENGTHS + LENGTH_BYTES;
const LITERAL_CODER_BYTES: usize = 0x300 * 2;

const TOP: u32 = 1 << 24;
/** A symbol takes at most this many bytes (LZMA_REQUIRED_INPUT_MAX of the SDK). */
const SYMBOL_BYTES: usize = 20;
const FIRST_MATCH_STATE: u32 = 7;
const END_MARKER: u32 = 0xffff_ffff;

/**
 * Sets lc, lp and pb (lc + lp at most 4) and resets the state and all probabilities, which lie at `probabilities`:
 * up to 28 KiB.
 */
export function lzmaReset(state: usize, probabilities: usize, lc: u32, lp: u32, pb: u32): void {
  store<u32>(state, lc, LITERAL_CONTEXT_BITS);
  store<u32>(state, (1 << lp) - 1, LITERAL_POSITION_MASK);
  store<u32>(state, (1 << pb) - 1, POSITION_MASK);
  store<u32>(state, <u32>probabilities, PROBABILITIES);
  const end = probabilities + LITERALS + (LITERAL_CODER_BYTES << (lc + lp));
  for (let p = probabilities; p < end; p += 2) store<u16>(p, INITIAL_PROBABILITY);
  store<u32>(state, 0, STATE);
  store<u32>(state, 0, REP0);
  store<u32>(state, 0, REP1);
  store<u32>(state, 0, REP2);
  store<u32>(state, 0, REP3);
}

/** Positions count from `start`, an address of output. */
export function lzmaPosition(state: usize, start: usize): void {
  store<u32>(state, <u32>start, POSITION_START);
}

/** Reads the range coder's first five bytes at IN, which the caller knows to be there. */
export function lzmaBegin(state: usize): i32 {
  const input: usize = load<u32>(state, IN);
  store<u32>(state, 0xffff_ffff, RANGE);
  store<u32>(state, bswap<u32>(load<u32>(input, 1)), CODE);
  store<u32>(state, <u32>input + 5, IN);
  return load<u8>(input) == 0 ? DONE : CORRUPT;
}

/** The code is 0 where a stream ends properly. */
export function lzmaCode(state: usize): u32 {
  return load<u32>(state, CODE);
}

// @ts-ignore: decorator
@inline
function raised(probability: u32): u16 {
  return <u16>(probability + ((2048 - probability) >>> 5));
}

// @ts-ignore: decorator
@inline
function lowered(probability: u32): u16 {
  return <u16>(probability - (probability >>> 5));
}

/** All ones if the code is below the bound: the bit is 0; else 0. */
// @ts-ignore: decorator
@inline
function zeroMask(code: u32, bound: u32): u32 {
  return <u32>((<i64>code - <i64>bound) >> 63);
}

/** `raised` if the mask is all ones, `lowered` if it is 0. */
// @ts-ignore: decorator
@inline
function adapted(probability: u32, mask: u32): u16 {
  // (2048 - p) >> 5 is -((p - 2048 + 31) >> 5).
  return <u16>(probability - <u32>(<i32>(probability + (mask & <u32>(31 - 2048))) >> 5));
}

/**
 * Decodes a literal behind a match, where `byte` lies at rep0. The literal most likely differs from it: bits have
 * probabilities of their own up to the first that differs, and those of other literals behind it. It is a function of its
 * own so that its values fit the registers; the range coder's state passes through memory. Returns the literal with bit 8
 * set.
 */
function matchedLiteral(at: usize, coder: usize, byte: u32): u32 {
  let input: usize = load<u32>(at, IN);
  let range = load<u32>(at, RANGE);
  let code = load<u32>(at, CODE);
  let node: u32 = 1;
  // All ones while the bits are those of the byte. `path` has its next bit at bit 7, and the node above.
  let isSame: u32 = 0xffff_ffff;
  let path = 0x100 | byte;
  let where = coder + matchedNode(path);
  let p = <u32>load<u16>(where);
  do {
    const next = coder + (<usize>node << 2);
    const nextZero = <u32>load<u16>(next);
    const nextOne = <u32>load<u16>(next, 2);
    path <<= 1;
    const nextWhere = coder + matchedNode(path);
    const nextSame = <u32>load<u16>(nextWhere);
    if (range < TOP) {
      range <<= 8;
      code = (code << 8) | load<u8>(input++);
    }
    const bound = (range >>> 11) * p;
    const mask = zeroMask(code, bound);
    store<u16>(where, adapted(p, mask));
    p = select<u32>(nextOne, nextZero, code >= bound);
    range = select<u32>(bound, range - bound, code < bound);
    code = min<u32>(code, code - bound);
    node = (node << 1) + 1 + mask;
    // The byte's bit is at bit 8 now.
    isSame &= mask ^ <u32>(<i32>(path << 23) >> 31);
    p = select<u32>(nextSame, p, isSame);
    where = select<usize>(nextWhere, coder + (<usize>node << 1), isSame);
  } while (node < 0x100);
  store<u32>(at, <u32>input, IN);
  store<u32>(at, range, RANGE);
  store<u32>(at, code, CODE);
  return node;
}

/** The offset of a matched literal's probability: trees for the bits 0 and 1 lie behind the one of other literals. */
// @ts-ignore: decorator
@inline
function matchedNode(path: u32): usize {
  return 0x200 + (<usize>(path & 0x80) << 2) + (<usize>(path >>> 8) << 1);
}

/**
 * Decodes symbols until the output reaches OUT_PAUSE (PAUSED), the input runs out (NEED_INPUT; TRUNCATED if it is the
 * last), a symbol passes OUT_LIMIT (FULL), or the end marker comes (DONE).
 */
export function lzmaRun(at: usize): i32 {
  let input: usize = load<u32>(at, IN);
  const inEnd: usize = load<u32>(at, IN_END);
  let out: usize = load<u32>(at, OUT);
  const start: usize = load<u32>(at, OUT_START);
  const limit: usize = load<u32>(at, OUT_LIMIT);
  const wild: usize = load<u32>(at, OUT_WILD);
  const pause: usize = load<u32>(at, OUT_PAUSE);
  const isLast = load<u32>(at, IS_LAST) != 0;
  // A symbol may read behind the last piece. Its result stays within the output, and is refused.
  const inStop: usize = isLast ? inEnd : inEnd - input > SYMBOL_BYTES ? inEnd - SYMBOL_BYTES : input - 1;
  let range = load<u32>(at, RANGE);
  let code = load<u32>(at, CODE);
  let state = load<u32>(at, STATE);
  let rep0 = load<u32>(at, REP0);
  let rep1 = load<u32>(at, REP1);
  let rep2 = load<u32>(at, REP2);
  let rep3 = load<u32>(at, REP3);
  const lc = load<u32>(at, LITERAL_CONTEXT_BITS);
  const lpMask = load<u32>(at, LITERAL_POSITION_MASK);
  const pbMask = load<u32>(at, POSITION_MASK);
  const base: usize = load<u32>(at, PROBABILITIES);
  const positionStart: usize = load<u32>(at, POSITION_START);
  const contextShift = 8 - lc;
  let previous: u32 = out > start ? load<u8>(out - 1) : 0;
  let status = PAUSED;
  let p: u32 = 0;
  let bound: u32 = 0;
  let node: u32 = 0;

  while (true) {
    if (input > inStop) {
      status = isLast ? TRUNCATED : NEED_INPUT;
      break;
    }
    if (out >= pause) break;
    const position = <u32>(out - positionStart);
    const positionState: usize = position & pbMask;
    const place = base + ((((<usize>state) << 4) + positionState) << 1);

    if (range < TOP) {
      range <<= 8;
      code = (code << 8) | load<u8>(input++);
    }
    p = load<u16>(place, IS_MATCH);
    bound = (range >>> 11) * p;
    if (code < bound) {
      range = bound;
      store<u16>(place, raised(p), IS_MATCH);
      if (out >= limit) {
        status = FULL;
        break;
      }
      const coder =
        base + LITERALS + LITERAL_CODER_BYTES * <usize>(((position & lpMask) << lc) + (previous >>> contextShift));
      node = 1;
      if (state >= FIRST_MATCH_STATE) {
        store<u32>(at, <u32>input, IN);
        store<u32>(at, range, RANGE);
        store<u32>(at, code, CODE);
        node = matchedLiteral(at, coder, load<u8>(out - <usize>rep0 - 1));
        input = load<u32>(at, IN);
        range = load<u32>(at, RANGE);
        code = load<u32>(at, CODE);
        state = state < 10 ? state - 3 : state - 6;
      } else {
        p = load<u16>(coder, 2);
        do {
          const next = coder + (<usize>node << 2);
          const nextZero = <u32>load<u16>(next);
          const nextOne = <u32>load<u16>(next, 2);
          if (range < TOP) {
            range <<= 8;
            code = (code << 8) | load<u8>(input++);
          }
          bound = (range >>> 11) * p;
          const mask = zeroMask(code, bound);
          store<u16>(coder + (<usize>node << 1), adapted(p, mask));
          p = select<u32>(nextOne, nextZero, code >= bound);
          range = select<u32>(bound, range - bound, code < bound);
          code = min<u32>(code, code - bound);
          node = (node << 1) + 1 + mask;
        } while (node < 0x100);
        state = state < 4 ? 0 : state - 3;
      }
      previous = node & 0xff;
      store<u8>(out++, previous);
      continue;
    }

    range -= bound;
    code -= bound;
    store<u16>(place, lowered(p), IS_MATCH);
    let lengths: usize = 0;
    const rep = base + (<usize>state << 1);
    if (range < TOP) {
      range <<= 8;
      code = (code << 8) | load<u8>(input++);
    }
    p = load<u16>(rep, IS_REP);
    bound = (range >>> 11) * p;
    const isRep = code >= bound;
    if (!isRep) {
      range = bound;
      store<u16>(rep, raised(p), IS_REP);
      rep3 = rep2;
      rep2 = rep1;
      rep1 = rep0;
      lengths = base + MATCH_LENGTHS;
    } else {
      range -= bound;
      code -= bound;
      store<u16>(rep, lowered(p), IS_REP);
      // Which of the last four distances: each bit passes over one.
      let index: usize = 0;
      do {
        const where = rep + IS_REP0 + index * IS_REP_BYTES;
        if (range < TOP) {
          range <<= 8;
          code = (code << 8) | load<u8>(input++);
        }
        p = load<u16>(where);
        bound = (range >>> 11) * p;
        if (code < bound) {
          range = bound;
          store<u16>(where, raised(p));
          break;
        }
        range -= bound;
        code -= bound;
        store<u16>(where, lowered(p));
      } while (++index < 3);
      if (index > 0) {
        const distance = index == 1 ? rep1 : index == 2 ? rep2 : rep3;
        if (index == 3) rep3 = rep2;
        if (index >= 2) rep2 = rep1;
        rep1 = rep0;
        rep0 = distance;
      } else {
        if (range < TOP) {
          range <<= 8;
          code = (code << 8) | load<u8>(input++);
        }
        p = load<u16>(place, IS_REP0_LONG);
        bound = (range >>> 11) * p;
        if (code < bound) {
          // One byte at rep0.
          range = bound;
          store<u16>(place, raised(p), IS_REP0_LONG);
          if (<usize>rep0 >= out - start) {
            status = CORRUPT;
            break;
          }
          if (out >= limit) {
            status = FULL;
            break;
          }
          previous = load<u8>(out - <usize>rep0 - 1);
          store<u8>(out++, previous);
          state = state < FIRST_MATCH_STATE ? 9 : 11;
          continue;
        }
        range -= bound;
        code -= bound;
        store<u16>(place, lowered(p), IS_REP0_LONG);
      }
      lengths = base + REP_LENGTHS;
    }

    // The length: up to two choices of a tree, of 3, 3 or 8 bits.
    let choice: usize = 0;
    do {
      const where = lengths + (choice << 1);
      if (range < TOP) {
        range <<= 8;
        code = (code << 8) | load<u8>(input++);
      }
      p = load<u16>(where);
      bound = (range >>> 11) * p;
      if (code < bound) {
        range = bound;
        store<u16>(where, raised(p));
        break;
      }
      range -= bound;
      code -= bound;
      store<u16>(where, lowered(p));
    } while (++choice < 2);
    const isLong = choice == 2;
    const treeEnd: u32 = isLong ? 256 : 8;
    let tree = lengths + LENGTH_TREES + choice * LENGTH_TREES_BYTES + (isLong ? 0 : positionState << 4);
    let length: u32 = 2 + (<u32>choice << 3);
    node = 1;
    p = load<u16>(tree, 2);
    do {
      const next = tree + (<usize>node << 2);
      const nextZero = <u32>load<u16>(next);
      const nextOne = <u32>load<u16>(next, 2);
      if (range < TOP) {
        range <<= 8;
        code = (code << 8) | load<u8>(input++);
      }
      bound = (range >>> 11) * p;
      const mask = zeroMask(code, bound);
      store<u16>(tree + (<usize>node << 1), adapted(p, mask));
      p = select<u32>(nextOne, nextZero, code >= bound);
      range = select<u32>(bound, range - bound, code < bound);
      code = min<u32>(code, code - bound);
      node = (node << 1) + 1 + mask;
    } while (node < treeEnd);
    length += node - treeEnd;

    if (isRep) {
      state = state < FIRST_MATCH_STATE ? 8 : 11;
    } else {
      state = state < FIRST_MATCH_STATE ? 7 : 10;
      tree = base + SLOTS + (<usize>min<u32>(length - 2, 3) << 7);
      node = 1;
      p = load<u16>(tree, 2);
      do {
        const next = tree + (<usize>node << 2);
        const nextZero = <u32>load<u16>(next);
        const nextOne = <u32>load<u16>(next, 2);
        if (range < TOP) {
          range <<= 8;
          code = (code << 8) | load<u8>(input++);
        }
        bound = (range >>> 11) * p;
        const mask = zeroMask(code, bound);
        store<u16>(tree + (<usize>node << 1), adapted(p, mask));
        p = select<u32>(nextOne, nextZero, code >= bound);
        range = select<u32>(bound, range - bound, code < bound);
        code = min<u32>(code, code - bound);
        node = (node << 1) + 1 + mask;
      } while (node < 64);
      const slot = node - 64;
      if (slot < 4) {
        rep0 = slot;
      } else {
        let footer = (slot >>> 1) - 1;
        rep0 = 2 | (slot & 1);
        if (slot < 14) {
          rep0 <<= footer;
          tree = base + SPECIAL + (<usize>(rep0 - slot) << 1);
        } else {
          footer -= 4;
          do {
            if (range < TOP) {
              range <<= 8;
              code = (code << 8) | load<u8>(input++);
            }
            range >>>= 1;
            // All ones if the code is below the range.
            code -= range;
            const mask = <u32>(<i32>code >> 31);
            code += range & mask;
            rep0 = (rep0 << 1) + (mask + 1);
          } while (--footer > 0);
          rep0 <<= 4;
          tree = base + ALIGN;
          footer = 4;
        }
        // The lowest bits come in reverse.
        node = 1;
        p = load<u16>(tree, 2);
        let shift: u32 = 0;
        do {
          const next = tree + (<usize>node << 2);
          const nextZero = <u32>load<u16>(next);
          const nextOne = <u32>load<u16>(next, 2);
          if (range < TOP) {
            range <<= 8;
            code = (code << 8) | load<u8>(input++);
          }
          bound = (range >>> 11) * p;
          const mask = zeroMask(code, bound);
          store<u16>(tree + (<usize>node << 1), adapted(p, mask));
          p = select<u32>(nextOne, nextZero, code >= bound);
          range = select<u32>(bound, range - bound, code < bound);
          code = min<u32>(code, code - bound);
          node = (node << 1) + 1 + mask;
          rep0 += (mask + 1) << shift;
          shift++;
        } while (--footer > 0);
        if (rep0 == END_MARKER) {
          if (range < TOP) {
            range <<= 8;
            code = (code << 8) | load<u8>(input++);
          }
          status = input > inEnd ? TRUNCATED : DONE;
          break;
        }
      }
    }

    if (<usize>rep0 >= out - start) {
      status = CORRUPT;
      break;
    }
    if (<usize>length > limit - out) {
      status = FULL;
      break;
    }
    const distance = <usize>rep0 + 1;
    copyMatch(out, distance, length, wild);
    out += length;
    previous = load<u8>(out - 1);
  }

  // The last bits of a chunk may leave a byte to be read.
  if (status == PAUSED && range < TOP) {
    range <<= 8;
    code = (code << 8) | load<u8>(input++);
  }
  // An error out of bytes behind the end is a truncation.
  if ((status == PAUSED || status == CORRUPT || status == FULL) && input > inEnd) status = TRUNCATED;
  store<u32>(at, <u32>input, IN);
  store<u32>(at, <u32>out, OUT);
  store<u32>(at, range, RANGE);
  store<u32>(at, code, CODE);
  store<u32>(at, state, STATE);
  store<u32>(at, rep0, REP0);
  store<u32>(at, rep1, REP1);
  store<u32>(at, rep2, REP2);
  store<u32>(at, rep3, REP3);
  return status;
}
