import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ElfImage, EM_AARCH64, EM_X86_64, PT_LOAD, PT_NOTE, readElf } from "../../src/images/elf.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import { runAsync, runSync } from "../../src/task/run.js";
import { type ElfShape, IDENT, makeElf } from "../support/elf-maker.js";
import { X86_64_GUEST } from "../support/paths.js";
import { outcome, refusal } from "../support/refusal.js";
import { asyncOnly } from "../support/sources.js";
import { runTool } from "../support/tool.js";

function read(bytes: Uint8Array, machine?: number): ElfImage {
  return runSync(readElf(new BytesSource(bytes, "vmlinux"), machine));
}

const PT_NAMES: Readonly<Record<string, number>> = {
  NULL: 0,
  LOAD: PT_LOAD,
  DYNAMIC: 2,
  INTERP: 3,
  NOTE: PT_NOTE,
  PHDR: 6,
  TLS: 7,
  GNU_EH_FRAME: 0x6474e550,
  GNU_STACK: 0x6474e551,
  GNU_RELRO: 0x6474e552,
  GNU_PROPERTY: 0x6474e553,
};

/** readelf's reading of a file's headers. */
function readelf(path: string): unknown {
  const text = runTool("binutils", "readelf", ["-hlW", path]);
  const field = (name: string): string => {
    const found = new RegExp(`^ *${name}: +(.*)$`, "m").exec(text)?.[1];
    assert.ok(found !== undefined, `${name} in ${text}`);
    return found;
  };
  const types: Readonly<Record<string, number>> = { REL: 1, EXEC: 2, DYN: 3, CORE: 4 };
  const machines: Readonly<Record<string, number>> = {
    "Advanced Micro Devices X86-64": EM_X86_64,
    AArch64: EM_AARCH64,
  };
  // Type Offset VirtAddr PhysAddr FileSiz MemSiz Flg Align
  const row = /^ {2}(\w+) +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+) ([R ][W ][E ]) (0x\w+|0)$/gm;
  const programHeaders = [...text.matchAll(row)].map((match) => {
    const [
      ,
      name = "",
      offset = "",
      vaddr = "",
      paddr = "",
      filesz = "",
      memsz = "",
      flags = "",
      align = "",
    ] = match;
    const type = PT_NAMES[name];
    assert.ok(type !== undefined, `p_type ${name}`);
    return {
      type,
      flags: (flags[0] === "R" ? 4 : 0) | (flags[1] === "W" ? 2 : 0) | (flags[2] === "E" ? 1 : 0),
      offset: BigInt(offset),
      virtualAddress: BigInt(vaddr),
      physicalAddress: BigInt(paddr),
      fileSize: BigInt(filesz),
      memorySize: BigInt(memsz),
      alignment: BigInt(align),
    };
  });
  assert.equal(programHeaders.length, Number(field("Number of program headers")));
  return {
    type: types[field("Type").split(" ")[0] ?? ""],
    machine: machines[field("Machine")],
    entry: BigInt(field("Entry point address")),
    programHeaderOffset: BigInt(field("Start of program headers").split(" ")[0] ?? ""),
    programHeaders,
  };
}

describe("readElf", () => {
  for (const path of ["/usr/bin/ls", process.execPath, X86_64_GUEST]) {
    it(`says of ${path} what readelf says, synchronously and asynchronously`, async () => {
      const source = new FileSource(path);
      const expected = readelf(path);
      assert.deepEqual(runSync(readElf(source, undefined)), expected);
      assert.deepEqual(await runAsync(readElf(source, undefined)), expected);
      source.close();
    });
  }

  it("gives back every field that a file was made of", async () => {
    const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    const aSegment = fc.record({
      type: u32,
      flags: u32,
      vaddr: u64,
      paddr: u64,
      memsz: u64,
      align: u64,
      // Offsets and sizes in the file are not read here, so they may be anything.
      offset: u64,
      filesz: u64,
    });
    const anElf = fc.record({
      type: fc.nat(0xffff),
      machine: fc.constantFrom(EM_X86_64, EM_AARCH64),
      version: u32,
      entry: u64,
      segments: fc.array(aSegment, { maxLength: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(anElf, async (shape) => {
        const bytes = makeElf({ ...shape, byteLength: 64 + shape.segments.length * 56 });
        const image = read(bytes, shape.machine);
        assert.deepEqual(image, await runAsync(readElf(asyncOnly(bytes), shape.machine)));
        assert.deepEqual([image.type, image.machine, image.entry], [shape.type, shape.machine, shape.entry]);
        assert.deepEqual(
          image.programHeaders,
          shape.segments.map((segment) => ({
            type: segment.type,
            flags: segment.flags,
            offset: segment.offset,
            virtualAddress: segment.vaddr,
            physicalAddress: segment.paddr,
            fileSize: segment.filesz,
            memorySize: segment.memsz,
            alignment: segment.align,
          })),
        );
      }),
    );
  });

  it("has no program headers, whatever e_phentsize is, if e_phoff or e_phnum is 0", () => {
    assert.deepEqual(read(makeElf({ phoff: 0n, phnum: 9, phentsize: 1 })).programHeaders, []);
    assert.deepEqual(read(makeElf({ phnum: 0, phentsize: 1 })).programHeaders, []);
  });

  it("takes the count from section 0's sh_info if e_phnum is 0xffff", () => {
    const file = (count: number, shape: Partial<ElfShape> = {}): Uint8Array => {
      const fill = new Uint8Array(1024);
      new DataView(fill.buffer).setUint32(512 + 44, count, true);
      return makeElf({
        segments: [{ paddr: 7n }, { paddr: 8n }],
        phnum: 0xffff,
        shoff: 512n,
        byteLength: 1024,
        fill,
        ...shape,
      });
    };
    assert.deepEqual(
      read(file(2)).programHeaders.map((header) => header.physicalAddress),
      [7n, 8n],
    );
    assert.deepEqual(read(file(0)).programHeaders, []);
    const refusals: readonly (readonly [Uint8Array, string])[] = [
      [file(2, { shoff: 0n }), "e_shoff is 0"],
      [file(2, { shentsize: 40 }), "e_shentsize is 40"],
      [file(2, { shoff: 1000n }), "past the end"],
      [file(2, { shoff: (1n << 64n) - 1n }), "past the end"],
      [file(0xffff_ffff), "pass the end"],
    ];
    for (const [bytes, said] of refusals) {
      assert.throws(() => read(bytes), refusal("ELF_INVALID_PROGRAM_HEADER", "vmlinux", said));
    }
  });

  it("refuses program headers that are of another size, or not all in the file", () => {
    const segments = [{}, {}];
    const refusals: readonly (readonly [Partial<ElfShape>, string])[] = [
      [{ phentsize: 32 }, "e_phentsize is 32"],
      [{ phentsize: 64 }, "56"],
      [{ phnum: 3 }, "3 program headers"],
      [{ phoff: 65n }, "pass the end"],
      [{ phoff: (1n << 64n) - 1n }, "pass the end"],
      [{ byteLength: 64 + 111 }, "175 bytes"],
    ];
    for (const [shape, said] of refusals) {
      const bytes = makeElf({ segments, ...shape });
      assert.throws(() => read(bytes), refusal("ELF_INVALID_PROGRAM_HEADER", "vmlinux", said));
    }
  });

  // SPEC §11.2: each file has one more fault than the next; the first of them is told.
  it("tells faults in OpenVMM's order: length, identification, byte order, machine, program headers", () => {
    const bigEndian = [...IDENT.slice(0, 5), 2, 1];
    const badMagic = [0x7f, 0x45, 0x4c, 0x47, 2, 2, 1];
    const rows: readonly (readonly [ElfShape, string])[] = [
      [{ ident: badMagic, machine: 3, phnum: 9, byteLength: 63 }, "ELF_READ_FILE_HEADER"],
      [{ ident: badMagic, machine: 3, phnum: 9 }, "ELF_INVALID_FILE_HEADER"],
      [{ ident: bigEndian, machine: 3, phnum: 9 }, "ELF_BIG_ENDIAN_ELF_ON_LITTLE"],
      [{ machine: 3, phnum: 9 }, "ELF_TARGET_MACHINE_MISMATCH"],
      [{ phnum: 9 }, "ELF_INVALID_PROGRAM_HEADER"],
      [{}, "accepted"],
    ];
    for (const [shape, code] of rows)
      assert.equal(
        outcome(() => read(makeElf(shape), EM_X86_64)),
        code,
      );
  });

  it("refuses each byte of the identification that is wrong, and says what it is", () => {
    const identifications: readonly (readonly number[])[] = [
      [0, 0x45, 0x4c, 0x46, 2, 1, 1],
      [0x7f, 0x45, 0x4c, 0x46, 1, 1, 1],
      [0x7f, 0x45, 0x4c, 0x46, 0, 1, 1],
      [0x7f, 0x45, 0x4c, 0x46, 2, 0, 1],
      [0x7f, 0x45, 0x4c, 0x46, 2, 3, 1],
      [0x7f, 0x45, 0x4c, 0x46, 2, 1, 0],
      [0x7f, 0x45, 0x4c, 0x46, 2, 1, 2],
      // A 32-bit file is that before it is big-endian.
      [0x7f, 0x45, 0x4c, 0x46, 1, 2, 1],
    ];
    for (const ident of identifications) {
      assert.throws(() => read(makeElf({ ident })), refusal("ELF_INVALID_FILE_HEADER", "vmlinux"));
    }
    const gzip = new Uint8Array(100);
    gzip.set([0x1f, 0x8b]);
    assert.throws(() => read(gzip), refusal("ELF_INVALID_FILE_HEADER", "gzip-compressed data"));
    assert.throws(() => read(new Uint8Array(0)), refusal("ELF_READ_FILE_HEADER", "an empty file of 0 bytes"));
  });
});
