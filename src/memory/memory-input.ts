/** The RAM that a caller means. */
import { toAddress } from "../base/address.js";
import { describeForeign } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { MemoryInput } from "../linux/options.js";
import { GuestMemory } from "./guest-memory.js";
import type { MemoryClaim } from "./memory-claim.js";
import { MemoryLayout } from "./memory-layout.js";
import { MemoryRange } from "./memory-range.js";

/** x86, [3 GiB, 4 GiB): QEMU's microvm and pc split RAM here; 3-4 GiB is for devices. */
export const LOW_MMIO_GAP = /* @__PURE__ */ new MemoryRange(0xc000_0000n, 0x1_0000_0000n);

/** arm64, without a device tree: where QEMU's virt has its RAM. */
const ARM64_RAM_START = 0x4000_0000n;

/** A layout, and the memory if there is one yet. */
export interface ResolvedMemory {
  readonly layout: MemoryLayout;
  readonly memory: GuestMemory | undefined;
}

/** How an architecture lays out RAM of which only the size is known. */
type LayoutOfSize = (size: bigint) => MemoryLayout;

/** x86: from 0 up, around the low MMIO gap. */
export function x86LayoutOfSize(size: bigint): MemoryLayout {
  return new MemoryLayout(size, size > LOW_MMIO_GAP.start ? [LOW_MMIO_GAP] : []);
}

/** arm64: as the device tree says; a size that disagrees with it is an error. */
export function arm64LayoutOfSize(treeMemory: readonly MemoryRange[]): LayoutOfSize {
  return (size) => {
    const [first] = treeMemory;
    if (first === undefined) {
      if (size === 0n) return new MemoryLayout(size);
      return new MemoryLayout([{ start: ARM64_RAM_START, end: ARM64_RAM_START + size }]);
    }
    const layout = new MemoryLayout([...treeMemory]);
    if (layout.ramSize !== size) {
      throw new DirectBootError(
        "DEVICE_TREE_MEMORY",
        `memory is 0x${size.toString(16)} bytes, /memory of the device tree has 0x${layout.ramSize.toString(16)} (${layout})`,
      );
    }
    return layout;
  };
}

function notMemory(memory: unknown): TypeError {
  return new TypeError(
    `memory must be a number of bytes, a MemoryLayout, a GuestMemory or a buffer, got ${describeForeign(memory, [MemoryLayout, GuestMemory])}`,
  );
}

/** Bytes of RAM of a memory that a caller gave. Throws TypeError if it is none of {@link MemoryInput}. */
export function ramSizeOf(memory: MemoryInput): bigint {
  if (typeof memory === "number" || typeof memory === "bigint") return toAddress(memory, "memory");
  if (memory instanceof MemoryLayout || memory instanceof GuestMemory) return memory.ramSize;
  if (typeof memory !== "object" || memory === null || ArrayBuffer.isView(memory)) throw notMemory(memory);
  const buffer = "buffer" in memory ? memory.buffer : memory;
  const bytes: unknown =
    typeof buffer === "object" && buffer !== null && "buffer" in buffer ? buffer.buffer : buffer;
  const isShared = typeof SharedArrayBuffer === "function" && bytes instanceof SharedArrayBuffer;
  if (!(bytes instanceof ArrayBuffer) && !isShared) throw notMemory(memory);
  return BigInt(bytes.byteLength);
}

/**
 * Makes a layout of what the caller gave, and a guest memory of a buffer.
 *
 * @throws TypeError if it is none of {@link MemoryInput}
 */
export function resolveMemory(memory: MemoryInput, layoutOfSize: LayoutOfSize): ResolvedMemory {
  if (typeof memory === "number" || typeof memory === "bigint") {
    return { layout: layoutOfSize(toAddress(memory, "memory")), memory: undefined };
  }
  if (memory instanceof MemoryLayout) return { layout: memory, memory: undefined };
  if (typeof memory !== "object" || memory === null) throw notMemory(memory);
  if (memory instanceof GuestMemory) return { layout: memory.layout, memory };
  if ("banks" in memory) {
    const guest = GuestMemory.attach(memory.buffer, memory.banks);
    return { layout: guest.layout, memory: guest };
  }
  // A whole buffer: it starts where RAM of its size would.
  const whole = GuestMemory.attach(memory);
  const layout = layoutOfSize(whole.ramSize);
  const [first, ...others] = layout.ram;
  if (first === undefined || (others.length === 0 && first.range.start === 0n)) {
    return { layout: whole.layout, memory: whole };
  }
  let byteOffset = 0;
  const banks = layout.ram.map(({ range }) => {
    const bank = { guestPhysicalAddress: range.start, byteOffset, byteLength: Number(range.length) };
    byteOffset += bank.byteLength;
    return bank;
  });
  const guest = GuestMemory.attach(memory, banks);
  return { layout: guest.layout, memory: guest };
}

/**
 * Claims the bytes of a memory that a caller gave, before a load waits for anything: two loads into one memory are told
 * so whichever comes first. What is no memory is left for {@link resolveMemory} to refuse.
 *
 * @throws DirectBootError GUEST_MEMORY_BUSY
 */
export function claimMemory(memory: MemoryInput): MemoryClaim | undefined {
  if (typeof memory !== "object" || memory === null || memory instanceof MemoryLayout) return undefined;
  let guest: GuestMemory;
  try {
    if (memory instanceof GuestMemory) guest = memory;
    else if ("banks" in memory) guest = GuestMemory.attach(memory.buffer, memory.banks);
    else guest = GuestMemory.attach(memory);
  } catch {
    return undefined;
  }
  return guest.claim();
}
