/** Signals at any moment of a run: while Node starts, a kernel is loaded, files are written, QEMU runs. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { makeElf } from "../support/elf-maker.js";
import { CLI } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { contents, processesWith, script } from "./sandbox.js";

const folder = tempFolder();
const initrd = join(folder, "initrd");
writeFileSync(initrd, new Uint8Array(24 << 20).fill(1));
/** A kernel that does nothing but run: jmp $. */
const endless = join(folder, "endless.elf");
writeFileSync(
  endless,
  makeElf({
    entry: 0x10_0000n,
    segments: [{ offset: 0x1000n, vaddr: 0x10_0000n, paddr: 0x10_0000n, filesz: 0x1000n, memsz: 0x1000n }],
    fill: new Uint8Array(0x2000).fill(0xeb, 0x1000, 0x1001).fill(0xfe, 0x1001, 0x1002),
  }),
);
/** In QEMU's place: a wrapper that waits for what it has started, and passes no signal on. */
const wrapper = script(join(folder, "wrapper.sh"), "echo up\nsleep 1000 &\nwait");
/** One that leaves running what it has started. */
const deserter = script(join(folder, "deserter.sh"), "sleep 1000 >/dev/null 2>&1 &\necho up");

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const;

interface Run {
  readonly child: ChildProcess;
  readonly place: string;
  readonly out: string;
  readonly temporary: string;
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** Starts the command in a place of its own. */
function start(args: (out: string) => readonly string[]): Run {
  const place = mkdtempSync(join(folder, "place-"));
  const temporary = join(place, "tmp");
  mkdirSync(temporary);
  const out = join(place, "out");
  const child = spawn(process.execPath, [CLI, ...args(out)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: temporary },
  });
  const ended = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("exit", (status, signal) => resolve({ status, signal }));
  });
  return { child, place, out, temporary, ended };
}

/** Leftovers of the run, but for its output. */
function assertNothingLeft({ place, temporary }: Run, where: string): void {
  const processes = processesWith(temporary);
  // A failed test must not leave them either: they would hold our pipes open.
  for (const pid of processes) process.kill(pid, "SIGKILL");
  assert.deepEqual(processes, [], where);
  assert.deepEqual(contents(temporary), {}, where);
  const others = Object.keys(contents(place)).filter((name) => !/^(tmp|out)(\/|$)/.test(name));
  assert.deepEqual(others, [], where);
}

const loaded = ["--initrd", initrd, "--memory", "128M"];
const exportGuest = (out: string): readonly string[] => ["export", ...loaded, "--out", out];

/** Runs the command again and again, with signals at moments that lie evenly over so many milliseconds. */
async function interrupt(
  rounds: number,
  milliseconds: number,
  args: (out: string) => readonly string[],
): Promise<void> {
  let interrupted = 0;
  for (let round = 0; round < rounds; round++) {
    const signal = SIGNALS[round % SIGNALS.length] ?? "SIGTERM";
    const run = start(args);
    const timer = setTimeout(() => run.child.kill(signal), (milliseconds * round) / rounds);
    const { status, signal: by } = await run.ended;
    clearTimeout(timer);
    const where = `${signal}, round ${round}: ${status ?? by}`;
    // Before the command's own code runs, the signal ends Node; at its very end the run may have been faster.
    if (status === null) assert.equal(by, signal, where);
    else if (status !== 0) assert.equal(status, 128 + constants.signals[signal], where);
    if (status !== 0) interrupted++;
    assertNothingLeft(run, where);
    const found = existsSync(run.out) ? Object.keys(contents(run.out)) : undefined;
    if (found !== undefined) assert.deepEqual(found, ["manifest.json", "memory.bin"], where);
    else if (args === exportGuest) assert.notEqual(status, 0, where);
    rmSync(run.place, { recursive: true });
  }
  assert.ok(interrupted >= rounds / 3, `${interrupted} of ${rounds}`);
}

describe("a signal at any moment leaves no half-written output, no temporary file and no process", () => {
  it("export into a new folder", () => interrupt(8, 400, exportGuest));

  it("boot, up to QEMU itself with a guest that runs for ever", () =>
    interrupt(6, 2000, () => ["boot", endless, "--memory", "64M"]));

  it("boot, up to a wrapper around QEMU that starts another process", () =>
    interrupt(8, 1200, () => ["boot", ...loaded, "--qemu", wrapper]));
});

/** Waits until `isSo`; fails after 20 s. */
async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 20_000; !isSo(); ) {
    assert.ok(performance.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The state of each process that the run has started: T is stopped (proc(5)). */
function states({ temporary }: Run): string[] {
  return processesWith(temporary).map((pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  });
}

/** Starts a boot, and waits until QEMU, or what is in its place, runs. */
async function bootUntilUp(program: string, ...args: readonly string[]): Promise<Run> {
  const run = start(() => ["boot", endless, "--memory", "64M", "--qemu", program, ...args]);
  let said = "";
  run.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  run.child.stderr?.resume();
  await until(() => said.includes("up"), "what is in QEMU's place runs");
  return run;
}

describe("a guest that runs", () => {
  it("ends when nobody reads its output any more, with exit status 0", async () => {
    const talker = script(join(folder, "talker.sh"), "while :; do echo up; sleep 0.05; done");
    const run = await bootUntilUp(talker);
    run.child.stdout?.destroy();
    assert.deepEqual(await run.ended, { status: 0, signal: null });
    assertNothingLeft(run, "EPIPE");
  });

  it("is held up by a reader that does not read, instead of filling our memory, and ends by a signal", async () => {
    const flood = script(join(folder, "flood.sh"), "echo up\nexec yes flood");
    const run = start(() => ["boot", endless, "--memory", "64M", "--qemu", flood]);
    // Not a byte of stdout is read.
    await until(() => processesWith(run.temporary).length >= 2, "the flood is there");
    const resident = (): number =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${run.child.pid}/status`, "utf8"))?.[1]) / 1024;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = resident();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.ok(resident() - before < 50, `${before} MiB, then ${resident()} MiB`);
    run.child.kill("SIGTERM");
    assert.deepEqual(await run.ended, { status: 143, signal: null });
    assertNothingLeft(run, "a flood");
  });

  it("stops with the command (Ctrl-Z), and goes on with it", async () => {
    const run = await bootUntilUp(wrapper);
    const all = (wanted: boolean): boolean => {
      const found = states(run);
      return found.length >= 3 && found.every((state) => (state === "T") === wanted);
    };
    await until(() => all(false), "all run");
    run.child.kill("SIGTSTP");
    await until(() => all(true), "all are stopped");
    run.child.kill("SIGCONT");
    await until(() => all(false), "all run again");
    run.child.kill("SIGINT");
    assert.deepEqual(await run.ended, { status: 130, signal: null });
    assertNothingLeft(run, "Ctrl-Z");
  });

  it("leaves nothing running if QEMU's wrapper ends before what it has started", async () => {
    const run = await bootUntilUp(deserter);
    assert.deepEqual(await run.ended, { status: 0, signal: null });
    assertNothingLeft(run, "a deserter");
  });

  it("is ended by --timeout with all that its wrapper has started", async () => {
    const run = await bootUntilUp(wrapper, "--timeout", "1");
    assert.deepEqual(await run.ended, { status: 1, signal: null });
    assertNothingLeft(run, "--timeout");
  });
});
