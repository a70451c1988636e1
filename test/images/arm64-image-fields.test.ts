import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { readArm64Image } from "../../src/images/arm64-image.js";
import { readArm64ImageFields } from "../../src/images/arm64-image-fields.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import { AARCH64_GUEST } from "../support/paths.js";

/** Words for a field of a header that holds this value at that offset. */
function meaning(name: string, offset: number, value: bigint): string | undefined {
  const bytes = new Uint8Array(64);
  new DataView(bytes.buffer).setBigUint64(offset, value, true);
  const fields = runSync(readArm64ImageFields(new BytesSource(bytes)));
  return fields.find((field) => field.name === name)?.meaning;
}

describe("readArm64ImageFields", () => {
  it("gives the values that the parser gives", () => {
    const source = new BytesSource(readFileSync(AARCH64_GUEST));
    const header = runSync(readArm64Image(source));
    assert.deepEqual(
      runSync(readArm64ImageFields(source)).map(({ value }) => BigInt(value)),
      Object.values(header).map(BigInt),
    );
  });

  it("decodes the flags, and names what is missing", () => {
    assert.equal(meaning("flags", 24, 0x5n), "big-endian, page size 16 KiB, must lie at the start of RAM");
    assert.match(meaning("flags", 24, 0x1fn) ?? "", /64 KiB, may be placed anywhere, unknown 0x10$/);
    assert.match(meaning("code0", 0, 0xfa40_5a4dn) ?? "", /"MZ"/);
    assert.match(meaning("image_size", 16, 0n) ?? "", /before Linux 3.17/);
    assert.match(meaning("magic", 56, 1n) ?? "", /0x644d5241 is wanted/);
    assert.equal(meaning("res5", 56, 64n << 32n), "the PE header is at byte 64");
  });
});
