/** Files that come with the package. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Path of a file of the package, seen from dist/cli.js, where this runs, or from build/src/cli/, where tests run it.
 */
export function packageFile(path: string): string {
  const found = [`../${path}`, `../../../${path}`]
    .map((relative) => fileURLToPath(new URL(relative, import.meta.url)))
    .find((candidate) => existsSync(candidate));
  if (found === undefined) throw new Error(`the package's file ${path} is missing`);
  return found;
}
