/** A TypeScript project as strict as it gets, with the tarball installed by npm: it compiles, and the README's lines run. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { packTarball } from "../runtimes/support/project.js";
import { runProgram } from "../support/command.js";
import { codeBlocks } from "../support/js-blocks.js";
import { inRoot, X86_64_GUEST } from "../support/paths.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();
const project = join(folder, "project");
mkdirSync(project);
const write = (name: string, bytes: string | Uint8Array): void => writeFileSync(join(project, name), bytes);

/** The first example of README.md, as it stands. */
const readme = codeBlocks("README.md").find(({ language }) => language === "js")?.code ?? "";

// What the example takes from the program around it.
const AROUND = `import type { RegistersByName } from "directboot";
declare global {
  function startCpu(registers: RegistersByName): void;
}
`;
/** Every entry, and types that other code writes down. */
const USES = `import { crc32, DirectBootError, GuestMemory, type ImageLoad, kernels, type LinuxOptions } from "directboot";
import { loadLinux, type LoadedLinux, type X86Register } from "directboot";
import * as decoders from "directboot/decoders";
import { bootV86 } from "directboot/v86";
import kernelsModule from "directboot/wasm";
import decodersModule from "directboot/wasm/decoders";

export const options: LinuxOptions = { kernel: new Uint8Array(1), memory: 1 << 20, decoders };
export const importer: ImageLoad<X86Register> = { importPages: () => {}, importVpRegister: () => {} };
export const memory: GuestMemory = GuestMemory.create(1 << 20);
export const sum: number = crc32(decoders.decompress("gzip", new Uint8Array(1), { maximumBytes: 1 }));
export async function load(url: string): Promise<bigint | undefined> {
  kernels.use(kernelsModule);
  decoders.decoders.use(decodersModule);
  const guest: LoadedLinux = await loadLinux({ ...options, kernel: await fetch(url) });
  return guest.architecture === "aarch64" ? guest.registers.x0 : guest.registers.rip;
}
export const codeOf = (error: unknown): string => (error instanceof DirectBootError ? error.code : "");
export { bootV86 };
`;

const STRICT = {
  target: "es2022",
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: false,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  skipLibCheck: false,
  typeRoots: [inRoot("node_modules/@types")],
};
const SETTINGS = [
  { module: "nodenext", moduleResolution: "nodenext" },
  { module: "esnext", moduleResolution: "bundler" },
  { module: "esnext", moduleResolution: "bundler", customConditions: ["workerd", "browser"] },
];
/** The names of the platform, WebAssembly and AbortSignal among them, come from one of these. */
const PLATFORMS = [
  { name: "the library DOM and no other types", lib: ["ES2022", "DOM"], types: [] },
  { name: "the types of Node and no DOM", lib: ["ES2022"], types: ["node"] },
];

const tsc = fileURLToPath(new URL("../bin/tsc", import.meta.resolve("typescript")));

describe("a strict TypeScript project with the tarball", () => {
  before(async () => {
    write("package.json", '{ "type": "module", "private": true }');
    const tarball = packTarball(folder);
    const args = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", tarball];
    const { status, stderr } = await runProgram("npm", args, { cwd: project });
    assert.equal(status, 0, stderr);
    write("around.d.ts", AROUND);
    write("readme.ts", readme);
    write("uses.ts", USES);
    copyFileSync(X86_64_GUEST, join(project, "vmlinuz"));
    for (const name of ["microcode.cpio", "initrd.img"]) write(name, noise(5000));
  });

  for (const setting of SETTINGS) {
    const conditions =
      setting.customConditions === undefined ? "" : `, conditions ${setting.customConditions}`;
    for (const { name, lib, types } of PLATFORMS) {
      it(`compiles with moduleResolution ${setting.moduleResolution}${conditions}, ${name}`, async () => {
        const outDir = `out-${setting.moduleResolution}`;
        const compilerOptions = { ...STRICT, ...setting, lib, types, outDir };
        const config = { compilerOptions, files: ["around.d.ts", "readme.ts", "uses.ts"] };
        write("tsconfig.json", JSON.stringify(config));
        const { status, stdout } = await runProgram(process.execPath, [tsc, "-p", "."], { cwd: project });
        assert.equal(status, 0, stdout);
      });
    }
  }

  it("runs the README's ten lines, compiled", async () => {
    assert.match(readme, /from "directboot"/);
    write("run.js", "globalThis.startCpu = ({ rip }) => console.log(rip.toString(16));\n");
    for (const { moduleResolution } of SETTINGS.slice(0, 2)) {
      const path = `./out-${moduleResolution}/readme.js`;
      const args = ["--import", "./run.js", path];
      const { status, stdout, stderr } = await runProgram(process.execPath, args, { cwd: project });
      assert.equal(status, 0, stderr);
      assert.equal(stdout, "10004cc\n");
    }
  });
});
