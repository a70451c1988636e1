/** README's table of features: each line names a test, and that test exists. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { inRoot } from "../support/paths.js";

/** Name of the feature, the file and the name of the test that shows it. */
const ROW = /^\| ([^|]+) \|.*\| \[([^\]]+)\]\((test\/[^)]+\.test\.ts)\): "(.+)" \|$/;

const section = readFileSync(inRoot("README.md"), "utf8").split("## Beside other loaders\n")[1] ?? "";
const lines = section
  .split("\n## ")[0]
  ?.split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| |"));

describe("README's table of features", () => {
  it("has lines", () => assert.ok((lines?.length ?? 0) >= 20));

  for (const line of lines ?? []) {
    const [, feature, label, path, name] = ROW.exec(line) ?? [];
    it(`names for ${feature ?? line} a test that exists`, () => {
      assert.ok(path !== undefined && name !== undefined, line);
      assert.equal(path, `test/${label}.test.ts`);
      const text = readFileSync(inRoot(path), "utf8");
      const isNamed = ['"', "`"].some((quote) =>
        ["it", "test"].some((call) => text.includes(`${call}(${quote}${name}${quote}`)),
      );
      assert.ok(isNamed, `${path} has no test "${name}"`);
    });
  }
});
