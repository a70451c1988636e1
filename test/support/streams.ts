/** Streams of bytes in chunks, which say what became of them. */

/** A stream that was made, and how it ended. */
export interface MadeStream {
  readonly stream: ReadableStream<Uint8Array>;
  /** Chunks that were pulled so far. */
  readonly pulled: () => number;
  /** True once its reader has cancelled it. */
  readonly isCancelled: () => boolean;
  /** The reason that the reader gave. */
  readonly reason: () => unknown;
}

/** How a made stream behaves. */
export interface StreamShape {
  /** Lengths of the chunks, over and over; 1000 by default. */
  readonly chunks?: readonly number[];
  /** The chunk (from 0) in whose place `error` comes. */
  readonly failAt?: number;
  readonly error?: unknown;
  /** Called before each chunk is given. */
  readonly onPull?: (chunk: number) => void;
}

/** A stream of `bytes`. Each chunk is a copy. */
export function makeStream(bytes: Uint8Array, shape: StreamShape = {}): MadeStream {
  const { chunks = [1000], failAt = Number.POSITIVE_INFINITY, error, onPull } = shape;
  let at = 0;
  let count = 0;
  let isCancelled = false;
  let reason: unknown;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        await Promise.resolve();
        onPull?.(count);
        if (isCancelled) return;
        if (count >= failAt) {
          controller.error(error);
          return;
        }
        if (at >= bytes.byteLength) {
          controller.close();
          return;
        }
        const length = chunks[count++ % chunks.length] ?? 1;
        controller.enqueue(bytes.slice(at, at + length));
        at += length;
      },
      cancel: (why) => {
        isCancelled = true;
        reason = why;
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, pulled: () => count, isCancelled: () => isCancelled, reason: () => reason };
}

/** All bytes of a stream's rest of life: `equal` over large arrays is slow, this is not. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
