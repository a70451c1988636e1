/** A relocatable bzImage whose kernel can't lie where it is linked. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import * as decoders from "../../src/decoders/index.js";
import { MemoryLayout, type PlanLinuxSyncOptions, planLinux, planLinuxSync } from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeElf } from "../support/elf-maker.js";

const MIB = 1 << 20;
const AT = 0x100_0000n;

/** One that is linked at 16 MiB, and takes `memsz` bytes there; its header says that it takes `initSize`. */
function kernelOf(initSize: number, memsz = 0x40_0000n, isDamaged = false): Uint8Array {
  const segment = { offset: 0x1000n, vaddr: AT, paddr: AT, filesz: 0x1000n, memsz };
  const payload = gzipSync(makeElf({ entry: AT, segments: [segment] }));
  if (isDamaged) payload.fill(0xff, 20);
  const code = new Uint8Array(Math.ceil((0x400 + payload.byteLength) / 16) * 16);
  code.set(payload, 0x400);
  return makeBzImage({
    code,
    payloadOffset: 0x400,
    payloadLength: payload.byteLength,
    fields: [[0x260, 4, initSize]],
  });
}

const TAKEN: Readonly<Record<string, Partial<PlanLinuxSyncOptions>>> = {
  "a reservation": { reservations: [{ start: AT, end: AT + 0x1000n, type: 2 }] },
  "a hole in RAM": {
    memory: new MemoryLayout([
      { start: 0n, end: AT },
      { start: 0x200_0000n, end: 0x1000_0000n },
    ]),
  },
  "the chosen initrd": { initrd: new Uint8Array(99), addresses: { initrd: 0x120_0000 } },
  "the chosen command line": { commandLine: "quiet", addresses: { commandLine: 0x120_0000 } },
};

describe("a relocatable bzImage whose place is taken", () => {
  for (const [name, options] of Object.entries(TAKEN)) {
    it(`unpacks itself elsewhere: ${name} is there`, async () => {
      // What the header tells is known before the payload is unpacked: a damaged one is not even read.
      // One that takes more than its header tells is found when it is unpacked.
      for (const [kernel, moves] of [
        [kernelOf(0x60_0000), true],
        [kernelOf(0x60_0000, 1n, true), true],
        [kernelOf(0x1000), false],
      ] as const) {
        const all = { kernel, memory: 256 * MIB, decoders, ...options };
        for (const plan of [planLinuxSync(all), await planLinux(all)]) {
          assert.equal(plan.decompression?.by, "guest");
          assert.ok(!moves || plan.info.kernel.gpa > AT, plan.info.kernel.gpa.toString(16));
        }
      }
    });
  }

  it("is unpacked by the host where nothing is in its way, or something behind it", () => {
    const all = { kernel: kernelOf(0x60_0000), memory: 256 * MIB, decoders };
    for (const reservations of [[], [{ start: AT + 0x60_0000n, end: AT + 0x70_0000n, type: 2 }]]) {
      const plan = planLinuxSync({ ...all, reservations });
      assert.deepEqual([plan.decompression?.by, plan.info.kernel.gpa], ["host", AT]);
    }
  });
});
