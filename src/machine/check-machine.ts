/** The check of a machine's description as a whole: ids, addresses, ports, buses and interrupt lines that must agree. */
import { ADDRESS_LIMIT, hex, hexRange } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { MemoryRange } from "../memory/memory-range.js";
import {
  ALL_BUSES,
  cpusOf,
  type InterruptLine,
  IO_APIC_PINS,
  type MachineDescription,
  type PciRoot,
  type X86Machine,
} from "./description.js";
import { checkMachineShape } from "./machine-shape.js";
import { occupiedMemory } from "./occupied.js";

/** Numbers from `start` to `end`, and the field that they come from. */
interface Span {
  readonly field: string;
  readonly start: bigint | number;
  readonly end: bigint | number;
}

/** [640 KiB, 1 MiB): a PC decodes it as video memory and ROM, whatever RAM lies beneath. */
const LEGACY_AREA = { start: 0xa_0000n, end: 0x10_0000n } as const;
const PAGE_MASK = 0xfffn;

function badValue(why: string, cure?: string): never {
  throw new DirectBootError("MACHINE_BAD_VALUE", why, cure === undefined ? undefined : { cure });
}

function checkRange({ field, start, end }: Span): void {
  if (start >= end) badValue(`${field} ${hexRange(BigInt(start), BigInt(end))} ends at or below its start`);
  if (end > ADDRESS_LIMIT) badValue(`${field} ${hexRange(BigInt(start), BigInt(end))} passes 2^64`);
}

/** Throws MACHINE_OVERLAP if two of the spans share a number. */
function checkApart(spans: readonly Span[], what: string): void {
  const sorted = [...spans].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  let last: Span | undefined;
  for (const span of sorted) {
    if (last !== undefined && span.start < last.end) {
      const [one, other] = [last, span].map(
        ({ field, start, end }) => `${field} (${hexRange(BigInt(start), BigInt(end))})`,
      );
      throw new DirectBootError("MACHINE_OVERLAP", `${one} and ${other} share ${what}`);
    }
    if (last === undefined || span.end > last.end) last = span;
  }
}

/** Throws MACHINE_DUPLICATE if two members of a list have the same number. */
function checkUnique(numbers: readonly (number | bigint)[], field: (index: number) => string): void {
  const seen = new Map<bigint, number>();
  for (const [index, number] of numbers.entries()) {
    const earlier = seen.get(BigInt(number));
    if (earlier !== undefined) {
      throw new DirectBootError(
        "MACHINE_DUPLICATE",
        `${field(earlier)} and ${field(index)} are both ${number}`,
      );
    }
    seen.set(BigInt(number), index);
  }
}

/** Where the interrupt lines are that devices may use, and what they are called. */
function lineSpans(machine: MachineDescription): { what: string; spans: readonly Span[] } {
  const { interrupts } = machine;
  if ("ioApics" in interrupts) {
    const spans = interrupts.ioApics.map(({ gsiBase, pins = IO_APIC_PINS }, index) => ({
      field: `machine.interrupts.ioApics[${index}]`,
      start: gsiBase,
      end: gsiBase + pins,
    }));
    return { what: "an I/O APIC", spans };
  }
  const isGic = interrupts.type === "gicv2" || interrupts.type === "gicv3";
  const [what, start] = isGic ? ["the GIC's SPIs", 32] : ["the interrupt controller", 1];
  return { what, spans: [{ field: "machine.interrupts", start, end: interrupts.end }] };
}

/** The lines that devices say they use. */
function* usedLines(machine: MachineDescription): Generator<readonly [field: string, line: number]> {
  const of = function* (
    field: string,
    interrupt: InterruptLine | undefined,
  ): Generator<readonly [string, number]> {
    if (interrupt !== undefined) yield [`machine.${field}.interrupt.line`, interrupt.line];
  };
  for (const [index, port] of (machine.serial ?? []).entries()) yield* of(`serial[${index}]`, port.interrupt);
  for (const [index, { interrupt }] of (machine.virtioMmio ?? []).entries()) {
    yield* of(`virtioMmio[${index}]`, interrupt);
  }
  for (const [index, { routes }] of (machine.pci ?? []).entries()) {
    for (const [row, { lines }] of (routes ?? []).entries()) {
      for (const [pin, line] of lines.entries())
        yield [`machine.pci[${index}].routes[${row}].lines[${pin}]`, line];
    }
  }
  const { rtc } = machine;
  if (rtc !== undefined && "interrupt" in rtc) yield* of("rtc", rtc.interrupt);
  if (machine.architecture === "arm64") yield* of("gpio", machine.gpio?.interrupt);
  if (machine.architecture !== "x86") return;
  for (const [index, { gsi }] of (machine.interrupts.overrides ?? []).entries()) {
    yield [`machine.interrupts.overrides[${index}].gsi`, gsi];
  }
  if (machine.power?.type === "pm1") yield ["machine.power.sci", gsiOfIrq(machine, machine.power.sci)];
  else yield* of("power.events", machine.power?.events?.interrupt);
  if (rtc?.type === "cmos" && rtc.irq !== undefined) yield ["machine.rtc.irq", gsiOfIrq(machine, rtc.irq)];
  if (machine.i8042 === undefined) return;
  yield ["machine.i8042", gsiOfIrq(machine, 1)];
  if (machine.i8042.hasMouse) yield ["machine.i8042", gsiOfIrq(machine, 12)];
}

/** The GSI of an ISA IRQ. */
export function gsiOfIrq({ interrupts }: X86Machine, irq: number): number {
  return interrupts.overrides?.find((override) => override.irq === irq)?.gsi ?? irq;
}

function checkInterrupts(machine: MachineDescription): void {
  const { what, spans } = lineSpans(machine);
  checkApart(spans, "interrupt lines");
  const names = spans.map(({ start, end }) => `${start}-${BigInt(end) - 1n}`).join(", ");
  for (const [field, line] of usedLines(machine)) {
    if (spans.some(({ start, end }) => line >= start && line < end)) continue;
    const has = names === "" ? "there is none" : `there are ${names}`;
    throw new DirectBootError("MACHINE_NO_SUCH_INTERRUPT", `${field} is ${line}, no line of ${what}: ${has}`);
  }
}

/** Ports of an x86 machine's devices; not those that PCI hands out, which these lie in. */
function* portsOf({ serial, power, timers, interrupts, i8042, rtc }: X86Machine): Generator<Span> {
  const ports = (field: string, start: number, count: number): Span => ({
    field: `machine.${field}`,
    start,
    end: start + count,
  });
  for (const [index, port] of (serial ?? []).entries()) {
    if ("port" in port) yield ports(`serial[${index}]`, port.port, 8);
  }
  if (power?.type === "pm1") {
    yield ports("power.eventPort", power.eventPort, 4);
    yield ports("power.controlPort", power.controlPort, 2);
    if (power.gpe0 !== undefined) yield ports("power.gpe0", power.gpe0.port, power.gpe0.length);
    if (power.smi !== undefined) yield ports("power.smi", power.smi.port, 1);
  }
  if (timers.pmTimer !== undefined) yield ports("timers.pmTimer", timers.pmTimer, 4);
  if (timers.pit) yield ports("timers.pit", 0x40, 4);
  if (interrupts.pic) {
    yield ports("interrupts.pic", 0x20, 2);
    yield ports("interrupts.pic", 0xa0, 2);
  }
  if (i8042 !== undefined) {
    yield ports("i8042", 0x60, 1);
    yield ports("i8042", 0x64, 1);
  }
  if (rtc !== undefined) yield ports("rtc", 0x70, 2);
}

function checkX86(machine: X86Machine): void {
  const { interrupts, power } = machine;
  const { ioApics, overrides = [] } = interrupts;
  checkUnique(
    ioApics.map(({ id }) => id),
    (index) => `machine.interrupts.ioApics[${index}].id`,
  );
  checkUnique(
    overrides.map(({ irq }) => irq),
    (index) => `machine.interrupts.overrides[${index}].irq`,
  );
  for (const [index, { id }] of cpusOf(machine).entries()) {
    if (BigInt(id) >= 0xffff_ffffn) {
      badValue(`machine.cpus[${index}].id is ${hex(id)}: x2APIC ids end at 0xfffffffe`);
    }
  }
  if (power?.type === "pm1" && power.gpe0 !== undefined && power.gpe0.length % 2 !== 0) {
    badValue(
      `machine.power.gpe0.length is ${power.gpe0.length}: status and enable have half each`,
      "give an even number",
    );
  }
  if (power?.reset?.space === "io" && BigInt(power.reset.address) > 0xffffn) {
    badValue(`machine.power.reset.address is ${hex(power.reset.address)}: I/O ports end at 0xffff`);
  }
  checkApart([...portsOf(machine)], "an I/O port");
}

function checkPciRoot(root: PciRoot, field: string, isX86: boolean): void {
  const { segment = 0, buses = ALL_BUSES, hasPorts = false, ecam, io = [], memory = [], routes = [] } = root;
  checkRange({ field: `${field}.buses`, ...buses });
  if (!hasPorts && ecam === undefined) {
    throw new DirectBootError("MACHINE_INCOMPLETE", `${field} has neither hasPorts nor ecam`);
  }
  if (hasPorts && (!isX86 || segment !== 0)) {
    badValue(`${field}.hasPorts: only segment 0 of an x86 machine has ports for its configuration`);
  }
  if (ecam !== undefined) {
    const unaligned = BigInt(ecam) % 0x10_0000n !== 0n;
    if (unaligned) badValue(`${field}.ecam is ${hex(ecam)}, no multiple of 1 MiB`);
    // Tables give the address that bus 0 would have.
    const below = BigInt(ecam) < BigInt(buses.start) * 0x10_0000n;
    if (below) badValue(`${field}.ecam is ${hex(ecam)}: bus 0 would lie below 0`);
  }
  for (const [index, window] of io.entries()) checkRange({ field: `${field}.io[${index}]`, ...window });
  for (const [index, { start, end }] of memory.entries()) {
    const span = { field: `${field}.memory[${index}]`, start: BigInt(start), end: BigInt(end) };
    checkRange(span);
    if ((span.start & PAGE_MASK) !== 0n || (span.end & PAGE_MASK) !== 0n) {
      badValue(`${span.field} ${hexRange(span.start, span.end)} is not aligned to 0x1000`);
    }
    if (span.start >> 32n === 0n && span.end > 1n << 32n) {
      badValue(`${span.field} ${hexRange(span.start, span.end)} crosses 4 GiB`, "give two windows");
    }
  }
  checkUnique(
    routes.map(({ device }) => device),
    (index) => `${field}.routes[${index}].device`,
  );
}

function checkPci({ architecture, pci = [] }: MachineDescription): void {
  const isX86 = architecture === "x86";
  const buses: Span[] = [];
  const ports: Span[] = [];
  for (const [index, root] of pci.entries()) {
    const field = `machine.pci[${index}]`;
    checkPciRoot(root, field, isX86);
    const base = (root.segment ?? 0) * 256;
    const { start, end } = root.buses ?? ALL_BUSES;
    buses.push({ field: `${field}.buses`, start: base + start, end: base + end });
    for (const [row, window] of (root.io ?? []).entries()) {
      // Windows in memory may all begin at port 0.
      if (window.address === undefined) ports.push({ field: `${field}.io[${row}]`, ...window });
      if ((window.address === undefined) !== isX86) {
        const has = isX86 ? "has" : "has no";
        badValue(`${field}.io[${row}].address: an ${architecture} processor ${has} I/O ports of its own`);
      }
    }
  }
  checkApart(buses, "a bus");
  checkApart(ports, "an I/O port");
}

/** Throws MACHINE_OVERLAP if devices share memory, or lie in RAM; a PC's legacy area is no RAM. */
function checkMemory(machine: MachineDescription): void {
  const devices: Span[] = [];
  for (const { field, start, end } of occupiedMemory(machine)) {
    const span = { field: `machine.${field}`, start, end };
    checkRange(span);
    devices.push(span);
  }
  checkApart(devices, "memory");
  const ram: Span[] = [];
  for (const [index, range] of (machine.ram ?? []).entries()) {
    const { start, end } = new MemoryRange(range.start, range.end);
    ram.push({ field: `machine.ram[${index}]`, start, end });
  }
  checkApart(ram, "memory");
  for (const device of devices) {
    const isLegacy =
      machine.architecture === "x86" && device.start >= LEGACY_AREA.start && device.end <= LEGACY_AREA.end;
    if (isLegacy) continue;
    for (const range of ram) {
      if (device.start < range.end && range.start < device.end) checkApart([device, range], "memory");
    }
  }
}

function checkArm64Msi(machine: MachineDescription): void {
  if (machine.architecture !== "arm64" || machine.interrupts.type !== "gicv2") return;
  const { v2m, end } = machine.interrupts;
  if (v2m === undefined) return;
  checkRange({ field: "machine.interrupts.v2m", start: v2m.start, end: v2m.end });
  if (v2m.end <= end) return;
  throw new DirectBootError(
    "MACHINE_NO_SUCH_INTERRUPT",
    `machine.interrupts.v2m.end is ${v2m.end}, the GIC's lines end at ${end}`,
  );
}

/**
 * Checks a description as a whole. loadLinux and the builders of tables call it themselves.
 *
 * @param machine a description, or a value that may be one
 * @throws TypeError for a field of a wrong type or an unknown name
 * @throws DirectBootError MACHINE_BAD_VALUE, MACHINE_DUPLICATE, MACHINE_OVERLAP, MACHINE_NO_SUCH_INTERRUPT,
 *   MACHINE_INCOMPLETE, ADDRESS_OUT_OF_RANGE, MEMORY_RANGE_INVALID; the message names the field
 *
 * @example
 * ```ts
 * import { checkMachine, machines } from "directboot";
 *
 * const machine = machines.qemuMicrovm({ cpus: 4 });
 * checkMachine(machine);
 * checkMachine({ ...machine, virtioMmio: [] });
 * ```
 */
export function checkMachine(machine: MachineDescription): void {
  checkMachineShape(machine, "machine");
  if (typeof machine.cpus !== "number") {
    checkUnique(
      machine.cpus.map(({ id }) => BigInt(id)),
      (index) => `machine.cpus[${index}].id`,
    );
  }
  if (machine.architecture === "x86") checkX86(machine);
  checkPci(machine);
  checkInterrupts(machine);
  checkArm64Msi(machine);
  checkMemory(machine);
}

/** {@link checkMachine}, for tables that x86 guests alone have. Throws OPTION_NOT_FOR_ARCHITECTURE, too. */
export function checkX86Machine(machine: MachineDescription, what: string): X86Machine {
  checkMachine(machine);
  if (machine.architecture === "x86") return machine;
  throw new DirectBootError(
    "OPTION_NOT_FOR_ARCHITECTURE",
    `${what} are made for x86 machines, machine.architecture is ${machine.architecture}`,
    { cure: "give the guest a device tree" },
  );
}
