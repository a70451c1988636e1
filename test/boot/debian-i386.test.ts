/**
 * Debian's i386 kernel, a 32-bit one, reaches userspace in QEMU from the pages and registers that directboot made: as the
 * bzImage that the distribution ships, as the ELF32 in it, and from an export by a script that shares no code.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { loadLinux } from "../../src/index.js";
import { directboot } from "../support/command.js";
import { tempFolder } from "../support/temp-folder.js";
import { BY_GUEST, bootByCommand, bootExport, bootLoaded, X86_COMMAND_LINE } from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import { busyboxInitramfs, parseInitReport } from "./support/initramfs.js";

describe("Debian's i386 kernel", () => {
  const folder = tempFolder();
  const initrd = join(folder, "initrd.img");
  let bzImage = "";
  before(async () => {
    bzImage = (await debianKernel("i386")).vmlinuz;
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("i386")) }));
  });
  const rest = ["--initrd", initrd, "--append", X86_COMMAND_LINE, "--memory", "256M"];

  const checkUserspace = (serial: string): void => {
    const report = parseInitReport(serial);
    assert.equal(report?.cmdline, X86_COMMAND_LINE);
    assert.match(report?.uname ?? "", / i[56]86 /);
    const iomem = report?.iomem.map((line) => line.trim()) ?? [];
    assert.ok(iomem.includes("00100000-0fffffff : System RAM"), iomem.join("\n"));
  };

  it("reaches its init as a bzImage by the 32-bit entry", async () => {
    const guest = await loadLinux({
      ...BY_GUEST,
      kernel: bzImage,
      initrd,
      commandLine: X86_COMMAND_LINE,
      memory: 256 << 20,
    });
    assert.equal(guest.entryMode, "protected32");
    assert.equal(guest.registers.rip, guest.info.kernel.gpa);
    checkUserspace((await bootLoaded(guest)).serial);
  });

  it("reaches its init as a bzImage by `directboot boot`, with its path alone to say what it is", async () => {
    const { serial, told } = await bootByCommand([bzImage, ...rest]);
    checkUserspace(serial);
    assert.match(told, /linux-gdt32/);
    assert.match(told, /starting qemu-system-i386/);
  });

  it("reaches its init as the vmlinux in it, which is an ELF32", async () => {
    const { serial, told } = await bootByCommand([await extractVmlinux(bzImage), ...rest]);
    checkUserspace(serial);
    assert.match(told, /linux-gdt32/);
  });

  it("reaches its init from an export, booted by a script that shares no code with directboot", async () => {
    const out = join(folder, "export");
    const { status, stderr } = await directboot(["export", bzImage, ...rest, "--out", out]);
    assert.equal(status, 0, stderr);
    const { arch, entryMode, registers } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    assert.deepEqual([arch, entryMode], ["i386", "protected32"]);
    // boot.rst, "32-bit Boot Protocol"
    assert.deepEqual([registers.cs.selector, registers.ds.selector], ["0x10", "0x18"]);
    assert.deepEqual([registers.rbp, registers.rdi, registers.rbx], ["0x0", "0x0", "0x0"]);
    assert.deepEqual([registers.cr0, registers.cr3, registers.efer], ["0x1", undefined, undefined]);
    checkUserspace((await bootExport(out)).serial);
  });
});
