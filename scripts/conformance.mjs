// npm run conformance -- DIR: replays a folder of recorded upstream calls through the public API.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

// npm runs scripts in the package's folder; DIR is meant from where the user stands.
const from = process.env.INIT_CWD ?? process.cwd();
const args = process.argv
  .slice(2)
  .map((arg, i, all) => (arg.startsWith("--") || all[i - 1]?.startsWith("--") ? arg : resolve(from, arg)));
const { build, ensurePackages } = await import("./setup.mjs");
ensurePackages();
build();
const { status } = spawnSync(process.execPath, ["build/test/conformance/main.js", ...args], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
