/** Where things go: the laws of Placement, over random RAM and random wishes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { Placement } from "../../src/plan/placement.js";
import { refusal } from "../support/refusal.js";

const PAGE = 0x1000n;

/** RAM of up to six ranges of up to 40 pages, some of them adjacent (two NUMA nodes). */
const aLayout = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 1, max: 40 })), {
    minLength: 1,
    maxLength: 6,
  })
  .map((parts) => {
    let at = 0n;
    return new MemoryLayout(
      parts.map(([gap, pages], vnode) => {
        const start = at + BigInt(gap) * PAGE;
        at = start + BigInt(pages) * PAGE;
        return { start, end: at, vnode };
      }),
    );
  });

const aWindow = fc.record(
  {
    alignment: fc.constantFrom(1n, PAGE, 4n * PAGE, 16n * PAGE),
    from: fc.bigInt({ min: 0n, max: 200n * PAGE }),
    below: fc.bigInt({ min: 0n, max: 300n * PAGE }),
  },
  { requiredKeys: [] },
);
const aRequest = fc.record({
  byteLength: fc.bigInt({ min: 1n, max: 24n * PAGE }),
  windows: fc.array(aWindow, { minLength: 1, maxLength: 3 }),
});

/** Pages that are RAM, one by one. */
function ramPages(layout: MemoryLayout): Set<bigint> {
  const pages = new Set<bigint>();
  for (const { range } of layout.ram) {
    for (let page = range.start / PAGE; page < range.end / PAGE; page++) pages.add(page);
  }
  return pages;
}

describe("Placement", () => {
  it("finds the lowest free place in the first window that has one, and none only where there is none", () => {
    fc.assert(
      fc.property(aLayout, fc.array(aRequest, { maxLength: 12 }), (layout, requests) => {
        const placement = new Placement(layout);
        const free = ramPages(layout);
        for (const [index, { byteLength, windows }] of requests.entries()) {
          const count = (byteLength + PAGE - 1n) / PAGE;
          const isFree = (at: bigint): boolean =>
            Array.from({ length: Number(count) }, (_, i) => at / PAGE + BigInt(i)).every((page) =>
              free.has(page),
            );
          const lowest = ({ alignment = 1n, from = 0n, below = 1n << 60n }): bigint | undefined =>
            Array.from({ length: 400 }, (_, page) => BigInt(page) * PAGE).find(
              (at) => isFree(at) && at >= from && at + byteLength <= below && at % alignment === 0n,
            );
          const expected = windows.map(lowest).find((at) => at !== undefined);
          assert.equal(placement.find(byteLength, windows), expected);
          const place = (): bigint => placement.place(`thing ${index}`, byteLength, windows);
          if (expected === undefined) {
            assert.throws(place, refusal("PLACEMENT_NO_ROOM", `thing ${index}: 0x`, "RAM is 0x"));
          } else {
            assert.equal(place(), expected);
            for (let i = 0n; i < count; i++) free.delete(expected / PAGE + i);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it("takes what the caller has chosen, or names both that want the same page", () => {
    const aChoice = fc.tuple(fc.bigInt({ min: 0n, max: 50n * PAGE }), fc.bigInt({ min: 0n, max: 5n * PAGE }));
    fc.assert(
      fc.property(fc.array(aChoice, { maxLength: 20 }), (choices) => {
        const placement = new Placement(new MemoryLayout(100n * PAGE));
        const owners = new Map<bigint, string>();
        for (const [index, [address, length]] of choices.entries()) {
          const tag = `<${index}>`;
          const pages: bigint[] = [];
          const last = (address + length + PAGE - 1n) / PAGE;
          for (let page = address / PAGE; page < last; page++) pages.push(page);
          const others = new Set(pages.flatMap((page) => owners.get(page) ?? []));
          if (others.size === 0) {
            placement.take(address, length, tag);
            for (const page of pages) owners.set(page, tag);
          } else {
            const said = (error: unknown): boolean =>
              refusal("IMPORT_OVERLAP", tag)(error) &&
              [...others].some((other) => error instanceof Error && error.message.includes(other));
            assert.throws(() => placement.take(address, length, tag), said);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it("has room across the boundary of two RAM ranges that touch", () => {
    const layout = new MemoryLayout([
      { start: 0n, end: 0x2000n, vnode: 0 },
      { start: 0x2000n, end: 0x4000n, vnode: 1 },
    ]);
    assert.equal(new Placement(layout).place("initrd", 0x4000n, [{}]), 0n);
  });

  it("says what found no room, how much of it, where it was looked for, and what RAM there is", () => {
    const placement = new Placement(new MemoryLayout(0x4000));
    placement.take(0x1000n, 0x2000n, "a");
    const windows = [
      { from: 0x1000n, below: 0x4000n, alignment: 0x2000n, offset: 0x1000n },
      { below: 0x2000n },
    ];
    assert.throws(
      () => placement.place("b", 0x1001n, windows),
      refusal(
        "PLACEMENT_NO_ROOM",
        "b: 0x1001 bytes find no room from 0x1000 up and below 0x4000 (aligned to 0x2000 + 0x1000), or below 0x2000",
        "RAM is 0x0-0x4000, taken are 0x1000-0x3000 (a)",
      ),
    );
  });

  it("takes ranges that overlap, touch or share pages as one, in any order, as far as they are RAM", () => {
    const placement = new Placement(new MemoryLayout(0x1_0000));
    placement.takeAll(
      [
        { start: 0x3800n, end: 0x4001n },
        { start: 0x3000n, end: 0x3801n },
        { start: 0x3fffn, end: 0x4100n },
        { start: 0x8000n, end: 0x8000n },
        { start: 0xf_0000n, end: (1n << 64n) - 1n },
        { start: 0xf001n, end: (1n << 64n) - 1n },
      ],
      "reservation",
    );
    assert.equal(placement.isFree(0x2000n, 0x1000n), true);
    assert.equal(placement.isFree(0x3000n, 1n), false);
    assert.equal(placement.isFree(0x4000n, 1n), false);
    assert.equal(placement.isFree(0x5000n, 0xa000n), true);
    assert.equal(placement.isFree(0xf000n, 1n), false);
  });

  it("takes 100,000 ranges in less than two seconds, whatever their order", () => {
    const ranges = Array.from({ length: 100_000 }, (_, i) => ({
      start: BigInt(100_000 - i) * 0x2000n,
      end: BigInt(100_000 - i) * 0x2000n + 1n,
    }));
    const placement = new Placement(new MemoryLayout(1n << 32n));
    const start = performance.now();
    placement.takeAll(ranges, "reservation");
    assert.equal(placement.find(0x2000n, [{}]), 0n);
    assert.equal(placement.find(0x2001n, [{}]), 100_001n * 0x2000n - 0x1000n);
    assert.ok(performance.now() - start < 2000);
  });

  it("refuses numbers that pass 2^64, and finds them not free", () => {
    const placement = new Placement(new MemoryLayout(0x4000));
    const last = (1n << 64n) - 0x1000n;
    assert.throws(() => placement.take(last, 0x1000n, "x"), refusal("ADDRESS_OVERFLOW", "x"));
    assert.equal(placement.isFree(last, 1n), false);
    assert.equal(placement.isFree(0n, 1n << 64n), false);
    assert.equal(placement.find(1n << 64n, [{}]), undefined);
  });
});
