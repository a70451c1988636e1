/**
 * A ROM in place of firmware: at reset it puts the registers of a plan into the processor and jumps to its entry,
 * over guest memory that something else has filled (QEMU's `-device loader`, say). It uses no RAM itself: its
 * tables and its stack lie in the ROM, so that the guest finds every page as the plan has it.
 *
 *     0xffff0000  ROM, 64 KiB (`qemu-system-x86_64 -bios`)
 *     0xffffe000    data: the temporary GDT, pseudo-descriptors, RFLAGS, the entry's address
 *     0xfffff000    code, in three parts: 16-bit, 32-bit, 64-bit
 *     0xfffffff0    reset vector: a jump to the code
 *
 * "SDM" is Intel's Software Developer's Manual, with the chapters as numbered since 2022. At reset (SDM 3A, section 10.1.4)
 * CS base is 0xffff0000, IP 0xfff0, CR0 0x60000010; interrupts and MTRRs are off; MTRRs, EFER and CR4 are zero.
 */
import { hex } from "../../base/address.js";
import { DirectBootError } from "../../base/errors.js";
import type {
  TableRegister,
  X86Register,
  X86SegmentRegisterName,
  X86TableRegisterName,
  X86ValueRegisterName,
} from "../../importers/importer.js";

/** Bytes in the ROM: as much as a real-mode segment, so that 16-bit code reaches all of it. */
const ROM_SIZE = 0x1_0000;
/** Physical address of the ROM: its end is 4 GiB (SDM 3A, section 10.1.4). */
const ROM_BASE = 0xffff_0000;
const DATA_OFFSET = 0xe000;
const CODE_OFFSET = 0xf000;
/** The first instruction is fetched from 0xfffffff0 (SDM 3A, section 10.1.4). */
const RESET_VECTOR_OFFSET = 0xfff0;
/** INT3 between the parts: whoever strays there without an IDT resets the machine instead of hanging. */
const FILLER = 0xcc;

// SDM 3A, section 2.5 (control registers) and section 2.2.1 (EFER).
const CR0_PG = 1n << 31n;
/** Everything but CD (bit 30) and NW (bit 29), which reset leaves set. */
const CR0_CACHES_ON = 0x9fff_ffff;
const EFER_LMA = 1n << 10n;
const MSR_EFER = 0xc000_0080;

/**
 * The MSRs that a register may name, in the order in which they are written: SDM volume 4, table 2-2. The default
 * type comes last, as its bits 11 and 10 switch all MTRRs on (SDM 3A, section 12.11.2.1); reset left them off, so
 * that the ones before can be written in any order.
 */
const MEMORY_TYPE_MSRS = [
  ["pat", 0x277],
  ["mtrrPhysBase0", 0x200],
  ["mtrrPhysMask0", 0x201],
  ["mtrrPhysBase1", 0x202],
  ["mtrrPhysMask1", 0x203],
  ["mtrrPhysBase2", 0x204],
  ["mtrrPhysMask2", 0x205],
  ["mtrrPhysBase3", 0x206],
  ["mtrrPhysMask3", 0x207],
  ["mtrrPhysBase4", 0x208],
  ["mtrrPhysMask4", 0x209],
  ["mtrrFix64k00000", 0x250],
  ["mtrrFix16k80000", 0x258],
  ["mtrrFix4kE0000", 0x26c],
  ["mtrrFix4kE8000", 0x26d],
  ["mtrrFix4kF0000", 0x26e],
  ["mtrrFix4kF8000", 0x26f],
  ["mtrrDefType", 0x2ff],
] as const satisfies readonly (readonly [X86ValueRegisterName, number])[];

/**
 * The temporary GDT: flat segments of 4 GiB (SDM 3A, section 3.4.5), to be out of real mode until the plan's own
 * takes over.
 */
const TEMPORARY_GDT = [
  0n,
  0x00cf_9b00_0000_ffffn, // code, 32-bit
  0x00cf_9300_0000_ffffn, // data
];
const TEMPORARY_CODE = 0x08;
const TEMPORARY_DATA = 0x10;

/** Segment registers that MOV loads, with the ModRM byte of `mov Sreg,eax` (SDM 2B, MOV; 8E /r). */
const DATA_SEGMENTS = { ds: 0xd8, es: 0xc0, fs: 0xe0, gs: 0xe8, ss: 0xd0 } as const;

/** The general registers that a plan may name, in the order of their numbers in an instruction. */
const GENERAL_REGISTERS = [
  ...(["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] as const),
  ...(["r8", "r9", "r10", "r11", "r12"] as const),
];

/** ModRM bytes of `mov crN,eax` (SDM 2B, MOV; 0F 22 /r). */
const CONTROL_REGISTERS = { cr0: 0xc0, cr3: 0xd8, cr4: 0xe0 } as const;

/** A plan's registers by name; those that are missing are zero. */
export type X86State = { readonly [R in X86Register as R["name"]]?: R["value"] | undefined };

/** `value` as `byteLength` bytes, little-endian; bits past them are dropped, so that negative numbers work, too. */
function littleEndian(value: bigint | number, byteLength: 2 | 4 | 8): readonly number[] {
  const bits = BigInt(value);
  return Array.from({ length: byteLength }, (_, index) => Number((bits >> BigInt(8 * index)) & 0xffn));
}

/** A ROM being filled: code grows up from one offset, data from another. */
class Rom {
  readonly bytes = new Uint8Array(ROM_SIZE).fill(FILLER);
  /** Offset of the next instruction. */
  here = CODE_OFFSET;
  #data = DATA_OFFSET;

  /** Emits an instruction. */
  emit(...encoding: readonly (number | readonly number[])[]): void {
    const bytes = encoding.flat();
    this.bytes.set(bytes, this.here);
    this.here += bytes.length;
  }

  /** Places data, 8-byte aligned, and returns its offset. */
  place(...parts: readonly (readonly number[])[]): number {
    const offset = this.#data;
    const bytes = parts.flat();
    this.bytes.set(bytes, offset);
    this.#data = (offset + bytes.length + 7) & ~7;
    return offset;
  }
}

/** A value that 32-bit code loads. */
function checked32(name: string, value = 0n): bigint {
  if (value < 1n << 32n) return value;
  const problem = `the reset ROM can't be built: ${name} is ${hex(value)}, at or above 4 GiB`;
  throw new DirectBootError("PLAN_INVALID", problem);
}

function value32(state: X86State, name: X86ValueRegisterName): bigint {
  return checked32(name, state[name]);
}

/** `mov eax,VALUE`, then `mov crN,eax`. */
function emitControl(rom: Rom, state: X86State, name: keyof typeof CONTROL_REGISTERS): void {
  emitMoveToEax(rom, value32(state, name));
  rom.emit(0x0f, 0x22, CONTROL_REGISTERS[name]);
}

function selectorOf(state: X86State, name: X86SegmentRegisterName): number {
  return state[name]?.selector ?? 0;
}

/** The pseudo-descriptor of LGDT and LIDT: SDM 3A, section 3.5.1. Its base has 8 bytes in 64-bit code. */
function pseudoDescriptor(state: X86State, name: X86TableRegisterName, baseBytes: 4 | 8): readonly number[] {
  const { base, limit }: TableRegister = state[name] ?? { base: 0n, limit: 0 };
  if (baseBytes === 4) checked32(`${name}.base`, base);
  return [...littleEndian(limit, 2), ...littleEndian(base, baseBytes)];
}

/**
 * Builds the ROM that starts a guest with these registers: for QEMU's `-bios`.
 *
 * With CR0.PG set it makes the 64-bit entry (long mode), else the 32-bit one (protected mode, no paging). Registers
 * that are not given are zero; PAT and MTRRs that are not given stay as reset leaves them. Hidden parts of segment
 * registers come from the plan's GDT in guest memory, not from here. The plan's page tables must map
 * the ROM, [0xffff0000, 4 GiB), onto itself, and its code segment must reach it in the 32-bit entry.
 *
 * Two registers read back differently in the guest: CR0.ET is always set, and so is RFLAGS bit 1.
 *
 * @returns 65536 bytes
 * @throws DirectBootError PLAN_INVALID for a value above 4 GiB that 32-bit code has to load
 */
export function buildResetRom(state: X86State): Uint8Array {
  const rom = new Rom();
  emitRealMode(rom);
  emitMemoryTypes(rom, state);
  if (((state.cr0 ?? 0n) & CR0_PG) !== 0n) {
    emitLongModeSwitch(rom, state);
    emitLongModeEntry(rom, state);
  } else {
    emitProtectedModeEntry(rom, state);
  }
  rom.here = RESET_VECTOR_OFFSET;
  // A near jump: a far one would load CS and lose its base of 0xffff0000.
  rom.emit(0xe9, littleEndian(CODE_OFFSET - (RESET_VECTOR_OFFSET + 3), 2)); // jmp CODE_OFFSET
  return rom.bytes;
}

/** Real mode, at 0xfffff000, to 32-bit code with flat segments: SDM 3A, section 10.9.1. */
function emitRealMode(rom: Rom): void {
  const gdt = rom.place(...TEMPORARY_GDT.map((descriptor) => littleEndian(descriptor, 8)));
  const gdtr = rom.place(littleEndian(TEMPORARY_GDT.length * 8 - 1, 2), littleEndian(ROM_BASE + gdt, 4));
  rom.emit(0xfa); // cli
  // Through CS, whose base is that of the ROM; with an operand size of 32 bits, else base bits 24-31 are dropped.
  rom.emit(0x2e, 0x66, 0x0f, 0x01, 0x16, littleEndian(gdtr, 2)); // lgdtd cs:GDTR
  rom.emit(0x0f, 0x20, 0xc0); // mov eax,cr0
  rom.emit(0x0c, 0x01); // or al,1
  rom.emit(0x0f, 0x22, 0xc0); // mov cr0,eax
  const target = ROM_BASE + rom.here + 8;
  rom.emit(0x66, 0xea, littleEndian(target, 4), littleEndian(TEMPORARY_CODE, 2)); // jmp CODE:TARGET
}

/** Flat data segments, then caches, PAT and MTRRs: 32-bit code with the temporary GDT. */
function emitMemoryTypes(rom: Rom, state: X86State): void {
  emitMoveToEax(rom, TEMPORARY_DATA);
  rom.emit(0x8e, 0xd8); // mov ds,eax
  rom.emit(0x8e, 0xc0); // mov es,eax
  rom.emit(0x8e, 0xd0); // mov ss,eax
  rom.emit(0x0f, 0x20, 0xc0); // mov eax,cr0
  rom.emit(0x25, littleEndian(CR0_CACHES_ON, 4)); // and eax,CR0_CACHES_ON
  rom.emit(0x0f, 0x22, CONTROL_REGISTERS.cr0); // mov cr0,eax
  for (const [name, number] of MEMORY_TYPE_MSRS) {
    const value = state[name];
    if (value !== undefined) emitWriteMsr(rom, number, value);
  }
}

/** From 32-bit code to 64-bit code, in the order of SDM 3A, section 10.8.5. */
function emitLongModeSwitch(rom: Rom, state: X86State): void {
  emitLoadGdt(rom, state);
  emitControl(rom, state, "cr4");
  emitControl(rom, state, "cr3");
  // LMA is the processor's: it sets the bit when paging starts. Some refuse to have it written.
  emitWriteMsr(rom, MSR_EFER, (state.efer ?? 0n) & ~EFER_LMA);
  emitControl(rom, state, "cr0");
  // From here on it is compatibility mode, until CS is the plan's.
  emitFarJump(rom, selectorOf(state, "cs"));
}

/** The other registers, in 64-bit code. */
function emitLongModeEntry(rom: Rom, state: X86State): void {
  emitLoadSegments(rom, state);
  const idtr = rom.place(pseudoDescriptor(state, "idtr", 8));
  rom.emit(0x0f, 0x01, 0x1d, littleEndian(idtr - (rom.here + 7), 4)); // lidt [rip+IDTR]
  // POPF takes its value from the ROM: a pop only reads the stack, so it needs no RAM. Nothing after it changes
  // the flags.
  const rflags = rom.place(littleEndian((state.rflags ?? 0n) | 2n, 8));
  emitMove64(rom, 4, BigInt(ROM_BASE + rflags)); // rsp
  rom.emit(0x9d); // popf
  for (const [number, name] of GENERAL_REGISTERS.entries()) emitMove64(rom, number, state[name] ?? 0n);
  // No plan can name these.
  for (const number of [13, 14, 15]) emitMove64(rom, number, 0n);
  // Through memory, as there is no register left to hold the address.
  const rip = rom.place(littleEndian(state.rip ?? 0n, 8));
  rom.emit(0xff, 0x25, littleEndian(rip - (rom.here + 6), 4)); // jmp [rip+RIP]
}

/** The 32-bit entry: protected mode with the plan's GDT, no paging. */
function emitProtectedModeEntry(rom: Rom, state: X86State): void {
  emitLoadGdt(rom, state);
  const idtr = ROM_BASE + rom.place(pseudoDescriptor(state, "idtr", 4));
  rom.emit(0x0f, 0x01, 0x1d, littleEndian(idtr, 4)); // lidt [IDTR]
  // Old processors lack CR4 and EFER; reset has left all three zero.
  if (state.cr4 !== undefined) emitControl(rom, state, "cr4");
  if (state.cr3 !== undefined) emitControl(rom, state, "cr3");
  if (state.efer !== undefined) emitWriteMsr(rom, MSR_EFER, state.efer & ~EFER_LMA);
  emitControl(rom, state, "cr0");
  // As in 64-bit code, but now, while SS is still flat for sure. LTR and MOV leave the flags alone.
  const eflags = rom.place(littleEndian(value32(state, "rflags") | 2n, 4));
  rom.emit(0xbc, littleEndian(ROM_BASE + eflags, 4)); // mov esp,EFLAGS
  rom.emit(0x9d); // popf
  emitFarJump(rom, selectorOf(state, "cs"));
  emitLoadSegments(rom, state);
  for (const [number, name] of GENERAL_REGISTERS.slice(0, 8).entries()) {
    rom.emit(0xb8 + number, littleEndian(value32(state, name), 4)); // mov eXX,VALUE
  }
  // EIP wraps at 4 GiB, so a relative jump reaches every address.
  const rip = value32(state, "rip");
  rom.emit(0xe9, littleEndian(rip - BigInt(ROM_BASE + rom.here + 5), 4)); // jmp RIP
}

/** The plan's GDT: 32-bit code. */
function emitLoadGdt(rom: Rom, state: X86State): void {
  const gdtr = ROM_BASE + rom.place(pseudoDescriptor(state, "gdtr", 4));
  rom.emit(0x0f, 0x01, 0x15, littleEndian(gdtr, 4)); // lgdt [GDTR]
}

/** Loads CS and goes on with the instruction behind: 32-bit code. */
function emitFarJump(rom: Rom, selector: number): void {
  rom.emit(0xea, littleEndian(ROM_BASE + rom.here + 7, 4), littleEndian(selector, 2)); // jmp SELECTOR:NEXT
}

/** DS, ES, FS, GS, SS, and TR if there is one: the same bytes in 32-bit and 64-bit code. */
function emitLoadSegments(rom: Rom, state: X86State): void {
  for (const [name, modrm] of Object.entries(DATA_SEGMENTS)) {
    emitMoveToEax(rom, selectorOf(state, name as keyof typeof DATA_SEGMENTS));
    rom.emit(0x8e, modrm); // mov SREG,eax
  }
  // LTR refuses the null selector, and marks the descriptor in the GDT as busy.
  const task = selectorOf(state, "tr");
  if (task !== 0) {
    emitMoveToEax(rom, task);
    rom.emit(0x0f, 0x00, 0xd8); // ltr ax
  }
}

/** `mov eax,VALUE`: the same bytes in 32-bit and 64-bit code. */
function emitMoveToEax(rom: Rom, value: bigint | number): void {
  rom.emit(0xb8, littleEndian(value, 4));
}

/** WRMSR takes the number in ECX and the value in EDX:EAX (SDM 2D, WRMSR). */
function emitWriteMsr(rom: Rom, number: number, value: bigint): void {
  rom.emit(0xb9, littleEndian(number, 4)); // mov ecx,NUMBER
  rom.emit(0xba, littleEndian(value >> 32n, 4)); // mov edx,HIGH
  emitMoveToEax(rom, value);
  rom.emit(0x0f, 0x30); // wrmsr
}

/** `movabs`, a whole 64-bit register: REX.W, with REX.B for the upper eight, B8 + number (SDM 2B, MOV). */
function emitMove64(rom: Rom, number: number, value: bigint): void {
  rom.emit(number < 8 ? 0x48 : 0x49, 0xb8 + (number & 7), littleEndian(value, 8));
}
