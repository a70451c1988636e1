/**
 * The registers of an arm64 processor bit by bit. Layouts: Arm Architecture Reference Manual (Arm ARM, DDI 0487), C5.2
 * "Special-purpose registers" and D19.2 "General system control registers". What the protocol wants of them:
 * Documentation/arch/arm64/booting.rst, "4. Call the kernel image".
 */
import { hex } from "../base/address.js";
import {
  bit,
  bits,
  oneOf,
  type RegisterDefinition,
  type RegisterFieldDefinition,
} from "./register-fields.js";

const cacheability = oneOf(
  "non-cacheable",
  "write-back, read- and write-allocate",
  "write-through, read-allocate",
  "write-back, read-allocate",
);
const shareability = oneOf("non-shareable", "reserved", "outer shareable", "inner shareable");
const tableRegion = (name: string): ((value: bigint) => string) => {
  return (value) => `${name} has ${64n - value} address bits`;
};

/** ARM ARM, MAIR_EL1, table "Attr<n>": the encodings that are used. */
function memoryAttribute(value: bigint): string {
  if (value === 0n) return "Device-nGnRnE";
  if (value === 0x4n) return "Device-nGnRE";
  if (value === 0x8n) return "Device-nGRE";
  if (value === 0xcn) return "Device-GRE";
  if (value === 0x44n) return "normal, non-cacheable";
  if (value === 0xbbn) return "normal, write-through";
  if (value === 0xffn) return "normal, write-back";
  return value < 0x10n ? "device, reserved form" : "normal";
}

/** Exception levels that PSTATE names (Arm ARM, C5.2.19, M[3:0]). */
const EXCEPTION_LEVELS = ["EL0", "EL1", "EL2", "EL3"] as const;

function translationBase(title: string): RegisterDefinition {
  return {
    title,
    source: `Arm ARM, D19.2, ${title}`,
    role: "the MMU is off: the kernel makes its own page tables",
    fields: [
      bits(63, 48, "ASID", (value) => `address space ${value}`),
      bits(47, 1, "BADDR", (value) =>
        value === 0n ? "no table" : `the first table is at ${hex(value << 1n)}`,
      ),
      bit(0, "CnP", "this processor's own tables", "tables that processors share"),
    ],
  };
}

function argument(name: string, role: string): RegisterDefinition {
  return {
    title: name.toUpperCase(),
    source: "Arm ARM, B1.2 Registers in AArch64 Execution state",
    role,
    fields: [],
  };
}

/** PSTATE as SPSR_EL1 holds it (Arm ARM, C5.2.19). */
const CPSR_FIELDS: readonly RegisterFieldDefinition[] = [
  { high: 31, low: 31, name: "N", meaning: ["not negative", "negative"] },
  { high: 30, low: 30, name: "Z", meaning: ["not zero", "zero"] },
  { high: 29, low: 29, name: "C", meaning: ["no carry", "carry"] },
  { high: 28, low: 28, name: "V", meaning: ["no overflow", "overflow"] },
  { high: 25, low: 25, name: "TCO", meaning: ["tags are checked", "tags are not checked"] },
  { high: 24, low: 24, name: "DIT", meaning: ["times may depend on data", "times do not depend on data"] },
  {
    high: 23,
    low: 23,
    name: "UAO",
    meaning: ["unprivileged loads are unprivileged", "unprivileged loads are privileged"],
  },
  {
    high: 22,
    low: 22,
    name: "PAN",
    meaning: ["the kernel may use user data", "the kernel may not use user data"],
  },
  { high: 21, low: 21, name: "SS", meaning: ["no single step", "single step"] },
  { high: 20, low: 20, name: "IL", meaning: ["legal state", "illegal state"] },
  {
    high: 12,
    low: 12,
    name: "SSBS",
    meaning: ["speculative store bypass is not safe", "speculative store bypass is safe"],
  },
  { high: 11, low: 10, name: "BTYPE", meaning: "kind of the last branch" },
  {
    high: 9,
    low: 9,
    name: "D",
    meaning: ["debug exceptions are let through", "debug exceptions are masked"],
  },
  { high: 8, low: 8, name: "A", meaning: ["SErrors are let through", "SErrors are masked"] },
  { high: 7, low: 7, name: "I", meaning: ["IRQs are let through", "IRQs are masked"] },
  { high: 6, low: 6, name: "F", meaning: ["FIQs are let through", "FIQs are masked"] },
  { high: 4, low: 4, name: "M[4]", meaning: ["AArch64", "AArch32"] },
  {
    high: 3,
    low: 2,
    name: "M[3:2]",
    meaning: (value) => `exception level ${EXCEPTION_LEVELS[Number(value)]}`,
  },
  { high: 0, low: 0, name: "M[0]", meaning: ["stack pointer SP_EL0", "stack pointer of its own level"] },
];

function arm64Registers(): Readonly<Record<string, RegisterDefinition>> {
  return {
    pc: argument("pc", "address of the first instruction: the Image's start (code0)"),
    x0: argument("x0", "physical address of the device tree"),
    ...Object.fromEntries(
      ["x1", "x2", "x3"].map((name) => [name, argument(name, "0: reserved by the boot protocol")]),
    ),
    ...Object.fromEntries(
      ["x4", "x5", "x6", "x7"].map((name) => [name, argument(name, "no protocol asks for it")]),
    ),
    cpsr: {
      title: "PSTATE",
      source: "Arm ARM, C5.2.19 SPSR_EL1",
      role: "EL1 or EL2, with all interrupts masked",
      fields: CPSR_FIELDS,
    },
    sctlrEl1: {
      title: "SCTLR_EL1",
      source: "Arm ARM, D19.2.130 SCTLR_EL1",
      role: "the MMU must be off; the instruction cache may be on",
      fields: [
        bit(31, "EnIA", "no pointer authentication, key IA", "pointer authentication, key IA"),
        bit(30, "EnIB", "no pointer authentication, key IB", "pointer authentication, key IB"),
        bit(
          29,
          "LSMAOE",
          "loads and stores of several registers may be taken apart",
          "loads and stores of several registers stay whole and in order",
        ),
        bit(
          28,
          "nTLSMD",
          "loads and stores of several registers to device memory are trapped",
          "loads and stores of several registers to device memory are not trapped",
        ),
        bit(27, "EnDA", "no pointer authentication, key DA", "pointer authentication, key DA"),
        bit(26, "UCI", "EL0: cache maintenance is trapped", "EL0: cache maintenance"),
        bit(25, "EE", "EL1 data is little-endian", "EL1 data is big-endian"),
        bit(24, "E0E", "EL0 data is little-endian", "EL0 data is big-endian"),
        bit(23, "SPAN", "an exception sets PSTATE.PAN", "an exception leaves PSTATE.PAN as it is"),
        bit(22, "EIS", "exception entry does not synchronize", "exception entry synchronizes"),
        bit(21, "IESB", "no implicit error barrier", "implicit error barrier"),
        bit(20, "TSCXT", "EL0: SCXTNUM_EL0 is not trapped", "EL0: SCXTNUM_EL0 is trapped"),
        bit(19, "WXN", "writable memory may be executed", "writable memory is never executed"),
        bit(18, "nTWE", "EL0: WFE is trapped", "EL0: WFE is not trapped"),
        bit(16, "nTWI", "EL0: WFI is trapped", "EL0: WFI is not trapped"),
        bit(15, "UCT", "EL0: CTR_EL0 is trapped", "EL0: CTR_EL0 can be read"),
        bit(14, "DZE", "EL0: DC ZVA is trapped", "EL0: DC ZVA"),
        bit(13, "EnDB", "no pointer authentication, key DB", "pointer authentication, key DB"),
        bit(12, "I", "instructions are not cached", "instructions are cached"),
        bit(11, "EOS", "exception return does not synchronize", "exception return synchronizes"),
        bit(10, "EnRCTX", "EL0: restriction instructions are trapped", "EL0: restriction instructions"),
        bit(9, "UMA", "EL0: interrupt masks are trapped", "EL0: interrupt masks"),
        bit(8, "SED", "SETEND (AArch32)", "SETEND is disabled (AArch32)"),
        bit(7, "ITD", "IT instructions (AArch32)", "IT instructions are disabled in part (AArch32)"),
        bit(6, "nAA", "misaligned atomic accesses fault", "some misaligned atomic accesses do not fault"),
        bit(5, "CP15BEN", "barriers of CP15 are disabled (AArch32)", "barriers of CP15 (AArch32)"),
        bit(4, "SA0", "EL0: the stack's alignment is not checked", "EL0: the stack's alignment is checked"),
        bit(3, "SA", "the stack's alignment is not checked", "the stack's alignment is checked"),
        bit(2, "C", "data is not cached", "data is cached"),
        bit(1, "A", "no alignment check", "alignment check"),
        bit(0, "M", "the MMU is off: addresses are physical", "the MMU is on"),
      ],
    },
    tcrEl1: {
      title: "TCR_EL1",
      source: "Arm ARM, D19.2.139 TCR_EL1",
      role: "the MMU is off: the kernel sets its own",
      fields: [
        bit(40, "HD", "dirty state is the kernel's", "dirty state is the processor's"),
        bit(39, "HA", "access flags are the kernel's", "access flags are the processor's"),
        bit(
          38,
          "TBI1",
          "upper half: the top byte is part of the address",
          "upper half: the top byte is ignored",
        ),
        bit(
          37,
          "TBI0",
          "lower half: the top byte is part of the address",
          "lower half: the top byte is ignored",
        ),
        bit(36, "AS", "8-bit ASIDs", "16-bit ASIDs"),
        bits(
          34,
          32,
          "IPS",
          oneOf(
            "32 address bits, 4 GiB",
            "36 address bits, 64 GiB",
            "40 address bits, 1 TiB",
            "42 address bits, 4 TiB",
            "44 address bits, 16 TiB",
            "48 address bits, 256 TiB",
            "52 address bits, 4 PiB",
            "56 address bits, 64 PiB",
          ),
        ),
        bits(31, 30, "TG1", oneOf("reserved", "16 KiB pages", "4 KiB pages", "64 KiB pages")),
        bits(29, 28, "SH1", shareability),
        bits(27, 26, "ORGN1", cacheability),
        bits(25, 24, "IRGN1", cacheability),
        bit(23, "EPD1", "upper half: tables are walked", "upper half: no tables are walked"),
        bit(22, "A1", "the ASID is TTBR0's", "the ASID is TTBR1's"),
        bits(21, 16, "T1SZ", tableRegion("the upper half")),
        bits(15, 14, "TG0", oneOf("4 KiB pages", "64 KiB pages", "16 KiB pages")),
        bits(13, 12, "SH0", shareability),
        bits(11, 10, "ORGN0", cacheability),
        bits(9, 8, "IRGN0", cacheability),
        bit(7, "EPD0", "lower half: tables are walked", "lower half: no tables are walked"),
        bits(5, 0, "T0SZ", tableRegion("the lower half")),
      ],
    },
    ttbr0El1: translationBase("TTBR0_EL1"),
    ttbr1El1: translationBase("TTBR1_EL1"),
    vbarEl1: {
      title: "VBAR_EL1",
      source: "Arm ARM, D19.2, VBAR_EL1",
      role: "no protocol asks for it: the kernel sets its own",
      fields: [bits(63, 11, "vectors", (value) => `exception vectors at ${hex(value << 11n)}`)],
    },
    mairEl1: {
      title: "MAIR_EL1",
      source: "Arm ARM, D19.2, MAIR_EL1",
      role: "memory types that page tables choose from: the kernel sets its own",
      fields: Array.from({ length: 8 }, (_, index) =>
        bits(index * 8 + 7, index * 8, `Attr${index}`, memoryAttribute),
      ),
    },
  };
}

/** An arm64 register, by its name here. */
export function arm64Register(name: string): RegisterDefinition | undefined {
  const definitions = arm64Registers();
  return Object.hasOwn(definitions, name) ? definitions[name] : undefined;
}
