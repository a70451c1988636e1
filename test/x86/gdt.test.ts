import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { importDefaultGdt } from "../../src/x86/gdt.js";
import { refusal } from "../support/refusal.js";

function recorded(gdtPageBase: number | bigint): RecordingImporter<X86Register> {
  const importer = new RecordingImporter<X86Register>();
  importDefaultGdt(importer, gdtPageBase);
  return importer;
}

describe("importDefaultGdt", () => {
  it("sets flat segments with the selectors of its entries, and a GDTR of four", () => {
    const values = new Map<string, X86Register["value"]>();
    for (const call of recorded(0x12345n).calls) {
      if (call.op === "register") values.set(call.register.name, call.register.value);
    }
    assert.deepEqual(values.get("gdtr"), { base: 0x1234_5000n, limit: 31 });
    const code = { base: 0n, limit: 0xffff_ffff, selector: 8, attributes: 0xa09b };
    const data = { base: 0n, limit: 0xffff_ffff, selector: 16, attributes: 0xc093 };
    assert.deepEqual(values.get("cs"), code);
    for (const name of ["ds", "es", "fs", "gs", "ss"]) assert.deepEqual(values.get(name), data, name);
  });

  it("lies below 2^52, to the last byte, or is refused before anything is imported", () => {
    assert.equal(recorded((1n << 40n) - 1n).calls.length, 8);
    for (const base of [1n << 40n, 1n << 52n, (1n << 64n) - 1n]) {
      const importer = new RecordingImporter<X86Register>();
      const matches = refusal("GDT_INVALID_ADDRESS", `0x${(base * 4096n).toString(16)}`);
      assert.throws(() => importDefaultGdt(importer, base), matches);
      assert.deepEqual(importer.calls, []);
    }
    assert.throws(() => recorded(-1), refusal("ADDRESS_OUT_OF_RANGE"));
    assert.throws(() => recorded(0.5), TypeError);
  });
});
