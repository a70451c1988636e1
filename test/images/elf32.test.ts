import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ElfImage, EM_386, EM_X86_64, readElf } from "../../src/images/elf.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import { runAsync, runSync } from "../../src/task/run.js";
import type { ElfShape } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { outcome } from "../support/refusal.js";
import { asyncOnly } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();

function read(bytes: Uint8Array, machine?: number): ElfImage {
  return runSync(readElf(new BytesSource(bytes, "vmlinux"), machine, 32));
}

describe("readElf of an ELF32", () => {
  it("says of a linked i386 program what readelf says", () => {
    const source = join(folder, "guest.s");
    const object = join(folder, "guest.o");
    const program = join(folder, "guest.elf");
    writeFileSync(source, ".globl _start\n_start: hlt\n.data\n.long 1\n.bss\n.skip 5000\n");
    runTool("binutils", "as", ["--32", "-o", object, source]);
    runTool("binutils", "ld", ["-m", "elf_i386", "-o", program, object]);
    const file = new FileSource(program);
    const image = runSync(readElf(file, EM_386, 32));
    file.close();
    const text = runTool("binutils", "readelf", ["-hlW", program]);
    assert.match(text, new RegExp(`Entry point address: +0x${image.entry.toString(16)}\\n`));
    // Type Offset VirtAddr PhysAddr FileSiz MemSiz Flg Align
    const rows = [
      ...text.matchAll(/^ {2}LOAD +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+) ([R ][W ][E ]) (0x\w+)$/gm),
    ];
    assert.deepEqual(
      image.programHeaders
        .filter(({ type }) => type === 1)
        .map((header) => [
          header.offset,
          header.virtualAddress,
          header.physicalAddress,
          header.fileSize,
          header.memorySize,
          `${header.flags & 4 ? "R" : " "}${header.flags & 2 ? "W" : " "}${header.flags & 1 ? "E" : " "}`,
          header.alignment,
        ]),
      rows.map(([, offset = "", vaddr = "", paddr = "", filesz = "", memsz = "", flags = "", align = ""]) => [
        ...[offset, vaddr, paddr, filesz, memsz].map(BigInt),
        flags,
        BigInt(align),
      ]),
    );
    assert.ok(rows.length >= 2);
  });

  it("gives back every field that a file was made of", async () => {
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    const word = fc.bigInt({ min: 0n, max: 0xffff_ffffn });
    const aSegment = fc.record({
      type: u32,
      flags: u32,
      vaddr: word,
      paddr: word,
      memsz: word,
      align: word,
      offset: word,
      filesz: word,
    });
    const anElf = fc.record({
      type: fc.nat(0xffff),
      machine: fc.nat(0xffff),
      version: u32,
      entry: word,
      segments: fc.array(aSegment, { maxLength: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(anElf, async (shape) => {
        const bytes = makeElf32({ ...shape, byteLength: 52 + shape.segments.length * 32 });
        const image = read(bytes, shape.machine);
        assert.deepEqual(image, await runAsync(readElf(asyncOnly(bytes), shape.machine, 32)));
        assert.deepEqual(image, {
          type: shape.type,
          machine: shape.machine,
          entry: shape.entry,
          programHeaderOffset: 52n,
          programHeaders: shape.segments.map((segment) => ({
            type: segment.type,
            flags: segment.flags,
            offset: segment.offset,
            virtualAddress: segment.vaddr,
            physicalAddress: segment.paddr,
            fileSize: segment.filesz,
            memorySize: segment.memsz,
            alignment: segment.align,
          })),
        });
      }),
    );
  });

  it("tells faults in the order of readElf, by the same codes", () => {
    const bigEndian = [0x7f, 0x45, 0x4c, 0x46, 1, 2, 1];
    const badMagic = [0x7f, 0x45, 0x4c, 0x47, 1, 2, 1];
    const rows: readonly (readonly [ElfShape, string])[] = [
      [{ ident: badMagic, machine: 62, phnum: 9, byteLength: 51 }, "ELF_READ_FILE_HEADER"],
      [{ ident: badMagic, machine: 62, phnum: 9 }, "ELF_INVALID_FILE_HEADER"],
      [{ ident: bigEndian, machine: 62, phnum: 9 }, "ELF_BIG_ENDIAN_ELF_ON_LITTLE"],
      [{ machine: EM_X86_64, phnum: 9 }, "ELF_TARGET_MACHINE_MISMATCH"],
      [{ phnum: 9 }, "ELF_INVALID_PROGRAM_HEADER"],
      [{ segments: [{}], phentsize: 56 }, "ELF_INVALID_PROGRAM_HEADER"],
      [{}, "accepted"],
    ];
    for (const [shape, code] of rows)
      assert.equal(
        outcome(() => read(makeElf32(shape), EM_386)),
        code,
      );
  });
});
