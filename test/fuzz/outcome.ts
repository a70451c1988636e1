/** What an execution came to, and what counts as a failure. */
import { createHash } from "node:crypto";
import { DirectBootError } from "../../src/base/errors.js";

/** What is told of an execution that went as it should. */
export interface Outcome {
  /** An error's code, or what kind of success it was: few words, the same for inputs that are alike. */
  readonly kind: string;
  /** True if the input was taken for what it should be: the magic numbers were right. */
  readonly isIdentified: boolean;
}

/** A mistake that an execution has shown. */
export class Finding extends Error {
  override readonly name = "Finding";
}

/** Throws a {@link Finding} unless `condition` holds. */
export function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Finding(what);
}

/** What engines say when code goes wrong; a TypeError for a wrong argument says so in words of its own. */
const ENGINE_MESSAGE =
  /^(Cannot (read|set|convert|mix|destructure|access|assign|perform|redefine|add|delete)|.* is not (a function|iterable|a constructor|defined|an object)|.* is not extensible|Invalid (typed array|array|offset|DataView)|Offset is outside|Reduce of empty array|Do not know how to serialize|Converting circular|Right-hand side|.* (called on|requires that)|The number .* cannot be converted|Class constructor|undefined|null)/;

/** A result, or the error that was thrown. */
export interface Observed {
  /** "ok", or the error's code; "TypeError" for a wrong argument. */
  readonly code: string;
  /** The result as text; the message of an error. */
  readonly detail: string;
  /** The result itself. */
  readonly value?: unknown;
}

/** Which errors may come out of what is executed, besides DirectBootError. */
export interface Allowed {
  /** TypeErrors in our own words: the input has arguments of wrong types. */
  readonly typeErrors?: boolean;
}

function observeError(error: unknown, allowed: Allowed): Observed {
  if (error instanceof DirectBootError) return { code: error.code, detail: error.message };
  if (error instanceof Finding) throw error;
  if (allowed.typeErrors === true && error instanceof TypeError && !ENGINE_MESSAGE.test(error.message)) {
    return { code: "TypeError", detail: error.message };
  }
  const said = error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error);
  throw new Finding(`escaped: ${said}`);
}

/** Runs `act`. Throws a {@link Finding} for an error that must not escape. */
export function observe(act: () => unknown, allowed: Allowed = {}): Observed {
  let value: unknown;
  try {
    value = act();
  } catch (error) {
    return observeError(error, allowed);
  }
  return { code: "ok", detail: describe(value), value };
}

/** The asynchronous {@link observe}. */
export async function observeAsync(act: () => Promise<unknown>, allowed: Allowed = {}): Promise<Observed> {
  let value: unknown;
  try {
    value = await act();
  } catch (error) {
    return observeError(error, allowed);
  }
  return { code: "ok", detail: describe(value), value };
}

/** A digest of bytes. */
export function digest(bytes: Uint8Array): string {
  return `${bytes.byteLength}:${createHash("sha1").update(bytes).digest("base64")}`;
}

/** Any result as text that is the same for equal results. */
export function describe(value: unknown): string {
  return (
    JSON.stringify({ value }, function (this: Record<string, unknown>, name: string, given: unknown) {
      const each = this[name];
      // A Buffer has turned itself into numbers by now.
      if (each instanceof Uint8Array) return digest(each);
      if (typeof given === "bigint") return `${given}n`;
      return given instanceof Map ? [...given] : given;
    }) ?? ""
  );
}

/** Throws a {@link Finding} unless both are the same. */
export function same(a: Observed, b: Observed, who: string): void {
  if (a.code === b.code && a.detail === b.detail) return;
  throw new Finding(`${who} disagree: ${show(a)} and ${show(b)}`);
}

/** The same, but for the messages of errors. */
export function alike(a: Observed, b: Observed, who: string): void {
  if (a.code === b.code && (a.code !== "ok" || a.detail === b.detail)) return;
  throw new Finding(`${who} disagree: ${show(a)} and ${show(b)}`);
}

export function show({ code, detail }: Observed): string {
  return `${code}: ${detail.length > 600 ? `${detail.slice(0, 600)}…` : detail}`;
}
