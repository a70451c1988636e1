/** examples/browser in Chromium (Debian's package): a kernel chosen from a file is loaded in the page. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { planLinuxSync } from "../../src/index.js";
import { inRoot, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const CHROMIUM = "/usr/bin/chromium";
/** Nothing but the page's own requests leaves the browser. */
const QUIET = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TYPES: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript" };

const profile = tempFolder();

describe("examples/browser", () => {
  const server = createServer(({ url = "" }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const path = inRoot(pathname.slice(1));
    const type = TYPES[pathname.split(".").at(-1) ?? ""];
    // The URL parser has resolved dots: nothing outside these folders can be named.
    if (!/^\/(examples\/browser|dist)\//.test(pathname) || type === undefined || !existsSync(path)) {
      response.writeHead(404).end();
    } else {
      response.writeHead(200, { "content-type": type }).end(readFileSync(path));
    }
  });
  let context: BrowserContext;
  let page: Page;
  const problems: string[] = [];

  before(async () => {
    assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: apt-get install chromium`);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    context = await chromium.launchPersistentContext(join(profile, "chromium"), {
      executablePath: CHROMIUM,
      headless: true,
      chromiumSandbox: false,
      args: QUIET,
    });
    page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("requestfailed", (request) => problems.push(request.url()));
    await page.goto(`http://127.0.0.1:${address.port}/examples/browser/index.html`);
  });
  after(async () => {
    await context?.close();
    server.closeAllConnections();
    server.close();
  });

  const rows = (): Promise<string[]> => page.locator("#regions tr").allInnerTexts();
  const expected = (options: { commandLine: string; initrd?: string[] }): string[] =>
    planLinuxSync({ kernel: X86_64_GUEST, memory: 256 << 20, ...options }).pages.map(
      ({ range, tag }) => `0x${range.start.toString(16)} 0x${range.end.toString(16)} ${tag}`,
    );
  /** Without the CRC-32, the third cell. */
  const places = (texts: readonly string[]): string[] =>
    texts.map((text) => {
      const [from, to, , tag] = text.split(/\s+/);
      return `${from} ${to} ${tag}`;
    });

  it("loads the chosen kernel, and shows what it is and where everything lies", async () => {
    await page.setInputFiles("#kernel", X86_64_GUEST);
    await page.locator("#summary", { hasText: "entered in" }).waitFor();
    const { info } = planLinuxSync({ kernel: X86_64_GUEST, memory: 256 << 20 });
    assert.equal(
      await page.innerText("#summary"),
      `a 64-bit ELF file for x86_64; entered in long64 at 0x${info.kernel.entrypoint.toString(16)}`,
    );
    assert.deepEqual(places(await rows()), expected({ commandLine: "console=ttyS0" }));
    assert.equal(await page.getAttribute("#progress", "value"), "1");
  });

  it("loads again with several initrds", async () => {
    await page.setInputFiles("#initrd", [X86_64_GUEST, inRoot("package.json")]);
    await page.locator("#regions tr", { hasText: "linux-initrd" }).waitFor();
    const initrd = [X86_64_GUEST, inRoot("package.json")];
    assert.deepEqual(places(await rows()), expected({ commandLine: "console=ttyS0", initrd }));
  });

  it("says by its code what is wrong with a file that is no kernel", async () => {
    await page.setInputFiles("#kernel", inRoot("package.json"));
    await page.locator("#problem", { hasText: "_" }).waitFor();
    assert.match(await page.innerText("#problem"), /^NO_KERNEL_INSIDE: package\.json is a text file/);
    assert.deepEqual(await rows(), []);
  });

  it("has no failure that the page does not show", () => {
    // A page without an icon is asked for one.
    assert.deepEqual(
      problems.filter((text) => !text.endsWith("/favicon.ico")),
      [],
    );
  });
});
