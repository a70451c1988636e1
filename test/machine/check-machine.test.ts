/** A description with a mistake of each kind is refused with a typed error that names the field. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { DirectBootErrorCode } from "../../src/base/errors.js";
import { checkMachine } from "../../src/machine/check-machine.js";
import type { Arm64Machine, MachineDescription, PciRoot, X86Machine } from "../../src/machine/description.js";
import { machines } from "../../src/machine/machines.js";
import { refusal } from "../support/refusal.js";
import { x86Machine } from "./random-machine.js";

const PC = machines.qemuPc({ cpus: 2, memory: 1 << 30 });
const VIRT = machines.qemuVirtArm64({ memory: 1 << 30 });
const RISCV: MachineDescription = {
  architecture: "riscv64",
  cpus: 4,
  ram: [{ start: 0x8000_0000, end: 0xc000_0000 }],
  interrupts: { type: "plic", address: 0xc00_0000, size: 0x60_0000, end: 96 },
  aclint: { address: 0x200_0000, size: 0x1_0000 },
  timebaseFrequency: 10_000_000,
  isa: "rv64imafdc",
  serial: [
    { type: "16550", address: 0x1000_0000, clock: 3_686_400, interrupt: { line: 10, trigger: "level" } },
  ],
  rtc: { type: "goldfish", address: 0x10_1000, interrupt: { line: 11, trigger: "level" } },
  power: { type: "syscon", address: 0x10_0000, size: 0x1000, poweroff: 0x5555, reset: 0x7777 },
};

const level = (line: number) => ({ line, trigger: "level" }) as const;
const pc = (changes: Partial<X86Machine>): MachineDescription => ({ ...PC, ...changes });
const interrupts = (changes: Partial<X86Machine["interrupts"]>) =>
  pc({ interrupts: { ...PC.interrupts, ...changes } });
const root = (changes: Partial<PciRoot>) => pc({ pci: [{ hasPorts: true, ...changes }] });
const virt = (changes: Partial<Arm64Machine>): MachineDescription => ({ ...VIRT, ...changes });

type Mistake = readonly [
  name: string,
  machine: MachineDescription,
  code: DirectBootErrorCode,
  ...details: string[],
];

const MISTAKES: readonly Mistake[] = [
  ["no CPU", pc({ cpus: 0 }), "MACHINE_BAD_VALUE", "machine.cpus", "1-4096"],
  ["more CPUs than there can be", pc({ cpus: 2 ** 31 }), "MACHINE_BAD_VALUE", "machine.cpus"],
  [
    "two CPUs with one id",
    pc({ cpus: [{ id: 3 }, { id: 3n }] }),
    "MACHINE_DUPLICATE",
    "machine.cpus[1].id",
    "3",
  ],
  [
    "an APIC id beyond x2APIC",
    pc({ cpus: [{ id: 0xffff_ffff }] }),
    "MACHINE_BAD_VALUE",
    "machine.cpus[0].id",
  ],
  [
    "two I/O APICs with one id",
    interrupts({
      ioApics: [
        { id: 1, address: 0xfec0_0000, gsiBase: 0 },
        { id: 1, address: 0xfec1_0000, gsiBase: 24 },
      ],
    }),
    "MACHINE_DUPLICATE",
    "machine.interrupts.ioApics[1].id",
  ],
  [
    "two I/O APICs with the same GSIs",
    interrupts({
      ioApics: [
        { id: 0, address: 0xfec0_0000, gsiBase: 0 },
        { id: 1, address: 0xfec1_0000, gsiBase: 23 },
      ],
    }),
    "MACHINE_OVERLAP",
    "machine.interrupts.ioApics[1]",
    "interrupt lines",
  ],
  [
    "an I/O APIC above 4 GiB",
    interrupts({ ioApics: [{ id: 0, address: 1n << 32n, gsiBase: 0 }] }),
    "MACHINE_BAD_VALUE",
    "machine.interrupts.ioApics[0].address",
    "32 bits",
  ],
  [
    "two overrides of one IRQ",
    interrupts({
      overrides: [
        { irq: 0, gsi: 2 },
        { irq: 0, gsi: 3 },
      ],
    }),
    "MACHINE_DUPLICATE",
    "machine.interrupts.overrides[1].irq",
  ],
  [
    "an override to no pin",
    interrupts({ overrides: [{ irq: 0, gsi: 24 }] }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.interrupts.overrides[0].gsi",
    "0-23",
  ],
  [
    "a GSI that no controller has",
    pc({ virtioMmio: [{ address: 0xfeb0_0000, size: 0x200, interrupt: level(24) }] }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.virtioMmio[0].interrupt.line is 24",
  ],
  [
    "a PCI pin with no line",
    root({ routes: [{ device: 1, lines: [1, 2, 3, 99] }] }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.pci[0].routes[0].lines[3] is 99",
  ],
  [
    "interrupts without a controller",
    interrupts({ ioApics: [], overrides: [] }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "there is none",
  ],
  [
    "two routes of one device",
    root({
      routes: [
        { device: 1, lines: [1, 2, 3, 4] },
        { device: 1, lines: [1, 2, 3, 4] },
      ],
    }),
    "MACHINE_DUPLICATE",
    "machine.pci[0].routes[1].device",
  ],
  [
    "a window in RAM",
    root({ memory: [{ start: 0x3fff_f000, end: 0x5000_0000 }] }),
    "MACHINE_OVERLAP",
    "machine.pci[0].memory[0]",
    "machine.ram[0]",
  ],
  [
    "a window over a device",
    root({ memory: [{ start: 0xfe00_0000, end: 0xff00_0000 }] }),
    "MACHINE_OVERLAP",
    "machine.pci[0].memory[0]",
    "machine.interrupts.ioApics[0]",
  ],
  [
    "a reversed window",
    root({ memory: [{ start: 0xf000_0000, end: 0xe000_0000 }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].memory[0]",
    "ends at or below",
  ],
  [
    "a window across 4 GiB",
    root({ memory: [{ start: 0xff00_0000, end: 0x1_1000_0000 }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].memory[0]",
    "4 GiB",
  ],
  [
    "a window of half pages",
    root({ memory: [{ start: 0xe000_0200, end: 0xf000_0000 }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].memory[0]",
    "0x1000",
  ],
  [
    "an I/O window with an address on x86",
    root({ io: [{ start: 0, end: 16, address: 0xe000_0000 }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].io[0].address",
  ],
  [
    "a reversed I/O window",
    root({ io: [{ start: 16, end: 16 }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].io[0]",
  ],
  [
    "a root without configuration",
    root({ hasPorts: false }),
    "MACHINE_INCOMPLETE",
    "machine.pci[0]",
    "hasPorts",
    "ecam",
  ],
  ["ports for another segment", root({ segment: 1 }), "MACHINE_BAD_VALUE", "machine.pci[0].hasPorts"],
  ["configuration space off a MiB", root({ ecam: 0xb000_1000 }), "MACHINE_BAD_VALUE", "machine.pci[0].ecam"],
  [
    "configuration space below 0",
    root({ ecam: 0x10_0000, buses: { start: 2, end: 4 } }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].ecam",
  ],
  [
    "configuration space beyond 2^64",
    root({ ecam: 2n ** 64n - 0x10_0000n }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].ecam",
    "2^64",
  ],
  ["no bus", root({ buses: { start: 4, end: 4 } }), "MACHINE_BAD_VALUE", "machine.pci[0].buses"],
  [
    "two roots with one bus",
    pc({ pci: [{ hasPorts: true }, { ecam: 0xe000_0000, buses: { start: 255, end: 256 } }] }),
    "MACHINE_OVERLAP",
    "machine.pci[1].buses",
    "a bus",
  ],
  [
    "two serial ports at one port",
    pc({
      serial: [
        { type: "16550", port: 0x3f8 },
        { type: "16550", port: 0x3ff },
      ],
    }),
    "MACHINE_OVERLAP",
    "machine.serial[1]",
    "I/O port",
  ],
  [
    "a serial port on the PM block",
    pc({ serial: [{ type: "16550", port: 0x600 }] }),
    "MACHINE_OVERLAP",
    "machine.power.eventPort",
  ],
  [
    "two transports at one address",
    pc({
      pci: [],
      virtioMmio: [0, 1].map(() => ({ address: 0xfeb0_0000, size: 0x200, interrupt: level(20) })),
    }),
    "MACHINE_OVERLAP",
    "machine.virtioMmio[1]",
    "memory",
  ],
  [
    "a device in RAM",
    pc({ virtioMmio: [{ address: 0x100_0000, size: 0x200, interrupt: level(20) }] }),
    "MACHINE_OVERLAP",
    "machine.virtioMmio[0]",
    "machine.ram[0]",
  ],
  [
    "RAM that overlaps",
    pc({
      ram: [
        { start: 0, end: 0x2000 },
        { start: 0x1000, end: 0x3000 },
      ],
    }),
    "MACHINE_OVERLAP",
    "machine.ram[1]",
  ],
  ["RAM of half pages", pc({ ram: [{ start: 0, end: 100 }] }), "MEMORY_RANGE_INVALID", "0x64"],
  [
    "a negative address",
    pc({ virtioMmio: [{ address: -4, size: 4, interrupt: level(20) }] }),
    "ADDRESS_OUT_OF_RANGE",
    "machine.virtioMmio[0].address",
  ],
  [
    "an odd GPE block",
    pc({
      power: {
        type: "pm1",
        eventPort: 0x600,
        controlPort: 0x604,
        sci: 9,
        s5: 0,
        gpe0: { port: 0x620, length: 3 },
      },
    }),
    "MACHINE_BAD_VALUE",
    "machine.power.gpe0.length",
  ],
  [
    "an SCI that is no ISA IRQ",
    pc({ power: { type: "pm1", eventPort: 0x600, controlPort: 0x604, sci: 20, s5: 0 } }),
    "MACHINE_BAD_VALUE",
    "machine.power.sci",
  ],
  [
    "a reset port beyond all ports",
    pc({
      power: {
        type: "reduced",
        sleepControl: 0xfea0_0200,
        sleepStatus: 0xfea0_0201,
        s5: 5,
        reset: { space: "io", address: 0x1_0000, value: 1 },
      },
    }),
    "MACHINE_BAD_VALUE",
    "machine.power.reset.address",
  ],
  [
    "a name with a NUL",
    pc({ identity: { product: "a\0b" } }),
    "MACHINE_BAD_VALUE",
    "machine.identity.product",
  ],
  [
    "a UUID that is none",
    pc({ identity: { uuid: "1234" } }),
    "MACHINE_BAD_VALUE",
    "machine.identity.uuid",
    "xxxxxxxx-",
  ],
  [
    "a date that is none",
    pc({ identity: { firmwareDate: "2024-01-01" } }),
    "MACHINE_BAD_VALUE",
    "machine.identity.firmwareDate",
    "mm/dd/yyyy",
  ],
  [
    "an SPI that the GIC lacks",
    virt({ virtioMmio: [{ address: 0xa00_0000, size: 0x200, interrupt: level(288) }] }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.virtioMmio[0].interrupt.line is 288",
    "32-287",
  ],
  [
    "a PPI for a device",
    virt({ rtc: { type: "pl031", address: 0x901_0000, interrupt: level(20) } }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.rtc.interrupt.line",
  ],
  [
    "an SPI as a timer",
    virt({ timer: { ...VIRT.timer, virtual: 32 } }),
    "MACHINE_BAD_VALUE",
    "machine.timer.virtual",
  ],
  [
    "ports on arm64",
    virt({ pci: [{ hasPorts: true, ecam: 0x40_1000_0000 }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].hasPorts",
  ],
  [
    "an I/O window without an address on arm64",
    virt({ pci: [{ ecam: 0x40_1000_0000, io: [{ start: 0, end: 16 }] }] }),
    "MACHINE_BAD_VALUE",
    "machine.pci[0].io[0].address",
  ],
  [
    "MSIs beyond the GIC's lines",
    virt({
      interrupts: {
        type: "gicv2",
        distributor: { address: 0x800_0000, size: 0x1_0000 },
        cpuInterface: { address: 0x801_0000, size: 0x1_0000 },
        end: 288,
        v2m: { address: 0x802_0000, size: 0x1000, start: 280, end: 300 },
      },
    }),
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.interrupts.v2m.end",
  ],
  [
    "a source that the PLIC lacks",
    { ...RISCV, rtc: { type: "goldfish", address: 0x10_1000, interrupt: level(96) } },
    "MACHINE_NO_SUCH_INTERRUPT",
    "machine.rtc.interrupt.line is 96",
  ],
  [
    "a device in the CLINT",
    { ...RISCV, virtioMmio: [{ address: 0x200_8000, size: 0x200, interrupt: level(1) }] },
    "MACHINE_OVERLAP",
    "machine.virtioMmio[0]",
    "machine.aclint",
  ],
];

const WRONG_TYPES: readonly (readonly [machine: unknown, ...details: string[]])[] = [
  [null, "machine must be an object"],
  [{ ...PC, architecture: "mips" }, "machine.architecture", "x86", "arm64", "riscv64"],
  [{ ...PC, cpus: "2" }, "machine.cpus", "a number or an array"],
  [{ ...PC, cpu: 2 }, "machine.cpu;", "machine.cpus?"],
  [{ ...PC, timers: undefined }, "machine.timers must be an object"],
  [{ ...PC, interrupts: { ...PC.interrupts, pic: 1 } }, "machine.interrupts.pic", "true or false"],
  [{ ...PC, serial: [{ type: "pl011", address: 0xe000_0000 }] }, "machine.serial[0].type", '"16550"'],
  [
    { ...PC, serial: [{ type: "16550", port: 0x3f8, interrupt: { line: 4 } }] },
    "machine.serial[0].interrupt.trigger",
  ],
  [{ ...PC, power: { type: "psci", method: "hvc" } }, "machine.power.type", "pm1", "reduced"],
  [
    { ...PC, pci: [{ hasPorts: true, routes: [{ device: 1, lines: [1] }] }] },
    "machine.pci[0].routes[0].lines",
    "4 pins",
  ],
  [{ ...VIRT, interrupts: { type: "gicv4" } }, "machine.interrupts.type", "gicv2"],
  [{ ...VIRT, power: { type: "psci", method: "hvs" } }, "machine.power.method", "hvc"],
  [{ ...RISCV, mmu: "sv32" }, "machine.mmu", "sv39"],
];

describe("checkMachine", () => {
  for (const [name, machine, code, ...details] of MISTAKES) {
    it(`refuses ${name}`, () => {
      assert.throws(() => checkMachine(machine), refusal(code, ...details));
    });
  }

  it("refuses wrong types and unknown names with a TypeError that names the field", () => {
    for (const [machine, ...details] of WRONG_TYPES) {
      assert.throws(
        () => checkMachine(machine as MachineDescription),
        (error) => {
          assert.ok(error instanceof TypeError, String(error));
          for (const detail of details)
            assert.ok(error.message.includes(detail), `${error.message}: ${detail}`);
          return true;
        },
      );
    }
  });

  it("accepts the presets with all their options, a riscv64 machine, and random machines", () => {
    const { qemuMicrovm, qemuPc, qemuQ35, qemuVirtArm64 } = machines;
    for (const memory of [undefined, 1 << 28, 3n << 30n, 3584n << 20n, 5n << 30n, 1n << 37n]) {
      for (const flag of [false, true]) {
        checkMachine(
          qemuMicrovm({ memory, pcie: flag, pit: flag, pic: flag, rtc: flag, serial: flag, ioapic2: flag }),
        );
        checkMachine(
          qemuVirtArm64({ memory, gicVersion: flag ? 2 : 3, highmem: memory === undefined || flag }),
        );
        for (const preset of [qemuPc, qemuQ35])
          checkMachine(preset({ memory, hpet: flag, cpus: flag ? 255 : 1 }));
      }
    }
    checkMachine(RISCV);
    fc.assert(fc.property(x86Machine, checkMachine), { numRuns: 200 });
  });

  it("accepts what structuredClone and JSON make of a description without bigints", () => {
    const machine = machines.qemuMicrovm({ cpus: 2 });
    checkMachine(structuredClone(machine));
    checkMachine(JSON.parse(JSON.stringify(machine)) as MachineDescription);
  });
});

describe("the presets' options", () => {
  it("are refused by name, like all options", () => {
    assert.throws(() => Reflect.apply(machines.qemuMicrovm, undefined, [{ cpu: 4 }]), {
      name: "TypeError",
      message: /did you mean cpus\?/,
    });
    assert.throws(() => Reflect.apply(machines.qemuPc, undefined, [{ cpus: "4" }]), {
      name: "TypeError",
      message: /^cpus must/,
    });
    assert.throws(() => machines.qemuQ35({ cpus: 5000 }), refusal("MACHINE_BAD_VALUE", "cpus", "4096"));
    assert.throws(
      () => machines.qemuVirtArm64({ cpus: 9 }),
      refusal("MACHINE_BAD_VALUE", "GICv2", "8", "gicVersion: 3"),
    );
  });
});
