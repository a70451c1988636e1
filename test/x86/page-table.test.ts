import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { buildPageTables64, type PageTableOptions } from "../../src/x86/page-table.js";
import {
  type LargestPage,
  type MappedRange,
  PageTableBuilder,
  type PageTableBuilderOptions,
} from "../../src/x86/page-table-builder.js";
import { entriesOf, walkPages } from "../support/page-walk.js";
import { refusal } from "../support/refusal.js";

const GIB = 1n << 30n;
const MIB2 = 2n << 20n;
const LIMIT = 1n << 52n;

describe("buildPageTables64", () => {
  it("maps every address of its size to itself, wherever the tables lie, and no address beyond", () => {
    const aTable = fc.oneof(
      fc.bigInt({ min: 0n, max: (LIMIT >> 12n) - 10n }),
      fc.constantFrom(0n, 1n, (LIMIT >> 12n) - 10n),
    );
    const aShare = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(aTable, fc.constantFrom("4GiB" as const, "8GiB" as const), aShare, (page, size, share) => {
        const gpa = page * 4096n;
        const entryAt = entriesOf(buildPageTables64({ pageTableGpa: gpa, size }), gpa);
        const end = size === "4GiB" ? 4n * GIB : 8n * GIB;
        for (const linear of [0n, BigInt(Math.floor(share * Number(end))), end - 1n]) {
          const walk = walkPages(entryAt, gpa, linear);
          assert.deepEqual([walk?.address, walk?.pageBytes, walk?.writable], [linear, MIB2, true]);
        }
        for (const linear of [end, 512n * GIB, (1n << 48n) - 1n]) {
          assert.equal(walkPages(entryAt, gpa, linear), undefined);
        }
      }),
    );
  });

  it("adds the bias to every address, and the PDPT is the first table", () => {
    const biases = [MIB2, GIB, 0x1234_5600_0000n, LIMIT - 4n * GIB];
    for (const addressBias of biases) {
      const entryAt = entriesOf(buildPageTables64({ pageTableGpa: 0x7000, addressBias }), 0x7000n);
      for (const linear of [0n, 5n, GIB + 4096n, 4n * GIB - 1n]) {
        assert.equal(walkPages(entryAt, 0x7000n, linear, { level: 3 })?.address, linear + addressBias);
      }
    }
  });

  it("links the PML4 entry of an address to a table of the caller's", () => {
    const link = (linkageGpa: bigint, addressBias = 0n): BigUint64Array =>
      new BigUint64Array(
        buildPageTables64({
          pageTableGpa: 0x4000,
          addressBias,
          pml4eLink: { linkTargetGpa: 0xabc_d000, linkageGpa },
        }).buffer.slice(0),
        0,
        512,
      );
    for (const index of [1, 256, 511]) {
      const entries = link(BigInt(index) << 39n);
      assert.equal(entries[index], 0xabc_d023n);
      assert.equal(entries.filter((entry) => entry !== 0n).length, 2);
    }
    // With a bias there is no PML4, and upstream ignores the link.
    assert.deepEqual(link(1n << 39n, GIB), link(511n << 39n, GIB));
  });

  it("ors the confidential bit into every present entry, and into no other", () => {
    const confidentialBit = 47;
    const options = { pageTableGpa: 0x4000, pml4eLink: { linkTargetGpa: 0x9000, linkageGpa: 1n << 39n } };
    const plain = new BigUint64Array(buildPageTables64(options).buffer.slice(0));
    const encrypted = new BigUint64Array(buildPageTables64({ ...options, confidentialBit }).buffer.slice(0));
    assert.equal(plain.length, encrypted.length);
    for (const [index, entry] of plain.entries()) {
      assert.equal(encrypted[index], entry === 0n ? 0n : entry | (1n << 47n));
    }
  });

  const invalid: readonly (readonly [string, Partial<PageTableOptions>])[] = [
    ["tables off a page", { pageTableGpa: 0x4001 }],
    ["tables that pass 2^52", { pageTableGpa: LIMIT - 5n * 4096n }],
    ["tables at the end of u64", { pageTableGpa: (1n << 64n) - 4096n }],
    ["a bias off 2 MiB", { addressBias: 0x10_0000 }],
    ["a bias that passes 2^52", { addressBias: LIMIT - 4n * GIB + MIB2 }],
    ["a link target off a page", { pml4eLink: { linkTargetGpa: 1, linkageGpa: 1n << 39n } }],
    ["a link target at 2^52", { pml4eLink: { linkTargetGpa: LIMIT, linkageGpa: 1n << 39n } }],
    ["a linkage off 512 GiB", { pml4eLink: { linkTargetGpa: 0, linkageGpa: GIB } }],
    ["a linkage at 2^48", { pml4eLink: { linkTargetGpa: 0, linkageGpa: 1n << 48n } }],
    ["a confidential bit below 12", { confidentialBit: 11 }],
    ["a confidential bit above 51", { confidentialBit: 52 }],
    ["a confidential bit that is none", { confidentialBit: 47.5 }],
    ["a confidential bit within the mapped addresses", { confidentialBit: 31 }],
    ["tables at the confidential bit", { pageTableGpa: 1n << 40n, confidentialBit: 40 }],
    ["tables that reach the confidential bit", { pageTableGpa: (1n << 40n) - 4096n, confidentialBit: 40 }],
    [
      "a link target at the confidential bit",
      { confidentialBit: 40, pml4eLink: { linkTargetGpa: 1n << 40n, linkageGpa: 1n << 39n } },
    ],
  ];
  it("refuses addresses that no entry holds", () => {
    for (const [what, options] of invalid) {
      const build = (): unknown => buildPageTables64({ pageTableGpa: 0x4000, ...options });
      assert.throws(build, refusal("PAGE_TABLE_INVALID_ADDRESS"), what);
    }
  });

  it("refuses a link at 0, over the identity map, and a size that is none", () => {
    const build = (options: object) => (): unknown => buildPageTables64({ pageTableGpa: 0x4000, ...options });
    const link = { linkTargetGpa: 0x1000, linkageGpa: 0 };
    assert.throws(build({ pml4eLink: link }), refusal("PAGE_TABLE_ATTEMPTED_OVERWRITE"));
    for (const size of ["2GiB", "", 4, null]) assert.throws(build({ size }), TypeError);
    assert.throws(build({ pageTableGpa: -4096 }), refusal("ADDRESS_OUT_OF_RANGE"));
  });
});

describe("PageTableBuilder", () => {
  const SIZES: Readonly<Record<LargestPage, bigint>> = { "4KiB": 4096n, "2MiB": MIB2, "1GiB": GIB };

  function build(options: Partial<PageTableBuilderOptions>): Uint8Array {
    return new PageTableBuilder({ pageTableGpa: 0x4000, ranges: [], ...options }).build();
  }

  /** Sorted ranges: gaps and lengths of mixed magnitudes, so that all leaf sizes occur. */
  const someRanges = fc
    .array(
      fc.record({
        gap: fc.oneof(fc.nat(5), fc.nat(2000), fc.nat(600_000)),
        length: fc.oneof(fc.nat(5), fc.nat(2000), fc.nat(600_000)),
        isAligned: fc.boolean(),
        readOnly: fc.boolean(),
      }),
      { maxLength: 5 },
    )
    .map((parts) => {
      let at = 0n;
      return parts.map(({ gap, length, isAligned, readOnly }) => {
        at += BigInt(gap) * 4096n;
        if (isAligned) at = ((at + GIB - 1n) / GIB) * GIB;
        const start = at;
        at += BigInt(length) * 4096n;
        return { start, end: at, readOnly };
      });
    });

  it("maps what it is told onto itself, writable or not, with the largest leaf that fits, and nothing else", () => {
    const largest = fc.constantFrom<LargestPage>("1GiB", "2MiB", "4KiB");
    fc.assert(
      fc.property(someRanges, largest, fc.nat(), (ranges, largestPage, salt) => {
        const gpa = 0x7_0000n;
        const entryAt = entriesOf(build({ pageTableGpa: gpa, ranges, largestPage }), gpa);
        for (const { start, end, readOnly } of ranges) {
          if (start === end) continue;
          const inside = start + (BigInt(salt) % (end - start));
          for (const linear of [start, inside, end - 1n]) {
            const walk = walkPages(entryAt, gpa, linear);
            assert.equal(walk?.address, linear);
            assert.equal(walk?.writable, !readOnly);
            const fits = (Object.keys(SIZES) as LargestPage[]).filter((name) => {
              const size = SIZES[name];
              const base = linear - (linear % size);
              return size <= SIZES[largestPage] && base >= start && base + size <= end;
            });
            const expected = fits.map((name) => SIZES[name]).reduce((a, b) => (a > b ? a : b));
            assert.equal(walk?.pageBytes, expected);
          }
          for (const linear of [start - 1n, end]) {
            const isMapped = ranges.some((range) => range.start <= linear && linear < range.end);
            if (linear >= 0n && !isMapped) assert.equal(walkPages(entryAt, gpa, linear), undefined);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it("maps 512 GiB blocks, too, by 1 GiB leaves", () => {
    const tables = build({ ranges: [{ start: 0, end: 1n << 40n }] });
    assert.equal(tables.byteLength, 3 * 4096);
    const entryAt = entriesOf(tables, 0x4000n);
    for (const linear of [0n, 512n * GIB, (1n << 40n) - 1n]) {
      assert.equal(walkPages(entryAt, 0x4000n, linear)?.pageBytes, GIB);
    }
  });

  it("refuses ranges that are reversed, unaligned, beyond 2^48, unsorted or overlapping, with the range", () => {
    const rows: readonly (readonly [readonly MappedRange[], Parameters<typeof refusal>[0]])[] = [
      [[{ start: 0x2000, end: 0x1000 }], "PAGE_TABLE_INVALID_RANGE"],
      [[{ start: 0x800, end: 0x1000 }], "PAGE_TABLE_INVALID_RANGE"],
      [[{ start: 0, end: 0x1001 }], "PAGE_TABLE_INVALID_RANGE"],
      [[{ start: 0, end: (1n << 48n) + 4096n }], "PAGE_TABLE_INVALID_RANGE"],
      [
        [
          { start: 0x2000, end: 0x3000 },
          { start: 0, end: 0x1000 },
        ],
        "PAGE_TABLE_UNSORTED",
      ],
      [
        [
          { start: 0, end: 0x3000 },
          { start: 0x2000, end: 0x4000 },
        ],
        "PAGE_TABLE_OVERLAPPING",
      ],
    ];
    for (const [ranges, code] of rows) {
      assert.throws(() => build({ ranges }), refusal(code, `range ${ranges.length - 1}`));
    }
  });

  it("refuses more tables than it may use, and a buffer that is too small or no whole tables", () => {
    const ranges = [{ start: 0, end: 4n * GIB }];
    const options = { ranges, largestPage: "2MiB", maximumTables: 5 } as const;
    assert.throws(() => build(options), refusal("PAGE_TABLE_NOT_ENOUGH_MEMORY", "5"));
    const builder = new PageTableBuilder({
      pageTableGpa: 0x4000,
      ranges,
      largestPage: "2MiB",
      maximumTables: 6,
    });
    assert.deepEqual([builder.tableCount, builder.byteLength], [6, 24576]);
    const small = new Uint8Array(5 * 4096);
    assert.throws(() => builder.buildInto(small), refusal("PAGE_TABLE_NOT_ENOUGH_MEMORY", "24576"));
    const odd = new Uint8Array(6 * 4096 + 1);
    assert.throws(() => builder.buildInto(odd), refusal("PAGE_TABLE_BAD_BUFFER_SIZE", "24577"));
    assert.ok(odd.every((byte) => byte === 0));
  });

  it("buildInto writes the start of the target, whatever was there, and nothing behind", () => {
    const builder = new PageTableBuilder({ pageTableGpa: 0x4000, ranges: [{ start: 0x1000, end: 0x3000 }] });
    const target = new Uint8Array(builder.byteLength + 4096).fill(0xaa);
    const part = builder.buildInto(target);
    assert.equal(part.buffer, target.buffer);
    assert.equal(Buffer.compare(part, builder.build()), 0);
    assert.ok(target.subarray(builder.byteLength).every((byte) => byte === 0xaa));
  });

  it("buildIn makes the tables in guest memory, whatever was there, in one buffer or across two, and nothing beside", () => {
    const split = 2 * 65536;
    const banks = [
      { guestPhysicalAddress: 0, byteOffset: 0, byteLength: split },
      { guestPhysicalAddress: split, byteOffset: split + 65536, byteLength: split },
    ];
    for (const memory of [
      GuestMemory.create(2 * split),
      GuestMemory.attach(new ArrayBuffer(2 * split + 65536), banks),
    ]) {
      for (const pageTableGpa of [0x4000, split - 8192, split + 0x4000]) {
        const builder = new PageTableBuilder({
          pageTableGpa,
          ranges: [{ start: 0x1000, end: 4n * GIB }],
          largestPage: "2MiB",
        });
        const expected = Buffer.from(builder.build());
        for (const byte of [0, 0xaa]) {
          if (byte !== 0) memory.view(pageTableGpa - 4096, 4096).fill(byte);
          memory.write(pageTableGpa, new Uint8Array(builder.byteLength).fill(byte));
          builder.buildIn(memory);
          assert.equal(Buffer.compare(memory.read(pageTableGpa, builder.byteLength), expected), 0);
          assert.ok(memory.read(pageTableGpa - 4096, 4096).every((found) => found === byte));
        }
        memory.reset();
        builder.buildIn(memory);
        assert.equal(Buffer.compare(memory.read(pageTableGpa, builder.byteLength), expected), 0);
        memory.reset();
      }
    }
    const outside = new PageTableBuilder({ pageTableGpa: 4 * split, ranges: [] });
    assert.throws(() => outside.buildIn(GuestMemory.create(split)), refusal("GUEST_MEMORY_NOT_RAM"));
  });

  it("refuses tables off a page, past 2^52, and addresses that reach the confidential bit", () => {
    const ranges = [{ start: 0, end: GIB }];
    const rows: readonly Partial<PageTableBuilderOptions>[] = [
      { pageTableGpa: 1 },
      { pageTableGpa: LIMIT - 4096n, ranges },
      { confidentialBit: 11 },
      { confidentialBit: 29, ranges },
      { pageTableGpa: 1n << 40n, confidentialBit: 40 },
    ];
    for (const options of rows) assert.throws(() => build(options), refusal("PAGE_TABLE_INVALID_ADDRESS"));
    assert.throws(() => build({ largestPage: "3MiB" as unknown as LargestPage }), TypeError);
    const confidential = build({ ranges, confidentialBit: 30 });
    assert.ok(
      [...new BigUint64Array(confidential.buffer.slice(0))].every(
        (entry) => entry === 0n || (entry & GIB) !== 0n,
      ),
    );
  });

  it("refuses options of a wrong type, and a page size by the name of a property that every object has", () => {
    const rows: readonly (readonly [object, RegExp])[] = [
      [{ largestPage: "constructor" }, /^largestPage must be/],
      [{ largestPage: "__proto__" }, /^largestPage must be/],
      [{ confidentialBit: "51" }, /^confidentialBit must be a number, got the string "51"/],
      [{ confidentialBit: null }, /^confidentialBit must be a number, got null/],
      [{ ranges: {} }, /^ranges must be an array, got Object/],
      [{ ranges: undefined }, /^ranges must be an array, got undefined/],
    ];
    for (const [options, message] of rows) {
      assert.throws(() => build(options), { name: "TypeError", message });
    }
    const builder = new PageTableBuilder({ pageTableGpa: 0, ranges: [] });
    for (const target of [new Uint16Array(8192), new ArrayBuffer(8192), {}, null]) {
      assert.throws(() => Reflect.apply(builder.buildInto, builder, [target]), {
        name: "TypeError",
        message: /^target must be a Uint8Array, got/,
      });
    }
  });

  it("tables that a write which failed left half made are not taken for zero", () => {
    const memory = GuestMemory.create(1 << 20);
    assert.throws(() =>
      memory.generate(0x4000, 4096, (hotPaths, offset) => {
        hotPaths.entries(offset, 512, 0, 4096, 0x61, 0);
        throw new Error("midway");
      }),
    );
    memory.reset();
    assert.ok(memory.read(0, 1 << 20).every((byte) => byte === 0));
  });

  it("tables too many to allocate are one of our errors", () => {
    const ranges = [{ start: 0, end: 1n << 45n }];
    assert.throws(
      () => build({ ranges, largestPage: "4KiB" }),
      (error) => error instanceof DirectBootError,
    );
  });
});
