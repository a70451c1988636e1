/**
 * npm run bench [-- --suite NAME] [--json FILE]: ours and the peers in the same process, interleaved, medians.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Bench } from "tinybench";
import { crc32Suite } from "./suites/crc32.js";
import { loadSuite } from "./suites/load.js";
import { pageTableSuite } from "./suites/page-table.js";
import type { Suite } from "./suites/suite.js";

const SUITES: readonly (() => Suite)[] = [crc32Suite, pageTableSuite, loadSuite];
const ROUNDS = 11;

interface Row {
  readonly name: string;
  readonly size: string;
  readonly bytesPerSecond: number;
  readonly nsPerOp: number;
  readonly samples: number;
  readonly ratioTo: Readonly<Record<string, number>>;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Times each contender once a round, in turn, after a round that is thrown away; ratios are of the same round. */
async function measure(suite: Suite): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { size, byteLength, contenders } of suite.cases) {
    const times = new Map<string, number[]>();
    for (let round = -1; round < ROUNDS; round++) {
      for (const [name, run] of Object.entries(contenders)) {
        const bench = new Bench({ time: suite.millisecondsARound, iterations: 1, warmup: round === -1 });
        bench.add(name, run);
        await bench.run();
        const [task] = bench.tasks;
        const result = task?.result;
        if (result === undefined || !("latency" in result)) throw new Error(`${suite.name} ${name} failed`);
        if (round >= 0) times.set(name, [...(times.get(name) ?? []), result.latency.p50 * 1e6]);
      }
    }
    for (const [name, samples] of times) {
      const ratioTo = Object.fromEntries(
        [...times]
          .filter(([peer]) => peer !== name)
          // How many times faster than the peer.
          .map(([peer, theirs]) => [peer, median(samples.map((ns, i) => (theirs[i] ?? Number.NaN) / ns))]),
      );
      const nsPerOp = median(samples);
      rows.push({
        name,
        size,
        bytesPerSecond: (byteLength / nsPerOp) * 1e9,
        nsPerOp,
        samples: samples.length,
        ratioTo,
      });
    }
  }
  return rows;
}

function print(suite: Suite, rows: readonly Row[]): void {
  process.stdout.write(`\n${suite.name}: ${suite.about}\n`);
  for (const row of rows) {
    const speed = `${(row.bytesPerSecond / 1e9).toFixed(2)} GB/s`;
    const ours = row.ratioTo[suite.ours];
    const ratio = ours === undefined ? "" : `directboot is ${(1 / ours).toFixed(2)} × as fast`;
    process.stdout.write(`  ${row.size.padEnd(8)} ${row.name.padEnd(32)} ${speed.padStart(12)}  ${ratio}\n`);
  }
}

const { values } = parseArgs({ options: { suite: { type: "string" }, json: { type: "string" } } });
const results: { suite: string; rows: Row[] }[] = [];
for (const make of SUITES) {
  const suite = make();
  try {
    if (values.suite !== undefined && values.suite !== suite.name) continue;
    const rows = await measure(suite);
    print(suite, rows);
    results.push({ suite: suite.name, rows });
  } finally {
    suite.close?.();
  }
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
