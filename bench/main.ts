/** npm run bench: see bench/README.md. */
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { better, isMissed, judge, meets, type Verdict } from "./gates.js";
import type { Row, Suite } from "./harness.js";
import { asMarkdown, asText, machine, processorName, verdictLine } from "./report.js";

/**
 * In the order in which they run. Imported when its turn comes: the peers of one are another's heap, and the larger that
 * is, the sooner V8 begins to collect within what is measured.
 */
const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  crc32: async () => (await import("./suites/crc32.js")).crc32Suite(),
  copy: async () => (await import("./suites/copy.js")).copySuite(),
  "page-table": async () => (await import("./suites/page-table.js")).pageTableSuite(),
  load: async () => (await import("./suites/load.js")).loadSuite(),
  guests: async () => (await import("./suites/guests.js")).guestsSuite(),
  decompress: async () => (await import("./suites/decompress.js")).decompressSuite(),
  "cold-start": async () => (await import("./suites/cold-start.js")).coldStartSuite(),
  memory: async () => (await import("./suites/memory.js")).memorySuite(),
  boot: async () => (await import("./suites/boot.js")).bootSuite(),
};
/** Takes minutes: measured only when it is asked for by its name. */
const SLOW = "boot";

const USAGE = `usage: npm run bench [-- OPTIONS]
  --suite NAME   only this suite; may be given more than once. "boot", which takes minutes, runs only when it is named
  --json FILE    writes the rows of all suites to FILE
  --markdown     prints tables in Markdown
  --gate         exits with 1 if a gate is missed; a missed suite is measured once more, the better figure counts
  --quick        a few short rounds: shows that it runs, not how fast
  --growth       draws bench/growth-load.svg and bench/growth-crc32.svg, and measures no suite
suites: `;

function usageError(what: string, names: readonly string[]): never {
  process.stderr.write(`bench: ${what}\n${USAGE}${names.join(", ")}\n`);
  process.exit(2);
}

/** The suite's gates: those that it misses are measured again, and the better figure of each counts. */
async function hold(suite: Suite, rows: readonly Row[]): Promise<Verdict[]> {
  const verdicts = judge(suite.name, rows, { processor: processorName() });
  const missed = verdicts.filter((verdict) => verdict.measured !== undefined && isMissed(verdict));
  if (missed.length === 0) return verdicts;
  process.stdout.write(`\n${suite.name}: ${missed.length} missed, measuring once more:\n`);
  for (const verdict of missed) process.stdout.write(`  ${verdictLine(verdict)}\n`);
  const again = judge(suite.name, await suite.measure({ quick: false }), {
    processor: processorName(),
  });
  return verdicts.map((verdict, i) => better(verdict, again[i] ?? verdict));
}

function writeResults(path: string, results: readonly { suite: string; rows: Row[] }[]): void {
  try {
    writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`);
  } catch (cause) {
    process.stderr.write(`bench: ${cause instanceof Error ? cause.message : String(cause)}\n`);
    process.exit(2);
  }
}

async function main(): Promise<number> {
  const names = Object.keys(SUITES);
  const parse = (): ReturnType<typeof parseOptions> => {
    try {
      return parseOptions();
    } catch (cause) {
      usageError(cause instanceof Error ? cause.message : String(cause), names);
    }
  };
  const options = parse();
  if (options.help === true) {
    process.stdout.write(`${USAGE}${names.join(", ")}\n`);
    return 0;
  }
  const { quick = false, gate = false } = options;
  if (quick && gate) usageError("--gate needs full rounds: leave --quick out", names);
  if (options.growth === true && (gate || options.json !== undefined || options.suite !== undefined)) {
    usageError("--growth measures no suite: leave --gate, --json and --suite out", names);
  }
  const asked = options.suite ?? names.filter((name) => name !== SLOW);
  const unknown = asked.find((name) => !names.includes(name));
  if (unknown !== undefined) usageError(`there is no suite ${unknown}`, names);

  // A path that can't be written is said before minutes of measuring.
  if (options.json !== undefined) writeResults(options.json, []);

  process.stdout.write(`${machine()}\n`);
  if (options.growth === true) {
    const { drawGrowth } = await import("./growth.js");
    await drawGrowth(quick);
    return 0;
  }
  const results: { suite: string; rows: Row[] }[] = [];
  const verdicts: Verdict[] = [];
  for (const [name, importSuite] of Object.entries(SUITES)) {
    if (!asked.includes(name)) continue;
    const suite = await importSuite();
    const start = performance.now();
    const rows = await suite.measure({ quick });
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const load = (loadavg()[0] ?? 0).toFixed(1);
    process.stdout.write(
      options.markdown === true
        ? asMarkdown(suite, rows)
        : `${asText(suite, rows)}  took ${seconds} s, load average ${load}\n`,
    );
    results.push({ suite: suite.name, rows });
    if (gate) verdicts.push(...(await hold(suite, rows)));
  }
  if (options.json !== undefined) writeResults(options.json, results);
  if (!gate) return 0;

  process.stdout.write("\ngates: medians; of a suite that was measured twice the better one\n");
  for (const verdict of verdicts) process.stdout.write(`  ${verdictLine(verdict)}\n`);
  const missed = verdicts.filter(isMissed);
  const held = verdicts.filter(({ gate: one, measured }) => meets(one, one.gate, measured));
  const reached = verdicts.filter((verdict) => meets(verdict.gate, verdict.gate.target, verdict.measured));
  process.stdout.write(
    `${held.length} of ${verdicts.length} gates held, ${missed.length} missed, ${verdicts.length - held.length - missed.length} not judged on this processor; ${reached.length} targets reached\n`,
  );
  for (const { gate: one } of missed)
    process.stdout.write(`missed: ${one.suite}: ${one.what} (${one.source})\n`);
  return missed.length === 0 ? 0 : 1;
}

function parseOptions(): {
  suite?: string[] | undefined;
  json?: string | undefined;
  markdown?: boolean | undefined;
  gate?: boolean | undefined;
  quick?: boolean | undefined;
  growth?: boolean | undefined;
  help?: boolean | undefined;
} {
  return parseArgs({
    options: {
      suite: { type: "string", multiple: true },
      json: { type: "string" },
      markdown: { type: "boolean" },
      gate: { type: "boolean" },
      quick: { type: "boolean" },
      growth: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  }).values;
}

process.exitCode = await main();
