/**
 * Where the windows of a picture and their labels stand, in pixels: levels beside each other, or, where the page is narrow,
 * all windows below each other.
 */
import { hex } from "../base/address.js";
import { type CheckedMap, totalBytes } from "./map-input.js";
import type { MapItem, MapWindow } from "./map-windows.js";
import type { MapRange } from "./memory-map.js";
import { formatAddress, formatSize } from "./sizes.js";
import { textWidth } from "./svg.js";

/** Around the picture. */
export const MARGIN = 20;
export const BAR = 76;
/** Width of the e820 map beside a bar, and the gap between. */
export const LANE = 7;
export const LANE_GAP = 4;
/** Length of a tick. */
export const TICK = 5;
export const LABEL_HEIGHT = 32;
export const MOST_LABEL_WIDTH = 230;
/** Between the labels of a level and the axis of the next. */
export const GUTTER = 52;
/** Room that labels leave around a band to a window, and the least height of a band. */
export const BAND_MARGIN = 3;
export const LEAST_BAND = 4;
/** Height of the number in place of a band, where windows stand below each other. */
export const NUMBER_HEIGHT = 18;
export const NAME_SIZE = 12;
export const SIZE_SIZE = 11;

const MONO_SIZE = 10.5;
const TICK_SIZE = 10;
const CAPTION = 26;
/** Between a bar and its labels; many labels need room for their lines to part. */
const LEADER = 22;
const LONG_LEADER = 64;
const MANY_LABELS = 14;
const WINDOW_GAP = 26;
/** Title and facts below it in one line or two; least height of a bar, and of all below the title. */
const BESIDE = { header: 62, leastBar: 130, leastBody: 460, band: LEAST_BAND + 2 * BAND_MARGIN };
const STACKED = { header: 78, leastBar: 210, leastBody: 130, band: NUMBER_HEIGHT };

/** A stretch from top to bottom. */
export interface Stretch {
  readonly top: number;
  readonly bottom: number;
}

/** The size of a picture: one past the right end of the labels, and the lower end of the bars. */
export interface MapSize {
  readonly right: number;
  readonly bottom: number;
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

/** Height that a bar needs for its labels, one more in each gap between bands, and the bands. */
function neededHeight({ start, end, children, items }: MapWindow, band: number): number {
  const covered = children.reduce((sum, child) => sum + Number(child.end - child.start), 0);
  const labels = (items.length + children.length + 1) * LABEL_HEIGHT;
  return (labels + children.length * band) / (1 - Math.min(covered / Number(end - start), 0.9));
}

/** The windows of each level, from the whole on. */
function levelsOf(whole: MapWindow): MapWindow[][] {
  const levels: MapWindow[][] = [];
  for (let level = [whole]; level.length > 0; level = level.flatMap(({ children }) => children)) {
    levels.push(level);
  }
  return levels;
}

function captionOf({ start, end, depth }: MapWindow, { ram, isWhole }: CheckedMap): string {
  const size = formatSize(end - start);
  if (depth === 0 && isWhole) {
    return totalBytes(ram) === end - start ? `All RAM: ${size}` : `All memory: ${size}`;
  }
  return start === 0n ? `The first ${size}` : `${size} from ${hex(start)}`;
}

/** Places levels beside each other, from left to right, or all windows in one column, numbered. */
export function layOut(map: CheckedMap, whole: MapWindow, isStacked: boolean): MapSize {
  const { header, leastBar, leastBody, band } = isStacked ? STACKED : BESIDE;
  const levels = map.end > map.start ? levelsOf(whole) : [];
  const columns = isStacked ? [levels.flat()] : levels;
  const lane = map.e820.length > 0 ? LANE + LANE_GAP : 0;
  const axisWidth = textWidth(formatAddress(map.end), TICK_SIZE, "mono") + TICK + 4 + lane;
  const wanted = (window: MapWindow): number => Math.max(neededHeight(window, band), leastBar);
  const sum = (column: readonly MapWindow[]): number =>
    column.reduce((total, window) => total + wanted(window), 0);
  const apart = (column: readonly MapWindow[]): number => column.length * (CAPTION + WINDOW_GAP) - WINDOW_GAP;
  const bodyHeight = Math.max(leastBody, ...columns.map((column) => sum(column) + apart(column)));

  let right = MARGIN;
  for (const [index, column] of columns.entries()) {
    const left = right + (index === 0 ? 0 : GUTTER);
    const x = left + axisWidth;
    const leader = column.some(({ items }) => items.length > MANY_LABELS) ? LONG_LEADER : LEADER;
    // The windows of a column share its height.
    const scale = (bodyHeight - apart(column)) / sum(column);
    let y = header + CAPTION;
    for (const [at, window] of column.entries()) {
      const number = isStacked && at > 0 ? at : undefined;
      const caption = `${number === undefined ? "" : `${number} · `}${captionOf(window, map)}`;
      const height = wanted(window) * scale;
      window.place = { left, x, y, height, leader, caption, number };
      y += height + WINDOW_GAP + CAPTION;
      const labels = x + leader + BAR + Math.max(0, ...window.items.map(labelWidth));
      right = Math.max(right, labels + 8, x + textWidth(caption, NAME_SIZE, "bold") + 8);
    }
  }
  return { right, bottom: header + bodyHeight };
}

/**
 * The centres of labels that would like to stand at `at`, in the order of their wishes: in `stretch`, none on another or on
 * an obstacle. Labels move down as far as they must, then up as far as the end of the stretch demands.
 */
export function placeLabels(
  stretch: Stretch,
  obstacles: readonly Stretch[],
  labels: readonly { readonly at: number; readonly height: number }[],
): number[] {
  const downwards = [...obstacles].sort((a, b) => a.top - b.top);
  const upwards = [...downwards].reverse();
  const isHit = (top: number, height: number, obstacle: Stretch): boolean =>
    top < obstacle.bottom && top + height > obstacle.top;
  let floor = stretch.top;
  const placed = labels.map(({ at, height }) => {
    let top = Math.max(at - height / 2, floor);
    for (const obstacle of downwards) if (isHit(top, height, obstacle)) top = obstacle.bottom;
    floor = top + height;
    return { top, height };
  });
  let ceiling = stretch.bottom;
  const centres = placed.reverse().map(({ top: wanted, height }) => {
    let top = Math.min(wanted, ceiling - height);
    for (const obstacle of upwards) if (isHit(top, height, obstacle)) top = obstacle.top - height;
    ceiling = top;
    return top + height / 2;
  });
  return centres.reverse();
}
