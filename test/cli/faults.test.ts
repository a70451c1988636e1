/** What happens at each call of the command's that changes the file system: it fails, a signal comes in, its folder goes. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ONE_OF_EACH } from "../decoders/tools.js";
import { type CommandResult, directboot, runProgram } from "../support/command.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { CLI, inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import type { FaultPlan } from "./faults-preload.js";
import { assertOneLine, contents, processesWith, script } from "./sandbox.js";

const PRELOAD = inRoot("build/test/cli/faults-preload.js");

const folder = tempFolder();
const LZ4 = ONE_OF_EACH.find(({ format }) => format === "lz4-legacy");
assert.ok(LZ4 !== undefined);
const bzImage = join(folder, "vmlinuz");
writeFileSync(bzImage, packBzImage(LZ4, makeVmlinux()));
const older = join(folder, "older");
await directboot(["export", "--append", "older", "--out", older]);
const sleeper = script(join(folder, "qemu.sh"), "exit 0");

interface Work {
  readonly name: string;
  /** The arguments, and what lies in `place` before. */
  readonly args: (place: string) => readonly string[];
  readonly prepare?: (place: string) => void;
}

const WORKS: readonly Work[] = [
  { name: "export into a new folder", args: (place) => ["export", "--out", join(place, "a", "out")] },
  {
    name: "export over an older export",
    args: (place) => ["export", "--out", join(place, "out")],
    prepare: (place) => {
      cpSync(older, join(place, "out"), { recursive: true });
      writeFileSync(join(place, "out", "notes.txt"), "mine");
    },
  },
  { name: "extract", args: (place) => ["extract", bzImage, "-o", join(place, "out")] },
  {
    name: "extract over a file",
    args: (place) => ["extract", bzImage, "-o", join(place, "out")],
    prepare: (place) => writeFileSync(join(place, "out"), "old"),
  },
  { name: "boot", args: () => ["boot", "--qemu", sleeper] },
];

interface Outcome extends CommandResult {
  readonly calls: readonly string[];
  readonly before: Record<string, string>;
  readonly after: Record<string, string>;
}

/** Runs the command in a place of its own, in which its temporary files lie, too. */
async function run(work: Work, fault: (place: string) => Omit<FaultPlan, "report">): Promise<Outcome> {
  const place = mkdtempSync(join(folder, "place-"));
  const temporary = join(place, "tmp");
  mkdirSync(temporary);
  work.prepare?.(place);
  const before = contents(place);
  const report = join(folder, "calls.json");
  const plan: FaultPlan = { ...fault(place), report };
  const result = await runProgram(process.execPath, ["--import", PRELOAD, CLI, ...work.args(place)], {
    env: { ...process.env, TMPDIR: temporary, FAULT: JSON.stringify(plan) },
  });
  const after = contents(place);
  assert.deepEqual(processesWith(temporary), []);
  rmSync(place, { recursive: true, force: true });
  return { ...result, calls: JSON.parse(readFileSync(report, "utf8")), before, after };
}

describe("whatever happens at any call that changes the file system", () => {
  for (const work of WORKS) {
    let complete: Outcome;
    const allCalls = async (): Promise<Outcome> => {
      complete ??= await run(work, () => ({ call: 0, action: "fail", detail: "" }));
      assert.equal(complete.status, 0, complete.stderr);
      assert.ok(complete.calls.length >= 4, complete.calls.join(" "));
      return complete;
    };

    it(`${work.name}: a call that fails leaves all as it was, and is told in one line`, async () => {
      const { calls } = await allCalls();
      for (const [index, name] of calls.entries()) {
        const detail = index % 2 === 0 ? "ENOSPC" : "EIO";
        const found = await run(work, () => ({ call: index + 1, action: "fail", detail }));
        const where = `call ${index + 1} of ${calls.length}, ${name}, ${detail}: ${found.stderr}`;
        assert.equal(found.status, 1, where);
        const error = found.stderr.split("\n").filter((line) => line.startsWith("directboot:"));
        assertOneLine(`${error.join("\n")}\n`, "OUTPUT_FAILED");
        assert.deepEqual(found.after, found.before, where);
      }
    });

    it(`${work.name}: a signal leaves all as it was or the whole output, and 128 plus its number`, async () => {
      const { calls, after } = await allCalls();
      const signals = [
        ["SIGTERM", 143],
        ["SIGINT", 130],
        ["SIGHUP", 129],
        ["SIGQUIT", 131],
      ] as const;
      for (const [index, name] of calls.entries()) {
        const [detail, status] = signals[index % signals.length] ?? signals[0];
        const found = await run(work, () => ({ call: index + 1, action: "signal", detail }));
        const where = `call ${index + 1} of ${calls.length}, ${name}, ${detail}, ${found.status}: ${found.stderr}`;
        if (found.status === 0) assert.deepEqual(found.after, after, where);
        else {
          assert.equal(found.status, status, where);
          assert.doesNotMatch(found.stderr, /\bat .*:\d+:\d+/, where);
          const isComplete = JSON.stringify(found.after) === JSON.stringify(after);
          if (!isComplete) assert.deepEqual(found.after, found.before, where);
          // Where bytes are written, a signal is heeded before they get their name.
          if (name === "writeSync" && work.name !== "boot") assert.ok(!isComplete, where);
        }
      }
    });

    it(`${work.name}: a write that the system does in part is gone on with`, async () => {
      const { calls, after } = await allCalls();
      const call = calls.indexOf("writeSync") + 1;
      const found = await run(work, () => ({ call, action: "short", detail: "" }));
      assert.equal(found.status, 0, found.stderr);
      assert.deepEqual(found.after, after);
    });
  }

  for (const [work, removed] of [
    ["export over an older export", "out"],
    ["export into a new folder", "a"],
    ["boot", "tmp"],
  ] as const) {
    it(`${work}: its folder removed midway is told in one line, and leaves nothing`, async () => {
      const found = WORKS.find(({ name }) => name === work);
      assert.ok(found !== undefined);
      const { calls } = await run(found, () => ({ call: 0, action: "fail", detail: "" }));
      for (const [index, name] of calls.entries()) {
        const result = await run(found, (place) => ({
          call: index + 1,
          action: "remove",
          detail: join(place, removed),
        }));
        const where = `call ${index + 1} of ${calls.length}, ${name}: ${result.stderr}`;
        const left = Object.keys(result.after).filter((path) => path !== "tmp");
        if (result.status === 0) continue;
        assert.equal(result.status, 1, where);
        const error = result.stderr.split("\n").filter((line) => line.startsWith("directboot:"));
        assertOneLine(`${error.join("\n")}\n`, "OUTPUT_FAILED");
        assert.deepEqual(left, [], where);
      }
    });
  }
});
