/**
 * Parsers are generators that yield read requests. Here are their two drivers: one synchronous, one
 * asynchronous; no parser exists in two copies.
 */
import { DirectBootError } from "../base/errors.js";
import { type Source, type SyncSource, toSyncSource } from "./source.js";

/** Bytes that a parser needs next. */
export interface ReadRequest {
  readonly source: Source;
  readonly offset: number;
  readonly length: number;
}

/** A computation that reads: yields requests, is handed the bytes, returns `T`. */
export type Reading<T> = Generator<ReadRequest, T, Uint8Array>;

/** Asks for bytes; they are valid until the next request and not to be written to. */
export function* readBytes(source: Source, offset: number, length: number): Reading<Uint8Array> {
  return yield { source, offset, length };
}

/** A parser asks for headers and tables: what is larger is driven by a hostile number in them. */
const MOST_BYTES_A_REQUEST = 256 * 1024 * 1024;

function bufferFor(request: ReadRequest): Uint8Array {
  if (request.length > MOST_BYTES_A_REQUEST || request.offset + request.length > request.source.byteLength) {
    throw new DirectBootError(
      "SOURCE_SHORT",
      `${request.source.name}: ${request.length} bytes at ${request.offset} are asked for, it has ${request.source.byteLength}`,
    );
  }
  return new Uint8Array(request.length);
}

/** Runs `reading` to its end synchronously. Throws SOURCE_NOT_SYNCHRONOUS if a source can't. */
export function runSync<T>(reading: Reading<T>): T {
  let step = reading.next();
  while (step.done !== true) {
    const request = step.value;
    let bytes = request.source.peek?.(request.offset, request.length);
    if (bytes === undefined) {
      const source: SyncSource = toSyncSource(request.source);
      bytes = bufferFor(request);
      source.readSync(bytes, request.offset);
    }
    step = reading.next(bytes);
  }
  return step.value;
}

/** Runs `reading` to its end asynchronously. */
export async function runAsync<T>(reading: Reading<T>, signal?: AbortSignal): Promise<T> {
  let step = reading.next();
  while (step.done !== true) {
    const request = step.value;
    let bytes = request.source.peek?.(request.offset, request.length);
    if (bytes === undefined) {
      bytes = bufferFor(request);
      await request.source.read(bytes, request.offset, signal);
    }
    step = reading.next(bytes);
  }
  return step.value;
}
