/** Checksums over output that lies in the decoders' memory, taken as it grows. */
import type { Workspace } from "./workspace.js";

/** A checksum that goes on. */
export interface Check {
  /** Takes the bytes from where it stopped to `end`, an offset of output. */
  update(end: number): void;
  /** Compares with the bytes at `at` of the input; the last bytes up to `end` are taken first. */
  matches(end: number, at: number): boolean;
}

/** CRC-32 (IEEE 802.3), stored lowest byte first. */
export function crc32Check(w: Workspace, start: number): Check {
  w.exports.crc32Prepare(w.crc32Scratch);
  let crc = 0;
  let done = start;
  const update = (end: number): void => {
    crc = w.exports.crc32(w.outStart + done, end - done, crc, w.crc32Scratch) >>> 0;
    done = end;
  };
  return {
    update,
    matches: (end, at) => {
      update(end);
      return crc === w.u32(at);
    },
  };
}

/** CRC-64 of .xz, stored lowest byte first. */
export function crc64Check(w: Workspace, start: number): Check {
  w.exports.crc64Prepare(w.crc64Tables);
  w.bytes.fill(0, w.checkState, w.checkState + 8);
  let done = start;
  const update = (end: number): void => {
    w.exports.crc64(w.checkState, w.outStart + done, end - done, w.crc64Tables);
    done = end;
  };
  return {
    update,
    matches: (end, at) => {
      update(end);
      return w.bytes.subarray(w.checkState, w.checkState + 8).every((byte, i) => byte === w.u8(at + i));
    },
  };
}

/** xxHash-32 or the lower half of xxHash-64, seed 0, lowest byte first. */
export function xxhCheck(w: Workspace, start: number, bits: 32 | 64): Check {
  const { exports } = w;
  if (bits === 32) exports.xxh32Begin(w.checkState);
  else exports.xxh64Begin(w.checkState);
  const take = bits === 32 ? exports.xxh32Update : exports.xxh64Update;
  const finish = bits === 32 ? exports.xxh32End : exports.xxh64End;
  let done = start;
  const update = (end: number): void => {
    done += take(w.checkState, w.outStart + done, end - done) >>> 0;
  };
  return {
    update,
    matches: (end, at) => {
      update(end);
      return finish(w.checkState, w.outStart + done, end - done) >>> 0 === w.u32(at);
    },
  };
}

// FIPS 180-4, 5.3.3 and 4.2.2: the first 32 bits of the fractions of the square roots of the first 8 primes, and of the
// cube roots of the first 64. A table of the bytes would be longer than the sum that makes it.
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
  let done = start;
  const update = (end: number): void => {
    const count = end - done - ((end - done) % 64);
    w.exports.sha256Blocks(w.checkState, w.outStart + done, count);
    done += count;
  };
  return {
    update,
    matches: (end, at) => {
      update(end);
      const rest = end - done;
      // The last one or two blocks: the rest, a one bit, zeros, the length in bits.
      const padded = new Uint8Array(rest < 56 ? 64 : 128);
      padded.set(w.bytes.subarray(w.outStart + done, w.outStart + end));
      padded[rest] = 0x80;
      new DataView(padded.buffer).setBigUint64(padded.length - 8, BigInt(end - start) * 8n);
      w.bytes.set(padded, w.window);
      w.exports.sha256Blocks(w.checkState, w.window, padded.length);
      const hash = words();
      for (let i = 0; i < 8; i++) {
        if (hash.getUint32(4 * i, true) !== w.u32BigEndian(at + 4 * i)) return false;
      }
      return true;
    },
  };
}

/** Adler-32 of bytes of the input, of at most a window's length. */
export function adler32Of(w: Workspace, position: number, byteLength: number): number {
  w.bytes.set(w.input.subarray(position, position + byteLength), w.window);
  return w.exports.adler32(1, w.window, byteLength) >>> 0;
}

/** CRC-32 of bytes of the input, of at most a window's length. */
export function crc32Of(w: Workspace, position: number, byteLength: number): number {
  w.bytes.set(w.input.subarray(position, position + byteLength), w.window);
  w.exports.crc32Prepare(w.crc32Scratch);
  return w.exports.crc32(w.window, byteLength, 0, w.crc32Scratch) >>> 0;
}
