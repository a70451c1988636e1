/** Pages of RAM to a chunk of bits: 128 MiB, whose bits fill one page. */
const CHUNK_PAGES = 32768;

/** Sets the bits `[from, to)` of `words`, or clears them. */
function change(words: Uint32Array, from: number, to: number, isSet: boolean): void {
  const put = (index: number, mask: number): void => {
    const word = words[index] ?? 0;
    words[index] = isSet ? word | mask : word & ~mask;
  };
  const [first, last] = [from >>> 5, (to - 1) >>> 5];
  const [head, tail] = [-1 << (from & 31), -1 >>> (31 - ((to - 1) & 31))];
  if (first === last) {
    put(first, head & tail);
    return;
  }
  put(first, head);
  words.fill(isSet ? -1 : 0, first + 1, last);
  put(last, tail);
}

/** A set of RAM pages, by their numbers in the guest's RAM: one bit a page, 32 KiB a GiB, made when first needed. */
export class PageSet {
  #chunks: (Uint32Array | undefined)[] = [];

  #change(from: number, to: number, isSet: boolean): void {
    let page = from;
    while (page < to) {
      const index = Math.floor(page / CHUNK_PAGES);
      const base = index * CHUNK_PAGES;
      const end = Math.min(to, base + CHUNK_PAGES);
      if (isSet) this.#chunks[index] ??= new Uint32Array(CHUNK_PAGES / 32);
      const words = this.#chunks[index];
      if (words !== undefined) change(words, page - base, end - base, isSet);
      page = end;
    }
  }

  /** The first page of `[from, to)` that is in the set, or, with `isSet` false, that is not; `to` if there is none. */
  #next(from: number, to: number, isSet: boolean): number {
    let page = from;
    while (page < to) {
      const at = page % CHUNK_PAGES;
      const bit = at & 31;
      const words = this.#chunks[Math.floor(page / CHUNK_PAGES)];
      if (words === undefined) {
        if (!isSet) return page;
        page += CHUNK_PAGES - at;
        continue;
      }
      const word = words[at >>> 5] ?? 0;
      const found = (isSet ? word : ~word) & (-1 << bit);
      if (found !== 0) return Math.min(to, page - bit + 31 - Math.clz32(found & -found));
      page += 32 - bit;
    }
    return to;
  }

  /** Adds the pages `[from, to)`. */
  add(from: number, to: number): void {
    this.#change(from, to, true);
  }

  /** Removes the pages `[from, to)`. */
  delete(from: number, to: number): void {
    this.#change(from, to, false);
  }

  /** True if one of the pages `[from, to)` is in the set. */
  hasAny(from: number, to: number): boolean {
    return this.#next(from, to, true) < to;
  }

  /** Calls `use` with each run of pages in `[from, to)` that are in the set, in order. */
  each(from: number, to: number, use: (from: number, to: number) => void): void {
    let start = this.#next(from, to, true);
    while (start < to) {
      const end = this.#next(start, to, false);
      use(start, end);
      start = this.#next(end, to, true);
    }
  }

  /** Removes all pages. */
  clear(): void {
    this.#chunks = [];
  }
}
