/**
 * QEMU's x86 machines as descriptions. Sources: QEMU 7.2, hw/i386/microvm.c, pc_piix.c, pc_q35.c, acpi-build.c,
 * acpi-microvm.c; test/machine holds each to the tables that QEMU itself makes.
 */
import { type Checks, isBoolean, isLength, optional, options } from "../base/options.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import type {
  InterruptOverride,
  MachineCpu,
  PciInterruptRoute,
  PciMemoryWindow,
  PciRoot,
  SerialPort,
  VirtioMmioDevice,
  X86Machine,
} from "./description.js";
import {
  type CpusInput,
  memoryOf,
  type PresetOptions,
  placeCpus,
  presetChecks,
  swizzledRoutes,
  topologyOf,
} from "./preset-options.js";

/** Options of `machines.qemuMicrovm`: QEMU's machine properties of the same meaning. */
export interface QemuMicrovmOptions extends PresetOptions {
  /** `pcie=on`; false by default. */
  readonly pcie?: boolean | undefined;
  /** `pit=off` takes the timer away; true by default. */
  readonly pit?: boolean | undefined;
  /** `pic=off` takes the 8259A away; true by default. */
  readonly pic?: boolean | undefined;
  /** `rtc=off` takes the CMOS clock away; true by default. */
  readonly rtc?: boolean | undefined;
  /** `isa-serial=off` takes COM1 away; true by default. */
  readonly serial?: boolean | undefined;
  /** `ioapic2=off`: one I/O APIC, and 8 virtio transports; true by default. */
  readonly ioapic2?: boolean | undefined;
  /** How many virtio transports are in use: QEMU fills them from the last on. All by default: Linux ignores empty ones. */
  readonly virtioDevices?: number | undefined;
  /** The physical address bits of the CPU model, on which the 64-bit PCI window depends; 40 by default (TCG). */
  readonly physicalAddressWidth?: number | undefined;
}

/** Options of `machines.qemuPc` and `machines.qemuQ35`. */
export interface QemuPcOptions extends PresetOptions {
  /** How many of `-serial` there are, 0 to 4; 1 by default. */
  readonly serialPorts?: number | undefined;
  /** `hpet=off` takes the HPET away; true by default. */
  readonly hpet?: boolean | undefined;
}

const microvmChecks = (): Checks<keyof QemuMicrovmOptions> => ({
  ...presetChecks(),
  pcie: optional(isBoolean),
  pit: optional(isBoolean),
  pic: optional(isBoolean),
  rtc: optional(isBoolean),
  serial: optional(isBoolean),
  ioapic2: optional(isBoolean),
  virtioDevices: optional(isLength),
  physicalAddressWidth: optional(isLength),
});

const pcChecks = (): Checks<keyof QemuPcOptions> => ({
  ...presetChecks(),
  serialPorts: optional(isLength),
  hpet: optional(isBoolean),
});

const FOUR_GIB = 1n << 32n;
const GIB = 1n << 30n;

/** Where RAM of more than `from` bytes is split: [0, at) and [4 GiB, …). hw/i386/pc_piix.c, pc_q35.c, microvm.c. */
const RAM_SPLITS: Readonly<Record<string, { readonly from: bigint; readonly at: bigint }>> = {
  microvm: { from: 0xc000_0000n, at: 0xc000_0000n },
  pc: { from: 0xe000_0000n, at: 0xc000_0000n },
  q35: { from: 0xb000_0000n, at: 0x8000_0000n },
};

/** The RAM of one of QEMU's x86 machines. An e820 map that says otherwise names RAM that isn't there. */
export function qemuX86Layout(machine: string, size: bigint): MemoryLayout {
  const split = RAM_SPLITS[machine];
  if (split === undefined || size < split.from) return new MemoryLayout(size);
  return new MemoryLayout(size, [new MemoryRange(split.at, FOUR_GIB)]);
}

function ramOf(machine: string, size: bigint | undefined): { start: bigint; end: bigint }[] | undefined {
  if (size === undefined) return undefined;
  return qemuX86Layout(machine, size).ram.map(({ range: { start, end } }) => ({ start, end }));
}

/** Bits that count to `count`. */
const bitsFor = (count: number): number => Math.ceil(Math.log2(count));

/** APIC ids as x86 CPUs have them: socket, core and thread in bit fields (include/hw/i386/topology.h). */
function x86Cpus(cpus: CpusInput | undefined): MachineCpu[] {
  const topology = topologyOf(cpus);
  const threadBits = bitsFor(topology.threads);
  const coreBits = bitsFor(topology.cores);
  return placeCpus(
    topology,
    ({ socket, core, thread }) => (socket << (coreBits + threadBits)) | (core << threadBits) | thread,
  );
}

/** The four serial ports of a PC. */
const COM_PORTS = [
  [0x3f8, 4],
  [0x2f8, 3],
  [0x3e8, 4],
  [0x2e8, 3],
] as const;

function comPorts(count: number): SerialPort[] {
  return COM_PORTS.slice(0, count).map(([port, line]) => ({
    type: "16550",
    port,
    interrupt: { line, trigger: "edge" },
  }));
}

const VIRTIO_BYTES = 0x200;
const VIRTIO_ADDRESS = 0xfeb0_0000;

/** The last `used` of the transports; QEMU gives its first device the last one. */
function microvmTransports(ioapic2: boolean, used: number | undefined): VirtioMmioDevice[] {
  const [count, gsiBase] = ioapic2 ? [24, 24] : [8, 16];
  return Array.from({ length: Math.min(used ?? count, count) }, (_, index) => {
    const slot = count - 1 - index;
    return {
      address: VIRTIO_ADDRESS + slot * VIRTIO_BYTES,
      size: VIRTIO_BYTES,
      interrupt: { line: gsiBase + slot, trigger: "level" },
    };
  });
}

function microvmPci(width: number): PciRoot {
  const end = 1n << BigInt(width);
  return {
    ecam: 0xe000_0000,
    memory: [
      { start: 0xc000_0000, end: 0xe000_0000 },
      { start: end - end / 4n, end },
    ],
    routes: swizzledRoutes([16, 17, 18, 19]),
  };
}

/**
 * QEMU's `-M microvm,acpi=on`: virtio-mmio transports, one serial port, hardware-reduced ACPI; no keyboard controller, and PCI
 * only if it is asked for.
 *
 * @throws TypeError for an option of a wrong type or an unknown name
 * @throws DirectBootError MACHINE_BAD_VALUE for a number of CPUs outside 1-4096; ADDRESS_OUT_OF_RANGE
 *
 * @example
 * ```ts
 * import { machines } from "directboot";
 *
 * const machine = machines.qemuMicrovm({ cpus: 4, memory: 512 << 20 });
 * console.log(machine.virtioMmio?.length); // 24
 * ```
 */
export function qemuMicrovm(given: QemuMicrovmOptions = {}): X86Machine {
  options(microvmChecks())(given, "");
  const { pcie = false, pit = true, pic = true, rtc = true, serial = true, ioapic2 = true } = given;
  const ioApics = [{ id: 0, address: 0xfec0_0000, gsiBase: 0 }];
  if (ioapic2) ioApics.push({ id: 1, address: 0xfec1_0000, gsiBase: 24 });
  return {
    architecture: "x86",
    cpus: x86Cpus(given.cpus),
    ram: ramOf("microvm", memoryOf(given)),
    interrupts: { ioApics, pic },
    timers: { pit },
    serial: comPorts(serial ? 1 : 0),
    rtc: rtc ? { type: "cmos", irq: 8 } : undefined,
    pci: pcie ? [microvmPci(given.physicalAddressWidth ?? 40)] : [],
    virtioMmio: microvmTransports(ioapic2, given.virtioDevices),
    power: {
      type: "reduced",
      sleepControl: 0xfea0_0200,
      sleepStatus: 0xfea0_0201,
      s5: 5,
      events: { address: 0xfea0_0000, interrupt: { line: 9, trigger: "edge" } },
      reset: { space: "memory", address: 0xfea0_0202, value: 0x42 },
    },
    identity: { manufacturer: "QEMU", product: "microvm", ...given.identity },
  };
}

/** The timer's IRQ 0 is pin 2; the lines of PCI and of power events are level-triggered, active high. */
function pcOverrides(): InterruptOverride[] {
  const level = { trigger: "level", polarity: "high" } as const;
  return [{ irq: 0, gsi: 2 }, ...[5, 9, 10, 11].map((irq) => ({ irq, gsi: irq, ...level }))];
}

/** VGA memory, then what lies between RAM and the I/O APIC, without `ecam`, then `size` bytes above RAM. */
function pcWindows(machine: "pc" | "q35", ramSize: bigint | undefined): PciMemoryWindow[] {
  const { from, at } = RAM_SPLITS[machine] as { from: bigint; at: bigint };
  // Without a size, whatever may be RAM is left out.
  const lowEnd = ramSize === undefined ? from : ramSize < from ? ramSize : at;
  const highEnd = FOUR_GIB + (ramSize === undefined || ramSize < from ? 0n : ramSize - at);
  const holes: PciMemoryWindow[] = [{ start: 0xa_0000, end: 0xc_0000, cacheable: true }];
  if (machine === "pc") holes.push({ start: lowEnd, end: 0xfec0_0000 });
  else {
    if (lowEnd < 0xb000_0000n) holes.push({ start: lowEnd, end: 0xb000_0000 });
    holes.push({ start: 0xc000_0000, end: 0xfec0_0000 });
  }
  if (ramSize === undefined) return holes;
  const start = ((highEnd + GIB - 1n) / GIB) * GIB;
  return [...holes, { start, end: start + (machine === "pc" ? 2n : 32n) * GIB }];
}

/** All I/O ports but those of the configuration. */
const PC_IO = [
  { start: 0, end: 0xcf8 },
  { start: 0xd00, end: 0x1_0000 },
] as const;

/** What pc and q35 have in common. `gpe0` and `smi` are their chipsets' (hw/acpi/piix4.c, hw/acpi/ich9.c). */
function pc(
  name: "pc" | "q35",
  given: QemuPcOptions,
  chipset: { product: string; pci: PciRoot; gpe0: { port: number; length: number }; smi: [number, number] },
): X86Machine {
  const [enable, disable] = chipset.smi;
  return {
    architecture: "x86",
    cpus: x86Cpus(given.cpus),
    ram: ramOf(name, memoryOf(given)),
    interrupts: {
      ioApics: [{ id: 0, address: 0xfec0_0000, gsiBase: 0 }],
      overrides: pcOverrides(),
      pic: true,
    },
    timers: {
      pit: true,
      hpet: given.hpet === false ? undefined : { address: 0xfed0_0000, id: 0x8086_a201 },
      pmTimer: 0x608,
    },
    serial: comPorts(given.serialPorts ?? 1),
    rtc: { type: "cmos", irq: 8, century: 0x32 },
    i8042: { hasMouse: true },
    pci: [chipset.pci],
    power: {
      type: "pm1",
      eventPort: 0x600,
      controlPort: 0x604,
      sci: 9,
      smi: { port: 0xb2, enable, disable },
      gpe0: chipset.gpe0,
      s5: 0,
      reset: { space: "io", address: 0xcf9, value: 0x0f },
    },
    identity: { manufacturer: "QEMU", product: chipset.product, ...given.identity },
  };
}

/**
 * INTA to INTD of PIIX3 with PIRQ registers 10, 10, 11, 11, as SeaBIOS sets them: the host writes them before the guest
 * starts. The power management function's INTA is the SCI.
 */
function piix3Routes(): PciInterruptRoute[] {
  // Pin p of device d is PIRQ (d - 1 + p) mod 4: device 0 has D, A, B, C.
  const routes = swizzledRoutes([11, 10, 10, 11]);
  return routes.map((route) => (route.device === 1 ? { ...route, lines: [9, 10, 11, 11] } : route));
}

/**
 * QEMU's `-M pc`: i440FX and PIIX3. Power-off and INTx want what firmware writes into the chipset's registers: power
 * management at port 0x600, PIRQs to 10, 10, 11, 11.
 *
 * @throws TypeError for an option of a wrong type or an unknown name
 * @throws DirectBootError MACHINE_BAD_VALUE for a number of CPUs outside 1-4096; ADDRESS_OUT_OF_RANGE
 */
export function qemuPc(given: QemuPcOptions = {}): X86Machine {
  options(pcChecks())(given, "");
  const pci = { hasPorts: true, io: PC_IO, memory: pcWindows("pc", memoryOf(given)), routes: piix3Routes() };
  const product = "Standard PC (i440FX + PIIX, 1996)";
  return pc("pc", given, { product, pci, gpe0: { port: 0xafe0, length: 4 }, smi: [0xf1, 0xf0] });
}

/** ICH9 in I/O APIC mode: devices 25 to 29 and 31 have pins 16 to 19, all others 20 to 23, turned by their number. */
function ich9Routes(): PciInterruptRoute[] {
  return swizzledRoutes([20, 21, 22, 23]).map((route) => {
    if (route.device < 25) return route;
    return { ...route, lines: route.device === 30 ? [20, 21, 22, 23] : [16, 17, 18, 19] };
  });
}

/**
 * QEMU's `-M q35`: MCH and ICH9, with PCI Express. Power-off wants what firmware writes into the chipset's registers: power
 * management at port 0x600; extended configuration at 0xb0000000.
 *
 * @throws TypeError for an option of a wrong type or an unknown name
 * @throws DirectBootError MACHINE_BAD_VALUE for a number of CPUs outside 1-4096; ADDRESS_OUT_OF_RANGE
 */
export function qemuQ35(given: QemuPcOptions = {}): X86Machine {
  options(pcChecks())(given, "");
  const memory = pcWindows("q35", memoryOf(given));
  const pci = { hasPorts: true, ecam: 0xb000_0000, io: PC_IO, memory, routes: ich9Routes() };
  const product = "Standard PC (Q35 + ICH9, 2009)";
  return pc("q35", given, { product, pci, gpe0: { port: 0x620, length: 16 }, smi: [2, 3] });
}
