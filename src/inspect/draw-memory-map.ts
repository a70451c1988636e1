/**
 * A picture of guest memory:
 *
 *     title
 *     all of RAM            a part of it           a part of that
 *     0x0 ┌──┐╶╴            ┌──┐ GDT               ┌──┐
 *         │  │   ╲          │  │ 0x1000–0x2000     │  │ …
 *         ├──┤╴   ╲ ╶╶╶╶╶╶  ├──┤                   │  │
 *         │  │ linux-kernel │  │                   │  │
 *         └──┘              └──┘                   └──┘
 *     legend
 *
 * Each column is a level of windows (map-windows.ts), each window a bar to scale with an axis on its left and labels on its
 * right. A region is labelled once, in the window that shows it best; elsewhere it is a mark.
 */
import { hex, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { e820TypeName } from "./e820-table.js";
import { freeStretches, placeLabels, type Stretch } from "./map-labels.js";
import { KIND_NAMES, type MemoryMapTheme, styleSheet } from "./map-theme.js";
import { divideWindow, type MapItem, type MapWindow } from "./map-windows.js";
import { type MapRange, type MemoryMapInput, regionKind, toMapAddress, toMapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { cutText, element, escapeXml, textElement, textWidth } from "./svg.js";

/** Options of {@link drawMemoryMap}. */
export interface DrawMemoryMapOptions {
  /** Pixels; by default as wide as the picture needs for its type to be read. */
  readonly width?: number | undefined;
  /** By default what the guest is and how much RAM it has. */
  readonly title?: string | undefined;
  /** "auto" by default: as the reader's system has it. */
  readonly theme?: MemoryMapTheme | undefined;
  /**
   * Regions can be reached by keyboard; true by default. The picture is then a group of images to a screen reader; otherwise
   * it is one image, with its regions in the description.
   */
  readonly interactive?: boolean | undefined;
}

// Measures in pixels.
const MARGIN = 20;
const HEADER = 62;
const CAPTION = 26;
const BAR = 76;
const LANE = 7;
const LANE_GAP = 4;
const TICK = 5;
/** Between a bar and its labels; where there are many, their lines need room to part. */
const LEADER = 22;
const LONG_LEADER = 64;
const MANY_LABELS = 14;
const LABEL_HEIGHT = 32;
const MOST_LABEL_WIDTH = 230;
const GUTTER = 52;
const WINDOW_GAP = 26;
const LEAST_BAR_HEIGHT = 130;
const LEAST_HEIGHT = 460;
/** A region that is less high is drawn so high all the same. */
const LEAST_SHAPE = 2;
/** Between labels, a band that opens, and the numbers of the next axis. */
const ZOOM_GAP = 5;
/** Room that the labels leave for the band to a window. */
const BAND_MARGIN = 3;
const LEAST_BAND = 4;
/** From this height on a region has an edge that parts it from its neighbour. */
const LEAST_EDGED = 5;
const TICK_SPACING = 44;
const TICK_CLEARANCE = 13;
const LEGEND_ROW = 20;
const NAME_SIZE = 12;
const SIZE_SIZE = 11;
const MONO_SIZE = 10.5;
const TICK_SIZE = 10;
/** Labels that a picture holds; of more regions, the smallest are marks alone. */
const MOST_LABELS = 240;
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
interface Checked {
  readonly arch: string;
  readonly subtitle: string;
  readonly ram: readonly MapRange[];
  /** Regions and holes, sorted by their starts. */
  readonly items: readonly MapItem[];
  readonly e820: readonly (MapRange & { readonly type: number; readonly typeName: string })[];
  readonly entry: bigint | undefined;
  readonly start: bigint;
  readonly end: bigint;
}

function byStart(a: MapRange, b: MapRange): number {
  return a.start < b.start ? -1 : a.start > b.start ? 1 : a.end < b.end ? -1 : a.end > b.end ? 1 : 0;
}

function total(ranges: readonly MapRange[]): bigint {
  return ranges.reduce((sum, { start, end }) => sum + (end - start), 0n);
}

function check(input: MemoryMapInput): Checked {
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
  const start = bounds.reduce(
    (least, range) => (range.start < least ? range.start : least),
    bounds[0]?.start ?? 0n,
  );
  const end = bounds.reduce((most, range) => (range.end > most ? range.end : most), start);
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
  facts.push(`${formatSize(total(ram))} of RAM`);
  const items = [...regions, ...holes].filter((item) => item.start < end && item.end > start).sort(byStart);
  return { arch, subtitle: facts.join(" · "), ram, items, e820, entry, start, end };
}

/** A window with its place in the picture. */
interface PlacedWindow {
  readonly window: MapWindow;
  readonly children: readonly PlacedWindow[];
  /** Left edge of the bar. */
  readonly x: number;
  /** Top of the bar. */
  readonly y: number;
  readonly height: number;
  /** Between the bar and its labels. */
  readonly leader: number;
}

/** Items whose labels a window has: all, or the largest where there are too many. */
function labelled(window: MapWindow): readonly MapItem[] {
  if (window.items.length <= MOST_LABELS) return window.items;
  const largest = [...window.items].sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1));
  const kept = new Set(largest.slice(0, MOST_LABELS));
  return window.items.filter((item) => kept.has(item));
}

function fraction(part: MapRange, whole: MapRange): number {
  return Number(part.end - part.start) / Number(whole.end - whole.start);
}

/** Height that a window's bar needs for its labels. */
function neededHeight(window: MapWindow): number {
  const { children } = window;
  const bands = children.length * (LEAST_BAND + 2 * BAND_MARGIN);
  const covered = children.reduce((sum, child) => sum + fraction(child, window), 0);
  const labels = (labelled(window).length + children.length + 1) * LABEL_HEIGHT;
  return Math.max((labels + bands) / (1 - Math.min(covered, 0.9)), LEAST_BAR_HEIGHT);
}

/** The windows of each level, from the whole on. */
function levelsOf(whole: MapWindow): MapWindow[][] {
  const levels: MapWindow[][] = [];
  for (let level = [whole]; level.length > 0; level = level.flatMap(({ children }) => children)) {
    levels.push(level);
  }
  return levels;
}

function windowCaption({ start, end, depth }: MapWindow, isWholeRam: boolean): string {
  const size = formatSize(end - start);
  if (depth === 0) return isWholeRam ? `All RAM: ${size}` : `All memory: ${size}`;
  return start === 0n ? `The first ${size}` : `${size} from ${hex(start)}`;
}

/** Steps between addresses of an axis: a power of two that leaves room for the numbers. */
function tickAddresses({ start, end }: MapWindow, height: number): bigint[] {
  const span = end - start;
  let step = 1n;
  while (Number(step) * height < TICK_SPACING * Number(span)) step *= 2n;
  const clearance = (TICK_CLEARANCE * Number(span)) / height;
  const ticks = [start];
  for (let at = (start / step + 1n) * step; at < end; at += step) {
    if (Number(at - start) >= clearance && Number(end - at) >= clearance) ticks.push(at);
  }
  return [...ticks, end];
}

function rangeText({ start, end }: MapRange): string {
  return `${formatAddress(start)}–${formatAddress(end)}`;
}

function labelWidth(item: MapItem): number {
  const size = formatSize(item.end - item.start);
  const first = textWidth(item.name, NAME_SIZE, "bold") + 8 + textWidth(size, SIZE_SIZE, "sans");
  return Math.min(Math.max(first, textWidth(rangeText(item), MONO_SIZE, "mono")), MOST_LABEL_WIDTH);
}

/** Words for one item, for whoever can't see it. */
function itemText(item: MapItem): string {
  return `${item.name}: ${rangeText(item)}, ${formatSize(item.end - item.start)}`;
}

function e820Class(type: number): string {
  if (type === 1) return "ram";
  if (type === 2) return "reserved";
  return type === 3 || type === 4 ? "acpi" : "other";
}

/** One picture being drawn. */
class Drawing {
  readonly #map: Checked;
  readonly #interactive: boolean;
  readonly #parts: string[] = [];

  constructor(map: Checked, interactive: boolean) {
    this.#map = map;
    this.#interactive = interactive;
  }

  get parts(): readonly string[] {
    return this.#parts;
  }

  /** Height of an address in a window. */
  #at(placed: PlacedWindow, address: bigint): number {
    const { window, y, height } = placed;
    const clipped = address < window.start ? window.start : address > window.end ? window.end : address;
    return y + (Number(clipped - window.start) * height) / Number(window.end - window.start);
  }

  #stretch(placed: PlacedWindow, range: MapRange, least: number): Stretch {
    const top = this.#at(placed, range.start);
    const bottom = this.#at(placed, range.end);
    const limit = placed.y + placed.height;
    if (bottom - top >= least) return { top, bottom };
    const from = Math.min(top, limit - least);
    return { top: from, bottom: from + least };
  }

  #visible(ranges: readonly MapRange[], { start, end }: MapWindow): MapRange[] {
    return ranges.filter((range) => range.start < end && range.end > start);
  }

  /** The bands that lead to the windows onto parts of a window. */
  #bands(placed: PlacedWindow): Stretch[] {
    const right = placed.x + BAR;
    return placed.children.map((child) => {
      const { top, bottom } = this.#stretch(placed, child.window, LEAST_BAND);
      // It opens between the labels and the axis of the window, and crosses neither.
      const edge = child.x - this.#axisWidth - ZOOM_GAP;
      const bend = edge - GUTTER + 2 * ZOOM_GAP;
      this.#parts.push(
        element("path", {
          class: "zoom",
          d: `M${round(right)} ${round(top)}H${round(bend)}L${round(edge)} ${round(child.y)}V${round(child.y + child.height)}L${round(bend)} ${round(bottom)}H${round(right)}Z`,
        }),
      );
      return { top: top - BAND_MARGIN, bottom: bottom + BAND_MARGIN };
    });
  }

  #axisWidth = 0;

  setAxisWidth(width: number): void {
    this.#axisWidth = width;
  }

  #axis(placed: PlacedWindow): void {
    const left = placed.x - (this.#map.e820.length > 0 ? LANE + LANE_GAP : 0);
    for (const address of tickAddresses(placed.window, placed.height)) {
      const y = this.#at(placed, address);
      this.#parts.push(
        element("path", { class: "tick", d: `M${round(left - TICK)} ${round(y)}H${round(left)}` }),
        textElement(
          "text",
          { class: "tick-label muted", x: left - TICK - 3, y: y + 3.5 },
          formatAddress(address),
        ),
      );
    }
  }

  #e820(placed: PlacedWindow): void {
    const { e820 } = this.#map;
    if (e820.length === 0) return;
    // The small ones last, so that they are seen where they touch large ones.
    for (const entry of [...e820].sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1))) {
      if (entry.start >= placed.window.end || entry.end <= placed.window.start) continue;
      const { top, bottom } = this.#stretch(placed, entry, LEAST_SHAPE);
      this.#parts.push(
        element(
          "rect",
          {
            class: `e820-${e820Class(entry.type)}`,
            x: placed.x - LANE - LANE_GAP,
            y: top,
            width: LANE,
            height: bottom - top,
          },
          [textElement("title", {}, `e820: ${rangeText(entry)}, ${entry.typeName}`)],
        ),
      );
    }
  }

  #region(placed: PlacedWindow, item: MapItem, label: number | undefined): void {
    const { top, bottom } = this.#stretch(placed, item, LEAST_SHAPE);
    const { x, leader } = placed;
    const shape = element("rect", {
      class: `shape fill-${item.kind}${bottom - top < LEAST_EDGED ? "" : " edged"}`,
      x,
      y: top,
      width: BAR,
      height: bottom - top,
      "stroke-dasharray": item.isHole ? "3 3" : undefined,
    });
    const title = textElement("title", {}, itemText(item));
    if (label === undefined) {
      this.#parts.push(element("g", { class: "mark" }, [title, shape]));
      return;
    }
    const from = Math.min(Math.max(label, top + LEAST_SHAPE / 2), bottom - LEAST_SHAPE / 2);
    const right = x + BAR;
    const textX = right + leader;
    const size = formatSize(item.end - item.start);
    const sizeWidth = textWidth(size, SIZE_SIZE, "sans");
    const name = cutText(item.name, NAME_SIZE, "bold", MOST_LABEL_WIDTH - 8 - sizeWidth);
    this.#parts.push(
      element(
        "g",
        {
          class: item.isHole ? "region hole" : "region",
          "data-name": item.name,
          "data-kind": item.kind,
          "data-start": hex(item.start),
          "data-end": hex(item.end),
          role: this.#interactive ? "img" : undefined,
          "aria-label": this.#interactive ? itemText(item) : undefined,
          tabindex: this.#interactive ? "0" : undefined,
        },
        [
          title,
          shape,
          element("path", {
            class: "leader",
            d: `M${round(right)} ${round(from)}L${round(right + leader - 8)} ${round(label)}H${round(textX - 4)}`,
          }),
          element("rect", {
            class: "hit",
            x: textX - 4,
            y: label - LABEL_HEIGHT / 2,
            width: labelWidth(item) + 8,
            height: LABEL_HEIGHT,
          }),
          element("text", { class: "name", x: textX, y: label - 2 }, [
            escapeXml(name),
            textElement("tspan", { class: "size muted", dx: 6 }, size),
          ]),
          textElement("text", { class: "mono muted", x: textX, y: label + 11 }, rangeText(item)),
        ],
      ),
    );
  }

  /** A small shape once more, above what touches it. */
  #again(placed: PlacedWindow, item: MapItem): void {
    const height = this.#at(placed, item.end) - this.#at(placed, item.start);
    if (height >= LEAST_SHAPE || item.isHole) return;
    const { top, bottom } = this.#stretch(placed, item, LEAST_SHAPE);
    this.#parts.push(
      element("rect", {
        class: `above fill-${item.kind}`,
        x: placed.x,
        y: top,
        width: BAR,
        height: bottom - top,
      }),
    );
  }

  /** A triangle where the processor starts. */
  #entry(placed: PlacedWindow): void {
    const { entry } = this.#map;
    const { window, x } = placed;
    if (entry === undefined || entry < window.start || entry >= window.end) return;
    const y = this.#at(placed, entry);
    this.#parts.push(
      element("path", { class: "entry", d: `M${round(x)} ${round(y - 4)}l7 4l-7 4z` }, [
        textElement("title", {}, `entry: ${formatAddress(entry)}`),
      ]),
    );
  }

  /** Draws a window and all that it leads to. */
  window(placed: PlacedWindow): void {
    const { window, x, y, height, children } = placed;
    const { ram, items } = this.#map;
    this.#parts.push(
      `<g class="window" data-start="${hex(window.start)}" data-end="${hex(window.end)}" data-y="${round(y)}" data-height="${round(height)}">`,
    );
    this.#parts.push(
      textElement(
        "text",
        { class: "caption", x, y: y - 11 },
        windowCaption(window, total(ram) === window.end - window.start),
      ),
    );
    const bands = this.#bands(placed);
    for (const range of this.#visible(ram, window)) {
      const { top, bottom } = this.#stretch(placed, range, 1);
      this.#parts.push(
        element("rect", { class: "ram fill-ram", x, y: top, width: BAR, height: bottom - top }, [
          textElement("title", {}, `RAM: ${rangeText(range)}, ${formatSize(range.end - range.start)}`),
        ]),
      );
    }
    this.#e820(placed);
    this.#axis(placed);
    const own = labelled(window);
    const isOwn = new Set(own);
    for (const item of items) {
      if (isOwn.has(item) || item.start >= window.end || item.end <= window.start) continue;
      this.#region(placed, item, undefined);
    }
    const stretch = { top: y - LABEL_HEIGHT / 4, bottom: y + height + LABEL_HEIGHT / 4 };
    const free = freeStretches(stretch, bands);
    const wishes = own.map((item) => {
      const { top, bottom } = this.#stretch(placed, item, LEAST_SHAPE);
      // The middle of the largest part that no band hides.
      const parts = free
        .map((part) => ({ top: Math.max(part.top, top), bottom: Math.min(part.bottom, bottom) }))
        .filter((part) => part.bottom > part.top)
        .sort((a, b) => b.bottom - b.top - (a.bottom - a.top));
      const [part = { top, bottom }] = parts;
      return { at: (part.top + part.bottom) / 2, height: LABEL_HEIGHT };
    });
    // Labels go in the order of their wishes, so that no two leaders cross.
    const order = own
      .map((_, index) => index)
      .sort((a, b) => (wishes[a]?.at ?? 0) - (wishes[b]?.at ?? 0) || a - b);
    const centres = placeLabels(
      stretch,
      bands,
      order.map((index) => wishes[index] ?? { at: y, height: LABEL_HEIGHT }),
    );
    for (const [rank, index] of order.entries()) {
      const item = own[index];
      if (item !== undefined) this.#region(placed, item, centres[rank] ?? y);
    }
    for (const item of own) this.#again(placed, item);
    this.#parts.push(element("rect", { class: "frame", x, y, width: BAR, height }));
    this.#entry(placed);
    this.#parts.push("</g>");
    for (const child of children) this.window(child);
  }

  text(attributes: Readonly<Record<string, string | number>>, text: string): void {
    this.#parts.push(textElement("text", attributes, text));
  }

  /** Draws the legend from `y` on, in rows of `width` pixels; gives its height. */
  legend(y: number, width: number): number {
    const { items, e820, ram } = this.#map;
    const kinds = new Set(items.map(({ kind }) => kind));
    if (ram.length > 0) kinds.add("ram");
    const entries = Object.entries(KIND_NAMES)
      .filter(([kind]) => kinds.has(kind))
      .map(([kind, name]) => ({ fill: `fill-${kind}`, name, isHole: kind === "hole" }));
    const seen = new Map(e820.map(({ type, typeName }) => [e820Class(type), typeName]));
    const types = new Set(e820.map(({ type }) => e820Class(type)));
    const names: Readonly<Record<string, string>> = { ram: "usable RAM", reserved: "reserved", acpi: "ACPI" };
    for (const type of types) {
      const name = names[type] ?? seen.get(type) ?? "other";
      entries.push({ fill: `e820-${type}`, name: `e820: ${name}`, isHole: false });
    }
    let x = MARGIN;
    let row = 0;
    for (const { fill, name, isHole } of entries) {
      const entryWidth = 17 + textWidth(name, SIZE_SIZE, "sans") + 16;
      if (x + entryWidth > width - MARGIN && x > MARGIN) {
        x = MARGIN;
        row++;
      }
      const top = y + row * LEGEND_ROW;
      this.#parts.push(
        element("rect", {
          class: isHole ? `${fill} frame` : fill,
          x,
          y: top,
          width: 11,
          height: 11,
          rx: 2,
          "stroke-dasharray": isHole ? "3 3" : undefined,
        }),
        textElement("text", { class: "legend", x: x + 17, y: top + 9.5 }, name),
      );
      x += entryWidth;
    }
    if (this.#map.entry !== undefined) {
      const entryWidth = 17 + textWidth("entry", SIZE_SIZE, "sans");
      if (x + entryWidth > width - MARGIN && x > MARGIN) {
        x = MARGIN;
        row++;
      }
      const top = y + row * LEGEND_ROW;
      this.#parts.push(
        element("path", { class: "entry", d: `M${round(x + 2)} ${round(top + 1.5)}l7 4l-7 4z` }),
        textElement("text", { class: "legend", x: x + 17, y: top + 9.5 }, "entry"),
      );
    }
    return (row + 1) * LEGEND_ROW;
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Words for the whole picture. */
function description({ items }: Checked): string {
  const shown = items.slice(0, MOST_LABELS).map(itemText);
  const more = items.length > shown.length ? [`and ${items.length - shown.length} more`] : [];
  return [...shown, ...more].join("; ");
}

/**
 * Draws a guest's memory as an SVG picture: to scale, with windows onto the parts where the regions would be too small to
 * see. The same input gives the same text.
 *
 * @param input what `memoryMapOf` gives, as it is or parsed from its JSON; or a map that was made by hand
 * @returns one `<svg>` element, to be written to a file or put into a page; all names in it are escaped. Each region is a
 *   `<g class="region" data-name data-kind data-start data-end>`, each window a `<g class="window" data-start data-end data-y
 *   data-height>`
 * @throws TypeError for addresses and options of a wrong type; DirectBootError ADDRESS_OUT_OF_RANGE, MEMORY_RANGE_INVALID
 *
 * @example
 * const guest = loadLinuxSync({ kernel: "vmlinuz", memory: 256 * 1024 * 1024 });
 * writeFileSync("map.svg", drawMemoryMap(memoryMapOf(guest)));
 */
export function drawMemoryMap(input: MemoryMapInput, options: DrawMemoryMapOptions = {}): string {
  const { theme = "auto", interactive = true } = options;
  if (theme !== "auto" && theme !== "light" && theme !== "dark") {
    throw new TypeError(`theme must be "auto", "light" or "dark", got ${describeType(theme)}`);
  }
  const map = check(input);
  const title = options.title ?? "Guest memory";
  const isX86 = map.arch === "x86_64" || map.arch === "i386";
  const whole = divideWindow(map.start, map.end, map.items, isX86);
  const levels = map.end > map.start ? levelsOf(whole) : [];

  const laneWidth = map.e820.length > 0 ? LANE + LANE_GAP : 0;
  const longest = textWidth(formatAddress(map.end), TICK_SIZE, "mono");
  const axisWidth = longest + TICK + 4 + laneWidth;
  const columnHeight = (level: readonly MapWindow[]): number =>
    level.reduce((sum, window) => sum + CAPTION + neededHeight(window), 0) + (level.length - 1) * WINDOW_GAP;
  const bodyHeight = Math.max(LEAST_HEIGHT, ...levels.map(columnHeight));

  // Columns from left to right; within one, windows share what height is left.
  let right = MARGIN;
  const placedBy = new Map<MapWindow, Omit<PlacedWindow, "children">>();
  for (const level of levels) {
    const x = right + axisWidth + (right === MARGIN ? 0 : GUTTER);
    const spare = bodyHeight - columnHeight(level);
    const needed = level.reduce((sum, window) => sum + neededHeight(window), 0);
    let y = HEADER;
    let widest = 0;
    const leader = level.some((window) => labelled(window).length > MANY_LABELS) ? LONG_LEADER : LEADER;
    for (const window of level) {
      const own = neededHeight(window);
      const height = own + (spare * own) / needed;
      placedBy.set(window, { window, x, y: y + CAPTION, height, leader });
      y += CAPTION + height + WINDOW_GAP;
      const caption = textWidth(windowCaption(window, false), NAME_SIZE, "bold") - BAR - leader;
      widest = Math.max(widest, caption, ...labelled(window).map(labelWidth));
    }
    right = x + BAR + leader + widest + 8;
  }
  const place = (window: MapWindow): PlacedWindow => ({
    ...(placedBy.get(window) ?? { window, x: 0, y: 0, height: 0, leader: LEADER }),
    children: window.children.map(place),
  });

  const headerWidth = Math.max(textWidth(title, 16, "bold"), textWidth(map.subtitle, NAME_SIZE, "sans"));
  const width = Math.ceil(Math.max(right, MARGIN + Math.min(headerWidth, 900)) + MARGIN);
  const drawing = new Drawing(map, interactive);
  drawing.setAxisWidth(axisWidth);
  drawing.text({ class: "title", x: MARGIN, y: 30 }, cutText(title, 16, "bold", width - 2 * MARGIN));
  drawing.text(
    { class: "muted", x: MARGIN, y: 48 },
    cutText(map.subtitle, NAME_SIZE, "sans", width - 2 * MARGIN),
  );
  if (levels.length > 0) drawing.window(place(whole));
  const bottom = HEADER + bodyHeight + 22;
  const height = Math.ceil(bottom + drawing.legend(bottom, width) + MARGIN - 8);

  const shownWidth = options.width === undefined ? width : toLength(options.width, "width");
  const shownHeight = Math.round((height * shownWidth) / width);
  return `${element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      class: `directboot-map theme-${theme}`,
      width: shownWidth,
      height: shownHeight,
      viewBox: `0 0 ${width} ${height}`,
      role: interactive ? "group" : "img",
      "aria-label": title,
    },
    [
      textElement("title", {}, title),
      textElement("desc", {}, `${map.subtitle}. ${description(map)}`),
      element("style", {}, [styleSheet(theme)]),
      element("rect", { class: "background", width, height }),
      ...drawing.parts,
    ],
  )}\n`;
}
