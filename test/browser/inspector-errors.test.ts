/** The inspector page's errors: the library's, in words that are true of the page. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { type DirectBootError, type DirectBootErrorCode, ERROR_CURES } from "../../src/base/errors.js";
import { LOAD_OPTIONS } from "../../src/linux/check-options.js";
import { inRoot } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

/** The options that the page has controls for. */
const CONTROLS = [
  "memory",
  "kernel",
  "initrd",
  "deviceTree",
  "commandLine",
  "entry",
  "decompress",
  "decompressInitrd",
];
/** Options whose names are words that a sentence may need. */
const WORDS = ["architecture", "machine", "addresses", "arm64", "signal", "acpi"];

interface PageModule {
  DirectBootError: typeof DirectBootError;
  problemOf(error: unknown): { readonly what: string; readonly cure: string | undefined };
}

describe("the inspector page's errors", () => {
  let page: PageModule;

  before(async () => {
    const outfile = join(tempFolder(), "problem-of.mjs");
    await build({
      stdin: {
        contents:
          'export { problemOf } from "./problem-of.ts"; export { DirectBootError } from "directboot";',
        resolveDir: inRoot("web/src"),
      },
      bundle: true,
      format: "esm",
      platform: "node",
      alias: { directboot: inRoot("src/index.ts") },
      outfile,
      logLevel: "error",
    });
    page = (await import(pathToFileURL(outfile).href)) as PageModule;
  });

  const cureOf = (code: DirectBootErrorCode, cure?: string): string | undefined =>
    page.problemOf(new page.DirectBootError(code, "x", cure === undefined ? {} : { cure })).cure;

  it("never advise to use an option that the page does not have, whatever the code", () => {
    const foreign = Object.keys(LOAD_OPTIONS).filter(
      (name) => !CONTROLS.includes(name) && !WORDS.includes(name),
    );
    assert.ok(foreign.length > 5);
    for (const code of Object.keys(ERROR_CURES) as DirectBootErrorCode[]) {
      const cure = cureOf(code) ?? "";
      for (const name of [...foreign, "kernelMinimumStartAddress", "loadLinux"]) {
        assert.ok(!new RegExp(`\\b${name}\\b`).test(cure), `${code}: ${cure}`);
      }
    }
  });

  it("keep the advice that can be followed in the page", () => {
    assert.equal(
      cureOf("DECOMPRESS_TOO_LARGE", "give the guest more RAM, or raise maxDecompressedSize"),
      "give the guest more RAM",
    );
    assert.equal(
      cureOf("ELF_INVALID_ENTRY_ADDRESS", "lower kernelMinimumStartAddress, or give a kernel linked higher"),
      "give a kernel linked higher",
    );
    assert.match(
      cureOf("NO_KERNEL_INSIDE", "give a bzImage, an EFI zboot image or an ELF") ?? "",
      /bzImage.*zboot.*ELF/,
    );
    assert.match(
      cureOf("DECOMPRESS_CORRUPT", 'load it with decompress: "guest", which helps') ?? "",
      /Decompressed by: the guest/,
    );
  });

  it("have no advice where none can be followed, and the message of what is no DirectBootError", () => {
    assert.equal(cureOf("SOURCE_SPOOL_LIMIT", "raise spoolLimit"), undefined);
    const { what, cure } = page.problemOf(new TypeError("Failed to fetch"));
    assert.deepEqual([what, cure], ["Failed to fetch", undefined]);
  });
});
