import { toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";

// The reflected polynomial of IEEE 802.3: bit 31 is x^0, bit 0 is x^31.
const POLYNOMIAL = 0xedb88320;
const X_TO_0 = 0x8000_0000;
const X_TO_8 = 0x0080_0000;

/** a(x) * b(x) mod p(x), reflected. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let bit = 0; bit < 32; bit++) {
    if (((a >>> (31 - bit)) & 1) !== 0) product ^= factor;
    factor = (factor >>> 1) ^ ((factor & 1) === 0 ? 0 : POLYNOMIAL);
  }
  return product;
}

function checkCrc(value: number, name: string): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new TypeError(`${name} must be an unsigned 32-bit integer, got ${describeType(value)}`);
  }
}

/**
 * The CRC-32 of two pieces of data one after the other, from the CRC-32 of each and the length of the second: for
 * pieces that were checked in parallel. As zlib's `crc32_combine`; the time grows with the logarithm of the length.
 *
 * @param a CRC-32 of the first piece
 * @param b CRC-32 of the second piece
 * @param lengthOfB bytes in the second piece
 * @throws TypeError unless the CRCs are unsigned 32-bit integers and the length is an integer from 0 to 2^53 - 1
 *
 * @example
 * ```ts
 * import { crc32, crc32Combine } from "directboot";
 *
 * const bytes = new TextEncoder().encode("123456789");
 * const [first, second] = [bytes.subarray(0, 4), bytes.subarray(4)];
 * console.log(crc32Combine(crc32(first), crc32(second), second.byteLength) === crc32(bytes)); // true
 * ```
 */
export function crc32Combine(a: number, b: number, lengthOfB: number): number {
  checkCrc(a, "a");
  checkCrc(b, "b");
  return combineShifted(a, b, shiftOf(toLength(lengthOfB, "lengthOfB")));
}

/** x^(8 * byteLength) mod p(x), by squaring x^8: what {@link combineShifted} takes for pieces of that length. */
export function shiftOf(byteLength: number): number {
  let shift = X_TO_0;
  let power = X_TO_8;
  for (let rest = byteLength; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shift = multiply(power, shift);
    power = multiply(power, power);
  }
  return shift;
}

/** {@link crc32Combine} for a second piece whose length is known by its {@link shiftOf}. */
export function combineShifted(a: number, b: number, shift: number): number {
  return (multiply(shift, a) ^ b) >>> 0;
}
