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
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { registerToJSON } from "../linux/linux-plan.js";
import type { LinuxGuest } from "../linux/loaded-linux.js";
import { formatBytes, formatMilliseconds } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest } from "./load.js";
import { LOAD_OPTIONS, outputError, parseArguments, UsageError } from "./options.js";
import { progressBar } from "./progress.js";

const MEMORY_FILE = "memory.bin";
const MANIFEST_FILE = "manifest.json";
const WRITE_BYTES = 8 << 20;

/** A region's bytes as host views, without the zeros at its end. */
export function* regionViews(
  guest: LinuxGuest,
  region: LinuxGuest["regions"][number],
): Generator<Uint8Array> {
  const parts = guest.memory.parts(region.range.start, region.dataLength);
  while (parts.length > 0) {
    const last = parts[parts.length - 1] ?? new Uint8Array(0);
    let length = last.byteLength;
    while (length > 0 && last[length - 1] === 0) length--;
    if (length === 0) {
      parts.pop();
      continue;
    }
    parts[parts.length - 1] = last.subarray(0, length);
    break;
  }
  yield* parts;
}

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
  const descriptor = openSync(join(folder, MEMORY_FILE), "wx");
  try {
    const regions = guest.regions.map((region) => {
      const start = offset;
      for (const view of regionViews(guest, region)) {
        writeAll(descriptor, view, (written) => {
          offset += written;
          bar.update(offset, total);
        });
      }
      return {
        gpa: hex(region.range.start),
        length: hex(region.range.length),
        file: MEMORY_FILE,
        offset: hex(start),
        fileLength: hex(offset - start),
        tag: region.tag,
        acceptance: region.acceptance,
      };
    });
    const manifest = {
      version: 1,
      arch: guest.architecture,
      entryMode: guest.entryMode,
      ram: guest.layout.ram.map(({ range }) => range.toJSON()),
      regions,
      registers: Object.fromEntries(
        guest.registerList.map((register) => [register.name, registerToJSON(register)]),
      ),
      info: guest.info,
    };
    writeFileSync(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`, { flag: "wx" });
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
      for (const file of [MEMORY_FILE, MANIFEST_FILE]) renameSync(join(partial, file), join(target, file));
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
      `${formatLoaded(loaded)}\nwrote ${formatBytes(written)} to ${join(out, MEMORY_FILE)} and ${MANIFEST_FILE} in ${formatMilliseconds(milliseconds)}\n`,
    );
  }
  return 0;
}
