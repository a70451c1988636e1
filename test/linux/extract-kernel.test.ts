/** The ELF or Image out of whatever a kernel is distributed in. */
import assert from "node:assert/strict";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import { extractKernel, extractKernelSync } from "../../src/index.js";
import { compress, nameOf, ONE_OF_EACH } from "../decoders/tools.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import {
  bzImageAround,
  compressible,
  makeImage,
  makeVmlinux,
  makeVmlinux32,
  packBzImage,
  packZboot,
  withTrailer,
} from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();
const vmlinux = makeVmlinux();
const vmlinux32 = makeVmlinux32();
const image = makeImage();
const relocated = Buffer.concat([vmlinux, noise(4000, 9)]);
const [GZIP] = ONE_OF_EACH;
const ZSTD = ONE_OF_EACH.find(({ format }) => format === "zstd");
const XZ = ONE_OF_EACH.find(({ format }) => format === "xz");
assert.ok(GZIP !== undefined && ZSTD !== undefined && XZ !== undefined);

describe("extractKernel and extractKernelSync", () => {
  for (const method of ONE_OF_EACH) {
    it(`take it out of ${nameOf(method)}: a file, a bzImage, a zboot image`, async () => {
      const stream = compress(method, vmlinux32);
      const cases: [Uint8Array, Uint8Array, string, number][] = [[stream, vmlinux32, "elf32", stream.length]];
      if (method.format !== "lz4") {
        const [payload, zboot] = [compress(method, relocated), compress(method, image)];
        cases.push([packBzImage(method, vmlinux), relocated, "elf64", payload.length]);
        cases.push([packZboot(method, image), image, "arm64-image", zboot.length]);
      }
      for (const [file, kernel, format, compressedSize] of cases) {
        for (const extracted of [
          await extractKernel(file),
          await extractKernel(makeStream(file).stream),
          extractKernelSync(file, { decoders }),
        ]) {
          assert.ok(isSame(extracted.kernel, kernel));
          const { kernel: _, ...told } = extracted;
          assert.deepEqual(told, { format, compression: method.format, compressedSize, size: kernel.length });
        }
      }
    });
  }

  it("give the caller's own bytes where nothing is compressed", async () => {
    for (const [plain, format] of [
      [vmlinux, "elf64"],
      [vmlinux32, "elf32"],
      [image, "arm64-image"],
    ] as const) {
      const told = { format, compression: undefined, compressedSize: undefined, size: plain.length };
      const { kernel, ...asynchronous } = await extractKernel(plain);
      assert.deepEqual(asynchronous, told);
      assert.equal(kernel.buffer, plain.buffer);
      assert.equal(extractKernelSync(plain).kernel.buffer, plain.buffer);
    }
  });

  it("take paths, Blobs, asynchronous sources and wrappers around wrappers", async () => {
    const path = join(folder, "kernel");
    const packed = compress(GZIP, packZboot(ZSTD, image));
    writeFileSync(path, packed);
    for (const input of [path, new Blob([packed]), asyncOnly(packed), new Response(packed)]) {
      assert.ok(isSame((await extractKernel(input)).kernel, image));
    }
    assert.ok(isSame(extractKernelSync(path, { decoders }).kernel, image));
  });

  it("take a plain vmlinux of more than 256 MiB, as one with debugging information is", () => {
    const path = join(folder, "vmlinux");
    writeFileSync(path, vmlinux);
    const size = 300 << 20;
    truncateSync(path, size);
    const { kernel } = extractKernelSync(path);
    assert.equal(kernel.length, size);
    assert.ok(isSame(kernel.subarray(0, vmlinux.length), vmlinux));
  });

  it("need no decoders for gzip in Node, neither file nor payload; else they say what to do", () => {
    for (const [file, kernel] of [
      [compress(GZIP, vmlinux), vmlinux],
      [packBzImage(GZIP, vmlinux), relocated],
      [packZboot(GZIP, image), image],
    ] as const) {
      assert.ok(isSame(extractKernelSync(file).kernel, kernel));
    }
    for (const file of [compress(XZ, vmlinux), packBzImage(XZ, vmlinux), packZboot(XZ, image)]) {
      assert.throws(() => extractKernelSync(file), refusal("DECOMPRESS_UNSUPPORTED", "directboot/decoders"));
    }
  });

  it("refuse what holds no kernel", async () => {
    const raw = compressible(5000);
    for (const file of [
      new TextEncoder().encode("some text"),
      new Uint8Array(0),
      compress(XZ, raw),
      bzImageAround({ payload: withTrailer(ZSTD, compress(ZSTD, raw), raw.length) }),
    ]) {
      assert.throws(() => extractKernelSync(file, { decoders }), refusal("NO_KERNEL_INSIDE"));
      await assert.rejects(extractKernel(file), refusal("NO_KERNEL_INSIDE"));
    }
    for (const file of [makeBzImage(), bzImageAround({ payload: noise(4000) })]) {
      await assert.rejects(extractKernel(file), refusal("DECOMPRESS_UNSUPPORTED"));
    }
  });

  it("keep to maxDecompressedSize", async () => {
    for (const method of ONE_OF_EACH) {
      const file = compress(method, vmlinux);
      const maxDecompressedSize = vmlinux.length - 1;
      await assert.rejects(extractKernel(file, { maxDecompressedSize }), refusal("DECOMPRESS_TOO_LARGE"));
      assert.throws(
        () => extractKernelSync(file, { maxDecompressedSize, decoders }),
        refusal("DECOMPRESS_TOO_LARGE"),
      );
      extractKernelSync(file, { maxDecompressedSize: vmlinux.length, decoders });
    }
    await assert.rejects(
      extractKernel(makeStream(vmlinux).stream, { maxDecompressedSize: 1000 }),
      refusal("SOURCE_SPOOL_LIMIT"),
    );
  });

  it("report progress that never goes back, and throw what it throws", async () => {
    const file = compress(ZSTD, compress(XZ, vmlinux));
    const seen: number[] = [];
    await extractKernel(file, {
      onProgress: ({ phase, loaded }) => {
        if (phase === "decompress") seen.push(loaded);
      },
    });
    assert.ok(seen.length > 1 && seen.every((loaded, index) => loaded >= (seen[index - 1] ?? 0)));
    const thrown = new Error("enough");
    const onProgress = (): void => {
      throw thrown;
    };
    await assert.rejects(extractKernel(file, { onProgress }), (cause) => cause === thrown);
    assert.throws(
      () => extractKernelSync(file, { onProgress, decoders }),
      (cause) => cause === thrown,
    );
  });

  it("heed the signal", async () => {
    const controller = new AbortController();
    const onProgress = (): void => controller.abort();
    const options = { signal: controller.signal, onProgress };
    await assert.rejects(extractKernel(compress(XZ, image), options), refusal("ABORTED"));
    await assert.rejects(extractKernel(vmlinux, { signal: AbortSignal.abort() }), refusal("ABORTED"));
  });

  it("name a source that breaks", async () => {
    const file = compress(XZ, image);
    for (let failAt = 0; failAt < 2; failAt++) {
      const source = new BreakingSource(file, failAt, new Error("the disk is gone"));
      await assert.rejects(extractKernel(source), refusal("SOURCE_READ", "the disk is gone"));
    }
  });
});
