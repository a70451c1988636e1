/** The RAM that a caller means. */
import { type AddressLike, toAddress } from "../base/address.js";
import { describeForeign } from "../base/describe.js";
import { GuestMemory } from "./guest-memory.js";
import { bytesOfBuffer, type GuestBuffer } from "./host-buffer.js";
import { claimBytes, type MemoryClaim } from "./memory-claim.js";
import { checkRamSize, MemoryLayout } from "./memory-layout.js";
import type { MemoryBankInput } from "./segments.js";

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

/** A memory input whose banks, if it has any, are attached. */
type AttachedInput = AddressLike | MemoryLayout | GuestMemory | GuestBuffer;

function attachBanks(memory: MemoryInput): AttachedInput {
  if (typeof memory === "number" || typeof memory === "bigint") return toAddress(memory, "memory");
  if (memory instanceof MemoryLayout || memory instanceof GuestMemory) return memory;
  if (typeof memory === "object" && memory !== null) {
    if ("buffer" in memory && "banks" in memory) return GuestMemory.attach(memory.buffer, memory.banks);
    if (!ArrayBuffer.isView(memory) && ("byteLength" in memory || "buffer" in memory)) {
      bytesOfBuffer(memory);
      return memory;
    }
  }
  throw new TypeError(
    `memory must be a number of bytes, a MemoryLayout, a GuestMemory or a buffer, got ${describeForeign(memory, [MemoryLayout, GuestMemory])}`,
  );
}

/** Bytes of RAM of a memory that a caller gave. Throws TypeError if it is none of {@link MemoryInput}; LAYOUT_BAD_SIZE. */
export function ramSizeOf(memory: MemoryInput): bigint {
  const input = attachBanks(memory);
  if (typeof input !== "object") return checkRamSize(input);
  if (input instanceof MemoryLayout || input instanceof GuestMemory) return input.ramSize;
  return checkRamSize(bytesOfBuffer(input).byteLength);
}

/**
 * Makes a layout of what the caller gave, and a guest memory of a buffer.
 *
 * @throws TypeError if it is none of {@link MemoryInput}
 * @throws DirectBootError LAYOUT_BAD_SIZE for a number of bytes, or a whole buffer, that is not a number of pages
 */
export function resolveMemory(memory: MemoryInput, layoutOfSize: LayoutOfSize): ResolvedMemory {
  const input = attachBanks(memory);
  if (typeof input !== "object") return { layout: layoutOfSize(checkRamSize(input)), memory: undefined };
  if (input instanceof MemoryLayout) return { layout: input, memory: undefined };
  if (input instanceof GuestMemory) return { layout: input.layout, memory: input };
  // A whole buffer starts where RAM of its size would.
  let byteOffset = 0;
  const banks = layoutOfSize(checkRamSize(bytesOfBuffer(input).byteLength)).ram.map(({ range }) => {
    const bank = { guestPhysicalAddress: range.start, byteOffset, byteLength: Number(range.length) };
    byteOffset += bank.byteLength;
    return bank;
  });
  const guest = GuestMemory.attach(input, banks);
  return { layout: guest.layout, memory: guest };
}

/**
 * Attaches the banks of a memory that a caller gave, and claims its bytes for a load before that waits for anything: of two
 * loads into one memory the second is refused, whichever is planned first.
 *
 * @throws TypeError if it is none of {@link MemoryInput}
 * @throws DirectBootError GUEST_MEMORY_BAD_BANKS, GUEST_MEMORY_BUSY
 */
export function claimMemory(memory: MemoryInput): {
  readonly memory: MemoryInput;
  readonly claim: MemoryClaim | undefined;
} {
  const input = attachBanks(memory);
  if (typeof input !== "object" || input instanceof MemoryLayout) return { memory: input, claim: undefined };
  if (input instanceof GuestMemory) return { memory: input, claim: input.claim() };
  const claim = claimBytes(() => {
    const bytes = bytesOfBuffer(input);
    return [{ ids: [input, bytes], ranges: [{ start: 0, end: bytes.byteLength }] }];
  });
  return { memory: input, claim };
}
