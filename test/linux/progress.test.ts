/** onProgress: the phase "read" counts the bytes of the inputs as they arrive, whatever they are and come from. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import * as decoders from "../../src/decoders/index.js";
import {
  type AsyncByteInput,
  type ByteInput,
  BytesSource,
  concatSources,
  extractKernel,
  FileSource,
  type LoadProgress,
  loadLinux,
  loadLinuxSync,
  planLinux,
  responseSource,
} from "../../src/index.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeImage, makeVmlinux, packBzImage, packZboot } from "../support/packed-kernels.js";
import { asyncOnly, noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const folder = tempFolder();
let files = 0;

function path(bytes: Uint8Array): string {
  const file = join(folder, `${files++}`);
  writeFileSync(file, bytes);
  return file;
}

const vmlinux = makeVmlinux();
const [gzip] = ONE_OF_EACH.filter(({ format }) => format === "gzip");
assert.ok(gzip !== undefined);
const packed = packBzImage(gzip, vmlinux);
const image = makeImage(2 * MIB);
const deviceTree = memoryTree(RAM);

/** What a load tells of its reading; checks that it is what the documentation promises. */
function readingOf(seen: readonly LoadProgress[], byteLength: number): number[] {
  const reading = seen.filter(({ phase }) => phase === "read");
  const [first, last] = [reading[0], reading.at(-1)];
  assert.equal(first?.loaded, 0);
  assert.equal(last?.loaded, last?.total);
  // A stream that does not say how long it is ends where nothing more of it is needed.
  if (reading.some(({ total }) => total === byteLength)) assert.equal(last?.loaded, byteLength);
  let before = 0;
  for (const { loaded, total } of reading) {
    assert.ok(loaded >= before && loaded <= (total ?? byteLength));
    assert.ok(total === undefined || total === byteLength || total === last?.loaded);
    before = loaded;
  }
  // The load itself is over last.
  assert.deepEqual([seen.at(-1)?.phase, seen.at(-1)?.loaded], ["load", seen.at(-1)?.total]);
  return reading.map(({ loaded }) => loaded);
}

async function loadSeen(kernel: AsyncByteInput, more: object = {}): Promise<LoadProgress[]> {
  const seen: LoadProgress[] = [];
  await loadLinux({ kernel, memory: RAM, ...more, onProgress: (progress) => void seen.push(progress) });
  return seen;
}

const stream = (bytes: Uint8Array, chunk = 65_536): ReadableStream<Uint8Array> =>
  makeStream(bytes, { chunks: [chunk] }).stream;

const SYNC_INPUTS: Readonly<Record<string, (bytes: Uint8Array<ArrayBuffer>) => ByteInput>> = {
  "a Uint8Array": (bytes) => bytes,
  "an ArrayBuffer": (bytes) => new Uint8Array(bytes).buffer,
  "a path": path,
  "a file: URL": (bytes) => pathToFileURL(path(bytes)),
  "a FileSource": (bytes) => new FileSource(path(bytes)),
  "a source of the caller's": (bytes) => ({
    ...asyncOnly(bytes),
    readSync: (t, at) => t.set(bytes.subarray(at, at + t.byteLength)),
  }),
  "sources put together": (bytes) =>
    concatSources([new BytesSource(bytes.subarray(0, 4096)), new FileSource(path(bytes.subarray(4096)))]),
};
const ASYNC_INPUTS: Readonly<Record<string, (bytes: Uint8Array<ArrayBuffer>) => AsyncByteInput>> = {
  "a source without readSync": asyncOnly,
  "a Blob": (bytes) => new Blob([bytes]),
  "a Response": (bytes) => new Response(stream(bytes)),
  "a Response with a length": (bytes) =>
    new Response(stream(bytes), { headers: { "content-length": `${bytes.byteLength}` } }),
  "a stream": (bytes) => stream(bytes),
};

describe('onProgress, phase "read"', () => {
  for (const [name, form] of Object.entries({ ...SYNC_INPUTS, ...ASYNC_INPUTS })) {
    it(`counts the bytes of ${name}, compressed or not`, async () => {
      for (const bytes of [packed, vmlinux, compress(gzip, image)]) {
        const seen = await loadSeen(form(bytes), { deviceTree });
        readingOf(seen, bytes.byteLength + deviceTree.byteLength);
      }
    });
  }

  for (const [name, form] of Object.entries(SYNC_INPUTS)) {
    it(`counts them synchronously, too: ${name}`, () => {
      const seen: LoadProgress[] = [];
      const onProgress = (progress: LoadProgress): void => void seen.push(progress);
      loadLinuxSync({ kernel: form(packed), memory: RAM, decoders, onProgress });
      readingOf(seen, packed.byteLength);
    });
  }

  for (const method of ONE_OF_EACH) {
    it(`tells of ${method.format} while it arrives, before anything is unpacked`, async () => {
      for (const bytes of [packBzImage(method, vmlinux), packZboot(method, image), compress(method, image)]) {
        const seen = await loadSeen(stream(bytes, 16_384), { deviceTree });
        const loaded = readingOf(seen, bytes.byteLength + deviceTree.byteLength);
        // About one report a chunk: nobody waits for the end in silence.
        assert.ok(new Set(loaded).size >= Math.floor(bytes.byteLength / 16_384) - 1);
      }
    });
  }

  it("counts all inputs together, and knows the total once all lengths are known", async () => {
    const initrd = [noise(5001), noise(70_000)];
    const more = { initrd: [stream(initrd[0] ?? packed), initrd[1]], rngSeed: noise(8) };
    const seen = await loadSeen(path(packed), more);
    readingOf(seen, packed.byteLength + 75_001);
    assert.ok(seen.some(({ phase, total }) => phase === "read" && total === undefined));
  });

  it("counts what somebody looked at before: a source that detectKernel has read from", async () => {
    const source = responseSource(new Response(stream(packed)));
    await planLinux({ kernel: source, memory: RAM, decompress: "guest" });
    readingOf(await loadSeen(source), packed.byteLength);
  });

  it("is told by planLinux and extractKernel", async () => {
    for (const act of [
      (onProgress: (progress: LoadProgress) => void) =>
        planLinux({ kernel: stream(packed), memory: RAM, onProgress }),
      (onProgress: (progress: LoadProgress) => void) => extractKernel(stream(packed), { onProgress }),
    ]) {
      const seen: LoadProgress[] = [];
      await act((progress) => void seen.push(progress));
      const before = seen.slice(
        0,
        seen.findIndex(({ phase }) => phase !== "read"),
      );
      assert.ok(before.length > 5);
      assert.ok(seen.some(({ phase }) => phase === "decompress"));
    }
  });

  it("hands on what the callback throws, wherever the bytes come from, and memory is zero", async () => {
    const thrown = new Error("enough");
    for (const form of Object.values({ ...SYNC_INPUTS, ...ASYNC_INPUTS })) {
      for (const bytes of [packed, vmlinux, compress(gzip, image)]) {
        const memory = new Uint8Array(RAM);
        const onProgress = ({ phase, loaded }: LoadProgress): void => {
          if (phase === "read" && loaded > 0) throw thrown;
        };
        const load = loadLinux({ kernel: form(bytes), memory: memory.buffer, onProgress });
        await assert.rejects(load, (cause) => cause === thrown);
        assert.ok(memory.every((byte) => byte === 0));
      }
    }
  });
});
