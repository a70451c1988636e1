/** The shells' completion scripts, in the shells. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { directboot, runProgram } from "../support/command.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

async function scriptOf(shell: string): Promise<string> {
  const { status, stdout, stderr } = await directboot(["completion", shell]);
  assert.equal(status, 0, stderr);
  const path = join(folder, shell);
  writeFileSync(path, stdout);
  return path;
}

describe("bash completes", () => {
  for (const [words, wanted] of [
    [["pl"], "plan"],
    [["e"], "export extract"],
    [["boot", "--mach"], "--machine"],
    [["boot", "--machine", "p"], "pc"],
    [["plan", "--entry", ""], "64 32 pvh"],
    [["extract", "--ma"], "--max-size"],
    [["crc32", "--i"], ""],
  ] as const) {
    test(`directboot ${words.join(" ")}`, async () => {
      const line = ["directboot", ...words].map((word) => `'${word}'`).join(" ");
      const ask = `COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _directboot; echo "\${COMPREPLY[*]}"`;
      const { stdout, stderr } = await runProgram("bash", [
        "-c",
        `source '${await scriptOf("bash")}'; ${ask}`,
      ]);
      assert.deepEqual([stdout, stderr], [`${wanted}\n`, ""]);
    });
  }
});

test("fish completes commands, options and their words", async () => {
  const script = await scriptOf("fish");
  const ask = async (line: string): Promise<string[]> => {
    const { stdout } = await runProgram("fish", ["-c", `source '${script}'; complete -C '${line}'`]);
    return stdout
      .trim()
      .split("\n")
      .map((each) => each.split("\t")[0] ?? "");
  };
  assert.deepEqual(await ask("directboot ins"), ["inspect"]);
  assert.deepEqual(await ask("directboot boot --mach"), ["--machine"]);
  assert.deepEqual((await ask("directboot plan --entry ")).sort(), ["32", "64", "pvh"]);
});

test("zsh takes the script, and knows _directboot as the completion of directboot", async () => {
  const script = await scriptOf("zsh");
  const line = `autoload -Uz compinit; compinit -u -d '${join(folder, "dump")}'; source '${script}'; print $_comps[directboot]`;
  const { status, stdout, stderr } = await runProgram("zsh", ["-f", "-c", line]);
  assert.deepEqual([status, stdout, stderr], [0, "_directboot\n", ""]);
});
