import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { hotPaths } from "../../src/wasm/hot-paths.js";
import { describeCoverage, LEAST_BRANCHES, measure } from "./coverage.js";
import { encodeInput } from "./input.js";
import { Finding } from "./outcome.js";
import { PLANTS } from "./plants.js";
import { execute, keepFailure, makeInput, readFailure, runTarget } from "./runner.js";
import { SUBJECT } from "./subject.js";
import type { Target } from "./target.js";
import { allTargets } from "./targets/index.js";

/** The seed of the run that is part of the tests. */
const SEED = 1;
/** Per cent of mutants that must be taken for what they were. */
const LEAST_IDENTIFIED = 10;

const folder = mkdtempSync(join(tmpdir(), "directboot-fuzz-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const targets = allTargets();
function targetOf(name: string, among: readonly Target[] = targets): Target {
  const found = among.find((target) => target.name === name);
  assert.ok(found !== undefined, `there is no target ${name}`);
  return found;
}

describe("the short run of the fuzzer", () => {
  const parameters = ["--short", "--json", "--seed", `${SEED}`, "--hot-paths", hotPaths.implementation];
  const coverage = measure(parameters, join(folder, "coverage"));
  const reports: readonly {
    readonly name: string;
    readonly executions: number;
    readonly identified: number;
    readonly failures: readonly string[];
  }[] = JSON.parse(coverage.stdout === "" ? "[]" : coverage.stdout);

  it("runs every target and finds nothing", () => {
    assert.deepEqual(
      reports.map(({ name }) => name),
      targets.map(({ name }) => name),
      coverage.stderr,
    );
    assert.deepEqual(
      reports.flatMap(({ failures }) => failures),
      [],
    );
    assert.equal(coverage.status, 0, coverage.stderr);
  });

  it(`gets at least ${LEAST_IDENTIFIED} % of each target's mutants past identification`, () => {
    for (const { name, executions, identified } of reports) {
      const share = (100 * identified) / executions;
      assert.ok(share >= LEAST_IDENTIFIED, `${name}: ${share} %`);
    }
  });

  it(`reaches at least ${LEAST_BRANCHES} % of the parsers' branches`, () => {
    assert.ok(coverage.branches >= LEAST_BRANCHES, describeCoverage(coverage));
  });
});

describe("a mistake that is planted", () => {
  for (const { name, target, message, subject } of PLANTS) {
    it(`is found within the short run: ${name}`, async () => {
      const planted = targetOf(target, allTargets(subject));
      const budget = { executions: planted.executions, isFirstEnough: true };
      const { failures } = await runTarget(planted, SEED, budget);
      assert.equal(failures.length, 1);
      assert.match(failures[0]?.message ?? "", message);
    });
  }

  it("is kept in a file that gives it again", async () => {
    const [plant] = PLANTS;
    assert.ok(plant !== undefined);
    const planted = targetOf(plant.target, allTargets(plant.subject));
    const budget = { executions: planted.executions, isFirstEnough: true };
    const [failure] = (await runTarget(planted, SEED, budget)).failures;
    assert.ok(failure !== undefined);
    const kept = readFailure(readFileSync(keepFailure(failure, folder), "utf8"));
    assert.ok(kept.input !== undefined);
    assert.deepEqual(encodeInput(kept.input), encodeInput(failure.input));
    await assert.rejects(execute(planted, kept.input), Finding);
    // And what it is planted in has it not.
    await execute(targetOf(plant.target, allTargets(SUBJECT)), kept.input);
  });
});

describe("an execution", () => {
  for (const target of targets) {
    it(`of ${target.name} has the same input for the same seed and number`, () => {
      for (const index of [0, 1, 1000]) {
        assert.deepEqual(encodeInput(makeInput(target, 5, index)), encodeInput(makeInput(target, 5, index)));
      }
    });
  }

  const slow: Target = {
    name: "slow",
    executions: 1,
    make: () => ({}),
    run: async () => {
      const start = process.cpuUsage();
      while (process.cpuUsage(start).user < 30_000) await Promise.resolve();
      return { kind: "ok", isIdentified: true };
    },
  };

  it("that takes too long is a failure", async () => {
    const limits = { milliseconds: 5, bytes: 1 << 30 };
    await assert.rejects(execute(slow, {}, limits), /it took \d+ ms/);
  });

  it("from which anything but a DirectBootError escapes is a failure", async () => {
    const broken: Target = {
      ...slow,
      run: () => {
        throw new RangeError("Invalid typed array length: -1");
      },
    };
    await assert.rejects(execute(broken, {}), /escaped: RangeError/);
  });
});
