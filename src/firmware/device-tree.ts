/** Reading flattened device trees. */
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { malformed, readBlocks, walk } from "./device-tree-format.js";

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

/** A node of a device tree; a copy, independent of the bytes it was read from. */
export interface DeviceTreeNode {
  /** The name with its unit address (`memory@40000000`), one character a byte; the root's is empty. */
  readonly name: string;
  /** Values by name, in the tree's order. Of two properties with one name the first counts, as in libfdt. */
  readonly properties: ReadonlyMap<string, Uint8Array>;
  /** In the tree's order. */
  readonly children: readonly DeviceTreeNode[];
}

/** A node that is being read. */
interface OpenNode extends DeviceTreeNode {
  readonly properties: Map<string, Uint8Array>;
  readonly children: DeviceTreeNode[];
}

/**
 * Reads all of `tree` and returns its root node. At most 16 MiB and 64 levels deep, as in Linux; values are copies. Bytes
 * behind its totalsize are ignored.
 *
 * @throws TypeError if `tree` is no Uint8Array
 * @throws DirectBootError DEVICE_TREE_MALFORMED, or DEVICE_TREE_UNSUPPORTED_VERSION
 */
export function readDeviceTree(tree: Uint8Array): DeviceTreeNode {
  const blocks = readBlocks(tree);
  const open: OpenNode[] = [];
  let root: DeviceTreeNode | undefined;
  walk(blocks, {
    beginNode: (name) => {
      const node: OpenNode = { name, properties: new Map(), children: [] };
      open.at(-1)?.children.push(node);
      root ??= node;
      open.push(node);
    },
    property: (name, { start, end }) => {
      const properties = open.at(-1)?.properties;
      if (properties !== undefined && !properties.has(name)) {
        properties.set(name, new Uint8Array(blocks.bytes.subarray(start, end)));
      }
    },
    endNode: () => {
      open.pop();
    },
  });
  if (root === undefined) throw malformed("it has no root node");
  return root;
}
