/** Outputs that can't be written: full disks, disks without a free inode, limits of file size, read-only file systems. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ONE_OF_EACH } from "../decoders/tools.js";
import { directboot, runProgram } from "../support/command.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { CLI } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { assertOneLine, contents, type Disk, directbootOnDisk, script } from "./sandbox.js";

const folder = tempFolder();
const LZ4 = ONE_OF_EACH.find(({ format }) => format === "lz4-legacy");
assert.ok(LZ4 !== undefined);
const bzImage = join(folder, "vmlinuz");
writeFileSync(bzImage, packBzImage(LZ4, makeVmlinux()));
const extracted = join(folder, "vmlinux");
const reference = join(folder, "reference");
const older = join(folder, "older");
/** Ends at once, well, whatever its arguments are: in QEMU's place. */
const noQemu = script(join(folder, "no-qemu.sh"), "exit 0");
/** The bytes on a disk that is counted in pages. */
const PAGE = 4096;

await directboot(["export", "--out", reference]);
await directboot(["export", "--append", "older", "--out", older]);
await directboot(["extract", bzImage, "-o", extracted]);
const exportPages = Math.ceil(statSync(join(reference, "memory.bin")).size / PAGE);
const extractPages = Math.ceil(statSync(extracted).size / PAGE);

/** Every command that writes: what it needs, and what lies there before. */
const COMMANDS: readonly {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly prepare?: string;
  /** Pages and inodes that this takes, at least; the disk's own folder is an inode, too. */
  readonly first: number;
  readonly firstInodes: number;
  /** Pages with which the disk is large enough for sure. */
  readonly pages: number;
  /** Nothing stays there, even if all goes well. */
  readonly isTemporary?: boolean;
}[] = [
  {
    name: "export into a new folder",
    args: ["export", "--out", "@/a/b/out"],
    first: 1,
    firstInodes: 1,
    pages: exportPages + 8,
  },
  {
    name: "export over an older export",
    args: ["export", "--out", "@/out"],
    prepare: `cp -r '${older}' out`,
    first: exportPages + 2,
    firstInodes: 4,
    pages: 2 * exportPages + 8,
  },
  {
    name: "extract",
    args: ["extract", bzImage, "-o", "@/out"],
    first: 1,
    firstInodes: 1,
    pages: extractPages + 4,
  },
  {
    name: "extract over a file",
    args: ["extract", bzImage, "-o", "@/out"],
    prepare: "echo old >out",
    first: 1,
    firstInodes: 2,
    pages: extractPages + 5,
  },
  {
    name: "boot",
    args: ["boot", "--qemu", noQemu],
    env: { TMPDIR: "@" },
    first: 1,
    firstInodes: 1,
    // Each region is a file of its own, and the reset ROM has 16 pages.
    pages: exportPages + 64,
    isTemporary: true,
  },
];

describe("an output that can't be written leaves what was there, and nothing else", () => {
  for (const { name, args, env, prepare, first, firstInodes, pages, isTemporary = false } of COMMANDS) {
    const run = async (disk: Disk): Promise<"failed" | "done"> => {
      const result = await directbootOnDisk(
        folder,
        { ...disk, ...(prepare === undefined ? {} : { prepare }) },
        args,
        env,
      );
      if (result.status === 0) {
        if (isTemporary) assert.equal(result.after, result.before);
        else assert.notEqual(result.after, result.before);
        return "done";
      }
      assert.equal(result.status, 1, result.stderr);
      // boot has said by then what it has loaded.
      const error = result.stderr.split("\n").filter((line) => line.startsWith("directboot:"));
      assertOneLine(`${error.join("\n")}\n`, "OUTPUT_FAILED");
      assert.match(result.stderr, /ENOSPC|EROFS/);
      assert.equal(result.after, result.before);
      return "failed";
    };

    it(`${name}: a disk that is full, at its first page, before its last, and one that is enough`, async () => {
      assert.equal(await run({ options: `size=${first * PAGE}` }), "failed");
      assert.equal(await run({ options: `size=${Math.floor((first + pages) / 3) * PAGE}` }), "failed");
      assert.equal(await run({ options: `size=${pages * PAGE}` }), "done");
    });

    it(`${name}: a disk without a free inode`, async () => {
      assert.equal(await run({ options: `size=64m,nr_inodes=${firstInodes}` }), "failed");
    });

    it(`${name}: a read-only file system`, async () => {
      assert.equal(await run({ options: "size=64m", isReadOnly: true }), "failed");
    });
  }

  it("a limit of file size (RLIMIT_FSIZE)", async () => {
    const size = statSync(join(reference, "memory.bin")).size;
    const temporary = mkdtempSync(join(folder, "tmp-"));
    const { status, stderr } = await runProgram(
      "prlimit",
      [`--fsize=${size - 1}`, "--core=0", "--", process.execPath, CLI, "export", "--out", "out/new"],
      // What Node would write of its coverage is not to be cut off.
      { cwd: temporary, env: { ...process.env, TMPDIR: temporary, NODE_V8_COVERAGE: "" } },
    );
    assert.equal(status, 1, stderr);
    assert.match(stderr, /^directboot: OUTPUT_FAILED: [^\n]+EFBIG[^\n]+$/m);
    assert.deepEqual(contents(temporary), {});
  });

  it("what lies in the way is found before anything is renamed: an export stays what it was", async () => {
    for (const name of ["manifest.json", "memory.bin"]) {
      const out = mkdtempSync(join(folder, "taken-"));
      const other = name === "memory.bin" ? "manifest.json" : "memory.bin";
      mkdirSync(join(out, name));
      writeFileSync(join(out, name, "file"), "mine");
      writeFileSync(join(out, other), readFileSync(join(older, other)));
      const before = contents(out);
      const { status, stderr } = await directboot(["export", "--out", out]);
      assert.equal(status, 1);
      assertOneLine(stderr, "OUTPUT_FAILED");
      assert.ok(stderr.includes(`${join(out, name)} is a folder`), stderr);
      assert.deepEqual(contents(out), before);
    }
  });
});
