// npm run fuzz -- [--seconds N] [--seed S] [--target NAME]… | --replay FILE: see docs/fuzzing.md.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

// npm runs scripts in the package's folder; FILE is meant from where the user stands.
const from = process.env.INIT_CWD ?? process.cwd();
const args = process.argv
  .slice(2)
  .map((arg, i, all) => (all[i - 1] === "--replay" ? resolve(from, arg) : arg));
const { build, ensurePackages } = await import("./setup.mjs");
ensurePackages();
build();
const { status } = spawnSync(process.execPath, ["build/test/fuzz/main.js", ...args], { stdio: "inherit" });
process.exitCode = status ?? 1;
