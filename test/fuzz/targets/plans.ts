/** Plans as plain data, which somebody else may have made: carried out synchronously, asynchronously, aborted, recorded. */
import fc from "fast-check";
import { GuestMemoryImporter } from "../../../src/importers/guest-memory-importer.js";
import type { ImageLoad } from "../../../src/importers/importer.js";
import { RecordingImporter } from "../../../src/importers/recording-importer.js";
import { GuestMemory } from "../../../src/memory/guest-memory.js";
import { applyPlan, applyPlanSync } from "../../../src/plan/apply.js";
import type { LoadPlan } from "../../../src/plan/plan.js";
import { noise } from "../../support/sources.js";
import { expect, type Target, target } from "../fuzzer.js";
import { compare, open, type Way, way } from "../openings.js";
import { isEqual, type Observed, observe, observeAsync, show } from "../outcome.js";

const PAGE_BYTES = 4096;
const PAGES = 20;
const CANARY = 0xa5;
const FILE = noise(12_288, 3);

/** A value, or now and then one that is none. */
function often(good: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const bad = fc.constantFrom(
    ...[-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 53, -0, "1", null, 3n, undefined, {}],
    ...[-1n, 1n << 52n, (1n << 52n) - 1n, 1n << 64n, new Uint8Array(20_000)],
  );
  return fc.oneof({ weight: 60, arbitrary: good }, { weight: 1, arbitrary: bad });
}

const record = (model: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record(Object.fromEntries(Object.entries(model).map(([name, value]) => [name, often(value)])), {
    noNullPrototype: true,
  });

const length = fc.oneof(fc.constantFrom(0, 1, 100, PAGE_BYTES), fc.nat(PAGE_BYTES));
const data = fc.oneof(
  record({ kind: fc.constant("bytes"), bytes: fc.uint8Array({ maxLength: 300 }) }),
  record({
    ...{ kind: fc.constant("source"), source: fc.constantFrom(0, 1), offset: fc.nat(8000), length },
    ...{ leadingBytes: fc.constantFrom(0, 0, 10), chunked: fc.boolean() },
  }),
);
const identityMap = fc
  .record({ page: fc.nat(PAGES - 4), bias: fc.constantFrom(0, 2 ** 21), link: fc.constantFrom(-1, 3) })
  .chain(({ page, bias, link }) =>
    record({
      kind: fc.constant("pages"),
      ...{ pageBase: fc.constant(BigInt(page)), pageCount: fc.constant(bias === 0 ? 3 : 2) },
      ...{ tag: fc.constant("map"), acceptance: fc.constant("Exclusive") },
      data: record({
        kind: fc.constant("identity-map"),
        map: record({
          ...{ tableAddress: fc.constant(page * PAGE_BYTES), addressBias: fc.constant(bias) },
          ...{ gibibytes: fc.constant(1), encryption: fc.constantFrom(0, 2 ** 47) },
          ...{ linkIndex: fc.constant(link), linkTarget: fc.constant(0) },
        }),
      }),
    }),
  );
const pages = record({
  ...{
    kind: fc.constant("pages"),
    pageBase: fc.nat(PAGES).map(BigInt),
    pageCount: fc.integer({ min: 1, max: 3 }),
  },
  ...{ tag: fc.constant("pages"), acceptance: fc.constant("Exclusive"), data },
});
const register = record({
  kind: fc.constant("register"),
  register: record({ name: fc.constantFrom("rip", "cr3", "x0"), value: fc.bigInt(0n, (1n << 64n) - 1n) }),
});
const step = fc.oneof(
  { weight: 5, arbitrary: pages },
  { weight: 1, arbitrary: identityMap },
  { weight: 1, arbitrary: register },
);

/** Failures that come midway, after which pages are zero. */
const MIDWAY = /^(ABORTED|IMPORTER|SOURCE_|REGION_READ)/;

interface PlanInput {
  readonly steps: readonly unknown[];
  readonly fileBytes: number;
  readonly by: Way;
  readonly stopAt: number;
}

function plan(): Target {
  const fresh = new Uint8Array(PAGES * PAGE_BYTES).fill(CANARY);
  const make = () => {
    const bytes = fresh.slice();
    const banks = [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: bytes.byteLength }];
    return { bytes, memory: GuestMemory.attach(bytes.buffer, banks) };
  };
  const [first, second] = [make(), make()];
  const check = (bytes: Uint8Array, observed: Observed): void => {
    if (observed.code === "ok" || isEqual(bytes, fresh)) return;
    expect(MIDWAY.test(observed.code), `a plan that was refused changed guest memory: ${show(observed)}`);
    for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) {
      const [byte] = bytes.subarray(at);
      const isClean = bytes.subarray(at, at + PAGE_BYTES).every((each) => each === byte);
      expect(
        isClean && (byte === 0 || byte === CANARY),
        `page ${at / PAGE_BYTES} holds data of a failed load`,
      );
    }
  };
  return target<PlanInput>({
    name: "plan",
    runs: 600,
    input: fc.record(
      {
        steps: fc.oneof(
          { weight: 30, arbitrary: fc.array(step, { maxLength: 6 }) },
          { weight: 1, arbitrary: fc.constant([null]) },
        ),
        fileBytes: fc.constantFrom(FILE.byteLength, FILE.byteLength, 5000),
        ...{ by: way, stopAt: fc.nat(5) },
      },
      { noNullPrototype: true },
    ),
    run: async ({ steps, fileBytes, by, stopAt }) => {
      const files = [FILE.subarray(0, fileBytes), FILE];
      const planBy = (opened: Way): LoadPlan =>
        ({ steps, sources: files.map((bytes) => open(bytes, opened)) }) as unknown as LoadPlan;
      const plain: Way = { opening: "peek", chunk: 1 };
      first.bytes.set(fresh);
      const atOnce = observe(() => applyPlanSync(planBy(plain), first.memory));
      check(first.bytes, atOnce);
      second.bytes.set(fresh);
      const importer = new GuestMemoryImporter(second.memory, { crc32: true });
      const awaited = await observeAsync(() => applyPlan(planBy(by), importer));
      check(second.bytes, awaited);
      compare({ ...atOnce, detail: "" }, { ...awaited, detail: "" }, by);
      if (atOnce.code === "ok" && awaited.code === "ok") {
        expect(isEqual(first.bytes, second.bytes), `bytes and ${by.opening} make other memory`);
        for (const { range, dataLength, crc32 } of importer.regions) {
          expect(crc32 === second.memory.crc32(range.start, dataLength), "a region's CRC-32 is another");
        }
      }
      const recorded = observe(() => applyPlanSync(planBy(plain), new RecordingImporter()));
      expect(atOnce.code !== "ok" || recorded.code === "ok", `an importer of pages alone: ${show(recorded)}`);
      await stop(planBy, by, stopAt);
      return atOnce.code;
    },
  });

  /** Loads that the signal, the progress or the importer ends. */
  async function stop(planBy: (by: Way) => LoadPlan, by: Way, stopAt: number): Promise<void> {
    const { bytes, memory } = first;
    for (const isThrown of [false, true]) {
      bytes.set(fresh);
      const controller = new AbortController();
      let reports = 0;
      const onProgress = (): void => {
        if (reports++ < stopAt) return;
        controller.abort();
        if (isThrown) controller.signal.throwIfAborted();
      };
      const { signal } = controller;
      try {
        check(bytes, await observeAsync(() => applyPlan(planBy(by), memory, { onProgress, signal })));
      } catch (error) {
        // A callback's own error comes out as it is.
        if (!isThrown || error !== signal.reason) continue;
      }
    }
    let calls = 0;
    const refuse = (): void => {
      if (calls++ >= stopAt) throw new Error("no more");
    };
    const refusing: ImageLoad = { importPages: refuse, importVpRegister: refuse };
    observe(() => applyPlanSync(planBy({ opening: "sync", chunk: 1 }), refusing));
    calls = 0;
    await observeAsync(() => applyPlan(planBy(by), refusing));
  }
}

export const PLANS = { plan };
