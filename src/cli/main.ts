#!/usr/bin/env node
/** The command `directboot`. Exit status: see `--help`. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { DirectBootError } from "../base/errors.js";
import { endAll } from "../hosts/qemu/process.js";
import { COMMANDS } from "./commands.js";
import { commandHelp, generalHelp } from "./help.js";
import { optionsOf, parseArguments, UsageError, unknownWord } from "./options.js";
import { packageFile } from "./package-files.js";

/** Signals by which a user or a supervisor ends the command; without a listener, temporary folders would stay. */
const SIGNALS = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGXCPU"] as const;

/** A shell's exit status for a program that a signal has ended is this plus the signal's number. */
const SIGNAL_STATUS = 128;

/** Ends this process with that status, once QEMU is dead; the listeners of "exit" clean up. */
function endProcess(status: number): void {
  endAll(() => process.exit(status));
}

/** C0, DEL and C1 (ECMA-48). */
const CONTROL_CHARACTER = /\p{Cc}/gu;

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(packageFile("package.json"), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";
}

/**
 * A message in one line, with control characters as escapes: neither file names nor file contents may send commands to
 * the terminal.
 */
function oneLine(message: string): string {
  return message.replaceAll("\n", " ").replace(CONTROL_CHARACTER, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** Tells why the command has failed, in a line or as JSON. Returns the exit status. */
function report(cause: unknown, isJson: boolean): number {
  let error: { code: string; message: string; details: string; cure: string };
  if (cause instanceof UsageError) {
    const { message } = cause;
    error = { code: "USAGE", message, details: message, cure: "see directboot --help" };
  } else if (cause instanceof DirectBootError) {
    const { code, message, details, cure } = cause;
    error = { code, message, details, cure };
  } else {
    throw cause;
  }
  const isUsage = error.code === "USAGE";
  const line = isUsage
    ? `${oneLine(error.message)}; ${error.cure}`
    : `${error.code}: ${oneLine(error.message)}`;
  process.stderr.write(isJson ? `${JSON.stringify({ error }, null, 2)}\n` : `directboot: ${line}\n`);
  return isUsage ? 2 : 1;
}

async function main([name, ...rest]: readonly string[]): Promise<number> {
  if (name === "--version" || name === "-V") {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  // After "--" all arguments are file names.
  const end = rest.indexOf("--");
  const options = end < 0 ? rest : rest.slice(0, end);
  const asksHelp = options.some((option) => option === "--help" || option === "-h");
  const topic = name === "help" ? rest[0] : name;
  try {
    if (topic === undefined || topic === "--help" || topic === "-h") {
      process[name === undefined ? "stderr" : "stdout"].write(generalHelp());
      return name === undefined ? 2 : 0;
    }
    const command = Object.hasOwn(COMMANDS, topic) ? COMMANDS[topic] : undefined;
    if (command === undefined) throw unknownWord("command", topic, "", Object.keys(COMMANDS));
    if (asksHelp || name === "help") {
      process.stdout.write(commandHelp(topic, command));
      return 0;
    }
    return await command.run(parseArguments(rest, optionsOf(command)));
  } catch (cause) {
    return report(cause, options.includes("--json"));
  }
}

// A reader that closes the pipe early (`| head`) is no error; a full disk is.
process.stdout.on("error", (cause: Error & { code?: string }) => {
  if (cause.code === "EPIPE") {
    endProcess(0);
    return;
  }
  process.stderr.write(`directboot: OUTPUT_FAILED: standard output: ${oneLine(cause.message)}\n`);
  endProcess(1);
});
process.stderr.on("error", () => {});
for (const signal of SIGNALS) {
  process.on(signal, () => endProcess(SIGNAL_STATUS + constants.signals[signal]));
}

process.exitCode = await main(process.argv.slice(2));
