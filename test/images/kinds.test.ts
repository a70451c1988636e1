/** What a file is that is no kernel, in words, and what to do instead. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import * as decoders from "../../src/decoders/index.js";
import { detectKernelSync, extractKernelSync, loadLinux, planLinuxSync } from "../../src/index.js";
import { inspectKernelSync } from "../../src/inspect/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeElf, type SegmentShape } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { refusal } from "../support/refusal.js";
import { makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();
const MIB = 1 << 20;
const RAM = 64 * MIB;

/** A file of zeros but for these bytes, a character each. */
function at(offset: number, magic: string, byteLength = offset + magic.length + 600): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  bytes.set(Buffer.from(magic, "latin1"), offset);
  return bytes;
}

function portableExecutable(machine: number, sections: readonly string[]): Uint8Array {
  const bytes = at(0, "MZ", 0x600);
  const view = new DataView(bytes.buffer);
  view.setUint32(0x3c, 0x80, true);
  bytes.set(Buffer.from("PE\0\0"), 0x80);
  view.setUint16(0x84, machine, true);
  view.setUint16(0x86, sections.length, true);
  view.setUint16(0x94, 240, true);
  for (const [index, name] of sections.entries()) bytes.set(Buffer.from(name), 0x188 + 40 * index);
  return bytes;
}

/** A master boot record with one partition. */
function partitioned(): Uint8Array {
  const bytes = at(0x1fe, "\x55\xaa", 4096);
  bytes.set([0xeb, 0x63, 0x90]);
  bytes.set([0x80, 0, 2, 0, 0x83, 0, 0, 0], 0x1be);
  return bytes;
}

/** A device tree of dtc's. */
function deviceTree(body: string): Uint8Array {
  const [source, blob] = [join(folder, "tree.dts"), join(folder, "tree.dtb")];
  writeFileSync(source, `/dts-v1/; / { ${body} };`);
  runTool("device-tree-compiler", "dtc", ["-q", "-I", "dts", "-O", "dtb", "-o", blob, source]);
  return readFileSync(blob);
}

function archived(debianPackage: string, tool: string, flags: string, name: string): Uint8Array {
  const member = join(folder, "member");
  writeFileSync(member, "a member");
  runTool(debianPackage, tool, [flags, join(folder, name), member]);
  return readFileSync(join(folder, name));
}

const FILES: Readonly<Record<string, Uint8Array | (() => Uint8Array)>> = {
  "an empty file": new Uint8Array(0),
  "a file of zeros": new Uint8Array(70_000),
  "a text file": Buffer.from("vmlinux\n"),
  "a script": Buffer.from("#!/bin/sh\necho vmlinuz\n"),
  "an HTML page": Buffer.from("\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"),
  "a pointer of Git LFS": Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
  "a cpio archive, as initrds are": at(0, "07070100000001"),
  "a cpio archive of an old format": at(0, "070707000001"),
  "a tar archive": () => archived("tar", "tar", "-cPf", "a.tar"),
  "an ar archive": () => archived("binutils", "ar", "rcs", "a.a"),
  "a Debian package": at(0, "!<arch>\ndebian-binary   1"),
  "an RPM package": at(0, "\xed\xab\xee\xdb"),
  "a ZIP archive": at(0, "PK\x03\x04"),
  "a device tree": () => deviceTree('compatible = "a"; memory@0 { device_type = "memory"; };'),
  "a FIT image": () => deviceTree('description = "fit"; images { kernel { data = "k"; }; };'),
  "a uImage": at(0, "\x27\x05\x19\x56"),
  "an Android boot image": at(0, "ANDROID!"),
  "an Android vendor boot image": at(0, "VNDRBOOT"),
  "a PE file, such as an EFI application, for x86-64": portableExecutable(0x8664, [".text\0\0\0"]),
  "a unified kernel image (UKI), an EFI application for arm64": portableExecutable(0xaa64, [
    ".osrel\0\0",
    ".linux\0\0",
  ]),
  "a DOS program": at(0, "MZ"),
  "a riscv64 Image": at(0x30, "RISCV\0\0\0RSC\x05"),
  "a zImage for 32-bit ARM": at(0x24, "\x18\x28\x6f\x01"),
  "a kernel for s390": at(8, "\x02\0\0\x18\x60\0\0\x50"),
  "a multiboot kernel": at(512, "\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4"),
  "a multiboot2 kernel": at(16_384, "\xd6\x50\x52\xe8\0\0\0\0\x18\0\0\0\x12\xaf\xad\x17"),
  "a disk image with a partition table (MBR)": partitioned(),
  "a disk image with a partition table (GPT)": at(512, "EFI PART"),
  "a qcow2 disk image": at(0, "QFI\xfb"),
  "a squashfs image": at(0, "hsqs"),
  "an ext2, ext3 or ext4 image": at(0x438, "\x53\xef"),
  "a Btrfs image": at(0x1_0040, "_BHRfS_M"),
  "an ISO 9660 image": at(0x8001, "CD001"),
  "an EROFS image": at(1024, "\xe2\xe1\xf5\xe0"),
  "a FAT image": at(0x36, "FAT16   "),
  "a boot sector": at(0x1fe, "\x55\xaa"),
  "a UEFI firmware image": at(0x28, "_FVH"),
  "a file of unknown format (it starts with 4b 45 52 4e)": at(0, "KERN"),
};

/** An ELF whose one segment fits a guest, and that differs from a kernel in what is given. */
const SEGMENT: SegmentShape = {
  offset: 0x1000n,
  vaddr: 0x100_0000n,
  paddr: 0x100_0000n,
  filesz: 0x1000n,
  memsz: 0x1000n,
};
const ELF = { entry: 0x100_0000n, segments: [SEGMENT], byteLength: 0x2000 };
const multiboot = new Uint8Array(0x2000);
multiboot.set(at(0, "\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4", 12), 0x1000);

describe("a file that is no kernel", () => {
  for (const [name, given] of Object.entries(FILES)) {
    it(`is named: ${name}`, async () => {
      const bytes = typeof given === "function" ? given() : given;
      const named = refusal("NO_KERNEL_INSIDE", ` is ${name}`);
      assert.throws(() => planLinuxSync({ kernel: bytes, memory: RAM }), named);
      assert.throws(() => extractKernelSync(bytes), named);
      await assert.rejects(loadLinux({ kernel: makeStream(bytes).stream, memory: RAM }), named);
      assert.ok(detectKernelSync(bytes).description.startsWith(name), detectKernelSync(bytes).description);
      const { refusal: why, description } = inspectKernelSync(bytes);
      assert.equal(why?.code, "NO_KERNEL_INSIDE");
      assert.ok(description.startsWith(name), description);
    });
  }

  it("is blamed where its wrapper is only that", async () => {
    const inner = new Uint8Array(3 * MIB);
    inner.set(at(0, "070701"));
    const packed = gzipSync(inner);
    const named = refusal("NO_KERNEL_INSIDE", "the gzip-compressed data in it is a cpio archive");
    assert.throws(() => planLinuxSync({ kernel: packed, memory: RAM, decoders }), named);
    await assert.rejects(loadLinux({ kernel: makeStream(packed).stream, memory: RAM }), named);
    await assert.rejects(loadLinux({ kernel: packed, memory: RAM, decompressInto: "buffer" }), named);
    assert.match(
      inspectKernelSync(packed, { decoders }).refusal?.message ?? "",
      /data in it is a cpio archive/,
    );
  });

  it("is named where so little of a stream may be kept that only its first bytes are known", async () => {
    const bytes = new Uint8Array(MIB);
    bytes.set(at(0, "070701"));
    await assert.rejects(
      loadLinux({ kernel: makeStream(bytes).stream, memory: RAM, spoolLimit: 4096 }),
      refusal("NO_KERNEL_INSIDE", "cpio"),
    );
  });
});

describe("an ELF that is no kernel for x86", () => {
  const rows: readonly (readonly [string, Uint8Array, ...Parameters<typeof refusal>])[] = [
    ["one for arm64", makeElf({ ...ELF, machine: 183 }), "ELF_TARGET_MACHINE_MISMATCH", "arm64", "Image"],
    ["one for riscv", makeElf({ ...ELF, machine: 243 }), "ELF_TARGET_MACHINE_MISMATCH", "riscv"],
    ["one for 32-bit ARM", makeElf32({ ...ELF, machine: 40 }), "ELF_TARGET_MACHINE_MISMATCH", "ELF for arm "],
    ["an object file", makeElf({ type: 1 }), "ELF_NO_LOADABLE_SEGMENT", "object file or a kernel module"],
    ["one without segments", makeElf({ entry: 0x10_0000n }), "ELF_NO_LOADABLE_SEGMENT", "PT_LOAD"],
    [
      "a program for Linux",
      makeElf({ ...ELF, segments: [{ type: 3, offset: 64n }, SEGMENT] }),
      "NO_KERNEL_INSIDE",
      "runs under Linux",
    ],
    [
      "the decompressor of a bzImage, which is linked at 0",
      makeElf({ ...ELF, entry: 0x200n, segments: [{ ...SEGMENT, vaddr: 0n, paddr: 0n }] }),
      "ELF_INVALID_ENTRY_ADDRESS",
      "bzImage",
    ],
    [
      "one with a segment below 1 MiB",
      makeElf({ ...ELF, segments: [SEGMENT, { ...SEGMENT, paddr: 0x9000n }] }),
      "ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET",
      "0x9000",
    ],
    [
      "one whose entry is a virtual address",
      makeElf({
        ...ELF,
        entry: 0xffff_ffff_8100_0010n,
        segments: [{ ...SEGMENT, vaddr: 0xffff_ffff_8100_0000n }],
      }),
      "X86_ENTRY_NOT_MAPPED",
      "virtual address",
      "0x1000010",
    ],
    ["a multiboot kernel", makeElf({ ...ELF, fill: multiboot }), "NO_KERNEL_INSIDE", "multiboot"],
    ["a 32-bit multiboot kernel", makeElf32({ ...ELF, fill: multiboot }), "NO_KERNEL_INSIDE", "multiboot"],
  ];
  for (const [name, bytes, code, ...words] of rows) {
    it(`is refused with the reason, by a load and by an inspection, packed or not: ${name}`, () => {
      for (const kernel of [bytes, gzipSync(bytes)]) {
        const load = (): unknown => planLinuxSync({ kernel, memory: RAM, decoders });
        assert.throws(load, refusal(code, ...words));
        try {
          load();
        } catch (cause) {
          assert.doesNotMatch(String(cause), /kernelMinimumStartAddress|load offset|loadLinux/);
        }
        assert.equal(inspectKernelSync(kernel, { decoders }).refusal?.code, code);
      }
    });
  }

  it("is taken if it is a multiboot kernel whose entry of another protocol is asked for", () => {
    const kernel = makeElf({ ...ELF, fill: multiboot });
    assert.equal(planLinuxSync({ kernel, entry: "64", memory: RAM }).entryMode, "long64");
  });
});

describe("a kernel", () => {
  it("may have an empty PT_LOAD at address 0", () => {
    const empty = { type: 1, offset: 0n, vaddr: 0n, paddr: 0n, filesz: 0n, memsz: 0n };
    const kernel = makeElf({ ...ELF, segments: [empty, SEGMENT] });
    const { info } = planLinuxSync({ kernel, memory: RAM });
    assert.deepEqual([info.kernel.gpa, info.kernel.size], [0x100_0000n, 0x1000n]);
  });

  it("is not memdisk, which has the header of one, and wants a BIOS", () => {
    const code = new Uint8Array(4096);
    const memdisk = makeBzImage({ version: 0x203, code, fields: [[0x20e, 2, 0x80]] });
    assert.ok(planLinuxSync({ kernel: memdisk, memory: RAM }));
    memdisk.set(Buffer.from("MEMDISK 6.04 6.04"), 0x280);
    assert.throws(() => planLinuxSync({ kernel: memdisk, memory: RAM }), refusal("NO_KERNEL_INSIDE", "BIOS"));
    assert.equal(inspectKernelSync(memdisk).refusal?.code, "NO_KERNEL_INSIDE");
  });
});
