import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { X86Register } from "../../src/importers/importer.js";
import { PlanBuilder } from "../../src/plan/plan.js";
import { planProtectedModeGdt, planProtectedModeRegisters } from "../../src/x86/protected-mode.js";
import { refusal } from "../support/refusal.js";

function registers(builder: PlanBuilder<X86Register>): Map<string, X86Register["value"]> {
  const found = new Map<string, X86Register["value"]>();
  for (const step of builder.steps) {
    if (step.kind !== "register") continue;
    assert.ok(!found.has(step.register.name), `${step.register.name} twice`);
    found.set(step.register.name, step.register.value);
  }
  return found;
}

describe("planProtectedModeGdt", () => {
  const builder = new PlanBuilder<X86Register>();
  planProtectedModeGdt(builder, 0x1000);

  it("adds one page, then the registers that use it", () => {
    const [page, ...rest] = builder.steps;
    assert.ok(page?.kind === "pages" && page.data.kind === "bytes");
    assert.deepEqual(
      [page.pageBase, page.pageCount, page.tag, page.acceptance],
      [1n, 1, "linux-gdt32", "Exclusive"],
    );
    assert.deepEqual(
      rest.map((step) => step.kind === "register" && step.register.name),
      ["gdtr", "ds", "es", "fs", "gs", "ss", "cs", "tr"],
    );
  });

  it("has flat code at 0x10, flat data at 0x18, a TSS at 0x20", () => {
    const [page] = builder.steps;
    assert.ok(page?.kind === "pages" && page.data.kind === "bytes");
    const { bytes } = page.data;
    const gdt = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);
    assert.deepEqual(
      [...gdt],
      [0n, 0n, 0x00cf_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x0000_8900_0000_0067n],
    );
    assert.deepEqual(registers(builder).get("gdtr"), { base: 0x1000n, limit: 39 });
  });

  it("gives each segment register what its selector loads", () => {
    const found = registers(builder);
    const flat = { base: 0n, limit: 0xffff_ffff };
    assert.deepEqual(found.get("cs"), { ...flat, selector: 0x10, attributes: 0xc09b });
    for (const name of ["ds", "es", "fs", "gs", "ss"]) {
      assert.deepEqual(found.get(name), { ...flat, selector: 0x18, attributes: 0xc093 });
    }
    // LTR makes the TSS busy: type 9 becomes 11.
    assert.deepEqual(found.get("tr"), { base: 0n, limit: 0x67, selector: 0x20, attributes: 0x8b });
  });

  it("lies on a page below 4 GiB", () => {
    const act = (address: number | bigint) => (): void =>
      planProtectedModeGdt(new PlanBuilder<X86Register>(), address);
    act(0xffff_f000)();
    assert.throws(act(0x1001), refusal("UNALIGNED_ADDRESS", "0x1001"));
    assert.throws(act(1n << 32n), refusal("PROTECTED_MODE_ADDRESS_TOO_HIGH", "0x100000000"));
    assert.throws(act(-4096), refusal("ADDRESS_OUT_OF_RANGE"));
  });
});

describe("planProtectedModeRegisters", () => {
  it("sets what boot.rst names, and the memory types of the 64-bit entry", () => {
    const builder = new PlanBuilder<X86Register>();
    planProtectedModeRegisters(builder, { entry: 0x10_0000, bootParams: 0x2000 });
    assert.deepEqual(Object.fromEntries(registers(builder)), {
      cr0: 1n,
      rip: 0x10_0000n,
      rsi: 0x2000n,
      rbp: 0n,
      rdi: 0n,
      rbx: 0n,
      rflags: 2n,
      pat: 0x0007_0406_0007_0406n,
      mtrrDefType: 0xc00n,
      mtrrFix64k00000: 0x0606_0606_0606_0606n,
      mtrrFix16k80000: 0x0606_0606_0606_0606n,
    });
  });

  it("refuses an entry or boot_params that 32 bits do not reach", () => {
    const act = (entry: bigint, bootParams: bigint) => (): void =>
      planProtectedModeRegisters(new PlanBuilder<X86Register>(), { entry, bootParams });
    act(0xffff_ffffn, 0xffff_f000n)();
    assert.throws(act(1n << 32n, 0x2000n), refusal("PROTECTED_MODE_ADDRESS_TOO_HIGH", "the entry"));
    assert.throws(
      act(0n, 0xffff_f001n),
      refusal("PROTECTED_MODE_ADDRESS_TOO_HIGH", "boot_params", "0xfffff001"),
    );
    assert.throws(act(0n, -1n), refusal("ADDRESS_OUT_OF_RANGE", "bootParams"));
  });
});
