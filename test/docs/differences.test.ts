/** docs/differences.md against the recorded runs that it names. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DirectBootError, ERROR_CODES } from "../../src/index.js";
import { asArray, asObject, asString, parseJson } from "../conformance/json.js";
import { readOperation } from "../conformance/operations.js";
import { TracingImporter } from "../conformance/tracing-importer.js";
import { inRoot } from "../support/paths.js";

const golden = inRoot("test/golden");
const scratch = mkdtempSync(join(tmpdir(), "directboot-test-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const scenarios = asArray(
  asObject(parseJson(readFileSync(join(golden, "index.json"), "utf8"), "index.json"), "index.json")[
    "scenarios"
  ],
  "scenarios",
).map((scenario) => asObject(scenario, "scenario"));

/** Rows of the tables that name recorded runs. */
const rows = readFileSync(inRoot("docs/differences.md"), "utf8")
  .split("\n")
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .filter((cells) => cells.length === 6 && cells[4] !== "recorded runs" && !cells[1]?.startsWith("---"))
  .map((cells) => ({
    input: cells[1] ?? "",
    code: /`([A-Z0-9_]+)`/.exec(cells[3] ?? "")?.[1] ?? "",
    // Only a foreign importer that has no checkPages sees calls before it refuses one.
    isRefusal: /our own importer/.test(cells[3] ?? ""),
    runs: (cells[4] ?? "").split(", "),
  }));

for (const { input, code, isRefusal, runs } of rows) {
  test(`${code} for ${input}`, () => {
    assert.ok(code in ERROR_CODES);
    for (const id of runs) {
      const scenario = scenarios.find((candidate) => candidate["id"] === id);
      assert.ok(scenario, `there is no recorded run ${id}`);
      const operation = readOperation(asObject(scenario["params"], id), golden, scratch);
      const importer = new TracingImporter(operation.isStrict, operation.failAt);
      assert.throws(
        () => operation.run(importer),
        (error) => error instanceof DirectBootError && error.code === code,
        id,
      );
      if (!isRefusal) assert.deepEqual(importer.calls, [], `${id}: nothing is imported`);
    }
  });
}

test("every recorded run in which upstream panics, overflows or fails silently stands in one row", () => {
  const odd = scenarios
    .filter((scenario) => scenario["skip"] !== true && scenario["fault"] !== "may-throw")
    .filter(
      (scenario) =>
        scenario["outcome"] === "panic" ||
        scenario["checkedExpected"] !== undefined ||
        scenario["fault"] === "must-throw",
    )
    .map((scenario) => asString(scenario["id"], "id"));
  assert.deepEqual(rows.flatMap(({ runs }) => runs).sort(), odd.sort());
});
