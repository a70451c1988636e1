/** Several things in what is free: a placement is found exactly if there is one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { packTogether, type Wish } from "../../src/plan/packing.js";
import { hasRoom, PAGE } from "./support.js";

const gaps = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 7 })), { maxLength: 6 })
  .map((list) => {
    let at = 0n;
    return list.map(([space, pages]) => {
      const start = at + BigInt(space) * PAGE;
      at = start + BigInt(pages) * PAGE;
      return { start, end: at };
    });
  });

const windows = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: 30 * 4096 }), fc.integer({ min: 1, max: 40 * 4096 }))
    .map(([from, length]) => ({ from: BigInt(from), below: BigInt(from + length) })),
  { minLength: 1, maxLength: 2 },
);

const wishes = fc.array(
  fc
    .record({
      pages: fc.integer({ min: 1, max: 5 }),
      short: fc.integer({ min: 0, max: 4095 }),
      alignment: fc.constantFrom(1n, 2n, 4n, 8n),
      offset: fc.bigInt({ min: 0n, max: 9n }),
      windows: fc.oneof(
        fc.constant<{ from: bigint; below: bigint }[]>([{ from: 0n, below: 1n << 64n }]),
        windows,
      ),
    })
    .map(
      ({ pages, short, alignment, offset, windows: list }): Wish => ({
        tag: "thing",
        byteLength: BigInt(pages) * PAGE - BigInt(short),
        alignment: alignment * PAGE,
        offset: offset * PAGE,
        windows: list,
      }),
    ),
  { maxLength: 7 },
);

describe("packTogether", () => {
  it("takes the lowest place of all windows, in whatever order they are given", () => {
    const free = [
      { start: PAGE, end: 3n * PAGE },
      { start: 4n * PAGE, end: 9n * PAGE },
      { start: 10n * PAGE, end: 12n * PAGE },
    ];
    const anywhere = { tag: "anywhere", byteLength: 2n * PAGE, windows: [{ from: 0n, below: 1n << 64n }] };
    const picky = {
      tag: "picky",
      byteLength: 3n * PAGE,
      windows: [
        { from: 4n * PAGE + 1n, below: 8n * PAGE },
        { from: 0n, below: 7n * PAGE },
      ],
    };
    assert.equal(packTogether(free, [picky, anywhere, anywhere, anywhere])?.[0], 4n * PAGE);
  });

  it("finds a place for each thing, apart, aligned and in its windows, exactly if there is one", () => {
    const seen = { found: 0, none: 0 };
    fc.assert(
      fc.property(gaps, wishes, (free, things) => {
        const pages = free.flatMap(({ start, end }) =>
          Array.from({ length: Number((end - start) / PAGE) }, (_, i) => start + BigInt(i) * PAGE),
        );
        const mayStart = (wish: Wish, at: bigint): boolean =>
          at >= (wish.offset ?? 0n) &&
          (at - (wish.offset ?? 0n)) % (wish.alignment ?? PAGE) === 0n &&
          wish.windows.some(({ from, below }) => at >= from && at + wish.byteLength <= below);
        const expected = hasRoom(
          pages,
          things.map((wish) => ({
            pages: Number((wish.byteLength + PAGE - 1n) / PAGE),
            mayStart: (at) => mayStart(wish, at),
          })),
        );
        const found = packTogether(free, things);
        assert.equal(found !== undefined, expected);
        seen[expected ? "found" : "none"]++;
        if (found === undefined) return;
        assert.equal(found.length, things.length);
        const taken = new Set<bigint>();
        for (const [index, wish] of things.entries()) {
          const at = found[index] ?? -1n;
          assert.ok(mayStart(wish, at));
          for (let page = at; page < at + wish.byteLength; page += PAGE) {
            assert.ok(pages.includes(page) && !taken.has(page));
            taken.add(page);
          }
        }
      }),
      { numRuns: 5000 },
    );
    assert.ok(seen.found > 1000 && seen.none > 1000, JSON.stringify(seen));
  });

  it("finds nothing for nobody, and no room where there is none", () => {
    assert.deepEqual(packTogether([], []), []);
    const wish = { tag: "a", byteLength: 1n, windows: [{ from: 0n, below: 1n << 64n }] };
    assert.equal(packTogether([], [wish]), undefined);
    assert.deepEqual(packTogether([{ start: 0x1000n, end: 0x2000n }], [wish]), [0x1000n]);
    assert.equal(packTogether([{ start: 0x1000n, end: 0x2000n }], [wish, wish]), undefined);
  });
});
