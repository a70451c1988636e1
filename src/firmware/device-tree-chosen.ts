/** Writing a loader's properties into /chosen of a device tree: Devicetree Specification v0.4, section 3.6. */

import { type AddressLike, hex, toAddress, toLength } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import { commandLineBytes, withNul } from "../plan/command-line.js";
import {
  alignUp,
  BEGIN_NODE,
  type Blocks,
  checkBytes,
  cString,
  END,
  END_NODE,
  type Extent,
  HEADER_BYTES,
  isNamed,
  LAST_COMPATIBLE_VERSION,
  MAGIC,
  MAX_TREE_BYTES,
  PROPERTY,
  readBlocks,
  TOKEN_BYTES,
  VERSION,
  walk,
} from "./device-tree-format.js";

const CHOSEN = "chosen";
const INITRD_START = "linux,initrd-start";
const INITRD_END = "linux,initrd-end";

/** Properties that {@link setChosen} writes; those left out stay as they are in the tree. */
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

function bytesIn(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Words as the structure block holds them. */
function tokens(...words: readonly number[]): Uint8Array {
  return Uint8Array.from(words.flatMap((word) => [word >>> 24, word >>> 16, word >>> 8, word]));
}

/** Bytes with zeros up to the next token. */
function padded(bytes: Uint8Array): readonly Uint8Array[] {
  return [bytes, new Uint8Array(alignUp(bytes.byteLength, TOKEN_BYTES) - bytes.byteLength)];
}

/** A u64 as two cells, big-endian (section 2.2.4.2, <u64>). */
function u64Value(number: bigint): Uint8Array {
  return tokens(Number(number >> 32n), Number(number & 0xffff_ffffn));
}

/** The properties that `chosen` asks for, by name, checked; null for one that is to go. */
function chosenValues(chosen: Chosen): Map<string, Uint8Array | null> {
  const values = new Map<string, Uint8Array | null>();
  const { bootargs, initrdStart, initrdEnd, rngSeed } = chosen;
  if (bootargs !== undefined) {
    // In UTF-8 a string has at least as many bytes as characters.
    checkTreeSize(bootargs?.length ?? 0, "a bootargs");
    // A <string> (section 2.2.4.2).
    values.set("bootargs", withNul(commandLineBytes(bootargs, "bootargs")));
  }
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
    values.set("rng-seed", rngSeed);
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

/**
 * Looks for the first child of the root called chosen (libfdt takes a unit address, too).
 *
 * @returns where properties are inserted: behind /chosen's last one, or without /chosen at the root's FDT_END_NODE; the
 *   properties of /chosen that are `replaced`, in order; offsets in the strings block of names that the tree uses already; and
 *   what is behind FDT_END_NODE of the root
 */
function findChosen(blocks: Blocks, values: ReadonlyMap<string, unknown>) {
  const replaced: Extent[] = [];
  const nameOffsets = new Map<string, number>();
  let isInside = false;
  let chosenAt: number | undefined;
  let rootEnd = 0;
  walk(blocks, {
    beginNode: (name, nodeDepth, bodyStart) => {
      isInside = chosenAt === undefined && nodeDepth === 2 && isNamed(name, CHOSEN);
      if (isInside) chosenAt = bodyStart;
    },
    property: (name, _value, extent, nameOffset) => {
      if (values.has(name) && !nameOffsets.has(name)) nameOffsets.set(name, nameOffset);
      if (!isInside) return;
      chosenAt = extent.end;
      if (values.has(name)) replaced.push(extent);
    },
    endNode: (_depth, offset) => {
      isInside = false;
      // The last one is the root's.
      rootEnd = offset + TOKEN_BYTES;
    },
  });
  const exists = chosenAt !== undefined;
  return { exists, insertAt: chosenAt ?? rootEnd - TOKEN_BYTES, replaced, nameOffsets, rootEnd };
}

const checkNames = /* @__PURE__ */ named("bootargs", "initrdStart", "initrdEnd", "rngSeed", "padding");

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
  checkNames(chosen, "");
  const blocks = readBlocks(tree);
  const values = chosenValues(chosen);
  const padding = toLength(chosen.padding ?? 0, "padding");
  const place = findChosen(blocks, values);
  const { bytes, reservations, strings } = blocks;

  const stringParts = [bytes.subarray(strings.start, strings.end)];
  const added: Uint8Array[] = [];
  for (const [name, value] of values) {
    if (value === null) continue;
    let nameOffset = place.nameOffsets.get(name);
    if (nameOffset === undefined) {
      nameOffset = bytesIn(stringParts);
      stringParts.push(cString(name));
    }
    added.push(tokens(PROPERTY, value.byteLength, nameOffset), ...padded(value));
  }
  if (!place.exists && values.size > 0) {
    added.unshift(tokens(BEGIN_NODE), ...padded(cString(CHOSEN)));
    added.push(tokens(END_NODE));
  }

  // The old structure, without what is replaced, and with what is added in its place.
  const structure: Uint8Array[] = [];
  let kept = blocks.structure.start;
  for (const { start, end } of place.replaced) {
    structure.push(bytes.subarray(kept, start));
    kept = end;
  }
  const { insertAt, rootEnd } = place;
  structure.push(bytes.subarray(kept, insertAt), ...added, bytes.subarray(insertAt, rootEnd), tokens(END));

  const structureOffset = HEADER_BYTES + (reservations.end - reservations.start);
  const stringsOffset = structureOffset + bytesIn(structure);
  const totalSize = stringsOffset + bytesIn(stringParts) + padding;
  checkTreeSize(totalSize, "a device tree");
  const header = tokens(
    MAGIC,
    totalSize,
    structureOffset,
    stringsOffset,
    HEADER_BYTES, // off_mem_rsvmap
    VERSION,
    LAST_COMPATIBLE_VERSION,
    blocks.bootCpu,
    bytesIn(stringParts),
    bytesIn(structure),
  );
  const result = new Uint8Array(totalSize);
  let at = 0;
  const reserved = bytes.subarray(reservations.start, reservations.end);
  for (const part of [header, reserved, ...structure, ...stringParts]) {
    result.set(part, at);
    at += part.byteLength;
  }
  return result;
}
