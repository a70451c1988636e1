import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  Aarch64ImagePageSize,
  checkArm64ImageIsWhole,
  decodeAarch64ImageFlags,
  readArm64Image,
} from "../../src/images/arm64-image.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import { runSync } from "../../src/sources/reader.js";
import { UNKNOWN_LENGTH } from "../../src/sources/source.js";
import { AARCH64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";

const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe("readArm64Image", () => {
  it("reads the 64 bytes of booting.rst, little-endian", () => {
    const aHeader = fc.record({
      code0: u32,
      code1: u32,
      textOffset: u64,
      imageSize: u64,
      flags: u64,
      res2: u64,
      res3: u64,
      res4: u64,
      res5: u32,
    });
    fc.assert(
      fc.property(aHeader, (header) => {
        const view = new DataView(new ArrayBuffer(64));
        view.setUint32(0, header.code0, true);
        view.setUint32(4, header.code1, true);
        const words = [
          header.textOffset,
          header.imageSize,
          header.flags,
          header.res2,
          header.res3,
          header.res4,
        ];
        words.forEach((word, index) => {
          view.setBigUint64(8 + index * 8, word, true);
        });
        for (const [index, character] of [..."ARM\x64"].entries())
          view.setUint8(56 + index, character.charCodeAt(0));
        view.setUint32(60, header.res5, true);
        const source = new BytesSource(new Uint8Array(view.buffer));
        assert.deepEqual(runSync(readArm64Image(source)), { ...header, magic: 0x644d5241 });
      }),
    );
  });

  it("reads the embedded guest: 4 KiB pages, any placement, little-endian", () => {
    const source = new FileSource(AARCH64_GUEST);
    const { flags, imageSize } = runSync(readArm64Image(source));
    const decoded = { bigEndian: false, pageSize: Aarch64ImagePageSize.PAGE4_K, anyStartAddress: true };
    assert.deepEqual(decodeAarch64ImageFlags(flags), decoded);
    assert.ok(imageSize >= BigInt(source.byteLength));
    source.close();
  });

  it("refuses less than 64 bytes before it looks at the magic, then a wrong magic", () => {
    const read = (byteLength: number): unknown =>
      runSync(readArm64Image(new BytesSource(new Uint8Array(byteLength), "Image")));
    assert.throws(() => read(63), refusal("ARM64_READ_KERNEL_IMAGE", "Image", "63", "64"));
    assert.throws(() => read(64), refusal("ARM64_BAD_IMAGE_MAGIC", "Image", "0x0", "0x644d5241"));
  });
});

describe("checkArm64ImageIsWhole", () => {
  const PE_OFFSET = 0x40;
  const OPTIONAL_HEADER_BYTES = 0x70;
  const SECTIONS_OFFSET = PE_OFFSET + 24 + OPTIONAL_HEADER_BYTES;

  /** An Image of `byteLength` bytes with a PE header of two sections, the last of which ends at 0x3400. */
  function makePeImage(byteLength: number, change: (view: DataView) => void = () => {}): BytesSource {
    const view = new DataView(new ArrayBuffer(0x4000));
    view.setUint32(0, 0x91005a4d, true);
    view.setUint32(56, 0x644d5241, true);
    view.setUint32(60, PE_OFFSET, true);
    view.setUint32(PE_OFFSET, 0x4550, true);
    view.setUint16(PE_OFFSET + 6, 2, true);
    view.setUint16(PE_OFFSET + 20, OPTIONAL_HEADER_BYTES, true);
    for (const [index, [start, size]] of [
      [0x1000, 0x2000],
      [0x3000, 0x400],
    ].entries()) {
      view.setUint32(SECTIONS_OFFSET + index * 40 + 16, size ?? 0, true);
      view.setUint32(SECTIONS_OFFSET + index * 40 + 20, start ?? 0, true);
    }
    change(view);
    return new BytesSource(new Uint8Array(view.buffer, 0, byteLength), "Image");
  }
  const check = (source: BytesSource): void =>
    runSync(checkArm64ImageIsWhole(source, runSync(readArm64Image(source))));

  it("takes a file that holds all that its PE header names, and more", () => {
    check(makePeImage(0x3400));
    check(makePeImage(0x4000));
  });

  it("refuses one that ends before, wherever", () => {
    for (const byteLength of [SECTIONS_OFFSET + 80, 0x1000, 0x3000, 0x3200]) {
      assert.throws(
        () => check(makePeImage(byteLength)),
        refusal("ARM64_READ_KERNEL_IMAGE", "Image", `${byteLength} bytes`),
      );
    }
  });

  it("takes one whose last section is rounded up to the alignment of PE files", () => {
    check(makePeImage(0x3201));
  });

  it("takes a section without raw data, wherever it points", () => {
    check(
      makePeImage(0x3400, (view) => {
        view.setUint32(SECTIONS_OFFSET + 40 + 16, 0, true);
        view.setUint32(SECTIONS_OFFSET + 40 + 20, 0xffff_ffff, true);
      }),
    );
  });

  it("says nothing of an Image whose PE header is none, or lies beyond the file", () => {
    for (const change of [
      (view: DataView) => view.setUint16(0, 0, true),
      (view: DataView) => view.setUint32(PE_OFFSET, 0, true),
      (view: DataView) => view.setUint32(60, 0xffff_ffff, true),
      (view: DataView) => view.setUint16(PE_OFFSET + 6, 97, true),
      (view: DataView) => view.setUint16(PE_OFFSET + 20, 0xffff, true),
    ]) {
      check(makePeImage(0x1000, change));
    }
  });

  it("says nothing of a stream whose length is not known", () => {
    const source = makePeImage(0x1000);
    const header = runSync(readArm64Image(source));
    const stream = { name: "stream", byteLength: UNKNOWN_LENGTH, read: () => assert.fail("it was read") };
    runSync(checkArm64ImageIsWhole(stream, header));
  });
});

describe("decodeAarch64ImageFlags", () => {
  it("has the byte order in bit 0, the page size in bits 1-2, the placement in bit 3, and no more", () => {
    fc.assert(
      fc.property(u64, (flags) => {
        assert.deepEqual(decodeAarch64ImageFlags(flags), {
          bigEndian: flags % 2n === 1n,
          pageSize: Number((flags / 2n) % 4n),
          anyStartAddress: (flags / 8n) % 2n === 1n,
        });
      }),
    );
  });

  it("names page sizes as the seeds do", () => {
    assert.deepEqual(Aarch64ImagePageSize, { UNSPECIFIED: 0, PAGE4_K: 1, PAGE16_K: 2, PAGE64_K: 3 });
  });
});
