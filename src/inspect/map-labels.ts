/** Where labels go beside a bar, so that none lies on another, in the order of what they name. All in pixels. */

/** A stretch from top to bottom. */
export interface Stretch {
  readonly top: number;
  readonly bottom: number;
}

/** A label that would like to be centred at `at`. */
export interface LabelWish {
  readonly at: number;
  readonly height: number;
}

/** What is left of a stretch between obstacles. */
export function freeStretches({ top, bottom }: Stretch, obstacles: readonly Stretch[]): Stretch[] {
  const free: Stretch[] = [];
  let from = top;
  for (const obstacle of [...obstacles].sort((a, b) => a.top - b.top)) {
    if (obstacle.top > from) free.push({ top: from, bottom: Math.min(obstacle.top, bottom) });
    from = Math.max(from, obstacle.bottom);
  }
  if (from < bottom) free.push({ top: from, bottom });
  return free;
}

function heights(labels: readonly LabelWish[]): number {
  return labels.reduce((sum, { height }) => sum + height, 0);
}

/** Places labels that fit within one stretch, each as near as can be to where it would like to be. */
function placeWithin({ top, bottom }: Stretch, labels: readonly LabelWish[]): number[] {
  // Labels that would overlap move together as one block, whose place is the mean of what they wish.
  interface Block {
    wishes: number[];
    height: number;
    count: number;
  }
  const topOf = ({ wishes, height }: Block): number => {
    const mean = wishes.reduce((sum, wish) => sum + wish, 0) / wishes.length;
    return Math.max(Math.min(mean, bottom - height), top);
  };
  const blocks: Block[] = [];
  for (const { at, height } of labels) {
    let block: Block = { wishes: [at - height / 2], height, count: 1 };
    for (let last = blocks.at(-1); last !== undefined; last = blocks.at(-1)) {
      if (topOf(last) + last.height <= topOf(block)) break;
      blocks.pop();
      const before = last.height;
      block = {
        wishes: [...last.wishes, ...block.wishes.map((wish) => wish - before)],
        height: last.height + block.height,
        count: last.count + block.count,
      };
    }
    blocks.push(block);
  }
  const centres: number[] = [];
  let index = 0;
  for (const block of blocks) {
    let at = topOf(block);
    for (let i = 0; i < block.count; i++) {
      const height = labels[index++]?.height ?? 0;
      centres.push(at + height / 2);
      at += height;
    }
  }
  return centres;
}

/**
 * The centres of labels, which are sorted by where they would like to be. None overlaps another or an obstacle, if there
 * is room: for all labels, and one more in each free stretch.
 */
export function placeLabels(
  stretch: Stretch,
  obstacles: readonly Stretch[],
  labels: readonly LabelWish[],
): number[] {
  const free = freeStretches(stretch, obstacles);
  const groups: LabelWish[][] = free.map(() => []);
  for (const label of labels) {
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const [index, { top, bottom }] of free.entries()) {
      const distance = Math.max(top - label.at, label.at - bottom, 0);
      if (distance < least) {
        least = distance;
        best = index;
      }
    }
    groups[best]?.push(label);
  }
  const room = (index: number): number => {
    const { top, bottom } = free[index] ?? { top: 0, bottom: 0 };
    return bottom - top;
  };
  // What does not fit goes on to the next stretch, and from the last one back.
  for (const [index, group] of groups.entries()) {
    const next = groups[index + 1];
    while (next !== undefined && heights(group) > room(index)) {
      const moved = group.pop();
      if (moved !== undefined) next.unshift(moved);
    }
  }
  for (let index = groups.length - 1; index > 0; index--) {
    const group = groups[index] ?? [];
    while (heights(group) > room(index)) {
      const moved = group.shift();
      if (moved !== undefined) groups[index - 1]?.push(moved);
    }
  }
  return groups.flatMap((group, index) => placeWithin(free[index] ?? stretch, group));
}
