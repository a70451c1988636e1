/** A project that has directboot installed, with the files that the documentation names. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { AARCH64_GUEST, inRoot, ROOT } from "../support/paths.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

/** An ELF with one segment at 16 MiB and Xen's note with the entry there (XEN_ELFNOTE_PHYS32_ENTRY is 18). */
function makePvhKernel(): Uint8Array {
  const note = new Uint8Array(new Uint32Array([4, 4, 18, 0x6e_6558, 0x100_0000]).buffer);
  const fill = new Uint8Array(0x2000);
  fill.set(note, 0x200);
  fill.fill(0xcc, 0x1000);
  const kernel = { offset: 0x1000n, vaddr: 0x100_0000n, paddr: 0x100_0000n, filesz: 0x1000n, memsz: 0x2000n };
  const notes = { type: 4, offset: 0x200n, filesz: BigInt(note.byteLength), align: 4n };
  return makeElf({ entry: 0x100_0000n, segments: [kernel, notes], fill });
}

const MEMORY_NODE = 'memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x10000000>; };';

/** Makes the folder; it is removed after the tests of the file. */
export function makeProjectFolder(): string {
  const folder = tempFolder();
  const path = (name: string): string => join(folder, name);
  mkdirSync(path("node_modules/.bin"), { recursive: true });
  symlinkSync(ROOT, path("node_modules/directboot"));
  symlinkSync(inRoot("node_modules/v86"), path("node_modules/v86"));
  mkdirSync(path("node_modules/@types"));
  symlinkSync(inRoot("node_modules/@types/node"), path("node_modules/@types/node"));
  symlinkSync("../directboot/dist/cli.js", path("node_modules/.bin/directboot"));
  writeFileSync(path("package.json"), '{ "name": "project", "private": true, "type": "module" }\n');

  writeFileSync(path("vmlinuz"), makeBzImage());
  // loadflags 1, xloadflags 0: LOADED_HIGH, and no 64-bit entry.
  writeFileSync(path("vmlinuz-i386"), makeBzImage({ fields: [[0x236, 2, 0]] }));
  writeFileSync(path("vmlinux"), makePvhKernel());
  writeFileSync(path("vmlinux.gz"), gzipSync(makePvhKernel()));
  runTool("xz-utils", "xz", ["--keep", "--check=crc32", path("vmlinux")]);
  copyFileSync(AARCH64_GUEST, path("Image"));
  for (const [index, name] of ["initrd.img", "microcode.cpio", "modules.cpio"].entries()) {
    writeFileSync(path(name), noise(10_001 + index, index + 1));
  }
  writeFileSync(path("rsdp.bin"), "RSD PTR ".padEnd(36, "\0"));
  writeFileSync(path("tables.bin"), noise(500));
  writeFileSync(
    path("machine.dts"),
    `/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; ${MEMORY_NODE} };`,
  );
  const dtb = ["-q", "-O", "dtb", "-o", path("machine.dtb"), path("machine.dts")];
  runTool("device-tree-compiler", "dtc", dtb);
  return folder;
}
