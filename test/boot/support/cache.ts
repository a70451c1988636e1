/**
 * The cache of downloaded kernels and what is made of them. It lies outside the repository, so that a clean
 * checkout does not download 100 MB again, and everything in it appears by one rename: whoever finds a file
 * there may trust that it is whole.
 */

import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A lock this old belongs to nobody, even if its process id is in use again by somebody else. */
const STALE_LOCK_MILLISECONDS = 30 * 60_000;
const LOCK_POLL_MILLISECONDS = 200;

/** The cache folder, which is created if need be: `$DIRECTBOOT_CACHE`, else by the XDG base directory rules. */
export function cacheFolder(): string {
  const { DIRECTBOOT_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  // The XDG specification demands that a relative path be ignored.
  const parent = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), ".cache");
  const folder = own !== undefined && own !== "" ? resolve(own) : join(parent, "directboot");
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * The folder `name` of the cache; if it is missing, `fill` writes its content into a temporary folder, which
 * then takes the name. Only one process fills at a time.
 */
export async function cachedFolder(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cacheFolder(), name);
  if (await exists(folder)) return folder;
  await mkdir(dirname(folder), { recursive: true });
  return withLock(`${folder}.lock`, async () => {
    if (await exists(folder)) return folder;
    const prefix = `${folder}.tmp-`;
    // We hold the lock, so any temporary folder is what a killed run left behind.
    for (const leftover of await readdir(dirname(folder))) {
      if (leftover.startsWith(basename(prefix))) {
        await rm(join(dirname(folder), leftover), { recursive: true, force: true });
      }
    }
    const temporary = prefix + randomUUID();
    await mkdir(temporary);
    try {
      await fill(temporary);
      await rename(temporary, folder);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    return folder;
  });
}

/** Writes a file by way of a temporary neighbour, so that it is never seen half written. */
export async function writeFileAtomically(path: string, data: Uint8Array | string): Promise<void> {
  const temporary = `${path}.tmp-${randomUUID()}`;
  try {
    await writeFile(temporary, data);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Runs `work` while this process alone holds the lock folder `lock`; waits for as long as another holds it. */
export async function withLock<T>(lock: string, work: () => Promise<T>): Promise<T> {
  const token = `${process.pid} ${randomUUID()}`;
  // The owner's name is in the folder before the folder takes the lock's name: a lock is never anonymous. A
  // rename onto a folder that is not empty fails, which makes it as atomic as mkdir.
  const candidate = `${lock}.${randomUUID()}`;
  await mkdir(candidate);
  try {
    await writeFile(join(candidate, "owner"), token);
    while (!(await tryRename(candidate, lock))) {
      await breakStaleLock(lock);
      await sleep(LOCK_POLL_MILLISECONDS);
    }
  } catch (error) {
    await rm(candidate, { recursive: true, force: true });
    throw error;
  }
  try {
    return await work();
  } finally {
    // Whoever took us for dead and broke the lock owns it now.
    if ((await lockOwner(lock)) === token) await rm(lock, { recursive: true, force: true });
  }
}

async function breakStaleLock(lock: string): Promise<void> {
  const owner = await lockOwner(lock);
  if (owner === undefined) return;
  const age = Date.now() - ((await modified(lock)) ?? Date.now());
  if (isAlive(Number.parseInt(owner, 10)) && age < STALE_LOCK_MILLISECONDS) return;
  // Renaming picks one winner among those who wait. If another waiter broke the lock and took it since we
  // looked, we give it back; should even that race be lost, two processes do the same work, and the renames
  // that publish the results still keep the cache whole.
  const grave = `${lock}.${randomUUID()}`;
  if (!(await tryRename(lock, grave))) return;
  if ((await lockOwner(grave)) !== owner && (await tryRename(grave, lock))) return;
  await rm(grave, { recursive: true, force: true });
}

async function lockOwner(lock: string): Promise<string | undefined> {
  try {
    return await readFile(join(lock, "owner"), "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function modified(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, "EPERM"); // alive, but somebody else's
  }
}

async function tryRename(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOTEMPTY", "EEXIST", "ENOENT")) return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.some((code) => code === error.code);
}
