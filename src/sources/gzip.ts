/** gzip (RFC 1952): a compressed file is a source made over another source. */
import { describeType, messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { abortedError } from "../task/run.js";
import { crc32 } from "../wasm/hot-paths.js";
import {
  guardSource,
  isStreamed,
  isSyncSource,
  knownLength,
  type Source,
  type SyncSource,
  toSyncSource,
} from "./source.js";
import { Spool, SpooledSource } from "./spool.js";
import { type ChunkSupply, type StreamOptions, StreamSource } from "./stream.js";

/** Options of {@link gunzipSource} and {@link gunzipSourceSync}. */
export interface GunzipOptions {
  /** Bytes that it may decompress to at most; more is DECOMPRESS_TOO_LARGE. */
  readonly maximumBytes: number;
  /** What messages call the decompressed file; the compressed one's name by default. */
  readonly name?: string | undefined;
}

// RFC 1952, 2.3 and 2.3.1
const MAGIC = [0x1f, 0x8b] as const;
const METHOD_DEFLATE = 8;
const FLAG_HEADER_CRC = 2;
const FLAG_EXTRA = 4;
const FLAG_NAME = 8;
const FLAG_COMMENT = 16;
const RESERVED_FLAGS = 0xe0;
const FIXED_HEADER_BYTES = 10;
const TRAILER_BYTES = 8; // CRC32, ISIZE

// A read of the compressed file.
const PIECE_BYTES = 256 * 1024;
// zlib's output comes in buffers of this size.
const OUTPUT_PIECE_BYTES = 256 * 1024;
// A member's end has fewer zeros than this: 8 of the trailer, and what a code of at most 15 bits leaves before it.
const MOST_FINAL_ZEROS = 32;

// What zlib hands out at once; Node 20 refuses an option above 4 GiB.
const MOST_OUTPUT_BYTES = 0x7fff_ffff;

const ignore = (): void => {};

function checkMaximum(maximumBytes: number): void {
  if (!Number.isSafeInteger(maximumBytes) || maximumBytes < 0) {
    throw new TypeError(`maximumBytes must be an integer from 0 up, got ${describeType(maximumBytes)}`);
  }
}

function corrupt(name: string, why: string, cause?: unknown): DirectBootError {
  return new DirectBootError(
    "DECOMPRESS_CORRUPT",
    `${name}: gzip: ${why}`,
    cause === undefined ? {} : { cause },
  );
}

function tooLarge(name: string, maximumBytes: number): DirectBootError {
  return new DirectBootError(
    "DECOMPRESS_TOO_LARGE",
    `${name}: gzip: it decompresses to more than ${maximumBytes} bytes`,
  );
}

function unsupported(name: string, lacking: string): DirectBootError {
  return new DirectBootError(
    "DECOMPRESS_UNSUPPORTED",
    `${name} is gzip-compressed, and there is no ${lacking}`,
  );
}

/** What is used of node:zlib. */
interface Zlib {
  inflateRawSync(
    bytes: Uint8Array,
    options: { info: true; chunkSize: number; maxOutputLength: number },
  ): { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } };
}

/** node:zlib, or undefined outside Node; never by an import that a browser bundle would see. */
function nodeZlib(): Zlib | undefined {
  const found: unknown = globalThis.process?.getBuiltinModule?.("node:zlib");
  return found === undefined ? undefined : (found as Zlib);
}

/** True if a member may start at `offset`. */
function isMember(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset] === MAGIC[0] && bytes[offset + 1] === MAGIC[1];
}

/** Offset of the deflate stream of the member at `start`. Throws DECOMPRESS_CORRUPT. */
function skipHeader(bytes: Uint8Array, start: number, name: string): number {
  const end = bytes.byteLength;
  const truncated = (): DirectBootError => corrupt(name, `it ends within a header, at byte ${end}`);
  if (start + FIXED_HEADER_BYTES > end) throw truncated();
  if (!isMember(bytes, start)) throw corrupt(name, `there is no gzip header at byte ${start}`);
  const method = bytes[start + 2];
  const flags = bytes[start + 3] ?? 0;
  if (method !== METHOD_DEFLATE || (flags & RESERVED_FLAGS) !== 0) {
    throw corrupt(name, `the header at byte ${start} has method ${method}, flags ${flags}`);
  }
  let at = start + FIXED_HEADER_BYTES;
  if ((flags & FLAG_EXTRA) !== 0) at += 2 + (bytes[at] ?? 0) + 256 * (bytes[at + 1] ?? 0);
  for (const flag of [FLAG_NAME, FLAG_COMMENT]) {
    if ((flags & flag) === 0) continue;
    const nul = bytes.indexOf(0, at);
    if (nul < 0) throw truncated();
    at = nul + 1;
  }
  if ((flags & FLAG_HEADER_CRC) !== 0) at += 2;
  if (at > end) throw truncated();
  return at;
}

/** All of a source. */
function wholeOf(source: SyncSource): Uint8Array {
  const length = knownLength(source);
  const known = source.peek?.(0, length);
  if (known !== undefined) return known;
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(length);
  } catch (cause) {
    throw new DirectBootError("SOURCE_TOO_LARGE", `${source.name}: ${length} bytes can't be held at once`, {
      cause,
    });
  }
  source.readSync(bytes, 0);
  return bytes;
}

/**
 * The decompressed bytes of a gzip file. Members behind each other are one file; what follows the last and is none is
 * ignored, as gzip(1) does.
 *
 * @throws DirectBootError DECOMPRESS_CORRUPT, naming the byte; DECOMPRESS_TOO_LARGE; DECOMPRESS_UNSUPPORTED without
 *   node:zlib; SOURCE_NOT_SYNCHRONOUS; what reading throws
 */
export function gunzipSourceSync(
  source: Source,
  { maximumBytes, name = source.name }: GunzipOptions,
): SyncSource {
  checkMaximum(maximumBytes);
  const synchronous = toSyncSource(guardSource(source));
  const zlib = nodeZlib();
  if (zlib === undefined) throw unsupported(source.name, "synchronous decompressor for it here");
  const bytes = wholeOf(synchronous);
  const spool = new Spool();
  let done = 0;
  let at = 0;
  do {
    const start = skipHeader(bytes, at, name);
    let inflated: ReturnType<Zlib["inflateRawSync"]>;
    try {
      inflated = zlib.inflateRawSync(bytes.subarray(start), {
        info: true,
        chunkSize: OUTPUT_PIECE_BYTES,
        // zlib takes no 0.
        maxOutputLength: Math.min(Math.max(1, maximumBytes - done), MOST_OUTPUT_BYTES),
      });
    } catch (cause) {
      const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
      if (code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(name, maximumBytes);
      const said = messageOf(cause);
      throw corrupt(name, `the data of the member at byte ${at} of ${bytes.byteLength}: ${said}`, cause);
    }
    const { buffer, engine } = inflated;
    if (done + buffer.byteLength > maximumBytes) throw tooLarge(name, maximumBytes);
    const trailer = start + engine.bytesWritten;
    if (trailer + TRAILER_BYTES > bytes.byteLength) {
      throw corrupt(name, `it ends within a trailer, at byte ${bytes.byteLength}`);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset + trailer, TRAILER_BYTES);
    const size = view.getUint32(4, true);
    if (view.getUint32(0, true) !== crc32(buffer) || size !== buffer.byteLength % 2 ** 32) {
      throw corrupt(
        name,
        `the trailer at byte ${trailer} does not match the data of the member at byte ${at}`,
      );
    }
    spool.append(done, buffer);
    done += buffer.byteLength;
    at = trailer + TRAILER_BYTES;
  } while (isMember(bytes, at));
  return new SpooledSource(spool, done, name);
}

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

/**
 * Feeds a DecompressionStream and takes what comes out.
 *
 * The platforms' streams disagree on what follows a member: Node's take further members and zeros, browsers' fail, and
 * then lose output that was not taken yet. So zeros are held back until something follows them. Those at the end of
 * the file are fed one by one, until ISIZE, the last four bytes that were fed, is the number of bytes that came out.
 */
class GunzipSupply implements ChunkSupply {
  /** CRC-32 and size stand behind the data. */
  readonly isCheckedAtEnd = true;
  readonly #source: Source;
  readonly #maximumBytes: number;
  readonly #name: string;
  readonly #abort = new AbortController();
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #isStarted = false;
  #isOver = false;
  #mayBeOver = false;
  /** What the compressed source threw. */
  #failure: { readonly cause: unknown } | undefined;
  #fed = 0;
  #came = 0;
  #zeros = 0;
  readonly #last = new Uint8Array(4);

  constructor(source: Source, maximumBytes: number, name: string, stream: DecompressionStream) {
    this.#source = source;
    this.#maximumBytes = maximumBytes;
    this.#name = name;
    // The DOM's type wants a BufferSource, of which these are one.
    this.#writer = stream.writable.getWriter();
    this.#reader = stream.readable.getReader();
    // Failures are seen where it is read; these promises fail, too, with nobody looking.
    this.#writer.closed.catch(ignore);
    this.#writer.ready.catch(ignore);
    this.#reader.closed.catch(ignore);
  }

  async #feed(bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength === 0) return;
    // A stream's chunk may be shared memory, which a DecompressionStream does not take.
    const plain =
      bytes.buffer instanceof ArrayBuffer
        ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : new Uint8Array(bytes);
    const tail = bytes.subarray(-this.#last.byteLength);
    this.#last.copyWithin(0, tail.byteLength);
    this.#last.set(tail, this.#last.byteLength - tail.byteLength);
    this.#fed += bytes.byteLength;
    await this.#writer.write(plain);
  }

  async #feedZeros(count: number): Promise<void> {
    for (let left = count; left > 0; left -= PIECE_BYTES) {
      await this.#feed(new Uint8Array(Math.min(left, PIECE_BYTES)));
    }
  }

  /** True if ISIZE, were it the last that was fed, is what came out. */
  async #isAtTrailer(): Promise<boolean> {
    // An empty write is done when all output of those before was taken.
    await this.#writer.write(new Uint8Array(0));
    return this.#came > 0 && new DataView(this.#last.buffer).getUint32(0, true) === this.#came % 2 ** 32;
  }

  async #pump(): Promise<void> {
    const { signal } = this.#abort;
    const next = chunksOf(this.#source);
    for (;;) {
      let chunk: Uint8Array | undefined;
      try {
        chunk = await next(signal);
      } catch (cause) {
        this.#failure = { cause };
        throw cause;
      }
      if (chunk === undefined) break;
      const bytes = withoutFinalZeros(chunk);
      if (bytes.byteLength > 0) {
        const zeros = this.#zeros;
        this.#zeros = 0;
        await this.#feedZeros(zeros);
        await this.#feed(bytes);
      }
      this.#zeros += chunk.byteLength - bytes.byteLength;
    }
    const final = Math.min(this.#zeros, MOST_FINAL_ZEROS);
    for (let done = 0; done < final; done++) {
      if (await this.#isAtTrailer()) break;
      // Nothing has a trailer of zeros only, which can't be told from what follows: there a failure is the end.
      this.#mayBeOver = this.#came === 0 && done >= TRAILER_BYTES;
      await this.#feedZeros(1);
      this.#mayBeOver = false;
    }
    await this.#writer.close();
  }

  async pull(): Promise<Uint8Array | undefined> {
    if (!this.#isStarted) {
      this.#isStarted = true;
      // What ends the pump ends the reading below, too.
      this.#pump().catch((cause: unknown) => this.#writer.abort(cause).catch(ignore));
    }
    let value: Uint8Array | undefined;
    try {
      ({ value } = await this.#reader.read());
    } catch (cause) {
      if (this.#failure !== undefined) throw this.#failure.cause;
      if (this.#mayBeOver) return undefined;
      if (this.#isOver) throw abortedError(this.#name, this.#abort.signal);
      const said = messageOf(cause);
      // The platform does not say where a member ends, so what follows one (a device tree, say) looks like damage.
      throw new DirectBootError(
        "DECOMPRESS_CORRUPT",
        `${this.#name}: gzip: the data up to byte ${this.#fed}: ${said}`,
        {
          cause,
          cure: "check that the file is complete and unmodified, and that nothing but zeros follows what is compressed",
        },
      );
    }
    this.#came += value?.byteLength ?? 0;
    if (this.#came > this.#maximumBytes) throw tooLarge(this.#name, this.#maximumBytes);
    return value;
  }

  cancel(reason: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#abort.abort(reason);
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
    if (isStreamed(this.#source)) this.#source.cancel(reason);
  }
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
  options: GunzipOptions & Pick<StreamOptions, "spoolLimit">,
): StreamSource {
  const { maximumBytes, name = source.name, spoolLimit } = options;
  checkMaximum(maximumBytes);
  if (!(source instanceof StreamSource)) knownLength(source);
  if (typeof DecompressionStream !== "function") throw unsupported(source.name, "DecompressionStream here");
  let stream: DecompressionStream;
  try {
    stream = new DecompressionStream("gzip");
  } catch {
    throw unsupported(source.name, "DecompressionStream for it here");
  }
  return new StreamSource(new GunzipSupply(guardSource(source), maximumBytes, name, stream), {
    name,
    spoolLimit,
  });
}

/** True if `source` can be decompressed by {@link gunzipSourceSync} here. */
export function canGunzipSync(source: Source): boolean {
  return isSyncSource(source) && nodeZlib() !== undefined;
}
