import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { loadLinuxSync } from "../../src/index.js";
import { describeGdt } from "../../src/inspect/index.js";
import { segmentDescriptor } from "../../src/x86/gdt.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { X86_64_GUEST } from "../support/paths.js";

function table(...descriptors: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(descriptors).buffer);
}

describe("describeGdt", () => {
  it("tells the entries that a 64-bit guest's segment registers were loaded from", () => {
    const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: 64 << 20 });
    assert.ok(guest.architecture === "x86_64");
    const { gdtr, cs, ds } = guest.registers;
    const entries = describeGdt(guest.memory.read(gdtr.base, gdtr.limit + 1));
    assert.deepEqual(
      entries.map(({ selector, base, meaning }) => [selector, base, meaning]),
      [
        ["0x0", "0x0", "no segment"],
        ["0x8", "0x0", "64-bit code, execute/read, accessed"],
        ["0x10", "0x0", "32-bit data, read/write, accessed"],
        ["0x18", "0x0", "no segment"],
      ],
    );
    assert.equal(cs.selector, 0x8);
    assert.equal(ds.selector, 0x10);
  });

  it("tells the flat 32-bit segments and the task state segment of the 32-bit entry", () => {
    const guest = loadLinuxSync({
      kernel: makeBzImage({}),
      memory: 64 << 20,
      entry: "32",
      decompress: "guest",
    });
    assert.ok(guest.architecture !== "aarch64");
    const { gdtr, cs } = guest.registers;
    const entries = describeGdt(guest.memory.read(gdtr.base, gdtr.limit + 1));
    const code = entries[cs.selector / 8];
    assert.deepEqual(
      [code?.base, code?.limit, code?.meaning],
      ["0x0", "0xffffffff", "32-bit code, execute/read, accessed"],
    );
  });

  it("takes apart what a descriptor was put together from", () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 0xffff_ffffn),
        fc.nat(0xf_ffff),
        fc.nat(0xffff).map((bits) => bits & 0xf0ff),
        (base, units, attributes) => {
          const limit = (attributes & 0x8000) === 0 ? units : ((units << 12) | 0xfff) >>> 0;
          const value = segmentDescriptor({ base, limit, attributes });
          const [entry] = describeGdt(table(value));
          assert.deepEqual(
            [BigInt(entry?.value ?? 0), entry?.base, entry?.limit],
            [value, `0x${base.toString(16)}`, `0x${limit.toString(16)}`],
          );
        },
      ),
    );
  });

  it("says of a descriptor that it is not present, and of a system segment what it is", () => {
    const meanings = describeGdt(
      table(
        segmentDescriptor({ base: 0n, limit: 0x67, attributes: 0x89 }),
        segmentDescriptor({ base: 0n, limit: 0xffff, attributes: 0x13 }),
      ),
    ).map(({ meaning }) => meaning);
    assert.match(meanings[0] ?? "", /^32-bit TSS, available/);
    assert.match(meanings[1] ?? "", /^16-bit data.*, not present$/);
  });

  it("has no entry for a rest of fewer than 8 bytes, and refuses what are no bytes", () => {
    assert.equal(describeGdt(new Uint8Array(15)).length, 1);
    assert.deepEqual(describeGdt(new Uint8Array(0)), []);
    assert.throws(() => describeGdt([1, 2] as never), TypeError);
  });
});
