/** `directboot export`: pages and registers as files that any other VMM can consume. */
import { join } from "node:path";
import { formatSize } from "../inspect/sizes.js";
import {
  EXPORT_MANIFEST_FILE,
  EXPORT_MEMORY_FILE,
  type ExportedRegion,
  exportManifest,
  regionViews,
} from "../linux/guest-export.js";
import type { LinuxGuest } from "../linux/loaded-linux.js";
import { formatMilliseconds } from "./format.js";
import { formatLoaded, linuxOptions, loadGuest } from "./load.js";
import { LOAD_OPTIONS, parseArguments, UsageError } from "./options.js";
import { createFile, isFolderThere, writeAll, writeFolder } from "./output.js";
import { progressBar } from "./progress.js";

/** What is left of it where the umask takes nothing away. */
const FILE_MODE = 0o666;

/** Writes memory.bin and manifest.json into a folder; gives the bytes of memory.bin. */
async function writeExport(guest: LinuxGuest, folder: string): Promise<number> {
  const total = guest.regions.reduce((sum, { dataLength }) => sum + dataLength, 0);
  const bar = progressBar("writing");
  const exported: ExportedRegion[] = [];
  let offset = 0;
  try {
    await createFile(join(folder, EXPORT_MEMORY_FILE), FILE_MODE, async (descriptor) => {
      for (const region of guest.regions) {
        const start = offset;
        for (const view of regionViews(guest, region)) {
          await writeAll(descriptor, view, (written) => {
            offset += written;
            bar.update(offset, total);
          });
        }
        exported.push({ region, offset: start, fileLength: offset - start });
      }
    });
  } finally {
    bar.done();
  }
  const text = new TextEncoder().encode(exportManifest(guest, exported));
  await createFile(join(folder, EXPORT_MANIFEST_FILE), FILE_MODE, (descriptor) => writeAll(descriptor, text));
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
  const written = await writeFolder(out, [EXPORT_MEMORY_FILE, EXPORT_MANIFEST_FILE], (folder) =>
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
      `${formatLoaded(loaded)}\nwrote ${formatSize(written)} to ${join(out, EXPORT_MEMORY_FILE)} and ${EXPORT_MANIFEST_FILE} in ${formatMilliseconds(milliseconds)}\n`,
    );
  }
  return 0;
}
