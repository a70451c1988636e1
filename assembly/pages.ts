/** Moves `length` bytes from `source` to `target`; the ranges may overlap. */
export function copy(target: usize, source: usize, length: usize): void {
  memory.copy(target, source, length);
}

/** Sets `length` bytes at `pointer` to zero. */
export function zero(pointer: usize, length: usize): void {
  memory.fill(pointer, 0, length);
}
