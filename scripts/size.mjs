// npm run size: the bytes that an import of `crc32` alone, and of `loadLinux`, adds to a bundle, minified and gzipped,
// against their budgets. Exits 1 if one is over its gate.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const KIB = 1024;
const BUDGETS = [
  { name: "crc32", target: 9 * KIB, gate: 12 * KIB },
  { name: "loadLinux", target: 30 * KIB, gate: 40 * KIB },
];

/** The planners and the decoders are loaded when they are needed: they are no cost of the import. */
const onDemand = {
  name: "on-demand",
  setup({ onResolve }) {
    onResolve({ filter: /./ }, ({ kind }) => (kind === "dynamic-import" ? { external: true } : undefined));
  },
};

const kib = (bytes) => `${(bytes / KIB).toFixed(1)} KiB`.padStart(10);
process.stdout.write(`${"import".padEnd(12)}       min  min+gzip    target      gate\n`);
for (const { name, target, gate } of BUDGETS) {
  const { outputFiles } = await build({
    stdin: { contents: `export { ${name} } from "./index.js";`, resolveDir: dist },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    external: ["node:*"],
    plugins: [onDemand],
    legalComments: "none",
    // Imports for order alone have nothing to keep: no warning.
    logLevel: "error",
    write: false,
  });
  const code = outputFiles[0].contents;
  const size = gzipSync(code, { level: 9 }).byteLength;
  const word = size > gate ? "OVER THE GATE" : size > target ? "over the target" : "ok";
  if (size > gate) process.exitCode = 1;
  process.stdout.write(
    `${name.padEnd(12)}${[code.byteLength, size, target, gate].map(kib).join("")}  ${word}\n`,
  );
}
