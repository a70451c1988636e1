/** The memory that a machine's devices occupy, each with the name of its field: for the check, and for the guest's memory map. */
import type { AddressLike } from "../base/address.js";
import {
  ALL_BUSES,
  type Arm64Machine,
  type MachineDescription,
  type PciRoot,
  type RegisterRange,
  type Riscv64Machine,
  type X86Machine,
} from "./description.js";

/** Memory that is no RAM: `[start, end)`. */
export interface Occupied {
  readonly field: string;
  readonly start: bigint;
  readonly end: bigint;
}

/** Bytes of registers whose size their type says. */
const IO_APIC_BYTES = 0x1000;
const HPET_BYTES = 0x400;
const SERIAL_BYTES = { "16550": 8, pl011: 0x1000 } as const;
const RTC_BYTES = 0x1000;
/** Bytes of configuration space of a bus (PCI Express Base Specification, 7.2.2). */
const ECAM_BUS_BYTES = 0x10_0000n;

function occupied(field: string, address: AddressLike, size: number | bigint): Occupied {
  const start = BigInt(address);
  return { field, start, end: start + BigInt(size) };
}

const registers = (field: string, { address, size }: RegisterRange): Occupied =>
  occupied(field, address, size);

/** Enhanced configuration space of a root, if it has that. */
export function ecamOf({ ecam, buses = ALL_BUSES }: PciRoot, field: string): Occupied | undefined {
  if (ecam === undefined) return undefined;
  return occupied(`${field}.ecam`, ecam, BigInt(buses.end - buses.start) * ECAM_BUS_BYTES);
}

function* ofPci(root: PciRoot, field: string): Generator<Occupied> {
  const ecam = ecamOf(root, field);
  if (ecam !== undefined) yield ecam;
  for (const [index, { start, end }] of (root.memory ?? []).entries()) {
    yield { field: `${field}.memory[${index}]`, start: BigInt(start), end: BigInt(end) };
  }
  for (const [index, { start, end, address }] of (root.io ?? []).entries()) {
    if (address !== undefined) yield occupied(`${field}.io[${index}]`, address, end - start);
  }
}

function* ofX86({ interrupts, timers, power }: X86Machine): Generator<Occupied> {
  yield occupied("interrupts.localApic", interrupts.localApic ?? 0xfee0_0000, 0x1000);
  for (const [index, { address }] of interrupts.ioApics.entries()) {
    yield occupied(`interrupts.ioApics[${index}]`, address, IO_APIC_BYTES);
  }
  if (timers.hpet !== undefined) yield occupied("timers.hpet", timers.hpet.address, HPET_BYTES);
  if (power?.type !== "reduced") return;
  yield occupied("power.sleepControl", power.sleepControl, 1);
  yield occupied("power.sleepStatus", power.sleepStatus, 1);
  if (power.events !== undefined) yield occupied("power.events", power.events.address, 4);
  if (power.reset?.space === "memory") yield occupied("power.reset", power.reset.address, 1);
}

function* ofArm64({ interrupts, gpio }: Arm64Machine): Generator<Occupied> {
  yield registers("interrupts.distributor", interrupts.distributor);
  if (interrupts.type === "gicv2") {
    yield registers("interrupts.cpuInterface", interrupts.cpuInterface);
    if (interrupts.v2m !== undefined) yield registers("interrupts.v2m", interrupts.v2m);
  } else {
    for (const [index, range] of interrupts.redistributors.entries()) {
      yield registers(`interrupts.redistributors[${index}]`, range);
    }
    if (interrupts.its !== undefined) yield registers("interrupts.its", interrupts.its);
  }
  if (gpio !== undefined) yield registers("gpio", gpio);
}

function* ofRiscv64({ interrupts, aclint, power }: Riscv64Machine): Generator<Occupied> {
  if (interrupts.type === "plic") yield registers("interrupts", interrupts);
  else {
    yield registers("interrupts.aplic", interrupts.aplic);
    if (interrupts.imsic !== undefined) yield registers("interrupts.imsic", interrupts.imsic);
  }
  if (aclint !== undefined) yield registers("aclint", aclint);
  if (power.type === "syscon") yield registers("power", power);
}

/** All that lies in memory and is no RAM. */
export function* occupiedMemory(machine: MachineDescription): Generator<Occupied> {
  if (machine.architecture === "x86") yield* ofX86(machine);
  else if (machine.architecture === "arm64") yield* ofArm64(machine);
  else yield* ofRiscv64(machine);
  for (const [index, port] of (machine.serial ?? []).entries()) {
    if ("address" in port) yield occupied(`serial[${index}]`, port.address, SERIAL_BYTES[port.type]);
  }
  const { rtc } = machine;
  if (rtc !== undefined && rtc.type !== "cmos") yield occupied("rtc", rtc.address, RTC_BYTES);
  for (const [index, root] of (machine.pci ?? []).entries()) yield* ofPci(root, `pci[${index}]`);
  for (const [index, device] of (machine.virtioMmio ?? []).entries()) {
    yield registers(`virtioMmio[${index}]`, device);
  }
}
