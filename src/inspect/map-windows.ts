/**
 * Which parts of memory a picture shows how large. The whole is the first window; where regions would be hidden in it,
 * windows onto its parts stand below it, and windows onto parts of those.
 */
import type { MapHole, MapRange } from "./memory-map.js";

/** Something that lies at addresses. */
export interface MapItem extends MapHole {
  /** Decides its colour. A "hole", a gap between RAM ranges, never asks for a window. */
  readonly kind: string;
}

/** A part of the address space, drawn to scale from top to bottom. */
export interface MapWindow extends MapRange {
  /** The items that have their labels in this window: no child shows them better. Others are marks. */
  readonly items: readonly MapItem[];
  /** In ascending order, without overlaps. */
  readonly children: readonly MapWindow[];
}

/** Labels that a window has at most; of more regions, the smallest are marks alone. */
const MOST_LABELS = 240;

/** Height that windows are judged by, in pixels. */
const REFERENCE_HEIGHT = 480;
/** A region that is less high is hidden. */
const VISIBLE_HEIGHT = 8;
/** Hidden regions that are nearer to each other share a window, in pixels. */
const NEAR = 24;
/** A window is worth its place for so many regions; onto a part of the whole for two, or one of that size. */
const LEAST_ITEMS = 3;
const LARGE_ITEM = 0x10_0000n;
const DEEPEST = 3;
/** Items that touch a cluster belong to it, hidden or not, if they are at most so many times as large. */
const NEIGHBOUR_FACTOR = 8n;
/** A child shows a fourth of its parent at most. */
const LEAST_ZOOM = 4n;
const PAGE = 4096n;
/** x86: what the boot protocols place low is looked at in the first 16 MiB. */
const LOW_MEMORY_END = 0x100_0000n;

function pixels(byteLength: bigint, span: bigint): number {
  return (Number(byteLength) * REFERENCE_HEIGHT) / Number(span);
}

/** Addresses, and the hidden items in them. */
interface Cluster {
  start: bigint;
  end: bigint;
  count: number;
}

/** Neighbours among `hidden`, which are sorted by their starts. */
function clustersOf(hidden: readonly MapItem[], span: bigint): Cluster[] {
  const clusters: Cluster[] = [];
  for (const { start, end } of hidden) {
    const last = clusters.at(-1);
    if (last === undefined || pixels(start - last.end, span) >= NEAR) {
      clusters.push({ start, end, count: 1 });
    } else {
      last.end = end > last.end ? end : last.end;
      last.count++;
    }
  }
  return clusters;
}

/** Grows a cluster over the items that touch it and are not much larger, hidden or not. */
function takeNeighbours(cluster: Cluster, items: readonly MapItem[]): void {
  const most = (cluster.end - cluster.start) * NEIGHBOUR_FACTOR;
  const touching = items.filter((item) => item.kind !== "hole" && item.end - item.start <= most);
  for (const item of touching) if (item.start === cluster.end) cluster.end = item.end;
  for (const item of touching.reverse()) if (item.end === cluster.start) cluster.start = item.start;
}

/** The cluster with some room around it, from and to round addresses. */
function roundRange({ start, end }: Cluster): { start: bigint; end: bigint } {
  const least = (end - start) / 4n;
  let granule = PAGE;
  while (granule * 2n <= least) granule *= 2n;
  const from = (start / granule) * granule;
  const to = ((end + granule - 1n) / granule) * granule;
  return { start: from >= granule ? from - granule : 0n, end: to + granule };
}

/** All items, or the largest where there are too many to label. */
function largest(items: readonly MapItem[]): readonly MapItem[] {
  if (items.length <= MOST_LABELS) return items;
  const bySize = [...items].sort((a, b) => (a.end - a.start > b.end - b.start ? -1 : 1));
  const kept = new Set(bySize.slice(0, MOST_LABELS));
  return items.filter((item) => kept.has(item));
}

/** Divides a window; its `items` are sorted by their starts and lie in it, at least in part. */
export function divideWindow(
  {
    start,
    end,
    items,
    architecture,
  }: MapRange & { readonly items: readonly MapItem[]; readonly architecture: string },
  depth = 0,
): MapWindow {
  const span = end - start;
  const isX86 = architecture === "x86_64" || architecture === "i386";
  const hidden = items.filter(
    (item) => item.kind !== "hole" && pixels(item.end - item.start, span) < VISIBLE_HEIGHT,
  );
  const children: MapWindow[] = [];
  let floor = start;
  for (const cluster of depth === DEEPEST ? [] : clustersOf(hidden, span)) {
    const isLarge = cluster.count >= 2 || cluster.end - cluster.start >= LARGE_ITEM;
    if (cluster.count < LEAST_ITEMS && !(depth === 0 && isLarge)) continue;
    takeNeighbours(cluster, items);
    const range = roundRange(cluster);
    if (depth === 0 && isX86 && range.end <= LOW_MEMORY_END && span >= LOW_MEMORY_END * LEAST_ZOOM) {
      range.start = 0n;
      range.end = LOW_MEMORY_END;
    }
    const from = range.start > floor ? range.start : floor;
    const to = range.end < end ? range.end : end;
    if (from >= to || (to - from) * LEAST_ZOOM > span) continue;
    const inside = items.filter((item) => item.start >= from && item.end <= to);
    if (inside.length === 0) continue;
    children.push(divideWindow({ start: from, end: to, items: inside, architecture }, depth + 1));
    floor = to;
  }
  const own = items.filter(
    (item) => !children.some((child) => item.start >= child.start && item.end <= child.end),
  );
  return { start, end, items: largest(own), children };
}
