/** The packed package in Node, Bun and Deno: the smoke suite, require(), and the command. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { directboot, runProgram } from "../support/command.js";
import { X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { type RuntimeName, runtimeProgram } from "./support/binaries.js";
import { checkReport } from "./support/expected.js";
import { smokeProject } from "./support/project.js";

const project = join(tempFolder(), "project");
mkdirSync(project);
smokeProject(project);
const files = {
  "smoke-main.js": `import { run } from "./run.js";
console.log(JSON.stringify(await run({ path: ${JSON.stringify(X86_64_GUEST)} })));
`,
  "twins-main.js": `import { hotPaths } from "directboot";
import { decoders } from "directboot/decoders";
import { run } from "./run.js";
hotPaths.use("javascript");
decoders.use("javascript");
console.log(JSON.stringify(await run({ path: ${JSON.stringify(X86_64_GUEST)} })));
`,
  "require.cjs": `const { crc32, loadLinuxSync } = require("directboot");
const { decompress } = require("directboot/decoders");
const guest = loadLinuxSync({ kernel: ${JSON.stringify(X86_64_GUEST)}, memory: 64 << 20 });
console.log(crc32(Buffer.from("123456789")).toString(16), typeof decompress, guest.entryMode);
`,
};
for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);

/** How a file is run: with no permission that is not named. */
const ARGUMENTS: Readonly<Partial<Record<RuntimeName, readonly string[]>>> = {
  Deno: ["run", "--no-prompt", "--no-remote", "--allow-read", "--node-modules-dir=manual"],
};

async function run(runtime: RuntimeName, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runProgram(
    runtimeProgram(runtime),
    [...(ARGUMENTS[runtime] ?? []), ...args],
    { cwd: project },
  );
  assert.equal(status, 0, stderr);
  // Node warns of require() of ESM outside node_modules only; no other warning is ours to make.
  assert.equal(stderr, "");
  return stdout;
}

for (const runtime of ["Node 20.19", "Node 22", "Node 26", "Bun", "Deno"] as const) {
  describe(`${runtime} runs the packed package`, () => {
    it("with WebAssembly", async () => {
      const text = await run(runtime, "smoke-main.js");
      await checkReport(text, { implementation: "wasm", hasPaths: true });
    });

    it("with the twins", async () => {
      const text = await run(runtime, "twins-main.js");
      await checkReport(text, { implementation: "javascript", hasPaths: true });
    });

    it("by require()", async () => {
      assert.equal(await run(runtime, "require.cjs"), "cbf43926 function long64\n");
    });

    it("as the command", async () => {
      const command = join(project, "node_modules/directboot/dist/cli.js");
      for (const args of [
        ["crc32", X86_64_GUEST],
        ["plan", X86_64_GUEST, "--json"],
      ]) {
        const expected = await directboot(args);
        assert.equal(await run(runtime, command, ...args), expected.stdout);
      }
    });
  });
}
