import assert from "node:assert/strict";
import { DirectBootError, type DirectBootErrorCode } from "../../src/base/errors.js";

/** A check for `assert.throws`: a DirectBootError with this code, whose message has all of `details`. */
export function refusal(
  code: DirectBootErrorCode,
  ...details: readonly (string | RegExp)[]
): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DirectBootError, `not a DirectBootError: ${describe(error)}`);
    assert.equal(error.code, code, error.message);
    for (const detail of details) {
      if (typeof detail === "string")
        assert.ok(error.message.includes(detail), `${error.message}: ${detail}`);
      else assert.match(error.message, detail);
    }
    return true;
  };
}

/** The same, with what must be at the end of the error's causes: what was thrown first. */
export function refusalBecause(
  code: DirectBootErrorCode,
  cause: unknown,
  ...details: readonly (string | RegExp)[]
): (error: unknown) => boolean {
  return (error) => {
    refusal(code, ...details)(error);
    let first: unknown = error;
    while (first instanceof DirectBootError && first.cause !== undefined) first = first.cause;
    assert.equal(first, cause);
    return true;
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/** The code of the DirectBootError that `act` throws, or "accepted". Anything else that is thrown passes. */
export function outcome(act: () => void): DirectBootErrorCode | "accepted" {
  try {
    act();
    return "accepted";
  } catch (error) {
    if (error instanceof DirectBootError) return error.code;
    throw error;
  }
}
