/** Debian's i386 kernel reaches userspace in v86 without any BIOS, decompressed by the host or by the guest. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { bootV86 } from "../../src/hosts/v86.js";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { makeV86, serialUntil } from "../support/v86.js";
import { busybox, debianKernel } from "./support/debian.js";
import { busyboxInitramfs, INIT_MARKER, parseInitReport } from "./support/initramfs.js";
import { runQemu } from "./support/qemu.js";

const COMMAND_LINE = "console=ttyS0 reboot=t panic=-1 directboot.test=42";
// An emulator in JavaScript on a busy machine.
const TIMEOUT_MILLISECONDS = 300_000;

describe("Debian's i386 kernel in v86", () => {
  const folder = tempFolder();
  const initrdPath = join(folder, "initrd.img");
  let vmlinuz = "";
  let initrd: Uint8Array = new Uint8Array();

  before(async () => {
    vmlinuz = (await debianKernel("i386")).vmlinuz;
    initrd = busyboxInitramfs({ busybox: readFileSync(await busybox("i386")) });
    writeFileSync(initrdPath, initrd);
  });

  const check = (serial: string): void => {
    assert.match(serial, /Linux version 6\./);
    const report = parseInitReport(serial);
    assert.ok(report?.complete, serial);
    assert.equal(report.cmdline, COMMAND_LINE);
    // The size of the emulator's RAM, which nobody stated.
    const last = `0x${(256 * (1 << 20) - 1).toString(16).padStart(16, "0")}`;
    assert.ok(
      report.dmesg.some((line) => line.includes(`${last}] usable`)),
      report.dmesg.join("\n"),
    );
    assert.match(report.uname ?? "", /i686/);
  };

  test("reaches its init from the example, decompressed by the host", async () => {
    const { serial, stderr, timedOut } = await runQemu({
      program: process.execPath,
      args: [inRoot("examples/v86.mjs"), vmlinuz, initrdPath, COMMAND_LINE],
      timeoutMs: TIMEOUT_MILLISECONDS,
      until: `${INIT_MARKER}\r\n`,
    });
    assert.ok(!timedOut, `${serial}\n${stderr}`);
    check(serial);
    assert.match(stderr, /^protected32 at 0x1[0-9a-f]+$/m);
  });

  test("reaches its init from a bzImage in memory that stays as it is, decompressed by the guest", async () => {
    const kernel = new Uint8Array(readFileSync(vmlinuz));
    const before = kernel.slice();
    const initrdBefore = initrd.slice();
    const emulator = makeV86({ memory_size: 256 << 20 });
    try {
      const serial = serialUntil(emulator, `${INIT_MARKER}\r\n`, TIMEOUT_MILLISECONDS);
      const guest = await bootV86(emulator, {
        kernel,
        initrd,
        commandLine: COMMAND_LINE,
        decompress: "guest",
      });
      assert.equal(guest.decompression?.by, "guest");
      check(await serial);
    } finally {
      await emulator.stop();
      await emulator.destroy();
    }
    assert.ok(Buffer.compare(kernel, before) === 0, "the kernel's buffer was changed");
    assert.ok(Buffer.compare(initrd, initrdBefore) === 0, "the initrd's buffer was changed");
  });
});
