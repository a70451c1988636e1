import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ElfImage, readElf } from "../../src/images/elf.js";
import { readElfFileHeaderFields, readElfProgramHeaderFields } from "../../src/images/elf-fields.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import { memberNames, preprocessed, structMembers } from "../support/c-structs.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

/** The members of a struct of <elf.h>. */
function members(struct: string): readonly { name: string; offset: number; size: number }[] {
  const text = preprocessed("elf.h", folder);
  // "typedef struct { … } Elf64_Ehdr;": the last struct that opens before its name
  const names = memberNames(
    text.slice(text.lastIndexOf("typedef struct", text.indexOf(`} ${struct};`))),
    /typedef struct\s*\{/,
  );
  return structMembers(folder, "elf.h", names, struct).filter(({ name }) => name !== "=");
}

for (const elfClass of [64, 32] as const) {
  describe(`the fields of ELF${elfClass}`, () => {
    it("are the members of the C library's structs, with e_ident split", () => {
      const [ident, ...others] = members(`Elf${elfClass}_Ehdr`);
      assert.deepEqual(ident, { name: "e_ident", offset: 0, size: 16 });
      const source = new BytesSource((elfClass === 64 ? makeElf : makeElf32)({ segments: [{}] }));
      const fields = runSync(readElfFileHeaderFields(source, elfClass)).map(({ name, offset, size }) => ({
        name,
        offset,
        size,
      }));
      const parts = fields.filter(({ name }) => name.startsWith("e_ident"));
      let end = 0;
      for (const { offset, size } of parts) {
        assert.equal(offset, end);
        end += size;
      }
      assert.equal(end, 16);
      assert.deepEqual(fields.slice(parts.length), others);
      const elf: ElfImage = runSync(readElf(source, undefined, elfClass));
      assert.deepEqual(
        runSync(readElfProgramHeaderFields(source, elfClass, elf)).map(({ name, offset, size }) => ({
          name: name.replace("phdr[0].", ""),
          offset: offset - Number(elf.programHeaderOffset),
          size,
        })),
        members(`Elf${elfClass}_Phdr`),
      );
    });

    it("agree with what the parser says", () => {
      const segment = {
        type: 4,
        flags: 5,
        offset: 1n,
        vaddr: 2n,
        paddr: 3n,
        filesz: 6n,
        memsz: 7n,
        align: 8n,
      };
      const make = elfClass === 64 ? makeElf : makeElf32;
      const source = new BytesSource(make({ segments: [{}, segment], entry: 0x1234n, machine: 3 }));
      const elf: ElfImage = runSync(readElf(source, undefined, elfClass));
      const fields = runSync(readElfProgramHeaderFields(source, elfClass, elf));
      const values = (index: number): Record<string, unknown> =>
        Object.fromEntries(
          fields
            .filter(({ name }) => name.startsWith(`phdr[${index}].`))
            .map(({ name, value }) => [name.replace(/^.*\./, ""), BigInt(value)]),
        );
      for (const [index, header] of elf.programHeaders.entries()) {
        assert.deepEqual(values(index), {
          p_type: BigInt(header.type),
          p_flags: BigInt(header.flags),
          p_offset: header.offset,
          p_vaddr: header.virtualAddress,
          p_paddr: header.physicalAddress,
          p_filesz: header.fileSize,
          p_memsz: header.memorySize,
          p_align: header.alignment,
        });
      }
      const head = new Map(
        runSync(readElfFileHeaderFields(source, elfClass)).map(({ name, value }) => [name, BigInt(value)]),
      );
      assert.deepEqual(
        [head.get("e_entry"), head.get("e_machine"), head.get("e_phoff")],
        [0x1234n, 3n, elf.programHeaderOffset],
      );
    });
  });
}

describe("readElfFileHeaderFields", () => {
  it("shows of a big-endian file only what has no byte order", () => {
    const bytes = makeElf({ ident: [0x7f, 0x45, 0x4c, 0x46, 2, 2, 1] });
    const fields = runSync(readElfFileHeaderFields(new BytesSource(bytes), 64));
    assert.equal(fields.at(-1)?.name, "e_ident[EI_PAD]");
    assert.equal(fields.find(({ name }) => name === "e_ident[EI_DATA]")?.meaning, "big-endian");
  });
});
