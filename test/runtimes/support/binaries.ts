/** The runtimes' programs, out of the packages that test/runtimes/package.json names. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { inRoot } from "../../support/paths.js";

/** Where each program lies in its package, by its runtime and this machine's processor. */
const PROGRAMS = {
  "Node 20.19": { x64: "node20-linux-x64/bin/node", arm64: "node20-linux-arm64/bin/node" },
  "Node 22": { x64: "node22-linux-x64/bin/node", arm64: "node22-linux-arm64/bin/node" },
  "Node 26": { x64: "node26-linux-x64/bin/node", arm64: "node26-linux-arm64/bin/node" },
  Bun: { x64: "@oven/bun-linux-x64/bin/bun", arm64: "@oven/bun-linux-aarch64/bin/bun" },
  Deno: { x64: "@deno/linux-x64-glibc/deno", arm64: "@deno/linux-arm64-glibc/deno" },
  workerd: {
    x64: "@cloudflare/workerd-linux-64/bin/workerd",
    arm64: "@cloudflare/workerd-linux-arm64/bin/workerd",
  },
} as const;

export type RuntimeName = keyof typeof PROGRAMS;

/** The program of a runtime. Fails if its package is not there. */
export function runtimeProgram(runtime: RuntimeName): string {
  const path = PROGRAMS[runtime][process.arch === "arm64" ? "arm64" : "x64"];
  const program = inRoot(`test/runtimes/node_modules/${path}`);
  assert.ok(existsSync(program), `${program} is missing: npm ci --ignore-scripts --prefix test/runtimes`);
  return program;
}
