// A limit that no hot path can beat, for bench/ alone: in no package, and in no module that the package has.

const LINES_BYTES: usize = 128;

/**
 * The stores that an identity map of page directories takes, and nothing else: `zeroBytes` by memory.fill, then
 * `storedBytes` (a multiple of 128) of one value, 16 bytes a store, the most that WebAssembly has.
 */
export function stores(pointer: usize, zeroBytes: usize, storedBytes: usize): void {
  memory.fill(pointer, 0, zeroBytes);
  pointer += zeroBytes;
  const value = i64x2.splat(0xe3);
  const end = pointer + storedBytes;
  do {
    v128.store(pointer, value);
    v128.store(pointer, value, 16);
    v128.store(pointer, value, 32);
    v128.store(pointer, value, 48);
    v128.store(pointer, value, 64);
    v128.store(pointer, value, 80);
    v128.store(pointer, value, 96);
    v128.store(pointer, value, 112);
    pointer += LINES_BYTES;
  } while (pointer != end);
}
