/**
 * The setup_data list: what does not fit in boot_params (boot.rst, `setup_data`; asm/bootparam.h, `struct setup_data`).
 *
 *     address ┌─────────────────────────────┐ ◄─ boot_params.hdr.setup_data
 *             │ next u64 · type u32 · len u32 │
 *             │ data, then zeros up to 8    │
 *             ├─────────────────────────────┤ ◄─ next
 *             │ next = 0 …                  │
 *             └─────────────────────────────┘
 *
 * The list lies in RAM, apart from all else. Linux reserves it itself, but only once it runs: a bzImage's
 * decompressor must not be given its place. Linux writes into it: it clears the RNG seed.
 */
import { DirectBootError } from "../base/errors.js";

// Types of nodes: asm/bootparam.h.
/** e820 entries past those in boot_params, each as in {@link encodeE820Entries}. */
export const SETUP_E820_EXT = 1;
/** A flattened device tree; read by kernels with CONFIG_OF. */
export const SETUP_DTB = 2;
/** Bytes for the kernel's random number generator; read since Linux 6.0. */
export const SETUP_RNG_SEED = 9;

/** Bytes of a node before its data: sizeof(struct setup_data). */
export const SETUP_DATA_HEADER_BYTES = 16;
/** For `next`; and the data of a node 16 bytes on is then aligned as a device tree must be (its specification, 5.1). */
const NODE_ALIGNMENT = 8;
/** The list is one array of bytes: a size that every host can make. */
const LIST_BYTES_MAX = 0x7fff_ffff;

/** A node of the list. */
export interface SetupDataNode {
  /** One of the SETUP_* constants, or another of asm/setup_data.h. */
  readonly type: number;
  readonly data: Uint8Array;
}

/** A node's bytes with the zeros up to the next. */
function nodeBytes({ data }: SetupDataNode): number {
  return Math.ceil((SETUP_DATA_HEADER_BYTES + data.byteLength) / NODE_ALIGNMENT) * NODE_ALIGNMENT;
}

/** Bytes of a list, wherever it lies. Throws SETUP_DATA_INVALID for one that no host can make. */
export function setupDataBytes(nodes: readonly SetupDataNode[]): number {
  const total = nodes.reduce((sum, node) => sum + nodeBytes(node), 0);
  if (total > LIST_BYTES_MAX) {
    throw new DirectBootError(
      "SETUP_DATA_INVALID",
      `the list has ${total} bytes, the limit is ${LIST_BYTES_MAX}`,
    );
  }
  return total;
}

/**
 * The bytes of a setup_data list that will lie at `address`, one node after the other in the given order.
 *
 * @param address guest physical address of the first node, a multiple of 8 above 0
 * @returns the list; empty if there are no nodes, and then boot_params must not point to it
 */
export function buildSetupData(address: bigint, nodes: readonly SetupDataNode[]): Uint8Array {
  const bytes = new Uint8Array(setupDataBytes(nodes));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const node of nodes) {
    const behind = at + nodeBytes(node);
    view.setBigUint64(at, behind < bytes.byteLength ? address + BigInt(behind) : 0n, true);
    view.setUint32(at + 8, node.type, true);
    view.setUint32(at + 12, node.data.byteLength, true);
    bytes.set(node.data, at + SETUP_DATA_HEADER_BYTES);
    at = behind;
  }
  return bytes;
}
