/** The two drivers of computations. */
import { DirectBootError } from "../base/errors.js";
import type { Task } from "./task.js";

/** The error for work that its signal aborted. */
export function abortedError(name: string, signal: AbortSignal): DirectBootError {
  return new DirectBootError("ABORTED", `${name} was aborted`, { cause: signal.reason });
}

/** Runs `task` to its end synchronously. Throws SOURCE_NOT_SYNCHRONOUS if a step needs to wait. */
export function runSync<T>(task: Task<T>): T {
  let step = task.next();
  while (step.done !== true) {
    try {
      step.value.runSync();
    } catch (cause) {
      step = task.throw(cause);
      continue;
    }
    step = task.next();
  }
  return step.value;
}

/** Runs `task` to its end asynchronously, one step at a time; ABORTED is thrown into it between two. */
export async function runAsync<T>(task: Task<T>, signal?: AbortSignal): Promise<T> {
  if (signal?.aborted) throw abortedError("the load", signal);
  let step = task.next();
  while (step.done !== true) {
    try {
      await step.value.runAsync(signal);
      if (signal?.aborted) throw abortedError("the load", signal);
    } catch (cause) {
      step = task.throw(cause);
      continue;
    }
    step = task.next();
  }
  return step.value;
}
