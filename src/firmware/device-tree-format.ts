/**
 * The format of flattened device trees: header, blocks, and the tokens of the structure block. Devicetree Specification
 * v0.4, chapter 5.
 *
 *     0         40           off_dt_struct      off_dt_strings       totalsize
 *     | header  | reserved … | structure …      | strings …          |  whatever is behind is not part of it
 *
 * The three blocks may come in any order and with space between them; they must lie within totalsize and apart.
 */
import { hex } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";

/** The first word of a tree, big-endian like all of it (section 5.2). */
export const MAGIC = 0xd00d_feed;
/** Bytes in the header of version 17 (section 5.2). */
export const HEADER_BYTES = 40;
/** The version that we read and write, and the oldest that ours is compatible with (section 5.2). */
export const VERSION = 17;
export const LAST_COMPATIBLE_VERSION = 16;
/** Bytes in an entry of the memory reservation block: address and size, u64 each (section 5.3.2). */
export const RESERVATION_BYTES = 16;
/** Alignments of the blocks (section 5.6). */
const RESERVATION_ALIGNMENT = 8;
const STRUCTURE_ALIGNMENT = 4;
/** Tokens of the structure block, u32 each (section 5.4.1). */
export const BEGIN_NODE = 1;
export const END_NODE = 2;
export const PROPERTY = 3;
const NOP = 4;
export const END = 9;
export const TOKEN_BYTES = 4;
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
export const MAX_TREE_BYTES = 0x100_0000;
/** A part of the tree, `[start, end)` as offsets from its first byte. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

export interface Blocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly bootCpu: number;
  /** With its terminating entry. */
  readonly reservations: Extent;
  readonly structure: Extent;
  readonly strings: Extent;
}

/** Called by {@link walk} in the tree's order. All numbers are offsets from the first byte of the tree. */
interface Visitor {
  /** A node begins; `depth` is 1 for the root; `bodyStart` is behind its padded name. */
  beginNode?(name: string, depth: number, bodyStart: number): void;
  /** A property of the innermost open node; `extent` is all of it, `value` its value alone. */
  property?(name: string, value: Extent, extent: Extent, nameOffset: number): void;
  /** The innermost open node ends; `offset` is that of its FDT_END_NODE. */
  endNode?(depth: number, offset: number): void;
}

export function malformed(details: string): DirectBootError {
  return new DirectBootError("DEVICE_TREE_MALFORMED", `device tree: ${details}`);
}

export function checkBytes(value: Uint8Array, name: string): void {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`${name} must be a Uint8Array, got ${describeType(value)}`);
  }
}

export function alignUp(offset: number, alignment: number): number {
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
export function readBlocks(tree: Uint8Array): Blocks {
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
  for (const [index, block] of named.entries()) {
    const next = named[index + 1];
    if (next !== undefined && next.start < block.end) {
      throw malformed(`the ${block.name} block and the ${next.name} block overlap at ${hex(next.start)}`);
    }
  }
  return { bytes, view, bootCpu: view.getUint32(28), reservations, structure, strings };
}

/** The name at `start`, up to its NUL, which must come before `limit`; `whose` is for the message. */
function nameAt(bytes: Uint8Array, start: number, limit: number, whose: string): string {
  // One more byte than a name may have: its NUL.
  const window = bytes.subarray(start, Math.min(limit, start + MAX_NAME_BYTES + 1));
  const length = window.indexOf(0);
  // One character a byte: names are ASCII, and what isn't stays distinct. In one call: added up one by one, each would take
  // 32 bytes until V8 flattens the string.
  if (length >= 0) return String.fromCharCode(...window.subarray(0, length));
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
export function walk(blocks: Blocks, visitor: Visitor): void {
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

/** Whether `name` is `unitName`, with or without a unit address (section 2.2.1). */
export function isNamed(name: string, unitName: string): boolean {
  return name === unitName || name.startsWith(`${unitName}@`);
}

/** A string with its NUL; for names of our own, which are ASCII. */
export function cString(text: string): Uint8Array {
  return Uint8Array.from([...text].map((character) => character.charCodeAt(0)).concat(0));
}
