/**
 * An independent walk of x86-64 4-level page tables, after the Intel SDM, volume 3A, section 4.5 ("4-Level Paging and
 * 5-Level Paging"), tables 4-14 to 4-20 and figure 4-8 to 4-10.
 */

/** Where a linear address leads. */
export interface Walk {
  /** The physical address. */
  readonly address: bigint;
  /** Bytes of the page: 4 KiB, 2 MiB or 1 GiB. */
  readonly pageBytes: bigint;
  /** True if every level allows writes (R/W, bit 1). */
  readonly writable: boolean;
  /** The entries on the way, PML4E first. */
  readonly entries: readonly bigint[];
}

const PRESENT = 1n;
const WRITE = 1n << 1n;
const PAGE_SIZE = 1n << 7n;
const ADDRESS_BITS = ((1n << 52n) - 1n) & ~0xfffn;

/**
 * Walks from `root`, the table at level `level` (4: PML4, 3: PDPT).
 *
 * @param entryAt reads the 8 bytes at a physical address
 * @param ignored bits of an entry that are no address (a confidential bit)
 * @returns undefined if an entry on the way is not present
 */
export function walkPages(
  entryAt: (address: bigint) => bigint,
  root: bigint,
  linear: bigint,
  { level = 4, ignored = 0n }: { level?: number; ignored?: bigint } = {},
): Walk | undefined {
  const entries: bigint[] = [];
  let table = root;
  let writable = true;
  for (let at = level; at >= 1; at--) {
    const shift = 12n + 9n * BigInt(at - 1);
    const entry = entryAt(table + ((linear >> shift) & 511n) * 8n);
    entries.push(entry);
    if ((entry & PRESENT) === 0n) return undefined;
    if ((entry & WRITE) === 0n) writable = false;
    const isLeaf = at === 1 || (at <= 3 && (entry & PAGE_SIZE) !== 0n);
    const pageBytes = 1n << shift;
    const base = entry & ADDRESS_BITS & ~ignored;
    if (isLeaf) {
      if (base % pageBytes !== 0n)
        throw new Error(`reserved bits are set in the entry 0x${entry.toString(16)}`);
      return { address: base + (linear % pageBytes), pageBytes, writable, entries };
    }
    if ((entry & PAGE_SIZE) !== 0n)
      throw new Error(`PS is set in the entry 0x${entry.toString(16)} of a PML4`);
    table = base;
  }
  return undefined;
}

/** Reads entries from `tables`, which lie at `base`. */
export function entriesOf(tables: Uint8Array, base: bigint): (address: bigint) => bigint {
  const view = new DataView(tables.buffer, tables.byteOffset, tables.byteLength);
  return (address) => view.getBigUint64(Number(address - base), true);
}
