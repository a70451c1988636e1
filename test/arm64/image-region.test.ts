/** The region of an arm64 Image says the same, wherever the Image comes from: all of its image_size, in whole pages. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { crc32, gzipSync } from "node:zlib";
import { type AsyncByteInput, loadLinux, planLinux } from "../../src/index.js";
import { makeArm64Image } from "../linux/guest-reader.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { asyncOnly } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { makeZboot } from "../support/zboot-maker.js";

const RAM = 24 << 20;
const PAGE = 4096;
const folder = tempFolder();

const FORMS: Readonly<Record<string, (bytes: Uint8Array<ArrayBuffer>) => AsyncByteInput>> = {
  bytes: (bytes) => bytes,
  "a path": (bytes) => {
    const path = join(folder, `${bytes.byteLength}`);
    writeFileSync(path, bytes);
    return path;
  },
  "a Blob": (bytes) => new Blob([bytes]),
  "a source of one's own": asyncOnly,
  "a Response with a length": (bytes) =>
    new Response(bytes, { headers: { "content-length": `${bytes.byteLength}` } }),
  "a stream of unknown length": (bytes) => makeStream(bytes, { chunks: [777] }).stream,
  gzip: gzipSync,
  "a stream of gzip": (bytes) => makeStream(gzipSync(bytes), { chunks: [777] }).stream,
  zboot: (bytes) => makeZboot({ payload: gzipSync(bytes) }),
};

describe("the region of an arm64 Image", () => {
  for (const [name, byteLength, imageSize, pages] of [
    ["that is longer in memory than in its file", 0x2345, 0x5678n, 6],
    ["whose file fills it", 0x5000, 0x5000n, 5],
    ["whose file ends in its last page", 0x4fff, 0x5000n, 5],
    ["whose header says no size", 0x3001, 0n, 4],
  ] as const) {
    const bytes = makeArm64Image({ byteLength, imageSize });
    const whole = new Uint8Array(pages * PAGE);
    whole.set(bytes);
    for (const [form, make] of Object.entries(FORMS)) {
      it(`${name} has the length and the CRC of image_size, from ${form}`, async () => {
        for (const decompressInto of ["memory", "buffer"] as const) {
          const memory = new Uint8Array(RAM).fill(0xa5);
          const machine = { deviceTree: memoryTree(RAM), decompressInto, crc32: true };
          const guest = await loadLinux({ ...machine, kernel: make(bytes), memory: memory.buffer });
          const {
            range,
            dataLength,
            crc32: told,
          } = guest.regions.find(({ tag }) => tag === "linux-kernel") ?? assert.fail();
          assert.deepEqual(
            [range.length, dataLength, told],
            [BigInt(whole.length), whole.length, crc32(whole)],
          );
          assert.deepEqual(guest.memory.read(range.start, whole.length), whole);
          const { crc32: _, ...planning } = machine;
          const plan = await planLinux({ ...planning, kernel: make(bytes), memory: RAM });
          const planned = plan.pages.find(({ tag }) => tag === "linux-kernel");
          assert.deepEqual(
            [planned?.range.length, planned?.dataLength],
            [BigInt(whole.length), whole.length],
          );
          plan.close();
        }
      });
    }
  }
});
