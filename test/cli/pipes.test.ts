/** Inputs that are no files: pipes, a shell's process substitution, standard input. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { type CommandResult, runProgram } from "../support/command.js";
import { CLI, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();
const initrd = join(folder, "initrd");
writeFileSync(initrd, new Uint8Array(300_000).fill(7));

/** Runs a line of bash in which `D` is the command. */
function bash(line: string): Promise<CommandResult> {
  const define = `D() { '${process.execPath}' '${CLI}' "$@"; }; G='${X86_64_GUEST}'; I='${initrd}'`;
  return runProgram("bash", ["-c", `set -o pipefail; ${define}; ${line}`], { cwd: folder });
}

async function outputOf(line: string): Promise<string> {
  const { status, stdout, stderr } = await bash(line);
  assert.equal(status, 0, stderr);
  return stdout;
}

describe("gives what the file gives", () => {
  for (const [name, piped, file] of [
    ["a kernel from standard input", 'cat "$G" | D plan -', 'D plan "$G"'],
    ["a kernel from /dev/stdin", 'cat "$G" | D plan /dev/stdin', 'D plan "$G"'],
    ["a kernel from a process substitution", 'D plan <(cat "$G")', 'D plan "$G"'],
    ["a file as standard input", 'D plan - < "$G"', 'D plan "$G"'],
    ["an initrd from a pipe", 'D plan "$G" --initrd <(cat "$I")', 'D plan "$G" --initrd "$I"'],
    [
      "several initrds, some from pipes",
      'cat "$I" | D plan "$G" --initrd - --initrd "$I" --initrd <(cat "$I")',
      'D plan "$G" --initrd "$I" --initrd "$I" --initrd "$I"',
    ],
    ["a compressed kernel from a pipe, of map", 'gzip -c "$G" | D map -', 'D map "$G"'],
    [
      "a seed from a pipe",
      'D plan "$G" --rng-seed <(printf seed)',
      "D plan \"$G\" --rng-seed <(printf 'seed')",
    ],
  ] as const) {
    test(name, async () => {
      assert.equal(await outputOf(piped), await outputOf(file));
    });
  }

  test("extract", async () => {
    await outputOf('gzip -c "$G" | D extract - -o from-pipe');
    assert.deepEqual(readFileSync(join(folder, "from-pipe")), readFileSync(X86_64_GUEST));
  });

  test("inspect", async () => {
    assert.match(
      await outputOf('gzip -c "$G" | D inspect - --unpack'),
      /the kernel inside: a 64-bit ELF file/,
    );
  });

  test("crc32", async () => {
    const crc = crc32(readFileSync(initrd)).toString(16).padStart(8, "0");
    assert.equal(await outputOf('cat "$I" | D crc32 -'), `${crc}  -\n`);
  });
});

describe("names what is wrong with it", () => {
  for (const [name, line, said] of [
    ["a pipe without a byte, for the initrd", 'D plan "$G" --initrd <(true)', /SOURCE_EMPTY/],
    ["a pipe without a byte, for the kernel", "D plan <(true)", /directboot: [A-Z_]+: .*0 bytes/],
    ["a folder", "D plan .", /SOURCE_NOT_FOUND: \. /],
    ["a seed that does not end", 'D plan "$G" --rng-seed <(cat /dev/zero)', /SOURCE_TOO_LARGE/],
  ] as const) {
    test(name, async () => {
      const { status, stderr } = await bash(line);
      assert.equal(status, 1, stderr);
      assert.match(stderr, said);
    });
  }
});
