/** What a machine's description becomes in an x86 guest's memory: ACPI, SMBIOS, the MP table, and what is no usable RAM. */
import { hexRange, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { acpiTablesOf } from "../firmware/acpi/acpi-tables.js";
import { fitsMpTable, mpTableOf } from "../firmware/mp-table.js";
import { smbiosOf } from "../firmware/smbios.js";
import { checkX86Machine } from "../machine/check-machine.js";
import type { MachineDescription } from "../machine/description.js";
import { ecamOf } from "../machine/occupied.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { E820_RESERVED, type E820EntryInput } from "./e820.js";
import { LEGACY_TABLES_ADDRESS, LEGACY_TABLES_END } from "./low-memory-map.js";

/** End of the BIOS area: all of it is reserved, as by firmware. */
const BIOS_AREA_END = 0x10_0000n;

/** Tables, and ranges for the e820 map. */
export interface MachineTables {
  readonly acpi: { readonly rsdp: Uint8Array; readonly tables: Uint8Array };
  /** SMBIOS, then the MP table, for {@link LEGACY_TABLES_ADDRESS}. */
  readonly legacy: Uint8Array;
  readonly reserved: readonly E820EntryInput[];
}

function tooLarge(
  what: string,
  byteLength: number,
  start: bigint,
  end: bigint,
  cure?: string,
): DirectBootError {
  const room = Number(end - start);
  return new DirectBootError(
    "MACHINE_TABLES_TOO_LARGE",
    `${what} need ${byteLength} bytes, ${hexRange(start, end)} has ${room}`,
    cure === undefined ? undefined : { cure },
  );
}

/** SMBIOS and the MP table behind it. Kernels with more CPUs than an MP table holds have ACPI. */
function legacyTables(machine: ReturnType<typeof checkX86Machine>): Uint8Array {
  const smbios = smbiosOf(machine, LEGACY_TABLES_ADDRESS);
  const offset = Math.ceil(smbios.byteLength / 16) * 16;
  const mpTable = fitsMpTable(machine)
    ? mpTableOf(machine, LEGACY_TABLES_ADDRESS + BigInt(offset))
    : new Uint8Array();
  const bytes = new Uint8Array(offset + mpTable.byteLength);
  bytes.set(smbios);
  bytes.set(mpTable, offset);
  return bytes;
}

/**
 * The tables of a machine in the RAM of `layout`.
 *
 * @param acpiTables where the ACPI tables will lie, page-aligned
 * @throws what {@link checkX86Machine} throws
 * @throws DirectBootError MACHINE_TABLES_TOO_LARGE
 */
export function tablesOfMachine(
  machine: MachineDescription,
  layout: MemoryLayout,
  acpiTables: bigint,
): MachineTables {
  const ram = layout.ram.map(({ range: { start, end } }) => ({ start, end }));
  const checked = checkX86Machine({ ...machine, ram }, "ACPI, MP and SMBIOS tables");
  const acpi = acpiTablesOf(checked, acpiTables);
  const isBelow = acpiTables < LEGACY_TABLES_ADDRESS;
  const pages = BigInt(Math.ceil(acpi.tables.byteLength / PAGE_BYTES) * PAGE_BYTES);
  if (isBelow && acpiTables + pages > LEGACY_TABLES_ADDRESS) {
    const cure = "give addresses.acpiTables a place above 1 MiB";
    throw tooLarge(
      "the machine's ACPI tables",
      acpi.tables.byteLength,
      acpiTables,
      LEGACY_TABLES_ADDRESS,
      cure,
    );
  }
  const legacy = legacyTables(checked);
  if (LEGACY_TABLES_ADDRESS + BigInt(legacy.byteLength) > LEGACY_TABLES_END) {
    throw tooLarge("SMBIOS and the MP table", legacy.byteLength, LEGACY_TABLES_ADDRESS, LEGACY_TABLES_END);
  }
  const reserved = [{ start: LEGACY_TABLES_ADDRESS, end: BIOS_AREA_END, type: E820_RESERVED }];
  for (const root of checked.pci ?? []) {
    const ecam = ecamOf(root, "");
    // Linux uses an enhanced configuration space only where the memory map, or a device, reserves it.
    if (ecam !== undefined) reserved.push({ start: ecam.start, end: ecam.end, type: E820_RESERVED });
  }
  return { acpi: { rsdp: acpi.rsdp, tables: acpi.tables }, legacy, reserved };
}
