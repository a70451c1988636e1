// CRC-32 of IEEE 802.3 (zlib's crc32): reflected polynomial 0xedb88320, init and xor-out 0xffffffff.
// Slicing by 16: sixteen tables of 256 words. They lie in scratch that the caller hands in, since the module
// has no static data of its own.
const POLYNOMIAL: u32 = 0xedb88320;
const TABLE_COUNT: usize = 16;
const TABLE_BYTES: usize = 1024;

/** Bytes of scratch that crc32Prepare fills and crc32 reads. */
export const CRC32_SCRATCH_BYTES: i32 = <i32>(TABLE_COUNT * TABLE_BYTES);

/** Fills the tables at `scratch`. Once per scratch area. */
export function crc32Prepare(scratch: usize): void {
  for (let i: u32 = 0; i < 256; i++) {
    let remainder = i;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder >>> 1) ^ (POLYNOMIAL & (0 - (remainder & 1)));
    }
    store<u32>(scratch + ((<usize>i) << 2), remainder);
  }
  for (let i: usize = 0; i < 256; i++) {
    let remainder = load<u32>(scratch + (i << 2));
    for (let table: usize = 1; table < TABLE_COUNT; table++) {
      remainder = (remainder >>> 8) ^ load<u32>(scratch + ((<usize>(remainder & 0xff)) << 2));
      store<u32>(scratch + table * TABLE_BYTES + (i << 2), remainder);
    }
  }
}

// @ts-ignore: decorator
@inline
function slice(scratch: usize, table: usize, byte: u32): u32 {
  return load<u32>(scratch + table * TABLE_BYTES + ((<usize>byte) << 2));
}

// @ts-ignore: decorator
@inline
function sliceWord(scratch: usize, highest: usize, word: u32): u32 {
  return (
    slice(scratch, highest, word & 0xff) ^
    slice(scratch, highest - 1, (word >>> 8) & 0xff) ^
    slice(scratch, highest - 2, (word >>> 16) & 0xff) ^
    slice(scratch, highest - 3, word >>> 24)
  );
}

/** CRC-32 of `length` bytes at `pointer`, continued from `seed` (0 at the start). */
export function crc32(pointer: usize, length: usize, seed: u32, scratch: usize): u32 {
  let crc = ~seed;
  let rest = length;
  while (rest >= 16) {
    crc =
      sliceWord(scratch, 15, load<u32>(pointer) ^ crc) ^
      sliceWord(scratch, 11, load<u32>(pointer, 4)) ^
      sliceWord(scratch, 7, load<u32>(pointer, 8)) ^
      sliceWord(scratch, 3, load<u32>(pointer, 12));
    pointer += 16;
    rest -= 16;
  }
  while (rest > 0) {
    crc = (crc >>> 8) ^ slice(scratch, 0, (crc ^ load<u8>(pointer)) & 0xff);
    pointer++;
    rest--;
  }
  return ~crc;
}
