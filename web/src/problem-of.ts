/** Errors taken apart: code, problem, cure. */
import { DirectBootError, ERROR_CODES } from "directboot";
import type { Problem } from "./protocol.js";

/** The library's words for its options, and this page's. */
const PAGE_WORDS = [
  ["to loadLinux also", "or"],
  ["check the path; ", ""],
  [", or raise maxDecompressedSize, if the file is to be trusted", ""],
  ['load it with decompress: "guest", which', 'choose "Decompressed by: the guest", which'],
] as const;

/** Takes an error apart. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof DirectBootError)) {
    const what = error instanceof Error ? error.message : String(error);
    return { code: undefined, what, cure: undefined, meaning: undefined };
  }
  const { code, details, cure } = error;
  const pageCure = PAGE_WORDS.reduce((text, [theirs, ours]) => text.replace(theirs, ours), cure);
  return { code, what: details, cure: pageCure, meaning: ERROR_CODES[code].meaning };
}
