import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DirectBootErrorCode } from "../../src/base/errors.js";
import type { ImageLoad } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import { checkPlan } from "../../src/plan/check.js";
import type { LoadPlan } from "../../src/plan/plan.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

const PAGES = 8;

/** A step of 100 bytes of source 0, with what is wrong with it. */
function step(wrong: object = {}, data: object = {}): object {
  return {
    kind: "pages",
    pageBase: 1n,
    pageCount: 1,
    tag: "part",
    acceptance: "Exclusive",
    data: { kind: "source", source: 0, offset: 0, length: 100, leadingBytes: 0, chunked: true, ...data },
    ...wrong,
  };
}

/** A plan as it may come from JSON or from another thread: of any shape. */
function plan(...steps: readonly unknown[]): LoadPlan {
  return { steps, sources: [new BytesSource(noise(200))] } as LoadPlan;
}

const map = { tableAddress: 0, addressBias: 0, gibibytes: 1, encryption: 0, linkIndex: -1, linkTarget: 0 };

const BAD: readonly (readonly [what: string, code: DirectBootErrorCode, step: unknown])[] = [
  ["is null", "PLAN_INVALID", null],
  ["is of no kind", "PLAN_INVALID", step({ kind: "page" })],
  ["has no tag", "PLAN_INVALID", step({ tag: undefined })],
  ["starts at half a page", "PLAN_INVALID", step({ pageBase: 0.5 })],
  ["starts below 0", "PLAN_INVALID", step({ pageBase: -1n })],
  ["has half a page", "PLAN_INVALID", step({ pageCount: 1.5 })],
  ["has endless pages", "PLAN_INVALID", step({ pageCount: Number.POSITIVE_INFINITY })],
  ["passes 2^64", "ADDRESS_OVERFLOW", step({ pageBase: 1n << 52n })],
  ["has no data", "PLAN_INVALID", step({ data: undefined })],
  ["has data of no kind", "PLAN_INVALID", step({}, { kind: "file" })],
  ["has text for bytes", "PLAN_INVALID", step({ data: { kind: "bytes", bytes: "text" } })],
  ["has page tables of no map", "PLAN_INVALID", step({ data: { kind: "identity-map" } })],
  [
    "has page tables for half a GiB",
    "PAGE_TABLE_INVALID_ADDRESS",
    step({ pageCount: 3, data: { kind: "identity-map", map: { ...map, gibibytes: 0.5 } } }),
  ],
  [
    "has more pages than page tables",
    "PLAN_INVALID",
    step({ pageCount: 2 ** 31, data: { kind: "identity-map", map } }),
  ],
  ["comes from half a source", "PLAN_INVALID", step({}, { source: 0.5 })],
  ["comes from a source that is not there", "PLAN_INVALID", step({}, { source: 1 })],
  ["has an offset below 0", "PLAN_INVALID", step({}, { offset: -1 })],
  ["has no length", "PLAN_INVALID", step({}, { length: Number.NaN })],
  ["has leading bytes below 0", "PLAN_INVALID", step({}, { leadingBytes: -5 })],
  ["wants more than its source has", "SOURCE_SHORT", step({}, { offset: 101 })],
  ["has no pages for its data", "IMPORT_DATA_TOO_LONG", step({ pageCount: 0 })],
  ["has more data than pages", "IMPORT_DATA_TOO_LONG", step({}, { leadingBytes: 4000 })],
  ["sets no register", "PLAN_INVALID", { kind: "register" }],
  ["sets a register without a name", "PLAN_INVALID", { kind: "register", register: { value: 1n } }],
  ["sets a register to a number", "PLAN_INVALID", { kind: "register", register: { name: "rip", value: 1 } }],
];

describe("a plan of which a step", () => {
  for (const [what, code, bad] of BAD) {
    it(`${what} is refused before anything is imported`, async () => {
      const memory = GuestMemory.create(PAGES * 4096);
      const whole = plan(step({ pageBase: 3n }), bad);
      assert.throws(() => applyPlanSync(whole, memory), refusal(code));
      await assert.rejects(applyPlan(whole, memory), refusal(code));
      const recorder = new RecordingImporter();
      assert.throws(() => applyPlanSync(whole, recorder), refusal(code));
      assert.equal(recorder.calls.length, 0);
      assert.ok(memory.read(0, PAGES * 4096).every((byte) => byte === 0));
    });
  }
});

describe("checkPlan", () => {
  it("passes a plan that can be carried out", () => {
    checkPlan(plan(step(), { kind: "register", register: { name: "rip", value: 1n } }), false);
    checkPlan(plan(step({ pageBase: (1n << 52n) - 2n })), false);
  });

  it("passes steps without data, at the end of their source", () => {
    checkPlan(plan(step({}, { offset: 200, length: 0 })), false);
  });

  it("refuses what is no plan by a TypeError", () => {
    const nothing = { steps: undefined, sources: [] } as unknown as LoadPlan;
    assert.throws(() => checkPlan(nothing, false), TypeError);
    const noSource = { steps: [], sources: [5] } as unknown as LoadPlan;
    assert.throws(() => checkPlan(noSource, false), TypeError);
  });
});

describe("a plan for 4 MiB of RAM", () => {
  const MIB = 1 << 20;
  const planned: LoadPlan = { ...plan(step()), layout: new MemoryLayout(4 * MIB) };
  const cloned = { ...planned, layout: structuredClone({ ...new MemoryLayout(4 * MIB) }) as MemoryLayout };
  const bank = { guestPhysicalAddress: 0, byteOffset: 0, byteLength: 2 * MIB };
  const recording = (layout: MemoryLayout): ImageLoad => Object.assign(new RecordingImporter(), { layout });

  const SMALL: Readonly<Record<string, ImageLoad | GuestMemory>> = {
    "a guest memory": GuestMemory.create(2 * MIB),
    "a guest memory with a hole": GuestMemory.create(
      new MemoryLayout(4 * MIB, [new MemoryRange(MIB, 2 * MIB)]),
    ),
    "attached banks": GuestMemory.attach(new ArrayBuffer(4 * MIB), [bank]),
    "an importer that says where its RAM lies": recording(new MemoryLayout(2 * MIB)),
  };
  for (const [what, target] of Object.entries(SMALL)) {
    it(`does not go into ${what}, which has not all of it`, async () => {
      const refused = refusal("PLAN_DOES_NOT_FIT_MEMORY", "0x0-0x400000");
      assert.throws(() => applyPlanSync(planned, target), refused);
      assert.throws(() => applyPlanSync(cloned, target), refused);
      await assert.rejects(applyPlan(planned, target), refused);
    });
  }

  it("goes into a memory of that size, and into a larger one", () => {
    for (const size of [4, 8]) {
      applyPlanSync(planned, GuestMemory.create(size * MIB));
      applyPlanSync(cloned, recording(new MemoryLayout(size * MIB)));
    }
  });

  it("is refused, wherever it goes, if a step lies outside of it or on another", () => {
    const outside = { ...planned, steps: plan(step({ pageBase: 1024n })).steps };
    assert.throws(() => applyPlanSync(outside, new RecordingImporter()), refusal("GUEST_MEMORY_NOT_RAM"));
    const twice = { ...planned, steps: plan(step(), step()).steps };
    assert.throws(() => applyPlanSync(twice, new RecordingImporter()), refusal("IMPORT_OVERLAP"));
    const noLayout = { ...planned, layout: 4 * MIB } as unknown as LoadPlan;
    assert.throws(() => applyPlanSync(noLayout, new RecordingImporter()), TypeError);
  });
});
