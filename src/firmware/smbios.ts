/**
 * SMBIOS, the names of a machine and its parts: an entry point, and the structures behind it. DMTF DSP0134, System Management
 * BIOS Reference Specification 3.3. Linux searches [0xf0000, 0x100000) for the entry point.
 */

import { type AddressLike, hex, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import { checkMachine } from "../machine/check-machine.js";
import { cpusOf, type MachineDescription, type MachineIdentity } from "../machine/description.js";
import { uuidBytes } from "./acpi/aml.js";
import { checksum, TableWriter } from "./table-writer.js";

/** Bytes of the 64-bit entry point (5.2.2), and where the structures begin behind it. */
const ENTRY_POINT_BYTES = 24;
const STRUCTURES_OFFSET = 32;
const VERSION = [3, 3, 0] as const;
const ALIGNMENT = 16n;

const OTHER = 1;
const UNKNOWN = 2;
const MIB = 1n << 20n;
/** No structure: for errors, contained objects. */
const NO_HANDLE = 0xfffe;

/** Structures of a type begin at their own hundred, as QEMU's do. */
const HANDLES = {
  0: 0,
  1: 0x100,
  2: 0x200,
  3: 0x300,
  4: 0x400,
  16: 0x1000,
  17: 0x1100,
  19: 0x1300,
  32: 0x2000,
  127: 0x7f00,
};

/** The formatted part of a structure, and its strings, numbered from 1 on (6.1.3). */
class Structure extends TableWriter {
  readonly #strings: string[] = [];

  /** The number of a string; 0 for none. */
  string(text: string | undefined): this {
    if (text === undefined) return this.u8(0);
    return this.u8(this.#strings.push(text));
  }

  /** The structure whole: header, formatted part, strings, and two NULs at the end. */
  finish(type: keyof typeof HANDLES, index = 0): Uint8Array {
    const body = this.toBytes();
    const out = new TableWriter().u8(type, body.byteLength + 4).u16(HANDLES[type] + index);
    out.u8(...body);
    for (const text of this.#strings) out.ascii(text).u8(0);
    if (this.#strings.length === 0) out.u8(0);
    return out.u8(0).toBytes();
  }
}

/** BIOS information (7.1): characteristics "not supported"; a virtual machine that was described by directboot. */
function bios({ firmwareVendor, firmwareVersion, firmwareDate }: MachineIdentity): Uint8Array {
  const out = new Structure();
  out
    .string(firmwareVendor ?? "directboot")
    .string(firmwareVersion ?? "0")
    .u16(0xe000);
  out
    .string(firmwareDate ?? "01/01/2024")
    .u8(0)
    .u64(0x08n);
  // Targeted content distribution; a virtual machine.
  return out.u8(0, 0x14, 0xff, 0xff, 0xff, 0xff).u16(0).finish(0);
}

/** System information (7.2); a UUID of zeros is none. */
function system(identity: MachineIdentity): Uint8Array {
  const out = new Structure();
  out
    .string(identity.manufacturer)
    .string(identity.product)
    .string(identity.version)
    .string(identity.serialNumber);
  if (identity.uuid === undefined) out.zeros(16);
  else out.u8(...uuidBytes(identity.uuid));
  const POWER_SWITCH = 6;
  return out.u8(POWER_SWITCH).string(identity.sku).string(identity.family).finish(1);
}

/** Baseboard information (7.3): a motherboard that hosts all. */
function baseboard(identity: MachineIdentity): Uint8Array {
  const out = new Structure();
  out
    .string(identity.manufacturer)
    .string(identity.product)
    .string(identity.version)
    .string(identity.serialNumber);
  const [HOSTING_BOARD, MOTHERBOARD] = [1, 0x0a];
  return out.string(identity.assetTag).u8(HOSTING_BOARD, 0).u16(HANDLES[3]).u8(MOTHERBOARD, 0).finish(2);
}

/** Chassis (7.4): all states safe. */
function chassis(identity: MachineIdentity): Uint8Array {
  const out = new Structure();
  out.string(identity.manufacturer).u8(OTHER).string(identity.version).string(identity.serialNumber);
  const SAFE = 3;
  out.string(identity.assetTag).u8(SAFE, SAFE, SAFE, UNKNOWN).u32(0).u8(0, 0, 0, 0);
  return out.string(identity.sku).finish(3);
}

/** Processor information of a socket (7.5): cores and threads; no caches, no speed. */
function processor(identity: MachineIdentity, socket: number, cores: number, threads: number): Uint8Array {
  const out = new Structure();
  const CENTRAL_PROCESSOR = 3;
  out.string(`CPU ${socket}`).u8(CENTRAL_PROCESSOR, OTHER).string(identity.manufacturer).zeros(8);
  out.string(identity.version).u8(0).u16(0).u16(0).u16(0);
  const POPULATED_ENABLED = 0x41;
  // No cache has a structure.
  out.u8(POPULATED_ENABLED, OTHER).u16(0xffff).u16(0xffff).u16(0xffff).u8(0, 0, 0);
  const small = (count: number): number => (count > 255 ? 255 : count);
  // 64-bit capable, several cores, several threads a core.
  const characteristics = 0x04 | (cores > 1 ? 0x08 : 0) | (threads > cores ? 0x10 : 0);
  out.u8(small(cores), small(cores), small(threads)).u16(characteristics).u16(OTHER);
  return out.u16(cores).u16(cores).u16(threads).finish(4, socket);
}

/** How many cores and threads each socket has; CPUs without a place are cores of socket 0. */
function sockets(machine: MachineDescription): Map<number, { cores: Set<number>; threads: number }> {
  const all = new Map<number, { cores: Set<number>; threads: number }>();
  for (const [index, { socket = 0, core = index }] of cpusOf(machine).entries()) {
    const one = all.get(socket) ?? { cores: new Set(), threads: 0 };
    one.cores.add(core);
    one.threads += 1;
    all.set(socket, one);
  }
  return all;
}

/** Physical memory array (7.17): sizes of 2 TiB and more have a field of their own. */
function memoryArray(size: bigint, devices: number): Uint8Array {
  const kib = size >> 10n;
  const isLarge = kib >= 0x8000_0000n;
  const [SYSTEM_MEMORY, NO_ECC] = [3, 3];
  const out = new Structure().u8(OTHER, SYSTEM_MEMORY, NO_ECC).u32(isLarge ? 0x8000_0000 : Number(kib));
  return out
    .u16(NO_HANDLE)
    .u16(devices)
    .u64(isLarge ? size : 0n)
    .finish(16);
}

/** Memory device (7.18), a DIMM with all RAM in it; sizes from 32 GiB - 1 MiB on have a field of their own. */
function memoryDevice(size: bigint): Uint8Array {
  const mib = size / MIB;
  const isLarge = mib >= 0x7fffn;
  const [DIMM, RAM] = [9, 7];
  const out = new Structure().u16(HANDLES[16]).u16(NO_HANDLE).u16(0xffff).u16(0xffff);
  out
    .u16(isLarge ? 0x7fff : Number(mib))
    .u8(DIMM, 0)
    .string("DIMM 0")
    .u8(0, RAM)
    .u16(UNKNOWN);
  out
    .u16(0)
    .u8(0, 0, 0, 0, 0)
    .u32(isLarge ? Number(mib) : 0)
    .u16(0)
    .u16(0)
    .u16(0)
    .u16(0);
  return out.finish(17);
}

/** Memory array mapped address (7.20): a range of RAM, in KiB, or in bytes where it does not end below 4 TiB. */
function mappedAddress(start: bigint, end: bigint, index: number): Uint8Array {
  const [first, last] = [start >> 10n, (end - 1n) >> 10n];
  const isLarge = last >= 0xffff_ffffn;
  const out = new Structure();
  out.u32(isLarge ? 0xffff_ffff : Number(first)).u32(isLarge ? 0xffff_ffff : Number(last));
  return out
    .u16(HANDLES[16])
    .u8(1)
    .u64(isLarge ? start : 0n)
    .u64(isLarge ? end - 1n : 0n)
    .finish(19, index);
}

/** The structures, in the order of their types. */
function structures(machine: MachineDescription): Uint8Array[] {
  const { identity = {}, ram = [] } = machine;
  const ranges = ram.map(({ start, end }) => ({ start: BigInt(start), end: BigInt(end) }));
  const size = ranges.reduce((sum, { start, end }) => sum + (end - start), 0n);
  const cpus = [...sockets(machine)].map(([socket, { cores, threads }]) =>
    processor(identity, socket, cores.size, threads),
  );
  const memory = ranges.length === 0 ? [] : [memoryArray(size, 1), memoryDevice(size)];
  return [
    ...[bios(identity), system(identity), baseboard(identity), chassis(identity), ...cpus, ...memory],
    ...ranges.map(({ start, end }, index) => mappedAddress(start, end, index)),
    // System boot information (7.33): no errors.
    new Structure().zeros(7).finish(32),
    new Structure().finish(127),
  ];
}

/** SMBIOS of a machine that was checked. Throws UNALIGNED_ADDRESS. */
export function smbiosOf(machine: MachineDescription, address: bigint): Uint8Array {
  if (address % ALIGNMENT !== 0n) {
    throw new DirectBootError("UNALIGNED_ADDRESS", `address ${hex(address)} is not a multiple of 16`, {
      cure: "use a multiple of 16 in [0xf0000, 0x100000)",
    });
  }
  const all = structures(machine);
  const length = all.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const entry = new TableWriter()
    .ascii("_SM3_")
    .u8(0, ENTRY_POINT_BYTES, ...VERSION, 1, 0)
    .u32(length);
  const entryBytes = entry.u64(address + BigInt(STRUCTURES_OFFSET)).toBytes();
  entryBytes[5] = checksum(entryBytes);
  const bytes = new Uint8Array(STRUCTURES_OFFSET + length);
  bytes.set(entryBytes);
  let next = STRUCTURES_OFFSET;
  for (const structure of all) {
    bytes.set(structure, next);
    next += structure.byteLength;
  }
  return bytes;
}

const checkPlace = /* @__PURE__ */ named("address");

/**
 * SMBIOS 3.3 of a machine, by its `identity`, CPUs and RAM: types 0, 1, 2, 3, 4, 16, 17, 19, 32 and 127. The entry point lies at
 * `address`, the structures 32 bytes behind it.
 *
 * @param place.address guest physical address, a multiple of 16 in [0xf0000, 0x100000), where kernels search
 * @throws what {@link checkMachine} throws
 * @throws DirectBootError UNALIGNED_ADDRESS, ADDRESS_OUT_OF_RANGE
 */
export function buildSmbios(
  machine: MachineDescription,
  place: { readonly address: AddressLike },
): Uint8Array {
  checkPlace(place, "");
  checkMachine(machine);
  return smbiosOf(machine, toAddress(place.address, "address"));
}
