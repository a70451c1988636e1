/** Buffers of the host that guest RAM lies in. */
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { DECODER_WORK_PAGES } from "../sources/source.js";
import { isSharedBuffer } from "../wasm/assembly-module.js";
import type { BufferHotPaths } from "../wasm/hot-path-functions.js";
import { hotPaths, hotPathsOverBuffer, hotPathsOverMemory, SCRATCH_BYTES } from "../wasm/hot-paths.js";

/** A buffer that guest memory can lie in. */
export type GuestBuffer = WebAssembly.Memory | ArrayBuffer | SharedArrayBuffer;

const WASM_PAGE_BYTES = 65536;
// WebAssembly core specification, 4.2.6: a memory has at most 2^16 pages.
const MOST_WASM_PAGES = 65536;
/** 4 GiB: the most that one buffer holds. */
export const MOST_FLAT_BYTES = MOST_WASM_PAGES * WASM_PAGE_BYTES;

/** Calls `make`, which allocates `byteLength` bytes. Throws GUEST_MEMORY_TOO_LARGE if the host can't. */
export function allocate<T>(byteLength: number, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    // RangeError from V8, JavaScriptCore and SpiderMonkey alike.
    throw new DirectBootError("GUEST_MEMORY_TOO_LARGE", `${byteLength} bytes can't be allocated`, { cause });
  }
}

/** The bytes of a caller's buffer as they lie now. Throws TypeError if it is none of {@link GuestBuffer}. */
export function bytesOfBuffer(buffer: GuestBuffer): ArrayBufferLike {
  const isMemory = typeof WebAssembly === "object" && buffer instanceof WebAssembly.Memory;
  const bytes: unknown = isMemory ? buffer.buffer : buffer;
  if (bytes instanceof ArrayBuffer || isSharedBuffer(bytes)) return bytes;
  throw new TypeError(
    `buffer must be a WebAssembly.Memory, an ArrayBuffer or a SharedArrayBuffer, got ${describeType(buffer)}`,
  );
}

/** A buffer and the hot paths over it. */
interface Made {
  /** A memory that has grown has a new buffer: ask for it each time. */
  readonly buffer: () => ArrayBufferLike;
  readonly hotPaths: BufferHotPaths;
}

/** A buffer that exists, or is made when it is first needed. */
export class HostBuffer {
  readonly #make: () => Made;
  #made: Made | undefined;
  /** Objects that stand for the buffer, beside this one and its bytes of now. */
  readonly #ids: readonly object[];
  /** The memory, and where decoders may work in it, if there is such a place. */
  readonly work: { readonly memory: WebAssembly.Memory; readonly offset: number } | undefined;

  private constructor(made: Made | (() => Made), ids: readonly object[], work?: HostBuffer["work"]) {
    this.#make = typeof made === "function" ? made : () => made;
    this.#made = typeof made === "function" ? undefined : made;
    this.#ids = ids;
    this.work = work;
  }

  /** False as long as there is nothing in it that could be other than zero. */
  get exists(): boolean {
    return this.#made !== undefined;
  }

  /** The objects that stand for the buffer: see ClaimedBuffer. */
  get ids(): readonly object[] {
    return this.exists ? [this, this.buffer, ...this.#ids] : [this, ...this.#ids];
  }

  #get(): Made {
    this.#made ??= this.#make();
    return this.#made;
  }

  get buffer(): ArrayBufferLike {
    return this.#get().buffer();
  }

  get hotPaths(): BufferHotPaths {
    return this.#get().hotPaths;
  }

  static #ofMemory(memory: WebAssembly.Memory, scratch?: number, workOffset?: number): HostBuffer {
    const made = { buffer: () => memory.buffer, hotPaths: hotPathsOverMemory(memory, scratch) };
    const work = workOffset === undefined ? undefined : { memory, offset: workOffset };
    // The buffer of a shared memory goes on to be its bytes when it has grown.
    return new HostBuffer(made, [memory, memory.buffer], work);
  }

  static #ofBytes(buffer: ArrayBufferLike): HostBuffer {
    return new HostBuffer({ buffer: () => buffer, hotPaths: hotPathsOverBuffer(buffer) }, []);
  }

  /** A buffer of the caller's. Throws TypeError if it is none of {@link GuestBuffer}. */
  static of(buffer: GuestBuffer): HostBuffer {
    const bytes = bytesOfBuffer(buffer);
    const isMemory = typeof WebAssembly === "object" && buffer instanceof WebAssembly.Memory;
    return isMemory ? HostBuffer.#ofMemory(buffer) : HostBuffer.#ofBytes(bytes);
  }

  /** A buffer of `byteLength` zeros, made when it is first needed. */
  static lazy(byteLength: number): HostBuffer {
    const make = (): Made => {
      const buffer = allocate(byteLength, () => new ArrayBuffer(byteLength));
      return { buffer: () => buffer, hotPaths: hotPathsOverBuffer(buffer) };
    };
    return new HostBuffer(make, []);
  }

  /**
   * At least `ramBytes` zeros, up to 4 GiB, in one buffer: a WebAssembly.Memory, where there is WebAssembly. Behind the RAM
   * lie the scratch of the hot paths and that of decoders, unless they would pass 4 GiB.
   */
  static flat(ramBytes: number, shared: boolean): HostBuffer {
    if (typeof WebAssembly !== "object") {
      const make = () => (shared ? new SharedArrayBuffer(ramBytes) : new ArrayBuffer(ramBytes));
      return HostBuffer.#ofBytes(allocate(ramBytes, make));
    }
    const ramPages = Math.ceil(ramBytes / WASM_PAGE_BYTES);
    const scratchPages = ramBytes + SCRATCH_BYTES <= MOST_FLAT_BYTES ? SCRATCH_BYTES / WASM_PAGE_BYTES : 0;
    const workPage = ramPages + scratchPages;
    const hasWork = !shared && workPage + DECODER_WORK_PAGES <= MOST_WASM_PAGES;
    const pages = workPage + (hasWork ? DECODER_WORK_PAGES : 0);
    // Compiled first: making a large memory starts a collection in V8, which every buffer made meanwhile takes part in.
    void hotPaths.implementation;
    const memory = allocate(ramBytes, () =>
      shared
        ? new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
        : new WebAssembly.Memory({ initial: pages }),
    );
    return HostBuffer.#ofMemory(
      memory,
      scratchPages > 0 ? ramPages * WASM_PAGE_BYTES : undefined,
      hasWork ? workPage * WASM_PAGE_BYTES : undefined,
    );
  }
}
