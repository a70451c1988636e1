/** What is in a kernel's file: wrappers are taken off until the kernel itself is there. */
import { DirectBootError } from "../base/errors.js";
import { DETECT_BYTES, describeFormat, detectFormat, type ImageFormat } from "../images/detect.js";
import { readZboot } from "../images/zboot.js";
import { type Reading, readHead } from "../sources/reader.js";
import { sliceSource } from "../sources/slice.js";
import type { Source } from "../sources/source.js";

/** Formats that hold a kernel, compressed. */
const COMPRESSED = ["gzip", "xz", "zstd", "lz4-legacy", "lz4", "lzma", "bzip2", "lzo"] as const;
type CompressedFormat = (typeof COMPRESSED)[number];

/** What a zboot header says, by our names (drivers/firmware/efi/libstub/Makefile.zboot). */
const ZBOOT_FORMATS: Readonly<Record<string, CompressedFormat>> = {
  gzip: "gzip",
  lz4: "lz4-legacy",
  lzma: "lzma",
  lzo: "lzo",
  xzkern: "xz",
  zstd22: "zstd",
  zstd: "zstd",
};

/** Makes a source of what a gzip file holds. */
export type Gunzip = (source: Source) => Source;

/** The kernel in a file. */
export interface KernelFile {
  readonly source: Source;
  readonly format: ImageFormat;
}

/** A kernel in a gzip file in a zboot image in a gzip file is the most that anybody has. */
const MOST_WRAPPERS = 3;

function unsupported(source: Source, what: string): DirectBootError {
  return new DirectBootError("DECOMPRESS_UNSUPPORTED", `${source.name} is ${what}`, {
    cure: "decompress it first, or give it gzip-compressed",
  });
}

/** Looks into a file. Throws DECOMPRESS_UNSUPPORTED for compressions that are known and not undone here, ZBOOT_*. */
export function* openKernelFile(file: Source, gunzip: Gunzip): Reading<KernelFile> {
  let source = file;
  for (let wrappers = 0; ; wrappers++) {
    const head = yield* readHead(source, DETECT_BYTES);
    const format = detectFormat(head);
    const isWrapper = format === "zboot" || COMPRESSED.some((each) => each === format);
    if (!isWrapper) return { source, format };
    if (wrappers === MOST_WRAPPERS) throw unsupported(source, `${describeFormat(format)}, still`);
    if (format === "gzip") {
      source = gunzip(source);
    } else if (format === "zboot") {
      const { payloadOffset, payloadLength, compression } = yield* readZboot(source);
      if (ZBOOT_FORMATS[compression] !== "gzip") {
        throw unsupported(source, `an EFI zboot image with ${compression} compression`);
      }
      source = gunzip(sliceSource(source, payloadOffset, payloadLength));
    } else {
      throw unsupported(source, describeFormat(format));
    }
  }
}
