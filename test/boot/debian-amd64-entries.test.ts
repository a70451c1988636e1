/**
 * Debian's amd64 kernel by every entry that it has, as the distribution ships it (a bzImage) and as the ELF in it, each
 * time up to userspace in QEMU from the pages and registers that directboot made.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { loadLinux } from "../../src/index.js";
import { tempFolder } from "../support/temp-folder.js";
import { BY_GUEST, bootByCommand, bootLoaded, X86_COMMAND_LINE } from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import { busyboxInitramfs, initThatAlso, initValues, parseInitReport } from "./support/initramfs.js";

const MIB = 1 << 20;
/** What /proc/sys/kernel/bootloader_type says of a loader without a number of its own (boot.rst, `type_of_loader`). */
const UNDEFINED_LOADER = "255";
/** What Linux puts there itself when PVH starts it outside Xen: 0xb0 (arch/x86/platform/pvh/enlighten.c). */
const PVH_LOADER = "176";
/** Which archive it is that init runs from: no other on this machine says so. */
const TOKEN = `the archive of process ${process.pid}`;

describe("Debian's amd64 kernel", () => {
  const folder = tempFolder();
  const initrd = join(folder, "initrd.img");
  let bzImage = "";
  let vmlinux = "";
  before(async () => {
    bzImage = (await debianKernel("amd64")).vmlinuz;
    vmlinux = await extractVmlinux(bzImage);
    const init = initThatAlso(
      'echo "token: $($b cat /token)"',
      'echo "loader: $($b cat /proc/sys/kernel/bootloader_type)"',
    );
    writeFileSync(
      initrd,
      busyboxInitramfs({
        busybox: readFileSync(await busybox("amd64")),
        init,
        extra: [{ type: "file", name: "token", data: TOKEN }],
      }),
    );
  });

  const checkUserspace = (serial: string, loader: string): void => {
    const report = parseInitReport(serial);
    assert.equal(report?.cmdline, X86_COMMAND_LINE);
    assert.match(report?.uname ?? "", /x86_64/);
    assert.deepEqual(initValues(serial, "token"), [TOKEN]);
    assert.deepEqual(initValues(serial, "loader"), [loader]);
  };
  const byCommand = (kernel: string, ...args: string[]): ReturnType<typeof bootByCommand> =>
    bootByCommand([kernel, "--initrd", initrd, "--append", X86_COMMAND_LINE, ...args]);

  it("reaches its init as a bzImage by `directboot boot`, with its path alone to say what it is", async () => {
    const { serial, told } = await byCommand(bzImage);
    checkUserspace(serial, UNDEFINED_LOADER);
    assert.match(serial, /Linux version 6\./);
    assert.match(told, /linux-pagetables/);
  });

  it("reaches its init as a bzImage by the 32-bit entry", async () => {
    const { serial, told } = await byCommand(bzImage, "--entry", "32");
    checkUserspace(serial, UNDEFINED_LOADER);
    assert.match(told, /entry 0x01000000/);
    assert.match(told, /linux-gdt32/);
    assert.doesNotMatch(told, /linux-pagetables/);
  });

  for (const [where, entry, kernelAddress, entrypoint] of [
    ["16 MiB, its own choice,", "64", undefined, 0x100_0200n],
    ["1 MiB", "64", 0x10_0000n, 0x10_0200n],
    ["1 MiB", "32", 0x10_0000n, 0x10_0000n],
  ] as const) {
    it(`reaches its init as a bzImage that lies at ${where} by the ${entry}-bit entry`, async () => {
      const guest = await loadLinux({
        ...BY_GUEST,
        kernel: bzImage,
        initrd,
        commandLine: X86_COMMAND_LINE,
        memory: 256 * MIB,
        entry,
        addresses: { kernel: kernelAddress },
      });
      assert.equal(guest.info.kernel.gpa, kernelAddress ?? 0x100_0000n);
      assert.equal(guest.registers.rip, entrypoint);
      checkUserspace((await bootLoaded(guest)).serial, UNDEFINED_LOADER);
    });
  }

  it("reaches its init as a vmlinux by PVH, on a PC", async () => {
    const { serial, told } = await byCommand(vmlinux, "--entry", "pvh", "--machine", "pc");
    checkUserspace(serial, PVH_LOADER);
    assert.match(told, /linux-start-info/);
    assert.doesNotMatch(told, /linux-zeropage|linux-pagetables/);
  });

  describe("with 6 GiB of RAM and its initrd above 4 GiB", () => {
    const initrdAddress = 0x1_4000_0000n;
    const checkHighInitrd = (serial: string): void => {
      checkUserspace(serial, UNDEFINED_LOADER);
      // Linux says where it was told that the initrd lies; it has no other one.
      assert.match(serial, /RAMDISK: \[mem 0x140000000-0x140[0-9a-f]{6}\]/);
      const iomem = parseInitReport(serial)?.iomem ?? [];
      assert.ok(iomem.includes("100000000-1bfffffff : System RAM"), iomem.join("\n"));
    };

    it("runs its init as a bzImage", async () => {
      const commandLine = X86_COMMAND_LINE;
      const memory = 6n << 30n;
      const guest = await loadLinux({
        ...BY_GUEST,
        kernel: bzImage,
        initrd,
        addresses: { initrd: initrdAddress },
        commandLine,
        memory,
      });
      assert.equal(guest.registers.rip, 0x100_0200n);
      checkHighInitrd((await bootLoaded(guest)).serial);
    });

    it("runs its init as a vmlinux, by `directboot boot`", async () => {
      const address = ["--initrd-address", `0x${initrdAddress.toString(16)}`];
      const { serial } = await byCommand(vmlinux, "--memory", "6G", ...address);
      checkHighInitrd(serial);
    });
  });
});
