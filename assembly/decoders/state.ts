// The fields that a decoder and its caller share: a block of u32 in scratch. Addresses are absolute; a decoder reads
// [IN, IN_END), writes [OUT, OUT_LIMIT) and may scribble up to OUT_WILD, never beyond. Up to 64 bytes behind IN_END
// may be read (they lie in the caller's window) but never matter.

/** Next byte of input. */
export const IN: usize = 0;
/** Behind the last byte of input that is there. */
export const IN_END: usize = 4;
/** Next byte of output. */
export const OUT: usize = 8;
/** Where the output begins that matches may refer to. */
export const OUT_START: usize = 12;
/** Output beyond this address ends with FULL. */
export const OUT_LIMIT: usize = 16;
/** No byte at or behind this address is written. */
export const OUT_WILD: usize = 20;
/** A decoder that can pause does so once the output has come this far. */
export const OUT_PAUSE: usize = 24;
/** 1 if no input follows IN_END. */
export const IS_LAST: usize = 28;
/** Here the fields of each decoder begin. */
export const OWN: usize = 32;

/** The stream, or the block, is decoded. */
export const DONE: i32 = 0;
/** Wants more input than [IN, IN_END); never with IS_LAST. */
export const NEED_INPUT: i32 = 1;
/** The output has reached OUT_PAUSE. */
export const PAUSED: i32 = 2;
/** The output does not fit. */
export const FULL: i32 = 3;
/** The input ends too early. */
export const TRUNCATED: i32 = 4;
/** The input is invalid; IN tells where. */
export const CORRUPT: i32 = 5;
/** A checksum differs. */
export const BAD_CHECKSUM: i32 = 6;
/** A feature that is not supported. */
export const UNSUPPORTED: i32 = 7;
