/** A Blob or File as a source. */

import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { abortedError } from "../task/run.js";
import { arrived } from "./arrival.js";
import { type BlobLike, isBlob } from "./platform-shapes.js";
import { checkSourceRange, checkTarget, needsNoGuard, type Source } from "./source.js";

// A Blob gives its bytes in buffers of its own: large ranges are read in pieces, so that never much is held twice.
const PIECE_BYTES = 4 * 1024 * 1024;

/** A Blob or File, read at positions. It can't be read synchronously. */
export class BlobSource implements Source {
  /** The File's name, else what the caller calls it. */
  readonly name: string;
  readonly byteLength: number;
  /** @internal */
  get blob(): BlobLike {
    return this.#blob;
  }

  readonly #blob: BlobLike;

  constructor(blob: BlobLike, name = "blob") {
    if (!isBlob(blob)) throw wrongType("blob", "a Blob", blob);
    this.#blob = blob;
    this.name = typeof blob.name === "string" && blob.name !== "" ? blob.name : name;
    this.byteLength = blob.size;
    if (new.target === BlobSource) needsNoGuard(this);
  }

  async read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    checkSourceRange(this, offset, target.byteLength);
    const { byteLength } = target;
    for (let done = 0; done < byteLength; ) {
      if (signal?.aborted) throw abortedError(this.name, signal);
      const at = offset + done;
      const length = Math.min(PIECE_BYTES, byteLength - done);
      let piece: ArrayBuffer;
      try {
        piece = await this.#blob.slice(at, at + length).arrayBuffer();
      } catch (cause) {
        if (signal?.aborted) throw abortedError(this.name, signal);
        const said = messageOf(cause);
        throw new DirectBootError("SOURCE_READ", `${this.name}: reading at byte ${at} failed: ${said}`, {
          cause,
        });
      }
      if (signal?.aborted) throw abortedError(this.name, signal);
      if (piece.byteLength !== length) {
        throw new DirectBootError(
          "SOURCE_SHORT",
          `${this.name}: it ended at byte ${at + piece.byteLength}, ${byteLength} bytes from ${offset} were asked for`,
        );
      }
      checkTarget(this.name, target, byteLength);
      target.set(new Uint8Array(piece), done);
      arrived(this, at, at + length);
      done += length;
    }
  }
}
