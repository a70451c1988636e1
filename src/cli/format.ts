/** Text output of the commands. */
import { hex } from "../base/address.js";
import type { ImportedRegion } from "../importers/guest-memory-importer.js";
import type { VpRegister } from "../importers/importer.js";
import { formatAddress, formatSize } from "../inspect/sizes.js";

/** Prints a result as JSON. */
export function printJson(result: unknown): void {
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}

/** Milliseconds with one decimal, with two below 10. */
export function formatMilliseconds(milliseconds: number): string {
  return milliseconds < 10 ? `${milliseconds.toFixed(2)} ms` : `${milliseconds.toFixed(1)} ms`;
}

/** Rows with aligned columns, and no spaces at the end. */
export function formatTable(rows: readonly (readonly string[])[], indent = "  "): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return rows.map((row) => (indent + line(row)).trimEnd()).join("\n");
}

/** The regions, lowest first: from, to, size, tag. */
export function formatRegions(regions: readonly Pick<ImportedRegion, "range" | "tag">[]): string {
  const sorted = [...regions].sort((a, b) => (a.range.start < b.range.start ? -1 : 1));
  return formatTable(
    sorted.map(({ range, tag }) => [
      `${formatAddress(range.start)}-${formatAddress(range.end)}`,
      formatSize(range.length),
      tag,
    ]),
  );
}

/** The registers: name and value. */
export function formatRegisters(registers: readonly VpRegister[]): string {
  return formatTable(
    registers.map(({ name, value }) => [
      name,
      typeof value === "bigint"
        ? hex(value)
        : Object.entries(value)
            .map(([field, number]: [string, number | bigint]) => `${field} ${hex(number)}`)
            .join(", "),
    ]),
  );
}
