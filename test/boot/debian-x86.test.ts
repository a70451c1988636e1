/**
 * Debian's amd64 and i386 kernels reach userspace in QEMU from exactly the pages and registers that directboot made, by every
 * entry that they have. Their init reads back what they were told. Each boot shows several things at once.
 */
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import * as decoders from "../../src/decoders/index.js";
import { loadLinux, loadLinuxSync, planLinuxSync } from "../../src/index.js";
import { E820_RESERVED } from "../../src/loader.js";
import { pipe } from "../decoders/tools.js";
import { directboot } from "../support/command.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";
import { x86Registers } from "../support/x86-registers.js";
import {
  BY_GUEST,
  bootByCommand,
  bootExport,
  bootLoaded,
  longCommandLine,
  X86_COMMAND_LINE,
} from "./support/boot-guest.js";
import { busybox, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";
import {
  busyboxInitramfs,
  initThatAlso,
  initValues,
  newcArchive,
  parseInitReport,
} from "./support/initramfs.js";

const MIB = 1 << 20;
const MEMORY = 256 * MIB;
/** A processor without instructions for random numbers: its kernel has only those that it was given. */
const CPU_WITHOUT_RANDOM = "max,-rdrand,-rdseed";
/** /proc/sys/kernel/bootloader_type: a loader without a number (boot.rst), and PVH outside Xen (enlighten.c). */
const LOADER = { own: "255", pvh: "176" };

const INIT = initThatAlso(
  'echo "second: $($b cat /second 2>&1)"',
  'echo "loader: $($b cat /proc/sys/kernel/bootloader_type)"',
  "for entry in /sys/firmware/memmap/*; do",
  "  read start <$entry/start; read end <$entry/end; read type <$entry/type",
  '  echo "memmap: $start $end $type"',
  "done",
  "for node in /sys/kernel/boot_params/setup_data/*; do",
  '  read type <$node/type && echo "setup-data: $type"',
  "done",
  "$b dmesg | $b sed -n 's/^.*\\] \\(random: crng init\\|Memory:\\) .*$/early: \\1/p'",
);

const folder = tempFolder();
const path = (name: string): string => join(folder, name);
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

function checkUserspace(serial: string, loader = LOADER.own, commandLine = X86_COMMAND_LINE): void {
  const report = parseInitReport(serial);
  assert.equal(report?.cmdline, commandLine);
  assert.match(report?.uname ?? "", / (x86_64|i[56]86) /);
  assert.deepEqual(initValues(serial, "loader"), [loader]);
}

describe("Debian's amd64 kernel", () => {
  const initrd = path("amd64.img");
  let bzImage = "";
  let vmlinux = "";
  before(async () => {
    bzImage = (await debianKernel("amd64")).vmlinuz;
    vmlinux = await extractVmlinux(bzImage);
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("amd64")), init: INIT }));
  });

  it("starts by `directboot boot`, unpacked by the host, with the longest command line and two initrds", async () => {
    // cmdline_size of the setup header.
    const longest = readFileSync(bzImage).readUInt32LE(0x238);
    assert.equal(longest, 2047);
    const commandLine = longCommandLine(X86_COMMAND_LINE, longest);
    // The next archive starts at a multiple of 4 bytes, and the first one does not end there.
    const packed = gzipSync(readFileSync(initrd));
    const odd = packed.length % 4 === 0 ? Buffer.concat([packed, new Uint8Array(1)]) : packed;
    writeFileSync(path("first.cpio.gz"), odd);
    const second = newcArchive([{ type: "file", name: "second", data: "from the second archive" }]);
    writeFileSync(path("second.cpio"), second);
    const { serial, told } = await bootByCommand([
      ...[
        bzImage,
        "--initrd",
        path("first.cpio.gz"),
        "--initrd",
        path("second.cpio"),
        "--append",
        commandLine,
      ],
    ]);
    checkUserspace(serial, LOADER.own, commandLine);
    assert.match(serial, /Linux version 6\./);
    assert.deepEqual(initValues(serial, "second"), ["from the second archive"]);
    assert.match(told, /by the host +LZ4/);
    assert.match(told, /linux-pagetables/);
    assert.doesNotMatch(told, /\u2588|\u2591/, "no progress bar in a pipe");
    const plan = () => planLinuxSync({ kernel: bzImage, commandLine: `${commandLine}a`, memory: MEMORY });
    assert.throws(plan, refusal("COMMAND_LINE_TOO_LONG", "2048", "2047"));
  });

  it("starts as a bzImage at 1 MiB by the 64-bit entry, unpacked by itself, its initrd above 4 GiB", async () => {
    const guest = await loadLinux({
      ...{ ...BY_GUEST, kernel: bzImage, initrd, commandLine: X86_COMMAND_LINE, memory: 6n << 30n },
      addresses: { kernel: 0x10_0000n, initrd: 0x1_4000_0000n },
    });
    assert.equal(x86Registers(guest).rip, 0x10_0200n);
    const { serial } = await bootLoaded(guest);
    checkUserspace(serial);
    assert.match(serial, /RAMDISK: \[mem 0x140000000-0x140[0-9a-f]{6}\]/);
    const iomem = parseInitReport(serial)?.iomem ?? [];
    assert.ok(iomem.includes("100000000-1bfffffff : System RAM"), iomem.join("\n"));
  });

  for (const [name, kernel, entry] of [
    ["a vmlinux by the 64-bit entry", () => vmlinux, "64"],
    ["a bzImage by the 32-bit entry", () => bzImage, "32"],
  ] as const) {
    it(`finds all of 303 e820 entries and its random seed in setup_data, as ${name}`, async () => {
      // Every third page from 128 MiB on.
      const reservations = Array.from({ length: 150 }, (_, index) => {
        const start = 0x800_0000n + BigInt(index) * 0x3000n;
        return { start, end: start + 0x1000n, type: E820_RESERVED };
      });
      const rngSeed = Uint8Array.from({ length: 32 }, (_, index) => (index * 73 + 41) & 255);
      const guest = await loadLinux({
        ...{
          kernel: kernel(),
          entry,
          initrd,
          commandLine: X86_COMMAND_LINE,
          memory: MEMORY,
          reservations,
          rngSeed,
        },
      });
      const { serial } = await bootLoaded(guest, { cpu: CPU_WITHOUT_RANDOM });
      checkUserspace(serial);
      const expected = ["0x0 0xdffff System RAM", "0xe0000 0xe1fff ACPI Tables"];
      let next = 0xe_2000n;
      const add = (end: bigint, type: string): void => {
        expected.push(`${hex(next)} ${hex(end - 1n)} ${type}`);
        next = end;
      };
      for (const { start, end } of reservations) {
        add(start, "System RAM");
        add(end, "Reserved");
      }
      add(BigInt(MEMORY), "System RAM");
      assert.equal(expected.length, 303);
      const start = (line: string): number => Number(line.split(" ")[0]);
      assert.deepEqual(
        initValues(serial, "memmap").sort((a, b) => start(a) - start(b)),
        expected,
      );
      // The zero page has room for 128 (E820_MAX_ENTRIES_ZEROPAGE); the rest came by setup_data.
      const fromZeroPage = parseInitReport(serial)?.dmesg.filter((line) => line.includes("BIOS-e820"));
      assert.equal(fromZeroPage?.length, 128);
      // asm/bootparam.h: SETUP_E820_EXT is 1, SETUP_RNG_SEED is 9.
      assert.deepEqual(initValues(serial, "setup-data"), ["0x1", "0x9"]);
      // The seed is read before memory is counted; nothing else fills the pool that early.
      assert.deepEqual(initValues(serial, "early"), ["random: crng init", "Memory:"]);
    });
  }

  it("starts by PVH on a PC, as a bzImage whose ELF has the note", async () => {
    const { serial, told } = await bootByCommand([
      ...[bzImage, "--entry", "pvh", "--machine", "pc", "--initrd", initrd, "--append", X86_COMMAND_LINE],
    ]);
    checkUserspace(serial, LOADER.pvh);
    assert.match(told, /linux-start-info/);
    assert.doesNotMatch(told, /linux-zeropage|linux-pagetables/);
  });

  const exportTo = async (out: string, ...args: readonly string[]) => {
    const { status, stderr } = await directboot([
      ...["export", ...args, "--append", X86_COMMAND_LINE, "--memory", "512M", "--out", out],
    ]);
    assert.equal(status, 0, stderr);
    return JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
  };

  it("starts from an export by a script that shares no code: a vmlinux, its zstd initrd unpacked", async () => {
    const packed = path("initrd.zst");
    writeFileSync(packed, pipe("zstd", ["-q", "-c"], readFileSync(initrd)));
    const out = path("long64");
    const manifest = await exportTo(out, vmlinux, "--initrd", packed, "--decompress-initrd");
    assert.deepEqual([manifest.version, manifest.arch, manifest.entryMode], [1, "x86_64", "long64"]);
    const memory = readFileSync(join(out, "memory.bin"));
    let next = 0;
    for (const { offset, fileLength, length, tag } of manifest.regions) {
      assert.equal(Number(offset), next, tag);
      next += Number(fileLength);
      assert.ok(Number(fileLength) <= Number(length), tag);
      if (Number(fileLength) > 0) assert.notEqual(memory[next - 1], 0, `${tag} ends in zeros`);
    }
    assert.equal(memory.length, next);
    assert.equal(Number(manifest.info.initrd.size), statSync(initrd).size);
    const entry = /Entry point address: +(0x\w+)/.exec(runTool("binutils", "readelf", ["-hW", vmlinux]))?.[1];
    assert.equal(manifest.registers.rip, entry);

    const { serial } = await bootExport(out);
    checkUserspace(serial);
    const report = parseInitReport(serial);
    const page = (address: string): string => `0x${address.padStart(16, "0")}`;
    assert.deepEqual(
      report?.dmesg
        .filter((line) => line.includes("BIOS-e820"))
        .map((line) => line.replace(/^.*BIOS-e820: /, "")),
      [
        `[mem ${page("0")}-${page("dffff")}] usable`,
        `[mem ${page("e0000")}-${page("e1fff")}] ACPI data`,
        `[mem ${page("e2000")}-${page("1fffffff")}] usable`,
      ],
    );
    // Without KASLR the kernel's text starts where it was loaded.
    const iomem = report?.iomem.join("\n") ?? "";
    assert.match(iomem, /^ *01000000-[0-9a-f]+ : Kernel code$/m);
  });

  it("starts from an export by that script: a vmlinux for PVH", async () => {
    const out = path("pvh");
    const { entryMode, registers, info } = await exportTo(out, vmlinux, "--entry", "pvh", "--initrd", initrd);
    assert.equal(entryMode, "protected32");
    assert.deepEqual([registers.rip, registers.rbx], [info.kernel.entrypoint, "0x2000"]);
    checkUserspace((await bootExport(out)).serial, LOADER.pvh);
  });

  it("is the guest that the vmlinux inside is, but for the setup header, which is the bzImage's", () => {
    const options = { initrd, commandLine: X86_COMMAND_LINE, memory: MEMORY };
    const packed = loadLinuxSync({ ...options, kernel: bzImage, decoders });
    const plain = loadLinuxSync({ ...options, kernel: vmlinux });
    assert.deepEqual(packed.info, plain.info);
    assert.deepEqual(packed.registerList, plain.registerList);
    const [a, b] = [packed, plain].map((guest) => guest.memory.read(0, MEMORY).fill(0, 0x2000, 0x3000));
    assert.equal(Buffer.compare(a ?? new Uint8Array(), b ?? new Uint8Array()), 0);
    // boot.rst: from kernel_alignment to setup_data it is as in the file.
    const header = packed.memory.read(0x2000 + 0x230, 0x20);
    assert.equal(Buffer.compare(header, readFileSync(bzImage).subarray(0x230, 0x250)), 0);
  });
});

describe("Debian's i386 kernel", () => {
  const initrd = path("i386.img");
  let kernel = "";
  before(async () => {
    kernel = (await debianKernel("i386")).vmlinuz;
    writeFileSync(initrd, busyboxInitramfs({ busybox: readFileSync(await busybox("i386")), init: INIT }));
  });

  it("starts as the ELF32 inside, xz and its x86 filter undone by the host", async () => {
    const guest = await loadLinux({ kernel, initrd, commandLine: X86_COMMAND_LINE, memory: MEMORY });
    assert.deepEqual([guest.decompression?.by, guest.decompression?.format], ["host", "xz"]);
    assert.equal(guest.entryMode, "protected32");
    checkUserspace((await bootLoaded(guest)).serial);
  });

  it("starts as a bzImage by the 32-bit entry, from an export by a script that shares no code", async () => {
    const out = path("i386");
    const { status, stderr } = await directboot([
      ...["export", kernel, "--decompress", "guest", "--initrd", initrd],
      ...["--append", X86_COMMAND_LINE, "--memory", "256M", "--out", out],
    ]);
    assert.equal(status, 0, stderr);
    const { arch, entryMode, registers, info } = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    assert.deepEqual([arch, entryMode, registers.rip], ["i386", "protected32", info.kernel.gpa]);
    // boot.rst, "32-bit Boot Protocol"
    assert.deepEqual([registers.cs.selector, registers.ds.selector], ["0x10", "0x18"]);
    assert.deepEqual([registers.rbp, registers.rdi, registers.rbx], ["0x0", "0x0", "0x0"]);
    const { serial } = await bootExport(out);
    checkUserspace(serial);
    assert.match(parseInitReport(serial)?.iomem.join("\n") ?? "", /^00100000-0fffffff : System RAM$/m);
  });
});

describe("directboot extract", () => {
  for (const [arch, elfClass, machine] of [
    ["amd64", "ELF64", /X86-64/],
    ["i386", "ELF32", /Intel 80386/],
  ] as const) {
    it(`gives the ELF out of Debian's ${arch} bzImage that the kernel's own tools take out`, async () => {
      const { vmlinuz } = await debianKernel(arch);
      const out = path(`vmlinux-${arch}`);
      const { status, stderr } = await directboot(["extract", vmlinuz, "-o", out]);
      assert.equal(status, 0, stderr);
      const header = runTool("binutils", "readelf", ["-hW", out]);
      assert.match(header, new RegExp(`Class: +${elfClass}\n`));
      assert.match(header, machine);
      assert.equal(Buffer.compare(readFileSync(out), readFileSync(await extractVmlinux(vmlinuz))), 0);
    });
  }
});
