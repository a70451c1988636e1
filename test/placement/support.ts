/** Shared by the tests of placement: layouts, sources that are long but hold nothing, and pages counted one by one. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type LinuxPlan, MemoryLayout, type SyncSource } from "../../src/index.js";

export const PAGE = 4096n;
export const MIB = 1n << 20n;
export const GIB = 1n << 30n;

/** `[start, end)` */
export interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/** A source of `byteLength` bytes that a plan must not read. */
export function unread(byteLength: number): SyncSource {
  const refuse = (): never => assert.fail("a plan has read the initrd");
  return { name: "initrd", byteLength, readSync: refuse, read: async () => refuse() };
}

/** RAM ranges, as one where they touch: worked out here, not by the code under test. */
export function merged(layout: MemoryLayout): Range[] {
  const found: { start: bigint; end: bigint }[] = [];
  for (const { range } of layout.ram) {
    const last = found.at(-1);
    if (last?.end === range.start) last.end = range.end;
    else found.push({ start: range.start, end: range.end });
  }
  return found;
}

/** Asserts that the regions of a plan are apart from each other and from `others`, in RAM, and in no gap. */
export function checkApart(plan: LinuxPlan, layout: MemoryLayout, others: readonly Range[]): void {
  const ram = merged(layout);
  const gaps = [...layout.mmioGaps, ...layout.pciEcamGaps, ...layout.pciMmioGaps, ...others];
  const pages = plan.pages.map(({ range, tag }) => ({ start: range.start, end: range.end, tag }));
  pages.sort((a, b) => (a.start < b.start ? -1 : 1));
  for (const [index, { start, end, tag }] of pages.entries()) {
    const next = pages[index + 1];
    assert.ok(next === undefined || end <= next.start, `${tag} and ${next?.tag}`);
    assert.ok(
      ram.some((range) => range.start <= start && end <= range.end),
      `${tag} is not in RAM`,
    );
    assert.ok(
      gaps.every((gap) => gap.end <= start || end <= gap.start),
      `${tag} is in a gap`,
    );
  }
}

/** Where a region is; a plan has one of each tag but of the kernel's segments. */
export function regionOf(plan: LinuxPlan, tag: string): Range | undefined {
  const found = plan.pages.filter((each) => each.tag === tag).map(({ range }) => range);
  const [first] = found;
  if (first === undefined) return undefined;
  return {
    start: found.reduce((low, { start }) => (start < low ? start : low), first.start),
    end: found.reduce((high, { end }) => (end > high ? end : high), first.end),
  };
}

/** A number of bytes that is anything from one page to `most`, each size as likely as one twice as large. */
export function sizesTo(most: bigint): fc.Arbitrary<bigint> {
  const bits = most.toString(2).length;
  return fc
    .tuple(fc.integer({ min: 12, max: bits }), fc.bigInt({ min: 0n, max: most }))
    .map(([exponent, noise]) => {
      const size = (1n << BigInt(exponent - 1)) + (noise & ((1n << BigInt(exponent - 1)) - 1n));
      return (size > most ? most : size) & ~(PAGE - 1n);
    })
    .map((size) => (size < PAGE ? PAGE : size));
}

/**
 * RAM of all kinds from 1 MiB to 512 GiB: one range, around the usual gaps, or up to a dozen ranges with holes between
 * them, of any size, each a NUMA node; `start` is where the first may start at the latest.
 */
export function layouts(start: bigint): fc.Arbitrary<MemoryLayout> {
  const total = sizesTo(512n * GIB).map((size) => (size < MIB ? MIB : size));
  const pieces = fc
    .array(fc.tuple(fc.oneof(fc.constant(0n), sizesTo(2n * GIB)), sizesTo(64n * GIB)), {
      minLength: 1,
      maxLength: 12,
    })
    .map((list) => {
      let at = 0n;
      return list.map(([gap, size], index) => {
        const from = at + (index === 0 && gap > start ? start : gap);
        at = from + size;
        return { start: from, end: at, vnode: index };
      });
    });
  return fc.oneof(
    total.map((size) => new MemoryLayout([{ start, end: start + size }])),
    total.map((size) => new MemoryLayout(size, [range(3n * GIB, 4n * GIB)])),
    total.map(
      (size) =>
        new MemoryLayout(
          size,
          [range(MIB * 15n, MIB * 16n)],
          [range(3n * GIB, 3n * GIB + 256n * MIB)],
          [range(64n * GIB, 72n * GIB)],
        ),
    ),
    pieces.map((list) => new MemoryLayout(list)),
  );
}

function range(start: bigint, end: bigint): MemoryLayout["ram"][number]["range"] {
  const [only] = new MemoryLayout([{ start, end }]).ram;
  assert.ok(only !== undefined);
  return only.range;
}
