/** Contenders that do the same work on the same bytes. */
export interface Suite {
  readonly name: string;
  readonly about: string;
  /** Name of the contender that is directboot. */
  readonly ours: string;
  readonly millisecondsARound: number;
  readonly cases: readonly {
    readonly size: string;
    readonly byteLength: number;
    readonly contenders: Readonly<Record<string, () => unknown>>;
  }[];
  /** Gives back files and memory. */
  readonly close?: () => void;
}
