/** `directboot boot`: the loaded guest in QEMU, from its pages and registers, without firmware. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toAddress } from "../base/address.js";
import * as decoders from "../decoders/index.js";
import {
  checkResult,
  dumpDeviceTree,
  EMULATORS,
  machineArguments,
  runQemu,
  writeImages,
} from "../hosts/qemu/qemu.js";
import { detectKernel } from "../linux/detect-kernel.js";
import type { LinuxSyncOptions } from "../linux/options.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import type { GuestArchitecture } from "../plan/planned-guest.js";
import type { ByteInput } from "../sources/source.js";
import { formatMilliseconds } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest, memorySize } from "./load.js";
import { LOAD_OPTIONS, parseArguments, parseSeconds, UsageError } from "./options.js";
import { outputError, StagingFolder } from "./output.js";

const MIB = 1n << 20n;

/**
 * RAM as QEMU's x86 machines lay it out (hw/i386/pc_piix.c, pc_q35.c, microvm.c): in one range below `from`, else split
 * at `at`. An e820 map that says otherwise names RAM that isn't there.
 */
const RAM_SPLITS: Readonly<Record<string, { readonly from: bigint; readonly at: bigint }>> = {
  microvm: { from: 0xc000_0000n, at: 0xc000_0000n },
  pc: { from: 0xe000_0000n, at: 0xc000_0000n },
  q35: { from: 0xb000_0000n, at: 0x8000_0000n },
  isapc: { from: 0xe000_0000n, at: 0xc000_0000n },
};

function x86Layout(machine: string, size: bigint): MemoryLayout {
  toAddress(size, "memory");
  const split = RAM_SPLITS[machine];
  if (split === undefined || size < split.from) return new MemoryLayout(size);
  if (machine === "isapc") throw new UsageError("--machine isapc has less than 3584M of RAM");
  return new MemoryLayout(size, [new MemoryRange(split.at, 1n << 32n)]);
}

/** `size` up to a multiple of `unit`. */
function alignUp(size: bigint, unit: bigint): bigint {
  return ((size + unit - 1n) / unit) * unit;
}

/** Most bytes of serial output that `--json` shows: a guest may send without end. */
const MOST_SERIAL_BYTES = 16 << 20;

/** The start of what a guest sends to its serial port. */
class SerialLog {
  readonly #chunks: Uint8Array[] = [];
  #kept = 0;
  /** All that was sent. */
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

/**
 * What the kernel is for; the file is looked into as the load will do it. A kernel that can't be is refused here, by name.
 */
async function architectureOf(kernel: ByteInput): Promise<GuestArchitecture> {
  return (await detectKernel(kernel, { decoders })).architecture ?? "x86_64";
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

  const architecture = await architectureOf(asked.kernel);
  const emulator = EMULATORS[architecture];
  const choice = {
    emulator,
    program: args.text("qemu") ?? emulator.program,
    machine: args.text("machine") ?? emulator.machines[0],
    cpu: args.text("cpu") ?? emulator.cpu,
    ramSize: alignUp(memorySize(args), MIB),
  };
  for (const name of ["program", "cpu"] as const) {
    if (choice[name] === "") throw new UsageError(`--${name === "cpu" ? "cpu" : "qemu"} is empty`);
  }
  if (!emulator.machines.includes(choice.machine)) {
    throw new UsageError(`--machine ${choice.machine}: give one of ${emulator.machines.join(", ")}`);
  }

  let staging: StagingFolder;
  try {
    staging = new StagingFolder(tmpdir(), "directboot-");
  } catch (cause) {
    throw outputError("a temporary folder", cause);
  }
  const folder = staging.path;
  try {
    let options: LinuxSyncOptions =
      architecture !== "aarch64" ? { ...asked, memory: x86Layout(choice.machine, memorySize(args)) } : asked;
    if (architecture === "aarch64" && asked.deviceTree === undefined) {
      const deviceTree = join(folder, "machine.dtb");
      await dumpDeviceTree(choice, deviceTree);
      // QEMU's RAM is a number of MiB, and its tree says so.
      options = { ...asked, deviceTree, memory: choice.ramSize };
    }
    const loaded = await loadGuest(options);
    if (!isJson) process.stderr.write(`${formatLoaded(loaded)}\n`);
    let images: string[];
    try {
      images = await writeImages(loaded.guest, folder);
    } catch (cause) {
      throw outputError(folder, cause);
    }
    if (!isJson) process.stderr.write(`starting ${choice.program} (${choice.machine})\n`);
    const serial = new SerialLog();
    const result = await runQemu(choice, [...machineArguments(choice), ...images], seconds, {
      onSerial: isJson ? (bytes) => serial.add(bytes) : show,
    });
    if (isJson) {
      const { planMilliseconds, loadMilliseconds, guest } = loaded;
      const json = {
        info: guest.info,
        planMilliseconds,
        loadMilliseconds,
        machine: choice.machine,
        ...result,
        serial: serial.text(),
        serialBytes: serial.byteLength,
      };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    } else {
      process.stderr.write(`the guest ran for ${formatMilliseconds(result.milliseconds)}\n`);
    }
    checkResult(choice, result, seconds);
    return 0;
  } finally {
    staging.remove();
  }
}
