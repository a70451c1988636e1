/**
 * The JavaScript twins: what runs where WebAssembly or its SIMD is missing or forbidden, and for page tables,
 * copies and fills in buffers that are no WebAssembly.Memory.
 */
import crc32Package from "crc-32";
import type { BufferHotPaths } from "./hot-path-functions.js";
import { type IdentityMap, identityMapBytes } from "./identity-map.js";

// Page table entry bits: Intel SDM, volume 3A, section 4.5.
const LINK = 0x23; // present, read/write, accessed
const LARGE_LEAF = 0xe3; // the same, dirty, large page
const TABLE_BYTES = 4096;
const ENTRIES_PER_TABLE = 512;
const WORDS_PER_TABLE = 1024;
const LARGE_PAGE_BYTES = 0x20_0000;
const TWO_TO_32 = 0x1_0000_0000;

/** CRC-32 of `bytes`, continued from `seed`; unsigned. */
export function crc32Twin(bytes: Uint8Array, seed: number): number {
  return crc32Package.buf(bytes, seed) >>> 0;
}

/** Writes the tables of `map` into `target`, whose length is that of the tables. */
export function identityMapTwin(target: Uint8Array, map: IdentityMap): void {
  inWords(target, (words) => fillIdentityMap(words, map));
}

/**
 * Lets `fill` write all of `target` as 32-bit words. Entries are little-endian 64-bit, as every host of a JavaScript
 * engine is; two halves avoid bigint. A view of words must be aligned: elsewhere they are made beside and copied.
 */
function inWords(target: Uint8Array, fill: (words: Uint32Array) => void): void {
  const isAligned = target.byteOffset % 4 === 0;
  const words = isAligned
    ? new Uint32Array(target.buffer, target.byteOffset, target.byteLength / 4)
    : new Uint32Array(target.byteLength / 4);
  fill(words);
  if (!isAligned) target.set(new Uint8Array(words.buffer));
}

function fillIdentityMap(words: Uint32Array, map: IdentityMap): void {
  const encryptionLow = (map.encryption % TWO_TO_32) | 0;
  const encryptionHigh = (map.encryption / TWO_TO_32) | 0;
  const link = (index: number, address: number): void => {
    words[index * 2] = (address % TWO_TO_32) | LINK | encryptionLow;
    words[index * 2 + 1] = (address / TWO_TO_32) | encryptionHigh;
  };

  let table = 0;
  let next = map.tableAddress + TABLE_BYTES;
  words.fill(0, 0, map.addressBias === 0 ? 2 * WORDS_PER_TABLE : WORDS_PER_TABLE);
  if (map.addressBias === 0) {
    link(0, next);
    if (map.linkIndex >= 0) link(map.linkIndex, map.linkTarget);
    table += ENTRIES_PER_TABLE;
    next += TABLE_BYTES;
  }
  for (let i = 0; i < map.gibibytes; i++) {
    link(table + i, next);
    next += TABLE_BYTES;
  }
  const leaves = words.subarray((table + ENTRIES_PER_TABLE) * 2);
  fillEntries(leaves, map.addressBias, LARGE_PAGE_BYTES, LARGE_LEAF, map.encryption);
}

/** Fills all of `words` with entries, two words each. */
function fillEntries(
  words: Uint32Array,
  firstAddress: number,
  step: number,
  bits: number,
  encryption: number,
): void {
  const encryptionLow = (encryption % TWO_TO_32) | 0;
  const encryptionHigh = (encryption / TWO_TO_32) | 0;
  let address = firstAddress;
  for (let word = 0; word < words.length; ) {
    // As far as the low half does not carry, the high half stays.
    const low = address % TWO_TO_32;
    const high = (address / TWO_TO_32) | encryptionHigh;
    const run = Math.min((words.length - word) / 2, Math.ceil((TWO_TO_32 - low) / step));
    let entry = low | bits | encryptionLow;
    for (const end = word + run * 2; word < end; word += 2) {
      words[word] = entry;
      words[word + 1] = high;
      entry = (entry + step) | 0;
    }
    address += run * step;
  }
}

/** The hot paths over any buffer, in JavaScript; CRCs by `crc32`. */
export function twinHotPaths(buffer: () => ArrayBufferLike, crc32 = crc32Twin): BufferHotPaths {
  const bytesAt = (offset: number, length: number): Uint8Array => new Uint8Array(buffer(), offset, length);
  return {
    implementation: "javascript",
    identityMap(offset, map) {
      identityMapTwin(bytesAt(offset, identityMapBytes(map)), map);
    },
    entries(offset, count, address, step, bits, encryption) {
      inWords(bytesAt(offset, count * 8), (words) => fillEntries(words, address, step, bits, encryption));
    },
    copy: (target, source, length) => {
      new Uint8Array(buffer()).copyWithin(target, source, source + length);
    },
    zero: (offset, length) => {
      bytesAt(offset, length).fill(0);
    },
    copyCrc32: (target, source, length, seed) => {
      const bytes = new Uint8Array(buffer());
      bytes.copyWithin(target, source, source + length);
      return crc32(bytes.subarray(target, target + length), seed);
    },
    crc32: (offset, length, seed) => crc32(bytesAt(offset, length), seed),
  };
}
