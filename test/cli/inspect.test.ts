import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { METHODS } from "../decoders/tools.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { directboot, runProgram } from "../support/command.js";
import { makeElf } from "../support/elf-maker.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { makeZboot } from "../support/zboot-maker.js";

const folder = tempFolder();

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly value: string;
  readonly meaning: string;
  readonly section: string;
}

interface Inspection {
  readonly format: string;
  readonly byteLength: number;
  readonly header: Record<string, unknown> | null;
  readonly fields: readonly Field[];
}

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function inspect(path: string): Promise<Inspection & { status: number | null; stderr: string }> {
  const { stdout, stderr, status } = await directboot(["inspect", "--json", path]);
  return { ...(JSON.parse(stdout) as Inspection), status, stderr };
}

describe("directboot inspect", () => {
  it("shows of an ELF what readelf shows: the file header, and each program header", async () => {
    const { fields, format } = await inspect(X86_64_GUEST);
    assert.equal(format, "elf64");
    const value = (name: string): bigint => BigInt(fields.find((field) => field.name === name)?.value ?? -1);
    const { stdout } = await runProgram("readelf", ["-hlW", X86_64_GUEST]);
    const header: readonly (readonly [string, string])[] = [
      ["e_entry", "Entry point address"],
      ["e_phoff", "Start of program headers"],
      ["e_shoff", "Start of section headers"],
      ["e_flags", "Flags"],
      ["e_ehsize", "Size of this header"],
      ["e_phentsize", "Size of program headers"],
      ["e_phnum", "Number of program headers"],
      ["e_shentsize", "Size of section headers"],
      ["e_shnum", "Number of section headers"],
      ["e_shstrndx", "Section header string table index"],
    ];
    for (const [name, title] of header) {
      const said = new RegExp(`^ *${title}: +(\\w+)`, "m").exec(stdout)?.[1];
      assert.equal(value(name), BigInt(said ?? ""), name);
    }
    const rows = [
      ...stdout.matchAll(/^ {2}LOAD +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+) ([R ][W ][E ]) (0x\w+)$/gm),
    ];
    assert.equal(BigInt(rows.length), value("e_phnum"));
    for (const [index, [, ...cells]] of rows.entries()) {
      for (const [column, name] of ["p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz"].entries()) {
        assert.equal(value(`phdr[${index}].${name}`), BigInt(cells[column] ?? ""), name);
      }
    }
  });

  it("gives every field as data: name, offset, size, value, meaning, section", async () => {
    const { fields } = await inspect(AARCH64_GUEST);
    assert.deepEqual(
      fields.map(({ name }) => name),
      ["code0", "code1", "text_offset", "image_size", "flags", "res2", "res3", "res4", "magic", "res5"],
    );
    assert.deepEqual(
      fields.find(({ name }) => name === "flags"),
      {
        name: "flags",
        offset: 0x18,
        size: 8,
        value: "0xa",
        meaning: "little-endian, page size 4 KiB, may be placed anywhere",
        section: 'booting.rst, "4. Call the kernel image"',
      },
    );
  });

  it("shows a bzImage's header as an aligned table, under the section that it is from", async () => {
    const { stdout, status } = await directboot(["inspect", file("vmlinuz", makeBzImage())]);
    assert.equal(status, 0);
    const lines = stdout.split("\n");
    assert.match(lines[0] ?? "", /vmlinuz: an x86 bzImage, 5 KiB$/);
    assert.equal(lines[1], 'boot.rst, "Details of Header Fields":');
    const rows = lines.slice(2).filter((line) => line !== "");
    const column = (rows[0] ?? "").indexOf("value");
    for (const row of rows.slice(1)) assert.match(row.slice(column), /^0x/, row);
    assert.match(stdout, /^ {2}0x230 +4 +kernel_alignment +0x200000 +2\.05\+ {2}/m);
  });

  it("shows a zboot image", async () => {
    const { format, header, fields } = await inspect(file("vmlinuz.efi", makeZboot()));
    assert.equal(format, "zboot");
    assert.deepEqual(header, { payloadOffset: 0x60, payloadLength: 0x20, compression: "gzip" });
    assert.equal(fields.find(({ name }) => name === "compression_type")?.value, "gzip");
    const { stdout } = await directboot(["inspect", join(folder, "vmlinuz.efi")]);
    assert.match(stdout, /compression_type +"gzip"/);
    assert.match(stdout, /machine +0xaa64 +arm64/);
  });

  it("shows the PVH note", async () => {
    const note = Uint8Array.from([4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 0x58, 0x65, 0x6e, 0, 0x50, 8, 0, 1]);
    const fill = new Uint8Array(220);
    fill.set(note, 200);
    const path = file(
      "pvh.elf",
      makeElf({ segments: [{ type: 4, offset: 200n, filesz: 20n }], fill, byteLength: 220 }),
    );
    const { header, fields } = await inspect(path);
    assert.equal(header?.["pvhEntry"], "0x1000850");
    assert.deepEqual([fields.at(-1)?.name, fields.at(-1)?.offset], ["XEN_ELFNOTE_PHYS32_ENTRY", 0xd8]);
  });

  it("shows what the loaders refuse as far as it can be read, then says why, with exit status 1", async () => {
    const rows: readonly (readonly [string, Uint8Array, string])[] = [
      ["cut", makeBzImage({ byteLength: 3000 }), "BZIMAGE_TRUNCATED"],
      ["zimage", makeBzImage({ loadflags: 0 }), "BZIMAGE_NOT_LOADED_HIGH"],
      ["cut.efi", makeZboot({ byteLength: 100 }), "ZBOOT_TRUNCATED"],
      ["big.elf", makeElf({ ident: [0x7f, 0x45, 0x4c, 0x46, 2, 2, 1] }), "ELF_BIG_ENDIAN_ELF_ON_LITTLE"],
      ["32.elf", makeElf({ ident: [0x7f, 0x45, 0x4c, 0x46, 1, 1, 2] }), "ELF_INVALID_FILE_HEADER"],
      ["note.elf", makeElf({ segments: [{ type: 4, filesz: 999n }], byteLength: 120 }), "ELF_BAD_NOTE"],
    ];
    for (const [name, bytes, code] of rows) {
      const { status, stderr, fields } = await inspect(file(name, bytes));
      assert.equal(status, 1, name);
      assert.ok(stderr.includes(code), stderr);
      assert.ok(fields.length >= 6, name);
    }
    const { stdout, stderr } = await directboot(["inspect", join(folder, "zimage")]);
    assert.match(stdout, /loadflags +0x0 +2\.00\+ {2}none/);
    assert.match(stderr, /BZIMAGE_NOT_LOADED_HIGH/);
  });

  it("shows the first 1024 program headers of a file with more, and how many there are", async () => {
    const path = file("many.elf", makeElf({ segments: Array.from({ length: 1030 }, () => ({})) }));
    const { header, fields } = await inspect(path);
    assert.equal(header?.["programHeaderCount"], 1030);
    assert.equal(fields.filter(({ name }) => name.endsWith("].p_type")).length, 1024);
    assert.match((await directboot(["inspect", path])).stdout, /^ {2}and 6 more$/m);
  });

  it("has no fields for a file that has no header it knows", async () => {
    const { status, header, fields, format } = await inspect(file("notes", Buffer.from("vmlinux\n")));
    assert.deepEqual([status, header, fields, format], [1, null, [], "text"]);
  });

  it("says what is compressed in a file, and how large it is", async () => {
    const method = METHODS.find(({ format }) => format === "xz");
    assert.ok(method !== undefined);
    const path = file("packed", packBzImage(method, makeVmlinux()));
    const { stdout, status } = await directboot(["inspect", path]);
    assert.equal(status, 0);
    assert.match(stdout, /^inside: xz-compressed data, [\d.]+ [KM]iB, [\d.]+ MiB unpacked$/m);
    const json: unknown = JSON.parse((await directboot(["inspect", "--json", path])).stdout);
    assert.ok(typeof json === "object" && json !== null && "compression" in json && !("inside" in json));
  });

  it("shows the kernel inside with --unpack", async () => {
    const method = METHODS.find(({ format }) => format === "lz4-legacy");
    assert.ok(method !== undefined);
    const path = file("whole", packBzImage(method, makeVmlinux()));
    const { stdout, status } = await directboot(["inspect", "--unpack", path]);
    assert.equal(status, 0);
    const [outer = "", inner = ""] = stdout.split("\n\n");
    assert.match(outer, /: an x86 bzImage, /);
    assert.match(inner, /^the kernel inside: a 64-bit ELF file, /);
    assert.match(inner, /^ {2}LOAD /m);
    const json: unknown = JSON.parse((await directboot(["inspect", "--unpack", "--json", path])).stdout);
    assert.ok(typeof json === "object" && json !== null && "inside" in json);
    assert.ok(typeof json.inside === "object" && json.inside !== null && "format" in json.inside);
    assert.equal(json.inside.format, "elf64");
  });
});
