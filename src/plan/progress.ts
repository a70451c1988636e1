/** How far a load is, told to the caller while it goes on. */
import { fill } from "../sources/reading.js";
import {
  checkTarget,
  isMade,
  isSyncSource,
  type MadeSource,
  type MemoryPlace,
  needsNoGuard,
  type Source,
  type SyncSource,
} from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";

/** How far a load is. Phases may take turns: an uncompressed kernel is loaded while it is read. */
export type LoadProgress =
  | {
      /** The inputs are read, or downloaded. */
      readonly phase: "read";
      /** Bytes of all inputs that have arrived so far, as they come: compressed ones count as such. */
      readonly loaded: number;
      /** Bytes of all inputs; undefined as long as one does not say how long it is. */
      readonly total: number | undefined;
    }
  | {
      /** "decompress": the kernel is unpacked. "load": data goes to guest memory. */
      readonly phase: "decompress" | "load";
      /** Bytes unpacked, or imported, so far. */
      readonly loaded: number;
      /** Bytes in all; while decompressing what is known of it. */
      readonly total: number;
    };

/** A caller's callback. */
export type OnProgress = (progress: LoadProgress) => void;

// Between two reports; a read of this size costs as much a byte as one of the whole file.
const PROGRESS_BYTES = 8 * 1024 * 1024;

/** Carries what a callback of the caller's threw through code that would take it for a source's failure. */
export class CallbackFailure {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    this.thrown = thrown;
  }
}

/** Counts the bytes of one load and reports them. */
export class ProgressCount {
  readonly #onProgress: OnProgress;
  readonly #total: number;
  #before = 0;
  #within = 0;

  constructor(onProgress: OnProgress, total: number) {
    this.#onProgress = onProgress;
    this.#total = total;
  }

  report(): void {
    try {
      this.#onProgress({ phase: "load", loaded: this.#before + this.#within, total: this.#total });
    } catch (thrown) {
      throw new CallbackFailure(thrown);
    }
  }

  /** Says that a step of `byteLength` bytes is done; `isCounted` if its bytes were reported as they were read. */
  stepDone(byteLength: number, isCounted: boolean): void {
    this.#before += byteLength;
    this.#within = 0;
    if (!isCounted) this.report();
  }

  /** The same source, reporting what is read from it. */
  counted(source: Source): Source {
    const onRead = (byteLength: number): void => {
      this.#within += byteLength;
      this.report();
    };
    const { name, byteLength } = source;
    const task = (target: Uint8Array, offset: number): Task<void> => inPieces(source, target, offset, onRead);
    const made: Source & Partial<SyncSource & MadeSource> = {
      name,
      byteLength,
      read: (target, offset, signal) => runAsync(task(target, offset), signal),
      ...(isSyncSource(source) && {
        readSync: (target: Uint8Array, offset: number) => runSync(task(target, offset)),
      }),
      ...(isMade(source) && { makeInto: (place: MemoryPlace) => source.makeInto(place, onRead) }),
    };
    needsNoGuard(made);
    return made;
  }
}

function* inPieces(
  source: Source,
  target: Uint8Array,
  offset: number,
  onRead: (byteLength: number) => void,
): Task<void> {
  const { byteLength: total } = target;
  for (let done = 0; done < total; done += PROGRESS_BYTES) {
    // Between two pieces a callback or an await may have let the memory grow, which detaches its views.
    checkTarget(source.name, target, total);
    const piece = target.subarray(done, Math.min(done + PROGRESS_BYTES, total));
    yield* fill(source, piece, offset + done);
    onRead(piece.byteLength);
  }
}
