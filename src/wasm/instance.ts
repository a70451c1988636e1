/**
 * The WASM hot paths: compiled from the inlined bytes at the first call, never at import, and attached to
 * whatever linear memory they are to work in.
 */
import { AssemblyModule, checkExports } from "./assembly-module.js";
import type { BufferHotPaths } from "./hot-path-functions.js";
import { HOT_PATHS_WASM_BASE64 } from "./hot-paths-wasm.generated.js";
import type { IdentityMap } from "./identity-map.js";

/** The exports of assembly/hot-paths.ts; every parameter and result is a number. */
export interface HotPathExports
  extends Record<string, unknown>,
    Pick<BufferHotPaths, "entries" | "copy" | "zero"> {
  /** Returns the bytes of scratch that crc32 works in. */
  crc32Prepare(scratch: number): number;
  crc32(pointer: number, length: number, seed: number, scratch: number): number;
  copyCrc32(target: number, pointer: number, length: number, seed: number, scratch: number): number;
  identityMap(
    pointer: number,
    tableAddress: number,
    addressBias: number,
    gibibytes: number,
    encryption: number,
    linkIndex: number,
    linkTarget: number,
  ): void;
}

/** Bytes of scratch that the hot paths need behind guest RAM: one 64 KiB page of WebAssembly. */
export const SCRATCH_BYTES = 65536;

/** Host bytes pass through the hot paths' own memory in pieces of this size: within a core's L2 cache. */
const PIECE_BYTES = 262144;

// A length of 2^32 does not fit the hot paths' 32-bit parameters: what may be all of 4 GiB goes in two halves.
const FOUR_GIB = 2 ** 32;
const HALF = FOUR_GIB / 2;

const EXPORTS: readonly (keyof HotPathExports & string)[] = [
  "copy",
  "copyCrc32",
  "crc32",
  "crc32Prepare",
  "entries",
  "identityMap",
  "zero",
];

/** A compiled module, and the hot paths' own memory for bytes that lie in no memory of ours. */
export class WasmHotPaths {
  readonly #module: AssemblyModule<HotPathExports>;
  #own: { readonly hotPaths: BufferHotPaths; readonly bytes: Uint8Array } | undefined;

  /** Compiles, unless a module is handed in; throws what WebAssembly throws where that is forbidden. */
  constructor(module?: WebAssembly.Module) {
    if (module !== undefined) checkExports("directboot/wasm", module, EXPORTS);
    this.#module = new AssemblyModule(HOT_PATHS_WASM_BASE64, module);
  }

  #ownMemory(): { readonly hotPaths: BufferHotPaths; readonly bytes: Uint8Array } {
    if (this.#own === undefined) {
      const memory = new WebAssembly.Memory({ initial: (PIECE_BYTES + SCRATCH_BYTES) / 65536 });
      const hotPaths = this.attach(memory, PIECE_BYTES);
      this.#own = { hotPaths, bytes: new Uint8Array(memory.buffer, 0, PIECE_BYTES) };
    }
    return this.#own;
  }

  /** CRC-32 of host bytes, copied through the hot paths' own memory. */
  crc32(bytes: Uint8Array, seed: number): number {
    const own = this.#ownMemory();
    let crc = seed;
    for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
      const piece = bytes.subarray(offset, offset + PIECE_BYTES);
      own.bytes.set(piece);
      crc = own.hotPaths.crc32(0, piece.length, crc);
    }
    return crc;
  }

  /** The `byteLength` bytes that `write` puts at offset 0 of a memory; `isZero` says what is there before. */
  generate(byteLength: number, write: (hotPaths: BufferHotPaths, isZero: boolean) => void): Uint8Array {
    if (byteLength > PIECE_BYTES) {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(byteLength / 65536) });
      write(this.attach(memory, undefined), true);
      // The memory is ours alone: its bytes need no copy.
      return new Uint8Array(memory.buffer, 0, byteLength);
    }
    const own = this.#ownMemory();
    write(own.hotPaths, false);
    return own.bytes.slice(0, byteLength);
  }

  /**
   * The hot paths in place over `memory`. `scratch` is the offset of {@link SCRATCH_BYTES} free bytes in it;
   * without, CRCs go through the hot paths' own memory.
   */
  attach(memory: WebAssembly.Memory, scratch: number | undefined): BufferHotPaths {
    const exports = this.#module.over(memory);
    let prepared = false;
    const crc32 = (offset: number, length: number, seed: number): number => {
      if (scratch === undefined) return this.crc32(new Uint8Array(memory.buffer, offset, length), seed);
      if (!prepared) {
        exports.crc32Prepare(scratch);
        prepared = true;
      }
      const first = Math.min(length, HALF);
      const crc = exports.crc32(offset, first, seed, scratch) >>> 0;
      if (length === first) return crc;
      return exports.crc32(offset + first, length - first, crc, scratch) >>> 0;
    };
    // u32 parameters at or above 2^31 come back negative: only results of the CRC leave, and those are made
    // unsigned; pointers wrap to i32 on the way in, which is what WASM expects.
    return {
      implementation: "wasm",
      identityMap(offset: number, map: IdentityMap) {
        exports.identityMap(
          offset,
          map.tableAddress,
          map.addressBias,
          map.gibibytes,
          map.encryption,
          map.linkIndex,
          map.linkTarget,
        );
      },
      entries: exports.entries,
      copy: (target, source, length) => {
        // All 4 GiB can only be moved onto themselves.
        if (length < FOUR_GIB) exports.copy(target, source, length);
      },
      zero: (offset, length) => {
        const first = Math.min(length, HALF);
        exports.zero(offset, first);
        if (length > first) exports.zero(offset + first, length - first);
      },
      copyCrc32: (target, source, length, seed) => {
        // Where the ranges overlap a pass that writes as it reads would read what it wrote.
        const isApart = target + length <= source || source + length <= target;
        if (scratch === undefined || !isApart || length >= FOUR_GIB) {
          if (length < FOUR_GIB) exports.copy(target, source, length);
          return crc32(target, length, seed);
        }
        if (!prepared) {
          exports.crc32Prepare(scratch);
          prepared = true;
        }
        return exports.copyCrc32(target, source, length, seed, scratch) >>> 0;
      },
      crc32,
    };
  }
}
