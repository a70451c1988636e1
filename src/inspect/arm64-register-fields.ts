/**
 * The registers of an arm64 processor bit by bit. Layouts: Arm Architecture Reference Manual (Arm ARM, DDI 0487), C5.2
 * "Special-purpose registers" and D19.2 "General system control registers". The protocol's demands:
 * Documentation/arch/arm64/booting.rst, "4. Call the kernel image".
 */
import { type Meaning, zeroOr } from "../base/field-meaning.js";
import { addressAt, type RegisterDefinition, type RegisterRow } from "./register-fields.js";

const CACHEABILITY: Meaning = [
  "non-cacheable",
  "write-back, read- and write-allocate",
  "write-through, read-allocate",
  "write-back, read-allocate",
];
const SHAREABILITY: Meaning = ["non-shareable", "reserved", "outer shareable", "inner shareable"];
/** Sizes of physical addresses. */
const ADDRESS_SIZES: Meaning = [
  "32 address bits, 4 GiB",
  "36 address bits, 64 GiB",
  "40 address bits, 1 TiB",
  "42 address bits, 4 TiB",
  "44 address bits, 16 TiB",
  "48 address bits, 256 TiB",
  "52 address bits, 4 PiB",
  "56 address bits, 64 PiB",
];
const addressBits = (half: string): Meaning => {
  return (value) => `${half} has ${64n - value} address bits`;
};

/** Arm ARM, MAIR_EL1, table "Attr<n>": the encodings that are used. */
const MEMORY_ATTRIBUTES: Readonly<Record<number, string>> = {
  0: "Device-nGnRnE",
  4: "Device-nGnRE",
  8: "Device-nGRE",
  12: "Device-GRE",
  68: "normal, non-cacheable",
  187: "normal, write-through",
  255: "normal, write-back",
};

function memoryAttribute(value: bigint): string {
  return MEMORY_ATTRIBUTES[Number(value)] ?? (value < 0x10n ? "device, reserved form" : "normal");
}

/** PSTATE as SPSR_EL1 holds it (Arm ARM, C5.2.19). */
const CPSR: readonly RegisterRow[] = [
  [31, "N", "not negative", "negative"],
  [30, "Z", "not zero", "zero"],
  [29, "C", "no carry", "carry"],
  [28, "V", "no overflow", "overflow"],
  [25, "TCO", "tags are checked", "tags are not checked"],
  [24, "DIT", "times may depend on data", "times do not depend on data"],
  [23, "UAO", "unprivileged loads are unprivileged", "unprivileged loads are privileged"],
  [22, "PAN", "the kernel may use user data", "the kernel may not use user data"],
  [21, "SS", "no single step", "single step"],
  [20, "IL", "legal state", "illegal state"],
  [12, "SSBS", "speculative store bypass is not safe", "speculative store bypass is safe"],
  ["11:10", "BTYPE", "kind of the last branch"],
  [9, "D", "debug exceptions are let through", "debug exceptions are masked"],
  [8, "A", "SErrors are let through", "SErrors are masked"],
  [7, "I", "IRQs are let through", "IRQs are masked"],
  [6, "F", "FIQs are let through", "FIQs are masked"],
  [4, "M[4]", "AArch64", "AArch32"],
  ["3:2", "M[3:2]", "exception level EL{}"],
  [0, "M[0]", "stack pointer SP_EL0", "stack pointer of its own level"],
];

const SCTLR_EL1: readonly RegisterRow[] = [
  [31, "EnIA", "no pointer authentication, key IA", "pointer authentication, key IA"],
  [30, "EnIB", "no pointer authentication, key IB", "pointer authentication, key IB"],
  [
    29,
    "LSMAOE",
    "loads and stores of several registers may be taken apart",
    "loads and stores of several registers stay whole and in order",
  ],
  [
    28,
    "nTLSMD",
    "loads and stores of several registers to device memory are trapped",
    "loads and stores of several registers to device memory are not trapped",
  ],
  [27, "EnDA", "no pointer authentication, key DA", "pointer authentication, key DA"],
  [26, "UCI", "EL0: cache maintenance is trapped", "EL0: cache maintenance"],
  [25, "EE", "EL1 data is little-endian", "EL1 data is big-endian"],
  [24, "E0E", "EL0 data is little-endian", "EL0 data is big-endian"],
  [23, "SPAN", "an exception sets PSTATE.PAN", "an exception leaves PSTATE.PAN as it is"],
  [22, "EIS", "exception entry does not synchronize", "exception entry synchronizes"],
  [21, "IESB", "no implicit error barrier", "implicit error barrier"],
  [20, "TSCXT", "EL0: SCXTNUM_EL0 is not trapped", "EL0: SCXTNUM_EL0 is trapped"],
  [19, "WXN", "writable memory may be executed", "writable memory is never executed"],
  [18, "nTWE", "EL0: WFE is trapped", "EL0: WFE is not trapped"],
  [16, "nTWI", "EL0: WFI is trapped", "EL0: WFI is not trapped"],
  [15, "UCT", "EL0: CTR_EL0 is trapped", "EL0: CTR_EL0 can be read"],
  [14, "DZE", "EL0: DC ZVA is trapped", "EL0: DC ZVA"],
  [13, "EnDB", "no pointer authentication, key DB", "pointer authentication, key DB"],
  [12, "I", "instructions are not cached", "instructions are cached"],
  [11, "EOS", "exception return does not synchronize", "exception return synchronizes"],
  [10, "EnRCTX", "EL0: restriction instructions are trapped", "EL0: restriction instructions"],
  [9, "UMA", "EL0: interrupt masks are trapped", "EL0: interrupt masks"],
  [8, "SED", "SETEND (AArch32)", "SETEND is disabled (AArch32)"],
  [7, "ITD", "IT instructions (AArch32)", "IT instructions are disabled in part (AArch32)"],
  [6, "nAA", "misaligned atomic accesses fault", "some misaligned atomic accesses do not fault"],
  [5, "CP15BEN", "barriers of CP15 are disabled (AArch32)", "barriers of CP15 (AArch32)"],
  [4, "SA0", "EL0: the stack's alignment is not checked", "EL0: the stack's alignment is checked"],
  [3, "SA", "the stack's alignment is not checked", "the stack's alignment is checked"],
  [2, "C", "data is not cached", "data is cached"],
  [1, "A", "no alignment check", "alignment check"],
  [0, "M", "the MMU is off: addresses are physical", "the MMU is on"],
];

const TCR_EL1: readonly RegisterRow[] = [
  [40, "HD", "dirty state is the kernel's", "dirty state is the processor's"],
  [39, "HA", "access flags are the kernel's", "access flags are the processor's"],
  [38, "TBI1", "upper half: the top byte is part of the address", "upper half: the top byte is ignored"],
  [37, "TBI0", "lower half: the top byte is part of the address", "lower half: the top byte is ignored"],
  [36, "AS", "8-bit ASIDs", "16-bit ASIDs"],
  ["34:32", "IPS", ADDRESS_SIZES],
  ["31:30", "TG1", ["reserved", "16 KiB pages", "4 KiB pages", "64 KiB pages"]],
  ["29:28", "SH1", SHAREABILITY],
  ["27:26", "ORGN1", CACHEABILITY],
  ["25:24", "IRGN1", CACHEABILITY],
  [23, "EPD1", "upper half: tables are walked", "upper half: no tables are walked"],
  [22, "A1", "the ASID is TTBR0's", "the ASID is TTBR1's"],
  ["21:16", "T1SZ", addressBits("the upper half")],
  ["15:14", "TG0", ["4 KiB pages", "64 KiB pages", "16 KiB pages"]],
  ["13:12", "SH0", SHAREABILITY],
  ["11:10", "ORGN0", CACHEABILITY],
  ["9:8", "IRGN0", CACHEABILITY],
  [7, "EPD0", "lower half: tables are walked", "lower half: no tables are walked"],
  ["5:0", "T0SZ", addressBits("the lower half")],
];

const TTBR_EL1: readonly RegisterRow[] = [
  ["63:48", "ASID", "address space {}"],
  ["47:1", "BADDR", zeroOr("no table", addressAt(1, "the first table is at"))],
  [0, "CnP", "this processor's own tables", "tables that processors share"],
];
const TTBR_ROLE = "the MMU is off: the kernel makes its own page tables";

const VBAR_EL1: readonly RegisterRow[] = [["63:11", "vectors", addressAt(11, "exception vectors at")]];

const MAIR_EL1 = Array.from({ length: 8 }, (_, index): RegisterRow => {
  return [`${index * 8 + 7}:${index * 8}`, `Attr${index}`, memoryAttribute];
});
const MAIR_ROLE = "memory types that page tables choose from: the kernel sets its own";

function argument(name: string, role: string): RegisterDefinition {
  const source = "Arm ARM, B1.2 Registers in AArch64 Execution state";
  return { title: name.toUpperCase(), source, role, fields: [] };
}

/** A system register of D19.2, by its section's number, where it is known, and its name. */
function system(section: string, role: string, fields: readonly RegisterRow[]): RegisterDefinition {
  const title = section.split(" ").at(-1) ?? section;
  return { title, source: `Arm ARM, D19.2${section}`, role, fields };
}

/** An arm64 register, by its name here. */
export function arm64Register(name: string): RegisterDefinition | undefined {
  if (/^x[1-3]$/.test(name)) return argument(name, "0: reserved by the boot protocol");
  if (/^x[4-7]$/.test(name)) return argument(name, "no protocol asks for it");
  const pstate = { title: "PSTATE", source: "Arm ARM, C5.2.19 SPSR_EL1", fields: CPSR };
  const definitions: Readonly<Record<string, RegisterDefinition>> = {
    pc: argument("pc", "address of the first instruction: the Image's start (code0)"),
    x0: argument("x0", "physical address of the device tree"),
    cpsr: { ...pstate, role: "EL1 or EL2, with all interrupts masked" },
    sctlrEl1: system(".130 SCTLR_EL1", "the MMU must be off; the instruction cache may be on", SCTLR_EL1),
    tcrEl1: system(".139 TCR_EL1", "the MMU is off: the kernel sets its own", TCR_EL1),
    ttbr0El1: system(", TTBR0_EL1", TTBR_ROLE, TTBR_EL1),
    ttbr1El1: system(", TTBR1_EL1", TTBR_ROLE, TTBR_EL1),
    vbarEl1: system(", VBAR_EL1", "no protocol asks for it: the kernel sets its own", VBAR_EL1),
    mairEl1: system(", MAIR_EL1", MAIR_ROLE, MAIR_EL1),
  };
  return Object.hasOwn(definitions, name) ? definitions[name] : undefined;
}
