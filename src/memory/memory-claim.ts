/**
 * Who is loading where. A load that waits gives others turns: a second load into the same bytes would mix its pages with
 * the first one's, and each would take back the other's when it fails. So a load claims the bytes that its guest's RAM lies
 * in, by their buffers, whatever objects stand for them.
 *
 * Claims are of this thread: writing to shared memory from another one is its owner's business.
 */
import { DirectBootError } from "../base/errors.js";

/** Bytes of one host buffer. */
export interface ClaimedBuffer {
  /** Objects that stand for the buffer: what has one of them in common is the same buffer. */
  readonly ids: readonly object[];
  /** Offsets in the buffer `[start, end)`, apart from each other. */
  readonly ranges: readonly { readonly start: number; readonly end: number }[];
}

/** Gives the bytes as they are at that moment: buffers may be made, or grow. */
type Buffers = () => readonly ClaimedBuffer[];

const held = /* @__PURE__ */ new Set<MemoryClaim>();

/** A load's claim on the bytes of a guest memory, until it is released. */
export class MemoryClaim {
  readonly #buffers: Buffers;
  /** Of a memory that the claim is on. */
  #known: Buffers;

  constructor(buffers: Buffers) {
    this.#buffers = buffers;
    this.#known = buffers;
  }

  /**
   * True if the claim is on all of the bytes that `buffers` gives.
   *
   * @param buffers always the same function for the same memory: it is called for the first answer only
   * @internal
   */
  isOn(buffers: Buffers): boolean {
    if (buffers === this.#known) return true;
    const claimed = this.buffers;
    const isAll = buffers().every(({ ids, ranges }) =>
      claimed.some(
        (mine) =>
          mine.ids.some((id) => ids.includes(id)) &&
          ranges.every(({ start, end }) => mine.ranges.some((own) => own.start <= start && end <= own.end)),
      ),
    );
    if (isAll) this.#known = buffers;
    return isAll;
  }

  /** The bytes, as they are now. */
  get buffers(): readonly ClaimedBuffer[] {
    return this.#buffers();
  }

  /** True until {@link release}. */
  get isHeld(): boolean {
    return held.has(this);
  }

  /** Says that the load is over, whatever became of it. Further calls do nothing. */
  release(): void {
    held.delete(this);
  }
}

/** True if two lists of ranges share a byte. */
function overlap(a: ClaimedBuffer["ranges"], b: ClaimedBuffer["ranges"]): boolean {
  // Within each list nothing overlaps: two that do are neighbours in the order of their starts.
  const sorted = [...a, ...b].sort((x, y) => x.start - y.start);
  return sorted.some(({ start }, index) => start < (sorted[index - 1]?.end ?? 0));
}

/**
 * Throws GUEST_MEMORY_BUSY if a load has claimed one of the bytes. The holder of a claim on them, `own`, is not asked again.
 * Without any load under way it takes no time.
 */
export function checkUnclaimed(buffers: Buffers, own?: MemoryClaim): void {
  if (held.size === 0 || (own?.isHeld === true && own.isOn(buffers))) return;
  const known = new Map<object, ClaimedBuffer>();
  for (const buffer of buffers()) for (const id of buffer.ids) known.set(id, buffer);
  for (const claim of held) {
    for (const { ids, ranges } of claim.buffers) {
      for (const id of ids) {
        const mine = known.get(id);
        if (mine === undefined || !overlap(mine.ranges, ranges)) continue;
        throw new DirectBootError("GUEST_MEMORY_BUSY", "another load into this memory is under way");
      }
    }
  }
}

/** Claims bytes. Throws GUEST_MEMORY_BUSY if a load has claimed one of them. */
export function claimBytes(buffers: Buffers): MemoryClaim {
  checkUnclaimed(buffers);
  const claim = new MemoryClaim(buffers);
  held.add(claim);
  return claim;
}
