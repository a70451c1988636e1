import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { checkSourceRange, needsNoGuard, type SyncSource } from "./source.js";

/**
 * Bytes in host memory as a source. They are never copied and never modified.
 *
 * @example
 * ```ts
 * import { BytesSource, loadLinuxSync } from "directboot";
 *
 * const initrd = new BytesSource(new Uint8Array(1000), "made here"); // the name is for messages
 * console.log(loadLinuxSync({ kernel: "vmlinuz", initrd, memory: 64 * 1024 * 1024 }).info.initrd?.size); // 1000n
 * ```
 */
export class BytesSource implements SyncSource {
  readonly name: string;
  readonly #bytes: Uint8Array;
  readonly byteLength: number;

  constructor(bytes: Uint8Array, name = "bytes") {
    if (!(bytes instanceof Uint8Array)) throw wrongType("bytes", "a Uint8Array", bytes);
    this.#bytes = bytes;
    this.byteLength = bytes.byteLength;
    this.name = name;
    if (new.target === BytesSource) needsNoGuard(this);
  }

  readSync(target: Uint8Array, offset: number): void {
    target.set(this.peek(offset, target.byteLength));
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    this.readSync(target, offset);
  }

  peek(offset: number, length: number): Uint8Array {
    checkSourceRange(this, offset, length);
    if (this.#bytes.byteLength !== this.byteLength) {
      throw new DirectBootError("SOURCE_READ", `${this.name}: its buffer was detached or resized`);
    }
    // Bytes that were detached before pass for none at all, and have no part that could be looked at.
    return length === 0 ? new Uint8Array(0) : this.#bytes.subarray(offset, offset + length);
  }
}
