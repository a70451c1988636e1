/**
 * Several things that all want a place in what is free: a placement of all of them, if there is one.
 *
 * Take any placement of all, and put the things one by one, in the order of their addresses, each at the lowest place
 * that is left for it: none ends up higher than it was, so each still finds its place free. Hence a placement exists
 * exactly if there is an order in which lowest-first succeeds, and orders are few: a guest has seven things at most.
 */
import { HV_PAGE_SIZE } from "../base/address.js";

/** `[start, end)`. */
export interface Extent {
  readonly start: bigint;
  readonly end: bigint;
}

/** Where a thing may lie: it starts at `from` or above and ends at `below` or below. */
export interface Window {
  readonly from: bigint;
  readonly below: bigint;
}

/** A thing that wants a place: whole pages that nobody else has. */
export interface Wish {
  /** Who it is for, for messages. */
  readonly tag: string;
  readonly byteLength: bigint;
  /** A power of two; a page if it is less. */
  readonly alignment?: bigint | undefined;
  /** It starts so many bytes, whole pages, behind a multiple of `alignment`; 0 by default. */
  readonly offset?: bigint | undefined;
  readonly windows: readonly Window[];
}

/** The lowest page-aligned address from `from` on that is `offset` behind a multiple of `alignment`. */
export function alignFrom(from: bigint, alignment = HV_PAGE_SIZE, offset = 0n): bigint {
  const unit = alignment > HV_PAGE_SIZE ? alignment : HV_PAGE_SIZE;
  const behind = from > offset ? from - offset : 0n;
  return ((behind + unit - 1n) & ~(unit - 1n)) + offset;
}

/** One past the last page that `byteLength` bytes at `address` touch; of no bytes one page is kept. */
function pagesEnd(address: bigint, byteLength: bigint): bigint {
  const end = address + (byteLength === 0n ? 1n : byteLength);
  return (end + HV_PAGE_SIZE - 1n) & ~(HV_PAGE_SIZE - 1n);
}

/** The lowest place in `gap` and `window` that is apart from all of `placed`, or undefined. */
export function lowestFit(
  wish: Omit<Wish, "windows">,
  gap: Extent,
  window: Window,
  placed: readonly Extent[] = [],
): bigint | undefined {
  const { byteLength, alignment, offset } = wish;
  let at = alignFrom(gap.start > window.from ? gap.start : window.from, alignment, offset);
  for (;;) {
    const end = pagesEnd(at, byteLength);
    if (end > gap.end || at + byteLength > window.below) return undefined;
    const start = at;
    const other = placed.find((each) => each.start < end && start < each.end);
    if (other === undefined) return at;
    at = alignFrom(other.end, alignment, offset);
  }
}

/** A wish, and the places of `gaps` that have room for it alone. */
interface Candidate {
  readonly index: number;
  readonly wish: Wish;
  readonly places: readonly { readonly gap: Extent; readonly window: Window }[];
  /** How many different gaps they are in. */
  readonly gapCount: number;
  /** Equal for wishes that can change places. */
  readonly key: string;
}

/**
 * The first `most` gaps that have room for the wish. More are not needed: each of the others is in one gap only, so of
 * as many gaps as there are wishes one is left alone.
 */
function candidateOf(gaps: readonly Extent[], wish: Wish, index: number, most: number): Candidate {
  const places: { gap: Extent; window: Window }[] = [];
  let gapCount = 0;
  for (const gap of gaps) {
    if (gapCount === most) break;
    const fitting = wish.windows.filter((window) => lowestFit(wish, gap, window) !== undefined);
    if (fitting.length === 0) continue;
    gapCount++;
    places.push(...fitting.map((window) => ({ gap, window })));
  }
  const { byteLength, alignment, offset, windows } = wish;
  const limits = windows.map(({ from, below }) => `${from}-${below}`);
  return { index, wish, places, gapCount, key: [byteLength, alignment, offset, ...limits].join() };
}

/** The lowest place: of the first gap that has one; its windows may come in any order, and overlap. */
function lowestPlace({ wish, places }: Candidate, placed: readonly Extent[]): bigint | undefined {
  let lowest: bigint | undefined;
  let found: Extent | undefined;
  for (const { gap, window } of places) {
    if (found !== undefined && gap !== found) break;
    const at = lowestFit(wish, gap, window, placed);
    if (at === undefined || (lowest !== undefined && at >= lowest)) continue;
    lowest = at;
    found = gap;
  }
  return lowest;
}

/** Puts all of `left` in some order beside what is in `placed`; false, and nothing changed, if no order does. */
function packInSomeOrder(left: readonly Candidate[], placed: Extent[], found: Map<number, bigint>): boolean {
  const lowest: bigint[] = [];
  for (const candidate of left) {
    const at = lowestPlace(candidate, placed);
    // The others only take more away.
    if (at === undefined) return false;
    lowest.push(at);
  }
  if (left.length === 0) return true;
  const tried = new Set<string>();
  for (const [position, candidate] of left.entries()) {
    const at = lowest[position];
    if (at === undefined || tried.has(candidate.key)) continue;
    tried.add(candidate.key);
    placed.push({ start: at, end: pagesEnd(at, candidate.wish.byteLength) });
    found.set(candidate.index, at);
    const others = left.filter((each) => each !== candidate);
    if (packInSomeOrder(others, placed, found)) return true;
    placed.pop();
    found.delete(candidate.index);
  }
  return false;
}

/**
 * Places for all wishes, in their order, in gaps that are sorted and apart; undefined exactly if there are none.
 */
export function packTogether(gaps: readonly Extent[], wishes: readonly Wish[]): bigint[] | undefined {
  let hard = wishes.map((wish, index) => candidateOf(gaps, wish, index, wishes.length));
  // What has as many gaps to choose from as there are wishes finds one whatever the others do: it comes last.
  const easy: Candidate[] = [];
  for (;;) {
    const next = hard.find(({ gapCount }) => gapCount >= hard.length);
    if (next === undefined) break;
    easy.unshift(next);
    hard = hard.filter((each) => each !== next);
  }
  const placed: Extent[] = [];
  const found = new Map<number, bigint>();
  if (!packInSomeOrder(hard, placed, found)) return undefined;
  for (const candidate of easy) {
    const at = lowestPlace(candidate, placed);
    if (at === undefined) return undefined;
    placed.push({ start: at, end: pagesEnd(at, candidate.wish.byteLength) });
    found.set(candidate.index, at);
  }
  return wishes.flatMap((_, index) => found.get(index) ?? []);
}
