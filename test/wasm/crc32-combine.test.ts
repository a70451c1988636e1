import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { crc32Combine } from "../../src/index.js";

test("crc32Combine gives what zlib computes of both pieces together", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.uint8Array({ maxLength: 3000 }), (a, b) => {
      const both = Buffer.concat([a, b]);
      assert.equal(crc32Combine(zlibCrc32(a), zlibCrc32(b), b.length), zlibCrc32(both));
    }),
  );
});

test("crc32Combine is associative, for lengths up to 2^50, too", () => {
  const crc = fc.integer({ min: 0, max: 0xffff_ffff });
  const length = fc.integer({ min: 0, max: 2 ** 50 });
  fc.assert(
    fc.property(crc, crc, crc, length, length, (a, b, c, lengthOfB, lengthOfC) => {
      const left = crc32Combine(crc32Combine(a, b, lengthOfB), c, lengthOfC);
      const right = crc32Combine(a, crc32Combine(b, c, lengthOfC), lengthOfB + lengthOfC);
      assert.equal(left, right);
    }),
  );
});

test("crc32Combine refuses what is no CRC or no length", () => {
  for (const [a, b, length] of [
    [-1, 0, 0],
    [0, 2 ** 32, 0],
    [0.5, 0, 0],
    [0, 0, -1],
    [0, 0, 0.5],
  ] as const) {
    assert.throws(() => crc32Combine(a, b, length), TypeError);
  }
});
