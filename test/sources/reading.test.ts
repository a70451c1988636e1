import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { readBytes } from "../../src/sources/reading.js";
import type { Source, SyncSource } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { runAsync, runSync } from "../../src/task/run.js";
import type { Task } from "../../src/task/task.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";

/** Reads parts one after the other, and joins them. */
function* join(source: Source, parts: readonly (readonly [number, number])[]): Task<number[]> {
  const bytes: number[] = [];
  for (const [offset, length] of parts) bytes.push(...(yield* readBytes(source, offset, length)));
  return bytes;
}

const never = Number.POSITIVE_INFINITY;

describe("the drivers of parsers", () => {
  it("give the same, synchronous or not, with peek or without", async () => {
    const bytes = noise(500);
    const aPart = fc.tuple(fc.nat(250), fc.nat(250));
    await fc.assert(
      fc.asyncProperty(fc.array(aPart, { maxLength: 8 }), async (parts) => {
        const expected = parts.flatMap(([offset, length]) => [...bytes.subarray(offset, offset + length)]);
        const sources = [new BytesSource(bytes), new BreakingSource(bytes, never, undefined)];
        for (const source of sources) {
          assert.deepEqual(runSync(join(source, parts)), expected);
          assert.deepEqual(await runAsync(join(source, parts)), expected);
        }
        assert.deepEqual(await runAsync(join(asyncOnly(bytes), parts)), expected);
      }),
    );
  });

  it("a source without readSync can't be driven synchronously", () => {
    const reading = join(asyncOnly(noise(10), "a stream"), [[0, 5]]);
    assert.throws(() => runSync(reading), refusal("SOURCE_NOT_SYNCHRONOUS", "a stream"));
  });

  it("requests that pass the end are SOURCE_SHORT, before anything is allocated for them", async () => {
    const source = new BreakingSource(noise(10), never, undefined);
    for (const [offset, length] of [
      [0, 11],
      [10, 1],
      [5, 2 ** 50],
    ] as const) {
      const matches = refusal("SOURCE_SHORT", "breaking", `${length} bytes`);
      assert.throws(() => runSync(readBytes(source, offset, length)), matches);
      await assert.rejects(runAsync(readBytes(source, offset, length)), matches);
    }
    assert.equal(source.reads, 0);
  });

  it("a request that a hostile header blew up is refused, even if the source claims to have it", () => {
    const liar: SyncSource = { name: "liar", byteLength: 2 ** 52, read: async () => {}, readSync: () => {} };
    const reading = readBytes(liar, 0, 2 ** 40);
    assert.throws(() => runSync(reading), refusal("SOURCE_SHORT", "liar"));
  });

  it("what a source throws is SOURCE_READ, with it as the cause; a DirectBootError stays", async () => {
    const reason = new Error("the disk is gone");
    const isWrapped = (error: unknown): boolean => {
      refusal("SOURCE_READ", "breaking", "the disk is gone")(error);
      assert.ok(error instanceof DirectBootError);
      assert.equal(error.cause, reason);
      return true;
    };
    assert.throws(() => runSync(join(new BreakingSource(noise(10), 0, reason), [[0, 5]])), isWrapped);
    await assert.rejects(runAsync(join(new BreakingSource(noise(10), 0, reason), [[0, 5]])), isWrapped);
    const ours = new DirectBootError("ABORTED", "x");
    const broken = new BreakingSource(noise(10), 0, ours);
    assert.throws(
      () => runSync(join(broken, [[0, 5]])),
      (error) => error === ours,
    );
  });
});

describe("the asynchronous driver, over a stream whose length nobody knows", () => {
  const open = (bytes: Uint8Array): StreamSource => new StreamSource(makeStream(bytes).stream);

  it("takes no more memory than bytes come, whatever a header asks for", async () => {
    const before = process.memoryUsage().arrayBuffers;
    await assert.rejects(runAsync(readBytes(open(noise(394)), 0, 60_000_000)), refusal("SOURCE_SHORT"));
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 << 20);
  });

  it("gives what is asked for, however long it is", async () => {
    const bytes = noise(3_500_000, 5);
    for (const [offset, length] of [
      [0, 0],
      [5, 1 << 20],
      [7, (1 << 20) + 1],
      [11, 3_400_000],
    ] as const) {
      const read = await runAsync(readBytes(open(bytes), offset, length));
      assert.equal(Buffer.compare(read, bytes.subarray(offset, offset + length)), 0);
    }
  });
});
