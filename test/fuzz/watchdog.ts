/**
 * Watches an execution that may never end: a worker thread, since the main thread could not tell of it. The execution is
 * known by its number, from which its input can be made again.
 */
import { mkdirSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { FAILURES_FOLDER } from "./runner.js";

/** Of the shared counters: the target's number, the execution's, and the run's end. */
const TARGET = 0;
const INDEX = 1;
const IS_OVER = 2;
const POLL_MILLISECONDS = 500;

interface Watched {
  readonly counters: Int32Array;
  readonly names: readonly string[];
  readonly seed: number;
  readonly milliseconds: number;
}

/** Tells the watchdog what is running. */
export interface Watch {
  readonly onExecution: (target: string, index: number) => void;
  readonly stop: () => Promise<void>;
}

/** Starts watching: an execution of more than `milliseconds` is written to a file, and the process is ended. */
export function startWatchdog(names: readonly string[], seed: number, milliseconds: number): Watch {
  const counters = new Int32Array(new SharedArrayBuffer(12));
  const watched: Watched = { counters, names, seed, milliseconds };
  const worker = new Worker(new URL(import.meta.url), { workerData: watched });
  worker.unref();
  return {
    onExecution: (target, index) => {
      Atomics.store(counters, TARGET, names.indexOf(target));
      Atomics.store(counters, INDEX, index);
    },
    stop: async () => {
      Atomics.store(counters, IS_OVER, 1);
      Atomics.notify(counters, IS_OVER);
      await worker.terminate();
    },
  };
}

function watch({ counters, names, seed, milliseconds }: Watched): void {
  let last = "";
  let since = performance.now();
  while (Atomics.wait(counters, IS_OVER, 0, POLL_MILLISECONDS) === "timed-out") {
    const target = names[Atomics.load(counters, TARGET)] ?? "";
    const index = Atomics.load(counters, INDEX);
    const now = `${target}-${seed}-${index}`;
    if (now !== last) {
      last = now;
      since = performance.now();
    }
    if (performance.now() - since < milliseconds) continue;
    mkdirSync(FAILURES_FOLDER, { recursive: true });
    const file = join(FAILURES_FOLDER, `${now}.json`);
    const message = `it did not end within ${milliseconds} ms`;
    writeFileSync(file, `${JSON.stringify({ target, seed, index, message })}\n`);
    writeSync(2, `${target}: ${message}: npm run fuzz -- --replay ${file}\n`);
    process.kill(process.pid, "SIGKILL");
  }
}

if (!isMainThread && workerData !== null && "counters" in workerData) watch(workerData);
