/**
 * Machine code that puts arm64 registers in place and jumps, for machines that can only start a processor at an
 * address: QEMU's `-device loader` writes memory and a program counter, nothing else.
 *
 *     -device loader,file=stub.bin,addr=STUB,force-raw=on -device loader,addr=STUB,cpu-num=0
 *
 * Encodings: Arm Architecture Reference Manual (DDI 0487), chapters C5 and C6.
 */
import type { Aarch64RegisterName } from "../../importers/importer.js";

/** `msr REGISTER, x0` (DDI 0487, C6.2 "MSR (register)"), in the order in which the stub sets them. */
const SYSTEM_REGISTERS = [
  { name: "mairEl1", move: 0xd518a200 }, // msr mair_el1, x0
  { name: "tcrEl1", move: 0xd5182040 }, // msr tcr_el1, x0
  { name: "ttbr0El1", move: 0xd5182000 }, // msr ttbr0_el1, x0
  { name: "ttbr1El1", move: 0xd5182020 }, // msr ttbr1_el1, x0
  { name: "vbarEl1", move: 0xd518c000 }, // msr vbar_el1, x0
  // Last: should a plan switch the MMU on, then with its tables in place.
  { name: "sctlrEl1", move: 0xd5181000 }, // msr sctlr_el1, x0
] as const satisfies readonly { name: Aarch64RegisterName; move: number }[];

const MSR_ELR_EL1_X0 = 0xd5184020; // msr elr_el1, x0
const MSR_SPSR_EL1_X0 = 0xd5184000; // msr spsr_el1, x0
const ISB = 0xd5033fdf; // isb
const ERET = 0xd69f03e0; // eret
const LDR_LITERAL = 0x58000000; // ldr xT, LABEL: T in bits 0-4, the distance in words in bits 5-23
const MOV_FROM_XZR = 0xaa1f03e0; // mov xD, xzr: D in bits 0-4

/** Registers of a plan that have names of their own: x0 to x7. The stub makes x8 to x30 zero. */
const ARGUMENT_REGISTERS = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"] as const;
/** x0 to x30; 31 stands for xzr or sp. */
const GENERAL_REGISTER_COUNT = 31;
const INSTRUCTION_BYTES = 4;
const LITERAL_BYTES = 8;

/** An instruction: its word, or a load whose distance to its literal is known at the end only. */
type Instruction = number | { readonly target: number; readonly value: bigint };

/** A plan's registers by name; those that are missing are zero. */
export type Arm64State = { readonly [R in Aarch64RegisterName]?: bigint | undefined };

/** `value` into xN: a load from the literal pool, or from xzr. */
function setRegister(target: number, value: bigint): Instruction {
  return value === 0n ? MOV_FROM_XZR | target : { target, value };
}

/**
 * Code that sets SCTLR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1, VBAR_EL1 and x0 to x7 to the plan's values (0 if the
 * plan has none), MAIR_EL1 if the plan has it, x8 to x30 to 0, and goes to `pc` with the processor state `cpsr`.
 *
 * It runs wherever it is put, at EL1, provided that its address is a multiple of 8: with the MMU off, data is
 * Device memory and its 8-byte literals may not be unaligned (DDI 0487, D8.2.12). It has no data but the literals
 * behind its last instruction, and is at most 328 bytes long.
 */
export function buildArm64Stub(state: Arm64State): Uint8Array {
  const code: Instruction[] = [];
  for (const { name, move } of SYSTEM_REGISTERS) {
    // OpenVMM's direct boot does not import it: a guest that starts with the MMU off has no use for it.
    if (name === "mairEl1" && state[name] === undefined) continue;
    code.push(setRegister(0, state[name] ?? 0n)); // ldr x0, LITERAL or mov x0, xzr
    code.push(move); // msr REGISTER, x0
  }
  code.push(ISB); // isb: what follows sees the system registers
  code.push(setRegister(0, state.pc ?? 0n)); // ldr x0, LITERAL
  code.push(MSR_ELR_EL1_X0); // msr elr_el1, x0
  code.push(setRegister(0, state.cpsr ?? 0n)); // ldr x0, LITERAL
  code.push(MSR_SPSR_EL1_X0); // msr spsr_el1, x0
  for (let number = 0; number < GENERAL_REGISTER_COUNT; number += 1) {
    const name = ARGUMENT_REGISTERS[number];
    const value = name === undefined ? 0n : (state[name] ?? 0n);
    code.push(setRegister(number, value)); // ldr xN, LITERAL or mov xN, xzr
  }
  code.push(ERET); // eret: pc = elr_el1, processor state = spsr_el1

  const poolOffset = Math.ceil((code.length * INSTRUCTION_BYTES) / LITERAL_BYTES) * LITERAL_BYTES;
  const literals = new Map<bigint, number>();
  const words = code.map((instruction, index) => {
    if (typeof instruction === "number") return instruction;
    const offset = literals.get(instruction.value) ?? poolOffset + literals.size * LITERAL_BYTES;
    literals.set(instruction.value, offset);
    const distance = offset / INSTRUCTION_BYTES - index;
    return LDR_LITERAL | (distance << 5) | instruction.target; // ldr xT, LITERAL
  });

  const stub = new Uint8Array(poolOffset + literals.size * LITERAL_BYTES);
  const view = new DataView(stub.buffer);
  words.forEach((word, index) => {
    view.setUint32(index * INSTRUCTION_BYTES, word, true);
  });
  for (const [value, offset] of literals) view.setBigUint64(offset, value, true);
  return stub;
}
