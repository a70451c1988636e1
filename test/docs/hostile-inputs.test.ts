/** docs/hostile-inputs.md: each row is a test of that name, and each such test has its row. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ERROR_CODES } from "../../src/base/error-codes.js";
import { inRoot } from "../support/paths.js";

const tests = readFileSync(inRoot("test/placement/hostile-inputs.test.ts"), "utf8");
/** The tests' names with what follows them: the code that is expected, for a refusal. */
const named = new Map(
  [...tests.matchAll(/\b(?:row|it)\(\s*"([^"]+)",\s*(?:"([A-Z0-9_]+)")?/g)].map(([, name = "", code]) => [
    name,
    code,
  ]),
);
const rows = readFileSync(inRoot("docs/hostile-inputs.md"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| input |"))
  .map((line) => line.slice(2, -2).split(" | "));

describe("docs/hostile-inputs.md", () => {
  it("has at least 40 rows, each another", () => {
    assert.ok(rows.length >= 40, `${rows.length} rows`);
    assert.equal(new Set(rows.map(([input]) => input)).size, rows.length);
  });

  it("has as many rows as README says", () => {
    const [, count] = /with (\d+) hostile inputs/.exec(readFileSync(inRoot("README.md"), "utf8")) ?? [];
    assert.equal(Number(count), rows.length);
  });

  it("has a row for each test of hostile inputs", () => {
    const inputs = new Set(rows.map(([input]) => input));
    assert.deepEqual(
      [...named.keys()].filter((name) => !inputs.has(name)),
      [],
    );
  });

  for (const cells of rows) {
    const [input = "", openVmm, linuxLoader, v86, directboot = ""] = cells;
    it(`says of ${input} what a test of that name expects`, () => {
      assert.equal(cells.length, 5);
      for (const cell of [openVmm, linuxLoader, v86]) assert.ok(cell !== undefined && cell !== "");
      assert.ok(named.has(input), `there is no test "${input}"`);
      const [, code] = /^`([A-Z0-9_]+)`/.exec(directboot) ?? [];
      assert.equal(named.get(input), code);
      assert.ok(code === undefined || code in ERROR_CODES);
    });
  }
});
