#!/usr/bin/env node
/** The command `directboot`. Exit status 0, 1 for a bad input, 2 for bad usage. */
import { readFileSync } from "node:fs";
import { DirectBootError } from "../base/errors.js";
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
    --initrd FILE            an initial RAM disk; given several times, they are put one behind the other
    --initrd-address ADDRESS where it goes (default: the next 2 MiB boundary behind the kernel)
    --append TEXT            the kernel's command line
    --memory SIZE            RAM: bytes, or a number with K, M, G or T (default: 256M)
    --dtb FILE               arm64: the machine's device tree (boot's default: QEMU's own)
    --decompress host|guest  who decompresses a bzImage's kernel (default: the host)
    --decompress-initrd      hand the guest a plain initrd
  map takes:
    -o, --out FILE           where the SVG goes (default: standard output); --json gives what it is drawn from
    --title TEXT             what stands above it
    --theme auto|light|dark  its colours (default: auto, as the reader's system has them)
    --width PIXELS           (default: as wide as it needs)
    --start, --end ADDRESS   the part to show, such as --end 1M (default: all that has RAM)
  boot takes:
    --machine NAME           microvm (default), pc, q35 or isapc; virt for arm64
    --cpu MODEL              QEMU's CPU model (default: max; cortex-a57 for arm64)
    --qemu PROGRAM           (default: qemu-system-x86_64, -i386 or -aarch64)
    --timeout SECONDS        end the guest after this long
  Every command takes --json. Exit status: 0; 1 for a bad input; 2 for bad usage.
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

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(packageFile("package.json"), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";
}

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === "--version") {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  if (name === undefined || name === "help" || argv.includes("--help") || argv.includes("-h")) {
    process[name === undefined ? "stderr" : "stdout"].write(HELP);
    return name === undefined ? 2 : 0;
  }
  try {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(`there is no command ${JSON.stringify(name)}`);
    return await command(rest);
  } catch (cause) {
    if (cause instanceof UsageError) {
      process.stderr.write(`directboot: ${cause.message}; see directboot --help\n`);
      return 2;
    }
    if (cause instanceof DirectBootError) {
      process.stderr.write(`directboot: ${cause.code}: ${cause.message.replaceAll("\n", " ")}\n`);
      return 1;
    }
    throw cause;
  }
}

// A reader that closes the pipe early (`| head`) is no error of ours; a full disk is one in a line.
process.stdout.on("error", (cause: Error & { code?: string }) => {
  if (cause.code === "EPIPE") process.exit(0);
  process.stderr.write(`directboot: OUTPUT_FAILED: standard output: ${cause.message}\n`);
  process.exit(1);
});
process.stderr.on("error", () => {});

// Without a listener a signal ends the process at once, and what it has in temporary folders stays there.
for (const [signal, number] of [
  ["SIGHUP", 1],
  ["SIGINT", 2],
  ["SIGTERM", 15],
] as const) {
  process.on(signal, () => process.exit(128 + number));
}

process.exitCode = await main(process.argv.slice(2));
