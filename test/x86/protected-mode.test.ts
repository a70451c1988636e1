import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { X86Register } from "../../src/importers/importer.js";
import { planLinuxSync } from "../../src/linux/load-linux-sync.js";
import { PlanBuilder } from "../../src/plan/plan.js";
import { planProtectedModeGdt } from "../../src/x86/gdt.js";
import type { X86Addresses, X86Entry } from "../../src/x86/options.js";
import { planProtectedModeRegisters } from "../../src/x86/registers.js";
import { pvhNote } from "../linux/guest-reader.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

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
  planProtectedModeGdt(builder, 0x1000n);

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
});

describe("planProtectedModeRegisters", () => {
  it("sets protected mode without paging, the entry's registers, and the memory types of the 64-bit entry", () => {
    const builder = new PlanBuilder<X86Register>();
    planProtectedModeRegisters(builder, { rip: 0x10_0000n, rsi: 0x2000n });
    assert.deepEqual(Object.fromEntries(registers(builder)), {
      cr0: 1n,
      rip: 0x10_0000n,
      rsi: 0x2000n,
      rflags: 2n,
      pat: 0x0007_0406_0007_0406n,
      mtrrDefType: 0xc00n,
      mtrrFix64k00000: 0x0606_0606_0606_0606n,
      mtrrFix16k80000: 0x0606_0606_0606_0606n,
    });
  });
});

describe("an address of the caller's", () => {
  const fill = new Uint8Array(400);
  fill.set(pvhNote(0x100_0000), 300);
  const segments = [
    { paddr: 0x100_0000n, offset: 320n, filesz: 64n, memsz: 64n },
    { type: 4, offset: 300n, filesz: 20n, align: 4n },
  ];
  const pvhKernel = makeElf({ entry: 0x100_0000n, segments, fill });
  const plan = (entry: X86Entry, addresses: X86Addresses): unknown =>
    planLinuxSync({
      kernel: entry === "pvh" ? pvhKernel : makeBzImage(),
      entry,
      memory: 8 * 2 ** 30,
      commandLine: "quiet",
      initrd: noise(100),
      addresses,
    });

  it("lies below 4 GiB if a 32-bit entry reads it", () => {
    const rows: readonly (readonly [X86Entry, keyof X86Addresses])[] = [
      ["32", "gdt"],
      ["32", "zeroPage"],
      ["pvh", "gdt"],
      ["pvh", "zeroPage"],
      ["pvh", "commandLine"],
    ];
    for (const [entry, name] of rows) {
      const refused = refusal("PROTECTED_MODE_ADDRESS_TOO_HIGH", `addresses.${name} is 0x100000000`);
      assert.throws(() => plan(entry, { [name]: 1n << 32n }), refused);
      plan(entry, { [name]: 0x2_0000 });
    }
    plan("64", { gdt: 1n << 32n, zeroPage: (1n << 32n) + 0x1000n });
  });

  it("is not 0 where Linux takes 0 for none", () => {
    const rows: readonly (readonly [X86Entry, keyof X86Addresses])[] = [
      ["64", "commandLine"],
      ["32", "initrd"],
      ["pvh", "zeroPage"],
    ];
    for (const [entry, name] of rows) {
      assert.throws(
        () => plan(entry, { [name]: 0 }),
        refusal("BOOT_PARAMS_BAD_ADDRESS", `addresses.${name}`),
      );
    }
    plan("64", { gdt: 0 });
  });
});
