// Checksums of the containers. CRC-32 is that of the hot paths (../crc32). Each continues from its last result or state.
import { fillTables } from "../crc32";

/** CRC-64 of ECMA-182, reflected, as .xz uses it (xz-file-format.txt, 6). */
const CRC64_POLYNOMIAL: u64 = 0xc96c5795d7870f42;

/** Fills the eight tables at `tables`, 16 KiB. */
export function crc64Prepare(tables: usize): void {
  fillTables<u64>(tables, CRC64_POLYNOMIAL, 8);
}

// @ts-ignore: decorator
@inline
function crc64Byte(tables: usize, table: usize, word: u64, byte: u64): u64 {
  return load<u64>(tables + (table << 11) + ((<usize>(word >>> (byte << 3)) & 0xff) << 3));
}

/** Goes on with the CRC at `state`, 8 bytes, 0 at the start. */
export function crc64(state: usize, pointer: usize, length: usize, tables: usize): void {
  let crc = ~load<u64>(state);
  while (length >= 8) {
    const word = load<u64>(pointer) ^ crc;
    crc =
      crc64Byte(tables, 7, word, 0) ^
      crc64Byte(tables, 6, word, 1) ^
      crc64Byte(tables, 5, word, 2) ^
      crc64Byte(tables, 4, word, 3) ^
      crc64Byte(tables, 3, word, 4) ^
      crc64Byte(tables, 2, word, 5) ^
      crc64Byte(tables, 1, word, 6) ^
      crc64Byte(tables, 0, word, 7);
    pointer += 8;
    length -= 8;
  }
  while (length > 0) {
    crc = (crc >>> 8) ^ load<u64>(tables + ((<usize>(crc ^ <u64>load<u8>(pointer)) & 0xff) << 3));
    pointer++;
    length--;
  }
  store<u64>(state, ~crc);
}

const ADLER_MODULUS: u32 = 65521;
/** The most bytes that can be added before the sums pass 32 bits (RFC 1950 and zlib's NMAX). */
const ADLER_RUN: usize = 5552;

/** Adler-32 (RFC 1950), goes on from `seed`, 1 at the start. */
export function adler32(seed: u32, pointer: usize, length: usize): u32 {
  let low = seed & 0xffff;
  let high = seed >>> 16;
  while (length > 0) {
    const run = length < ADLER_RUN ? length : ADLER_RUN;
    for (const end = pointer + run; pointer < end; pointer++) {
      low += <u32>load<u8>(pointer);
      high += low;
    }
    low %= ADLER_MODULUS;
    high %= ADLER_MODULUS;
    length -= run;
  }
  return (high << 16) | low;
}

// xxHash (doc/xxhash_spec.md), seed 0. The state: four accumulators, then the number of bytes so far. Every call but the
// last takes a multiple of 32 bytes.
const XXH32_1: u32 = 0x9e3779b1;
const XXH32_2: u32 = 0x85ebca77;
const XXH32_3: u32 = 0xc2b2ae3d;
const XXH32_4: u32 = 0x27d4eb2f;
const XXH32_5: u32 = 0x165667b1;

/** Adds a lane to its accumulator, of 32 or 64 bits as the hash. */
// @ts-ignore: decorator
@inline
function round<T>(sum: T, lane: T): T {
  if (sizeof<T>() == 4) return rotl<u32>(sum + lane * XXH32_2, 13) * XXH32_1;
  return rotl<u64>(sum + lane * XXH64_2, 31) * XXH64_1;
}

/** Takes whole stripes of four lanes; returns how many bytes. */
function update<T>(state: usize, pointer: usize, length: usize): usize {
  const lane = sizeof<T>();
  let a = load<T>(state);
  let b = load<T>(state + lane);
  let c = load<T>(state + 2 * lane);
  let d = load<T>(state + 3 * lane);
  const taken = length & ~(4 * lane - 1);
  for (const end = pointer + taken; pointer != end; pointer += 4 * lane) {
    a = round<T>(a, load<T>(pointer));
    b = round<T>(b, load<T>(pointer + lane));
    c = round<T>(c, load<T>(pointer + 2 * lane));
    d = round<T>(d, load<T>(pointer + 3 * lane));
  }
  store<T>(state, a);
  store<T>(state + lane, b);
  store<T>(state + 2 * lane, c);
  store<T>(state + 3 * lane, d);
  const count = state + 4 * lane;
  store<u64>(count, load<u64>(count) + taken);
  return taken;
}

/** The accumulators' starts, of the hash's first two primes, and no bytes so far. */
function begin<T>(state: usize, prime1: T, prime2: T): void {
  const lane = sizeof<T>();
  store<T>(state, prime1 + prime2);
  store<T>(state + lane, prime2);
  store<T>(state + 2 * lane, 0);
  store<T>(state + 3 * lane, <T>0 - prime1);
  store<u64>(state + 4 * lane, 0);
}

/** Before the first byte; 24 bytes at `state`. */
export function xxh32Begin(state: usize): void {
  begin<u32>(state, XXH32_1, XXH32_2);
}

/** Takes whole 16-byte stripes; returns how many bytes. */
export function xxh32Update(state: usize, pointer: usize, length: usize): usize {
  return update<u32>(state, pointer, length);
}

/** The hash after the last bytes, fewer than 16. */
export function xxh32End(state: usize, pointer: usize, length: usize): u32 {
  const before = load<u64>(state, 16);
  let hash: u32;
  if (before >= 16) {
    hash =
      rotl<u32>(load<u32>(state), 1) +
      rotl<u32>(load<u32>(state, 4), 7) +
      rotl<u32>(load<u32>(state, 8), 12) +
      rotl<u32>(load<u32>(state, 12), 18);
  } else {
    hash = XXH32_5;
  }
  hash += <u32>(before + length);
  while (length >= 4) {
    hash = rotl<u32>(hash + load<u32>(pointer) * XXH32_3, 17) * XXH32_4;
    pointer += 4;
    length -= 4;
  }
  while (length > 0) {
    hash = rotl<u32>(hash + <u32>load<u8>(pointer) * XXH32_5, 11) * XXH32_1;
    pointer++;
    length--;
  }
  hash = (hash ^ (hash >>> 15)) * XXH32_2;
  hash = (hash ^ (hash >>> 13)) * XXH32_3;
  return hash ^ (hash >>> 16);
}

const XXH64_1: u64 = 0x9e3779b185ebca87;
const XXH64_2: u64 = 0xc2b2ae3d27d4eb4f;
const XXH64_3: u64 = 0x165667b19e3779f9;
const XXH64_4: u64 = 0x85ebca77c2b2ae63;
const XXH64_5: u64 = 0x27d4eb2f165667c5;

/** Before the first byte; 40 bytes at `state`. */
export function xxh64Begin(state: usize): void {
  begin<u64>(state, XXH64_1, XXH64_2);
}

/** Takes whole 32-byte stripes; returns how many bytes. */
export function xxh64Update(state: usize, pointer: usize, length: usize): usize {
  return update<u64>(state, pointer, length);
}

// @ts-ignore: decorator
@inline
function xxh64Merge(hash: u64, sum: u64): u64 {
  return (hash ^ round<u64>(0, sum)) * XXH64_1 + XXH64_4;
}

/** The lower half of the hash after the last bytes, fewer than 32: all that Zstandard stores. */
export function xxh64End(state: usize, pointer: usize, length: usize): u32 {
  const before = load<u64>(state, 32);
  let hash: u64;
  if (before >= 32) {
    const a = load<u64>(state);
    const b = load<u64>(state, 8);
    const c = load<u64>(state, 16);
    const d = load<u64>(state, 24);
    hash = rotl<u64>(a, 1) + rotl<u64>(b, 7) + rotl<u64>(c, 12) + rotl<u64>(d, 18);
    hash = xxh64Merge(xxh64Merge(xxh64Merge(xxh64Merge(hash, a), b), c), d);
  } else {
    hash = XXH64_5;
  }
  hash += before + <u64>length;
  while (length >= 8) {
    hash = rotl<u64>(hash ^ round<u64>(0, load<u64>(pointer)), 27) * XXH64_1 + XXH64_4;
    pointer += 8;
    length -= 8;
  }
  if (length >= 4) {
    hash = rotl<u64>(hash ^ (<u64>load<u32>(pointer) * XXH64_1), 23) * XXH64_2 + XXH64_3;
    pointer += 4;
    length -= 4;
  }
  while (length > 0) {
    hash = rotl<u64>(hash ^ (<u64>load<u8>(pointer) * XXH64_5), 11) * XXH64_1;
    pointer++;
    length--;
  }
  hash = (hash ^ (hash >>> 33)) * XXH64_2;
  hash = (hash ^ (hash >>> 29)) * XXH64_3;
  return <u32>(hash ^ (hash >>> 32));
}
