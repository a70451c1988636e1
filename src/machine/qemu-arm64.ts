/** QEMU's arm64 machine as a description. Source: QEMU 7.2, hw/arm/virt.c. */

import { DirectBootError } from "../base/errors.js";
import { type Checks, is, isBoolean, isLength, optional, options } from "../base/options.js";
import type { Arm64Interrupts, Arm64Machine, PciRoot } from "./description.js";
import {
  memoryOf,
  type PresetOptions,
  placeCpus,
  presetChecks,
  swizzledRoutes,
  topologyOf,
} from "./preset-options.js";

/** Options of `machines.qemuVirtArm64`: QEMU's machine properties of the same meaning. */
export interface QemuVirtArm64Options extends PresetOptions {
  /** `gic-version`; 2 by default, for at most 8 CPUs. */
  readonly gicVersion?: 2 | 3 | undefined;
  /** `highmem=off` keeps PCI below 4 GiB; true by default. */
  readonly highmem?: boolean | undefined;
  /** How many of the 32 virtio transports are described, from the last on, as QEMU fills them; all by default. */
  readonly virtioDevices?: number | undefined;
}

const virtChecks = (): Checks<keyof QemuVirtArm64Options> => ({
  ...presetChecks(),
  gicVersion: optional(is("2 or 3", (value) => value === 2 || value === 3)),
  highmem: optional(isBoolean),
  virtioDevices: optional(isLength),
});

/** INTID of SPI n (GIC architecture specification: SPIs begin at 32). */
const spi = (number: number): number => 32 + number;

const RAM_START = 0x4000_0000n;
/** NUM_IRQS of hw/arm/virt.c. */
const SPIS = 256;
/** CPUs in the lowest affinity level: GIC_TARGETLIST_BITS and GICV3_TARGETLIST_BITS. */
const CLUSTER = { 2: 8, 3: 16 } as const;
/** CPUs that the GIC serves; a GICv3 has its further redistributors above RAM. */
const MOST_CPUS = { 2: 8, 3: 123 } as const;
const TRANSPORTS = 32;

function gic(version: 2 | 3): Arm64Interrupts {
  const distributor = { address: 0x800_0000, size: 0x1_0000 };
  if (version === 3) {
    return {
      type: "gicv3",
      distributor,
      redistributors: [{ address: 0x80a_0000, size: 0xf6_0000 }],
      end: spi(SPIS),
      its: { address: 0x808_0000, size: 0x2_0000 },
    };
  }
  return {
    type: "gicv2",
    distributor,
    cpuInterface: { address: 0x801_0000, size: 0x1_0000 },
    end: spi(SPIS),
    v2m: { address: 0x802_0000, size: 0x1000, start: spi(48), end: spi(112) },
  };
}

function pci(highmem: boolean): PciRoot {
  const low = { start: 0x1000_0000, end: 0x3eff_0000 };
  const common = {
    io: [{ start: 0, end: 0x1_0000, address: 0x3eff_0000 }],
    routes: swizzledRoutes([spi(3), spi(4), spi(5), spi(6)]),
  };
  if (!highmem) return { ...common, ecam: 0x3f00_0000, buses: { start: 0, end: 16 }, memory: [low] };
  return { ...common, ecam: 0x40_1000_0000, memory: [low, { start: 1n << 39n, end: 1n << 40n }] };
}

/**
 * QEMU's `-M virt` for arm64: PL011, PL031, PCI Express, 32 virtio-mmio transports, PSCI.
 *
 * @throws TypeError for an option of a wrong type or an unknown name
 * @throws DirectBootError MACHINE_BAD_VALUE for more CPUs than the GIC serves; ADDRESS_OUT_OF_RANGE
 *
 * @example
 * ```ts
 * import { machines } from "directboot";
 *
 * const machine = machines.qemuVirtArm64({ cpus: 4, gicVersion: 3, memory: 1 << 30 });
 * console.log(machine.interrupts.type); // gicv3
 * ```
 */
export function qemuVirtArm64(given: QemuVirtArm64Options = {}): Arm64Machine {
  options(virtChecks())(given, "");
  const version = given.gicVersion ?? 2;
  const size = memoryOf(given);
  const cluster = CLUSTER[version];
  const cpus = placeCpus(
    topologyOf(given.cpus),
    ({ index }) => (Math.floor(index / cluster) << 8) | (index % cluster),
  );
  if (cpus.length > MOST_CPUS[version]) {
    const cure = version === 2 ? "set gicVersion: 3, or give fewer" : "give fewer";
    const why = `cpus: ${cpus.length}, a GICv${version} of this machine serves ${MOST_CPUS[version]}`;
    throw new DirectBootError("MACHINE_BAD_VALUE", why, { cure });
  }
  return {
    architecture: "arm64",
    cpus,
    ram: size === undefined ? undefined : [{ start: RAM_START, end: RAM_START + size }],
    interrupts: gic(version),
    timer: { securePhysical: 29, physical: 30, virtual: 27, hypervisor: 26 },
    pmu: { interrupt: { line: 23, trigger: "level" } },
    serial: [
      {
        type: "pl011",
        address: 0x900_0000,
        clock: 24_000_000,
        interrupt: { line: spi(1), trigger: "level" },
      },
    ],
    rtc: { type: "pl031", address: 0x901_0000, interrupt: { line: spi(2), trigger: "level" } },
    gpio: { address: 0x903_0000, size: 0x1000, interrupt: { line: spi(7), trigger: "level" }, powerPin: 3 },
    pci: [pci(given.highmem ?? true)],
    virtioMmio: Array.from(
      { length: Math.min(given.virtioDevices ?? TRANSPORTS, TRANSPORTS) },
      (_, index) => {
        const slot = TRANSPORTS - 1 - index;
        const interrupt = { line: spi(16 + slot), trigger: "edge" } as const;
        return { address: 0xa00_0000 + slot * 0x200, size: 0x200, interrupt };
      },
    ),
    power: { type: "psci", method: "hvc" },
    cpuCompatible: "arm,cortex-a57",
    identity: { manufacturer: "QEMU", product: "QEMU Virtual Machine", ...given.identity },
  };
}
