/** A loaded guest as two files that any other VMM can consume: manifest.json and memory.bin. */
import { hex } from "../base/address.js";
import type { ImportedRegion } from "../importers/guest-memory-importer.js";
import type { LinuxGuest } from "./loaded-linux.js";
import { registersToJSON } from "./registers.js";

/** The names of the two files. */
export const EXPORT_MEMORY_FILE = "memory.bin";
export const EXPORT_MANIFEST_FILE = "manifest.json";

/** A region's bytes as host views, without the zeros at its end. */
export function* regionViews(
  guest: LinuxGuest,
  region: LinuxGuest["regions"][number],
): Generator<Uint8Array> {
  const parts = guest.memory.parts(region.range.start, region.dataLength);
  for (let last = parts.pop(); last !== undefined; last = parts.pop()) {
    let length = last.byteLength;
    while (length > 0 && last[length - 1] === 0) length--;
    if (length === 0) continue;
    yield* [...parts, last.subarray(0, length)];
    return;
  }
}

/** A region, and where its bytes lie in memory.bin. */
export interface ExportedRegion {
  readonly region: ImportedRegion;
  readonly offset: number;
  readonly fileLength: number;
}

/**
 * The text of manifest.json, in which all integers but the version are hex strings.
 *
 * @param exported the guest's regions, in the order of their bytes
 */
export function exportManifest(guest: LinuxGuest, exported: readonly ExportedRegion[]): string {
  const { kernel, initrd } = guest.info;
  const info = guest.info.toJSON();
  const manifest = {
    version: 1,
    arch: guest.architecture,
    entryMode: guest.entryMode,
    ram: guest.layout.ram.map(({ range }) => range.toJSON()),
    regions: exported.map(({ region, offset, fileLength }) => ({
      gpa: hex(region.range.start),
      length: hex(region.range.length),
      file: EXPORT_MEMORY_FILE,
      offset: hex(offset),
      fileLength: hex(fileLength),
      tag: region.tag,
      acceptance: region.acceptance,
    })),
    registers: registersToJSON(guest.registerList),
    info: {
      kernel: { ...info.kernel, size: hex(kernel.size) },
      initrd: initrd === undefined ? null : { ...info.initrd, size: hex(initrd.size) },
      dtb: info.dtb,
    },
  };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
