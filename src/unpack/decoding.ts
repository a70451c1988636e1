/** The decoders, as the loader sees them: handed in by the caller or loaded on demand, so that nobody pays who needs none. */
import { DirectBootError } from "../base/errors.js";
import type * as DecodersModule from "../decoders/index.js";
import { DETECT_BYTES, describeFormat, type ImageFormat } from "../images/detect.js";
import { readBytes, readWhole } from "../sources/reading.js";
import { DECODER_WORK_PAGES, type Source } from "../sources/source.js";
import { pause, type Task } from "../task/task.js";

/** What `import * as decoders from "directboot/decoders"` gives. */
export type Decoders = Pick<
  typeof DecodersModule,
  "decodeMemberSteps" | "decodeSteps" | "decodeStepsInto" | "decompress"
>;

/** Formats that hold something compressed. */
export type CompressionFormat = DecodersModule.CompressionFormat;

/**
 * Loads the decoders: a file of their own. Gives undefined where that can't be done (a page may be offline, a policy may
 * forbid it): then what needs them says so.
 */
export async function loadDecoders(): Promise<Decoders | undefined> {
  try {
    return await import("../decoders/index.js");
  } catch {
    return undefined;
  }
}

/** How far decompressing is: wrappers, kernel and initrds one after the other, as one way that never goes back. */
export class UnpackProgress {
  readonly #report: (progress: { readonly loaded: number; readonly total: number }) => void;
  /** Bytes of what is complete. */
  #before = 0;

  constructor(report: (progress: { readonly loaded: number; readonly total: number }) => void) {
    this.#report = report;
  }

  /** So many bytes of what is being unpacked are there; `total` is what they will be, if that is known. */
  step(unpacked: number, total: number | undefined): void {
    this.#report({
      loaded: this.#before + unpacked,
      total: this.#before + Math.max(total ?? unpacked, unpacked),
    });
  }

  /** What was being unpacked is complete. */
  done(bytes: number): void {
    this.step(bytes, bytes);
    this.#before += bytes;
  }
}

/** What is to be decompressed. */
export interface PackedRange {
  readonly source: Source;
  readonly offset: number;
  /** Undefined for all of the source. */
  readonly length: number | undefined;
  readonly format: CompressionFormat;
  /** Bytes that it says it will be. */
  readonly expectedBytes?: number | undefined;
  /** Something may stand behind it. */
  readonly allowTrailing: boolean;
}

/** The compressed bytes. Throws SOURCE_SPOOL_LIMIT, SOURCE_TOO_LARGE if they can't be held. */
export function* readPacked({ source, offset, length }: PackedRange): Task<Uint8Array> {
  return yield* length === undefined ? readWhole(source) : readBytes(source, offset, length);
}

/** The error for a compression that can't be undone with what there is. */
export function noDecoder({ name }: Source, format: ImageFormat): DirectBootError {
  return new DirectBootError("DECOMPRESS_UNSUPPORTED", `${name} is ${describeFormat(format)}`, {
    cure: 'give the option decoders (import * as decoders from "directboot/decoders"), or use the asynchronous function',
  });
}

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
  maximumBytes: number,
): Uint8Array | undefined {
  // These two are not made in place anyhow.
  if (format === "bzip2" || format === "lzo") return undefined;
  const byteLength = Math.min(expectedBytes ?? maximumBytes, maximumBytes, MOST_HEAD_BYTES);
  const scratchOffset = Math.ceil(byteLength / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: scratchOffset / WASM_PAGE_BYTES + DECODER_WORK_PAGES });
  } catch {
    return undefined;
  }
  const place = { memory, offset: 0, byteLength, scratchOffset };
  const steps = decoders.decodeStepsInto(format, input, place, {
    maximumBytes,
    expectedBytes,
    allowTrailing,
  });
  let head: Uint8Array | undefined;
  try {
    const step = steps.next();
    if (step.done !== true) head = new Uint8Array(memory.buffer, 0, step.value.produced);
  } catch (cause) {
    const isTooLarge = cause instanceof DirectBootError && cause.code === "DECOMPRESS_TOO_LARGE";
    if (isTooLarge && byteLength === MOST_HEAD_BYTES && byteLength < maximumBytes) return undefined;
    throw cause;
  } finally {
    steps.return({ byteLength: 0, consumed: 0 });
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
/** What the arm64 filter changes: BL, and ADRP. */
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

/** Decompresses a range into one buffer. Throws DECOMPRESS_*, and SOURCE_TOO_LARGE if the input can't be held. */
export function* unpackRange(
  decoders: Decoders,
  packed: PackedRange,
  input: Uint8Array,
  maximumBytes: number,
  progress: UnpackProgress | undefined,
): Task<Uint8Array> {
  const { format, expectedBytes, allowTrailing } = packed;
  const steps = decoders.decodeSteps(format, input, { maximumBytes, expectedBytes, allowTrailing });
  const { output } = yield* runSteps(steps, expectedBytes, progress);
  return output;
}

/** Decompresses the first member of `input`; gives its bytes, and how many bytes of input it took. */
export function* unpackMember(
  decoders: Decoders,
  format: CompressionFormat,
  input: Uint8Array,
  maximumBytes: number,
  progress: UnpackProgress | undefined,
): Task<DecodersModule.DecodedMember> {
  return yield* runSteps(decoders.decodeMemberSteps(format, input, { maximumBytes }), undefined, progress);
}

function* runSteps(
  steps: DecodersModule.Decoding<DecodersModule.DecodedMember>,
  total: number | undefined,
  progress: UnpackProgress | undefined,
): Task<DecodersModule.DecodedMember> {
  try {
    while (true) {
      const step = steps.next();
      if (step.done === true) {
        progress?.done(step.value.output.byteLength);
        return step.value;
      }
      progress?.step(step.value.produced, total);
      yield* pause();
    }
  } finally {
    steps.return({ output: new Uint8Array(0), consumed: 0 });
  }
}
