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
 * "SDM" is Intel's Software Developer's Manual, with the chapters as numbered since 2022. What the processor is like at reset: SDM 3A, section 10.1.4
 * (CS base 0xffff0000, IP 0xfff0, CR0 0x60000010, interrupts off, MTRRs off and zero, EFER and CR4 zero).
 */
import { ADDRESS_LIMIT, hex } from "../../base/address.js";
import { DirectBootError } from "../../base/errors.js";
import {
  type SegmentRegister,
  type TableRegister,
  X86_SEGMENT_REGISTERS,
  type X86Register,
  type X86SegmentRegisterName,
  type X86TableRegisterName,
  type X86ValueRegisterName,
} from "../../importers/importer.js";
import { type Instruction, littleEndian, RomAssembler } from "./assembler.js";

/** Bytes in the ROM: as much as a real-mode segment, so that 16-bit code reaches all of it. */
export const RESET_ROM_SIZE = 0x1_0000;
/** Physical address of the ROM: its end is 4 GiB (SDM 3A, section 10.1.4). */
const ROM_BASE = 0xffff_0000;
const DATA_OFFSET = 0xe000;
const CODE_OFFSET = 0xf000;
/** The first instruction is fetched from 0xfffffff0 (SDM 3A, section 10.1.4). */
const RESET_VECTOR_OFFSET = 0xfff0;
/** INT3 between the parts: whoever strays there without an IDT resets the machine instead of hanging. */
const FILLER = 0xcc;

const BELOW_4GIB = 1n << 32n;

// SDM 3A, section 2.5 (control registers) and section 2.2.1 (EFER).
const CR0_PE = 1n << 0n;
const CR0_PG = 1n << 31n;
/** Everything but CD (bit 30) and NW (bit 29), which reset leaves set. */
const CR0_CACHES_ON = 0x9fff_ffff;
const CR4_PAE = 1n << 5n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
// SegmentRegister.attributes: descriptor bits 8-23 (SDM 3A, sections 3.4.5 and 5.2.1).
const SEGMENT_LONG = 0x2000;
const SEGMENT_32BIT = 0x4000;

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
const DATA_SEGMENTS = [
  ["ds", 0xd8],
  ["es", 0xc0],
  ["fs", 0xe0],
  ["gs", 0xe8],
  ["ss", 0xd0],
] as const satisfies readonly (readonly [X86SegmentRegisterName, number])[];

/** The general registers that a plan may name, in the order of their numbers in an instruction. */
const LEGACY_REGISTERS = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const EXTENDED_REGISTERS = ["r8", "r9", "r10", "r11", "r12"] as const;
/** These can't be named in a plan, and so are always zero. */
const UNNAMED_REGISTERS = ["r13", "r14", "r15"] as const;

/** A ROM with the listing of its code. */
export interface ResetRom {
  /** 65536 bytes. */
  readonly bytes: Uint8Array;
  /** Every instruction in it, in the order of execution, but for the reset vector, which is the last. */
  readonly instructions: readonly Instruction[];
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
 * @throws DirectBootError PLAN_INVALID if registers are missing, given twice or can't be loaded from a ROM
 */
export function buildResetRom(registers: readonly X86Register[]): Uint8Array {
  return assembleResetRom(registers).bytes;
}

/**
 * {@link buildResetRom} with the listing of its code.
 *
 * @throws DirectBootError PLAN_INVALID, as buildResetRom
 */
export function assembleResetRom(registers: readonly X86Register[]): ResetRom {
  const file = new RegisterFile(registers);
  const rom = new RomAssembler(RESET_ROM_SIZE, FILLER, CODE_OFFSET, DATA_OFFSET);
  const long = (file.value("cr0") & CR0_PG) !== 0n;
  checkEntry(file, long);

  rom.setCodeSize(16);
  emitRealMode(rom);
  rom.setCodeSize(32);
  emitMemoryTypes(rom, file);
  if (long) {
    emitLongModeSwitch(rom, file);
    rom.setCodeSize(64);
    emitLongModeEntry(rom, file);
  } else {
    emitProtectedModeEntry(rom, file);
  }

  rom.moveTo(RESET_VECTOR_OFFSET);
  rom.setCodeSize(16);
  // A near jump: a far one would load CS and lose its base of 0xffff0000.
  const displacement = CODE_OFFSET - (RESET_VECTOR_OFFSET + 3);
  rom.emit(`jmp ${hex(CODE_OFFSET)}`, 0xe9, littleEndian(displacement, 2));
  return { bytes: rom.bytes, instructions: rom.instructions };
}

/** A plan's registers by name, and zero for those that it does not have. */
class RegisterFile {
  readonly #tables = new Map<X86TableRegisterName, TableRegister>();
  readonly #segments = new Map<X86SegmentRegisterName, SegmentRegister>();
  readonly #values = new Map<X86ValueRegisterName, bigint>();

  constructor(registers: readonly X86Register[]) {
    for (const register of registers) {
      if (this.has(register.name)) throw invalid(`register ${register.name} is given twice`);
      switch (register.name) {
        case "gdtr":
        case "idtr":
          checkRange(`${register.name}.base`, register.value.base, ADDRESS_LIMIT);
          checkRange(`${register.name}.limit`, register.value.limit, 1n << 16n);
          this.#tables.set(register.name, register.value);
          break;
        case "ds":
        case "es":
        case "fs":
        case "gs":
        case "ss":
        case "cs":
        case "tr":
          checkRange(`${register.name}.selector`, register.value.selector, 1n << 16n);
          this.#segments.set(register.name, register.value);
          break;
        default:
          checkRange(register.name, register.value, ADDRESS_LIMIT);
          this.#values.set(register.name, register.value);
      }
    }
  }

  has(name: X86Register["name"]): boolean {
    const maps: readonly ReadonlyMap<string, unknown>[] = [this.#tables, this.#segments, this.#values];
    return maps.some((map) => map.has(name));
  }

  value(name: X86ValueRegisterName): bigint {
    return this.#values.get(name) ?? 0n;
  }

  /** The value of a register that 32-bit code has to load. */
  value32(name: X86ValueRegisterName): bigint {
    const value = this.value(name);
    checkRange(name, value, BELOW_4GIB);
    return value;
  }

  selector(name: X86SegmentRegisterName): number {
    return this.#segments.get(name)?.selector ?? 0;
  }

  attributes(name: X86SegmentRegisterName): number {
    return this.#segments.get(name)?.attributes ?? 0;
  }

  table(name: X86TableRegisterName): TableRegister {
    return this.#tables.get(name) ?? { base: 0n, limit: 0 };
  }

  /** The pseudo-descriptor that LGDT and LIDT read outside of 64-bit mode: SDM 3A, section 3.5.1. */
  pseudoDescriptor32(name: X86TableRegisterName): readonly number[] {
    const { base, limit } = this.table(name);
    checkRange(`${name}.base`, base, BELOW_4GIB);
    return [...littleEndian(limit, 2), ...littleEndian(base, 4)];
  }

  /** The pseudo-descriptor that they read in 64-bit mode. */
  pseudoDescriptor64(name: X86TableRegisterName): readonly number[] {
    const { base, limit } = this.table(name);
    return [...littleEndian(limit, 2), ...littleEndian(base, 8)];
  }
}

function invalid(details: string): DirectBootError {
  return new DirectBootError("PLAN_INVALID", `the reset ROM can't be built: ${details}`);
}

function checkRange(name: string, value: bigint | number, limit: bigint): void {
  if (typeof value === "number" && !Number.isInteger(value)) throw invalid(`${name} is ${value}, no integer`);
  if (value < 0n || value >= limit) {
    throw invalid(`${name} is ${hex(value)}, outside ${hex(0n)}-${hex(limit - 1n)}`);
  }
}

/** Refuses what would only end in a triple fault, as far as the registers alone tell. */
function checkEntry(file: RegisterFile, long: boolean): void {
  for (const name of ["gdtr", "cs", "rip"] as const) {
    if (!file.has(name)) throw invalid(`register ${name} is missing`);
  }
  checkSelectors(file, long);
  const cr0 = file.value("cr0");
  if ((cr0 & CR0_PE) === 0n) throw invalid(`cr0 is ${hex(cr0)}, with PE (bit 0) clear: real mode`);
  const attributes = file.attributes("cs");
  if (!long) {
    if ((attributes & SEGMENT_32BIT) === 0) {
      throw invalid(`cs.attributes is ${hex(attributes)}, with D (bit 14) clear: no 32-bit code`);
    }
    for (const name of EXTENDED_REGISTERS) {
      if (file.value(name) !== 0n) throw invalid(`${name} is ${hex(file.value(name))}, in the 32-bit entry`);
    }
    return;
  }
  if (!file.has("cr3")) throw invalid("register cr3 is missing");
  const efer = file.value("efer");
  if ((efer & EFER_LME) === 0n) {
    throw invalid(`cr0 is ${hex(cr0)} with efer ${hex(efer)}: paging without LME (bit 8), not long mode`);
  }
  const cr4 = file.value("cr4");
  if ((cr4 & CR4_PAE) === 0n) throw invalid(`cr4 is ${hex(cr4)}, with PAE (bit 5) clear: no long mode`);
  if ((attributes & SEGMENT_LONG) === 0) {
    throw invalid(`cs.attributes is ${hex(attributes)}, with L (bit 13) clear: no 64-bit code`);
  }
}

/** Each selector must name a descriptor within the GDT; where the null selector is allowed: SDM 2B, MOV. */
function checkSelectors(file: RegisterFile, long: boolean): void {
  const { limit } = file.table("gdtr");
  for (const name of X86_SEGMENT_REGISTERS) {
    const selector = file.selector(name);
    const isNull = selector < 4;
    if (isNull && (name === "cs" || (name === "ss" && !long))) {
      throw invalid(`${name} is ${file.has(name) ? "the null selector" : "missing"}`);
    }
    if (!isNull && (selector | 7) > limit) {
      throw invalid(`${name}.selector is ${hex(selector)}, past gdtr.limit ${hex(limit)}`);
    }
  }
}

/** Real mode, at 0xfffff000, to 32-bit code with flat segments: SDM 3A, section 10.9.1. */
function emitRealMode(rom: RomAssembler): void {
  const gdt = rom.place(...TEMPORARY_GDT.map((descriptor) => littleEndian(descriptor, 8)));
  const gdtr = rom.place(littleEndian(TEMPORARY_GDT.length * 8 - 1, 2), littleEndian(ROM_BASE + gdt, 4));
  rom.emit("cli", 0xfa);
  // Through CS, whose base is that of the ROM; with an operand size of 32 bits, else base bits 24-31 are dropped.
  rom.emit(`lgdtd cs:${hex(gdtr)}`, 0x2e, 0x66, 0x0f, 0x01, 0x16, littleEndian(gdtr, 2));
  rom.emit("mov eax,cr0", 0x0f, 0x20, 0xc0);
  rom.emit("or al,0x1", 0x0c, 0x01);
  rom.emit("mov cr0,eax", 0x0f, 0x22, 0xc0);
  const target = ROM_BASE + rom.here + 8;
  rom.emit(
    `jmp ${hex(TEMPORARY_CODE)}:${hex(target)}`,
    0x66,
    0xea,
    littleEndian(target, 4),
    littleEndian(TEMPORARY_CODE, 2),
  );
}

/** Flat data segments, then caches, PAT and MTRRs: 32-bit code with the temporary GDT. */
function emitMemoryTypes(rom: RomAssembler, file: RegisterFile): void {
  emitMoveToEax(rom, TEMPORARY_DATA);
  rom.emit("mov ds,eax", 0x8e, 0xd8);
  rom.emit("mov es,eax", 0x8e, 0xc0);
  rom.emit("mov ss,eax", 0x8e, 0xd0);
  rom.emit("mov eax,cr0", 0x0f, 0x20, 0xc0);
  rom.emit(`and eax,${hex(CR0_CACHES_ON)}`, 0x25, littleEndian(CR0_CACHES_ON, 4));
  rom.emit("mov cr0,eax", 0x0f, 0x22, 0xc0);
  for (const [name, number] of MEMORY_TYPE_MSRS) {
    if (file.has(name)) emitWriteMsr(rom, number, file.value(name));
  }
}

/** From 32-bit code to 64-bit code, in the order of SDM 3A, section 10.8.5. */
function emitLongModeSwitch(rom: RomAssembler, file: RegisterFile): void {
  emitLoadGdt(rom, file);
  emitMoveToEax(rom, file.value32("cr4"));
  rom.emit("mov cr4,eax", 0x0f, 0x22, 0xe0);
  emitMoveToEax(rom, file.value32("cr3"));
  rom.emit("mov cr3,eax", 0x0f, 0x22, 0xd8);
  // LMA is the processor's: it sets the bit when paging starts. Some refuse to have it written.
  emitWriteMsr(rom, MSR_EFER, file.value("efer") & ~EFER_LMA);
  emitMoveToEax(rom, file.value32("cr0"));
  rom.emit("mov cr0,eax", 0x0f, 0x22, 0xc0);
  // From here on it is compatibility mode, until CS is the plan's.
  emitFarJump(rom, file.selector("cs"));
}

/** The rest of the registers, in 64-bit code. */
function emitLongModeEntry(rom: RomAssembler, file: RegisterFile): void {
  emitLoadSegments(rom, file);
  const idtr = rom.place(file.pseudoDescriptor64("idtr"));
  const idtrDistance = idtr - (rom.here + 7);
  rom.emit(`lidt [rip+${hex64(idtrDistance)}]`, 0x0f, 0x01, 0x1d, littleEndian(idtrDistance, 4));
  // POPF takes its value from the ROM: a pop only reads the stack, so it needs no RAM. Nothing after it changes
  // the flags.
  const rflags = rom.place(littleEndian(file.value("rflags") | 2n, 8));
  emitMove64(rom, "rsp", 4, BigInt(ROM_BASE + rflags));
  rom.emit("popf", 0x9d);
  for (const [number, name] of LEGACY_REGISTERS.entries()) {
    emitMove64(rom, `r${name}`, number, file.value(`r${name}`));
  }
  for (const [index, name] of EXTENDED_REGISTERS.entries()) {
    emitMove64(rom, name, 8 + index, file.value(name));
  }
  for (const [index, name] of UNNAMED_REGISTERS.entries()) emitMove64(rom, name, 13 + index, 0n);
  // Through memory, as there is no register left to hold the address.
  const rip = rom.place(littleEndian(file.value("rip"), 8));
  const ripDistance = rip - (rom.here + 6);
  rom.emit(`jmp QWORD PTR [rip+${hex64(ripDistance)}]`, 0xff, 0x25, littleEndian(ripDistance, 4));
}

/** The 32-bit entry: protected mode with the plan's GDT, no paging. */
function emitProtectedModeEntry(rom: RomAssembler, file: RegisterFile): void {
  emitLoadGdt(rom, file);
  const idtr = ROM_BASE + rom.place(file.pseudoDescriptor32("idtr"));
  rom.emit(`lidtd ds:${hex(idtr)}`, 0x0f, 0x01, 0x1d, littleEndian(idtr, 4));
  // Old processors lack CR4 and EFER; reset has left all three zero.
  if (file.has("cr4")) {
    emitMoveToEax(rom, file.value32("cr4"));
    rom.emit("mov cr4,eax", 0x0f, 0x22, 0xe0);
  }
  if (file.has("cr3")) {
    emitMoveToEax(rom, file.value32("cr3"));
    rom.emit("mov cr3,eax", 0x0f, 0x22, 0xd8);
  }
  if (file.has("efer")) emitWriteMsr(rom, MSR_EFER, file.value("efer") & ~EFER_LMA);
  emitMoveToEax(rom, file.value32("cr0"));
  rom.emit("mov cr0,eax", 0x0f, 0x22, 0xc0);
  // As in 64-bit code, but now, while SS is still flat for sure. LTR and MOV leave the flags alone.
  const eflags = rom.place(littleEndian(file.value32("rflags") | 2n, 4));
  rom.emit(`mov esp,${hex(ROM_BASE + eflags)}`, 0xbc, littleEndian(ROM_BASE + eflags, 4));
  rom.emit("popf", 0x9d);
  emitFarJump(rom, file.selector("cs"));
  emitLoadSegments(rom, file);
  for (const [number, name] of LEGACY_REGISTERS.entries()) {
    const value = file.value32(`r${name}`);
    rom.emit(`mov e${name},${hex(value)}`, 0xb8 + number, littleEndian(value, 4));
  }
  // EIP wraps at 4 GiB, so a relative jump reaches every address.
  const rip = file.value32("rip");
  rom.emit(`jmp ${hex(rip)}`, 0xe9, littleEndian(rip - BigInt(ROM_BASE + rom.here + 5), 4));
}

/** The plan's GDT: 32-bit code. */
function emitLoadGdt(rom: RomAssembler, file: RegisterFile): void {
  const gdtr = ROM_BASE + rom.place(file.pseudoDescriptor32("gdtr"));
  rom.emit(`lgdtd ds:${hex(gdtr)}`, 0x0f, 0x01, 0x15, littleEndian(gdtr, 4));
}

/** Loads CS and goes on with the instruction behind: 32-bit code. */
function emitFarJump(rom: RomAssembler, selector: number): void {
  const target = ROM_BASE + rom.here + 7;
  rom.emit(`jmp ${hex(selector)}:${hex(target)}`, 0xea, littleEndian(target, 4), littleEndian(selector, 2));
}

/** DS, ES, FS, GS, SS, and TR if there is one: the same bytes in 32-bit and 64-bit code. */
function emitLoadSegments(rom: RomAssembler, file: RegisterFile): void {
  for (const [name, modrm] of DATA_SEGMENTS) {
    emitMoveToEax(rom, file.selector(name));
    rom.emit(`mov ${name},eax`, 0x8e, modrm);
  }
  // LTR refuses the null selector, and marks the descriptor in the GDT as busy.
  const task = file.selector("tr");
  if (task !== 0) {
    emitMoveToEax(rom, task);
    rom.emit("ltr ax", 0x0f, 0x00, 0xd8);
  }
}

/** The same bytes in 32-bit and 64-bit code. */
function emitMoveToEax(rom: RomAssembler, value: bigint | number): void {
  rom.emit(`mov eax,${hex(value)}`, 0xb8, littleEndian(value, 4));
}

/** WRMSR takes the number in ECX and the value in EDX:EAX (SDM 2D, WRMSR). */
function emitWriteMsr(rom: RomAssembler, number: number, value: bigint): void {
  const high = value >> 32n;
  const low = value & 0xffff_ffffn;
  rom.emit(`mov ecx,${hex(number)}`, 0xb9, littleEndian(number, 4));
  rom.emit(`mov edx,${hex(high)}`, 0xba, littleEndian(high, 4));
  emitMoveToEax(rom, low);
  rom.emit("wrmsr", 0x0f, 0x30);
}

/** `mov` of a whole 64-bit register: REX.W, with REX.B for the upper eight, B8 + number (SDM 2B, MOV). */
function emitMove64(rom: RomAssembler, name: string, number: number, value: bigint): void {
  const rex = number < 8 ? 0x48 : 0x49;
  rom.emit(`movabs ${name},${hex(value)}`, rex, 0xb8 + (number & 7), littleEndian(value, 8));
}

/** A displacement as disassemblers write it: sign-extended to 64 bits. */
function hex64(displacement: number): string {
  return hex(BigInt.asUintN(64, BigInt(displacement)));
}
