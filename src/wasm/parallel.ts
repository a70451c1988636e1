/**
 * CRC-32 on two worker threads over one shared WebAssembly.Memory. The workers sleep on a word of the memory itself
 * (Atomics.wait): a message to a worker takes as long as a CRC of some MiB. The range is cut into pieces that whoever is
 * free takes, this thread among them while the range is short: it has done some before the others are awake.
 *
 *     lane of a worker, one page of 64 KiB behind the guest's RAM
 *     0      scratch of the kernel
 *     62976  in the first lane: the board. next piece, pieces, pointer, bytes a piece, length, then the CRCs
 *     65472  state of the worker
 */
import type * as NodeWorkerThreads from "node:worker_threads";
import { combineShifted, shiftOf } from "./crc32-combine.js";

/** Bytes of memory that each worker needs. */
export const LANE_BYTES = 65536;
/** Worker threads. */
export const LANES = 2;
/** Below this many bytes one thread is as fast: waking two takes some 50 microseconds. */
export const LEAST_FOR_PARALLEL = 4 << 20;
/** Up to this many bytes this thread helps: a third of them takes it less than a millisecond. */
const MOST_FOR_HELP = 16 << 20;
const LEAST_PIECE_BYTES = 256 << 10;
const MOST_PIECES = 256;
/** This thread looks for the last pieces for so long before it sleeps: to be woken takes some 100 microseconds. */
const SPIN_MILLISECONDS = 0.1;

/** Offset of the board in the first lane: behind the kernel's scratch. */
export const BOARD = 62976;
const NEXT = 0;
const PIECES = 1;
const POINTER = 2;
const PIECE_BYTES = 3;
const LENGTH = 4;
const RESULTS = 5;
/** Offset of a worker's state in its lane. */
const STATE = 65472;
const IDLE = 0;
const JOB = 1;
const BUSY = 2;
const GONE = 3;

/** A worker leaves after this long without work; the next job starts another. */
const IDLE_MILLISECONDS = 2000;

// Runs in the worker: nothing of this file is there but what stands in the text.
const workerSource = (): string => `
const start = ({ module, memory, board, lane }) => {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const state = new Int32Array(memory.buffer, lane + ${STATE}, 1);
  const words = new Int32Array(memory.buffer, board, ${RESULTS + MOST_PIECES});
  exports.crc32Prepare(lane);
  for (;;) {
    if (Atomics.wait(state, 0, ${IDLE}, ${IDLE_MILLISECONDS}) === "timed-out") {
      if (Atomics.compareExchange(state, 0, ${IDLE}, ${GONE}) === ${IDLE}) return;
    }
    if (Atomics.compareExchange(state, 0, ${JOB}, ${BUSY}) !== ${JOB}) continue;
    for (let i; (i = Atomics.add(words, ${NEXT}, 1)) < words[${PIECES}]; ) {
      const from = i * words[${PIECE_BYTES}];
      const length = Math.min(words[${PIECE_BYTES}], (words[${LENGTH}] >>> 0) - from);
      words[${RESULTS} + i] = exports.crc32((words[${POINTER}] >>> 0) + from, length, 0, lane);
    }
    Atomics.store(state, 0, ${IDLE});
    Atomics.notify(state, 0);
  }
};
`;
const nodeSource = (): string => `${workerSource()}; start(require("node:worker_threads").workerData);`;
const webSource = (): string => `${workerSource()}; onmessage = ({ data }) => start(data);`;

/** What a worker is started with. */
interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Offset of the board. */
  readonly board: number;
  /** Offset of its lane. */
  readonly lane: number;
}

/** Says whether a worker keeps the process alive: only while it has work. */
type KeepAlive = (isWorking: boolean) => void;

/** Starts a worker. */
function startWorker(start: WorkerStart, onError: (cause: unknown) => void): KeepAlive {
  const found: unknown = globalThis.process?.getBuiltinModule?.("node:worker_threads");
  if (found !== undefined) {
    const { Worker: NodeWorker } = found as typeof NodeWorkerThreads;
    const worker = new NodeWorker(nodeSource(), { eval: true, workerData: start });
    worker.on("error", onError);
    return (isWorking) => {
      if (isWorking) worker.ref();
      else worker.unref();
    };
  }
  const url = URL.createObjectURL(new Blob([webSource()], { type: "text/javascript" }));
  const worker = new Worker(url);
  worker.onerror = onError;
  try {
    worker.postMessage(start);
  } catch (cause) {
    worker.terminate();
    throw cause;
  }
  // A page lives as long as it is open.
  return () => {};
}

/** Resolves when a worker has no job; the state is looked at for a moment before this thread sleeps. */
async function untilIdle(state: Int32Array): Promise<void> {
  const isWorking = (): boolean => Atomics.load(state, 0) === JOB || Atomics.load(state, 0) === BUSY;
  for (const end = performance.now() + SPIN_MILLISECONDS; isWorking() && performance.now() < end; );
  while (isWorking()) {
    if (typeof Atomics.waitAsync === "function") {
      // The time-out lets a worker's failure be seen.
      const { value } = Atomics.waitAsync(state, 0, Atomics.load(state, 0), 100);
      await value;
    } else {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
}

/** CRC-32 of a range of the memory, on this thread. */
type Crc32Here = (offset: number, length: number) => number;

/** Two worker threads over one shared memory. */
export class ParallelCrc32 {
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  readonly #crc32Here: Crc32Here;
  readonly #board: Int32Array;
  readonly #states: readonly Int32Array[];
  readonly #workers: (KeepAlive | undefined)[] = [];
  readonly #offset: number;
  #failure: { readonly cause: unknown } | undefined;
  /** Ends when the last job given out does: there is one board. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param offset of {@link LANES} lanes of {@link LANE_BYTES} in `memory` */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, offset: number, crc32Here: Crc32Here) {
    this.#module = module;
    this.#memory = memory;
    this.#offset = offset;
    this.#crc32Here = crc32Here;
    this.#board = new Int32Array(memory.buffer, offset + BOARD, RESULTS + MOST_PIECES);
    this.#states = Array.from(
      { length: LANES },
      (_, lane) => new Int32Array(memory.buffer, offset + lane * LANE_BYTES + STATE, 1),
    );
  }

  /** CRC-32 of a range, continued from `seed`; rejects with what a worker failed of. */
  crc32(offset: number, length: number, seed: number): Promise<number> {
    const job = this.#last.then(() => this.#run(offset, length, seed));
    this.#last = job.catch(() => {});
    return job;
  }

  async #run(offset: number, length: number, seed: number): Promise<number> {
    this.#checkWorkers();
    const board = this.#board;
    const pieceBytes = Math.max(LEAST_PIECE_BYTES, Math.ceil(length / MOST_PIECES / 64) * 64);
    const pieces = Math.ceil(length / pieceBytes);
    board[POINTER] = offset | 0;
    board[LENGTH] = length | 0;
    board[PIECE_BYTES] = pieceBytes;
    board[PIECES] = pieces;
    Atomics.store(board, NEXT, 0);
    for (const [lane, state] of this.#states.entries()) this.#give(lane, state);

    const lengthOf = (piece: number): number => Math.min(pieceBytes, length - piece * pieceBytes);
    if (length <= MOST_FOR_HELP) {
      for (let piece = Atomics.add(board, NEXT, 1); piece < pieces; piece = Atomics.add(board, NEXT, 1)) {
        board[RESULTS + piece] = this.#crc32Here(offset + piece * pieceBytes, lengthOf(piece));
      }
    }
    for (const [lane, state] of this.#states.entries()) {
      // A worker that is not awake yet has nothing left to do where this thread helped.
      if (length <= MOST_FOR_HELP) Atomics.compareExchange(state, 0, JOB, IDLE);
      await untilIdle(state);
      this.#workers[lane]?.(false);
    }
    this.#checkWorkers();

    const shift = shiftOf(pieceBytes);
    let crc = seed;
    for (let piece = 0; piece < pieces; piece++) {
      const last = lengthOf(piece);
      crc = combineShifted(
        crc,
        (board[RESULTS + piece] ?? 0) >>> 0,
        last === pieceBytes ? shift : shiftOf(last),
      );
    }
    return crc;
  }

  /** Throws what a worker failed of. */
  #checkWorkers(): void {
    if (this.#failure !== undefined) throw this.#failure.cause;
  }

  #give(lane: number, state: Int32Array): void {
    const before = Atomics.exchange(state, 0, JOB);
    Atomics.notify(state, 0);
    if (before === GONE || this.#workers[lane] === undefined) {
      const board = this.#offset + BOARD;
      this.#workers[lane] = startWorker(
        { module: this.#module, memory: this.#memory, board, lane: this.#offset + lane * LANE_BYTES },
        (cause) => {
          this.#failure = { cause };
          Atomics.store(state, 0, IDLE);
          Atomics.notify(state, 0);
        },
      );
    }
    this.#workers[lane]?.(true);
  }
}
