/**
 * Which parts of memory a picture shows how large. The whole is the first window; where regions would be hidden in it,
 * windows onto its parts stand beside it, and windows onto parts of those.
 */

/** Something that lies at addresses. */
export interface MapItem {
  readonly name: string;
  /** Decides its colour. */
  readonly kind: string;
  readonly start: bigint;
  /** One past the last byte. */
  readonly end: bigint;
  /** No region but a gap between RAM ranges: it never asks for a window. */
  readonly isHole: boolean;
}

/** A part of the address space, drawn to scale from top to bottom. */
export interface MapWindow {
  readonly start: bigint;
  readonly end: bigint;
  /** 0 for the whole. */
  readonly depth: number;
  /** The items that are named in this window: no child shows them better. */
  readonly items: readonly MapItem[];
  /** In ascending order, without overlaps. */
  readonly children: readonly MapWindow[];
}

/** Height that windows are judged by, in pixels. */
const REFERENCE_HEIGHT = 480;
/** A region that is less high is hidden. */
const VISIBLE_HEIGHT = 8;
/** Hidden regions of the whole that are nearer to each other share a window, in pixels. */
const NEAR = 24;
/** In a window, hidden regions share another one if the gap is at most so many times what they take. */
const NEAR_FACTOR = 4n;
/** A window is worth its place for so many regions… */
const LEAST_ITEMS = [2, 3, 3];
/** …or, in the whole, for one of that size. */
const LARGE_ITEM = 0x10_0000n;
const DEEPEST = 3;
/** A child shows a fourth of its parent at most. */
const LEAST_ZOOM = 4n;
const PAGE = 4096n;
/** x86: what the boot protocols place low is looked at in the first 16 MiB. */
const LOW_MEMORY_END = 0x100_0000n;

function pixels(byteLength: bigint, span: bigint): number {
  return (Number(byteLength) * REFERENCE_HEIGHT) / Number(span);
}

interface Cluster {
  readonly start: bigint;
  readonly end: bigint;
  readonly items: readonly MapItem[];
}

/** Neighbours among `hidden`, which are sorted by their starts. */
function clustersOf(hidden: readonly MapItem[], span: bigint, depth: number): Cluster[] {
  const clusters: Cluster[] = [];
  for (const item of hidden) {
    const last = clusters.at(-1);
    const gap = last === undefined ? 0n : item.start - last.end;
    const isNear =
      last !== undefined &&
      (depth === 0
        ? pixels(gap, span) < NEAR
        : gap <= NEAR_FACTOR * (last.end - last.start + (item.end - item.start)));
    if (last !== undefined && isNear) {
      const end = item.end > last.end ? item.end : last.end;
      clusters[clusters.length - 1] = { start: last.start, end, items: [...last.items, item] };
    } else {
      clusters.push({ start: item.start, end: item.end, items: [item] });
    }
  }
  return clusters;
}

/** Items that touch a cluster and are not much larger belong to it, hidden or not. */
const NEIGHBOUR_FACTOR = 8n;

function withNeighbours({ start, end, items: hidden }: Cluster, items: readonly MapItem[]): Cluster {
  const grown = { start, end };
  const most = (end - start) * NEIGHBOUR_FACTOR;
  const touching = items.filter((item) => !item.isHole && item.end - item.start <= most);
  for (const item of touching) if (item.start === grown.end) grown.end = item.end;
  for (const item of touching.reverse()) if (item.end === grown.start) grown.start = item.start;
  return { ...grown, items: hidden };
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

/** Divides a window: `items` are sorted by their starts and lie in it, at least in part. */
export function divideWindow(
  start: bigint,
  end: bigint,
  items: readonly MapItem[],
  isX86: boolean,
  depth = 0,
): MapWindow {
  const span = end - start;
  const whole: MapWindow = { start, end, depth, items, children: [] };
  if (depth === DEEPEST || span === 0n) return whole;
  const hidden = items.filter((item) => !item.isHole && pixels(item.end - item.start, span) < VISIBLE_HEIGHT);
  const children: MapWindow[] = [];
  let floor = start;
  for (const cluster of clustersOf(hidden, span, depth)) {
    const isLarge = depth === 0 && cluster.end - cluster.start >= LARGE_ITEM;
    if (cluster.items.length < (LEAST_ITEMS[depth] ?? 3) && !isLarge) continue;
    const range = roundRange(withNeighbours(cluster, items));
    const isLow = isX86 && range.start < LOW_MEMORY_END && range.end <= LOW_MEMORY_END;
    if (depth === 0 && isLow && span >= LOW_MEMORY_END * LEAST_ZOOM) {
      range.start = 0n;
      range.end = LOW_MEMORY_END;
    }
    const from = range.start > floor ? range.start : floor;
    const to = range.end < end ? range.end : end;
    if (from >= to || (to - from) * LEAST_ZOOM > span) continue;
    const inside = items.filter((item) => item.start >= from && item.end <= to);
    if (inside.length === 0) continue;
    children.push(divideWindow(from, to, inside, isX86, depth + 1));
    floor = to;
  }
  const isShownBetter = (item: MapItem): boolean =>
    children.some((child) => item.start >= child.start && item.end <= child.end);
  return { ...whole, items: items.filter((item) => !isShownBetter(item)), children };
}
