/**
 * The one place that chooses between the WASM hot paths and their JavaScript twins.
 */
import { describeType } from "../base/describe.js";
import type { BufferHotPaths, HotPathImplementation } from "./hot-path-functions.js";
import { WasmHotPaths } from "./instance.js";
import { crc32Twin, twinHotPaths } from "./twins.js";

/** Below this many bytes a copy into WASM costs more than it saves; crc-32 is used. */
const SMALL_BYTES = 256;

let given: WebAssembly.Module | undefined;
let wasm: WasmHotPaths | undefined;
let implementation: HotPathImplementation | undefined;

function choose(): HotPathImplementation {
  if (implementation === undefined) {
    try {
      wasm = new WasmHotPaths(given);
      implementation = "wasm";
    } catch {
      // No WebAssembly, no SIMD, or a Content-Security-Policy that forbids it: the twins do the same.
      implementation = "javascript";
    }
  }
  return implementation;
}

/** Which hot paths run, and the switch between them. */
export const hotPaths = {
  /** The implementation that runs from now on. The first read compiles the WASM, unless `use` was called before. */
  get implementation(): HotPathImplementation {
    return choose();
  },

  /**
   * Chooses the hot paths for everything that is created from now on: "javascript" forces the twins, "wasm"
   * WebAssembly, a `WebAssembly.Module` made from `directboot/wasm` serves runtimes that forbid compiling from bytes
   * and takes the place of the inlined one, and "auto" chooses again at the next call.
   *
   * @throws TypeError for anything else
   * @throws WebAssembly.CompileError if "wasm" is asked for where it can't be compiled
   */
  use(choice: HotPathImplementation | "auto" | WebAssembly.Module): void {
    if (choice === "auto") {
      implementation = undefined;
      wasm = undefined;
    } else if (choice === "javascript") {
      implementation = "javascript";
    } else if (choice === "wasm") {
      wasm = new WasmHotPaths(given);
      implementation = "wasm";
    } else if (typeof WebAssembly === "object" && choice instanceof WebAssembly.Module) {
      wasm = new WasmHotPaths(choice);
      given = choice;
      implementation = "wasm";
    } else {
      throw new TypeError(
        `hotPaths.use takes "auto", "wasm", "javascript" or a WebAssembly.Module, got ${describeType(choice)}`,
      );
    }
  },
};

/** Compiles the hot paths now, if they are not yet. */
export function prepareHotPaths(): void {
  choose();
}

/** The chosen hot paths over a WebAssembly.Memory; `scratch` as {@link WasmHotPaths.attach} takes it. */
export function hotPathsOverMemory(memory: WebAssembly.Memory, scratch: number | undefined): BufferHotPaths {
  if (choose() === "wasm" && wasm !== undefined) {
    try {
      return wasm.attach(memory, scratch);
    } catch {
      // A shared memory needs a module of its own, made from bytes: not where compiling is forbidden.
    }
  }
  return twinHotPaths(() => memory.buffer);
}

/** The hot paths over a buffer that WASM can't be attached to: twins in place, CRCs through WASM's own memory. */
export function hotPathsOverBuffer(buffer: ArrayBufferLike): BufferHotPaths {
  const twins = twinHotPaths(() => buffer);
  return {
    ...twins,
    copyCrc32: (target, source, length, seed) => {
      twins.copy(target, source, length);
      return crc32Unchecked(new Uint8Array(buffer, target, length), seed);
    },
    crc32: (offset, length, seed) => crc32Unchecked(new Uint8Array(buffer, offset, length), seed),
  };
}

/**
 * The `byteLength` bytes that `write` puts at offset 0 of the hot paths that it is handed. They are all zero before
 * if `isZero` says so, else anything.
 */
export function generate(
  byteLength: number,
  write: (hotPaths: BufferHotPaths, isZero: boolean) => void,
): Uint8Array {
  if (choose() === "wasm" && wasm !== undefined) return wasm.generate(byteLength, write);
  const bytes = new Uint8Array(byteLength);
  write(
    twinHotPaths(() => bytes.buffer),
    true,
  );
  return bytes;
}

/** Throws TypeError unless `seed` is an unsigned 32-bit integer, as crc32 returns. */
export function checkSeed(seed: number): void {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
    throw new TypeError(
      `seed must be an unsigned 32-bit integer, the result of crc32, got ${describeType(seed)}`,
    );
  }
}

function crc32Unchecked(bytes: Uint8Array, seed: number): number {
  if (bytes.length >= SMALL_BYTES && choose() === "wasm" && wasm !== undefined)
    return wasm.crc32(bytes, seed);
  return crc32Twin(bytes, seed);
}

/**
 * CRC-32 of IEEE 802.3, as zlib's `crc32`: reflected polynomial 0xedb88320, init and xor-out 0xffffffff.
 *
 * @param bytes host bytes, over any buffer
 * @param seed the CRC of what came before, to go on from it; 0 at the start
 * @returns the CRC, an unsigned 32-bit integer
 * @throws TypeError if `bytes` is no Uint8Array or `seed` no unsigned 32-bit integer
 *
 * @example
 * ```ts
 * import { crc32 } from "directboot";
 *
 * console.log(crc32(new TextEncoder().encode("123456789")).toString(16)); // cbf43926
 * ```
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`crc32 takes a Uint8Array, got ${describeType(bytes)}`);
  }
  checkSeed(seed);
  return crc32Unchecked(bytes, seed);
}
