import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { refusal } from "../support/refusal.js";

const PAGE = 4096n;
const LAST_PAGE = (1n << 64n) - PAGE;

const aRange = fc
  .tuple(fc.nat(20), fc.nat(20))
  .map(([a, b]) => new MemoryRange(BigInt(Math.min(a, b)) * PAGE, BigInt(Math.max(a, b)) * PAGE));

/** The pages of a range, one by one. */
function pages(range: MemoryRange): bigint[] {
  const list: bigint[] = [];
  for (let at = range.start; at < range.end; at += PAGE) list.push(at);
  return list;
}

describe("MemoryRange", () => {
  it("takes numbers and bigints, and keeps bigints", () => {
    const range = new MemoryRange(0x1000, 0x3000n);
    assert.deepEqual([range.start, range.end, range.length], [0x1000n, 0x3000n, 0x2000n]);
    assert.equal(range.isEmpty, false);
  });

  it("may be empty, anywhere, and reach the last page but not 2^64", () => {
    assert.ok(new MemoryRange(0x5000, 0x5000).isEmpty);
    assert.ok(MemoryRange.EMPTY.isEmpty);
    assert.equal(MemoryRange.EMPTY.start, 0n);
    assert.equal(new MemoryRange(0, LAST_PAGE).length, LAST_PAGE);
    assert.throws(() => new MemoryRange(0, 1n << 64n), refusal("ADDRESS_OUT_OF_RANGE"));
  });

  it("refuses a bound off a page, and an end below the start, with both bounds", () => {
    for (const [start, end] of [
      [1, 0x1000],
      [0, 0xfff],
      [0x800, 0x1800],
    ] as const) {
      const said = `0x${start.toString(16)}-0x${end.toString(16)}`;
      assert.throws(() => new MemoryRange(start, end), refusal("MEMORY_RANGE_INVALID", said, "0x1000"));
    }
    assert.throws(() => new MemoryRange(0x2000, 0x1000), refusal("MEMORY_RANGE_INVALID", "0x2000-0x1000"));
    assert.throws(() => new MemoryRange(-4096, 0), refusal("ADDRESS_OUT_OF_RANGE", "start"));
    assert.throws(() => new MemoryRange(0.5, 1), TypeError);
  });

  it("fromLength is [start, start + length), and refuses to pass 2^64", () => {
    assert.ok(MemoryRange.fromLength(0x1000, 0x2000).equals(new MemoryRange(0x1000, 0x3000)));
    assert.throws(() => MemoryRange.fromLength(LAST_PAGE, PAGE), refusal("ADDRESS_OVERFLOW"));
    assert.throws(() => MemoryRange.fromLength(0, 1), refusal("MEMORY_RANGE_INVALID"));
  });

  it("ofPages is undefined where the pages pass 2^64", () => {
    assert.equal(MemoryRange.ofPages(1n, 2)?.toString(), "0x1000-0x3000");
    assert.equal(MemoryRange.ofPages((1n << 52n) - 2n, 1)?.end, LAST_PAGE);
    assert.equal(MemoryRange.ofPages((1n << 52n) - 1n, 1), undefined);
    assert.equal(MemoryRange.ofPages(0n, 2 ** 52), undefined);
  });

  it("overlaps, contains and equals are what they are for sets of pages", () => {
    fc.assert(
      fc.property(aRange, aRange, (a, b) => {
        const [inA, inB] = [new Set(pages(a)), new Set(pages(b))];
        assert.equal(a.equals(b), a.start === b.start && a.end === b.end);
        assert.equal(
          a.overlaps(b),
          [...inA].some((page) => inB.has(page)),
        );
        if (!a.isEmpty && !b.isEmpty) {
          assert.equal(
            a.contains(b),
            [...inB].every((page) => inA.has(page)),
          );
        }
        assert.equal(a.length, BigInt(inA.size) * PAGE);
        assert.equal(a.isEmpty, inA.size === 0);
        assert.equal(a.overlaps(b), b.overlaps(a));
      }),
    );
  });

  it("adjacent ranges share no byte", () => {
    assert.ok(!new MemoryRange(0, 0x1000).overlaps(new MemoryRange(0x1000, 0x2000)));
  });

  it("prints as 0x…-0x…, and as JSON without a bigint", () => {
    const range = new MemoryRange(0x1000, 0xffff_ffff_ffff_f000n);
    assert.equal(`${range}`, "0x1000-0xfffffffffffff000");
    assert.equal(JSON.stringify(range), '{"start":"0x1000","end":"0xfffffffffffff000"}');
  });
});
