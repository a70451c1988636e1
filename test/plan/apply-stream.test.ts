import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { ImageLoad, X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import { type LoadPlan, PlanBuilder } from "../../src/plan/plan.js";
import type { LoadProgress } from "../../src/plan/progress.js";
import { BytesSource } from "../../src/sources/bytes.js";
import type { Source } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { concatSources, zeroExtend } from "../../src/sources/views.js";
import { gunzipSource } from "../../src/unpack/gzip-stream.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { isSame, makeStream, type StreamShape } from "../support/streams.js";

const PAGE = 4096;
const MEMORY = 64 * PAGE;
const FILE = noise(120_000, 5);
const OTHER = noise(9000, 6);
const RIP: X86Register = { name: "rip", value: 1n };

/** Segments of FILE: offset, length, address. Not in the order of their offsets; the last two share bytes. */
const SEGMENTS = [
  [70_000, 40_000, 0x1_0010],
  [100, 9000, 0x2000],
  [20_000, 30_000, 0x2_0000],
  [45_000, 10_000, 0x3_0123],
] as const;

function planOf(file: Source, other: Source = new BytesSource(OTHER)): LoadPlan<X86Register> {
  const builder = new PlanBuilder<X86Register>();
  builder.bytes(0x1000n, "bytes", noise(100));
  SEGMENTS.forEach(([offset, length, gpa], index) => {
    builder.fileRegion({
      source: file,
      fileOffset: BigInt(offset),
      fileLength: BigInt(length),
      gpa: BigInt(gpa),
      memoryLength: BigInt(length + 100),
      acceptance: "Exclusive",
      tag: `segment ${index}`,
    });
    if (index === 1) builder.wholeSource(0x8000n, "other", other);
  });
  builder.register(RIP);
  return builder;
}

function garbage(): { importer: GuestMemoryImporter<X86Register>; bytes: Uint8Array } {
  const bytes = noise(MEMORY, 9);
  return { importer: new GuestMemoryImporter<X86Register>(GuestMemory.attach(bytes.buffer)), bytes };
}

/** The plan's result over garbage, from bytes. */
function expected(): Uint8Array {
  const { importer, bytes } = garbage();
  applyPlanSync(planOf(new BytesSource(FILE)), importer);
  return bytes;
}

/** The memory after the pages were taken back. */
function takenBack(): Uint8Array {
  const { importer, bytes } = garbage();
  applyPlanSync(planOf(new BytesSource(FILE)), importer);
  for (const { range } of importer.regions) importer.memory.zero(range.start, Number(range.length));
  return bytes;
}

function stream(shape: StreamShape = {}, spoolLimit?: number) {
  const made = makeStream(FILE, shape);
  return { ...made, source: new StreamSource(made.stream, { spoolLimit, name: "vmlinux" }) };
}

describe("a plan that reads from a stream", () => {
  it("puts the same bytes into guest memory, in any chunking, with any headers read before", async () => {
    const wanted = expected();
    const chunks = fc.array(fc.oneof(fc.nat(9), fc.nat(5000), fc.nat(200_000)), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(chunks, fc.nat(60_000), fc.boolean(), async (lengths, head, hasProgress) => {
        const { source } = stream({ chunks: [...lengths, 3001] });
        await source.read(new Uint8Array(head), 0);
        const { importer, bytes } = garbage();
        await applyPlan(planOf(source), importer, hasProgress ? { onProgress: () => {} } : {});
        assert.ok(isSame(bytes, wanted));
        assert.deepEqual(importer.registerList, [RIP]);
      }),
      { numRuns: 60 },
    );
  });

  it("carries its steps out by their offsets, and leaves the others where they are", async () => {
    const recording = new RecordingImporter<X86Register>();
    const { source, isCancelled } = stream();
    await applyPlan(planOf(source), recording);
    const tags = recording.calls.map((call) => (call.op === "pages" ? call.tag : call.register.name));
    const firsts = tags.filter((tag, index) => tag !== tags[index - 1]);
    assert.deepEqual(firsts, ["bytes", "segment 1", "segment 2", "other", "segment 3", "segment 0", "rip"]);
    const { importer, bytes } = garbage();
    for (const call of recording.calls) {
      if (call.op === "pages")
        importer.importPages(call.pageBase, call.pageCount, call.tag, call.acceptance, call.data);
    }
    assert.ok(isSame(bytes, expected()));
    assert.ok(isCancelled());
  });

  it("spools only what two steps share", async () => {
    // Segments 2 and 3 share [45000, 50000).
    const enough = stream({ chunks: [777] }, 5000);
    const { importer, bytes } = garbage();
    await applyPlan(planOf(enough.source), importer);
    assert.ok(isSame(bytes, expected()));
    const short = stream({}, 4999);
    const second = garbage();
    const before = second.bytes.slice();
    await assert.rejects(
      applyPlan(planOf(short.source), second.importer),
      refusal("SOURCE_SPOOL_LIMIT", "5000", "4999"),
    );
    assert.ok(isSame(second.bytes, before));
    assert.equal(short.pulled(), 0);
  });

  it("ends the stream once all is read, without its rest", async () => {
    const { source, isCancelled, pulled } = stream({ chunks: [1000] });
    await applyPlan(planOf(source), garbage().importer);
    assert.ok(isCancelled());
    assert.equal(pulled(), 110);
  });

  it("can be applied once: then it is SOURCE_CONSUMED, and nothing is touched", async () => {
    const { source } = stream();
    const plan = planOf(source);
    await applyPlan(plan, garbage().importer);
    const { importer, bytes } = garbage();
    const before = bytes.slice();
    await assert.rejects(applyPlan(plan, importer), refusal("SOURCE_CONSUMED", "vmlinux"));
    assert.ok(isSame(bytes, before));
  });

  it("that is doomed leaves the stream as it was", async () => {
    const { source, pulled, isCancelled } = stream();
    const { importer } = garbage();
    importer.importPages(0x10n, 1, "taken", "Exclusive", noise(1));
    await assert.rejects(applyPlan(planOf(source), importer), refusal("IMPORT_OVERLAP"));
    assert.equal(pulled(), 0);
    assert.ok(!isCancelled());
    const second = garbage();
    await applyPlan(planOf(source), second.importer);
    assert.ok(isSame(second.bytes, expected()));
  });

  it("can't be applied synchronously", () => {
    const { source } = stream();
    const { importer, bytes } = garbage();
    const before = bytes.slice();
    assert.throws(
      () => applyPlanSync(planOf(source), importer),
      refusal("SOURCE_NOT_SYNCHRONOUS", "vmlinux"),
    );
    assert.ok(isSame(bytes, before));
  });

  it("reports its progress as it arrives", async () => {
    const seen: number[] = [];
    const onProgress = ({ loaded, total = 0 }: LoadProgress): void => {
      seen.push(loaded);
      assert.ok(loaded <= total);
    };
    await applyPlan(planOf(stream().source), garbage().importer, { onProgress });
    assert.deepEqual(
      seen,
      [...seen].sort((a, b) => a - b),
    );
    assert.ok(new Set(seen).size >= 6);
  });

  it("reads two streams, each in its own order", async () => {
    const other = makeStream(OTHER, { chunks: [100] });
    const { importer, bytes } = garbage();
    await applyPlan(planOf(stream().source, new StreamSource(other.stream, { byteLength: 9000 })), importer);
    assert.ok(isSame(bytes, expected()));
    assert.ok(other.isCancelled());
  });

  it("reads a gzipped file straight to its place", async () => {
    const packed = gzipSync(FILE);
    for (const inner of [
      new BytesSource(packed),
      new StreamSource(makeStream(packed, { chunks: [3, 5000] }).stream),
    ]) {
      const { importer, bytes } = garbage();
      const source = gunzipSource(inner, { maxDecompressedSize: 1 << 20, spoolLimit: 5000 });
      await applyPlan(planOf(source), importer);
      assert.ok(isSame(bytes, expected()));
    }
  });

  it("reads a file of unknown length with zeros behind it, and several behind each other", async () => {
    const { importer, bytes } = garbage();
    const image = zeroExtend(stream().source, 130_000);
    const declared = new StreamSource(makeStream(OTHER).stream, { byteLength: 9000 });
    const both = concatSources([declared, new BytesSource(noise(501)), new BytesSource(noise(7, 2))]);
    const builder = new PlanBuilder<X86Register>();
    builder.wholeSource(0n, "kernel", image);
    builder.wholeSource(0x2_0000n, "initrd", both);
    await applyPlan(builder, importer);
    assert.ok(isSame(bytes.subarray(0, 120_000), FILE));
    assert.ok(bytes.subarray(120_000, 0x2_0000).every((byte) => byte === 0));
    assert.ok(isSame(bytes.subarray(0x2_0000, 0x2_0000 + 9000), OTHER));
    assert.ok(isSame(bytes.subarray(0x2_0000 + 9000, 0x2_0000 + 9501), noise(501)));
    assert.ok(isSame(bytes.subarray(0x2_0000 + 9504, 0x2_0000 + 9511), noise(7, 2)));
  });

  it("of more bytes than were left for it fails at its end, and is taken back", async () => {
    const { importer, bytes } = garbage();
    const builder = new PlanBuilder<X86Register>();
    const made = stream({ chunks: [119_999, 1] });
    builder.wholeSource(0n, "kernel", zeroExtend(made.source, 119_999));
    await assert.rejects(applyPlan(builder, importer), refusal("SOURCE_TOO_LARGE", "119999", "zero again"));
    assert.ok(bytes.subarray(0, 120_000).every((byte) => byte === 0));
    assert.ok(made.isCancelled());
  });
});

describe("a stream that breaks while its plan is carried out", () => {
  const importers: Readonly<
    Record<string, (importer: GuestMemoryImporter<X86Register>) => ImageLoad<X86Register>>
  > = {
    "": (importer) => importer,
    " for an importer without importSource": (importer) => ({
      importPages: importer.importPages.bind(importer),
      importVpRegister: importer.importVpRegister.bind(importer),
      begin: importer.begin.bind(importer),
    }),
  };
  for (const [how, target] of Object.entries(importers)) {
    it(`at any chunk leaves no page half written, and is cancelled${how}`, async () => {
      const error = new Error("connection reset");
      const after = takenBack();
      const untouched = noise(MEMORY, 9);
      for (let failAt = 0; failAt < 11; failAt++) {
        const { importer, bytes } = garbage();
        const { source } = stream({ chunks: [10_000], failAt, error });
        const load = applyPlan(planOf(source), target(importer));
        await assert.rejects(
          load,
          refusalBecause("REGION_READ", error, `byte ${failAt * 10_000}`, "zero again"),
        );
        assert.deepEqual(importer.regions, []);
        assert.deepEqual(importer.registerList, []);
        for (let page = 0; page < MEMORY; page += PAGE) {
          const now = bytes.subarray(page, page + PAGE);
          const isWell = [after, untouched].some((image) => isSame(now, image.subarray(page, page + PAGE)));
          assert.ok(isWell, `chunk ${failAt}, page ${page}`);
        }
      }
    });
  }

  it("by ending early says where", async () => {
    const made = makeStream(FILE.subarray(0, 100_000));
    const { importer } = garbage();
    await assert.rejects(
      applyPlan(planOf(new StreamSource(made.stream)), importer),
      refusal("REGION_READ", "ended at byte 100000", "zero again"),
    );
  });

  it("by a corrupt gzip keeps its code, and says that all is zero again", async () => {
    const packed = gzipSync(FILE);
    packed[packed.length - 6] = (packed[packed.length - 6] ?? 0) ^ 1;
    const { importer, bytes } = garbage();
    const builder = new PlanBuilder<X86Register>();
    builder.wholeSource(
      0n,
      "kernel",
      zeroExtend(gunzipSource(new BytesSource(packed), { maxDecompressedSize: 1 << 20 }), 120_000),
    );
    await assert.rejects(applyPlan(builder, importer), refusal("DECOMPRESS_CORRUPT", "kernel", "zero again"));
    assert.ok(bytes.subarray(0, 120_000).every((byte) => byte === 0));
  });

  it("because the memory grew is GUEST_MEMORY_DETACHED", async () => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 8 });
    const onPull = (chunk: number): void => void (chunk === 50 && memory.grow(1));
    const made = stream({ onPull });
    const importer = new GuestMemoryImporter<X86Register>(GuestMemory.attach(memory));
    await assert.rejects(applyPlan(planOf(made.source), importer), refusal("GUEST_MEMORY_DETACHED"));
    assert.ok(made.isCancelled());
  });

  it("by what onProgress throws is cancelled", async () => {
    const reason = new Error("stop");
    const made = stream();
    const onProgress = ({ loaded }: LoadProgress): void => {
      if (loaded > 20_000) throw reason;
    };
    await assert.rejects(
      applyPlan(planOf(made.source), garbage().importer, { onProgress }),
      (error) => error === reason,
    );
    assert.ok(made.isCancelled());
  });
});

describe("the memory that a streamed load takes", () => {
  it("stays far below the file's size", async () => {
    const mib = 1 << 20;
    const total = 256 * mib;
    const builder = new PlanBuilder<X86Register>();
    let given = 0;
    let most = 0;
    const memory = GuestMemory.create(total + mib);
    const before = process.memoryUsage().arrayBuffers;
    const supply = {
      pull: async (): Promise<Uint8Array | undefined> => {
        if (given === total) return undefined;
        given += 256 * 1024;
        most = Math.max(most, process.memoryUsage().arrayBuffers - before);
        if (given % (32 * mib) === 0) await new Promise((resolve) => setImmediate(resolve));
        return new Uint8Array(256 * 1024).fill(given / (256 * 1024));
      },
      cancel: () => {},
    };
    builder.wholeSource(0x1000n, "kernel", new StreamSource(supply, { byteLength: total, spoolLimit: mib }));
    await applyPlan(builder, new GuestMemoryImporter<X86Register>(memory));
    assert.equal(memory.read(0x1000 + total - 1, 1)[0], 1024 % 256);
    assert.ok(most < 128 * mib, `${most / mib} MiB`);
  });
});
