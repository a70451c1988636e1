import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type {
  Aarch64RegisterName,
  VpRegister,
  X86SegmentRegisterName,
  X86TableRegisterName,
  X86ValueRegisterName,
} from "../../src/importers/importer.js";
import { planLinuxSync } from "../../src/index.js";
import { describeRegister } from "../../src/inspect/describe-register.js";
import type { RegisterField } from "../../src/inspect/register-fields.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";

const X86_TABLE_REGISTERS = ["gdtr", "idtr"] as const satisfies readonly X86TableRegisterName[];
const X86_SEGMENT_REGISTERS = [
  "ds",
  "es",
  "fs",
  "gs",
  "ss",
  "cs",
  "tr",
] as const satisfies readonly X86SegmentRegisterName[];
const X86_VALUE_REGISTERS = [
  "cr0",
  "cr3",
  "cr4",
  "efer",
  "pat",
  "rbp",
  "rip",
  "rsi",
  "rsp",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "rflags",
  "mtrrDefType",
  "mtrrPhysBase0",
  "mtrrPhysMask0",
  "mtrrPhysBase1",
  "mtrrPhysMask1",
  "mtrrPhysBase2",
  "mtrrPhysMask2",
  "mtrrPhysBase3",
  "mtrrPhysMask3",
  "mtrrPhysBase4",
  "mtrrPhysMask4",
  "mtrrFix64k00000",
  "mtrrFix16k80000",
  "mtrrFix4kE0000",
  "mtrrFix4kE8000",
  "mtrrFix4kF0000",
  "mtrrFix4kF8000",
  "rax",
  "rbx",
  "rcx",
  "rdx",
  "rdi",
] as const satisfies readonly X86ValueRegisterName[];
const AARCH64_REGISTERS = [
  "pc",
  "x0",
  "x1",
  "x2",
  "x3",
  "x4",
  "x5",
  "x6",
  "x7",
  "cpsr",
  "vbarEl1",
  "ttbr0El1",
  "ttbr1El1",
  "mairEl1",
  "sctlrEl1",
  "tcrEl1",
] as const satisfies readonly Aarch64RegisterName[];

const MIB = 0x10_0000;
/** Every register of one number, with a value. */
const VALUES: readonly ((value: bigint) => VpRegister)[] = [
  ...X86_VALUE_REGISTERS.map((name) => (value: bigint) => ({ name, value })),
  ...AARCH64_REGISTERS.map((name) => (value: bigint) => ({ name, value })),
];

/** Names of the one-bit fields that are set. */
function set(fields: readonly RegisterField[], part = "value"): string[] {
  return fields
    .filter((field) => field.part === part && !field.bits.includes(":") && field.value === "0x1")
    .map(({ name }) => name);
}

/** The value and meaning of a field. */
function said(fields: readonly RegisterField[], name: string): string | undefined {
  return fields.find((field) => field.name === name)?.meaning;
}

/** Lowest and highest bit. */
function bitsOf({ bits }: RegisterField): [low: number, high: number] {
  const [high = 0, low = high] = bits.split(":").map(Number);
  return [low, high];
}

describe("describeRegister", () => {
  it("names the bits of the 64-bit entry's control registers", () => {
    const plan = planLinuxSync({ kernel: X86_64_GUEST, memory: 64 * MIB });
    const found = new Map(plan.registerList.map((register) => [register.name, describeRegister(register)]));
    assert.deepEqual(set(found.get("cr0")?.fields ?? []), ["PG", "PE"]);
    assert.deepEqual(set(found.get("cr4")?.fields ?? []), ["PAE"]);
    assert.deepEqual(set(found.get("efer")?.fields ?? []), ["NXE", "LMA", "LME", "SCE"]);
    assert.equal(said(found.get("cr3")?.fields ?? [], "table"), "the first table is at 0x4000");
    assert.equal(found.get("rsi")?.role, "guest physical address of the zero page (boot_params)");
    assert.equal(found.get("rsi")?.value, "0x2000");
    assert.deepEqual(found.get("rsi")?.fields, []);
    assert.equal(said(found.get("mtrrDefType")?.fields ?? [], "Type"), "UC, uncacheable");
    assert.equal(said(found.get("pat")?.fields ?? [], "PA0"), "WB, write-back");
    for (const description of found.values()) {
      assert.notEqual(description.role, "", description.name);
      assert.notEqual(description.source, "", description.name);
    }
  });

  it("takes segments apart: selector, base, limit, attributes", () => {
    const plan = planLinuxSync({ kernel: X86_64_GUEST, memory: 64 * MIB });
    const cs = plan.registerList.find(({ name }) => name === "cs");
    assert.ok(cs !== undefined);
    const { value, fields } = describeRegister(cs);
    assert.equal(value, "selector 0x8, base 0x0, limit 0xffffffff, attributes 0xa09b");
    assert.equal(said(fields, "Index"), "entry 1 of the table");
    assert.equal(said(fields, "Type"), "code, execute/read, accessed");
    assert.deepEqual(set(fields, "attributes"), ["G", "L", "P", "S"]);
    assert.equal(said(fields, "Limit"), "4 GiB, up to its last byte at 0xffffffff");
    const gdtr = plan.registerList.find(({ name }) => name === "gdtr");
    assert.ok(gdtr !== undefined);
    assert.equal(said(describeRegister(gdtr).fields, "Limit"), "32 bytes: 4 entries of 8");
  });

  it("knows a task state segment", () => {
    const { fields } = describeRegister({
      name: "tr",
      value: { base: 0n, limit: 0x67, selector: 0x20, attributes: 0x8b },
    });
    assert.match(said(fields, "Type") ?? "", /^32-bit TSS, busy/);
  });

  it("names the bits of an arm64 guest's registers", () => {
    const plan = planLinuxSync({ kernel: AARCH64_GUEST, memory: 64 * MIB, deviceTree: memoryTree(64 * MIB) });
    const found = new Map(plan.registerList.map((register) => [register.name, describeRegister(register)]));
    assert.deepEqual(set(found.get("cpsr")?.fields ?? []), ["D", "A", "I", "F", "M[0]"]);
    assert.equal(said(found.get("cpsr")?.fields ?? [], "M[3:2]"), "exception level EL1");
    assert.equal(said(found.get("sctlrEl1")?.fields ?? [], "M"), "the MMU is off: addresses are physical");
    assert.deepEqual(set(found.get("sctlrEl1")?.fields ?? []), [
      "LSMAOE",
      "nTLSMD",
      "SPAN",
      "EIS",
      "TSCXT",
      "I",
      "EOS",
      "C",
    ]);
    assert.equal(said(found.get("tcrEl1")?.fields ?? [], "T0SZ"), "the lower half has 47 address bits");
    assert.equal(said(found.get("tcrEl1")?.fields ?? [], "IPS"), "48 address bits, 256 TiB");
    assert.equal(found.get("sctlrEl1")?.title, "SCTLR_EL1");
  });

  it("tells what a fixed MTRR covers", () => {
    const { fields } = describeRegister({ name: "mtrrFix16k80000", value: 0x0606_0606_0606_0606n });
    assert.equal(fields.length, 8);
    assert.equal(fields.at(-1)?.name, "type of 0x80000-0x84000");
    assert.equal(fields[0]?.name, "type of 0x9c000-0xa0000");
    assert.equal(fields[0]?.meaning, "16 KiB: WB, write-back");
  });

  it("knows every register that there is", () => {
    for (const make of VALUES) {
      const { name, title, role } = describeRegister(make(0n));
      assert.match(title, /^[A-Z0-9_]+$/, name);
      assert.notEqual(role, "", name);
    }
    for (const name of X86_SEGMENT_REGISTERS) {
      const value = { base: 0n, limit: 0, selector: 0, attributes: 0 };
      assert.notEqual(describeRegister({ name, value }).role, "", name);
    }
    for (const name of X86_TABLE_REGISTERS) {
      assert.notEqual(describeRegister({ name, value: { base: 0n, limit: 0 } }).role, "", name);
    }
  });

  it("gives fields from the highest bit down that never overlap, and of which the value can be put together", () => {
    fc.assert(
      fc.property(fc.constantFrom(...VALUES), fc.bigInt(0n, (1n << 64n) - 1n), (make, value) => {
        const { name, fields } = describeRegister(make(value));
        if (fields.length === 0) return;
        let rest = 0n;
        let above = 64;
        for (const field of fields) {
          const [low, high] = bitsOf(field);
          assert.ok(low <= high && high < above, `${name} ${field.bits}`);
          above = low;
          rest |= BigInt(field.value) << BigInt(low);
          assert.notEqual(field.meaning, "", `${name}.${field.name}`);
        }
        assert.equal(rest, value);
      }),
    );
  });
});
