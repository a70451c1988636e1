/**
 * Parsers are generators that yield read requests. Here are their two drivers: one synchronous, one
 * asynchronous; no parser exists in two copies.
 */
import { DirectBootError } from "../base/errors.js";
import type { LoadRequest, ReadRequest, Task, WorkRequest } from "../task/task.js";
import {
  abortedError,
  checkTarget,
  guardSource,
  hasKnownLength,
  knownLength,
  type Source,
  toSyncSource,
  UNKNOWN_LENGTH,
} from "./source.js";
import { StreamSource } from "./stream.js";

/** Waits for what `load` promises, and gives it. Only under the asynchronous driver. */
export function* loaded<T>(load: () => Promise<T>): Task<T> {
  const found: T[] = [];
  yield {
    load: async () => {
      found.push(await load());
    },
  };
  const [result] = found;
  if (result === undefined) throw new TypeError("what is waited for needs the asynchronous driver");
  return result;
}

const NOTHING = new Uint8Array(0);

/** Has `work` done, and gives its result. */
export function* readWork(work: Generator<unknown, Uint8Array>): Task<Uint8Array> {
  return yield { work };
}

/** Asks for bytes, which are not to be written to: they may be the source's own. */
export function* readBytes(source: Source, offset: number, length: number): Task<Uint8Array> {
  return yield { source, offset, length };
}

/** Asks for the first `length` bytes of a source, or all of a shorter one. */
export function* readHead(source: Source, length: number): Task<Uint8Array> {
  return yield { source, offset: 0, length, isHead: true };
}

/**
 * Asks for all of a source, which is not to be written to.
 *
 * @throws DirectBootError SOURCE_LENGTH_UNKNOWN where it can't be read to its end first, SOURCE_SPOOL_LIMIT if that is too
 *   far, SOURCE_TOO_LARGE if it can't be held
 */
export function* readWhole(source: Source): Task<Uint8Array> {
  return yield { source, offset: 0, length: UNKNOWN_LENGTH, isWhole: true };
}

/** What is asked for, in bytes that are there. */
function bounded(request: ReadRequest): ReadRequest {
  if (request.isWhole === true) return { ...request, length: knownLength(request.source) };
  if (request.isHead !== true) return request;
  const { source, offset } = request;
  return { source, offset, length: Math.min(request.length, source.byteLength) };
}

/** A parser asks for headers and tables: what is larger is driven by a hostile number in them. */
const MOST_BYTES_A_REQUEST = 256 * 1024 * 1024;

function bufferFor(request: ReadRequest): Uint8Array {
  if (request.isWhole === true) {
    try {
      return new Uint8Array(request.length);
    } catch (cause) {
      throw new DirectBootError(
        "SOURCE_TOO_LARGE",
        `${request.source.name}: ${request.length} bytes can't be held at once`,
        { cause },
      );
    }
  }
  if (request.length > MOST_BYTES_A_REQUEST || request.offset + request.length > request.source.byteLength) {
    throw new DirectBootError(
      "SOURCE_SHORT",
      `${request.source.name}: ${request.length} bytes at ${request.offset} are asked for, it has ${request.source.byteLength}`,
    );
  }
  return new Uint8Array(request.length);
}

/** What a request asks for, synchronously. */
function answerSync(step: ReadRequest | WorkRequest | LoadRequest): Uint8Array {
  if ("work" in step) {
    let piece = step.work.next();
    while (piece.done !== true) piece = step.work.next();
    return piece.value;
  }
  if ("load" in step) return NOTHING;
  const request = bounded(step);
  const source = guardSource(request.source);
  const known = source.peek?.(request.offset, request.length);
  if (known !== undefined) return known;
  const synchronous = toSyncSource(source);
  const bytes = bufferFor(request);
  synchronous.readSync(bytes, request.offset);
  return bytes;
}

/** Runs `reading` to its end synchronously; what it asks for and fails is thrown into it. Throws SOURCE_NOT_SYNCHRONOUS if a source can't. */
export function runSync<T>(reading: Task<T>): T {
  let step = reading.next();
  while (step.done !== true) {
    let bytes: Uint8Array;
    try {
      bytes = answerSync(step.value);
    } catch (cause) {
      step = reading.throw(cause);
      continue;
    }
    step = reading.next(bytes);
  }
  return step.value;
}

/** A turn of the event loop, in which timers, input and signals come in. */
function aTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

async function runWork<T>(work: Generator<unknown, T>, signal: AbortSignal | undefined): Promise<T> {
  while (true) {
    const piece = work.next();
    if (piece.done === true) return piece.value;
    await aTurn();
    if (signal?.aborted) {
      const aborted = abortedError("the work", signal);
      // Thrown into it, so that what it holds is given back.
      work.throw(aborted);
      throw aborted;
    }
  }
}

/** Bytes that are taken for a read of a stream before any of them has come. */
const FIRST_BYTES = 1024 * 1024;

/**
 * Reads from a source whose length is not known yet. The length of the request may be a number of a hostile header:
 * nothing but the bytes that come vouches for it, so the buffer grows with them.
 */
async function readOpenEnded(
  source: Source,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  let bytes = new Uint8Array(Math.min(length, FIRST_BYTES));
  for (let done = 0; ; ) {
    await source.read(bytes.subarray(done), offset + done, signal);
    done = bytes.byteLength;
    if (done === length) return bytes;
    const grown = new Uint8Array(Math.min(length, 2 * done));
    grown.set(bytes);
    bytes = grown;
  }
}

/** What a request asks for, when it is there. */
async function answer(
  step: ReadRequest | WorkRequest | LoadRequest,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if ("work" in step) return await runWork(step.work, signal);
  if ("load" in step) {
    await step.load();
    if (signal?.aborted) throw abortedError("the load", signal);
    return NOTHING;
  }
  let asked = step;
  // A stream that ends early tells its length only then.
  if (asked.source instanceof StreamSource && !hasKnownLength(asked.source)) {
    if (asked.isWhole) asked = { ...asked, source: await asked.source.spoolWhole(undefined, signal) };
    // And what a header asks for is not made room for before it is there.
    else await asked.source.spoolHead(asked.offset + asked.length, signal, asked.isHead !== true);
  }
  const request = bounded(asked);
  const source = guardSource(request.source);
  if (signal?.aborted) throw abortedError(source.name, signal);
  const known = source.peek?.(request.offset, request.length);
  if (known !== undefined) return known;
  const { offset, length } = request;
  if (!hasKnownLength(source) && length <= MOST_BYTES_A_REQUEST) {
    return await readOpenEnded(source, offset, length, signal);
  }
  const bytes = bufferFor(request);
  await source.read(bytes, offset, signal);
  return bytes;
}

/** Runs `reading` to its end asynchronously; what it asks for and fails is thrown into it. */
export async function runAsync<T>(reading: Task<T>, signal?: AbortSignal): Promise<T> {
  let step = reading.next();
  while (step.done !== true) {
    let bytes: Uint8Array;
    try {
      bytes = await answer(step.value, signal);
    } catch (cause) {
      step = reading.throw(cause);
      continue;
    }
    step = reading.next(bytes);
  }
  return step.value;
}

/** A piece of work that has a synchronous and an asynchronous form with the same result. */
export interface Effect {
  readonly runSync: () => void;
  readonly runAsync: (signal?: AbortSignal) => Promise<void>;
}

/** Fills `target` from `offset` of `source`; throws GUEST_MEMORY_DETACHED if it goes away meanwhile. */
export function fill(source: Source, target: Uint8Array, offset: number): Effect {
  const guarded = guardSource(source);
  const { byteLength } = target;
  return {
    runSync: () => {
      toSyncSource(guarded).readSync(target, offset);
      checkTarget(guarded.name, target, byteLength);
    },
    runAsync: async (signal) => {
      await guarded.read(target, offset, signal);
      checkTarget(guarded.name, target, byteLength);
    },
  };
}

/** Work as an effect: in one go, or in turns with others. */
export function workEffect(work: Generator<unknown, void>): Effect {
  return {
    runSync: () => {
      while (work.next().done !== true);
    },
    runAsync: (signal) => runWork(work, signal),
  };
}

/** Runs a computation and its effects synchronously. What an effect throws is thrown into the computation. */
export function runEffectsSync<T>(work: Generator<Effect, T, void>): T {
  let step = work.next();
  while (step.done !== true) {
    try {
      step.value.runSync();
    } catch (cause) {
      step = work.throw(cause);
      continue;
    }
    step = work.next();
  }
  return step.value;
}

/** Runs a computation and its effects asynchronously, one at a time; ABORTED is thrown into it between two. */
export async function runEffectsAsync<T>(work: Generator<Effect, T, void>, signal?: AbortSignal): Promise<T> {
  let step = work.next();
  while (step.done !== true) {
    try {
      if (signal?.aborted) throw abortedError("the load", signal);
      await step.value.runAsync(signal);
    } catch (cause) {
      step = work.throw(cause);
      continue;
    }
    step = work.next();
  }
  return step.value;
}
