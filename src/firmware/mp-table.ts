/**
 * The MP table, for kernels without ACPI: Intel MultiProcessor Specification 1.4. A floating pointer, and the configuration
 * table behind it. Kernels search for the pointer in the last KiB of base memory and in [0xf0000, 0x100000).
 */

import { type AddressLike, hex, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import { checkX86Machine, gsiOfIrq } from "../machine/check-machine.js";
import {
  ALL_BUSES,
  cpusOf,
  type InterruptOverride,
  IO_APIC_PINS,
  type MachineDescription,
  type X86Machine,
} from "../machine/description.js";
import { intiFlags } from "./acpi/madt.js";
import { checksum, TableWriter } from "./table-writer.js";

const FLOATING_POINTER_BYTES = 16;
const HEADER_BYTES = 44;
const SPEC_REVISION = 4;
/** Types of entries (table 4-3) and of interrupts (table 4-10). */
const PROCESSOR = 0;
const BUS = 1;
const IO_APIC = 2;
const IO_INTERRUPT = 3;
const LOCAL_INTERRUPT = 4;
const INT = 0;
const NMI = 1;
const EXT_INT = 3;
/** Processor flags: usable; the one that starts. */
const ENABLED = 1;
const BOOTSTRAP = 2;
/** Version registers: of a local APIC in a CPU, of an I/O APIC. */
const LOCAL_APIC_VERSION = 0x14;
const IO_APIC_VERSION = 0x11;
/** A Pentium Pro with FPU and APIC: readers take the truth from CPUID. */
const CPU_SIGNATURE = 0x600;
const CPU_FEATURES = 0x201;
/** Trigger and polarity as the bus has them (4.3.4). */
const AS_BUS = 0;
const ALL_LOCAL_APICS = 0xff;
/** The highest APIC id that eight bits hold; 255 means all. */
const MOST_APIC_ID = 254;
/** ISA interrupts that devices use; 2 is the cascade. */
const ISA_IRQS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const ALIGNMENT = 16n;

/** The pin that a GSI is: its I/O APIC's id, and its number there. */
function pinOf({ interrupts }: X86Machine, gsi: number): readonly [id: number, pin: number] | undefined {
  for (const { id, gsiBase, pins = IO_APIC_PINS } of interrupts.ioApics) {
    if (gsi >= gsiBase && gsi < gsiBase + pins) return [id, gsi - gsiBase];
  }
  return undefined;
}

/** Whether a machine's CPUs can stand in an MP table. */
export function fitsMpTable(machine: X86Machine): boolean {
  return cpusOf(machine).every(({ id }) => BigInt(id) <= BigInt(MOST_APIC_ID));
}

/** The entries behind the header, and how many they are. */
function entries(machine: X86Machine): { bytes: Uint8Array; count: number } {
  const { ioApics, overrides = [], nmiPin = 1, pic } = machine.interrupts;
  const out = new TableWriter();
  let count = 0;
  const entry = (...values: readonly number[]): TableWriter => {
    count += 1;
    return out.u8(...values);
  };
  for (const [index, { id }] of cpusOf(machine).entries()) {
    const flags = ENABLED | (index === 0 ? BOOTSTRAP : 0);
    entry(PROCESSOR, Number(id), LOCAL_APIC_VERSION, flags).u32(CPU_SIGNATURE).u32(CPU_FEATURES).zeros(8);
  }
  // A bus has eight bits for its number: those of segment 0. ISA is the last that no root begins with.
  const roots = (machine.pci ?? []).filter(({ segment = 0 }) => segment === 0);
  for (const { buses = ALL_BUSES } of roots) entry(BUS, buses.start).ascii("PCI   ");
  let isa = 0xff;
  while (roots.some(({ buses = ALL_BUSES }) => buses.start === isa)) isa -= 1;
  entry(BUS, isa).ascii("ISA   ");
  for (const { id, address } of ioApics) entry(IO_APIC, id, IO_APIC_VERSION, 1).u32(Number(address));

  const interrupt = (flags: number, bus: number, source: number, gsi: number): void => {
    const pin = pinOf(machine, gsi);
    if (pin !== undefined)
      entry(IO_INTERRUPT, INT)
        .u16(flags)
        .u8(bus, source, ...pin);
  };
  const flagsOf = (irq: number): number => {
    const override: InterruptOverride | undefined = overrides.find((each) => each.irq === irq);
    return override === undefined ? AS_BUS : intiFlags(override);
  };
  for (const { buses = ALL_BUSES, routes = [] } of roots) {
    for (const { device, lines } of routes) {
      for (const [pin, line] of lines.entries()) interrupt(AS_BUS, buses.start, (device << 2) | pin, line);
    }
  }
  const taken = new Set(overrides.map(({ gsi }) => gsi));
  for (const irq of ISA_IRQS) {
    const gsi = gsiOfIrq(machine, irq);
    // An IRQ whose pin another one was given has none.
    if (gsi !== irq || !taken.has(gsi) || overrides.some((each) => each.irq === irq)) {
      interrupt(flagsOf(irq), isa, irq, gsi);
    }
  }
  if (pic) entry(LOCAL_INTERRUPT, EXT_INT).u16(AS_BUS).u8(isa, 0, ALL_LOCAL_APICS, 0);
  entry(LOCAL_INTERRUPT, NMI).u16(AS_BUS).u8(isa, 0, ALL_LOCAL_APICS, nmiPin);
  return { bytes: out.toBytes(), count };
}

/** The MP table of a machine that was checked. Throws UNALIGNED_ADDRESS, MACHINE_BAD_VALUE. */
export function mpTableOf(machine: X86Machine, address: bigint): Uint8Array {
  if (address % ALIGNMENT !== 0n) {
    throw new DirectBootError("UNALIGNED_ADDRESS", `address ${hex(address)} is not a multiple of 16`, {
      cure: "use a multiple of 16 in [0xf0000, 0x100000)",
    });
  }
  if (address > 0xffff_ffffn) {
    throw new DirectBootError("MACHINE_BAD_VALUE", `address ${hex(address)} does not fit 32 bits`);
  }
  for (const [index, { id }] of cpusOf(machine).entries()) {
    if (BigInt(id) <= BigInt(MOST_APIC_ID)) continue;
    const why = `machine.cpus[${index}].id is ${id}: an MP table has 8 bits for it, up to ${MOST_APIC_ID}`;
    throw new DirectBootError("MACHINE_BAD_VALUE", why, { cure: "leave the MP table out" });
  }
  const { bytes: body, count } = entries(machine);
  const pointer = new TableWriter().ascii("_MP_").u32(Number(address) + FLOATING_POINTER_BYTES);
  const pointerBytes = pointer.u8(1, SPEC_REVISION, 0).zeros(5).toBytes();
  pointerBytes[10] = checksum(pointerBytes);
  const head = new TableWriter()
    .ascii("PCMP")
    .u16(HEADER_BYTES + body.byteLength)
    .u8(SPEC_REVISION, 0);
  head.ascii("DBOOT   ").ascii("DIRECTBOOT  ").u32(0).u16(0).u16(count);
  head.u32(Number(machine.interrupts.localApic ?? 0xfee0_0000)).u32(0);
  const table = new Uint8Array(HEADER_BYTES + body.byteLength);
  table.set(head.toBytes());
  table.set(body, HEADER_BYTES);
  table[7] = checksum(table);
  const bytes = new Uint8Array(FLOATING_POINTER_BYTES + table.byteLength);
  bytes.set(pointerBytes);
  bytes.set(table, FLOATING_POINTER_BYTES);
  return bytes;
}

const checkPlace = /* @__PURE__ */ named("address");

/**
 * The MP table of an x86 machine: its floating pointer at `address`, and the configuration table behind it. For kernels that
 * have no ACPI or are told `acpi=off`.
 *
 * @param place.address guest physical address, a multiple of 16 in [0xf0000, 0x100000), where kernels search
 * @throws what {@link checkMachine} throws
 * @throws DirectBootError MACHINE_BAD_VALUE for an APIC id above 254; OPTION_NOT_FOR_ARCHITECTURE for arm64 and riscv64;
 *   UNALIGNED_ADDRESS, ADDRESS_OUT_OF_RANGE
 */
export function buildMpTable(
  machine: MachineDescription,
  place: { readonly address: AddressLike },
): Uint8Array {
  checkPlace(place, "");
  return mpTableOf(checkX86Machine(machine, "MP tables"), toAddress(place.address, "address"));
}
