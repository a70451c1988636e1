/**
 * Exports of Debian's amd64 kernel that start in protected mode, booted by a script that shares no code with directboot.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { directboot } from "../support/command.js";
import { tempFolder } from "../support/temp-folder.js";
import { bootExport, X86_COMMAND_LINE } from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import { busyboxInitramfs, parseInitReport } from "./support/initramfs.js";

describe("an export of Debian's amd64 kernel", () => {
  const folder = tempFolder();
  const initrd = join(folder, "initrd.img");
  let bzImage = "";
  let vmlinux = "";
  before(async () => {
    bzImage = (await debianKernel("amd64")).vmlinuz;
    vmlinux = await extractVmlinux(bzImage);
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("amd64")) }));
  });

  for (const [name, entry, kernel, register] of [
    ["a vmlinux for PVH", "pvh", () => vmlinux, "rbx"],
    ["a bzImage for the 32-bit entry", "32", () => bzImage, "rsi"],
  ] as const) {
    it(`reaches its init, of ${name}`, async () => {
      const out = join(folder, entry);
      const { status, stderr } = await directboot([
        ...["export", kernel(), "--entry", entry, "--initrd", initrd],
        ...["--append", X86_COMMAND_LINE, "--memory", "512M", "--out", out],
      ]);
      assert.equal(status, 0, stderr);
      const { arch, entryMode, registers, info } = JSON.parse(
        readFileSync(join(out, "manifest.json"), "utf8"),
      );
      assert.deepEqual([arch, entryMode], ["x86_64", "protected32"]);
      assert.equal(registers.rip, info.kernel.entrypoint);
      assert.equal(registers[register], "0x2000", "start info or boot_params");
      const report = parseInitReport((await bootExport(out)).serial);
      assert.equal(report?.cmdline, X86_COMMAND_LINE);
      assert.match(report?.uname ?? "", /x86_64/);
    });
  }
});
