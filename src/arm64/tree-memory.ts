/** RAM of an arm64 guest, as its device tree has it. */
import { alignUpToPageSize, HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { memoryOfTree } from "../firmware/device-tree-memory.js";
import type { LayoutOfSize } from "../memory/memory-input.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { joinedRanges } from "../memory/memory-range.js";

/**
 * RAM as /memory has it. As in Linux, ranges may overlap, and the parts of pages at their ends do not count
 * (drivers/of/fdt.c, early_init_dt_add_memory_arch).
 *
 * @throws DirectBootError DEVICE_TREE_MEMORY if there is none
 */
export function treeMemory(tree: Uint8Array): MemoryLayout {
  const pages = memoryOfTree(tree)
    .map(({ start, end }) => ({ start: alignUpToPageSize(start), end: end - (end % HV_PAGE_SIZE) }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => (a.start < b.start ? -1 : 1));
  if (pages.length === 0) {
    throw new DirectBootError(
      "DEVICE_TREE_MEMORY",
      'the device tree has no RAM: Linux takes it from nodes /memory@… with device_type = "memory" and a reg that is not empty',
      { cure: "fill in /memory, as a boot loader does, or give the tree of a machine that has RAM" },
    );
  }
  return new MemoryLayout(joinedRanges(pages));
}

/** Lays out RAM as the device tree says. Throws DEVICE_TREE_MEMORY for a size that disagrees with it. */
export function arm64LayoutOfSize(described: MemoryLayout): LayoutOfSize {
  return (size) => {
    if (described.ramSize === size) return described;
    throw new DirectBootError(
      "DEVICE_TREE_MEMORY",
      `memory is ${hex(size)} bytes, /memory of the device tree has ${hex(described.ramSize)} (${described})`,
    );
  };
}

/** Throws DEVICE_TREE_MEMORY unless all RAM of the layout is in /memory, too: Linux knows of no other. */
export function checkTreeMemory(layout: MemoryLayout, described: MemoryLayout): void {
  const unknown = layout.ram.find(({ range }) => !described.isRam(range));
  if (unknown === undefined) return;
  throw new DirectBootError(
    "DEVICE_TREE_MEMORY",
    `RAM at ${unknown.range} is not in /memory of the device tree (${described})`,
    { cure: "give memory where the device tree has it, or a tree for this machine" },
  );
}
