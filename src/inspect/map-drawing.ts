/** The parts of a picture of guest memory: windows, and the legend. */
import { hex } from "../base/address.js";
import type { CheckedMap } from "./map-input.js";
import {
  BAND_MARGIN,
  BAR,
  GUTTER,
  LABEL_HEIGHT,
  LANE,
  LANE_GAP,
  LEAST_BAND,
  labelled,
  labelWidth,
  MARGIN,
  type MapLayout,
  MOST_LABEL_WIDTH,
  NAME_SIZE,
  NUMBER_HEIGHT,
  type Place,
  placeLabels,
  rangeText,
  SIZE_SIZE,
  type Stretch,
  TICK,
} from "./map-layout.js";
import { KIND_NAMES } from "./map-theme.js";
import type { MapItem, MapWindow } from "./map-windows.js";
import type { MapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { type Attributes, cutText, element, escapeXml, round, textElement, textWidth } from "./svg.js";

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

/** Classes of e820 types, with their names in the legend. */
const E820_NAMES: Readonly<Record<string, string>> = {
  ram: "usable RAM",
  reserved: "reserved",
  acpi: "ACPI",
  other: "other",
};
const E820_CLASSES: Readonly<Record<number, string>> = { 1: "ram", 2: "reserved", 3: "acpi", 4: "acpi" };

function e820Class(type: number): string {
  return E820_CLASSES[type] ?? "other";
}

/** A map and where its windows stand. */
export interface Scene {
  readonly map: CheckedMap;
  readonly layout: MapLayout;
  readonly isInteractive: boolean;
}

/** A window in its place. */
interface Placed {
  readonly window: MapWindow;
  readonly place: Place;
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
  const children = title === undefined ? [] : [textElement("title", {}, title)];
  return element("rect", { ...attributes, x, y: top, width, height: bottom - top }, children);
}

/** The sign of the entry, which points to the right. */
function triangle(x: number, y: number): string {
  return path("entry", "M", x, y - 4, "l7 4l-7 4z");
}

function isWithin(range: MapRange, { start, end }: MapRange): boolean {
  return range.start < end && range.end > start;
}

/** The height of an address in a window. */
function heightOf({ window: { start, end }, place }: Placed, address: bigint): number {
  const clipped = address < start ? start : address > end ? end : address;
  return place.y + (Number(clipped - start) * place.height) / Number(end - start);
}

/** The stretch of a range in a window, at least so high. */
function stretchOf(placed: Placed, { start, end }: MapRange, least: number): Stretch {
  const top = heightOf(placed, start);
  const bottom = heightOf(placed, end);
  if (bottom - top >= least) return { top, bottom };
  const from = Math.min(top, placed.place.y + placed.place.height - least);
  return { top: from, bottom: from + least };
}

/** Addresses on an axis: multiples of a power of two that leaves room for the numbers, and both ends. */
function tickAddresses({ window: { start, end }, place: { height } }: Placed): bigint[] {
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

function drawAxis({ map }: Scene, placed: Placed): string[] {
  const left = placed.place.x - (map.e820.length > 0 ? LANE + LANE_GAP : 0);
  return tickAddresses(placed).flatMap((address) => {
    const y = heightOf(placed, address);
    const label = { class: "tick-label muted", x: left - TICK - 3, y: y + 3.5 };
    return [path("line", "M", left - TICK, y, "H", left), textElement("text", label, formatAddress(address))];
  });
}

function drawE820({ map }: Scene, placed: Placed): string[] {
  // The small ones last: they show where they touch large ones.
  return map.e820
    .filter((entry) => isWithin(entry, placed.window))
    .sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1))
    .map((entry) =>
      box(
        { class: `e820-${e820Class(entry.type)}` },
        placed.place.x - LANE - LANE_GAP,
        stretchOf(placed, entry, LEAST_SHAPE),
        LANE,
        `e820: ${rangeText(entry)}, ${entry.typeName}`,
      ),
    );
}

/** The band from a part of a bar to the window onto it. It opens between labels and axis, and crosses neither. */
function drawBand({ layout }: Scene, { place }: Placed, child: Place, { top, bottom }: Stretch): string {
  const right = place.x + BAR;
  const edge = child.x - layout.axisWidth - ZOOM_GAP;
  const bend = edge - GUTTER + 2 * ZOOM_GAP;
  return path(
    "zoom",
    ...["M", right, top, "H", bend, "L", edge, child.y],
    ...["V", child.y + child.height, "L", bend, bottom, "H", right, "Z"],
  );
}

/** A bracket beside a bar, with the number of the window onto that part, in place of a band. */
function drawNumber({ place }: Placed, child: Place, { top, bottom }: Stretch, label: number): string {
  const right = place.x + BAR;
  const x = right + place.leader;
  return (
    path(
      "bracket",
      ...["M", right, top, "h5V", bottom, "h-5M", right + 5, (top + bottom) / 2, "L", x - 4, label],
    ) + textElement("text", { class: "caption", x, y: label + 4 }, `→ ${child.number}`)
  );
}

function drawShape(placed: Placed, item: MapItem, title?: string): string {
  const stretch = stretchOf(placed, item, LEAST_SHAPE);
  const edge = stretch.bottom - stretch.top < LEAST_EDGED ? "" : " edged";
  const attributes = {
    class: `shape fill-${item.kind}${edge}`,
    "stroke-dasharray": item.isHole ? "3 3" : undefined,
  };
  return box(attributes, placed.place.x, stretch, BAR, title);
}

function drawRegion({ isInteractive }: Scene, placed: Placed, item: MapItem, label: number): string {
  const { top, bottom } = stretchOf(placed, item, LEAST_SHAPE);
  const right = placed.place.x + BAR;
  const x = right + placed.place.leader;
  const from = Math.min(Math.max(label, top + LEAST_SHAPE / 2), bottom - LEAST_SHAPE / 2);
  const size = formatSize(item.end - item.start);
  const room = MOST_LABEL_WIDTH - 8 - textWidth(size, SIZE_SIZE, "sans");
  const hit = { top: label - LABEL_HEIGHT / 2, bottom: label + LABEL_HEIGHT / 2 };
  const attributes = {
    class: item.isHole ? "region hole" : "region",
    "data-name": item.name,
    "data-kind": item.kind,
    "data-start": hex(item.start),
    "data-end": hex(item.end),
    ...(isInteractive ? { role: "img", "aria-label": itemText(item), tabindex: "0" } : {}),
  };
  return element("g", attributes, [
    textElement("title", {}, itemText(item)),
    drawShape(placed, item),
    path("line leader", "M", right, from, "L", x - 8, label, "H", x - 4),
    box({ class: "hit" }, x - 4, hit, labelWidth(item) + 8),
    element("text", { class: "name", x, y: label - 2 }, [
      escapeXml(cutText(item.name, NAME_SIZE, "bold", room)),
      textElement("tspan", { class: "size muted", dx: 6 }, size),
    ]),
    textElement("text", { class: "mono muted", x, y: label + 11 }, rangeText(item)),
  ]);
}

/** A small shape once more, above those that touch it. */
function drawAgain(placed: Placed, item: MapItem): string[] {
  const isSmall = heightOf(placed, item.end) - heightOf(placed, item.start) < LEAST_SHAPE;
  if (!isSmall || item.isHole) return [];
  const stretch = stretchOf(placed, item, LEAST_SHAPE);
  return [box({ class: `above fill-${item.kind}` }, placed.place.x, stretch, BAR)];
}

/** Bands to the windows below, and all labels: of regions, and of windows below that have a number. */
function drawLabelled(scene: Scene, placed: Placed, own: readonly MapItem[]): string[] {
  const { y, height } = placed.place;
  const bands: string[] = [];
  const obstacles: Stretch[] = [];
  const wishes = own.map((item) => {
    const { top, bottom } = stretchOf(placed, item, LEAST_SHAPE);
    const draw = (label: number): string => drawRegion(scene, placed, item, label);
    return { at: (top + bottom) / 2, height: LABEL_HEIGHT, draw };
  });
  for (const child of placed.window.children) {
    const place = scene.layout.places.get(child);
    if (place === undefined) continue;
    const stretch = stretchOf(placed, child, LEAST_BAND);
    if (place.number === undefined) {
      bands.push(drawBand(scene, placed, place, stretch));
      obstacles.push({ top: stretch.top - BAND_MARGIN, bottom: stretch.bottom + BAND_MARGIN });
    } else {
      const draw = (label: number): string => drawNumber(placed, place, stretch, label);
      wishes.push({ at: (stretch.top + stretch.bottom) / 2, height: NUMBER_HEIGHT, draw });
    }
  }
  // In the order of the wishes, so that no two leaders cross.
  wishes.sort((one, other) => one.at - other.at);
  const room = { top: y - LABEL_HEIGHT / 4, bottom: y + height + LABEL_HEIGHT / 4 };
  const centres = placeLabels(room, obstacles, wishes);
  return [...bands, ...wishes.map(({ at, draw }, index) => draw(centres[index] ?? at))];
}

/** A window and all that it leads to. */
export function drawWindow(scene: Scene, window: MapWindow): string[] {
  const { map, layout } = scene;
  const place = layout.places.get(window);
  if (place === undefined) return [];
  const placed = { window, place };
  const { x, y, height, caption } = place;
  const own = labelled(window);
  const isOwn = new Set(own);
  const marks = map.items.filter((item) => !isOwn.has(item) && isWithin(item, window));
  const { entry } = map;
  const isEntered = entry !== undefined && entry >= window.start && entry < window.end;
  const data = {
    class: "window",
    "data-start": hex(window.start),
    "data-end": hex(window.end),
    "data-y": y,
    "data-height": height,
  };
  const drawn = element("g", data, [
    textElement("text", { class: "caption", x, y: y - 11 }, caption),
    ...map.ram
      .filter((range) => isWithin(range, window))
      .map((range) => {
        const title = `RAM: ${rangeText(range)}, ${formatSize(range.end - range.start)}`;
        return box({ class: "ram fill-ram" }, x, stretchOf(placed, range, 1), BAR, title);
      }),
    ...drawE820(scene, placed),
    ...drawAxis(scene, placed),
    ...marks.map((item) => drawShape(placed, item, itemText(item))),
    ...drawLabelled(scene, placed, own),
    ...own.flatMap((item) => drawAgain(placed, item)),
    element("rect", { class: "line frame", x, y, width: BAR, height }),
    isEntered
      ? element("g", {}, [
          textElement("title", {}, `entry: ${formatAddress(entry)}`),
          triangle(x, heightOf(placed, entry)),
        ])
      : "",
  ]);
  return [drawn, ...window.children.flatMap((child) => drawWindow(scene, child))];
}

/** The legend from `y` on, in rows of `width` pixels, and its height. */
export function drawLegend(map: CheckedMap, y: number, width: number): { parts: string[]; height: number } {
  const { items, e820, ram, entry, start, end } = map;
  const swatch = (fill: string, dashes?: string) => (x: number, top: number) =>
    element("rect", { class: fill, x, y: top, width: 11, height: 11, rx: 2, "stroke-dasharray": dashes });
  const kinds = new Set(items.map(({ kind }) => kind));
  if (ram.length > 0) kinds.add("ram");
  const entries = Object.entries(KIND_NAMES)
    .filter(([kind]) => kinds.has(kind))
    .map(([kind, name]) => ({
      name,
      symbol: kind === "hole" ? swatch("dashed fill-hole", "3 3") : swatch(`fill-${kind}`),
    }));
  const types = e820.filter((each) => isWithin(each, map)).map(({ type }) => e820Class(type));
  for (const type of new Set(types)) {
    entries.push({ name: `e820: ${E820_NAMES[type]}`, symbol: swatch(`e820-${type}`) });
  }
  if (entry !== undefined && entry >= start && entry < end) {
    entries.push({ name: "entry", symbol: (x, top) => triangle(x + 2, top + 5.5) });
  }
  const parts: string[] = [];
  let x = MARGIN;
  let top = y;
  for (const { name, symbol } of entries) {
    const entryWidth = LEGEND_SYMBOL + textWidth(name, SIZE_SIZE, "sans");
    if (x + entryWidth > width - MARGIN && x > MARGIN) {
      x = MARGIN;
      top += LEGEND_ROW;
    }
    const text = { class: "legend", x: x + LEGEND_SYMBOL, y: top + 9.5 };
    parts.push(symbol(x, top), textElement("text", text, name));
    x += entryWidth + LEGEND_GAP;
  }
  return { parts, height: top + LEGEND_ROW - y };
}
