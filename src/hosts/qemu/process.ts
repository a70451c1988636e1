/** QEMU as a process: it never outlives this one, nor does anything that it starts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { messageOf } from "../../base/describe.js";
import { DirectBootError } from "../../base/errors.js";
import { controlArguments, runMachine, type ShutdownCause } from "./qmp.js";

/** A killed program is gone within milliseconds; one that hangs in the kernel must not keep us. */
const MILLISECONDS_TO_DIE = 2000;

/** A program to run. */
export interface QemuProgram {
  readonly program: string;
  /** Debian's package of it. */
  readonly packageName: string;
}

/** The outcome of a run. */
export interface RunResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
  readonly milliseconds: number;
  /** Why the guest's machine has ended; undefined if it was killed, or QEMU was not controlled. */
  readonly cause: ShutdownCause | undefined;
}

/** Limits of a run, and receivers of its output. */
export interface RunOptions {
  /** Seconds after which the guest is killed. */
  readonly seconds: number | undefined;
  /**
   * Receives the guest's serial output, as it comes. A promise that it returns holds the guest up until it is kept, so that
   * one that says much does not fill our memory.
   */
  readonly onSerial: (bytes: Uint8Array) => Promise<void> | undefined;
  /** Receives QEMU's own messages; by default they go to stderr. */
  readonly onMessage?: (bytes: Uint8Array) => void;
  /** Controls QEMU by QMP, to learn why the machine ends. */
  readonly isControlled?: boolean;
}

/** Beside the standard streams. */
const CONTROL_FD = 3;

const running = new Set<ChildProcess>();

/** Signals QEMU and whatever it has started: a wrapper around QEMU need not pass signals on. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    // Windows has no process groups.
    process.kill(process.platform === "win32" ? child.pid : -child.pid, signal);
  } catch {
    // ESRCH: it has ended.
  }
}

function signalAll(signal: NodeJS.Signals): void {
  for (const child of running) signalGroup(child, signal);
}

const LISTENERS = {
  exit: () => signalAll("SIGKILL"),
  // A group of its own does not get the terminal's Ctrl-Z.
  SIGTSTP: () => {
    signalAll("SIGSTOP");
    process.kill(process.pid, "SIGSTOP");
  },
  SIGCONT: () => signalAll("SIGCONT"),
} as const;

/** Has a child of its own process group stop and end with this process. */
function adopt(child: ChildProcess): void {
  if (running.size === 0) {
    for (const [event, listener] of Object.entries(LISTENERS)) process.on(event, listener);
  }
  running.add(child);
  const forget = (): void => {
    // Whatever it has left running in its group.
    signalGroup(child, "SIGKILL");
    running.delete(child);
    if (running.size > 0) return;
    for (const [event, listener] of Object.entries(LISTENERS)) process.off(event, listener);
  };
  child.once("exit", forget);
  child.once("error", forget);
}

/** Kills all that run, then calls `onEnded`: nothing writes any more into a folder that is removed. */
export function endAll(onEnded: () => void): void {
  const ends = [...running].map((child) => once(child, "exit"));
  signalAll("SIGKILL");
  const late = setTimeout(onEnded, MILLISECONDS_TO_DIE);
  void Promise.allSettled(ends).then(() => {
    clearTimeout(late);
    onEnded();
  });
}

/**
 * Runs QEMU, without a shell.
 *
 * @throws DirectBootError TOOL_MISSING if it is not installed, TOOL_FAILED if it can't be started
 */
export async function runQemu(
  { program, packageName }: QemuProgram,
  args: readonly string[],
  { seconds, onSerial, onMessage, isControlled = false }: RunOptions,
): Promise<RunResult> {
  const start = performance.now();
  let timedOut = false;
  let timer: NodeJS.Timeout | undefined;
  try {
    const child = spawn(program, isControlled ? [...args, ...controlArguments(CONTROL_FD)] : args, {
      stdio: [
        "ignore",
        "pipe",
        onMessage === undefined ? "inherit" : "pipe",
        isControlled ? "pipe" : "ignore",
      ],
      shell: false,
      // A process group of its own, to be ended as a whole.
      detached: process.platform !== "win32",
    });
    adopt(child);
    const ended = new Promise<Pick<RunResult, "exitCode" | "signal">>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (exitCode, signal) => resolve({ exitCode, signal }));
    });
    const control = child.stdio[CONTROL_FD];
    const shutdownCause = control instanceof Duplex ? runMachine(control) : undefined;
    child.stdout?.on("data", (bytes: Uint8Array) => {
      const taken = onSerial(bytes);
      if (taken === undefined) return;
      child.stdout?.pause();
      void taken.then(() => child.stdout?.resume());
    });
    child.stderr?.on("data", (bytes: Uint8Array) => onMessage?.(bytes));
    if (seconds !== undefined) {
      timer = setTimeout(() => {
        timedOut = true;
        signalGroup(child, "SIGKILL");
      }, seconds * 1000);
    }
    const result = await ended;
    return { ...result, timedOut, milliseconds: performance.now() - start, cause: shutdownCause?.() };
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      throw new DirectBootError("TOOL_MISSING", `${program} is not installed`, {
        cause,
        cure: `install the package ${packageName} (apt-get install ${packageName})`,
      });
    }
    throw new DirectBootError("TOOL_FAILED", `${program} could not be started (${messageOf(cause)})`, {
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Throws TOOL_FAILED unless a run ended by itself, with status 0. */
export function checkResult(
  { program }: QemuProgram,
  { timedOut, signal, exitCode }: RunResult,
  seconds: number | undefined,
): void {
  if (timedOut) {
    throw new DirectBootError("TOOL_FAILED", `the guest still ran after ${seconds} s and was ended`, {
      cure: "raise --timeout, or look at the guest's output",
    });
  }
  if (signal !== null) throw new DirectBootError("TOOL_FAILED", `${program} was ended by ${signal}`);
  if (exitCode !== 0) throw new DirectBootError("TOOL_FAILED", `${program} ended with status ${exitCode}`);
}
