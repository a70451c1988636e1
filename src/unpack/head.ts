/** The first bytes of what is compressed, from which an arm64 Image is planned before it is unpacked. */
import { DirectBootError } from "../base/errors.js";
import { DECODER_SCRATCH_BYTES } from "../decoders/options.js";
import { DETECT_BYTES } from "../images/detect.js";
import type { Decoders, PackedRange } from "./unpacking.js";

const WASM_PAGE_BYTES = 65536;
/** Address space for the first step, of which no more is touched than it makes. */
const MOST_HEAD_BYTES = 536_870_912;

/**
 * The first bytes of what a compressed input holds: what one step of the decoder makes, some MiB.
 *
 * @returns undefined if that is all there is, if they can't be known before the rest, or there is no address space to
 *   look: then nothing is won by it
 * @throws DirectBootError DECOMPRESS_*
 */
export function unpackedHead(
  decoders: Decoders,
  input: Uint8Array,
  { format, expectedBytes, allowTrailing }: PackedRange,
  maxDecompressedSize: number,
): Uint8Array | undefined {
  // These two are not made in place anyhow.
  if (format === "bzip2" || format === "lzo") return undefined;
  const byteLength = Math.min(expectedBytes ?? maxDecompressedSize, maxDecompressedSize, MOST_HEAD_BYTES);
  const scratchOffset = Math.ceil(byteLength / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({
      initial: scratchOffset / WASM_PAGE_BYTES + DECODER_SCRATCH_BYTES / WASM_PAGE_BYTES,
    });
  } catch {
    return undefined;
  }
  const place = { memory, offset: 0, byteLength, scratchOffset };
  let made = 0;
  const options = { maxDecompressedSize, expectedBytes, allowTrailing };
  const task = decoders.tasks.decodeInto(format, input, place, options, ({ produced }) => {
    made = produced;
  });
  let head: Uint8Array | undefined;
  try {
    if (task.next().done !== true) head = new Uint8Array(memory.buffer, 0, made);
  } catch (cause) {
    const isTooLarge = cause instanceof DirectBootError && cause.code === "DECOMPRESS_TOO_LARGE";
    if (isTooLarge && byteLength === MOST_HEAD_BYTES && byteLength < maxDecompressedSize) return undefined;
    throw cause;
  } finally {
    task.return(0);
  }
  if (head === undefined || (format === "xz" && !isUnfiltered(input, head.subarray(0, DETECT_BYTES)))) {
    return undefined;
  }
  return head;
}

// The .xz File Format 1.2, 3.1.2 "Block Flags" and 5.3.2 "Branch/Call/Jump Filters".
const XZ_BLOCK_FLAGS = 13;
const XZ_FILTERS_LESS_ONE = 0x03;
const XZ_HAS_COMPRESSED_SIZE = 0x40;
const XZ_HAS_UNCOMPRESSED_SIZE = 0x80;
const XZ_FILTER_ARM64 = 0x0a;
/** The arm64 filter changes BL and ADRP. */
const BL_MASK = 0xfc00_0000;
const BL = 0x9400_0000;
const ADRP_MASK = 0x9f00_0000;
const ADRP = 0x9000_0000;

/**
 * True if no filter of an .xz file changes the first bytes of its output: filters are undone when a block is complete,
 * and what was made before is not yet what it will be.
 */
function isUnfiltered(input: Uint8Array, head: Uint8Array): boolean {
  const flags = input[XZ_BLOCK_FLAGS] ?? 0;
  if ((flags & XZ_FILTERS_LESS_ONE) === 0) return true;
  let at = XZ_BLOCK_FLAGS + 1;
  const skipNumber = (): void => {
    while (((input[at++] ?? 0) & 0x80) !== 0);
  };
  if ((flags & XZ_HAS_COMPRESSED_SIZE) !== 0) skipNumber();
  if ((flags & XZ_HAS_UNCOMPRESSED_SIZE) !== 0) skipNumber();
  if ((flags & XZ_FILTERS_LESS_ONE) !== 1 || input[at] !== XZ_FILTER_ARM64) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (let offset = 0; offset + 4 <= head.byteLength; offset += 4) {
    const word = view.getUint32(offset, true);
    if ((word & BL_MASK) >>> 0 === BL || (word & ADRP_MASK) >>> 0 === ADRP) return false;
  }
  return true;
}
