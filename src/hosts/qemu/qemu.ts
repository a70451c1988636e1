/** QEMU: what machines it has, and how a guest that directboot loaded is started in one. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hex } from "../../base/address.js";
import { DirectBootError } from "../../base/errors.js";
import { adopt, signalGroup } from "../../cli/ending.js";
import { writeAll } from "../../cli/output.js";
import { progressBar } from "../../cli/progress.js";
import {
  AARCH64_REGISTERS,
  type Aarch64Register,
  type VpRegister,
  type X86Register,
} from "../../importers/importer.js";
import { regionViews } from "../../linux/guest-export.js";
import type { LinuxGuest } from "../../linux/loaded-linux.js";
import type { GuestArchitecture } from "../../plan/planned-guest.js";
import { buildArm64Stub } from "./arm64-stub.js";
import { buildResetRom } from "./reset-rom.js";

/** An emulator, its machines (the default first), and its default CPU. */
export interface Emulator {
  readonly program: string;
  /** Debian's package of it. */
  readonly packageName: string;
  readonly machines: readonly [string, ...string[]];
  readonly cpu: string;
}

export const EMULATORS: Readonly<Record<GuestArchitecture, Emulator>> = {
  x86_64: {
    program: "qemu-system-x86_64",
    packageName: "qemu-system-x86",
    machines: ["microvm", "pc", "q35", "isapc"],
    cpu: "max",
  },
  i386: {
    program: "qemu-system-i386",
    packageName: "qemu-system-x86",
    machines: ["microvm", "pc", "q35", "isapc"],
    cpu: "max",
  },
  aarch64: {
    program: "qemu-system-aarch64",
    packageName: "qemu-system-arm",
    machines: ["virt"],
    cpu: "cortex-a57",
  },
};

/** Far more than writing a device tree takes. */
const DUMP_SECONDS = 60;

/** What is started. */
export interface MachineChoice {
  readonly emulator: Emulator;
  readonly program: string;
  readonly machine: string;
  readonly cpu: string;
  /** Bytes of RAM, a multiple of 1 MiB. */
  readonly ramSize: bigint;
}

/** QEMU's option syntax: a comma in a value is doubled. */
function qemuValue(text: string): string {
  return text.replaceAll(",", ",,");
}

/** Arguments that make the bare machine. `properties` are appended to -M. */
export function machineArguments(choice: MachineChoice, properties = ""): string[] {
  const megabytes = choice.ramSize >> 20n;
  // The random seeds in QEMU's own tree would make two runs differ.
  const machine = choice.machine === "virt" ? "virt,dtb-randomness=off" : choice.machine;
  return [
    ...[
      "-M",
      `${machine}${properties}`,
      "-accel",
      "tcg",
      "-cpu",
      choice.cpu,
      "-m",
      `${megabytes}M`,
      "-smp",
      "1",
    ],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"],
  ];
}

function isX86(register: VpRegister): register is X86Register {
  return !AARCH64_REGISTERS.some((name) => name === register.name);
}

function isAarch64(register: VpRegister): register is Aarch64Register {
  return AARCH64_REGISTERS.some((name) => name === register.name);
}

/** The last page of RAM that no region has, for the boot stub; QEMU's own tree lies at the start of RAM. */
function freePage(guest: LinuxGuest): bigint {
  const taken = guest.regions.map(({ range }) => range).sort((a, b) => (a.end < b.end ? 1 : -1));
  for (const { range } of [...guest.layout.ram].reverse()) {
    let page = range.end - 4096n;
    for (const region of taken) {
      // Highest first: one that ends below the page leaves it free, as all others do.
      if (region.end > page && region.start < page + 4096n) page = region.start - 4096n;
    }
    if (page >= range.start) return page;
  }
  throw new DirectBootError("GUEST_MEMORY_NOT_RAM", "no page of RAM is free for the boot stub");
}

/** Writes each region with data, and what starts the processor; returns QEMU's arguments for them. */
export async function writeImages(guest: LinuxGuest, folder: string): Promise<string[]> {
  const total = guest.regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const bar = progressBar("writing");
  const args: string[] = [];
  const loader = (file: string, address: bigint): void => {
    args.push("-device", `loader,file=${qemuValue(file)},addr=${hex(address)},force-raw=on`);
  };
  let done = 0;
  try {
    for (const [index, region] of guest.regions.entries()) {
      const views = [...regionViews(guest, region)];
      // QEMU's RAM is zero at the start: a region without data needs no file.
      if (views.length === 0) continue;
      const file = join(folder, `region-${index}.bin`);
      const descriptor = openSync(file, "wx", 0o600);
      try {
        for (const view of views) {
          await writeAll(descriptor, view, (written) => {
            done += written;
            bar.update(done, total);
          });
        }
      } finally {
        closeSync(descriptor);
      }
      loader(file, region.range.start);
    }
    if (guest.architecture !== "aarch64") {
      const rom = join(folder, "reset-rom.bin");
      writeFileSync(rom, buildResetRom(guest.registerList.filter(isX86)), { flag: "wx", mode: 0o600 });
      args.push("-bios", rom);
    } else {
      const stub = join(folder, "stub.bin");
      writeFileSync(stub, buildArm64Stub(guest.registerList.filter(isAarch64)), { flag: "wx", mode: 0o600 });
      const address = freePage(guest);
      loader(stub, address);
      args.push("-device", `loader,addr=${hex(address)},cpu-num=0`);
    }
    return args;
  } finally {
    bar.done();
  }
}

/** What became of a run. */
export interface RunResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
  readonly milliseconds: number;
}

/** Where QEMU's output goes. */
export interface QemuOutput {
  /**
   * What the guest sends to its serial port, as it comes. A promise that it gives holds the guest up until it is kept, so
   * that one that says much does not fill our memory.
   */
  readonly onSerial: (bytes: Uint8Array) => Promise<void> | undefined;
  /** QEMU's own messages; to stderr by default. */
  readonly onMessage?: (bytes: Uint8Array) => void;
}

/**
 * Runs QEMU, without a shell. It never outlives this process, nor does anything that it starts, and stops when this
 * process is stopped (Ctrl-Z).
 *
 * @throws DirectBootError TOOL_MISSING if it is not installed, TOOL_FAILED if it can't be started
 */
export async function runQemu(
  choice: MachineChoice,
  args: readonly string[],
  seconds: number | undefined,
  { onSerial, onMessage }: QemuOutput,
): Promise<RunResult> {
  const { program, emulator } = choice;
  const start = performance.now();
  let child: ChildProcess | undefined;
  let timedOut = false;
  let timer: NodeJS.Timeout | undefined;
  const group = (signal: NodeJS.Signals): void => {
    if (child !== undefined) signalGroup(child, signal);
  };
  // A group of its own does not get the terminal's Ctrl-Z.
  const stop = (): void => {
    group("SIGSTOP");
    process.kill(process.pid, "SIGSTOP");
  };
  const goOn = (): void => group("SIGCONT");
  process.on("SIGTSTP", stop);
  process.on("SIGCONT", goOn);
  try {
    const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
      (resolve, reject) => {
        const started = spawn(program, args, {
          stdio: ["ignore", "pipe", onMessage === undefined ? "inherit" : "pipe"],
          shell: false,
          // A process group of its own, to be ended as a whole.
          detached: process.platform !== "win32",
        });
        child = started;
        adopt(started);
        started.once("error", reject);
        started.once("close", (code, by) => resolve([code, by]));
        started.stdout?.on("data", (bytes: Uint8Array) => {
          const taken = onSerial(bytes);
          if (taken === undefined) return;
          started.stdout?.pause();
          void taken.then(() => started.stdout?.resume());
        });
        started.stderr?.on("data", (bytes: Uint8Array) => onMessage?.(bytes));
        if (seconds !== undefined) {
          timer = setTimeout(() => {
            timedOut = true;
            group("SIGKILL");
          }, seconds * 1000);
        }
      },
    );
    return { exitCode, signal, timedOut, milliseconds: performance.now() - start };
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      throw new DirectBootError("TOOL_MISSING", `${program} is not installed`, {
        cause,
        cure: `install the package ${emulator.packageName} (apt-get install ${emulator.packageName})`,
      });
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DirectBootError("TOOL_FAILED", `${program} could not be started (${why})`, { cause });
  } finally {
    clearTimeout(timer);
    process.removeListener("SIGTSTP", stop);
    process.removeListener("SIGCONT", goOn);
  }
}

/** Throws TOOL_FAILED unless a run came to its own end, well. */
export function checkResult(choice: MachineChoice, result: RunResult, seconds: number | undefined): void {
  if (result.timedOut) {
    throw new DirectBootError("TOOL_FAILED", `the guest still ran after ${seconds} s and was ended`, {
      cure: "raise --timeout, or look at the guest's output",
    });
  }
  if (result.signal !== null) {
    throw new DirectBootError("TOOL_FAILED", `${choice.program} was ended by ${result.signal}`);
  }
  if (result.exitCode !== 0) {
    throw new DirectBootError("TOOL_FAILED", `${choice.program} ended with status ${result.exitCode}`);
  }
}

/** QEMU's own device tree for a machine, written to `file`. */
export async function dumpDeviceTree(choice: MachineChoice, file: string): Promise<void> {
  const args = machineArguments(choice, `,dumpdtb=${qemuValue(file)}`);
  // Where all goes well it says on stderr that it did what it was asked to.
  const messages: Uint8Array[] = [];
  const result = await runQemu(choice, args, DUMP_SECONDS, {
    onSerial: () => undefined,
    onMessage: (bytes) => void messages.push(bytes),
  });
  if (result.exitCode !== 0) process.stderr.write(Buffer.concat(messages));
  checkResult(choice, result, DUMP_SECONDS);
}
