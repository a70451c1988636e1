/** Copy and CRC in one pass, and where it is used. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { GuestMemory, loadLinux, loadLinuxSync } from "../../src/index.js";
import { hotPathsOverMemory } from "../../src/wasm/hot-paths.js";
import { X86_64_GUEST } from "../support/paths.js";
import { noise } from "../support/sources.js";

const MIB = 1 << 20;

describe("copyCrc32", () => {
  const memory = new WebAssembly.Memory({ initial: 128 });
  const hotPaths = hotPathsOverMemory(memory, 127 * 65536);
  const bytes = new Uint8Array(memory.buffer);

  it("copies like copy and computes like zlib, for any lengths and distances, overlapping ones included", () => {
    const length = fc.oneof(
      fc.nat(2000),
      fc.nat(70_000),
      fc.integer({ min: MIB - 100, max: MIB + 9000 }),
      fc.constant(MIB),
    );
    const property = fc.property(
      length,
      fc.nat(5000),
      fc.integer({ min: -MIB, max: MIB }),
      fc.nat(0xffff_ffff),
      (byteLength, at, distance, seed) => {
        const source = 2 * MIB + at;
        bytes.set(noise(byteLength, at), source);
        const before = bytes.slice(source, source + byteLength);
        const target = source + distance;
        assert.equal(hotPaths.copyCrc32(target, source, byteLength, seed), zlibCrc32(before, seed));
        assert.equal(Buffer.compare(bytes.subarray(target, target + byteLength), before), 0);
      },
    );
    fc.assert(property, { numRuns: 200 });
  });

  it("writes nothing beside its target", () => {
    for (const byteLength of [1, 703, 704, 36_863, 36_864, MIB + 77]) {
      bytes.fill(0xaa);
      hotPaths.copyCrc32(4 * MIB, MIB, byteLength, 0);
      assert.equal(bytes[4 * MIB - 1], 0xaa);
      assert.equal(bytes[4 * MIB + byteLength], 0xaa);
    }
  });
});

describe("GuestMemory#writeWithCrc32", () => {
  it("gives zlib's CRC of bytes from elsewhere and of its own, across banks that are adjacent in guest memory", () => {
    const buffer = new ArrayBuffer(3 * 4096);
    const memory = GuestMemory.attach(buffer, [
      { guestPhysicalAddress: 0, byteOffset: 4096, byteLength: 4096 },
      { guestPhysicalAddress: 4096, byteOffset: 0, byteLength: 4096 },
    ]);
    const data = noise(8000, 3);
    assert.equal(memory.writeWithCrc32(100, data), zlibCrc32(data));
    assert.deepEqual(memory.read(100, 8000), data);
    // The first part is written over what the second part is made of.
    const own = new Uint8Array(buffer, 0, 8192);
    const expected = own.slice();
    assert.equal(memory.writeWithCrc32(0, own, 7), zlibCrc32(expected, 7));
    assert.deepEqual(memory.read(0, 8192), expected);
  });
});

describe("loadLinux with crc32: true", () => {
  it("has the CRC of each region's data, from files, from bytes, and from bytes in the guest's own memory", async () => {
    const options = { kernel: X86_64_GUEST, initrd: noise(100_000, 5), memory: 64 * MIB, crc32: true };
    for (const guest of [loadLinuxSync(options), await loadLinux(options)]) {
      for (const { range, dataLength, crc32, tag } of guest.regions) {
        assert.equal(crc32, zlibCrc32(guest.memory.read(range.start, dataLength)), tag);
      }
    }
    const memory = GuestMemory.create(64 * MIB);
    memory.write(48 * MIB, noise(2 * MIB, 9));
    const initrd = memory.view(48 * MIB, 2 * MIB);
    const guest = loadLinuxSync({ ...options, initrd, memory });
    const region = guest.regions.find(({ tag }) => tag === "linux-initrd");
    assert.equal(region?.crc32, zlibCrc32(noise(2 * MIB, 9)));
    assert.deepEqual(memory.read(guest.info.initrd?.gpa ?? 0, 2 * MIB), noise(2 * MIB, 9));
    assert.ok(JSON.stringify(guest).includes(`"crc32":"0x${region?.crc32?.toString(16)}"`));
  });

  it("has none without being asked", () => {
    const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: 64 * MIB });
    assert.ok(guest.regions.every((region) => !("crc32" in region)));
  });
});
