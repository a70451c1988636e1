import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BytesSource } from "../../src/sources/bytes.js";
import { isStreamed, isSyncSource, type Source } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { concatSources } from "../../src/sources/views.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";

/** The same by plain copying. */
function joined(parts: readonly Uint8Array[], alignment: number): Uint8Array {
  const bytes: number[] = [];
  for (const part of parts) {
    while (bytes.length % alignment !== 0) bytes.push(0);
    bytes.push(...part);
  }
  return Uint8Array.from(bytes);
}

describe("sources behind each other", () => {
  const someParts = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 });

  it("have each its bytes at the next multiple of the alignment, with zeros between", async () => {
    await fc.assert(
      fc.asyncProperty(
        someParts,
        fc.integer({ min: 1, max: 9 }),
        fc.nat(100),
        fc.nat(100),
        async (parts, alignment, a, b) => {
          const wanted = joined(parts, alignment);
          const kinds: ((bytes: Uint8Array) => Source)[] = [
            (bytes) => new BytesSource(bytes),
            (bytes) => new BreakingSource(bytes, Number.POSITIVE_INFINITY, undefined),
            (bytes) =>
              new StreamSource(makeStream(bytes, { chunks: [3] }).stream, { byteLength: bytes.byteLength }),
          ];
          for (const kind of kinds) {
            const source = concatSources(parts.map(kind), alignment);
            assert.equal(source.byteLength, wanted.byteLength);
            const start = Math.min(a, b, wanted.byteLength);
            const end = Math.min(Math.max(a, b), wanted.byteLength);
            const target = new Uint8Array(end - start).fill(0xaa);
            await source.read(target, start);
            assert.ok(isSame(target, wanted.subarray(start, end)));
            if (isSyncSource(source)) {
              target.fill(0xaa);
              source.readSync(target, start);
              assert.ok(isSame(target, wanted.subarray(start, end)));
            }
            const view = source.peek?.(start, end - start);
            if (view !== undefined) assert.ok(isSame(view, wanted.subarray(start, end)));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("are synchronous if all are, and show what lies in one of them", () => {
    const both = concatSources([new BytesSource(noise(5)), new BytesSource(noise(6, 2))]);
    assert.ok(isSyncSource(both));
    assert.equal(both.byteLength, 14);
    assert.deepEqual([...(both.peek?.(9, 5) ?? [])], [...noise(6, 2).subarray(1)]);
    assert.equal(both.peek?.(4, 5), undefined);
    assert.ok(!isSyncSource(concatSources([new BytesSource(noise(5)), asyncOnly(noise(5))])));
  });

  it("are named after all of them, or as the caller says", () => {
    const two = [new BytesSource(noise(1), "microcode"), new BytesSource(noise(1), "initrd")];
    assert.equal(concatSources(two).name, "microcode + initrd");
    assert.equal(concatSources(two, 4, "both").name, "both");
  });

  it("are streamed if one of them is, each in its own range", async () => {
    const made = makeStream(noise(1000), { chunks: [10] });
    const both = concatSources([
      new BytesSource(noise(10)),
      new StreamSource(made.stream, { byteLength: 1000 }),
    ]);
    assert.ok(isStreamed(both));
    assert.ok(!isStreamed(concatSources([new BytesSource(noise(10))])));
    const ranges = [
      { start: 5, end: 112 },
      { start: 500, end: 600 },
    ];
    both.checkStreaming(ranges);
    both.startStreaming(ranges);
    const first = new Uint8Array(107);
    await both.read(first, 5);
    assert.ok(isSame(first.subarray(7), noise(1000).subarray(0, 100)));
    await both.read(new Uint8Array(100), 500);
    assert.equal(made.pulled(), 59);
    assert.ok(made.isCancelled());
  });

  it("of unknown length, or beyond 2^53 bytes, are refused", () => {
    const stream = new StreamSource(makeStream(noise(1)).stream, { name: "fetched" });
    assert.throws(() => concatSources([stream]), refusal("SOURCE_LENGTH_UNKNOWN", "fetched"));
    const huge = { name: "huge", byteLength: 2 ** 52, read: async () => {} };
    assert.throws(() => concatSources([huge, huge]), refusal("SOURCE_TOO_LARGE", "huge"));
    for (const alignment of [0, -4, 1.5, Number.NaN]) {
      assert.throws(() => concatSources([], alignment), TypeError);
    }
  });

  it("beyond their end are SOURCE_SHORT, and what one throws is SOURCE_READ", async () => {
    const reason = new Error("gone");
    const both = concatSources([new BytesSource(noise(5)), new BreakingSource(noise(5), 0, reason)]);
    await assert.rejects(both.read(new Uint8Array(14), 0), refusal("SOURCE_SHORT", "13"));
    await assert.rejects(both.read(new Uint8Array(13), 0), refusalBecause("SOURCE_READ", reason));
  });
});
