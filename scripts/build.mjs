// npm run build: AssemblyScript -> WASM -> inlined TypeScript -> build/ (for tests and benches) -> dist/.
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
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

const asc = "node_modules/assemblyscript/bin/asc.js";
run(asc, "assembly/hot-paths.ts", "--target", "release");
run(asc, "assembly/decoders.ts", "--target", "decoders");

// The modules are inlined: a bundler needs no plugin, a page needs no fetch, and the first call is synchronous.
for (const [name, constant] of [
  ["hot-paths", "HOT_PATHS_WASM_BASE64"],
  ["decoders", "DECODERS_WASM_BASE64"],
]) {
  const wasm = readFileSync(`build/wasm/${name}.wasm`);
  const generated = `src/${name === "decoders" ? "decoders" : "wasm"}/${name}-wasm.generated.ts`;
  const text = `// Made by npm run build from assembly/; not committed.\nexport const ${constant}: string =\n  "${wasm.toString("base64")}";\n`;
  if (!existsSync(generated) || readFileSync(generated, "utf8") !== text) writeFileSync(generated, text);
}

run("node_modules/typescript/bin/tsc", "-p", "tsconfig.json");

rmSync("dist", { recursive: true, force: true });
mkdirSync("dist", { recursive: true });
run("node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json");
// Only now: building must say that packages are missing, not fail to start.
const { bundle } = await import("./bundle.mjs");
await bundle({
  common: {
    index: "src/index.ts",
    loader: "src/loader.ts",
    decoders: "src/decoders/index.ts",
    inspect: "src/inspect/index.ts",
    v86: "src/hosts/v86.ts",
  },
  // For the files of the conditions workerd and edge-light, below.
  forBundlers: { modules: "src/wasm/provided.ts" },
  forNode: { cli: "src/cli/main.ts" },
});
chmodSync("dist/cli.js", 0o755);
copyFileSync("build/wasm/hot-paths.wasm", "dist/hot-paths.wasm");
copyFileSync("build/wasm/decoders.wasm", "dist/decoders.wasm");

// Runtimes that forbid compiling from bytes import a .wasm file as a WebAssembly.Module, each in its own words.
const MODULE_IMPORTS = { workerd: ".wasm", "edge-light": ".wasm?module" };
for (const [condition, suffix] of Object.entries(MODULE_IMPORTS)) {
  mkdirSync(`dist/${condition}`);
  writeFileSync(
    `dist/${condition}/modules.js`,
    `import hotPaths from "../hot-paths${suffix}";
import decoders from "../decoders${suffix}";
import { provideModules } from "../modules.js";
provideModules({ hotPaths, decoders });
`,
  );
  for (const entry of ["index", "loader", "decoders", "inspect", "v86"]) {
    writeFileSync(
      `dist/${condition}/${entry}.js`,
      `import "./modules.js";\nexport * from "../${entry}.js";\n`,
    );
  }
}
// What a runtime or bundler that knows .wasm imports makes of directboot/wasm.
for (const [name, file] of [
  ["wasm", "hot-paths.wasm"],
  ["wasm-decoders", "decoders.wasm"],
]) {
  writeFileSync(
    `dist/types/${name}.d.ts`,
    `/** ${file}, where importing a .wasm file gives a module (workerd, or a bundler set up so). */
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
for (const path of [
  "index",
  "loader",
  "decoders/index",
  "inspect/index",
  "hosts/v86",
  "wasm",
  "wasm-decoders",
]) {
  const file = `dist/types/${path}.d.ts`;
  const up = path.includes("/") ? ".." : ".";
  writeFileSync(file, `/// <reference path="${up}/platform.d.ts" />\n${readFileSync(file, "utf8")}`);
}
