// npm run package:contents: writes test/package/contents.txt, the list of what the package holds. A test compares the
// two, so that nothing gets into the package, or out of it, unnoticed.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The files that `npm pack` takes, with size and mode; dist/ must have been built. */
export function packedFiles(folder = root) {
  // Without prepack, which builds: this asks what is there.
  const json = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 16 << 20,
  });
  const told = JSON.parse(json);
  const [result] = Array.isArray(told) ? told : Object.values(told);
  return result;
}

/** A line a file, sorted. */
export function contentsList({ files }) {
  const lines = files.map(({ path, mode }) => ((mode & 0o111) === 0 ? path : `${path} (executable)`));
  return `${lines.sort().join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(`${root}test/package/contents.txt`, contentsList(packedFiles()));
}
