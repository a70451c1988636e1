// x86-64 page table entries; bits as in the Intel SDM, volume 3A, section 4.5, table 4-15 to 4-20.
const PRESENT: u64 = 1 << 0;
const READ_WRITE: u64 = 1 << 1;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE_PAGE: u64 = 1 << 7;
const LINK: u64 = PRESENT | READ_WRITE | ACCESSED;
const LARGE_LEAF: u64 = LINK | DIRTY | LARGE_PAGE;

const TABLE_BYTES: usize = 4096;
const ENTRIES_PER_TABLE: usize = 512;
const LARGE_PAGE_BYTES: u64 = 0x200000;

/** Two cache lines. */
const PAIR_BYTES: usize = 128;

/**
 * Writes page tables that map `va -> va + addressBias` with 2 MiB leaves, in place at `pointer`:
 *
 *     PML4 (left out when addressBias is not 0) | PDPT | one page directory a GiB
 *
 * Every entry of every table is written, so the memory need not be zero before.
 * `tableAddress` is the guest physical address of the first table; `encryption` (SEV's C-bit, or 0) is
 * or-ed into every present entry. `linkIndex` (-1: none) sets that PML4 entry to a link to `linkTarget`.
 */
export function identityMap(
  pointer: usize,
  tableAddress: f64,
  addressBias: f64,
  gibibytes: i32,
  encryption: f64,
  linkIndex: i32,
  linkTarget: f64,
): void {
  const mask = <u64>encryption;
  let table = pointer;
  let next = <u64>tableAddress + TABLE_BYTES;

  // One call for both tables: they are next to each other.
  memory.fill(table, 0, addressBias == 0 ? 2 * TABLE_BYTES : TABLE_BYTES);
  if (addressBias == 0) {
    store<u64>(table, next | LINK | mask);
    if (linkIndex >= 0) store<u64>(table + ((<usize>linkIndex) << 3), <u64>linkTarget | LINK | mask);
    table += TABLE_BYTES;
    next += TABLE_BYTES;
  }

  for (let i = 0; i < gibibytes; i++) {
    store<u64>(table + ((<usize>i) << 3), next | LINK | mask);
    next += TABLE_BYTES;
  }
  table += TABLE_BYTES;

  run(table, (<usize>gibibytes) * ENTRIES_PER_TABLE, <u64>addressBias | LARGE_LEAF | mask, LARGE_PAGE_BYTES);
}

/**
 * Writes `count` entries at `pointer`: `address | bits | encryption`, the address growing by `step`. The caller
 * sees to it that no address reaches the bits that are or-ed in.
 */
export function entries(
  pointer: usize,
  count: i32,
  address: f64,
  step: f64,
  bits: i32,
  encryption: f64,
): void {
  run(pointer, <usize>count, <u64>address | <u64>bits | <u64>encryption, <u64>step);
}

// @ts-ignore: decorator
@inline
function run(pointer: usize, count: usize, first: u64, step: u64): void {
  const end = pointer + (count << 3);
  // By length: at 4 GiB the end wraps to 0.
  const bytesInPairs = (count << 3) & ~(PAIR_BYTES - 1);
  let entry = first;
  if (bytesInPairs != 0) {
    // Four running sums, so that no store waits for the one before: a single one was 45 % slower.
    const two = i64x2.splat(2 * step);
    let a = i64x2.replace_lane(i64x2.splat(first), 1, first + step);
    let b = i64x2.add(a, two);
    let c = i64x2.add(b, two);
    let d = i64x2.add(c, two);
    const eight = i64x2.splat(8 * step);
    const stop = pointer + bytesInPairs;
    // Tested at its end: V8 moves nothing out of a loop that may be left before its body, and made `eight` anew every
    // turn. Two cache lines a turn; four take more registers than there are.
    do {
      v128.store(pointer, a);
      v128.store(pointer, b, 16);
      v128.store(pointer, c, 32);
      v128.store(pointer, d, 48);
      a = i64x2.add(a, eight);
      b = i64x2.add(b, eight);
      c = i64x2.add(c, eight);
      d = i64x2.add(d, eight);
      v128.store(pointer, a, 64);
      v128.store(pointer, b, 80);
      v128.store(pointer, c, 96);
      v128.store(pointer, d, 112);
      a = i64x2.add(a, eight);
      b = i64x2.add(b, eight);
      c = i64x2.add(c, eight);
      d = i64x2.add(d, eight);
      pointer += PAIR_BYTES;
    } while (pointer != stop);
    entry = i64x2.extract_lane(a, 0);
  }
  while (pointer != end) {
    store<u64>(pointer, entry);
    entry += step;
    pointer += 8;
  }
}
