/** The one protocol for computations that read, work or wait. */

/** The next thing that a computation needs done, in a synchronous and an asynchronous form with the same outcome. */
export interface Step {
  runSync(): void;
  runAsync(signal?: AbortSignal): Promise<void>;
}

/** A computation that yields its steps to a driver. A step that fails is thrown into it. */
export type Task<T> = Generator<Step, T, void>;

/** One step with a result. */
export function* perform<T>(sync: () => T, async: (signal?: AbortSignal) => Promise<T>): Task<T> {
  const results: T[] = [];
  yield {
    runSync: () => void results.push(sync()),
    runAsync: async (signal) => void results.push(await async(signal)),
  };
  for (const result of results) return result;
  throw new TypeError("the driver went on before the step was done");
}

const PAUSE: Step = {
  runSync: () => {},
  runAsync: () => new Promise((resolve) => setTimeout(resolve, 0)),
};

/** A turn of the event loop between two pieces of long work, in which timers, input and signals come in. */
export function* pause(): Task<void> {
  yield PAUSE;
}
