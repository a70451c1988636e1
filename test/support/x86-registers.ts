import assert from "node:assert/strict";
import type { LoadedLinux } from "../../src/linux/loaded-linux.js";
import type { X86Registers } from "../../src/linux/registers.js";

/** The registers of a guest that must be an x86 one. */
export function x86Registers(guest: Pick<LoadedLinux, "architecture" | "registers">): X86Registers {
  assert.ok("rip" in guest.registers, `an ${guest.architecture} guest is no x86 one`);
  return guest.registers;
}
