/** The two drivers of computations. */
import { DirectBootError, deepenStacks, restoreStacks } from "../base/errors.js";
import type { Step, Task } from "./task.js";

/** The error for work that its signal aborted. */
export function abortedError(name: string, signal: AbortSignal): DirectBootError {
  return new DirectBootError("ABORTED", `${name} was aborted`, { cause: signal.reason });
}

/** The step after this one; `failure` is thrown into the task. Traces of what the task throws end in the caller's line. */
function advance<T>(task: Task<T>, failure?: { readonly cause: unknown }): IteratorResult<Step, T> {
  const limit = deepenStacks();
  try {
    return failure === undefined ? task.next() : task.throw(failure.cause);
  } finally {
    restoreStacks(limit);
  }
}

/** Runs `task` to its end synchronously. Throws SOURCE_NOT_SYNCHRONOUS if a step needs to wait. */
export function runSync<T>(task: Task<T>): T {
  for (let step = advance(task); ; ) {
    if (step.done === true) return step.value;
    let failure: { readonly cause: unknown } | undefined;
    try {
      step.value.runSync();
    } catch (cause) {
      failure = { cause };
    }
    step = advance(task, failure);
  }
}

/** Runs `task` to its end asynchronously, one step at a time; ABORTED is thrown into it between two. */
export async function runAsync<T>(task: Task<T>, signal?: AbortSignal): Promise<T> {
  if (signal?.aborted) throw abortedError("the load", signal);
  for (let step = advance(task); ; ) {
    if (step.done === true) return step.value;
    let failure: { readonly cause: unknown } | undefined;
    try {
      await step.value.runAsync(signal);
      if (signal?.aborted) throw abortedError("the load", signal);
    } catch (cause) {
      failure = { cause };
    }
    step = advance(task, failure);
  }
}
