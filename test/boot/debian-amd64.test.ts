/**
 * Debian's amd64 kernel reaches userspace in QEMU from exactly the pages and registers that directboot made, and
 * sees what the plan says: once through the command `boot`, once from an export by a script that shares no code.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { directboot, runProgram } from "../support/command.js";
import { inRoot } from "../support/paths.js";
import { busybox, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import { busyboxInitramfs, DEFAULT_INIT, type InitReport, parseInitReport } from "./support/initramfs.js";

const COMMAND_LINE = "console=ttyS0 reboot=t panic=-1 directboot.test=42";
// Seconds; two guests at a time on a busy machine have needed 18.
const TIMEOUT = "240";

interface Manifest {
  readonly version: number;
  readonly arch: string;
  readonly entryMode: string;
  readonly regions: readonly {
    gpa: string;
    length: string;
    fileLength: string;
    offset: string;
    tag: string;
  }[];
  readonly registers: Record<string, string | Record<string, string>>;
  readonly info: {
    kernel: { gpa: string; size: string; entrypoint: string };
    initrd: { gpa: string; size: string };
  };
}

describe("Debian's amd64 kernel", () => {
  const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
  const initrd = join(folder, "initrd.img");
  const out = join(folder, "export");
  let vmlinux = "";

  before(async () => {
    const { vmlinuz } = await debianKernel("amd64");
    vmlinux = await extractVmlinux(vmlinuz);
    const box = readFileSync(await busybox("amd64"));
    writeFileSync(initrd, busyboxInitramfs({ busybox: box, init: DEFAULT_INIT }));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const checkReport = (report: InitReport | undefined, megabytes: number): void => {
    assert.ok(report?.complete, "init did not reach its marker");
    assert.equal(report.cmdline, COMMAND_LINE);
    const last = (megabytes * (1 << 20) - 1).toString(16);
    const page = (hex: string): string => hex.padStart(16, "0");
    // e820 as the kernel read it from the zero page
    assert.deepEqual(
      report.dmesg
        .filter((line) => line.includes("BIOS-e820"))
        .map((line) => line.replace(/^\[[^\]]*\] /, "")),
      [
        `BIOS-e820: [mem 0x${page("0")}-0x${page("dffff")}] usable`,
        `BIOS-e820: [mem 0x${page("e0000")}-0x${page("e1fff")}] ACPI data`,
        `BIOS-e820: [mem 0x${page("e2000")}-0x${page(last)}] usable`,
      ],
    );
    const iomem = report.iomem.map((line) => line.trim());
    assert.ok(iomem.includes("000e0000-000e1fff : ACPI Tables"), report.iomem.join("\n"));
    // Linux takes 0xa0000-0xfffff out of the RAM that it is told of (the BIOS area).
    assert.ok(iomem.includes(`00100000-${last.padStart(8, "0")} : System RAM`), iomem.join("\n"));
    // Without KASLR's move the kernel's text starts where it was loaded.
    assert.ok(
      iomem.some((line) => /^01000000-[0-9a-f]+ : Kernel code$/.test(line)),
      iomem.join("\n"),
    );
  };

  test("reaches its init by `directboot boot`, which streams its log and its init's marker", async () => {
    const { status, stdout, stderr } = await directboot(
      [
        "boot",
        vmlinux,
        "--initrd",
        initrd,
        "--append",
        COMMAND_LINE,
        "--memory",
        "256M",
        "--timeout",
        TIMEOUT,
      ],
      { timeoutMs: 300_000 },
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /Linux version 6\./);
    assert.match(stdout, /Command line: console=ttyS0/);
    checkReport(parseInitReport(stdout), 256);
    assert.match(stderr, /linux-kernel/);
    assert.doesNotMatch(stderr, /\u2588|\u2591/, "no progress bar in a pipe");
  });

  test("reaches its init from an export, booted by a script that shares no code with directboot", async () => {
    const made = await directboot([
      ...["export", vmlinux, "--initrd", initrd, "--append", COMMAND_LINE, "--memory", "512M", "--out", out],
    ]);
    assert.equal(made.status, 0, made.stderr);
    const { status, stdout, stderr } = await runProgram(
      process.execPath,
      [inRoot("test/boot/independent-boot.mjs"), out, "--timeout", TIMEOUT],
      { timeoutMs: 300_000 },
    );
    assert.equal(status, 0, stderr);
    checkReport(parseInitReport(stdout), 512);
  });

  test("is exported as a manifest whose regions lie back to back in memory.bin, without their trailing zeros", async () => {
    const manifest: Manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    assert.deepEqual([manifest.version, manifest.arch, manifest.entryMode], [1, "x86_64", "long64"]);
    let next = 0n;
    for (const region of manifest.regions) {
      assert.equal(BigInt(region.offset), next);
      next += BigInt(region.fileLength);
      assert.ok(BigInt(region.fileLength) <= BigInt(region.length));
    }
    assert.equal(BigInt(statSync(join(out, "memory.bin")).size), next);
    const memory = readFileSync(join(out, "memory.bin"));
    for (const { tag, offset, fileLength } of manifest.regions) {
      const end = Number(BigInt(offset) + BigInt(fileLength));
      if (BigInt(fileLength) > 0n) assert.notEqual(memory[end - 1], 0, tag);
    }
    assert.equal(manifest.registers["rip"], manifest.info.kernel.entrypoint);
    assert.equal(manifest.info.kernel.gpa, "0x1000000");
    assert.equal(BigInt(manifest.info.initrd.size), BigInt(statSync(initrd).size));
    const readelf = await runProgram("readelf", ["-hW", vmlinux]);
    assert.match(readelf.stdout, new RegExp(`Entry point address: +${manifest.info.kernel.entrypoint}\\b`));
  });
});
