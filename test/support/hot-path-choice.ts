import type { HotPathImplementation } from "../../src/wasm/hot-path-functions.js";
import { hotPaths } from "../../src/wasm/hot-paths.js";

/** Runs `act` over an implementation of the hot paths, and puts back the one that was there. */
export function withHotPaths<T>(choice: HotPathImplementation, act: () => T): T {
  const before = hotPaths.implementation;
  hotPaths.use(choice);
  try {
    return act();
  } finally {
    hotPaths.use(before);
  }
}
