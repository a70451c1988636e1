/**
 * The registers of an x86 processor bit by bit. Layouts: Intel 64 and IA-32 Architectures Software Developer's Manual
 * (SDM); each entry names volume and section. The protocols' demands: Documentation/arch/x86/boot.rst, "32-bit
 * Boot Protocol" and "64-bit Boot Protocol", and Xen's docs/misc/pvh.pandoc.
 */
import { hex } from "../base/address.js";
import { type Meaning, meaningOf, zeroOr } from "../base/field-meaning.js";
import type { SegmentRegister, TableRegister } from "../importers/importer.js";
import {
  addressAt,
  type RegisterDefinition,
  type RegisterPart,
  type RegisterRow,
} from "./register-fields.js";
import { formatSize } from "./sizes.js";

/** SDM 3A, tables 12-8 and 12-10: memory types of MTRRs and of the PAT, which has one more. */
const MTRR_TYPES = [
  "UC, uncacheable",
  "WC, write combining",
  "reserved",
  "reserved",
  "WT, write-through",
  "WP, write-protected",
  "WB, write-back",
] as const;
const PAT_TYPES = [...MTRR_TYPES, "UC-, uncacheable unless an MTRR says WC"] as const;

const NO_DEMAND = "no protocol asks for it";
const MUST_BE_ZERO = zeroOr("0, as the 32-bit boot protocol demands it", NO_DEMAND);

/** A register that is a number and no more. */
function plain(title: string, role: Meaning): RegisterDefinition {
  return { title, source: "SDM 1, 3.4.1 General-Purpose Registers", role, fields: [] };
}

/** Eight ranges of so many KiB from `start` on, a hex number, one byte each. */
function fixedMtrr(kibibytes: string, start: string): RegisterDefinition {
  const byteLength = Number(kibibytes) * 1024;
  const type: Meaning = (value) => `${kibibytes} KiB: ${meaningOf(MTRR_TYPES, value)}`;
  return {
    title: `IA32_MTRR_FIX${kibibytes}K_${start}`,
    source: "SDM 3A, 12.11.2.2 Fixed Range MTRRs",
    role: "what firmware would have set: how the processor caches the lowest MiB",
    fields: Array.from({ length: 8 }, (_, index): RegisterRow => {
      const from = Number.parseInt(start, 16) + index * byteLength;
      return [`${index * 8 + 7}:${index * 8}`, `type of ${hex(from)}-${hex(from + byteLength)}`, type];
    }),
  };
}

/** Halves of a pair (SDM 3A, figure 12-7). */
const MTRR_BASE: readonly RegisterRow[] = [
  ["51:12", "PhysBase", addressAt(12, "address")],
  ["7:0", "Type", MTRR_TYPES],
];
const MTRR_MASK: readonly RegisterRow[] = [
  ["51:12", "PhysMask", addressAt(12, "an address matches where", " of it equals the base")],
  [11, "V", "this pair is not used", "this pair is valid"],
];

const CR0: readonly RegisterRow[] = [
  [31, "PG", "paging is off: linear addresses are physical", "paging is on"],
  [30, "CD", "caches are on", "caches are off"],
  [29, "NW", "writes go by the caches' rules", "not write-through"],
  [18, "AM", "alignment checks can't be asked for", "alignment checks can be asked for"],
  [16, "WP", "the kernel may write to read-only pages", "read-only pages bind the kernel, too"],
  [5, "NE", "floating-point errors come by interrupt", "floating-point errors are exceptions"],
  [4, "ET", "no 387 coprocessor", "387 instructions"],
  [3, "TS", "no task switch since the last use of the FPU", "the FPU's state is another task's"],
  [2, "EM", "there is an FPU", "FPU instructions are trapped"],
  [1, "MP", "WAIT is not trapped", "WAIT is trapped after a task switch"],
  [0, "PE", "real mode", "protected mode"],
];

const CR4: readonly RegisterRow[] = [
  [28, "LAM_SUP", "no masking of supervisor pointers", "upper bits of supervisor pointers are masked"],
  [25, "UINTR", "no user interrupts", "user interrupts"],
  [24, "PKS", "no protection keys for supervisor pages", "protection keys for supervisor pages"],
  [23, "CET", "no control-flow enforcement", "control-flow enforcement"],
  [22, "PKE", "no protection keys for user pages", "protection keys for user pages"],
  [21, "SMAP", "the kernel may use user data", "the kernel may not use user data"],
  [20, "SMEP", "the kernel may run user code", "the kernel may not run user code"],
  [19, "KL", "no key locker", "key locker"],
  [18, "OSXSAVE", "no XSAVE", "XSAVE and XGETBV"],
  [17, "PCIDE", "no process-context identifiers", "process-context identifiers"],
  [16, "FSGSBASE", "no RDFSBASE and the like", "RDFSBASE and the like"],
  [14, "SMXE", "no safer mode extensions", "safer mode extensions"],
  [13, "VMXE", "no VMX", "VMX"],
  [12, "LA57", "4-level paging in long mode", "5-level paging in long mode"],
  [11, "UMIP", "user code may run SGDT and the like", "SGDT and the like are trapped for user code"],
  [10, "OSXMMEXCPT", "no exceptions of SIMD floating-point", "exceptions of SIMD floating-point"],
  [9, "OSFXSR", "no FXSAVE, no SSE", "FXSAVE and SSE"],
  [8, "PCE", "RDPMC for the kernel only", "RDPMC for all"],
  [7, "PGE", "no global pages", "global pages"],
  [6, "MCE", "no machine-check exception", "machine-check exception"],
  [5, "PAE", "32-bit page table entries", "64-bit page table entries"],
  [4, "PSE", "no 4 MiB pages in 32-bit paging", "4 MiB pages in 32-bit paging"],
  [3, "DE", "no I/O breakpoints", "I/O breakpoints"],
  [2, "TSD", "RDTSC for all", "RDTSC for the kernel only"],
  [1, "PVI", "no virtual interrupt flag", "virtual interrupt flag in protected mode"],
  [0, "VME", "no virtual-8086 extensions", "virtual-8086 extensions"],
];

const RFLAGS: readonly RegisterRow[] = [
  [21, "ID", "clear; where it can be set, there is CPUID", "set: there is CPUID"],
  [20, "VIP", "no virtual interrupt is pending", "a virtual interrupt is pending"],
  [19, "VIF", "virtual interrupts are off", "virtual interrupts are on"],
  [18, "AC", "no alignment check", "alignment check, or access to user data"],
  [17, "VM", "no virtual-8086 mode", "virtual-8086 mode"],
  [16, "RF", "breakpoints are heeded", "the next breakpoint is not heeded"],
  [14, "NT", "no nested task", "nested task"],
  ["13:12", "IOPL", "I/O for privilege levels 0 to {}"],
  [11, "OF", "no overflow", "overflow"],
  [10, "DF", "strings go upwards", "strings go downwards"],
  [9, "IF", "interrupts are off", "interrupts are on"],
  [8, "TF", "no single steps", "single steps"],
  [7, "SF", "positive", "negative"],
  [6, "ZF", "not zero", "zero"],
  [4, "AF", "no carry from bit 3", "carry from bit 3"],
  [2, "PF", "odd parity", "even parity"],
  [1, "1", "clear, which no processor has", "always set"],
  [0, "CF", "no carry", "carry"],
];

const CR3: readonly RegisterRow[] = [
  ["51:12", "table", addressAt(12, "the first table is at")],
  [4, "PCD", "the first table is cached", "the first table is not cached"],
  [3, "PWT", "the first table is write-back", "the first table is write-through"],
];

const EFER: readonly RegisterRow[] = [
  [11, "NXE", "no execute-disable bit in page tables", "page tables have an execute-disable bit"],
  [10, "LMA", "long mode is not active", "long mode is active"],
  [8, "LME", "long mode is off", "long mode is on once paging is"],
  [0, "SCE", "no SYSCALL", "SYSCALL and SYSRET"],
];

const PAT = Array.from({ length: 8 }, (_, index): RegisterRow => {
  return [`${index * 8 + 2}:${index * 8}`, `PA${index}`, PAT_TYPES];
});

const MTRR_DEF_TYPE: readonly RegisterRow[] = [
  [11, "E", "MTRRs are off: all is uncacheable", "MTRRs are on"],
  [10, "FE", "the fixed ranges are off", "the fixed ranges are on"],
  ["7:0", "Type", MTRR_TYPES],
];

const CONTROL_REGISTERS = "SDM 3A, 2.5 Control Registers";
const CR0_ROLE: Meaning = (value) =>
  (value >> 31n) & 1n
    ? "64-bit entry: paging must be on (boot.rst)"
    : "32-bit and PVH entry: protected mode, paging off (boot.rst, pvh.pandoc)";
const CR3_ROLE =
  "guest physical address of the page tables that map the kernel and boot_params onto themselves";
const CR4_ROLE = zeroOr("32-bit and PVH entry: zero", "64-bit entry: PAE, which long mode is made of");
const EFER_ROLE = "64-bit entry: long mode is on and active";
const PAT_ROLE = "memory types that page tables choose from: the value after reset";
const MTRR_ROLE = "what firmware would have set: how the processor caches what no other MTRR covers";
const RBX_ROLE = zeroOr(
  "0, as the 32-bit boot protocol demands it",
  "PVH: guest physical address of the start info (hvm_start_info)",
);

function x86ValueRegisters(): Readonly<Record<string, RegisterDefinition>> {
  const define = (title: string, source: string, role: Meaning, fields: readonly RegisterRow[]) =>
    ({ title, source, role, fields }) satisfies RegisterDefinition;
  return {
    cr0: define("CR0", CONTROL_REGISTERS, CR0_ROLE, CR0),
    cr3: define("CR3", `${CONTROL_REGISTERS}; 4.5.2, table 4-12`, CR3_ROLE, CR3),
    cr4: define("CR4", CONTROL_REGISTERS, CR4_ROLE, CR4),
    efer: define("IA32_EFER", "SDM 3A, 2.2.1 Extended Feature Enable Register", EFER_ROLE, EFER),
    pat: define("IA32_PAT", "SDM 3A, 12.12.2 IA32_PAT MSR", PAT_ROLE, PAT),
    rflags: define("RFLAGS", "SDM 1, 3.4.3 EFLAGS Register", "interrupts must be off", RFLAGS),
    mtrrDefType: define(
      "IA32_MTRR_DEF_TYPE",
      "SDM 3A, 12.11.2.1 IA32_MTRR_DEF_TYPE MSR",
      MTRR_ROLE,
      MTRR_DEF_TYPE,
    ),
    rip: plain("RIP", "address of the first instruction: the kernel's entry"),
    rsi: plain("RSI", zeroOr(NO_DEMAND, "guest physical address of the zero page (boot_params)")),
    rbx: plain("RBX", RBX_ROLE),
    rbp: plain("RBP", MUST_BE_ZERO),
    rdi: plain("RDI", MUST_BE_ZERO),
    rsp: plain("RSP", "no protocol asks for it: the kernel sets its own stack"),
  };
}

/** The registers of one number. */
export function x86ValueRegister(name: string): RegisterDefinition | undefined {
  const [, kibibytes, start = ""] = /^mtrrFix(\d+)k(\w+)$/.exec(name) ?? [];
  if (kibibytes !== undefined) return fixedMtrr(kibibytes, start);
  const variable = /^mtrrPhys(Base|Mask)([0-4])$/.exec(name);
  if (variable !== null) {
    const [, half = "", index] = variable;
    return {
      title: `IA32_MTRR_PHYS${half.toUpperCase()}${index}`,
      source: "SDM 3A, 12.11.2.3 Variable Range MTRRs",
      role: "what firmware would have set: how the processor caches RAM",
      fields: half === "Base" ? MTRR_BASE : MTRR_MASK,
    };
  }
  if (/^r([acd]x|8|9|1[0-2])$/.test(name)) return plain(name.toUpperCase(), NO_DEMAND);
  const definitions = x86ValueRegisters();
  return Object.hasOwn(definitions, name) ? definitions[name] : undefined;
}

/** SDM 3A, 3.4.5.1, table 3-1: types of code and data segments. */
function segmentType(value: bigint): string {
  const isCode = (value & 8n) !== 0n;
  const access = isCode ? "code, execute-only" : "data, read-only";
  return [
    value & 2n ? (isCode ? "code, execute/read" : "data, read/write") : access,
    ...(value & 4n ? [isCode ? "conforming" : "expand-down"] : []),
    ...(value & 1n ? ["accessed"] : []),
  ].join(", ");
}

/** SDM 3A, 3.5, table 3-2: types of system segments, and of gates that a GDT can hold. */
const SYSTEM_TYPES: Readonly<Record<number, string>> = {
  1: "16-bit TSS, available",
  2: "LDT",
  3: "16-bit TSS, busy",
  4: "16-bit call gate",
  5: "task gate",
  9: "32-bit TSS, available (64-bit in long mode)",
  11: "32-bit TSS, busy (64-bit in long mode)",
  12: "32-bit call gate",
};

/** Attributes of a segment: bits 8 to 23 of the upper half of its descriptor, without the limit (SDM 3A, 3.4.5). */
function segmentAttributeFields(attributes: number): readonly RegisterRow[] {
  const isCodeOrData = (attributes & 0x10) !== 0;
  const isCode = isCodeOrData && (attributes & 0x8) !== 0;
  return [
    [15, "G", "the limit counts bytes", "the limit counts pages of 4 KiB"],
    [14, "D/B", isCode ? "16-bit, or 64-bit with L" : "16-bit", "32-bit"],
    [13, "L", "no 64-bit code", "64-bit code"],
    [12, "AVL", "for the system's own use", "for the system's own use, set"],
    [7, "P", "not present", "present"],
    ["6:5", "DPL", "privilege level {}"],
    [4, "S", "system segment", "code or data segment"],
    ["3:0", "Type", isCodeOrData ? segmentType : (type) => SYSTEM_TYPES[Number(type)] ?? "reserved"],
  ];
}

const SELECTOR_FIELDS: readonly RegisterRow[] = [
  ["15:3", "Index", "entry {} of the table"],
  [2, "TI", "in the GDT", "in the LDT"],
  ["1:0", "RPL", "privilege level {}"],
];
const SEGMENT_LIMIT: Meaning = (value) => `${formatSize(value + 1n)}, up to its last byte at ${hex(value)}`;
const TABLE_LIMIT: Meaning = (value) => `${value + 1n} bytes: ${(value + 1n) / 8n} entries of 8`;

/** The protocols' demand on each register of several parts. */
const PARTS_ROLES: Readonly<Record<string, string>> = {
  cs: "code: flat, from 0; __BOOT_CS (0x10) by boot.rst",
  ds: "data: flat, from 0; __BOOT_DS (0x18) by boot.rst",
  es: "data: flat, from 0; __BOOT_DS (0x18) by boot.rst",
  ss: "stack: flat, from 0; __BOOT_DS (0x18) by boot.rst",
  fs: "data: flat, from 0",
  gs: "data: flat, from 0",
  tr: "a busy task state segment: PVH demands it, and processors with VT do not start a guest without",
  gdtr: "the table that the segment registers were loaded from",
  idtr: "no interrupts before the kernel has its own table",
};

/** A register of several parts: each part with its layout and value. */
interface PartsDefinition {
  readonly title: string;
  readonly source: string;
  readonly role: string;
  readonly parts: readonly (readonly [RegisterPart, readonly RegisterRow[], value: bigint])[];
}

/** A segment register (SDM 3A, 3.4.2), or GDTR or IDTR. */
export function x86PartsRegister(name: string, value: SegmentRegister | TableRegister): PartsDefinition {
  const { base, limit } = value;
  const common = { title: name.toUpperCase(), role: PARTS_ROLES[name] ?? "" };
  if (!("selector" in value)) {
    const isGdtr = name === "gdtr";
    return {
      ...common,
      source: `SDM 3A, ${isGdtr ? "2.4.1 Global" : "2.4.3 IDTR Interrupt"} Descriptor Table Register`,
      parts: [
        ["base", [["63:0", "Base", "the table is at {hex}"]], base],
        ["limit", [["15:0", "Limit", TABLE_LIMIT]], BigInt(limit)],
      ],
    };
  }
  const { selector, attributes } = value;
  return {
    ...common,
    source: "SDM 3A, 3.4.2 Segment Selectors, 3.4.5 Segment Descriptors",
    parts: [
      ["selector", SELECTOR_FIELDS, BigInt(selector)],
      ["base", [["63:0", "Base", "the segment starts at {hex}"]], base],
      ["limit", [["31:0", "Limit", SEGMENT_LIMIT]], BigInt(limit)],
      ["attributes", segmentAttributeFields(attributes), BigInt(attributes)],
    ],
  };
}
