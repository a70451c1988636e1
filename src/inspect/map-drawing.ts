/** The parts of a picture of guest memory: windows, and the legend. */
import { hex } from "../base/address.js";
import { type CheckedMap, isWithin } from "./map-input.js";
import {
  BAND_MARGIN,
  BAR,
  GUTTER,
  LABEL_HEIGHT,
  LANE,
  LANE_GAP,
  LEAST_BAND,
  labelWidth,
  MARGIN,
  MOST_LABEL_WIDTH,
  NAME_SIZE,
  NUMBER_HEIGHT,
  placeLabels,
  rangeText,
  SIZE_SIZE,
  type Stretch,
  TICK,
} from "./map-layout.js";
import { E820_KINDS, KINDS } from "./map-theme.js";
import type { MapItem, MapWindow } from "./map-windows.js";
import type { MapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { type Attributes, cutText, element, escapeXml, round, textWidth } from "./svg.js";

/** A region that is less high is drawn so high all the same. */
const LEAST_SHAPE = 2;
/** From this height on a region has an edge that parts it from its neighbour. */
const LEAST_EDGED = 5;
/** Between two numbers of an axis, and between one and the end. */
const TICK_SPACING = 44;
const TICK_CLEARANCE = 13;
/** Between labels, a band that opens, and the numbers of the next axis. */
const ZOOM_GAP = 5;
const LEGEND_ROW = 20;
const LEGEND_SYMBOL = 17;
const LEGEND_GAP = 16;

const E820_TYPES = ["other", "ram", "reserved", "acpi", "acpi"];

function e820Kind(type: number): string {
  return `e820-${E820_TYPES[type] ?? "other"}`;
}

/** An item in words, for readers who can't see the picture. */
export function itemText(item: MapItem): string {
  return `${item.name}: ${rangeText(item)}, ${formatSize(item.end - item.start)}`;
}

/** A path of commands and numbers. */
function path(className: string, ...parts: readonly (string | number)[]): string {
  const text = parts.map((part) => (typeof part === "number" ? round(part) : part)).join(" ");
  return element("path", { class: className, d: text.replace(/ ?([A-Za-z]) ?/g, "$1") });
}

function box(
  attributes: Attributes,
  x: number,
  { top, bottom }: Stretch,
  width: number,
  title?: string,
): string {
  const rect = { ...attributes, x, y: top, width, height: bottom - top };
  return element("rect", rect, title === undefined ? [] : [element("title", {}, title)]);
}

/** The sign of the entry, which points to the right. */
function triangle(x: number, y: number): string {
  return path("entry", "M", x, y - 4, "l7 4l-7 4z");
}

/** The height of an address in a window. */
function heightOf({ start, end, place }: MapWindow, address: bigint): number {
  const clipped = address < start ? start : address > end ? end : address;
  return place.y + (Number(clipped - start) * place.height) / Number(end - start);
}

/** The stretch of a range in a window, at least so high. */
function stretchOf(window: MapWindow, { start, end }: MapRange, least = LEAST_SHAPE): Stretch {
  const top = heightOf(window, start);
  const bottom = heightOf(window, end);
  if (bottom - top >= least) return { top, bottom };
  const from = Math.min(top, window.place.y + window.place.height - least);
  return { top: from, bottom: from + least };
}

/** Addresses on an axis: multiples of a power of two that leaves room for the numbers, and both ends. */
function tickAddresses({ start, end, place: { height } }: MapWindow): bigint[] {
  const span = Number(end - start);
  let step = 1n;
  while (Number(step) * height < TICK_SPACING * span) step *= 2n;
  const clearance = (TICK_CLEARANCE * span) / height;
  const ticks = [start];
  for (let at = (start / step + 1n) * step; at < end; at += step) {
    if (Number(at - start) >= clearance && Number(end - at) >= clearance) ticks.push(at);
  }
  return [...ticks, end];
}

function drawAxis({ e820 }: CheckedMap, window: MapWindow): string[] {
  const left = window.place.x - (e820.length > 0 ? LANE + LANE_GAP : 0);
  return tickAddresses(window).flatMap((address) => {
    const y = heightOf(window, address);
    const label = { class: "tick-label muted", x: left - TICK - 3, y: y + 3.5 };
    return [path("line", "M", left - TICK, y, "H", left), element("text", label, formatAddress(address))];
  });
}

function drawE820({ e820 }: CheckedMap, window: MapWindow): string[] {
  // The small ones last: they show where they touch large ones.
  return e820
    .filter((entry) => isWithin(entry, window))
    .sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1))
    .map((entry) => {
      const title = `e820: ${rangeText(entry)}, ${entry.typeName}`;
      const fill = { class: `fill-${e820Kind(entry.type)}` };
      return box(fill, window.place.x - LANE - LANE_GAP, stretchOf(window, entry), LANE, title);
    });
}

/** The band from a part of a bar to the window onto it. It opens between labels and axis, and crosses neither. */
function drawBand({ place }: MapWindow, child: MapWindow, { top, bottom }: Stretch): string {
  const { left, y, height } = child.place;
  const right = place.x + BAR;
  const edge = left - ZOOM_GAP;
  const bend = edge - GUTTER + 2 * ZOOM_GAP;
  return path(
    "zoom",
    ...["M", right, top, "H", bend, "L", edge, y, "V", y + height, "L", bend, bottom, "H", right, "Z"],
  );
}

/** A bracket beside a bar, with the number of the window onto that part, in place of a band. */
function drawNumber({ place }: MapWindow, child: MapWindow, { top, bottom }: Stretch, label: number): string {
  const right = place.x + BAR;
  const x = right + place.leader;
  const middle = (top + bottom) / 2;
  return (
    path("bracket", "M", right, top, "h5V", bottom, "h-5M", right + 5, middle, "L", x - 4, label) +
    element("text", { class: "caption", x, y: label + 4 }, `→ ${child.place.number}`)
  );
}

function drawShape(window: MapWindow, item: MapItem, title?: string): string {
  const stretch = stretchOf(window, item);
  const edge = stretch.bottom - stretch.top < LEAST_EDGED ? "" : " edged";
  return box({ class: `shape fill-${item.kind}${edge}` }, window.place.x, stretch, BAR, title);
}

function drawRegion({ isInteractive }: CheckedMap, window: MapWindow, item: MapItem, label: number): string {
  const { top, bottom } = stretchOf(window, item);
  const right = window.place.x + BAR;
  const x = right + window.place.leader;
  const from = Math.min(Math.max(label, top + LEAST_SHAPE / 2), bottom - LEAST_SHAPE / 2);
  const size = formatSize(item.end - item.start);
  const room = MOST_LABEL_WIDTH - 8 - textWidth(size, SIZE_SIZE, "sans");
  const hit = { top: label - LABEL_HEIGHT / 2, bottom: label + LABEL_HEIGHT / 2 };
  const attributes = {
    class: item.kind === "hole" ? "region hole" : "region",
    "data-name": item.name,
    "data-kind": item.kind,
    "data-start": hex(item.start),
    "data-end": hex(item.end),
    ...(isInteractive ? { role: "img", "aria-label": itemText(item), tabindex: "0" } : {}),
  };
  return element("g", attributes, [
    element("title", {}, itemText(item)),
    drawShape(window, item),
    path("line leader", "M", right, from, "L", x - 8, label, "H", x - 4),
    box({ class: "hit" }, x - 4, hit, labelWidth(item) + 8),
    element("text", { class: "name", x, y: label - 2 }, [
      escapeXml(cutText(item.name, NAME_SIZE, "bold", room)),
      element("tspan", { class: "size muted", dx: 6 }, size),
    ]),
    element("text", { class: "mono muted", x, y: label + 11 }, rangeText(item)),
  ]);
}

/** A small shape once more, above those that touch it. */
function drawAgain(window: MapWindow, item: MapItem): string[] {
  const isSmall = heightOf(window, item.end) - heightOf(window, item.start) < LEAST_SHAPE;
  if (!isSmall || item.kind === "hole") return [];
  return [box({ class: `above fill-${item.kind}` }, window.place.x, stretchOf(window, item), BAR)];
}

/** Bands to the windows below, and all labels: of regions, and of windows below that have a number. */
function drawLabelled(map: CheckedMap, window: MapWindow): string[] {
  const { y, height } = window.place;
  const bands: string[] = [];
  const obstacles: Stretch[] = [];
  const wishes = window.items.map((item) => {
    const { top, bottom } = stretchOf(window, item);
    const draw = (label: number): string => drawRegion(map, window, item, label);
    return { at: (top + bottom) / 2, height: LABEL_HEIGHT, draw };
  });
  for (const child of window.children) {
    const stretch = stretchOf(window, child, LEAST_BAND);
    if (child.place.number === undefined) {
      bands.push(drawBand(window, child, stretch));
      obstacles.push({ top: stretch.top - BAND_MARGIN, bottom: stretch.bottom + BAND_MARGIN });
    } else {
      const draw = (label: number): string => drawNumber(window, child, stretch, label);
      wishes.push({ at: (stretch.top + stretch.bottom) / 2, height: NUMBER_HEIGHT, draw });
    }
  }
  // In the order of the wishes, so that no two leaders cross.
  wishes.sort((one, other) => one.at - other.at);
  const room = { top: y - LABEL_HEIGHT / 4, bottom: y + height + LABEL_HEIGHT / 4 };
  const centres = placeLabels(room, obstacles, wishes);
  return [...bands, ...wishes.map(({ at, draw }, index) => draw(centres[index] ?? at))];
}

/** True if the processor starts in that range. */
function isEntered({ entry }: CheckedMap, { start, end }: MapRange): boolean {
  return entry !== undefined && entry >= start && entry < end;
}

/** A window and all that it leads to. */
export function drawWindow(map: CheckedMap, window: MapWindow): string[] {
  const { start, end, items, children, place } = window;
  const { x, y, height, caption } = place;
  const { entry = 0n } = map;
  const own = new Set(items);
  const data = {
    class: "window",
    "data-start": hex(start),
    "data-end": hex(end),
    "data-y": y,
    "data-height": height,
  };
  const ram = map.ram.filter((range) => isWithin(range, window));
  const marks = map.items.filter((item) => !own.has(item) && isWithin(item, window));
  const drawn = element("g", data, [
    element("text", { class: "caption", x, y: y - 11 }, caption),
    ...ram.map((range) => {
      const title = `RAM: ${rangeText(range)}, ${formatSize(range.end - range.start)}`;
      return box({ class: "ram fill-ram" }, x, stretchOf(window, range, 1), BAR, title);
    }),
    ...drawE820(map, window),
    ...drawAxis(map, window),
    ...marks.map((item) => drawShape(window, item, itemText(item))),
    ...drawLabelled(map, window),
    ...items.flatMap((item) => drawAgain(window, item)),
    element("rect", { class: "line frame", x, y, width: BAR, height }),
    isEntered(map, window)
      ? element("g", {}, [
          element("title", {}, `entry: ${formatAddress(entry)}`),
          triangle(x, heightOf(window, entry)),
        ])
      : "",
  ]);
  return [drawn, ...children.flatMap((child) => drawWindow(map, child))];
}

/** The legend from `y` on, in rows of `width` pixels, and its height. */
export function drawLegend(map: CheckedMap, y: number, width: number): { parts: string[]; height: number } {
  const e820 = map.e820.filter((each) => isWithin(each, map));
  const kinds = new Set([...map.items.map(({ kind }) => kind), ...e820.map(({ type }) => e820Kind(type))]);
  if (map.ram.length > 0) kinds.add("ram");
  const entries = Object.entries({ ...KINDS, ...E820_KINDS })
    .filter(([kind]) => kinds.has(kind))
    .map(([kind, [name]]) => ({ name, kind }));
  if (isEntered(map, map)) entries.push({ name: "entry", kind: "entry" });
  const symbol = (kind: string, x: number, top: number): string => {
    if (kind === "entry") return triangle(x + 2, top + 5.5);
    return element("rect", { class: `fill-${kind}`, x, y: top, width: 11, height: 11, rx: 2 });
  };
  const parts: string[] = [];
  let x = MARGIN;
  let top = y;
  for (const { name, kind } of entries) {
    const entryWidth = LEGEND_SYMBOL + textWidth(name, SIZE_SIZE, "sans");
    if (x + entryWidth > width - MARGIN && x > MARGIN) {
      x = MARGIN;
      top += LEGEND_ROW;
    }
    const text = { class: "legend", x: x + LEGEND_SYMBOL, y: top + 9.5 };
    parts.push(symbol(kind, x, top), element("text", text, name));
    x += entryWidth + LEGEND_GAP;
  }
  return { parts, height: top + LEGEND_ROW - y };
}
