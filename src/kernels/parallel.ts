/**
 * CRC-32 on two worker threads over one shared WebAssembly.Memory. The workers sleep on a word of the memory itself
 * (Atomics.wait): a message to a worker takes as long as a CRC of some MiB.
 *
 *     lane of a worker, one page of 64 KiB behind the guest's RAM
 *     0      scratch of the kernel
 *     65472  control words: state, pointer, length, seed, result
 */
import type * as NodeWorkerThreads from "node:worker_threads";
import { crc32Combine } from "./crc32-combine.js";

/** Bytes of memory that each worker needs. */
export const LANE_BYTES = 65536;
/** Worker threads. */
export const LANES = 2;
/** Below this many bytes one thread is as fast: waking two takes some 50 microseconds. */
export const LEAST_FOR_PARALLEL = 4 << 20;

/** Offset of the control words in a lane: behind the kernel's scratch. */
export const CONTROL = 65472;
const STATE = 0;
const POINTER = 1;
const LENGTH = 2;
const RESULT = 4;
const IDLE = 0;
const JOB = 1;
const DONE = 2;
const GONE = 3;

/** A worker leaves after this long without work; the next job starts another. */
const IDLE_MILLISECONDS = 2000;

// Runs in the worker: nothing of this file is there but what stands in the text.
const workerSource = (): string => `
const start = ({ module, memory, lane }) => {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const words = new Int32Array(memory.buffer, lane + ${CONTROL}, 5);
  exports.crc32Prepare(lane);
  for (;;) {
    if (Atomics.wait(words, ${STATE}, ${IDLE}, ${IDLE_MILLISECONDS}) === "timed-out") {
      if (Atomics.compareExchange(words, ${STATE}, ${IDLE}, ${GONE}) === ${IDLE}) return;
    }
    if (Atomics.load(words, ${STATE}) === ${JOB}) {
      words[${RESULT}] = exports.crc32(words[${POINTER}], words[${LENGTH}], 0, lane);
      Atomics.store(words, ${STATE}, ${DONE});
      Atomics.notify(words, ${STATE});
    }
    Atomics.wait(words, ${STATE}, ${DONE}, ${IDLE_MILLISECONDS});
  }
};
`;
const nodeSource = (): string => `${workerSource()}; start(require("node:worker_threads").workerData);`;
const webSource = (): string => `${workerSource()}; onmessage = ({ data }) => start(data);`;

/** What a worker is started with. */
interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
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
  worker.postMessage(start);
  // A page lives as long as it is open.
  return () => {};
}

/** Resolves when word `index` is no longer `value`. */
async function untilChanged(words: Int32Array, index: number, value: number): Promise<void> {
  while (Atomics.load(words, index) === value) {
    if (typeof Atomics.waitAsync === "function") {
      // The time-out lets a worker's failure be seen.
      const { value: result } = Atomics.waitAsync(words, index, value, 100);
      await result;
    } else {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
}

/** Two worker threads over one shared memory. */
export class ParallelCrc32 {
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  readonly #lanes: readonly Int32Array[];
  readonly #workers: (KeepAlive | undefined)[] = [];
  readonly #offset: number;
  #failure: { readonly cause: unknown } | undefined;
  /** Ends when the last job given out does: the lanes hold one job at a time. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param offset of {@link LANES} lanes of {@link LANE_BYTES} in `memory` */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, offset: number) {
    this.#module = module;
    this.#memory = memory;
    this.#offset = offset;
    this.#lanes = Array.from(
      { length: LANES },
      (_, lane) => new Int32Array(memory.buffer, offset + lane * LANE_BYTES + CONTROL, 5),
    );
  }

  /** CRC-32 of a range, continued from `seed`; rejects with what a worker failed of. */
  crc32(offset: number, length: number, seed: number): Promise<number> {
    const job = this.#last.then(() => this.#run(offset, length, seed));
    this.#last = job.catch(() => {});
    return job;
  }

  async #run(offset: number, length: number, seed: number): Promise<number> {
    // A lane without its worker would wait for ever.
    if (this.#failure !== undefined) throw this.#failure.cause;
    const half = Math.floor(length / LANES / 64) * 64;
    const ranges = this.#lanes.map((_, lane) => ({
      offset: offset + lane * half,
      length: lane === LANES - 1 ? length - lane * half : half,
    }));
    for (const [lane, range] of ranges.entries()) this.#give(lane, range.offset, range.length);
    let crc = seed;
    for (const [lane, range] of ranges.entries()) {
      crc = crc32Combine(crc, await this.#take(lane), range.length);
    }
    return crc;
  }

  #words(lane: number): Int32Array {
    const words = this.#lanes[lane];
    if (words === undefined) throw new TypeError(`there is no lane ${lane}`);
    return words;
  }

  #give(lane: number, offset: number, length: number): void {
    const words = this.#words(lane);
    words[POINTER] = offset | 0;
    words[LENGTH] = length | 0;
    const before = Atomics.compareExchange(words, STATE, IDLE, JOB);
    if (before === GONE) Atomics.store(words, STATE, JOB);
    Atomics.notify(words, STATE);
    if (before === GONE || this.#workers[lane] === undefined) {
      this.#workers[lane] = startWorker(
        { module: this.#module, memory: this.#memory, lane: this.#offset + lane * LANE_BYTES },
        (cause) => {
          this.#failure = { cause };
          Atomics.store(words, STATE, DONE);
          Atomics.notify(words, STATE);
        },
      );
    }
    this.#workers[lane]?.(true);
  }

  async #take(lane: number): Promise<number> {
    const words = this.#words(lane);
    await untilChanged(words, STATE, JOB);
    this.#workers[lane]?.(false);
    const result = (words[RESULT] ?? 0) >>> 0;
    Atomics.store(words, STATE, IDLE);
    Atomics.notify(words, STATE);
    if (this.#failure !== undefined) throw this.#failure.cause;
    return result;
  }
}
