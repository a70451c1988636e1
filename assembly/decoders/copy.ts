// Copies of matches: out[i] = out[i - distance].

/** A run of one byte that is longer than this is worth a call of memory.fill. */
const LEAST_FILL: usize = 512;
/** The usual page size of an operating system; any number would do. */
const PAGE_BYTES: usize = 4096;

/**
 * Copies in steps of 16 bytes, scribbling on up to 15 bytes behind. The caller has checked that these lie within
 * OUT_WILD, and that `distance` bytes lie before `out`.
 */
// @ts-ignore: decorator
@inline
export function copyMatchWild(out: usize, distance: usize, length: usize): void {
  const end = out + length;
  if (distance >= 16) {
    let from = out - distance;
    do {
      v128.store(out, v128.load(from));
      from += 16;
      out += 16;
    } while (out < end);
  } else {
    copyNearMatchWild(out, distance, length);
  }
}

/** The same for distances below 16. */
function copyNearMatchWild(out: usize, distance: usize, length: usize): void {
  if (distance == 1 && length >= LEAST_FILL) fill(out, load<u8>(out - 1), length);
  else repeatPattern(out, distance, length);
}

/**
 * The same for distances up to 15: the last `distance` bytes, repeated over 16, are stored over and over.
 */
// @ts-ignore: decorator
@inline
export function repeatPattern(out: usize, distance: usize, length: usize): void {
  // Byte i of the pattern is byte i % distance. With 256 / distance, rounded up, i * inverse >> 8 is i / distance,
  // rounded down, for every i up to 16.
  const inverse: usize = (<usize>255 + distance) / distance;
  const step = (inverse >> 4) * distance;
  const inverses = i16x8.splat(<i16>inverse);
  const distances = i16x8.splat(<i16>distance);
  const low = v128(0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0);
  const high = v128(8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15, 0);
  const fromLow = i16x8.sub(low, i16x8.mul(i16x8.shr_u(i16x8.mul(low, inverses), 8), distances));
  const fromHigh = i16x8.sub(high, i16x8.mul(i16x8.shr_u(i16x8.mul(high, inverses), 8), distances));
  const indices = i8x16.narrow_i16x8_u(fromLow, fromHigh);
  const pattern = i8x16.swizzle(v128.load(out - distance), indices);
  const end = out + length;
  do {
    v128.store(out, pattern);
    out += step;
  } while (out < end);
}

/**
 * A run of one byte. Memory that was never touched holds zeros, and a kernel has megabytes of them: reading them is
 * cheaper than writing them again, which would give each page memory of its own.
 */
function fill(out: usize, byte: u8, length: usize): void {
  const end = out + length;
  if (byte == 0) {
    for (; end - out >= PAGE_BYTES; out += PAGE_BYTES) {
      if (!isZero(out)) memory.fill(out, 0, PAGE_BYTES);
    }
  }
  memory.fill(out, byte, end - out);
}

/** True if PAGE_BYTES at `at` are zeros. */
// @ts-ignore: decorator
@inline
function isZero(at: usize): bool {
  const end = at + PAGE_BYTES;
  do {
    const first = v128.or(v128.load(at), v128.load(at, 16));
    const second = v128.or(v128.load(at, 32), v128.load(at, 48));
    if (v128.any_true(v128.or(first, second))) return false;
    at += 64;
  } while (at < end);
  return true;
}

/** Copies without a byte at or behind `wild`. */
// @ts-ignore: decorator
@inline
export function copyMatch(out: usize, distance: usize, length: usize, wild: usize): void {
  if (length + 16 <= wild - out) copyMatchWild(out, distance, length);
  else copyMatchExact(out, distance, length);
}

/** Byte by byte: near the end of the output. */
export function copyMatchExact(out: usize, distance: usize, length: usize): void {
  if (distance >= length) {
    memory.copy(out, out - distance, length);
    return;
  }
  const end = out + length;
  while (out < end) {
    store<u8>(out, load<u8>(out - distance));
    out++;
  }
}
