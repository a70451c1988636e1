/** gzip (RFC 1952) as the platform's DecompressionStream decompresses it: while it arrives. */
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import type { ChunkSupply } from "../sources/chunk-supply.js";
import { guardSource, isStreamed, knownLength, type Source } from "../sources/source.js";
import { type StreamOptions, StreamSource } from "../sources/stream.js";
import { abortedError } from "../task/run.js";

/** Options of {@link gunzipSource}. */
export interface GunzipOptions extends Pick<StreamOptions, "spoolLimit"> {
  /** Most bytes of output; more is DECOMPRESS_TOO_LARGE. */
  readonly maxDecompressedSize: number;
}

// CRC32 and ISIZE (RFC 1952, 2.3.1).
const TRAILER_BYTES = 8;
// A read of the compressed file.
const PIECE_BYTES = 256 * 1024;
// A member's end has fewer zeros than this: 8 of the trailer, and what a code of at most 15 bits leaves before it.
const MOST_FINAL_ZEROS = 32;

const ignore = (): void => {};

/** The chunks of a source from its start to its end. */
function chunksOf(source: Source): (signal: AbortSignal) => Promise<Uint8Array | undefined> {
  if (source instanceof StreamSource) return (signal) => source.takeChunk(signal);
  const length = knownLength(source);
  if (isStreamed(source)) source.startStreaming([{ start: 0, end: length }]);
  let offset = 0;
  return async (signal) => {
    if (offset === length) return undefined;
    const piece = new Uint8Array(Math.min(PIECE_BYTES, length - offset));
    await source.read(piece, offset, signal);
    offset += piece.byteLength;
    return piece;
  };
}

/** Bytes up to the last that is not zero. */
function withoutFinalZeros(bytes: Uint8Array): Uint8Array {
  let end = bytes.byteLength;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

/** Writes to a DecompressionStream, and keeps count. */
class Feed {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  /** The last four bytes that were fed. */
  readonly last = new Uint8Array(4);
  fed = 0;

  constructor(writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>) {
    this.#writer = writer;
  }

  async bytes(bytes: Uint8Array): Promise<void> {
    // A stream's chunk may be shared memory, which a DecompressionStream does not take.
    const plain =
      bytes.buffer instanceof ArrayBuffer
        ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : new Uint8Array(bytes);
    const tail = bytes.subarray(-this.last.byteLength);
    this.last.copyWithin(0, tail.byteLength);
    this.last.set(tail, this.last.byteLength - tail.byteLength);
    this.fed += bytes.byteLength;
    await this.#writer.write(plain);
  }

  async zeros(count: number): Promise<void> {
    for (let left = count; left > 0; left -= PIECE_BYTES) {
      await this.bytes(new Uint8Array(Math.min(left, PIECE_BYTES)));
    }
  }
}

/**
 * Feeds a DecompressionStream and takes what comes out.
 *
 * The platforms' streams disagree on what follows a member: Node's take further members and zeros, browsers' fail, and
 * then lose output that was not taken yet. So zeros are held back until something follows them. Those at the end of
 * the file are fed one by one, until ISIZE, the last four bytes that were fed, is the number of bytes that came out.
 */
function gunzipSupply(
  source: Source,
  maxDecompressedSize: number,
  name: string,
  stream: DecompressionStream,
): ChunkSupply {
  const abort = new AbortController();
  const writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> = stream.writable.getWriter();
  const reader: ReadableStreamDefaultReader<Uint8Array> = stream.readable.getReader();
  const feed = new Feed(writer);
  let isStarted = false;
  let isOver = false;
  let mayBeOver = false;
  /** The error that the compressed source threw. */
  let failure: { readonly cause: unknown } | undefined;
  let came = 0;

  // Failures are seen where it is read; these promises fail, too, with nobody looking.
  for (const promise of [writer.closed, writer.ready, reader.closed]) promise.catch(ignore);

  /** True if ISIZE, were it the last that was fed, is what came out. */
  const isAtTrailer = async (): Promise<boolean> => {
    // An empty write is done when all output of those before was taken.
    await writer.write(new Uint8Array(0));
    return came > 0 && new DataView(feed.last.buffer).getUint32(0, true) === came % 2 ** 32;
  };

  const pump = async (): Promise<void> => {
    let zeros = 0;
    const next = chunksOf(source);
    for (;;) {
      const chunk = await next(abort.signal).catch((cause: unknown) => {
        failure = { cause };
        throw cause;
      });
      if (chunk === undefined) break;
      const bytes = withoutFinalZeros(chunk);
      if (bytes.byteLength > 0) {
        await feed.zeros(zeros);
        await feed.bytes(bytes);
        zeros = 0;
      }
      zeros += chunk.byteLength - bytes.byteLength;
    }
    const final = Math.min(zeros, MOST_FINAL_ZEROS);
    for (let done = 0; done < final; done++) {
      if (await isAtTrailer()) break;
      // Nothing has a trailer of zeros only, which can't be told from what follows: there a failure is the end.
      mayBeOver = came === 0 && done >= TRAILER_BYTES;
      await feed.zeros(1);
      mayBeOver = false;
    }
    await writer.close();
  };

  return {
    // CRC-32 and size stand behind the data.
    isCheckedAtEnd: true,
    pull: async () => {
      // An error that ends the pump ends the reading below, too.
      if (!isStarted) pump().catch((cause: unknown) => writer.abort(cause).catch(ignore));
      isStarted = true;
      let value: Uint8Array | undefined;
      try {
        ({ value } = await reader.read());
      } catch (cause) {
        if (failure !== undefined) throw failure.cause;
        if (mayBeOver) return undefined;
        if (isOver) throw abortedError(name, abort.signal);
        // The platform does not say where a member ends, so what follows one (a device tree, say) looks like damage.
        const cure =
          "check that the file is complete and unmodified, and that nothing but zeros follows what is compressed";
        const details = `${name}: gzip: the data up to byte ${feed.fed}: ${messageOf(cause)}`;
        throw new DirectBootError("DECOMPRESS_CORRUPT", details, { cause, cure });
      }
      came += value?.byteLength ?? 0;
      if (came > maxDecompressedSize) {
        throw new DirectBootError(
          "DECOMPRESS_TOO_LARGE",
          `${name}: gzip: it decompresses to more than ${maxDecompressedSize} bytes`,
        );
      }
      return value;
    },
    cancel: (reason) => {
      if (isOver) return;
      isOver = true;
      abort.abort(reason);
      writer.abort(reason).catch(ignore);
      reader.cancel(reason).catch(ignore);
      if (isStreamed(source)) source.cancel(reason);
    },
  };
}

/**
 * The decompressed bytes of a gzip file as a stream of unknown length, decompressed as they are read: the compressed
 * file is read once, from its start. Zeros behind the data are ignored. Whether several members make one file is the
 * platform's decision: Node says yes, browsers refuse it (DECOMPRESS_CORRUPT).
 *
 * Reading throws DECOMPRESS_CORRUPT, naming how far the data was read; DECOMPRESS_TOO_LARGE; what reading the
 * compressed source throws. Ending the stream ends that source's, if it is one.
 *
 * @throws DirectBootError DECOMPRESS_UNSUPPORTED without DecompressionStream; SOURCE_LENGTH_UNKNOWN for a foreign source
 *   of unknown length
 */
export function gunzipSource(
  source: Source,
  { maxDecompressedSize, spoolLimit }: GunzipOptions,
): StreamSource {
  const { name } = source;
  if (!(source instanceof StreamSource)) knownLength(source);
  let stream: DecompressionStream;
  try {
    stream = new DecompressionStream("gzip");
  } catch (cause) {
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      `${name} is gzip-compressed, and there is no DecompressionStream for it here`,
      { cause },
    );
  }
  const supply = gunzipSupply(guardSource(source), maxDecompressedSize, name, stream);
  return new StreamSource(supply, { name, spoolLimit });
}
