/** Runs targets, counts, and keeps what fails in files that can be run again. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getHeapStatistics } from "node:v8";
import { decodeInput, encodeInput, type FuzzInput } from "./input.js";
import { Finding, type Outcome } from "./outcome.js";
import { Random } from "./random.js";
import type { Target } from "./target.js";

/** What an execution may cost at most. */
export interface Limits {
  readonly milliseconds: number;
  /** Growth of memory outside of V8's heap: buffers, and WebAssembly memories. */
  readonly bytes: number;
}

/** The usual limits: an execution takes some ms, on a machine that others use, too. */
export const LIMITS: Limits = { milliseconds: 5000, bytes: 96 << 20 };

/** A failure: its input gives it again. */
export interface Failure {
  readonly target: string;
  readonly seed: number;
  readonly index: number;
  readonly message: string;
  readonly input: FuzzInput;
}

/** What became of a target. */
export interface TargetReport {
  readonly name: string;
  readonly executions: number;
  readonly seconds: number;
  /** Executions whose input got past identification. */
  readonly identified: number;
  /** How often each outcome was seen. */
  readonly outcomes: ReadonlyMap<string, number>;
  /** One of each kind. */
  readonly failures: readonly Failure[];
  readonly failed: number;
}

/** When to end: after so many executions besides the corpus (or at the first failure), or at a time. */
export type Budget =
  | { readonly executions: number; readonly isFirstEnough?: boolean }
  | { readonly until: number };

/** Failures of a target that are kept. */
const MOST_KEPT = 12;

/** The input of an execution: the same for the same seed, target and number. */
export function makeInput(target: Target, seed: number, index: number): FuzzInput {
  const fixed = target.corpus?.()[index];
  if (fixed !== undefined) return fixed;
  return target.make(new Random(`${seed} ${target.name} ${index}`));
}

/** Runs once. Throws a Finding for a mistake, also for one of the harness. */
export async function execute(target: Target, input: FuzzInput, limits: Limits = LIMITS): Promise<Outcome> {
  const memory = getHeapStatistics().external_memory;
  const start = process.cpuUsage();
  let outcome: Outcome;
  try {
    const running = target.run(input);
    // Most are done at once: a turn for each of them would cost more than they do.
    outcome = running instanceof Promise ? await running : running;
  } catch (error) {
    if (error instanceof Finding) throw error;
    throw new Finding(`escaped: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  // Processor time: on a busy machine anything takes long. What waits for ever is the watchdog's.
  const { user, system } = process.cpuUsage(start);
  const milliseconds = (user + system) / 1000;
  const grown = getHeapStatistics().external_memory - memory;
  if (milliseconds > limits.milliseconds) throw new Finding(`it took ${Math.round(milliseconds)} ms`);
  if (grown > Math.max(limits.bytes, target.mostGrowth ?? 0))
    throw new Finding(`memory grew by ${grown} bytes`);
  return outcome;
}

/** What two failures of the same mistake have in common. */
function kindOf(message: string): string {
  const lines = message.split("\n").slice(0, 3).join("\n");
  return lines.replace(/0x[0-9a-f]+|[0-9]+|[A-Za-z0-9+/]{20,}=*/g, "#").slice(0, 400);
}

/** Runs a failed input again, with a stack to read; the first message where it does not fail again. */
async function withStack(target: Target, input: FuzzInput, message: string): Promise<string> {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 20;
  try {
    await execute(target, input, { milliseconds: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY });
  } catch (error) {
    if (error instanceof Finding) return error.message;
  } finally {
    Error.stackTraceLimit = limit;
  }
  return `${message} (not when it was run again)`;
}

/** Called before each execution, with its target and number. */
export type OnExecution = (target: string, index: number) => void;

export async function runTarget(
  target: Target,
  seed: number,
  budget: Budget,
  onExecution: OnExecution = () => {},
  limits: Limits = LIMITS,
): Promise<TargetReport> {
  const outcomes = new Map<string, number>();
  const kinds = new Map<string, Failure>();
  let failed = 0;
  let identified = 0;
  let executions = 0;
  const corpusSize = target.corpus?.().length ?? 0;
  const stackTraceLimit = Error.stackTraceLimit;
  // Most executions make an error, and most of its cost is its stack.
  Error.stackTraceLimit = 2;
  const start = performance.now();
  const isOver = (): boolean => {
    if ("until" in budget) return executions % 16 === 0 && performance.now() >= budget.until;
    if (budget.isFirstEnough === true && failed > 0) return true;
    return executions >= budget.executions + corpusSize;
  };
  for (; !isOver(); executions++) {
    const index = executions;
    onExecution(target.name, index);
    const input = makeInput(target, seed, index);
    try {
      const { kind, isIdentified } = await execute(target, input, limits);
      outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
      if (isIdentified) identified++;
    } catch (error) {
      if (!(error instanceof Finding)) throw error;
      failed++;
      const kind = kindOf(error.message);
      if (!kinds.has(kind) && kinds.size < MOST_KEPT) {
        const message = await withStack(target, input, error.message);
        kinds.set(kind, { target: target.name, seed, index, message, input });
      }
    }
    // Timers and streams of the platform get a turn now and then.
    if (executions % 256 === 255) await new Promise((resolve) => setImmediate(resolve));
  }
  Error.stackTraceLimit = stackTraceLimit;
  const seconds = (performance.now() - start) / 1000;
  const failures = [...kinds.values()];
  return { name: target.name, executions, seconds, identified, outcomes, failures, failed };
}

/** Where failures are kept. */
export const FAILURES_FOLDER = join("build", "fuzz");

/** Writes a failure as JSON, and its bytes beside it. Gives the JSON's path. */
export function keepFailure(failure: Failure, folder = FAILURES_FOLDER): string {
  mkdirSync(folder, { recursive: true });
  const { target, seed, index, message, input } = failure;
  const base = join(folder, `${target}-${seed}-${index}`);
  const json = { target, seed, index, message, input: encodeInput(input) };
  writeFileSync(`${base}.json`, `${JSON.stringify(json, null, 1)}\n`);
  for (const [name, value] of Object.entries(input)) {
    if (value instanceof Uint8Array) writeFileSync(`${base}.${name}.bin`, value);
  }
  return `${base}.json`;
}

/** What a kept file says; one of a hang has no input, which is made again. */
export function readFailure(text: string): {
  target: string;
  seed: number;
  index: number;
  input: FuzzInput | undefined;
} {
  const { target, seed, index, input } = JSON.parse(text);
  if (typeof target !== "string" || typeof seed !== "number" || typeof index !== "number") {
    throw new TypeError("the file holds no failure");
  }
  return { target, seed, index, input: input === undefined ? undefined : decodeInput(input) };
}

/** A line for each target, and one for all. */
export function table(reports: readonly TargetReport[]): string {
  const rows = [
    ["target", "executions", "per second", "outcomes", "identified", "failures"],
    ...reports.map(({ name, executions, seconds, identified, outcomes, failed }) => [
      name,
      `${executions}`,
      `${Math.round(executions / seconds)}`,
      `${outcomes.size}`,
      `${((100 * identified) / executions).toFixed(1)} %`,
      `${failed}`,
    ]),
  ];
  const total = (key: "executions" | "seconds" | "identified" | "failed"): number =>
    reports.reduce((sum, report) => sum + report[key], 0);
  rows.push([
    "all",
    `${total("executions")}`,
    `${Math.round(total("executions") / total("seconds"))}`,
    `${reports.reduce((sum, { outcomes }) => sum + outcomes.size, 0)}`,
    `${((100 * total("identified")) / total("executions")).toFixed(1)} %`,
    `${total("failed")}`,
  ]);
  return rows
    .map(([name = "", ...cells]) => `${name.padEnd(14)}${cells.map((cell) => cell.padStart(12)).join("")}`)
    .join("\n");
}
