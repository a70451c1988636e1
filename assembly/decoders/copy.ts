// Copies of matches: out[i] = out[i - distance].

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

/** The same for distances below 16: the pattern repeats itself. */
export function copyNearMatchWild(out: usize, distance: usize, length: usize): void {
  const end = out + length;
  if (distance == 1) {
    const pattern = i8x16.splat(load<u8>(out - 1));
    do {
      v128.store(out, pattern);
      out += 16;
    } while (out < end);
    return;
  }
  if (distance >= 8) {
    do {
      store<u64>(out, load<u64>(out - distance));
      out += 8;
    } while (out < end);
    return;
  }
  const first = length < 16 ? end : out + 16;
  do {
    store<u8>(out, load<u8>(out - distance));
    out++;
  } while (out < first);
  // 16 bytes of the pattern are there: a multiple of the distance of at least 8 repeats them as well.
  const multiple = ((distance + 7) / distance) * distance;
  while (out < end) {
    store<u64>(out, load<u64>(out - multiple));
    out += 8;
  }
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
