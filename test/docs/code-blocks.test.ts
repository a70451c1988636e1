/**
 * Every code block of the documentation — README.md, SECURITY.md, docs/ and the examples in docstrings — is executed: as a
 * user would, in a project that has the built package installed.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { chromium } from "playwright-core";
import ts from "typescript";
import { LOAD_OPTIONS } from "../../src/linux/check-options.js";
import { runProgram } from "../support/command.js";
import { inRoot, ROOT } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  type DocumentedCode,
  docstringExamples,
  documentationPages,
  pageBlocks,
  printedBy,
} from "./blocks.js";
import { makeProjectFolder } from "./project-folder.js";

const folder = makeProjectFolder();
const profile = tempFolder();

/** The program around README's lines: a CPU to start, a memory. */
const AROUND_README = `
  const startCpu = (registers: object): void => { if (!("rip" in registers)) throw new Error("no entry"); };
  const emulatorMemory = new WebAssembly.Memory({ initial: 4097 });
`;

/** Languages of what is shown, and is no code. */
const SHOWN = ["text"];

async function runScript(name: string, code: string): Promise<string[]> {
  writeFileSync(join(folder, name), code);
  const { status, stdout, stderr } = await runProgram(process.execPath, [name], { cwd: folder });
  assert.equal(status, 0, `${stderr}\n${code}`);
  return stdout.split("\n").slice(0, -1);
}

const COMPILER_OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.asynciterable.d.ts"],
  types: ["node"],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  skipLibCheck: true,
};

const AS_MODULES: ts.CompilerOptions = { ...COMPILER_OPTIONS, module: ts.ModuleKind.ESNext };

/** The compiler's errors in TypeScript files of the project, by file: all are checked in one program. */
function typeErrors(files: readonly string[]): Map<string, string[]> {
  const program = ts.createProgram(
    files.map((name) => join(folder, name)),
    COMPILER_OPTIONS,
  );
  const errors = new Map<string, string[]>();
  for (const { file, start = 0, messageText } of ts.getPreEmitDiagnostics(program)) {
    const name = file?.fileName.slice(folder.length + 1) ?? "";
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1;
    const message = `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
    errors.set(name, [...(errors.get(name) ?? []), message]);
  }
  return errors;
}

/** The commands of a shell block, with continued lines joined; comments and blank lines left out. */
function commandsOf(code: string): string[] {
  return code
    .replaceAll("\\\n", " ")
    .split("\n")
    .map((line) => line.replace(/(?:^|\s+)#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** npm's commands install, build and test: that there is such a script is checked, it is not run. */
function isNpm(command: string): boolean {
  return command.startsWith("npm ");
}

function checkNpm(command: string): void {
  const manifest: { name: string; scripts: Record<string, string> } = JSON.parse(
    readFileSync(inRoot("package.json"), "utf8"),
  );
  const [, verb = "", name = ""] = command.split(/\s+/);
  if (verb === "install" || verb === "ci") assert.match(name, /^(?:|directboot|v86@[\d.]+)$/, command);
  else
    assert.ok(
      (verb === "run" ? name : verb) in manifest.scripts,
      `package.json has no script for ${command}`,
    );
}

/** Runs a command in the project; gives what it writes to standard output. */
async function runShell(command: string): Promise<string> {
  const { status, stdout, stderr } = await runProgram("sh", ["-euc", command], {
    cwd: folder,
    env: { ...process.env, npm_config_offline: "true", NO_UPDATE_NOTIFIER: "1" },
  });
  assert.equal(status, 0, `${command}\n${stdout}\n${stderr}`);
  return stdout;
}

/** A console block: lines that start with "$ " are commands, those behind are what they print. */
function sessionOf(code: string): { command: string; output: string }[] {
  return code
    .split(/^\$ /m)
    .filter((part) => part !== "")
    .map((part) => {
      const [command = "", ...output] = part.split("\n");
      return { command, output: output.join("\n").trimEnd() };
    });
}

/** Loads a page in Chromium, from the project's folder; gives what it logs. */
async function runPage(html: string): Promise<string[]> {
  assert.ok(existsSync("/usr/bin/chromium"), "/usr/bin/chromium is missing: apt-get install chromium");
  writeFileSync(join(folder, "page.html"), html);
  const types: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript" };
  const server = createServer(({ url = "" }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const path = join(folder, pathname);
    if (!existsSync(path)) response.writeHead(pathname === "/favicon.ico" ? 204 : 404).end();
    else {
      const type = types[pathname.split(".").at(-1) ?? ""] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type }).end(readFileSync(path));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const context = await chromium.launchPersistentContext(join(profile, "chromium"), {
    executablePath: "/usr/bin/chromium",
    headless: true,
    chromiumSandbox: false,
    args: [
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
    ],
  });
  try {
    const page = await context.newPage();
    const expected = printedBy(html).length;
    const logged: string[] = [];
    const done = new Promise<void>((resolve, reject) => {
      page.on("pageerror", reject);
      page.on("console", (message) => {
        logged.push(message.text());
        if (logged.length === expected) resolve();
      });
      setTimeout(() => reject(new Error(`the page logged ${JSON.stringify(logged)}`)), 30_000).unref();
    });
    await page.goto(`http://127.0.0.1:${address.port}/page.html`);
    await done;
    return logged;
  } finally {
    await context.close();
    server.closeAllConnections();
    server.close();
  }
}

const counts = new Map<string, number>();
const blocks = [...documentationPages().flatMap(pageBlocks), ...docstringExamples()].map((block) => {
  const index = (counts.get(block.path) ?? 0) + 1;
  counts.set(block.path, index);
  return { ...block, index, file: `${block.path.replace(/\W+/g, "-")}-${index}` };
});

const scripts = blocks.filter(({ language }) => language === "js" || language === "ts");
for (const { file, path, code } of scripts) {
  const around = path === "README.md" ? AROUND_README : "";
  writeFileSync(join(folder, `${file}.mts`), `${around}${code}\nexport {};\n`);
}
const errors = typeErrors(scripts.map(({ file }) => `${file}.mts`));

function testOf(block: DocumentedCode & { file: string }): [name: string, run: () => Promise<void> | void] {
  const { path, language, code, file } = block;
  switch (language) {
    case "js":
    case "ts":
      return [
        "compiles as strict TypeScript, runs, and prints what it says",
        async () => {
          assert.deepEqual(errors.get(`${file}.mts`) ?? [], []);
          const text = readFileSync(join(folder, `${file}.mts`), "utf8");
          const { outputText } = ts.transpileModule(text, { compilerOptions: AS_MODULES });
          assert.deepEqual(await runScript(`${file}.mjs`, outputText), printedBy(code));
        },
      ];
    case "sh":
      return [
        commandsOf(code).every(isNpm) ? "names scripts of package.json" : "runs",
        async () => {
          for (const command of commandsOf(code)) {
            if (isNpm(command)) checkNpm(command);
            else await runShell(command);
          }
        },
      ];
    case "console":
      return [
        "prints what it shows",
        async () => {
          for (const { command, output } of sessionOf(code)) {
            assert.equal((await runShell(command)).trimEnd(), output);
          }
        },
      ];
    case "json":
      return ["can be parsed", () => void JSON.parse(code)];
    case "html":
      return [
        "runs in Chromium, and logs what it says",
        async () => {
          assert.notDeepEqual(printedBy(code), []);
          assert.deepEqual(await runPage(code), printedBy(code));
        },
      ];
    default:
      throw new Error(`${path}, ${block.place}: nothing here runs ${JSON.stringify(language)}`);
  }
}

// Pages side by side; the blocks of one in their order, since some write what a later one reads.
describe("code blocks", { concurrency: 2 }, () => {
  for (const path of counts.keys()) {
    describe(path, { concurrency: 1 }, () => {
      for (const block of blocks) {
        if (block.path !== path || SHOWN.includes(block.language)) continue;
        const [name, run] = testOf(block);
        it(`${block.index}, ${block.place}: ${name}`, run);
      }
    });
  }
});

describe("docs/options.md", () => {
  it("has a section with an example for every option, and for nothing else", () => {
    const examples = pageBlocks("docs/options.md").filter(({ language }) => language === "js");
    assert.deepEqual(examples.map(({ place }) => place).sort(), Object.keys(LOAD_OPTIONS).sort());
  });

  it("has the low-memory map of the source", () => {
    const source = readFileSync(inRoot("src/x86/low-memory-map.ts"), "utf8");
    const drawn = [...source.matchAll(/^ \* {5}(.*)$/gm)].map(([, line]) => line).join("\n");
    assert.ok(drawn.startsWith("0x00000000"));
    const shown = pageBlocks("docs/options.md").find(({ language }) => language === "text");
    assert.equal(shown?.code, drawn);
  });
});

describe("the documentation", () => {
  it("is all there: pages, examples in docstrings, and the folder that they run in", () => {
    assert.ok(documentationPages().length >= 9, "README.md, five of the guide, three of docs/");
    assert.ok(docstringExamples().length >= 40);
    assert.ok(existsSync(join(folder, "node_modules", "directboot", "dist", "index.js")), ROOT);
  });
});
