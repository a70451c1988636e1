/** `directboot extract`: the ELF or Image out of a bzImage, an EFI zboot image or a compressed file. */

import { describeFormat } from "../images/detect.js";
import { formatSize } from "../inspect/sizes.js";
import { extractKernel } from "../linux/extract-kernel.js";
import { formatMilliseconds } from "./format.js";
import { fileInput } from "./input.js";
import { type Arguments, type Command, FORCE_OPTION, parseSize, UsageError } from "./options.js";
import { checkNew, isStream, writeFile } from "./output.js";
import { withProgressBar } from "./progress.js";

async function run(args: Arguments): Promise<number> {
  const [file, ...others] = args.positionals;
  const out = args.text("output");
  if (file === undefined || others.length > 0) throw new UsageError("extract takes one FILE");
  if (out === undefined || out === "") throw new UsageError("extract needs -o FILE");
  const limit = args.text("max-size");
  const maxDecompressedSize = limit === undefined ? undefined : Number(parseSize(limit, "max-size"));
  // Checked before the work, not after it. A report must not mix with output that goes to a stream.
  const report = isStream(out) ? process.stderr : process.stdout;
  if (!args.flag("force")) checkNew(out);
  const input = await fileInput(file);
  const start = performance.now();
  const { kernel, format, compression, compressedSize, size } = await withProgressBar(
    "decompressing",
    (onProgress) => extractKernel(input, { maxDecompressedSize, onProgress }),
  );
  const milliseconds = performance.now() - start;
  await writeFile(out, kernel);
  if (args.flag("json")) {
    const json = {
      out,
      format,
      compression: compression ?? null,
      compressedBytes: compressedSize,
      byteLength: size,
      milliseconds,
    };
    report.write(`${JSON.stringify(json, null, 2)}\n`);
    return 0;
  }
  const from = compression === undefined ? "was not compressed" : `out of ${describeFormat(compression)}`;
  report.write(
    `wrote ${out}: ${describeFormat(format)}, ${formatSize(size)}, ${from}, in ${formatMilliseconds(milliseconds)}\n`,
  );
  return 0;
}

export const extractCommand: Command = {
  summary: "the ELF or Image out of a bzImage, a zboot image or a compressed file",
  operands: "FILE -o OUT",
  options: {
    output: { value: "FILE", short: "o", help: "the file to write" },
    force: FORCE_OPTION,
    "max-size": { value: "SIZE", help: "refuse a kernel that is larger" },
  },
  examples: [["extract vmlinuz -o vmlinux", "the ELF that a distribution's kernel is packed from"]],
  run,
};
