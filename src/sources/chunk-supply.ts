/** Chunks of bytes, one at a time: from a ReadableStream, or from whatever gives them. */
import { DirectBootError } from "../base/errors.js";
import type { ByteStream } from "./platform-shapes.js";

/** Gives the chunks of a stream, one at a time. */
export interface ChunkSupply {
  /** True if the end says whether what came before was whole: a load that needs only a part still reads on to it. */
  readonly isCheckedAtEnd?: boolean;
  /** The next chunk, which is the receiver's from then on; undefined at the end. */
  pull(): Promise<unknown>;
  /** Nobody will pull again. Never throws; may be called at any time, also while a pull is under way. */
  cancel(reason: unknown): void;
}

const ignore = (): void => {};

/** The chunks of a ReadableStream. Throws SOURCE_READ if it has a reader already. */
export function supplyOf(stream: ByteStream, name: string): ChunkSupply {
  if (stream.locked) {
    throw new DirectBootError("SOURCE_READ", `${name}: the stream is locked by another reader`);
  }
  const reader = stream.getReader();
  return {
    pull: async () => {
      const { done, value } = await reader.read();
      if (done) {
        reader.releaseLock();
        return undefined;
      }
      // A chunk that is undefined or null is no end.
      return value ?? null;
    },
    cancel: (reason) => {
      try {
        reader.cancel(reason).catch(ignore);
        reader.releaseLock();
      } catch {
        // A reader that was released has nothing left to cancel.
      }
    },
  };
}
