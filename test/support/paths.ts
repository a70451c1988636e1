import { fileURLToPath } from "node:url";

/** The repository, seen from build/test/support/. */
export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** A file of the repository. */
export function inRoot(path: string): string {
  return `${ROOT}${path}`;
}

/** The command, unbundled: what runs of it is seen by the coverage of src/. */
export const CLI = inRoot("build/src/cli/main.js");
/** The command as it is packed. */
export const PACKED_CLI = inRoot("dist/cli.js");
/** The embedded x86-64 guest. */
export const X86_64_GUEST = inRoot("guests/x86_64.elf");
/** The embedded arm64 guest. */
export const AARCH64_GUEST = inRoot("guests/aarch64.img");
