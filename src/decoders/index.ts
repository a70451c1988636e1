/**
 * Decompression of every format that Linux kernels and initrds use. It is an entry of its own because most kernels of
 * VMMs are not compressed. Synchronous, in Node and browsers. Without WebAssembly only gzip works, and only in Node.
 *
 * @module
 */
export { decompress, decompressInto, decompressMember, tasks } from "./decompress.js";
export type {
  CompressionFormat,
  DecodedMember,
  DecodeProgress,
  DecodeTarget,
  DecompressOptions,
} from "./options.js";
export { DECODER_SCRATCH_BYTES } from "./options.js";
export { decoders } from "./wasm.js";
