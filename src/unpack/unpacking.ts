/** How compressed input is undone: one set-up for every caller. */
import { DirectBootError } from "../base/errors.js";
import type * as DecodersModule from "../decoders/index.js";
import type { CompressionFormat, DecodedMember, DecompressOptions } from "../decoders/options.js";
import type { gunzipByPlatform } from "../decoders/zlib.js";
import type { BzImage } from "../images/bzimage.js";
import { describeFormat } from "../images/detect.js";
import type { Source } from "../sources/source.js";
import type { StreamSource } from "../sources/stream.js";
import { perform, type Task } from "../task/task.js";
import { gunzipSource } from "./gzip-stream.js";

/** The module `directboot/decoders`, as `import * as decoders` gives it. */
export type Decoders = Pick<typeof DecodersModule, "decoders" | "tasks">;

/** Bytes that are decompressed so far, and in all as far as that is known. */
export interface UnpackProgress {
  readonly loaded: number;
  readonly total: number;
}

/** Options of {@link Unpacking}. */
export interface UnpackingOptions {
  /** The decoders; without, the asynchronous driver loads them when they are needed. */
  readonly decoders?: Decoders | undefined;
  /** Undoes gzip where there are no decoders, which the asynchronous driver has. */
  readonly gunzip?: typeof gunzipByPlatform | undefined;
  /** Most bytes that a kernel may decompress to. */
  readonly maxDecompressedSize: number;
  /** That is the size of guest RAM, not a limit of the caller's. */
  readonly isLimitedByRam?: boolean;
  /** Who decompresses the payload of a bzImage; by default the host if it can. */
  readonly decompress?: "host" | "guest" | undefined;
  /** The entry that an x86 kernel is asked for. */
  readonly entry?: "64" | "32" | "pvh" | undefined;
  /** The caller has chosen the kernel's address, which only a bzImage has a choice of: it stays one. */
  readonly hasKernelAddress?: boolean | undefined;
  /** True if the place of a bzImage's kernel is taken: its own code then unpacks it elsewhere. */
  readonly isPlaceTaken?: ((image: BzImage) => Task<boolean>) | undefined;
  /** An arm64 Image is unpacked where it is to lie; by default all is unpacked to a buffer first. */
  readonly inPlace?: boolean | undefined;
  /** Bytes of a stream that are kept at most for reading them again. */
  readonly spoolLimit?: number | undefined;
  readonly onProgress?: ((progress: UnpackProgress) => void) | undefined;
}

/** A compressed range of a source. */
export interface PackedRange {
  readonly source: Source;
  readonly offset: number;
  /** Undefined for all of the source. */
  readonly length: number | undefined;
  readonly format: CompressionFormat;
  /** Bytes that it says it decompresses to. */
  readonly expectedBytes?: number | undefined;
  /** Something may stand behind it. */
  readonly allowTrailing: boolean;
}

/** Takes compression off, with the decoders or the platform's gzip. Close it when nothing is read any more. */
export class Unpacking {
  readonly options: UnpackingOptions;
  #decoders: Decoders | undefined;
  readonly #streams: StreamSource[] = [];
  /** Bytes of wrappers, kernel and initrds that are complete: progress never goes back. */
  #done = 0;

  constructor(options: UnpackingOptions) {
    this.options = options;
    this.#decoders = options.decoders;
  }

  /** The decoders; undefined where they are not given, and can't be loaded: a page may be offline, a policy may forbid it. */
  *decoders(): Task<Decoders | undefined> {
    this.#decoders ??= yield* perform<Decoders | undefined>(
      () => undefined,
      () => import("../decoders/index.js").catch(() => undefined),
    );
    return this.#decoders;
  }

  /** The content of a gzip file, as a stream that is decompressed while it is read; undefined where nothing can wait for it. */
  *gunzipStream(packed: Source): Task<StreamSource | undefined> {
    return yield* perform<StreamSource | undefined>(
      () => undefined,
      async () => {
        if (typeof DecompressionStream !== "function") return undefined;
        const stream = gunzipSource(packed, this.options);
        this.#streams.push(stream);
        return stream;
      },
    );
  }

  /**
   * Decompresses `input`, or its first member.
   *
   * @throws DirectBootError DECOMPRESS_*; DECOMPRESS_UNSUPPORTED without what it takes
   */
  *decompress(
    format: CompressionFormat,
    input: Uint8Array,
    options: DecompressOptions,
    isMember: boolean,
    name: string,
  ): Task<DecodedMember> {
    const decoders = yield* this.decoders();
    const { onProgress, gunzip } = this.options;
    const byPlatform = format === "gzip" ? gunzip : undefined;
    const report = (bytes: number, total: number): void =>
      onProgress?.({ loaded: this.#done + bytes, total: this.#done + Math.max(bytes, total) });
    const onDecoded = ({ produced }: { readonly produced: number }): void =>
      report(produced, options.expectedBytes ?? 0);
    const decoded =
      decoders === undefined
        ? byPlatform?.(input, options, isMember)
        : yield* decoders.tasks.decode(format, input, options, isMember, onDecoded);
    if (decoded === undefined) throw noDecoder(name, format);
    const { byteLength } = decoded.output;
    report(byteLength, byteLength);
    this.#done += byteLength;
    return decoded;
  }

  /** Ends the streams that it made. */
  close(): void {
    for (const stream of this.#streams.splice(0)) stream.cancel();
  }
}

/** The error for a compression that can't be undone with what there is. */
export function noDecoder(name: string, format: CompressionFormat): DirectBootError {
  return new DirectBootError("DECOMPRESS_UNSUPPORTED", `${name} is ${describeFormat(format)}`, {
    cure: 'give the option decoders (import * as decoders from "directboot/decoders"), or use the asynchronous function',
  });
}
