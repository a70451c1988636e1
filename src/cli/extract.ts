/** `directboot extract`: the ELF or Image out of a bzImage, an EFI zboot image or a compressed file. */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { DirectBootError } from "../base/errors.js";
import * as decoders from "../decoders/index.js";
import { describeFormat } from "../images/detect.js";
import { extractKernelSync } from "../linux/extract-kernel.js";
import { formatBytes, formatMilliseconds } from "./format.js";
import { outputError, parseArguments, parseSize, UsageError } from "./options.js";
import { progressBar } from "./progress.js";

export function extractCommand(argv: readonly string[]): number {
  const args = parseArguments(argv, {
    output: { type: "string", short: "o" },
    "max-size": { type: "string" },
    json: { type: "boolean" },
  });
  const [file, ...others] = args.positionals;
  const out = args.text("output");
  if (file === undefined || others.length > 0) throw new UsageError("extract takes one FILE");
  if (out === undefined || out === "") throw new UsageError("extract needs -o FILE");
  const limit = args.text("max-size");
  const start = performance.now();
  const bar = progressBar("decompressing");
  let extracted: ReturnType<typeof extractKernelSync>;
  try {
    extracted = extractKernelSync(file, {
      decoders,
      ...(limit === undefined ? {} : { maxDecompressedSize: Number(parseSize(limit, "max-size")) }),
      onProgress: ({ loaded, total }) => bar.update(loaded, total),
    });
  } finally {
    bar.done();
  }
  const milliseconds = performance.now() - start;
  const { kernel, format, compression, compressedSize, size } = extracted;
  // Beside the file, then renamed: it is whole or not there.
  const partial = `${out}.partial-${process.pid}`;
  const remove = (): void => rmSync(partial, { force: true });
  process.once("exit", remove);
  try {
    writeFileSync(partial, kernel, { flag: "wx", mode: 0o644 });
    renameSync(partial, out);
  } catch (cause) {
    throw cause instanceof DirectBootError ? cause : outputError(out, cause);
  } finally {
    remove();
    process.removeListener("exit", remove);
  }
  if (args.flag("json")) {
    const json = { out, format, compression: compression ?? null, compressedSize, size, milliseconds };
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    return 0;
  }
  const from = compression === undefined ? "was not compressed" : `out of ${describeFormat(compression)}`;
  process.stdout.write(
    `wrote ${out}: ${describeFormat(format)}, ${formatBytes(size)}, ${from}, in ${formatMilliseconds(milliseconds)}\n`,
  );
  return 0;
}
