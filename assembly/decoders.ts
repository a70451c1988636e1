// Decompression. Compiled to a second module of its own, without static data and without state, as the hot paths are: it
// can be attached to any linear memory, whose other bytes may be a guest's RAM. All bounds are checked here.
export { crc32, crc32Prepare } from "./crc32";
export { bzip2Begin, bzip2Header, bzip2Run } from "./decoders/bzip2";
export {
  adler32,
  crc64,
  crc64Prepare,
  xxh32Begin,
  xxh32End,
  xxh32Update,
  xxh64Begin,
  xxh64End,
  xxh64Update,
} from "./decoders/checks";
export { arm64Filter, deltaFilter, x86Begin, x86Filter } from "./decoders/filters";
export { inflateBegin, inflateRun } from "./decoders/inflate";
export { lz4Begin, lz4Run } from "./decoders/lz4";
export { lzmaBegin, lzmaCode, lzmaPosition, lzmaReset, lzmaRun } from "./decoders/lzma";
export { lzo1xRun } from "./decoders/lzo";
export { sha256Blocks } from "./decoders/sha256";
export { zstdBegin, zstdBlock } from "./decoders/zstd";
