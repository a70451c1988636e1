import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERROR_CODES } from "../../src/base/error-codes.js";
import { DirectBootError } from "../../src/base/errors.js";

describe("DirectBootError", () => {
  it("is an Error with a code and a name, whose stack begins where it was made", () => {
    const error = new DirectBootError("ARM64_BAD_IMAGE_MAGIC", "the magic is 0x0");
    assert.ok(error instanceof Error);
    assert.deepEqual([error.code, error.name], ["ARM64_BAD_IMAGE_MAGIC", "DirectBootError"]);
    assert.match(String(error), /^DirectBootError: the magic is 0x0/);
    assert.match(error.stack ?? "", /errors\.test/);
  });

  it("says the details, then the cure, and has both one by one", () => {
    const usual = new DirectBootError("SOURCE_READ", "the value; is 7");
    assert.equal(usual.message, `the value; is 7; ${ERROR_CODES.SOURCE_READ.cure}`);
    assert.deepEqual([usual.details, usual.cure], ["the value; is 7", ERROR_CODES.SOURCE_READ.cure]);
    const other = new DirectBootError("SOURCE_EMPTY", "initrd has 0 bytes", { cure: "leave it out" });
    assert.equal(other.message, "initrd has 0 bytes; leave it out");
    assert.equal(other.cure, "leave it out");
  });

  it("keeps the cause, and has none where none is given", () => {
    const cause = new RangeError("underneath");
    assert.equal(new DirectBootError("SOURCE_READ", "a", { cause }).cause, cause);
    assert.ok(Object.hasOwn(new DirectBootError("SOURCE_READ", "a", { cause: undefined }), "cause"));
    assert.ok(!Object.hasOwn(new DirectBootError("SOURCE_READ", "a", { cure: "b" }), "cause"));
  });

  it("has no enumerable property but its code", () => {
    const enumerable: string[] = [];
    for (const key in new DirectBootError("SOURCE_READ", "a", { cause: 1 })) enumerable.push(key);
    assert.deepEqual(enumerable, ["code"]);
  });
});
