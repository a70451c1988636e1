/** How an x86 machine lays out RAM of which only the size is known. */
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";

/** [3 GiB, 4 GiB): QEMU's microvm and pc split RAM here; 3-4 GiB is for devices. */
export const LOW_MMIO_GAP = /* @__PURE__ */ new MemoryRange(0xc000_0000n, 0x1_0000_0000n);

/** From 0 up, around the low MMIO gap. */
export function x86LayoutOfSize(size: bigint): MemoryLayout {
  return new MemoryLayout(size, size > LOW_MMIO_GAP.start ? [LOW_MMIO_GAP] : []);
}
