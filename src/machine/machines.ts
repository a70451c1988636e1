/** Presets: descriptions of machines that exist, with the options that change them. */
import { qemuVirtArm64 } from "./qemu-arm64.js";
import { qemuMicrovm, qemuPc, qemuQ35 } from "./qemu-x86.js";

/**
 * Descriptions of machines that exist. They are plain data: spread one and change a field for a machine of your own.
 *
 * @example
 * ```ts
 * import { machines } from "directboot";
 *
 * const machine = machines.qemuQ35({ cpus: { sockets: 1, cores: 2, threads: 2 }, memory: 1n << 30n });
 * console.log(machine.pci?.[0]?.ecam?.toString(16)); // b0000000
 * ```
 */
export const machines = {
  /** QEMU's `-M microvm,acpi=on`. */
  qemuMicrovm,
  /** QEMU's `-M pc`: i440FX and PIIX3. */
  qemuPc,
  /** QEMU's `-M q35`: MCH and ICH9. */
  qemuQ35,
  /** QEMU's `-M virt` for arm64. */
  qemuVirtArm64,
} as const;
