import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { freeStretches, placeLabels } from "../../src/inspect/map-labels.js";

const HEIGHT = 10;
const wish = (at: number): { at: number; height: number } => ({ at, height: HEIGHT });

describe("placeLabels", () => {
  it("puts labels where they would like to be, where nothing is in the way", () => {
    assert.deepEqual(placeLabels({ top: 0, bottom: 100 }, [], [wish(20), wish(50)]), [20, 50]);
  });

  it("parts labels that would overlap, evenly", () => {
    assert.deepEqual(placeLabels({ top: 0, bottom: 100 }, [], [wish(50), wish(50)]), [45, 55]);
  });

  it("keeps labels within the stretch, and off obstacles", () => {
    assert.deepEqual(placeLabels({ top: 0, bottom: 100 }, [], [wish(0), wish(100)]), [5, 95]);
    assert.deepEqual(
      placeLabels({ top: 0, bottom: 100 }, [{ top: 40, bottom: 60 }], [wish(45), wish(58)]),
      [35, 65],
    );
  });

  it("sends on what does not fit between two obstacles", () => {
    const obstacles = [
      { top: 0, bottom: 30 },
      { top: 42, bottom: 50 },
    ];
    assert.deepEqual(
      placeLabels({ top: 0, bottom: 100 }, obstacles, [wish(31), wish(32), wish(33)]),
      [35, 55, 65],
    );
  });

  it("gives what obstacles leave free", () => {
    assert.deepEqual(
      freeStretches({ top: 0, bottom: 10 }, [
        { top: 8, bottom: 12 },
        { top: -1, bottom: 2 },
        { top: 1, bottom: 3 },
      ]),
      [{ top: 3, bottom: 8 }],
    );
  });

  it("lays no label on another, keeps their order, and stays in the stretch, whatever is wished", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -50, max: 550, noNaN: true }), { maxLength: 20 }),
        fc.array(fc.nat(480), { maxLength: 3 }),
        (ats, tops) => {
          const labels = ats.sort((a, b) => a - b).map(wish);
          const obstacles = tops.map((top) => ({ top, bottom: top + 8 }));
          const centres = placeLabels({ top: 0, bottom: 500 }, obstacles, labels);
          assert.equal(centres.length, labels.length);
          for (const [index, centre] of centres.entries()) {
            const [top, bottom] = [centre - HEIGHT / 2, centre + HEIGHT / 2];
            assert.ok(top >= -1e-9 && bottom <= 500 + 1e-9);
            assert.ok(index === 0 || top >= (centres[index - 1] ?? 0) + HEIGHT / 2 - 1e-9);
            for (const obstacle of obstacles)
              assert.ok(bottom <= obstacle.top + 1e-9 || top >= obstacle.bottom - 1e-9);
          }
        },
      ),
    );
  });
});
