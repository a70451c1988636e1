/**
 * The JavaScript twins: what runs where WebAssembly or its SIMD is missing or forbidden, and for page tables,
 * copies and fills in buffers that are no WebAssembly.Memory.
 */
import crc32Package from "crc-32";
import type { BufferKernels } from "./buffer-kernels.js";
import type { IdentityMap } from "./identity-map.js";

// Page table entry bits: Intel SDM, volume 3A, section 4.5.
const LINK = 0x23; // present, read/write, accessed
const LARGE_LEAF = 0xe3; // the same, dirty, large page
const WORDS_PER_TABLE = 1024;
const LARGE_PAGE_BYTES = 0x20_0000;
const TWO_TO_32 = 0x1_0000_0000;

/** CRC-32 of `bytes`, continued from `seed`; unsigned. */
export function crc32Twin(bytes: Uint8Array, seed: number): number {
  return crc32Package.buf(bytes, seed) >>> 0;
}

/** Writes the tables of `map` into `target`, whose length is that of the tables. */
export function identityMapTwin(target: Uint8Array, map: IdentityMap): void {
  // Page table entries are little-endian 64-bit; two 32-bit halves avoid bigint.
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  const encryptionLow = map.encryption % TWO_TO_32;
  const encryptionHigh = Math.floor(map.encryption / TWO_TO_32);
  const entry = (index: number, address: number, bits: number): void => {
    view.setUint32(index * 8, ((address % TWO_TO_32) | bits | encryptionLow) >>> 0, true);
    view.setUint32(index * 8 + 4, (Math.floor(address / TWO_TO_32) | encryptionHigh) >>> 0, true);
  };

  target.fill(0);
  let index = 0;
  let next = map.tableAddress + 4096;
  if (map.addressBias === 0) {
    entry(0, next, LINK);
    if (map.linkIndex >= 0) entry(map.linkIndex, map.linkTarget, LINK);
    index += WORDS_PER_TABLE / 2;
    next += 4096;
  }
  for (let i = 0; i < map.gibibytes; i++) {
    entry(index + i, next, LINK);
    next += 4096;
  }
  index += WORDS_PER_TABLE / 2;
  const leaves = map.gibibytes * 512;
  for (let i = 0; i < leaves; i++) entry(index + i, map.addressBias + i * LARGE_PAGE_BYTES, LARGE_LEAF);
}

/** The kernels over any buffer, in JavaScript. */
export function twinKernels(buffer: () => ArrayBufferLike): BufferKernels {
  const bytes = (offset: number, length: number): Uint8Array => new Uint8Array(buffer(), offset, length);
  return {
    implementation: "javascript",
    identityMap(offset, map) {
      const tables = (map.addressBias === 0 ? 2 : 1) + map.gibibytes;
      identityMapTwin(bytes(offset, tables * 4096), map);
    },
    copy: (target, source, length) => {
      new Uint8Array(buffer()).copyWithin(target, source, source + length);
    },
    zero: (offset, length) => {
      bytes(offset, length).fill(0);
    },
    crc32: (offset, length, seed) => crc32Twin(bytes(offset, length), seed),
  };
}
