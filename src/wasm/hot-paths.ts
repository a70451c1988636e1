/**
 * The hot paths: WASM over whatever linear memory they are to work in, or their JavaScript twins. The one place that
 * chooses between them.
 */
import { describeType } from "../base/describe.js";
import { type AssemblyModule, ChosenModule } from "./assembly-module.js";
import type { BufferHotPaths, HotPathImplementation } from "./hot-path-functions.js";
import { HOT_PATHS_WASM_BASE64 } from "./hot-paths-wasm.generated.js";
import type { IdentityMap } from "./identity-map.js";
import { crc32Twin, twinHotPaths } from "./twins.js";

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

/** Below this many bytes a copy into WASM costs more than it saves; crc-32 is used. */
const SMALL_BYTES = 256;

// A length of 2^32 does not fit the hot paths' 32-bit parameters: what may be all of 4 GiB goes in two halves.
const FOUR_GIB = 2 ** 32;
const HALF = FOUR_GIB / 2;

const chosen = new ChosenModule<HotPathExports>({
  base64: HOT_PATHS_WASM_BASE64,
  name: "directboot/wasm",
  exports: ["copy", "copyCrc32", "crc32", "crc32Prepare", "entries", "identityMap", "zero"],
  chooser: "hotPaths.use",
});

/** Which hot paths run, and the switch between them. */
export const hotPaths = {
  /** The implementation that runs from now on. The first read compiles the WASM, unless `use` was called before. */
  get implementation(): HotPathImplementation {
    return chosen.implementation;
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
    chosen.use(choice);
  },
};

/** A memory of the hot paths' own, for bytes that lie in no memory of ours. */
interface OwnMemory {
  readonly of: AssemblyModule<HotPathExports>;
  readonly hotPaths: BufferHotPaths;
  readonly bytes: Uint8Array;
}

let own: OwnMemory | undefined;

/** Undefined where the twins run. */
function ownMemory(): OwnMemory | undefined {
  const { module } = chosen;
  if (module !== undefined && own?.of !== module) {
    const memory = new WebAssembly.Memory({ initial: (PIECE_BYTES + SCRATCH_BYTES) / 65536 });
    const hotPaths = attach(module.over(memory), memory, PIECE_BYTES);
    own = { of: module, hotPaths, bytes: new Uint8Array(memory.buffer, 0, PIECE_BYTES) };
  }
  return module && own;
}

/**
 * The chosen hot paths in place over `memory`. `scratch` is the offset of {@link SCRATCH_BYTES} free bytes in it;
 * without, CRCs go through the hot paths' own memory.
 */
export function hotPathsOverMemory(memory: WebAssembly.Memory, scratch: number | undefined): BufferHotPaths {
  const exports = chosen.over(memory);
  return exports === undefined ? twinHotPaths(() => memory.buffer) : attach(exports, memory, scratch);
}

function attach(
  exports: HotPathExports,
  memory: WebAssembly.Memory,
  scratch: number | undefined,
): BufferHotPaths {
  let isPrepared = false;
  const prepare = (where: number): void => {
    if (!isPrepared) exports.crc32Prepare(where);
    isPrepared = true;
  };
  const copy = (target: number, source: number, length: number): void => {
    // All 4 GiB can only be moved onto themselves.
    if (length < FOUR_GIB) exports.copy(target, source, length);
  };
  const crc32 = (offset: number, length: number, seed: number): number => {
    if (scratch === undefined) return crc32Unchecked(new Uint8Array(memory.buffer, offset, length), seed);
    prepare(scratch);
    const first = Math.min(length, HALF);
    const crc = exports.crc32(offset, first, seed, scratch) >>> 0;
    if (length === first) return crc;
    return exports.crc32(offset + first, length - first, crc, scratch) >>> 0;
  };
  // u32 parameters at or above 2^31 come back negative: only results of the CRC leave, and those are made
  // unsigned; pointers wrap to i32 on the way in, which is what WASM expects.
  return {
    implementation: "wasm",
    identityMap(at: number, map: IdentityMap) {
      const { tableAddress, addressBias, gibibytes, encryption, linkIndex, linkTarget } = map;
      exports.identityMap(at, tableAddress, addressBias, gibibytes, encryption, linkIndex, linkTarget);
    },
    entries: exports.entries,
    copy,
    zero: (offset, length) => {
      const first = Math.min(length, HALF);
      exports.zero(offset, first);
      if (length > first) exports.zero(offset + first, length - first);
    },
    copyCrc32: (target, source, length, seed) => {
      // Where the ranges overlap a pass that writes as it reads would read what it wrote.
      const isApart = target + length <= source || source + length <= target;
      if (scratch === undefined || !isApart || length >= FOUR_GIB) {
        copy(target, source, length);
        return crc32(target, length, seed);
      }
      prepare(scratch);
      return exports.copyCrc32(target, source, length, seed, scratch) >>> 0;
    },
    crc32,
  };
}

/** The hot paths over a buffer that WASM can't be attached to: twins in place, CRCs through WASM's own memory. */
export function hotPathsOverBuffer(buffer: ArrayBufferLike): BufferHotPaths {
  return twinHotPaths(() => buffer, crc32Unchecked);
}

/**
 * The `byteLength` bytes that `write` puts at offset 0 of the hot paths that it is handed. They are all zero before
 * if `isZero` says so, else anything.
 */
export function generate(
  byteLength: number,
  write: (hotPaths: BufferHotPaths, isZero: boolean) => void,
): Uint8Array {
  if (byteLength <= PIECE_BYTES) {
    const through = ownMemory();
    if (through !== undefined) {
      write(through.hotPaths, false);
      return through.bytes.slice(0, byteLength);
    }
  } else if (chosen.implementation === "wasm") {
    // The memory is this call's alone: its bytes need no copy.
    const memory = new WebAssembly.Memory({ initial: Math.ceil(byteLength / 65536) });
    write(hotPathsOverMemory(memory, undefined), true);
    return new Uint8Array(memory.buffer, 0, byteLength);
  }
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
  const through = bytes.length < SMALL_BYTES ? undefined : ownMemory();
  if (through === undefined) return crc32Twin(bytes, seed);
  let crc = seed;
  for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
    const piece = bytes.subarray(offset, offset + PIECE_BYTES);
    through.bytes.set(piece);
    crc = through.hotPaths.crc32(0, piece.length, crc);
  }
  return crc;
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
