// node scripts/first-load.mjs FILE: the names of the functions at the top of FILE (dist/node/library.js) that run while
// it is imported and loads a kernel, a JSON array on stdout. bundle.mjs asks.
import { readFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseAst } from "rollup/parseAst";

const file = resolve(process.argv[2]);
const { href } = pathToFileURL(file);
const session = new Session();
session.connect();
await session.post("Profiler.enable");
await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
const { loadLinuxSync } = await import(new URL("index.js", href).href);
// The path that the bench of a cold start takes: an ELF for x86-64.
loadLinuxSync({ kernel: "guests/x86_64.elf", memory: 64 * 1024 * 1024 });
const { result } = await session.post("Profiler.takePreciseCoverage");
const { functions } = result.find(({ url }) => url === href);
const ran = new Set(
  functions.filter(({ ranges }) => ranges[0].count > 0).map(({ ranges }) => ranges[0].startOffset),
);
const names = parseAst(readFileSync(file, "utf8"))
  .body.filter(({ type, async, start }) => type === "FunctionDeclaration" && !async && ran.has(start))
  .map(({ id }) => id.name);
process.stdout.write(JSON.stringify(names));
