/** `directboot boot`: the loaded guest in QEMU, from its pages and registers, without firmware. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { guestFiles } from "../hosts/qemu/guest-files.js";
import { dumpDeviceTree, EMULATORS, type Machine, machineArguments } from "../hosts/qemu/machines.js";
import { checkResult, type RunResult, runQemu } from "../hosts/qemu/process.js";
import type { DetectedKernel } from "../linux/detect-kernel.js";
import type { LinuxGuest } from "../linux/loaded-linux.js";
import type { LoadLinuxSyncOptions } from "../linux/options.js";
import { qemuX86Layout } from "../machine/qemu-x86.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import { formatMilliseconds, printJson } from "./format.js";
import { formatLoaded, loadedJson, loadGuest, loadRequest, memorySize } from "./load.js";
import { type Arguments, type Command, LOAD_OPTIONS, parseSeconds, UsageError } from "./options.js";
import { createFile, inStagingFolder, outputError } from "./output.js";

const MIB = 1n << 20n;
/** QEMU's isapc has no RAM above 4 GiB (hw/i386/pc_piix.c). */
const ISAPC_LIMIT = 0xe000_0000n;
/** Nobody else reads a guest's memory. */
const PRIVATE_MODE = 0o600;

/** Limit of the serial output that `--json` shows, bytes: a guest may send without end. */
const MOST_SERIAL_BYTES = 16 << 20;

/** The kernel's words before a restart that it was asked for (kernel/reboot.c, kernel_restart). */
const RESTART = "reboot: Restarting system";
/** The part of the guest's output that they are looked for in, bytes. */
const LAST_WORDS_BYTES = 4096;

/** Throws GUEST_RESET if the machine was reset by a guest that did not announce it: it has crashed. */
function checkEnd({ cause, milliseconds }: RunResult, lastWords: string): void {
  if (cause !== "guest-reset" || lastWords.includes(RESTART)) return;
  const said = lastWords === "" ? "without a word on its serial port" : "and did not say that it restarts";
  throw new DirectBootError(
    "GUEST_RESET",
    `the guest reset its machine after ${formatMilliseconds(milliseconds)}, ${said}: it has crashed (a triple fault), or panicked with panic= on its command line`,
    {
      cure: "let the kernel say more (console=ttyS0 earlyprintk=ttyS0, on arm64 earlycon), and the guest power off when it is done",
    },
  );
}

/** To the terminal, or whatever reads our output; at its pace. */
function show(bytes: Uint8Array): Promise<void> | undefined {
  if (process.stdout.write(bytes)) return undefined;
  return new Promise((resolve) => process.stdout.once("drain", resolve));
}

/** The machine to start, for the architecture that the kernel is for. */
function machineOf(args: Arguments, architecture: GuestArchitecture, { pageSize }: DetectedKernel): Machine {
  const emulator = EMULATORS[architecture];
  const machine = args.text("machine") ?? emulator.machines[0];
  const program = args.text("qemu") ?? emulator.program;
  // QEMU's cortex-a57 has no 16 KiB granule.
  const cpu = args.text("cpu") ?? (pageSize === "16KiB" ? "max,pauth-impdef=on" : emulator.cpu);
  if (program === "") throw new UsageError("--qemu is empty");
  if (cpu === "") throw new UsageError("--cpu is empty");
  if (!emulator.machines.includes(machine)) {
    throw new UsageError(`--machine ${machine}: give one of ${emulator.machines.join(", ")}`);
  }
  const size = memorySize(args);
  toAddress(size, "memory");
  if (machine === "isapc" && size >= ISAPC_LIMIT) {
    throw new UsageError("--machine isapc has less than 3584M of RAM");
  }
  const { packageName } = emulator;
  return { program, packageName, machine, cpu, ramSize: ((size + MIB - 1n) / MIB) * MIB };
}

/** The options with the machine's RAM, and on arm64 with QEMU's device tree unless the caller has one. */
async function optionsFor(
  machine: Machine,
  architecture: GuestArchitecture,
  asked: LoadLinuxSyncOptions,
  size: bigint,
  folder: string,
): Promise<LoadLinuxSyncOptions> {
  if (architecture !== "aarch64") {
    return { ...asked, memory: qemuX86Layout(machine.machine, size) };
  }
  if (asked.deviceTree !== undefined) return asked;
  const deviceTree = join(folder, "machine.dtb");
  await dumpDeviceTree(machine, deviceTree);
  // QEMU's RAM is a number of MiB, and its tree says so.
  return { ...asked, deviceTree, memory: machine.ramSize };
}

/** Writes the guest's files; returns QEMU's arguments for them. */
async function writeGuest(guest: LinuxGuest, folder: string): Promise<string[]> {
  const args: string[] = [];
  try {
    for (const { name, pieces, argumentsFor } of guestFiles(guest)) {
      const path = join(folder, name);
      await createFile(path, PRIVATE_MODE, pieces);
      args.push(...argumentsFor(path));
    }
  } catch (cause) {
    throw outputError(folder, cause);
  }
  return args;
}

/** Loads and starts the guest; its files lie in `folder`. */
async function bootIn(folder: string, args: Arguments, seconds: number | undefined): Promise<void> {
  const isJson = args.flag("json");
  const { options: asked, detected } = await loadRequest(args);
  const { architecture = "x86_64" } = detected;
  const machine = machineOf(args, architecture, detected);
  const loaded = await loadGuest(await optionsFor(machine, architecture, asked, memorySize(args), folder));
  const say = (text: string): unknown => isJson || process.stderr.write(`${text}\n`);
  say(formatLoaded(loaded));
  const files = await writeGuest(loaded.guest, folder);
  say(`starting ${machine.program} (${machine.machine})`);
  const serial: Uint8Array[] = [];
  let serialBytes = 0;
  const keep = (bytes: Uint8Array): undefined => {
    if (serialBytes < MOST_SERIAL_BYTES) serial.push(bytes);
    serialBytes += bytes.byteLength;
  };
  let lastWords = Buffer.alloc(0);
  const onSerial = (bytes: Uint8Array): Promise<void> | undefined => {
    lastWords = Buffer.concat([lastWords, bytes]).subarray(-LAST_WORDS_BYTES);
    return isJson ? keep(bytes) : show(bytes);
  };
  const qemuArguments = [...machineArguments(machine), ...files];
  const result = await runQemu(machine, qemuArguments, { seconds, onSerial, isControlled: true });
  if (isJson) {
    printJson({
      ...loadedJson(loaded),
      machine: machine.machine,
      ...result,
      serial: Buffer.concat(serial).toString("utf8", 0, Math.min(serialBytes, MOST_SERIAL_BYTES)),
      serialBytes,
    });
  }
  say(`the guest ran for ${formatMilliseconds(result.milliseconds)}`);
  checkResult(machine, result, seconds);
  checkEnd(result, lastWords.toString("latin1"));
}

async function run(args: Arguments): Promise<number> {
  const timeout = args.text("timeout");
  const seconds = timeout === undefined ? undefined : parseSeconds(timeout, "timeout");
  await inStagingFolder(tmpdir(), "a temporary folder", (folder) => bootIn(folder, args, seconds));
  return 0;
}

export const bootCommand: Command = {
  summary: "start it in QEMU; its serial output goes to the terminal",
  operands: "[KERNEL]",
  options: {
    machine: {
      value: "microvm|pc|q35|isapc|virt",
      help: "QEMU's machine (default: microvm; of arm64 virt, which is the only one)",
    },
    cpu: {
      value: "MODEL",
      help: "QEMU's CPU model (default: max; cortex-a57 for arm64, max for a kernel with 16 KiB pages)",
    },
    qemu: { value: "PROGRAM", help: "the emulator (default: qemu-system-x86_64, -i386 or -aarch64)" },
    timeout: { value: "SECONDS", help: "end the guest after this long, with status 1" },
    ...LOAD_OPTIONS,
  },
  examples: [
    ["boot", "the embedded guest, which reports what it was started with"],
    ["boot vmlinuz --initrd initrd.img --append 'console=ttyS0'", "a distribution's kernel"],
    ["boot Image --memory 1G --append 'console=ttyAMA0'", "an arm64 kernel"],
  ],
  run,
};
