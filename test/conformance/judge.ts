/** The README's "What must agree (the first row that fits decides)". */
import { DirectBootError } from "../../src/index.js";
import { expectedCode, IMPORTER_CODES, variantChain } from "./codes.js";
import {
  compare,
  compareCalls,
  compareCallsPrefix,
  compareResult,
  type Deviation,
  describeThrown,
} from "./compare.js";
import type { Expectation } from "./expectation.js";
import type { JsonObject, JsonValue } from "./json.js";
import { memoryOf, memoryToJson, repeatInGuestMemory } from "./memory.js";
import type { Operation } from "./operations.js";
import { TracingImporter } from "./tracing-importer.js";

/** Marks of ours on a scenario. */
export type Fault = "must-throw" | "may-throw";

/** What decides of a scenario. */
export interface Terms {
  readonly expected: Expectation;
  readonly fault: Fault | undefined;
  /** Upstream overflowed: its two builds disagree. */
  readonly isOverflow: boolean;
}

/** A scenario that was run once. */
interface Execution {
  readonly importer: TracingImporter;
  readonly result: JsonValue;
  /** What was thrown; undefined if nothing was. */
  readonly thrown: { readonly error: unknown } | undefined;
}

function execute(operation: Operation, failAt: bigint | undefined): Execution {
  const importer = new TracingImporter(operation.isStrict, failAt);
  try {
    return { importer, result: operation.run(importer), thrown: undefined };
  } catch (error) {
    return { importer, result: null, thrown: { error } };
  }
}

/** What upstream did, for a message. */
function describeOutcome({ outcome }: Expectation): string {
  switch (outcome.kind) {
    case "ok":
      return "success";
    case "panic":
      return `a panic (${outcome.message})`;
    case "error":
      return `an error (${variantChain(outcome.error)})`;
  }
}

/** Any typed error will do. */
function judgeThrown(terms: Terms, { importer, thrown, result }: Execution, why: string): Deviation[] {
  const { expected } = terms;
  const prefix = compareCallsPrefix(expected.calls, importer.calls);
  if (thrown !== undefined) return prefix;
  const deviation = {
    where: "error",
    expected: `a DirectBootError: ${why}`,
    got: `the result ${JSON.stringify(result)}`,
  };
  return [deviation, ...prefix];
}

/** The same calls, result and memory as upstream. */
function judgeOk(expected: Expectation, { importer, thrown, result }: Execution): Deviation[] {
  if (thrown !== undefined) {
    return [{ where: "error", expected: describeOutcome(expected), got: describeThrown(thrown.error) }];
  }
  const found = [...compareCalls(expected.calls, importer.calls), ...compareResult(expected, result)];
  if (expected.memory === undefined) return found;
  const memory = memoryOf(importer);
  if (memory !== undefined) return [...found, ...compare("memory", memoryToJson(expected.memory), memory)];
  return [...found, { where: "memory", expected: "at most 32768 pages", got: "more" }];
}

/** True if `error` is what the importer threw, wrapped. */
function wrapsRefusal(error: DirectBootError, { refusal }: TracingImporter): boolean {
  return refusal !== undefined && IMPORTER_CODES.has(error.code) && error.cause === refusal;
}

/**
 * An injected failure and an error of the plan compete, when directboot finds the plan's error before it has
 * called the importer as often as upstream. Which error that is, the same load without the injection says: golden's
 * own twin of the scenario where it has one, else directboot's.
 */
function isErrorOfPlan(
  operation: Operation,
  error: DirectBootError,
  importer: TracingImporter,
  twin: Terms | undefined,
): boolean {
  if (operation.failAt === undefined || importer.refusal !== undefined) return false;
  const uninjected = execute(operation, undefined);
  const thrown = uninjected.thrown?.error;
  if (!(thrown instanceof DirectBootError) || thrown.code !== error.code) return false;
  if (uninjected.importer.refusal !== undefined) return false;
  return twin === undefined || judge(operation, twin, uninjected, undefined).length === 0;
}

/** The error whose code the variant chain maps to. */
function judgeError(
  operation: Operation,
  terms: Terms,
  upstream: JsonObject,
  execution: Execution,
  twin: Terms | undefined,
): Deviation[] {
  const { expected } = terms;
  const { importer, thrown } = execution;
  const code = expectedCode(operation.op, upstream);
  const deviates = (got: string): Deviation => ({
    where: "error",
    expected:
      code === undefined
        ? `a code for ${variantChain(upstream)}, which the table lacks`
        : `${code}: ${describeOutcome(expected)}`,
    got,
  });
  if (thrown === undefined) return judgeThrown(terms, execution, deviates("").expected);
  const { error } = thrown;
  const prefix = compareCallsPrefix(expected.calls, importer.calls);
  // The default of the table: a variant that it does not hold fails the scenario, whatever is thrown.
  if (code === undefined || !(error instanceof DirectBootError)) {
    return [deviates(describeThrown(error)), ...prefix];
  }
  if (error.code === code) {
    const { refusal } = importer;
    // An error of the importer is one that it threw, and is there as the cause.
    const isFaithful = refusal === undefined ? !IMPORTER_CODES.has(code) : error.cause === refusal;
    if (isFaithful) return prefix;
    const said = refusal === undefined ? "though it threw nothing" : refusal.message;
    return [
      {
        where: "error.cause",
        expected: `what the importer threw (${said})`,
        got: describeThrown(error.cause),
      },
      ...prefix,
    ];
  }
  // A refusal is the importer's, through whichever of the two codes it comes.
  if (operation.isStrict && IMPORTER_CODES.has(code) && wrapsRefusal(error, importer)) return prefix;
  // The injected failure came first here, the plan's error upstream, or the other way round.
  if (operation.failAt !== undefined && !IMPORTER_CODES.has(code) && wrapsRefusal(error, importer))
    return prefix;
  if (IMPORTER_CODES.has(code) && isErrorOfPlan(operation, error, importer, twin)) return prefix;
  return [deviates(describeThrown(error)), ...prefix];
}

function judge(
  operation: Operation,
  terms: Terms,
  execution: Execution,
  twin: Terms | undefined,
): Deviation[] {
  const { expected, fault, isOverflow } = terms;
  const { thrown } = execution;
  if (thrown !== undefined && !(thrown.error instanceof DirectBootError)) {
    const got = describeThrown(thrown.error);
    return [{ where: "error", expected: "a result or a DirectBootError", got: `${got}, which is none` }];
  }
  if (fault === "must-throw") return judgeThrown(terms, execution, "marked must-throw");
  if (fault === "may-throw" && thrown !== undefined) return judgeThrown(terms, execution, "marked may-throw");
  // Marked may-throw, and nothing was thrown: it must agree with what upstream's release build did.
  if (isOverflow && fault === undefined) return judgeThrown(terms, execution, "upstream overflowed");
  switch (expected.outcome.kind) {
    case "panic":
      return judgeThrown(terms, execution, describeOutcome(expected));
    case "error":
      return judgeError(operation, terms, expected.outcome.error, execution, twin);
    case "ok":
      return judgeOk(expected, execution);
  }
}

/**
 * Runs a scenario and compares it with what upstream did.
 *
 * @param twin what golden says of the same scenario without `fail_at`, if it has that
 */
export function judgeOperation(operation: Operation, terms: Terms, twin: Terms | undefined): Deviation[] {
  const found = judge(operation, terms, execute(operation, operation.failAt), twin);
  const { expected, fault, isOverflow } = terms;
  if (expected.outcome.kind !== "ok" || fault !== undefined || isOverflow) return found;
  return [...found, ...repeatInGuestMemory(operation.run, expected)];
}
