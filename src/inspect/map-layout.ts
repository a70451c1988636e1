/**
 * Where the windows of a picture stand: levels beside each other, or, where the page is narrow, all windows below each
 * other. All in pixels.
 */
import { hex } from "../base/address.js";
import { type CheckedMap, totalBytes } from "./map-input.js";
import type { MapItem, MapWindow } from "./map-windows.js";
import type { MapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { textWidth } from "./svg.js";

/** Around the picture. */
export const MARGIN = 20;
/** Title and what stands below it, in one line or two. */
const HEADER = 62;
const STACKED_HEADER = 78;
export const BAR = 76;
/** Width of the e820 map beside a bar, and the gap between. */
export const LANE = 7;
export const LANE_GAP = 4;
/** Length of a tick. */
export const TICK = 5;
export const LABEL_HEIGHT = 32;
export const MOST_LABEL_WIDTH = 230;
/** Between labels, a band that opens, and the numbers of the next axis. */
export const ZOOM_GAP = 5;
/** Between the labels of a level and the axis of the next. */
export const GUTTER = 52;
/** Room that labels leave around a band to a window, and the least height of a band. */
export const BAND_MARGIN = 3;
export const LEAST_BAND = 4;
/** Height of the number in place of a band, where windows stand below each other. */
export const NUMBER_HEIGHT = 18;
export const NAME_SIZE = 12;
export const SIZE_SIZE = 11;
export const MONO_SIZE = 10.5;
export const TICK_SIZE = 10;

const CAPTION = 26;
/** Between a bar and its labels; where there are many, their lines need room to part. */
const LEADER = 22;
const LONG_LEADER = 64;
const MANY_LABELS = 14;
const WINDOW_GAP = 26;
const LEAST_BAR_HEIGHT = 130;
const LEAST_STACKED_BAR_HEIGHT = 210;
const LEAST_HEIGHT = 460;
/** Labels that a window has at most; of more regions, the smallest are marks alone. */
const MOST_LABELS = 240;

/** A window with its place in the picture. */
export interface PlacedWindow {
  readonly window: MapWindow;
  readonly children: readonly PlacedWindow[];
  /** Left edge of the bar. */
  readonly x: number;
  /** Top of the bar. */
  readonly y: number;
  readonly height: number;
  /** Between the bar and its labels. */
  readonly leader: number;
  /** What stands above the bar. */
  readonly caption: string;
  /** Where windows stand below each other: its number, which its place in its parent's bar has, too. */
  readonly number: number | undefined;
}

/** Items whose labels a window has: all, or the largest where there are too many. */
export function labelled(window: MapWindow): readonly MapItem[] {
  if (window.items.length <= MOST_LABELS) return window.items;
  const largest = [...window.items].sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1));
  const kept = new Set(largest.slice(0, MOST_LABELS));
  return window.items.filter((item) => kept.has(item));
}

function fraction(part: MapRange, whole: MapRange): number {
  return Number(part.end - part.start) / Number(whole.end - whole.start);
}

/** Height that a window's bar needs for its labels, and bands of `bandHeight` at least. */
function neededHeight(window: MapWindow, bandHeight: number): number {
  const { children } = window;
  const bands = children.length * bandHeight;
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

export function windowCaption({ start, end, depth }: MapWindow, { ram, isWhole }: CheckedMap): string {
  const size = formatSize(end - start);
  if (depth === 0 && isWhole) {
    return totalBytes(ram) === end - start ? `All RAM: ${size}` : `All memory: ${size}`;
  }
  return start === 0n ? `The first ${size}` : `${size} from ${hex(start)}`;
}

/** "0x…–0x…" */
export function rangeText({ start, end }: MapRange): string {
  return `${formatAddress(start)}–${formatAddress(end)}`;
}

/** Width of an item's label. */
export function labelWidth(item: MapItem): number {
  const size = formatSize(item.end - item.start);
  const first = textWidth(item.name, NAME_SIZE, "bold") + 8 + textWidth(size, SIZE_SIZE, "sans");
  return Math.min(Math.max(first, textWidth(rangeText(item), MONO_SIZE, "mono")), MOST_LABEL_WIDTH);
}

/** Windows in their places. */
export interface MapLayout {
  /** The whole, with its children; undefined for a map of nothing. */
  readonly whole: PlacedWindow | undefined;
  /** From the left edge of an axis' numbers to its bar. */
  readonly axisWidth: number;
  /** One past the right end of the labels. */
  readonly right: number;
  /** One past the lower end of the bars. */
  readonly bottom: number;
}

function axisWidthOf({ end, e820 }: CheckedMap): number {
  const longest = textWidth(formatAddress(end), TICK_SIZE, "mono");
  return longest + TICK + 4 + (e820.length > 0 ? LANE + LANE_GAP : 0);
}

function leaderOf(windows: readonly MapWindow[]): number {
  return windows.some((window) => labelled(window).length > MANY_LABELS) ? LONG_LEADER : LEADER;
}

type Placing = Omit<PlacedWindow, "children">;

/** The tree of windows with what was found for each. */
function placedTree(window: MapWindow, placings: ReadonlyMap<MapWindow, Placing>): PlacedWindow | undefined {
  const placing = placings.get(window);
  if (placing === undefined) return undefined;
  const children = window.children.flatMap((child) => placedTree(child, placings) ?? []);
  return { ...placing, children };
}

/** Levels beside each other, from left to right; within one, windows share what height is left. */
export function layBeside(map: CheckedMap, whole: MapWindow): MapLayout {
  const levels = map.end > map.start ? levelsOf(whole) : [];
  const bandHeight = LEAST_BAND + 2 * BAND_MARGIN;
  const axisWidth = axisWidthOf(map);
  const columnHeight = (level: readonly MapWindow[]): number =>
    level.reduce((sum, window) => sum + CAPTION + neededHeight(window, bandHeight), 0) +
    (level.length - 1) * WINDOW_GAP;
  const bodyHeight = Math.max(LEAST_HEIGHT, ...levels.map(columnHeight));
  const placings = new Map<MapWindow, Placing>();
  let right = MARGIN;
  for (const level of levels) {
    const x = right + axisWidth + (right === MARGIN ? 0 : GUTTER);
    const leader = leaderOf(level);
    const spare = bodyHeight - columnHeight(level);
    const needed = level.reduce((sum, window) => sum + neededHeight(window, bandHeight), 0);
    let y = HEADER;
    let widest = 0;
    for (const window of level) {
      const own = neededHeight(window, bandHeight);
      const height = own + (spare * own) / needed;
      const caption = windowCaption(window, map);
      placings.set(window, { window, x, y: y + CAPTION, height, leader, caption, number: undefined });
      y += CAPTION + height + WINDOW_GAP;
      const captionWidth = textWidth(caption, NAME_SIZE, "bold") - BAR - leader;
      widest = Math.max(widest, captionWidth, ...labelled(window).map(labelWidth));
    }
    right = x + BAR + leader + widest + 8;
  }
  return { whole: placedTree(whole, placings), axisWidth, right, bottom: HEADER + bodyHeight };
}

/** Windows below each other, level after level, numbered. */
export function layStacked(map: CheckedMap, whole: MapWindow): MapLayout {
  const windows = map.end > map.start ? levelsOf(whole).flat() : [];
  const axisWidth = axisWidthOf(map);
  const leader = leaderOf(windows);
  const x = MARGIN + axisWidth;
  const placings = new Map<MapWindow, Placing>();
  let y = STACKED_HEADER;
  let widest = 0;
  for (const [index, window] of windows.entries()) {
    const needed = neededHeight(window, NUMBER_HEIGHT);
    const height = Math.max(needed, LEAST_STACKED_BAR_HEIGHT);
    const number = index === 0 ? undefined : index;
    const text = windowCaption(window, map);
    const caption = number === undefined ? text : `${number} · ${text}`;
    placings.set(window, { window, x, y: y + CAPTION, height, leader, caption, number });
    y += CAPTION + height + WINDOW_GAP;
    const captionWidth = textWidth(caption, NAME_SIZE, "bold") - BAR - leader;
    widest = Math.max(widest, captionWidth, ...labelled(window).map(labelWidth));
  }
  const bottom = windows.length === 0 ? STACKED_HEADER + LEAST_BAR_HEIGHT : y - WINDOW_GAP;
  return { whole: placedTree(whole, placings), axisWidth, right: x + BAR + leader + widest + 8, bottom };
}
