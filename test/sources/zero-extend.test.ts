import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirectBootError } from "../../src/base/errors.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { hasKnownLength, isStreamed, isSyncSource, toSyncSource } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { zeroExtend } from "../../src/sources/views.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";

const BYTES = noise(5000);

describe("a source with zeros behind it", () => {
  it("has its bytes, then zeros, whatever it is", async () => {
    const wanted = new Uint8Array(6000);
    wanted.set(BYTES);
    const sources = [
      new BytesSource(BYTES),
      asyncOnly(BYTES),
      new StreamSource(makeStream(BYTES).stream),
      new StreamSource(makeStream(BYTES).stream, { byteLength: 5000 }),
    ];
    for (const source of sources) {
      const extended = zeroExtend(source, 6000);
      assert.equal(extended.byteLength, 6000);
      assert.ok(hasKnownLength(extended));
      for (const [start, end] of [
        [0, 10],
        [4990, 5010],
        [5500, 6000],
        [0, 6000],
        [6000, 6000],
      ] as const) {
        const target = new Uint8Array(end - start).fill(0xaa);
        await extended.read(target, start);
        assert.ok(isSame(target, wanted.subarray(start, end)), `${start} to ${end}`);
        if (isSyncSource(source)) {
          toSyncSource(extended).readSync(target.fill(0xaa), start);
          assert.ok(isSame(target, wanted.subarray(start, end)));
        }
      }
      await assert.rejects(extended.read(new Uint8Array(2), 5999), refusal("SOURCE_SHORT"));
    }
  });

  it("is streamed as the source is", async () => {
    for (const byteLength of [undefined, 5000]) {
      const made = makeStream(BYTES);
      const extended = zeroExtend(new StreamSource(made.stream, { byteLength, spoolLimit: 0 }), 6000);
      assert.ok(isStreamed(extended));
      extended.startStreaming([{ start: 0, end: 6000 }]);
      const target = new Uint8Array(6000);
      await extended.read(target.subarray(0, 3000), 0);
      await extended.read(target.subarray(3000), 3000);
      assert.ok(isSame(target.subarray(0, 5000), BYTES));
      assert.ok(target.subarray(5000).every((byte) => byte === 0));
    }
    assert.ok(!isStreamed(zeroExtend(asyncOnly(BYTES), 6000)));
  });

  it("refuses one that is longer: at once, or where its end should be, by the error that is given", async () => {
    assert.throws(() => zeroExtend(new BytesSource(BYTES), 4999), refusal("SOURCE_TOO_LARGE", "4999"));
    const tooLong = (): DirectBootError =>
      new DirectBootError("ARM64_BAD_IMAGE_SIZE", "longer than image_size");
    const extended = zeroExtend(new StreamSource(makeStream(BYTES).stream), 4999, tooLong);
    await extended.read(new Uint8Array(100), 0);
    await assert.rejects(extended.read(new Uint8Array(4999), 0), refusal("ARM64_BAD_IMAGE_SIZE"));
    const exact = zeroExtend(new StreamSource(makeStream(BYTES).stream), 5000, tooLong);
    await exact.read(new Uint8Array(5000), 0);
  });

  it("ignores what the source has behind, where it is told to", async () => {
    const sources = [
      new BytesSource(BYTES),
      new StreamSource(makeStream(BYTES).stream),
      new StreamSource(makeStream(BYTES).stream, { byteLength: 5000 }),
    ];
    for (const source of sources) {
      const cut = zeroExtend(source, 4000, null);
      if (isStreamed(cut)) cut.startStreaming([{ start: 0, end: 4000 }]);
      const target = new Uint8Array(4000);
      await cut.read(target, 0);
      assert.ok(isSame(target, BYTES.subarray(0, 4000)));
    }
  });
});
