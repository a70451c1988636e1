/** Files are written in a folder that nobody else can enter, then renamed, so that each is whole or not there. */
import {
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { messageOf } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";

/** Bytes between two turns of the event loop, in which signals come in. */
const WRITE_BYTES = 8 << 20;

/** Mode of an output, before the umask. */
export const FILE_MODE = 0o666;

/** Until a pipe is asked again whether it takes more. */
const MILLISECONDS_TO_DRAIN = 5;

/** A system error as OUTPUT_FAILED: what was being written, and why it failed. */
export function outputError(what: string, cause: unknown): DirectBootError {
  if (cause instanceof DirectBootError) return cause;
  return new DirectBootError("OUTPUT_FAILED", `${what}: ${messageOf(cause)}`, { cause });
}

/** A turn of the event loop: a signal that came in meanwhile ends the process here. */
export function aTurn(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}

function hasCode(cause: unknown, code: string): boolean {
  return cause instanceof Error && "code" in cause && cause.code === code;
}

/** Writes all of `bytes`, in pieces, with a turn of the event loop after each. */
async function writeAll(
  descriptor: number,
  bytes: Uint8Array,
  onWritten: (byteLength: number) => void = () => {},
): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    let written = 0;
    try {
      written = writeSync(descriptor, bytes, done, Math.min(WRITE_BYTES, bytes.byteLength - done));
    } catch (cause) {
      // A pipe that is full for now.
      if (!hasCode(cause, "EAGAIN")) throw cause;
      await new Promise((drained) => setTimeout(drained, MILLISECONDS_TO_DRAIN));
    }
    done += written;
    onWritten(written);
    await aTurn();
  }
}

/**
 * Makes a new file with these bytes.
 *
 * @param mode of the file, less the umask
 * @throws what node:fs throws; EEXIST for a file or link that is there already
 */
export async function createFile(
  path: string,
  mode: number,
  pieces: Iterable<Uint8Array>,
  onWritten?: (byteLength: number) => void,
): Promise<void> {
  // O_EXCL: nothing that is there is written to, and no link followed.
  const descriptor = openSync(path, "wx", mode);
  try {
    for (const bytes of pieces) await writeAll(descriptor, bytes, onWritten);
    // Some file systems find out only now that the disk is full.
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * A new folder of an unpredictable name that only this user can enter, for incomplete files. It is removed with the
 * process, however that ends, except by SIGKILL.
 */
export class StagingFolder {
  readonly path: string;
  readonly #removeTree = (): void => {
    try {
      rmSync(this.path, { recursive: true, force: true });
    } catch {
      // The first error matters more.
    }
  };

  /** @param parent where the output is to lie: a rename does not cross file systems */
  constructor(parent: string, prefix = ".directboot-") {
    this.path = mkdtempSync(join(parent, prefix));
    process.on("exit", this.#removeTree);
  }

  /** Removes it, with its contents. */
  remove(): void {
    this.#removeTree();
    process.removeListener("exit", this.#removeTree);
  }
}

/** The file, folder or link at a path; undefined if there is none. */
function look(stat: (path: string) => Stats, path: string): Stats | undefined {
  try {
    return stat(path);
  } catch (cause) {
    if (hasCode(cause, "ENOENT")) return undefined;
    throw cause;
  }
}

/**
 * True if `folder` is there, false if it can be made.
 *
 * @throws DirectBootError OUTPUT_FAILED if something else is in its place
 */
export function isFolderThere(folder: string): boolean {
  const path = resolve(folder);
  try {
    const found = look(statSync, path);
    if (found?.isDirectory() === true) return true;
    if (found !== undefined) throw new DirectBootError("OUTPUT_FAILED", `${folder} exists and is no folder`);
    if (look(lstatSync, path) !== undefined) {
      throw new DirectBootError("OUTPUT_FAILED", `${folder} is a symbolic link to nothing`);
    }
    return false;
  } catch (cause) {
    throw outputError(folder, cause);
  }
}

/** Moves the files `names` from one folder to another, all or none; the last one refers to the others. */
function replaceFiles(from: string, to: string, names: readonly string[]): void {
  const present = names.filter((name) => {
    const found = look(lstatSync, join(to, name));
    if (found?.isDirectory() === true) {
      throw new DirectBootError("OUTPUT_FAILED", `${join(to, name)} is a folder`);
    }
    return found !== undefined;
  });
  const old = join(from, "old");
  mkdirSync(old);
  const done: { readonly source: string; readonly target: string }[] = [];
  const move = (source: string, target: string): void => {
    renameSync(source, target);
    done.push({ source, target });
  };
  try {
    // At no moment does an old file refer to a new one, or the other way round.
    for (const name of present.reverse()) move(join(to, name), join(old, name));
    for (const name of names) move(join(from, name), join(to, name));
  } catch (cause) {
    for (const { source, target } of done.reverse()) {
      try {
        renameSync(target, source);
      } catch {
        // The folder itself is gone, or no longer writable.
      }
    }
    throw cause;
  }
}

/** `path` and the folders above it that are not there, the lowest first. */
function missingFolders(path: string): string[] {
  const missing: string[] = [];
  for (let folder = path; look(lstatSync, folder) === undefined; folder = dirname(folder))
    missing.push(folder);
  return missing;
}

/** Removes folders that were made for an output that failed, the lowest first. */
function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      rmdirSync(folder);
    } catch {
      // It was not made, or somebody else has put a file there.
    }
  }
}

/**
 * Writes the files `names` into a folder, which need not be there: all of them or none, and nothing else changes. Files of
 * these names are replaced, links too, which are not followed.
 *
 * @param write makes the files in the folder that it is given; the last of `names` refers to the others
 * @throws DirectBootError OUTPUT_FAILED
 */
export async function writeFolder<T>(
  out: string,
  names: readonly string[],
  write: (folder: string) => Promise<T>,
): Promise<T> {
  const target = resolve(out);
  const isThere = isFolderThere(out);
  // Within a folder that is there: it may be a mount point, or the only place where we may write.
  const parent = isThere ? target : dirname(target);
  let made: readonly string[] = [];
  const removeParents = (): void => removeEmpty(made);
  try {
    made = missingFolders(parent);
    // One by one: of several at once Node says ENOENT on a read-only file system.
    for (const folder of [...made].reverse()) mkdirSync(folder);
    const staging = new StagingFolder(parent);
    // After the staging folder's listener: its contents must be gone first.
    process.on("exit", removeParents);
    try {
      // Made by mkdir, not mkdtemp: its mode is what the umask leaves.
      const folder = join(staging.path, "new");
      mkdirSync(folder);
      const result = await write(folder);
      await aTurn();
      if (isThere) replaceFiles(folder, target, names);
      else renameSync(folder, target);
      made = [];
      return result;
    } finally {
      staging.remove();
      process.removeListener("exit", removeParents);
    }
  } catch (cause) {
    removeParents();
    throw outputError(out, cause);
  }
}

/** A link to the process's own files, such as /dev/stdout: a rename would replace it for everybody. */
function isSystemLink(path: string): boolean {
  if (look(lstatSync, path)?.isSymbolicLink() !== true) return false;
  const folder = realpathSync(dirname(path));
  return folder === "/dev" || folder.startsWith("/proc/");
}

/**
 * True if an output of this name is written to in place, not replaced: a character device (/dev/null) or a pipe, also
 * through a link (/dev/stdout).
 *
 * @throws DirectBootError OUTPUT_FAILED if it can't be an output file
 */
export function isStream(out: string): boolean {
  try {
    const found = look(statSync, out);
    if (found === undefined) return false;
    if (found.isDirectory()) throw new DirectBootError("OUTPUT_FAILED", `${out} is a folder`);
    if (found.isCharacterDevice() || found.isFIFO()) return true;
    if (!found.isFile()) {
      throw new DirectBootError(
        "OUTPUT_FAILED",
        `${out} is neither a file nor a pipe nor a character device`,
      );
    }
    if (isSystemLink(out)) {
      throw new DirectBootError("OUTPUT_FAILED", `${out} leads to a file, which has to be named itself`);
    }
    return false;
  } catch (cause) {
    throw outputError(out, cause);
  }
}

/**
 * Writes a file: it is replaced as a whole, or stays as it was. A link is replaced, not followed, unless it leads to a
 * stream.
 *
 * @throws DirectBootError OUTPUT_FAILED
 */
export async function writeFile(out: string, bytes: Uint8Array): Promise<void> {
  try {
    if (isStream(out)) {
      // Not blocking: in an open or a write that waits, signals would not be heeded.
      const descriptor = openSync(out, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      try {
        await writeAll(descriptor, bytes);
      } finally {
        closeSync(descriptor);
      }
      return;
    }
    const staging = new StagingFolder(dirname(resolve(out)));
    try {
      const file = join(staging.path, "new");
      await createFile(file, FILE_MODE, [bytes]);
      await aTurn();
      renameSync(file, out);
    } finally {
      staging.remove();
    }
  } catch (cause) {
    throw outputError(out, cause);
  }
}
