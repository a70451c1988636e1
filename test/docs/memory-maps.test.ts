import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CLI, inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const script = new URL(`file://${inRoot("scripts/memory-maps.mjs")}`);
const {
  MEMORY_MAPS,
  drawMemoryMaps,
}: {
  MEMORY_MAPS: Readonly<Record<string, unknown>>;
  drawMemoryMaps: (cli: string, folder: string) => void;
} = await import(script.href);

describe("the pictures of docs/", () => {
  const folder = tempFolder();
  const tags = (path: string): string[] => readFileSync(path, "utf8").split(/(?<=>)/);

  it("are what the command draws (npm run docs:map makes them)", () => {
    drawMemoryMaps(CLI, folder);
    for (const name of Object.keys(MEMORY_MAPS)) {
      assert.deepEqual(tags(inRoot(join("docs", name))), tags(join(folder, name)), name);
    }
  });
});
