/** The command `directboot extract` as a user runs it. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { directboot } from "../support/command.js";
import { makeImage, makeVmlinux, packBzImage, packZboot } from "../support/packed-kernels.js";
import { isSame } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const folder = tempFolder();
const XZ = ONE_OF_EACH.find(({ format }) => format === "xz");
const LZ4 = ONE_OF_EACH.find(({ format }) => format === "lz4-legacy");
assert.ok(XZ !== undefined && LZ4 !== undefined);
const vmlinux = makeVmlinux();
const image = makeImage();
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const bzImage = file("vmlinuz", packBzImage(LZ4, vmlinux));
const zboot = file("vmlinuz.efi", packZboot(XZ, image));
const out = join(folder, "out");

describe("directboot extract", () => {
  it("writes the ELF of a bzImage, and says what it was", async () => {
    const { status, stdout, stderr } = await directboot(["extract", bzImage, "-o", out]);
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^wrote .*out: a 64-bit ELF file, .* out of LZ4-compressed data \(legacy format\), in /,
    );
    assert.equal(stderr, "");
    assert.ok(isSame(readFileSync(out).subarray(0, vmlinux.length), vmlinux));
    assert.match(runTool("binutils", "readelf", ["-hl", out]), /Entry point address: +0x1000123/);
  });

  it("writes the Image of a zboot image over what was there, and tells in JSON", async () => {
    writeFileSync(out, "old");
    const { status, stdout } = await directboot(["extract", zboot, "--output", out, "--force", "--json"]);
    assert.equal(status, 0);
    const { milliseconds, compressedBytes, ...told } = JSON.parse(stdout);
    assert.deepEqual(told, { out, format: "arm64-image", compression: "xz", byteLength: image.length });
    assert.ok(milliseconds > 0 && compressedBytes > 0 && compressedBytes < image.length);
    assert.ok(isSame(readFileSync(out), image));
  });

  it("copies what is not compressed", async () => {
    const { status, stdout } = await directboot([
      "extract",
      file("vmlinux", vmlinux),
      "-o",
      out,
      "-f",
      "--json",
    ]);
    assert.equal(status, 0);
    assert.equal(JSON.parse(stdout).compression, null);
    assert.ok(isSame(readFileSync(out), vmlinux));
  });

  for (const [name, args, code, status] of [
    ["a missing file", ["extract", join(folder, "missing")], "SOURCE_NOT_FOUND", 1],
    ["a text file", ["extract", file("text", "some text")], "NO_KERNEL_INSIDE", 1],
    ["an empty file", ["extract", file("empty", "")], "NO_KERNEL_INSIDE", 1],
    [
      "a file that is cut off",
      ["extract", file("cut", compress(XZ, vmlinux).subarray(0, -20))],
      "DECOMPRESS_TRUNCATED",
      1,
    ],
    ["one above --max-size", ["extract", bzImage, "--max-size", "1M"], "DECOMPRESS_TOO_LARGE", 1],
    ["no FILE", ["extract"], "extract takes one FILE", 2],
    ["two FILEs", ["extract", bzImage, zboot], "extract takes one FILE", 2],
    ["a --max-size that is none", ["extract", bzImage, "--max-size", "much"], "max-size", 2],
  ] as const) {
    it(`refuses ${name} in one line, and writes nothing`, async () => {
      const target = join(folder, "nothing");
      const result = await directboot([...args, "-o", target]);
      assert.equal(result.status, status, result.stderr);
      assert.ok(result.stderr.includes(code), result.stderr);
      assert.equal(result.stdout, "");
      assert.doesNotMatch(result.stderr, /\n\s+at /);
      assert.ok(!existsSync(target));
    });
  }

  it("needs an output, which can't be a folder, nor lie in one that is not there", async () => {
    assert.equal((await directboot(["extract", bzImage])).status, 2);
    for (const target of [folder, join(folder, "no", "such", "folder")]) {
      const { status, stderr } = await directboot(["extract", bzImage, "-o", target]);
      assert.equal(status, 1, stderr);
      assert.ok(stderr.includes(target), stderr);
    }
  });
});
