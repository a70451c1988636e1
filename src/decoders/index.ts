/**
 * Decompression of everything that Linux kernels and initrds come in: an entry of its own, since most kernels of VMMs
 * are not compressed. Synchronous, in Node and browsers; without WebAssembly only gzip.
 *
 * @module
 */
export {
  type DecodedInto,
  type DecodedMember,
  type DecodeTarget,
  decodeMemberSteps,
  decodeSteps,
  decodeStepsInto,
  decompress,
  decompressInto,
  decompressMember,
} from "./decompress.js";
export type { CompressionFormat, DecodeProgress, Decoding, DecompressOptions } from "./options.js";
export { decoders } from "./wasm.js";
export { DECODER_SCRATCH_BYTES } from "./workspace.js";
