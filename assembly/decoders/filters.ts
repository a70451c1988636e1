// The branch filters of .xz (xz-file-format.txt, 5.3.2): relative addresses of calls and jumps were made absolute before
// compression, and are made relative again here, in place. Each function decodes the bytes it can and returns how many:
// the last few might begin an instruction, and are left for the next call.

/** Fields of the x86 filter's state. */
const PREVIOUS_MASK: usize = 0;
const PREVIOUS_POSITION: usize = 4;
const X86_LOOK_AHEAD: usize = 5;
const X86_CALL: u32 = 0xe8;
const X86_JUMP: u32 = 0xe9;

/** Before the first byte. */
export function x86Begin(state: usize): void {
  store<u32>(state, 0, PREVIOUS_MASK);
  store<u32>(state, 0 - <u32>X86_LOOK_AHEAD, PREVIOUS_POSITION);
}

// @ts-ignore: decorator
@inline
function isSign(byte: u32): bool {
  return byte == 0 || byte == 0xff;
}

/**
 * x86: E8 and E9 with 32-bit displacements whose highest byte is 00 or FF. The mask tells at which of the last four
 * bytes an opcode stood that was left alone, and bit 4 that its highest byte would have done.
 */
export function x86Filter(state: usize, pointer: usize, length: usize, position: u32): usize {
  if (length < X86_LOOK_AHEAD) return 0;
  let mask = load<u32>(state, PREVIOUS_MASK);
  let previous = load<u32>(state, PREVIOUS_POSITION);
  if (position - previous > 5) previous = position - 5;
  const stop = length - X86_LOOK_AHEAD;
  let i: usize = 0;
  while (i <= stop) {
    // Sixteen bytes at once where none is an opcode.
    if (i + 15 <= stop) {
      const bytes = v128.and(v128.load(pointer + i), i8x16.splat(<i8>0xfe));
      const found = i8x16.bitmask(i8x16.eq(bytes, i8x16.splat(<i8>0xe8)));
      if (found == 0) {
        i += 16;
        continue;
      }
      i += ctz(found);
    } else if ((<u32>load<u8>(pointer + i) & 0xfe) != X86_CALL) {
      i++;
      continue;
    }
    const at = pointer + i;
    const here = position + <u32>i;
    const apart = here - previous;
    previous = here;
    if (apart > 5) mask = 0;
    else for (let n: u32 = 0; n < apart; n++) mask = (mask & 0x77) << 1;

    const highest = <u32>load<u8>(at, 4);
    const tested = mask >>> 1;
    if (isSign(highest) && tested <= 4 && tested != 3) {
      let source = load<u32>(at, 1);
      let target: u32;
      while (true) {
        target = source - (here + 5);
        if (mask == 0) break;
        // The bytes of the opcode that was left alone must stay so for the encoder, too.
        const bits: u32 = (tested == 4 ? 3 : tested == 2 || tested == 3 ? 2 : tested) << 3;
        if (!isSign((target >>> (24 - bits)) & 0xff)) break;
        source = target ^ ((1 << (32 - bits)) - 1);
      }
      // Bit 24 is the sign of the 25 bits that are kept.
      store<u32>(at, (target & 0x00ff_ffff) | ((target & 0x0100_0000) != 0 ? 0xff00_0000 : 0), 1);
      i += X86_LOOK_AHEAD;
      mask = 0;
    } else {
      i++;
      mask |= 1;
      if (isSign(highest)) mask |= 0x10;
    }
  }
  store<u32>(state, mask, PREVIOUS_MASK);
  store<u32>(state, previous, PREVIOUS_POSITION);
  return i;
}

/** arm64: BL, and ADRP within 512 MiB. */
export function arm64Filter(pointer: usize, length: usize, position: u32): usize {
  let i: usize = 0;
  for (; i + 4 <= length; i += 4) {
    const word = load<u32>(pointer + i);
    const here = position + <u32>i;
    if (word >>> 26 == 0x25) {
      store<u32>(pointer + i, 0x9400_0000 | ((word - (here >>> 2)) & 0x03ff_ffff));
    } else if ((word & 0x9f00_0000) == 0x9000_0000) {
      const source = ((word >>> 29) & 3) | ((word >>> 3) & 0x001f_fffc);
      if (((source + 0x0002_0000) & 0x001c_0000) != 0) continue;
      const target = source - (here >>> 12);
      store<u32>(
        pointer + i,
        (word & 0x9000_001f) |
          ((target & 3) << 29) |
          ((target & 0x0003_fffc) << 3) |
          ((0 - (target & 0x0002_0000)) & 0x00e0_0000),
      );
    }
  }
  return i;
}

/** Delta: each byte is the difference to the one `distance` before, of those in [start, …). */
export function deltaFilter(start: usize, pointer: usize, length: usize, distance: usize): usize {
  let at = pointer - start < distance ? start + distance : pointer;
  for (const end = pointer + length; at < end; at++) {
    store<u8>(at, load<u8>(at) + load<u8>(at - distance));
  }
  return length;
}
