import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import { ChunkBuf, type ImportFileRegion } from "../../src/importers/chunk-buf.js";
import type { ImageLoad } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";

const PAGE = 4096;
const never = Number.POSITIVE_INFINITY;

interface Pages {
  readonly pageBase: bigint;
  readonly pageCount: number;
  readonly data: Uint8Array;
}

/** The calls that importing a region makes. */
function callsOf(buffer: ChunkBuf, region: Partial<ImportFileRegion>): Pages[] {
  const importer = new RecordingImporter();
  buffer.importFileRegion(importer, { ...REGION, ...region });
  return importer.calls.map((call): Pages => {
    assert.ok(call.op === "pages");
    assert.equal(call.tag, REGION.tag);
    assert.equal(call.acceptance, REGION.acceptance);
    return call;
  });
}

const REGION: ImportFileRegion = {
  file: noise(100),
  fileOffset: 0,
  fileLength: 100,
  gpa: 0,
  memoryLength: 100,
  acceptance: "ExclusiveUnmeasured",
  tag: "linux-kernel",
};

describe("ChunkBuf", () => {
  it("has 64 KiB by default, else the whole pages of what is asked for", () => {
    assert.equal(new ChunkBuf().bytes.byteLength, 65536);
    for (const [asked, got] of [
      [4096, 4096],
      [8191, 4096],
      [8192, 8192],
      [1_000_000, 999_424],
    ] as const) {
      assert.equal(new ChunkBuf(asked).bytes.byteLength, got);
    }
  });

  it("refuses less than a page, what can't be allocated, and what is no length", () => {
    for (const size of [0, 1, 4095]) {
      assert.throws(() => new ChunkBuf(size), refusal("CHUNK_SIZE_TOO_SMALL", `${size}`, "4096"));
    }
    assert.throws(() => new ChunkBuf(2 ** 45), refusal("SOURCE_TOO_LARGE"));
    for (const size of [-1, 0.5, Number.NaN]) assert.throws(() => new ChunkBuf(size), TypeError);
  });
});

describe("ChunkBuf.importFileRegion", () => {
  const file = noise(20 * PAGE, 3);
  const aRegion = fc.record({
    chunkPages: fc.integer({ min: 1, max: 6 }),
    gpa: fc.oneof(
      fc.nat(40 * PAGE),
      fc.nat(40).map((page) => page * PAGE),
    ),
    fileOffset: fc.nat(2 * PAGE),
    fileLength: fc.oneof(
      fc.nat(18 * PAGE),
      fc.nat(18).map((page) => page * PAGE),
      fc.nat(10),
    ),
    tail: fc.oneof(fc.constant(0), fc.nat(10), fc.nat(5 * PAGE)),
  });

  it("gives the bytes at their address, zeros around them up to the page bounds, each page once", () => {
    fc.assert(
      fc.property(aRegion, ({ chunkPages, gpa, fileOffset, fileLength, tail }) => {
        const memoryLength = fileLength + tail;
        const buffer = new ChunkBuf(chunkPages * PAGE);
        const calls = callsOf(buffer, { file, fileOffset, fileLength, gpa, memoryLength });
        const first = Math.floor(gpa / PAGE);
        const pageCount = memoryLength === 0 ? 0 : Math.ceil((gpa + memoryLength) / PAGE) - first;
        const expected = new Uint8Array(pageCount * PAGE);
        if (memoryLength > 0) expected.set(file.subarray(fileOffset, fileOffset + fileLength), gpa % PAGE);

        const image = new Uint8Array(pageCount * PAGE);
        let next = BigInt(first);
        for (const { pageBase, pageCount: count, data } of calls) {
          assert.equal(pageBase, next, "pages in order, none twice");
          next += BigInt(count);
          image.set(data, Number(pageBase - BigInt(first)) * PAGE);
        }
        assert.equal(next, BigInt(first + pageCount), "no page is missing");
        assert.equal(Buffer.compare(image, expected), 0);
      }),
    );
  });

  it("only the first chunk has leading zeros; only the last is not full, and it has the tail's pages", () => {
    fc.assert(
      fc.property(aRegion, ({ chunkPages, gpa, fileOffset, fileLength, tail }) => {
        fc.pre(fileLength > 0);
        const memoryLength = fileLength + tail;
        const buffer = new ChunkBuf(chunkPages * PAGE);
        const calls = callsOf(buffer, { file, fileOffset, fileLength, gpa, memoryLength });
        const leading = gpa % PAGE;
        assert.equal(
          calls.reduce((sum, { data }) => sum + data.byteLength, 0),
          leading + fileLength,
        );
        assert.equal(calls.length, Math.ceil((leading + fileLength) / (chunkPages * PAGE)));
        for (const { pageCount, data } of calls.slice(0, -1)) {
          assert.equal(pageCount, chunkPages);
          assert.equal(data.byteLength, chunkPages * PAGE);
        }
        assert.ok(calls[0]?.data.subarray(0, leading).every((byte) => byte === 0));
      }),
    );
  });

  it("without file data is one call with no data, and does not look at the offset", () => {
    const region = { file: new Uint8Array(0), fileOffset: 2n ** 63n, fileLength: 0 };
    const calls = callsOf(new ChunkBuf(), { ...region, gpa: 0x1fff, memoryLength: 0x10_0002 });
    assert.equal(calls.length, 1);
    assert.deepEqual([calls[0]?.pageBase, calls[0]?.pageCount, calls[0]?.data.byteLength], [1n, 0x102, 0]);
  });

  it("without memory imports nothing, but file data is too long all the same", () => {
    assert.deepEqual(callsOf(new ChunkBuf(), { fileLength: 0, memoryLength: 0, fileOffset: 1n << 63n }), []);
    const matches = refusal("REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH", "linux-kernel", "0x1", "0x0");
    assert.throws(() => callsOf(new ChunkBuf(), { fileLength: 1, memoryLength: 0 }), matches);
  });

  it("leaves no bytes of an earlier import in the leading zeros of the next", () => {
    const buffer = new ChunkBuf(PAGE);
    callsOf(buffer, { file: new Uint8Array(PAGE).fill(0xff), fileLength: PAGE, memoryLength: PAGE });
    const [call] = callsOf(buffer, { gpa: 100 });
    assert.ok(call?.data.subarray(0, 100).every((byte) => byte === 0));
  });

  it("checks lengths, then the end of the address space, then the file, before it imports", () => {
    const doomed: readonly [Partial<ImportFileRegion>, Parameters<typeof refusal>[0]][] = [
      [
        { fileLength: 1n << 63n, memoryLength: 1, gpa: (1n << 64n) - 1n },
        "REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH",
      ],
      [{ fileLength: 200, memoryLength: (1n << 64n) - 1n, gpa: 1 }, "REGION_OVERFLOW"],
      [{ fileLength: 200, memoryLength: 4096, gpa: (1n << 64n) - 4095n }, "REGION_OVERFLOW"],
      [{ fileLength: 101, memoryLength: 200 }, "REGION_READ"],
      [{ fileOffset: 1 }, "REGION_READ"],
      // The last page of the address space is within it.
      [{ fileLength: 200, memoryLength: 4096, gpa: (1n << 64n) - 4096n }, "REGION_READ"],
      [{ fileOffset: (1n << 64n) - 1n }, "REGION_READ"],
      [{ fileOffset: -1 }, "ADDRESS_OUT_OF_RANGE"],
      [{ gpa: 1n << 64n }, "ADDRESS_OUT_OF_RANGE"],
    ];
    for (const [region, code] of doomed) {
      const importer = new RecordingImporter();
      const act = (): void => new ChunkBuf().importFileRegion(importer, { ...REGION, ...region });
      assert.throws(act, refusal(code));
      assert.deepEqual(importer.calls, []);
    }
    assert.throws(() => callsOf(new ChunkBuf(), { file: 5 as unknown as string }), TypeError);
    assert.throws(() => callsOf(new ChunkBuf(), { gpa: 0.5 }), TypeError);
  });

  it("what the importer throws is the cause of REGION_IMPORT_PAGES; a DirectBootError stays", () => {
    const reason = new RangeError("page 3 is taken");
    const refusing = (error: unknown): ImageLoad => ({
      importPages: () => {
        throw error;
      },
      importVpRegister: () => {},
    });
    const act = (error: unknown) => (): void => new ChunkBuf().importFileRegion(refusing(error), REGION);
    assert.throws(
      act(reason),
      refusalBecause("REGION_IMPORT_PAGES", reason, "linux-kernel", "page 3 is taken"),
    );
    const ours = new DirectBootError("IMPORT_OVERLAP", "x");
    assert.throws(act(ours), (error) => error === ours);
  });

  it("a file that breaks midway is REGION_READ, with the cause", () => {
    const reason = new Error("the disk is gone");
    const region = { ...REGION, fileLength: 3 * PAGE, memoryLength: 3 * PAGE };
    for (const failAt of [0, 2]) {
      const importer = new RecordingImporter();
      const broken = new BreakingSource(noise(3 * PAGE), failAt, reason);
      const act = (): void => new ChunkBuf(PAGE).importFileRegion(importer, { ...region, file: broken });
      assert.throws(act, refusalBecause("REGION_READ", reason));
      assert.equal(importer.calls.length, failAt);
    }
  });

  it("a source without readSync is SOURCE_NOT_SYNCHRONOUS", () => {
    const act = (): unknown => callsOf(new ChunkBuf(), { file: asyncOnly(noise(100)) });
    assert.throws(act, refusal("SOURCE_NOT_SYNCHRONOUS"));
  });
});

describe("ChunkBuf.crc32", () => {
  it("is zlib's, of the first bytes of a file, whatever the chunk size", () => {
    const file = noise(10 * PAGE + 77);
    const source = new BreakingSource(file, never, undefined);
    const aLength = fc.oneof(
      fc.nat(file.byteLength),
      fc.nat(10).map((page) => page * PAGE),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), aLength, (pages, length) => {
        const buffer = new ChunkBuf(pages * PAGE);
        const expected = zlibCrc32(file.subarray(0, length));
        assert.equal(buffer.crc32(file, length), expected);
        assert.equal(buffer.crc32(source, BigInt(length)), expected);
      }),
    );
  });

  it("refuses a file that is shorter, and a length that is none", () => {
    assert.throws(() => new ChunkBuf().crc32(noise(10), 11), refusal("SOURCE_SHORT", "11", "10"));
    assert.throws(() => new ChunkBuf().crc32(noise(10), -1), TypeError);
    assert.throws(() => new ChunkBuf().crc32(noise(10), 0.5), TypeError);
    assert.throws(() => new ChunkBuf().crc32(asyncOnly(noise(10)), 1), refusal("SOURCE_NOT_SYNCHRONOUS"));
  });

  it("a file that breaks is SOURCE_READ, with the cause", () => {
    const reason = new Error("the disk is gone");
    const act = (): number => new ChunkBuf().crc32(new BreakingSource(noise(10), 0, reason), 10);
    assert.throws(act, refusalBecause("SOURCE_READ", reason));
  });
});
