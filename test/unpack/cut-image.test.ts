/** An arm64 Image that is cut off, which image_size can't tell: its PE header can, wherever the Image comes from. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import * as decoders from "../../src/decoders/index.js";
import { GuestMemory, loadLinux, loadLinuxSync, planLinuxSync } from "../../src/index.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makePeImage, PE_IMAGE_BYTES, SECTIONS_END } from "../support/pe-image.js";
import { refusal } from "../support/refusal.js";
import { isSame } from "../support/streams.js";

const MEMORY = 16 << 20;
const deviceTree = memoryTree(MEMORY, 0);
const zeros = new Uint8Array(MEMORY);
const whole = makePeImage();
/** Raw data may be rounded up by 511 bytes. */
const SHORTEST = PE_IMAGE_BYTES - 511;
const CUTS = [64, 65, SECTIONS_END - 1, SECTIONS_END, 0x1000, 0x3000, SHORTEST - 1];

/** Bytes in two chunks, of a length that nobody tells. */
function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.slice(0, 100));
      if (bytes.byteLength > 100) controller.enqueue(bytes.slice(100));
      controller.close();
    },
  });
}

describe("an arm64 Image that is cut off", () => {
  it("is refused by planLinuxSync before anything is read but its head, at every length", () => {
    for (let byteLength = 64; byteLength < SHORTEST; byteLength += byteLength < 400 ? 1 : 97) {
      assert.throws(
        () => planLinuxSync({ kernel: whole.subarray(0, byteLength), deviceTree, memory: MEMORY }),
        refusal("ARM64_READ_KERNEL_IMAGE", `${byteLength} bytes`),
      );
    }
    planLinuxSync({ kernel: whole.subarray(0, SHORTEST), deviceTree, memory: MEMORY }).close();
    planLinuxSync({ kernel: whole, deviceTree, memory: MEMORY }).close();
  });

  const ways = new Map<string, (bytes: Uint8Array<ArrayBuffer>) => Blob | ReadableStream | Uint8Array>([
    ["a Blob", (bytes) => new Blob([bytes])],
    ["a stream", streamOf],
    ["gzip", (bytes) => gzipSync(bytes)],
    ["a stream of gzip", (bytes) => streamOf(gzipSync(bytes))],
  ]);
  for (const packing of ONE_OF_EACH) {
    if (packing.format !== "gzip") ways.set(packing.format, (bytes) => compress(packing, bytes));
  }
  for (const [name, make] of ways) {
    it(`is refused by loadLinux as ${name}, and memory is zero`, async () => {
      const loaded = await loadLinux({ kernel: make(whole), deviceTree, memory: MEMORY });
      const kernelPages = loaded.regions.find(({ tag }) => tag === "linux-kernel");
      assert.deepEqual(loaded.memory.read(kernelPages?.range.start ?? 0n, whole.byteLength), whole);
      for (const byteLength of CUTS) {
        const memory = GuestMemory.create(MEMORY);
        const kernel = make(whole.slice(0, byteLength));
        await assert.rejects(loadLinux({ kernel, deviceTree, memory }), refusal("ARM64_READ_KERNEL_IMAGE"));
        assert.ok(isSame(memory.read(0, MEMORY), zeros));
      }
    });
  }

  it("is refused by loadLinuxSync with decoders, in every format", () => {
    for (const packing of ONE_OF_EACH) {
      for (const byteLength of CUTS) {
        const kernel = compress(packing, whole.slice(0, byteLength));
        assert.throws(
          () => loadLinuxSync({ kernel, deviceTree, memory: MEMORY, decoders }),
          refusal("ARM64_READ_KERNEL_IMAGE"),
        );
      }
    }
  });
});
