import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { X86Register } from "../../src/importers/importer.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { computeVariableMtrrs, mtrrMask } from "../../src/x86/mtrr.js";
import { refusal } from "../support/refusal.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const ENABLED = 1n << 11n;

// The seed's own fixtures (common.rs, mod tests).
/** 128 MiB below 4 GiB. */
const LOW = new MemoryRange(4n * GIB - 128n * MIB, 4n * GIB);
/** 512 MiB above 4 GiB. */
const HIGH = new MemoryRange(4n * GIB, 4n * GIB + 512n * MIB);

function layout(ramSize: bigint): MemoryLayout {
  return new MemoryLayout(ramSize, [LOW, HIGH]);
}

function mtrrs(ramSize: bigint, width = 46): X86Register[] {
  return computeVariableMtrrs(layout(ramSize), width, LOW, HIGH);
}

function pairCount(registers: readonly X86Register[]): number {
  assert.equal(registers.length % 2, 0, "MTRR registers come in pairs");
  return registers.length / 2;
}

describe("computeVariableMtrrs (the seed's own tests)", () => {
  it("mtrr_128mb_exactly: one pair, that covers 128 MiB", () => {
    const registers = mtrrs(128n * MIB);
    assert.equal(pairCount(registers), 1);
    assert.deepEqual(registers[0], { name: "mtrrPhysBase0", value: 6n });
  });

  it("mtrr_256mb: a second pair from 128 MiB to the low gap", () => {
    const registers = mtrrs(256n * MIB);
    assert.equal(pairCount(registers), 2);
    assert.deepEqual(registers[0], { name: "mtrrPhysBase0", value: 6n });
    assert.deepEqual(registers[2], { name: "mtrrPhysBase1", value: (128n * MIB) | 6n });
  });

  it("mtrr_2gb: the same, since the RAM is below 4 GiB", () => {
    const registers = mtrrs(2n * GIB);
    assert.equal(pairCount(registers), 2);
    assert.deepEqual(registers[2], { name: "mtrrPhysBase1", value: (128n * MIB) | 6n });
  });

  it("mtrr_8gb: five pairs, split at 8 TiB", () => {
    const registers = mtrrs(8n * GIB);
    assert.equal(pairCount(registers), 5);
    assert.deepEqual(
      registers.filter((_, index) => index % 2 === 0),
      [
        { name: "mtrrPhysBase0", value: 6n },
        { name: "mtrrPhysBase1", value: (128n * MIB) | 6n },
        { name: "mtrrPhysBase2", value: LOW.end | 6n },
        { name: "mtrrPhysBase3", value: HIGH.end | 6n },
        { name: "mtrrPhysBase4", value: (1n << 43n) | 6n },
      ],
    );
  });

  it("mtrr_8gb_no_high_mmio: up to the end of RAM only", () => {
    const ram = new MemoryLayout(8n * GIB, [LOW]);
    const registers = computeVariableMtrrs(ram, 46, LOW, MemoryRange.EMPTY);
    assert.equal(pairCount(registers), 3);
    assert.deepEqual(registers[4], { name: "mtrrPhysBase2", value: LOW.end | 6n });
  });

  it("mtrr_narrow_address_width: 40 bits need no split at 8 TiB", () => {
    const registers = mtrrs(8n * GIB, 40);
    assert.equal(pairCount(registers), 4);
    assert.deepEqual(registers[6], { name: "mtrrPhysBase3", value: HIGH.end | 6n });
  });

  it("mtrr_masks_have_enabled_bit", () => {
    for (const { name, value } of mtrrs(8n * GIB)) {
      assert.ok(typeof value === "bigint");
      if (name.startsWith("mtrrPhysMask")) assert.notEqual(value & ENABLED, 0n, name);
    }
  });
});

describe("computeVariableMtrrs", () => {
  it("has the masks of SPEC §11.8, worked out by hand", () => {
    const all = (1n << 46n) - 4096n;
    const masks = mtrrs(8n * GIB).flatMap(({ name, value }) => (name.includes("Mask") ? [value] : []));
    assert.deepEqual(masks, [
      (all & ~(128n * MIB - 1n)) | ENABLED,
      // The last address has bit 31 set: the mask covers [0, 4 GiB), more than the range.
      (all & ~(4n * GIB - 1n)) | ENABLED,
      (all & ~(4n * GIB - 1n)) | ENABLED,
      (all & ~((1n << 43n) - 1n)) | ENABLED,
      ENABLED,
    ]);
  });

  it("without a high gap covers min(2^min(width, 43), end of RAM), and a fourth pair the rest", () => {
    const registers = computeVariableMtrrs(new MemoryLayout(16n << 40n, [LOW]), 52, LOW, MemoryRange.EMPTY);
    assert.equal(pairCount(registers), 4);
    assert.deepEqual(registers[6], { name: "mtrrPhysBase3", value: (1n << 43n) | 6n });
    const exact = computeVariableMtrrs(
      new MemoryLayout((1n << 43n) - 128n * MIB, [LOW]),
      52,
      LOW,
      MemoryRange.EMPTY,
    );
    assert.equal(pairCount(exact), 3);
  });

  it("clamps the width to 36-52", () => {
    for (const [width, same] of [
      [0, 36],
      [-5, 36],
      [35, 36],
      [53, 52],
      [64, 52],
      [255, 52],
    ] as const) {
      assert.deepEqual(mtrrs(8n * GIB, width), mtrrs(8n * GIB, same));
    }
    for (const width of [40.5, Number.NaN]) assert.throws(() => mtrrs(GIB, width), TypeError);
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
