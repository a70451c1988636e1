/** `--rng-seed FILE`: bytes for the guest's random number generator. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { fileInput } from "./input.js";

/** Bytes read from a device, which has no end: as many as QEMU gives its guests (hw/i386/x86-common.c, RNG_SEED_LENGTH). */
const DEVICE_SEED_BYTES = 32;
/** More than any generator keeps. */
const MOST_SEED_BYTES = 4096;

/** At most one byte more than is taken (files in /proc have a size of 0, so only reading tells), 32 of a device. */
function readPath(path: string): Uint8Array {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const stat = fstatSync(descriptor);
    if (!stat.isFile() && !stat.isCharacterDevice()) {
      const problem = `${path} is neither a file nor a pipe nor a character device`;
      throw new DirectBootError("SOURCE_NOT_FOUND", problem);
    }
    const bytes = new Uint8Array(stat.isFile() ? MOST_SEED_BYTES + 1 : DEVICE_SEED_BYTES);
    let length = 0;
    while (length < bytes.byteLength) {
      const got = readSync(descriptor, bytes, length, bytes.byteLength - length, null);
      if (got === 0) break;
      length += got;
    }
    return bytes.slice(0, length);
  } catch (cause) {
    if (cause instanceof DirectBootError) throw cause;
    const code = descriptor === undefined ? "SOURCE_NOT_FOUND" : "SOURCE_READ";
    throw new DirectBootError(code, `the seed can't be read (${messageOf(cause)})`, { cause });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/**
 * Reads a seed: all of a file or pipe, the first 32 bytes of a character device.
 *
 * @throws DirectBootError SOURCE_NOT_FOUND, SOURCE_READ; SOURCE_EMPTY; SOURCE_TOO_LARGE above 4096 bytes
 */
export async function readSeed(path: string): Promise<Uint8Array> {
  const input = await fileInput(path, MOST_SEED_BYTES);
  const bytes = typeof input === "string" ? readPath(input) : input.peek(0, input.byteLength);
  if (bytes.byteLength === 0) {
    throw new DirectBootError("SOURCE_EMPTY", `the seed ${path} has 0 bytes`, { cure: "give it some bytes" });
  }
  if (bytes.byteLength > MOST_SEED_BYTES) {
    const tooLong = `the seed ${path} has more than ${MOST_SEED_BYTES} bytes`;
    throw new DirectBootError("SOURCE_TOO_LARGE", tooLong);
  }
  return bytes;
}
