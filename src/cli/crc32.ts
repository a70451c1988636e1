/** `directboot crc32`: the CRC-32 of files. */
import { FileSource } from "../sources/file.js";
import { crc32, hotPaths } from "../wasm/hot-paths.js";
import { printJson } from "./format.js";
import { parseArguments, UsageError } from "./options.js";
import { aTurn } from "./output.js";
import { type Progress, withProgressBar } from "./progress.js";

const PIECE_BYTES = 1 << 20;
/** Between two turns of the event loop, in which signals come in. */
const BYTES_A_TURN = 64 << 20;

async function checksum(file: FileSource, onProgress: (progress: Progress) => void): Promise<number> {
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

export async function crc32Command(argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, { json: { type: "boolean" } });
  if (args.positionals.length === 0) throw new UsageError("crc32 takes at least one FILE");
  const files: { readonly file: string; readonly byteLength: number; readonly crc32: string }[] = [];
  for (const path of args.positionals) {
    const file = new FileSource(path);
    try {
      const crc = await withProgressBar(path, (onProgress) => checksum(file, onProgress));
      files.push({ file: path, byteLength: file.byteLength, crc32: crc.toString(16).padStart(8, "0") });
    } finally {
      file.close();
    }
  }
  if (args.flag("json")) printJson({ hotPaths: hotPaths.implementation, files });
  else for (const { file, crc32: crc } of files) process.stdout.write(`${crc}  ${file}\n`);
  return 0;
}
