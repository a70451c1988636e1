/**
 * An initrd as Linux reads it (init/initramfs.c, unpack_to_rootfs; Documentation/driver-api/early-userspace/
 * buffer-format.rst): cpio archives and compressed members one behind the other, zeros between. Here the members are
 * decompressed.
 */
import { DirectBootError } from "../base/errors.js";
import { DETECT_BYTES, detectFormat } from "../images/detect.js";
import { BytesSource } from "../sources/bytes.js";
import { concatSources } from "../sources/concat.js";
import { type Reading, readBytes, readWork } from "../sources/reader.js";
import { knownLength, type Source } from "../sources/source.js";
import { isCompression, noDecoder } from "./decoding.js";
import type { Unpacking } from "./kernel-file.js";

/** "0707": what all headers of cpio's newc format start with (buffer-format.rst, c_magic). */
const CPIO_MAGIC = [0x30, 0x37, 0x30, 0x37];

function isCpio(bytes: Uint8Array, at: number): boolean {
  return CPIO_MAGIC.every((byte, index) => bytes[at + index] === byte);
}

/** Where a plain archive that starts at `at` ends: at the next compressed member, or at the end. */
function endOfArchive(bytes: Uint8Array, at: number): number {
  const text = new TextDecoder("latin1");
  let next = at;
  while (isCpio(bytes, next)) {
    const header = text.decode(bytes.subarray(next, next + HEADER_BYTES));
    const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const [fileBytes, nameBytes] = [field(FILE_SIZE), field(NAME_SIZE)];
    const data = align4(next + HEADER_BYTES + nameBytes);
    const end = align4(data + fileBytes);
    // What is no header is left to the kernel, which says what it thinks of it.
    if (!(end > next && data + fileBytes <= bytes.byteLength)) return bytes.byteLength;
    next = Math.min(end, bytes.byteLength);
    while (next < bytes.byteLength && bytes[next] === 0) next++;
  }
  return next;
}

/** sizeof a newc header, and the numbers of its fields behind the magic (buffer-format.rst). */
const HEADER_BYTES = 110;
const FILE_SIZE = 6;
const NAME_SIZE = 11;

function align4(offset: number): number {
  return Math.ceil(offset / 4) * 4;
}

/**
 * The archives of an initrd, decompressed, one behind the other.
 *
 * @throws DirectBootError DECOMPRESS_*; DECOMPRESS_TOO_LARGE if they pass `maximumBytes` together
 */
export function* plainInitrd(initrd: Source, unpacking: Unpacking): Reading<Source> {
  const { decoders, maximumBytes } = unpacking;
  const bytes = yield* readBytes(initrd, 0, knownLength(initrd));
  const parts: Source[] = [];
  let left = maximumBytes;
  let at = 0;
  while (at < bytes.byteLength) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const start = at;
    const format = detectFormat(bytes.subarray(at, at + DETECT_BYTES));
    if (!isCompression(format)) {
      // Archives as they are: also what is none, which the kernel will name.
      at = isCpio(bytes, at) ? endOfArchive(bytes, at) : bytes.byteLength;
      parts.push(new BytesSource(bytes.subarray(start, at), initrd.name));
      continue;
    }
    if (decoders === undefined) throw noDecoder(initrd, format);
    const { decompressMember } = decoders;
    let consumed = 0;
    const limit = left;
    const member = yield* readWork(
      // biome-ignore lint/correctness/useYield: one piece of work.
      (function* (): Generator<unknown, Uint8Array> {
        const decoded = decompressMember(format, bytes.subarray(start), { maximumBytes: limit });
        consumed = decoded.consumed;
        return decoded.output;
      })(),
    );
    left -= member.byteLength;
    at += consumed;
    parts.push(new BytesSource(member, initrd.name));
  }
  const [first, ...others] = parts;
  if (first === undefined) {
    throw new DirectBootError("SOURCE_EMPTY", `${initrd.name} holds zeros only`, {
      cure: "leave the initrd out, or give one with an archive in it",
    });
  }
  return others.length === 0 ? first : concatSources(parts);
}
