import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";
import type { CompressionFormat, DecompressOptions } from "./options.js";

/** A position in a decoder's input, reads relative to it, and errors that name it. */
export class Cursor {
  readonly format: CompressionFormat;
  readonly input: Uint8Array;
  /** Next byte of input. */
  position = 0;
  /** Bytes of output so far. */
  produced = 0;
  /** Most bytes of output. */
  limit: number;
  protected limitCode: DirectBootErrorCode;
  readonly #inputBytes: number;

  constructor(format: CompressionFormat, input: Uint8Array, options: DecompressOptions) {
    this.format = format;
    this.input = input;
    this.#inputBytes = input.length;
    const { maxDecompressedSize, expectedBytes } = options;
    this.limit = expectedBytes ?? maxDecompressedSize;
    this.limitCode = expectedBytes === undefined ? "DECOMPRESS_TOO_LARGE" : "DECOMPRESS_WRONG_SIZE";
  }

  /** Bytes of input that are left. */
  get left(): number {
    return this.input.length - this.position;
  }

  /** An error whose message names byte `position` of the input. */
  error(code: DirectBootErrorCode, what: string, position = this.position): DirectBootError {
    return new DirectBootError(code, `${this.format}: ${what}, at byte ${position} of ${this.input.length}`);
  }

  corrupt(what: string, position?: number): DirectBootError {
    return this.error("DECOMPRESS_CORRUPT", what, position);
  }

  unsupported(what: string, position?: number): DirectBootError {
    return this.error("DECOMPRESS_UNSUPPORTED", what, position);
  }

  badChecksum(what: string, position?: number): DirectBootError {
    return this.error("DECOMPRESS_CHECKSUM", `${what} has another checksum`, position);
  }

  truncated(what: string): DirectBootError {
    return this.error("DECOMPRESS_TRUNCATED", `the input ends within ${what}`, this.input.length);
  }

  /** The error for more output than is allowed; `bytes` if that is known. */
  tooLarge(bytes?: number): DirectBootError {
    const what = bytes === undefined ? `more than ${this.limit}` : `${bytes}`;
    const limit = this.limitCode === "DECOMPRESS_TOO_LARGE" ? "the limit is" : "declared are";
    return this.error(this.limitCode, `the output is ${what} bytes, ${limit} ${this.limit}`);
  }

  /** Throws DECOMPRESS_TRUNCATED unless `count` bytes of input are left. */
  need(count: number, what: string): void {
    if (count > this.left) throw this.truncated(what);
  }

  /** Throws if `byteLength` more bytes of output, as a header declares them, exceed the limit. */
  checkDeclared(byteLength: number | undefined): void {
    if (byteLength !== undefined && byteLength > this.limit - this.produced) {
      throw this.tooLarge(this.produced + byteLength);
    }
  }

  /** Throws DECOMPRESS_WRONG_SIZE unless the output from `start` on has the declared size. */
  checkProduced(start: number, declared: number | undefined, what: string): void {
    const byteLength = this.produced - start;
    if (declared === undefined || byteLength === declared) return;
    throw this.error(
      "DECOMPRESS_WRONG_SIZE",
      `${what} has ${byteLength} bytes of output, ${declared} are declared`,
    );
  }

  /** True if the bytes `magic` are at `at`. */
  startsWith(magic: readonly number[], at = this.position): boolean {
    return magic.every((byte, i) => this.input[at + i] === byte);
  }

  /** Throws unless a header of at least `byteLength` bytes, which begins with `magic`, is at the position. */
  needMagic(magic: readonly number[], byteLength: number, format: string, what: string): void {
    this.need(byteLength, what);
    if (!this.startsWith(magic)) throw this.corrupt(`there is no ${format} magic number`);
  }

  u8(at: number): number {
    return this.input[at] ?? 0;
  }

  u16(at: number): number {
    return this.u8(at) | (this.u8(at + 1) << 8);
  }

  u32(at: number): number {
    return (this.u16(at) | (this.u16(at + 2) << 16)) >>> 0;
  }

  /** Exact up to 2^53. Larger values are rounded, and exceed any limit. */
  u64(at: number): number {
    return this.u32(at) + this.u32(at + 4) * 2 ** 32;
  }

  u32BigEndian(at: number): number {
    return ((this.u8(at) << 24) | (this.u8(at + 1) << 16) | (this.u8(at + 2) << 8) | this.u8(at + 3)) >>> 0;
  }

  /** True once the output has the expected size and trailing bytes are allowed: the stream ends here. */
  isComplete({ allowTrailing = false, expectedBytes }: DecompressOptions): boolean {
    return allowTrailing && this.produced === expectedBytes;
  }

  /** Throws SOURCE_READ if the input's buffer was detached or resized between two steps. */
  checkInput(): void {
    if (this.input.length === this.#inputBytes) return;
    throw new DirectBootError(
      "SOURCE_READ",
      `${this.format}: the buffer of the ${this.#inputBytes} bytes of input was detached or resized`,
      { cure: "leave the input as it is until all of it is decompressed" },
    );
  }
}
