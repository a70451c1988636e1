/** Streams made by the real tools. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import type { CompressionFormat } from "../../src/decoders/index.js";
import { noise } from "../support/sources.js";

const PACKAGES: Readonly<Record<string, string>> = {
  gzip: "gzip",
  xz: "xz-utils",
  zstd: "zstd",
  lz4: "lz4",
  bzip2: "bzip2",
  lzop: "lzop",
};

/** A tool's standard output for `input`. */
export function pipe(tool: string, args: readonly string[], input: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = spawnSync(tool, args, { input, maxBuffer: 1 << 29, timeout: 240_000 });
  if (result.error !== undefined) {
    throw new Error(`${tool} can't be run: apt-get install ${PACKAGES[tool] ?? tool}`, {
      cause: result.error,
    });
  }
  assert.equal(result.status, 0, `${tool} ${args.join(" ")}: ${result.stderr.toString()}`);
  return Uint8Array.from(result.stdout);
}

/** A tool and the arguments that make a format of it. */
export interface Method {
  readonly format: CompressionFormat;
  readonly tool: string;
  readonly args: readonly string[];
}

const method = (format: CompressionFormat, tool: string, ...args: string[]): Method => ({
  format,
  tool,
  args,
});

/** Every format, in the variants that kernels, initrds and their tools' options make. */
export const METHODS: readonly Method[] = [
  method("gzip", "gzip", "-9c"),
  method("gzip", "gzip", "-1c"),
  method("bzip2", "bzip2", "-9c"),
  method("bzip2", "bzip2", "-1c"),
  method("zstd", "zstd", "-q", "-c"),
  method("zstd", "zstd", "-q", "-c", "-1", "--no-check"),
  method("zstd", "zstd", "-q", "-c", "-22", "--ultra", "--long=27"),
  method("lz4", "lz4", "-q", "-c"),
  method("lz4", "lz4", "-q", "-c", "-9", "-BX", "-BD", "-B4", "--content-size"),
  method("lz4", "lz4", "-q", "-c", "-B5", "--no-frame-crc"),
  method("lz4-legacy", "lz4", "-q", "-c", "-l", "-9"),
  method("lz4-legacy", "lz4", "-q", "-c", "-l", "-1"),
  method("lzo", "lzop", "-c"),
  method("lzo", "lzop", "-c", "-9", "-CC"),
  method("lzo", "lzop", "-c", "--crc32"),
  method("lzma", "xz", "--format=lzma", "-c", "-1"),
  method("lzma", "xz", "-c", "--format=lzma", "--lzma1=preset=0,lc=0,lp=2,pb=1"),
  method("xz", "xz", "-c", "-0", "--check=sha256"),
  method("xz", "xz", "-c", "-1", "--check=none"),
  method("xz", "xz", "-c", "--check=crc32", "--x86", "--lzma2=preset=1,dict=1MiB"),
  method("xz", "xz", "-c", "--check=crc64", "--arm64", "--lzma2=preset=1"),
  method("xz", "xz", "-c", "--arm64=start=4096", "--lzma2=preset=0,lc=1,lp=2,pb=0"),
  method("xz", "xz", "-c", "--delta=dist=4", "--x86", "--lzma2=preset=0"),
  method("xz", "xz", "-c", "-1", "-T2", "--block-size=1MiB"),
];

/** One method of each format, for what does not depend on variants. */
export const ONE_OF_EACH: readonly Method[] = METHODS.filter(
  ({ format }, i) => METHODS.findIndex((other) => other.format === format) === i,
);

export function compress({ tool, args }: Method, input: Uint8Array): Uint8Array<ArrayBuffer> {
  return pipe(tool, args, input);
}

export function nameOf({ tool, args }: Method): string {
  return `${tool} ${args.filter((arg) => arg !== "-c" && arg !== "-q").join(" ")}`;
}

/** Bytes with the look of x86 code: calls and jumps among other bytes, some of them to the same targets. */
export function codeLike(byteLength: number): Uint8Array<ArrayBuffer> {
  const bytes = noise(byteLength, 7);
  for (let i = 0; i + 8 < byteLength; i += 3 + ((bytes[i + 7] ?? 0) % 11)) {
    bytes[i] = 0xe8 + ((bytes[i] ?? 0) & 1);
    const target = 0x1000 * ((bytes[i + 6] ?? 0) & 15) - i - 5;
    new DataView(bytes.buffer).setInt32(i + 1, target, true);
    if ((bytes[i + 6] ?? 0) % 5 === 0) bytes[i + 2] = 0xe9;
  }
  return bytes;
}

/** Text of few words, in no order. */
export function text(byteLength: number): Uint8Array<ArrayBuffer> {
  const words = ["kernel", "initrd", "loads", "at", "0x100000", "with", "pages", "\n", "of", "four", "KiB"];
  const picks = noise(byteLength, 3);
  let made = "";
  for (let i = 0; made.length < byteLength; i++) made += `${words[(picks[i] ?? 0) % words.length]} `;
  return new TextEncoder().encode(made.slice(0, byteLength));
}
