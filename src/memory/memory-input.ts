/** The RAM that a caller means. */
import { type AddressLike, toAddress } from "../base/address.js";
import { describeForeign } from "../base/describe.js";
import { type GuestBuffer, GuestMemory, type MemoryBankInput } from "./guest-memory.js";
import type { MemoryClaim } from "./memory-claim.js";
import { MemoryLayout } from "./memory-layout.js";

/** A guest's memory: bytes of RAM, a layout, a memory made before, or a buffer of the caller's. */
export type MemoryInput =
  | AddressLike
  | MemoryLayout
  | GuestMemory
  | GuestBuffer
  | { readonly buffer: GuestBuffer; readonly banks: readonly MemoryBankInput[] };

/** A layout, and the memory if there is one yet. */
export interface ResolvedMemory {
  readonly layout: MemoryLayout;
  readonly memory: GuestMemory | undefined;
}

/** How an architecture lays out RAM of which only the size is known. */
export type LayoutOfSize = (size: bigint) => MemoryLayout;

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
