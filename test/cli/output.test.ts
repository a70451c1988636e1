/** Where the command writes: links, devices, pipes, modes, names that others have planted, readers that go away. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ONE_OF_EACH } from "../decoders/tools.js";
import { directboot, runProgram } from "../support/command.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { CLI } from "../support/paths.js";
import { isSame } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";
import { assertOneLine, contents } from "./sandbox.js";

const folder = tempFolder();
const LZ4 = ONE_OF_EACH.find(({ format }) => format === "lz4-legacy");
assert.ok(LZ4 !== undefined);
const bzImage = join(folder, "vmlinuz");
writeFileSync(bzImage, packBzImage(LZ4, makeVmlinux()));
const extracted = join(folder, "vmlinux");
await directboot(["extract", "--force", bzImage, "-o", extracted]);
const vmlinux = readFileSync(extracted);
const place = (): string => mkdtempSync(join(folder, "place-"));

/** A shell command with the command's arguments as "$@"; the program itself is $0. */
function inShell(text: string, ...args: readonly string[]): ReturnType<typeof runProgram> {
  return runProgram("sh", ["-c", text, process.execPath, CLI, ...args]);
}

async function assertRefused(...args: readonly string[]): Promise<void> {
  const { status, stderr } = await directboot(args, { timeoutMs: 20_000 });
  assert.equal(status, 1, stderr);
  assertOneLine(stderr, "OUTPUT_FAILED");
}

describe("an output that is a link", () => {
  it("to a file is replaced by extract, and the file stays what it was", async () => {
    const here = place();
    const other = join(here, "other");
    const out = join(here, "out");
    writeFileSync(other, "mine");
    symlinkSync(other, out);
    assert.equal((await directboot(["extract", "--force", bzImage, "-o", out])).status, 0);
    assert.ok(lstatSync(out).isFile());
    assert.ok(isSame(readFileSync(out), vmlinux));
    assert.equal(readFileSync(other, "utf8"), "mine");
  });

  it("to nothing is replaced by extract, refused by export", async () => {
    const here = place();
    const out = join(here, "out");
    symlinkSync(join(here, "nothing"), out);
    await assertRefused("export", "--force", "--out", out);
    assert.deepEqual(contents(here), { out: `-> ${join(here, "nothing")}` });
    assert.equal((await directboot(["extract", "--force", bzImage, "-o", out])).status, 0);
    assert.deepEqual(Object.keys(contents(here)), ["out"]);
  });

  it("to a folder takes an export into the folder, and is refused by extract", async () => {
    const here = place();
    const out = join(here, "out");
    mkdirSync(join(here, "real"));
    symlinkSync(join(here, "real"), out);
    assert.equal((await directboot(["export", "--force", "--out", out])).status, 0);
    assert.deepEqual(readdirSync(join(here, "real")).sort(), ["manifest.json", "memory.bin"]);
    assert.equal(readlinkSync(out), join(here, "real"));
    await assertRefused("extract", "--force", bzImage, "-o", out);
  });

  it("under the names of an export is replaced, not followed", async () => {
    const here = place();
    const out = join(here, "out");
    mkdirSync(out);
    for (const name of ["manifest.json", "memory.bin"]) {
      writeFileSync(join(here, name), "mine");
      symlinkSync(join(here, name), join(out, name));
    }
    assert.equal((await directboot(["export", "--force", "--out", out])).status, 0);
    for (const name of ["manifest.json", "memory.bin"]) {
      assert.equal(readFileSync(join(here, name), "utf8"), "mine");
      assert.ok(lstatSync(join(out, name)).isFile());
    }
    assert.equal(JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")).version, 1);
  });

  it("to itself is refused", async () => {
    const here = place();
    const out = join(here, "out");
    symlinkSync(out, out);
    await assertRefused("export", "--force", "--out", out);
    await assertRefused("extract", "--force", bzImage, "-o", out);
    assert.deepEqual(contents(here), { out: `-> ${out}` });
  });
});

describe("an output that is no file", () => {
  it("is written to, not replaced, if it is a device", async () => {
    // A device node of our own: were it replaced, /dev would be whole.
    const here = place();
    const device = join(here, "null");
    const made = spawnSync("mknod", ["-m", "666", device, "c", "1", "3"]).status === 0;
    const out = made ? device : "/dev/null";
    const { status, stdout, stderr } = await directboot(["extract", "--force", bzImage, "-o", out]);
    assert.equal(status, 0, stderr);
    assert.ok(lstatSync(out).isCharacterDevice());
    assert.equal(stdout, "", "the report goes to stderr: stdout may be the output");
    assert.match(stderr, /^wrote .*: a 64-bit ELF file/);
    assert.deepEqual(Object.keys(contents(here)), made ? ["null"] : []);
  });

  it("is written to if it is a device that is full: OUTPUT_FAILED", async () => {
    const here = place();
    const device = join(here, "full");
    const made = spawnSync("mknod", ["-m", "666", device, "c", "1", "7"]).status === 0;
    const { status, stderr } = await directboot([
      "extract",
      "--force",
      bzImage,
      "-o",
      made ? device : "/dev/full",
    ]);
    assert.equal(status, 1);
    assertOneLine(stderr, "OUTPUT_FAILED");
    assert.match(stderr, /ENOSPC/);
  });

  it("is written to if it is a pipe, also as /dev/stdout", async () => {
    const result = join(place(), "result");
    const text = `"$0" "$@" | cat >'${result}'`;
    const { status, stderr } = await inShell(text, "extract", "--force", bzImage, "-o", "/dev/stdout");
    assert.equal(status, 0, stderr);
    assert.ok(isSame(readFileSync(result), vmlinux));
    assert.match(stderr, /^wrote \/dev\/stdout: /);
  });

  it("is written to if it is a FIFO with a slow reader, and refused if it has none", async () => {
    const here = place();
    const pipe = join(here, "pipe");
    const result = join(here, "result");
    runTool("coreutils", "mkfifo", [pipe]);
    await assertRefused("extract", "--force", bzImage, "-o", pipe);
    const reader = spawn("sh", ["-c", '{ sleep 2; cat; } <"$0" >"$1"', pipe, result]);
    const read = new Promise((resolve) => reader.once("close", resolve));
    // A FIFO can be opened once its reader is there.
    let status: number | null = 1;
    for (let tries = 0; status !== 0 && tries < 20; tries++) {
      ({ status } = await directboot(["extract", "--force", bzImage, "-o", pipe], { timeoutMs: 20_000 }));
    }
    await read;
    assert.equal(status, 0);
    assert.ok(isSame(readFileSync(result), vmlinux));
    assert.ok(lstatSync(pipe).isFIFO());
  });

  it("is refused if it is /dev/stdout and that is a file: it has a name of its own", async () => {
    const result = join(place(), "result");
    const text = `"$0" "$@" >'${result}'`;
    const { status, stderr } = await inShell(text, "extract", "--force", bzImage, "-o", "/dev/stdout");
    assert.equal(status, 1);
    assertOneLine(stderr, "OUTPUT_FAILED");
    assert.ok(lstatSync("/dev/stdout").isSymbolicLink());
    assert.equal(readFileSync(result, "utf8"), "");
  });
});

describe("modes and names", () => {
  for (const [umask, fileMode, folderMode] of [
    ["077", 0o600, 0o700],
    ["000", 0o666, 0o777],
  ] as const) {
    it(`outputs have what the umask ${umask} leaves`, async () => {
      const here = place();
      const text = `umask ${umask} && "$0" "$@"`;
      const out = join(here, "out");
      assert.equal((await inShell(text, "export", "--force", "--out", out)).status, 0);
      assert.equal((await inShell(text, "extract", "--force", bzImage, "-o", join(here, "file"))).status, 0);
      const mode = (name: string): number => statSync(join(here, name)).mode & 0o777;
      assert.equal(mode("out"), folderMode);
      for (const name of ["out/manifest.json", "out/memory.bin", "file"])
        assert.equal(mode(name), fileMode, name);
    });
  }

  it("a folder that takes no new file keeps the file in it as it was", async () => {
    const here = place();
    const out = join(here, "out");
    writeFileSync(out, "mine");
    chmodSync(here, 0o555);
    // Root ignores modes, unless it has given up its capabilities.
    const asRoot = process.getuid?.() === 0;
    const [program, ...rest] = asRoot
      ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all", process.execPath]
      : [process.execPath];
    for (const args of [
      ["extract", "--force", bzImage, "-o", out],
      ["export", "--force", "--out", here],
      ["export", "--force", "--out", join(here, "new")],
    ]) {
      const { status, stderr } = await runProgram(program ?? "", [...rest, CLI, ...args]);
      assert.equal(status, 1, stderr);
      assertOneLine(stderr, "OUTPUT_FAILED");
      assert.match(stderr, /EACCES/);
    }
    chmodSync(here, 0o755);
    assert.deepEqual(readdirSync(here), ["out"]);
    assert.equal(readFileSync(out, "utf8"), "mine");
  });
});

describe("a reader of standard output that goes away", () => {
  for (const args of [["plan"], ["--help"]]) {
    it(`ends ${args.join(" ").replace(folder, "…")} with exit status 0, without a word`, async () => {
      const { stdout, stderr } = await inShell('{ "$0" "$@"; echo "$?" >&2; } | true', ...args);
      assert.equal(stdout, "");
      assert.equal(stderr, "0\n");
    });
  }

  it("does not keep an output from being written", async () => {
    const out = join(place(), "out");
    const { stderr } = await inShell(
      '{ "$0" "$@"; echo "$?" >&2; } | true',
      "export",
      "--force",
      "--out",
      out,
    );
    assert.equal(stderr, "0\n");
    assert.ok(existsSync(join(out, "manifest.json")));
  });

  it("is told if it was the output itself", async () => {
    const text = '{ "$0" "$@"; echo "$?" >&2; } | head -c 10';
    const { stderr } = await inShell(text, "extract", "--force", bzImage, "-o", "/dev/stdout");
    assert.match(stderr, /^directboot: OUTPUT_FAILED: [^\n]*EPIPE[^\n]*\n1\n$/);
  });

  it("of standard error is not missed", async () => {
    const { status } = await inShell('"$0" "$@" 2>&-', "plan", join(folder, "missing"));
    assert.equal(status, 1);
    const closed = await inShell('{ "$0" "$@" 2>&1 >&3 | true; } 3>&1', "plan");
    assert.match(closed.stdout, /^entry mode/);
  });
});

describe("what the command says", () => {
  it("is one line without control characters, whatever the names of files are", async () => {
    const name = join(folder, "a\nb\x1b[31m\x07\x7f\u009b31m");
    for (const args of [
      ["plan", name],
      ["export", "--force", "--out", join(bzImage, "\x1b]0;title\x07", "x")],
    ]) {
      const { status, stderr } = await directboot(args);
      assert.equal(status, 1);
      assertOneLine(stderr, /./);
      assert.doesNotMatch(stderr.slice(0, -1), /\p{Cc}/u);
    }
    const { status, stderr } = await directboot(["plan", "--memory", "\x1b[31mred"]);
    assert.equal(status, 2);
    assert.match(stderr, /\\x1b\[31mred/);
    const ambiguous = await directboot(["plan", "--append", "--memory"]);
    assert.equal(ambiguous.status, 2);
    assert.equal(ambiguous.stderr.trimEnd().split("\n").length, 1, ambiguous.stderr);
  });
});
