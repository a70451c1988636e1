/** Errors taken apart: code, what is wrong, what can be done. */
import { DirectBootError, ERROR_CODES } from "directboot";
import type { Problem } from "./protocol.js";

/** Takes an error apart: a DirectBootError's message ends with the cure. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof DirectBootError)) {
    const what = error instanceof Error ? error.message : String(error);
    return { code: undefined, what, cure: undefined, meaning: undefined };
  }
  const { code, message } = error;
  const { cure: usual, meaning } = ERROR_CODES[code];
  // A few causes have a cure of their own.
  const at = message.endsWith(`; ${usual}`) ? message.length - usual.length - 2 : message.lastIndexOf("; ");
  return at < 0
    ? { code, what: message, cure: usual, meaning }
    : { code, what: message.slice(0, at), cure: message.slice(at + 2), meaning };
}
