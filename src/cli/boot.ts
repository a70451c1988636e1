/** `directboot boot`: the loaded guest in QEMU, from its pages and registers, without firmware. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import * as decoders from "../decoders/index.js";
import { detectKernelSync } from "../linux/detect-kernel.js";
import type { GuestArchitecture } from "../linux/linux-plan.js";
import type { LinuxSyncOptions } from "../linux/options.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import type { ByteInput } from "../sources/source.js";
import { formatMilliseconds } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest, memorySize } from "./load.js";
import { LOAD_OPTIONS, outputError, parseArguments, parseSeconds, UsageError } from "./options.js";
import { checkResult, dumpDeviceTree, EMULATORS, machineArguments, runQemu, writeImages } from "./qemu.js";

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

/**
 * What the kernel is for; the file is looked into as the load will do it. A kernel that can't be is refused here, by name.
 */
function architectureOf(kernel: ByteInput): GuestArchitecture {
  return detectKernelSync(kernel, { decoders }).architecture ?? "x86_64";
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

  const architecture = architectureOf(asked.kernel);
  const emulator = EMULATORS[architecture];
  const choice = {
    emulator,
    program: args.text("qemu") ?? emulator.program,
    machine: args.text("machine") ?? emulator.machines[0],
    cpu: args.text("cpu") ?? emulator.cpu,
    ramSize: alignUp(memorySize(args), MIB),
  };
  if (!emulator.machines.includes(choice.machine)) {
    throw new UsageError(`--machine ${choice.machine}: give one of ${emulator.machines.join(", ")}`);
  }

  let folder: string;
  try {
    folder = mkdtempSync(join(tmpdir(), "directboot-"));
  } catch (cause) {
    throw outputError("a temporary folder", cause);
  }
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  try {
    let options: LinuxSyncOptions =
      architecture !== "aarch64" ? { ...asked, memory: x86Layout(choice.machine, memorySize(args)) } : asked;
    if (architecture === "aarch64" && asked.deviceTree === undefined) {
      const deviceTree = join(folder, "machine.dtb");
      await dumpDeviceTree(choice, deviceTree);
      // QEMU's RAM is a number of MiB, and its tree says so.
      options = { ...asked, deviceTree, memory: choice.ramSize };
    }
    const loaded = loadGuest(options);
    if (!isJson) process.stderr.write(`${formatLoaded(loaded)}\n`);
    let images: string[];
    try {
      images = writeImages(loaded.guest, folder);
    } catch (cause) {
      throw cause instanceof DirectBootError ? cause : outputError(folder, cause);
    }
    if (!isJson) process.stderr.write(`starting ${choice.program} (${choice.machine})\n`);
    const result = await runQemu(choice, [...machineArguments(choice), ...images], seconds, (bytes) => {
      if (!isJson) process.stdout.write(bytes);
    });
    if (isJson) {
      const { planMilliseconds, loadMilliseconds, guest } = loaded;
      const json = {
        info: guest.info,
        planMilliseconds,
        loadMilliseconds,
        machine: choice.machine,
        ...result,
      };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    } else {
      process.stderr.write(`the guest ran for ${formatMilliseconds(result.milliseconds)}\n`);
    }
    checkResult(choice, result, seconds);
    return 0;
  } finally {
    remove();
    process.removeListener("exit", remove);
  }
}
