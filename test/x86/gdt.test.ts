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
