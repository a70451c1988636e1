/** Errors taken apart: code, problem, cure. */
import { DirectBootError, ERROR_CODES } from "directboot";
import type { Problem } from "./protocol.js";

/** The library's words for what this page has controls for, and the page's. */
const PAGE_WORDS = [
  ["to loadLinux also", "or"],
  ['load it with decompress: "guest", which', 'choose "Decompressed by: the guest", which'],
  ['decompress: "guest"', '"Decompressed by: the guest"'],
  ['decompress: "host"', '"Decompressed by: the host"'],
] as const;

/** Names of the API, such as maxDecompressedSize, and what only a program or a file system has. */
const FOREIGN =
  /\b(?!(?:bzImage|zImage|ttyS0)\b)[a-z]+[A-Z]\w*|\b(option|function|importer|reservations|wasm_path|path)s?\b/;

/** The advice that can be followed here: pieces that name what the page does not have are left out. */
function pageCure(cure: string): string | undefined {
  const advice = inPageWords(cure);
  if (!FOREIGN.test(advice)) return advice;
  const pieces = advice.split(/; |, and |,? or (?=raise |lower |use |set |give |read )/);
  const own = pieces.filter((piece) => !FOREIGN.test(piece));
  return own.length === 0 ? undefined : own.join(", or ");
}

function inPageWords(text: string): string {
  return PAGE_WORDS.reduce((words, [theirs, ours]) => words.replaceAll(theirs, ours), text);
}

/** Takes an error apart. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof DirectBootError)) {
    const what = error instanceof Error ? error.message : String(error);
    return { code: undefined, what, cure: undefined, meaning: undefined };
  }
  const { code, details, cure } = error;
  return { code, what: inPageWords(details), cure: pageCure(cure), meaning: ERROR_CODES[code].meaning };
}
