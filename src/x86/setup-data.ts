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
import { type AddressLike, addAddresses, hex, toAddress } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { E820_MAX_ENTRIES, type E820Entry } from "./e820.js";

// Types of nodes: asm/bootparam.h.
/** e820 entries past those in boot_params, each as in {@link encodeE820Entries}. */
export const SETUP_E820_EXT = 1;
/** A flattened device tree; read by kernels with CONFIG_OF. */
export const SETUP_DTB = 2;
/** The address (u32) of a confidential computing blob. */
export const SETUP_CC_BLOB = 7;
/** Bytes for the kernel's random number generator; read since Linux 6.0. */
export const SETUP_RNG_SEED = 9;

/** Bytes of a node before its data: sizeof(struct setup_data). */
export const SETUP_DATA_HEADER_BYTES = 16;
/** For `next`; and the data of a node 16 bytes on is then aligned as a device tree must be (its specification, 5.1). */
const NODE_ALIGNMENT = 8;
const U32_MAX = 0xffff_ffff;
/** The list is one array of bytes: a size that every host can make. */
const LIST_BYTES_MAX = 0x7fff_ffff;

/** A node of the list. */
export interface SetupDataNode {
  /** One of the SETUP_* constants, or another of asm/setup_data.h. */
  readonly type: number;
  readonly data: Uint8Array;
}

function invalid(details: string): DirectBootError {
  return new DirectBootError("SETUP_DATA_INVALID", details);
}

/** A node's bytes with the zeros up to the next. */
function nodeBytes({ type, data }: SetupDataNode, index: number): number {
  if (typeof type !== "number") {
    throw new TypeError(`node ${index}: type must be a number, got ${describeType(type)}`);
  }
  if (!(data instanceof Uint8Array)) {
    throw new TypeError(`node ${index}: data must be a Uint8Array, got ${describeType(data)}`);
  }
  if (!Number.isInteger(type) || type < 0 || type > U32_MAX) {
    throw invalid(`node ${index} has the type ${type}, outside 0-${hex(U32_MAX)}`);
  }
  return Math.ceil((SETUP_DATA_HEADER_BYTES + data.byteLength) / NODE_ALIGNMENT) * NODE_ALIGNMENT;
}

/**
 * The bytes of a setup_data list that will lie at `address`, one node after the other in the given order.
 *
 * @param address guest physical address of the first node, a multiple of 8 above 0: what
 *   `BootParamsOptions.setupDataAddress` must be
 * @returns the list; empty if there are no nodes, and then boot_params must not point to it
 * @throws DirectBootError SETUP_DATA_INVALID, ADDRESS_OUT_OF_RANGE, ADDRESS_OVERFLOW
 */
export function buildSetupData(address: AddressLike, nodes: readonly SetupDataNode[]): Uint8Array {
  const base = toAddress(address, "address");
  if (base === 0n || base % BigInt(NODE_ALIGNMENT) !== 0n) {
    throw invalid(`the list lies at ${hex(base)}, not at a multiple of ${NODE_ALIGNMENT} above 0`);
  }
  const sizes = nodes.map(nodeBytes);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > LIST_BYTES_MAX) {
    throw invalid(`the list has ${total} bytes, the limit is ${LIST_BYTES_MAX}`);
  }
  addAddresses(base, BigInt(total), "end of the setup_data list");

  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  let at = 0;
  nodes.forEach(({ type, data }, index) => {
    const behind = at + (sizes[index] ?? 0);
    view.setBigUint64(at, behind < total ? base + BigInt(behind) : 0n, true);
    view.setUint32(at + 8, type, true);
    view.setUint32(at + 12, data.byteLength, true);
    bytes.set(data, at + SETUP_DATA_HEADER_BYTES);
    at = behind;
  });
  return bytes;
}

/**
 * Divides an e820 map between boot_params and a SETUP_E820_EXT node: the first 128 entries, and the rest. The
 * decompressor of a bzImage sees the table only. How many more Linux takes depends on its configuration: 3 for each
 * NUMA node that it is built for (asm/e820/types.h, E820_MAX_ENTRIES); it ignores the rest.
 */
export function splitE820(entries: readonly E820Entry[]): { table: E820Entry[]; extended: E820Entry[] } {
  return { table: entries.slice(0, E820_MAX_ENTRIES), extended: entries.slice(E820_MAX_ENTRIES) };
}
