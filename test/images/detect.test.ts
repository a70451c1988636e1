import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { DETECT_BYTES, detectFormat, type ImageFormat } from "../../src/images/detect.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();

/** A file of zeros with some bytes set. */
function withBytes(...parts: readonly (readonly [number, readonly number[] | string])[]): Uint8Array {
  const bytes = new Uint8Array(DETECT_BYTES);
  for (const [offset, part] of parts) bytes.set(typeof part === "string" ? Buffer.from(part) : part, offset);
  return bytes;
}

describe("detectFormat", () => {
  const mz = [0, "MZ"] as const;
  const cases: readonly (readonly [ImageFormat, string, Uint8Array])[] = [
    ["elf64", "the embedded x86-64 guest", readFileSync(X86_64_GUEST)],
    ["elf64", "this machine's node", readFileSync(process.execPath).subarray(0, DETECT_BYTES)],
    ["arm64-image", "the embedded arm64 guest", readFileSync(AARCH64_GUEST)],
    ["gzip", "what zlib made", gzipSync("kernel")],
    ["elf32", "class 1", withBytes([0, [0x7f, 0x45, 0x4c, 0x46, 1]])],
    ["unknown", "an ELF of no class", withBytes([0, [0x7f, 0x45, 0x4c, 0x46, 0]])],
    ["bzImage", "HdrS at 0x202", withBytes([0x202, "HdrS"])],
    ["bzImage", "an EFI bzImage", withBytes(mz, [0x202, "HdrS"])],
    ["arm64-image", "an EFI Image", withBytes(mz, [56, "ARM\x64"])],
    ["zboot", "an EFI zboot image", withBytes(mz, [4, "zimg"])],
    ["bzip2", "BZh9", withBytes([0, "BZh9"])],
    ["lzma", "level 9 of xz --format=lzma", withBytes([0, [0x5d, 0, 0, 0, 4]])],
    ["lzo", "lzop", withBytes([0, [0x89, 0x4c, 0x5a, 0x4f, 0, 0x0d, 0x0a, 0x1a, 0x0a]])],
    ["zstd", "RFC 8878's magic number", withBytes([0, [0x28, 0xb5, 0x2f, 0xfd]])],
    ["lz4", "a frame", withBytes([0, [0x04, 0x22, 0x4d, 0x18]])],
    ["empty", "no bytes", new Uint8Array(0)],
    ["text", "a script", Buffer.from("#!/bin/sh\n\techo vmlinux\r\n")],
    ["text", "UTF-8", Buffer.from("Ünïcödé")],
    ["unknown", "zeros", new Uint8Array(DETECT_BYTES)],
    ["unknown", "a NUL in text", Buffer.from("text\0")],
    ["unknown", "a part of a magic", Uint8Array.from([0x1f])],
  ];
  for (const [format, what, bytes] of cases) {
    it(`tells ${format} by ${what}`, () => assert.equal(detectFormat(bytes), format));
  }

  it("tells what the compressors write that kernels are packed with", () => {
    const made: readonly (readonly [ImageFormat, string, string, string])[] = [
      ["xz", "xz-utils", "xz", "--stdout --format=xz"],
      ["lzma", "xz-utils", "xz", "--stdout --format=lzma"],
      ["lz4-legacy", "lz4", "lz4", "-l -c -q"],
      ["lz4", "lz4", "lz4", "-c -q"],
    ];
    for (const [format, debianPackage, tool, options] of made) {
      const path = `${folder}/${format}`;
      // Through a shell, since the output is no text.
      runTool(debianPackage, "sh", ["-c", `${tool} ${options} ${X86_64_GUEST} > ${path}`]);
      assert.equal(detectFormat(readFileSync(path)), format);
    }
  });
});
