/** The phase "read": how much of a load's inputs has arrived. */
import { DirectBootError } from "../base/errors.js";
import { onArrival } from "../sources/arrival.js";
import { type ByteRange, hasKnownLength, type Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import type { OnProgress } from "./progress.js";

/** An ELF may be read in thousands of pieces: from so many on the gaps between them count as read. */
const MOST_RANGES = 64;

/** What has arrived of an input; headers are read more than once. */
class Input {
  readonly source: Source;
  #ranges: readonly ByteRange[] = [];

  constructor(source: Source) {
    this.source = source;
  }

  get bytes(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  add(start: number, end: number): void {
    const isAll = this.#ranges.length === MOST_RANGES;
    const isApart = (other: ByteRange): boolean => !isAll && (other.end < start || other.start > end);
    const joined = [{ start, end }, ...this.#ranges.filter((other) => !isApart(other))];
    const hull = {
      start: Math.min(...joined.map((each) => each.start)),
      end: Math.max(...joined.map((each) => each.end)),
    };
    this.#ranges = [...this.#ranges.filter(isApart), hull];
  }
}

/** Counts and reports the bytes of all inputs together. */
export class ReadingCount {
  readonly #onProgress: OnProgress;
  readonly #inputs: Input[] = [];
  readonly #stops: (() => void)[] = [];
  #failure: { readonly thrown: unknown } | undefined;

  constructor(onProgress: OnProgress) {
    this.#onProgress = onProgress;
  }

  /** Counts `source` from now on. Bytes that lie in memory are there already. */
  add(source: Source): void {
    const input = new Input(source);
    this.#inputs.push(input);
    if (source.peek?.(0, source.byteLength) !== undefined) input.add(0, source.byteLength);
    const stop = onArrival(source, (start, end) => {
      input.add(start, end);
      this.report();
    });
    this.#stops.push(stop);
  }

  /** The first report: nothing, then what lies in memory. */
  start(): void {
    this.report(0);
    if (this.#loaded > 0) this.report();
  }

  report(loaded = this.#loaded, total = this.#total): void {
    try {
      this.#onProgress({ phase: "read", loaded, total });
    } catch (thrown) {
      this.#failure = { thrown };
      // An error of ours, which everybody on the way hands on.
      throw new DirectBootError("ABORTED", "onProgress threw", { cause: thrown });
    }
  }

  get #loaded(): number {
    return this.#inputs.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get #total(): number | undefined {
    const isKnown = this.#inputs.every(({ source }) => hasKnownLength(source));
    return isKnown ? this.#inputs.reduce((sum, { source }) => sum + source.byteLength, 0) : undefined;
  }

  /** All that is needed is there: what is not needed of a file is never read. */
  end(): void {
    const all = this.#total ?? this.#loaded;
    this.report(all, all);
  }

  /** Ends the counting. */
  close(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  /** What the callback threw, if `cause` came of it. */
  causeOf(cause: unknown): unknown {
    return this.#failure === undefined ? cause : this.#failure.thrown;
  }
}

/** Has `work` count what arrives, if there is somebody to tell. */
export function* counting<T>(
  onProgress: OnProgress | undefined,
  work: (reading: ReadingCount | undefined) => Task<T>,
): Task<T> {
  if (onProgress === undefined) return yield* work(undefined);
  const reading = new ReadingCount(onProgress);
  try {
    return yield* work(reading);
  } catch (cause) {
    throw reading.causeOf(cause);
  } finally {
    reading.close();
  }
}
