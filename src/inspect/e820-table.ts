/** The e820 map as the kernel is given it: read back out of boot_params, a PVH start info or setup_data. */
import { hex } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { BOOT_PARAMS_BYTES, BOOT_PARAMS_OFFSETS } from "../x86/boot-params.js";
import { E820_ENTRY_BYTES, E820_MAX_ENTRIES, type E820Entry } from "../x86/e820.js";
import { HVM_MEMMAP_ENTRY_BYTES, HVM_START_INFO_BYTES, HVM_START_INFO_OFFSETS } from "../x86/pvh.js";
import { SETUP_DATA_HEADER_BYTES, SETUP_E820_EXT } from "../x86/setup-data.js";
import { jsonSafe } from "./json-safe.js";

/** An entry of the map, and what its type is called. `JSON.stringify` gives the addresses as hex strings. */
export interface NamedE820Entry extends E820Entry {
  /** In words, such as "usable RAM". */
  readonly typeName: string;
}

/** ACPI specification 6.5, table 15.1, "Address Range Types"; 128 and 0xefffffff: the kernel's asm/e820/types.h. */
const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: "usable RAM",
  2: "reserved",
  3: "ACPI tables, reclaimable",
  4: "ACPI NVS",
  5: "unusable: broken memory",
  6: "disabled",
  7: "persistent memory",
  12: "persistent memory (legacy)",
  128: "reserved by the kernel",
};

/** The name of an e820 type, or its number if it has none. */
export function e820TypeName(type: number): string {
  return TYPE_NAMES[type] ?? `type ${hex(type)}`;
}

function named(start: bigint, byteLength: bigint, type: number): NamedE820Entry {
  // A size that passes 2^64 stays as it is: this shows what is there.
  return jsonSafe({ start, end: start + byteLength, type, typeName: e820TypeName(type) });
}

function entriesAt(view: DataView, from: number, count: number, entryBytes: number): NamedE820Entry[] {
  const most = Math.max(Math.floor((view.byteLength - from) / entryBytes), 0);
  return Array.from({ length: Math.min(count, most) }, (_, index) => {
    const at = from + index * entryBytes;
    return named(view.getBigUint64(at, true), view.getBigUint64(at + 8, true), view.getUint32(at + 16, true));
  });
}

/** Throws TypeError for what is no array of bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`the table's bytes must be a Uint8Array, got ${describeType(bytes)}`);
  }
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Throws BOOT_PARAMS_BAD_E820 for a page that is cut. */
export function viewOfZeroPage(zeroPage: Uint8Array): DataView {
  const view = viewOf(zeroPage);
  if (view.byteLength >= BOOT_PARAMS_BYTES) return view;
  throw new DirectBootError(
    "BOOT_PARAMS_BAD_E820",
    `the zero page has ${zeroPage.byteLength} bytes, ${BOOT_PARAMS_BYTES} are wanted`,
    { cure: "give all of struct boot_params" },
  );
}

/**
 * The e820 map that stands in a zero page (`e820_entries`, `e820_table`; asm/bootparam.h), whatever its values: neither
 * order nor overlaps are checked. Entries past 128 are in setup_data, see {@link decodeE820Extension}.
 *
 * @param zeroPage all of `struct boot_params`, 4096 bytes; what follows is not looked at
 * @throws DirectBootError BOOT_PARAMS_BAD_E820 if there are fewer bytes
 */
export function decodeE820(zeroPage: Uint8Array): NamedE820Entry[] {
  const view = viewOfZeroPage(zeroPage);
  const count = Math.min(view.getUint8(BOOT_PARAMS_OFFSETS.e820_entries), E820_MAX_ENTRIES);
  // buildBootParams counts at least two entries, as the kernel wants it: what is all zero is none.
  return entriesAt(view, BOOT_PARAMS_OFFSETS.e820_table, count, E820_ENTRY_BYTES).filter(
    ({ start, end, type }) => start !== end || type !== 0,
  );
}

/**
 * The entries of the SETUP_E820_EXT nodes in a setup_data list that lies at `address`: what did not fit in boot_params.
 * The list is followed as far as it lies in `bytes`; one that goes back is not followed there.
 */
export function decodeE820Extension(bytes: Uint8Array, address: bigint): NamedE820Entry[] {
  const view = viewOf(bytes);
  const found: NamedE820Entry[] = [];
  let at = 0;
  while (at + SETUP_DATA_HEADER_BYTES <= bytes.byteLength) {
    const next = view.getBigUint64(at, true);
    const data = at + SETUP_DATA_HEADER_BYTES;
    const length = Math.min(view.getUint32(at + 12, true), bytes.byteLength - data);
    if (view.getUint32(at + 8, true) === SETUP_E820_EXT) {
      found.push(...entriesAt(view, data, Math.floor(length / E820_ENTRY_BYTES), E820_ENTRY_BYTES));
    }
    if (next <= address + BigInt(at) || next >= address + BigInt(bytes.byteLength)) break;
    at = Number(next - address);
  }
  return found;
}

/**
 * The memory map in a PVH start info that lies at `address` (start_info.h, `memmap_paddr`), as far as it is in `bytes`.
 */
export function decodeStartInfoMap(bytes: Uint8Array, address: bigint): NamedE820Entry[] {
  const view = viewOf(bytes);
  if (bytes.byteLength < HVM_START_INFO_BYTES) return [];
  const offset = view.getBigUint64(HVM_START_INFO_OFFSETS.memmap_paddr, true) - address;
  if (offset < 0n || offset >= BigInt(bytes.byteLength)) return [];
  const count = Math.min(view.getUint32(HVM_START_INFO_OFFSETS.memmap_entries, true), E820_MAX_ENTRIES);
  return entriesAt(view, Number(offset), count, HVM_MEMMAP_ENTRY_BYTES);
}
