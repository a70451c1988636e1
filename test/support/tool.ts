import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";

/** Runs a program that a test needs; a missing one is a failure that names its Debian package. */
export function runTool(debianPackage: string, tool: string, args: readonly string[]): string {
  const result = spawnSync(tool, args, { encoding: "utf8", timeout: 120_000, maxBuffer: 64 << 20 });
  if (result.error !== undefined) {
    throw new Error(`${tool} can't be run: apt-get install ${debianPackage}`, { cause: result.error });
  }
  assert.equal(result.status, 0, `${tool} ${args.join(" ")}: ${result.stderr}`);
  return result.stdout;
}
