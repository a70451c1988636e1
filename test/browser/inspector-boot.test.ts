/** Debian's i386 kernel, booted by the inspector page's own button, in Chromium, under a strict policy. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BrowserContext, Page } from "playwright-core";
import { busybox, debianKernel } from "../boot/support/debian.js";
import { busyboxInitramfs, INIT_MARKER } from "../boot/support/initramfs.js";
import { tempFolder } from "../support/temp-folder.js";
import {
  axeViolations,
  buildInspector,
  type InspectorServer,
  launchChromium,
  loadKernel,
  STRICT_POLICY,
  serveInspector,
  terminalText,
  untilState,
  watchForTrouble,
} from "./support/inspector.js";

// An emulator in JavaScript on a busy machine.
const TIMEOUT_MILLISECONDS = 300_000;
/** Asks for a line, repeats it with its letters turned round, and waits. */
const INIT = `#!/bin/busybox sh
exec </dev/console >/dev/console 2>&1
echo
echo ${INIT_MARKER}
read line
echo "$line" | /bin/busybox rev
/bin/busybox sleep 1000000
`;
const folder = tempFolder();

describe("the inspector page's Boot button", () => {
  let server: InspectorServer;
  let context: BrowserContext;
  let page: Page;
  let trouble: string[] = [];

  before(async () => {
    buildInspector();
    const { vmlinuz } = await debianKernel("i386");
    const initrd = join(folder, "initrd.img");
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("i386")), init: INIT }));
    server = await serveInspector(STRICT_POLICY);
    context = await launchChromium(folder, {
      viewport: { width: 1000, height: 900 },
      reducedMotion: "reduce",
    });
    page = await context.newPage();
    page.setDefaultTimeout(60_000);
    trouble = watchForTrouble(page, server);
    await page.goto(server.url);
    await loadKernel(page, vmlinuz, initrd);
    await page.fill("#command-line", "console=ttyS0 quiet directboot.test=42");
    await page.press("#command-line", "Enter");
    await untilState(page, "loaded");
  });
  after(async () => {
    await context?.close();
    server?.close();
  });

  const until = async (text: string): Promise<void> => {
    const end = performance.now() + TIMEOUT_MILLISECONDS;
    for (;;) {
      const shown = await terminalText(page);
      if (shown.includes(text)) return;
      if (performance.now() > end) {
        const status = await page.innerText("#boot");
        assert.fail(`no ${text} in ${TIMEOUT_MILLISECONDS} ms:\n${status}\n${shown}`);
      }
      await page.waitForTimeout(100);
    }
  };

  it("boots it to userspace, in the page's terminal", async () => {
    await page.click("#boot-button");
    const focused: unknown = await page.evaluate("document.activeElement.id");
    assert.equal(focused, "boot-heading");
    await until(INIT_MARKER);
    assert.ok(await page.isDisabled("#boot-button"));
  });

  it("hands what is typed to the guest", async () => {
    await page.click("#boot .xterm-screen");
    await page.keyboard.type("olleh");
    await page.keyboard.press("Enter");
    await until("hello");
  });

  it("has nothing that axe-core objects to while it runs, light and dark", async () => {
    for (const theme of ["Light", "Dark"]) {
      await page.getByLabel(theme, { exact: true }).check();
      assert.deepEqual(await axeViolations(page), [], theme);
    }
  });

  it("fits a phone", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    // The terminal follows.
    await page.waitForTimeout(500);
    const width: unknown = await page.evaluate("document.documentElement.scrollWidth");
    assert.equal(width, 360);
    await page.setViewportSize({ width: 1000, height: 900 });
  });

  it("saves the log, byte by byte as the serial port printed it, while it runs and afterwards", async () => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save-log")]);
    assert.equal(download.suggestedFilename(), "serial.log");
    const path = join(folder, "serial.log");
    await download.saveAs(path);
    const log = readFileSync(path, "latin1");
    assert.ok(log.indexOf(INIT_MARKER) > 0);
    assert.ok(log.indexOf("hello\r\n") > log.indexOf(INIT_MARKER));
  });

  it("stops at once, keeps what was printed, and boots again", async () => {
    await page.getByRole("button", { name: "Stop" }).click();
    await page.locator('#boot[data-state="ended"]').waitFor();
    assert.match(await page.innerText("#boot .boot-status"), /^Stopped after /);
    assert.ok((await terminalText(page)).includes("hello"));
    assert.ok(await page.isEnabled("#save-log"));
    await page.getByRole("button", { name: "Boot again" }).click();
    await page.locator('#boot[data-state="running"]').waitFor();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.locator('#boot[data-state="ended"]').waitFor();
  });

  it("does nothing that the policy forbids", () => {
    assert.deepEqual(trouble, []);
    assert.deepEqual(server.missing, []);
  });
});
