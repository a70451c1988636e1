import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/index.js";
import {
  decodeE820,
  decodeE820Extension,
  decodeStartInfoMap,
  e820TypeName,
} from "../../src/inspect/e820-table.js";
import { E820_ACPI, E820_RESERVED } from "../../src/loader.js";
import { buildBootParams } from "../../src/x86/boot-params.js";
import { buildE820Map, encodeE820Entries } from "../../src/x86/e820.js";
import { buildHvmStartInfo } from "../../src/x86/pvh.js";
import { buildSetupData, SETUP_E820_EXT, SETUP_RNG_SEED } from "../../src/x86/setup-data.js";
import { refusal } from "../support/refusal.js";

const MIB = 0x10_0000;
const map = buildE820Map(new MemoryLayout(256 * MIB), [
  { start: 0xe_0000n, end: 0xe_2000n, type: E820_ACPI },
  { start: 0xf_0000n, end: 0x10_0000n, type: E820_RESERVED },
]);
const plain = (entries: readonly { start: bigint; end: bigint; type: number }[]): unknown[] =>
  entries.map(({ start, end, type }) => [start, end, type]);

describe("decodeE820", () => {
  it("gives back what boot_params were built from, with the types' names", () => {
    const page = buildBootParams({ e820: map, commandLine: { address: 0n, byteLength: 0 } });
    const decoded = decodeE820(page);
    assert.deepEqual(plain(decoded), plain(map));
    assert.deepEqual(
      decoded.map(({ typeName }) => typeName),
      ["usable RAM", "ACPI tables, reclaimable", "usable RAM", "reserved", "usable RAM"],
    );
  });

  it("takes at most the 128 entries that there is room for, whatever the count says", () => {
    const page = new Uint8Array(4096).fill(0xff);
    assert.equal(decodeE820(page).length, 128);
    assert.deepEqual(decodeE820(new Uint8Array(4096)), []);
  });

  it("refuses a page that is cut", () => {
    assert.throws(() => decodeE820(new Uint8Array(4095)), refusal("BOOT_PARAMS_BAD_E820", "4095"));
  });

  it("is data for JSON", () => {
    const page = buildBootParams({ e820: map, commandLine: { address: 0n, byteLength: 0 } });
    assert.deepEqual(JSON.parse(JSON.stringify(decodeE820(page)))[1], {
      start: "0xe0000",
      end: "0xe2000",
      type: 3,
      typeName: "ACPI tables, reclaimable",
    });
  });

  it("names types that no table has by their number", () => {
    assert.equal(e820TypeName(7), "persistent memory");
    assert.equal(e820TypeName(0xefff_ffff), "type 0xefffffff");
  });
});

describe("decodeE820Extension", () => {
  it("finds the entries in a setup_data list", () => {
    const list = buildSetupData(0xa000n, [
      { type: SETUP_RNG_SEED, data: new Uint8Array(32).fill(1) },
      { type: SETUP_E820_EXT, data: encodeE820Entries(map) },
    ]);
    assert.deepEqual(plain(decodeE820Extension(list, 0xa000n)), plain(map));
  });

  it("comes to an end with any list", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.bigInt(0n, 64n), (bytes, address) => {
        const view = new DataView(bytes.buffer);
        // Lists that go back, and to themselves.
        if (bytes.length >= 8) view.setBigUint64(0, address + BigInt(bytes[7] ?? 0), true);
        assert.ok(decodeE820Extension(bytes, address).length <= 200);
      }),
    );
  });
});

describe("decodeStartInfoMap", () => {
  it("gives back what a start info was built from", () => {
    const info = buildHvmStartInfo(0x2000n, {
      e820: map,
      initrd: { address: 0x100_0000n, byteLength: 5n },
    });
    assert.deepEqual(plain(decodeStartInfoMap(info, 0x2000n)), plain(map));
  });

  it("gives nothing of bytes that are none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.ok(decodeStartInfoMap(bytes, 0n).length <= 300);
      }),
    );
  });
});
