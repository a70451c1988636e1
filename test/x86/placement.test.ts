/** Placing x86 guests: the laws that every plan keeps, over layouts of all sizes, and what a refusal means. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  DirectBootError,
  type E820Entry,
  type LinuxPlan,
  type LoadLinuxSyncOptions,
  type MemoryLayout,
  planLinuxSync,
} from "../../src/index.js";
import { pvhNote } from "../linux/guest-reader.js";
import {
  checkApart,
  GIB,
  layouts,
  MIB,
  merged,
  PAGE,
  type Range,
  regionOf,
  sizesTo,
  unread,
} from "../placement/support.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { noise } from "../support/sources.js";

const FOUR_GIB = 4n * GIB;

const alignUp = (value: bigint, unit: bigint): bigint => ((value + unit - 1n) / unit) * unit;

/** A kernel, and what its own format says of where it may be. */
interface Kernel {
  readonly bytes: () => Uint8Array;
  readonly entry: LoadLinuxSyncOptions["entry"];
  /** The range that it uses if it is loaded at `load`. */
  readonly uses: (load: bigint) => Range[];
  readonly alignment: bigint;
  readonly lowest: bigint;
  /** One past where all that it uses must end. */
  readonly limit: bigint;
  /** One past the last byte that an initrd may have. */
  readonly initrdLimit: bigint;
  readonly canMove: boolean;
  /** Where it wants to be; if it can move, it never runs below. */
  readonly preferred: bigint;
  readonly longest: number;
}

const bzImages: fc.Arbitrary<Kernel> = fc
  .record({
    code: fc.integer({ min: 1, max: 40_000 }).map((length) => Math.ceil(length / 16) * 16),
    initSize: fc.oneof(fc.constant(0n), sizesTo(512n * MIB)),
    alignment: fc.integer({ min: 10, max: 28 }).map((exponent) => 1n << BigInt(exponent)),
    preferred: fc.oneof(
      fc.constantFrom(0n, MIB, 16n * MIB),
      fc.bigInt({ min: 256n, max: 0xf_0000n }).map((page) => page * PAGE),
    ),
    relocatable: fc.boolean(),
    flags: fc.constantFrom(0, 1, 2, 3),
    initrdMax: fc.oneof(
      fc.constantFrom(0x7fff_ffffn, 0x37ff_ffffn, 0xffff_ffffn),
      fc.bigInt({ min: 0n, max: 0xffff_ffffn }),
    ),
    cmdlineSize: fc.constantFrom(255, 2047, 1_000_000),
    as32: fc.boolean(),
  })
  .map(({ code, initSize, alignment, preferred, relocatable, flags, initrdMax, cmdlineSize, as32 }) => {
    const is64 = (flags & 1) !== 0 && !as32;
    const isHigh = is64 && (flags & 2) !== 0;
    const wants = preferred === 0n ? MIB : preferred;
    const used = initSize > BigInt(code) ? initSize : BigInt(code);
    const unit = alignment > PAGE ? alignment : PAGE;
    return {
      bytes: () =>
        makeBzImage({
          code: new Uint8Array(code),
          fields: [
            [0x258, 8, preferred],
            [0x230, 4, alignment],
            [0x234, 1, relocatable ? 1 : 0],
            [0x260, 4, initSize],
            [0x236, 2, flags],
            [0x22c, 4, initrdMax],
            [0x238, 4, cmdlineSize],
          ],
        }),
      entry: is64 ? "64" : "32",
      uses: (load) => {
        const aligned = alignUp(load, unit);
        const runs = relocatable ? (aligned > preferred ? aligned : preferred) : wants;
        return [
          { start: load, end: load + BigInt(code) },
          { start: runs, end: runs + used },
        ];
      },
      alignment: PAGE,
      lowest: MIB,
      limit: isHigh ? 1n << 64n : FOUR_GIB,
      initrdLimit: isHigh ? 1n << 64n : initrdMax + 1n,
      canMove: relocatable,
      preferred: wants,
      longest: cmdlineSize,
    };
  });

const elfs: fc.Arbitrary<Kernel> = fc
  .record({
    start: fc.bigInt({ min: MIB, max: 64n * MIB }),
    memory: sizesTo(256n * MIB),
    odd: fc.bigInt({ min: 0n, max: 5000n }),
    kind: fc.constantFrom("64", "32", "pvh64", "pvh32"),
  })
  .map(({ start, memory, odd, kind }) => {
    const fill = new Uint8Array(400);
    fill.set(pvhNote(Number(start)), 300);
    const shape = {
      entry: start,
      segments: [
        { paddr: start, offset: 320n, filesz: 64n, memsz: memory + odd + 64n },
        { type: 4, offset: 300n, filesz: 20n, align: 4n },
      ],
      fill,
      byteLength: 400,
    };
    const is64 = kind.endsWith("64");
    const isPvh = kind.startsWith("pvh");
    return {
      bytes: () => (is64 ? makeElf(shape) : makeElf32(shape)),
      entry: isPvh ? "pvh" : is64 ? "64" : "32",
      uses: () => [{ start, end: start + memory + odd + 64n }],
      alignment: 1n,
      lowest: MIB,
      limit: FOUR_GIB,
      initrdLimit: !is64 ? 0x3800_0000n : isPvh ? FOUR_GIB : 1n << 64n,
      canMove: false,
      preferred: start,
      longest: 2047,
    };
  });

const reservationLists = fc.array(
  fc
    .tuple(
      fc.oneof(sizesTo(16n * GIB), fc.bigInt({ min: 0n, max: 64n * MIB })),
      sizesTo(16n * MIB),
      fc.bigInt({ min: 0n, max: 4095n }),
    )
    .map(([at, length, odd]): E820Entry => ({ start: at + odd, end: at + odd + length, type: 2 })),
  { maxLength: 5 },
);

const wishes = fc.record({
  layout: layouts(0n),
  kernel: fc.oneof({ weight: 3, arbitrary: bzImages }, { weight: 2, arbitrary: elfs }),
  reservations: fc.oneof(fc.constant<E820Entry[]>([]), reservationLists),
  initrd: fc.option(sizesTo(128n * GIB), { nil: undefined }),
  commandLine: fc.oneof(
    fc.constantFrom(0, 1, 255),
    fc.integer({ min: 0, max: 2047 }),
    fc.constantFrom(4095, 4096, 300_000),
  ),
  tree: fc.option(fc.integer({ min: 8, max: 1_000_000 }), { nil: undefined, freq: 3 }),
  seed: fc.option(fc.integer({ min: 1, max: 9000 }), { nil: undefined, freq: 3 }),
});

/** The free parts of RAM, by subtraction. */
function freeParts(layout: MemoryLayout, taken: readonly Range[]): Range[] {
  let parts = merged(layout);
  for (const { start, end } of taken) {
    const [from, to] = [(start / PAGE) * PAGE, alignUp(end, PAGE)];
    parts = parts.flatMap((part) =>
      to <= part.start || part.end <= from
        ? [part]
        : [
            { start: part.start, end: from },
            { start: to, end: part.end },
          ].filter((each) => each.start < each.end),
    );
  }
  return parts;
}

const LOWS = [
  "default-gdt",
  "linux-gdt32",
  "linux-zeropage",
  "linux-start-info",
  "linux-commandline",
  "linux-pagetables",
  "linux-setup-data",
];

/** Every plan keeps its regions apart and in RAM, each where its protocol wants it. */
function checkPlan(
  plan: LinuxPlan,
  {
    layout,
    kernel,
    reservations,
    initrd,
  }: { layout: MemoryLayout; kernel: Kernel; reservations: E820Entry[]; initrd: bigint | undefined },
): void {
  checkApart(plan, layout, reservations);
  const { info } = plan;
  const others = plan.pages.filter(({ tag }) => tag !== "linux-kernel").map(({ range }) => range);
  const ram = merged(layout);
  for (const { start, end } of kernel.uses(info.kernel.gpa)) {
    assert.ok(
      others.every((range) => range.end <= start || end <= range.start),
      "in the kernel's memory",
    );
    assert.ok(reservations.every((range) => range.end <= start || end <= range.start));
    assert.ok(ram.some((range) => range.start <= start && end <= range.end));
    assert.ok(start >= kernel.lowest && end <= kernel.limit);
  }
  assert.equal(info.kernel.gpa % kernel.alignment, 0n);
  for (const tag of LOWS) {
    const region = regionOf(plan, tag);
    if (region === undefined) continue;
    assert.ok(region.start >= PAGE && region.end <= (kernel.entry === "pvh" ? GIB : FOUR_GIB), tag);
    assert.ok(region.end <= 0xa_0000n || region.start >= MIB, tag);
  }
  if (initrd !== undefined) {
    assert.ok(info.initrd !== undefined);
    assert.equal(info.initrd.size, initrd);
    assert.equal(info.initrd.gpa % PAGE, 0n);
    assert.ok(info.initrd.gpa >= MIB && info.initrd.gpa + initrd <= kernel.initrdLimit);
  }
  // 4 GiB, or all up to the kernel's end, mapped by 2 MiB pages: a page for each GiB and each 512 GiB.
  const tables = regionOf(plan, "linux-pagetables");
  assert.equal(tables !== undefined, kernel.entry === "64");
  if (tables !== undefined) {
    const end = kernel
      .uses(info.kernel.gpa)
      .reduce((most, each) => (each.end > most ? each.end : most), FOUR_GIB);
    const gibibytes = alignUp(end, GIB) / GIB;
    assert.equal(tables.end - tables.start, (1n + alignUp(gibibytes, 512n) / 512n + gibibytes) * PAGE);
  }
}

describe("any x86 guest in any RAM", () => {
  it("has a plan whose regions are apart, in RAM, and where the protocol wants them, or is refused for what is true", () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(wishes, ({ layout, kernel, reservations, initrd, commandLine, tree, seed }) => {
        const isPvh = kernel.entry === "pvh";
        const length = Math.min(commandLine, kernel.longest);
        let plan: LinuxPlan | undefined;
        try {
          plan = planLinuxSync({
            kernel: kernel.bytes(),
            entry: kernel.entry,
            memory: layout,
            reservations,
            initrd: initrd === undefined ? undefined : unread(Number(initrd)),
            commandLine: "x".repeat(length),
            deviceTree: tree === undefined || isPvh ? undefined : makeDeviceTree(tree),
            rngSeed: seed === undefined || isPvh ? undefined : noise(seed),
          });
        } catch (error) {
          assert.ok(error instanceof DirectBootError, String(error));
          outcomes.set(error.code, (outcomes.get(error.code) ?? 0) + 1);
          const taken = [...reservations];
          const [load] = kernel.canMove ? [] : [kernel.uses(0n)[1]?.start ?? kernel.uses(0n)[0]?.start ?? 0n];
          switch (error.code) {
            case "IMPORT_OVERLAP": {
              // Only what has one place can collide, and then it does.
              assert.match(
                error.message,
                /at 0x[0-9a-f]+-0x[0-9a-f]+ overlaps .* at 0x[0-9a-f]+-0x[0-9a-f]+/,
              );
              assert.ok(load !== undefined);
              const used = kernel
                .uses(load)
                .map(({ start, end }) => ({ start: (start / PAGE) * PAGE, end: alignUp(end, PAGE) }));
              assert.ok(
                used.some((a) =>
                  taken.some((b) => (b.start / PAGE) * PAGE < a.end && a.start < alignUp(b.end, PAGE)),
                ),
              );
              break;
            }
            case "GUEST_MEMORY_NOT_RAM": {
              assert.match(
                error.message,
                /at 0x[0-9a-f]+-0x[0-9a-f]+ does not lie in RAM .* it meets .*0x[0-9a-f]+-0x[0-9a-f]+/,
              );
              assert.ok(load !== undefined);
              const ram = merged(layout);
              assert.ok(
                kernel
                  .uses(load)
                  .some(
                    ({ start, end }) =>
                      !ram.some((range) => range.start <= start && alignUp(end, PAGE) <= range.end),
                  ),
              );
              break;
            }
            case "PLACEMENT_NO_ROOM": {
              assert.match(error.message, /0x[0-9a-f]+ bytes.*; RAM is 0x[0-9a-f]+-0x[0-9a-f]+/);
              // Where one free range below all limits has room for everything, nothing may be refused.
              const limit = [kernel.limit, kernel.initrdLimit, GIB].reduce((low, each) =>
                each < low ? each : low,
              );
              const lows =
                20n * PAGE +
                alignUp(BigInt(length + 1), PAGE) +
                alignUp(BigInt((tree ?? 0) + 1_000 + (seed ?? 0)), PAGE) +
                BigInt(layout.ram.length + 20) * PAGE;
              const uses = kernel.uses(load ?? 0n);
              const all =
                uses.reduce((sum, { start, end }) => sum + end - start, 0n) +
                256n * MIB +
                lows +
                alignUp(initrd ?? 0n, PAGE);
              const free = freeParts(layout, [...taken, ...(load === undefined ? [] : kernel.uses(load))]);
              const lowest = load === undefined ? (kernel.uses(0n)[1]?.start ?? MIB) : MIB;
              assert.ok(
                !free.some(({ start, end }) => {
                  const from = start > lowest ? start : lowest;
                  return (end < limit ? end : limit) - from >= all;
                }),
                `there is room: ${error.message}`,
              );
              break;
            }
            case "BZIMAGE_BAD_LOAD_ADDRESS":
              assert.ok(kernel.uses(kernel.preferred).some(({ end }) => end > kernel.limit));
              break;
            default:
              // Not for want of room: maps with more entries than PVH takes, kernels that lack a field, and the like.
              assert.match(error.code, /^(PVH_BAD_MEMORY_MAP|X86_ENTRY_NOT_MAPPED|BOOT_PARAMS_|BZIMAGE_)/);
          }
          return;
        }
        outcomes.set("a plan", (outcomes.get("a plan") ?? 0) + 1);
        checkPlan(plan, { layout, kernel, reservations, initrd });
      }),
      { numRuns: 4000 },
    );
    for (const outcome of ["a plan", "IMPORT_OVERLAP", "GUEST_MEMORY_NOT_RAM", "PLACEMENT_NO_ROOM"]) {
      assert.ok((outcomes.get(outcome) ?? 0) >= 50, `${outcome}: ${JSON.stringify([...outcomes])}`);
    }
  });
});
