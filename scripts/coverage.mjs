// Gathers V8's records of the tests' coverage (NODE_V8_COVERAGE: a JSON file a process) for c8.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { say } from "./setup.mjs";

/** The coverage in `file`; undefined where its process was killed while it wrote it, as tests of signals may do. */
function readCoverage(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    say(`${file} is cut off, since its process was killed: it isn't counted`);
    return undefined;
  }
}

/** Copies what the processes that wrote into the folder `from` ran of build/src/ into the folder `to`. */
export function gatherCoverage(from, to) {
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from)) {
    const coverage = readCoverage(join(from, file));
    if (coverage === undefined) continue;
    // A bundle's functions that never ran are mapped back as if they had: only build/src/ tells the truth.
    coverage.result = coverage.result.filter(({ url }) => url.includes("/build/src/"));
    if (coverage.result.length > 0) writeFileSync(join(to, file), JSON.stringify(coverage));
  }
}
