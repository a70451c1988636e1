import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { BytesSource } from "../../src/sources/bytes.js";
import { hasKnownLength, isStreamed, isSyncSource, type Source } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { sliceSource } from "../../src/sources/views.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";

const BYTES = noise(5000);

describe("sliceSource", () => {
  it("has the bytes of its range, from anything that they can be read from", async () => {
    const aRange = fc
      .tuple(fc.nat(5000), fc.nat(5000))
      .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    const sources: readonly ((chunk: number) => Source)[] = [
      () => new BytesSource(BYTES, "bytes"),
      () => asyncOnly(BYTES),
      () => new BreakingSource(BYTES, Number.POSITIVE_INFINITY, undefined),
      (chunk) => new StreamSource(makeStream(BYTES, { chunks: [chunk] }).stream, { name: "stream" }),
    ];
    const aChunk = fc.integer({ min: 1, max: 3000 });
    await fc.assert(
      fc.asyncProperty(
        aRange,
        aRange,
        fc.constantFrom(...sources),
        aChunk,
        async ([start, end], part, make, chunk) => {
          const slice = sliceSource(make(chunk), start, end - start);
          assert.equal(slice.byteLength, end - start);
          const [from, to] = part.map((at) => Math.min(at, slice.byteLength));
          const target = new Uint8Array((to ?? 0) - (from ?? 0));
          await slice.read(target, from ?? 0);
          assert.deepEqual(target, BYTES.subarray(start + (from ?? 0), start + (to ?? 0)));
          if (!isSyncSource(slice)) return;
          const again = new Uint8Array(target.byteLength);
          slice.readSync(again, from ?? 0);
          assert.deepEqual(again, target);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("ends where it ends, though its source goes on", async () => {
    const slice = sliceSource(new BytesSource(BYTES, "file"), 100, 50);
    for (const [offset, length] of [
      [0, 51],
      [50, 1],
      [51, 0],
    ] as const) {
      const said = refusal("SOURCE_SHORT", "file", "50");
      assert.throws(() => slice.readSync?.(new Uint8Array(length), offset), said);
      await assert.rejects(slice.read(new Uint8Array(length), offset), said);
      assert.throws(() => slice.peek?.(offset, length), said);
    }
    assert.deepEqual(slice.peek?.(49, 1), BYTES.subarray(149, 150));
  });

  it("is refused if its source ends before it", () => {
    const source = new BytesSource(BYTES, "file");
    assert.throws(() => sliceSource(source, 4000, 1001), refusal("SOURCE_SHORT", "file"));
    assert.equal(sliceSource(source, 5000, 0).byteLength, 0);
  });

  it("can be read synchronously, and looked into, only if its source can", () => {
    assert.equal(isSyncSource(sliceSource(asyncOnly(BYTES), 1, 2)), false);
    assert.equal(sliceSource(asyncOnly(BYTES), 1, 2).peek, undefined);
  });

  it("takes its source's name or its own, and passes on what its source fails with", async () => {
    const reason = new Error("gone");
    const slice = sliceSource(new BreakingSource(BYTES, 0, reason), 10, 10);
    assert.equal(slice.name, "breaking");
    assert.equal(sliceSource(slice, 1, 1, "payload").name, "payload");
    await assert.rejects(slice.read(new Uint8Array(4), 0), refusalBecause("SOURCE_READ", reason, "breaking"));
  });

  it("of a stream is read forwards, drops what lies before it, and ends the stream", async () => {
    const made = makeStream(BYTES, { chunks: [100] });
    const slice = sliceSource(new StreamSource(made.stream, { name: "stream", spoolLimit: 500 }), 2000, 1000);
    assert.ok(isStreamed(slice) && hasKnownLength(slice));
    slice.checkStreaming([{ start: 0, end: 1000 }]);
    slice.startStreaming([{ start: 0, end: 1000 }]);
    const target = new Uint8Array(1000);
    await slice.read(target, 0);
    assert.deepEqual(target, BYTES.subarray(2000, 3000));
    assert.equal(made.isCancelled(), true);
    await assert.rejects(slice.read(target, 0), refusal("SOURCE_CONSUMED"));
  });

  it("of a stream is ended by its cancel, with the reason", () => {
    const made = makeStream(BYTES);
    const slice = sliceSource(new StreamSource(made.stream, { name: "stream" }), 0, 10);
    assert.ok(isStreamed(slice));
    slice.cancel("enough");
    assert.deepEqual([made.isCancelled(), made.reason()], [true, "enough"]);
  });
});
