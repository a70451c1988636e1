import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { DEFAULT_GDT_SIZE, importDefaultGdt } from "../../src/x86/gdt.js";
import { refusal } from "../support/refusal.js";

/** What a descriptor says: Intel SDM, volume 3A, figure 3-8. */
function decode(entry: bigint): { base: bigint; limit: bigint; attributes: number } {
  return {
    base: ((entry >> 16n) & 0xff_ffffn) | (((entry >> 56n) & 0xffn) << 24n),
    limit: (entry & 0xffffn) | (((entry >> 48n) & 0xfn) << 16n),
    attributes: Number((entry >> 40n) & 0xf0ffn),
  };
}

function recorded(gdtPageBase: number | bigint): RecordingImporter<X86Register> {
  const importer = new RecordingImporter<X86Register>();
  importDefaultGdt(importer, gdtPageBase);
  return importer;
}

describe("importDefaultGdt", () => {
  it("takes one page", () => assert.equal(DEFAULT_GDT_SIZE, 4096n));

  it("imports the page first, then GDTR, DS, ES, FS, GS, SS, CS", () => {
    const { calls } = recorded(5);
    const names = calls.map((call) => (call.op === "pages" ? call.tag : call.register.name));
    assert.deepEqual(names, ["default-gdt", "gdtr", "ds", "es", "fs", "gs", "ss", "cs"]);
    const [page] = calls;
    assert.ok(page?.op === "pages");
    assert.deepEqual([page.pageBase, page.pageCount, page.acceptance], [5n, 1, "Exclusive"]);
  });

  it("is null, 64-bit code, data, null; limit bits 16-19 stay zero, as the seeds leave them", () => {
    const [page] = recorded(1).calls;
    assert.ok(page?.op === "pages");
    assert.equal(page.data.byteLength, 32);
    const entries = new BigUint64Array(page.data.buffer, 0, 4);
    assert.deepEqual([...entries], [0n, 0x00a0_9b00_0000_ffffn, 0x00c0_9300_0000_ffffn, 0n]);
    assert.deepEqual(decode(entries[1] ?? 0n), { base: 0n, limit: 0xffffn, attributes: 0xa09b });
    assert.deepEqual(decode(entries[2] ?? 0n), { base: 0n, limit: 0xffffn, attributes: 0xc093 });
  });

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
