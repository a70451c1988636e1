/** Files that the user names: paths, pipes (also of a shell's process substitution), and "-" for standard input. */
import { createReadStream, type Stats, statSync } from "node:fs";
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { BytesSource } from "../sources/bytes.js";
import { UsageError } from "./options.js";

/** Bytes that are taken from a pipe at most: it is read whole, since headers and payloads are read in any order. */
const MOST_PIPE_BYTES = 0x7fff_f000;

/** Names of standard input. */
const STANDARD_INPUT: readonly string[] = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/** A path, or what a pipe has given. */
export type FileInput = string | BytesSource;

/**
 * All bytes of a stream.
 *
 * @throws DirectBootError SOURCE_TOO_LARGE for more than `limit`, SOURCE_READ
 */
async function readWhole(
  stream: AsyncIterable<Uint8Array>,
  name: string,
  limit: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let byteLength = 0;
  try {
    for await (const chunk of stream) {
      chunks.push(chunk);
      byteLength += chunk.byteLength;
      if (byteLength > limit) {
        const cure = "write it to a file, and give that";
        throw new DirectBootError("SOURCE_TOO_LARGE", `${name} has more than ${limit} bytes`, { cure });
      }
    }
  } catch (cause) {
    if (cause instanceof DirectBootError) throw cause;
    throw new DirectBootError("SOURCE_READ", `${name}: ${messageOf(cause)}`, { cause });
  }
  return Buffer.concat(chunks);
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    // Whoever opens it says what is wrong with it.
    return undefined;
  }
}

/** Throws UsageError if more than one of the paths is standard input, which can be read once only. */
export function checkPaths(paths: readonly string[]): void {
  if (paths.filter((path) => STANDARD_INPUT.includes(path)).length > 1) {
    throw new UsageError("standard input can be given once only");
  }
}

/**
 * A file by its path; what is no file but a pipe or standard input is read whole.
 *
 * @throws DirectBootError SOURCE_TOO_LARGE above `limit`, SOURCE_READ
 */
export async function fileInput(path: string, limit = MOST_PIPE_BYTES): Promise<FileInput> {
  const stat = path === "-" ? undefined : statOf(path);
  if (STANDARD_INPUT.includes(path) && stat?.isFile() !== true) {
    return new BytesSource(await readWhole(process.stdin, "standard input", limit), "standard input");
  }
  if (stat?.isFIFO() !== true) return path;
  return new BytesSource(await readWhole(createReadStream(path), path, limit), path);
}
