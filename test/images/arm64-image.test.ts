import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  Aarch64ImagePageSize,
  decodeAarch64ImageFlags,
  leastArm64ImageBytes,
  readArm64Image,
} from "../../src/images/arm64-image.js";
import { DETECT_BYTES } from "../../src/images/detect.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { FileSource } from "../../src/sources/file.js";
import { runSync } from "../../src/task/run.js";
import { AARCH64_GUEST } from "../support/paths.js";
import {
  makePeImage,
  PE_IMAGE_BYTES,
  PE_OFFSET,
  SECTIONS_END,
  SECTIONS_OFFSET,
} from "../support/pe-image.js";
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

describe("leastArm64ImageBytes", () => {
  const makeHead = (change?: (view: DataView) => void): Uint8Array =>
    makePeImage(change).subarray(0, DETECT_BYTES);

  it("is the end of the last section, less what that may be rounded up by", () => {
    assert.equal(leastArm64ImageBytes(makeHead()), PE_IMAGE_BYTES - 511);
  });

  it("is the end of the headers where the file ends before them", () => {
    const head = makeHead();
    for (let length = 64; length < PE_OFFSET + 24; length++) {
      assert.equal(leastArm64ImageBytes(head.subarray(0, length)), PE_OFFSET + 24);
    }
    for (let length = PE_OFFSET + 24; length < SECTIONS_END; length++) {
      assert.equal(leastArm64ImageBytes(head.subarray(0, length)), SECTIONS_END);
    }
  });

  it("is the end of the headers where no section has raw data, wherever they point", () => {
    const head = makeHead((view) => {
      for (const at of [SECTIONS_OFFSET, SECTIONS_OFFSET + 40]) {
        view.setUint32(at + 16, 0, true);
        view.setUint32(at + 20, 0xffff_ffff, true);
      }
    });
    assert.equal(leastArm64ImageBytes(head), SECTIONS_END);
  });

  it("is 0 of an Image that is no PE program, or has its PE header elsewhere than Linux has it", () => {
    for (const change of [
      (view: DataView) => view.setUint16(0, 0, true),
      (view: DataView) => view.setUint32(PE_OFFSET, 0, true),
      (view: DataView) => view.setUint32(60, 0xffff_ffff, true),
      (view: DataView) => view.setUint16(PE_OFFSET + 6, 97, true),
      (view: DataView) => view.setUint16(PE_OFFSET + 20, 0xffff, true),
    ]) {
      assert.equal(leastArm64ImageBytes(makeHead(change)), 0);
    }
    assert.equal(leastArm64ImageBytes(makeHead().subarray(0, 63)), 0);
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

  it("names page sizes as OpenVMM does", () => {
    assert.deepEqual(Aarch64ImagePageSize, { UNSPECIFIED: 0, PAGE4_K: 1, PAGE16_K: 2, PAGE64_K: 3 });
  });
});
