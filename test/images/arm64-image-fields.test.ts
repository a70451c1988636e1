import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { readArm64Image } from "../../src/images/arm64-image.js";
import { ARM64_IMAGE_FIELDS, readArm64ImageFields } from "../../src/images/arm64-image-fields.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import { AARCH64_GUEST } from "../support/paths.js";

/** Words for a field that has that value. */
function meaning(name: string, value: bigint): string {
  const found = ARM64_IMAGE_FIELDS.find((field) => field.name === name);
  assert.ok(found !== undefined, name);
  return typeof found.meaning === "string" ? found.meaning : found.meaning(value);
}

describe("readArm64ImageFields", () => {
  it("gives the values that the parser gives", () => {
    const source = new BytesSource(readFileSync(AARCH64_GUEST));
    const header = runSync(readArm64Image(source));
    assert.deepEqual(
      runSync(readArm64ImageFields(source)).map(({ value }) => value),
      Object.values(header).map(BigInt),
    );
  });

  it("decodes the flags, and names what is missing", () => {
    assert.equal(meaning("flags", 0x5n), "big-endian, page size 16 KiB, must lie at the start of RAM");
    assert.match(meaning("flags", 0x1fn), /64 KiB, may be placed anywhere, unknown 0x10$/);
    assert.match(meaning("code0", 0xfa40_5a4dn), /"MZ"/);
    assert.match(meaning("image_size", 0n), /before Linux 3.17/);
    assert.match(meaning("magic", 1n), /0x644d5241 is wanted/);
    assert.equal(meaning("res5", 64n), "the PE header is at byte 64");
  });
});
