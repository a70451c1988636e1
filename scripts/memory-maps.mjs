// npm run docs:map: draws the pictures of docs/ by the command, of the embedded guest. A test compares the two.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const INITRD_BYTES = 9_000_000;

/** Each picture, and what the command is given for it. */
export const MEMORY_MAPS = {
  "memory-map.svg": (initrd) => ["--initrd", initrd, "--title", "A guest with 256 MiB of RAM and an initrd"],
  "memory-map-low.svg": () => ["--end", "1M", "--title", "Low memory of an x86-64 guest"],
};

/** Draws the pictures into a folder. */
export function drawMemoryMaps(cli, folder) {
  const temporary = mkdtempSync(join(tmpdir(), "directboot-maps-"));
  try {
    const initrd = join(temporary, "initrd.img");
    writeFileSync(initrd, new Uint8Array(INITRD_BYTES));
    for (const [name, options] of Object.entries(MEMORY_MAPS)) {
      execFileSync(process.execPath, [cli, "map", ...options(initrd), "-o", join(folder, name)]);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

const self = fileURLToPath(import.meta.url);
if (process.argv[1] === self) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  drawMemoryMaps(join(root, "dist", "cli.js"), join(root, "docs"));
}
