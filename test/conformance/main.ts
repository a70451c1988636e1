/**
 * node build/test/conformance/main.js DIR [--hot-paths wasm|javascript] [--count N]
 *
 * Replays a folder in the format of test/golden (its README) and prints each deviation. `--count` states how many
 * scenarios and rows the folder must hold. Exit status: 0 all agree, 1 something deviates or nothing was replayed, 2
 * unusable arguments or folder.
 */
import { parseArgs } from "node:util";
import { hotPaths } from "../../src/index.js";
import { parseInteger } from "./blobs.js";
import { Unusable } from "./json.js";
import { type ReplayOptions, type Report, replayFolder, type ScenarioDeviation } from "./replay.js";

const USAGE = "usage: main.js DIR [--hot-paths wasm|javascript] [--count N]";

interface Arguments {
  readonly directory: string;
  readonly hotPaths: "auto" | "wasm" | "javascript";
  readonly count: number | undefined;
}

function readArguments(args: string[]): Arguments {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { "hot-paths": { type: "string" }, count: { type: "string" } },
  });
  const [directory, ...more] = positionals;
  if (directory === undefined || more.length > 0) throw new Unusable("one folder is wanted");
  const choice = values["hot-paths"] ?? "auto";
  if (choice !== "auto" && choice !== "wasm" && choice !== "javascript") {
    throw new Unusable(`--hot-paths: ${choice} is neither wasm nor javascript`);
  }
  const count = values.count === undefined ? undefined : Number(parseInteger(values.count, "--count"));
  return { directory, hotPaths: choice, count };
}

function print({ scenario, where, expected, got }: ScenarioDeviation): void {
  console.log(`${scenario}: ${where}: expected ${expected}, got ${got}`);
}

function main(): number {
  let report: Report;
  try {
    const { directory, hotPaths: choice, count } = readArguments(process.argv.slice(2));
    if (choice !== "auto") hotPaths.use(choice);
    const options: ReplayOptions = { onDeviation: print, ...(count === undefined ? {} : { count }) };
    report = replayFolder(directory, options);
  } catch (cause) {
    console.error(`${cause instanceof Error ? cause.message : cause}\n${USAGE}`);
    return 2;
  }
  const { passed, failed, skipped } = report;
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  if (passed + failed === 0) {
    console.error("nothing was replayed: every scenario and row of the folder is marked as skipped");
    return 1;
  }
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
