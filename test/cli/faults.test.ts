/** Outputs that fail: at each call that changes the file system an error or a signal, disks that are full or read-only. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ONE_OF_EACH } from "../decoders/tools.js";
import { type CommandResult, directboot, runProgram } from "../support/command.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { CLI, inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import type { FaultPlan } from "./faults-preload.js";
import { assertOneLine, contents, type Disk, directbootOnDisk, processesWith, script } from "./sandbox.js";

const PRELOAD = inRoot("build/test/cli/faults-preload.js");

const folder = tempFolder();
const LZ4 = ONE_OF_EACH.find(({ format }) => format === "lz4-legacy");
assert.ok(LZ4 !== undefined);
const bzImage = join(folder, "vmlinuz");
writeFileSync(bzImage, packBzImage(LZ4, makeVmlinux()));
const older = join(folder, "older");
await directboot(["export", "--append", "older", "--out", older]);
/** Ends at once, well, whatever its arguments are: in QEMU's place. */
const noQemu = script(join(folder, "no-qemu.sh"), "exit 0");

/** Every command that writes. */
interface Work {
  readonly name: string;
  /** The arguments; "@" is the folder that it works in. */
  readonly args: readonly string[];
  /** A shell command that is run there before. */
  readonly prepare: string;
}

const EXPORT_AGAIN: Work = {
  name: "export over an older export",
  args: ["export", "--force", "--out", "@/out"],
  prepare: `cp -r '${older}' out; echo mine >out/notes.txt`,
};
const WORKS: readonly Work[] = [
  { name: "export into a new folder", args: ["export", "--out", "@/a/out"], prepare: ":" },
  EXPORT_AGAIN,
  { name: "extract", args: ["extract", bzImage, "-o", "@/out"], prepare: ":" },
  {
    name: "extract over a file",
    args: ["extract", "--force", bzImage, "-o", "@/out"],
    prepare: "echo old >out",
  },
  { name: "boot", args: ["boot", "--qemu", noQemu], prepare: ":" },
];

type Fault = Omit<FaultPlan, "report">;
const NO_FAULT: Fault = { call: 0, action: "fail", detail: "" };

interface Outcome extends CommandResult {
  readonly calls: readonly string[];
  readonly before: Record<string, string>;
  readonly after: Record<string, string>;
}

/**
 * Runs the command in a place of its own, in which its temporary files lie, too.
 *
 * @param look is called while a fault of SIGSTOP has stopped the command
 */
async function run(work: Work, fault: Fault, look?: (place: string) => void): Promise<Outcome> {
  const place = mkdtempSync(join(folder, "place-"));
  const temporary = join(place, "tmp");
  mkdirSync(temporary);
  await runProgram("sh", ["-c", work.prepare], { cwd: place });
  const before = contents(place);
  const plan: FaultPlan = { ...fault, report: join(folder, "calls.json") };
  const args = work.args.map((text) => text.replace("@", place));
  const child = spawn(process.execPath, ["--import", PRELOAD, CLI, ...args], {
    // Pipes: to a file, the report would be written by calls that are counted, too.
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: temporary, FAULT: JSON.stringify(plan) },
  });
  child.stdout.resume();
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  if (look !== undefined) {
    // proc(5): the state stands behind the name, and T is stopped.
    for (const end = performance.now() + 20_000; ; ) {
      if (/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8"))) break;
      assert.ok(performance.now() < end, `call ${fault.call} was not reached`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    try {
      look(place);
    } finally {
      child.kill("SIGCONT");
    }
  }
  const status = await ended;
  const after = contents(place);
  assert.deepEqual(processesWith(temporary), []);
  rmSync(place, { recursive: true, force: true });
  return { status, stdout: "", stderr, calls: JSON.parse(readFileSync(plan.report, "utf8")), before, after };
}

/** One line of OUTPUT_FAILED; boot has said by then what it has loaded. */
function assertFailed({ status, stderr }: CommandResult, where = stderr): void {
  assert.equal(status, 1, where);
  const error = stderr.split("\n").filter((line) => line.startsWith("directboot:"));
  assertOneLine(`${error.join("\n")}\n`, "OUTPUT_FAILED");
}

/** The temporary folder that the command has made. */
function stagingIn(place: string): string {
  return Object.keys(contents(place)).find((name) => /(^|\/)\.directboot-[A-Za-z0-9]{6}$/.test(name)) ?? "";
}

const names = new Set<string>();
for (const work of WORKS) {
  describe(work.name, () => {
    let complete: Outcome;
    const allCalls = async (): Promise<Outcome> => {
      complete ??= await run(work, NO_FAULT);
      assert.equal(complete.status, 0, complete.stderr);
      assert.ok(complete.calls.length >= 4, complete.calls.join(" "));
      return complete;
    };

    it("writes where only this user can enter, under a name that nobody can foresee", async () => {
      const { calls } = await allCalls();
      const stop: Fault = { call: calls.lastIndexOf("writeSync") + 1, action: "signal", detail: "SIGSTOP" };
      const { status, stderr } = await run(work, stop, (place) => {
        const staging = stagingIn(place);
        assert.notEqual(staging, "");
        assert.equal(statSync(join(place, staging)).mode & 0o777, 0o700);
        const inside = Object.keys(contents(join(place, staging)));
        assert.ok(inside.length >= 1);
        if (work.name === "boot") {
          for (const name of inside) assert.equal(statSync(join(place, staging, name)).mode & 0o777, 0o600);
        }
        assert.ok(!names.has(staging));
        names.add(staging);
      });
      assert.equal(status, 0, stderr);
    });

    it("never writes to a file or a link that somebody has planted", async () => {
      const { calls } = await allCalls();
      const target = join(folder, "target");
      writeFileSync(target, "mine");
      const stop: Fault = { call: calls.indexOf("openSync") + 1, action: "signal", detail: "SIGSTOP" };
      const found = await run(work, stop, (place) => {
        const staging = join(place, stagingIn(place));
        for (const name of ["memory.bin", "new", "region-0.bin"]) symlinkSync(target, join(staging, name));
      });
      assertFailed(found);
      assert.match(found.stderr, /EEXIST/);
      assert.equal(readFileSync(target, "utf8"), "mine");
    });

    it("leaves all as it was when any call fails, and tells it in one line", async () => {
      const { calls } = await allCalls();
      for (const [index, name] of calls.entries()) {
        const detail = index % 2 === 0 ? "ENOSPC" : "EIO";
        const found = await run(work, { call: index + 1, action: "fail", detail });
        const where = `call ${index + 1} of ${calls.length}, ${name}, ${detail}: ${found.stderr}`;
        assertFailed(found, where);
        assert.deepEqual(found.after, found.before, where);
      }
    });

    it("leaves all as it was or the whole output when a signal comes in, and ends with 128 plus its number", async () => {
      const { calls, after } = await allCalls();
      const signals = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const;
      for (const [index, name] of calls.entries()) {
        const detail = signals[index % signals.length] ?? "SIGTERM";
        const found = await run(work, { call: index + 1, action: "signal", detail });
        const where = `call ${index + 1} of ${calls.length}, ${name}, ${detail}, ${found.status}: ${found.stderr}`;
        const isComplete = JSON.stringify(found.after) === JSON.stringify(after);
        if (!isComplete) assert.deepEqual(found.after, found.before, where);
        if (found.status === 0) assert.ok(isComplete, where);
        else assert.equal(found.status, 128 + constants.signals[detail], where);
        assert.doesNotMatch(found.stderr, /\bat .*:\d+:\d+/, where);
        // Where bytes are written, a signal is heeded before they get their name.
        if (name === "writeSync" && work.name !== "boot") assert.ok(!isComplete, where);
      }
    });

    it("goes on with a write that the system does in part", async () => {
      const { calls, after } = await allCalls();
      const found = await run(work, { call: calls.indexOf("writeSync") + 1, action: "short", detail: "" });
      assert.equal(found.status, 0, found.stderr);
      assert.deepEqual(found.after, after);
    });

    it("leaves a disk that is full, has no free inode, or is read-only as it was", async () => {
      const disk = { prepare: work.prepare };
      const full: readonly Disk[] = [
        { ...disk, options: `size=${work === EXPORT_AGAIN ? "64k" : "20k"}` },
        { ...disk, options: `size=64m,nr_inodes=${work === EXPORT_AGAIN ? 5 : 2}` },
        { ...disk, options: "size=64m", isReadOnly: true },
      ];
      for (const each of full) {
        const found = await directbootOnDisk(folder, each, work.args, { TMPDIR: "@" });
        assertFailed(found, JSON.stringify(each) + found.stderr);
        assert.match(found.stderr, /ENOSPC|EROFS/);
        assert.equal(found.after, found.before);
      }
    });
  });
}

it("an export whose file names are taken by folders stays what it was", async () => {
  for (const name of ["manifest.json", "memory.bin"]) {
    const out = mkdtempSync(join(folder, "taken-"));
    const other = name === "memory.bin" ? "manifest.json" : "memory.bin";
    mkdirSync(join(out, name));
    writeFileSync(join(out, other), readFileSync(join(older, other)));
    const before = contents(out);
    const result = await directboot(["export", "--force", "--out", out]);
    assertFailed(result);
    assert.ok(result.stderr.includes(`${join(out, name)} is a folder`), result.stderr);
    assert.deepEqual(contents(out), before);
  }
});
