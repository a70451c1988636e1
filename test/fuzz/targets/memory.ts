/** Memory layouts, and the e820 map that a guest is given of one and of reservations. */
import fc from "fast-check";
import { decodeE820 } from "../../../src/inspect/index.js";
import { planLinuxSync } from "../../../src/linux/load-linux-sync.js";
import { MemoryLayout, type RamRangeInput } from "../../../src/memory/memory-layout.js";
import { MemoryRange } from "../../../src/memory/memory-range.js";
import { makeBzImage } from "../../support/bzimage-maker.js";
import { expect, type Target, target } from "../fuzzer.js";
import { observe } from "../outcome.js";

const PAGE = 4096n;
type Pair = readonly [start: bigint, end: bigint];

/** Page numbers near each other, some at the edges. */
const pageNumber = fc.oneof(
  { weight: 20, arbitrary: fc.bigInt(0n, 40n) },
  { weight: 6, arbitrary: fc.constantFrom(0xc_0000n, 0xf_ffffn, 0x10_0000n, 0x10_0001n) },
  { weight: 1, arbitrary: fc.constantFrom((1n << 52n) - 1n, 1n << 52n, -1n) },
);
/** Pairs of ascending page numbers, adjacent or apart; now and then one that is none. */
const pairs: fc.Arbitrary<Pair[]> = fc
  .tuple(
    fc.uniqueArray(pageNumber, { maxLength: 12 }),
    fc.boolean(),
    fc.constantFrom(0n, 0n, 0n, 0n, 0n, 0n, 0n, 1n),
  )
  .map(([pages, isAdjacent, skew]) => {
    const sorted = pages.sort((a, b) => (a < b ? -1 : 1)).map((page) => page * PAGE + skew);
    return sorted
      .slice(1)
      .flatMap((end, i): Pair[] => (isAdjacent || i % 2 === 0 ? [[sorted[i] ?? 0n, end]] : []));
  });
const gaps = fc.oneof(fc.constant<Pair[]>([]), fc.constant<Pair[]>([[0xc000_0000n, 1n << 32n]]), pairs);

interface LayoutInput {
  readonly ram: number | bigint | readonly Pair[];
  readonly mmio: readonly Pair[];
  readonly ecam: readonly Pair[];
  readonly probes: readonly Pair[];
}

function checkLayout(layout: MemoryLayout, { ram, probes }: LayoutInput): void {
  const gapList = [...layout.mmioGaps, ...layout.pciEcamGaps, ...layout.pciMmioGaps];
  let end = 0n;
  let size = 0n;
  for (const { range } of layout.ram) {
    expect(range.start >= end && range.start < range.end, "RAM is not in order, or empty");
    expect(!gapList.some((gap) => gap.overlaps(range)), "RAM lies in a gap");
    expect(layout.isRam(range), "RAM is no RAM");
    end = range.end;
    size += range.length;
  }
  expect(layout.endOfRam === end && layout.ramSize === size, "the size or the end is another");
  expect(typeof ram === "object" || size === BigInt(ram), "the layout has another size");
  for (const [start, end] of probes) {
    const { code, value } = observe(() => new MemoryRange(start, end));
    if (code !== "ok") continue;
    const probe = value as MemoryRange;
    let covered = 0n;
    for (const { range } of layout.ram) {
      const from = range.start > start ? range.start : start;
      const to = range.end < end ? range.end : end;
      if (from < to) covered += to - from;
    }
    const checked = observe(() => layout.checkIsRam(probe, "the probe"));
    const isRam = covered === probe.length;
    expect(layout.isRam(probe) === isRam, `isRam of ${probe} is ${!isRam}`);
    expect((checked.code === "ok") === isRam, `${covered} bytes of ${probe} are RAM: ${checked.code}`);
  }
}

function layout(): Target {
  return target<LayoutInput>({
    name: "layout",
    runs: 500,
    input: fc.record(
      {
        ram: fc.oneof(
          pairs,
          pageNumber.map((page) => page * PAGE),
          fc.constantFrom(Number.NaN, 0.5, 2 ** 53, -1),
        ),
        ...{ mmio: gaps, ecam: gaps, probes: pairs },
      },
      { noNullPrototype: true },
    ),
    run: (input) => {
      const { ram, mmio, ecam } = input;
      const made = observe(() => {
        const ranges = (list: readonly Pair[]) => list.map(([start, end]) => new MemoryRange(start, end));
        const given =
          typeof ram === "object" ? ram.map(([start, end]): RamRangeInput => ({ start, end })) : ram;
        return new MemoryLayout(given, ranges(mmio), ranges(ecam));
      });
      if (made.code === "ok") checkLayout(made.value as MemoryLayout, input);
      return made.code;
    },
  });
}

interface Reservation {
  readonly start: bigint;
  readonly end: bigint;
  readonly type: number;
}

/** Every byte has the type that the layout and the reservations give it. */
function checkMap(
  map: readonly Reservation[],
  layout: MemoryLayout,
  reservations: readonly Reservation[],
): void {
  let last: Reservation | undefined;
  for (const entry of map) {
    expect(entry.start < entry.end, "an entry is empty");
    expect(last === undefined || last.end <= entry.start, "entries overlap, or are not in order");
    last = entry;
  }
  // Between two bounds nothing changes: the first byte tells of all.
  const ram = layout.ram.map(({ range }) => range);
  for (const at of [0n, ...[...ram, ...reservations].flatMap(({ start, end }) => [start, end])]) {
    const isIn = ({ start, end }: { start: bigint; end: bigint }): boolean => start <= at && at < end;
    const type = map.find(isIn)?.type;
    // directboot's own: the pages of ACPI tables.
    if (at >= 0xe_0000n && at < 0x10_0000n) continue;
    const isRight = reservations.some(isIn)
      ? type !== undefined && type !== 1
      : type === (ram.some(isIn) ? 1 : undefined);
    expect(isRight, `${at.toString(16)} has type ${type}`);
  }
}

function e820(): Target {
  const kernel = makeBzImage({
    fields: [
      [0x258, 8, 0x10_0000n],
      [0x230, 4, 0x1000],
    ],
  });
  const reservation = fc
    .tuple(
      fc.bigInt(0n, 32n << 20n),
      fc.bigInt(0n, 40_000n),
      fc.constantFrom(2, 3, 4, 5, 7, 12, 0, 1, -1, 0.5),
    )
    .map(([start, length, type]) => ({ start, end: start + length, type }));
  return target<{ size: bigint; hole: boolean; reservations: readonly Reservation[] }>({
    name: "e820",
    runs: 300,
    input: fc.record(
      {
        size: fc.bigInt(2n, 32n).map((mib) => mib << 20n),
        hole: fc.boolean(),
        reservations: fc.array(reservation, { maxLength: 8 }),
      },
      { noNullPrototype: true },
    ),
    run: ({ size, hole, reservations }) => {
      const memory = new MemoryLayout(size, hole ? [new MemoryRange(0x18_0000n, 0x1a_0000n)] : []);
      const planned = observe(() => {
        const plan = planLinuxSync({ kernel, memory, reservations });
        const page = plan.steps.find((step) => step.kind === "pages" && step.tag === "linux-zeropage");
        expect(page?.kind === "pages" && page.data.kind === "bytes", "the plan has no zero page");
        const zeroPage = new Uint8Array(4096);
        zeroPage.set(page.data.bytes);
        return decodeE820(zeroPage);
      });
      if (planned.code === "ok") checkMap(planned.value as Reservation[], memory, reservations);
      return planned.code;
    },
  });
}

export const MEMORY = { layout, e820 };
