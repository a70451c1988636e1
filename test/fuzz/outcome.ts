/** Results and errors as text, to be compared. Nothing but typed errors may come out. */
import { createHash } from "node:crypto";
import { DirectBootError } from "../../src/base/errors.js";
import { Finding } from "./fuzzer.js";

/** Engines' own TypeErrors; ours name the argument. */
const ENGINE_MESSAGE =
  /^(Cannot |.* is not (a function|iterable|a constructor|defined|an object)|Invalid |.* (called on|requires that)|Class |undefined|null)/;

/** A result, or the error that was thrown. */
export interface Observed {
  /** "ok", an error's code, or "TypeError". */
  readonly code: string;
  /** The result as text, or the message. */
  readonly detail: string;
  readonly value?: unknown;
}

function observeError(error: unknown): Observed {
  if (error instanceof DirectBootError) return { code: error.code, detail: error.message };
  if (error instanceof Finding) throw error;
  if (error instanceof TypeError && !ENGINE_MESSAGE.test(error.message)) {
    return { code: "TypeError", detail: error.message };
  }
  throw new Finding(`escaped: ${error instanceof Error ? error.stack : String(error)}`);
}

/** Runs `act`. Throws a {@link Finding} for an error that must not escape. */
export function observe(act: () => unknown): Observed {
  try {
    const value = act();
    return { code: "ok", detail: describe(value), value };
  } catch (error) {
    return observeError(error);
  }
}

/** The asynchronous {@link observe}. */
export async function observeAsync(act: () => Promise<unknown>): Promise<Observed> {
  try {
    const value = await act();
    return { code: "ok", detail: describe(value), value };
  } catch (error) {
    return observeError(error);
  }
}

/** Any result as text that is the same for equal results. */
export function describe(value: unknown): string {
  return JSON.stringify({ value }, function (this: Record<string, unknown>, name: string, given: unknown) {
    const each = this[name];
    if (each instanceof Uint8Array) {
      return `${each.byteLength}:${createHash("sha1").update(each).digest("base64")}`;
    }
    if (typeof given === "bigint") return `${given}n`;
    return given instanceof Map ? [...given] : given;
  });
}

/** Throws a {@link Finding} unless both are the same; messages of errors may differ. */
export function same(a: Observed, b: Observed, who: string): void {
  if (a.code === b.code && (a.code !== "ok" || a.detail === b.detail)) return;
  throw new Finding(`${who} disagree: ${show(a)} and ${show(b)}`);
}

export function show({ code, detail }: Observed): string {
  return `${code}: ${detail.slice(0, 600)}`;
}

export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
