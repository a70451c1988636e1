/**
 * Debian's kernels and its static busybox, downloaded by apt into the cache. Nothing is installed: the packages
 * are only unpacked. A missing package is an error, never a reason to skip a test.
 */

import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { cachedFolder, cacheFolder, withLock } from "./cache.js";

/** Debian's names of the architectures that directboot boots. */
export type DebianArchitecture = "amd64" | "i386" | "arm64";

export interface DebianKernel {
  /** Path of the kernel image: a bzImage, or a flat Image on arm64. */
  readonly vmlinuz: string;
  /** The package that it comes from, for example `linux-image-6.1.0-37-cloud-amd64`. */
  readonly packageName: string;
}

/** These packages are empty; they depend on the one that holds the current kernel, whose name rotates. */
const KERNEL_METAPACKAGES: Readonly<Record<DebianArchitecture, string>> = {
  amd64: "linux-image-cloud-amd64",
  i386: "linux-image-686",
  arm64: "linux-image-cloud-arm64",
};

const COMMAND_TIMEOUT_MILLISECONDS = 10 * 60_000;
const APT_LOCK_RETRIES = 60;
const APT_LOCK_RETRY_MILLISECONDS = 2_000;

/** Debian's current kernel of that architecture; a cached one is reused as it is, without asking apt. */
export async function debianKernel(arch: DebianArchitecture): Promise<DebianKernel> {
  const folder = await cachedFolder(`debian/kernel-${arch}`, async (temporary) => {
    await withApt(arch, async (attempt) => {
      const metapackage = `${KERNEL_METAPACKAGES[arch]}:${arch}`;
      const packageName = await attempt(() => resolveKernelPackage(metapackage));
      const unpacked = await attempt(() => downloadAndUnpack(`${packageName}:${arch}`, temporary));
      // Only boot/ is of use here, and the modules beside it are ten times as large.
      await rename(join(unpacked, "boot"), join(temporary, "boot"));
      await rm(unpacked, { recursive: true });
      await kernelImage(temporary);
      await writeFile(join(temporary, "package-name"), packageName);
    });
  });
  return {
    vmlinuz: await kernelImage(folder),
    packageName: await readFile(join(folder, "package-name"), "utf8"),
  };
}

/** Path of a statically linked busybox for that architecture. */
export async function busybox(arch: DebianArchitecture): Promise<string> {
  const folder = await cachedFolder(`debian/busybox-${arch}`, async (temporary) => {
    await withApt(arch, async (attempt) => {
      const unpacked = await attempt(() => downloadAndUnpack(`busybox-static:${arch}`, temporary));
      await rename(join(unpacked, "bin", "busybox"), join(temporary, "busybox")).catch(
        async (error: unknown) => {
          // Releases after bookworm have no separate /bin any more.
          if (!(error instanceof Error)) throw error;
          await rename(join(unpacked, "usr", "bin", "busybox"), join(temporary, "busybox"));
        },
      );
      await rm(unpacked, { recursive: true });
    });
  });
  return join(folder, "busybox");
}

/** Tries a step; if apt does not know the package or cannot fetch it, updates apt's lists and tries again. */
type Attempt = <T>(step: () => Promise<T>) => Promise<T>;

/**
 * Makes the architecture known to dpkg, then hands `work` the means to try its steps. One lock for all
 * architectures, since apt's lists and dpkg's architectures are the machine's.
 */
async function withApt(arch: DebianArchitecture, work: (attempt: Attempt) => Promise<void>): Promise<void> {
  await withLock(join(cacheFolder(), "apt.lock"), async () => {
    let updated = false;
    let updateFailure: unknown;
    // An update may fail for an index that has nothing to do with our packages (another repository, a mirror in
    // the middle of a sync): apt then goes on with the rest, and so do we. Only if a step fails afterwards does
    // the update's error matter.
    const update = async (): Promise<void> => {
      updated = true;
      try {
        await runApt("apt-get", ["update", "-qq"]);
      } catch (error) {
        updateFailure = error;
      }
    };
    const known = [
      await run("dpkg", ["--print-architecture"]),
      await run("dpkg", ["--print-foreign-architectures"]),
    ].flatMap((output) => output.split("\n"));
    if (!known.includes(arch)) {
      if (process.getuid?.() !== 0) {
        throw new Error(
          `dpkg does not know ${arch}: run as root "dpkg --add-architecture ${arch} && apt-get update"`,
        );
      }
      await run("dpkg", ["--add-architecture", arch]);
      await update();
    }
    await work(async (step) => {
      try {
        return await step();
      } catch (error) {
        if (updated) throw withUpdateFailure(error, updateFailure);
      }
      await update();
      try {
        return await step();
      } catch (error) {
        throw withUpdateFailure(error, updateFailure);
      }
    });
  });
}

function withUpdateFailure(error: unknown, updateFailure: unknown): unknown {
  if (updateFailure === undefined) return error;
  return new Error(`${messageOf(error)}\nand before that: ${messageOf(updateFailure)}`, { cause: error });
}

async function resolveKernelPackage(metapackage: string): Promise<string> {
  const output = await runApt("apt-cache", ["depends", "--no-recommends", "--no-suggests", metapackage]);
  // "  Depends: linux-image-6.1.0-37-686:i386"; the architecture is not given for the machine's own.
  const name = /^\s*Depends:\s*(linux-image-[^\s:<>]+)/m.exec(output)?.[1];
  if (name === undefined)
    throw new Error(`apt-cache knows no kernel package behind ${metapackage}:\n${output}`);
  return name;
}

/** Returns the folder with the package's files, a new one inside `folder`. */
async function downloadAndUnpack(qualifiedName: string, folder: string): Promise<string> {
  const download = join(folder, "download");
  const unpacked = join(folder, "unpacked");
  await rm(download, { recursive: true, force: true });
  await mkdir(download, { recursive: true });
  await runApt("apt-get", ["download", "-qq", "-o", "Acquire::Retries=3", qualifiedName], download);
  const archives = (await readdir(download)).filter((name) => name.endsWith(".deb"));
  const archive = archives[0];
  if (archive === undefined || archives.length !== 1) {
    throw new Error(`apt-get download ${qualifiedName} left ${archives.length} packages, not one`);
  }
  await rm(unpacked, { recursive: true, force: true });
  await run("dpkg", ["-x", join(download, archive), unpacked]);
  await rm(download, { recursive: true });
  return unpacked;
}

async function kernelImage(folder: string): Promise<string> {
  const boot = join(folder, "boot");
  const names = (await readdir(boot)).filter(
    (name) => /^vmlinuz-[^/]*[^/.]$/.test(name) && !name.includes(".tmp-"),
  );
  const name = names[0];
  if (name === undefined || names.length !== 1) {
    throw new Error(`${boot} holds ${names.length} kernels, not one: delete ${folder}`);
  }
  return join(boot, name);
}

/** As `run`, but waits while another apt on this machine holds apt's own lock. */
async function runApt(program: string, args: readonly string[], cwd?: string): Promise<string> {
  for (let retries = 0; ; retries++) {
    try {
      return await run(program, args, cwd);
    } catch (error) {
      const locked = /could not get lock|unable to lock/i.test(messageOf(error));
      if (!locked || retries >= APT_LOCK_RETRIES) throw error;
      await sleep(APT_LOCK_RETRY_MILLISECONDS);
    }
  }
}

function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const options = {
    cwd,
    // Messages are matched and reported: they must not be translated, and apt must not ask questions.
    env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
    encoding: "utf8",
    maxBuffer: 64 << 20,
    timeout: COMMAND_TIMEOUT_MILLISECONDS,
  } as const;
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout);
        return;
      }
      const commandLine = [program, ...args].join(" ");
      if (error.code === "ENOENT") {
        reject(
          new Error(`${program} is not on this machine: boot tests need Debian's apt for their kernels`, {
            cause: error,
          }),
        );
      } else {
        const reason = stderr.trim() !== "" ? stderr.trim() : error.message;
        reject(new Error(`"${commandLine}" failed: ${reason}`, { cause: error }));
      }
    });
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
