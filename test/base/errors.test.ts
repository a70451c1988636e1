import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERROR_CODES } from "../../src/base/error-codes.js";
import { DirectBootError, type DirectBootErrorCode } from "../../src/base/errors.js";

const codes = Object.keys(ERROR_CODES) as DirectBootErrorCode[];

describe("ERROR_CODES", () => {
  it("gives every code a meaning and a cure", () => {
    for (const code of codes) {
      const { meaning, cure } = ERROR_CODES[code];
      assert.ok(meaning.split(" ").length >= 3, `${code}: ${meaning}`);
      assert.ok(cure.split(" ").length >= 3, `${code}: ${cure}`);
      assert.notEqual(meaning, cure, code);
    }
  });

  it("marks as reserved exactly what upstream never raises, what only wraps, NUMA and gaps, and seeking", () => {
    const reserved = codes.filter((code) => "reserved" in ERROR_CODES[code]);
    assert.deepEqual([...reserved].sort(), [
      "ARM64_BIG_ENDIAN_ELF_ON_LITTLE",
      "ARM64_SEEK_KERNEL_IMAGE",
      "ARM64_SEEK_KERNEL_START",
      "ELF_IMPORT_FILE_REGION",
      "ELF_LOADER",
      "ELF_READ_KERNEL_IMAGE",
      "ELF_SEEK_KERNEL_IMAGE",
      "FLAT_LOADER",
      "LAYOUT_BAD_MMIO_GAPS",
      "LAYOUT_BAD_NUMA_SIZE",
      "LAYOUT_EMPTY_NUMA_SIZES",
      "REGION_SEEK",
    ]);
  });
});

describe("DirectBootError", () => {
  it("is an Error, with its code and its name", () => {
    const error = new DirectBootError("ARM64_BAD_IMAGE_MAGIC", "the magic is 0x0");
    assert.ok(error instanceof DirectBootError && error instanceof Error);
    assert.equal(error.code, "ARM64_BAD_IMAGE_MAGIC");
    assert.equal(error.name, "DirectBootError");
    assert.match(String(error), /^DirectBootError: the magic is 0x0/);
    assert.match(error.stack ?? "", /errors\.test/);
  });

  it("says the details first, then the cure", () => {
    for (const code of codes) {
      const { message } = new DirectBootError(code, "the value is 7, the limit 5");
      assert.equal(message, `the value is 7, the limit 5; ${ERROR_CODES[code].cure}`);
    }
  });

  it("has them one by one, whatever becomes of the message", () => {
    const error = new DirectBootError("SOURCE_READ", "the value; is 7");
    error.message = "changed";
    assert.deepEqual([error.details, error.cure], ["the value; is 7", ERROR_CODES.SOURCE_READ.cure]);
    assert.equal(new DirectBootError("SOURCE_EMPTY", "a", { cure: "leave it out" }).cure, "leave it out");
  });

  it("takes another cure where the common one does not fit", () => {
    const { message } = new DirectBootError("SOURCE_EMPTY", "initrd has 0 bytes", { cure: "leave it out" });
    assert.equal(message, "initrd has 0 bytes; leave it out");
  });

  it("keeps the cause, and has none where none is given", () => {
    const cause = new RangeError("underneath");
    assert.equal(new DirectBootError("SOURCE_READ", "a", { cause }).cause, cause);
    assert.ok(Object.hasOwn(new DirectBootError("SOURCE_READ", "a", { cause: undefined }), "cause"));
    assert.ok(!Object.hasOwn(new DirectBootError("SOURCE_READ", "a"), "cause"));
    assert.ok(!Object.hasOwn(new DirectBootError("SOURCE_READ", "a", { cure: "b" }), "cause"));
  });

  it("has no enumerable property but its code", () => {
    const error = new DirectBootError("SOURCE_READ", "a", { cause: 1 });
    assert.deepEqual(Object.keys(error), ["code"]);
    assert.ok(!Object.hasOwn(error, "name"));
    const enumerable: string[] = [];
    for (const key in error) enumerable.push(key);
    assert.deepEqual(enumerable, ["code"]);
  });
});
