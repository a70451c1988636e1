/** Outputs are written in a folder that nobody else can enter, then renamed, so that each is whole or not there. */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
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

/** For lstat and stat: undefined for what is not there. */
const IF_THERE = { throwIfNoEntry: false } as const;

/** A system error as OUTPUT_FAILED: what was being written, and why it failed. */
export function outputError(what: string, cause: unknown): DirectBootError {
  if (cause instanceof DirectBootError) return cause;
  return new DirectBootError("OUTPUT_FAILED", `${what}: ${messageOf(cause)}`, { cause });
}

/** A turn of the event loop: a signal that came in meanwhile ends the process here. */
export function aTurn(): Promise<void> {
  return new Promise((done) => setImmediate(done));
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
      if (!(cause instanceof Error && "code" in cause && cause.code === "EAGAIN")) throw cause;
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

/** Undoes something after an error, which matters more than what fails here. */
function quietly(undo: () => void): void {
  try {
    undo();
  } catch {
    // It is gone already, or somebody else has put a file there.
  }
}

/**
 * Does `work` in a new folder of an unpredictable name that only this user can enter. The folder is removed in the end,
 * also when the process exits meanwhile, except by SIGKILL.
 *
 * @param parent where the output is to lie: a rename does not cross file systems
 * @throws DirectBootError OUTPUT_FAILED, naming `what`, if it can't be made
 */
export async function inStagingFolder<T>(
  parent: string,
  what: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  let folder: string;
  try {
    folder = mkdtempSync(join(parent, ".directboot-"));
  } catch (cause) {
    throw outputError(what, cause);
  }
  const remove = (): void => quietly(() => rmSync(folder, { recursive: true, force: true }));
  process.on("exit", remove);
  try {
    return await work(folder);
  } finally {
    remove();
    process.off("exit", remove);
  }
}

/** @throws DirectBootError OUTPUT_FAILED if something that is no folder is in its place */
export function checkFolder(folder: string): void {
  try {
    const path = resolve(folder);
    const found = statSync(path, IF_THERE) ?? lstatSync(path, IF_THERE);
    if (found?.isDirectory() === false) {
      throw new DirectBootError("OUTPUT_FAILED", `${folder} exists and is no folder`);
    }
  } catch (cause) {
    throw outputError(folder, cause);
  }
}

/** Throws OUTPUT_FAILED if a file is there already: nothing of the user's is replaced unless he says so. */
export function checkNew(path: string): void {
  if (!isStream(path) && lstatSync(path, IF_THERE) !== undefined) {
    throw new DirectBootError("OUTPUT_FAILED", `${path} is there already`, {
      cure: "replace it with --force, or take another name",
    });
  }
}

/** Moves the files `names` from one folder to another, all or none; the last one refers to the others. */
function replaceFiles(from: string, to: string, names: readonly string[]): void {
  const old = join(from, "old");
  mkdirSync(old);
  const present = names.filter((name) => {
    const found = lstatSync(join(to, name), IF_THERE);
    if (found?.isDirectory() === true) {
      throw new DirectBootError("OUTPUT_FAILED", `${join(to, name)} is a folder`);
    }
    return found !== undefined;
  });
  const undo: (() => void)[] = [];
  const move = (name: string, source: string, target: string): void => {
    renameSync(join(source, name), join(target, name));
    undo.unshift(() => renameSync(join(target, name), join(source, name)));
  };
  try {
    // At no moment does an old file refer to a new one, or the other way round.
    for (const name of present.reverse()) move(name, to, old);
    for (const name of names) move(name, from, to);
  } catch (cause) {
    for (const moveBack of undo) quietly(moveBack);
    throw cause;
  }
}

/** Makes `path` and the folders above it that are not there, and adds them to `made`, the lowest first. */
function makeFolders(path: string, made: string[]): void {
  if (existsSync(path)) return;
  makeFolders(dirname(path), made);
  // One by one: of several at once Node says ENOENT on a read-only file system.
  mkdirSync(path);
  made.unshift(path);
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
  checkFolder(out);
  const target = resolve(out);
  let made: string[] = [];
  const removeMade = (): void => {
    for (const folder of made) quietly(() => rmdirSync(folder));
  };
  try {
    makeFolders(target, made);
    return await inStagingFolder(target, out, async (folder) => {
      // After the staging folder's listener: that folder must be gone first.
      process.on("exit", removeMade);
      const result = await write(folder);
      await aTurn();
      replaceFiles(folder, target, names);
      made = [];
      return result;
    });
  } catch (cause) {
    removeMade();
    throw outputError(out, cause);
  } finally {
    process.off("exit", removeMade);
  }
}

/**
 * True if an output of this name is written to in place, not replaced: a character device (/dev/null) or a pipe, also
 * through a link (/dev/stdout).
 *
 * @throws DirectBootError OUTPUT_FAILED if it can't be an output file
 */
export function isStream(out: string): boolean {
  try {
    const found = statSync(out, IF_THERE);
    if (found === undefined) return false;
    if (found.isCharacterDevice() || found.isFIFO()) return true;
    if (!found.isFile()) {
      const problem = `${out} is neither a file nor a pipe nor a character device`;
      throw new DirectBootError("OUTPUT_FAILED", problem);
    }
    // The process's own files, such as /dev/stdout: a rename would replace the link for everybody.
    if (lstatSync(out).isSymbolicLink() && /^\/(dev|proc)(\/|$)/.test(realpathSync(dirname(out)))) {
      throw new DirectBootError("OUTPUT_FAILED", `${out} leads to a file, which has to be named itself`);
    }
    return false;
  } catch (cause) {
    throw outputError(out, cause);
  }
}

/** Writes to a device or a pipe. Not blocking: in an open or a write that waits, signals would not be heeded. */
async function writeStream(out: string, bytes: Uint8Array): Promise<void> {
  const descriptor = openSync(out, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    await writeAll(descriptor, bytes);
  } finally {
    closeSync(descriptor);
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
    if (isStream(out)) return await writeStream(out, bytes);
    await inStagingFolder(dirname(resolve(out)), out, async (folder) => {
      const file = join(folder, "new");
      await createFile(file, FILE_MODE, [bytes]);
      await aTurn();
      renameSync(file, out);
    });
  } catch (cause) {
    throw outputError(out, cause);
  }
}
