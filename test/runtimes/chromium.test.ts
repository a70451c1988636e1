/**
 * The packed package in Chromium (Debian's package): as its files are and bundled, on the page's thread and in a worker,
 * with and without cross-origin isolation, with and without a Content-Security-Policy that allows WebAssembly.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BrowserContext, chromium } from "playwright-core";
import { tempFolder } from "../support/temp-folder.js";
import { BUNDLERS, bundleFor } from "./support/bundlers.js";
import { checkReport, type Expectation } from "./support/expected.js";
import { runModule, smokeProject } from "./support/project.js";

const CHROMIUM = "/usr/bin/chromium";
/** Nothing but the pages' own requests leaves the browser. */
const QUIET = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TYPES: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript" };

const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
/** The headers of a page, by the first part of its path. */
const HEADERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  plain: {},
  isolated: ISOLATED,
  "no-wasm": { ...ISOLATED, "content-security-policy": "default-src 'self'; script-src 'self'" },
  policy: {
    ...ISOLATED,
    "content-security-policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
  },
};

const folder = tempFolder();
const project = join(folder, "project");
mkdirSync(project);
smokeProject(project);

/** Runs the suite and hands its report to the server, from a page or a worker. */
const main = (from: string): string => `import { run } from ${JSON.stringify(from)};
let report;
try {
  report = JSON.stringify(await run());
} catch (error) {
  report = JSON.stringify(String(error?.stack ?? error));
}
await fetch("/report", { method: "POST", body: report });
`;
const page = (script: string): string =>
  `<!doctype html><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`;
const files: Readonly<Record<string, string>> = {
  // Without a bundler: files are named by their paths.
  "run-files.js": runModule(
    (entry) => `./node_modules/directboot/dist/${entry === "." ? "index" : entry.slice(2)}.js`,
  ),
  "main-files.js": main("./run-files.js"),
  "worker.js": 'new Worker("./main-files.js", { type: "module" });\n',
  "files.html": page("./main-files.js"),
  "worker.html": page("./worker.js"),
  "main.js": main("./run.js"),
};
for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);

describe("Chromium runs the packed package", () => {
  let onReport: (text: string) => void = () => {};
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "", "http://localhost");
    if (request.method === "POST") {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        response.writeHead(204).end();
        onReport(Buffer.concat(chunks).toString());
      });
      return;
    }
    const [, kind = "", ...rest] = pathname.split("/");
    const headers = HEADERS[kind];
    const path = join(project, ...rest);
    const type = TYPES[path.split(".").at(-1) ?? ""];
    // The URL parser has resolved dots: nothing outside the project can be named.
    if (headers === undefined || type === undefined || !existsSync(path)) {
      response.writeHead(404).end();
    } else {
      response.writeHead(200, { "content-type": type, ...headers }).end(readFileSync(path));
    }
  });
  let context: BrowserContext;
  let origin: string;

  before(async () => {
    assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: apt-get install chromium`);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    origin = `http://127.0.0.1:${address.port}`;
    context = await chromium.launchPersistentContext(join(folder, "chromium"), {
      executablePath: CHROMIUM,
      headless: true,
      chromiumSandbox: false,
      args: QUIET,
    });
  });
  after(async () => {
    await context?.close();
    server.closeAllConnections();
    server.close();
  });

  /** Opens a page and holds its report; nothing may be thrown that the package does not catch. */
  async function check(path: string, expectation: Omit<Expectation, "hasPaths">): Promise<void> {
    const tab = await context.newPage();
    const problems: string[] = [];
    tab.on("pageerror", (error) => problems.push(error.message));
    tab.on("requestfailed", (request) => problems.push(request.url()));
    try {
      let deadline: NodeJS.Timeout | undefined;
      const text = await new Promise<string>((resolve, reject) => {
        onReport = resolve;
        deadline = setTimeout(() => reject(new Error(`no report: ${problems.join(", ")}`)), 60_000);
        tab.goto(`${origin}/${path}`).catch(reject);
      });
      clearTimeout(deadline);
      await checkReport(text, { ...expectation, hasPaths: false });
      assert.deepEqual(problems, []);
    } finally {
      await tab.close();
    }
  }

  it("as its files are, in a page that is cross-origin isolated", () =>
    check("isolated/files.html", { implementation: "wasm" }));

  it("as its files are, in a page that is not", () => check("plain/files.html", { implementation: "wasm" }));

  it("in a worker", () => check("isolated/worker.html", { implementation: "wasm" }));

  it("under a Content-Security-Policy without wasm-unsafe-eval, with the twins", () =>
    check("no-wasm/files.html", { implementation: "javascript" }));

  it("under a Content-Security-Policy with wasm-unsafe-eval", () =>
    check("policy/files.html", { implementation: "wasm" }));

  for (const bundler of BUNDLERS) {
    it(`bundled by ${bundler}`, async () => {
      const output = join(project, bundler);
      await bundleFor(bundler, project, "main.js", output);
      writeFileSync(join(output, "index.html"), page("./main.js"));
      await check(`isolated/${bundler}/index.html`, { implementation: "wasm" });
    });
  }
});
