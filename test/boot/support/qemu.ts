/** Runs QEMU, or any other emulator that speaks on its standard output, under a time limit. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

export interface QemuRun {
  /** For example `qemu-system-x86_64`. */
  readonly program: string;
  /** The guest's serial port belongs on standard output: `-serial stdio`. */
  readonly args: readonly string[];
  readonly timeoutMs: number;
  /** End QEMU as soon as the serial output contains this. */
  readonly until?: string;
}

export interface QemuResult {
  /** The output of the guest's serial port; lines end with CR LF. */
  readonly serial: string;
  /** QEMU's own messages. */
  readonly stderr: string;
  /** `null` if we ended it, on time-out or because of `until`. */
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  /** From the start of the process to its end. */
  readonly milliseconds: number;
}

/** The system ends QEMU when this process ends without doing so. */
const SETPRIV = "/usr/bin/setpriv";
const DEATH_SIGNAL = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", "--"] : [];

/** Runs QEMU to its end, its time limit, or the sign in `until`; rejects only if it cannot be started. */
export function runQemu({ program, args, timeoutMs, until }: QemuRun): Promise<QemuResult> {
  return new Promise((resolve, reject) => {
    const [command = program, ...rest] = [...DEATH_SIGNAL, program, ...args];
    const started = performance.now();
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
    let serial = "";
    let stderr = "";
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      const from = Math.max(0, serial.length - (until?.length ?? 0));
      serial += chunk;
      if (until !== undefined && serial.includes(until, from)) child.kill("SIGKILL");
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk;
    });
    const fail = (message: string): void => reject(new Error(`cannot run ${program}: ${message}`));
    child.on("error", ({ message }) => fail(message));
    // "close", not "exit": only then has all output arrived.
    child.on("close", (exitCode) => {
      clearTimeout(timer);
      if (stderr.startsWith("setpriv: failed to execute")) fail(stderr.trim());
      const milliseconds = Math.round(performance.now() - started);
      resolve({ serial, stderr, exitCode, timedOut, milliseconds });
    });
  });
}
