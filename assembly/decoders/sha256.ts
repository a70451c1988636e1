// SHA-256 (FIPS 180-4), for .xz with --check=sha256. The state: eight words; then 64 round constants and 64 words of
// schedule, 544 bytes. The constants come from the caller: the module has no static data.
const SCHEDULE: usize = 32 + 256;

// @ts-ignore: decorator
@inline
function rotr32(word: u32, bits: u32): u32 {
  return rotr<u32>(word, bits);
}

/** Takes whole 64-byte blocks; the words and constants at `state` are set by the caller. */
export function sha256Blocks(state: usize, pointer: usize, length: usize): void {
  const schedule = state + SCHEDULE;
  const constants = state + 32;
  for (const stop = pointer + (length & ~63); pointer != stop; pointer += 64) {
    for (let i: usize = 0; i < 64; i += 4) store<u32>(schedule + i, bswap<u32>(load<u32>(pointer + i)));
    for (let i: usize = 64; i < 256; i += 4) {
      const w15 = load<u32>(schedule + i - 60);
      const w2 = load<u32>(schedule + i - 8);
      const s0 = rotr32(w15, 7) ^ rotr32(w15, 18) ^ (w15 >>> 3);
      const s1 = rotr32(w2, 17) ^ rotr32(w2, 19) ^ (w2 >>> 10);
      store<u32>(schedule + i, load<u32>(schedule + i - 64) + s0 + load<u32>(schedule + i - 28) + s1);
    }
    let a = load<u32>(state);
    let b = load<u32>(state, 4);
    let c = load<u32>(state, 8);
    let d = load<u32>(state, 12);
    let e = load<u32>(state, 16);
    let f = load<u32>(state, 20);
    let g = load<u32>(state, 24);
    let h = load<u32>(state, 28);
    for (let i: usize = 0; i < 256; i += 4) {
      const s1 = rotr32(e, 6) ^ rotr32(e, 11) ^ rotr32(e, 25);
      const t1 = h + s1 + ((e & f) ^ (~e & g)) + load<u32>(constants + i) + load<u32>(schedule + i);
      const s0 = rotr32(a, 2) ^ rotr32(a, 13) ^ rotr32(a, 22);
      const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    store<u32>(state, load<u32>(state) + a);
    store<u32>(state, load<u32>(state, 4) + b, 4);
    store<u32>(state, load<u32>(state, 8) + c, 8);
    store<u32>(state, load<u32>(state, 12) + d, 12);
    store<u32>(state, load<u32>(state, 16) + e, 16);
    store<u32>(state, load<u32>(state, 20) + f, 20);
    store<u32>(state, load<u32>(state, 24) + g, 24);
    store<u32>(state, load<u32>(state, 28) + h, 28);
  }
}
