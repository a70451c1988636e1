import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { X86Register } from "../../src/importers/importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { type IdentityMap, identityMapBytes } from "../../src/wasm/identity-map.js";
import { identityMapTwin } from "../../src/wasm/twins.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";

const PAGE = 4096;
const MIB = 1 << 20;

/** An importer over a caller's buffer full of garbage, 64 pages. */
function overGarbage(): { importer: GuestMemoryImporter<X86Register>; bytes: Uint8Array } {
  const bytes = noise(64 * PAGE, 9);
  return { importer: new GuestMemoryImporter<X86Register>(GuestMemory.attach(bytes.buffer)), bytes };
}

/** `length` bytes of a page range: zeros, data, zeros. */
function image(pages: number, leading: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(pages * PAGE);
  bytes.set(data, leading);
  return bytes;
}

describe("GuestMemoryImporter", () => {
  it("puts data at its pages, zeros behind it, and touches nothing else", () => {
    const { importer, bytes } = overGarbage();
    const expected = bytes.slice();
    const data = noise(PAGE + 100);
    importer.importPages(5n, 3, "kernel", "Exclusive", data);
    expected.set(image(3, 0, data), 5 * PAGE);
    assert.equal(Buffer.compare(bytes, expected), 0);
    importer.importPages(20n, 2, "zeros", "Shared", new Uint8Array(0));
    expected.fill(0, 20 * PAGE, 22 * PAGE);
    assert.equal(Buffer.compare(bytes, expected), 0);
  });

  it("keeps a list of what was imported, in order", () => {
    const importer = new GuestMemoryImporter(GuestMemory.create(MIB));
    importer.importPages(8n, 2, "second page", "VpContext", noise(5));
    importer.importPages(1n, 1, "first page", "Shared", new Uint8Array(0));
    assert.deepEqual(
      importer.regions.map(({ range, ...rest }) => ({ range: `${range}`, ...rest })),
      [
        { range: "0x8000-0xa000", tag: "second page", acceptance: "VpContext", dataLength: 5 },
        { range: "0x1000-0x2000", tag: "first page", acceptance: "Shared", dataLength: 0 },
      ],
    );
  });

  it("refuses what shares a page with an earlier import, naming both", () => {
    const importer = new GuestMemoryImporter(GuestMemory.create(MIB));
    importer.importPages(4n, 4, "linux-kernel", "Exclusive", noise(1));
    for (const [base, count] of [
      [4n, 4],
      [5n, 1],
      [0n, 5],
      [7n, 10],
      [0n, 200],
    ] as const) {
      const matches = refusal("IMPORT_OVERLAP", "linux-initrd", "linux-kernel", "0x4000-0x8000");
      const act = (): void => importer.importPages(base, count, "linux-initrd", "Exclusive", noise(1));
      assert.throws(act, matches);
      assert.throws(() => importer.checkPages(base, count, "linux-initrd", 1), matches);
    }
    importer.importPages(3n, 1, "below", "Exclusive", noise(1));
    importer.importPages(8n, 1, "above", "Exclusive", noise(1));
  });

  it("takes exactly the ranges that share no page with those taken", () => {
    const aRange = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 8 }));
    fc.assert(
      fc.property(fc.array(aRange, { maxLength: 20 }), (ranges) => {
        const importer = new GuestMemoryImporter(GuestMemory.create(MIB));
        const taken = new Set<number>();
        for (const [base, count] of ranges) {
          const pages = Array.from({ length: count }, (_, i) => base + i);
          const act = (): void =>
            importer.importPages(BigInt(base), count, "a", "Exclusive", new Uint8Array(0));
          if (pages.some((page) => taken.has(page))) assert.throws(act, refusal("IMPORT_OVERLAP"));
          else {
            act();
            for (const page of pages) taken.add(page);
          }
        }
      }),
    );
  });

  it("refuses data that is too long, empty ranges, and what is not RAM; and then changes nothing", () => {
    const layout = new MemoryLayout([new MemoryRange(0x1000, 0x10000), new MemoryRange(0x20000, 0x30000)]);
    const memory = GuestMemory.create(layout);
    const importer = new GuestMemoryImporter(memory);
    const doomed: readonly [bigint, number, number, RegExp, Parameters<typeof refusal>[0]][] = [
      [1n, 1, 4097, /kernel: 4097 bytes of data for 1 pages/, "IMPORT_DATA_TOO_LONG"],
      [1n, 0, 0, /kernel at 0x1000 has no pages/, "IMPORT_EMPTY"],
      [0n, 1, 1, /kernel at 0x0-0x1000 does not lie in RAM/, "GUEST_MEMORY_NOT_RAM"],
      [15n, 2, 1, /0xf000-0x11000/, "GUEST_MEMORY_NOT_RAM"],
      [15n, 18, 1, /0xf000-0x21000/, "GUEST_MEMORY_NOT_RAM"],
      [(1n << 52n) - 1n, 1, 1, /pass 2\^64/, "ADDRESS_OVERFLOW"],
      [1n << 60n, 1, 1, /pass 2\^64/, "ADDRESS_OVERFLOW"],
      [1n, Number.MAX_SAFE_INTEGER, 1, /pass 2\^64/, "ADDRESS_OVERFLOW"],
    ];
    for (const [base, count, length, said, code] of doomed) {
      const matches = refusal(code, said);
      assert.throws(() => importer.importPages(base, count, "kernel", "Exclusive", noise(length)), matches);
      assert.throws(() => importer.checkPages(base, count, "kernel", length), matches);
    }
    for (const count of [-1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => importer.importPages(1n, count, "kernel", "Exclusive", noise(1)), TypeError);
      assert.throws(() => importer.checkPages(1n, count, "kernel", 1), TypeError);
    }
    assert.deepEqual(importer.regions, []);
    assert.ok(memory.read(0x1000, 0xf000).every((byte) => byte === 0));
    // The ranges are free still.
    importer.importPages(1n, 15, "all", "Exclusive", noise(1));
  });

  it("keeps registers in the order of their import, and refuses one that is set twice", () => {
    const importer = new GuestMemoryImporter<X86Register>(GuestMemory.create(MIB));
    importer.importVpRegister({ name: "rip", value: 1n });
    importer.importVpRegister({ name: "cr3", value: 2n });
    const again: X86Register = { name: "rip", value: 1n };
    assert.throws(() => importer.checkVpRegister(again), refusal("IMPORT_REGISTER_TWICE", "rip"));
    assert.throws(() => importer.importVpRegister(again), refusal("IMPORT_REGISTER_TWICE", "rip"));
    assert.deepEqual(importer.registerList, [
      { name: "rip", value: 1n },
      { name: "cr3", value: 2n },
    ]);
  });

  it("importSource reads between leading zeros and a zero tail, whatever was there", async () => {
    const aShape = fc.record({
      base: fc.nat(40),
      pages: fc.integer({ min: 1, max: 12 }),
      leading: fc.nat(PAGE - 1),
      length: fc.nat(12 * PAGE),
      offset: fc.nat(500),
    });
    const content = noise(14 * PAGE, 4);
    await fc.assert(
      fc.asyncProperty(aShape, async ({ base, pages, leading, length: most, offset }) => {
        const length = Math.min(most, pages * PAGE - leading);
        const part = content.subarray(offset, offset + length);
        for (const isAsync of [false, true]) {
          const { importer, bytes } = overGarbage();
          const expected = bytes.slice();
          expected.set(image(pages, leading, part), base * PAGE);
          const place = [BigInt(base), pages, "kernel", "Exclusive"] as const;
          if (isAsync)
            await importer.importSourceAsync(...place, asyncOnly(content), offset, length, leading);
          else importer.importSource(...place, new BytesSource(content), offset, length, leading);
          assert.equal(Buffer.compare(bytes, expected), 0);
          assert.equal(importer.regions[0]?.dataLength, leading + length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("importSource reads across the buffers of a sparse memory", () => {
    const memory = GuestMemory.create(5n << 30n);
    const importer = new GuestMemoryImporter(memory);
    const data = noise(3 * PAGE);
    importer.importSource((1n << 18n) - 1n, 4, "a", "Exclusive", new BytesSource(data), 10, 2 * PAGE, 100);
    assert.deepEqual(
      memory.read((1 << 30) - PAGE, 4 * PAGE),
      image(4, 100, data.subarray(10, 10 + 2 * PAGE)),
    );
  });

  it("importSource refuses what importPages refuses, before it reads", async () => {
    const { importer, bytes } = overGarbage();
    const before = bytes.slice();
    const source = new BreakingSource(noise(10_000), Number.POSITIVE_INFINITY, undefined);
    const doomed: readonly [bigint, number, number, number, Parameters<typeof refusal>[0]][] = [
      [0n, 1, 4000, 97, "IMPORT_DATA_TOO_LONG"],
      [0n, 0, 0, 0, "IMPORT_EMPTY"],
      [63n, 2, 1, 0, "GUEST_MEMORY_NOT_RAM"],
    ];
    for (const [base, count, length, leading, code] of doomed) {
      const args = [base, count, "a", "Exclusive", source, 0, length, leading] as const;
      assert.throws(() => importer.importSource(...args), refusal(code));
      await assert.rejects(importer.importSourceAsync(...args), refusal(code));
    }
    assert.equal(source.reads, 0);
    assert.equal(Buffer.compare(bytes, before), 0);
  });

  it("importIdentityMap writes the tables in place", () => {
    const map: IdentityMap = {
      tableAddress: 0x4000,
      addressBias: 0,
      gibibytes: 4,
      encryption: 0,
      linkIndex: -1,
      linkTarget: 0,
    };
    const { importer, bytes } = overGarbage();
    const expected = bytes.slice();
    identityMapTwin(expected.subarray(0x4000, 0x4000 + identityMapBytes(map)), map);
    importer.importIdentityMap(4n, 6, "linux-pagetables", "Exclusive", map);
    assert.equal(Buffer.compare(bytes, expected), 0);
    const again = (): void => importer.importIdentityMap(4n, 6, "again", "Exclusive", map);
    assert.throws(again, refusal("IMPORT_OVERLAP", "again", "linux-pagetables"));
  });

  it("a rollback zeros and frees the pages since begin, forgets the registers since, and keeps the earlier", () => {
    const { importer, bytes } = overGarbage();
    importer.importPages(2n, 1, "before", "Exclusive", noise(100));
    importer.importVpRegister({ name: "cr3", value: 1n });
    const kept = bytes.slice();
    const transaction = importer.begin();
    importer.importPages(4n, 2, "within", "Exclusive", noise(5000));
    importer.importPages(0n, 1, "within, too", "Exclusive", noise(5));
    importer.importVpRegister({ name: "rip", value: 1n });
    transaction.rollback();
    kept.fill(0, 4 * PAGE, 6 * PAGE).fill(0, 0, PAGE);
    assert.equal(Buffer.compare(bytes, kept), 0);
    assert.deepEqual(
      importer.regions.map(({ tag }) => tag),
      ["before"],
    );
    assert.deepEqual(importer.registerList, [{ name: "cr3", value: 1n }]);
    importer.importPages(4n, 2, "again", "Exclusive", noise(5000));
    importer.importVpRegister({ name: "rip", value: 2n });
    const again = (): void => importer.importPages(2n, 1, "x", "Exclusive", noise(1));
    assert.throws(again, refusal("IMPORT_OVERLAP", "before"));
  });
});
