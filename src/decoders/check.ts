/** Checksums of output in the decoders' memory, updated as it grows. */
import type { Workspace } from "./workspace.js";

/** A checksum of the output from an offset on. */
export interface Check {
  /** Adds the output up to offset `end`: all of it, if that is not given. */
  update(end?: number): void;
  /** Compares the checksum of all output with the `byteLength` bytes of input at the position, and passes them. */
  finish(byteLength: number, what: string): void;
}

/**
 * @param take adds bytes in memory and gives how many: all, or whole blocks
 * @param matches compares the checksum with the bytes at `at` of the input; takes the output that is left
 */
function checkBy(
  w: Workspace,
  start: number,
  take: (address: number, byteLength: number) => number,
  matches: (at: number, address: number, byteLength: number) => boolean,
): Check {
  let done = start;
  const update = (end = w.produced): void => {
    done += take(w.outStart + done, end - done) >>> 0;
  };
  const finish = (byteLength: number, what: string): void => {
    w.need(byteLength, `${what}'s checksum`);
    update();
    if (!matches(w.position, w.outStart + done, w.produced - done)) throw w.badChecksum(what);
    w.position += byteLength;
  };
  return { update, finish };
}

/** CRC-32 (IEEE 802.3), stored lowest byte first. */
export function crc32Check(w: Workspace, start: number): Check {
  w.exports.crc32Prepare(w.crc32Scratch);
  let crc = 0;
  const take = (address: number, byteLength: number): number => {
    crc = w.exports.crc32(address, byteLength, crc, w.crc32Scratch);
    return byteLength;
  };
  return checkBy(w, start, take, (at) => crc >>> 0 === w.u32(at));
}

/** CRC-64 of .xz, stored lowest byte first. */
export function crc64Check(w: Workspace, start: number): Check {
  w.exports.crc64Prepare(w.crc64Tables);
  w.bytes.fill(0, w.checkState, w.checkState + 8);
  const take = (address: number, byteLength: number): number => {
    w.exports.crc64(w.checkState, address, byteLength, w.crc64Tables);
    return byteLength;
  };
  const matches = (at: number): boolean =>
    w.bytes.subarray(w.checkState, w.checkState + 8).every((byte, i) => byte === w.u8(at + i));
  return checkBy(w, start, take, matches);
}

/** xxHash-32 or the lower half of xxHash-64, seed 0, lowest byte first. */
export function xxhCheck(w: Workspace, start: number, bits: 32 | 64): Check {
  const { exports, checkState } = w;
  const [begin, take, end] =
    bits === 32
      ? [exports.xxh32Begin, exports.xxh32Update, exports.xxh32End]
      : [exports.xxh64Begin, exports.xxh64Update, exports.xxh64End];
  begin(checkState);
  return checkBy(
    w,
    start,
    (address, byteLength) => take(checkState, address, byteLength),
    (at, address, byteLength) => end(checkState, address, byteLength) >>> 0 === w.u32(at),
  );
}

// FIPS 180-4, 5.3.3 and 4.2.2: the first 32 bits of the fractions of the square roots of the first 8 primes, and of the
// cube roots of the first 64. A table of them would be longer than this.
function sha256Constants(): { initial: number[]; round: number[] } {
  const primes: number[] = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  const root = (prime: number, power: bigint): number => {
    // The integer root of prime · 2^(32 · power), found bit by bit.
    const target = BigInt(prime) << (32n * power);
    let low = 0n;
    for (let bit = 1n << 36n; bit > 0n; bit >>= 1n) if ((low | bit) ** power <= target) low |= bit;
    return Number(low & 0xffff_ffffn);
  };
  return {
    initial: primes.slice(0, 8).map((prime) => root(prime, 2n)),
    round: primes.map((prime) => root(prime, 3n)),
  };
}

/** SHA-256, highest byte first. */
export function sha256Check(w: Workspace, start: number): Check {
  const { initial, round } = sha256Constants();
  const words = (): DataView => new DataView(w.bytes.buffer, w.checkState, 544);
  const set = words();
  for (const [i, word] of [...initial, ...round].entries()) set.setUint32(4 * i, word, true);
  const take = (address: number, byteLength: number): number => {
    const whole = byteLength - (byteLength % 64);
    w.exports.sha256Blocks(w.checkState, address, whole);
    return whole;
  };
  const matches = (at: number, address: number, rest: number): boolean => {
    // The last one or two blocks hold the rest, a one bit, zeros, and the length in bits.
    const padded = new Uint8Array(rest < 56 ? 64 : 128);
    padded.set(w.bytes.subarray(address, address + rest));
    padded[rest] = 0x80;
    new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(w.produced - start) * 8n);
    w.bytes.set(padded, w.window);
    w.exports.sha256Blocks(w.checkState, w.window, padded.length);
    const hash = words();
    return initial.every((_, i) => hash.getUint32(4 * i, true) === w.u32BigEndian(at + 4 * i));
  };
  return checkBy(w, start, take, matches);
}

/** CRC-32 or Adler-32 of bytes in the memory. */
export function sumOf(w: Workspace, isCrc32: boolean, address: number, byteLength: number): number {
  if (!isCrc32) return w.exports.adler32(1, address, byteLength) >>> 0;
  w.exports.crc32Prepare(w.crc32Scratch);
  return w.exports.crc32(address, byteLength, 0, w.crc32Scratch) >>> 0;
}

/** xxHash-32 of the input from the position to `end`, which is all there. It passes through the window. */
export function xxh32OfInput(w: Workspace, end: number): number {
  const { exports, position, filterState: state } = w;
  exports.xxh32Begin(state);
  while (true) {
    const count = w.load(end);
    const taken = exports.xxh32Update(state, w.window, count);
    w.position += taken;
    if (w.position + count - taken < end) continue;
    w.position = position;
    return exports.xxh32End(state, w.window + taken, count - taken) >>> 0;
  }
}
