/** The programs in examples/, run as a user would run them, from the built package. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { planLinuxSync } from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { type CommandResult, runProgram } from "../support/command.js";
import { inRoot, X86_64_GUEST } from "../support/paths.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();
const guest = new Uint8Array(readFileSync(X86_64_GUEST));
const bzImage = join(folder, "vmlinuz");
writeFileSync(bzImage, makeBzImage({ code: noise(8192) }));

function example(name: string, ...args: string[]): Promise<CommandResult> {
  return runProgram(process.execPath, [inRoot(`examples/${name}`), ...args]);
}

/** Its output, line by line. */
async function output(name: string, ...args: string[]): Promise<string[]> {
  const { status, stdout, stderr } = await example(name, ...args);
  assert.equal(stderr, "");
  assert.equal(status, 0);
  return stdout.trimEnd().split("\n");
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

describe("examples/emulator.mjs", () => {
  it("shows the registers, and the zero page as the emulator reads it from its own memory", async () => {
    const lines = await output("emulator.mjs", X86_64_GUEST);
    const plan = planLinuxSync({ kernel: guest, memory: 128 << 20 });
    assert.equal(lines[0], `${X86_64_GUEST}: a 64-bit ELF file for x86_64`);
    assert.equal(lines[1], "start in long64");
    const shown = lines.filter((line) => line.startsWith("  ")).map((line) => line.trim().split(" ")[0]);
    assert.deepEqual(
      shown,
      plan.registerList.map(({ name }) => name),
    );
    assert.ok(lines.includes(`  ${"rip".padEnd(15)} value ${hex(plan.info.kernel.entrypoint)}`));
    const after = lines.slice(lines.findIndex((line) => line.startsWith("command line")));
    assert.deepEqual(after.slice(0, 4), [
      "command line at 0x3000: console=ttyS0",
      "e820 0x0-0xe0000 type 1",
      "e820 0xe0000-0xe2000 type 3",
      "e820 0xe2000-0x8000000 type 1",
    ]);
  });

  it("loads the same through an importer that only writes, by the kernel's 32-bit entry if it has one", async () => {
    const wide = await output("emulator.mjs", X86_64_GUEST);
    assert.match(wide.at(-2) ?? "", /^through an importer: \d+ writes, rip 0x10\w+$/);
    assert.equal(wide.at(-1), "the code there is the same");
    const both = await output("emulator.mjs", bzImage);
    assert.ok(both.includes("start in long64"));
    assert.match(both.at(-2) ?? "", /, rip 0x1000000$/);
    assert.equal(both.at(-1), "the code there is the same");
  });
});

describe("examples/worker.mjs", () => {
  it("loads in a worker, into memory that both threads see", async () => {
    const { info } = planLinuxSync({ kernel: guest, memory: 128 << 20 });
    assert.deepEqual(await output("worker.mjs", X86_64_GUEST), [
      `entry ${hex(info.kernel.entrypoint)}, command line console=ttyS0`,
    ]);
  });
});

describe("examples/node-script.mjs", () => {
  it("prints where everything lies with its CRC-32, and that two guests of one plan are equal", async () => {
    const initrds = [1, 2].map((seed) => join(folder, `initrd-${seed}`));
    for (const [index, path] of initrds.entries()) writeFileSync(path, noise(5000, index));
    const lines = await output("node-script.mjs", bzImage, ...initrds, "--append", "quiet", "--memory", "64");
    assert.deepEqual(lines.slice(0, 2), [
      "x86_64, entered in long64 at 0x1000200",
      "from        to          CRC-32    what",
    ]);
    assert.deepEqual(
      lines.slice(2, -1).map((line) => line.replace(/ +[0-9a-f]{8} +/, " ").replace(/ +/g, " ")),
      [
        "0x1000 0x2000 default-gdt",
        "0x2000 0x3000 linux-zeropage",
        "0x3000 0x4000 linux-commandline",
        "0x4000 0xa000 linux-pagetables",
        "0xe0000 0xe1000 linux-rdsp",
        "0xe1000 0xe2000 linux-acpi-tables",
        "0x1000000 0x1002000 linux-kernel",
        "0x1200000 0x1203000 linux-initrd",
      ],
    );
    assert.equal(lines.at(-1), "two guests, equal; each has a memory of its own");
  });

  it("tells what is wrong by its code, and fails", async () => {
    const { status, stderr } = await example("node-script.mjs", bzImage, "--memory", "1");
    assert.equal(status, 1);
    assert.match(stderr, /^[A-Z_]+: /);
  });
});

describe("examples/download.mjs", () => {
  const compressed = gzipSync(guest);
  const answers: Record<string, RequestListener> = {
    "/vmlinux.gz": (_request, response) => response.end(compressed),
    "/encoded": (_request, response) => {
      response.writeHead(200, { "content-encoding": "gzip" }).end(compressed);
    },
    "/stalls": (_request, response) => {
      response.writeHead(200, { "content-length": guest.byteLength }).write(guest.subarray(0, 6000));
    },
  };
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? ""];
    if (answer === undefined) response.writeHead(404).end();
    else answer(request, response);
  });
  let base = "";
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    base = `http://127.0.0.1:${address.port}`;
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  for (const [path, what] of [
    ["/vmlinux.gz", "a gzipped kernel"],
    ["/encoded", "a kernel that the server compresses"],
  ] as const) {
    it(`loads ${what} while it arrives, and reports its progress`, async () => {
      const lines = await output("download.mjs", `${base}${path}`);
      const plan = planLinuxSync({ kernel: guest, commandLine: "console=ttyS0", memory: 256 << 20 });
      assert.match(lines[0] ?? "", /^read 0 (%|MiB), 0 of (\d+|\?) bytes$/);
      const entry = lines.indexOf(`x86_64 kernel, entry ${hex(plan.info.kernel.entrypoint)}`);
      assert.match(lines[entry - 1] ?? "", /^load 100 %, (\d+) of \1 bytes$/);
      const regions = lines.slice(entry + 1).map((line) => line.replace(/ [0-9a-f]+$/, ""));
      assert.deepEqual(regions.sort(), plan.pages.map(({ range, tag }) => `${range} ${tag}`).sort());
    });
  }

  it("ends when its time is over", async () => {
    const { status, stderr } = await example("download.mjs", `${base}/stalls`, "1");
    assert.equal(status, 1);
    assert.match(stderr, /^ABORTED: /);
  });

  it("says what the server answered", async () => {
    const { status, stderr } = await example("download.mjs", `${base}/nothing`);
    assert.equal(status, 1);
    assert.match(stderr, /^SOURCE_READ: .*404/);
  });
});
