/** One thing that is fuzzed: makes inputs, and runs with one. */
import type { FuzzInput } from "./input.js";
import type { Outcome } from "./outcome.js";
import type { Random } from "./random.js";

export interface Target {
  readonly name: string;
  /** Executions of the short run, besides those of the corpus. */
  readonly executions: number;
  /** Growth of memory of an execution, where it is another than the usual limit. */
  readonly mostGrowth?: number;
  /** Inputs that are run first, as they are: every seed, and what random numbers seldom make. */
  readonly corpus?: () => readonly FuzzInput[];
  /** An input, by random numbers alone. */
  readonly make: (random: Random) => FuzzInput;
  /** Throws what shows a mistake. */
  readonly run: (input: FuzzInput) => Outcome | Promise<Outcome>;
}
