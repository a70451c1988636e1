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
import { formatMilliseconds, printJson } from "./format.js";
import { formatLoaded, loadedJson, loadGuest, loadRequest } from "./load.js";
import { type Arguments, type Command, FORCE_OPTION, LOAD_OPTIONS, UsageError } from "./options.js";
import { checkFolder, checkNew, createFile, FILE_MODE, writeFolder } from "./output.js";
import { withProgressBar } from "./progress.js";

/** Writes memory.bin and manifest.json into a folder; returns the bytes of memory.bin. */
async function writeExport(guest: LinuxGuest, folder: string): Promise<number> {
  const exported: ExportedRegion[] = [];
  const pieces: Uint8Array[] = [];
  let total = 0;
  for (const region of guest.regions) {
    const views = [...regionViews(guest, region)];
    const fileLength = views.reduce((sum, { byteLength }) => sum + byteLength, 0);
    exported.push({ region, offset: total, fileLength });
    pieces.push(...views);
    total += fileLength;
  }
  await withProgressBar("writing", (onProgress) => {
    let loaded = 0;
    return createFile(join(folder, EXPORT_MEMORY_FILE), FILE_MODE, pieces, (byteLength) => {
      loaded += byteLength;
      onProgress({ loaded, total });
    });
  });
  const manifest = new TextEncoder().encode(exportManifest(guest, exported));
  await createFile(join(folder, EXPORT_MANIFEST_FILE), FILE_MODE, [manifest]);
  return total;
}

async function run(args: Arguments): Promise<number> {
  const out = args.text("out");
  if (out === undefined || out === "") throw new UsageError("export needs --out DIR");
  // Before the work, not after it.
  checkFolder(out);
  const names = [EXPORT_MEMORY_FILE, EXPORT_MANIFEST_FILE];
  if (!args.flag("force")) for (const name of names) checkNew(join(out, name));
  const { options } = await loadRequest(args);
  const loaded = await loadGuest(options);
  const start = performance.now();
  // The manifest names the bytes: it comes last.
  const written = await writeFolder(out, names, (folder) => writeExport(loaded.guest, folder));
  const milliseconds = performance.now() - start;
  if (args.flag("json")) {
    printJson({ ...loadedJson(loaded), out, byteLength: written, writeMilliseconds: milliseconds });
  } else {
    process.stdout.write(
      `${formatLoaded(loaded)}\nwrote ${formatSize(written)} to ${join(out, EXPORT_MEMORY_FILE)} and ${EXPORT_MANIFEST_FILE} in ${formatMilliseconds(milliseconds)}\n`,
    );
  }
  return 0;
}

export const exportCommand: Command = {
  summary: "pages and registers as manifest.json and memory.bin",
  operands: "[KERNEL] --out DIR",
  options: {
    out: { value: "DIR", help: "the folder that the files go to; it need not be there" },
    force: FORCE_OPTION,
    ...LOAD_OPTIONS,
  },
  examples: [
    [
      "export vmlinuz --initrd initrd.img --out guest",
      "guest/manifest.json and guest/memory.bin, for any VMM",
    ],
  ],
  run,
};
