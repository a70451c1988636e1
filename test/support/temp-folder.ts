import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** A folder of its own for the tests of a file, removed after them. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
