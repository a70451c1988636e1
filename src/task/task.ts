/** The one protocol for computations that read, work or wait. */
import type { Source } from "../sources/source.js";

/** Bytes that are needed next. */
export interface ReadRequest {
  readonly source: Source;
  readonly offset: number;
  readonly length: number;
  /** As many of `length` bytes from the start as there are. */
  readonly isHead?: true;
  /** All of the source, however long it is; one of unknown length is read to its end. */
  readonly isWhole?: true;
}

/** Work that takes long, in steps: the asynchronous driver gives others a turn between two, and heeds the signal. */
export interface WorkRequest {
  readonly work: Generator<unknown, Uint8Array>;
}

/** What takes a promise, such as code that is loaded on demand: the asynchronous driver waits for it. */
export interface LoadRequest {
  readonly load: () => Promise<void>;
}

/** A computation that reads: yields requests, is handed the bytes, returns `T`. */
export type Task<T> = Generator<ReadRequest | WorkRequest | LoadRequest, T, Uint8Array>;
