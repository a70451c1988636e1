/** How the command ends before its time: by a signal, or because nobody reads on. No program that it started outlives it. */
import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";

/** Signals by which a user or a supervisor ends the command; without a listener, temporary folders would stay. */
const SIGNALS = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGXCPU"] as const;

/** A shell's exit status for a program that a signal has ended is this plus the signal's number. */
const SIGNAL_STATUS = 128;

/** A killed program is gone within milliseconds; one that hangs in the kernel must not keep us. */
const MILLISECONDS_TO_DIE = 2000;

const children = new Set<ChildProcess>();
let endStatus: number | undefined;

/**
 * Signals a child that was spawned with `detached`, and what it has started itself: a wrapper around QEMU need not pass
 * signals on.
 */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    // Windows has no process groups.
    process.kill(process.platform === "win32" ? child.pid : -child.pid, signal);
  } catch {
    // ESRCH: it has ended.
  }
}

function killAll(): void {
  for (const child of children) signalGroup(child, "SIGKILL");
}

/** Has a child that was just spawned with `detached` end when this process does, at the latest. */
export function adopt(child: ChildProcess): void {
  if (children.size === 0) process.on("exit", killAll);
  children.add(child);
  const forget = (): void => {
    // What it has left running in its group.
    signalGroup(child, "SIGKILL");
    children.delete(child);
    if (children.size > 0) return;
    process.removeListener("exit", killAll);
    if (endStatus !== undefined) process.exit(endStatus);
  };
  child.once("exit", forget);
  child.once("error", forget);
}

/** Ends this process with that status once its children are dead: then nothing writes any more into what is removed. */
export function endProcess(status: number): void {
  if (children.size === 0) process.exit(status);
  endStatus ??= status;
  killAll();
  setTimeout(() => process.exit(status), MILLISECONDS_TO_DIE);
}

/** Makes signals end the process with 128 plus their number, after the listeners of "exit" have cleaned up. */
export function endOnSignals(): void {
  for (const signal of SIGNALS) {
    process.on(signal, () => endProcess(SIGNAL_STATUS + constants.signals[signal]));
  }
}
