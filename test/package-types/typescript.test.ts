/** A TypeScript project as strict as it gets, with the tarball installed by npm: it compiles, and the README's lines run. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
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

// The program around the example.
const AROUND = `import type { RegistersByName } from "directboot";
declare global {
  function startCpu(registers: RegistersByName): void;
}
`;
/** Every entry, and types that other code writes down. */
const USES = `import { crc32, DirectBootError, GuestMemory, type ImageLoad, hotPaths, type LoadLinuxOptions } from "directboot";
import { loadLinux, type LoadedLinux, type X86Register } from "directboot";
import * as decoders from "directboot/decoders";
import { bootV86 } from "directboot/v86";
import hotPathsModule from "directboot/wasm";
import decodersModule from "directboot/wasm/decoders";

export const options: LoadLinuxOptions = { kernel: new Uint8Array(1), memory: 1 << 20, decoders };
export const importer: ImageLoad<X86Register> = { importPages: () => {}, importVpRegister: () => {} };
export const memory: GuestMemory = GuestMemory.create(1 << 20);
export const sum: number = crc32(decoders.decompress("gzip", new Uint8Array(1), { maxDecompressedSize: 1 }));
export async function load(kernel: LoadLinuxOptions["kernel"]): Promise<bigint | undefined> {
  hotPaths.use(hotPathsModule);
  decoders.decoders.use(decodersModule);
  const guest: LoadedLinux = await loadLinux({ ...options, kernel });
  return guest.architecture === "aarch64" ? guest.registers.x0 : guest.registers.rip;
}
export const codeOf = (error: unknown): string => (error instanceof DirectBootError ? error.code : "");
export { bootV86 };
`;

/** A page's use of it. */
const PAGE = `import { loadLinux } from "directboot";

export async function load(url: string, file: File): Promise<number> {
  const memory = new WebAssembly.Memory({ initial: 1024 });
  const { signal } = new AbortController();
  await loadLinux({ kernel: await fetch(url), initrd: [file, file.stream()], memory, signal });
  return memory.buffer.byteLength;
}
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
const DOM = ["ES2022", "DOM"];
const NO_DOM = ["ES2022"];
const NODENEXT = { module: "nodenext", moduleResolution: "nodenext" };
const BUNDLER = { module: "esnext", moduleResolution: "bundler" };
/** The types name some of the platform's, WebAssembly.Memory and AbortSignal among them: from wherever they come. */
const SETTINGS = [
  { name: "nodenext, the types of Node", ...NODENEXT, lib: NO_DOM, types: ["node"] },
  { name: "nodenext, the types of Node and the library DOM", ...NODENEXT, lib: DOM, types: ["node"] },
  { name: "nodenext, neither", ...NODENEXT, lib: NO_DOM, types: [] },
  { name: "bundler, the library DOM", ...BUNDLER, lib: DOM, types: [] },
  { name: "bundler for workerd, neither", ...BUNDLER, lib: NO_DOM, types: [], customConditions: ["workerd"] },
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
    write("page.ts", PAGE);
    copyFileSync(X86_64_GUEST, join(project, "vmlinuz"));
    for (const name of ["microcode.cpio", "initrd.img"]) write(name, noise(5000));
  });

  for (const { name, ...setting } of SETTINGS) {
    it(`compiles with moduleResolution ${name}`, async () => {
      const outDir = `out-${setting.moduleResolution}`;
      const compilerOptions = { ...STRICT, ...setting, outDir };
      const files = ["around.d.ts", "readme.ts", "uses.ts", ...(setting.lib === DOM ? ["page.ts"] : [])];
      write("tsconfig.json", JSON.stringify({ compilerOptions, files }));
      const { status, stdout } = await runProgram(process.execPath, [tsc, "-p", "."], { cwd: project });
      assert.equal(status, 0, stdout);
    });
  }

  it("runs the README's ten lines, compiled", async () => {
    assert.match(readme, /from "directboot"/);
    write("run.js", "globalThis.startCpu = ({ rip }) => console.log(rip.toString(16));\n");
    for (const moduleResolution of ["nodenext", "bundler"]) {
      const path = `./out-${moduleResolution}/readme.js`;
      const args = ["--import", "./run.js", path];
      const { status, stdout, stderr } = await runProgram(process.execPath, args, { cwd: project });
      assert.equal(status, 0, stderr);
      // gABI, "ELF Header": e_entry
      const entry = readFileSync(X86_64_GUEST).readBigUInt64LE(24);
      assert.equal(stdout, `${entry.toString(16)}\n`);
    }
  });
});
