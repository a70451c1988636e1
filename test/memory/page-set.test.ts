import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { PageSet } from "../../src/memory/page-set.js";

// Around word 32 and the bound of a chunk of bits.
const BASES = [0, 32768 - 100, 2 ** 33 - 100];
const SIZE = 200;
const bounds = fc
  .tuple(fc.nat(SIZE), fc.nat(SIZE))
  .map(([a, b]): [number, number] => (a < b ? [a, b] : [b, a]));

describe("PageSet", () => {
  it("is what a set of single pages is", () => {
    const command = fc.record({ bounds, isDelete: fc.boolean() });
    fc.assert(
      fc.property(
        fc.constantFrom(...BASES),
        fc.array(command, { maxLength: 20 }),
        bounds,
        (base, commands, [a, b]) => {
          const set = new PageSet();
          const bits = new Array<boolean>(SIZE).fill(false);
          for (const {
            bounds: [from, to],
            isDelete,
          } of commands) {
            if (isDelete) set.delete(base + from, base + to);
            else set.add(base + from, base + to);
            bits.fill(!isDelete, from, to);
          }
          const found = new Array<boolean>(SIZE).fill(false);
          let runs = 0;
          set.each(base + a, base + b, (from, to) => {
            runs++;
            found.fill(true, from - base, to - base);
          });
          const wanted = bits.map((bit, page) => bit && page >= a && page < b);
          assert.deepEqual(found, wanted);
          assert.equal(runs, wanted.filter((bit, page) => bit && wanted[page - 1] !== true).length);
          assert.equal(set.hasAny(base + a, base + b), wanted.includes(true));
          set.clear();
          assert.equal(set.hasAny(base, base + SIZE), false);
        },
      ),
    );
  });
});
