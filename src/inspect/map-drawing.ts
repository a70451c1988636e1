/** The parts of a picture of guest memory: the windows below each other, each with its labels, and the legend. */
import { hex } from "../base/address.js";
import { type CheckedMap, isWithin, totalBytes } from "./map-input.js";
import { KINDS } from "./map-theme.js";
import { divideWindow, type MapItem, type MapWindow } from "./map-windows.js";
import type { MapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { type Attributes, cutText, element, escapeXml, round, textWidth } from "./svg.js";

/** Around the picture. */
export const MARGIN = 20;
const BAR = 76;
const LEAST_BAR = 210;
/** Width of the e820 map beside a bar, and the gap between. */
const LANE = 7;
const LANE_GAP = 4;
const TICK = 5;
/** Between a bar and its labels. */
const LEADER = 30;
const LABEL_HEIGHT = 32;
const MOST_LABEL_WIDTH = 230;
/** Above a bar, and between a bar and the next caption. */
const CAPTION = 26;
const WINDOW_GAP = 26;
/** A region that is less high is drawn so high all the same; the same of the part that another window shows. */
const LEAST_SHAPE = 2;
const LEAST_BRACKET = 4;
/** From this height on a region has an edge that parts it from its neighbour. */
const LEAST_EDGED = 5;
export const NAME_SIZE = 12;
const SIZE_SIZE = 11;
const MONO_SIZE = 10.5;
const TICK_SIZE = 10;
const LEGEND_ROW = 20;
const LEGEND_COLUMN = 180;

/** A window and its bar's place in the picture, in pixels. */
interface PlacedWindow extends MapWindow {
  readonly x: number;
  readonly y: number;
  readonly height: number;
}

/** A stretch from top to bottom. */
interface Stretch {
  readonly top: number;
  readonly bottom: number;
}

const E820_TYPES = ["other", "ram", "reserved", "acpi", "acpi"];

function e820Kind(type: number): string {
  return `e820-${E820_TYPES[type] ?? "other"}`;
}

/** "0x…–0x…" */
function rangeText({ start, end }: MapRange): string {
  return `${formatAddress(start)}–${formatAddress(end)}`;
}

/** An item in words, for readers who can't see the picture. */
export function itemText(item: MapItem): string {
  return `${item.name}: ${rangeText(item)}, ${formatSize(item.end - item.start)}`;
}

/** Width of an item's label. */
function labelWidth(item: MapItem): number {
  const size = formatSize(item.end - item.start);
  const first = textWidth(item.name, NAME_SIZE, "bold") + 8 + textWidth(size, SIZE_SIZE, "sans");
  return Math.min(Math.max(first, textWidth(rangeText(item), MONO_SIZE, "mono")), MOST_LABEL_WIDTH);
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
function heightOf({ start, end, y, height }: PlacedWindow, address: bigint): number {
  const clipped = address < start ? start : address > end ? end : address;
  return y + (Number(clipped - start) * height) / Number(end - start);
}

/** The stretch of a range in a window, at least so high. */
function stretchOf(window: PlacedWindow, { start, end }: MapRange, least = LEAST_SHAPE): Stretch {
  const top = heightOf(window, start);
  const bottom = heightOf(window, end);
  if (bottom - top >= least) return { top, bottom };
  const from = Math.min(top, window.y + window.height - least);
  return { top: from, bottom: from + least };
}

/** The addresses of a window's ends and quarters. */
function drawAxis(window: PlacedWindow): string[] {
  const right = window.x - LANE - LANE_GAP;
  return [0n, 1n, 2n, 3n, 4n].flatMap((quarter) => {
    const address = window.start + ((window.end - window.start) * quarter) / 4n;
    const y = heightOf(window, address);
    const label = { class: "tick-label muted", x: right - TICK - 3, y: y + 3.5 };
    return [path("line", "M", right - TICK, y, "H", right), element("text", label, formatAddress(address))];
  });
}

function drawE820({ e820 }: CheckedMap, window: PlacedWindow): string[] {
  // The small ones last: they show where they touch large ones.
  return e820
    .filter((entry) => isWithin(entry, window))
    .sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1))
    .map((entry) => {
      const title = `e820: ${rangeText(entry)}, ${entry.typeName}`;
      const fill = { class: `fill-${e820Kind(entry.type)}` };
      return box(fill, window.x - LANE - LANE_GAP, stretchOf(window, entry), LANE, title);
    });
}

function drawShape(window: PlacedWindow, item: MapItem, title?: string): string {
  const stretch = stretchOf(window, item);
  const edge = stretch.bottom - stretch.top < LEAST_EDGED ? "" : " edged";
  return box({ class: `shape fill-${item.kind}${edge}` }, window.x, stretch, BAR, title);
}

function drawRegion(window: PlacedWindow, item: MapItem, label: number, isInteractive: boolean): string {
  const { top, bottom } = stretchOf(window, item);
  const right = window.x + BAR;
  const x = right + LEADER;
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

/** A bracket beside the part of a bar that another window shows, with that window's number. */
function drawBracket(window: PlacedWindow, part: MapRange, label: number, number: number): string {
  const { top, bottom } = stretchOf(window, part, LEAST_BRACKET);
  const right = window.x + BAR;
  const x = right + LEADER;
  const middle = (top + bottom) / 2;
  return (
    path("bracket", "M", right, top, "h5V", bottom, "h-5M", right + 5, middle, "L", x - 4, label) +
    element("text", { class: "caption", x, y: label + 4 }, `→ ${number}`)
  );
}

/** A small shape once more, above those that touch it. */
function drawAgain(window: PlacedWindow, item: MapItem): string[] {
  const isSmall = heightOf(window, item.end) - heightOf(window, item.start) < LEAST_SHAPE;
  if (!isSmall || item.kind === "hole") return [];
  return [box({ class: `above fill-${item.kind}` }, window.x, stretchOf(window, item), BAR)];
}

/**
 * The centres of labels that would like to stand at `wishes`, in ascending order: none on another, none outside of a bar that
 * has room for all. Labels move down as far as they must, then up as far as the end of the bar demands.
 */
function placeLabels({ y, height }: PlacedWindow, wishes: readonly number[]): number[] {
  const centres = [...wishes];
  let floor = y + LABEL_HEIGHT / 4;
  for (const [index, wish] of wishes.entries()) {
    centres[index] = Math.max(wish, floor);
    floor = Math.max(wish, floor) + LABEL_HEIGHT;
  }
  let ceiling = y + height - LABEL_HEIGHT / 4;
  return centres.reduceRight<number[]>((placed, centre) => {
    placed.unshift(Math.min(centre, ceiling));
    ceiling = Math.min(centre, ceiling) - LABEL_HEIGHT;
    return placed;
  }, []);
}

/** The labels of regions and of parts that other windows show, in the order of their places: no two leaders cross. */
function drawLabels(map: CheckedMap, window: PlacedWindow, windows: readonly MapWindow[]): string[] {
  const regions = window.items.map((item) => ({
    range: item,
    draw: (label: number): string => drawRegion(window, item, label, map.isInteractive),
  }));
  const parts = window.children.map((child) => ({
    range: child,
    draw: (label: number): string => drawBracket(window, child, label, windows.indexOf(child)),
  }));
  const labels = [...regions, ...parts]
    .map(({ range, draw }) => ({
      draw,
      at: (heightOf(window, range.start) + heightOf(window, range.end)) / 2,
    }))
    .sort((one, other) => one.at - other.at);
  const centres = placeLabels(
    window,
    labels.map(({ at }) => at),
  );
  return labels.map(({ at, draw }, index) => draw(centres[index] ?? at));
}

/** True if the processor starts in that range. */
function isEntered({ entry }: CheckedMap, { start, end }: MapRange): boolean {
  return entry !== undefined && entry >= start && entry < end;
}

function captionOf({ start, end }: MapWindow, number: number, { ram, isWhole }: CheckedMap): string {
  const size = formatSize(end - start);
  if (number === 0 && isWhole) {
    return totalBytes(ram) === end - start ? `All RAM: ${size}` : `All memory: ${size}`;
  }
  const text = start === 0n ? `The first ${size}` : `${size} from ${hex(start)}`;
  return number === 0 ? text : `${number} · ${text}`;
}

function drawWindow(
  map: CheckedMap,
  window: PlacedWindow,
  caption: string,
  windows: readonly MapWindow[],
): string {
  const { start, end, items, x, y, height } = window;
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
  return element("g", data, [
    element("text", { class: "caption", x, y: y - 11 }, caption),
    ...ram.map((range) => {
      const title = `RAM: ${rangeText(range)}, ${formatSize(range.end - range.start)}`;
      return box({ class: "ram fill-ram" }, x, stretchOf(window, range, 1), BAR, title);
    }),
    ...drawE820(map, window),
    ...drawAxis(window),
    ...marks.map((item) => drawShape(window, item, itemText(item))),
    ...drawLabels(map, window, windows),
    ...items.flatMap((item) => drawAgain(window, item)),
    element("rect", { class: "line frame", x, y, width: BAR, height }),
    isEntered(map, window)
      ? element("g", {}, [
          element("title", {}, `entry: ${formatAddress(entry)}`),
          triangle(x, heightOf(window, entry)),
        ])
      : "",
  ]);
}

/** The whole and the windows onto its parts from `top` on, and where they end. */
export function drawWindows(
  map: CheckedMap,
  top: number,
): { parts: string[]; right: number; bottom: number } {
  const windows = map.end > map.start ? [divideWindow(map)] : [];
  for (const { children } of windows) windows.push(...children);
  const axis = textWidth(formatAddress(map.end), TICK_SIZE, "mono") + TICK + 4;
  const x = MARGIN + axis + LANE + LANE_GAP;
  let right = MARGIN;
  let bottom = top;
  const parts = windows.map((window, number) => {
    const y = bottom + CAPTION;
    const height = Math.max((window.items.length + window.children.length + 1) * LABEL_HEIGHT, LEAST_BAR);
    const caption = captionOf(window, number, map);
    const labels = x + BAR + LEADER + Math.max(0, ...window.items.map(labelWidth));
    right = Math.max(right, labels + 8, x + textWidth(caption, NAME_SIZE, "bold") + 8);
    bottom = y + height + WINDOW_GAP;
    return drawWindow(map, { ...window, x, y, height }, caption, windows);
  });
  return { parts, right, bottom };
}

/** The legend from `y` on, in rows of `width` pixels, and its height. */
export function drawLegend(map: CheckedMap, y: number, width: number): { parts: string[]; height: number } {
  const e820 = map.e820.filter((each) => isWithin(each, map));
  const kinds = new Set([...map.items.map(({ kind }) => kind), ...e820.map(({ type }) => e820Kind(type))]);
  if (map.ram.length > 0) kinds.add("ram");
  const entries = Object.entries(KINDS)
    .filter(([kind]) => kinds.has(kind))
    .map(([kind, [name]]) => ({ name, kind }));
  if (isEntered(map, map)) entries.push({ name: "entry", kind: "entry" });
  const columns = Math.max(Math.floor((width - 2 * MARGIN) / LEGEND_COLUMN), 1);
  const parts = entries.flatMap(({ name, kind }, index) => {
    const x = MARGIN + (index % columns) * LEGEND_COLUMN;
    const top = y + Math.floor(index / columns) * LEGEND_ROW;
    const symbol =
      kind === "entry"
        ? triangle(x + 2, top + 5.5)
        : element("rect", { class: `fill-${kind}`, x, y: top, width: 11, height: 11, rx: 2 });
    return [symbol, element("text", { class: "legend", x: x + 17, y: top + 9.5 }, name)];
  });
  return { parts, height: Math.ceil(entries.length / columns) * LEGEND_ROW };
}
