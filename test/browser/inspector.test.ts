/** The inspector page in Chromium, under a strict policy: what it shows is what the library says. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import type { BrowserContext, Page } from "playwright-core";
import * as decoders from "../../src/decoders/index.js";
import { extractKernelSync, loadLinuxSync } from "../../src/index.js";
import { describeZeroPage } from "../../src/inspect/index.js";
import { debianKernel } from "../boot/support/debian.js";
import { directboot } from "../support/command.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";
import {
  axeViolations,
  buildInspector,
  dropFiles,
  type InspectorServer,
  launchChromium,
  loadKernel,
  POLICY_WITHOUT_WASM,
  STRICT_POLICY,
  serveInspector,
  untilState,
  watchForTrouble,
} from "./support/inspector.js";

const MEMORY = 256 << 20;
/** The page's proposal. */
const COMMAND_LINE = "console=ttyS0 earlyprintk=ttyS0";
const folder = tempFolder();

/** An address as the page has it. */
const address = (value: bigint): string => `0x${value.toString(16).padStart(8, "0")}`;

describe("the inspector page", () => {
  let server: InspectorServer;
  let context: BrowserContext;
  let page: Page;
  let trouble: string[] = [];
  let i386 = "";
  let amd64 = "";
  const initrd = join(folder, "initrd.img");
  const broken = join(folder, "broken-vmlinuz");
  const vmlinux = join(folder, "vmlinux");

  before(async () => {
    buildInspector();
    i386 = (await debianKernel("i386")).vmlinuz;
    amd64 = (await debianKernel("amd64")).vmlinuz;
    writeFileSync(initrd, "07070100".padEnd(30_000, "0"));
    writeFileSync(broken, readFileSync(i386).subarray(0, 1 << 20));
    server = await serveInspector(STRICT_POLICY);
    context = await launchChromium(folder, {
      viewport: { width: 1280, height: 900 },
      reducedMotion: "reduce",
    });
    page = await context.newPage();
    page.setDefaultTimeout(120_000);
    trouble = watchForTrouble(page, server);
    await page.goto(server.url);
  });
  after(async () => {
    await context?.close();
    server?.close();
  });

  const cells = async (selector: string): Promise<string[][]> => {
    const rows: string[][] = [];
    for (const row of await page.locator(`${selector} tbody tr`).all()) {
      rows.push(await row.locator("td").allInnerTexts());
    }
    return rows;
  };

  describe("with the demo kernel", () => {
    before(async () => {
      await page.click("#demo");
      await untilState(page, "loaded");
    });

    it("names each region, its place and its checksum, as a load by the library has them", async () => {
      const guest = loadLinuxSync({
        kernel: X86_64_GUEST,
        memory: MEMORY,
        commandLine: COMMAND_LINE,
        crc32: true,
      });
      const expected = guest.regions
        .map(({ range, crc32 = 0, tag }) => [
          address(range.start),
          address(range.end),
          crc32.toString(16).padStart(8, "0"),
          tag,
        ])
        .sort();
      const shown = (await cells("#memory-map")).map(([from, to, , , crc32, tag]) => [from, to, crc32, tag]);
      assert.deepEqual(shown, expected);
    });

    it("shows the zero page that was written, each field with its offset, size, value and meaning", async () => {
      const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: MEMORY, commandLine: COMMAND_LINE });
      const page0 = guest.regions.find(({ tag }) => tag === "linux-zeropage");
      const fields = describeZeroPage(guest.memory.read(page0?.range.start ?? 0n, 4096)).map(
        ({ offset, size, name, value, meaning, since }) => [
          `0x${offset.toString(16)}`,
          String(size),
          name,
          value,
          since === undefined ? meaning : `since ${since} ${meaning}`,
        ],
      );
      const byOffset = (rows: string[][]): string[][] => rows.sort((a, b) => Number(a[0]) - Number(b[0]));
      const shown = async (): Promise<string[][]> => {
        await page.evaluate(
          `for (const each of document.querySelectorAll("#told details")) each.open = true`,
        );
        return byOffset(await cells("#told"));
      };
      assert.deepEqual(
        await shown(),
        fields.filter(([, , , value]) => value !== "0x0"),
      );
      await page.getByLabel("All fields").check();
      assert.deepEqual(await shown(), fields);
      await page.getByLabel("Fields that are set").check();
    });

    it("decodes the entries of the GDT, and says which registers were loaded from them", async () => {
      const entries = await page.locator("#gdt .register > summary").allInnerTexts();
      assert.deepEqual(
        entries.map((text) => text.split("\n").slice(0, 2)),
        [
          ["0x0", "no segment"],
          ["0x8", "64-bit code, execute/read, accessed"],
          ["0x10", "32-bit data, read/write, accessed"],
          ["0x18", "no segment"],
        ],
      );
      await page.click('[data-register="gdt-0x8"] > summary');
      assert.match(await page.innerText('[data-register="gdt-0x8"]'), /loaded into CS\./);
      const long = (await cells('[data-register="gdt-0x8"]')).find(([, , name]) => name === "L");
      assert.deepEqual(long, ["attributes", "13", "L", "0x1", "64-bit code"]);
    });

    it("shows the bytes of any region, and of any address in RAM", async () => {
      const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: MEMORY, commandLine: COMMAND_LINE });
      const shown = async (start: bigint): Promise<void> => {
        const first = start.toString(16).padStart(8, "0");
        await page.locator("#bytes .address", { hasText: first }).first().waitFor();
        const lines = (await page.innerText("#bytes .dump")).trim().split("\n");
        const bytes = guest.memory.read(start, lines.length * 16);
        const expected = lines.map((_, index) => {
          const line = [...bytes.subarray(index * 16, index * 16 + 16)];
          const address = (start + BigInt(index * 16)).toString(16).padStart(8, "0");
          const letters = line.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "."));
          return `${address}  ${line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}  ${letters.join("")}`;
        });
        assert.deepEqual(lines, expected);
      };
      for (const { tag, range } of guest.regions) {
        await page
          .getByRole("button", { name: `Show the bytes of ${tag} at ${address(range.start)}` })
          .click();
        await shown(range.start);
      }
      await page.fill("#bytes-address", "0x3000");
      await page.press("#bytes-address", "Enter");
      await shown(0x3000n);
      assert.match(await page.innerText("#bytes .dump"), /console=ttyS0/);
      await page.click("#bytes-next");
      await shown(0x3100n);
      await page.click("#bytes-previous");
      await shown(0x3000n);
      await page.fill("#bytes-address", "0x10000000");
      await page.press("#bytes-address", "Enter");
      assert.equal(await page.getAttribute("#bytes-address", "aria-invalid"), "true");
      assert.match(await page.innerText("#bytes-hint"), /no RAM/);
      await shown(0x3000n);
    });

    it("shows the e820 map that is in the zero page", async () => {
      assert.deepEqual(
        (await cells("#e820")).map(([from, to, , type]) => `${from} ${to} ${type}`),
        [
          "0x00000000 0x000e0000 1: usable RAM",
          "0x000e0000 0x000e2000 3: ACPI tables, reclaimable",
          "0x000e2000 0x10000000 1: usable RAM",
        ],
      );
    });

    it("decodes a register bit by bit once it is opened", async () => {
      await page.click('[data-register="cr0"] > summary');
      const fields = await cells('[data-register="cr0"]');
      const set = fields.filter(([, , value]) => value === "0x1").map(([bits, name]) => `${bits} ${name}`);
      assert.deepEqual(set, ["31 PG", "0 PE"]);
    });

    it("unfolds the page tables down to the pages", async () => {
      const tree = await page.innerText("#page-tables .tree");
      assert.match(tree, /PML4 at 0x4000/);
      assert.match(tree, /0x00000000-0x40000000 onto itself: 512 × 2 MiB/);
    });

    it("explains the header's fields", async () => {
      const machine = (await cells("#header")).find(([, , name]) => name === "e_machine");
      assert.deepEqual(machine, ["0x12", "2", "e_machine", "0x3e", "x86-64"]);
    });

    /** A region's name in the picture: the two of the kernel by what they are. */
    const drawn = (tag: string, start: bigint): string =>
      tag === "linux-kernel" ? `kernel: ${start === 0x100_0000n ? "code" : "data"}` : tag;

    it("has a picture whose regions the keyboard reaches one by one, each with its details", async () => {
      const names: unknown = await page.evaluate(
        `[...document.querySelectorAll("#memory-map .region:not(.hole)")].map((region) => region.dataset.name + " " + region.dataset.start).sort()`,
      );
      const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: MEMORY, commandLine: COMMAND_LINE });
      assert.deepEqual(
        names,
        guest.regions
          .map(({ tag, range }) => `${drawn(tag, range.start)} 0x${range.start.toString(16)}`)
          .sort(),
      );
      await page.focus("#memory-map .picture");
      const reached: string[] = [];
      for (let press = 0; press < guest.regions.length; press++) {
        await page.keyboard.press("Tab");
        const focused: unknown = await page.evaluate(
          `document.activeElement.dataset.name + " " + document.activeElement.dataset.start`,
        );
        reached.push(String(focused));
        const details = await page.innerText("#memory-map .region-details h3");
        assert.equal(
          details,
          String(focused)
            .replace(/^kernel: \w+/, "linux-kernel")
            .split(" ")[0],
        );
      }
      assert.deepEqual(reached.sort(), names);
    });

    it("shows the first 16 MiB alone if asked to", async () => {
      await page.getByLabel("First 16 MiB").check();
      assert.match(await page.innerHTML("#memory-map .picture"), /16 MiB/);
      assert.match(await page.innerHTML("#memory-map .picture"), /linux-zeropage/);
      await page.getByLabel("All RAM").check();
    });

    it("loads again when an option changes, and only then", async () => {
      await page.fill("#memory", "64M");
      await page.locator("#e820 tbody tr", { hasText: "0x04000000" }).waitFor();
      await page.fill("#memory", "lots");
      assert.equal(await page.getAttribute("#memory", "aria-invalid"), "true");
      assert.equal(await page.innerText("#memory-hint"), "give a size, such as 64M or 2G");
      assert.equal(await page.getAttribute("body", "data-state"), "loaded");
      await page.fill("#memory", "256M");
      await page.locator("#e820 tbody tr", { hasText: "0x10000000" }).waitFor();
    });

    it("says why it can't be booted here", async () => {
      assert.ok(await page.isDisabled("#boot-button"));
      assert.match(await page.innerText("#boot-refusal"), /v86 has a 32-bit x86 processor/);
    });
  });

  it("gives an export that is the command's, byte by byte", async () => {
    await loadKernel(page, i386, initrd);
    const own = join(folder, "page");
    mkdirSync(own);
    for (const [button, name] of [
      ["#export-manifest", "manifest.json"],
      ["#export-memory", "memory.bin"],
    ] as const) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
      assert.equal(download.suggestedFilename(), name);
      await download.saveAs(join(own, name));
    }
    const out = join(folder, "command");
    const args = [
      "export",
      i386,
      "--initrd",
      initrd,
      "--append",
      COMMAND_LINE,
      "--memory",
      "256M",
      "--out",
      out,
    ];
    const { status, stderr } = await directboot(args);
    assert.equal(status, 0, stderr);
    for (const name of ["manifest.json", "memory.bin"]) {
      assert.ok(readFileSync(join(own, name)).equals(readFileSync(join(out, name))), name);
    }
    await page.click("#initrd-clear");
    await untilState(page, "loaded");
  });

  it("shows a bar while the host decompresses, and takes it away", async () => {
    await page.setInputFiles("#kernel", i386);
    await page.locator("#progress-panel").waitFor();
    assert.match(await page.innerText("#progress-label"), /^(Reading|Decompressing|Loading|Checking)/);
    await untilState(page, "loaded");
    assert.ok(await page.isHidden("#progress-panel"));
  });

  it("says that a machine has more RAM than v86 takes", async () => {
    await page.fill("#memory", "2G");
    await page.press("#memory", "Enter");
    await untilState(page, "loaded");
    assert.match(await page.innerText("#boot-refusal"), /v86 takes at most 1 GiB of RAM/);
    await page.fill("#memory", "256M");
    await page.press("#memory", "Enter");
    await untilState(page, "loaded");
    assert.ok(await page.isEnabled("#boot-button"));
  });

  it("ends a load when asked to", async () => {
    await page.setInputFiles("#kernel", i386);
    await page.click("#cancel");
    await untilState(page, "empty");
    assert.ok(await page.isHidden("#report"));
  });

  it("loads a 64-bit bzImage by the entry that is chosen", async () => {
    await loadKernel(page, amd64);
    const guest = loadLinuxSync({ kernel: amd64, memory: MEMORY, decoders });
    assert.ok((await page.innerText(".summary")).includes(address(guest.info.kernel.entrypoint)));
    await page.selectOption("#entry", "32");
    await page.locator(".summary", { hasText: "32-bit protected mode, paging off" }).waitFor();
    assert.match(await page.innerText("#page-tables"), /Paging is off/);
  });

  it("shows the program headers of the vmlinux in a bzImage, and which of them each region of the kernel is", async () => {
    await loadKernel(page, amd64);
    writeFileSync(vmlinux, extractKernelSync(amd64, { decoders }).kernel);
    // "  LOAD           0x200000 0xffffffff81000000 0x0000000001000000 …": offset, virtual and physical address
    const numbers = (texts: readonly (string | undefined)[]): bigint[] =>
      texts.map((text) => BigInt(text ?? 0));
    const loads = [...runTool("binutils", "readelf", ["-lW", vmlinux]).matchAll(/^ +LOAD +(.*)$/gm)].map(
      ([, text = ""]) => numbers(text.split(/ +/).slice(0, 3)),
    );
    assert.ok(loads.length > 2);
    const headers = page.locator("#header .fold", { hasText: /^Program headers/ }).last();
    const rows = (await headers.locator("tbody tr").allInnerTexts()).map((row) => row.split("\t"));
    assert.deepEqual(
      rows.filter(([, type]) => type === "LOAD").map((row) => numbers(row.slice(3, 6))),
      loads,
    );
    const kernel = (await cells("#memory-map")).filter(([, , , , , tag]) => tag === "linux-kernel");
    assert.deepEqual(
      kernel.map(([from, , , , , , segment]) => numbers([segment?.split(", ")[2], from])),
      loads.map((load) => load.slice(1)),
    );
    const names = kernel.map(([, , , , , , segment]) => segment);
    assert.equal(new Set(names).size, loads.length);
  });

  it("shows the start info of a kernel that is entered by PVH", async () => {
    await loadKernel(page, vmlinux);
    await page.selectOption("#entry", "pvh");
    await page.locator("#told h2", { hasText: "Start info" }).waitFor();
    const magic = (await cells("#told")).find(([, , name]) => name === "magic");
    assert.deepEqual(magic?.slice(3), ["0x336ec578", "the mark of a start info"]);
  });

  it("plans an arm64 kernel with a bare tree where none is given, and says so", async () => {
    await page.click("#demo-arm64");
    await page.locator(".summary", { hasText: "a bare one that stands in" }).waitFor();
    assert.equal(await page.inputValue("#command-line"), "console=ttyAMA0");
    assert.ok(await page.isVisible("#device-tree"));
    assert.ok(await page.isHidden("#entry-field"));
    assert.match(await page.innerText("#registers"), /SCTLR_EL1/);
  });

  it("tells dropped files apart by what they are", async () => {
    await dropFiles(page, [
      ["archive", initrd],
      ["kernel", X86_64_GUEST],
    ]);
    await page.locator("#memory-map tbody tr", { hasText: "linux-initrd" }).waitFor();
    assert.match(await page.innerText("#kernel-chosen"), /^kernel, /);
    assert.match(await page.innerText("#initrd-chosen"), /^archive, /);
    assert.ok(await page.isHidden("#drop-veil"));
    await page.click("#initrd-clear");
    await untilState(page, "loaded");
  });

  it("says of two kernels that a guest has one, and keeps what there was", async () => {
    const before = await page.innerText("#kernel-chosen");
    await dropFiles(page, [
      ["one", X86_64_GUEST],
      ["other", i386],
    ]);
    await page.locator("#files-note", { hasText: "one and other are each a kernel" }).waitFor();
    assert.equal(await page.innerText("#kernel-chosen"), before);
    assert.equal(await page.getAttribute("body", "data-state"), "loaded");
  });

  it("says of an initrd alone, compressed or not, that a kernel is wanted, and takes it when that comes", async () => {
    const packed = join(folder, "packed.img");
    writeFileSync(packed, gzipSync(readFileSync(initrd)));
    for (const path of [initrd, packed]) {
      await page.reload();
      await dropFiles(page, [["archive", path]]);
      await page.locator("#files-note", { hasText: "an initrd" }).waitFor();
      assert.match(await page.innerText("#files-note"), /kernel/);
      assert.match(await page.innerText("#initrd-chosen"), /^archive, /);
      assert.equal(await page.getAttribute("body", "data-state"), "empty");
    }
    await dropFiles(page, [["kernel", X86_64_GUEST]]);
    await page.locator("#memory-map tbody tr", { hasText: "linux-initrd" }).waitFor();
    assert.equal(await page.innerText("#files-note"), "");
    await page.click("#initrd-clear");
    await untilState(page, "loaded");
  });

  it("tells a compressed kernel from a compressed initrd, also where there is a kernel", async () => {
    const packed = join(folder, "vmlinux.gz");
    writeFileSync(packed, gzipSync(readFileSync(X86_64_GUEST)));
    await dropFiles(page, [["vmlinux.gz", packed]]);
    await page.locator("#kernel-chosen", { hasText: "vmlinux.gz" }).waitFor();
    assert.equal(await page.innerText("#initrd-chosen"), "");
    await untilState(page, "loaded");
  });

  it("shows an error with its code, the value and the cure, and the headers as far as they can be read", async () => {
    await page.setInputFiles("#kernel", broken);
    await untilState(page, "failed");
    const text = await page.innerText("#problem");
    assert.match(text, /broken-vmlinuz can't be loaded/);
    assert.match(text, /BZIMAGE_TRUNCATED/);
    assert.match(text, /What helps: Check that the file is complete\./);
    assert.equal(await page.getAttribute("#problem", "role"), "alert");
  });

  it("has nothing that axe-core objects to, light and dark, in any state", async () => {
    const states: readonly (readonly [name: string, go: () => Promise<void>])[] = [
      ["failed", async () => {}],
      [
        "loaded",
        async () => {
          await loadKernel(page, i386);
          await page.evaluate(`for (const each of document.querySelectorAll("details")) each.open = true`);
        },
      ],
      ["arm64", () => loadKernel(page, AARCH64_GUEST)],
      ["empty", async () => void (await page.reload())],
    ];
    for (const [name, go] of states) {
      await go();
      for (const theme of ["Light", "Dark"]) {
        await page.getByLabel(theme, { exact: true }).check();
        assert.deepEqual(await axeViolations(page), [], `${name}, ${theme}`);
      }
    }
    await page.getByLabel("Auto", { exact: true }).check();
  });

  it("fits a phone: rows of tables stack, and nothing scrolls sideways", async () => {
    const wide = async (): Promise<unknown> =>
      await page.evaluate(`[document.documentElement, ...document.querySelectorAll(".scroller, .tree, .dump")]
        .filter((element) => element.scrollWidth > element.clientWidth)
        .map((element) => element.getAttribute("aria-label") ?? element.className)`);
    await page.setViewportSize({ width: 390, height: 844 });
    try {
      await page.reload();
      assert.deepEqual(await wide(), [], "empty");
      for (const kernel of [i386, amd64, AARCH64_GUEST]) {
        await loadKernel(page, kernel);
        await page.evaluate(`for (const each of document.querySelectorAll("details")) each.open = true`);
        assert.deepEqual(await wide(), [], kernel);
      }
      await page.setInputFiles("#kernel", broken);
      await untilState(page, "failed");
      assert.deepEqual(await wide(), [], "failed");
    } finally {
      await page.setViewportSize({ width: 1280, height: 900 });
    }
  });

  it("asks nothing of other servers, and does nothing that its policy forbids", () => {
    assert.deepEqual(trouble, []);
    assert.deepEqual(server.missing, []);
  });

  describe("under a policy that forbids WebAssembly", () => {
    let strict: InspectorServer;
    let strictPage: Page;

    before(async () => {
      strict = await serveInspector(POLICY_WITHOUT_WASM);
      strictPage = await context.newPage();
      strictPage.setDefaultTimeout(120_000);
      await strictPage.goto(strict.url);
    });
    after(() => strict?.close());

    it("loads a kernel by the JavaScript twins, to the same checksums", async () => {
      await strictPage.click("#demo");
      await untilState(strictPage, "loaded");
      assert.match(await strictPage.innerText(".summary"), /by JavaScript/);
      const guest = loadLinuxSync({
        kernel: X86_64_GUEST,
        memory: MEMORY,
        commandLine: COMMAND_LINE,
        crc32: true,
      });
      const text = await strictPage.innerText("#memory-map");
      for (const { crc32 = 0 } of guest.regions) {
        assert.ok(text.includes(crc32.toString(16).padStart(8, "0")), text);
      }
    });

    it("says that a kernel can't be booted for want of WebAssembly", async () => {
      await loadKernel(strictPage, i386);
      assert.ok(await strictPage.isDisabled("#boot-button"));
      assert.match(await strictPage.innerText("#boot-refusal"), /'wasm-unsafe-eval'/);
    });
  });
});

it("the page's colour is the system's until the reader chooses", async () => {
  const server = await serveInspector(STRICT_POLICY);
  const context = await launchChromium(join(folder, "dark"), { colorScheme: "dark" });
  try {
    const page = await context.newPage();
    await page.goto(server.url);
    const ground = (): Promise<unknown> => page.evaluate("getComputedStyle(document.body).backgroundColor");
    assert.equal(await ground(), "rgb(19, 21, 23)");
    await page.getByLabel("Light", { exact: true }).check();
    assert.equal(await ground(), "rgb(247, 246, 243)");
    await page.reload();
    assert.equal(await ground(), "rgb(247, 246, 243)");
  } finally {
    await context.close();
    server.close();
  }
});
