/** A guest's memory as data, from which pictures are drawn. */
import { type AddressLike, hexRange, toAddress } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { LinuxPlan } from "../linux/linux-plan.js";
import { LinuxGuest, type LoadedLinux } from "../linux/loaded-linux.js";
import type { EntryMode, GuestArchitecture } from "../plan/planned-guest.js";
import { decodeE820, decodeE820Extension, decodeStartInfoMap, type NamedE820Entry } from "./e820-table.js";
import { jsonSafe } from "./json-safe.js";

/** The purpose of a region, which decides its colour in a picture. */
export type RegionKind =
  | "kernel"
  | "initrd"
  | "device-tree"
  | "command-line"
  | "boot-params"
  | "setup-data"
  | "descriptors"
  | "page-tables"
  | "acpi"
  | "other";

/** A range of guest physical addresses. */
export interface MapRange {
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;
}

/** A region that is filled before the guest starts. */
export interface MapRegion extends MapRange {
  /** The plan's tag, such as "linux-kernel". */
  readonly name: string;
  readonly kind: RegionKind;
}

/** Addresses without RAM. */
export interface MapHole extends MapRange {
  readonly name: string;
}

/** A guest's memory. `JSON.stringify` gives the addresses as hex strings, which `drawMemoryMap` takes, too. */
export interface MemoryMap {
  readonly architecture: GuestArchitecture;
  readonly entryMode: EntryMode;
  /** Where the processor starts. */
  readonly entry: bigint;
  readonly ram: readonly MapRange[];
  readonly regions: readonly MapRegion[];
  /** Gaps between the RAM ranges. */
  readonly holes: readonly MapHole[];
  /** x86: the map that the kernel is given; undefined where its bytes can't be seen. */
  readonly e820: readonly NamedE820Entry[] | undefined;
}

/** An address of a map that was made elsewhere: also as a hex string, as JSON has it. */
export type MapAddress = AddressLike | string;

/** A range of a map that was made elsewhere: `[start, end)`. */
export interface RangeInput {
  readonly start: MapAddress;
  readonly end: MapAddress;
}

/** The input of `drawMemoryMap`: a {@link MemoryMap}, the same parsed from its JSON, or one that was made by hand. */
export interface MemoryMapInput {
  readonly architecture: string;
  readonly entryMode?: string | undefined;
  readonly entry?: MapAddress | undefined;
  readonly ram: readonly RangeInput[];
  readonly regions: readonly (RangeInput & { readonly name: string; readonly kind?: string | undefined })[];
  readonly holes?: readonly (RangeInput & { readonly name: string })[] | undefined;
  readonly e820?:
    | readonly (RangeInput & { readonly type: number; readonly typeName?: string | undefined })[]
    | undefined;
}

const KINDS: Readonly<Record<string, RegionKind>> = {
  "linux-kernel": "kernel",
  "linux-initrd": "initrd",
  "linux-device-tree": "device-tree",
  "linux-commandline": "command-line",
  "linux-zeropage": "boot-params",
  "linux-start-info": "boot-params",
  "linux-setup-data": "setup-data",
  "default-gdt": "descriptors",
  "linux-gdt32": "descriptors",
  "linux-pagetables": "page-tables",
  "linux-rdsp": "acpi",
  "linux-acpi-tables": "acpi",
};

/** The purpose of a region with that tag. */
export function regionKind(name: string): RegionKind {
  return Object.hasOwn(KINDS, name) ? (KINDS[name] ?? "other") : "other";
}

/** The gaps between RAM ranges, and those that the layout names. */
function holesOf(plan: LinuxPlan | LoadedLinux): MapHole[] {
  const { layout } = plan;
  const holes: MapHole[] = [];
  const add = (name: string, { start, end }: MapRange): void => {
    if (start < end) holes.push(jsonSafe({ name, start, end }));
  };
  for (const range of layout.pciEcamGaps) add("PCI configuration space", range);
  for (const range of layout.pciMmioGaps) add("PCI MMIO", range);
  for (const range of layout.mmioGaps) add("MMIO", range);
  let end: bigint | undefined;
  for (const { range } of layout.ram) {
    const gap = { start: end ?? range.start, end: range.start };
    end = range.end;
    if (gap.start >= gap.end) continue;
    const isNamed = holes.some((hole) => hole.start < gap.end && gap.start < hole.end);
    if (!isNamed) add("no RAM", gap);
  }
  return holes.sort((a, b) => (a.start < b.start ? -1 : 1));
}

/** The bytes of the first region with that tag, where they can be seen without reading a source. */
function bytesOf(
  plan: LinuxPlan | LoadedLinux,
  tag: string,
): { readonly address: bigint; readonly bytes: Uint8Array } | undefined {
  if ("steps" in plan) {
    for (const step of plan.steps) {
      if (step.kind === "pages" && step.tag === tag && step.data.kind === "bytes") {
        return { address: step.pageBase * 4096n, bytes: step.data.bytes };
      }
    }
  } else if (plan instanceof LinuxGuest) {
    const region = plan.regions.find((each) => each.tag === tag);
    const address = region?.range.start ?? 0n;
    if (region !== undefined) return { address, bytes: plan.memory.read(address, region.dataLength) };
  }
  return undefined;
}

function e820Of(plan: LinuxPlan | LoadedLinux): readonly NamedE820Entry[] | undefined {
  const zeroPage = bytesOf(plan, "linux-zeropage");
  if (zeroPage !== undefined) {
    const more = bytesOf(plan, "linux-setup-data");
    const rest = more === undefined ? [] : decodeE820Extension(more.bytes, more.address);
    return [...decodeE820(zeroPage.bytes), ...rest];
  }
  const startInfo = bytesOf(plan, "linux-start-info");
  return startInfo === undefined ? undefined : decodeStartInfoMap(startInfo.bytes, startInfo.address);
}

/** The memory of a planned or loaded guest. Of a plan that its caller applied elsewhere, nothing is read. */
export function memoryMapOf(plan: LinuxPlan | LoadedLinux): MemoryMap {
  const regions = "steps" in plan ? plan.pages : plan.regions;
  return jsonSafe({
    architecture: plan.architecture,
    entryMode: plan.entryMode,
    entry: plan.info.kernel.entrypoint,
    ram: plan.layout.ram.map(({ range: { start, end } }) => jsonSafe({ start, end })),
    regions: [...regions]
      .sort((a, b) => (a.range.start < b.range.start ? -1 : 1))
      .map(({ range: { start, end }, tag }) => jsonSafe({ name: tag, kind: regionKind(tag), start, end })),
    holes: holesOf(plan),
    e820: e820Of(plan),
  });
}

/** Throws TypeError for no address, ADDRESS_OUT_OF_RANGE. */
export function toMapAddress(value: MapAddress, name: string): bigint {
  if (typeof value !== "string") return toAddress(value, name);
  if (!/^(0x[0-9a-f]{1,32}|[0-9]{1,32})$/i.test(value)) {
    throw new TypeError(`${name} must be an integer or a hex string, got ${describeType(value)}`);
  }
  return toAddress(BigInt(value), name);
}

/** Checks a range that came from outside. Throws TypeError, ADDRESS_OUT_OF_RANGE, MEMORY_RANGE_INVALID. */
export function toMapRange(input: RangeInput, name: string): MapRange {
  const start = toMapAddress(input.start, `${name}.start`);
  const end = toMapAddress(input.end, `${name}.end`);
  if (end < start) {
    throw new DirectBootError(
      "MEMORY_RANGE_INVALID",
      `${name}, ${hexRange(start, end)}, ends below its start`,
      { cure: "give bounds with start <= end" },
    );
  }
  return { start, end };
}
