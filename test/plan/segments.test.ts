/** Segments that share pages, against a model that goes byte by byte. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { X86Register } from "../../src/importers/importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { applyPlanSync } from "../../src/plan/apply.js";
import { PlanBuilder } from "../../src/plan/plan.js";
import { planSegments } from "../../src/plan/segments.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

const PAGE = 4096;
const FILE = noise(9 * PAGE + 77);
const RAM = 32 * PAGE;

/** A segment in host numbers. */
interface Segment {
  readonly gpa: number;
  readonly memory: number;
  readonly file: number;
  readonly offset: number;
}

function planned(segments: readonly Segment[]): PlanBuilder<X86Register> {
  const source = new BytesSource(FILE, "vmlinux");
  const builder = new PlanBuilder<X86Register>();
  const regions = segments.map(({ gpa, memory, file, offset }) => ({
    source,
    fileOffset: BigInt(offset),
    fileLength: BigInt(file),
    gpa: BigInt(gpa),
    memoryLength: BigInt(memory),
    acceptance: "Exclusive" as const,
    tag: "linux-kernel",
  }));
  runSync(planSegments(builder, regions));
  return builder;
}

/** The expected content of RAM that was full of 0xaa: pages that a segment touches are zero but for its bytes. */
function model(segments: readonly Segment[]): Uint8Array {
  const ram = new Uint8Array(RAM).fill(0xaa);
  for (const { gpa, memory } of segments) {
    ram.fill(0, gpa - (gpa % PAGE), Math.ceil((gpa + memory) / PAGE) * PAGE);
  }
  for (const { gpa, file, offset } of segments) {
    for (let i = 0; i < file; i++) ram[gpa + i] = FILE[offset + i] ?? 0;
  }
  return ram;
}

/** Segments behind each other, most of them near each other, in any order. */
const aList = fc
  .array(
    fc.record({
      gap: fc.oneof(
        fc.constant(0),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 0, max: PAGE }),
        fc.constant(PAGE),
      ),
      memory: fc.oneof(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 3 * PAGE }),
        fc.constantFrom(1, PAGE - 1, PAGE, PAGE + 1),
      ),
      filePart: fc.constantFrom(0, 0.5, 1),
      offset: fc.nat({ max: 5 * PAGE }),
      order: fc.nat(),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((shapes) => {
    let at = 0;
    return shapes
      .map(({ gap, memory, filePart, offset, order }) => {
        const gpa = at + gap;
        at = gpa + memory;
        return { gpa, memory, file: Math.floor(memory * filePart), offset, order };
      })
      .filter(({ gpa, memory }) => gpa + memory <= RAM)
      .sort((a, b) => a.order - b.order);
  });

describe("planSegments", () => {
  it("makes of any segments that share pages, but no bytes, the memory that each of them asks for", () => {
    fc.assert(
      fc.property(aList, (segments) => {
        const ram = new Uint8Array(RAM).fill(0xaa);
        const builder = planned(segments);
        // GuestMemoryImporter refuses pages that are imported twice.
        applyPlanSync(builder, new GuestMemoryImporter<X86Register>(GuestMemory.attach(ram.buffer)));
        assert.equal(Buffer.compare(ram, model(segments)), 0);
      }),
      { numRuns: 3000 },
    );
  });

  it("leaves segments that share no page as they are, in the file's order, read from the file", () => {
    const steps = planned([
      { gpa: 2 * PAGE, memory: PAGE, file: 10, offset: 3 },
      { gpa: 0, memory: PAGE, file: PAGE, offset: 100 },
    ]).steps.map((step) => (step.kind === "pages" ? [step.pageBase, step.data.kind] : []));
    assert.deepEqual(steps, [
      [2n, "source"],
      [0n, "source"],
    ]);
  });

  it("holds no more in memory than the pages that are shared", () => {
    const kinds = planned([
      { gpa: 0, memory: 3 * PAGE + 5, file: 3 * PAGE + 5, offset: 0 },
      { gpa: 3 * PAGE + 5, memory: 2 * PAGE, file: 2 * PAGE, offset: 3 * PAGE + 5 },
    ]).steps.map((step) => (step.kind === "pages" ? [step.pageBase, step.pageCount, step.data.kind] : []));
    assert.deepEqual(kinds, [
      [0n, 3, "source"],
      [4n, 2, "source"],
      [3n, 1, "bytes"],
    ]);
  });

  it("refuses segments that have bytes for the same address, naming both", () => {
    fc.assert(
      fc.property(aList, fc.nat(), fc.integer({ min: 1, max: 50 }), (segments, which, memory) => {
        const hit = segments[which % segments.length];
        fc.pre(hit !== undefined);
        const gpa = hit.gpa + hit.memory - 1;
        const act = (): unknown => planned([...segments, { gpa, memory, file: 0, offset: 0 }]);
        assert.throws(
          act,
          refusal("ELF_SEGMENTS_OVERLAP", "vmlinux", /the segment at 0x.*-0x.* the one at 0x/),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("refuses more shared pages than any linker makes, instead of holding them all", () => {
    const segments = Array.from({ length: 4000 }, (_, i) => ({
      gpa: i * PAGE + 2048,
      memory: PAGE,
      file: 0,
      offset: 0,
    }));
    assert.throws(() => planned(segments), refusal("ELF_SEGMENTS_OVERLAP", "1024"));
  });
});
