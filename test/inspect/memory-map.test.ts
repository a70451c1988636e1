import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  loadLinuxSync,
  MemoryLayout,
  MemoryRange,
  planLinuxSync,
  RecordingImporter,
} from "../../src/index.js";
import { memoryMapOf, regionKind } from "../../src/inspect/memory-map.js";
import { regionChecksums } from "../../src/inspect/region-checksums.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeImage, makeVmlinux } from "../support/packed-kernels.js";

const MIB = 0x10_0000;
const GIB = 0x4000_0000;
const kernel = makeVmlinux();
const options = { kernel, initrd: new Uint8Array(MIB).fill(7), commandLine: "quiet", memory: 256 * MIB };

describe("memoryMapOf", () => {
  it("tells of a plan what lies where, and the e820 map that is in it", () => {
    const plan = planLinuxSync(options);
    const map = memoryMapOf(plan);
    assert.equal(map.architecture, "x86_64");
    assert.equal(map.entryMode, "long64");
    assert.equal(map.entry, plan.info.kernel.entrypoint);
    assert.deepEqual(
      map.ram.map(({ start, end }) => [start, end]),
      [[0n, 0x1000_0000n]],
    );
    assert.equal(map.regions.length, plan.pages.length);
    const initrd = map.regions.find(({ name }) => name === "linux-initrd");
    assert.deepEqual([initrd?.kind, initrd?.start], ["initrd", plan.info.initrd?.gpa]);
    assert.deepEqual(
      map.e820?.map(({ typeName }) => typeName),
      ["usable RAM", "ACPI tables, reclaimable", "usable RAM"],
    );
  });

  it("tells the same of the loaded guest", () => {
    const plan = memoryMapOf(planLinuxSync(options));
    const guest = memoryMapOf(loadLinuxSync(options));
    assert.deepEqual(JSON.parse(JSON.stringify(guest)), JSON.parse(JSON.stringify(plan)));
  });

  it("has no e820 map of a guest whose memory is elsewhere", () => {
    const loaded = loadLinuxSync({ ...options, importer: new RecordingImporter() });
    assert.equal(memoryMapOf(loaded).e820, undefined);
    assert.equal(memoryMapOf(loaded).regions.length, loaded.regions.length);
  });

  it("has the e820 entries of setup_data, and those of a PVH start info", () => {
    const reservations = Array.from({ length: 150 }, (_, index) => ({
      start: BigInt(0x200_0000 + index * 0x2000),
      end: BigInt(0x200_1000 + index * 0x2000),
      type: 2,
    }));
    const { e820 = [] } = memoryMapOf(planLinuxSync({ ...options, reservations }));
    assert.equal(e820.filter(({ type }) => type === 2).length, 150);
  });

  it("names the hole below 4 GiB, and the gaps that a layout names", () => {
    const { holes, ram } = memoryMapOf(planLinuxSync({ ...options, memory: 6 * GIB }));
    assert.deepEqual(
      holes.map(({ name, start, end }) => [name, start, end]),
      [["MMIO", 0xc000_0000n, 0x1_0000_0000n]],
    );
    assert.equal(ram.length, 2);
    const gaps = [new MemoryRange(0x1000_0000n, 0x1100_0000n)];
    const layout = new MemoryLayout(512n << 20n, [], gaps);
    assert.deepEqual(
      memoryMapOf(planLinuxSync({ ...options, memory: layout })).holes.map(({ name }) => name),
      ["PCI configuration space"],
    );
    const bare = new MemoryLayout([
      { start: 0, end: 256 * MIB },
      { start: GIB, end: 2 * GIB },
    ]);
    assert.deepEqual(
      memoryMapOf(planLinuxSync({ ...options, memory: bare })).holes.map(({ name }) => name),
      ["no RAM"],
    );
  });

  it("tells of an arm64 plan", () => {
    const machine = { memory: 256 * MIB, deviceTree: memoryTree(256 * MIB) };
    const map = memoryMapOf(planLinuxSync({ kernel: makeImage(), ...machine }));
    assert.deepEqual([map.architecture, map.entry, map.e820], ["aarch64", 0x4020_0000n, undefined]);
  });

  it("is data for JSON, and for a message to a worker", () => {
    const map = memoryMapOf(planLinuxSync(options));
    const json: unknown = JSON.parse(JSON.stringify(map));
    assert.ok(typeof json === "object" && json !== null && "entry" in json && "ram" in json);
    assert.deepEqual(json.ram, [{ start: "0x0", end: "0x10000000" }]);
    assert.deepEqual(structuredClone(map).regions[0]?.start, map.regions[0]?.start);
  });

  it("knows every tag of a plan", () => {
    for (const { tag } of planLinuxSync({ ...options, rngSeed: new Uint8Array(8) }).pages)
      assert.notEqual(regionKind(tag), "other", tag);
    assert.equal(regionKind("constructor"), "other");
  });
});

describe("regionChecksums", () => {
  it("gives the CRC-32 that the load counted, of memory as it is", () => {
    const guest = loadLinuxSync({ ...options, crc32: true });
    const checksums = regionChecksums(guest);
    assert.deepEqual(
      checksums.map(({ crc32 }) => crc32),
      guest.regions.map(({ crc32 }) => crc32),
    );
    assert.deepEqual(
      checksums.map(({ name, start }) => [name, start]),
      guest.regions.map(({ tag, range }) => [tag, range.start]),
    );
    const initrd = guest.info.initrd;
    assert.ok(initrd !== undefined);
    guest.memory.write(initrd.gpa, new Uint8Array([1]));
    const after = regionChecksums(guest);
    assert.deepEqual(
      after.filter(({ crc32 }, index) => crc32 !== checksums[index]?.crc32).map(({ name }) => name),
      ["linux-initrd"],
    );
    assert.match(JSON.stringify(checksums[0]), /"start":"0x[0-9a-f]+"/);
  });
});
