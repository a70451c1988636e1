/** The fields of a machine's description, as tables: types, ranges and unknown names. The whole is checked by check-machine.ts. */
import { type AddressLike, hex, toAddress } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import {
  type Check,
  type Checks,
  is,
  isAddress,
  isBoolean,
  listOf,
  oneOf,
  optional,
  options,
  shape,
  wrongType,
} from "../base/options.js";
import type {
  Arm64Machine,
  MachineIdentity,
  MachineParts,
  PciRoot,
  Riscv64Machine,
  X86Interrupts,
  X86Machine,
} from "./description.js";

/** Most CPUs of a machine: Linux's limit on x86 (NR_CPUS with MAXSMP is 8192; arm64's default is 512). */
export const MOST_CPUS = 4096;
const U32_MAX = 0xffff_ffff;
const U16_MAX = 0xffff;
const PORT_END = 0x1_0000;
/** One past the highest INTID of an SPI (GIC architecture specification), and of a PLIC source. */
const INTID_END = 1020;
const SOURCE_END = 1024;

/** An integer from `from` to `to`. Throws TypeError for anything but an integer, MACHINE_BAD_VALUE for one out of range. */
function integer(from: number, to: number): Check {
  return (value, path) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value)) throw wrongType(path, "an integer", value);
    if (value >= from && value <= to) return;
    throw new DirectBootError("MACHINE_BAD_VALUE", `${path} is ${value}, outside ${from}-${to} (${hex(to)})`);
  };
}

/** An address whose table field has 32 bits. */
const isLowAddress: Check = (value, path) => {
  isAddress(value, path);
  const address = toAddress(value as AddressLike, path);
  if (address <= BigInt(U32_MAX)) return;
  throw new DirectBootError(
    "MACHINE_BAD_VALUE",
    `${path} is ${hex(address)}: its table has 32 bits for it, up to ${hex(U32_MAX)}`,
  );
};

/** An object that is one of several, told apart by its `type`. */
function variants(byType: Readonly<Record<string, Check>>): Check {
  const isType = oneOf(...Object.keys(byType));
  return (value, path) => {
    if (typeof value !== "object" || value === null) throw wrongType(path, "an object", value);
    const type: unknown = Reflect.get(value, "type");
    isType(type, `${path}.type`);
    byType[type as string]?.(value, path);
  };
}

/** Text of a table: without control characters, at most 64 characters, which all readers take (SMBIOS 3.3, 6.1.3). */
const isText: Check = (value, path) => {
  if (typeof value !== "string") throw wrongType(path, "a string", value);
  if (/^[\x20-\x7e]{1,64}$/.test(value)) return;
  throw new DirectBootError("MACHINE_BAD_VALUE", `${path} is ${describeType(value)}`, {
    cure: "give 1 to 64 printable ASCII characters",
  });
};

function isTextLike(pattern: RegExp, form: string): Check {
  return (value, path) => {
    isText(value, path);
    if (pattern.test(value as string)) return;
    throw new DirectBootError("MACHINE_BAD_VALUE", `${path} is ${describeType(value)}`, {
      cure: `give it as ${form}`,
    });
  };
}

function identityShape(): Check {
  const text = optional(isText);
  const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
  const fields: Checks<keyof MachineIdentity & string> = {
    manufacturer: text,
    product: text,
    version: text,
    serialNumber: text,
    uuid: optional(isTextLike(uuid, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")),
    sku: text,
    family: text,
    assetTag: text,
    firmwareVendor: text,
    firmwareVersion: text,
    firmwareDate: optional(isTextLike(/^\d\d\/\d\d\/\d{4}$/, "mm/dd/yyyy")),
  };
  return options(fields);
}

function pciShape(): Check {
  const isLine = integer(0, U32_MAX);
  const io = { start: integer(0, U16_MAX), end: integer(1, PORT_END), address: optional(isAddress) };
  const lines: Check = (value, path) => {
    listOf(isLine)(value, path);
    const { length } = value as readonly unknown[];
    if (length !== 4) throw new TypeError(`${path} must have the lines of 4 pins, got ${length}`);
  };
  const fields: Checks<keyof PciRoot & string> = {
    segment: optional(integer(0, U16_MAX)),
    buses: optional(options({ start: integer(0, 255), end: integer(1, 256) })),
    hasPorts: optional(isBoolean),
    ecam: optional(isAddress),
    io: optional(listOf(options(io))),
    memory: optional(listOf(options({ start: isAddress, end: isAddress, cacheable: optional(isBoolean) }))),
    routes: optional(listOf(options({ device: integer(0, 31), lines }))),
  };
  return options(fields);
}

/** A range of registers, and an interrupt line. */
function common() {
  const line = {
    line: integer(0, U32_MAX),
    trigger: oneOf("edge", "level"),
    polarity: optional(oneOf("high", "low")),
  };
  const registers = { address: isAddress, size: integer(1, U32_MAX) };
  return { registers, isRegisters: options(registers), isInterrupt: options(line) };
}

/** What machines of all architectures have; serial ports and clocks are those that lie in memory. */
function parts(): Checks<keyof MachineParts & string> {
  const { registers, isInterrupt } = common();
  const affinity = optional(integer(0, U16_MAX));
  const isCpu = options({ id: isAddress, socket: affinity, core: affinity, thread: affinity });
  const uart = {
    type: oneOf("16550", "pl011"),
    address: isAddress,
    clock: optional(integer(1, U32_MAX)),
    interrupt: optional(isInterrupt),
  };
  const clock = { type: oneOf("pl031", "goldfish"), address: isAddress, interrupt: optional(isInterrupt) };
  return {
    cpus: (value, path) => {
      if (Array.isArray(value)) listOf(isCpu)(value, path);
      else if (typeof value !== "number") throw wrongType(path, "a number or an array", value);
      integer(1, MOST_CPUS)(Array.isArray(value) ? value.length : value, path);
    },
    // Bounds and alignment are MemoryRange's to check.
    ram: optional(listOf(shape({ start: isAddress, end: isAddress }))),
    serial: optional(listOf(options(uart))),
    rtc: optional(options(clock)),
    pci: optional(listOf(pciShape())),
    virtioMmio: optional(listOf(options({ ...registers, interrupt: isInterrupt }))),
    identity: optional(identityShape()),
  };
}

function x86Interrupts(): Check {
  const isLine = integer(0, U32_MAX);
  const ioApic = {
    id: integer(0, 255),
    address: isLowAddress,
    gsiBase: isLine,
    pins: optional(integer(1, 240)),
  };
  const override = {
    irq: integer(0, 15),
    gsi: isLine,
    trigger: optional(oneOf("edge", "level")),
    polarity: optional(oneOf("high", "low")),
  };
  const fields: Checks<keyof X86Interrupts & string> = {
    localApic: optional(isLowAddress),
    nmiPin: optional(integer(0, 1)),
    ioApics: listOf(options(ioApic)),
    overrides: optional(listOf(options(override))),
    pic: isBoolean,
  };
  return options(fields);
}

function x86Power(): Check {
  const { isInterrupt } = common();
  const isByte = integer(0, 255);
  const reset = optional(options({ space: oneOf("io", "memory"), address: isAddress, value: isByte }));
  const pm1 = options({
    type: oneOf("pm1"),
    eventPort: integer(1, PORT_END - 4),
    controlPort: integer(1, PORT_END - 2),
    sci: integer(0, 15),
    smi: optional(options({ port: integer(1, U16_MAX), enable: isByte, disable: isByte })),
    gpe0: optional(options({ port: integer(1, U16_MAX), length: integer(2, 254) })),
    s5: integer(0, 7),
    reset,
  });
  const reduced = options({
    type: oneOf("reduced"),
    sleepControl: isAddress,
    sleepStatus: isAddress,
    s5: integer(0, 7),
    events: optional(options({ address: isLowAddress, interrupt: isInterrupt })),
    reset,
  });
  return variants({ pm1, reduced });
}

function x86(): Checks<keyof X86Machine & string> {
  const { isInterrupt } = common();
  const uart = { type: oneOf("16550"), interrupt: optional(isInterrupt) };
  const byPort = options({ ...uart, port: integer(0, PORT_END - 8) });
  const byAddress = options({ ...uart, address: isAddress, clock: optional(integer(1, U32_MAX)) });
  const isSerial: Check = (value, path) => {
    const isByPort = typeof value === "object" && value !== null && "port" in value;
    (isByPort ? byPort : byAddress)(value, path);
  };
  const cmos = {
    type: oneOf("cmos"),
    irq: optional(integer(0, 15)),
    // The first 14 are the clock's own.
    century: optional(integer(14, 127)),
  };
  return {
    ...parts(),
    architecture: oneOf("x86"),
    serial: optional(listOf(isSerial)),
    rtc: optional(options(cmos)),
    interrupts: x86Interrupts(),
    timers: options({
      pit: isBoolean,
      hpet: optional(options({ address: isLowAddress, id: optional(integer(0, U32_MAX)) })),
      pmTimer: optional(integer(1, PORT_END - 4)),
    }),
    power: optional(x86Power()),
    i8042: optional(options({ hasMouse: isBoolean })),
  };
}

function arm64(): Checks<keyof Arm64Machine & string> {
  const { registers, isRegisters, isInterrupt } = common();
  const isPpi = integer(16, 31);
  const isEnd = integer(33, INTID_END);
  const gicv2 = options({
    type: oneOf("gicv2"),
    distributor: isRegisters,
    cpuInterface: isRegisters,
    end: isEnd,
    v2m: optional(options({ ...registers, start: integer(32, INTID_END), end: isEnd })),
  });
  const gicv3 = options({
    type: oneOf("gicv3"),
    distributor: isRegisters,
    redistributors: listOf(isRegisters),
    end: isEnd,
    its: optional(isRegisters),
  });
  return {
    ...parts(),
    architecture: oneOf("arm64"),
    interrupts: variants({ gicv2, gicv3 }),
    timer: options({ securePhysical: isPpi, physical: isPpi, virtual: isPpi, hypervisor: isPpi }),
    pmu: optional(options({ interrupt: isInterrupt })),
    power: options({ type: oneOf("psci"), method: oneOf("hvc", "smc") }),
    gpio: optional(options({ ...registers, interrupt: isInterrupt, powerPin: optional(integer(0, 7)) })),
    cpuCompatible: optional(isText),
  };
}

function riscv64(): Checks<keyof Riscv64Machine & string> {
  const { registers, isRegisters } = common();
  const isValue = integer(0, U32_MAX);
  const isEnd = integer(2, SOURCE_END);
  const imsic = optional(options({ ...registers, ids: integer(63, 2047) }));
  return {
    ...parts(),
    architecture: oneOf("riscv64"),
    interrupts: variants({
      plic: options({ ...registers, type: oneOf("plic"), end: isEnd }),
      aia: options({ type: oneOf("aia"), aplic: isRegisters, end: isEnd, imsic }),
    }),
    aclint: optional(isRegisters),
    timebaseFrequency: integer(1, U32_MAX),
    isa: is("a string", (value) => typeof value === "string"),
    mmu: optional(oneOf("sv39", "sv48", "sv57")),
    power: variants({
      sbi: options({ type: oneOf("sbi") }),
      syscon: options({ ...registers, type: oneOf("syscon"), poweroff: isValue, reset: isValue }),
    }),
  };
}

/** Made when they are first needed: at the top level they would stay in bundles that describe no machine. */
const SHAPES = { x86, arm64, riscv64 } as const;
const made = new Map<string, Check>();

/**
 * Throws TypeError for a field of a wrong type and for an unknown one, MACHINE_BAD_VALUE and ADDRESS_OUT_OF_RANGE for a number
 * out of range; `path` names the description.
 */
export const checkMachineShape: Check = (value, path) => {
  if (typeof value !== "object" || value === null) throw wrongType(path, "an object", value);
  const architecture = Reflect.get(value, "architecture") as keyof typeof SHAPES;
  oneOf(...Object.keys(SHAPES))(architecture, `${path}.architecture`);
  const check = made.get(architecture) ?? options(SHAPES[architecture]());
  made.set(architecture, check);
  check(value, path);
};
