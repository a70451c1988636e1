/** Tables through ACPICA's own disassembler and compiler. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

function iasl(folder: string, ...args: readonly string[]): string {
  const result = spawnSync("iasl", args, { cwd: folder, encoding: "utf8", timeout: 60_000 });
  if (result.error !== undefined) {
    throw new Error("iasl can't be run: apt-get install acpica-tools", { cause: result.error });
  }
  const text = `${result.stdout}${result.stderr}`;
  assert.equal(result.status, 0, text);
  return text;
}

/** A table as iasl's text. One of ours that it warns of, or finds an error in, is a failure. */
export function disassemble(
  folder: string,
  signature: string,
  bytes: Uint8Array,
  { isOurs = true }: { isOurs?: boolean } = {},
): string {
  const here = mkdtempSync(join(folder, `${signature}-`));
  writeFileSync(join(here, "table.dat"), bytes);
  const said = iasl(here, "-d", "table.dat");
  const text = readFileSync(join(here, "table.dsl"), "utf8");
  if (!isOurs) return text;
  assert.doesNotMatch(said, /error|warning|invalid/i, said);
  assert.doesNotMatch(text, /\*\*\*\*|invalid|error:/i);
  return text;
}

/** The bytes that a table's text compiles to, as it stands, without optimizations. */
export function compile(folder: string, text: string): Uint8Array {
  const here = mkdtempSync(join(folder, "asl-"));
  writeFileSync(join(here, "table.dsl"), text);
  const said = iasl(here, "-oa", "-p", "table", "table.dsl");
  assert.match(said, /0 Errors, 0 Warnings/, said);
  return readFileSync(join(here, "table.aml"));
}
