/** Presets, held to what QEMU says of the same machine: its ACPI tables, its PCI interrupts, its device tree. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { buildAcpiTables } from "../../src/firmware/acpi/acpi-tables.js";
import { type DeviceTreeNode, readDeviceTree } from "../../src/firmware/device-tree.js";
import type { Arm64Machine, X86Machine } from "../../src/machine/description.js";
import { machines } from "../../src/machine/machines.js";
import { disassemble } from "../support/iasl.js";
import { type QemuTables, qemuTables } from "../support/qemu-tables.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();
const MEMORY = 64 << 20;

const ours = (machine: X86Machine): Map<string, Uint8Array> =>
  new Map(
    buildAcpiTables(machine, { address: 0xe_1000 }).list.map(({ signature, bytes }) => [signature, bytes]),
  );

const body = (tables: ReadonlyMap<string, Uint8Array>, signature: string): number[] => [
  ...(tables.get(signature)?.subarray(36) ?? []),
];

/** Fields of the FADT that QEMU and we must agree on: name, offset, bytes (ACPI 6.5, table 5.9). */
const FADT_FIELDS = [
  ["SCI_INT", 46, 2],
  ["SMI_CMD", 48, 4],
  ["ACPI_ENABLE", 52, 1],
  ["ACPI_DISABLE", 53, 1],
  ["PM1a_EVT_BLK", 56, 4],
  ["PM1a_CNT_BLK", 64, 4],
  ["PM_TMR_BLK", 76, 4],
  ["GPE0_BLK", 80, 4],
  ["PM1_EVT_LEN to GPE1_BASE", 88, 7],
  ["P_LVL2_LAT, P_LVL3_LAT", 96, 4],
  ["CENTURY", 108, 1],
  ["IAPC_BOOT_ARCH", 109, 2],
  ["Flags", 112, 4],
  ["RESET_REG, RESET_VALUE", 116, 13],
  ["X_PM1a_EVT_BLK to X_GPE1_BLK", 148, 96],
  ["SLEEP_CONTROL_REG, SLEEP_STATUS_REG", 244, 24],
] as const;

function checkFadt(
  qemu: ReadonlyMap<string, Uint8Array>,
  machine: X86Machine,
  without: readonly string[] = [],
): void {
  const [theirs, mine] = [qemu.get("FACP"), ours(machine).get("FACP")];
  assert.ok(theirs !== undefined && mine !== undefined);
  for (const [name, offset, length] of FADT_FIELDS) {
    // What QEMU's revision of the table does not have yet.
    if (offset + length > theirs.length || without.includes(name)) continue;
    const field = (bytes: Uint8Array): string =>
      Buffer.from(bytes.subarray(offset, offset + length)).toString("hex");
    assert.equal(field(mine), field(theirs), name);
  }
}

/** "DWordMemory 0xc0000000-0xfebfffff": all ranges that PCI hands out, and the buses. */
function windows(dsl: string): string[] {
  const pattern =
    /(WordBusNumber|WordIO|DWordIO|DWordMemory|QWordMemory) \(ResourceProducer[^)]*?Granularity\n\s*(0x[\dA-F]+),[^\n]*\n\s*(0x[\dA-F]+),/gs;
  return [...dsl.matchAll(pattern)]
    .map(([, type, start, end]) => `${type} ${Number(start)}-${Number(end)}`)
    .sort();
}

/** The lines of each device's pins by a routing package, links followed: "device pin" to a GSI. */
function routes(dsl: string, packageName: string): Map<string, number> {
  const links = new Map<string, number>();
  for (const [, name = "", number] of dsl.matchAll(
    /Device \((\w+)\)\s*\{\s*Name \(_HID, (?:EisaId \()?"PNP0C0F"(?:(?!Device \().)*?_CRS(?:(?!Device \().)*?Interrupt \([^{]*\{\s*(0x[\dA-F]+)/gs,
  )) {
    links.set(name, Number(number));
  }
  const start = dsl.indexOf(`Name (${packageName}, Package`);
  assert.ok(start >= 0, packageName);
  const constant = (text: string): number => (text === "Zero" ? 0 : text === "One" ? 1 : Number(text));
  const found = new Map<string, number>();
  const entry = /Package \(0x04\)\s*\{\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+)\s*\}/gs;
  const end = dsl.indexOf("})", start);
  for (const [, address = "", pin = "", first = "", second = ""] of dsl.slice(start, end).matchAll(entry)) {
    const line = links.get(first) ?? constant(second);
    found.set(`${constant(address) >> 16} ${constant(pin)}`, line);
  }
  return found;
}

function expectedRoutes({ pci = [] }: X86Machine | Arm64Machine): Map<string, number> {
  const entries = (pci[0]?.routes ?? []).flatMap(({ device, lines }) =>
    lines.map((line, pin) => [`${device} ${pin}`, line] as const),
  );
  return new Map(entries);
}

/** `_S5` as the DSDT has it; those of QEMU name SLP_TYPb, too. */
const sleep = (dsl: string): string | undefined =>
  /Name \(\\?_S5, Package \(0x04\)[^{]*\{\s*(\w+),/s.exec(dsl)?.[1];

/** "device pin" and line of a PCI device that firmware has set up, by QEMU's monitor. */
function interruptLines(infoPci: string): [string, number][] {
  const pattern = /Bus\s+0, device\s+(\d+), function 0:(?:(?!Bus).)*?IRQ (\d+), pin ([A-D])/gs;
  return [...infoPci.matchAll(pattern)].map(([, device, irq, pin]) => [
    `${device} ${"ABCD".indexOf(pin ?? "")}`,
    Number(irq),
  ]);
}

const dsdt = (tables: ReadonlyMap<string, Uint8Array>): Uint8Array => tables.get("DSDT") ?? new Uint8Array();

describe("qemuPc", () => {
  it("agrees with QEMU's own tables, and with what firmware has written into the devices", async () => {
    const devices = [3, 4, 5, 6].flatMap((slot) => ["-device", `virtio-rng-pci,addr=${slot}`]);
    const { tables, infoPci } = await qemuTables(folder, ["-M", "pc", "-smp", "4", ...devices]);
    const machine = machines.qemuPc({ cpus: 4, memory: MEMORY });
    const mine = ours(machine);
    for (const signature of ["APIC", "HPET"])
      assert.deepEqual(body(mine, signature), body(tables, signature), signature);
    // Revision 1 has no such fields: that there is an 8042, and a register that resets.
    checkFadt(tables, machine, ["IAPC_BOOT_ARCH", "Flags"]);
    checkDsdt("pc", tables, mine);
    const expected = expectedRoutes(machine);
    const lines = interruptLines(infoPci);
    assert.equal(lines.length, 4, infoPci);
    for (const [pin, line] of lines) assert.equal(expected.get(pin), line, pin);
  });
});

/** Windows, `_S5` and the devices that both describe. */
function checkDsdt(
  name: string,
  tables: ReadonlyMap<string, Uint8Array>,
  mine: ReadonlyMap<string, Uint8Array>,
): { theirs: string; our: string } {
  const theirs = disassemble(folder, `${name}-qemu`, dsdt(tables), { isOurs: false });
  const our = disassemble(folder, name, dsdt(mine));
  const had = windows(theirs);
  for (const window of windows(our)) assert.ok(had.includes(window), `${window} of ${had.join(", ")}`);
  assert.equal(sleep(our), sleep(theirs));
  return { theirs, our };
}

describe("qemuQ35", () => {
  it("agrees with QEMU's own tables", async () => {
    const cpus = { sockets: 2, cores: 3, threads: 2 };
    const { tables } = await qemuTables(folder, ["-M", "q35", "-smp", "12,sockets=2,cores=3,threads=2"]);
    const machine = machines.qemuQ35({ cpus, memory: MEMORY });
    const mine = ours(machine);
    for (const signature of ["APIC", "HPET", "MCFG"]) {
      assert.deepEqual(body(mine, signature), body(tables, signature), signature);
    }
    checkFadt(tables, machine);
    const { theirs, our } = checkDsdt("q35", tables, mine);
    const expected = expectedRoutes(machine);
    assert.deepEqual(routes(our, "_PRT"), expected);
    // What `_PRT` returns once the guest has said that it uses I/O APICs.
    assert.deepEqual(routes(theirs, "PRTA"), expected);
  });
});

describe("qemuMicrovm", () => {
  const run = (properties: string): Promise<QemuTables> =>
    qemuTables(folder, [
      ...["-M", `microvm,acpi=on${properties}`, "-smp", "4"],
      ...["-device", "virtio-rng-device", "-device", "virtio-rng-device", "-serial", "null"],
    ]);
  /** Address, length and interrupt of each virtio transport. */
  const transports = (dsl: string): string[] =>
    [...dsl.matchAll(/"LNRO0005".*?(0x[\dA-F]+),\s*\/\/ Address Base\s*(0x[\dA-F]+).*?\{\s*(0x[\dA-F]+),/gs)]
      .map(([, ...numbers]) => numbers.join(" "))
      .sort();

  for (const [properties, options] of [
    [",pcie=on", { pcie: true }],
    [",ioapic2=off,rtc=off", { ioapic2: false, rtc: false }],
  ] as const) {
    it(`agrees with QEMU's own tables: ${properties}`, async () => {
      const { tables } = await run(properties);
      const machine = machines.qemuMicrovm({ ...options, cpus: 4, memory: MEMORY, virtioDevices: 2 });
      const mine = ours(machine);
      assert.deepEqual(body(mine, "APIC"), body(tables, "APIC"));
      // QEMU's microvm has no RTC and no 8042 in its flags, whatever there is.
      checkFadt(tables, machine, ["IAPC_BOOT_ARCH"]);
      const { theirs, our } = checkDsdt("microvm", tables, mine);
      assert.equal(transports(our).length, 2);
      assert.deepEqual(transports(our), transports(theirs));
      if ("pcie" in options) {
        assert.deepEqual(routes(our, "_PRT"), expectedRoutes(machine));
        assert.deepEqual(routes(theirs, "_PRT"), expectedRoutes(machine));
      }
      assert.equal(/Device \(RTC\)/.test(theirs), /Device \(RTC\)/.test(our));
      const ged = (dsl: string) =>
        /Interrupt \([^{]*\{\s*(0x[\dA-F]+).*?OperationRegion \(EREG, SystemMemory, (\w+)/s
          .exec(dsl)
          ?.slice(1);
      assert.deepEqual(
        ged(our.slice(our.indexOf("ACPI0013"))),
        ged(theirs.slice(theirs.indexOf("ACPI0013"))),
      );
    });
  }
});

describe("qemuVirtArm64", () => {
  const tree = (properties: string, cpus: number): DeviceTreeNode => {
    const file = join(folder, "virt.dtb");
    runTool("qemu-system-arm", "qemu-system-aarch64", [
      ...["-M", `virt,dumpdtb=${file}${properties}`, "-cpu", "cortex-a57", "-smp", `${cpus}`, "-m", "64M"],
      ...["-nodefaults", "-display", "none"],
    ]);
    return readDeviceTree(readFileSync(file));
  };
  const cells = (node: DeviceTreeNode | undefined, name: string): number[] => {
    const bytes = node?.properties.get(name);
    assert.ok(bytes !== undefined, `${node?.name} has no ${name}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: bytes.byteLength / 4 }, (_, index) => view.getUint32(index * 4));
  };
  /** Pairs of 64-bit cells: address and size of each range. */
  const reg = (node: DeviceTreeNode | undefined): bigint[] => {
    const words = cells(node, "reg");
    return Array.from(
      { length: words.length / 2 },
      (_, index) => (BigInt(words[index * 2] ?? 0) << 32n) | BigInt(words[index * 2 + 1] ?? 0),
    );
  };
  const range = ({ address, size }: { address: number | bigint; size: number }) => [
    BigInt(address),
    BigInt(size),
  ];
  /** An interrupt as the GIC's binding has it: SPI or PPI, number, and 1 for a rising edge or 4 for a high level. */
  const spi = ({ line, trigger }: { line: number; trigger: string }) => [
    0,
    line - 32,
    trigger === "edge" ? 1 : 4,
  ];

  for (const [gicVersion, cpus] of [
    [2, 8],
    [3, 20],
  ] as const) {
    it(`agrees with QEMU's own device tree: GICv${gicVersion}, ${cpus} CPUs`, () => {
      const root = tree(`,gic-version=${gicVersion}`, cpus);
      const child = (name: string, node = root) => node.children.find((each) => each.name === name);
      const machine = machines.qemuVirtArm64({ cpus, gicVersion, memory: MEMORY });
      const ids = Array.from({ length: cpus }, (_, index) =>
        cells(child(`cpu@${index}`, child("cpus")), "reg").at(-1),
      );
      assert.ok(typeof machine.cpus !== "number");
      assert.deepEqual(
        machine.cpus.map(({ id }) => id),
        ids,
      );
      assert.deepEqual(
        machine.ram?.flatMap(({ start, end }) => [start, BigInt(end) - BigInt(start)]),
        reg(child("memory@40000000")),
      );
      const { interrupts } = machine;
      const gic = child("intc@8000000");
      const second = interrupts.type === "gicv2" ? [interrupts.cpuInterface] : interrupts.redistributors;
      assert.deepEqual([interrupts.distributor, ...second].flatMap(range), reg(gic).slice(0, 4));
      if (interrupts.type === "gicv2") {
        const v2m = child("v2m@8020000", gic);
        assert.deepEqual(range(interrupts.v2m ?? { address: 0, size: 0 }), reg(v2m));
      } else
        assert.deepEqual(range(interrupts.its ?? { address: 0, size: 0 }), reg(child("its@8080000", gic)));
      const { securePhysical, physical, virtual, hypervisor } = machine.timer;
      const ppis = cells(child("timer"), "interrupts").filter((_, index) => index % 3 === 1);
      assert.deepEqual(
        [securePhysical, physical, virtual, hypervisor].map((id) => id - 16),
        ppis,
      );
      const [uart] = machine.serial ?? [];
      assert.ok(uart?.interrupt !== undefined && "address" in uart);
      assert.deepEqual(spi(uart.interrupt), cells(child("pl011@9000000"), "interrupts"));
      assert.equal(reg(child("pl011@9000000"))[0], BigInt(uart.address));
      assert.ok(machine.rtc?.type === "pl031" && machine.rtc.interrupt !== undefined);
      assert.deepEqual(spi(machine.rtc.interrupt), cells(child("pl031@9010000"), "interrupts"));
      assert.ok(machine.gpio !== undefined);
      assert.deepEqual(range(machine.gpio), reg(child("pl061@9030000")));
      assert.deepEqual(spi(machine.gpio.interrupt), cells(child("pl061@9030000"), "interrupts"));
      assert.equal(
        machine.virtioMmio?.length,
        root.children.filter(({ name }) => name.startsWith("virtio_mmio")).length,
      );
      for (const device of machine.virtioMmio ?? []) {
        const node = child(`virtio_mmio@${device.address.toString(16)}`);
        assert.deepEqual(range(device), reg(node));
        assert.deepEqual(spi(device.interrupt), cells(node, "interrupts"));
      }
      checkPci(machine, child("pcie@10000000"));
    });
  }

  function checkPci(machine: Arm64Machine, node: DeviceTreeNode | undefined): void {
    const [root] = machine.pci ?? [];
    assert.ok(root?.ecam !== undefined);
    assert.equal(reg(node)[0], BigInt(root.ecam));
    assert.deepEqual(cells(node, "bus-range"), [0, (root.buses?.end ?? 256) - 1]);
    // Seven cells a range: PCI address in three, CPU address and size in two each (PCI Bus Binding to IEEE 1275).
    const ranges = cells(node, "ranges");
    const pair = (at: number) => (BigInt(ranges[at] ?? 0) << 32n) | BigInt(ranges[at + 1] ?? 0);
    const told = Array.from({ length: ranges.length / 7 }, (_, index) => [
      pair(index * 7 + 3),
      pair(index * 7 + 5),
    ]);
    const described = [
      ...(root.io ?? []).map(({ start, end, address }) => [BigInt(address ?? 0), BigInt(end - start)]),
      ...(root.memory ?? []).map(({ start, end }) => [BigInt(start), BigInt(end) - BigInt(start)]),
    ];
    assert.deepEqual(described, told);
    // Ten cells a pin: device in bits 11 to 15 of the first, pin from 1 on in the fourth, the SPI in the ninth.
    const map = cells(node, "interrupt-map");
    const expected = expectedRoutes(machine);
    for (let at = 0; at < map.length; at += 10) {
      const pin = `${(map[at] ?? 0) >> 11} ${(map[at + 3] ?? 0) - 1}`;
      assert.equal(expected.get(pin), 32 + (map[at + 8] ?? 0), pin);
    }
  }
});
