import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { refusal } from "../support/refusal.js";

const PAGE = 4096n;
const GIB = 1n << 30n;
const RAM_LIMIT = (1n << 64n) - PAGE;

function range(start: number | bigint, end: number | bigint): MemoryRange {
  return new MemoryRange(start, end);
}

/** Ranges of pages from a sorted set of bounds. */
const someGaps = fc.uniqueArray(fc.nat(200), { maxLength: 12 }).map((bounds) => {
  const sorted = [...bounds].sort((a, b) => a - b);
  const gaps: MemoryRange[] = [];
  for (let i = 0; i + 1 < sorted.length; i += 2) {
    gaps.push(range(BigInt(sorted[i] ?? 0) * PAGE, BigInt(sorted[i + 1] ?? 0) * PAGE));
  }
  return gaps;
});

describe("MemoryLayout of a size", () => {
  it("is one range from 0 without gaps", () => {
    const layout = new MemoryLayout(256 << 20);
    assert.deepEqual(
      layout.ram.map(({ range, vnode }) => [`${range}`, vnode]),
      [["0x0-0x10000000", 0]],
    );
  });

  it("skips the gaps, from 0 upward", () => {
    const layout = new MemoryLayout(4n * GIB, [range(3n * GIB, 4n * GIB)], [], [range(0x1000, 0x2000)]);
    assert.equal(`${layout}`, "0x0-0x1000, 0x2000-0xc0000000, 0x100000000-0x140001000");
  });

  it("holds exactly the RAM asked for, page by page where no gap is, the lowest first", () => {
    const aSize = fc.integer({ min: 1, max: 300 });
    const whichList = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(aSize, someGaps, whichList, (pages, gaps, lists) => {
        const [mmio, ecam, pciMmio] = [0, 1, 2].map((list) => gaps.filter((_, i) => lists[i] === list));
        const layout = new MemoryLayout(BigInt(pages) * PAGE, mmio, ecam, pciMmio);
        assert.equal(layout.ramSize, BigInt(pages) * PAGE);
        const isGap = (page: bigint): boolean => gaps.some((gap) => gap.start <= page && page < gap.end);
        const expected: bigint[] = [];
        for (let page = 0n; expected.length < pages; page += PAGE) if (!isGap(page)) expected.push(page);
        const found: bigint[] = [];
        for (const { range } of layout.ram) {
          for (let page = range.start; page < range.end; page += PAGE) found.push(page);
        }
        assert.deepEqual(found, expected);
        assert.equal(layout.endOfRam, (expected.at(-1) ?? 0n) + PAGE);
      }),
    );
  });

  it("refuses 0 and what is no multiple of a page", () => {
    for (const size of [0, 0n, 1, 4095, 4097, (1n << 64n) - 1n]) {
      const matches = refusal("LAYOUT_BAD_SIZE", `0x${size.toString(16)}`);
      assert.throws(() => new MemoryLayout(size), matches);
    }
    assert.throws(() => new MemoryLayout(-4096), refusal("ADDRESS_OUT_OF_RANGE"));
    assert.throws(() => new MemoryLayout(1.5), TypeError);
    assert.throws(() => new MemoryLayout("4096" as unknown as number), TypeError);
  });

  it("refuses RAM that does not fit below 2^64 - 4096, with what is left over", () => {
    assert.equal(new MemoryLayout(RAM_LIMIT).endOfRam, RAM_LIMIT);
    const gaps = [range(GIB, 2n * GIB)];
    assert.equal(new MemoryLayout(RAM_LIMIT - GIB, gaps).endOfRam, RAM_LIMIT);
    assert.throws(
      () => new MemoryLayout(RAM_LIMIT - GIB + PAGE, gaps),
      refusal("LAYOUT_RAM_DOES_NOT_FIT", "0x1000 of"),
    );
    assert.throws(() => new MemoryLayout(PAGE, [range(0, RAM_LIMIT)]), refusal("LAYOUT_RAM_DOES_NOT_FIT"));
  });

  it("refuses gaps that are empty, unsorted or overlap, in each list and between the lists, as upstream", () => {
    const [first, second] = [range(0x1000, 0x3000), range(0x3000, 0x5000)];
    const none: MemoryRange[] = [];
    for (const bad of [
      [range(0x1000, 0x1000)],
      [second, first],
      [first, range(0x2000, 0x4000)],
      [first, first],
    ]) {
      for (const lists of [
        [bad, none, none],
        [none, bad, none],
        [none, none, bad],
      ] as const) {
        assert.throws(() => new MemoryLayout(PAGE, ...lists), refusal("LAYOUT_BAD_MEMORY_RANGES"));
      }
    }
    for (const lists of [
      [[first], [range(0x2000, 0x4000)], none],
      [[first], none, [first]],
      [none, [second], [range(0x4000, 0x5000)]],
    ] as const) {
      const matches = refusal("LAYOUT_BAD_MEMORY_RANGES", "all gaps together");
      assert.throws(() => new MemoryLayout(PAGE, ...lists), matches);
    }
    assert.equal(new MemoryLayout(PAGE, [second], [first]).endOfRam, PAGE);
  });
});

describe("MemoryLayout of ranges", () => {
  it("keeps the ranges and their NUMA nodes, and does not join adjacent ones", () => {
    const layout = new MemoryLayout([
      { start: 0x1000, end: 0x2000, vnode: 1 },
      range(0x2000, 0x4000),
      { start: 1n << 40n, end: (1n << 40n) + PAGE },
    ]);
    assert.deepEqual(
      layout.ram.map(({ range, vnode }) => [`${range}`, vnode]),
      [
        ["0x1000-0x2000", 1],
        ["0x2000-0x4000", 0],
        ["0x10000000000-0x10000001000", 0],
      ],
    );
    assert.equal(layout.ramSize, 4n * PAGE);
  });

  it("refuses none, empty, unsorted and overlapping ranges, and ranges over a gap", () => {
    const first = range(0x1000, 0x3000);
    for (const bad of [
      [],
      [range(0, 0)],
      [first, range(0, 0x1000)],
      [first, range(0x2000, 0x4000)],
      [first, first],
    ]) {
      assert.throws(() => new MemoryLayout(bad), refusal("LAYOUT_BAD_MEMORY_RANGES"));
    }
    const matches = refusal("LAYOUT_BAD_MEMORY_RANGES", "0x1000-0x3000", "0x2000-0x4000");
    assert.throws(() => new MemoryLayout([first], [], [range(0x2000, 0x4000)]), matches);
  });

  it("takes exactly the ranges that share no page with a gap", () => {
    fc.assert(
      fc.property(someGaps, someGaps, (ram, gaps) => {
        fc.pre(ram.length > 0);
        const collides = ram.some((each) => gaps.some((gap) => gap.overlaps(each)));
        if (collides) assert.throws(() => new MemoryLayout(ram, gaps), refusal("LAYOUT_BAD_MEMORY_RANGES"));
        else assert.equal(new MemoryLayout(ram, gaps).ram.length, ram.length);
      }),
    );
  });

  it("a bad bound is the range's error, a bad node a TypeError", () => {
    assert.throws(() => new MemoryLayout([{ start: 1, end: 2 }]), refusal("MEMORY_RANGE_INVALID"));
    for (const vnode of [-1, 0.5, Number.NaN]) {
      assert.throws(() => new MemoryLayout([{ start: 0, end: 0x1000, vnode }]), { message: /vnode/ });
    }
  });
});

describe("MemoryLayout", () => {
  it("checks the size, then gaps, then RAM ranges, then the VTL2 range", () => {
    const badGaps = [range(0x1000, 0x1000)];
    const vtl2 = range(0, 0x1000);
    const gapError = refusal("LAYOUT_BAD_MEMORY_RANGES", "gap 0x1000-0x1000");
    assert.throws(() => new MemoryLayout(1, badGaps, [], [], vtl2), refusal("LAYOUT_BAD_SIZE"));
    assert.throws(() => new MemoryLayout(PAGE, badGaps, [], [], vtl2), gapError);
    assert.throws(() => new MemoryLayout([], badGaps, [], [], vtl2), gapError);
    const rangeError = refusal("LAYOUT_BAD_MEMORY_RANGES", "no RAM ranges");
    assert.throws(() => new MemoryLayout([], [], [], [], vtl2), rangeError);
  });

  it("a VTL2 range may start at the end of RAM, and is no RAM", () => {
    const layout = new MemoryLayout(2n * PAGE, [], [], [], range(0x2000, 0x3000));
    assert.equal(`${layout.vtl2Range}`, "0x2000-0x3000");
    assert.equal(layout.ramSize, 2n * PAGE);
    assert.ok(!layout.isRam(range(0x2000, 0x3000)));
  });

  it("refuses a VTL2 range that starts below the end of RAM, or overlaps RAM or a gap", () => {
    const ram = [range(0, 0x1000), range(0x3000, 0x4000)];
    const below = refusal("LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM", "0x1000-0x3000", "0x4000");
    assert.throws(() => new MemoryLayout(ram, [], [], [], range(0x1000, 0x3000)), below);
    const overRam = refusal("LAYOUT_BAD_MEMORY_RANGES", "0x3000-0x5000", "0x3000-0x4000");
    assert.throws(() => new MemoryLayout(ram, [], [], [], range(0x3000, 0x5000)), overRam);
    const overGap = refusal("LAYOUT_BAD_MEMORY_RANGES", "0x4000-0x6000", "0x5000-0x7000");
    assert.throws(
      () => new MemoryLayout(ram, [range(0x5000, 0x7000)], [], [], range(0x4000, 0x6000)),
      overGap,
    );
  });

  it("maxRamBelow4gb is the end of the last range that ends strictly below 4 GiB", () => {
    assert.equal(new MemoryLayout(GIB).maxRamBelow4gb, GIB);
    assert.equal(new MemoryLayout(4n * GIB - PAGE).maxRamBelow4gb, 4n * GIB - PAGE);
    assert.equal(new MemoryLayout(4n * GIB).maxRamBelow4gb, undefined);
    assert.equal(new MemoryLayout(5n * GIB).maxRamBelow4gb, undefined);
    assert.equal(new MemoryLayout(5n * GIB, [range(3n * GIB, 4n * GIB)]).maxRamBelow4gb, 3n * GIB);
    // The one that ends at 4 GiB does not count, the one before it does.
    assert.equal(new MemoryLayout([range(0, GIB), range(2n * GIB, 4n * GIB)]).maxRamBelow4gb, GIB);
    assert.equal(new MemoryLayout([range(8n * GIB, 9n * GIB)]).maxRamBelow4gb, undefined);
  });

  it("isRam is true where every page lies in a range, across adjacent ones", () => {
    const ram = [range(0x1000, 0x3000), range(0x3000, 0x5000), range(0x8000, 0x9000)];
    const layout = new MemoryLayout(ram);
    const isRam = (page: bigint): boolean => ram.some(({ start, end }) => start <= page && page < end);
    for (let start = 0n; start < 0xb000n; start += PAGE) {
      for (let end = start + PAGE; end < 0xb000n; end += PAGE) {
        let expected = true;
        for (let page = start; page < end; page += PAGE) expected &&= isRam(page);
        assert.equal(layout.isRam(range(start, end)), expected, `${range(start, end)}`);
      }
    }
  });

  it("checkIsRam names what does not lie in RAM, and the RAM", () => {
    const layout = new MemoryLayout(0x10000);
    layout.checkIsRam(range(0, 0x10000), "kernel");
    const matches = refusal("GUEST_MEMORY_NOT_RAM", "kernel", "0xf000-0x11000", "0x0-0x10000");
    assert.throws(() => layout.checkIsRam(range(0xf000, 0x11000), "kernel"), matches);
  });

  it("does not change when the caller's lists do", () => {
    const gaps = [range(GIB, 2n * GIB)];
    const layout = new MemoryLayout(PAGE, gaps);
    gaps.length = 0;
    assert.equal(layout.mmioGaps.length, 1);
  });

  it("prints a few ranges, and all of them as JSON without a bigint", () => {
    const layout = new MemoryLayout([0, 2, 4, 6, 8].map((page) => range(page * 4096, (page + 1) * 4096)));
    assert.equal(`${layout}`, "0x0-0x1000, 0x2000-0x3000, 0x4000-0x5000, 0x6000-0x7000, …");
    const parsed: unknown = JSON.parse(JSON.stringify(layout));
    assert.ok(Array.isArray(parsed));
    assert.equal(parsed.length, 5);
    assert.deepEqual(parsed[4], { start: "0x8000", end: "0x9000", vnode: 0 });
  });
});
