/** The built inspector page, served from a sub-path, in Debian's Chromium. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { inRoot, ROOT } from "../../support/paths.js";

const CHROMIUM = "/usr/bin/chromium";
/** Nothing but the page's own requests leaves the browser. */
const QUIET = [
  ...["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  ...["--disable-component-update", "--disable-sync"],
];
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".txt": "text/plain",
};

/** The policy that the page is said to work under. */
export const STRICT_POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; object-src 'none'; frame-ancestors 'none'";
/** The same without WebAssembly. */
export const POLICY_WITHOUT_WASM = STRICT_POLICY.replace(" 'wasm-unsafe-eval'", "");

/** A server of build/web under /sub/path/, with that policy on everything, workers' scripts among them. */
export interface InspectorServer {
  readonly url: string;
  /** Paths that were asked for and are not there. */
  readonly missing: string[];
  close(): void;
}

export async function serveInspector(policy: string): Promise<InspectorServer> {
  const base = "/sub/path/";
  const missing: string[] = [];
  const server = createServer(({ url = "" }, response) => {
    // The URL parser resolves dots: nothing outside the folder can be named.
    const { pathname } = new URL(url, "http://localhost");
    const name = pathname === base ? "index.html" : pathname.slice(base.length);
    const path = inRoot(join("build/web", name));
    if (!pathname.startsWith(base) || !existsSync(path)) {
      missing.push(pathname);
      response.writeHead(404).end();
      return;
    }
    response
      .writeHead(200, {
        "content-type": TYPES[extname(path)] ?? "application/octet-stream",
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
      })
      .end(readFileSync(path));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    url: `http://127.0.0.1:${address.port}${base}`,
    missing,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Starts Chromium with its profile in `folder`. */
export function launchChromium(
  folder: string,
  options: Pick<
    BrowserContextOptions,
    "viewport" | "colorScheme" | "deviceScaleFactor" | "reducedMotion"
  > = {},
): Promise<BrowserContext> {
  assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: apt-get install chromium`);
  return chromium.launchPersistentContext(join(folder, "chromium"), {
    executablePath: CHROMIUM,
    headless: true,
    chromiumSandbox: false,
    args: QUIET,
    ...options,
  });
}

/** Waits until the page has what it is told to have: "loaded", "failed". */
export async function untilState(page: Page, state: string, timeout = 120_000): Promise<void> {
  await page.locator(`body[data-state="${state}"]`).waitFor({ timeout });
}

/** Gives the page a kernel and waits until it is loaded. */
export async function loadKernel(page: Page, kernel: string, initrd?: string): Promise<void> {
  if (initrd !== undefined) {
    await page.setInputFiles("#initrd", initrd);
  }
  await page.setInputFiles("#kernel", kernel);
  await untilState(page, "loaded");
}

/** Drops files on the page, wherever no slot is. */
export async function dropFiles(
  page: Page,
  files: readonly (readonly [name: string, path: string])[],
): Promise<void> {
  const data = files.map(([name, path]) => [name, readFileSync(path).toString("base64")]);
  await page.evaluate(`(() => {
    const transfer = new DataTransfer();
    for (const [name, text] of ${JSON.stringify(data)}) {
      transfer.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name));
    }
    const event = (type) => new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event("dragover"));
    document.body.dispatchEvent(event("drop"));
  })()`);
}

/** The terminal's text, line by line, without the blanks at the lines' ends. */
export async function terminalText(page: Page): Promise<string> {
  const lines = await page.locator(".xterm-rows > div").allInnerTexts();
  return lines.map((line) => line.replaceAll("\u00a0", " ").trimEnd()).join("\n");
}

/** Builds the page, as `npm run web:build` does. */
export function buildInspector(): void {
  execFileSync(process.execPath, [inRoot("web/tasks.mjs"), "build"], { cwd: ROOT, stdio: "inherit" });
}

/** Faults of a page: errors, and requests to elsewhere or for files that are not there. */
export function watchForTrouble(page: Page, server: InspectorServer): string[] {
  const trouble: string[] = [];
  page.on("pageerror", (error) => trouble.push(error.message));
  // A violation of the policy is told on the console, and nowhere else.
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") trouble.push(message.text());
  });
  page.on("requestfailed", (request) => trouble.push(`failed: ${request.url()}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(server.url) && !url.startsWith("blob:")) trouble.push(`elsewhere: ${url}`);
  });
  return trouble;
}

/** axe-core's findings on a page, one line a rule and element. */
export async function axeViolations(page: Page): Promise<string[]> {
  const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  await page.evaluate(readFileSync(axe, "utf8"));
  const found: unknown =
    await page.evaluate(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => id + ": " + target + ": " + failureSummary)))`);
  assert.ok(Array.isArray(found));
  return found.map(String);
}
