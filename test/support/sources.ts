import { checkSourceRange, type Source, type SyncSource } from "../../src/sources/source.js";

/** Bytes that look random and are the same in every run: xorshift32. */
export function noise(byteLength: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  let state = seed * 0x9e37_79b1 || 1;
  for (let i = 0; i < byteLength; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** Bytes that can only be read asynchronously. */
export function asyncOnly(bytes: Uint8Array, name = "async bytes"): Source {
  const source: Source = {
    name,
    byteLength: bytes.byteLength,
    read: async (target, offset) => {
      checkSourceRange(source, offset, target.byteLength);
      await new Promise((resolve) => setImmediate(resolve));
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
  };
  return source;
}

/** Bytes without `peek`, whose reads from the `failAt`th (from 0) on throw `error`, and which counts them. */
export class BreakingSource implements SyncSource {
  readonly name = "breaking";
  readonly byteLength: number;
  reads = 0;
  readonly #bytes: Uint8Array;
  readonly #failAt: number;
  readonly #error: unknown;

  constructor(bytes: Uint8Array, failAt: number, error: unknown) {
    this.#bytes = bytes;
    this.byteLength = bytes.byteLength;
    this.#failAt = failAt;
    this.#error = error;
  }

  readSync(target: Uint8Array, offset: number): void {
    // A source may have written a part before it fails.
    target.set(this.#bytes.subarray(offset, offset + (target.byteLength >> 1)));
    if (this.reads++ >= this.#failAt) throw this.#error;
    target.set(this.#bytes.subarray(offset, offset + target.byteLength));
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    this.readSync(target, offset);
  }
}
