/** The figures that PERFORMANCE.md promises, each with what is aimed at and what may not be missed. */
import type { Row } from "./harness.js";
import { MIB } from "./image.js";
import { MEMORY_COPY, STORES } from "./suites/page-table.js";

/** One promise. */
export interface Gate {
  readonly suite: string;
  readonly what: string;
  /** Row of PERFORMANCE.md that it is from. */
  readonly source: string;
  readonly sense: "at least" | "at most";
  readonly target: number;
  readonly gate: number;
  readonly unit: "×" | "ms" | "MiB";
  readonly notJudged?: NotJudged;
  /** The figure, or undefined if it was not measured. */
  readonly measure: (rows: readonly Row[]) => number | undefined;
}

/**
 * Says why this machine can't be judged by a gate, or undefined if it can. Some gates hold a peer's hardware against
 * ours: they were set on one processor (Zen 4), and mean nothing on another.
 */
export type NotJudged = (machine: Machine, rows: readonly Row[]) => string | undefined;

/** Properties of the machine that gates depend on. */
export interface Machine {
  /** The processor's name, as `os.cpus()` has it. */
  readonly processor: string;
}

/** A gate and what was measured. */
export interface Verdict {
  readonly gate: Gate;
  readonly measured: number | undefined;
  /** Why the gate is not judged on this machine, if so. */
  readonly excuse: string | undefined;
}

function rowOf(rows: readonly Row[], name: string, size: string): Row | undefined {
  return rows.find((row) => row.name === name && row.size === size);
}

/** How many times as fast as the peer. */
function speed(name: string, size: string, peer: string): Gate["measure"] {
  return (rows) => rowOf(rows, name, size)?.ratioTo[peer];
}

/** How many times the peer's time. */
function cost(name: string, size: string, peer: string): Gate["measure"] {
  const ratio = speed(name, size, peer);
  return (rows) => {
    const faster = ratio(rows);
    return faster === undefined ? undefined : 1 / faster;
  };
}

function atLeast(
  suite: string,
  source: string,
  target: number,
  gate: number,
  [name, size, peer]: readonly [string, string, string],
): Gate {
  const what = `${name} vs ${peer}, ${size}`;
  const measure = speed(name, size, peer);
  return { suite, what, source, sense: "at least", target, gate, unit: "×", measure };
}

function atMost(
  suite: string,
  source: string,
  target: number,
  gate: number,
  [name, size, peer]: readonly [string, string, string],
): Gate {
  const what = `${name}, time of ${peer}, ${size}`;
  const measure = cost(name, size, peer);
  return { suite, what, source, sense: "at most", target, gate, unit: "×", measure };
}

/**
 * @node-rs/crc32 folds 16 bytes by two PCLMULQDQ. An AMD core up to Zen 4 starts one in two cycles, so that it folds 4
 * bytes a cycle; an Intel core since Skylake starts one a cycle and folds 8. Folding 16 bytes by XOR takes 4 loads, 5
 * XORs and a store, none of which V8 joins: 8 bytes a cycle are more than a core that starts 6 of them a cycle can do.
 */
const multipliesFast: NotJudged = ({ processor }) =>
  processor.includes("Intel") ? "this processor starts a carry-less multiply every cycle" : undefined;

const IN_MEMORY = "directboot, in guest memory";
const NATIVE = "@node-rs/crc32";

/**
 * A CRC of more than the caches hold can't be faster than memory is read. Native code that loses a third of its speed
 * between 1 MiB and 64 MiB, and that ours keeps up with, shows that limit. (On the processor that the gates were set on, it
 * loses nothing.)
 */
const boundByMemory: NotJudged = (_machine, rows) => {
  const near = rowOf(rows, NATIVE, "1 MiB")?.bytesPerSecond;
  const far = rowOf(rows, NATIVE, "64 MiB")?.bytesPerSecond;
  const ours = rowOf(rows, IN_MEMORY, "64 MiB")?.ratioTo[NATIVE];
  if (near === undefined || far === undefined || ours === undefined) return undefined;
  if (far > (near * 2) / 3 || ours < 0.7) return undefined;
  const speeds = `${(near / 1e9).toFixed(1)} to ${(far / 1e9).toFixed(1)} GB/s`;
  return `memory is the limit, native code falls from ${speeds}; directboot has ${ours.toFixed(2)} × its speed`;
};
const BYTES = "directboot, Uint8Array";
const FROM_64_KIB = ["64 KiB", "1 MiB", "64 MiB"] as const;

const CRC32: readonly Gate[] = [
  ...(
    [
      ["4 KiB", 6, 4],
      ["64 KiB", 10, 7],
      ["1 MiB", 13, 9],
      ["64 MiB", 11, 7],
    ] as const
  ).map(([size, target, gate]) => ({
    ...atLeast("crc32", "§1 in guest memory vs crc-32", target, gate, [IN_MEMORY, size, "crc-32"]),
    ...(size === "64 MiB" ? { notJudged: boundByMemory } : {}),
  })),
  ...FROM_64_KIB.map((size) =>
    atLeast("crc32", "§1 vs node:zlib, ≥ 64 KiB", 3.5, 2.5, [IN_MEMORY, size, "node:zlib"]),
  ),
  ...FROM_64_KIB.map((size) => ({
    ...atLeast("crc32", "§1 vs @node-rs/crc32 (native), ≥ 64 KiB", 1.3, 1, [IN_MEMORY, size, NATIVE]),
    notJudged: multipliesFast,
  })),
  ...(
    [
      ["64 KiB", 7, 5],
      ["1 MiB", 7, 5],
      ["64 MiB", 4.5, 3.5],
    ] as const
  ).map(([size, target, gate]) =>
    atLeast("crc32", "§1 crc32(Uint8Array) vs crc-32", target, gate, [BYTES, size, "crc-32"]),
  ),
  ...["16 B", "64 B", "256 B"].map((size) =>
    atLeast("crc32", "§1 16–256 B, crc32(Uint8Array)", 1, 0.9, [BYTES, size, "crc-32"]),
  ),
];

// Below 1 MiB both passes stay in a core's own caches, and copyCrc32 makes two of them itself.
const COPY: readonly Gate[] = ["4 MiB", "64 MiB"].map((size) =>
  atLeast("copy", "§1 fused copy + CRC vs two passes", 1.2, 1.1, [
    "directboot, copy and CRC in one pass",
    size,
    "copy, then CRC",
  ]),
);

const LOAD: readonly Gate[] = [
  atMost("load", "§2 ELF, file → fresh guest memory, sync, whole loadX86", 1.1, 1.25, [
    "directboot, loadX86",
    "60 MiB",
    "C floor",
  ]),
  atMost("load", "§2 the same, async with parallel reads", 0.85, 1, [
    "directboot, loadLinux",
    "60 MiB",
    "C floor",
  ]),
  atMost("load", "§2 warm", 1.05, 1.2, ["directboot, loadX86, warm", "60 MiB", "C floor, warm"]),
  atLeast("load", "§2 vs readFileSync + set", 2, 1.7, [
    "directboot, loadX86",
    "60 MiB",
    "readFileSync, then set",
  ]),
];

const IN_PLACE = "directboot, in place";

/**
 * An identity map is made of stores, of 16 bytes at most in WebAssembly; memory.copy is the processor's own, with stores
 * as wide as it has. Where the stores alone take longer than memory.copy, and little is added to them, they are the limit.
 */
const boundByStores: NotJudged = (_machine, rows) => {
  const stores = rowOf(rows, STORES, "4 GiB")?.ratioTo[MEMORY_COPY];
  const ours = rowOf(rows, IN_PLACE, "4 GiB")?.ratioTo[STORES];
  if (stores === undefined || ours === undefined || stores >= 1 || ours < 0.9) return undefined;
  return `its stores alone take ${(1 / stores).toFixed(2)} × memory.copy, directboot ${(1 / ours).toFixed(2)} × its stores`;
};

const PAGE_TABLE: readonly Gate[] = [
  {
    ...atMost("page-table", "§3 4 GiB map in place vs memory.copy of its bytes", 0.8, 1.1, [
      IN_PLACE,
      "4 GiB",
      MEMORY_COPY,
    ]),
    notJudged: boundByStores,
  },
  atLeast("page-table", "§3 vs the best JavaScript twin", 6, 4, [IN_PLACE, "4 GiB", "JavaScript twin"]),
  ...["512 GiB, 2 MiB leaves", "64 GiB, 4 KiB leaves"].flatMap((size) =>
    (
      [
        ["directboot, PageTableBuilder.build", size, "copy of its bytes to new memory"],
        ["directboot, PageTableBuilder.buildIn", size, MEMORY_COPY],
      ] as const
    ).map((rows) =>
      atLeast("page-table", "§3 512 GiB with 2 MiB pages, 64 GiB with 4 KiB pages", 1, 0.8, rows),
    ),
  ),
];

/**
 * The time of an empty Node where nothing slows it, of the machines that this was measured on. A shared machine's clock and
 * caches are others' too, up to half as fast from one hour to the next: the two processes, in turn, feel it alike.
 */
const EMPTY_NODE_MILLISECONDS = 60;

const PROCESS: readonly Gate[] = [
  {
    suite: "cold-start",
    what: `import + first load of a 1 MiB kernel, over an empty Node of ${EMPTY_NODE_MILLISECONDS} ms`,
    source: "§2 import + first load, cold process",
    sense: "at most",
    target: 10,
    gate: 20,
    unit: "ms",
    measure: (rows) => {
      // PERFORMANCE.md: "gate on medians of ratios, never on absolute times".
      const ratio = rowOf(rows, "directboot, import and load", "1 MiB")?.ratioTo["empty Node"];
      return ratio === undefined ? undefined : (1 / ratio - 1) * EMPTY_NODE_MILLISECONDS;
    },
  },
  ...["directboot, loadLinuxSync", "directboot, loadLinux"].map(
    (name): Gate => ({
      suite: "memory",
      what: `${name}, 1 GiB: peak RSS beyond the guest pages and an empty Node`,
      source: "§2 memory beyond the guest pages touched",
      sense: "at most",
      target: 16,
      gate: 32,
      unit: "MiB",
      measure: (rows) => {
        const bytes = rowOf(rows, name, "1 GiB")?.bytes;
        return bytes === undefined ? undefined : bytes / MIB;
      },
    }),
  ),
];

export const GATES: readonly Gate[] = [...CRC32, ...COPY, ...LOAD, ...PAGE_TABLE, ...PROCESS];

/** The gates of a suite and what its rows say. */
export function judge(suite: string, rows: readonly Row[], machine: Machine): Verdict[] {
  return GATES.filter((gate) => gate.suite === suite).map((gate) => ({
    gate,
    measured: gate.measure(rows),
    excuse: gate.notJudged?.(machine, rows),
  }));
}

/** True for a gate that this machine can be judged by and that is not met. */
export function isMissed({ gate, measured, excuse }: Verdict): boolean {
  return !meets(gate, gate.gate, measured) && (measured === undefined || excuse === undefined);
}

export function meets({ sense }: Gate, limit: number, measured: number | undefined): boolean {
  if (measured === undefined || Number.isNaN(measured)) return false;
  return sense === "at least" ? measured >= limit : measured <= limit;
}

/** The better of two measurements of the same gate. */
export function better(a: Verdict, b: Verdict): Verdict {
  if (a.measured === undefined) return b;
  return meets(a.gate, a.measured, b.measured) ? b : a;
}
