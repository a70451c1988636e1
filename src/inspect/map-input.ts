/** The input of a picture, checked. */
import { hex, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { e820TypeName } from "./e820-table.js";
import { KIND_NAMES } from "./map-theme.js";
import type { MapItem } from "./map-windows.js";
import {
  type MapAddress,
  type MapRange,
  type MemoryMapInput,
  regionKind,
  toMapAddress,
  toMapRange,
} from "./memory-map.js";
import { formatSize } from "./sizes.js";

/** Entries of a memory map that are drawn. */
const MOST_E820 = 512;

const ARCHITECTURE_NAMES: Readonly<Record<string, string>> = {
  x86_64: "x86-64",
  i386: "i386",
  aarch64: "arm64",
};
const ENTRY_NAMES: Readonly<Record<string, string>> = {
  long64: "in long mode",
  protected32: "in protected mode, without paging",
  aarch64: "with the MMU off",
};

/** The input, checked. */
export interface CheckedMap {
  readonly arch: string;
  /** The texts below the title. */
  readonly facts: readonly string[];
  readonly ram: readonly MapRange[];
  /** Regions and holes, sorted by their starts. */
  readonly items: readonly MapItem[];
  readonly e820: readonly (MapRange & { readonly type: number; readonly typeName: string })[];
  readonly entry: bigint | undefined;
  readonly start: bigint;
  readonly end: bigint;
  /** All of it is shown, not a part that was asked for. */
  readonly isWhole: boolean;
}

/** A part of the addresses. */
export interface MapPart {
  readonly start?: MapAddress | undefined;
  readonly end?: MapAddress | undefined;
}

function byStart(a: MapRange, b: MapRange): number {
  return a.start < b.start ? -1 : a.start > b.start ? 1 : a.end < b.end ? -1 : a.end > b.end ? 1 : 0;
}

/** Bytes of all ranges together. */
export function totalBytes(ranges: readonly MapRange[]): bigint {
  return ranges.reduce((sum, { start, end }) => sum + (end - start), 0n);
}

/**
 * Checks a map that came from outside.
 *
 * @param part what to show of it; by default all that has RAM or a region
 * @throws TypeError, DirectBootError ADDRESS_OUT_OF_RANGE, MEMORY_RANGE_INVALID
 */
export function checkMap(input: MemoryMapInput, part: MapPart): CheckedMap {
  if (
    typeof input !== "object" ||
    input === null ||
    !Array.isArray(input.ram) ||
    !Array.isArray(input.regions)
  ) {
    throw new TypeError(
      `map must be an object with arrays ram and regions, as memoryMapOf gives, got ${describeType(input)}`,
    );
  }
  const arch = String(input.arch);
  const ram = input.ram.map((range, index) => toMapRange(range, `ram[${index}]`)).sort(byStart);
  const regions = input.regions.map((region, index): MapItem => {
    const name = String(region.name);
    const { kind = regionKind(name) } = region;
    const known = kind !== "ram" && kind !== "hole" && Object.hasOwn(KIND_NAMES, kind) ? kind : "other";
    return { name, kind: known, isHole: false, ...toMapRange(region, `regions[${index}]`) };
  });
  const holes = (input.holes ?? []).map(
    (hole, index): MapItem => ({
      name: String(hole.name),
      kind: "hole",
      isHole: true,
      ...toMapRange(hole, `holes[${index}]`),
    }),
  );
  const bounds = [...ram, ...regions];
  const lowest = bounds.reduce(
    (least, range) => (range.start < least ? range.start : least),
    bounds[0]?.start ?? 0n,
  );
  const highest = bounds.reduce((most, range) => (range.end > most ? range.end : most), lowest);
  const { start, end } = toMapRange(
    { start: part.start ?? lowest, end: part.end ?? highest },
    "start and end",
  );
  const e820 = (input.e820 ?? []).slice(0, MOST_E820).map((entry, index) => ({
    ...toMapRange(entry, `e820[${index}]`),
    type: toLength(entry.type, `e820[${index}].type`),
    typeName: entry.typeName ?? e820TypeName(entry.type),
  }));
  const facts = [ARCHITECTURE_NAMES[arch] ?? arch];
  const { entryMode } = input;
  const entry = input.entry === undefined ? undefined : toMapAddress(input.entry, "entry");
  const mode = entryMode === undefined ? "" : ` ${ENTRY_NAMES[entryMode] ?? entryMode}`;
  if (entry !== undefined || entryMode !== undefined) {
    facts.push(`entered${entry === undefined ? "" : ` at ${hex(entry)}`}${mode}`);
  }
  facts.push(`${formatSize(totalBytes(ram))} of RAM`);
  const items = [...regions, ...holes]
    .filter((item) => item.start < item.end && item.start < end && item.end > start)
    .sort(byStart);
  const isWhole = start <= lowest && end >= highest;
  return { arch, facts, ram, items, e820, entry, start, end, isWhole };
}
