/** The command behind `npm run fuzz`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { hotPaths } from "../../src/wasm/hot-paths.js";
import { describeCoverage, LEAST_BRANCHES, measure } from "./coverage.js";
import { Finding } from "./outcome.js";
import {
  execute,
  keepFailure,
  makeInput,
  readFailure,
  runTarget,
  type TargetReport,
  table,
} from "./runner.js";
import type { Target } from "./target.js";
import { allTargets } from "./targets/index.js";
import { startWatchdog } from "./watchdog.js";

const USAGE = `usage: npm run fuzz -- [--seconds N | --executions N | --short] [--seed S] [--target NAME]… [--hot-paths wasm|javascript]
       npm run fuzz -- --replay FILE
       npm run fuzz -- --coverage [--seed S]
       --seconds    of each target; 10 by default
       --executions of each target
       --short      the run of npm test: executions fixed for each target
       --json       the report as JSON
`;
/** An execution that takes longer has hung. */
const HANG_MILLISECONDS = 30_000;
const DEFAULT_SECONDS = 10;
/** The seed of the short run, and of any other where none is given. */
const DEFAULT_SEED = 1;

function usageError(message: string): never {
  process.stderr.write(`${message}\n${USAGE}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      options: {
        seconds: { type: "string" },
        executions: { type: "string" },
        short: { type: "boolean" },
        seed: { type: "string" },
        target: { type: "string", multiple: true },
        replay: { type: "string" },
        "hot-paths": { type: "string" },
        coverage: { type: "boolean" },
        json: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error));
  }
}

/** A number of 0 or more, of an option. */
function numberFrom(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) usageError(`--${option} takes a number from 0 up, got ${text}`);
  return value;
}

async function replay(path: string, targets: readonly Target[]): Promise<number> {
  const { target: name, seed, index, input } = readFailure(readFileSync(path, "utf8"));
  const target = targets.find((each) => each.name === name);
  if (target === undefined) return usageError(`there is no target ${name}`);
  try {
    const { kind } = await execute(target, input ?? makeInput(target, seed, index));
    process.stdout.write(`${name}: ${kind}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    process.stdout.write(`${name}: ${error.message}\n`);
    return 1;
  }
}

async function main(): Promise<number> {
  const options = parse();
  const { "hot-paths": choice } = options;
  if (choice === "wasm" || choice === "javascript") hotPaths.use(choice);
  else if (choice !== undefined) usageError(`--hot-paths takes wasm or javascript, got ${choice}`);
  if (options.coverage === true) {
    const run = ["--short", "--seed", options.seed ?? `${DEFAULT_SEED}`];
    const coverage = measure(run, join("build", "fuzz", "coverage"));
    process.stderr.write(coverage.stderr);
    process.stdout.write(`${coverage.stdout}\n${describeCoverage(coverage)}\n`);
    return coverage.status === 0 && coverage.branches >= LEAST_BRANCHES ? 0 : 1;
  }
  const targets = allTargets();
  if (options.replay !== undefined) return replay(options.replay, targets);
  const chosen = targets.filter(({ name }) => options.target === undefined || options.target.includes(name));
  const unknown = options.target?.find((name) => targets.every((target) => target.name !== name));
  if (unknown !== undefined) {
    usageError(
      `there is no target ${unknown}; the targets are ${targets.map(({ name }) => name).join(", ")}`,
    );
  }
  const seed = numberFrom(options.seed ?? `${DEFAULT_SEED}`, "seed");
  const seconds = numberFrom(options.seconds ?? `${DEFAULT_SECONDS}`, "seconds");
  const executions =
    options.executions === undefined ? undefined : numberFrom(options.executions, "executions");
  const names = chosen.map(({ name }) => name);
  const watch = startWatchdog(names, seed, HANG_MILLISECONDS);
  const reports: TargetReport[] = [];
  const isJson = options.json === true;
  for (const target of chosen) {
    const count = options.short === true ? target.executions : executions;
    const budget =
      count === undefined ? { until: performance.now() + 1000 * seconds } : { executions: count };
    const report = await runTarget(target, seed, budget, watch.onExecution);
    reports.push(report);
    for (const failure of report.failures) {
      const file = keepFailure(failure);
      process.stderr.write(`${failure.target}: ${failure.message}\n  npm run fuzz -- --replay ${file}\n`);
    }
    if (!isJson && options.short !== true)
      process.stderr.write(`${report.name}: ${report.executions} executions\n`);
  }
  await watch.stop();
  if (isJson) {
    const json = reports.map((report) => ({
      ...report,
      outcomes: Object.fromEntries(report.outcomes),
      failures: report.failures.map(({ message }) => message),
    }));
    process.stdout.write(`${JSON.stringify(json)}\n`);
  } else {
    process.stdout.write(`${table(reports)}\n`);
  }
  return reports.some(({ failed }) => failed > 0) ? 1 : 0;
}

process.exitCode = await main();
