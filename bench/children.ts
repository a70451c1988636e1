/** Child processes: what a cold start and peak memory are measured by. */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** The file that Node imports for `import "directboot"`, or for another entry of the package. */
export function packageUrl(entry: "" | "/v86" = ""): string {
  return import.meta.resolve(`directboot${entry}`);
}

/** Writes a script and gives its path. */
export function writeScript(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Nanoseconds from the start of a Node with that script to its end. */
export function timeNode(script: string): number {
  const start = process.hrtime.bigint();
  const { status, stderr } = spawnSync(process.execPath, [script], { stdio: ["ignore", "ignore", "pipe"] });
  const ns = Number(process.hrtime.bigint() - start);
  if (status !== 0) throw new Error(`${script} failed: ${stderr.toString()}`);
  return ns;
}

/**
 * Gives the output of a script in a Node of its own. Between that Node and this one is a shell: Linux hands the peak RSS of
 * the process that forks to the program that the fork becomes (exec_mmap), and a shell's is small.
 */
export function outputOfNode(script: string): string {
  const command = `"$0" "$1"; exit $?`;
  return execFileSync("sh", ["-c", command, process.execPath, script], { encoding: "utf8" });
}
