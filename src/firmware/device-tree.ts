/**
 * Flattened device trees: reading, checking, and writing what a loader has to say into /chosen.
 * Devicetree Specification v0.4, chapter 5; /chosen and /memory are its sections 3.6 and 3.4.
 *
 *     0         40           off_dt_struct      off_dt_strings       totalsize
 *     | header  | reserved … | structure …      | strings …          |  whatever is behind is not part of it
 *
 * The three blocks may come in any order and with space between them; they must lie within totalsize and apart.
 */
import { ADDRESS_LIMIT, type AddressLike, hex, toAddress, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";

/** The first word of a tree, big-endian like all of it (section 5.2). */
const MAGIC = 0xd00d_feed;
/** Bytes in the header of version 17 (section 5.2). */
const HEADER_BYTES = 40;
/** The version that we read and write, and the oldest that ours is compatible with (section 5.2). */
const VERSION = 17;
const LAST_COMPATIBLE_VERSION = 16;
/** Bytes in an entry of the memory reservation block: address and size, u64 each (section 5.3.2). */
const RESERVATION_BYTES = 16;
/** Alignments of the blocks (section 5.6). */
const RESERVATION_ALIGNMENT = 8;
const STRUCTURE_ALIGNMENT = 4;
/** Tokens of the structure block, u32 each (section 5.4.1). */
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const NOP = 4;
const END = 9;
const TOKEN_BYTES = 4;
/** A property's token, value length and name offset (section 5.4.1). */
const PROPERTY_HEADER_BYTES = 12;
/** The deepest node, the root being 1. Linux's own limit: FDT_MAX_DEPTH in its drivers/of/fdt.c. */
const MAX_DEPTH = 64;
/**
 * The longest name of a node or property, in bytes. Sections 2.2.1 and 2.2.4.1 have 31, which trees in use exceed; a
 * limit there must be, because a million properties can share one name as long as the tree.
 */
const MAX_NAME_BYTES = 255;
/** The largest tree, in bytes. Ours to choose: arm64 takes 2 MiB at most (booting.rst, section 2). */
const MAX_TREE_BYTES = 0x100_0000;
/** Cells of an address and of a size where the parent says nothing (section 2.3.5). */
const DEFAULT_ADDRESS_CELLS = 2;
const DEFAULT_SIZE_CELLS = 1;
const CELL_BYTES = 4;
/** #address-cells and #size-cells that a range of memory can have; numbers stay below 2^64 whatever they are. */
const MAX_CELLS = 4;

/** Values of `status` that Linux takes for a device that is there (section 2.3.4 has "okay" only). */
const ENABLED = ["okay", "ok"] as const;

const CHOSEN = "chosen";
const RESERVED_MEMORY = "reserved-memory";
const BOOTARGS = "bootargs";
const INITRD_START = "linux,initrd-start";
const INITRD_END = "linux,initrd-end";
const RNG_SEED = "rng-seed";

/** A node of a device tree; a copy, independent of the bytes it was read from. */
export interface DeviceTreeNode {
  /** The name with its unit address (`memory@40000000`), one character a byte; the root's is empty. */
  readonly name: string;
  /** Values by name, in the tree's order. Of two properties with one name the first counts, as in libfdt. */
  readonly properties: ReadonlyMap<string, Uint8Array>;
  /** In the tree's order. */
  readonly children: readonly DeviceTreeNode[];
}

/** What {@link setChosen} writes; what is left out stays as it is in the tree. */
export interface Chosen {
  /** The kernel's command line: a string is written as UTF-8. No NUL; one is added behind it. */
  bootargs?: string | Uint8Array | undefined;
  /** Guest physical address of the initrd's first byte. Needs `initrdEnd`. With both null there is no initrd. */
  initrdStart?: AddressLike | null | undefined;
  /** Guest physical address of the byte after the initrd's last. Needs `initrdStart`. */
  initrdEnd?: AddressLike | null | undefined;
  /** Entropy for the kernel's random number generator. */
  rngSeed?: Uint8Array | undefined;
  /** Free bytes at the end of the tree, for whoever edits it next; 0 if left out. */
  padding?: number | undefined;
}

/** A range of memory, `[start, end)`, in guest physical addresses. */
export interface MemoryNodeRange {
  /** Guest physical address of the first byte. */
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;
}

/** A part of the tree, `[start, end)` as offsets from its first byte. */
interface Extent {
  readonly start: number;
  readonly end: number;
}

interface Blocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly bootCpu: number;
  /** With its terminating entry. */
  readonly reservations: Extent;
  readonly structure: Extent;
  readonly strings: Extent;
}

/** What {@link walk} meets, in order. All numbers are offsets from the first byte of the tree. */
interface Visitor {
  /** A node begins; `depth` is 1 for the root; `bodyStart` is behind its padded name. */
  beginNode?(name: string, depth: number, bodyStart: number): void;
  /** A property of the innermost open node; `extent` is all of it, `value` its value alone. */
  property?(name: string, value: Extent, extent: Extent, nameOffset: number): void;
  /** The innermost open node ends; `offset` is that of its FDT_END_NODE. */
  endNode?(depth: number, offset: number): void;
}

function malformed(details: string): DirectBootError {
  return new DirectBootError("DEVICE_TREE_MALFORMED", `device tree: ${details}`);
}

function checkBytes(value: Uint8Array, name: string): void {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`${name} must be a Uint8Array, got ${describeType(value)}`);
  }
}

function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** The block of `length` bytes at `start`, if the tree of `totalSize` bytes has room for it. */
function blockAt(start: number, length: number, totalSize: number, name: string): Extent {
  if (start < HEADER_BYTES || start + length > totalSize) {
    throw malformed(
      `the ${name} block at ${hex(start)} with ${hex(length)} bytes lies outside ${hex(HEADER_BYTES)}-${hex(totalSize)}`,
    );
  }
  return { start, end: start + length };
}

/** The reservation block, up to and with the entry of zeros that ends it (section 5.3). */
function reservationBlock(view: DataView, start: number, totalSize: number): Extent {
  if (start % RESERVATION_ALIGNMENT !== 0) {
    throw malformed(`the memory reservation block at ${hex(start)} is not aligned to 8 bytes`);
  }
  blockAt(start, RESERVATION_BYTES, totalSize, "memory reservation");
  for (let end = start + RESERVATION_BYTES; end <= totalSize; end += RESERVATION_BYTES) {
    const isLast =
      view.getBigUint64(end - RESERVATION_BYTES) === 0n &&
      view.getBigUint64(end - RESERVATION_BYTES / 2) === 0n;
    if (isLast) return { start, end };
  }
  throw malformed(`the memory reservation block at ${hex(start)} has no end before ${hex(totalSize)}`);
}

/** The header's fields, and the blocks that they name, checked (section 5.2). */
function readBlocks(tree: Uint8Array): Blocks {
  checkBytes(tree, "tree");
  if (tree.byteLength < HEADER_BYTES) {
    throw malformed(`it has ${tree.byteLength} bytes, fewer than its header's ${HEADER_BYTES}`);
  }
  const header = new DataView(tree.buffer, tree.byteOffset, tree.byteLength);
  const magic = header.getUint32(0);
  if (magic !== MAGIC) throw malformed(`it starts with ${hex(magic)} instead of ${hex(MAGIC)}`);
  const totalSize = header.getUint32(4);
  if (totalSize < HEADER_BYTES || totalSize > tree.byteLength) {
    throw malformed(`its totalsize ${hex(totalSize)} is outside ${HEADER_BYTES}-${hex(tree.byteLength)}`);
  }
  if (totalSize > MAX_TREE_BYTES) {
    throw malformed(`its totalsize ${hex(totalSize)} is above the limit of ${hex(MAX_TREE_BYTES)}`);
  }
  const version = header.getUint32(20);
  const lastCompatible = header.getUint32(24);
  if (version < VERSION || lastCompatible > VERSION) {
    throw new DirectBootError(
      "DEVICE_TREE_UNSUPPORTED_VERSION",
      `device tree: version ${version}, compatible back to ${lastCompatible}, can't be read as version ${VERSION}`,
    );
  }

  // Not a subarray: that of a Buffer is a Buffer, and its slice() is no copy.
  const bytes = new Uint8Array(tree.buffer, tree.byteOffset, totalSize);
  const view = new DataView(tree.buffer, tree.byteOffset, totalSize);
  const structureOffset = view.getUint32(8);
  if (structureOffset % STRUCTURE_ALIGNMENT !== 0) {
    throw malformed(`the structure block at ${hex(structureOffset)} is not aligned to 4 bytes`);
  }
  const structure = blockAt(structureOffset, view.getUint32(36), totalSize, "structure");
  const strings = blockAt(view.getUint32(12), view.getUint32(32), totalSize, "strings");
  const reservations = reservationBlock(view, view.getUint32(16), totalSize);

  const named = [
    { name: "memory reservation", ...reservations },
    { name: "structure", ...structure },
    { name: "strings", ...strings },
  ]
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start || a.end - b.end);
  let previous = named[0];
  for (const block of named.slice(1)) {
    if (previous !== undefined && block.start < previous.end) {
      throw malformed(
        `the ${previous.name} block and the ${block.name} block overlap at ${hex(block.start)}`,
      );
    }
    previous = block;
  }
  return { bytes, view, bootCpu: view.getUint32(28), reservations, structure, strings };
}

/** At most 255 bytes as a string of one character each. Names are ASCII; what isn't stays distinct. */
function nameOf(bytes: Uint8Array): string {
  // In one call: added up one by one, each character would take 32 bytes until V8 flattens the string.
  return String.fromCharCode(...bytes);
}

/** The name at `start`, up to its NUL, which must come before `limit`; `whose` is for the message. */
function nameAt(bytes: Uint8Array, start: number, limit: number, whose: string): string {
  // One more byte than a name may have: its NUL.
  const window = bytes.subarray(start, Math.min(limit, start + MAX_NAME_BYTES + 1));
  const length = window.indexOf(0);
  if (length >= 0) return nameOf(window.subarray(0, length));
  if (window.byteLength <= MAX_NAME_BYTES) throw malformed(`the name of ${whose} has no end`);
  throw malformed(`the name of ${whose} is longer than ${MAX_NAME_BYTES} bytes`);
}

/** Reads property names, each distinct offset once. */
function propertyNames({ bytes, strings }: Blocks): (nameOffset: number, at: number) => string {
  const known = new Map<number, string>();
  return (nameOffset, at) => {
    let name = known.get(nameOffset);
    if (name !== undefined) return name;
    const start = strings.start + nameOffset;
    if (start >= strings.end) {
      throw malformed(
        `the property at ${hex(at)} has its name at ${hex(nameOffset)} of ${hex(strings.end - strings.start)} bytes of strings`,
      );
    }
    name = nameAt(bytes, start, strings.end, `the property at ${hex(at)}`);
    known.set(nameOffset, name);
    return name;
  };
}

/**
 * Reads the structure block from end to end (section 5.4) and tells the visitor what is there. The one place that
 * knows the tokens; what it does not refuse is well-formed. Bytes behind FDT_END are ignored, as by libfdt.
 */
function walk(blocks: Blocks, visitor: Visitor): void {
  const { bytes, view, structure } = blocks;
  const propertyName = propertyNames(blocks);
  let depth = 0;
  let hasRoot = false;
  // Section 5.4.2: all properties of a node come before its children.
  let propertiesAllowed = false;
  let position = structure.start;
  while (position + TOKEN_BYTES <= structure.end) {
    const at = position;
    const token = view.getUint32(at);
    position += TOKEN_BYTES;
    switch (token) {
      case BEGIN_NODE: {
        if (depth === 0 && hasRoot) throw malformed(`there is a second root at ${hex(at)}`);
        if (depth === MAX_DEPTH) throw malformed(`the node at ${hex(at)} is deeper than ${MAX_DEPTH} levels`);
        const name = nameAt(bytes, position, structure.end, `the node at ${hex(at)}`);
        position = structure.start + alignUp(position + name.length + 1 - structure.start, TOKEN_BYTES);
        depth += 1;
        hasRoot = true;
        propertiesAllowed = true;
        visitor.beginNode?.(name, depth, position);
        break;
      }
      case PROPERTY: {
        if (depth === 0) throw malformed(`the property at ${hex(at)} is outside of a node`);
        if (!propertiesAllowed) throw malformed(`the property at ${hex(at)} comes after a child of its node`);
        const start = at + PROPERTY_HEADER_BYTES;
        if (start > structure.end)
          throw malformed(`the property at ${hex(at)} passes the end of the structure`);
        const length = view.getUint32(at + 4);
        const nameOffset = view.getUint32(at + 8);
        if (length > structure.end - start) {
          throw malformed(
            `the property at ${hex(at)} has ${hex(length)} bytes, past the end of the structure`,
          );
        }
        position = structure.start + alignUp(start + length - structure.start, TOKEN_BYTES);
        const name = propertyName(nameOffset, at);
        visitor.property?.(name, { start, end: start + length }, { start: at, end: position }, nameOffset);
        break;
      }
      case END_NODE:
        if (depth === 0) throw malformed(`the end of a node at ${hex(at)} has no beginning`);
        visitor.endNode?.(depth, at);
        depth -= 1;
        propertiesAllowed = false;
        break;
      case NOP:
        break;
      case END:
        if (depth > 0) throw malformed(`FDT_END at ${hex(at)} comes with ${depth} nodes still open`);
        if (!hasRoot) throw malformed("it has no root node");
        return;
      default:
        throw malformed(`there is an unknown token ${hex(token)} at ${hex(at)}`);
    }
  }
  throw malformed(`the structure ends at ${hex(structure.end)} without FDT_END`);
}

/**
 * Checks that `tree` is a well-formed flattened device tree: header, blocks and structure, at most 16 MiB. It may be
 * longer than its totalsize says. What its nodes mean is not looked at.
 *
 * @throws TypeError if `tree` is no Uint8Array
 * @throws DirectBootError DEVICE_TREE_MALFORMED, or DEVICE_TREE_UNSUPPORTED_VERSION
 */
export function checkDeviceTree(tree: Uint8Array): void {
  walk(readBlocks(tree), {});
}

/** A node that is being read. */
interface OpenNode extends DeviceTreeNode {
  readonly properties: Map<string, Uint8Array>;
  readonly children: DeviceTreeNode[];
}

/**
 * Reads all of `tree` and returns its root node. At most 64 levels deep, as in Linux; values are copies.
 *
 * @throws TypeError if `tree` is no Uint8Array
 * @throws DirectBootError DEVICE_TREE_MALFORMED, or DEVICE_TREE_UNSUPPORTED_VERSION
 */
export function readDeviceTree(tree: Uint8Array): DeviceTreeNode {
  const blocks = readBlocks(tree);
  const open: OpenNode[] = [];
  let root: DeviceTreeNode | undefined;
  walk(blocks, {
    beginNode: (name) => {
      const node: OpenNode = { name, properties: new Map(), children: [] };
      open.at(-1)?.children.push(node);
      root ??= node;
      open.push(node);
    },
    property: (name, { start, end }) => {
      const properties = open.at(-1)?.properties;
      if (properties !== undefined && !properties.has(name)) {
        properties.set(name, new Uint8Array(blocks.bytes.subarray(start, end)));
      }
    },
    endNode: () => {
      open.pop();
    },
  });
  if (root === undefined) throw malformed("it has no root node");
  return root;
}

/** Whether `name` is `unitName`, with or without a unit address (section 2.2.1). */
function isNamed(name: string, unitName: string): boolean {
  return name === unitName || name.startsWith(`${unitName}@`);
}

/** Whether a value is that string (section 2.2.4.2, <string>): its bytes and a NUL. What is behind does not count. */
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

    const addressBytes = cellCount(root, "#address-cells", DEFAULT_ADDRESS_CELLS) * CELL_BYTES;
    const sizeBytes = cellCount(root, "#size-cells", DEFAULT_SIZE_CELLS) * CELL_BYTES;
    const rangeBytes = addressBytes + sizeBytes;
    if (reg.byteLength % rangeBytes !== 0) {
      throw malformed(`reg of ${node.name} has ${reg.byteLength} bytes, not a multiple of ${rangeBytes}`);
    }
    for (let offset = 0; offset < reg.byteLength; offset += rangeBytes) {
      const start = bigEndian(reg.subarray(offset, offset + addressBytes));
      const size = bigEndian(reg.subarray(offset + addressBytes, offset + rangeBytes));
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
 * nothing. What passes 2^64 is cut off there.
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
  const parent = root.children.find(({ name }) => isNamed(name, RESERVED_MEMORY));
  if (parent === undefined) return ranges;
  const addressBytes = cellCount(root, "#address-cells", DEFAULT_ADDRESS_CELLS) * CELL_BYTES;
  const sizeBytes = cellCount(root, "#size-cells", DEFAULT_SIZE_CELLS) * CELL_BYTES;
  const rangeBytes = addressBytes + sizeBytes;
  for (const node of parent.children) {
    const reg = node.properties.get("reg");
    if (!isEnabled(node) || reg === undefined || reg.byteLength % rangeBytes !== 0) continue;
    for (let offset = 0; offset < reg.byteLength; offset += rangeBytes) {
      const start = bigEndian(reg.subarray(offset, offset + addressBytes));
      add(start, bigEndian(reg.subarray(offset + addressBytes, offset + rangeBytes)));
    }
  }
  return ranges;
}

/** `bootargs` as the value of its property: with a NUL behind it (section 2.2.4.2, <string>). */
function bootargsValue(bootargs: string | Uint8Array): Uint8Array {
  if (typeof bootargs !== "string" && !(bootargs instanceof Uint8Array)) {
    throw new TypeError(`bootargs must be a string or a Uint8Array, got ${describeType(bootargs)}`);
  }
  // In UTF-8 a string has at least as many bytes as characters.
  checkTreeSize(bootargs.length, "a bootargs");
  const text = typeof bootargs === "string" ? new TextEncoder().encode(bootargs) : bootargs;
  const nul = text.indexOf(0);
  if (nul >= 0) throw new DirectBootError("COMMAND_LINE_NUL", `bootargs holds a NUL at byte ${nul}`);
  return concatenate([text, new Uint8Array(1)]);
}

/** A u64 as two cells, big-endian (section 2.2.4.2, <u64>). */
function u64Value(number: bigint): Uint8Array {
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, number);
  return value;
}

/** The properties that `chosen` asks for, by name, checked; null for one that is to go. */
function chosenValues(chosen: Chosen): Map<string, Uint8Array | null> {
  const values = new Map<string, Uint8Array | null>();
  const { bootargs, initrdStart, initrdEnd, rngSeed } = chosen;
  if (bootargs !== undefined) values.set(BOOTARGS, bootargsValue(bootargs));
  if (initrdStart === null && initrdEnd === null) {
    values.set(INITRD_START, null);
    values.set(INITRD_END, null);
  } else if (initrdStart != null && initrdEnd != null) {
    const start = toAddress(initrdStart, "initrdStart");
    const end = toAddress(initrdEnd, "initrdEnd");
    if (end < start) {
      throw new DirectBootError(
        "DEVICE_TREE_CHOSEN",
        `initrdEnd ${hex(end)} is below initrdStart ${hex(start)}`,
      );
    }
    values.set(INITRD_START, u64Value(start));
    values.set(INITRD_END, u64Value(end));
  } else if (initrdStart !== undefined || initrdEnd !== undefined) {
    throw new TypeError("initrdStart and initrdEnd must be given together");
  }
  if (rngSeed !== undefined) {
    checkBytes(rngSeed, "rngSeed");
    checkTreeSize(rngSeed.byteLength, "an rngSeed");
    values.set(RNG_SEED, rngSeed);
  }
  return values;
}

/** Refuses what can't be part of a tree before memory is taken for it. */
function checkTreeSize(byteLength: number, name: string): void {
  if (byteLength > MAX_TREE_BYTES) {
    throw new DirectBootError(
      "DEVICE_TREE_CHOSEN",
      `${name} of ${byteLength} bytes passes the limit of ${MAX_TREE_BYTES}`,
    );
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}

/** Words as the structure block holds them. */
function tokens(...words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(words.length * TOKEN_BYTES);
  const view = new DataView(bytes.buffer);
  words.forEach((word, index) => {
    view.setUint32(index * TOKEN_BYTES, word);
  });
  return bytes;
}

/** Bytes with zeros up to the next token. */
function padded(bytes: Uint8Array): readonly Uint8Array[] {
  return [bytes, new Uint8Array(alignUp(bytes.byteLength, TOKEN_BYTES) - bytes.byteLength)];
}

/** A string with its NUL; for names of our own, which are ASCII. */
function cString(text: string): Uint8Array {
  return Uint8Array.from([...text].map((character) => character.charCodeAt(0)).concat(0));
}

/** Where /chosen is, what is to be taken out of it, and where what we set goes. */
interface ChosenPlace {
  /** Behind /chosen's last property; without /chosen, the root's FDT_END_NODE. */
  readonly insertAt: number;
  readonly exists: boolean;
  /** Properties of /chosen that are replaced, in order. */
  readonly replaced: readonly Extent[];
  /** Offsets in the strings block of names that the tree uses already. */
  readonly nameOffsets: ReadonlyMap<string, number>;
  /** Behind FDT_END_NODE of the root. */
  readonly rootEnd: number;
}

/** Looks for the first child of the root called chosen (libfdt takes a unit address, too). */
function findChosen(blocks: Blocks, values: ReadonlyMap<string, unknown>): ChosenPlace {
  const replaced: Extent[] = [];
  const nameOffsets = new Map<string, number>();
  let state: "before" | "properties" | "after" = "before";
  let insertAt: number | undefined;
  let rootEnd = blocks.structure.end;
  walk(blocks, {
    beginNode: (name, nodeDepth, bodyStart) => {
      if (state === "before" && nodeDepth === 2 && isNamed(name, CHOSEN)) {
        state = "properties";
        insertAt = bodyStart;
      } else if (state === "properties") {
        state = "after";
      }
    },
    property: (name, _value, extent, nameOffset) => {
      if (values.has(name) && !nameOffsets.has(name)) nameOffsets.set(name, nameOffset);
      if (state !== "properties") return;
      insertAt = extent.end;
      if (values.has(name)) replaced.push(extent);
    },
    endNode: (nodeDepth, offset) => {
      if (state === "properties") state = "after";
      if (nodeDepth === 1) {
        insertAt ??= offset;
        rootEnd = offset + TOKEN_BYTES;
      }
    },
  });
  return { insertAt: insertAt ?? rootEnd, exists: state !== "before", replaced, nameOffsets, rootEnd };
}

/**
 * A new tree with what `chosen` names in /chosen: bootargs, linux,initrd-start and -end (8 bytes each), rng-seed
 * (section 3.6; Documentation/arch/arm64/booting.rst, section 2; the kernel's dt-schema chosen.yaml). Properties of
 * these names are replaced, a missing /chosen is made, everything else stays: nodes, properties, the memory
 * reservation block, boot_cpuid_phys. The new tree has version 17, no space between its blocks, and exactly
 * `padding` bytes behind them. `tree` is not modified.
 *
 * @throws TypeError if an argument has another type, or only one end of the initrd is given
 * @throws DirectBootError DEVICE_TREE_MALFORMED or DEVICE_TREE_UNSUPPORTED_VERSION for `tree`; COMMAND_LINE_NUL for
 *   a NUL in bootargs; ADDRESS_OUT_OF_RANGE for an address past 2^64; DEVICE_TREE_CHOSEN if the initrd ends before
 *   it starts, or the new tree would pass 16 MiB
 *
 * @example
 * ```ts
 * import { readFileSync } from "node:fs";
 * import { readDeviceTree, setChosen } from "directboot";
 *
 * const tree = setChosen(new Uint8Array(readFileSync("machine.dtb")), { bootargs: "console=ttyAMA0" });
 * const chosen = readDeviceTree(tree).children.find(({ name }) => name === "chosen");
 * const bootargs = chosen?.properties.get("bootargs");
 * console.log(new TextDecoder().decode(bootargs?.subarray(0, -1))); // console=ttyAMA0
 * ```
 */
export function setChosen(tree: Uint8Array, chosen: Chosen): Uint8Array {
  const blocks = readBlocks(tree);
  const values = chosenValues(chosen);
  const padding = toLength(chosen.padding ?? 0, "padding");
  const place = findChosen(blocks, values);
  const { bytes, reservations, strings } = blocks;

  const stringParts = [bytes.subarray(strings.start, strings.end)];
  let stringsLength = strings.end - strings.start;
  const added: Uint8Array[] = [];
  for (const [name, value] of values) {
    if (value === null) continue;
    let nameOffset = place.nameOffsets.get(name);
    if (nameOffset === undefined) {
      const text = cString(name);
      nameOffset = stringsLength;
      stringParts.push(text);
      stringsLength += text.byteLength;
    }
    added.push(tokens(PROPERTY, value.byteLength, nameOffset), ...padded(value));
  }

  // The old structure, without what is replaced, and with what is added in its place.
  const structureParts: Uint8Array[] = [];
  let kept = blocks.structure.start;
  for (const { start, end } of place.replaced) {
    structureParts.push(bytes.subarray(kept, start));
    kept = end;
  }
  structureParts.push(bytes.subarray(kept, place.insertAt));
  if (place.exists) {
    structureParts.push(...added);
  } else if (values.size > 0) {
    structureParts.push(tokens(BEGIN_NODE), ...padded(cString(CHOSEN)), ...added, tokens(END_NODE));
  }
  structureParts.push(bytes.subarray(place.insertAt, place.rootEnd), tokens(END));
  const structure = concatenate(structureParts);

  const structureOffset = HEADER_BYTES + (reservations.end - reservations.start);
  const stringsOffset = structureOffset + structure.byteLength;
  const totalSize = stringsOffset + stringsLength + padding;
  checkTreeSize(totalSize, "a device tree");
  const result = new Uint8Array(totalSize);
  const header = tokens(
    MAGIC,
    totalSize,
    structureOffset,
    stringsOffset,
    HEADER_BYTES, // off_mem_rsvmap
    VERSION,
    LAST_COMPATIBLE_VERSION,
    blocks.bootCpu,
    stringsLength,
    structure.byteLength,
  );
  result.set(header);
  result.set(bytes.subarray(reservations.start, reservations.end), HEADER_BYTES);
  result.set(structure, structureOffset);
  result.set(concatenate(stringParts), stringsOffset);
  return result;
}
