/** `directboot crc32`: the CRC-32 of files. */
import { FileSource } from "../sources/file.js";
import type { SyncSource } from "../sources/source.js";
import { crc32, hotPaths } from "../wasm/hot-paths.js";
import { printJson } from "./format.js";
import { checkPaths, fileInput } from "./input.js";
import { type Arguments, type Command, UsageError } from "./options.js";
import { aTurn } from "./output.js";
import { type Progress, withProgressBar } from "./progress.js";

const PIECE_BYTES = 1 << 20;
/** Between two turns of the event loop, in which signals come in. */
const BYTES_A_TURN = 64 << 20;

async function checksum(file: SyncSource, onProgress: (progress: Progress) => void): Promise<number> {
  const piece = new Uint8Array(PIECE_BYTES);
  let crc = 0;
  for (let offset = 0; offset < file.byteLength; offset += PIECE_BYTES) {
    const bytes = piece.subarray(0, Math.min(PIECE_BYTES, file.byteLength - offset));
    file.readSync(bytes, offset);
    crc = crc32(bytes, crc);
    onProgress({ loaded: offset + bytes.byteLength, total: file.byteLength });
    if (offset % BYTES_A_TURN === 0) await aTurn();
  }
  return crc;
}

async function run(args: Arguments): Promise<number> {
  if (args.positionals.length === 0) throw new UsageError("crc32 takes at least one FILE");
  checkPaths(args.positionals);
  const files: { readonly file: string; readonly byteLength: number; readonly crc32: string }[] = [];
  for (const path of args.positionals) {
    const input = await fileInput(path);
    const file = typeof input === "string" ? new FileSource(input) : input;
    try {
      const crc = await withProgressBar(path, (onProgress) => checksum(file, onProgress));
      files.push({ file: path, byteLength: file.byteLength, crc32: crc.toString(16).padStart(8, "0") });
    } finally {
      if (file instanceof FileSource) file.close();
    }
  }
  if (args.flag("json")) printJson({ hotPaths: hotPaths.implementation, files });
  else for (const { file, crc32: crc } of files) process.stdout.write(`${crc}  ${file}\n`);
  return 0;
}

export const crc32Command: Command = {
  summary: "the CRC-32 of files",
  operands: "FILE …",
  options: {},
  examples: [["crc32 vmlinuz initrd.img", "a line each"]],
  run,
};
