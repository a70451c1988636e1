/**
 * The WASM hot paths: compiled from the inlined bytes at the first call, never at import, and attached to
 * whatever linear memory they are to work in.
 */
import type { BufferHotPaths } from "./hot-path-functions.js";
import { HOT_PATHS_WASM_BASE64 } from "./hot-paths-wasm.generated.js";
import type { IdentityMap } from "./identity-map.js";
import { providedModules } from "./provided.js";

/** What assembly/hot-paths.ts exports; every parameter and result is a number. */
export interface HotPathExports extends Record<string, unknown> {
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
  entries(
    pointer: number,
    count: number,
    address: number,
    step: number,
    bits: number,
    encryption: number,
  ): void;
  copy(target: number, source: number, length: number): void;
  zero(pointer: number, length: number): void;
}

/** Bytes of scratch that the hot paths need behind guest RAM: one 64 KiB page of WebAssembly. */
export const SCRATCH_BYTES = 65536;

/** Host bytes pass through the hot paths' own memory in pieces of this size: within a core's L2 cache. */
const PIECE_BYTES = 262144;

// A length of 2^32 does not fit the hot paths' 32-bit parameters: what may be all of 4 GiB goes in two halves.
const FOUR_GIB = 2 ** 32;
const HALF = FOUR_GIB / 2;

/** The bytes of an inlined module. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  if (typeof Buffer === "function") {
    const decoded = Buffer.from(text, "base64");
    const bytes = new Uint8Array(decoded.byteLength);
    bytes.set(decoded);
    return bytes;
  }
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// The import of an unshared memory as asc writes it: section 2, 15 bytes, one import, "env" "memory", kind
// memory, limits without a maximum, from 0 pages. Shared memory differs in these bytes alone (WebAssembly
// core specification, 5.5.5 and 5.3.8; the threads proposal for flag 3).
const IMPORT_NAME = [0x01, 0x03, 0x65, 0x6e, 0x76, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02];
const UNSHARED_IMPORT = [0x02, 0x0f, ...IMPORT_NAME, 0x00, 0x00];
const SHARED_IMPORT = [0x02, 0x12, ...IMPORT_NAME, 0x03, 0x00, 0x80, 0x80, 0x04];

/**
 * True for a SharedArrayBuffer. By its tag: a page that is not cross-origin isolated has no name for the class, and
 * still gets one out of a shared WebAssembly.Memory.
 */
export function isSharedBuffer(buffer: unknown): buffer is SharedArrayBuffer {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}

/** The module's bytes with its memory import made shared, 0 to 65536 pages. */
export function withSharedMemoryImport(module: Uint8Array): Uint8Array<ArrayBuffer> {
  const at = module.findIndex((_, start) => UNSHARED_IMPORT.every((byte, i) => module[start + i] === byte));
  if (at < 0) throw new TypeError("the hot paths' module has no memory import of the expected form");
  const behind = at + UNSHARED_IMPORT.length;
  const patched = new Uint8Array(module.length + SHARED_IMPORT.length - UNSHARED_IMPORT.length);
  patched.set(module.subarray(0, at));
  patched.set(SHARED_IMPORT, at);
  patched.set(module.subarray(behind), at + SHARED_IMPORT.length);
  return patched;
}

/**
 * A module of assembly/ over `memory`. Only numbers cross the border, so the platform's own instantiation does; what
 * @assemblyscript/loader adds (strings, arrays, classes) took 0.8 ms of a cold process.
 */
export function instantiate<E extends Record<string, unknown>>(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): E {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as E;
}

/** The module of this build: its bytes, decoded anew at each call. */
export function hotPathModuleBytes(): Uint8Array<ArrayBuffer> {
  return decodeBase64(HOT_PATHS_WASM_BASE64);
}

const EXPORTS: readonly (keyof HotPathExports & string)[] = [
  "copy",
  "copyCrc32",
  "crc32",
  "crc32Prepare",
  "entries",
  "identityMap",
  "zero",
];

/** Throws TypeError for a module that is not this version's `directboot/wasm`. */
function checkExports(module: WebAssembly.Module): void {
  const found = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  const missing = EXPORTS.filter((name) => !found.has(name));
  if (missing.length > 0) {
    throw new TypeError(`the module is not directboot/wasm of this version: it lacks ${missing.join(", ")}`);
  }
}

/** A compiled module, and the hot paths' own memory for bytes that lie in no memory of ours. */
export class WasmHotPaths {
  readonly #module: WebAssembly.Module;
  #sharedModule: WebAssembly.Module | undefined;
  #own: { readonly hotPaths: BufferHotPaths; readonly bytes: Uint8Array } | undefined;

  /**
   * Compiles, unless a module is handed in here or was by the build; throws what WebAssembly throws where that is
   * forbidden, and when SIMD is missing.
   */
  constructor(module = providedModules()?.hotPaths) {
    if (module !== undefined) checkExports(module);
    this.#module = module ?? new WebAssembly.Module(hotPathModuleBytes());
  }

  /** The module for shared memories: another memory import. Throws where compiling from bytes is forbidden. */
  get sharedModule(): WebAssembly.Module {
    this.#sharedModule ??= new WebAssembly.Module(withSharedMemoryImport(hotPathModuleBytes()));
    return this.#sharedModule;
  }

  #instantiate(memory: WebAssembly.Memory): HotPathExports {
    const module = isSharedBuffer(memory.buffer) ? this.sharedModule : this.#module;
    return instantiate<HotPathExports>(module, memory);
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
    const exports = this.#instantiate(memory);
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
      entries: (offset, count, address, step, bits, encryption) =>
        exports.entries(offset, count, address, step, bits, encryption),
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
