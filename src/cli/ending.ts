/** How the command ends early: by a signal, or because nobody reads its output. */
import { constants } from "node:os";
import { endAll } from "../hosts/qemu/process.js";

/** Signals by which a user or a supervisor ends the command; without a listener, temporary folders would stay. */
const SIGNALS = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGXCPU"] as const;

/** A shell's exit status for a program that a signal has ended is this plus the signal's number. */
const SIGNAL_STATUS = 128;

/** Ends this process with that status, once what it has started is dead. */
export function endProcess(status: number): void {
  endAll(() => process.exit(status));
}

/** Makes signals end the process with 128 plus their number, after the listeners of "exit" have cleaned up. */
export function endOnSignals(): void {
  for (const signal of SIGNALS) {
    process.on(signal, () => endProcess(SIGNAL_STATUS + constants.signals[signal]));
  }
}
