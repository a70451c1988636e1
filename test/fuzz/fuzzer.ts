/** Runs targets by fast-check, and keeps each input that fails as a file that can be run again. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deserialize, getHeapStatistics, serialize } from "node:v8";
import fc from "fast-check";
import { inRoot } from "../support/paths.js";

/** One thing that is fuzzed. `T` is plain data: bytes, numbers, texts. */
export interface Target<T = unknown> {
  readonly name: string;
  /** Executions of the short run, which is part of the tests. */
  readonly runs: number;
  readonly input: fc.Arbitrary<T>;
  /** Growth of memory of an execution, where the usual limit is too low. */
  readonly mostBytes?: number;
  /** Inputs that run first, unchanged. */
  readonly examples?: readonly T[];
  /** Gives the outcome: "ok", or an error's code. Throws a {@link Finding} for a mistake. */
  readonly run: (input: T) => string | Promise<string>;
}

/** A target by its name: made when it is run, since its seeds come from tools. */
export type Targets = Readonly<Record<string, () => Target>>;

/** Makes a target whose inputs have a type of their own. */
export function target<T>(shape: Target<T>): Target {
  return shape as Target;
}

/** A mistake that an execution has shown. */
export class Finding extends Error {
  override readonly name = "Finding";
}

/** Throws a {@link Finding} unless `condition` holds. */
export function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Finding(message);
}

/** Processor time of an execution; some ms are usual. */
const MOST_MILLISECONDS = 5000;
/** Growth of memory outside of V8's heap: buffers, and WebAssembly memories. */
const MOST_BYTES = 96 << 20;

async function execute<T>({ run, mostBytes = MOST_BYTES }: Target<T>, input: T): Promise<string> {
  const memory = getHeapStatistics().external_memory;
  const start = process.cpuUsage();
  const outcome = await run(input);
  const { user, system } = process.cpuUsage(start);
  expect((user + system) / 1000 <= MOST_MILLISECONDS, `it took ${Math.round((user + system) / 1000)} ms`);
  const grown = getHeapStatistics().external_memory - memory;
  expect(grown <= mostBytes, `memory grew by ${grown} bytes`);
  return outcome;
}

/** When to end. */
export interface Budget {
  readonly runs?: number;
  readonly seconds: number;
}

export interface Report {
  readonly name: string;
  readonly executions: number;
  readonly seconds: number;
  /** How often each outcome was seen. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** The mistake, and the file that holds its input. */
  readonly failure?: { readonly message: string; readonly file: string };
}

export const FAILURES_FOLDER = inRoot("build/fuzz");

/**
 * Runs a target. The same seed gives the same inputs. The input that is running lies in a file, so that one that hangs or
 * ends the process is not lost.
 */
export async function runTarget(
  target: Target,
  seed: number,
  { runs = 2 ** 31 - 1, seconds }: Budget,
  folder = FAILURES_FOLDER,
): Promise<Report> {
  const { name, input, examples = [] } = target;
  mkdirSync(folder, { recursive: true });
  const running = join(folder, `${name}.running`);
  const outcomes: Record<string, number> = {};
  let executions = 0;
  const start = performance.now();
  // Most executions make an error, and its stack is most of its cost.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 4;
  const property = fc.asyncProperty(input, async (value) => {
    writeFileSync(running, serialize({ name, value }));
    const outcome = await execute(target, value);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    executions++;
  });
  const details = await fc.check(property, {
    seed,
    numRuns: Math.min(runs + examples.length, 2 ** 31 - 1),
    examples: examples.map((value): [unknown] => [value]),
    interruptAfterTimeLimit: 1000 * seconds,
  });
  Error.stackTraceLimit = stackTraceLimit;
  rmSync(running, { force: true });
  const report = { name, executions, seconds: (performance.now() - start) / 1000, outcomes };
  const [value] = details.counterexample ?? [];
  if (value === undefined) return report;
  const file = join(folder, `${name}-${seed}.input`);
  writeFileSync(file, serialize({ name, value }));
  const error: unknown = details.errorInstance;
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { ...report, failure: { message, file } };
}

/** Runs the input of a file again; gives its outcome, or throws what it threw. */
export async function replay(targets: Targets, file: string): Promise<string> {
  const { name, value }: { name: string; value: unknown } = deserialize(readFileSync(file));
  const make = targets[name];
  if (make === undefined) throw new Error(`there is no target ${name}`);
  return execute(make(), value);
}
