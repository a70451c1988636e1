/** The input of a picture, checked. */
import { hex, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { e820TypeName } from "./e820-table.js";
import { type MemoryMapTheme, REGION_KINDS } from "./map-theme.js";
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
  readonly architecture: string;
  /** The texts below the title. */
  readonly facts: readonly string[];
  readonly ram: readonly MapRange[];
  /** Regions and holes, sorted by their starts. */
  readonly items: readonly MapItem[];
  readonly e820: readonly (MapRange & { readonly type: number; readonly typeName: string })[];
  readonly entry: bigint | undefined;
  readonly start: bigint;
  readonly end: bigint;
  readonly isInteractive: boolean;
  /** All of it is shown, not a part that was asked for. */
  readonly isWhole: boolean;
}

/** Options of `drawMemoryMap`. */
export interface DrawMemoryMapOptions {
  /** Pixels; by default as many as give type of 12 pixels. In fewer all is smaller. */
  readonly width?: number | undefined;
  /** First address to show; by default the lowest that has RAM or a region. */
  readonly start?: MapAddress | undefined;
  /** One past the last address to show; by default the end of RAM and regions. */
  readonly end?: MapAddress | undefined;
  /** "Guest memory" by default; what the guest is stands below it. */
  readonly title?: string | undefined;
  /** "auto" by default: as the reader's system has it. */
  readonly theme?: MemoryMapTheme | undefined;
  /**
   * Regions can be reached by keyboard; true by default. The picture is then a group of images to a screen reader; otherwise
   * it is one image, with its regions in the description.
   */
  readonly interactive?: boolean | undefined;
}

function byStart(a: MapRange, b: MapRange): number {
  return a.start < b.start ? -1 : a.start > b.start ? 1 : a.end < b.end ? -1 : a.end > b.end ? 1 : 0;
}

/** True if the ranges share a byte. */
export function isWithin(range: MapRange, { start, end }: MapRange): boolean {
  return range.start < end && range.end > start;
}

/** Bytes of all ranges together. */
export function totalBytes(ranges: readonly MapRange[]): bigint {
  return ranges.reduce((sum, { start, end }) => sum + (end - start), 0n);
}

/**
 * Checks a map that came from outside.
 *
 * @param view the part to show is by default all that has RAM or a region
 * @throws TypeError, DirectBootError ADDRESS_OUT_OF_RANGE, MEMORY_RANGE_INVALID
 */
export function checkMap(input: MemoryMapInput, view: DrawMemoryMapOptions): CheckedMap {
  if (!Array.isArray(input?.ram) || !Array.isArray(input.regions)) {
    throw new TypeError(
      `map must be an object with arrays ram and regions, as memoryMapOf gives, got ${describeType(input)}`,
    );
  }
  const { entryMode, holes = [], e820 = [] } = input;
  const arch = String(input.architecture);
  const ram = input.ram.map((range, index) => toMapRange(range, `ram[${index}]`)).sort(byStart);
  const regions = input.regions.map((region, index): MapItem => {
    const name = String(region.name);
    const { kind = regionKind(name) } = region;
    const known = Object.hasOwn(REGION_KINDS, kind) ? kind : "other";
    return { name, kind: known, ...toMapRange(region, `regions[${index}]`) };
  });
  const gaps = holes.map((hole, index): MapItem => {
    return { name: String(hole.name), kind: "hole", ...toMapRange(hole, `holes[${index}]`) };
  });
  const bounds = [...ram, ...regions];
  const lowest = bounds.sort(byStart)[0]?.start ?? 0n;
  const highest = bounds.reduce((most, range) => (range.end > most ? range.end : most), lowest);
  const shown = toMapRange({ start: view.start ?? lowest, end: view.end ?? highest }, "start and end");
  const entry = input.entry === undefined ? undefined : toMapAddress(input.entry, "entry");
  const facts = [ARCHITECTURE_NAMES[arch] ?? arch];
  if (entry !== undefined || entryMode !== undefined) {
    const mode = entryMode === undefined ? "" : ` ${ENTRY_NAMES[entryMode] ?? entryMode}`;
    facts.push(`entered${entry === undefined ? "" : ` at ${hex(entry)}`}${mode}`);
  }
  facts.push(`${formatSize(totalBytes(ram))} of RAM`);
  return {
    architecture: arch,
    facts,
    ram,
    items: [...regions, ...gaps]
      .filter((item) => item.start < item.end && isWithin(item, shown))
      .sort(byStart),
    e820: e820.slice(0, MOST_E820).map((each, index) => ({
      ...toMapRange(each, `e820[${index}]`),
      type: toLength(each.type, `e820[${index}].type`),
      typeName: each.typeName ?? e820TypeName(each.type),
    })),
    entry,
    ...shown,
    isInteractive: view.interactive ?? true,
    isWhole: shown.start <= lowest && shown.end >= highest,
  };
}
