/** Deviations: where something differs from what is expected, in words. */
import { DirectBootError } from "../../src/index.js";
import type { Expectation } from "./expectation.js";
import { differences, type JsonValue, show } from "./json.js";

/** One deviation of a scenario. */
export interface Deviation {
  /** "call 3.sha256", "result.kernel.gpa", "error" */
  readonly where: string;
  readonly expected: string;
  readonly got: string;
}

/** All places where `got` differs from `expected`. */
export function compare(
  where: string,
  expected: JsonValue | undefined,
  got: JsonValue | undefined,
): Deviation[] {
  return differences(expected, got).map((difference) => ({
    where: where + difference.path,
    expected: show(difference.expected),
    got: show(difference.got),
  }));
}

/** The calls that were made are the first of upstream's. */
export function compareCallsPrefix(expected: readonly JsonValue[], got: readonly JsonValue[]): Deviation[] {
  return got.flatMap((call, i) =>
    i < expected.length
      ? compare(`call ${i}`, expected[i], call)
      : [{ where: `call ${i}`, expected: `at most ${expected.length} calls`, got: show(call) }],
  );
}

/** The same calls in the same order. */
export function compareCalls(expected: readonly JsonValue[], got: readonly JsonValue[]): Deviation[] {
  const missing = expected.slice(got.length).map((call, i) => ({
    where: `call ${got.length + i}`,
    expected: show(call),
    got: "no such call",
  }));
  return [...compareCallsPrefix(expected, got), ...missing];
}

/** The same result, where upstream has one. */
export function compareResult({ outcome }: Expectation, got: JsonValue): Deviation[] {
  return outcome.kind === "ok" ? compare("result", outcome.result, got) : [];
}

/** What was thrown, for a message. */
export function describeThrown(thrown: unknown): string {
  if (thrown instanceof DirectBootError) return `${thrown.code} (${thrown.message})`;
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : `a thrown ${typeof thrown}`;
}
