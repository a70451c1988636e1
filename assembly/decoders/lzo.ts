// LZO1X (Documentation/staging/lzo.rst of Linux): one block at a time, input and output whole.
import { copyMatch } from "./copy";
import { CORRUPT, DONE, FULL, IN, IN_END, OUT, OUT_LIMIT, OUT_START, OUT_WILD, TRUNCATED } from "./state";

/** The state after a run of literals of four or more. */
const AFTER_LONG_LITERALS: usize = 4;
const SHORT_FAR_DISTANCE: usize = 0x800;
const FAR_DISTANCE: usize = 0x4000;
/** A first byte beyond this is a run of literals. */
const FIRST_RUN: usize = 17;

/** How many zeros come before another byte, which may lie at `end`. */
// @ts-ignore: decorator
@inline
function zerosAt(input: usize, end: usize): usize {
  let at = input;
  while (at < end && load<u8>(at) == 0) at++;
  return at - input;
}

/** Decodes the block [IN, IN_END) to OUT; DONE if its end marker is its last word. */
export function lzo1xRun(state: usize): i32 {
  let input: usize = load<u32>(state, IN);
  const inEnd: usize = load<u32>(state, IN_END);
  let out: usize = load<u32>(state, OUT);
  const start: usize = load<u32>(state, OUT_START);
  const limit: usize = load<u32>(state, OUT_LIMIT);
  const wild: usize = load<u32>(state, OUT_WILD);
  let status = TRUNCATED;
  // The last instruction: 0 a match without literals, 1 to 3 that many literals, 4 a longer run.
  let last: usize = 0;
  let literals: usize = 0;
  let length: usize = 0;
  let distance: usize = 0;

  if (input < inEnd && <usize>load<u8>(input) > FIRST_RUN) {
    literals = <usize>load<u8>(input++) - FIRST_RUN;
    last = literals < 4 ? literals : AFTER_LONG_LITERALS;
  }
  while (true) {
    if (literals > 0) {
      if (literals > inEnd - input) break;
      if (literals > limit - out) {
        status = FULL;
        break;
      }
      if (literals <= 16 && wild - out >= 16) {
        // Input may be read beyond its end.
        v128.store(out, v128.load(input));
      } else {
        memory.copy(out, input, literals);
      }
      out += literals;
      input += literals;
      literals = 0;
    }
    if (input >= inEnd) break;
    const instruction = <usize>load<u8>(input++);
    let next: usize;
    if (instruction < 16) {
      if (last == 0) {
        literals = instruction;
        if (literals == 0) {
          const zeros = zerosAt(input, inEnd);
          input += zeros + 1;
          if (input > inEnd) break;
          literals = 15 + zeros * 255 + <usize>load<u8>(input - 1);
        }
        literals += 3;
        last = AFTER_LONG_LITERALS;
        continue;
      }
      next = instruction & 3;
      if (input >= inEnd) break;
      distance = 1 + (instruction >> 2) + (<usize>load<u8>(input++) << 2);
      length = 2;
      if (last == AFTER_LONG_LITERALS) {
        distance += SHORT_FAR_DISTANCE;
        length = 3;
      }
    } else if (instruction >= 64) {
      next = instruction & 3;
      if (input >= inEnd) break;
      distance = 1 + ((instruction >> 2) & 7) + (<usize>load<u8>(input++) << 3);
      length = (instruction >> 5) + 1;
    } else {
      const isNear = instruction >= 32;
      const mask: usize = isNear ? 31 : 7;
      length = instruction & mask;
      if (length == 0) {
        const zeros = zerosAt(input, inEnd);
        input += zeros + 1;
        if (input > inEnd) break;
        length = mask + zeros * 255 + <usize>load<u8>(input - 1);
      }
      length += 2;
      if (inEnd - input < 2) break;
      const word = <usize>load<u16>(input);
      input += 2;
      next = word & 3;
      distance = word >> 2;
      if (isNear) {
        distance += 1;
      } else {
        distance += (instruction & 8) << 11;
        if (distance == 0) {
          // The end marker is a match of three bytes at no distance.
          status = length == 3 && input == inEnd ? DONE : CORRUPT;
          break;
        }
        distance += FAR_DISTANCE;
      }
    }
    if (distance > out - start) {
      status = CORRUPT;
      break;
    }
    if (length > limit - out) {
      status = FULL;
      break;
    }
    copyMatch(out, distance, length, wild);
    out += length;
    last = next;
    literals = next;
  }
  store<u32>(state, <u32>input, IN);
  store<u32>(state, <u32>out, OUT);
  return status;
}
