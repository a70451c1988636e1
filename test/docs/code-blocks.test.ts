/** Every JavaScript block of README.md and docs/options.md, run as a user would run it. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { makeBzImage } from "../support/bzimage-maker.js";
import { runProgram } from "../support/command.js";
import { makeElf } from "../support/elf-maker.js";
import { codeBlocks, promisedOutput } from "../support/js-blocks.js";
import { AARCH64_GUEST, inRoot, ROOT } from "../support/paths.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();
const write = (name: string, bytes: string | Uint8Array): void => writeFileSync(join(folder, name), bytes);

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

// The folder that the examples run in: a project that has directboot installed, with the files that they name.
mkdirSync(join(folder, "node_modules"));
symlinkSync(ROOT, join(folder, "node_modules", "directboot"));
write("vmlinuz", makeBzImage());
write("vmlinux", makePvhKernel());
write("vmlinux.gz", gzipSync(makePvhKernel()));
copyFileSync(AARCH64_GUEST, join(folder, "Image"));
for (const [index, name] of ["initrd.img", "microcode.cpio", "modules.cpio"].entries()) {
  write(name, noise(10_001 + index, index + 1));
}
write("rsdp.bin", "RSD PTR ".padEnd(36, "\0"));
write("tables.bin", noise(500));
const memoryNode = 'memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x10000000>; };';
write("machine.dts", `/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; ${memoryNode} };`);
const dtb = ["-q", "-O", "dtb", "-o", join(folder, "machine.dtb"), join(folder, "machine.dts")];
runTool("device-tree-compiler", "dtc", dtb);

async function run(name: string, code: string): Promise<string[]> {
  write(name, code);
  const { status, stdout, stderr } = await runProgram(process.execPath, [name], { cwd: folder });
  assert.equal(status, 0, stderr);
  return stdout.split("\n").slice(0, -1);
}

const isJavaScript = ({ language }: { language: string }): boolean => language === "js";

describe("docs/options.md", () => {
  const blocks = codeBlocks("docs/options.md");
  const [first, ...examples] = blocks.filter(isJavaScript);
  for (const { heading, code } of examples) {
    it(`${heading}: its example runs, and prints what it says`, async () => {
      assert.deepEqual(await run(`${heading}.mjs`, `${first?.code}\n${code}`), promisedOutput(code));
    });
  }

  it("has a section with an example for every option, and for nothing else", () => {
    const options = ["src/linux/options.ts", "src/importers/guest-memory-importer.ts", "src/plan/apply.ts"]
      .flatMap((path) => {
        const text = readFileSync(inRoot(path), "utf8");
        const shapes =
          /export interface (?:LinuxOptionsOf<Input>|ImporterOption|GuestMemoryImporterOptions|ApplyOptions) \{\n(.*?)\n\}/gs;
        return [...text.matchAll(shapes)].map(([, body]) => body ?? "");
      })
      .flatMap((body) => [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, name]) => name));
    assert.deepEqual(examples.map(({ heading }) => heading).sort(), [...options, "signal"].sort());
  });

  it("has the low-memory map of the source", () => {
    const source = readFileSync(inRoot("src/linux/x86-map.ts"), "utf8");
    const drawn = [...source.matchAll(/^ \* {5}(.*)$/gm)].map(([, line]) => line).join("\n");
    assert.ok(drawn.startsWith("0x00000000"));
    assert.equal(blocks.find(({ language }) => language === "text")?.code, drawn);
  });
});

describe("README.md", () => {
  // What the reader has: a CPU to start, a memory, a URL.
  const around = `
    const startCpu = ({ rip }) => { if (rip === undefined) throw new Error("no entry"); };
    const emulatorMemory = new WebAssembly.Memory({ initial: 4097 });
  `;
  for (const [index, { heading, code }] of codeBlocks("README.md").filter(isJavaScript).entries()) {
    it(`runs its example ${index + 1}, under ${heading}`, async () => {
      assert.deepEqual(await run(`readme-${index}.mjs`, `${around}\n${code}`), promisedOutput(code));
    });
  }
});
