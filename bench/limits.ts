/** The limits of WebAssembly itself: assembly/limits.ts, compiled by asc in a process of its own. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { instantiateSync } from "@assemblyscript/loader";

/** This file lies in build/bench/. */
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const COMPILER = "node_modules/assemblyscript/bin/asc.js";

export interface LimitExports extends Record<string, unknown> {
  /** `zeroBytes` set to zero from `pointer` on, then `storedBytes` (a multiple of 128) of a constant. */
  stores(pointer: number, zeroBytes: number, storedBytes: number): void;
}

/** Compiles the limits and attaches them to `memory`. */
export function limitsOver(memory: WebAssembly.Memory): LimitExports {
  execFileSync(process.execPath, [COMPILER, "assembly/limits.ts", "--target", "limits"], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const module = readFileSync(`${ROOT}build/bench/limits.wasm`);
  return instantiateSync(module, { env: { memory } }).instance.exports as LimitExports;
}
