// npm run web:screenshots: pictures of the page with Debian's kernels, into web/screenshots/, for web/README.md.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { busybox, debianKernel } from "../build/test/boot/support/debian.js";
import { busyboxInitramfs } from "../build/test/boot/support/initramfs.js";
import {
  launchChromium,
  loadKernel,
  STRICT_POLICY,
  serveInspector,
  terminalText,
} from "../build/test/browser/support/inspector.js";

const MOST_BYTES = 200_000;
const BOOT_MILLISECONDS = 300_000;
/** A shell on the serial port. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
export PATH=/bin
exec /bin/busybox sh
`;
const out = fileURLToPath(new URL("screenshots/", import.meta.url));
mkdirSync(out, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "directboot-screenshots-"));
const server = await serveInspector(STRICT_POLICY);

/** Opens the page in a browser of its own, and closes both when `work` is done. */
async function withPage(colorScheme, [width, height], work) {
  const context = await launchChromium(join(folder, `${colorScheme}-${width}`), {
    viewport: { width, height },
    colorScheme,
    reducedMotion: "reduce",
  });
  try {
    const page = await context.newPage();
    await page.goto(server.url);
    await work(page);
  } finally {
    await context.close();
  }
}

async function save(page, name) {
  const path = join(out, name);
  await page.screenshot({ path });
  const { size } = statSync(path);
  if (size > MOST_BYTES) throw new Error(`${name} has ${size} bytes, at most ${MOST_BYTES} are wanted`);
  process.stdout.write(`${path}: ${size} bytes\n`);
}

try {
  const i386 = await debianKernel("i386");
  const initrd = join(folder, "initrd.img");
  writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("i386")), init: INIT }));

  const show = (page, id) => page.locator(id).evaluate((section) => section.scrollIntoView());
  const { vmlinuz } = await debianKernel("amd64");
  await withPage("light", [1280, 1240], async (page) => {
    await loadKernel(page, vmlinuz, initrd);
    await show(page, "#memory-map");
    await page.locator('#memory-map .region[data-name="kernel: per-CPU data"]').hover();
    await save(page, "memory.png");
    await page.setViewportSize({ width: 1280, height: 860 });
    await show(page, "#told");
    await save(page, "zero-page.png");
  });
  await withPage("light", [390, 844], async (page) => {
    await loadKernel(page, vmlinuz, initrd);
    await show(page, "#bytes");
    await save(page, "phone.png");
  });
  await withPage("dark", [1280, 860], async (page) => {
    await loadKernel(page, i386.vmlinuz, initrd);
    await page.click("#boot-button");
    const end = performance.now() + BOOT_MILLISECONDS;
    const until = async (text) => {
      while (!(await terminalText(page)).includes(text)) {
        if (performance.now() > end) throw new Error(`the guest does not print ${text}`);
        await page.waitForTimeout(200);
      }
    };
    await until("/ #");
    await page.click("#boot .xterm-screen");
    await page.keyboard.type("busybox uname -mrs; busybox head -n 3 /proc/meminfo\n");
    await until("MemAvailable");
    await page.locator("#boot").evaluate((section) => section.scrollIntoView({ block: "end" }));
    await save(page, "boot.png");
  });
} finally {
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
