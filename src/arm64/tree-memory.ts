/** RAM of an arm64 guest, as its device tree has it. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { memoryOfTree } from "../firmware/device-tree-memory.js";
import type { LayoutOfSize } from "../memory/memory-input.js";
import { MemoryLayout } from "../memory/memory-layout.js";

/** Without a device tree: where QEMU's virt has its RAM. */
const RAM_START = 0x4000_0000n;

/** RAM as /memory has it; undefined without a tree, or one that does not say. */
export function treeMemory(tree: Uint8Array | undefined): MemoryLayout | undefined {
  const ranges = tree === undefined ? [] : [...memoryOfTree(tree)];
  if (ranges.length === 0) return undefined;
  return new MemoryLayout(ranges.sort((a, b) => (a.start < b.start ? -1 : 1)));
}

/** Lays out RAM as the device tree says. Throws DEVICE_TREE_MEMORY for a size that disagrees with it. */
export function arm64LayoutOfSize(described: MemoryLayout | undefined): LayoutOfSize {
  return (size) => {
    if (described === undefined) return new MemoryLayout([{ start: RAM_START, end: RAM_START + size }]);
    if (described.ramSize === size) return described;
    throw new DirectBootError(
      "DEVICE_TREE_MEMORY",
      `memory is ${hex(size)} bytes, /memory of the device tree has ${hex(described.ramSize)} (${described})`,
    );
  };
}

/** Throws DEVICE_TREE_MEMORY unless all RAM of the layout is in /memory, too: Linux knows of no other. */
export function checkTreeMemory(layout: MemoryLayout, described: MemoryLayout | undefined): void {
  const unknown = layout.ram.find(({ range }) => described?.isRam(range) === false);
  if (unknown === undefined) return;
  throw new DirectBootError(
    "DEVICE_TREE_MEMORY",
    `RAM at ${unknown.range} is not in /memory of the device tree (${described})`,
    { cure: "give memory where the device tree has it, or a tree for this machine" },
  );
}
