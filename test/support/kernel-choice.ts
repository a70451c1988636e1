import type { KernelImplementation } from "../../src/wasm/hot-path-functions.js";
import { kernels } from "../../src/wasm/hot-paths.js";

/** Runs `act` over an implementation of the kernels, and puts back the one that was there. */
export function withKernels<T>(choice: KernelImplementation, act: () => T): T {
  const before = kernels.implementation;
  kernels.use(choice);
  try {
    return act();
  } finally {
    kernels.use(before);
  }
}
