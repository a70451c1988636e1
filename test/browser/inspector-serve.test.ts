/** The inspector page's development server, `npm run web`, as it is in a fresh clone. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { BrowserContext, Page } from "playwright-core";
import { debianKernel } from "../boot/support/debian.js";
import { inRoot, ROOT } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { dropFiles, launchChromium, untilState } from "./support/inspector.js";

const TIMEOUT_MILLISECONDS = 60_000;
const folder = tempFolder();
/** What a browser would be told to open. */
const opened = join(folder, "opened");

describe("the development server of the inspector page, with an empty cache", () => {
  let server: ChildProcess;
  let context: BrowserContext;
  let page: Page;

  const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
    const end = performance.now() + TIMEOUT_MILLISECONDS;
    while (!(await isSo())) {
      if (performance.now() > end) assert.fail(`not in ${TIMEOUT_MILLISECONDS} ms: ${what}`);
      await sleep(50);
    }
  };

  before(async () => {
    rmSync(inRoot("build/vite"), { recursive: true, force: true });
    const browser = join(folder, "browser.sh");
    writeFileSync(
      browser,
      `#!/bin/sh\nfor last; do :; done\necho "$last" >"${opened}.part"\nmv "${opened}.part" "${opened}"\n`,
    );
    chmodSync(browser, 0o755);
    server = spawn(process.execPath, [inRoot("web/tasks.mjs"), "serve"], {
      cwd: ROOT,
      stdio: "inherit",
      env: { ...process.env, BROWSER: browser },
    });
    context = await launchChromium(folder, { viewport: { width: 1000, height: 900 } });
    page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT_MILLISECONDS);
  });
  after(async () => {
    await context?.close();
    server?.kill();
  });

  it("opens the page in a browser", async () => {
    await until("a browser is opened", () => existsSync(opened));
    assert.match(readFileSync(opened, "utf8"), /^http:\/\/localhost:\d+\/\s*$/);
  });

  it("boots dropped files at the first press of the button: the page is not loaded again, and keeps them", async () => {
    await page.goto(readFileSync(opened, "utf8").trim());
    let loads = 0;
    page.on("load", () => loads++);
    await dropFiles(page, [["my-vmlinuz", (await debianKernel("i386")).vmlinuz]]);
    await untilState(page, "loaded");
    await page.click("#boot-button");
    await page.locator('#boot[data-state="running"]').waitFor();
    await page.locator("#boot .xterm-screen").waitFor();
    assert.equal(loads, 0);
    assert.match(await page.innerText("#kernel-chosen"), /^my-vmlinuz, /);
  });
});
