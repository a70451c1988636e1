/** The inspector in Chromium (Debian's package): pictures with its fonts and its keyboard, and the library without Node. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { loadLinuxSync } from "../../src/index.js";
import { drawMemoryMap } from "../../src/inspect/draw-memory-map.js";
import { memoryMapOf } from "../../src/inspect/memory-map.js";
import { inRoot, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const CHROMIUM = "/usr/bin/chromium";
const QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const QUIETER = ["--disable-component-update", "--disable-sync"];
const MIB = 0x10_0000;
const profile = tempFolder();

/** Pictures that differ in what is where. */
function pictures(): Record<string, string> {
  const kernel = X86_64_GUEST;
  const initrd = new Uint8Array(3 * MIB);
  const small = memoryMapOf(loadLinuxSync({ kernel, initrd, commandLine: "quiet", memory: 256 * MIB }));
  const names = [
    "linux-kernel",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    "内核与初始内存盘镜像文件的名字很长",
    "<b>&amp;",
  ];
  const crowded = {
    architecture: "x86_64",
    ram: [{ start: 0, end: 2 ** 32 }],
    regions: Array.from({ length: 40 }, (_, index) => ({
      name: names[index % names.length] ?? "",
      start: index * 0x10_1000,
      end: index * 0x10_1000 + 0x1000,
    })),
  };
  return {
    small: drawMemoryMap(small),
    narrow: drawMemoryMap(small, { width: 360 }),
    crowded: drawMemoryMap(crowded),
  };
}

describe("the inspector in Chromium", () => {
  const server = createServer(({ url = "" }, response) => {
    const path = inRoot(url.slice(1));
    if (url === "/page") {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
      response.end('<!doctype html><html lang="en"><title>page</title><body><main></main>');
    } else if (/^\/dist\/[\w-]+\.js$/.test(url) && existsSync(path)) {
      response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(path));
    } else if (url === "/guest") {
      response.writeHead(200).end(readFileSync(X86_64_GUEST));
    } else {
      response.writeHead(404).end();
    }
  });
  let context: BrowserContext;
  let page: Page;
  const show = (svg: string): Promise<unknown> =>
    page.evaluate(`document.querySelector("main").innerHTML = ${JSON.stringify(svg)}`);

  before(async () => {
    assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: apt-get install chromium`);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    context = await chromium.launchPersistentContext(join(profile, "chromium"), {
      executablePath: CHROMIUM,
      headless: true,
      chromiumSandbox: false,
      args: [...QUIET, ...QUIETER],
    });
    page = await context.newPage();
    page.setDefaultTimeout(120_000);
    await page.goto(`http://127.0.0.1:${address.port}/page`);
  });
  after(async () => {
    await context?.close();
    server.closeAllConnections();
    server.close();
  });

  it("reads the pictures as XML", async () => {
    for (const [name, svg] of Object.entries(pictures())) {
      const root: unknown = await page.evaluate(
        `new DOMParser().parseFromString(${JSON.stringify(svg)}, "image/svg+xml").documentElement.nodeName`,
      );
      assert.equal(root, "svg", name);
    }
  });

  it("sets no text of a picture over another, or outside of it", async () => {
    for (const [name, svg] of Object.entries(pictures())) {
      await show(svg);
      const found: unknown = await page.evaluate(`(() => {
        const box = (element) => element.getBoundingClientRect();
        const picture = box(document.querySelector("svg"));
        const texts = [...document.querySelectorAll("svg text")].map((element) => [element.textContent, box(element)]);
        const bad = [];
        for (const [index, [text, a]] of texts.entries()) {
          if (a.left < picture.left || a.right > picture.right || a.bottom > picture.bottom) bad.push(text + " is outside");
          for (const [other, b] of texts.slice(index + 1)) {
            const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            // Boxes are as high as the line; the letters are not.
            if (x > 1 && y > 3) bad.push(text + " over " + other);
          }
        }
        return bad;
      })()`);
      assert.deepEqual(found, [], name);
    }
  });

  it("reaches every region by the Tab key, in the order in which they stand", async () => {
    const { small = "" } = pictures();
    await show(small);
    const wanted: unknown = await page.evaluate(
      `[...document.querySelectorAll(".region")].map((each) => each.getAttribute("aria-label"))`,
    );
    assert.ok(Array.isArray(wanted) && wanted.length >= 9);
    const reached: unknown[] = [];
    await page.evaluate("document.activeElement.blur()");
    for (let i = 0; i < wanted.length; i++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(`document.activeElement.getAttribute("aria-label")`));
    }
    assert.deepEqual(reached, wanted);
    const decoration: unknown = await page.evaluate(
      `getComputedStyle(document.activeElement.querySelector(".name")).textDecorationLine`,
    );
    assert.equal(decoration, "underline");
  });

  it("is dark where the reader's system is, and where it is asked for", async () => {
    const { small = "" } = pictures();
    const background = async (): Promise<unknown> =>
      await page.evaluate(`getComputedStyle(document.querySelector(".background")).fill`);
    await show(small);
    await page.emulateMedia({ colorScheme: "dark" });
    assert.equal(await background(), "rgb(17, 23, 29)");
    await page.emulateMedia({ colorScheme: "light" });
    assert.equal(await background(), "rgb(255, 255, 255)");
  });

  it("has nothing to say against by axe, in both colours", async () => {
    await page.evaluate(readFileSync(inRoot("node_modules/axe-core/axe.min.js"), "utf8"));
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      for (const [name, svg] of Object.entries(pictures())) {
        await show(`<h1>Memory</h1>${svg}`);
        const violations: unknown = await page.evaluate(
          `axe.run("main").then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes[0].html.slice(0, 200)))`,
        );
        assert.deepEqual(violations, [], `${name}, ${colorScheme}`);
      }
    }
  });

  it("runs the library: a kernel inspected while it arrives, loaded, drawn, and its tables and registers read", async () => {
    const told: unknown = await page.evaluate(`(async () => {
      const [inspect, { loadLinux }] = await Promise.all([import("/dist/inspect.js"), import("/dist/index.js")]);
      const kernel = new Uint8Array(await (await fetch("/guest")).arrayBuffer());
      const inspection = await inspect.inspectKernel(await fetch("/guest"));
      const guest = await loadLinux({ kernel, commandLine: "quiet", memory: 64 << 20, crc32: true });
      const tables = inspect.pageTableTree(guest.memory, guest.registers, guest.architecture);
      return [
        inspection.format,
        inspection.architecture,
        inspect.drawMemoryMap(inspect.memoryMapOf(guest)).startsWith("<svg"),
        tables.entries[0].children().entries.length,
        guest.registerList.map(inspect.describeRegister).every(({ role }) => role !== ""),
        inspect.regionChecksums(guest).every(({ crc32 }, index) => crc32 === guest.regions[index].crc32),
        inspect.decodeE820(guest.memory.read(guest.registers.rsi, 4096)).length,
      ];
    })()`);
    assert.deepEqual(told, ["elf64", "x86_64", true, 5, true, true, 3]);
  });
});
