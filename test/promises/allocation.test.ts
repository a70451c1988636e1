/** No allocation is driven by a number in a header: at most 16 MiB beyond the input and guest RAM. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const MIB = 1 << 20;
const RAM = 32 * MIB;

interface Measured {
  readonly found: Readonly<Record<string, number>>;
  readonly leaks: readonly string[];
  readonly grown: number;
  readonly input: number;
}

function isMeasured(value: unknown): value is Measured {
  return (
    typeof value === "object" && value !== null && "found" in value && "leaks" in value && "grown" in value
  );
}

describe("headers that lie about sizes", () => {
  it("have no buffer made that is larger than RAM and 16 MiB, nor does the process grow by more", () => {
    const program = fileURLToPath(new URL("./support/lying-headers.js", import.meta.url));
    // A small young generation: what the engine has not collected yet is not what is measured.
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ["--max-semi-space-size=1", "--max-old-space-size=64", program],
      { encoding: "utf8", maxBuffer: 16 * MIB },
    );
    assert.equal(status, 0, stderr);
    const measured: unknown = JSON.parse(stdout);
    assert.ok(isMeasured(measured));
    assert.deepEqual(measured.leaks, []);
    const tooLarge = Object.entries(measured.found).filter(([, bytes]) => bytes > RAM + 16 * MIB);
    assert.deepEqual(tooLarge, []);
    const most = RAM + measured.input + 16 * MIB;
    assert.ok(measured.grown <= most, `the process grew by ${measured.grown} bytes, ${most} are allowed`);
    assert.ok(Object.keys(measured.found).length > 200);
  });
});
