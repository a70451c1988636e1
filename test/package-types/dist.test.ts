/** The tarball: no Node built-in in reach of a browser, source maps that tell the truth, documented types. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules, SourceMap, type SourceMapPayload } from "node:module";
import { basename, dirname, join, relative } from "node:path";
import { describe, it } from "node:test";
import ts from "typescript";
import { installPacked } from "../runtimes/support/project.js";
import { tempFolder } from "../support/temp-folder.js";

const project = join(tempFolder(), "project");
mkdirSync(project);
const root = installPacked(project);
const { exports }: { exports: Record<string, string | Record<string, string>> } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
);
/** Entries of code, with their conditions. */
const entries = Object.entries(exports).flatMap(([entry, conditions]) =>
  typeof conditions === "string" || entry.startsWith("./wasm") ? [] : [{ entry, conditions }],
);

/** The imports of a JavaScript file, statically and on demand, as the parser of TypeScript sees it. */
function importsOf(path: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(path, "utf8"), true, true);
  return importedFiles.map(({ fileName }) => fileName);
}

/** All that can be reached from a file: files, and names that are none. */
function reachable(start: string): { readonly files: Set<string>; readonly names: Set<string> } {
  const files = new Set<string>();
  const names = new Set<string>();
  const visit = (path: string): void => {
    if (files.has(path)) return;
    files.add(path);
    if (!path.endsWith(".js")) return;
    for (const name of importsOf(path)) {
      if (name.startsWith(".")) visit(join(dirname(path), name.replace(/\?module$/, "")));
      else names.add(name);
    }
  };
  visit(start);
  return { files, names };
}

describe("the exports map", () => {
  for (const [entry, conditions] of Object.entries(exports)) {
    if (typeof conditions === "string") continue;
    it(`has types first, and default last, for ${entry}`, () => {
      const names = Object.keys(conditions);
      assert.equal(names[0], "types");
      assert.equal(names.at(-1), "default");
      for (const path of Object.values(conditions)) assert.ok(existsSync(join(root, path)), path);
    });
  }

  for (const { entry, conditions } of entries) {
    for (const [condition, path] of Object.entries(conditions)) {
      if (condition === "types") continue;
      it(`reaches no built-in of Node and no package from ${entry}, condition ${condition}`, () => {
        const { files, names } = reachable(join(root, path));
        assert.deepEqual([...names], []);
        for (const file of files) assert.ok(existsSync(file), file);
        const wasm = [...files].filter((file) => file.endsWith(".wasm")).map((file) => relative(root, file));
        const isModular = condition === "workerd" || condition === "edge-light";
        assert.deepEqual(wasm, isModular ? ["dist/hot-paths.wasm", "dist/decoders.wasm"] : []);
      });
    }
  }

  it("is looked at by a scan that would find them: the command reaches some", () => {
    const { names } = reachable(join(root, "dist/cli.js"));
    assert.ok(names.has("node:fs"));
    for (const name of names) assert.ok(builtinModules.includes(name.replace(/^node:/, "")), name);
  });
});

describe("source maps", () => {
  const files = readdirSync(join(root, "dist"))
    .filter((file) => file.endsWith(".map"))
    .map((file) => file.replace(/\.map$/, ""));

  for (const file of files) {
    it(`of ${file} have the sources inside`, () => {
      const code = readFileSync(join(root, "dist", file), "utf8");
      assert.match(code, new RegExp(`//# sourceMappingURL=${basename(file)}\\.map\\s*$`));
      const map: SourceMapPayload = JSON.parse(readFileSync(join(root, "dist", `${file}.map`), "utf8"));
      assert.equal(map.sources.length, map.sourcesContent?.length ?? 0);
      for (const [i, source] of map.sources.entries()) {
        const content: unknown = map.sourcesContent?.[i];
        assert.equal(typeof content, "string", source);
        assert.match(source, /(^(\.\.\/)+src|\/node_modules)\//);
      }
    });
  }

  it("lead from each code of an error to the line that throws it", () => {
    let count = 0;
    for (const file of files) {
      const lines = readFileSync(join(root, "dist", file), "utf8").split("\n");
      const payload: SourceMapPayload = JSON.parse(readFileSync(join(root, "dist", `${file}.map`), "utf8"));
      const map = new SourceMap(payload);
      for (const [line, text] of lines.entries()) {
        // Codes as arguments: a table's keys lose their quotes.
        for (const { index, 1: code = "" } of text.matchAll(/DirectBootError\(\s*"([A-Z0-9_]+)"/g)) {
          const entry = map.findEntry(line, index + text.slice(index).indexOf('"'));
          assert.ok("originalLine" in entry, `${file}:${line + 1}:${index}`);
          const at = payload.sources.indexOf(entry.originalSource);
          const source = payload.sourcesContent?.[at]?.split("\n") ?? [];
          assert.ok(source[entry.originalLine]?.includes(code), `${code}, ${entry.originalSource}`);
          count++;
        }
      }
    }
    assert.ok(count > 50, `${count}`);
  });
});

describe("the types", () => {
  for (const { entry, conditions } of entries) {
    it(`of ${entry} have a description at every export`, () => {
      const path = join(root, conditions["types"] ?? "");
      const program = ts.createProgram([path], {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        types: [],
      });
      const checker = program.getTypeChecker();
      const file = program.getSourceFile(path);
      const module = file === undefined ? undefined : checker.getSymbolAtLocation(file);
      assert.ok(module !== undefined);
      const symbols = checker
        .getExportsOfModule(module)
        .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol));
      assert.ok(symbols.length > 0);
      const bare = symbols.filter((symbol) => symbol.getDocumentationComment(checker).length === 0);
      assert.deepEqual(
        bare.map(({ name }) => name),
        [],
      );
    });
  }
});
