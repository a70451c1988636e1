/** QEMU's machines: which there are, the arguments that make one, its RAM and its device tree. */

import type { GuestArchitecture } from "../../plan/planned-guest.js";
import { checkResult, type QemuProgram, runQemu } from "./process.js";

/** An emulator, its machines (the default first), and its default CPU. */
export interface Emulator extends QemuProgram {
  readonly machines: readonly [string, ...string[]];
  readonly cpu: string;
}

const X86 = {
  packageName: "qemu-system-x86",
  machines: ["microvm", "pc", "q35", "isapc"],
  cpu: "max",
} as const;

export const EMULATORS: Readonly<Record<GuestArchitecture, Emulator>> = {
  x86_64: { program: "qemu-system-x86_64", ...X86 },
  i386: { program: "qemu-system-i386", ...X86 },
  aarch64: {
    program: "qemu-system-aarch64",
    packageName: "qemu-system-arm",
    machines: ["virt"],
    cpu: "cortex-a57",
  },
};

/** A machine to start. */
export interface Machine extends QemuProgram {
  readonly machine: string;
  readonly cpu: string;
  /** Bytes of RAM, a multiple of 1 MiB. */
  readonly ramSize: bigint;
}

/** Writing a device tree takes far less. */
const DUMP_SECONDS = 60;

/** QEMU's option syntax: a comma in a value is doubled. */
export function qemuValue(text: string): string {
  return text.replaceAll(",", ",,");
}

/** Arguments that make the bare machine. `properties` are appended to -M. */
export function machineArguments({ machine, cpu, ramSize }: Machine, properties = ""): string[] {
  // The random seeds in QEMU's own tree would make two runs differ.
  const type = machine === "virt" ? "virt,dtb-randomness=off" : machine;
  const size = `${ramSize >> 20n}M`;
  return [
    ...["-M", `${type}${properties}`, "-accel", "tcg", "-cpu", cpu, "-m", size, "-smp", "1"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"],
  ];
}

/** Writes QEMU's own device tree for a machine to `file`. */
export async function dumpDeviceTree(machine: Machine, file: string): Promise<void> {
  // QEMU reports success on stderr, too: its messages are shown only if it fails.
  const messages: Uint8Array[] = [];
  const result = await runQemu(machine, machineArguments(machine, `,dumpdtb=${qemuValue(file)}`), {
    seconds: DUMP_SECONDS,
    onSerial: () => undefined,
    onMessage: (bytes) => void messages.push(bytes),
  });
  if (result.exitCode !== 0) process.stderr.write(Buffer.concat(messages));
  checkResult(machine, result, DUMP_SECONDS);
}
