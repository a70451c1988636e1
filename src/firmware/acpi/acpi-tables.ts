/** All ACPI tables of a machine, for the place where they will lie. */

import { type AddressLike, addAddresses, hex, toAddress } from "../../base/address.js";
import { DirectBootError } from "../../base/errors.js";
import { named } from "../../base/options.js";
import { checkX86Machine } from "../../machine/check-machine.js";
import type { MachineDescription, X86Machine } from "../../machine/description.js";
import { checksum, TableWriter } from "../table-writer.js";
import { buildDsdt } from "./dsdt.js";
import { buildFacs, buildFadt } from "./fadt.js";
import { buildMadt } from "./madt.js";
import { buildHpet, buildMcfg, buildSpcr } from "./small-tables.js";
import { HEADER_BYTES, table } from "./table.js";

/** Where one of the tables is. */
export interface AcpiTable {
  readonly signature: string;
  /** Guest physical address. */
  readonly address: bigint;
  /** Its bytes, within `tables`. */
  readonly bytes: Uint8Array;
}

/** A machine's ACPI tables, ready for their place. */
export interface AcpiTables {
  /** 36 bytes for any multiple of 16, at best in [0xe0000, 0x100000), where kernels search for it. */
  readonly rsdp: Uint8Array;
  /** All other tables, for `address`. */
  readonly tables: Uint8Array;
  /** Guest physical address of `tables`. */
  readonly address: bigint;
  /** Each of them, in the order in which they lie. */
  readonly list: readonly AcpiTable[];
}

/** FACS must lie at a multiple of 64 (ACPI 6.5, 5.2.10); for all others 16 is plenty. */
const ALIGNMENT = 64n;
const FOUR_GIB = 1n << 32n;

const alignUp = (value: bigint): bigint => (value + ALIGNMENT - 1n) & -ALIGNMENT;

/** RSDT and XSDT: a header, and the addresses of other tables. */
function rootTable(signature: "RSDT" | "XSDT", addresses: readonly bigint[]): Uint8Array {
  const out = new TableWriter();
  for (const address of addresses) {
    if (signature === "XSDT") out.u64(address);
    else out.u32(Number(address));
  }
  return table(signature, 1, out.toBytes());
}

/** Revision 2 (ACPI 6.5, 5.2.5.3): the first 20 bytes have a checksum of their own. */
function buildRsdp(rsdt: bigint, xsdt: bigint): Uint8Array {
  const out = new TableWriter().ascii("RSD PTR ").u8(0).ascii("DBOOT ").u8(2).u32(Number(rsdt));
  const bytes = out.u32(36).u64(xsdt).zeros(4).toBytes();
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

/** The tables of a machine that was checked. Throws ADDRESS_OVERFLOW, UNALIGNED_ADDRESS. */
export function acpiTablesOf(machine: X86Machine, address: bigint): AcpiTables {
  if (address % ALIGNMENT !== 0n) {
    throw new DirectBootError(
      "UNALIGNED_ADDRESS",
      `address ${hex(address)} is not a multiple of ${hex(ALIGNMENT)}`,
      {
        cure: "use a multiple of 64, which FACS needs",
      },
    );
  }
  const list: AcpiTable[] = [];
  let next = address;
  const put = (signature: string, bytes: Uint8Array | undefined): bigint => {
    if (bytes === undefined) return 0n;
    const at = next;
    list.push({ signature, address: at, bytes });
    next = alignUp(
      addAddresses(at, BigInt(bytes.byteLength) + ALIGNMENT, "end of the ACPI tables") - ALIGNMENT,
    );
    return at;
  };
  // Fixed registers have a global lock, and so a FACS; hardware-reduced ACPI has neither.
  const facs = put("FACS", machine.power?.type === "reduced" ? undefined : buildFacs());
  const dsdt = put("DSDT", buildDsdt(machine));
  const named = [
    put("FACP", buildFadt(machine, dsdt, facs)),
    put("APIC", buildMadt(machine)),
    put("HPET", buildHpet(machine)),
    put("MCFG", buildMcfg(machine)),
    put("SPCR", buildSpcr(machine)),
  ].filter((at) => at !== 0n);
  const xsdt = put("XSDT", rootTable("XSDT", named));
  // Only kernels before ACPI 2.0 read the RSDT, which has 32 bits for each address.
  const isLow = next + BigInt(HEADER_BYTES + 4 * named.length) <= FOUR_GIB;
  const rsdt = put("RSDT", isLow ? rootTable("RSDT", named) : undefined);
  const last = list.at(-1);
  const length = last === undefined ? 0 : Number(last.address - address) + last.bytes.byteLength;
  const tables = new Uint8Array(length);
  const placed = list.map(({ signature, address: at, bytes }) => {
    const offset = Number(at - address);
    tables.set(bytes, offset);
    return { signature, address: at, bytes: tables.subarray(offset, offset + bytes.byteLength) };
  });
  return { rsdp: buildRsdp(rsdt, xsdt), tables, address, list: placed };
}

const checkPlace = /* @__PURE__ */ named("address");

/**
 * The ACPI tables of an x86 machine: FADT (hardware-reduced, where the machine is), FACS, DSDT, MADT; HPET, MCFG and SPCR
 * where there is such a device; XSDT, RSDT below 4 GiB, and RSDP. `loadLinux({ machine })` does it by itself; this is for
 * hosts that place tables themselves.
 *
 * @param place.address guest physical address of the tables, a multiple of 64
 * @throws what {@link checkMachine} throws
 * @throws DirectBootError OPTION_NOT_FOR_ARCHITECTURE for arm64 and riscv64, whose guests get a device tree;
 *   UNALIGNED_ADDRESS, ADDRESS_OUT_OF_RANGE, ADDRESS_OVERFLOW
 *
 * @example
 * ```ts
 * import { buildAcpiTables, machines } from "directboot";
 *
 * const { rsdp, tables } = buildAcpiTables(machines.qemuQ35({ cpus: 4 }), { address: 0xe_1000 });
 * console.log(rsdp.byteLength, tables.byteLength < 8192); // 36 true
 * ```
 */
export function buildAcpiTables(
  machine: MachineDescription,
  place: { readonly address: AddressLike },
): AcpiTables {
  checkPlace(place, "");
  return acpiTablesOf(checkX86Machine(machine, "ACPI tables"), toAddress(place.address, "address"));
}
