/** docs/guide/performance.md has no figures of its own: each stands in bench/README.md, which the benchmarks print. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { inRoot } from "../support/paths.js";

/** The rows of a page's tables, each as its cells that hold something. */
function rowsOf(path: string): string[][] {
  return readFileSync(inRoot(path), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("|") && !/^\|[-:| ]+\|$/.test(line))
    .map((line) =>
      line
        .split("|")
        .map((cell) => cell.trim())
        .filter((cell) => cell !== ""),
    );
}

const FIGURE = /^(?:\+ )?\d[\d.]* (?:[nµm]?s|GB\/s|MiB|×)$/;

describe("docs/guide/performance.md", () => {
  const measured = rowsOf("bench/README.md");
  const quoted = rowsOf("docs/guide/performance.md").filter((cells) =>
    cells.some((cell) => FIGURE.test(cell)),
  );

  it("quotes rows of bench/README.md", () => assert.ok(quoted.length >= 20));

  for (const cells of quoted) {
    it(`quotes as it stands: ${cells.join(", ")}`, () => {
      assert.ok(
        measured.some((row) => cells.every((cell) => row.includes(cell))),
        "bench/README.md has no such row: take the figures of its last run",
      );
    });
  }

  it("has no figures outside of its tables", () => {
    const prose = readFileSync(inRoot("docs/guide/performance.md"), "utf8").replace(/^\|.*$/gm, "");
    assert.deepEqual(prose.match(/\b\d+(?:\.\d+)? ?(?:ns|µs|ms|GB\/s|×)/g) ?? [], []);
  });
});
