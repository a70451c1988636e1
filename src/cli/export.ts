/** `directboot export`: pages and registers as files that any other VMM can consume. */

import { join } from "node:path";
import { hex } from "../base/address.js";
import { formatSize } from "../inspect/sizes.js";
import { registerToJSON } from "../linux/linux-plan.js";
import type { LinuxGuest } from "../linux/loaded-linux.js";
import { formatMilliseconds } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest } from "./load.js";
import { LOAD_OPTIONS, parseArguments, UsageError } from "./options.js";
import { createFile, isFolderThere, writeAll, writeFolder } from "./output.js";
import { progressBar } from "./progress.js";

const MEMORY_FILE = "memory.bin";
const MANIFEST_FILE = "manifest.json";
/** What is left of it where the umask takes nothing away. */
const FILE_MODE = 0o666;

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

/** Writes memory.bin and manifest.json into a folder; gives the bytes of memory.bin. */
async function writeExport(guest: LinuxGuest, folder: string): Promise<number> {
  const total = guest.regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const bar = progressBar("writing");
  const regions: unknown[] = [];
  let offset = 0;
  try {
    await createFile(join(folder, MEMORY_FILE), FILE_MODE, async (descriptor) => {
      for (const region of guest.regions) {
        const start = offset;
        for (const view of regionViews(guest, region)) {
          await writeAll(descriptor, view, (written) => {
            offset += written;
            bar.update(offset, total);
          });
        }
        regions.push({
          gpa: hex(region.range.start),
          length: hex(region.range.length),
          file: MEMORY_FILE,
          offset: hex(start),
          fileLength: hex(offset - start),
          tag: region.tag,
          acceptance: region.acceptance,
        });
      }
    });
  } finally {
    bar.done();
  }
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
  const text = new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
  await createFile(join(folder, MANIFEST_FILE), FILE_MODE, (descriptor) => writeAll(descriptor, text));
  return offset;
}

export async function exportCommand(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, { ...LOAD_OPTIONS, out: { type: "string" } });
  const out = args.text("out");
  if (out === undefined || out === "") throw new UsageError("export needs --out DIR");
  const options = linuxOptions(args);
  // Told before the work, not after it.
  isFolderThere(out);
  const loaded = await loadGuest(options);
  const start = performance.now();
  // The manifest names the bytes: it comes last.
  const written = await writeFolder(out, [MEMORY_FILE, MANIFEST_FILE], (folder) =>
    writeExport(loaded.guest, folder),
  );
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
      `${formatLoaded(loaded)}\nwrote ${formatSize(written)} to ${join(out, MEMORY_FILE)} and ${MANIFEST_FILE} in ${formatMilliseconds(milliseconds)}\n`,
    );
  }
  return 0;
}
