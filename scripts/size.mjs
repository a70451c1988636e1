// npm run size: what an import of `crc32` alone, and of `loadLinux`, adds to a bundle: minified, gzipped, against the
// budgets of PERFORMANCE.md §4. Exits 1 if one is over its gate.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const KIB = 1024;
const dist = fileURLToPath(new URL("../dist", import.meta.url));
if (!existsSync(`${dist}/index.js`)) {
  process.stderr.write("size: there is no dist/index.js: npm run build makes it\n");
  process.exit(1);
}

const budgets = [
  { name: "crc32", target: 9, gate: 12 },
  { name: "loadLinux", target: 30, gate: 40 },
];
const kib = (bytes) => `${(bytes / KIB).toFixed(1)} KiB`;
process.stdout.write("import            min  min+gzip    target      gate\n");
let isOver = false;
for (const { name, target, gate } of budgets) {
  const { outputFiles } = await build({
    stdin: { contents: `export { ${name} } from "./index.js";`, resolveDir: dist, loader: "js" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    // What is imported on demand is no cost of the import.
    external: ["node:*", "./decoders.js"],
    legalComments: "none",
    write: false,
  });
  const [{ contents }] = outputFiles;
  const gzipped = gzipSync(contents, { level: 9 }).byteLength;
  const word = gzipped > gate * KIB ? "OVER THE GATE" : gzipped > target * KIB ? "over the target" : "ok";
  if (gzipped > gate * KIB) isOver = true;
  const cells = [kib(contents.byteLength), kib(gzipped), kib(target * KIB), kib(gate * KIB)];
  process.stdout.write(`${name.padEnd(10)}${cells.map((cell) => cell.padStart(10)).join("")}  ${word}\n`);
}
process.exitCode = isOver ? 1 : 0;
