/** gzip by node:zlib, where there is no WebAssembly and for those who have not loaded the decoders. */
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { crc32 } from "../wasm/hot-paths.js";
import { Cursor } from "./cursor.js";
import { checkGzipSize, GZIP_MAGIC, readGzipHeader } from "./gzip-header.js";
import type { DecodedMember, DecompressOptions } from "./options.js";

// Size of zlib's output buffers.
const OUTPUT_PIECE_BYTES = 256 * 1024;
// The most that zlib returns at once; Node 20 refuses an option above 4 GiB.
const MOST_OUTPUT_BYTES = 0x7fff_ffff;

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

/** Inflates the deflate stream at the cursor, and moves behind it. */
function inflate(cursor: Cursor, zlib: Zlib): Uint8Array {
  const room = cursor.limit - cursor.produced;
  let inflated: ReturnType<Zlib["inflateRawSync"]>;
  try {
    inflated = zlib.inflateRawSync(cursor.input.subarray(cursor.position), {
      info: true,
      chunkSize: OUTPUT_PIECE_BYTES,
      // zlib takes no 0.
      maxOutputLength: Math.min(Math.max(1, room), MOST_OUTPUT_BYTES),
    });
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ERR_BUFFER_TOO_LARGE") throw cursor.tooLarge();
    if (code === "Z_BUF_ERROR") throw cursor.truncated("a member");
    throw new DirectBootError("DECOMPRESS_CORRUPT", cursor.corrupt(messageOf(cause)).details, { cause });
  }
  const { buffer, engine } = inflated;
  if (buffer.byteLength > room) throw cursor.tooLarge();
  cursor.position += engine.bytesWritten;
  cursor.produced += buffer.byteLength;
  return buffer;
}

/**
 * Decompresses all members, or the first. The caller checks what follows.
 *
 * @throws DirectBootError DECOMPRESS_*; DECOMPRESS_UNSUPPORTED outside Node
 */
export function gunzipByPlatform(
  input: Uint8Array,
  options: DecompressOptions,
  isMember: boolean,
): DecodedMember {
  const zlib = nodeZlib();
  if (zlib === undefined) {
    throw new DirectBootError(
      "DECOMPRESS_UNSUPPORTED",
      "gzip: there is neither WebAssembly with SIMD for it nor node:zlib",
    );
  }
  const cursor = new Cursor("gzip", input, options);
  const pieces: Uint8Array[] = [];
  do {
    readGzipHeader(cursor);
    const start = cursor.produced;
    const piece = inflate(cursor, zlib);
    cursor.need(4, "a member's checksum");
    if (crc32(piece) !== cursor.u32(cursor.position)) throw cursor.badChecksum("a member");
    cursor.position += 4;
    checkGzipSize(cursor, start);
    pieces.push(piece);
  } while (!isMember && !cursor.isComplete(options) && cursor.startsWith(GZIP_MAGIC));
  return { output: joined(pieces, cursor.produced), consumed: cursor.position };
}

function joined(pieces: readonly Uint8Array[], byteLength: number): Uint8Array {
  if (pieces.length === 1 && pieces[0] !== undefined) return pieces[0];
  const output = new Uint8Array(byteLength);
  let at = 0;
  for (const piece of pieces) {
    output.set(piece, at);
    at += piece.byteLength;
  }
  return output;
}
