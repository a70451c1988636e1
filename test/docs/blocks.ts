/** The code of the documentation: fenced blocks of Markdown pages, and the examples in docstrings. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { codeBlocks, promisedOutput } from "../support/js-blocks.js";
import { inRoot } from "../support/paths.js";

/** A piece of code, and where it stands. */
export interface DocumentedCode {
  /** The page, or the source file. */
  readonly path: string;
  /** The heading or declaration above it. */
  readonly place: string;
  /** As the fence says it: "js", "ts", "sh", "console", "json", "html", "text". */
  readonly language: string;
  readonly code: string;
}

/** The pages for readers: README.md, SECURITY.md if there is one, and all of docs/. */
export function documentationPages(): string[] {
  const inDocs = readdirSync(inRoot("docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`);
  return ["README.md", "SECURITY.md", ...inDocs.sort()].filter((path) => existsSync(inRoot(path)));
}

/**
 * The blocks of a page. JavaScript that stands before the first section is in front of every other JavaScript block of
 * the page, as in docs/options.md.
 */
export function pageBlocks(path: string): DocumentedCode[] {
  const blocks = codeBlocks(path);
  const isScript = (language: string): boolean => language === "js" || language === "ts";
  const isBefore = ({ level, language }: (typeof blocks)[number]): boolean =>
    path !== "README.md" && level < 2 && isScript(language);
  const hasOthers = blocks.some((block) => isScript(block.language) && !isBefore(block));
  const before = hasOthers ? blocks.filter(isBefore).map(({ code }) => `${code}\n`) : [];
  return blocks
    .filter((block) => !(hasOthers && isBefore(block)))
    .map(({ heading, language, code }) => {
      const whole = isScript(language) ? [...before, code].join("") : code;
      return { path, place: heading, language, code: whole };
    });
}

/** The examples of the docstrings under src/. One without a fence is TypeScript. */
export function docstringExamples(): DocumentedCode[] {
  const files = readdirSync(inRoot("src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".generated.ts"))
    .map((name) => `src/${name}`)
    .sort();
  return files.flatMap((path) => {
    const text = readFileSync(inRoot(path), "utf8");
    return [...text.matchAll(/\/\*\*\n((?: *\*.*\n)*?) *\*\/\n(.*)/g)].flatMap(
      ([, body = "", declaration = ""]) => {
        const lines = body.replace(/^ *\* ?/gm, "");
        return lines
          .split(/^@example\b.*\n/m)
          .slice(1)
          .map((part) => {
            const example = part.split(/^@\w/m)[0] ?? "";
            const fenced = /^```(\w+)\n([\s\S]*?)^```$/m.exec(example);
            const place = /(?:function|class|interface|const|static|type) (\w+)/.exec(declaration)?.[1];
            return {
              path,
              place: place ?? declaration.trim(),
              language: fenced?.[1] ?? "ts",
              code: (fenced?.[2] ?? example).trimEnd(),
            };
          });
      },
    );
  });
}

/** The output that a block promises: behind its `console.log`s, and in the comment lines that end it. */
export function printedBy(code: string): string[] {
  const last = /(?:^\/\/ .*\n?)+$/m.exec(code)?.[0] ?? "";
  const isEnd = last !== "" && code.trimEnd().endsWith(last.trimEnd());
  const lines = isEnd ? last.trimEnd().split("\n") : [];
  return [...promisedOutput(code), ...lines.map((line) => line.replace(/^\/\/ /, ""))];
}
