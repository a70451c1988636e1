import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

/** Targets over every kind of buffer that guest memory lies in. */
const TARGETS: Readonly<Record<string, (byteLength: number) => Uint8Array>> = {
  ArrayBuffer: (byteLength) => new Uint8Array(new ArrayBuffer(byteLength + 7), 7),
  SharedArrayBuffer: (byteLength) => new Uint8Array(new SharedArrayBuffer(byteLength)),
  "WebAssembly.Memory": (byteLength) =>
    new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 11, byteLength),
};

describe("BytesSource", () => {
  it("has the length of its bytes, and a name for messages", () => {
    assert.equal(new BytesSource(noise(10)).byteLength, 10);
    assert.equal(new BytesSource(noise(10)).name, "bytes");
    assert.equal(new BytesSource(noise(10), "kernel").name, "kernel");
  });

  for (const [kind, make] of Object.entries(TARGETS)) {
    it(`reads any part into a view over a ${kind}, synchronously and asynchronously the same`, async () => {
      const bytes = noise(3000);
      const source = new BytesSource(bytes.subarray(100, 2900));
      const place = fc.tuple(fc.nat(2800), fc.nat(2800));
      await fc.assert(
        fc.asyncProperty(place, async ([a, b]) => {
          const [offset, end] = [Math.min(a, b), Math.max(a, b)];
          const [first, second] = [make(end - offset), make(end - offset)];
          source.readSync(first, offset);
          await source.read(second, offset);
          const expected = bytes.subarray(100 + offset, 100 + end);
          assert.equal(Buffer.compare(first, expected), 0);
          assert.equal(Buffer.compare(second, expected), 0);
        }),
      );
    });
  }

  it("peek gives the bytes themselves, without a copy", () => {
    const bytes = noise(100);
    const part = new BytesSource(bytes).peek(10, 20);
    assert.equal(part.buffer, bytes.buffer);
    assert.deepEqual([part.byteOffset, part.byteLength], [10, 20]);
  });

  it("refuses to read past its end, and then fills nothing", async () => {
    const source = new BytesSource(noise(100), "initrd");
    const target = new Uint8Array(50);
    const matches = refusal("SOURCE_SHORT", "initrd", "100");
    assert.throws(() => source.readSync(target, 51), matches);
    await assert.rejects(source.read(target, 51), matches);
    assert.throws(() => source.peek(100, 1), matches);
    assert.ok(target.every((byte) => byte === 0));
  });

  it("refuses an offset that is negative or no integer", () => {
    const source = new BytesSource(noise(100));
    for (const offset of [-1, -50, 0.5, Number.NaN]) {
      const isTyped = (error: unknown): boolean =>
        error instanceof DirectBootError || error instanceof TypeError;
      assert.throws(() => source.readSync(new Uint8Array(50), offset), isTyped, `${offset}`);
    }
  });

  it("says that its buffer was detached or resized", async () => {
    const bytes = noise(100);
    const source = new BytesSource(bytes, "kernel");
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    const matches = refusal("SOURCE_READ", "kernel", "detached");
    assert.throws(() => source.readSync(new Uint8Array(10), 0), matches);
    await assert.rejects(source.read(new Uint8Array(10), 0), matches);
    assert.throws(() => source.peek(0, 10), matches);
  });
});
