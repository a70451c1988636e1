/** `directboot boot`: the loaded guest in QEMU, from its pages and registers, without firmware. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toAddress } from "../base/address.js";
import { guestFiles } from "../hosts/qemu/guest-files.js";
import {
  dumpDeviceTree,
  EMULATORS,
  type Machine,
  machineArguments,
  x86Layout,
} from "../hosts/qemu/machines.js";
import { checkResult, runQemu } from "../hosts/qemu/process.js";
import { detectKernel } from "../linux/detect-kernel.js";
import type { LinuxGuest } from "../linux/loaded-linux.js";
import type { LoadLinuxSyncOptions } from "../linux/options.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import { formatMilliseconds, printJson } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest, memorySize } from "./load.js";
import { type Arguments, LOAD_OPTIONS, parseArguments, parseSeconds, UsageError } from "./options.js";
import { createFile, outputError, StagingFolder } from "./output.js";

const MIB = 1n << 20n;
/** QEMU's isapc has no RAM above 4 GiB (hw/i386/pc_piix.c). */
const ISAPC_LIMIT = 0xe000_0000n;
/** Nobody else reads a guest's memory. */
const PRIVATE_MODE = 0o600;

/** Limit of the serial output that `--json` shows, bytes: a guest may send without end. */
const MOST_SERIAL_BYTES = 16 << 20;

/** The start of what a guest sends to its serial port. */
class SerialLog {
  readonly #chunks: Uint8Array[] = [];
  #kept = 0;
  /** Bytes that were sent. */
  byteLength = 0;

  add(bytes: Uint8Array): undefined {
    this.byteLength += bytes.byteLength;
    const kept = bytes.subarray(0, MOST_SERIAL_BYTES - this.#kept);
    if (kept.byteLength === 0) return;
    this.#kept += kept.byteLength;
    this.#chunks.push(kept);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}

/** To the terminal, or whatever reads our output; at its pace. */
function show(bytes: Uint8Array): Promise<void> | undefined {
  if (process.stdout.write(bytes)) return undefined;
  return new Promise((resolve) => process.stdout.once("drain", resolve));
}

/** The machine to start, for the architecture that the kernel is for. */
function machineOf(args: Arguments, architecture: GuestArchitecture): Machine {
  const emulator = EMULATORS[architecture];
  const machine = args.text("machine") ?? emulator.machines[0];
  const program = args.text("qemu") ?? emulator.program;
  const cpu = args.text("cpu") ?? emulator.cpu;
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
    return { ...asked, memory: x86Layout(machine.machine, size) };
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

function makeFolder(): StagingFolder {
  try {
    return new StagingFolder(tmpdir(), "directboot-");
  } catch (cause) {
    throw outputError("a temporary folder", cause);
  }
}

export async function bootCommand(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, {
    ...LOAD_OPTIONS,
    machine: { type: "string" },
    cpu: { type: "string" },
    qemu: { type: "string" },
    timeout: { type: "string" },
  });
  const timeout = args.text("timeout");
  const seconds = timeout === undefined ? undefined : parseSeconds(timeout, "timeout");
  const isJson = args.flag("json");
  const asked = linuxOptions(args);
  const architecture = (await detectKernel(asked.kernel)).architecture ?? "x86_64";
  const machine = machineOf(args, architecture);
  const staging = makeFolder();
  try {
    const loaded = await loadGuest(
      await optionsFor(machine, architecture, asked, memorySize(args), staging.path),
    );
    if (!isJson) process.stderr.write(`${formatLoaded(loaded)}\n`);
    const files = await writeGuest(loaded.guest, staging.path);
    if (!isJson) process.stderr.write(`starting ${machine.program} (${machine.machine})\n`);
    const serial = new SerialLog();
    const onSerial = isJson ? (bytes: Uint8Array) => serial.add(bytes) : show;
    const result = await runQemu(machine, [...machineArguments(machine), ...files], { seconds, onSerial });
    if (isJson) {
      printJson({
        info: loaded.guest.info,
        planMilliseconds: loaded.planMilliseconds,
        loadMilliseconds: loaded.loadMilliseconds,
        machine: machine.machine,
        ...result,
        serial: serial.text(),
        serialBytes: serial.byteLength,
      });
    } else {
      process.stderr.write(`the guest ran for ${formatMilliseconds(result.milliseconds)}\n`);
    }
    checkResult(machine, result, seconds);
    return 0;
  } finally {
    staging.remove();
  }
}
