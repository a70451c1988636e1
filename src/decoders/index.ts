/**
 * Decompression of everything that Linux kernels and initrds come in: an entry of its own, since most kernels of VMMs
 * are not compressed. Synchronous, in Node and browsers; without WebAssembly only gzip, in Node.
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
