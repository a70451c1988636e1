/** The C floor: compiled with the system's cc, run as a child process that measures itself. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { median } from "./harness.js";

/** This file lies in build/bench/. */
const ROOT = new URL("../../", import.meta.url);
const ROUNDS_A_CALL = 3;

export type FloorMode = "fresh" | "warm" | "zero+warm";

/** Median nanoseconds of a read of the file's bytes, of {@link ROUNDS_A_CALL} in one child. */
export type Floor = (mode: FloorMode, path: string, offset: number, length: number) => number;

/** Compiles; undefined where there is no C compiler. */
export function compileFloor(notes: string[]): Floor | undefined {
  const program = fileURLToPath(new URL("build/bench/floor", ROOT));
  mkdirSync(new URL("build/bench/", ROOT), { recursive: true });
  try {
    execFileSync("cc", ["-O2", "-Wall", "-o", program, fileURLToPath(new URL("bench/floor.c", ROOT))], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  } catch (cause) {
    notes.push(`no C floor: cc failed (${cause instanceof Error ? cause.message : String(cause)})`);
    return undefined;
  }
  return (mode, path, offset, length) => {
    const args = [mode, path, String(offset), String(length), String(ROUNDS_A_CALL)];
    const text = execFileSync(program, args, { encoding: "utf8" });
    return median(text.trim().split("\n").map(Number));
  };
}
