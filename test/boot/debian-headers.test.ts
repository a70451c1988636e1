/** What `directboot inspect` says of Debian's kernels, against od, readelf and apt's names. */
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { before, describe, it } from "node:test";
import { directboot } from "../support/command.js";
import { runTool } from "../support/tool.js";
import { type DebianKernel, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";

interface Inspection {
  readonly format: string;
  readonly header: Record<string, unknown>;
  readonly fields: readonly { name: string; offset: string; size: number; value: string; meaning: string }[];
}

async function inspect(path: string): Promise<Inspection> {
  const { stdout, stderr, status } = await directboot(["inspect", "--json", path]);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Inspection;
}

/** The bytes of a file as od prints them, as one little-endian number. */
function od(path: string, offset: number, size: number): bigint {
  const text = runTool("coreutils", "od", ["-An", "-v", "-tx1", "-j", `${offset}`, "-N", `${size}`, path]);
  return BigInt(`0x${text.trim().split(/\s+/).reverse().join("")}`);
}

function value({ fields }: Inspection, name: string): bigint {
  const found = fields.find((field) => field.name === name);
  assert.ok(found !== undefined, name);
  return BigInt(found.value);
}

for (const [arch, elfFormat, xloadflags, payloadMagic] of [
  ["amd64", "elf64", 0x7fn, 0x184c_2102n],
  ["i386", "elf32", undefined, 0x587a_37fdn],
] as const) {
  describe(`Debian's ${arch} kernel`, () => {
    let kernel: DebianKernel;
    let vmlinux = "";
    before(async () => {
      kernel = await debianKernel(arch);
      vmlinux = await extractVmlinux(kernel.vmlinuz);
    });

    it("has the values at the offsets that inspect says", async () => {
      const image = await inspect(kernel.vmlinuz);
      assert.equal(image.format, "bzImage");
      for (const { name, offset, size, value: found } of image.fields) {
        assert.equal(BigInt(found), od(kernel.vmlinuz, Number(offset), size), name);
      }
      assert.ok(image.fields.length >= 42, `${image.fields.length} fields`);
    });

    it("is of protocol 2.15, relocatable, prefers 16 MiB, and tells its version and its kernel_info", async () => {
      const image = await inspect(kernel.vmlinuz);
      assert.equal(value(image, "version"), 0x20fn);
      assert.equal(image.header["protocol"], "2.15");
      assert.equal(value(image, "pref_address"), 0x100_0000n);
      assert.equal(value(image, "relocatable_kernel"), 1n);
      if (xloadflags !== undefined) assert.equal(value(image, "xloadflags"), xloadflags);
      else assert.equal(value(image, "xloadflags") & 1n, 0n, "no 64-bit entry");
      const release = kernel.packageName.replace("linux-image-", "");
      assert.ok(String(image.header["kernelVersion"]).startsWith(`${release} `), release);
      assert.equal(
        value(image, "kernel_info.header"),
        BigInt(`0x${Buffer.from("LToP").reverse().toString("hex")}`),
      );
      assert.ok(value(image, "kernel_info.size") <= value(image, "kernel_info.size_total"));
    });

    it("holds its payload where the header says, and needs at least what its vmlinux fills", async () => {
      const image = await inspect(kernel.vmlinuz);
      const payload = image.header["payload"];
      assert.ok(
        typeof payload === "object" && payload !== null && "offset" in payload && "length" in payload,
      );
      const offset = Number(payload.offset);
      assert.equal(od(kernel.vmlinuz, offset, 4), payloadMagic);
      // The build appends the uncompressed size to the payload.
      const size = od(kernel.vmlinuz, offset + Number(payload.length) - 4, 4);
      assert.equal(size, BigInt(statSync(vmlinux).size));
      const text = runTool("binutils", "readelf", ["-lW", vmlinux]);
      const ends = [...text.matchAll(/^ {2}LOAD +\w+ \w+ (0x\w+) \w+ (0x\w+)/gm)].map(
        ([, start = "", length = ""]) => BigInt(start) + BigInt(length),
      );
      const end = ends.reduce((most, at) => (at > most ? at : most), 0n);
      assert.ok(0x100_0000n + value(image, "init_size") >= end);
    });

    it("is inside an ELF whose headers are what readelf says", async () => {
      const image = await inspect(vmlinux);
      assert.equal(image.format, elfFormat);
      const text = runTool("binutils", "readelf", ["-hlW", vmlinux]);
      for (const [name, title] of [
        ["e_entry", "Entry point address"],
        ["e_phoff", "Start of program headers"],
        ["e_shoff", "Start of section headers"],
        ["e_phnum", "Number of program headers"],
        ["e_shnum", "Number of section headers"],
        ["e_shstrndx", "Section header string table index"],
      ] as const) {
        const said = new RegExp(`^ *${title}: +(\\w+)`, "m").exec(text)?.[1];
        assert.equal(value(image, name), BigInt(said ?? ""), name);
      }
      const rows = [
        ...text.matchAll(/^ {2}[A-Z]+ +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+) [R ][W ][E ] (0x\w+)$/gm),
      ];
      assert.equal(BigInt(rows.length), value(image, "e_phnum"));
      for (const [index, [, ...cells]] of rows.entries()) {
        for (const [column, name] of [
          "p_offset",
          "p_vaddr",
          "p_paddr",
          "p_filesz",
          "p_memsz",
          "p_align",
        ].entries()) {
          assert.equal(value(image, `phdr[${index}].${name}`), BigInt(cells[column] ?? ""), name);
        }
      }
    });
  });
}

describe("Debian's amd64 vmlinux", () => {
  it("has the PVH entry that readelf's dump of its notes has", async () => {
    const { vmlinuz } = await debianKernel("amd64");
    const vmlinux = await extractVmlinux(vmlinuz);
    const notes = runTool("binutils", "readelf", ["-nW", vmlinux]);
    const bytes = /\(0x0+12\)\s+description data: ([0-9a-f ]+)/.exec(notes)?.[1]?.trim().split(" ");
    const { header } = await inspect(vmlinux);
    assert.equal(header["pvhEntry"], `0x${BigInt(`0x${bytes?.reverse().join("")}`).toString(16)}`);
  });
});

describe("Debian's i386 vmlinux", () => {
  it("has no PVH entry, as readelf's dump of its notes has none", async () => {
    const { vmlinuz } = await debianKernel("i386");
    const vmlinux = await extractVmlinux(vmlinuz);
    assert.doesNotMatch(runTool("binutils", "readelf", ["-nW", vmlinux]), /\(0x0+12\)/);
    assert.equal((await inspect(vmlinux)).header["pvhEntry"], null);
  });
});

describe("Debian's arm64 kernel", () => {
  it("has the values at the offsets that inspect says, and a PE header where res5 points", async () => {
    const { vmlinuz } = await debianKernel("arm64");
    const image = await inspect(vmlinuz);
    for (const { name, offset, size, value: found } of image.fields) {
      assert.equal(BigInt(found), od(vmlinuz, Number(offset), size), name);
    }
    assert.equal(od(vmlinuz, Number(value(image, "res5")), 4), 0x4550n);
  });
});
