/** DSDT: the devices that can't be found by looking, and how to switch off (ACPI 6.5, 5.2.11.1). */
import {
  ALL_BUSES,
  cpusOf,
  type PciRoot,
  type RealTimeClock,
  type SerialPort,
  type VirtioMmioDevice,
  type X86Machine,
  type X86Power,
} from "../../machine/description.js";
import { ecamOf } from "../../machine/occupied.js";
import {
  type Aml,
  and,
  argument,
  buffer,
  createDwordField,
  device,
  dwordField,
  eisaId,
  equal,
  giveBack,
  integer,
  local,
  memoryRegion,
  method,
  name,
  notEqual,
  notify,
  or,
  otherwise,
  pack,
  path,
  scope,
  store,
  string,
  uuidBytes,
  when,
} from "./aml.js";
import {
  busNumbers,
  extendedInterrupt,
  fixedMemory,
  interrupt,
  io,
  ioWindow,
  irq,
  memoryWindow,
  resourceTemplate,
} from "./resources.js";
import { table } from "./table.js";

/** Revision 2: integers have 64 bits. */
const REVISION = 2;

const resources = (...descriptors: readonly Aml[]): Aml => name("_CRS", resourceTemplate(...descriptors));
const hid = (id: string): Aml => name("_HID", /^[A-Z]{3}[\dA-F]{4}$/.test(id) ? eisaId(id) : string(id));
const uid = (number: number): Aml => name("_UID", integer(number));

/** "C00A": a letter, and a number of three hexadecimal digits. */
const numbered = (letter: string, index: number): string =>
  `${letter}${index.toString(16).toUpperCase().padStart(3, "0")}`;

const cpu = (index: number): Aml => device(numbered("C", index), hid("ACPI0007"), uid(index));

function serialPort(port: SerialPort, index: number): Aml {
  const registers = "port" in port ? io(port.port, 8) : fixedMemory(BigInt(port.address), 8);
  const line = port.interrupt === undefined ? [] : interrupt(port.interrupt);
  return device(`COM${index + 1}`, hid("PNP0501"), uid(index + 1), resources(registers, line));
}

function realTimeClock(rtc: RealTimeClock): Aml {
  const line = rtc.type === "cmos" && rtc.irq !== undefined ? irq(rtc.irq) : [];
  return device("RTC", hid("PNP0B00"), resources(io(0x70, 8), line));
}

function keyboardAndMouse({ hasMouse }: { readonly hasMouse: boolean }): Aml[] {
  const keyboard = device("KBD", hid("PNP0303"), resources(io(0x60, 1), io(0x64, 1), irq(1)));
  return hasMouse ? [keyboard, device("MOU", hid("PNP0F13"), resources(irq(12)))] : [keyboard];
}

const virtio = ({ address, size, interrupt: line }: VirtioMmioDevice, index: number): Aml =>
  device(
    numbered("V", index),
    hid("LNRO0005"),
    uid(index),
    // Its DMA sees the caches.
    name("_CCA", integer(1)),
    resources(fixedMemory(BigInt(address), size), extendedInterrupt(line)),
  );

/** The PCI host bridge's UUID, and what the guest may drive itself: native hot-plug, PME, AER, the PCIe capability (PCI Firmware 3.3, 4.5.1). */
const PCI_HOST_BRIDGE = "33db4d5b-1ff7-401c-9657-7441c03dd766";
const OSC_CONTROL = 0x1d;
const OSC_BAD_UUID = 0x04;
const OSC_MASKED = 0x10;

/** `_OSC` (ACPI 6.5, 6.2.11): without it Linux leaves PCI Express services alone. */
function operatingSystemCapabilities(): Aml {
  const status = path("CDW1");
  const control = path("CDW3");
  return method(
    "_OSC",
    4,
    createDwordField(argument(3), 0, "CDW1"),
    when(
      equal(argument(0), buffer(uuidBytes(PCI_HOST_BRIDGE))),
      createDwordField(argument(3), 8, "CDW3"),
      and(control, integer(OSC_CONTROL), local(0)),
      when(notEqual(local(0), control), or(status, integer(OSC_MASKED), status)),
      store(local(0), control),
    ),
    otherwise(or(status, integer(OSC_BAD_UUID), status)),
    giveBack(argument(3)),
  );
}

/** `_PRT`, static: device and pin, then the GSI (ACPI 6.5, 6.2.13). */
function routingTable({ routes = [] }: PciRoot): Aml[] {
  if (routes.length === 0) return [];
  const entries = routes.flatMap(({ device: number, lines }) =>
    lines.map((line, pin) =>
      pack(integer(number * 0x1_0000 + 0xffff), integer(pin), integer(0), integer(line)),
    ),
  );
  return [name("_PRT", pack(...entries))];
}

function pciRoot(root: PciRoot, index: number): Aml {
  const { segment = 0, buses = ALL_BUSES, hasPorts = false, ecam, memory = [] } = root;
  const ids = ecam === undefined ? [hid("PNP0A03")] : [hid("PNP0A08"), name("_CID", eisaId("PNP0A03"))];
  return device(
    numbered("P", index),
    ...ids,
    uid(index),
    name("_SEG", integer(segment)),
    name("_BBN", integer(buses.start)),
    resources(
      busNumbers(buses.start, buses.end),
      hasPorts ? io(0xcf8, 8) : [],
      ...(root.io ?? []).map(({ start, end }) => ioWindow(start, end)),
      ...memory.map(({ start, end, cacheable = false }) =>
        memoryWindow(BigInt(start), BigInt(end), cacheable),
      ),
    ),
    ...routingTable(root),
    ...(ecam === undefined ? [] : [operatingSystemCapabilities()]),
  );
}

/** Linux uses an enhanced configuration space only where the memory is reserved, by the memory map or by such a device. */
function reservedMemory(pci: readonly PciRoot[]): Aml[] {
  const spaces = pci.map((root) => ecamOf(root, "")).filter((space) => space !== undefined);
  if (spaces.length === 0) return [];
  const ranges = spaces.map(({ start, end }) => fixedMemory(start, end - start));
  return [device("RES0", hid("PNP0C02"), resources(...ranges))];
}

/** The power button's events come by an interrupt (ACPI 6.5, 5.6.9). */
function eventDevice({ events }: Extract<X86Power, { type: "reduced" }>): Aml[] {
  if (events === undefined) return [];
  const POWER_BUTTON = integer(2);
  return [
    device(
      "GED",
      hid("ACPI0013"),
      uid(0),
      resources(extendedInterrupt(events.interrupt)),
      memoryRegion("EREG", BigInt(events.address), 4),
      dwordField("EREG", "ESEL"),
      method(
        "_EVT",
        1,
        store(path("ESEL"), local(0)),
        when(equal(and(local(0), POWER_BUTTON), POWER_BUTTON), notify("PWRB", 0x80)),
      ),
    ),
    device("PWRB", hid("PNP0C0C"), uid(0)),
  ];
}

/** The AML of a machine's devices. */
export function buildDsdt(machine: X86Machine): Uint8Array {
  const { serial = [], rtc, i8042, pci = [], virtioMmio = [], power, timers } = machine;
  const devices = scope(
    "\\_SB",
    ...cpusOf(machine).map((_, index) => cpu(index)),
    ...serial.map(serialPort),
    ...(rtc === undefined ? [] : [realTimeClock(rtc)]),
    ...(i8042 === undefined ? [] : keyboardAndMouse(i8042)),
    ...(timers.hpet === undefined
      ? []
      : [device("HPET", hid("PNP0103"), resources(fixedMemory(BigInt(timers.hpet.address), 0x400)))]),
    ...reservedMemory(pci),
    ...pci.map(pciRoot),
    ...virtioMmio.map(virtio),
    ...(power?.type === "reduced" ? eventDevice(power) : []),
  );
  const sleep =
    power === undefined
      ? []
      : name("\\_S5", pack(integer(power.s5), integer(power.s5), integer(0), integer(0)));
  return table("DSDT", REVISION, Uint8Array.from([...devices, ...sleep]));
}
