import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  addAddresses,
  alignUpTo1GbPageSize,
  alignUpToLargePageSize,
  alignUpToPageSize,
  checkAddressAlignment,
  HV_PAGE_SIZE,
  hex,
  hexRange,
  pagesOf,
  toAddress,
  toLength,
} from "../../src/base/address.js";
import { describeType } from "../../src/base/describe.js";
import { refusal } from "../support/refusal.js";

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const ALIGNMENTS = [
  { name: "alignUpToPageSize", align: alignUpToPageSize, size: 4096n },
  { name: "alignUpToLargePageSize", align: alignUpToLargePageSize, size: 2n << 20n },
  { name: "alignUpTo1GbPageSize", align: alignUpTo1GbPageSize, size: 1n << 30n },
] as const;

describe("alignment", () => {
  it("a page has 4096 bytes", () => assert.equal(HV_PAGE_SIZE, 4096n));

  for (const { name, align, size } of ALIGNMENTS) {
    it(`${name} gives the least multiple of ${hex(size)} that is not below the address`, () => {
      const highest = (1n << 64n) - size;
      fc.assert(
        fc.property(fc.bigInt({ min: 0n, max: highest }), (address) => {
          const aligned = align(address);
          assert.equal(aligned % size, 0n);
          assert.ok(aligned >= address && aligned - address < size);
        }),
      );
      assert.equal(align(highest), highest);
      assert.equal(align(0), 0n);
      assert.equal(align(1), size);
    });

    it(`${name} refuses a result of 2^64 instead of wrapping to 0`, () => {
      const highest = (1n << 64n) - size;
      assert.throws(() => align(highest + 1n), refusal("ADDRESS_OVERFLOW", hex(highest + 1n), hex(size)));
      assert.throws(() => align((1n << 64n) - 1n), refusal("ADDRESS_OVERFLOW"));
    });
  }

  it("an address off a page bound is UNALIGNED_ADDRESS, with its name and value", () => {
    checkAddressAlignment(0n, "GDT address");
    checkAddressAlignment(0xffff_ffff_ffff_f000n, "GDT address");
    for (const address of [1n, 0x1001n, 0x1fffn, (1n << 64n) - 1n]) {
      const matches = refusal("UNALIGNED_ADDRESS", "GDT address", hex(address), "0x1000");
      assert.throws(() => checkAddressAlignment(address, "GDT address"), matches);
    }
  });
});

describe("addresses from outside", () => {
  it("numbers and bigints of one value are the same address", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        assert.equal(toAddress(value, "a"), BigInt(value));
        assert.equal(toAddress(BigInt(value), "a"), BigInt(value));
      }),
    );
  });

  it("every u64 is an address as a bigint, and nothing else", () => {
    fc.assert(fc.property(u64, (value) => assert.equal(toAddress(value, "a"), value)));
    for (const value of [-1n, -(1n << 64n), 1n << 64n, 1n << 70n]) {
      assert.throws(() => toAddress(value, "base"), refusal("ADDRESS_OUT_OF_RANGE", "base", hex(value)));
    }
    assert.throws(() => toAddress(-1, "base"), refusal("ADDRESS_OUT_OF_RANGE", "base", "-0x1"));
  });

  it("a number that is no integer, or too large to be exact, is a TypeError", () => {
    for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY, -1.5, 2 ** 53, 2 ** 64]) {
      assert.throws(() => toAddress(value, "base"), { name: "TypeError", message: /base/ });
    }
    assert.equal(toAddress(2 ** 53 - 1, "base"), (1n << 53n) - 1n);
  });

  it("what is no number at all is a TypeError that says what it is", () => {
    const cases: readonly [unknown, string][] = [
      [undefined, "undefined"],
      [null, "null"],
      ["0x1000", '"0x1000"'],
      [true, "true"],
      [new Uint8Array(1), "Uint8Array"],
      [{}, "Object"],
      [Object.create(null), "an object"],
      [() => 0, "function"],
      [Symbol("a"), "symbol"],
    ];
    for (const [value, said] of cases) {
      assert.throws(
        () => toAddress(value as number, "base"),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.ok(error.message.includes("base") && error.message.includes(said), error.message);
          return true;
        },
      );
    }
  });

  it("a length is an integer from 0 to 2^53 - 1", () => {
    assert.equal(toLength(0, "byteLength"), 0);
    assert.equal(toLength(Number.MAX_SAFE_INTEGER, "byteLength"), Number.MAX_SAFE_INTEGER);
    assert.equal(toLength(4096n, "byteLength"), 4096);
    for (const value of [-1, 0.5, Number.NaN, 2 ** 53, -1n, 1n << 53n, 1n << 64n]) {
      assert.throws(() => toLength(value, "byteLength"), { name: "TypeError", message: /byteLength/ });
    }
    assert.throws(() => toLength("1" as unknown as number, "byteLength"), TypeError);
  });

  it("long strings are cut in messages", () => {
    assert.ok(describeType("x".repeat(10_000)).length < 100);
  });
});

describe("arithmetic", () => {
  it("adds, and refuses to pass 2^64", () => {
    fc.assert(
      fc.property(u64, u64, (a, b) => {
        if (a + b < 1n << 64n) assert.equal(addAddresses(a, b, "end"), a + b);
        else
          assert.throws(() => addAddresses(a, b, "end"), refusal("ADDRESS_OVERFLOW", "end", hex(a), hex(b)));
      }),
    );
  });

  it("says it with the code of its caller", () => {
    const add = (): bigint => addAddresses((1n << 64n) - 1n, 1n, "segment", "ELF_LOAD_OFFSET_OVERFLOW");
    assert.throws(add, refusal("ELF_LOAD_OFFSET_OVERFLOW", "segment"));
  });

  it("pagesOf rounds up to whole pages", () => {
    assert.deepEqual([0, 1, 4095, 4096, 4097, 2 ** 40 + 1].map(pagesOf), [0, 1, 1, 1, 2, 2 ** 28 + 1]);
  });

  it("writes numbers as 0x…, ranges as 0x…-0x…", () => {
    assert.equal(hex(0), "0x0");
    assert.equal(hex(0xabcdefn), "0xabcdef");
    assert.equal(hex(-255), "-0xff");
    assert.equal(hexRange(0x1000n, 0x2000n), "0x1000-0x2000");
  });
});
