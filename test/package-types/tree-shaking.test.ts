/** The import of one function adds that function to a bundle, and nothing of the loader. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { BUNDLERS, type Bundler, bundleFor } from "../runtimes/support/bundlers.js";
import { installPacked } from "../runtimes/support/project.js";
import { runProgram } from "../support/command.js";
import { tempFolder } from "../support/temp-folder.js";

/** As `npm run size` has it: crc32 with its kernel, and its twin. */
const MOST_BYTES_GZIPPED = 9 << 10;

const project = join(tempFolder(), "project");
mkdirSync(project);
installPacked(project);
writeFileSync(join(project, "package.json"), '{ "type": "module", "private": true }');

/** The code that a bundler makes of `contents`, and splits off. */
async function bundled(bundler: Bundler, name: string, contents: string): Promise<string> {
  writeFileSync(join(project, `${name}.js`), contents);
  const output = join(project, `${bundler}-${name}`);
  await bundleFor(bundler, project, `${name}.js`, output, false);
  return readdirSync(output, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js"))
    .map((file) => readFileSync(join(output, file), "utf8"))
    .join("\n");
}

/** Strings of the loader that no minifier changes: tags of pages, codes of errors, register names, magic words. */
const OF_THE_LOADER = [
  "linux-kernel",
  "linux-zeropage",
  "default-gdt",
  "mtrrDefType",
  "sctlrEl1",
  "ELF_NO_LOADABLE_SEGMENT",
  "ARM64_BAD_IMAGE_MAGIC",
  "DECOMPRESS_CORRUPT",
  "GUEST_MEMORY_NOT_RAM",
  "node:fs",
];

for (const bundler of BUNDLERS) {
  describe(`${bundler}, of the packed package`, () => {
    it("keeps of an import of crc32 alone nothing of the loader", async () => {
      const entry = 'import { crc32 } from "directboot";\nglobalThis.crc32 = crc32;\n';
      const code = await bundled(bundler, "one", entry);
      for (const text of OF_THE_LOADER) assert.ok(!code.includes(text), text);
      const { byteLength } = gzipSync(code, { level: 9 });
      assert.ok(byteLength <= MOST_BYTES_GZIPPED, `${byteLength} bytes gzipped`);

      const url = pathToFileURL(join(project, `${bundler}-one`, "main.js")).href;
      const script = `await import(${JSON.stringify(url)});
console.log(crc32(new TextEncoder().encode("123456789".repeat(100))));`;
      const { stdout, stderr } = await runProgram(process.execPath, ["--input-type=module", "-e", script]);
      // zlib's of the same.
      assert.equal(stdout, "167579607\n", stderr);
    });

    it("keeps nothing of an import that is not used", async () => {
      const code = await bundled(
        bundler,
        "none",
        'import { loadLinux } from "directboot";\nglobalThis.there = 1;\n',
      );
      assert.ok(code.length < 200, code.slice(0, 500));
    });

    it("has the loader's strings in a bundle of loadLinux: these are the ones to look for", async () => {
      const entry = 'import { loadLinux } from "directboot";\nglobalThis.load = loadLinux;\n';
      const code = await bundled(bundler, "all", entry);
      for (const text of OF_THE_LOADER) assert.ok(code.includes(text), text);
    });
  });
}
