import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { RangeSet, TaggedRanges } from "../../src/memory/range-set.js";

const SIZE = 40;
const bounds = fc.tuple(fc.nat(SIZE), fc.nat(SIZE));

/** The runs of set bits as ranges. */
function runs(bits: readonly boolean[], from = 0, to = SIZE): { start: bigint; end: bigint }[] {
  const found: { start: bigint; end: bigint }[] = [];
  for (let i = from; i < to; i++) {
    if (bits[i] !== true) continue;
    const last = found.at(-1);
    if (last?.end === BigInt(i)) last.end = BigInt(i + 1);
    else found.push({ start: BigInt(i), end: BigInt(i + 1) });
  }
  return found;
}

describe("RangeSet", () => {
  it("is what a set of single addresses is: sorted, disjoint, non-adjacent ranges", () => {
    fc.assert(
      fc.property(fc.array(bounds, { maxLength: 30 }), (added) => {
        const set = new RangeSet();
        const bits = new Array<boolean>(SIZE).fill(false);
        for (const [start, end] of added) {
          // A reversed range adds nothing.
          set.add(BigInt(start), BigInt(end));
          for (let i = start; i < end; i++) bits[i] = true;
          assert.deepEqual(set.ranges, runs(bits));
        }
      }),
    );
  });

  it("within gives the parts of a range that are in the set", () => {
    fc.assert(
      fc.property(fc.array(bounds, { maxLength: 15 }), bounds, (added, [start, end]) => {
        const set = new RangeSet();
        const bits = new Array<boolean>(SIZE).fill(false);
        for (const [from, to] of added) {
          set.add(BigInt(from), BigInt(to));
          for (let i = from; i < to; i++) bits[i] = true;
        }
        assert.deepEqual(set.within(BigInt(start), BigInt(end)), runs(bits, start, end));
      }),
    );
  });

  it("is empty after clear", () => {
    const set = new RangeSet();
    set.add(1n, 5n);
    set.clear();
    assert.deepEqual(set.ranges, []);
    assert.deepEqual(set.within(0n, 10n), []);
  });
});

describe("TaggedRanges", () => {
  it("finds a range that shares a byte if there is one, by its tag, also after others are deleted", () => {
    const command = fc.record({ bounds, isDelete: fc.boolean() });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        const tagged = new TaggedRanges();
        const model: { range: MemoryRange; tag: string }[] = [];
        for (const [
          index,
          {
            bounds: [a, b],
            isDelete,
          },
        ] of commands.entries()) {
          if (a === b) continue;
          const range = new MemoryRange(Math.min(a, b) * 4096, Math.max(a, b) * 4096);
          const others = model.filter((each) => each.range.overlaps(range));
          const found = tagged.findOverlap(range);
          if (others.length === 0) {
            assert.equal(found, undefined);
            tagged.add(range, `tag ${index}`);
            model.push({ range, tag: `tag ${index}` });
          } else {
            assert.ok(others.some(({ tag }) => tag === found?.tag));
            const [first] = others;
            if (isDelete && first !== undefined) {
              tagged.delete(first.range);
              model.splice(model.indexOf(first), 1);
            }
          }
        }
      }),
    );
  });

  it("delete leaves a range alone that is not exactly the same", () => {
    const tagged = new TaggedRanges();
    tagged.add(new MemoryRange(0x1000, 0x3000), "kernel");
    tagged.delete(new MemoryRange(0x1000, 0x2000));
    assert.equal(tagged.findOverlap(new MemoryRange(0x2000, 0x3000))?.tag, "kernel");
  });
});

describe("many ranges", () => {
  /** 0 to n-1 in an order that looks random and is the same in every run. */
  const shuffled = (n: number): number[] => Array.from({ length: n }, (_, i) => (i * 7919) % n);
  const orders: readonly (readonly [string, readonly number[]])[] = [
    ["ascending", Array.from({ length: 5000 }, (_, i) => i)],
    ["descending", Array.from({ length: 5000 }, (_, i) => 4999 - i)],
    ["mixed", shuffled(5000)],
  ];
  for (const [name, order] of orders) {
    it(`are kept in order and found, whatever order they come in: ${name}`, () => {
      const set = new RangeSet();
      const tagged = new TaggedRanges();
      const range = (i: number): MemoryRange => new MemoryRange(i * 8192, i * 8192 + 4096);
      for (const i of order) {
        set.add(range(i).start, range(i).end);
        assert.equal(tagged.findOverlap(range(i)), undefined);
        tagged.add(range(i), `${i}`);
      }
      assert.deepEqual(
        set.ranges.map(({ start }) => start),
        order.map((_, i) => range(i).start),
      );
      for (const i of order) assert.equal(tagged.findOverlap(range(i))?.tag, `${i}`);
      assert.match(`${tagged}`, /^0x0-0x1000 \(0\), .* and 4992 more$/);
      for (const i of order) if (i % 2 === 0) tagged.delete(range(i));
      for (const i of order)
        assert.equal(tagged.findOverlap(range(i))?.tag, i % 2 === 0 ? undefined : `${i}`);
      // The gaps between the second thousand join it to one.
      for (const i of order) if (i >= 1000 && i < 2000) set.add(range(i).end, range(i + 1).start);
      assert.equal(set.ranges.length, 4000);
      set.add(0n, 1n << 40n);
      assert.deepEqual(set.ranges, [{ start: 0n, end: 1n << 40n }]);
    });
  }
});
