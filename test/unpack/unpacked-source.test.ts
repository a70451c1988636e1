/** A compressed file as a source: read like any other, or made in memory where it is to lie. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as decoders from "../../src/decoders/index.js";
import type { MadeSource } from "../../src/sources/source.js";
import { runSync } from "../../src/task/run.js";
import { unpackedSource } from "../../src/unpack/unpacked-source.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { compressible } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { isSame } from "../support/streams.js";

const MIB = 1 << 20;
const HEAD = 528;
const content = compressible(5 * MIB);
const byteLength = 5 * MIB + 5000;
/** The source's bytes: the content, then zeros. */
const expected = new Uint8Array(byteLength);
expected.set(content);
const XZ = ONE_OF_EACH.find(({ format }) => format === "xz");
assert.ok(XZ !== undefined);
const packed = compress(XZ, content);

function source(changes: { head?: Uint8Array; byteLength?: number; packed?: Uint8Array } = {}): MadeSource {
  return unpackedSource(decoders, {
    name: "Image.xz",
    format: "xz",
    packed,
    expectedBytes: undefined,
    allowTrailing: false,
    head: content.slice(0, HEAD),
    byteLength,
    checkLength: () => {},
    ...changes,
  });
}

/** A memory full of something, with room for the content at 64 KiB and for the decoders behind it. */
function place(room = byteLength) {
  const memory = new WebAssembly.Memory({ initial: 7 * 16 });
  const offset = 65536;
  const scratchOffset = Math.ceil((offset + room + 100_000) / 65536) * 65536;
  new Uint8Array(memory.buffer, 0, scratchOffset).fill(0xee);
  return { memory, offset, byteLength: room, scratchOffset };
}

describe("an unpacked source", () => {
  it("reads as the content and zeros behind it, from anywhere", async () => {
    const reads = fc.tuple(fc.nat(byteLength), fc.nat(100_000));
    const made = source();
    await fc.assert(
      fc.asyncProperty(reads, async ([offset, asked]) => {
        const length = Math.min(asked, byteLength - offset);
        const [a, b] = [new Uint8Array(length).fill(1), new Uint8Array(length).fill(2)];
        made.readSync?.(a, offset);
        await made.read(b, offset);
        assert.ok(isSame(a, expected.subarray(offset, offset + length)));
        assert.ok(isSame(b, a));
      }),
      { numRuns: 50 },
    );
    assert.throws(() => made.readSync?.(new Uint8Array(2), byteLength - 1), refusal("SOURCE_SHORT"));
    await assert.rejects(made.read(new Uint8Array(2), byteLength - 1), refusal("SOURCE_SHORT"));
  });

  it("gives its first bytes without unpacking anything", () => {
    const target = new Uint8Array(HEAD);
    source({ packed: new Uint8Array(0) }).readSync?.(target, 0);
    assert.ok(isSame(target, content.subarray(0, HEAD)));
  });

  it("is made in place in steps; nothing else changes, and the scratch is zero afterwards", () => {
    const target = place();
    const made: number[] = [];
    runSync(source().makeInto(target, (bytes) => made.push(bytes)));
    assert.ok(made.length > 1 && made.every((bytes) => bytes >= 0));
    assert.equal(
      made.reduce((sum, bytes) => sum + bytes, 0),
      byteLength,
    );
    const { memory, offset, scratchOffset } = target;
    const all = new Uint8Array(memory.buffer);
    assert.ok(isSame(all.subarray(offset, offset + byteLength), expected));
    assert.ok(all.subarray(0, offset).every((byte) => byte === 0xee));
    assert.ok(all.subarray(offset + byteLength, scratchOffset).every((byte) => byte === 0xee));
    assert.ok(all.subarray(scratchOffset).every((byte) => byte === 0));
  });

  it("leaves the scratch zero when it is given up, also in a memory that has grown", () => {
    for (const pages of [0, 1]) {
      const target = place();
      const steps = source().makeInto(target);
      steps.next();
      if (pages > 0) {
        target.memory.grow(pages);
        assert.throws(() => steps.next(), refusal("GUEST_MEMORY_DETACHED"));
      } else {
        steps.return();
      }
      assert.ok(new Uint8Array(target.memory.buffer, target.scratchOffset).every((byte) => byte === 0));
    }
  });

  it("refuses content that is longer than its room, and writes nothing behind that", () => {
    const target = place(3 * MIB);
    const all = new Uint8Array(target.memory.buffer);
    const steps = source({ byteLength: 3 * MIB }).makeInto(target);
    assert.throws(() => [...steps], refusal("DECOMPRESS_TOO_LARGE", "at byte"));
    assert.ok(all.subarray(target.offset + 3 * MIB, target.scratchOffset).every((byte) => byte === 0xee));
    assert.throws(
      () => source({ byteLength: 3 * MIB }).readSync?.(new Uint8Array(3 * MIB), 0),
      refusal("DECOMPRESS_TOO_LARGE"),
    );
  });

  it("refuses content that does not begin as was said: the plan was made by that", async () => {
    const head = content.slice(0, HEAD);
    head[17] = 0x55;
    assert.throws(() => [...source({ head }).makeInto(place())], refusal("DECOMPRESS_CORRUPT", "Image.xz"));
    await assert.rejects(source({ head }).read(new Uint8Array(HEAD + 1), 0), refusal("DECOMPRESS_CORRUPT"));
  });

  it("lets others have a turn while it is read asynchronously, and heeds the signal", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await source().read(new Uint8Array(byteLength), 0);
    clearInterval(timer);
    assert.ok(turns > 0);
    const controller = new AbortController();
    const reading = source().read(new Uint8Array(byteLength), 0, controller.signal);
    controller.abort();
    await assert.rejects(reading, refusal("ABORTED"));
  });

  it("notices a target that goes away meanwhile", async () => {
    const memory = new WebAssembly.Memory({ initial: 100 });
    const reading = source().read(new Uint8Array(memory.buffer, 0, byteLength), 0);
    memory.grow(1);
    await assert.rejects(reading, refusal("GUEST_MEMORY_DETACHED"));
  });
});
