import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ERROR_CODES } from "../../src/index.js";
import { inRoot } from "../support/paths.js";

const page = readFileSync(inRoot("docs/errors.md"), "utf8");

test("docs/errors.md says of each code what the code says (npm run docs:errors makes it)", async () => {
  const script = new URL(`file://${inRoot("scripts/error-table.mjs")}`);
  const made: { errorTable: (codes: typeof ERROR_CODES) => string } = await import(script.href);
  assert.equal(page, made.errorTable(ERROR_CODES));
});

test("every cure tells what to do, and every meaning is one sentence without a full stop", () => {
  for (const [name, { meaning, cure }] of Object.entries(ERROR_CODES)) {
    assert.match(meaning, /^[a-zA-Z][^.]+$/, name);
    assert.match(cure, /^[a-z]/, name);
  }
});
