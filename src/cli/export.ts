/** `directboot export`: pages and registers as files that any other VMM can consume. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { DirectBootError } from "../base/errors.js";
import {
  EXPORT_MANIFEST_FILE,
  EXPORT_MEMORY_FILE,
  exportManifest,
  regionViews,
} from "../linux/guest-export.js";
import type { LinuxGuest } from "../linux/loaded-linux.js";
import { formatBytes, formatMilliseconds } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest } from "./load.js";
import { LOAD_OPTIONS, outputError, parseArguments, UsageError } from "./options.js";
import { progressBar } from "./progress.js";

const WRITE_BYTES = 8 << 20;

/** Writes all of `bytes`, in pieces. */
export function writeAll(
  descriptor: number,
  bytes: Uint8Array,
  onWritten: (byteLength: number) => void,
): void {
  for (let done = 0; done < bytes.byteLength; ) {
    const written = writeSync(descriptor, bytes, done, Math.min(WRITE_BYTES, bytes.byteLength - done));
    done += written;
    onWritten(written);
  }
}

/** Writes manifest.json and memory.bin to an empty or new folder. */
function writeExport(guest: LinuxGuest, folder: string): number {
  const total = guest.regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const bar = progressBar("writing");
  let offset = 0;
  const descriptor = openSync(join(folder, EXPORT_MEMORY_FILE), "wx");
  try {
    const exported = guest.regions.map((region) => {
      const start = offset;
      for (const view of regionViews(guest, region)) {
        writeAll(descriptor, view, (written) => {
          offset += written;
          bar.update(offset, total);
        });
      }
      return { region, offset: start, fileLength: offset - start };
    });
    writeFileSync(join(folder, EXPORT_MANIFEST_FILE), exportManifest(guest, exported), { flag: "wx" });
    return offset;
  } finally {
    closeSync(descriptor);
    bar.done();
  }
}

/** Writes into a temporary folder in or beside `out`, then renames: each file is whole or not there. */
function exportTo(guest: LinuxGuest, out: string): number {
  const target = resolve(out);
  const isFolder = existsSync(target);
  // Within a folder that is there: it may be a mount point, or the only place where we may write.
  const partial = isFolder ? join(target, `.partial-${process.pid}`) : `${target}.partial-${process.pid}`;
  const remove = (): void => {
    try {
      rmSync(partial, { recursive: true, force: true });
    } catch {
      // ENOTDIR: there is nothing to remove, and the error that matters is on its way.
    }
  };
  process.once("exit", remove);
  try {
    if (isFolder && !statSync(target).isDirectory()) {
      throw new DirectBootError("OUTPUT_FAILED", `${out} exists and is no folder`);
    }
    mkdirSync(partial, { recursive: true });
    const written = writeExport(guest, partial);
    if (isFolder) {
      // The manifest names the bytes: it comes last.
      for (const file of [EXPORT_MEMORY_FILE, EXPORT_MANIFEST_FILE])
        renameSync(join(partial, file), join(target, file));
    } else {
      renameSync(partial, target);
    }
    return written;
  } catch (cause) {
    throw cause instanceof DirectBootError ? cause : outputError(out, cause);
  } finally {
    remove();
    process.removeListener("exit", remove);
  }
}

export function exportCommand(argv: readonly string[]): number {
  const args = parseArguments(argv, { ...LOAD_OPTIONS, out: { type: "string" } });
  const out = args.text("out");
  if (out === undefined || out === "") throw new UsageError("export needs --out DIR");
  const loaded = loadGuest(linuxOptions(args));
  const start = performance.now();
  const written = exportTo(loaded.guest, out);
  const milliseconds = performance.now() - start;
  if (args.flag("json")) {
    const json = {
      out,
      bytes: written,
      planMilliseconds: loaded.planMilliseconds,
      loadMilliseconds: loaded.loadMilliseconds,
      writeMilliseconds: milliseconds,
      info: loaded.guest.info,
    };
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
  } else {
    process.stdout.write(
      `${formatLoaded(loaded)}\nwrote ${formatBytes(written)} to ${join(out, EXPORT_MEMORY_FILE)} and ${EXPORT_MANIFEST_FILE} in ${formatMilliseconds(milliseconds)}\n`,
    );
  }
  return 0;
}
