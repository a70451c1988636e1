import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Arm64State, buildArm64Stub } from "../../../src/hosts/qemu/arm64-stub.js";

// SPEC §6; what a direct boot sets.
const DIRECT_BOOT: Arm64State = {
  pc: 0x4020_0000n,
  x0: 0x4100_0000n,
  x1: 0n,
  cpsr: 0x3c5n,
  sctlrEl1: 0x30d0_1804n,
  tcrEl1: 0x5_8080_3591n,
  ttbr0El1: 0n,
  ttbr1El1: 0n,
  vbarEl1: 0n,
};

// mov x1, xzr … as objdump prints it.
const zeroes = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, index) => `mov x${first + index}, xzr`);

describe("the arm64 stub", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "directboot-stub-"));
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** The stub as binutils reads it, up to eret; loads from the literal pool show the value they load. */
  function disassemble(stub: Uint8Array): { instructions: string[]; literals: bigint[]; poolOffset: number } {
    const file = join(folder, "stub.bin");
    writeFileSync(file, stub);
    const objdump = "aarch64-linux-gnu-objdump";
    const result = spawnSync(objdump, ["-D", "-z", "-b", "binary", "-m", "aarch64", file], {
      encoding: "utf8",
    });
    if (result.error !== undefined) {
      throw new Error(`${objdump} is missing: apt-get install binutils-aarch64-linux-gnu`, {
        cause: result.error,
      });
    }
    assert.equal(result.status, 0, result.stderr);
    const view = new DataView(stub.buffer, stub.byteOffset, stub.byteLength);
    const instructions: string[] = [];
    const literals: bigint[] = [];
    for (const line of result.stdout.split("\n")) {
      const [, offset = "", text = ""] = /^\s*([0-9a-f]+):\t[0-9a-f]{8} ?\t(.*)$/.exec(line) ?? [];
      if (text === "") continue;
      const load = /^ldr\t(x\d+), 0x([0-9a-f]+)/.exec(text);
      if (load === null) {
        instructions.push(text.replace("\t", " ").replace(/\s*\/\/.*/, ""));
      } else {
        const at = Number.parseInt(load[2] ?? "", 16);
        const value = view.getBigUint64(at, true);
        literals.push(value);
        assert.equal(at % 8, 0, "a literal is aligned: with the MMU off an unaligned load faults");
        instructions.push(`ldr ${load[1]}, =0x${value.toString(16)}`);
      }
      if (text.startsWith("eret")) {
        const end = Number.parseInt(offset, 16) + 4;
        return { instructions, literals, poolOffset: Math.ceil(end / 8) * 8 };
      }
    }
    throw new Error(`no eret in\n${result.stdout}`);
  }

  it("sets the system registers, then the general ones, and leaves through eret", () => {
    assert.deepEqual(disassemble(buildArm64Stub(DIRECT_BOOT)).instructions, [
      "ldr x0, =0x580803591",
      "msr tcr_el1, x0",
      "mov x0, xzr",
      "msr ttbr0_el1, x0",
      "mov x0, xzr",
      "msr ttbr1_el1, x0",
      "mov x0, xzr",
      "msr vbar_el1, x0",
      "ldr x0, =0x30d01804",
      "msr sctlr_el1, x0",
      "isb",
      "ldr x0, =0x40200000",
      "msr elr_el1, x0",
      "ldr x0, =0x3c5",
      "msr spsr_el1, x0",
      "ldr x0, =0x41000000",
      ...zeroes(1, 30),
      "eret",
    ]);
  });

  it("sets every register that a plan can hold, MAIR_EL1 before the others", () => {
    const names = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"] as const;
    const all: Arm64State = {
      pc: 0xffff_8000_0000_1000n,
      cpsr: 5n,
      vbarEl1: 0xb000n,
      ttbr0El1: 0xffff_ffff_ffff_ffffn,
      ttbr1El1: 0x8000_0000_0000_0000n,
      mairEl1: 0xffn,
      sctlrEl1: 0x1n,
      tcrEl1: 0x2n,
      ...Object.fromEntries(names.map((name, index) => [name, 0x1_0000_0000n + BigInt(index)])),
    };
    const { instructions, literals, poolOffset } = disassemble(buildArm64Stub(all));
    assert.deepEqual(instructions, [
      "ldr x0, =0xff",
      "msr mair_el1, x0",
      "ldr x0, =0x2",
      "msr tcr_el1, x0",
      "ldr x0, =0xffffffffffffffff",
      "msr ttbr0_el1, x0",
      "ldr x0, =0x8000000000000000",
      "msr ttbr1_el1, x0",
      "ldr x0, =0xb000",
      "msr vbar_el1, x0",
      "ldr x0, =0x1",
      "msr sctlr_el1, x0",
      "isb",
      "ldr x0, =0xffff800000001000",
      "msr elr_el1, x0",
      "ldr x0, =0x5",
      "msr spsr_el1, x0",
      ...names.map((name, index) => `ldr ${name}, =0x10000000${index}`),
      ...zeroes(8, 30),
      "eret",
    ]);
    assert.equal(buildArm64Stub(all).byteLength, poolOffset + literals.length * 8);
    assert.ok(buildArm64Stub(all).byteLength <= 328);
  });

  it("makes zero of what the plan leaves out, and keeps MAIR_EL1 as it is", () => {
    const { instructions, literals } = disassemble(buildArm64Stub({ pc: 0x1000n }));
    assert.deepEqual(literals, [0x1000n]);
    assert.ok(!instructions.some((text) => text.includes("mair_el1")));
    assert.deepEqual(instructions.slice(-35), [
      "msr elr_el1, x0",
      "mov x0, xzr",
      "msr spsr_el1, x0",
      ...zeroes(0, 30),
      "eret",
    ]);
  });

  it("holds a value that several registers share once", () => {
    const shared = buildArm64Stub({ pc: 0x1000n, x0: 0x1000n, x7: 0x1000n });
    const { literals, poolOffset } = disassemble(shared);
    assert.deepEqual(literals, [0x1000n, 0x1000n, 0x1000n]);
    assert.equal(shared.byteLength, poolOffset + 8);
  });
});
