/**
 * Small inputs out of public bug reports of other loaders and emulators. Each folder's README says what is right and
 * where that comes from, `make.py` makes the inputs, `check.sh` runs the packed command and package on them.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { runProgram } from "../support/command.js";
import { inRoot, PACKED_CLI } from "../support/paths.js";

const CASES = inRoot("test/cases");

for (const entry of readdirSync(CASES, { withFileTypes: true })) {
  if (!entry.isDirectory()) continue;
  test(`case ${entry.name.replaceAll("-", " ")}`, async () => {
    const { status, stdout, stderr } = await runProgram("bash", [
      `${CASES}/${entry.name}/check.sh`,
      PACKED_CLI,
    ]);
    assert.equal(status, 0, `${stdout}${stderr}`);
  });
}
