/** How the tests' coverage is gathered from what their processes wrote. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

interface Coverage {
  readonly gatherCoverage: (from: string, to: string) => void;
}
const { gatherCoverage }: Coverage = await import(`file://${inRoot("scripts/coverage.mjs")}`);

describe("the coverage of the tests' processes", () => {
  it("is that of build/src/, without the files of processes that were killed while they wrote them", () => {
    const from = tempFolder();
    const to = join(tempFolder(), "gathered");
    const kept = { url: "file:///directboot/build/src/index.js", functions: [] };
    const other = { url: "file:///directboot/dist/index.js", functions: [] };
    const whole = JSON.stringify({ result: [kept, other] });
    writeFileSync(join(from, "whole.json"), whole);
    writeFileSync(join(from, "other.json"), JSON.stringify({ result: [other] }));
    writeFileSync(join(from, "cut-off.json"), whole.slice(0, 40));
    writeFileSync(join(from, "empty.json"), "");
    gatherCoverage(from, to);
    assert.deepEqual(readdirSync(to), ["whole.json"]);
    assert.deepEqual(JSON.parse(readFileSync(join(to, "whole.json"), "utf8")), { result: [kept] });
  });
});
