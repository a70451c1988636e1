/** Runs QEMU, or any other emulator that speaks on its standard output, under a time limit. */

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";

export interface QemuRun {
  /** For example `qemu-system-x86_64`. */
  readonly program: string;
  /** The guest's serial port belongs on standard output: `-serial stdio`. */
  readonly args: readonly string[];
  readonly timeoutMs: number;
  /** End QEMU as soon as the serial output contains this. */
  readonly until?: string | RegExp;
}

export interface QemuResult {
  /** What the guest's serial port sent; lines end with CR LF, as the guest sent them. */
  readonly serial: string;
  /** QEMU's own messages. */
  readonly stderr: string;
  /** `null` if we ended it, on time-out or because of `until`. */
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  /** From the start of the process to its end. */
  readonly milliseconds: number;
}

/** Makes the kernel end QEMU when this process is killed in a way that leaves no time to do so ourselves. */
const DEATH_SIGNAL = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] as const;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const running = new Set<ChildProcess>();

function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

// A signal handler of ours replaces Node's default, so it is there only while a child is, and ends the process
// by the same signal, unless somebody else listens to it, too.
function onSignal(signal: NodeJS.Signals): void {
  killAll();
  unwatch();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function watch(): void {
  process.on("exit", killAll);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

function unwatch(): void {
  process.off("exit", killAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

/** Runs QEMU to its end, its time limit, or the sign in `until`; rejects only if it cannot be started. */
export function runQemu({ program, args, timeoutMs, until }: QemuRun): Promise<QemuResult> {
  return new Promise((resolve, reject) => {
    const [command = program, ...prefix] = hasDeathSignal() ? [...DEATH_SIGNAL, program] : [program];
    const started = performance.now();
    const child = spawn(command, [...prefix, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    if (running.size === 0) watch();
    running.add(child);

    let serial = "";
    let stderr = "";
    let timedOut = false;
    let found = false;
    let failure: Error | undefined;

    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      const searchFrom = typeof until === "string" ? Math.max(0, serial.length - until.length) : 0;
      serial += chunk;
      if (found || until === undefined) return;
      // With search(), a RegExp's flags cannot carry state from one chunk to the next.
      found = typeof until === "string" ? serial.includes(until, searchFrom) : serial.search(until) >= 0;
      if (found) child.kill("SIGKILL");
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk;
    });
    child.on("error", (error) => {
      failure = error;
      if (child.pid === undefined) finish(null);
    });
    // "close", not "exit": only then has all output arrived.
    child.on("close", (exitCode) => finish(exitCode));

    function finish(exitCode: number | null): void {
      clearTimeout(timer);
      running.delete(child);
      if (running.size === 0) unwatch();
      if (failure === undefined && stderr.startsWith("setpriv: failed to execute"))
        failure = new Error(stderr.trim());
      if (failure !== undefined) {
        reject(new Error(`cannot run ${program}: ${failure.message}`, { cause: failure }));
        return;
      }
      // QEMU may have reached its own end between the sign and our signal: its status counts, then.
      const milliseconds = Math.round(performance.now() - started);
      resolve({ serial, stderr, exitCode, timedOut, milliseconds });
    }
  });
}

let deathSignal: boolean | undefined;

function hasDeathSignal(): boolean {
  if (deathSignal === undefined) {
    try {
      accessSync(DEATH_SIGNAL[0], constants.X_OK);
      deathSignal = true;
    } catch {
      deathSignal = false; // not Linux, or no util-linux: the handlers above must do
    }
  }
  return deathSignal;
}
