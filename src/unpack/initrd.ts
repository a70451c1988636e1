/**
 * An initrd as Linux reads it (init/initramfs.c, unpack_to_rootfs; Documentation/driver-api/early-userspace/
 * buffer-format.rst): cpio archives and compressed members one behind the other, zeros between. Here the members are
 * decompressed.
 */
import { DirectBootError } from "../base/errors.js";
import { DETECT_BYTES, detectCompression } from "../images/detect.js";
import { BytesSource } from "../sources/bytes.js";
import { readWhole } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import { concatSources } from "../sources/views.js";
import type { Task } from "../task/task.js";
import type { Unpacking } from "./unpacking.js";

/** "0707": what all headers of cpio's newc format start with (buffer-format.rst, c_magic). */
const CPIO_MAGIC = [0x30, 0x37, 0x30, 0x37];
/** sizeof a newc header, and the numbers of its fields behind the magic (buffer-format.rst). */
const HEADER_BYTES = 110;
const FILE_SIZE = 6;
const NAME_SIZE = 11;
/** Headers and data start at multiples of this. */
const ALIGNMENT = 4;

function isCpio(bytes: Uint8Array, at: number): boolean {
  return CPIO_MAGIC.every((byte, index) => bytes[at + index] === byte);
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

/** Where a plain archive that starts at `at` ends: at the next compressed member, or at the end. */
function endOfArchive(bytes: Uint8Array, at: number): number {
  const text = new TextDecoder("latin1");
  let next = at;
  while (isCpio(bytes, next)) {
    const header = text.decode(bytes.subarray(next, next + HEADER_BYTES));
    const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const [fileBytes, nameBytes] = [field(FILE_SIZE), field(NAME_SIZE)];
    const data = align(next + HEADER_BYTES + nameBytes);
    const end = align(data + fileBytes);
    // Anything but a header is left to the kernel, which reports it.
    if (!(end > next && data + fileBytes <= bytes.byteLength)) return bytes.byteLength;
    next = Math.min(end, bytes.byteLength);
    while (next < bytes.byteLength && bytes[next] === 0) next++;
  }
  return next;
}

/** Bytes of an initrd from `start` to `end` as they are, as far from a multiple of 4 as they were: the kernel looks at it. */
function asIs(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const shift = start % ALIGNMENT;
  if (shift === 0) return bytes.subarray(start, end);
  const shifted = new Uint8Array(shift + end - start);
  shifted.set(bytes.subarray(start, end), shift);
  return shifted;
}

/**
 * The archives of initrds, decompressed, one behind the other.
 *
 * @returns one source for each of `initrds`
 * @throws DirectBootError DECOMPRESS_*; DECOMPRESS_TOO_LARGE if what was compressed passes `maxDecompressedSize` together;
 *   SOURCE_EMPTY for one without anything in it
 */
export function* plainInitrds(initrds: readonly Source[], unpacking: Unpacking): Task<Source[]> {
  const plain: Source[] = [];
  let left = unpacking.options.maxDecompressedSize;
  for (const initrd of initrds) {
    const bytes = yield* readWhole(initrd);
    const parts: Source[] = [];
    let at = 0;
    while (at < bytes.byteLength) {
      if (bytes[at] === 0) {
        at++;
        continue;
      }
      const start = at;
      const format = detectCompression(bytes.subarray(at, at + DETECT_BYTES));
      if (format === undefined) {
        // Archives as they are: also what is none, which the kernel will name.
        at = isCpio(bytes, at) ? endOfArchive(bytes, at) : bytes.byteLength;
        parts.push(new BytesSource(asIs(bytes, start, at), initrd.name));
        continue;
      }
      const rest = bytes.subarray(at);
      const limit = { maxDecompressedSize: left };
      const { output, consumed } = yield* unpacking.decompress(format, rest, limit, true, initrd.name);
      left -= output.byteLength;
      at += consumed;
      if (output.byteLength > 0) parts.push(new BytesSource(output, initrd.name));
    }
    const [first, ...others] = parts;
    if (first === undefined) {
      const details = `there is nothing in the ${bytes.byteLength} bytes of ${initrd.name}`;
      const cure = "leave the initrd out, or give one with an archive in it";
      throw new DirectBootError("SOURCE_EMPTY", details, { cure });
    }
    plain.push(others.length === 0 ? first : concatSources(parts, ALIGNMENT, initrd.name));
  }
  return plain;
}
