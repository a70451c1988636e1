/** Options that the presets share: how many CPUs, how much RAM, what SMBIOS says. */
import { type AddressLike, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import {
  type Check,
  type Checks,
  isAddress,
  isLength,
  optional,
  options,
  wrongType,
} from "../base/options.js";
import type { MachineCpu, MachineIdentity, PciInterruptRoute } from "./description.js";

/** How many CPUs, or how they sit, as in QEMU's `-smp sockets=…,cores=…,threads=…`. */
export type CpusInput =
  | number
  | {
      readonly sockets?: number | undefined;
      readonly cores?: number | undefined;
      readonly threads?: number | undefined;
    };

/** Options of every preset. */
export interface PresetOptions {
  /** 1 by default. */
  readonly cpus?: CpusInput | undefined;
  /** Bytes of RAM. Without it the description says nothing of RAM: loadLinux adds its own. */
  readonly memory?: AddressLike | undefined;
  /** What SMBIOS tells the guest, beside what QEMU's own says. */
  readonly identity?: MachineIdentity | undefined;
}

const isCpus: Check = (value, path) => {
  if (typeof value === "number") return isLength(value, path);
  if (typeof value !== "object" || value === null) throw wrongType(path, "a number or an object", value);
  options({ sockets: optional(isLength), cores: optional(isLength), threads: optional(isLength) })(
    value,
    path,
  );
};

/** The checks of {@link PresetOptions}. */
export const presetChecks = (): Checks<keyof PresetOptions> => ({
  cpus: optional(isCpus),
  memory: optional(isAddress),
  // The description's own check looks into it.
  identity: () => undefined,
});

/** More than any of QEMU's machines has (hw/i386/pc_q35.c: 288 in 7.2; 4096 from 9.0 on). */
const MOST = 4096;

interface Topology {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** How the CPUs sit: a plain number is cores of one socket, as since QEMU 6.2. */
export function topologyOf(cpus: CpusInput = 1): Topology {
  const given = typeof cpus === "number" ? { cores: cpus } : cpus;
  const topology = { sockets: given.sockets ?? 1, cores: given.cores ?? 1, threads: given.threads ?? 1 };
  const count = topology.sockets * topology.cores * topology.threads;
  if (count < 1 || count > MOST) {
    throw new DirectBootError("MACHINE_BAD_VALUE", `cpus: ${count} CPUs, outside 1-${MOST}`);
  }
  return topology;
}

/** Each CPU with its place, sockets first; `idOf` gives its id. */
export function placeCpus(
  { sockets, cores, threads }: Topology,
  idOf: (place: { index: number; socket: number; core: number; thread: number }) => number,
): MachineCpu[] {
  return Array.from({ length: sockets * cores * threads }, (_, index) => {
    const thread = index % threads;
    const core = Math.floor(index / threads) % cores;
    const socket = Math.floor(index / threads / cores);
    return { id: idOf({ index, socket, core, thread }), socket, core, thread };
  });
}

/** RAM as bigint, if the caller said how much. */
export function memoryOf({ memory }: PresetOptions): bigint | undefined {
  return memory === undefined ? undefined : toAddress(memory, "memory");
}

/** Four lines for all devices of a root bus: pin p of device d goes to line (d + p) mod 4, as bridges do (PCI-to-PCI Bridge 1.2, 9.1). */
export function swizzledRoutes(
  lines: readonly [number, number, number, number],
  devices: { readonly start: number; readonly end: number } = { start: 0, end: 32 },
): PciInterruptRoute[] {
  const [a, b, c, d] = lines;
  const turned = [
    [a, b, c, d],
    [b, c, d, a],
    [c, d, a, b],
    [d, a, b, c],
  ] as const;
  return Array.from({ length: devices.end - devices.start }, (_, index) => {
    const device = devices.start + index;
    return { device, lines: turned[device & 3] ?? lines };
  });
}
