// npm run build: AssemblyScript -> WASM -> inlined TypeScript -> build/ (for tests and benches) -> dist/.
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

const run = (script, ...args) => {
  try {
    execFileSync(process.execPath, [script, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  } catch (cause) {
    process.stderr.write(`build failed: ${script} ${args.join(" ")}\n`);
    process.exit(cause.status ?? 1);
  }
};

const asc = "node_modules/assemblyscript/bin/asc.js";
run(asc, "assembly/kernels.ts", "--target", "release");
run(asc, "assembly/kernels.ts", "--target", "shared");
run(asc, "assembly/decoders.ts", "--target", "decoders");

// The modules are inlined: a bundler needs no plugin, a page needs no fetch, and the first call is synchronous.
for (const [name, constant] of [
  ["kernels", "KERNELS_WASM_BASE64"],
  ["decoders", "DECODERS_WASM_BASE64"],
]) {
  const wasm = readFileSync(`build/wasm/${name}.wasm`);
  const generated = `src/${name}/${name}-wasm.generated.ts`;
  const text = `// Made by npm run build from assembly/; not committed.\nexport const ${constant} =\n  "${wasm.toString("base64")}";\n`;
  if (!existsSync(generated) || readFileSync(generated, "utf8") !== text) writeFileSync(generated, text);
}

run("node_modules/typescript/bin/tsc", "-p", "tsconfig.json");

rmSync("dist", { recursive: true, force: true });
mkdirSync("dist", { recursive: true });
run("node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json");
const { build } = await import("esbuild");
// One file per public entry, and one for what they share (one class of errors, one table): 45 small modules cost 24 ms at
// import, one file 0.4 ms.
await build({
  entryPoints: {
    index: "src/index.ts",
    decoders: "src/decoders/index.ts",
    inspect: "src/inspect/index.ts",
    v86: "src/hosts/v86.ts",
    cli: "src/cli/main.ts",
    // Loaded on demand by loadLinux: what a page doesn't need it doesn't fetch.
    "plan-x86": "src/linux/plan-x86.ts",
    "plan-arm64": "src/linux/plan-arm64.ts",
  },
  outdir: "dist",
  bundle: true,
  splitting: true,
  chunkNames: "shared-[hash]",
  format: "esm",
  platform: "neutral",
  mainFields: ["module", "main"],
  external: ["node:*"],
  target: "es2022",
  sourcemap: true,
  legalComments: "inline",
  logLevel: "warning",
});
chmodSync("dist/cli.js", 0o755);
copyFileSync("build/wasm/kernels.wasm", "dist/kernels.wasm");
copyFileSync("build/wasm/decoders.wasm", "dist/decoders.wasm");
