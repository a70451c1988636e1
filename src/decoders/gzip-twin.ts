/**
 * gzip in JavaScript, for where WebAssembly is missing: small and plain, by canonical codes counted length by length
 * (as zlib's contrib/puff). The other formats have no twin.
 */
import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";
import { crc32Twin } from "../wasm/twins.js";
import { type GzipInput, gzipFollows, readGzipHeader } from "./gzip.js";
import type { DecodeProgress, Decoding, DecompressOptions } from "./options.js";

const LONGEST_CODE = 15;
const END_OF_BLOCK = 256;
const MOST_LITERALS = 286;
const MOST_DISTANCES = 30;
const TRAILER_BYTES = 8;
const FIRST_CAPACITY = 65_536;
const STEP_BYTES = 1_048_576;
// RFC 1951, 3.2.7
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** A canonical code: how many symbols have each length, and the symbols in order. */
interface Code {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

/** The stream's bits, and the output. */
class Twin implements GzipInput {
  readonly input: Uint8Array;
  position = 0;
  produced = 0;
  output = new Uint8Array(0);
  readonly limit: number;
  readonly #limitCode: DirectBootErrorCode;
  #hold = 0;
  #have = 0;

  constructor(input: Uint8Array, { maximumBytes, expectedBytes }: DecompressOptions) {
    this.input = input;
    this.limit = expectedBytes ?? maximumBytes;
    this.#limitCode = expectedBytes === undefined ? "DECOMPRESS_TOO_LARGE" : "DECOMPRESS_WRONG_SIZE";
  }

  error(code: DirectBootErrorCode, what: string, position = this.position): DirectBootError {
    return new DirectBootError(code, `gzip: ${what}, at byte ${position} of ${this.input.length}`);
  }

  corrupt(what: string, position?: number): DirectBootError {
    return this.error("DECOMPRESS_CORRUPT", what, position);
  }

  truncated(what: string): DirectBootError {
    return this.error("DECOMPRESS_TRUNCATED", `the input ends within ${what}`, this.input.length);
  }

  need(count: number, what: string): void {
    if (count > this.input.length - this.position) throw this.truncated(what);
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

  progress(): DecodeProgress {
    return { consumed: this.position, produced: this.produced };
  }

  /** The next `count` bits, at most 16. */
  bits(count: number): number {
    while (this.#have < count) {
      if (this.position >= this.input.length) throw this.truncated("a member");
      this.#hold |= this.u8(this.position++) << this.#have;
      this.#have += 8;
    }
    const value = this.#hold & ((1 << count) - 1);
    this.#hold >>>= count;
    this.#have -= count;
    return value;
  }

  /** Goes to the next byte. */
  align(): void {
    this.#hold = 0;
    this.#have = 0;
  }

  symbol({ counts, symbols }: Code): number {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= LONGEST_CODE; length++) {
      code |= this.bits(1);
      const count = counts[length] ?? 0;
      if (code - first < count) return symbols[index + code - first] ?? 0;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw this.corrupt("a member has an unknown code");
  }

  room(bytes: number): void {
    const wanted = this.produced + bytes;
    if (wanted > this.limit) {
      throw this.error(
        this.#limitCode,
        `the output is more than ${this.limit} bytes, the limit is ${this.limit}`,
      );
    }
    if (wanted <= this.output.length) return;
    const grown = new Uint8Array(
      Math.min(Math.max(wanted, 2 * this.output.length, FIRST_CAPACITY), this.limit),
    );
    grown.set(this.output.subarray(0, this.produced));
    this.output = grown;
  }

  stored(): void {
    this.align();
    this.need(4, "a member");
    const length = this.u16(this.position);
    if ((length ^ 0xffff) !== this.u16(this.position + 2)) throw this.corrupt("a stored block is damaged");
    this.position += 4;
    this.need(length, "a member");
    this.room(length);
    this.output.set(this.input.subarray(this.position, this.position + length), this.produced);
    this.position += length;
    this.produced += length;
  }

  *symbols(literals: Code, distances: Code, start: number): Decoding<void> {
    let reported = this.produced;
    while (true) {
      const symbol = this.symbol(literals);
      if (symbol === END_OF_BLOCK) return;
      if (symbol < END_OF_BLOCK) {
        this.room(1);
        this.output[this.produced++] = symbol;
      } else {
        if (symbol >= MOST_LITERALS) throw this.corrupt("a member has an unknown length");
        const length = this.length(symbol - 257);
        const code = this.symbol(distances);
        if (code >= MOST_DISTANCES) throw this.corrupt("a member has an unknown distance");
        const extra = code < 4 ? 0 : (code >> 1) - 1;
        const distance = 1 + (code < 4 ? code : ((2 + (code & 1)) << extra) + this.bits(extra));
        if (distance > this.produced - start) throw this.corrupt("a match reaches behind the member's start");
        this.room(length);
        for (let i = 0; i < length; i++) {
          this.output[this.produced] = this.output[this.produced - distance] ?? 0;
          this.produced++;
        }
      }
      if (this.produced - reported >= STEP_BYTES) {
        reported = this.produced;
        yield this.progress();
      }
    }
  }

  length(code: number): number {
    if (code === 28) return 258;
    if (code < 8) return 3 + code;
    const extra = (code >> 2) - 1;
    return 3 + ((4 + (code & 3)) << extra) + this.bits(extra);
  }

  code(lengths: Uint8Array): Code {
    const counts = new Uint16Array(LONGEST_CODE + 1);
    for (const length of lengths) counts[length] = (counts[length] ?? 0) + 1;
    const offsets = new Uint16Array(LONGEST_CODE + 2);
    let left = 1;
    for (let length = 1; length <= LONGEST_CODE; length++) {
      left = 2 * left - (counts[length] ?? 0);
      if (left < 0) throw this.corrupt("a member's codes are too many");
      offsets[length + 1] = (offsets[length] ?? 0) + (counts[length] ?? 0);
    }
    const present = lengths.length - (counts[0] ?? 0);
    if (left > 0 && present > 0 && (present > 1 || counts[1] !== 1)) {
      throw this.corrupt("a member's codes are too few");
    }
    const symbols = new Uint16Array(lengths.length);
    for (const [symbol, length] of lengths.entries()) {
      if (length === 0) continue;
      const at = offsets[length] ?? 0;
      symbols[at] = symbol;
      offsets[length] = at + 1;
    }
    return { counts, symbols };
  }

  /** The codes of a dynamic block (RFC 1951, 3.2.7). */
  dynamicCodes(): { literals: Code; distances: Code } {
    const literalCount = this.bits(5) + 257;
    const distanceCount = this.bits(5) + 1;
    const codeCount = this.bits(4) + 4;
    if (literalCount > MOST_LITERALS || distanceCount > MOST_DISTANCES) {
      throw this.corrupt("a member's codes are too many");
    }
    const codeLengths = new Uint8Array(CODE_ORDER.length);
    for (const place of CODE_ORDER.slice(0, codeCount)) codeLengths[place] = this.bits(3);
    const code = this.code(codeLengths);
    const lengths = new Uint8Array(literalCount + distanceCount);
    for (let i = 0; i < lengths.length; ) {
      const symbol = this.symbol(code);
      if (symbol < 16) {
        lengths[i++] = symbol;
        continue;
      }
      if (symbol === 16 && i === 0) throw this.corrupt("a member repeats no length");
      const value = symbol === 16 ? (lengths[i - 1] ?? 0) : 0;
      const repeat = symbol === 16 ? 3 + this.bits(2) : symbol === 17 ? 3 + this.bits(3) : 11 + this.bits(7);
      if (repeat > lengths.length - i) throw this.corrupt("a member's lengths are too many");
      lengths.fill(value, i, i + repeat);
      i += repeat;
    }
    if (lengths[END_OF_BLOCK] === 0) throw this.corrupt("a member's block has no end");
    return {
      literals: this.code(lengths.subarray(0, literalCount)),
      distances: this.code(lengths.subarray(literalCount)),
    };
  }

  /** The fixed codes (RFC 1951, 3.2.6). */
  fixedCodes(): { literals: Code; distances: Code } {
    const lengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280);
    return { literals: this.code(lengths), distances: this.code(new Uint8Array(32).fill(5)) };
  }

  *member(): Decoding<void> {
    readGzipHeader(this);
    const start = this.produced;
    this.align();
    for (let isLast = false; !isLast; ) {
      isLast = this.bits(1) === 1;
      const kind = this.bits(2);
      if (kind === 3) throw this.corrupt("a member has a block of an unknown kind");
      if (kind === 0) {
        this.stored();
      } else {
        const { literals, distances } = kind === 1 ? this.fixedCodes() : this.dynamicCodes();
        yield* this.symbols(literals, distances, start);
      }
    }
    this.align();
    this.need(TRAILER_BYTES, "a member's trailer");
    if (crc32Twin(this.output.subarray(start, this.produced), 0) !== this.u32(this.position)) {
      throw this.error("DECOMPRESS_CHECKSUM", "a member has another CRC-32");
    }
    if ((this.produced - start) % 2 ** 32 !== this.u32(this.position + 4)) {
      throw this.error("DECOMPRESS_WRONG_SIZE", "a member has another size than its trailer says");
    }
    this.position += TRAILER_BYTES;
  }
}

/** Decodes all members, or the first. Where it ends is left to the caller to judge. */
export function* decodeGzipTwin(
  input: Uint8Array,
  options: DecompressOptions,
  isMember: boolean,
): Decoding<{ output: Uint8Array; consumed: number }> {
  const twin = new Twin(input, options);
  const { allowTrailing = false, expectedBytes } = options;
  // Only a declared size tells where the data ends: a limit that is reached by chance would cut off the next member.
  do yield* twin.member();
  while (!isMember && !(allowTrailing && twin.produced === expectedBytes) && gzipFollows(twin));
  return { output: twin.output.slice(0, twin.produced), consumed: twin.position };
}
