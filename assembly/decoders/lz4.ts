// LZ4 blocks (lz4_Block_format.md): sequences of a token, literals, a distance and a match. Input may come in
// pieces of any size; the output of a block must fit as a whole.
import { copyMatch, repeatPattern } from "./copy";
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
  OUT_START,
  OUT_WILD,
  OWN,
  TRUNCATED,
} from "./state";

const PHASE: usize = OWN;
const LITERALS: usize = OWN + 4;
const LENGTH: usize = OWN + 8;

// The part of a sequence that comes next. A token with its count of literals, and a match, are read whole, or again when
// more input is there.
const TOKEN: u32 = 0;
const LITERAL_BYTES: u32 = 1;
const MATCH: u32 = 2;

const MINIMUM_MATCH: usize = 4;
const DISTANCE_BYTES: usize = 2;
const LONGEST_SHORT: usize = 15;
/** The fast loop takes at most 1 + 14 + 2 + 1 bytes of input before it looks again where it is. */
const INPUT_MARGIN: usize = 32;
/** The fast loop writes at most 14 + 20 bytes before it looks again, and at most 31 behind what it has checked. */
const OUTPUT_MARGIN: usize = 64;
/** Matches from this distance on are copied in steps of 8 bytes, each of which finds what the last one wrote. */
const SHORT_STEP: usize = 8;
/** Matches from this distance on may be copied in steps of 16 bytes. */
const LONG_STEP: usize = 16;
/** A match of this length is left to the careful code: calls would cost the fast loop its registers. */
const LEAST_LONG_MATCH: usize = 1024;

/** Before the first piece of a block. */
export function lz4Begin(state: usize): void {
  store<u32>(state, TOKEN, PHASE);
}

/**
 * Decodes sequences from IN to OUT as long as they end before `inSafe` and `outSafe`; OUT lies at least LONG_STEP bytes
 * behind `start`. Stops before a sequence that ends elsewhere, that is long, or that is invalid.
 *
 * The path from one token to the next bounds its speed: a load, a shift and an addition. All other work runs in parallel.
 * Hence it does not read the bytes behind a token one by one, and avoids branches even at the cost of more instructions:
 * one unpredictable branch costs more than a whole sequence.
 */
function decodeWhole(state: usize, inSafe: usize, outSafe: usize, start: usize): void {
  // The address of a distance, two bytes before the token: there the offset of the load adds them at no cost.
  let input: usize = <usize>load<u32>(state, IN) - DISTANCE_BYTES;
  let out: usize = load<u32>(state, OUT);
  const nearest = start + SHORT_STEP;
  inSafe -= DISTANCE_BYTES;

  while (true) {
    if (input >= inSafe) break;
    if (out >= outSafe) break;
    const token = <usize>load<u8>(input, DISTANCE_BYTES);
    let next = input + DISTANCE_BYTES + 1;
    let to: usize;
    if (token < LONGEST_SHORT << 4) {
      v128.store(out, v128.load(next));
      next += token >> 4;
      to = out + (token >> 4);
    } else {
      let more = <usize>load<u8>(next++);
      let literals: usize = LONGEST_SHORT + more;
      while (more == 255) {
        if (next >= inSafe) break;
        more = <usize>load<u8>(next++);
        literals += more;
      }
      if (next >= inSafe) break;
      if (literals >= inSafe - next) break;
      if (literals >= outSafe - out) break;
      let from = next;
      next += literals;
      to = out;
      do {
        v128.store(to, v128.load(from));
        v128.store(to, v128.load(from, 16), 16);
        to += 32;
        from += 32;
      } while (from < next);
      to = out + literals;
    }

    const distance = <usize>load<u16>(next);
    let length = token & 15;
    if (length != LONGEST_SHORT) {
      length += MINIMUM_MATCH;
      // An unsigned comparison for both ends: a distance below SHORT_STEP becomes a large number.
      if (distance - SHORT_STEP <= to - nearest) {
        const from = to - distance;
        store<u64>(to, load<u64>(from));
        store<u64>(to, load<u64>(from, 8), 8);
        store<u32>(to, load<u32>(from, 16), 16);
        input = next;
        out = to + length;
        continue;
      }
    } else {
      let more = <usize>load<u8>(next++, DISTANCE_BYTES);
      length += more + MINIMUM_MATCH;
      while (more == 255) {
        if (next >= inSafe) break;
        more = <usize>load<u8>(next++, DISTANCE_BYTES);
        length += more;
      }
      if (next >= inSafe) break;
      if (to >= outSafe) break;
      if (length >= outSafe - to) break;
      if (length >= LEAST_LONG_MATCH) break;
      if (distance - LONG_STEP <= to - start - LONG_STEP) {
        let from = to - distance;
        out = to + length;
        do {
          v128.store(to, v128.load(from));
          v128.store(to, v128.load(from, 16), 16);
          to += 32;
          from += 32;
        } while (to < out);
        input = next;
        continue;
      }
    }
    if (distance - 1 >= to - start) break;
    repeatPattern(to, distance, length);
    input = next;
    out = to + length;
  }
  store<u32>(state, <u32>(input + DISTANCE_BYTES), IN);
  store<u32>(state, <u32>out, OUT);
}

/** Goes on with a block; IS_LAST says that it ends at IN_END. */
export function lz4Run(state: usize): i32 {
  let input: usize = load<u32>(state, IN);
  const inEnd: usize = load<u32>(state, IN_END);
  let out: usize = load<u32>(state, OUT);
  const start: usize = load<u32>(state, OUT_START);
  const limit: usize = load<u32>(state, OUT_LIMIT);
  const wild: usize = load<u32>(state, OUT_WILD);
  const atEnd = load<u32>(state, IS_LAST) != 0 ? TRUNCATED : NEED_INPUT;
  let phase = load<u32>(state, PHASE);
  let literals: usize = load<u32>(state, LITERALS);
  let length: usize = load<u32>(state, LENGTH);
  const top = limit < wild ? limit : wild;
  let status = atEnd;

  while (true) {
    if (
      phase == TOKEN &&
      inEnd - input > INPUT_MARGIN &&
      top - out > OUTPUT_MARGIN &&
      out - start >= LONG_STEP
    ) {
      store<u32>(state, <u32>input, IN);
      store<u32>(state, <u32>out, OUT);
      decodeWhole(state, inEnd - INPUT_MARGIN, top - OUTPUT_MARGIN, start);
      input = load<u32>(state, IN);
      out = load<u32>(state, OUT);
    }

    if (phase == TOKEN) {
      if (input >= inEnd) break;
      const token = <usize>load<u8>(input);
      const next = lengthEnd(input + 1, inEnd, token >> 4);
      if (next > inEnd) break;
      literals = lengthOf(input + 1, next, token >> 4);
      length = token & 15;
      input = next;
      phase = LITERAL_BYTES;
    }
    if (phase == LITERAL_BYTES) {
      let count = literals;
      if (count > inEnd - input) count = inEnd - input;
      const isFull = count > limit - out;
      if (isFull) count = limit - out;
      memory.copy(out, input, count);
      out += count;
      input += count;
      literals -= count;
      if (isFull) {
        status = FULL;
        break;
      }
      if (literals > 0) break;
      phase = MATCH;
    }
    if (inEnd - input < DISTANCE_BYTES) {
      // The last sequence of a block has no match.
      if (input == inEnd && atEnd == TRUNCATED) status = DONE;
      break;
    }
    const distance = <usize>load<u16>(input);
    // An unsigned comparison: a distance of 0 becomes the largest number.
    if (distance - 1 >= out - start) {
      status = CORRUPT;
      break;
    }
    const next = lengthEnd(input + DISTANCE_BYTES, inEnd, length);
    if (next > inEnd) break;
    const matched = MINIMUM_MATCH + lengthOf(input + DISTANCE_BYTES, next, length);
    if (matched > limit - out) {
      status = FULL;
      break;
    }
    copyMatch(out, distance, matched, wild);
    input = next;
    out += matched;
    phase = TOKEN;
  }

  store<u32>(state, <u32>input, IN);
  store<u32>(state, <u32>out, OUT);
  store<u32>(state, phase, PHASE);
  store<u32>(state, <u32>literals, LITERALS);
  store<u32>(state, <u32>length, LENGTH);
  return status;
}

/** Behind a length whose four bits in the token are `short`, and whose further bytes begin at `input`. */
function lengthEnd(input: usize, inEnd: usize, short: usize): usize {
  if (short != LONGEST_SHORT) return input;
  while (input < inEnd && load<u8>(input) == 255) input++;
  return input + 1;
}

/** The length. A window of bytes is far from passing 32 bits. */
function lengthOf(input: usize, end: usize, short: usize): usize {
  return end == input ? short : LONGEST_SHORT + 255 * (end - input - 1) + <usize>load<u8>(end - 1);
}
