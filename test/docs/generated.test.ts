/** Files of docs/ that a script makes are up to date. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ERROR_CODES } from "../../src/base/error-codes.js";
import { CLI, inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const scriptOf = (name: string) => import(new URL(`file://${inRoot(`scripts/${name}.mjs`)}`).href);

describe("docs/", () => {
  it("has in errors.md what `npm run docs:errors` writes", async () => {
    const { errorTable } = await scriptOf("error-table");
    assert.equal(readFileSync(inRoot("docs/errors.md"), "utf8"), errorTable(ERROR_CODES));
  });

  it("has the pictures that `npm run docs:map` draws", async () => {
    const { MEMORY_MAPS, drawMemoryMaps } = await scriptOf("memory-maps");
    const folder = tempFolder();
    drawMemoryMaps(CLI, folder);
    for (const name of Object.keys(MEMORY_MAPS)) {
      const drawn = readFileSync(join(folder, name), "utf8");
      assert.equal(readFileSync(inRoot(join("docs", name)), "utf8"), drawn, name);
    }
  });
});
