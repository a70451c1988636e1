/**
 * Kernels that were decompressed before the guest starts reach their userspace in QEMU: the ELF out of Debian's bzImages,
 * Debian's arm64 Image out of xz and zstd; and a kernel whose compressed initrd is handed to it plain.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import { extractKernel, loadLinux, loadLinuxSync } from "../../src/index.js";
import { pipe } from "../decoders/tools.js";
import { directboot } from "../support/command.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";
import { ARM64_COMMAND_LINE, bootByCommand, bootLoaded, X86_COMMAND_LINE } from "./support/boot-guest.js";
import { busybox, type DebianArchitecture, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import { busyboxInitramfs, parseInitReport } from "./support/initramfs.js";

const MEMORY = 256 << 20;
const folder = tempFolder();

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

interface Debian {
  readonly kernel: string;
  readonly initrd: string;
}

async function debian(arch: DebianArchitecture): Promise<Debian> {
  const initrd = join(folder, `initrd-${arch}`);
  writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox(arch)) }));
  return { kernel: (await debianKernel(arch)).vmlinuz, initrd };
}

function checkUserspace(serial: string, commandLine: string, machine: RegExp): void {
  const report = parseInitReport(serial);
  assert.equal(report?.cmdline, commandLine);
  assert.match(report?.uname ?? "", machine);
}

describe("Debian's amd64 bzImage, decompressed on the host", () => {
  let kernel = "";
  let initrd = "";
  before(async () => {
    ({ kernel, initrd } = await debian("amd64"));
  });
  const commandLine = X86_COMMAND_LINE;

  it("reaches its init, as loadLinux does it by default", async () => {
    const guest = await loadLinux({ kernel, initrd, commandLine, memory: MEMORY });
    assert.deepEqual([guest.decompression?.by, guest.decompression?.format], ["host", "lz4-legacy"]);
    assert.equal(guest.entryMode, "long64");
    checkUserspace((await bootLoaded(guest)).serial, commandLine, / x86_64 /);
  });

  it("reaches its init by `directboot boot`, with a zstd-compressed initrd that it gets plain", async () => {
    const packed = join(folder, "initrd.zst");
    writeFileSync(packed, pipe("zstd", ["-q", "-c"], readFileSync(initrd)));
    const { serial, told } = await bootByCommand([
      ...[kernel, "--initrd", packed, "--decompress-initrd"],
      ...["--append", commandLine, "--memory", "256M"],
    ]);
    checkUserspace(serial, commandLine, / x86_64 /);
    assert.match(told, /by the host +LZ4/);
    const guest = await loadLinux({ kernel, initrd: packed, decompressInitrd: true, memory: MEMORY });
    const { gpa, size } = guest.info.initrd ?? { gpa: 0n, size: 0n };
    assert.ok(isSame(guest.memory.read(gpa, Number(size)), readFileSync(initrd)));
  });

  it("reaches its init by PVH: the note is in the ELF inside", async () => {
    const guest = await loadLinux({ kernel, initrd, commandLine, memory: MEMORY, entry: "pvh" });
    assert.deepEqual([guest.decompression?.by, guest.entryMode], ["host", "protected32"]);
    checkUserspace((await bootLoaded(guest)).serial, commandLine, / x86_64 /);
  });

  it("is the guest that the vmlinux inside is, but for the setup header, which is the bzImage's", async () => {
    const vmlinux = await extractVmlinux(kernel);
    const options = { initrd, commandLine, memory: MEMORY };
    const packed = loadLinuxSync({ ...options, kernel, decoders });
    const plain = loadLinuxSync({ ...options, kernel: vmlinux });
    assert.deepEqual(packed.info, plain.info);
    assert.deepEqual(packed.registerList, plain.registerList);
    const bytesOf = ({ memory, registers }: typeof plain): Uint8Array => {
      const bytes = memory.read(0, MEMORY);
      bytes.fill(0, Number(registers.rsi), Number(registers.rsi) + 4096);
      return bytes;
    };
    assert.ok(isSame(bytesOf(packed), bytesOf(plain)));
    // boot.rst: the header's end is told by the byte at 0x201.
    const file = readFileSync(kernel);
    const page = packed.memory.read(packed.registers.rsi ?? 0n, 4096);
    // From xloadflags on, but for setup_data, it is as in the file.
    assert.ok(isSame(page.subarray(0x230, 0x250), file.subarray(0x230, 0x250)));
    assert.equal(new DataView(page.buffer).getUint16(0x206, true), file.readUInt16LE(0x206));
  });

  it("stays with its own code for the 32-bit entry, and is refused if the host is asked for", () => {
    const options = { kernel, memory: MEMORY, entry: "32", decoders } as const;
    const guest = loadLinuxSync(options);
    assert.deepEqual([guest.decompression?.by, guest.entryMode], ["guest", "protected32"]);
    assert.throws(
      () => loadLinuxSync({ ...options, decompress: "host" }),
      refusal("X86_ENTRY_NOT_AVAILABLE", "entry 32"),
    );
  });
});

describe("Debian's i386 bzImage, decompressed on the host", () => {
  it("reaches its init, xz and the x86 filter undone", async () => {
    const { kernel, initrd } = await debian("i386");
    const guest = await loadLinux({ kernel, initrd, commandLine: X86_COMMAND_LINE, memory: MEMORY });
    assert.deepEqual([guest.decompression?.by, guest.decompression?.format], ["host", "xz"]);
    assert.equal(guest.entryMode, "protected32");
    checkUserspace((await bootLoaded(guest)).serial, X86_COMMAND_LINE, / i[56]86 /);
  });
});

describe("Debian's arm64 Image, compressed", () => {
  let kernel = "";
  let initrd = "";
  before(async () => {
    ({ kernel, initrd } = await debian("arm64"));
  });

  for (const [name, tool, args] of [
    ["Image.xz", "xz", ["-c", "--check=crc32", "--arm64", "--lzma2=preset=0"]],
    ["Image.zst", "zstd", ["-q", "-c"]],
  ] as const) {
    it(`reaches its init as ${name}, unpacked by \`directboot boot\``, async () => {
      const packed = join(folder, name);
      const image = readFileSync(kernel);
      writeFileSync(packed, pipe(tool, args, image));
      const { serial } = await bootByCommand([
        ...[packed, "--initrd", initrd, "--append", ARM64_COMMAND_LINE, "--memory", "256M"],
      ]);
      checkUserspace(serial, ARM64_COMMAND_LINE, / aarch64 /);
      const guest = await loadLinux({ kernel: packed, memory: MEMORY });
      const plain = await loadLinux({ kernel, memory: MEMORY });
      assert.deepEqual(guest.info, plain.info);
      assert.ok(isSame(guest.memory.read(0x4000_0000, MEMORY), plain.memory.read(0x4000_0000, MEMORY)));
    });
  }
});

describe("directboot extract", () => {
  for (const [arch, elfClass, machine] of [
    ["amd64", "ELF64", /X86-64/],
    ["i386", "ELF32", /Intel 80386/],
  ] as const) {
    it(`gives an ELF that readelf reads, out of Debian's ${arch} bzImage, as the library does`, async () => {
      const { kernel } = await debian(arch);
      const out = join(folder, `vmlinux-${arch}`);
      const { status, stderr } = await directboot(["extract", kernel, "-o", out]);
      assert.equal(status, 0, stderr);
      const header = runTool("binutils", "readelf", ["-hlW", out]);
      assert.match(header, new RegExp(`Class: +${elfClass}\n`));
      assert.match(header, machine);
      assert.match(header, /LOAD .* R E /);
      assert.ok(isSame(readFileSync(out), (await extractKernel(kernel)).kernel));
      if (arch === "amd64") assert.ok(isSame(readFileSync(out), readFileSync(await extractVmlinux(kernel))));
    });
  }
});
