/** What describes memory: layouts, sets of ranges, e820 maps, MTRRs and what boot_params say of it. */
import fc from "fast-check";
import type { MemoryLayout, RamRangeInput } from "../../../src/memory/memory-layout.js";
import { MemoryRange } from "../../../src/memory/memory-range.js";
import { RangeSet, TaggedRanges } from "../../../src/memory/range-set.js";
import type { E820Entry } from "../../../src/x86/e820.js";
import { type FuzzInput, listOf, type Value } from "../input.js";
import { edge } from "../mutate.js";
import { expect, type Observed, type Outcome, observe, same } from "../outcome.js";
import type { Random } from "../random.js";
import { realHeader } from "../seed-files.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy } from "./shared.js";

const PAGE = 4096n;
const FOUR_GIB = 1n << 32n;

/** A value of an arbitrary of fast-check's, by our random numbers. */
export function generate<T>(random: Random, arbitrary: fc.Arbitrary<T>): T {
  const [value] = fc.sample(arbitrary, { numRuns: 1, seed: random.u32() | 0 });
  if (value === undefined) throw new Error("fast-check gave nothing");
  return value;
}

/** Addresses: of pages near each other for the most part, some at the edges, some that are none. */
const pageNumber = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt(0n, 40n) },
  { weight: 3, arbitrary: fc.constantFrom(0xc_0000n, 0xf_ffffn, 0x10_0000n, 0x10_0001n, 0x800_0000n) },
  { weight: 1, arbitrary: fc.constantFrom((1n << 52n) - 2n, (1n << 52n) - 1n, 1n << 52n, (1n << 51n) - 1n) },
);
const address = fc.oneof(
  { weight: 100, arbitrary: pageNumber.map((page) => page * PAGE) },
  { weight: 1, arbitrary: fc.bigInt(-1n, (1n << 64n) + 1n) },
  { weight: 1, arbitrary: pageNumber.map((page) => page * PAGE + 1n) },
  { weight: 2, arbitrary: fc.nat(40).map((page) => page * 4096) },
  { weight: 1, arbitrary: fc.constantFrom(Number.NaN, 0.5, 2 ** 53, 2 ** 60, -1) },
);
const vnode = fc.oneof(
  { weight: 50, arbitrary: fc.constant(undefined) },
  { weight: 30, arbitrary: fc.nat(3) },
  { weight: 2, arbitrary: fc.constantFrom(-1, 0.5, Number.NaN) },
);
const rangeList = fc.array(fc.tuple(address, address, vnode), { maxLength: 6 });

/** Ascending bounds, in pairs: the shape that is wanted, before something is wrong. */
const sortedList = fc
  .tuple(fc.uniqueArray(pageNumber, { minLength: 2, maxLength: 12 }), fc.boolean())
  .map(([pages, isAdjacent]) => {
    const sorted = [...pages].sort((a, b) => (a < b ? -1 : 1));
    const step = isAdjacent ? 1 : 2;
    const ranges: [bigint, bigint, number | undefined][] = [];
    for (let i = 0; i + 1 < sorted.length; i += step) {
      ranges.push([(sorted[i] ?? 0n) * PAGE, (sorted[i + 1] ?? 0n) * PAGE, i % 3 === 0 ? 1 : undefined]);
    }
    return ranges;
  });
const anyRanges = fc.oneof({ weight: 5, arbitrary: sortedList }, { weight: 1, arbitrary: rangeList });
const gaps = fc.oneof(
  { weight: 3, arbitrary: fc.constant<[bigint, bigint, undefined][]>([]) },
  { weight: 2, arbitrary: fc.constant<[bigint, bigint, undefined][]>([[0xc000_0000n, FOUR_GIB, undefined]]) },
  { weight: 2, arbitrary: anyRanges },
);
const layoutArguments = fc.record({
  ram: fc.oneof(
    { weight: 2, arbitrary: anyRanges.map((ranges): Value => ranges) },
    { weight: 3, arbitrary: address.map((size): Value => size) },
  ),
  mmio: gaps,
  ecam: fc.oneof(
    { weight: 4, arbitrary: fc.constant<[bigint, bigint, undefined][]>([]) },
    { weight: 1, arbitrary: gaps },
  ),
  pci: fc.oneof(
    { weight: 4, arbitrary: fc.constant<[bigint, bigint, undefined][]>([]) },
    { weight: 1, arbitrary: gaps },
  ),
  vtl2: fc.oneof(
    { weight: 3, arbitrary: fc.constant<[] | [bigint, bigint]>([]) },
    {
      weight: 1,
      arbitrary: fc.tuple(pageNumber, pageNumber).map(([a, b]): [bigint, bigint] => [a * PAGE, b * PAGE]),
    },
  ),
});

function toRange(value: Value): { start: bigint | number; end: bigint | number; vnode?: number } {
  if (!Array.isArray(value)) throw new TypeError("the input holds no range");
  const [start, end, node] = value;
  return { start, end, ...(node === undefined ? {} : { vnode: node }) };
}

function toMemoryRange(value: Value): MemoryRange {
  const { start, end } = toRange(value);
  return new MemoryRange(start, end);
}

/** The layout that an input describes. */
export function layoutOf(subject: Subject, input: FuzzInput): MemoryLayout {
  const { ram } = input;
  const vtl2 = listOf(input, "vtl2");
  const ranges = (name: string): MemoryRange[] => listOf(input, name).map(toMemoryRange);
  return subject.makeLayout(
    typeof ram === "number" || typeof ram === "bigint"
      ? ram
      : listOf(input, "ram").map((each): RamRangeInput => toRange(each)),
    ranges("mmio"),
    ranges("ecam"),
    ranges("pci"),
    vtl2.length === 0 ? undefined : toMemoryRange(vtl2),
  );
}

function checkLayout(layout: MemoryLayout, input: FuzzInput): void {
  const { ram } = input;
  const gapList = [...layout.mmioGaps, ...layout.pciEcamGaps, ...layout.pciMmioGaps];
  let end = 0n;
  let size = 0n;
  for (const { range } of layout.ram) {
    expect(range.start >= end && range.start < range.end, "RAM is not in order, or empty");
    expect(
      gapList.every((gap) => gap.end <= range.start || gap.start >= range.end),
      "RAM lies in a gap",
    );
    expect(layout.isRam(range), "RAM is no RAM");
    expect(
      range.end > (1n << 64n) - 2n * PAGE ||
        !layout.isRam(new MemoryRange(range.end - PAGE, range.end + PAGE)) ||
        layout.ram.some((other) => other.range.start === range.end),
      "what is behind RAM is RAM",
    );
    end = range.end;
    size += range.length;
  }
  expect(layout.endOfRam === end && layout.ramSize === size, "the size or the end is another");
  expect(typeof ram === "object" || size === BigInt(ram as number | bigint), "the layout has another size");
  const below = layout.maxRamBelow4gb;
  expect(below === undefined || below < FOUR_GIB, "maxRamBelow4gb lies above");
  const { vtl2Range } = layout;
  expect(vtl2Range === undefined || vtl2Range.start >= end, "the VTL2 range lies in RAM");
  expect(JSON.stringify(layout).startsWith("[") && `${layout}`.length < 1000, "the layout can't be told");
}

/** Ranges of one page in an order: more than fit into one block of a set, so that blocks split, and join again. */
const MANY = 1100;
function manyRanges(): readonly Value[][] {
  const one = (i: number): Value => [2 * i + 1, 1, 0];
  const numbers = Array.from({ length: MANY }, (_, i) => i);
  const ascending = numbers.map(one);
  const interleaved = [...numbers.filter((i) => i % 2 === 0), ...numbers.filter((i) => i % 2 === 1)];
  // All become one; then each of the tagged ones is met, and goes.
  const join: Value = [1, 2 * MANY, 0];
  const drop = numbers.slice(0, 600).map((i): Value => [2 * i + 1, 1, 2]);
  return [
    [...ascending, join],
    [...numbers.map((i) => one(MANY - 1 - i)), [2, 1, 0], join],
    [...interleaved.map(one), ...drop, join],
  ];
}

/** Whole pages by number and count: numbers of any kind. */
function checkPageRanges(pages: readonly Value[]): void {
  for (const each of pages) {
    if (!Array.isArray(each)) throw new TypeError("the input holds no pages");
    const [base, count] = each;
    const observed = observe(() => MemoryRange.ofPages(base, count), { typeErrors: true });
    const isRight =
      typeof base === "bigint" && typeof count === "number" && Number.isSafeInteger(count) && count >= 0;
    expect((observed.code === "ok") === isRight, `${base} and ${count} give ${observed.code}`);
    if (!isRight) continue;
    const end = (base + BigInt(count)) * PAGE;
    const range = observed.value as MemoryRange | undefined;
    const isInside = base >= 0n && end < 1n << 64n;
    expect((range !== undefined) === isInside, `${base} and ${count} are ${range}`);
    expect(range === undefined || (range.start === base * PAGE && range.end === end), "the pages are others");
  }
}

/** What a layout says of ranges that are RAM in part, or not at all. */
function checkProbes(layout: MemoryLayout, probes: readonly Value[]): void {
  for (const each of probes) {
    const range = observe(() => toMemoryRange(each), { typeErrors: true });
    if (!(range.value instanceof MemoryRange)) continue;
    const probe = range.value;
    const { code, detail } = observe(() => layout.checkIsRam(probe, "the probe"));
    expect(
      (code === "ok") === layout.isRam(probe),
      `isRam is ${layout.isRam(probe)}, checkIsRam says ${code}`,
    );
    expect(code === "ok" || /it meets \S/.test(detail), `nobody is told what is there: ${detail}`);
    const covered = layout.ram.reduce(
      (sum, { range: ram }) =>
        sum +
        BigInt(
          ram.overlaps(probe)
            ? (ram.end < probe.end ? ram.end : probe.end) -
                (ram.start > probe.start ? ram.start : probe.start)
            : 0n,
        ),
      0n,
    );
    expect((code === "ok") === (covered === probe.length), `${covered} bytes of ${probe} are RAM: ${code}`);
  }
}

/** Sets of ranges beside a plain list of pages. */
function checkSets(operations: readonly Value[]): void {
  const set = new RangeSet();
  const tagged = new TaggedRanges();
  const pages = new Set<number>();
  const owned = new Map<number, string>();
  for (const [index, operation] of operations.entries()) {
    if (!Array.isArray(operation)) throw new TypeError("the input holds no operation");
    const [start, length, kind] = operation.map(Number) as [number, number, number];
    const end = start + length;
    const range = new MemoryRange(start * 4096, end * 4096);
    if (kind === 3) {
      set.clear();
      pages.clear();
      continue;
    }
    set.add(range.start, range.end);
    for (let page = start; page < end; page++) pages.add(page);
    const inside = set.within(range.start - PAGE, range.end + PAGE);
    const count = inside.reduce((sum, part) => sum + Number((part.end - part.start) / PAGE), 0);
    let expected = 0;
    for (let page = start - 1; page <= end; page++) if (pages.has(page)) expected++;
    expect(count === expected, `${count} pages are in the set, ${expected} were added`);
    const overlap = tagged.findOverlap(range);
    const isTaken = Array.from({ length }, (_, i) => owned.has(start + i)).some(Boolean);
    expect((overlap !== undefined) === isTaken, "an overlap is not seen, or seen where there is none");
    if (overlap === undefined && length > 0) {
      tagged.add(range, `range ${index}`);
      for (let page = start; page < end; page++) owned.set(page, `range ${index}`);
    } else if (overlap !== undefined && kind === 2) {
      tagged.delete(overlap.range);
      for (const [page, tag] of owned) if (tag === overlap.tag) owned.delete(page);
    }
  }
  let last = -1n;
  for (const { start, end } of set.ranges) {
    expect(start > last && end > start, "the set is not in order");
    last = end;
  }
  expect(`${tagged}`.length < 2000, "the ranges can't be told");
}

export function layoutTarget(subject: Subject): Target {
  return {
    name: "layout",
    corpus: lazy(() => {
      const page = (...pages: readonly number[]): Value => pages.map((each) => BigInt(each) * PAGE);
      const none = { mmio: [], ecam: [], pci: [], vtl2: [], operations: [], pages: [], probes: [] };
      const everything = { ...none, ram: [page(0, 4), page(4, 6), page(20, 22)] };
      // Nine ranges apart from each other: more than are told.
      const many = Array.from({ length: 9 }, (_, i) => [2 * i + 1, 1, 0]);
      return [
        { ...none, ram: [page(1, 1)], operations: many },
        { ...none, ram: [page(5, 6), page(1, 2)] },
        { ...none, ram: [page(5, 7), page(6, 8)] },
        { ...none, ram: 8n * PAGE, mmio: [page(2, 2)] },
        { ...none, ram: 8n * PAGE, mmio: [page(5, 6), page(2, 3)] },
        { ...none, ram: [[1n, PAGE]] },
        { ...none, ram: [[PAGE, 4097n]] },
        { ...none, ram: [] },
        ...manyRanges().map((operations) => ({ ...none, ram: [page(1, 2)], operations })),
        {
          ...everything,
          mmio: [page(7, 8)],
          ecam: [page(9, 10)],
          pci: [page(11, 12)],
          vtl2: page(30, 32),
          // RAM, of two ranges; then what follows is a hole, each of the gaps, the VTL2 range, the end.
          probes: [
            page(1, 3),
            page(2, 6),
            page(5, 7),
            page(7, 8),
            page(9, 10),
            page(11, 12),
            page(30, 31),
            page(21, 23),
            page(32, 33),
            page(29, 31),
            page(3, 3),
            page(8, 8),
          ],
        },
        { ...everything, probes: [page(6, 7)] },
        { ...none, ram: [], probes: [page(0, 1)] },
        {
          ...none,
          ram: [page(1, 2)],
          pages: [
            [1, 1],
            [1n, -1],
            [1n, 0.5],
            [1n, 1n],
            [-1n, 1],
            [(1n << 52n) - 1n, 1],
            [(1n << 52n) - 2n, 1],
            [5n, 0],
          ],
        },
      ];
    }),
    executions: 500,
    make: (random) => ({
      ...generate(random, layoutArguments),
      operations: Array.from({ length: random.below(12) }, () => [
        random.below(24) + 1,
        random.below(6),
        random.below(4),
      ]),
      pages: [],
      probes: Array.from({ length: random.below(4) }, () => {
        const start = random.below(44);
        return [BigInt(start) * PAGE, BigInt(start + random.below(6)) * PAGE];
      }),
    }),
    run: (input): Outcome => {
      checkSets(listOf(input, "operations"));
      checkPageRanges(listOf(input, "pages"));
      const made = observe(() => layoutOf(subject, input), { typeErrors: true });
      if (made.code === "ok") {
        checkLayout(made.value as MemoryLayout, input);
        checkProbes(made.value as MemoryLayout, listOf(input, "probes"));
      }
      const count = made.code === "ok" ? (made.value as MemoryLayout).ram.length : 0;
      return { kind: `${made.code} ${count}`, isIdentified: made.code !== "TypeError" };
    },
  };
}

const entryType = fc.oneof(
  { weight: 40, arbitrary: fc.constantFrom<string | number>(2, 2, 3, 4, 5, 7, 12) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<string | number>(0, 1, -1, 2 ** 32, 0.5, Number.NaN, 2 ** 32 - 1, "2"),
  },
);
const unaligned = fc.oneof(
  { weight: 40, arbitrary: pageNumber.map((page) => page * PAGE) },
  {
    weight: 20,
    arbitrary: fc.tuple(pageNumber, fc.bigInt(0n, 4095n)).map(([page, offset]) => page * PAGE + offset),
  },
  { weight: 2, arbitrary: fc.bigInt(-1n, (1n << 64n) + 1n) },
);
const entries = fc.array(
  fc.tuple(unaligned, fc.oneof(fc.bigInt(0n, 20_000n), fc.bigInt(-1n, 1n << 40n)), entryType),
  { maxLength: 10 },
);

function toEntries(input: FuzzInput): E820Entry[] {
  return listOf(input, "entries").map((each) => {
    if (!Array.isArray(each)) throw new TypeError("the input holds no entry");
    const [start, length, type] = each;
    return { start, end: start + length, type };
  });
}

function checkMap(map: readonly E820Entry[], layout: MemoryLayout, reservations: readonly E820Entry[]): void {
  let last: E820Entry | undefined;
  let ram = 0n;
  for (const entry of map) {
    expect(entry.start < entry.end, "an entry is empty");
    expect(last === undefined || last.end <= entry.start, "entries overlap or are not in order");
    expect(
      last === undefined || last.end < entry.start || last.type !== entry.type,
      "neighbours of a type are two",
    );
    if (entry.type === 1) ram += entry.end - entry.start;
    last = entry;
  }
  const bounds = new Set<bigint>([0n]);
  for (const { range } of layout.ram) bounds.add(range.start).add(range.end);
  for (const { start, end } of reservations) bounds.add(start).add(end);
  // Between two bounds nothing changes: the first byte tells of all.
  let expected = 0n;
  const sorted = [...bounds].sort((a, b) => (a < b ? -1 : 1));
  for (const [index, at] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next === undefined) break;
    const isRam = layout.ram.some(({ range }) => range.start <= at && at < range.end);
    const isReserved = reservations.some(({ start, end }) => start <= at && at < end);
    if (isRam && !isReserved) expected += next - at;
    const type = map.find(({ start, end }) => start <= at && at < end)?.type;
    expect(
      isReserved ? type !== undefined && type !== 1 : type === (isRam ? 1 : undefined),
      `${at} has type ${type}`,
    );
  }
  expect(ram === expected, "the map has another size of RAM");
}

function codes(...observed: readonly Observed[]): string {
  return observed.map(({ code }) => code).join(" ");
}

/** Reservations and what the kernel is told of them: e820, setup_data, boot_params, MTRRs. */
export function e820Target(subject: Subject): Target {
  const headers = lazy(() => [realHeader("bzImageAmd64"), realHeader("bzImageI386")]);
  return {
    name: "e820",
    corpus: lazy(() => {
      const [header = new Uint8Array(0)] = headers();
      const ofVersion = (version: number): Uint8Array => {
        const bytes = Uint8Array.from(header);
        new DataView(bytes.buffer).setUint16(0x206 - 0x1f1, version, true);
        return bytes;
      };
      const plain = {
        ram: 8n << 20n,
        gap: false,
        entries: [],
        header,
        hasHeader: true,
        isEmpty: false,
        commandLine: 0x3000n,
        commandLineBytes: 10,
        initrd: 0n,
        initrdBytes: 0n,
        hasInitrd: false,
        nodes: [[1, Uint8Array.of(1)]],
        width: 36,
        high: 0n,
      };
      return [
        plain,
        // Protocols before cmdline_size, setup_data, xloadflags; with what they have no field for.
        ...[0x201, 0x205, 0x208, 0x20b].flatMap((version) => [
          { ...plain, header: ofVersion(version) },
          { ...plain, header: ofVersion(version), setupData: 0xa000n },
          { ...plain, header: ofVersion(version), rsdp: 0xe_0000n },
          { ...plain, header: ofVersion(version), hasInitrd: true, initrd: FOUR_GIB, initrdBytes: 4096n },
        ]),
        { ...plain, nodes: [["1", Uint8Array.of(1)]] },
        { ...plain, nodes: [[1, "text"]] },
        { ...plain, nodes: [[1, undefined]] },
        { ...plain, nodes: [[2 ** 32, new Uint8Array(0)]] },
        { ...plain, setupData: (1n << 64n) - 8n },
      ];
    }),
    executions: 500,
    make: (random) => {
      const header = Uint8Array.from(random.pick(headers()));
      const isMutant = random.oneIn(2);
      if (isMutant)
        header[random.pick([0x206 - 0x1f1, 0x207 - 0x1f1, 0x201 - 0x1f1, random.below(header.length)])] =
          random.u32();
      const size = random.pick([1 << 20, 8 << 20, 3 * 2 ** 30, 5 * 2 ** 30]);
      const isMany = random.oneIn(12);
      const many = Array.from({ length: 200 }, (_, i) => [BigInt(8192 * i), 4096n, 2]);
      return {
        ram: BigInt(size),
        gap: random.oneIn(2),
        entries: isMany ? many : generate(random, entries),
        header: random.oneIn(20)
          ? "header"
          : random.oneIn(3)
            ? header.slice(0, random.below(header.length + 1))
            : header,
        hasHeader: !random.oneIn(3),
        isEmpty: random.oneIn(20),
        commandLine: random.pick([0n, 0x3000n, FOUR_GIB, edge(random, 8), -1n]),
        commandLineBytes: random.pick([0, 10, 2047, 4096, -1, 1.5]),
        initrd: random.pick([0n, 0x80_0000n, FOUR_GIB, edge(random, 8)]),
        initrdBytes: random.pick([0n, 4096n, edge(random, 8)]),
        hasInitrd: random.oneIn(2),
        setupData: random.pick([undefined, 0n, 0xa000n, 0xa001n, edge(random, 8)]),
        rsdp: random.pick([undefined, 0xe_0000n, edge(random, 8)]),
        code32Start: random.pick([undefined, 0x10_0000n, FOUR_GIB]),
        nodes: Array.from({ length: random.below(4) }, () => [
          random.pick([1, 2, 9, 2 ** 32, -1, 0.5, 3]),
          random.bytes(random.below(20)),
        ]),
        width: random.pick([36, 40, 52, 0, 64, 1.5, 46]),
        high: random.pick([0n, 0x10_0000_0000n, 0x2000_0000_0000n]),
      };
    },
    run: (input): Outcome => {
      const gap = new MemoryRange(0xc000_0000n, FOUR_GIB);
      const { ram, high } = input;
      if (typeof ram !== "bigint" || typeof high !== "bigint") throw new TypeError("the input has no RAM");
      const layout = subject.makeLayout(ram, input["gap"] === true || ram > gap.start ? [gap] : []);
      const reservations = toEntries(input);
      const made = observe(() => subject.buildE820Map(layout, reservations), { typeErrors: true });
      const map = made.code === "ok" ? (made.value as E820Entry[]) : subject.buildE820Map(layout, []);
      if (made.code === "ok") checkMap(map, layout, reservations);
      const encoded = subject.encodeE820Entries(map);
      expect(encoded.byteLength === 20 * map.length, "an entry has not 20 bytes");
      same(
        observe(() => subject.encodeE820Entries(reservations), { typeErrors: true }),
        observe(() => subject.encodeE820Entries(reservations), { typeErrors: true }),
        "two runs",
      );
      const { table, extended } = subject.splitE820(map);
      expect(table.length + extended.length === map.length && table.length <= 128, "entries are lost");

      const nodes = listOf(input, "nodes").map((each) => {
        if (!Array.isArray(each)) throw new TypeError("the input holds no node");
        return { type: each[0], data: each[1] };
      });
      const setupData = input["setupData"] as bigint | undefined;
      const list = observe(() => subject.buildSetupData(setupData ?? 8n, nodes), { typeErrors: true });
      if (list.code === "ok") checkNodes(list.value as Uint8Array, setupData ?? 8n, nodes);
      const params = observe(
        () =>
          subject.buildBootParams({
            setupHeader: input["hasHeader"] === true ? (input["header"] as Uint8Array) : undefined,
            e820: input["isEmpty"] === true ? [] : map,
            commandLine: {
              address: input["commandLine"] as bigint,
              byteLength: Number(input["commandLineBytes"]),
            },
            initrd:
              input["hasInitrd"] === true
                ? { address: input["initrd"] as bigint, byteLength: input["initrdBytes"] as bigint }
                : undefined,
            setupDataAddress: setupData,
            acpiRsdpAddress: input["rsdp"] as bigint | undefined,
            code32Start: input["code32Start"] as bigint | undefined,
          }),
        { typeErrors: true },
      );
      expect(
        !(params.value instanceof Uint8Array) || params.value.byteLength === 4096,
        "boot_params are no page",
      );
      const highGap = new MemoryRange(high, high === 0n ? 0n : high + (1n << 30n));
      const mtrrs = observe(
        () => subject.computeVariableMtrrs(layout, Number(input["width"]), gap, highGap),
        { typeErrors: true },
      );
      return { kind: codes(made, list, params, mtrrs), isIdentified: made.code !== "TypeError" };
    },
  };
}

function checkNodes(
  list: Uint8Array,
  address: bigint,
  nodes: readonly { type: number; data: Uint8Array }[],
): void {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  let at = 0;
  for (const [index, { type, data }] of nodes.entries()) {
    const next = view.getBigUint64(at, true);
    expect(view.getUint32(at + 8, true) === type, "a node has another type");
    expect(view.getUint32(at + 12, true) === data.byteLength, "a node has another length");
    const isLast = index === nodes.length - 1;
    expect(isLast ? next === 0n : next > address + BigInt(at) && next % 8n === 0n, "a node points elsewhere");
    at = isLast ? at : Number(next - address);
  }
}
