/**
 * The registers of an x86 processor bit by bit. Layouts: Intel 64 and IA-32 Architectures Software Developer's Manual
 * (SDM); each entry names volume and section. What a protocol wants of them: Documentation/arch/x86/boot.rst, "32-bit
 * Boot Protocol" and "64-bit Boot Protocol", and Xen's docs/misc/pvh.pandoc.
 */
import { hex } from "../base/address.js";
import { bit, bits, type RegisterDefinition, type RegisterFieldDefinition } from "./register-fields.js";
import { formatSize } from "./sizes.js";

/** Bits 12 and up of a 4 KiB aligned address, as the address. */
const address = (value: bigint): string => `address ${hex(value << 12n)}`;

/** SDM 3A, table 12-8: memory types of MTRRs. */
const MTRR_TYPES = [
  "UC, uncacheable",
  "WC, write combining",
  "reserved",
  "reserved",
  "WT, write-through",
  "WP, write-protected",
  "WB, write-back",
] as const;
/** SDM 3A, table 12-10: the PAT has one more. */
const PAT_TYPES = [...MTRR_TYPES, "UC-, uncacheable unless an MTRR says WC"] as const;

function mtrrType(value: bigint): string {
  return MTRR_TYPES[Number(value)] ?? "reserved";
}

function patType(value: bigint): string {
  return PAT_TYPES[Number(value)] ?? "reserved";
}

/** A register that is a number and no more. */
function plain(title: string, role: RegisterDefinition["role"]): RegisterDefinition {
  return { title, source: "SDM 1, 3.4.1 General-Purpose Registers", role, fields: [] };
}

const mustBeZero = (value: bigint): string =>
  value === 0n ? "0, as the 32-bit boot protocol demands it" : "no protocol asks for it";

/** SDM 3A, 12.11.2.2: eight ranges of one size, one byte each. */
function fixedMtrr(title: string, start: number, byteLength: number): RegisterDefinition {
  return {
    title,
    source: "SDM 3A, 12.11.2.2 Fixed Range MTRRs",
    role: "what firmware would have set: how the processor caches the lowest MiB",
    fields: Array.from({ length: 8 }, (_, index) => {
      const from = start + index * byteLength;
      return bits(
        index * 8 + 7,
        index * 8,
        `type of ${hex(from)}-${hex(from + byteLength)}`,
        (value) => `${formatSize(byteLength)}: ${mtrrType(value)}`,
      );
    }),
  };
}

/** SDM 3A, 12.11.2.3, figure 12-7. */
function variableMtrr(index: number, half: "base" | "mask"): RegisterDefinition {
  const role = "what firmware would have set: how the processor caches RAM";
  const source = "SDM 3A, 12.11.2.3 Variable Range MTRRs";
  return half === "base"
    ? {
        title: `IA32_MTRR_PHYSBASE${index}`,
        source,
        role,
        fields: [bits(51, 12, "PhysBase", address), bits(7, 0, "Type", mtrrType)],
      }
    : {
        title: `IA32_MTRR_PHYSMASK${index}`,
        source,
        role,
        fields: [
          bits(
            51,
            12,
            "PhysMask",
            (value) => `an address matches where ${hex(value << 12n)} of it equals the base`,
          ),
          bit(11, "V", "this pair is not used", "this pair is valid"),
        ],
      };
}

/** The registers of one number. */
export function x86ValueRegister(name: string): RegisterDefinition | undefined {
  const variable = /^mtrrPhys(Base|Mask)([0-4])$/.exec(name);
  if (variable !== null) return variableMtrr(Number(variable[2]), variable[1] === "Base" ? "base" : "mask");
  const definitions = x86ValueRegisters();
  return Object.hasOwn(definitions, name) ? definitions[name] : undefined;
}

function x86ValueRegisters(): Readonly<Record<string, RegisterDefinition>> {
  return {
    cr0: {
      title: "CR0",
      source: "SDM 3A, 2.5 Control Registers",
      role: (value) =>
        (value >> 31n) & 1n
          ? "64-bit entry: paging must be on (boot.rst)"
          : "32-bit and PVH entry: protected mode, paging off (boot.rst, pvh.pandoc)",
      fields: [
        bit(31, "PG", "paging is off: linear addresses are physical", "paging is on"),
        bit(30, "CD", "caches are on", "caches are off"),
        bit(29, "NW", "writes go by the caches' rules", "not write-through"),
        bit(18, "AM", "alignment checks can't be asked for", "alignment checks can be asked for"),
        bit(16, "WP", "the kernel may write to read-only pages", "read-only pages bind the kernel, too"),
        bit(5, "NE", "floating-point errors come by interrupt", "floating-point errors are exceptions"),
        bit(4, "ET", "no 387 coprocessor", "387 instructions"),
        bit(3, "TS", "no task switch since the last use of the FPU", "the FPU's state is another task's"),
        bit(2, "EM", "there is an FPU", "FPU instructions are trapped"),
        bit(1, "MP", "WAIT is not trapped", "WAIT is trapped after a task switch"),
        bit(0, "PE", "real mode", "protected mode"),
      ],
    },
    cr3: {
      title: "CR3",
      source: "SDM 3A, 2.5 Control Registers; 4.5.2, table 4-12",
      role: "guest physical address of the page tables that map the kernel and boot_params onto themselves",
      fields: [
        bits(51, 12, "table", (value) => `the first table is at ${hex(value << 12n)}`),
        bit(4, "PCD", "the first table is cached", "the first table is not cached"),
        bit(3, "PWT", "the first table is write-back", "the first table is write-through"),
      ],
    },
    cr4: {
      title: "CR4",
      source: "SDM 3A, 2.5 Control Registers",
      role: (value) =>
        value === 0n ? "32-bit and PVH entry: zero" : "64-bit entry: PAE, which long mode is made of",
      fields: [
        bit(
          28,
          "LAM_SUP",
          "no masking of supervisor pointers",
          "upper bits of supervisor pointers are masked",
        ),
        bit(25, "UINTR", "no user interrupts", "user interrupts"),
        bit(24, "PKS", "no protection keys for supervisor pages", "protection keys for supervisor pages"),
        bit(23, "CET", "no control-flow enforcement", "control-flow enforcement"),
        bit(22, "PKE", "no protection keys for user pages", "protection keys for user pages"),
        bit(21, "SMAP", "the kernel may use user data", "the kernel may not use user data"),
        bit(20, "SMEP", "the kernel may run user code", "the kernel may not run user code"),
        bit(19, "KL", "no key locker", "key locker"),
        bit(18, "OSXSAVE", "no XSAVE", "XSAVE and XGETBV"),
        bit(17, "PCIDE", "no process-context identifiers", "process-context identifiers"),
        bit(16, "FSGSBASE", "no RDFSBASE and the like", "RDFSBASE and the like"),
        bit(14, "SMXE", "no safer mode extensions", "safer mode extensions"),
        bit(13, "VMXE", "no VMX", "VMX"),
        bit(12, "LA57", "4-level paging in long mode", "5-level paging in long mode"),
        bit(11, "UMIP", "user code may run SGDT and the like", "SGDT and the like are trapped for user code"),
        bit(10, "OSXMMEXCPT", "no exceptions of SIMD floating-point", "exceptions of SIMD floating-point"),
        bit(9, "OSFXSR", "no FXSAVE, no SSE", "FXSAVE and SSE"),
        bit(8, "PCE", "RDPMC for the kernel only", "RDPMC for all"),
        bit(7, "PGE", "no global pages", "global pages"),
        bit(6, "MCE", "no machine-check exception", "machine-check exception"),
        bit(5, "PAE", "32-bit page table entries", "64-bit page table entries"),
        bit(4, "PSE", "no 4 MiB pages in 32-bit paging", "4 MiB pages in 32-bit paging"),
        bit(3, "DE", "no I/O breakpoints", "I/O breakpoints"),
        bit(2, "TSD", "RDTSC for all", "RDTSC for the kernel only"),
        bit(1, "PVI", "no virtual interrupt flag", "virtual interrupt flag in protected mode"),
        bit(0, "VME", "no virtual-8086 extensions", "virtual-8086 extensions"),
      ],
    },
    efer: {
      title: "IA32_EFER",
      source: "SDM 3A, 2.2.1 Extended Feature Enable Register",
      role: "64-bit entry: long mode is on and active",
      fields: [
        bit(11, "NXE", "no execute-disable bit in page tables", "page tables have an execute-disable bit"),
        bit(10, "LMA", "long mode is not active", "long mode is active"),
        bit(8, "LME", "long mode is off", "long mode is on once paging is"),
        bit(0, "SCE", "no SYSCALL", "SYSCALL and SYSRET"),
      ],
    },
    pat: {
      title: "IA32_PAT",
      source: "SDM 3A, 12.12.2 IA32_PAT MSR",
      role: "memory types that page tables choose from: the value after reset",
      fields: Array.from({ length: 8 }, (_, index) => bits(index * 8 + 2, index * 8, `PA${index}`, patType)),
    },
    rflags: {
      title: "RFLAGS",
      source: "SDM 1, 3.4.3 EFLAGS Register",
      role: "interrupts must be off",
      fields: [
        bit(21, "ID", "clear; where it can be set, there is CPUID", "set: there is CPUID"),
        bit(20, "VIP", "no virtual interrupt is pending", "a virtual interrupt is pending"),
        bit(19, "VIF", "virtual interrupts are off", "virtual interrupts are on"),
        bit(18, "AC", "no alignment check", "alignment check, or access to user data"),
        bit(17, "VM", "no virtual-8086 mode", "virtual-8086 mode"),
        bit(16, "RF", "breakpoints are heeded", "the next breakpoint is not heeded"),
        bit(14, "NT", "no nested task", "nested task"),
        bits(13, 12, "IOPL", (value) => `I/O for privilege levels 0 to ${value}`),
        bit(11, "OF", "no overflow", "overflow"),
        bit(10, "DF", "strings go upwards", "strings go downwards"),
        bit(9, "IF", "interrupts are off", "interrupts are on"),
        bit(8, "TF", "no single steps", "single steps"),
        bit(7, "SF", "positive", "negative"),
        bit(6, "ZF", "not zero", "zero"),
        bit(4, "AF", "no carry from bit 3", "carry from bit 3"),
        bit(2, "PF", "odd parity", "even parity"),
        bit(1, "1", "clear, which no processor has", "always set"),
        bit(0, "CF", "no carry", "carry"),
      ],
    },
    mtrrDefType: {
      title: "IA32_MTRR_DEF_TYPE",
      source: "SDM 3A, 12.11.2.1 IA32_MTRR_DEF_TYPE MSR",
      role: "what firmware would have set: how the processor caches what no other MTRR covers",
      fields: [
        bit(11, "E", "MTRRs are off: all is uncacheable", "MTRRs are on"),
        bit(10, "FE", "the fixed ranges are off", "the fixed ranges are on"),
        bits(7, 0, "Type", mtrrType),
      ],
    },
    mtrrFix64k00000: fixedMtrr("IA32_MTRR_FIX64K_00000", 0, 0x1_0000),
    mtrrFix16k80000: fixedMtrr("IA32_MTRR_FIX16K_80000", 0x8_0000, 0x4000),
    mtrrFix4kE0000: fixedMtrr("IA32_MTRR_FIX4K_E0000", 0xe_0000, 0x1000),
    mtrrFix4kE8000: fixedMtrr("IA32_MTRR_FIX4K_E8000", 0xe_8000, 0x1000),
    mtrrFix4kF0000: fixedMtrr("IA32_MTRR_FIX4K_F0000", 0xf_0000, 0x1000),
    mtrrFix4kF8000: fixedMtrr("IA32_MTRR_FIX4K_F8000", 0xf_8000, 0x1000),
    rip: plain("RIP", "address of the first instruction: the kernel's entry"),
    rsi: plain("RSI", (value) =>
      value === 0n ? "no protocol asks for it" : "guest physical address of the zero page (boot_params)",
    ),
    rbx: plain("RBX", (value) =>
      value === 0n ? mustBeZero(value) : "PVH: guest physical address of the start info (hvm_start_info)",
    ),
    rbp: plain("RBP", mustBeZero),
    rdi: plain("RDI", mustBeZero),
    rsp: plain("RSP", "no protocol asks for it: the kernel sets its own stack"),
    ...Object.fromEntries(
      ["rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12"].map((name) => [
        name,
        plain(name.toUpperCase(), "no protocol asks for it"),
      ]),
    ),
  };
}

/** SDM 3A, 3.4.5.1, table 3-1: types of code and data segments. */
const SEGMENT_TYPES = [
  "data, read-only",
  "data, read-only, accessed",
  "data, read/write",
  "data, read/write, accessed",
  "data, read-only, expand-down",
  "data, read-only, expand-down, accessed",
  "data, read/write, expand-down",
  "data, read/write, expand-down, accessed",
  "code, execute-only",
  "code, execute-only, accessed",
  "code, execute/read",
  "code, execute/read, accessed",
  "code, execute-only, conforming",
  "code, execute-only, conforming, accessed",
  "code, execute/read, conforming",
  "code, execute/read, conforming, accessed",
] as const;

/** SDM 3A, 3.5, table 3-2: types of system segments, outside long mode. */
const SYSTEM_TYPES: Readonly<Record<number, string>> = {
  1: "16-bit TSS, available",
  2: "LDT",
  3: "16-bit TSS, busy",
  4: "16-bit call gate",
  5: "task gate",
  6: "16-bit interrupt gate",
  7: "16-bit trap gate",
  9: "32-bit TSS, available (64-bit in long mode)",
  11: "32-bit TSS, busy (64-bit in long mode)",
  12: "32-bit call gate",
  14: "32-bit interrupt gate",
  15: "32-bit trap gate",
};

/** Attributes of a segment: bits 8 to 23 of the upper half of its descriptor, without the limit (SDM 3A, 3.4.5). */
export function segmentAttributeFields(attributes: number): readonly RegisterFieldDefinition[] {
  const isCodeOrData = (attributes & 0x10) !== 0;
  const isCode = isCodeOrData && (attributes & 0x8) !== 0;
  return [
    bit(15, "G", "the limit counts bytes", "the limit counts pages of 4 KiB"),
    bit(14, "D/B", isCode ? "16-bit, or 64-bit with L" : "16-bit", "32-bit"),
    bit(13, "L", "no 64-bit code", "64-bit code"),
    bit(12, "AVL", "for the system's own use", "for the system's own use, set"),
    bit(7, "P", "not present", "present"),
    bits(6, 5, "DPL", (value) => `privilege level ${value}`),
    bit(4, "S", "system segment", "code or data segment"),
    bits(3, 0, "Type", (value) =>
      isCodeOrData
        ? (SEGMENT_TYPES[Number(value)] ?? "reserved")
        : (SYSTEM_TYPES[Number(value)] ?? "reserved"),
    ),
  ];
}

/** A selector (SDM 3A, 3.4.2). */
export const SELECTOR_FIELDS: readonly RegisterFieldDefinition[] = [
  { high: 15, low: 3, name: "Index", meaning: (value) => `entry ${value} of the table` },
  { high: 2, low: 2, name: "TI", meaning: ["in the GDT", "in the LDT"] },
  { high: 1, low: 0, name: "RPL", meaning: (value) => `privilege level ${value}` },
];

const SEGMENT_ROLES: Readonly<Record<string, string>> = {
  cs: "code: flat, from 0; __BOOT_CS (0x10) by boot.rst",
  ds: "data: flat, from 0; __BOOT_DS (0x18) by boot.rst",
  es: "data: flat, from 0; __BOOT_DS (0x18) by boot.rst",
  ss: "stack: flat, from 0; __BOOT_DS (0x18) by boot.rst",
  fs: "data: flat, from 0",
  gs: "data: flat, from 0",
  tr: "a busy task state segment: PVH demands it, and processors with VT do not start a guest without",
};

/** The protocols' demand on a segment register. */
export function segmentRole(name: string): string {
  return Object.hasOwn(SEGMENT_ROLES, name) ? (SEGMENT_ROLES[name] ?? "") : "";
}

/** GDTR and IDTR (SDM 3A, 2.4.1 and 2.4.3): base and limit. */
export const TABLE_BASE_FIELDS: readonly RegisterFieldDefinition[] = [
  { high: 63, low: 0, name: "Base", meaning: (value) => `the table is at ${hex(value)}` },
];
export const TABLE_LIMIT_FIELDS: readonly RegisterFieldDefinition[] = [
  {
    high: 15,
    low: 0,
    name: "Limit",
    meaning: (value) => `${value + 1n} bytes: ${(value + 1n) / 8n} entries of 8`,
  },
];
export const SEGMENT_BASE_FIELDS: readonly RegisterFieldDefinition[] = [
  { high: 63, low: 0, name: "Base", meaning: (value) => `the segment starts at ${hex(value)}` },
];
export const SEGMENT_LIMIT_FIELDS: readonly RegisterFieldDefinition[] = [
  {
    high: 31,
    low: 0,
    name: "Limit",
    meaning: (value) => `${formatSize(value + 1n)}, up to its last byte at ${hex(value)}`,
  },
];
