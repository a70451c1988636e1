// LZ4 blocks (lz4_Block_format.md): sequences of a token, literals, a distance and a match. Input may come in
// pieces of any size; the output of a block must fit as a whole.
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
  OUT_START,
  OUT_WILD,
  OWN,
  TRUNCATED,
} from "./state";

const PHASE: usize = OWN;
const LITERALS: usize = OWN + 4;
const LENGTH: usize = OWN + 8;
const DISTANCE: usize = OWN + 12;

// What comes next.
const TOKEN: u32 = 0;
const LITERAL_LENGTH: u32 = 1;
const LITERAL_BYTES: u32 = 2;
const DISTANCE_LOW: u32 = 3;
const DISTANCE_HIGH: u32 = 4;
const MATCH_LENGTH: u32 = 5;
const MATCH_BYTES: u32 = 6;

const MINIMUM_MATCH: usize = 4;
const LONGEST_SHORT: usize = 15;
/** A length beyond this fits no memory. */
const LONGEST: usize = 0x7fff_ffff;
// The fast loop reads at most 1 + 16 + 2 bytes of input and writes at most 16 + 32 of output before it looks again.
const INPUT_MARGIN: usize = 32;
const OUTPUT_MARGIN: usize = 64;

/** Before the first piece of a block. */
export function lz4Begin(state: usize): void {
  store<u32>(state, TOKEN, PHASE);
}

/** Goes on with a block; IS_LAST says that it ends at IN_END. */
export function lz4Run(state: usize): i32 {
  let input: usize = load<u32>(state, IN);
  const inEnd: usize = load<u32>(state, IN_END);
  let out: usize = load<u32>(state, OUT);
  const start: usize = load<u32>(state, OUT_START);
  const limit: usize = load<u32>(state, OUT_LIMIT);
  const wild: usize = load<u32>(state, OUT_WILD);
  const isLast = load<u32>(state, IS_LAST) != 0;
  let phase = load<u32>(state, PHASE);
  let literals: usize = load<u32>(state, LITERALS);
  let length: usize = load<u32>(state, LENGTH);
  let distance: usize = load<u32>(state, DISTANCE);
  const inSafe = inEnd - input > INPUT_MARGIN ? inEnd - INPUT_MARGIN : input;
  const top = limit < wild ? limit : wild;
  const outSafe = top - out > OUTPUT_MARGIN ? top - OUTPUT_MARGIN : out;
  let status = CORRUPT;

  while (true) {
    if (phase == TOKEN) {
      while (input < inSafe && out < outSafe) {
        const token = <usize>load<u8>(input);
        literals = token >> 4;
        length = token & 15;
        if (literals < LONGEST_SHORT) {
          v128.store(out, v128.load(input, 1));
          input += 1 + literals;
          out += literals;
        } else {
          let next = input + 1;
          let more: usize;
          do {
            more = <usize>load<u8>(next++);
            literals += more;
          } while (more == 255 && next < inSafe);
          // A length that reaches the end of the fast range is taken again, carefully.
          if (next >= inSafe || literals >= inSafe - next || literals >= outSafe - out) break;
          const end = out + literals;
          do {
            v128.store(out, v128.load(next));
            out += 16;
            next += 16;
          } while (out < end);
          input = next - (out - end);
          out = end;
        }
        distance = <usize>load<u16>(input);
        input += 2;
        // An unsigned comparison: a distance of 0 becomes the largest number.
        if (distance - 1 >= out - start) {
          input -= 2;
          store<u32>(state, <u32>input, IN);
          store<u32>(state, <u32>out, OUT);
          return CORRUPT;
        }
        if (length == LONGEST_SHORT) {
          phase = MATCH_LENGTH;
          let more: usize = 255;
          while (input < inEnd) {
            more = <usize>load<u8>(input++);
            length += more;
            if (more != 255) break;
          }
          if (more == 255) break;
          length += MINIMUM_MATCH;
          phase = MATCH_BYTES;
          if (out >= outSafe || length >= outSafe - out) break;
          phase = TOKEN;
          copyMatchWild(out, distance, length);
          out += length;
        } else {
          length += MINIMUM_MATCH;
          if (distance >= 16) {
            const from = out - distance;
            v128.store(out, v128.load(from));
            store<u32>(out, load<u32>(from, 16), 16);
          } else {
            copyMatchWild(out, distance, length);
          }
          out += length;
        }
      }
    }

    if (phase == TOKEN) {
      if (input >= inEnd) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      const token = <usize>load<u8>(input++);
      literals = token >> 4;
      length = token & 15;
      phase = literals == LONGEST_SHORT ? LITERAL_LENGTH : LITERAL_BYTES;
    }
    if (phase == LITERAL_LENGTH) {
      let more: usize = 255;
      while (input < inEnd) {
        more = <usize>load<u8>(input++);
        literals += more;
        if (more != 255) break;
      }
      if (literals > LONGEST) break;
      if (more == 255) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
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
      if (literals > 0) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      phase = DISTANCE_LOW;
    }
    if (phase == DISTANCE_LOW) {
      if (input >= inEnd) {
        // The last sequence of a block has no match.
        status = isLast ? DONE : NEED_INPUT;
        break;
      }
      distance = <usize>load<u8>(input++);
      phase = DISTANCE_HIGH;
    }
    if (phase == DISTANCE_HIGH) {
      if (input >= inEnd) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      distance |= (<usize>load<u8>(input++)) << 8;
      if (distance - 1 >= out - start) break;
      phase = length == LONGEST_SHORT ? MATCH_LENGTH : MATCH_BYTES;
      if (phase == MATCH_BYTES) length += MINIMUM_MATCH;
    }
    if (phase == MATCH_LENGTH) {
      let more: usize = 255;
      while (input < inEnd) {
        more = <usize>load<u8>(input++);
        length += more;
        if (more != 255) break;
      }
      if (length > LONGEST) break;
      if (more == 255) {
        status = isLast ? TRUNCATED : NEED_INPUT;
        break;
      }
      length += MINIMUM_MATCH;
      phase = MATCH_BYTES;
    }
    if (length > limit - out) {
      status = FULL;
      break;
    }
    if (length + 16 <= wild - out) copyMatchWild(out, distance, length);
    else copyMatchExact(out, distance, length);
    out += length;
    phase = TOKEN;
  }

  store<u32>(state, <u32>input, IN);
  store<u32>(state, <u32>out, OUT);
  store<u32>(state, phase, PHASE);
  store<u32>(state, <u32>literals, LITERALS);
  store<u32>(state, <u32>length, LENGTH);
  store<u32>(state, <u32>distance, DISTANCE);
  return status;
}
