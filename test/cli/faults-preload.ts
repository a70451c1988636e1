/**
 * Loaded before the command (`node --import`): at its Nth call that changes the file system something happens. What is
 * to happen stands in FAULT, as JSON; how many calls there were is written to `report` at the end.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/** At which call what happens; call 0 never comes. */
export interface FaultPlan {
  readonly call: number;
  /** The call fails with this code; or a signal comes in; or little is written. */
  readonly action: "fail" | "signal" | "short";
  /** The code, or the signal. */
  readonly detail: string;
  readonly report: string;
}

const WATCHED = ["mkdtempSync", "mkdirSync", "openSync", "writeSync", "fsyncSync", "renameSync"] as const;

const { writeFileSync } = fs;
const plan: FaultPlan = JSON.parse(process.env["FAULT"] ?? "");
const calls: string[] = [];

/** Counts the call, and does what is planned for it; may change its arguments. */
function interfere(name: string, args: unknown[]): void {
  calls.push(name);
  if (calls.length !== plan.call) return;
  switch (plan.action) {
    case "fail": {
      const error = new Error(`${plan.detail}: injected, ${name}`);
      throw Object.assign(error, { code: plan.detail, syscall: name });
    }
    case "signal":
      process.kill(process.pid, plan.detail);
      break;
    case "short":
      // writeSync(descriptor, bytes, offset, length): the system may write less than it is asked to.
      if (name === "writeSync") args[3] = Math.min(Number(args[3]), 7);
      break;
  }
}

for (const name of WATCHED) {
  const real: unknown = Reflect.get(fs, name);
  if (typeof real !== "function") throw new Error(`node:fs has no ${name}`);
  Reflect.set(fs, name, (...args: unknown[]): unknown => {
    // A file that is opened for reading is no output.
    if (name !== "openSync" || args[1] === "wx") interfere(name, args);
    return Reflect.apply(real, fs, args);
  });
}
syncBuiltinESMExports();
process.on("exit", () => writeFileSync(plan.report, JSON.stringify(calls)));
