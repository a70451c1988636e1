/** The machine's device tree, as the caller gives it. */
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";

/** arm64/booting.rst, "Setup the device tree": at most 2 MiB. x86 has no limit of its own; the same is taken. */
export const MOST_TREE_BYTES = 2 * 1024 * 1024;

/** A copy of the caller's device tree. Throws DEVICE_TREE_TOO_LARGE above 2 MiB before it is read. */
export function* readTree(source: Source): Task<Uint8Array> {
  if (source.byteLength > MOST_TREE_BYTES) {
    throw new DirectBootError(
      "DEVICE_TREE_TOO_LARGE",
      `${source.name} has ${source.byteLength} bytes, the limit is ${MOST_TREE_BYTES}`,
    );
  }
  return (yield* readBytes(source, 0, source.byteLength)).slice();
}
