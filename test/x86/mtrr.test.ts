import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { computeVariableMtrrs, mtrrMask } from "../../src/x86/mtrr.js";
import { refusal } from "../support/refusal.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const ENABLED = 1n << 11n;

/** 128 MiB below 4 GiB. */
const LOW = new MemoryRange(4n * GIB - 128n * MIB, 4n * GIB);

// golden/mtrr.json holds the values of OpenVMM.
describe("computeVariableMtrrs", () => {
  it("clamps the width to 36-52", () => {
    const mtrrs = (width: number): unknown =>
      computeVariableMtrrs(new MemoryLayout(8n * GIB, [LOW]), width, LOW, MemoryRange.EMPTY);
    for (const [width, same] of [
      [-5, 36],
      [35, 36],
      [53, 52],
      [255, 52],
    ] as const) {
      assert.deepEqual(mtrrs(width), mtrrs(same));
    }
    for (const width of [40.5, Number.NaN]) assert.throws(() => mtrrs(width), TypeError);
  });

  it("refuses a low gap that is empty or starts at 0 if there is RAM above 128 MiB", () => {
    const matches = refusal("MTRR_BAD_LOW_GAP");
    const act = (ramSize: bigint, low: MemoryRange) => (): unknown =>
      computeVariableMtrrs(new MemoryLayout(ramSize), 46, low, MemoryRange.EMPTY);
    assert.throws(act(256n * MIB, MemoryRange.EMPTY), matches);
    assert.throws(act(256n * MIB, new MemoryRange(GIB, GIB)), matches);
    assert.throws(act(256n * MIB, new MemoryRange(0, GIB)), matches);
    act(128n * MIB, LOW)();
  });
});

describe("mtrrMask", () => {
  it("clears bits from 12 upward as long as the address reaches them, below the width", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 36, max: 52 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (width, last) => {
          let expected = ENABLED;
          for (let bit = 12; bit < width; bit++) if (last < 1n << BigInt(bit)) expected |= 1n << BigInt(bit);
          assert.equal(mtrrMask(width, last), expected);
        },
      ),
    );
  });

  it("is a TypeError, or one of our errors, for a width that is no integer", () => {
    for (const width of [36.5, Number.NaN]) assert.throws(() => mtrrMask(width, 0n), TypeError);
  });
});
