/** What happens at each call of the command's that changes the file system: it fails, a signal comes in, its folder goes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
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

/** Runs the command up to a call, looks on while it is stopped there, and lets it go on. */
async function runStopped(
  work: Work,
  call: number,
  look: (place: string, temporary: string) => void,
): Promise<{ readonly status: number | null; readonly stderr: string }> {
  const place = mkdtempSync(join(folder, "place-"));
  const temporary = join(place, "tmp");
  mkdirSync(temporary);
  work.prepare?.(place);
  const plan: FaultPlan = { call, action: "signal", detail: "SIGSTOP", report: join(folder, "calls.json") };
  const child = spawn(process.execPath, ["--import", PRELOAD, CLI, ...work.args(place)], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, TMPDIR: temporary, FAULT: JSON.stringify(plan) },
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  // proc(5): the state stands behind the name, and T is stopped.
  for (const end = performance.now() + 20_000; ; ) {
    if (/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8"))) break;
    assert.ok(performance.now() < end, `call ${call} was not reached`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  try {
    look(place, temporary);
  } finally {
    child.kill("SIGCONT");
  }
  const status = await ended;
  rmSync(place, { recursive: true, force: true });
  return { status, stderr };
}

describe("what is not complete", () => {
  const names = new Set<string>();
  for (const work of WORKS) {
    it(`${work.name}: lies where only this user can enter, under a name that nobody can foresee`, async () => {
      const { calls } = await run(work, () => ({ call: 0, action: "fail", detail: "" }));
      const { status, stderr } = await runStopped(work, calls.lastIndexOf("writeSync") + 1, (place) => {
        const staged = Object.keys(contents(place)).filter((name) => name.includes("directboot-"));
        const [staging = "", ...inside] = staged;
        assert.match(staging, /(^|\/)\.?directboot-[A-Za-z0-9]{6}$/);
        assert.equal(statSync(join(place, staging)).mode & 0o777, 0o700);
        assert.ok(inside.length >= 1);
        for (const name of inside) {
          assert.ok(name.startsWith(`${staging}/`), name);
          if (work.name === "boot") assert.equal(statSync(join(place, name)).mode & 0o777, 0o600);
        }
        names.add(staging);
      });
      assert.equal(status, 0, stderr);
    });

    it(`${work.name}: is never written to a file or a link that somebody has planted`, async () => {
      const { calls } = await run(work, () => ({ call: 0, action: "fail", detail: "" }));
      const target = join(folder, "target");
      writeFileSync(target, "mine");
      const { status, stderr } = await runStopped(work, calls.indexOf("openSync") + 1, (place) => {
        const staging = Object.entries(contents(place))
          .filter(([name, what]) => name.includes("directboot-") && what === "folder")
          .map(([name]) => join(place, name))
          .at(-1);
        assert.ok(staging !== undefined);
        for (const name of ["memory.bin", "new", "region-0.bin"]) symlinkSync(target, join(staging, name));
      });
      assert.equal(status, 1, stderr);
      assert.match(stderr, /^directboot: OUTPUT_FAILED: [^\n]*EEXIST[^\n]*$/m);
      assert.equal(readFileSync(target, "utf8"), "mine");
    });
  }

  it("has another name each time", () => assert.equal(names.size, WORKS.length));
});

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
