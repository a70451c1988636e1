/** RAM and reserved memory of a device tree: Devicetree Specification v0.4, sections 3.4, 3.5 and 5.3. */
import { ADDRESS_LIMIT, hex } from "../base/address.js";
import { type DeviceTreeNode, readDeviceTree } from "./device-tree.js";
import { cString, isNamed, malformed, RESERVATION_BYTES, readBlocks } from "./device-tree-format.js";

/** Cells of an address and of a size where the parent says nothing (section 2.3.5). */
const DEFAULT_ADDRESS_CELLS = 2;
const DEFAULT_SIZE_CELLS = 1;
const CELL_BYTES = 4;
/** #address-cells and #size-cells that a range of memory can have; numbers stay below 2^64 whatever they are. */
const MAX_CELLS = 4;

/** Values of `status` that Linux takes for a device that is there (section 2.3.4 has "okay" only). */
const ENABLED = ["okay", "ok"] as const;

/** A range of memory, `[start, end)`, in guest physical addresses. */
export interface MemoryNodeRange {
  /** Guest physical address of the first byte. */
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;
}

/** Whether a value is that string (section 2.2.4.2, <string>): its bytes and a NUL. Bytes behind do not count. */
function isString(value: Uint8Array, text: string): boolean {
  return cString(text).every((byte, index) => value[index] === byte);
}

/** #address-cells or #size-cells of a node (section 2.3.5): a count of 4-byte cells. */
function cellCount(node: DeviceTreeNode, name: string, otherwise: number): number {
  const value = node.properties.get(name);
  if (value === undefined) return otherwise;
  const count = value.byteLength === CELL_BYTES ? Number(bigEndian(value)) : 0;
  if (count < 1 || count > MAX_CELLS) {
    throw malformed(
      `${name} of the root is ${count}, or has another length than 4 bytes; 1 to ${MAX_CELLS} can be used`,
    );
  }
  return count;
}

/** The number in big-endian bytes. */
function bigEndian(bytes: Uint8Array): bigint {
  return bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

/** Bytes of an address and of a size in the cells of the root. */
function rangeBytes(root: DeviceTreeNode): [addressBytes: number, rangeBytes: number] {
  const addressBytes = cellCount(root, "#address-cells", DEFAULT_ADDRESS_CELLS) * CELL_BYTES;
  return [addressBytes, addressBytes + cellCount(root, "#size-cells", DEFAULT_SIZE_CELLS) * CELL_BYTES];
}

/** The address and size pairs of a `reg`. */
function* pairsOf(
  reg: Uint8Array,
  [addressBytes, pairBytes]: [number, number],
): Generator<[start: bigint, size: bigint]> {
  for (let offset = 0; offset < reg.byteLength; offset += pairBytes) {
    const size = reg.subarray(offset + addressBytes, offset + pairBytes);
    yield [bigEndian(reg.subarray(offset, offset + addressBytes)), bigEndian(size)];
  }
}

/** Whether a node is one that is there (section 2.3.4). */
function isEnabled({ properties }: DeviceTreeNode): boolean {
  const status = properties.get("status");
  return status === undefined || status.byteLength === 0 || ENABLED.some((text) => isString(status, text));
}

/**
 * The ranges of RAM that the tree describes, in its order: `reg` of the root's children named `memory` or
 * `memory@…` with device_type "memory" (section 3.4), in cells as the root's #address-cells and #size-cells say.
 * Nodes whose `status` is neither "okay" nor "ok" (QEMU's secure memory) and empty ranges are left out, as in Linux.
 *
 * @throws TypeError if `tree` is no Uint8Array
 * @throws DirectBootError DEVICE_TREE_MALFORMED, also for a `reg` that is no list of ranges below 2^64, or
 *   DEVICE_TREE_UNSUPPORTED_VERSION
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { memoryOfTree } from "directboot";
 *
 * for (const { start, end } of memoryOfTree(new Uint8Array(readFileSync("machine.dtb")))) {
 *   console.log(start.toString(16), end.toString(16)); // 40000000 50000000
 * }
 * ```
 */
export function memoryOfTree(tree: Uint8Array): readonly MemoryNodeRange[] {
  const root = readDeviceTree(tree);
  const ranges: MemoryNodeRange[] = [];
  for (const node of root.children) {
    const deviceType = node.properties.get("device_type");
    if (!isNamed(node.name, "memory")) continue;
    if (deviceType === undefined || !isString(deviceType, "memory")) continue;
    if (!isEnabled(node)) continue;
    const reg = node.properties.get("reg");
    if (reg === undefined) continue;
    const cells = rangeBytes(root);
    if (reg.byteLength % cells[1] !== 0) {
      throw malformed(`reg of ${node.name} has ${reg.byteLength} bytes, not a multiple of ${cells[1]}`);
    }
    for (const [start, size] of pairsOf(reg, cells)) {
      if (start + size > ADDRESS_LIMIT) {
        throw malformed(`memory of ${node.name} at ${hex(start)} with ${hex(size)} bytes passes 2^64`);
      }
      if (size > 0n) ranges.push({ start, end: start + size });
    }
  }
  return ranges;
}

/**
 * The ranges that the tree keeps from everyone, in its order, empty ones left out: the memory reservation block (section
 * 5.3), and `reg` of the children of /reserved-memory (section 3.5). As Linux has it, nodes that are not enabled, that
 * have no `reg` (Linux chooses their place itself), or whose `reg` is no list of ranges in the root's cells reserve
 * nothing. A range that passes 2^64 is cut off there.
 *
 * @throws TypeError if `tree` is no Uint8Array
 * @throws DirectBootError DEVICE_TREE_MALFORMED, or DEVICE_TREE_UNSUPPORTED_VERSION
 */
export function reservationsOfTree(tree: Uint8Array): readonly MemoryNodeRange[] {
  const { view, reservations } = readBlocks(tree);
  const ranges: MemoryNodeRange[] = [];
  const add = (start: bigint, size: bigint): void => {
    const end = start + size > ADDRESS_LIMIT ? ADDRESS_LIMIT : start + size;
    if (start < end) ranges.push({ start, end });
  };
  for (let at = reservations.start; at < reservations.end; at += RESERVATION_BYTES) {
    add(view.getBigUint64(at), view.getBigUint64(at + RESERVATION_BYTES / 2));
  }
  const root = readDeviceTree(tree);
  const parent = root.children.find(({ name }) => isNamed(name, "reserved-memory"));
  if (parent === undefined) return ranges;
  const cells = rangeBytes(root);
  for (const node of parent.children) {
    const reg = node.properties.get("reg");
    if (!isEnabled(node) || reg === undefined || reg.byteLength % cells[1] !== 0) continue;
    for (const [start, size] of pairsOf(reg, cells)) add(start, size);
  }
  return ranges;
}
