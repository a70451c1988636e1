/** Debian's own kernels: LZ4 in the amd64 one, xz behind the x86 filter in the i386 one, and every format of the arm64 one. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  type CompressionFormat,
  DECODER_SCRATCH_BYTES,
  decompress,
  decompressInto,
} from "../../src/decoders/index.js";
import { compress, METHODS, nameOf, ONE_OF_EACH, pipe } from "../decoders/tools.js";
import { type DebianArchitecture, debianKernel } from "./support/debian.js";
import { extractVmlinux } from "./support/extract-vmlinux.js";

const LIMIT = 256 << 20;

/** The payload of a bzImage: boot protocol, setup_sects, payload_offset, payload_length. */
function payloadOf(vmlinuz: Buffer): Buffer {
  const setupBytes = ((vmlinuz[0x1f1] || 4) + 1) * 512;
  const offset = setupBytes + vmlinuz.readUInt32LE(0x248);
  return vmlinuz.subarray(offset, offset + vmlinuz.readUInt32LE(0x24c));
}

async function payload(
  arch: DebianArchitecture,
  format: CompressionFormat,
): Promise<{ stream: Buffer; size: number; vmlinuz: string; format: CompressionFormat }> {
  const { vmlinuz } = await debianKernel(arch);
  const stream = payloadOf(readFileSync(vmlinuz));
  return { stream, size: stream.readUInt32LE(stream.length - 4), vmlinuz, format };
}

describe("decompress", () => {
  for (const [arch, format] of [
    ["amd64", "lz4-legacy"],
    ["i386", "xz"],
  ] as const) {
    it(`takes the payload of Debian's ${arch} kernel, its size behind it`, async () => {
      const { stream, size, vmlinuz } = await payload(arch, format);
      const options = { maxDecompressedSize: LIMIT, expectedBytes: size, allowTrailing: true };
      const output = decompress(format, stream, options);
      assert.equal(output.length, size);
      const tool = format === "xz" ? ["xz", "-dc"] : ["lz4", "-dcq"];
      const stripped = stream.subarray(0, stream.length - 4);
      const expected = pipe(tool[0] ?? "", tool.slice(1), stripped);
      assert.equal(Buffer.compare(output, expected), 0);
      if (arch === "amd64") {
        assert.equal(Buffer.compare(output, readFileSync(await extractVmlinux(vmlinuz))), 0);
      }
      // The same without the size, and straight into a memory.
      assert.equal(Buffer.compare(decompress(format, stripped, { maxDecompressedSize: LIMIT }), expected), 0);
      const memory = new WebAssembly.Memory({ initial: 2048 });
      const target = { memory, offset: 0x10_0000, byteLength: size, scratchOffset: 0x10_0000 + size + 4096 };
      assert.equal(decompressInto(format, stream, target, options), size);
      assert.equal(Buffer.compare(new Uint8Array(memory.buffer, 0x10_0000, size), expected), 0);
      assert.ok(target.scratchOffset + DECODER_SCRATCH_BYTES < memory.buffer.byteLength);
    });
  }

  it("takes Debian's arm64 kernel in every format", async () => {
    const { vmlinuz } = await debianKernel("arm64");
    const kernel = readFileSync(vmlinuz);
    // One of each, and those with the filter that a kernel of this architecture is packed with.
    const arm64 = METHODS.filter((method) => nameOf(method).includes("--arm64"));
    assert.notEqual(arm64.length, 0);
    for (const method of [...ONE_OF_EACH, ...arm64]) {
      const output = decompress(method.format, compress(method, kernel), { maxDecompressedSize: LIMIT });
      assert.equal(Buffer.compare(output, kernel), 0, nameOf(method));
    }
  });

  it("takes a frame of Zstandard with a window of 128 MiB", async () => {
    const { stream, size } = await payload("amd64", "lz4-legacy");
    const options = { maxDecompressedSize: LIMIT, expectedBytes: size, allowTrailing: true };
    const vmlinux = decompress("lz4-legacy", stream, options);
    const twice = Buffer.concat([vmlinux, vmlinux]);
    const zstd = pipe("zstd", ["-q", "-c", "-3", "--long=27"], twice);
    assert.ok(zstd.length < vmlinux.length / 2);
    assert.equal(Buffer.compare(decompress("zstd", zstd, { maxDecompressedSize: LIMIT }), twice), 0);
  });
});
