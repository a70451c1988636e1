/** The parts of a picture of guest memory: windows, and the legend. */
import { hex } from "../base/address.js";
import type { CheckedMap } from "./map-input.js";
import { freeStretches, placeLabels, type Stretch } from "./map-labels.js";
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
  MOST_LABEL_WIDTH,
  NAME_SIZE,
  NUMBER_HEIGHT,
  type PlacedWindow,
  rangeText,
  SIZE_SIZE,
  TICK,
  ZOOM_GAP,
} from "./map-layout.js";
import { KIND_NAMES } from "./map-theme.js";
import type { MapItem, MapWindow } from "./map-windows.js";
import type { MapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { cutText, element, escapeXml, textElement, textWidth } from "./svg.js";

/** A region that is less high is drawn so high all the same. */
const LEAST_SHAPE = 2;
/** From this height on a region has an edge that parts it from its neighbour. */
const LEAST_EDGED = 5;
/** Between two numbers of an axis, and between one and the end. */
const TICK_SPACING = 44;
const TICK_CLEARANCE = 13;
const LEGEND_ROW = 20;
const LEGEND_SYMBOL = 17;
const LEGEND_GAP = 16;

/** What the colours of an e820 map stand for. */
const E820_NAMES: Readonly<Record<string, string>> = {
  ram: "usable RAM",
  reserved: "reserved",
  acpi: "ACPI",
  other: "other",
};

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

/** Words for one item, for whoever can't see it. */
export function itemText(item: MapItem): string {
  return `${item.name}: ${rangeText(item)}, ${formatSize(item.end - item.start)}`;
}

function e820Class(type: number): string {
  if (type === 1) return "ram";
  if (type === 2) return "reserved";
  return type === 3 || type === 4 ? "acpi" : "other";
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The sign of the entry, which points to the right. */
function triangle(x: number, y: number): string {
  return element("path", { class: "entry", d: `M${round(x)} ${round(y - 4)}l7 4l-7 4z` });
}

/** One picture being drawn. */
export class Drawing {
  readonly #map: CheckedMap;
  readonly #interactive: boolean;
  readonly #axisWidth: number;
  readonly #parts: string[] = [];

  constructor(map: CheckedMap, axisWidth: number, interactive: boolean) {
    this.#map = map;
    this.#axisWidth = axisWidth;
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
    const beside = placed.children.filter(({ number }) => number === undefined);
    return beside.map((child) => {
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

  /** A bracket beside a bar, with the number of the window onto that part, in place of a band. */
  #numbered(placed: PlacedWindow, child: PlacedWindow, label: number): void {
    const right = placed.x + BAR;
    const { top, bottom } = this.#stretch(placed, child.window, LEAST_BAND);
    const middle = (top + bottom) / 2;
    const textX = right + placed.leader;
    this.#parts.push(
      element("path", {
        class: "bracket",
        d: `M${round(right)} ${round(top)}h5V${round(bottom)}h-5M${round(right + 5)} ${round(middle)}L${round(textX - 4)} ${round(label)}`,
      }),
      textElement("text", { class: "caption", x: textX, y: label + 4 }, `→ ${child.number}`),
    );
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
      element("g", {}, [textElement("title", {}, `entry: ${formatAddress(entry)}`), triangle(x, y)]),
    );
  }

  /** Draws a window's items with their labels, and the numbers of windows below, in the order of their places. */
  #labelled(placed: PlacedWindow, own: readonly MapItem[], bands: readonly Stretch[]): void {
    const { y, height, children } = placed;
    const stretch = { top: y - LABEL_HEIGHT / 4, bottom: y + height + LABEL_HEIGHT / 4 };
    const free = freeStretches(stretch, bands);
    const wishes = own.map((item) => {
      const { top, bottom } = this.#stretch(placed, item, LEAST_SHAPE);
      // The middle of the largest part that no band hides.
      const [part = { top, bottom }] = free
        .map((each) => ({ top: Math.max(each.top, top), bottom: Math.min(each.bottom, bottom) }))
        .filter((each) => each.bottom > each.top)
        .sort((one, other) => other.bottom - other.top - (one.bottom - one.top));
      const draw = (label: number): void => this.#region(placed, item, label);
      return { at: (part.top + part.bottom) / 2, height: LABEL_HEIGHT, draw };
    });
    for (const child of children) {
      if (child.number === undefined) continue;
      const { top, bottom } = this.#stretch(placed, child.window, LEAST_BAND);
      const draw = (label: number): void => this.#numbered(placed, child, label);
      wishes.push({ at: (top + bottom) / 2, height: NUMBER_HEIGHT, draw });
    }
    // In the order of the wishes, so that no two leaders cross.
    wishes.sort((one, other) => one.at - other.at);
    const centres = placeLabels(stretch, bands, wishes);
    for (const [index, { at, draw }] of wishes.entries()) draw(centres[index] ?? at);
  }

  /** Draws a window and all that it leads to. */
  window(placed: PlacedWindow): void {
    const { window, x, y, height, children, caption } = placed;
    const { ram, items } = this.#map;
    this.#parts.push(
      `<g class="window" data-start="${hex(window.start)}" data-end="${hex(window.end)}" data-y="${round(y)}" data-height="${round(height)}">`,
    );
    this.#parts.push(textElement("text", { class: "caption", x, y: y - 11 }, caption));
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
    this.#labelled(placed, own, bands);
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
    let x = MARGIN;
    let row = 0;
    for (const { name, symbol } of this.#legendEntries()) {
      const entryWidth = LEGEND_SYMBOL + textWidth(name, SIZE_SIZE, "sans");
      if (x + entryWidth > width - MARGIN && x > MARGIN) {
        x = MARGIN;
        row++;
      }
      const top = y + row * LEGEND_ROW;
      this.#parts.push(
        symbol(x, top),
        textElement("text", { class: "legend", x: x + LEGEND_SYMBOL, y: top + 9.5 }, name),
      );
      x += entryWidth + LEGEND_GAP;
    }
    return (row + 1) * LEGEND_ROW;
  }

  #legendEntries(): { name: string; symbol: (x: number, top: number) => string }[] {
    const { items, e820, ram, entry, start, end } = this.#map;
    const swatch = (fill: string, isHole = false) => {
      return (x: number, y: number): string =>
        element("rect", {
          class: isHole ? `${fill} frame` : fill,
          x,
          y,
          width: 11,
          height: 11,
          rx: 2,
          "stroke-dasharray": isHole ? "3 3" : undefined,
        });
    };
    const kinds = new Set(items.map(({ kind }) => kind));
    if (ram.length > 0) kinds.add("ram");
    const entries = Object.entries(KIND_NAMES)
      .filter(([kind]) => kinds.has(kind))
      .map(([kind, name]) => ({ name, symbol: swatch(`fill-${kind}`, kind === "hole") }));
    const types = e820.filter((each) => each.start < end && each.end > start);
    for (const kind of new Set(types.map(({ type }) => e820Class(type)))) {
      entries.push({ name: `e820: ${E820_NAMES[kind] ?? kind}`, symbol: swatch(`e820-${kind}`) });
    }
    if (entry !== undefined && entry >= start && entry < end) {
      const symbol = (x: number, y: number): string => triangle(x + 2, y + 5.5);
      entries.push({ name: "entry", symbol });
    }
    return entries;
  }
}
