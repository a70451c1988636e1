import { execFile } from "node:child_process";
import { CLI } from "./paths.js";

/** The result of a program's run. */
export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, without a shell. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      {
        cwd: options.cwd,
        env: options.env ?? process.env,
        timeout: options.timeoutMs ?? 120_000,
        maxBuffer: 64 << 20,
        encoding: "utf8",
      },
      (error, stdout, stderr) => {
        // A number is the exit status; a string says that the program could not be run.
        const code: number | string | null | undefined = error === null ? 0 : error.code;
        if (typeof code === "string") reject(error);
        else resolve({ status: code ?? null, stdout, stderr });
      },
    );
  });
}

/** Runs the command `directboot` as a user would. */
export function directboot(
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<CommandResult> {
  return runProgram(process.execPath, [CLI, ...args], options);
}
