/** Files of docs/ that a script makes are up to date. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ERROR_CODES } from "../../src/base/error-codes.js";
import { inRoot } from "../support/paths.js";

const scriptOf = (name: string) => import(new URL(`file://${inRoot(`scripts/${name}.mjs`)}`).href);

describe("docs/", () => {
  it("has in errors.md what `npm run docs:errors` writes", async () => {
    const { errorTable } = await scriptOf("error-table");
    assert.equal(readFileSync(inRoot("docs/errors.md"), "utf8"), errorTable(ERROR_CODES));
  });
});
