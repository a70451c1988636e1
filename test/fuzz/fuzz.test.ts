/** The short run of the fuzzer: a fixed number of executions for each target, with seed 1. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { tempFolder } from "../support/temp-folder.js";
import { expect, replay, runTarget, target } from "./fuzzer.js";
import { observe } from "./outcome.js";
import { TARGETS } from "./targets.js";

const SEED = 1;
/** The time limit of a target; the runs end far sooner. */
const SECONDS = 120;

describe("fuzzing", () => {
  for (const [name, make] of Object.entries(TARGETS)) {
    it(`${name}: nothing but typed errors, the same by every way`, async () => {
      const made = make();
      const { failure, outcomes } = await runTarget(made, SEED, { runs: made.runs, seconds: SECONDS });
      assert.equal(failure, undefined, `${failure?.message}\n  npm run fuzz -- --replay ${failure?.file}`);
      // Mutants that are all refused, or all for one reason, would show nothing.
      assert.ok(outcomes["ok"] !== undefined && Object.keys(outcomes).length >= 2, JSON.stringify(outcomes));
    });
  }

  it("keeps the input of a mistake, which fails again; the same seed finds the same", async () => {
    const folder = tempFolder();
    const planted = target<{ value: bigint; bytes: Uint8Array }>({
      name: "planted",
      runs: 1000,
      input: fc.record({ value: fc.bigInt(0n, 5000n), bytes: fc.uint8Array() }, { noNullPrototype: true }),
      run: ({ value }) => observe(() => (value > 4000n ? new Uint8Array(-1) : value)).code,
    });
    const targets = { planted: () => planted };
    const find = async () =>
      (await runTarget(planted, SEED, { runs: 1000, seconds: SECONDS }, folder)).failure;
    const [first, second] = [await find(), await find()];
    assert.match(first?.message ?? "", /escaped: RangeError/);
    assert.equal(second?.message.split("\n")[0], first?.message.split("\n")[0]);
    await assert.rejects(replay(targets, first?.file ?? ""), /escaped: RangeError/);
  });

  it("fails a target that takes too much memory", async () => {
    const held: Uint8Array[] = [];
    const greedy = target<number>({
      ...{ name: "greedy", runs: 10, input: fc.constant(1) },
      run: (size) => {
        held.push(new Uint8Array(size * (100 << 20)));
        expect(held.length > 0, "nothing is held");
        return "ok";
      },
    });
    const { failure } = await runTarget(greedy, SEED, { runs: 1, seconds: SECONDS }, tempFolder());
    assert.match(failure?.message ?? "", /memory grew by/);
  });
});
