/**
 * Times contenders that do the same work: in one process, in turn, by rounds. The ratio is compared within
 * a round, since the machine's speed drifts between rounds.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Bench } from "tinybench";

/** One of several ways to do the same work. */
export type Contender =
  | (() => unknown)
  | {
      readonly runAsync: () => Promise<unknown>;
      /** Not timed, before each sample. */
      readonly before?: () => void;
    }
  | { readonly run: () => unknown; readonly before?: () => void }
  /** Measures itself, in another process: gives nanoseconds. */
  | { readonly nanoseconds: () => number };

/** Contenders that do the same work on the same bytes. */
export interface Case {
  readonly size: string;
  /** Bytes that one run works on; 0 where a throughput says nothing. */
  readonly byteLength: number;
  readonly contenders: Readonly<Record<string, Contender>>;
}

/** How a case is measured. */
export interface Timing {
  /** Rounds that count; one more comes first and is thrown away. */
  readonly rounds: number;
  /** Time that a contender is given a round; 0 for one run a round. */
  readonly milliseconds: number;
  /** Collects garbage before each sample, so that nobody pays for another's memory. */
  readonly collects?: boolean;
}

/** A contender's result, as `--json` writes it. */
export interface Row {
  readonly name: string;
  readonly size: string;
  readonly bytesPerSecond: number;
  readonly nsPerOp: number;
  readonly samples: number;
  /** How many times faster than the peer: the median of the ratios of the rounds. */
  readonly ratioTo: Readonly<Record<string, number>>;
  /** Memory, where that is what is measured. */
  readonly bytes?: number;
}

/** Options of all suites. */
export interface SuiteOptions {
  readonly quick: boolean;
}

/** Measurements that belong together. */
export interface Suite {
  readonly name: string;
  readonly about: string;
  /** Names of the contenders that are directboot; tables compare the first of a case with its peers. */
  readonly ours: readonly string[];
  /** The contender whose time the others' are told beyond, where that says more than a ratio. */
  readonly baseline?: string;
  /** Rows that could not be measured here, and why. */
  readonly notes: string[];
  measure(options: SuiteOptions): Promise<Row[]>;
}

/** Rounds of a figure that gates. */
export const GATED_ROUNDS = 11;
/** A sample of fewer nanoseconds than this is mostly the clock. */
const LEAST_SAMPLE_NS = 100_000;
const WARM_UP_MILLISECONDS = 60;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** A full collection; the second one waits for what the first gave back in the background. */
export const collectGarbage: () => void = (() => {
  setFlagsFromString("--expose-gc");
  const found: unknown = runInNewContext("gc");
  if (typeof found !== "function") throw new Error("this Node has no gc");
  return () => {
    found();
    found();
  };
})();

type Loop = (count: number) => unknown;

/**
 * A loop of its own for each contender: one that all share would see many callees, and inline none of them, which
 * costs more than a CRC of 16 bytes.
 */
function loopOver(run: () => unknown): Loop {
  const made: unknown = new Function(
    "run",
    "return (count) => { let last; for (let i = 0; i < count; i++) last = run(); return last; }",
  )(run);
  return made as Loop;
}

/** A contender, ready to be timed. */
class Timed {
  readonly name: string;
  readonly #contender: Contender;
  readonly #timing: Timing;
  readonly #loop: Loop | undefined;
  #batch = 1;
  readonly samples: number[] = [];

  constructor(name: string, contender: Contender, timing: Timing) {
    this.name = name;
    this.#contender = contender;
    this.#timing = timing;
    // Contenders with something to do before each sample are timed one by one.
    if (timing.milliseconds > 0 && timing.collects !== true) {
      if (typeof contender === "function") this.#loop = loopOver(contender);
      else if ("run" in contender && contender.before === undefined) this.#loop = loopOver(contender.run);
    }
  }

  /** Runs until the code is optimised, and finds how many runs make a sample. */
  async warmUp(): Promise<void> {
    const loop = this.#loop;
    const { milliseconds } = this.#timing;
    if (loop === undefined) {
      await this.#time(milliseconds > 0 ? WARM_UP_MILLISECONDS : 0, 1);
      return;
    }
    const end = performance.now() + Math.max(milliseconds, WARM_UP_MILLISECONDS);
    let count = 1;
    let ns = 0;
    do {
      const start = performance.now();
      loop(count);
      ns = (performance.now() - start) * 1e6;
      if (ns < LEAST_SAMPLE_NS) count *= 2;
    } while (performance.now() < end || ns < LEAST_SAMPLE_NS);
    this.#batch = Math.max(1, Math.ceil((count * LEAST_SAMPLE_NS) / ns));
  }

  /** One round: adds the median of its samples. */
  async round(): Promise<void> {
    this.samples.push((await this.#time(this.#timing.milliseconds, 1)) / this.#batch);
  }

  /** Median nanoseconds of a sample. */
  async #time(time: number, iterations: number): Promise<number> {
    const contender = this.#contender;
    const bench = new Bench({ time, iterations, warmup: false, throws: true });
    const before = typeof contender === "object" && "before" in contender ? contender.before : undefined;
    const { collects = false } = this.#timing;
    const hooks =
      collects || before !== undefined
        ? {
            beforeEach: (): void => {
              before?.();
              if (collects) collectGarbage();
            },
          }
        : {};
    const loop = this.#loop;
    const batch = this.#batch;
    if (loop !== undefined) {
      const run = (): void => {
        loop(batch);
      };
      bench.add(this.name, run, { ...hooks, async: false });
    } else if (typeof contender === "function") {
      bench.add(this.name, ignoring(contender), { ...hooks, async: false });
    } else if ("nanoseconds" in contender) {
      const run = (): unknown => ({ overriddenDuration: contender.nanoseconds() / 1e6 });
      bench.add(this.name, run, { async: false });
    } else if ("runAsync" in contender) {
      const run = async (): Promise<void> => {
        await contender.runAsync();
      };
      bench.add(this.name, run, { ...hooks, async: true });
    } else {
      bench.add(this.name, ignoring(contender.run), { ...hooks, async: false });
    }
    await bench.run();
    const result = bench.tasks[0]?.result;
    if (result === undefined || !("latency" in result)) throw new Error(`${this.name} gave no result`);
    return result.latency.p50 * 1e6;
  }
}

/** tinybench looks into what a run returns. */
function ignoring(run: () => unknown): () => void {
  return () => {
    run();
  };
}

/** Times each contender once a round, in turn, each round beginning with another one. */
export async function measureCase({ size, byteLength, contenders }: Case, timing: Timing): Promise<Row[]> {
  const timed = Object.entries(contenders).map(([name, contender]) => new Timed(name, contender, timing));
  for (const each of timed) await each.warmUp();
  // A whole round in the order of the others: caches and allocators are then as in every round.
  for (let round = -1; round < timing.rounds; round++) {
    const first = (round + 1) % timed.length;
    for (const each of [...timed.slice(first), ...timed.slice(0, first)]) await each.round();
    if (round === -1) for (const each of timed) each.samples.length = 0;
  }
  return rowsOf(size, byteLength, timed);
}

/** The rows of a case, of each contender's nanoseconds by round. */
export function rowsOf(
  size: string,
  byteLength: number,
  timed: readonly { readonly name: string; readonly samples: readonly number[] }[],
): Row[] {
  return timed.map(({ name, samples }): Row => {
    const nsPerOp = median(samples);
    const ratioTo = Object.fromEntries(
      timed
        .filter((peer) => peer.name !== name)
        .map((peer) => [peer.name, median(samples.map((ns, i) => (peer.samples[i] ?? Number.NaN) / ns))]),
    );
    const bytesPerSecond = (byteLength / nsPerOp) * 1e9;
    return { name, size, bytesPerSecond, nsPerOp, samples: samples.length, ratioTo };
  });
}

/** Measures cases one after the other; each is made when its turn comes. */
export async function measureCases(cases: Iterable<Case>, timing: Timing): Promise<Row[]> {
  const rows: Row[] = [];
  for (const one of cases) rows.push(...(await measureCase(one, timing)));
  return rows;
}
