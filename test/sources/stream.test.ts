import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { ChunkSupply } from "../../src/sources/chunk-supply.js";
import type { ByteStream } from "../../src/sources/platform-shapes.js";
import { withKnownLength } from "../../src/sources/reading.js";
import { hasKnownLength, knownLength, UNKNOWN_LENGTH } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { runAsync } from "../../src/task/run.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";

const BYTES = noise(10_000);

async function readOf(source: StreamSource, offset: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length);
  await source.read(target, offset);
  return target;
}

describe("a stream while it is planned with", () => {
  it("can be read at any offset, forwards and back, in any chunking", async () => {
    const aRead = fc.record({ offset: fc.nat(9999), length: fc.nat(3000) });
    const chunks = fc.array(fc.oneof(fc.nat(5), fc.nat(3000), fc.constant(20_000)), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(chunks, fc.array(aRead, { maxLength: 12 }), async (lengths, reads) => {
        // A cycle of empty chunks alone would never end.
        const { stream } = makeStream(BYTES, { chunks: [...lengths, 700] });
        const source = new StreamSource(stream);
        for (const { offset, length } of reads) {
          const end = Math.min(offset + length, BYTES.byteLength);
          assert.ok(isSame(await readOf(source, offset, end - offset), BYTES.subarray(offset, end)));
        }
      }),
    );
  });

  it("pulls no more than is asked for", async () => {
    const made = makeStream(BYTES);
    const source = new StreamSource(made.stream);
    await readOf(source, 500, 600);
    assert.equal(made.pulled(), 2);
    await readOf(source, 0, 2000);
    assert.equal(made.pulled(), 2);
  });

  it("does reads that are asked for at once one after the other", async () => {
    const source = new StreamSource(makeStream(BYTES).stream);
    const offsets = [9000, 0, 5000, 100, 9999];
    const all = await Promise.all(offsets.map((offset) => readOf(source, offset, 1)));
    assert.deepEqual(
      all.map(([byte]) => byte),
      offsets.map((offset) => BYTES[offset]),
    );
  });

  it("keeps its spoolLimit and no more, whatever the chunks", async () => {
    for (const chunks of [[1], [999, 3], [100_000]]) {
      const source = new StreamSource(makeStream(BYTES, { chunks }).stream, { spoolLimit: 1000 });
      assert.ok(isSame(await readOf(source, 0, 1000), BYTES.subarray(0, 1000)));
      await assert.rejects(readOf(source, 900, 101), refusal("SOURCE_SPOOL_LIMIT", "1001", "1000"));
      assert.ok(isSame(await readOf(source, 1, 999), BYTES.subarray(1, 1000)));
    }
  });

  it("has an unknown length until its end was seen, or the declared one", async () => {
    const source = new StreamSource(makeStream(BYTES).stream);
    assert.equal(source.byteLength, UNKNOWN_LENGTH);
    assert.ok(!hasKnownLength(source));
    assert.throws(() => knownLength(source), refusal("SOURCE_LENGTH_UNKNOWN", "stream"));
    await source.spoolHead(20_000);
    assert.equal(knownLength(source), 10_000);
    assert.equal(new StreamSource(makeStream(BYTES).stream, { byteLength: 5 }).byteLength, 5);
  });

  it("that ends before what is asked for is SOURCE_SHORT, and says where", async () => {
    const source = new StreamSource(makeStream(BYTES).stream);
    await assert.rejects(readOf(source, 9000, 1001), refusal("SOURCE_SHORT", "ended at byte 10000"));
    const declared = new StreamSource(makeStream(BYTES).stream, { byteLength: 12_000 });
    await assert.rejects(readOf(declared, 9000, 2000), refusal("SOURCE_SHORT", "ended at byte 10000"));
    await assert.rejects(readOf(declared, 12_000, 1), refusal("SOURCE_SHORT", "12000"));
  });

  it("is never read beyond its declared length", async () => {
    const made = makeStream(BYTES);
    const source = new StreamSource(made.stream, { byteLength: 1500 });
    await assert.rejects(readOf(source, 1500, 1), refusal("SOURCE_SHORT"));
    const whole = await source.spoolWhole();
    assert.equal(whole.byteLength, 1500);
    assert.ok(isSame(whole.peek(1000, 500) ?? new Uint8Array(), BYTES.subarray(1000, 1500)));
    assert.ok(made.isCancelled());
  });
});

describe("a stream that is streamed", () => {
  /** Reads `ranges` in order in pieces, after `startStreaming`, and compares. */
  async function readAll(
    source: StreamSource,
    ranges: readonly (readonly [number, number])[],
    piece: number,
  ) {
    for (const [start, end] of ranges) {
      for (let at = start; at < end; at += piece) {
        const to = Math.min(at + piece, end);
        assert.ok(isSame(await readOf(source, at, to - at), BYTES.subarray(at, to)), `${at} to ${to}`);
      }
    }
  }

  const someRanges = fc
    .array(fc.tuple(fc.nat(9000), fc.nat(1000)), { minLength: 1, maxLength: 8 })
    .map((pairs) =>
      pairs.map(([start, length]) => [start, start + length] as const).sort((a, b) => a[0] - b[0]),
    );

  it("gives its ranges in ascending order, overlapping or not, in any chunking, and is cancelled then", async () => {
    const chunks = fc.array(fc.oneof(fc.nat(5), fc.nat(3000)), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        chunks,
        someRanges,
        fc.nat(2000),
        fc.integer({ min: 1, max: 3000 }),
        async (lengths, ranges, head, piece) => {
          const made = makeStream(BYTES, { chunks: [...lengths, 501] });
          const source = new StreamSource(made.stream);
          await readOf(source, 0, head);
          source.startStreaming(ranges.map(([start, end]) => ({ start, end })));
          await readAll(source, ranges, piece);
          const last = Math.max(...ranges.map(([start, end]) => (end > start ? end : 0)));
          if (last > 0 && made.pulled() * 501 < last) assert.ok(made.isCancelled());
        },
      ),
    );
  });

  it("needs the spool for overlaps only, as much as checkStreaming says", async () => {
    await fc.assert(
      fc.asyncProperty(someRanges, fc.nat(2000), async (ranges, limit) => {
        const own = ranges.map(([start, end]) => ({ start, end }));
        const times = new Map<number, number>();
        for (const { start, end } of own) {
          for (let at = start; at < end; at++) times.set(at, (times.get(at) ?? 0) + 1);
        }
        const most = [...times.values()].filter((count) => count > 1).length;
        const source = new StreamSource(makeStream(BYTES, { chunks: [64] }).stream, { spoolLimit: limit });
        if (most > limit) {
          assert.throws(
            () => source.startStreaming(own),
            refusal("SOURCE_SPOOL_LIMIT", `${most} bytes`, `${limit}`),
          );
        } else {
          source.startStreaming(own);
          await readAll(source, ranges, 10_000);
        }
      }),
    );
  });

  it("refuses what was let go: SOURCE_CONSUMED", async () => {
    const source = new StreamSource(makeStream(BYTES).stream);
    source.startStreaming([{ start: 2000, end: 9000 }]);
    await readOf(source, 2000, 100);
    await assert.rejects(readOf(source, 1000, 10), refusal("SOURCE_CONSUMED", "1000"));
    await assert.rejects(readOf(source, 2050, 10), refusal("SOURCE_CONSUMED"));
    assert.throws(() => source.checkStreaming([{ start: 0, end: 1 }]), refusal("SOURCE_CONSUMED"));
    source.checkStreaming([{ start: 3000, end: 9000 }]);
    assert.ok(isSame(await readOf(source, 5000, 10), BYTES.subarray(5000, 5010)));
  });

  it("that was used up can't be streamed again", async () => {
    const source = new StreamSource(makeStream(BYTES).stream);
    source.startStreaming([{ start: 0, end: 1000 }]);
    await readOf(source, 0, 1000);
    for (const range of [
      { start: 0, end: 1000 },
      { start: 5000, end: 5001 },
    ]) {
      assert.throws(() => source.startStreaming([range]), refusal("SOURCE_CONSUMED"));
    }
  });

  it("takes ranges in ascending order only", () => {
    const source = new StreamSource(makeStream(BYTES).stream);
    const ranges = [
      { start: 5, end: 6 },
      { start: 4, end: 6 },
    ];
    assert.throws(() => source.startStreaming(ranges), TypeError);
  });

  it("writes each byte once, from the chunk to where it goes", async () => {
    const chunk = noise(100_000, 4);
    let isGiven = false;
    const supply: ChunkSupply = {
      pull: async () => {
        if (isGiven) return undefined;
        isGiven = true;
        return chunk;
      },
      cancel: () => {},
    };
    const source = new StreamSource(supply, { spoolLimit: 0 });
    source.startStreaming([{ start: 10, end: 90_000 }]);
    // With nothing that may be spooled, what is read second is still in hand.
    const first = await readOf(source, 10, 40_000);
    assert.ok(isSame(first, chunk.subarray(10, 40_010)));
    chunk[50_000] = (chunk[50_000] ?? 0) ^ 0xff;
    assert.ok(isSame(await readOf(source, 40_010, 49_990), chunk.subarray(40_010, 90_000)));
  });
});

describe("a stream that is read whole", () => {
  it("is a source of the same bytes in any chunking, and its length is known", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(30_000), { minLength: 1 }), fc.nat(5000), async (lengths, head) => {
        const bytes = noise(100_000, 3);
        const made = makeStream(bytes, { chunks: [...lengths, 333] });
        const source = new StreamSource(made.stream);
        await readOf(source, 0, head);
        const whole = await runAsync(withKnownLength(source));
        assert.equal(whole.byteLength, 100_000);
        const target = new Uint8Array(100_000);
        whole.readSync?.(target, 0);
        assert.ok(isSame(target, bytes));
      }),
      { numRuns: 30 },
    );
  });

  it("with more than the limit is SOURCE_SPOOL_LIMIT, and cancelled", async () => {
    for (const chunks of [[1], [999], [10_000]]) {
      const made = makeStream(BYTES, { chunks });
      const source = new StreamSource(made.stream);
      await assert.rejects(source.spoolWhole(9999), refusal("SOURCE_SPOOL_LIMIT", "9999"));
      if (chunks[0] !== 10_000) assert.ok(made.isCancelled());
      assert.equal(
        (await new StreamSource(makeStream(BYTES, { chunks }).stream).spoolWhole(10_000)).byteLength,
        10_000,
      );
    }
    const declared = makeStream(BYTES);
    const source = new StreamSource(declared.stream, { byteLength: 10_000 });
    await assert.rejects(source.spoolWhole(9999), refusal("SOURCE_SPOOL_LIMIT"));
    assert.equal(declared.pulled(), 0);
    assert.ok(declared.isCancelled());
  });

  it("that ends before its declared length is SOURCE_SHORT", async () => {
    const source = new StreamSource(makeStream(BYTES).stream, { byteLength: 10_001 });
    await assert.rejects(source.spoolWhole(), refusal("SOURCE_SHORT", "10000"));
  });

  it("leaves sources of known length alone, and refuses foreign ones without", async () => {
    const known = asyncOnly(BYTES);
    assert.equal(await runAsync(withKnownLength(known)), known);
    const endless = { name: "endless", byteLength: UNKNOWN_LENGTH, read: async () => {} };
    await assert.rejects(runAsync(withKnownLength(endless)), refusal("SOURCE_LENGTH_UNKNOWN", "endless"));
  });
});

describe("a stream that fails", () => {
  it("at any chunk is SOURCE_READ with the cause, and stays so", async () => {
    for (let failAt = 0; failAt < 10; failAt++) {
      const error = new Error("connection reset");
      const source = new StreamSource(makeStream(BYTES, { failAt, error }).stream);
      const matches = refusalBecause("SOURCE_READ", error, `byte ${failAt * 1000}`, "connection reset");
      await assert.rejects(readOf(source, 0, 10_000), matches);
      await assert.rejects(readOf(source, 0, 1), matches);
      await assert.rejects(source.spoolWhole(), matches);
      assert.throws(() => source.checkStreaming([]), matches);
    }
  });

  it("by giving something else than bytes is SOURCE_READ, and cancelled", async () => {
    const others: readonly unknown[] = ["text", null, undefined, new Uint16Array(1), new ArrayBuffer(1), [1]];
    for (const chunk of others) {
      let isCancelled = false;
      const stream = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(chunk as Uint8Array),
        cancel: () => {
          isCancelled = true;
        },
      });
      await assert.rejects(
        readOf(new StreamSource(stream), 0, 1),
        refusal("SOURCE_READ", "not a Uint8Array"),
      );
      assert.ok(isCancelled);
    }
  });

  it("whose cancel fails as well has nothing escape", async () => {
    const supply: ByteStream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(10)),
      cancel: () => Promise.reject(new Error("no")),
    });
    const source = new StreamSource(supply);
    await readOf(source, 0, 1);
    source.cancel();
    await new Promise((resolve) => setImmediate(resolve));
    await assert.rejects(readOf(source, 0, 1), refusal("SOURCE_CONSUMED"));
  });

  it("because another reader has it is SOURCE_READ at once", () => {
    const { stream } = makeStream(BYTES);
    stream.getReader();
    assert.throws(() => new StreamSource(stream), refusal("SOURCE_READ", "locked"));
  });

  it("is a TypeError for options of a wrong type", () => {
    for (const options of [
      { byteLength: -1 },
      { byteLength: 1.5 },
      { spoolLimit: Number.NaN },
      { spoolLimit: -1 },
    ]) {
      assert.throws(() => new StreamSource(makeStream(BYTES).stream, options), TypeError);
    }
  });
});

describe("a stream that is aborted", () => {
  it("at any chunk is ABORTED with the reason, and cancelled with it", async () => {
    for (let at = 0; at < 10; at++) {
      const controller = new AbortController();
      const reason = new Error("not wanted");
      const onPull = (chunk: number): void => {
        if (chunk === at) controller.abort(reason);
      };
      const made = makeStream(BYTES, { onPull });
      const source = new StreamSource(made.stream);
      const read = source.read(new Uint8Array(10_000), 0, controller.signal);
      await assert.rejects(read, refusalBecause("ABORTED", reason));
      assert.ok(made.isCancelled());
    }
  });

  it("while it hangs is ABORTED at once", async () => {
    let isCancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      pull: () => new Promise(() => {}),
      cancel: () => {
        isCancelled = true;
      },
    });
    const controller = new AbortController();
    const read = new StreamSource(stream).read(new Uint8Array(1), 0, controller.signal);
    setImmediate(() => controller.abort());
    await assert.rejects(read, refusal("ABORTED"));
    assert.ok(isCancelled);
  });

  it("while it gives nothing but empty chunks is ABORTED, too", async () => {
    const supply: ChunkSupply = { pull: async () => new Uint8Array(0), cancel: () => {} };
    const controller = new AbortController();
    setImmediate(() => controller.abort());
    const read = new StreamSource(supply).read(new Uint8Array(1), 0, controller.signal);
    await assert.rejects(read, refusal("ABORTED"));
  });

  it("whose buffer goes away meanwhile is GUEST_MEMORY_DETACHED", async () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const onPull = (chunk: number): void => void (chunk === 2 && memory.grow(1));
    const made = makeStream(BYTES, { onPull });
    const source = new StreamSource(made.stream);
    await assert.rejects(
      source.read(new Uint8Array(memory.buffer, 0, 5000), 0),
      refusal("GUEST_MEMORY_DETACHED"),
    );
    assert.ok(made.isCancelled());
  });
});
