/** Results as text and as Markdown. */
import { cpus, release, totalmem } from "node:os";
import { isMissed, meets, type Verdict } from "./gates.js";
import type { Row, Suite } from "./harness.js";
import { GIB, MIB } from "./image.js";

/** The processor's name. */
export function processorName(): string {
  return cpus()[0]?.model.trim() ?? "unknown CPU";
}

/** The machine, without which a result is worth nothing. */
export function machine(): string {
  const all = cpus();
  const model = processorName();
  const { node, v8 } = process.versions;
  const ram = Math.round(totalmem() / GIB);
  return `${all.length} × ${model}, ${ram} GiB RAM, ${process.platform} ${release()}, Node ${node} (V8 ${v8})`;
}

export function formatTime(ns: number): string {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(2)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(ns >= 1e8 ? 0 : 1)} ms`;
  if (ns >= 1e3) return `${(ns / 1e3).toFixed(ns >= 1e5 ? 0 : 1)} µs`;
  return `${ns.toFixed(ns >= 100 ? 0 : 1)} ns`;
}

function cells(suite: Suite, rows: readonly Row[]): string[][] {
  return rows.map((row, index) => {
    if (row.bytes !== undefined) return [row.size, row.name, `${(row.bytes / MIB).toFixed(1)} MiB`, "", ""];
    const speed = row.bytesPerSecond > 0 ? `${(row.bytesPerSecond / 1e9).toFixed(2)} GB/s` : "";
    return [row.size, row.name, formatTime(row.nsPerOp), speed, comparison(suite, rows, index)];
  });
}

/** The last column: how the row stands to the others of its case, which are those that it has a ratio to. */
function comparison({ baseline, ours }: Suite, rows: readonly Row[], index: number): string {
  const row = rows[index];
  if (row === undefined || row.name === baseline) return "";
  const inCase = (name: string, size: string): boolean => size === row.size && name in row.ratioTo;
  if (baseline !== undefined) {
    const base = rows.find(({ name, size }) => name === baseline && inCase(name, size));
    const ratio = row.ratioTo[baseline];
    if (base === undefined || ratio === undefined) return "";
    // As the gates have it: of the ratio within each round, not of medians of different rounds.
    const beyond = (1 / ratio - 1) * base.nsPerOp;
    return `${beyond < 0 ? "−" : "+"} ${formatTime(Math.abs(beyond))}`;
  }
  // The first of ours in the case is what the others face.
  const first = rows.slice(0, index).find(({ name, size }) => ours.includes(name) && inCase(name, size));
  const theirs = first === undefined ? undefined : row.ratioTo[first.name];
  return theirs === undefined ? "" : `${(1 / theirs).toFixed(2)} ×`;
}

function headOf({ baseline }: Suite): readonly string[] {
  const last = baseline === undefined ? "directboot is faster by" : `over ${baseline}`;
  return ["size", "contender", "median time", "throughput", last];
}
export function asText(suite: Suite, rows: readonly Row[]): string {
  const isMemory = rows.some(({ bytes }) => bytes !== undefined);
  const head = isMemory ? ["size", "process", "memory", "", ""] : headOf(suite);
  const lines = [head, ...cells(suite, rows)];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  const notes = suite.notes.map((note) => `not measured: ${note}\n`).join("");
  return `\n${suite.name}: ${suite.about}\n  ${text.join("\n  ")}\n${notes}`;
}

export function asMarkdown(suite: Suite, rows: readonly Row[]): string {
  const isMemory = rows.some(({ bytes }) => bytes !== undefined);
  const columns = isMemory ? 3 : 5;
  const head = isMemory ? ["size", "process", "memory"] : headOf(suite);
  const line = (row: readonly string[]): string => `| ${row.slice(0, columns).join(" | ")} |`;
  const rule = `|${head.map((_, column) => (column < 2 ? "---" : "--:")).join("|")}|`;
  const notes = suite.notes.map((note) => `\nNot measured: ${note}.\n`).join("");
  return `\n### ${suite.name}\n\n${suite.about}\n\n${line(head)}\n${rule}\n${cells(suite, rows).map(line).join("\n")}\n${notes}`;
}

function limit({ gate }: Verdict, value: number): string {
  const sign = gate.sense === "at least" ? "≥" : "≤";
  return `${sign} ${value}${gate.unit === "×" ? "" : ` ${gate.unit}`}`;
}

/** One line a gate. */
export function verdictLine(verdict: Verdict): string {
  const { gate, measured } = verdict;
  const isMet = meets(gate, gate.gate, measured);
  const word = measured === undefined ? "NONE" : isMet ? "ok" : isMissed(verdict) ? "MISS" : "n/a";
  const value =
    measured === undefined
      ? "not measured"
      : `${measured.toFixed(2)}${gate.unit === "×" ? "" : ` ${gate.unit}`}`;
  const excuse = isMet || verdict.excuse === undefined ? "" : `  not judged here: ${verdict.excuse}`;
  const short = isMet && !meets(gate, gate.target, measured) ? "  short of the target" : "";
  const limits = `target ${limit(verdict, gate.target)}, gate ${limit(verdict, gate.gate)}`;
  return `${word.padEnd(4)}  ${gate.suite}: ${gate.what}: ${value} (${limits})${short}${excuse}`;
}
