import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import * as decoders from "../../src/decoders/index.js";
import { inspectKernel, inspectKernelSync } from "../../src/inspect/kernel-inspection.js";
import { METHODS } from "../decoders/tools.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeImage, makeVmlinux, packBzImage, packZboot } from "../support/packed-kernels.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, BreakingSource } from "../support/sources.js";
import { makeStream } from "../support/streams.js";

const MIB = 0x10_0000;

function methodOf(format: string): (typeof METHODS)[number] {
  const found = METHODS.find((method) => method.format === format);
  assert.ok(found !== undefined);
  return found;
}

describe("inspectKernel", () => {
  it("tells of an ELF what it is, its segments and every field", () => {
    const told = inspectKernelSync(X86_64_GUEST);
    assert.equal(told.format, "elf64");
    assert.equal(told.description, "a 64-bit ELF file for x86-64");
    assert.deepEqual([told.architecture, told.entries[0]], ["x86_64", "64"]);
    assert.equal(told.byteLength, readFileSync(X86_64_GUEST).byteLength);
    assert.equal(told.segmentCount, told.segments.length);
    assert.match(told.segments[0]?.flags ?? "", /^[R-][W-][X-]$/);
    const entry = told.fields.find(({ name }) => name === "e_entry");
    assert.deepEqual(
      [entry?.offset, entry?.size, entry?.kind, entry?.value],
      [24, 8, "integer", told.header?.["entry"]],
    );
    assert.equal(told.refusal, undefined);
  });

  it("tells of an arm64 Image", () => {
    const { format, architecture, entries, header, fields } = inspectKernelSync(AARCH64_GUEST);
    assert.deepEqual([format, architecture, entries, fields.length], ["arm64-image", "aarch64", [], 10]);
    assert.equal(header?.["flags"], "0xa");
  });

  it("tells of a bzImage what is compressed in it, without unpacking it", () => {
    const vmlinux = makeVmlinux();
    const told = inspectKernelSync(packBzImage(methodOf("xz"), vmlinux));
    assert.equal(told.description, "an x86 bzImage, protocol 2.15");
    assert.deepEqual(told.entries, ["64", "32"]);
    assert.deepEqual([told.compression?.format, told.compression?.description], ["xz", "xz-compressed data"]);
    assert.ok((told.compression?.compressedBytes ?? 0) > 1000);
    assert.equal(told.compression?.bytes, vmlinux.byteLength + 4000);
    assert.equal(told.inside, undefined);
  });

  it("looks at the kernel in a bzImage where it is asked to", async () => {
    const file = packBzImage(methodOf("lz4-legacy"), makeVmlinux());
    const told = inspectKernelSync(file, { decoders, unpack: "all" });
    assert.equal(told.inside?.format, "elf64");
    assert.equal(told.inside.segments.length, 2);
    assert.equal(told.compression?.format, "lz4-legacy");
    assert.deepEqual(await inspectKernel(file, { unpack: "all" }), told);
  });

  it("looks into zboot images and compressed files, however often they are wrapped", async () => {
    const image = makeImage(MIB);
    const zboot = packZboot(methodOf("zstd"), image);
    const told = await inspectKernel(gzipSync(zboot));
    assert.equal(told.format, "gzip");
    assert.equal(told.architecture, "aarch64");
    assert.equal(told.inside?.format, "arm64-image");
    const wrapped = inspectKernelSync(zboot, { decoders });
    assert.deepEqual(
      [wrapped.format, wrapped.compression?.format, wrapped.inside?.format],
      ["zboot", "zstd", "arm64-image"],
    );
    assert.equal(wrapped.inside?.header?.["imageSize"], MIB + 300_000);
  });

  it("tells of a compressed file what it is, where nothing is there to look into it", () => {
    const packed = packZboot(methodOf("xz"), makeImage(MIB));
    const told = inspectKernelSync(packed);
    assert.deepEqual([told.format, told.inside, told.refusal], ["zboot", undefined, undefined]);
    assert.equal(told.compression?.format, "xz");
    assert.ok((told.compression.compressedBytes ?? 0) > 1000);
    assert.equal(inspectKernelSync(gzipSync(makeVmlinux()), { unpack: "none" }).inside, undefined);
  });

  it("says the same, however the bytes come", async () => {
    const bytes = packBzImage(methodOf("gzip"), makeVmlinux());
    const { name: _, ...told } = inspectKernelSync(bytes);
    const inputs = [
      new Blob([bytes]),
      new Response(bytes),
      asyncOnly(bytes),
      makeStream(bytes, { chunks: [7, 4096, 100_000] }).stream,
    ];
    for (const input of inputs) {
      const { name: __, ...got } = await inspectKernel(input);
      assert.deepEqual(got, told);
    }
  });

  it("tells of a file that the loaders refuse as far as it can be read, and why they do", () => {
    const rows: readonly (readonly [Uint8Array, string, number])[] = [
      [makeBzImage({ byteLength: 3000 }), "BZIMAGE_TRUNCATED", 30],
      [makeElf({ ident: [0x7f, 0x45, 0x4c, 0x46, 2, 2, 1] }), "ELF_BIG_ENDIAN_ELF_ON_LITTLE", 6],
      [packZboot(methodOf("gzip"), makeImage(MIB)).subarray(0, 5000), "ZBOOT_TRUNCATED", 8],
    ];
    for (const [bytes, code, least] of rows) {
      const { refusal: why, fields, header } = inspectKernelSync(bytes);
      assert.equal(why?.code, code);
      assert.match(why.message, /; /);
      assert.ok(fields.length >= least, `${code}: ${fields.length}`);
      assert.equal(header, null);
    }
  });

  it("says of data that is corrupt inside that it is", () => {
    const packed = packZboot(methodOf("gzip"), makeImage(MIB));
    packed.fill(0, 1000, 3000);
    const { refusal: why, format } = inspectKernelSync(packed, { decoders });
    assert.equal(format, "zboot");
    assert.match(why?.code ?? "", /^DECOMPRESS_/);
  });

  it("is plain data: the same after JSON, and in a message", () => {
    const told = inspectKernelSync(packBzImage(methodOf("gzip"), makeVmlinux()), { decoders, unpack: "all" });
    const strip = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
    assert.deepEqual(structuredClone(told), told);
    assert.deepEqual(strip(structuredClone(told)), strip(told));
    assert.doesNotMatch(JSON.stringify(told), /"\d+n"/);
  });

  it("tells of what is no kernel what it is", () => {
    assert.equal(inspectKernelSync(new Uint8Array(0)).description, "an empty file");
    assert.equal(inspectKernelSync(new TextEncoder().encode("#!/bin/sh\n")).description, "a script");
    const told = inspectKernelSync(makeElf({ machine: 243 }));
    assert.deepEqual([told.architecture, told.entries], [undefined, []]);
    assert.match(told.description, /riscv/);
  });

  it("throws what reading throws", async () => {
    const bytes = makeBzImage();
    const broken = (): BreakingSource => new BreakingSource(bytes, 0, new Error("gone"));
    assert.throws(() => inspectKernelSync(broken()), refusal("SOURCE_READ", "gone"));
    await assert.rejects(inspectKernel(broken()), refusal("SOURCE_READ", "gone"));
    await assert.rejects(
      inspectKernel(asyncOnly(bytes), { signal: AbortSignal.abort() }),
      refusal("ABORTED"),
    );
    assert.throws(() => inspectKernelSync(asyncOnly(bytes)), refusal("SOURCE_NOT_SYNCHRONOUS"));
  });

  it("fails for no bytes, whatever they are", () => {
    const seeds = [
      makeBzImage(),
      makeElf({ segments: [{}] }),
      packZboot(methodOf("gzip"), makeImage(5000)),
      readFileSync(AARCH64_GUEST).subarray(0, 4096),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(0x300), fc.nat(255)), { maxLength: 12 }),
        fc.nat(9000),
        (seed, changes, length) => {
          const bytes = Uint8Array.from(seed.subarray(0, length));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const { fields, refusal: why } = inspectKernelSync(bytes, { decoders, unpack: "all" });
          for (const { offset, size } of fields) assert.ok(offset >= 0 && offset + size <= bytes.length);
          assert.ok(why === undefined || why.message.length > 0);
        },
      ),
      { numRuns: 300 },
    );
  });
});
