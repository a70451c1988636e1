/**
 * Files, in Node and what is compatible with it, read at positions: no seek, no state, no stream.
 */

import type * as NodeFs from "node:fs";
import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { abortedError } from "../task/run.js";
import { arrived, isObserved } from "./arrival.js";
import { type FileHandle, isFileHandle } from "./platform-shapes.js";
import { checkSourceRange, checkTarget, needsNoGuard, type SyncSource } from "./source.js";

// A read of 2 GiB or more throws in Node 20 (libuv takes an int): larger ones are split.
const MOST_BYTES_A_READ = 1 << 30;
// libuv has four threads by default; pieces of 2 MiB keep them busy and the calls few.
const PARALLEL_READS = 4;
const PARALLEL_PIECE_BYTES = 2 << 20;
// Where somebody is told of each.
const OBSERVED_BYTES = 8 << 20;

/** node:fs, or undefined outside Node; never by an import that a browser bundle would see. */
function nodeFs(): typeof NodeFs | undefined {
  const found: unknown = globalThis.process?.getBuiltinModule?.("node:fs");
  return found === undefined ? undefined : (found as typeof NodeFs);
}

function causeCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
}

/**
 * A file as a source. It stays open until `close`; a handle of the caller's stays the caller's to close.
 *
 * @example
 * ```ts
 * import { FileSource, loadLinuxSync } from "directboot";
 *
 * const kernel = new FileSource("vmlinuz");
 * try {
 *   for (const commandLine of ["quiet", "debug"]) {
 *     loadLinuxSync({ kernel, commandLine, memory: 64 * 1024 * 1024 });
 *   }
 * } finally {
 *   kernel.close();
 * }
 * ```
 */
export class FileSource implements SyncSource {
  readonly name: string;
  readonly byteLength: number;
  /** What it was opened by; undefined for a FileHandle. */
  readonly path: string | URL | undefined;
  readonly #fs: typeof NodeFs;
  #descriptor: number | undefined;
  /** Held, too, because a handle that is collected closes its file. */
  readonly #handle: FileHandle | undefined;

  /**
   * Opens a path or file: URL for reading, or reads from a file that the caller has opened; reads are at positions and
   * leave the handle's own as it is.
   *
   * @param name what messages call a handle; a path names itself
   * @throws TypeError outside Node
   * @throws DirectBootError SOURCE_NOT_FOUND if it can't be opened or is no regular file
   */
  constructor(file: string | URL | FileHandle, name = "file") {
    const fs = nodeFs();
    if (typeof file !== "string" && !(file instanceof URL) && !isFileHandle(file)) {
      throw wrongType("file", "a path, a file: URL or a FileHandle", file);
    }
    this.#handle = isFileHandle(file) ? file : undefined;
    this.path = isFileHandle(file) ? undefined : file;
    this.name = isFileHandle(file) ? name : typeof file === "string" ? file : file.href;
    const cure = "give await fetch(url)";
    if (/^https?:/i.test(this.name)) {
      throw new DirectBootError("SOURCE_NOT_FOUND", `${this.name} is no file`, { cure });
    }
    if (fs === undefined) throw new TypeError(`a path is only understood in Node: ${this.name}; ${cure}`);
    this.#fs = fs;
    try {
      if (isFileHandle(file)) {
        this.#descriptor = file.fd;
      } else {
        // Without O_NONBLOCK a FIFO that nobody writes to would never be opened; files don't heed it.
        const { O_RDONLY, O_NONBLOCK = 0 } = fs.constants;
        this.#descriptor = fs.openSync(file, O_RDONLY | O_NONBLOCK);
      }
      const stat = fs.fstatSync(this.#open());
      if (!stat.isFile()) {
        throw new DirectBootError("SOURCE_NOT_FOUND", `${this.name} is not a regular file`);
      }
      this.byteLength = stat.size;
      if (new.target === FileSource) needsNoGuard(this);
    } catch (cause) {
      this.close();
      if (cause instanceof DirectBootError) throw cause;
      throw new DirectBootError("SOURCE_NOT_FOUND", `${this.name} can't be opened (${causeCode(cause)})`, {
        cause,
      });
    }
  }

  /** Closes the file, unless the caller opened it; further reads fail. */
  close(): void {
    if (this.#descriptor !== undefined && this.#handle === undefined) this.#fs.closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #open(): number {
    // A handle that was closed has -1; its old number may be another file's by now.
    if (
      this.#descriptor === undefined ||
      (this.#handle !== undefined && this.#handle.fd !== this.#descriptor)
    )
      throw new DirectBootError("SOURCE_READ", `${this.name} is closed`, {
        cure: "make the plan or the source anew, and close it when its last load is over",
      });
    return this.#descriptor;
  }

  #failed(offset: number, cause: unknown): DirectBootError {
    return new DirectBootError(
      "SOURCE_READ",
      `${this.name}: reading at byte ${offset} failed (${causeCode(cause)})`,
      { cause },
    );
  }

  #short(offset: number, asked: number, got: number): DirectBootError {
    return new DirectBootError(
      "SOURCE_SHORT",
      `${this.name}: it ended at byte ${offset + got}, ${asked} bytes from ${offset} were asked for`,
    );
  }

  readSync(target: Uint8Array, offset: number): void {
    checkSourceRange(this, offset, target.byteLength);
    const descriptor = this.#open();
    const most = isObserved(this) ? OBSERVED_BYTES : MOST_BYTES_A_READ;
    let done = 0;
    while (done < target.byteLength) {
      const length = Math.min(target.byteLength - done, most);
      let got: number;
      try {
        got = this.#fs.readSync(descriptor, target, done, length, offset + done);
      } catch (cause) {
        throw this.#failed(offset + done, cause);
      }
      if (got === 0) throw this.#short(offset, target.byteLength, done);
      arrived(this, offset + done, offset + done + got);
      done += got;
    }
  }

  /**
   * Large reads go to the system in pieces, four at a time: the first touch of each page of fresh memory costs more
   * than the copy, and goes on on as many threads.
   */
  async read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    const { byteLength } = target;
    checkSourceRange(this, offset, byteLength);
    let next = 0;
    let isOver = false;
    const work = async (): Promise<void> => {
      while (next < target.byteLength && !isOver) {
        const start = next;
        next = Math.min(start + PARALLEL_PIECE_BYTES, target.byteLength);
        await this.#readPiece(target.subarray(start, next), offset + start, signal);
      }
    };
    const workers = Math.min(PARALLEL_READS, Math.ceil(target.byteLength / PARALLEL_PIECE_BYTES));
    // All are awaited, also when one fails: none may write into `target` once the caller knows of the failure.
    const results = await Promise.allSettled(
      Array.from({ length: workers }, () =>
        work().catch((cause) => {
          isOver = true;
          throw cause;
        }),
      ),
    );
    checkTarget(this.name, target, byteLength);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #readPiece(target: Uint8Array, offset: number, signal: AbortSignal | undefined): Promise<void> {
    let done = 0;
    while (done < target.byteLength) {
      if (signal?.aborted) throw abortedError(this.name, signal);
      const descriptor = this.#open();
      const at = offset + done;
      const got = await new Promise<number>((resolve, reject) => {
        this.#fs.read(descriptor, target, done, target.byteLength - done, at, (cause, bytesRead) => {
          if (cause === null) resolve(bytesRead);
          else reject(this.#failed(at, cause));
        });
      });
      if (got === 0) throw this.#short(offset, target.byteLength, done);
      arrived(this, offset + done, offset + done + got);
      done += got;
    }
  }
}
