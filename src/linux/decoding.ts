/** The decoders, as the loader sees them: handed in by the caller or loaded on demand, so that nobody pays who needs none. */

import { DirectBootError } from "../base/errors.js";
import type * as DecodersModule from "../decoders/index.js";
import { describeFormat, type ImageFormat } from "../images/detect.js";
import { type Reading, readBytes, readWork } from "../sources/reader.js";
import type { Source } from "../sources/source.js";

/** What `import * as decoders from "directboot/decoders"` gives. */
export type Decoders = Pick<
  typeof DecodersModule,
  "decodeSteps" | "decodeStepsInto" | "decompress" | "decompressMember"
>;

/** Formats that hold something compressed. */
export type CompressionFormat = DecodersModule.CompressionFormat;

const FORMATS: readonly ImageFormat[] = ["gzip", "xz", "zstd", "lz4-legacy", "lz4", "lzma", "bzip2", "lzo"];

/** True for a format that holds something compressed. */
export function isCompression(format: ImageFormat): format is CompressionFormat {
  return FORMATS.includes(format);
}

/** How far decompressing is, for {@link LinuxOptionsOf.onProgress}. */
export type OnUnpacked = (unpacked: number, total: number | undefined) => void;

/** What is to be decompressed. */
export interface PackedRange {
  readonly source: Source;
  readonly offset: number;
  readonly length: number;
  readonly format: CompressionFormat;
  /** Bytes that it says it will be. */
  readonly expectedBytes?: number | undefined;
  /** Something may stand behind it. */
  readonly allowTrailing: boolean;
}

/** The error for a compression that can't be undone with what there is. */
export function noDecoder({ name }: Source, format: ImageFormat): DirectBootError {
  return new DirectBootError("DECOMPRESS_UNSUPPORTED", `${name} is ${describeFormat(format)}`, {
    cure: 'give the option decoders (import * as decoders from "directboot/decoders"), or use the asynchronous function',
  });
}

const WASM_PAGE_BYTES = 65536;
/** DECODER_SCRATCH_BYTES of decoders/. */
const SCRATCH_PAGES = 9;
/** Address space for the first step, of which no more is touched than it makes. */
const MOST_HEAD_BYTES = 536_870_912;

/**
 * The first bytes of what a compressed input holds: what one step of the decoder makes, some MiB.
 *
 * @returns undefined if that is all there is, or there is no address space to look: then nothing is won by it
 * @throws DirectBootError DECOMPRESS_*
 */
export function unpackedHead(
  decoders: Decoders,
  input: Uint8Array,
  { format, expectedBytes, allowTrailing }: PackedRange,
  maximumBytes: number,
): Uint8Array | undefined {
  const byteLength = Math.min(expectedBytes ?? maximumBytes, maximumBytes, MOST_HEAD_BYTES);
  const scratchOffset = Math.ceil(byteLength / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: scratchOffset / WASM_PAGE_BYTES + SCRATCH_PAGES });
  } catch {
    return undefined;
  }
  const place = { memory, offset: 0, byteLength, scratchOffset };
  const steps = decoders.decodeStepsInto(format, input, place, {
    maximumBytes,
    expectedBytes,
    allowTrailing,
  });
  try {
    const step = steps.next();
    return step.done === true ? undefined : new Uint8Array(memory.buffer, 0, step.value.produced);
  } finally {
    steps.return({ byteLength: 0, consumed: 0 });
  }
}

/** Decompresses a range into one buffer. Throws DECOMPRESS_*, and SOURCE_TOO_LARGE if the input can't be held. */
export function* unpackRange(
  decoders: Decoders,
  packed: PackedRange,
  maximumBytes: number,
  onUnpacked: OnUnpacked | undefined,
): Reading<Uint8Array> {
  const { source, offset, length, format, expectedBytes, allowTrailing } = packed;
  const input = yield* readBytes(source, offset, length);
  const decode = function* (): Generator<unknown, Uint8Array> {
    const steps = decoders.decodeSteps(format, input, { maximumBytes, expectedBytes, allowTrailing });
    try {
      while (true) {
        const step = steps.next();
        if (step.done === true) return step.value.output;
        onUnpacked?.(step.value.produced, expectedBytes);
        yield;
      }
    } finally {
      steps.return({ output: new Uint8Array(0), consumed: 0 });
    }
  };
  return yield* readWork(decode());
}
