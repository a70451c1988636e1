/** Who is told of bytes as they arrive: a load that reports how much of its inputs is there. */

/** Gets the range that has arrived, bytes from the start of the source; a range may come again. */
export type OnArrival = (start: number, end: number) => void;

const listeners = new WeakMap<object, Set<OnArrival>>();

/** Says that bytes `[start, end)` of `source` are there. Throws what a listener throws. */
export function arrived(source: object, start: number, end: number): void {
  for (const listener of listeners.get(source) ?? []) listener(start, end);
}

/** True if somebody listens: large reads are then done in pieces. */
export function isObserved(source: object): boolean {
  return listeners.has(source);
}

/** Calls `listener` from now on, until the result is called. */
export function onArrival(source: object, listener: OnArrival): () => void {
  const own = listeners.get(source) ?? new Set();
  listeners.set(source, own.add(listener));
  return () => {
    own.delete(listener);
    if (own.size === 0) listeners.delete(source);
  };
}
