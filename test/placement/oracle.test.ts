/**
 * A refusal for lack of room is true: on small layouts every placement there is is tried, page by page, by code that
 * knows nothing of how directboot places things.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError, type LinuxPlan, MemoryLayout, planLinuxSync } from "../../src/index.js";
import { makeArm64Image } from "../linux/guest-reader.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree } from "../support/device-tree-maker.js";
import { noise } from "../support/sources.js";
import { checkApart, GIB, hasRoom, MIB, PAGE, type Thing, unread } from "./support.js";

function pagesOf(layout: MemoryLayout, isReserved: (address: bigint) => boolean): bigint[] {
  const pages: bigint[] = [];
  for (const { range } of layout.ram) {
    for (let at = range.start; at < range.end; at += PAGE) if (!isReserved(at)) pages.push(at);
  }
  return pages;
}

/** Whether there was a plan; any refusal but one for lack of room fails. */
function outcome(
  plan: () => LinuxPlan,
  layout: MemoryLayout,
  reserved: readonly { start: bigint; end: bigint }[],
): boolean {
  try {
    checkApart(plan(), layout, reserved);
    return true;
  } catch (error) {
    assert.ok(error instanceof DirectBootError, String(error));
    assert.equal(error.code, "PLACEMENT_NO_ROOM", error.message);
    assert.match(error.message, /0x[0-9a-f]+ bytes.*RAM is 0x/);
    return false;
  }
}

/** Ranges of a few pages behind one another; neighbours are joined by the code under test or not, as it likes. */
function rangesFrom(
  start: bigint,
  most: number,
  pages: number,
  step: bigint,
): fc.Arbitrary<{ start: bigint; end: bigint }[]> {
  return fc
    .array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: pages })), { maxLength: most })
    .map((list) => {
      let at = start;
      return list.map(([gap, count]) => {
        const from = at + BigInt(gap) * step;
        at = from + BigInt(count) * PAGE;
        return { start: from, end: at };
      });
    });
}

const words = (length: number): string => "x".repeat(length);

describe("an x86 guest in a handful of pages", () => {
  const inputs = fc.record({
    low: rangesFrom(PAGE, 4, 8, PAGE),
    high: rangesFrom(MIB, 4, 10, PAGE),
    reservation: fc.option(
      fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 6000 }), fc.boolean()),
      { nil: undefined },
    ),
    initSize: fc.integer({ min: 1, max: 6 }),
    alignment: fc.constantFrom(1, 2, 4),
    preferred: fc.constantFrom(256, 257, 258, 260),
    initrd: fc.option(fc.integer({ min: 1, max: 40_000 }), { nil: undefined }),
    initrdMax: fc.constantFrom(0x7fff_ffff, 0x10_4fff, 0x10_8123),
    commandLine: fc.constantFrom(0, 100, 5000, 9000),
    seed: fc.constantFrom(0, 0, 100, 6000),
    entry: fc.constantFrom<"32" | "64">("32", "64"),
  });

  it("has a plan exactly if there is one", () => {
    const seen = { plans: 0, refusals: 0 };
    fc.assert(
      fc.property(inputs, (input) => {
        const {
          low,
          high,
          reservation,
          initSize,
          alignment,
          preferred,
          initrd,
          initrdMax,
          commandLine,
          seed,
          entry,
        } = input;
        fc.pre(low.length + high.length > 0);
        const layout = new MemoryLayout([...low, ...high]);
        const reserved =
          reservation === undefined
            ? []
            : [
                {
                  start: (reservation[2] ? MIB : 0n) + BigInt(reservation[0]) * PAGE + 7n,
                  end:
                    (reservation[2] ? MIB : 0n) + BigInt(reservation[0]) * PAGE + 7n + BigInt(reservation[1]),
                  type: 2,
                },
              ];
        const free = pagesOf(layout, (at) =>
          reserved.some(({ start, end }) => start < at + PAGE && at < end),
        );
        const unit = BigInt(alignment) * PAGE;
        const small = (bytes: number): Thing => ({ pages: Math.ceil(bytes / 4096), mayStart: () => true });
        const things: Thing[] = [
          // boot.rst, pref_address and kernel_alignment: it is loaded at an aligned address that is not below the first,
          // or at that address itself, from where it moves up to an aligned one.
          {
            pages: initSize,
            mayStart: (at) => at >= BigInt(preferred) * PAGE && at % unit === 0n,
          },
          small(1),
          small(1),
          ...(commandLine === 0 ? [] : [small(commandLine + 1)]),
          ...(entry === "64" ? [small(6 * 4096)] : []),
          ...(seed === 0 ? [] : [small(16 + seed)]),
          ...(initrd === undefined
            ? []
            : [
                {
                  pages: Math.ceil(initrd / 4096),
                  mayStart: (at: bigint) => at >= MIB && at + BigInt(initrd) <= BigInt(initrdMax) + 1n,
                },
              ]),
        ];
        const kernel = makeBzImage({
          code: new Uint8Array(4096),
          fields: [
            [0x258, 8, preferred * 4096],
            [0x230, 4, alignment * 4096],
            [0x234, 1, 1],
            [0x260, 4, initSize * 4096],
            [0x236, 2, 1],
            [0x22c, 4, initrdMax],
            [0x238, 4, 1_000_000],
          ],
        });
        const isPlanned = outcome(
          () =>
            planLinuxSync({
              kernel,
              entry,
              memory: layout,
              reservations: reserved,
              initrd: initrd === undefined ? undefined : unread(initrd),
              commandLine: words(commandLine),
              rngSeed: seed === 0 ? undefined : noise(seed),
            }),
          layout,
          reserved,
        );
        seen[isPlanned ? "plans" : "refusals"]++;
        assert.equal(
          isPlanned,
          hasRoom(free, things),
          JSON.stringify(input, (_, value) =>
            typeof value === "bigint" ? `0x${value.toString(16)}` : value,
          ),
        );
      }),
      { numRuns: 3000 },
    );
    assert.ok(seen.plans > 400 && seen.refusals > 400, JSON.stringify(seen));
  });
});

describe("an arm64 guest in a handful of pages", () => {
  const MIB2 = 2n * MIB;
  /** Ranges of a few pages around multiples of 2 MiB, some of them far apart. */
  const ranges = fc
    .array(
      fc.tuple(
        fc.constantFrom(0n, 1n, 2n, 3n, 512n, 15_871n, 15_872n, 16_384n, 16_385n, 17_000n),
        fc.integer({ min: -4, max: 6 }),
        fc.integer({ min: 1, max: 10 }),
      ),
      { minLength: 1, maxLength: 6 },
    )
    .map((list) => {
      const found: { start: bigint; end: bigint }[] = [];
      for (const [unit, shift, count] of list.sort((a, b) =>
        a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1,
      )) {
        const start = GIB + unit * MIB2 + BigInt(shift) * PAGE;
        const last = found.at(-1);
        if (last !== undefined && last.end > start) continue;
        found.push({ start, end: start + BigInt(count) * PAGE });
      }
      return found;
    });

  const inputs = fc.record({
    ranges,
    image: fc.integer({ min: 1, max: 6 }),
    textOffset: fc.constantFrom(0n, PAGE, 2n * PAGE),
    tree: fc.option(fc.constantFrom(8, 5000, 9000), { nil: undefined }),
    initrd: fc.option(fc.integer({ min: 1, max: 20_000 }), { nil: undefined }),
    chosen: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined, freq: 4 }),
  });

  it("has a plan exactly if there is one, for a kernel that may be anywhere", () => {
    const seen = { plans: 0, refusals: 0 };
    fc.assert(
      fc.property(inputs, ({ ranges: ram, image, textOffset, tree, initrd: length, chosen }) => {
        const layout = new MemoryLayout(ram);
        const initrd = tree === undefined ? undefined : length;
        const all = pagesOf(layout, () => false);
        const deviceTree = tree === undefined ? undefined : makeDeviceTree(tree);
        // A chosen initrd lies in RAM, or the refusal is another one.
        const count = Math.ceil((initrd ?? 0) / 4096);
        const fitting = all.filter((at, bit) => all[bit + count - 1] === at + BigInt(count - 1) * PAGE);
        const initrdAddress =
          initrd === undefined || chosen === undefined
            ? undefined
            : fitting[chosen % Math.max(1, fitting.length)];
        fc.pre(chosen === undefined || initrd === undefined || initrdAddress !== undefined);
        const isTaken = (at: bigint): boolean =>
          initrdAddress !== undefined && initrdAddress <= at && at < initrdAddress + BigInt(count) * PAGE;
        const free = all.filter((at) => !isTaken(at));
        const things: Thing[] = [
          { pages: image, mayStart: (at) => (at - textOffset) % MIB2 === 0n },
          // The tree itself, and /chosen: a page more at most, see below.
          ...(deviceTree === undefined
            ? []
            : [{ pages: treePages(deviceTree, initrd !== undefined), mayStart: () => true }]),
          ...(initrd === undefined || initrdAddress !== undefined
            ? []
            : [{ pages: count, mayStart: () => true }]),
        ];
        // booting.rst: both in one 1 GiB-aligned window of 32 GiB.
        const inReach = (starts: readonly bigint[]): boolean => {
          if (initrd === undefined) return true;
          const [kernel = 0n] = starts;
          const initrdStart = initrdAddress ?? starts[2] ?? 0n;
          const low = kernel < initrdStart ? kernel : initrdStart;
          const kernelEnd = kernel + BigInt(image) * PAGE;
          const initrdEnd = initrdStart + BigInt(initrd);
          const high = kernelEnd > initrdEnd ? kernelEnd : initrdEnd;
          return high <= (low / GIB) * GIB + 32n * GIB;
        };
        const expected = hasRoom(free, things, inReach);
        const isFar = !expected && initrdAddress !== undefined && hasRoom(free, things);
        const kernel = makeArm64Image({ imageSize: BigInt(image) * PAGE, textOffset, byteLength: 4096 });
        const plan = (): LinuxPlan => {
          const options = { kernel, memory: layout, deviceTree, addresses: { initrd: initrdAddress } };
          return planLinuxSync({ ...options, initrd: initrd === undefined ? undefined : unread(initrd) });
        };
        if (isFar) {
          assert.throws(
            plan,
            (error) => error instanceof DirectBootError && error.code === "ARM64_INITRD_OUT_OF_REACH",
          );
          return;
        }
        const isPlanned = outcome(plan, layout, []);
        seen[isPlanned ? "plans" : "refusals"]++;
        assert.equal(isPlanned, expected);
      }),
      { numRuns: 3000 },
    );
    assert.ok(seen.plans > 400 && seen.refusals > 400, JSON.stringify(seen));
  });

  /** Pages of a tree once /chosen is in it: its header says how long it was, and a plan without limits how long it is. */
  function treePages(tree: Uint8Array, hasInitrd: boolean): number {
    const plan = planLinuxSync({
      kernel: makeArm64Image(),
      memory: 64 << 20,
      deviceTree: tree,
      initrd: hasInitrd ? unread(1) : undefined,
    });
    const { dtb } = plan.info;
    return dtb === undefined ? 0 : Math.ceil(Number(dtb.end - dtb.start) / 4096);
  }
});
