/**
 * The e820 map: what each range of guest physical addresses is. Named after the BIOS function that PCs report it with
 * (ACPI specification, chapter 15, "System Address Map Interfaces"); Linux takes it from boot_params, and PVH in its
 * own form.
 */
import { type AddressLike, hex, hexRange, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { without } from "../plan/placement.js";

// E820 types: asm/e820.h of the kernel's UAPI headers; asm/e820/types.h within the kernel.
/** Usable RAM. */
export const E820_RAM = 1;
/** Not to be used. */
export const E820_RESERVED = 2;
/** ACPI tables; Linux may use the memory once it has read them. */
export const E820_ACPI = 3;
/** Memory that ACPI firmware needs across sleep states. */
export const E820_NVS = 4;
/** Broken memory. */
export const E820_UNUSABLE = 5;

/** E820_MAX_ENTRIES_ZEROPAGE (asm/bootparam.h): what fits in boot_params. */
export const E820_MAX_ENTRIES = 128;
/** sizeof(struct boot_e820_entry), packed: addr u64, size u64, type u32 (asm/bootparam.h). */
export const E820_ENTRY_BYTES = 20;

const U32_MAX = 0xffff_ffff;

/** A range of guest physical addresses and what it is. */
export interface E820Entry {
  /** First byte; need not be page-aligned. */
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;
  /** One of the E820_* constants, or another type of the ACPI specification, table 15.1. */
  readonly type: number;
}

/** A range of the e820 map as callers give it. */
export interface E820EntryInput {
  /** First byte; need not be page-aligned. */
  readonly start: AddressLike;
  /** One past the last byte. */
  readonly end: AddressLike;
  /** As in {@link E820Entry}. */
  readonly type: number;
}

function describeEntry({ start, end, type }: E820Entry): string {
  return `${hexRange(start, end)} (type ${type})`;
}

/** A checked copy of a caller's reservation. */
function toReservation({ start, end, type }: E820EntryInput, index: number): E820Entry {
  const name = `reservation ${index}`;
  const entry = { start: toAddress(start, `${name}.start`), end: toAddress(end, `${name}.end`), type };
  const refuse = (why: string): never => {
    throw new DirectBootError("E820_INVALID_ENTRY", `${name} ${describeEntry(entry)}: ${why}`);
  };
  if (!Number.isInteger(type) || type < E820_RAM || type > U32_MAX) {
    refuse(`the type must be an integer from 1 to ${hex(U32_MAX)}`);
  }
  if (entry.end < entry.start) refuse("the range ends below its start");
  if (type === E820_RAM) refuse("RAM comes from the memory layout");
  return entry;
}

function byStart(a: E820Entry, b: E820Entry): number {
  return a.start < b.start ? -1 : a.start > b.start ? 1 : 0;
}

/** Joins entries of the same type that touch or overlap; of a sorted list. */
function joinNeighbours(sorted: readonly E820Entry[]): E820Entry[] {
  const joined: E820Entry[] = [];
  for (const entry of sorted) {
    const last = joined.at(-1);
    if (
      last === undefined ||
      entry.start > last.end ||
      (entry.start === last.end && entry.type !== last.type)
    ) {
      joined.push(entry);
    } else if (entry.type !== last.type) {
      throw new DirectBootError(
        "E820_OVERLAP",
        `the reservations ${describeEntry(last)} and ${describeEntry(entry)} overlap`,
      );
    } else if (entry.end > last.end) {
      joined[joined.length - 1] = { ...last, end: entry.end };
    }
  }
  return joined;
}

/**
 * The e820 map of a guest: the RAM of its layout, with the reservations cut out of it and listed as they are, inside
 * RAM or outside (MMIO). In ascending order, without overlaps; neighbours of one type are one entry, whatever their
 * NUMA nodes. Takes time in proportion to n log n.
 *
 * @param reservations ranges that are no usable RAM, in any order, at any byte; empty ones are left out, and those of
 *   one type may overlap
 * @throws DirectBootError E820_OVERLAP if two reservations of different types share a byte, E820_INVALID_ENTRY if one
 *   is reversed, is RAM or has no valid type, ADDRESS_OUT_OF_RANGE
 */
export function buildE820Map(layout: MemoryLayout, reservations: readonly E820EntryInput[]): E820Entry[] {
  const entries = reservations.map(toReservation).filter(({ start, end }) => start < end);
  const reserved = joinNeighbours(entries.sort(byStart));
  const ram = layout.ram.map(({ range }) => range);
  const free = without(ram, reserved).map((part) => ({ ...part, type: E820_RAM }));
  return joinNeighbours([...free, ...reserved].sort(byStart));
}

/**
 * Entries as `struct boot_e820_entry`: the table in boot_params, and the data of a SETUP_E820_EXT node. PVH's begin with the
 * same bytes.
 */
export function encodeE820Entries(
  entries: readonly E820Entry[],
  entryBytes: number = E820_ENTRY_BYTES,
): Uint8Array {
  const bytes = new Uint8Array(entries.length * entryBytes);
  const view = new DataView(bytes.buffer);
  for (const [index, { start, end, type }] of entries.entries()) {
    const at = index * entryBytes;
    view.setBigUint64(at, start, true);
    view.setBigUint64(at + 8, end - start, true);
    view.setUint32(at + 16, type, true);
  }
  return bytes;
}
