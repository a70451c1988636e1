/**
 * Debian's arm64 kernel reaches userspace in QEMU from exactly the pages and registers that directboot made, and finds the device
 * tree, the initrd and the RAM of the plan.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { loadLinux, loadLinuxSync, planLinuxSync } from "../../src/index.js";
import { pipe } from "../decoders/tools.js";
import { directboot } from "../support/command.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";
import { ARM64_COMMAND_LINE, bootByCommand, bootExport, longCommandLine } from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import {
  busyboxInitramfs,
  initThatAlso,
  initValues,
  newcArchive,
  parseInitReport,
} from "./support/initramfs.js";

const MIB = 1 << 20;
/** COMMAND_LINE_SIZE of arm64 less the NUL (arch/arm64/include/uapi/asm/setup.h). */
const LONGEST_COMMAND_LINE = 2047;

const INIT = initThatAlso(
  'echo "second: $($b cat /second 2>&1)"',
  "for end in start end; do",
  `  echo "initrd-$end: $($b od -An -v -tx1 /proc/device-tree/chosen/linux,initrd-$end | $b tr -d ' ')"`,
  "done",
  'echo "tree: $($b sha256sum </sys/firmware/fdt)"',
);

const folder = tempFolder();
const path = (name: string): string => join(folder, name);

describe("Debian's arm64 kernel", () => {
  const initrd = path("initrd.img");
  let image = "";
  before(async () => {
    image = (await debianKernel("arm64")).vmlinuz;
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("arm64")), init: INIT }));
  });

  it("is refused when its file is cut off anywhere, and not for its signature", () => {
    const [whole, memory] = [readFileSync(image), 256 * MIB];
    const plan = (byteLength: number): unknown =>
      planLinuxSync({ kernel: whole.subarray(0, byteLength), memory, deviceTree: memoryTree(memory) });
    for (const byteLength of [MIB, whole.length >> 1, whole.length - 0x1000]) {
      assert.throws(() => plan(byteLength), refusal("ARM64_READ_KERNEL_IMAGE", `${byteLength} bytes`));
    }
    // Debian signs its kernels behind the last section.
    plan(whole.length);
  });

  it("starts by `directboot boot` as Image.gz, with QEMU's own tree, the longest command line and two initrds", async () => {
    const packed = path("Image.gz");
    writeFileSync(packed, pipe("gzip", ["-1c"], readFileSync(image)));
    const second = newcArchive([{ type: "file", name: "second", data: "from the second archive" }]);
    writeFileSync(path("second.cpio.gz"), gzipSync(second));
    const commandLine = longCommandLine(ARM64_COMMAND_LINE, LONGEST_COMMAND_LINE);
    const { serial, told } = await bootByCommand([
      ...[packed, "--initrd", initrd, "--initrd", path("second.cpio.gz"), "--append", commandLine],
    ]);
    assert.equal(parseInitReport(serial)?.cmdline, commandLine);
    assert.deepEqual(initValues(serial, "second"), ["from the second archive"]);
    assert.match(told, /linux-device-tree/);
    assert.match(told, /starting qemu-system-aarch64/);
    const { status, stderr } = await directboot(["boot", image, "--append", `${commandLine}a`]);
    assert.equal(status, 1);
    assert.match(stderr, /COMMAND_LINE_TOO_LONG: .*2048 bytes.* 2047/);
  });

  it("starts from an export by a script that shares no code, as Image.zst, and finds what the manifest says", async () => {
    const packed = path("Image.zst");
    writeFileSync(packed, pipe("zstd", ["-q", "-c"], readFileSync(image)));
    const machineTree = path("512M.dtb");
    runTool("qemu-system-arm", "qemu-system-aarch64", [
      ...["-machine", `virt,dumpdtb=${machineTree},dtb-randomness=off`],
      ...["-cpu", "cortex-a57", "-m", "512M", "-smp", "1"],
    ]);
    const out = path("export");
    const { status, stderr } = await directboot([
      ...["export", packed, "--initrd", initrd, "--append", ARM64_COMMAND_LINE],
      ...["--memory", "512M", "--dtb", machineTree, "--out", out],
    ]);
    assert.equal(status, 0, stderr);
    const { version, arch, entryMode, ram, regions, registers, info } = JSON.parse(
      readFileSync(join(out, "manifest.json"), "utf8"),
    );
    assert.deepEqual([version, arch, entryMode], [1, "aarch64", "aarch64"]);
    assert.deepEqual(ram, [{ start: "0x40000000", end: "0x60000000" }]);
    assert.deepEqual(
      regions.map(({ tag }: { tag: string }) => tag),
      ["linux-kernel", "linux-device-tree", "linux-initrd"],
    );
    const memory = readFileSync(join(out, "memory.bin"));
    const bytesOf = (index: number): Buffer => {
      const { offset, fileLength } = regions[index];
      return memory.subarray(Number(offset), Number(offset) + Number(fileLength));
    };
    // booting.rst, section 4: text_offset and image_size.
    const file = readFileSync(image);
    assert.equal(BigInt(regions[0].gpa), 0x4020_0000n + file.readBigUInt64LE(8));
    assert.ok(BigInt(regions[0].length) >= file.readBigUInt64LE(16));
    const kernel = bytesOf(0);
    assert.ok(kernel.equals(file.subarray(0, kernel.length)));
    assert.deepEqual([registers.pc, registers.x0], [info.kernel.entrypoint, info.dtb.start]);

    // The export leaves the zeros at the tree's end out.
    const tree = new Uint8Array(Number(info.dtb.end) - Number(info.dtb.start));
    tree.set(bytesOf(1));
    writeFileSync(path("exported.dtb"), tree);
    const chosen = (type: string, name: string): string =>
      runTool("device-tree-compiler", "fdtget", ["-t", type, path("exported.dtb"), "/chosen", name]).trim();
    assert.equal(chosen("s", "bootargs"), ARM64_COMMAND_LINE);
    const initrdEnd = BigInt(info.initrd.gpa) + BigInt(info.initrd.size);
    assert.equal(chosen("x", "linux,initrd-end"), `0 ${initrdEnd.toString(16)}`);

    const { serial } = await bootExport(out);
    const report = parseInitReport(serial);
    assert.equal(report?.cmdline, ARM64_COMMAND_LINE);
    assert.match(report?.uname ?? "", / aarch64 /);
    const iomem = report?.iomem.join("\n") ?? "";
    assert.match(iomem, /^40000000-5fffffff : System RAM$/m);
    // Nobody moves the kernel: it runs where it was loaded.
    const [, code = "", end = ""] = /^ *([0-9a-f]+)-([0-9a-f]+) : Kernel code$/m.exec(iomem) ?? [];
    const kernelEnd = BigInt(info.kernel.entrypoint) + BigInt(info.kernel.size);
    assert.ok(BigInt(info.kernel.entrypoint) <= BigInt(`0x${code}`) && BigInt(`0x${end}`) < kernelEnd, iomem);
    const cells = (address: bigint): string[] => [address.toString(16).padStart(16, "0")];
    assert.deepEqual(initValues(serial, "initrd-start"), cells(BigInt(info.initrd.gpa)));
    assert.deepEqual(initValues(serial, "initrd-end"), cells(initrdEnd));
    // The kernel keeps the tree that x0 led it to, and shows it only if it is unharmed.
    const digest = createHash("sha256").update(tree).digest("hex");
    assert.match(initValues(serial, "tree")[0] ?? "", new RegExp(`^${digest}`));
  });

  it("is the same guest from xz with the arm64 filter, and from a gzipped stream", async () => {
    const packed = path("Image.xz");
    const args = ["-c", "--check=crc32", "--arm64", "--lzma2=preset=0"];
    writeFileSync(packed, pipe("xz", args, readFileSync(image)));
    const memory = 256 * MIB;
    const deviceTree = memoryTree(memory);
    const plain = loadLinuxSync({ kernel: image, memory, deviceTree });
    const wanted = plain.memory.crc32(0x4000_0000, memory);
    for (const kernel of [
      packed,
      Readable.toWeb(createReadStream(path("Image.gz"))) as ReadableStream<Uint8Array>,
    ]) {
      const guest = await loadLinux({ kernel, memory, deviceTree });
      assert.deepEqual(guest.info, plain.info);
      assert.equal(guest.memory.crc32(0x4000_0000, memory), wanted);
    }
  });
});
