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
const ON_DEMAND = ["x86", "arm64", "decoders"];
const sizes = async (contents, onDemand = ON_DEMAND) => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: dist, loader: "js" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    // What is imported on demand is no cost of the import: it is told below.
    external: ["node:*", ...onDemand.map((name) => `./${name}.js`)],
    legalComments: "none",
    // A file of dist/ that is imported for its order alone has nothing to keep: no warning.
    logLevel: "error",
    write: false,
  });
  const [file] = outputFiles;
  return { bytes: file.contents.byteLength, gzipped: gzipSync(file.contents, { level: 9 }).byteLength };
};
const line = (name, cells, word) =>
  process.stdout.write(`${name.padEnd(26)}${cells.map((cell) => cell.padStart(10)).join("")}  ${word}\n`);

line("import", ["min", "min+gzip", "target", "gate"], "");
let isOver = false;
for (const { name, target, gate } of budgets) {
  const { bytes, gzipped } = await sizes(`export { ${name} } from "./index.js";`);
  const word = gzipped > gate * KIB ? "OVER THE GATE" : gzipped > target * KIB ? "over the target" : "ok";
  if (gzipped > gate * KIB) isOver = true;
  line(name, [kib(bytes), kib(gzipped), kib(target * KIB), kib(gate * KIB)], word);
}
// Each beside what loadLinux has already.
const base = await sizes('export { loadLinux } from "./index.js";');
for (const name of ON_DEMAND) {
  const both = await sizes(
    `export { loadLinux } from "./index.js"; export * as part from "./${name}.js";`,
    ON_DEMAND.filter((each) => each !== name),
  );
  const cells = [kib(both.bytes - base.bytes), kib(both.gzipped - base.gzipped)];
  line(`  on demand: ${name}`, cells, "");
}
process.exitCode = isOver ? 1 : 0;
