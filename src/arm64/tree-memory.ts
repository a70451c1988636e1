/** RAM of an arm64 guest, as its device tree has it. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { memoryOfTree } from "../firmware/device-tree-memory.js";
import type { LayoutOfSize } from "../memory/memory-input.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";

/** Without a device tree: where QEMU's virt has its RAM. */
const RAM_START = 0x4000_0000n;

/** Lays out RAM as the device tree says. Throws DEVICE_TREE_MEMORY for a size that disagrees with it. */
export function arm64LayoutOfSize(treeMemory: readonly MemoryRange[]): LayoutOfSize {
  return (size) => {
    const [first] = treeMemory;
    if (first === undefined) return new MemoryLayout([{ start: RAM_START, end: RAM_START + size }]);
    const layout = new MemoryLayout([...treeMemory]);
    if (layout.ramSize !== size) {
      throw new DirectBootError(
        "DEVICE_TREE_MEMORY",
        `memory is ${hex(size)} bytes, /memory of the device tree has ${hex(layout.ramSize)} (${layout})`,
      );
    }
    return layout;
  };
}

/** RAM as /memory has it, in ascending order. */
export function treeMemory(tree: Uint8Array | undefined): MemoryRange[] {
  if (tree === undefined) return [];
  return memoryOfTree(tree)
    .map(({ start, end }) => new MemoryRange(start, end))
    .filter((range) => !range.isEmpty)
    .sort((a, b) => (a.start < b.start ? -1 : 1));
}

/**
 * Throws DEVICE_TREE_MEMORY unless all RAM of the layout is in /memory, too: Linux knows of no other.
 */
export function checkTreeMemory(layout: MemoryLayout, memory: readonly MemoryRange[]): void {
  if (memory.length === 0) return;
  const described = new MemoryLayout([...memory]);
  for (const { range } of layout.ram) {
    if (!described.isRam(range)) {
      throw new DirectBootError(
        "DEVICE_TREE_MEMORY",
        `RAM at ${range} is not in /memory of the device tree (${described})`,
        { cure: "give memory where the device tree has it, or a tree for this machine" },
      );
    }
  }
}
