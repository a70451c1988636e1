/** The decoders, as the loader sees them: handed in by the caller or loaded on demand, so that nobody pays who needs none. */

import { DirectBootError } from "../base/errors.js";
import type * as DecodersModule from "../decoders/index.js";
import { describeFormat, type ImageFormat } from "../images/detect.js";
import { type Reading, readBytes, readWork } from "../sources/reader.js";
import type { Source } from "../sources/source.js";

/** What `import * as decoders from "directboot/decoders"` gives. */
export type Decoders = Pick<typeof DecodersModule, "decodeSteps" | "decompressMember">;

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
