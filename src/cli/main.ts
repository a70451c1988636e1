#!/usr/bin/env node
/** The command `directboot`. Exit status: see HELP. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { DirectBootError } from "../base/errors.js";
import { endAll } from "../hosts/qemu/process.js";
import { bootCommand } from "./boot.js";
import { crc32Command } from "./crc32.js";
import { exportCommand } from "./export.js";
import { extractCommand } from "./extract.js";
import { inspectCommand } from "./inspect.js";
import { mapCommand } from "./map.js";
import { UsageError } from "./options.js";
import { packageFile } from "./package-files.js";
import { planCommand } from "./plan.js";

const HELP = `directboot: puts a Linux kernel into guest memory, in the state that its boot protocol demands

  directboot inspect [FILE]              what a file is
  directboot plan [KERNEL] …             where everything would go, and the registers
  directboot export [KERNEL] … --out DIR pages and registers as manifest.json and memory.bin
  directboot map [KERNEL] … [-o OUT.svg] a picture of guest memory, to scale
  directboot boot [KERNEL] …             start it in QEMU; its serial output goes to the terminal
  directboot extract FILE -o OUT         the ELF or Image out of a bzImage, a zboot image or a compressed file
  directboot crc32 FILE …                the CRC-32 of files

  KERNEL is a kernel as it is distributed: an x86 bzImage (vmlinuz), an x86 ELF (vmlinux, 64-bit or 32-bit), an arm64
  Image, or an EFI zboot image with one in it; all of them also compressed. Without KERNEL, the embedded x86-64
  guest is used, which reports what it was started with.
  inspect takes:
    --unpack                 show the kernel inside a compressed file, a bzImage or a zboot image, too
  plan, export, map and boot take:
    --entry ENTRY            x86: 64, 32 or pvh (default: 64, of a 32-bit kernel 32)
    --initrd FILE            an initial RAM disk; repeat the option to concatenate several
    --initrd-address ADDRESS its address (default: the next 2 MiB boundary after the kernel)
    --kernel-address ADDRESS a bzImage's address (default: the one in its header)
    --append TEXT            the kernel's command line
    --memory SIZE            RAM: bytes, or a number with K, M, G or T (default: 256M)
    --dtb FILE               arm64: the machine's device tree (boot's default: QEMU's own)
    --reserve FROM-TO[:TYPE] x86: addresses that the guest must not use as RAM, with an e820 type (default: 2)
    --rng-seed FILE          x86: bytes for the guest's random numbers; 32 bytes of a device (/dev/urandom)
    --decompress host|guest  who decompresses a bzImage's kernel (default: the host)
    --decompress-initrd      decompress the initrd on the host
  map takes:
    -o, --out FILE           where the SVG goes (default: standard output); --json gives what it is drawn from
    --title TEXT             its title
    --theme auto|light|dark  its colours (default: auto, as the reader's system has them)
    --width PIXELS           (default: as wide as it needs)
    --start, --end ADDRESS   the part to show, such as --end 1M (default: all that has RAM)
  boot takes:
    --machine NAME           microvm (default), pc, q35 or isapc; virt for arm64
    --cpu MODEL              QEMU's CPU model (default: max; cortex-a57 for arm64)
    --qemu PROGRAM           (default: qemu-system-x86_64, -i386 or -aarch64)
    --timeout SECONDS        end the guest after this long
  Every command takes --json; file names that begin with "-" go after "--".
  Exit status: 0; 1 for a bad input; 2 for bad usage; 128 plus the number of the signal that ended it.
`;

const COMMANDS: Readonly<Record<string, (argv: readonly string[]) => number | Promise<number>>> = {
  inspect: inspectCommand,
  plan: planCommand,
  export: exportCommand,
  map: mapCommand,
  extract: extractCommand,
  boot: bootCommand,
  crc32: crc32Command,
};

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

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  // After "--" all arguments are file names.
  const options = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined);
  if (name === "--version") {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  if (name === undefined || name === "help" || options.includes("--help") || options.includes("-h")) {
    process[name === undefined ? "stderr" : "stdout"].write(HELP);
    return name === undefined ? 2 : 0;
  }
  try {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(`there is no command ${JSON.stringify(name)}`);
    return await command(rest);
  } catch (cause) {
    if (cause instanceof UsageError) {
      process.stderr.write(`directboot: ${oneLine(cause.message)}; see directboot --help\n`);
      return 2;
    }
    if (cause instanceof DirectBootError) {
      process.stderr.write(`directboot: ${cause.code}: ${oneLine(cause.message)}\n`);
      return 1;
    }
    throw cause;
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
