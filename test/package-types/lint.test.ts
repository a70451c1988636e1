/** The tarball under publint and "are the types wrong?". */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { publint } from "publint";
import { packTarball } from "../runtimes/support/project.js";
import { runProgram } from "../support/command.js";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const project = join(tempFolder(), "project");
mkdirSync(project);

describe("the tarball", () => {
  it("has nothing that publint finds fault with", async () => {
    const packed = join(project, "packed");
    mkdirSync(packed);
    const { buffer } = Uint8Array.from(readFileSync(packTarball(packed)));
    const { messages } = await publint({ pack: { tarball: buffer }, strict: true });
    assert.deepEqual(messages, []);
  });

  for (const options of [["--exclude-entrypoints", "wasm"], []]) {
    it(`has types that are right for who imports it (attw --profile esm-only ${options.join(" ")})`, async () => {
      const folder = join(project, `attw${options.length}`);
      mkdirSync(folder);
      const attw = inRoot("node_modules/@arethetypeswrong/cli/dist/index.js");
      const args = [attw, packTarball(folder), "--profile", "esm-only", "--format", "ascii", ...options];
      const { status, stdout, stderr } = await runProgram(process.execPath, args);
      assert.equal(status, 0, `${stdout}${stderr}`);
    });
  }
});
