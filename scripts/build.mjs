// npm run build: AssemblyScript -> WASM -> inlined TypeScript -> build/ (for tests and benches) -> dist/.
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The entries of package.json, and the command: files of dist/, each with its module in src/. */
const ENTRIES = {
  index: "index",
  loader: "loader",
  decoders: "decoders/index",
  inspect: "inspect/index",
  v86: "hosts/v86",
};

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
// The package holds the modes of what is built here: they must not be the builder's choice.
process.umask(0o022);

const run = (script, ...args) => {
  try {
    execFileSync(process.execPath, [script, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  } catch (cause) {
    process.stderr.write(`build failed: ${script} ${args.join(" ")}\n`);
    process.exit(cause.status ?? 1);
  }
};

/** The modules of assembly/: where their bytes are inlined, and the entry of package.json that names the file. */
const MODULES = [
  { name: "hot-paths", room: "wasm", constant: "HOT_PATHS_WASM_BASE64", entry: "wasm" },
  { name: "decoders", room: "decoders", constant: "DECODERS_WASM_BASE64", entry: "wasm-decoders" },
];

// The modules are inlined: a bundler needs no plugin, a page needs no fetch, and the first call is synchronous.
for (const { name, room, constant } of MODULES) {
  run("node_modules/assemblyscript/bin/asc.js", `assembly/${name}.ts`, "--target", name);
  const base64 = readFileSync(`build/wasm/${name}.wasm`, "base64");
  const generated = `src/${room}/${name}-wasm.generated.ts`;
  const text = `// Made by npm run build from assembly/; not committed.\nexport const ${constant}: string =\n  "${base64}";\n`;
  if (!existsSync(generated) || readFileSync(generated, "utf8") !== text) writeFileSync(generated, text);
}

rmSync("build/src", { recursive: true, force: true });
run("node_modules/typescript/bin/tsc", "-p", "tsconfig.json");

rmSync("dist", { recursive: true, force: true });
cpSync("build/src", "dist/types", {
  recursive: true,
  filter: (path) => !/build\/src\/cli|\.js$|\.map$|\.generated\./.test(path.replaceAll("\\", "/")),
});
// Only now: building must say that packages are missing, not fail to start.
const { bundle } = await import("./bundle.mjs");
const programs = { ...ENTRIES, cli: "cli/main" };
await bundle(Object.fromEntries(Object.entries(programs).map(([name, path]) => [name, `src/${path}.ts`])));
chmodSync("dist/cli.js", 0o755);

// workerd and its kin forbid compiling from bytes, but import a .wasm file as a WebAssembly.Module, each in its own
// words. All entries are one file for them: names that two entries export are the same thing.
for (const [condition, query] of Object.entries({ workerd: "", "edge-light": "?module" })) {
  writeFileSync(
    `dist/${condition}.js`,
    `import hotPathsModule from "./hot-paths.wasm${query}";
import decodersModule from "./decoders.wasm${query}";
import { decoders } from "./decoders.js";
import { hotPaths } from "./index.js";
hotPaths.use(hotPathsModule);
decoders.use(decodersModule);
${Object.keys(ENTRIES)
  .map((name) => `export * from "./${name}.js";\n`)
  .join("")}`,
  );
}

for (const { name, entry } of MODULES) {
  copyFileSync(`build/wasm/${name}.wasm`, `dist/${name}.wasm`);
  // The type of directboot/wasm in a runtime or bundler that knows .wasm imports.
  writeFileSync(
    `dist/types/${entry}.d.ts`,
    `/** ${name}.wasm, where importing a .wasm file gives a module (workerd, or a bundler set up so). */
declare const module: WebAssembly.Module;
export default module;
`,
  );
}
// The types name these of the platform's. A project may have them from the library DOM, from @types/node (whose version
// 20 knows no WebAssembly), or not at all: an empty interface joins those that are there, and stands for those that aren't.
writeFileSync(
  "dist/types/platform.d.ts",
  `interface AbortSignal {}
interface URL {}
declare namespace WebAssembly {
  interface Memory {}
  interface Module {}
}
`,
);
for (const path of [...Object.values(ENTRIES), "wasm", "wasm-decoders"]) {
  const file = `dist/types/${path}.d.ts`;
  const up = path.includes("/") ? ".." : ".";
  writeFileSync(file, `/// <reference path="${up}/platform.d.ts" />\n${readFileSync(file, "utf8")}`);
}
