import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirectBootError } from "../../src/base/errors.js";
import { fill, readBytes } from "../../src/sources/reading.js";
import type { Source } from "../../src/sources/source.js";
import { runAsync, runSync } from "../../src/task/run.js";
import { pause, perform, type Task } from "../../src/task/task.js";
import { refusal } from "../support/refusal.js";
import { BreakingSource, noise } from "../support/sources.js";

const delay = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("the drivers of tasks", () => {
  it("do steps in order, one at a time, hand their results in, and return the task's", async () => {
    const work = function* (): Task<number[]> {
      const log: number[] = [];
      for (const i of [1, 2, 3]) {
        const now = yield* perform(
          () => i,
          async () => {
            await delay(4 - i);
            return i;
          },
        );
        log.push(now);
        yield* pause();
      }
      return log;
    };
    assert.deepEqual(runSync(work()), [1, 2, 3]);
    assert.deepEqual(await runAsync(work()), [1, 2, 3]);
  });

  it("throw a step's failure into the task, which may go on", async () => {
    const work = function* (source: Source): Task<string> {
      try {
        yield* fill(source, new Uint8Array(1), 0);
      } catch (error) {
        yield* pause();
        return `caught ${error instanceof DirectBootError ? error.cause : error}`;
      }
      return "not reached";
    };
    assert.equal(runSync(work(new BreakingSource(noise(1), 0, "it"))), "caught it");
    assert.equal(await runAsync(work(new BreakingSource(noise(1), 0, "it"))), "caught it");
  });

  it("hand the signal to the source", async () => {
    const { signal } = new AbortController();
    const seen: unknown[] = [];
    const source: Source = {
      name: "a",
      byteLength: 1,
      read: async (_target, _offset, given) => void seen.push(given),
    };
    await runAsync(readBytes(source, 0, 1), signal);
    assert.deepEqual(seen, [signal]);
  });

  it("throw ABORTED into the task between two steps, so that it can clean up", async () => {
    const controller = new AbortController();
    let cleaned = 0;
    const work = function* (): Task<void> {
      try {
        yield* pause();
        controller.abort("enough");
        while (true) yield* pause();
      } finally {
        cleaned++;
      }
    };
    await assert.rejects(runAsync(work(), controller.signal), refusal("ABORTED"));
    assert.equal(cleaned, 1);
  });
});
