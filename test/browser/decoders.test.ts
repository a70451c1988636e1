/** The decoders in Chromium (Debian's package): every format that the tools make, and a whole distribution's kernel. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { crc32, planLinux } from "../../src/index.js";
import { debianKernel } from "../boot/support/debian.js";
import { codeLike, compress, METHODS, nameOf } from "../decoders/tools.js";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const CHROMIUM = "/usr/bin/chromium";
const QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const QUIETER = ["--disable-component-update", "--disable-sync"];
const profile = tempFolder();
const plain = codeLike(200_000);

describe("the decoders in Chromium", () => {
  const files = new Map<string, Uint8Array>();
  const server = createServer(({ url = "" }, response) => {
    const path = inRoot(url.slice(1));
    const made = files.get(url);
    if (made !== undefined) {
      response.writeHead(200, { "content-type": "application/octet-stream" }).end(made);
    } else if (url === "/page") {
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>page</title>");
    } else if (/^\/dist\/[\w-]+\.js$/.test(url) && existsSync(path)) {
      response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(path));
    } else {
      response.writeHead(404).end();
    }
  });
  let context: BrowserContext;
  let page: Page;

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

  for (const method of METHODS) {
    it(`give what ${nameOf(method)} was given, synchronously`, async () => {
      files.set("/packed", compress(method, plain));
      // As text: the code runs in the page, where nothing of this file is.
      const got: unknown = await page.evaluate(`(async () => {
        const [{ decompress }, { crc32 }] = await Promise.all([import("/dist/decoders.js"), import("/dist/index.js")]);
        const packed = new Uint8Array(await (await fetch("/packed", { cache: "no-store" })).arrayBuffer());
        const output = decompress(${JSON.stringify(method.format)}, packed, { maxDecompressedSize: 1 << 20 });
        return [output.byteLength, crc32(output)];
      })()`);
      assert.deepEqual(got, [plain.byteLength, crc32(plain)]);
    });
  }

  it("take Debian's i386 kernel out of its bzImage, while it is downloaded", async () => {
    const { vmlinuz } = await debianKernel("i386");
    files.set("/vmlinuz", readFileSync(vmlinuz));
    const plan = await planLinux({ kernel: vmlinuz, memory: 256 << 20 });
    const got: unknown = await page.evaluate(`(async () => {
      const { loadLinux } = await import("/dist/index.js");
      const guest = await loadLinux({ kernel: await fetch("/vmlinuz"), memory: 256 << 20 });
      const { by, format } = guest.decompression;
      return [guest.architecture, guest.entryMode, by, format, String(guest.info.kernel.entrypoint), guest.regions.length];
    })()`);
    const { entrypoint } = plan.info.kernel;
    assert.deepEqual(got, ["i386", "protected32", "host", "xz", String(entrypoint), plan.pages.length]);
  });
});
