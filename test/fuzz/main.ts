/** The long run: npm run fuzz -- [--seconds N] [--seed S] [--target NAME]… | --replay FILE. See docs/fuzzing.md. */
import { parseArgs } from "node:util";
import { type Report, replay, runTarget } from "./fuzzer.js";
import { TARGETS } from "./targets.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    target: { type: "string", multiple: true, default: Object.keys(TARGETS) },
    replay: { type: "string" },
  },
});

function line({ name, executions, seconds, outcomes, failure }: Report): string {
  const rate = `${Math.round(executions / seconds)}/s`;
  const told =
    failure === undefined ? "" : `\n${failure.message}\n  npm run fuzz -- --replay ${failure.file}`;
  return `${name.padEnd(14)}${`${executions}`.padStart(9)} executions ${rate.padStart(9)}  ${Object.keys(outcomes).length} outcomes${told}\n`;
}

if (values.replay !== undefined) {
  process.stdout.write(`${await replay(TARGETS, values.replay)}\n`);
} else {
  for (const name of values.target) {
    const make = TARGETS[name];
    if (make === undefined) throw new Error(`there is no target ${name}: ${Object.keys(TARGETS).join(", ")}`);
    const report = await runTarget(make(), Number(values.seed), { seconds: Number(values.seconds) });
    process.stdout.write(line(report));
    if (report.failure !== undefined) process.exitCode = 1;
  }
}
