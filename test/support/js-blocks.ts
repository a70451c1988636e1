/** JavaScript blocks of Markdown pages, to be run as they stand. */
import { readFileSync } from "node:fs";
import { inRoot } from "./paths.js";

/** A fenced block, and the heading that it stands under. */
export interface CodeBlock {
  readonly heading: string;
  /** 1 for the page's own heading, 2 for a section's, …; 0 before the first. */
  readonly level: number;
  readonly language: string;
  readonly code: string;
}

/** All fenced blocks of a page of the repository. */
export function codeBlocks(page: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let heading = "";
  let level = 0;
  let open: { language: string; lines: string[] } | undefined;
  for (const line of readFileSync(inRoot(page), "utf8").split("\n")) {
    if (open !== undefined) {
      if (line === "```") {
        blocks.push({ heading, level, language: open.language, code: open.lines.join("\n") });
        open = undefined;
      } else {
        open.lines.push(line);
      }
    } else if (line.startsWith("```")) {
      open = { language: line.slice(3), lines: [] };
    } else if (line.startsWith("#")) {
      heading = line.replace(/^#+ /, "");
      level = line.indexOf(" ");
    }
  }
  return blocks;
}

/** The output that the block promises: the comments behind its `console.log`s, in order. */
export function promisedOutput(code: string): string[] {
  return code
    .split("\n")
    .flatMap((line) => /console\.log\(.*\).*;?,? \/\/ (.*)$/.exec(line)?.[1] ?? [])
    .map((text) => text.trim());
}
