import type { IdentityMap } from "./identity-map.js";

/**
 * The hot paths over one buffer. Offsets and lengths are bytes within it; they are not checked here (validate
 * at the border). Both implementations, WASM and JavaScript, give the same bytes and results.
 */
export interface BufferHotPaths {
  readonly implementation: HotPathImplementation;
  /** Writes the tables of `map` at `offset`; the memory need not be zero before. */
  identityMap(offset: number, map: IdentityMap): void;
  /**
   * Writes `count` page table entries at `offset`: `address | bits | encryption`, the address growing by `step`. No
   * address may reach the bits that are or-ed in.
   */
  entries(
    offset: number,
    count: number,
    address: number,
    step: number,
    bits: number,
    encryption: number,
  ): void;
  /** Moves `length` bytes; the ranges may overlap. */
  copy(target: number, source: number, length: number): void;
  /** Sets `length` bytes to zero. */
  zero(offset: number, length: number): void;
  /** The same as copy, and gives the CRC-32 of the bytes, continued from `seed`; in one pass where that is faster. */
  copyCrc32(target: number, source: number, length: number, seed: number): number;
  /** CRC-32 (zlib's) of `length` bytes, continued from `seed`; unsigned. */
  crc32(offset: number, length: number, seed: number): number;
}

/** Which code runs: WebAssembly with SIMD, or the JavaScript twins. */
export type HotPathImplementation = "wasm" | "javascript";
