/**
 * Debian's arm64 kernel reaches userspace in QEMU when its Image comes gzipped, from a file and from a stream; and its
 * init reads back a command line as long as the kernel takes.
 */
import assert from "node:assert/strict";
import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { dumpDeviceTree, EMULATORS } from "../../src/hosts/qemu/machines.js";
import { loadLinux, planLinuxSync } from "../../src/index.js";
import { StreamSource } from "../../src/sources/stream.js";
import { directboot, runProgram } from "../support/command.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { ARM64_COMMAND_LINE, bootByCommand, bootLoaded, longCommandLine } from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import {
  busyboxInitramfs,
  initThatAlso,
  initValues,
  newcArchive,
  parseInitReport,
} from "./support/initramfs.js";

const MIB = 1 << 20;
const MEMORY = 256 * MIB;
/** COMMAND_LINE_SIZE of arm64 less the NUL (arch/arm64/include/uapi/asm/setup.h). */
const LONGEST_COMMAND_LINE = 2047;

describe("Debian's arm64 kernel", () => {
  const folder = tempFolder();
  const packed = join(folder, "Image.gz");
  const initrd = join(folder, "initrd.img");
  let image = "";
  before(async () => {
    image = (await debianKernel("arm64")).vmlinuz;
    const { status } = await runProgram("sh", ["-c", 'gzip -1 -c "$1" >"$2"', "sh", image, packed]);
    assert.equal(status, 0);
    const init = initThatAlso('echo "second: $($b cat /second 2>&1)"');
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("arm64")), init }));
  });

  it("is refused when its file is cut off anywhere, and not for its signature", () => {
    const whole = readFileSync(image);
    const plan = (byteLength: number): unknown =>
      planLinuxSync({ kernel: whole.subarray(0, byteLength), memory: MEMORY });
    for (const byteLength of [MIB, whole.length >> 1, whole.length - 0x1000]) {
      assert.throws(() => plan(byteLength), refusal("ARM64_READ_KERNEL_IMAGE", `${byteLength} bytes`));
    }
    // Debian signs its kernels behind the last section.
    plan(whole.length);
  });

  it("reaches its init as a gzipped Image from a path", async () => {
    const { serial, told } = await bootByCommand([
      packed,
      "--initrd",
      initrd,
      "--append",
      ARM64_COMMAND_LINE,
    ]);
    const report = parseInitReport(serial);
    assert.equal(report?.cmdline, ARM64_COMMAND_LINE);
    assert.match(report?.uname ?? "", /aarch64/);
    assert.match(told, /starting qemu-system-aarch64/);
  });

  it("reaches its init as a gzipped Image from a stream", async () => {
    const emulator = EMULATORS.aarch64;
    const deviceTree = join(folder, "virt.dtb");
    const machine = { ...emulator, machine: emulator.machines[0], ramSize: BigInt(MEMORY) };
    await dumpDeviceTree(machine, deviceTree);
    const guest = await loadLinux({
      kernel: new StreamSource(Readable.toWeb(createReadStream(packed))),
      initrd,
      commandLine: ARM64_COMMAND_LINE,
      memory: MEMORY,
      deviceTree,
    });
    const report = parseInitReport((await bootLoaded(guest)).serial);
    assert.equal(report?.cmdline, ARM64_COMMAND_LINE);
    assert.match(report?.uname ?? "", /aarch64/);
  });

  it("finds its whole command line of exactly as many bytes as it takes, and its files in two initrds, one of them gzipped", async () => {
    const commandLine = longCommandLine(ARM64_COMMAND_LINE, LONGEST_COMMAND_LINE);
    const second = join(folder, "second.cpio.gz");
    writeFileSync(
      second,
      gzipSync(newcArchive([{ type: "file", name: "second", data: "from the second archive" }])),
    );
    const { serial } = await bootByCommand([
      ...[image, "--initrd", initrd, "--initrd", second, "--append", commandLine],
    ]);
    assert.equal(parseInitReport(serial)?.cmdline, commandLine);
    assert.deepEqual(initValues(serial, "second"), ["from the second archive"]);

    const { status, stderr } = await directboot(["boot", image, "--append", `${commandLine}a`]);
    assert.equal(status, 1);
    assert.match(stderr, /COMMAND_LINE_TOO_LONG: .*2048 bytes.* 2047/);
  });
});
