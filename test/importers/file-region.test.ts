import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkFileRegion, type FileRegion } from "../../src/importers/file-region.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

const REGION: FileRegion = {
  source: new BytesSource(noise(100), "vmlinux"),
  fileOffset: 10n,
  fileLength: 90n,
  gpa: 0x1ff0n,
  memoryLength: 0x1020n,
  acceptance: "Exclusive",
  tag: "linux-kernel",
};

describe("checkFileRegion", () => {
  it("is the pages from the one that gpa lies in to the one with the last byte", () => {
    assert.deepEqual(checkFileRegion(REGION), {
      pageBase: 1n,
      pageCount: 3,
      leadingBytes: 0xff0,
      offset: 10,
      length: 90,
    });
  });

  it("has no leading bytes without data", () => {
    const shape = checkFileRegion({ ...REGION, fileLength: 0n });
    assert.deepEqual([shape?.leadingBytes, shape?.length, shape?.pageCount], [0, 0, 3]);
  });

  it("may end with the file, and at the last page of the address space", () => {
    assert.equal(checkFileRegion({ ...REGION, fileOffset: 10n, fileLength: 90n })?.length, 90);
    const gpa = (1n << 64n) - 0x3000n;
    assert.equal(checkFileRegion({ ...REGION, gpa, memoryLength: 0x2000n })?.pageCount, 2);
  });

  it("names the bytes that a file does not have", () => {
    const act = (): unknown => checkFileRegion({ ...REGION, fileOffset: 11n });
    assert.throws(act, refusal("REGION_READ", "linux-kernel", "0xb to 0x65", "vmlinux", "0x64"));
  });
});
