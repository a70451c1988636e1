import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runProgram } from "../support/command.js";
import { AARCH64_GUEST, inRoot, X86_64_GUEST } from "../support/paths.js";

for (const [name, script, binary] of [
  ["x86_64", "guests/x86_64/build.sh", X86_64_GUEST],
  ["aarch64", "guests/aarch64/build.sh", AARCH64_GUEST],
] as const) {
  test(`the embedded ${name} guest is what binutils make of its source`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "directboot-guest-"));
    try {
      const rebuilt = join(folder, name);
      const { status, stderr } = await runProgram("sh", [inRoot(script), rebuilt]);
      assert.equal(status, 0, stderr);
      assert.deepEqual(readFileSync(rebuilt), readFileSync(binary));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
