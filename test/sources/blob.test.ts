import assert from "node:assert/strict";
import { openAsBlob, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BlobSource } from "../../src/sources/blob.js";
import type { BlobLike } from "../../src/sources/platform-shapes.js";
import { isSyncSource } from "../../src/sources/source.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { isSame } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";

const MIB = 1 << 20;
const BYTES = noise(9 * MIB + 5);

describe("a Blob as a source", () => {
  it("gives its bytes at any offset, also of many pieces", async () => {
    const source = new BlobSource(new Blob([BYTES.subarray(0, 1000), BYTES.subarray(1000)]));
    assert.equal(source.byteLength, BYTES.byteLength);
    assert.ok(!isSyncSource(source));
    for (const [offset, length] of [
      [0, BYTES.byteLength],
      [999, 2],
      [4 * MIB - 1, 4 * MIB + 2],
      [5, 0],
    ] as const) {
      const target = new Uint8Array(length);
      await source.read(target, offset);
      assert.ok(isSame(target, BYTES.subarray(offset, offset + length)));
    }
  });

  it("is named after its File, else as the caller says", () => {
    assert.equal(new BlobSource(new File([BYTES], "vmlinux"), "kernel").name, "vmlinux");
    assert.equal(new BlobSource(new File([BYTES], ""), "kernel").name, "kernel");
    assert.equal(new BlobSource(new Blob([BYTES]), "kernel").name, "kernel");
  });

  it("reads large ranges in pieces of a few MiB", async () => {
    const blob = new Blob([BYTES]);
    const lengths: number[] = [];
    const watched: BlobLike = {
      size: blob.size,
      type: "",
      arrayBuffer: () => blob.arrayBuffer(),
      slice: (start = 0, end = 0) => {
        lengths.push(end - start);
        return blob.slice(start, end);
      },
    };
    await new BlobSource(watched).read(new Uint8Array(BYTES.byteLength), 0);
    assert.deepEqual(lengths, [4 * MIB, 4 * MIB, MIB + 5]);
  });

  it("beyond its end is SOURCE_SHORT", async () => {
    const source = new BlobSource(new Blob([new Uint8Array(10)]), "initrd");
    await assert.rejects(source.read(new Uint8Array(2), 9), refusal("SOURCE_SHORT", "initrd"));
  });

  it("whose file changed is SOURCE_READ with the platform's error", async () => {
    const path = join(tempFolder(), "file");
    writeFileSync(path, noise(5000));
    const source = new BlobSource(await openAsBlob(path), "file");
    writeFileSync(path, noise(10));
    await assert.rejects(source.read(new Uint8Array(5000), 0), refusal("SOURCE_READ", "file", "byte 0"));
  });

  /** A Blob of 9 MiB whose slice number `at` is `piece`. */
  function odd(at: number, piece: () => Promise<ArrayBuffer>): BlobSource {
    let slices = 0;
    const arrayBuffer = async (): Promise<ArrayBuffer> => new ArrayBuffer(4 * MIB);
    const slice = () => ({ arrayBuffer: slices++ === at ? piece : arrayBuffer });
    return new BlobSource({ size: 9 * MIB, type: "", arrayBuffer, slice });
  }

  it("that fails at any piece is SOURCE_READ there, that gives less SOURCE_SHORT", async () => {
    const error = new DOMException("gone", "NotReadableError");
    const failing = odd(1, () => Promise.reject(error));
    await assert.rejects(
      failing.read(new Uint8Array(9 * MIB), 0),
      refusalBecause("SOURCE_READ", error, `byte ${4 * MIB}`, "gone"),
    );
    const short = odd(1, async () => new ArrayBuffer(7));
    await assert.rejects(
      short.read(new Uint8Array(9 * MIB), 0),
      refusal("SOURCE_SHORT", `byte ${4 * MIB + 7}`),
    );
  });

  it("that is aborted at any piece is ABORTED", async () => {
    for (const at of [0, 1]) {
      const controller = new AbortController();
      const source = odd(at, async () => {
        controller.abort();
        return new ArrayBuffer(4 * MIB);
      });
      await assert.rejects(source.read(new Uint8Array(9 * MIB), 0, controller.signal), refusal("ABORTED"));
      await assert.rejects(source.read(new Uint8Array(1), 0, controller.signal), refusal("ABORTED"));
    }
  });

  it("whose target goes away meanwhile is GUEST_MEMORY_DETACHED", async () => {
    const memory = new WebAssembly.Memory({ initial: 160 });
    const source = odd(1, async () => {
      memory.grow(1);
      return new ArrayBuffer(4 * MIB);
    });
    const read = source.read(new Uint8Array(memory.buffer, 0, 8 * MIB), 0);
    await assert.rejects(read, refusal("GUEST_MEMORY_DETACHED"));
  });
});
