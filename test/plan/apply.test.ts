import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { ImageLoad, X86Register } from "../../src/importers/importer.js";
import { RecordingImporter } from "../../src/importers/recording-importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { type ApplyOptions, applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import { type LoadPlan, PlanBuilder, type PlanStep } from "../../src/plan/plan.js";
import type { LoadProgress } from "../../src/plan/progress.js";
import { BytesSource } from "../../src/sources/bytes.js";
import type { Source } from "../../src/sources/source.js";
import { outcome, refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, BreakingSource, noise } from "../support/sources.js";

const PAGE = 4096;
const MIB = 1 << 20;
const PAGES = 64;
const never = Number.POSITIVE_INFINITY;

type Importer = GuestMemoryImporter<X86Register>;

/** An importer over a caller's buffer full of garbage. */
function overGarbage(): { importer: Importer; bytes: Uint8Array } {
  const bytes = noise(PAGES * PAGE, 9);
  return { importer: new GuestMemoryImporter<X86Register>(GuestMemory.attach(bytes.buffer)), bytes };
}

const RIP: X86Register = { name: "rip", value: 0x100_0000n };
const CR3: X86Register = { name: "cr3", value: 0x4000n };

function pages(base: number, count: number, bytes: Uint8Array, tag = `pages ${base}`): PlanStep<X86Register> {
  return {
    kind: "pages",
    pageBase: BigInt(base),
    pageCount: count,
    tag,
    acceptance: "Exclusive",
    data: { kind: "bytes", bytes },
  };
}

function register(value: X86Register): PlanStep<X86Register> {
  return { kind: "register", register: value };
}

/** A plan with every kind of step: 3 sources' pages among bytes, page tables and registers. */
function mixedPlan(source: (bytes: Uint8Array) => Source): LoadPlan<X86Register> {
  const builder = new PlanBuilder<X86Register>();
  builder.bytes(0x1000n, "bytes", noise(100));
  builder.register(CR3);
  const kernel = source(noise(20 * PAGE, 2));
  const initrd = source(noise(3 * PAGE + 5, 3));
  const region = { source: kernel, acceptance: "Exclusive", tag: "kernel" } as const;
  builder.fileRegion({
    ...region,
    fileOffset: 7n,
    fileLength: 18n * 4096n,
    gpa: 0x1_0123n,
    memoryLength: 20n * 4096n,
  });
  builder.fileRegion({ ...region, fileOffset: 0n, fileLength: 0n, gpa: 0x8000n, memoryLength: 4096n });
  builder.identityMap("tables", {
    tableAddress: 0x2000,
    addressBias: 0,
    gibibytes: 4,
    encryption: 0,
    linkIndex: -1,
    linkTarget: 0,
  });
  builder.wholeSource(0x3_0000n, "initrd", initrd);
  builder.register(RIP);
  return builder;
}

/** The content of a mixed plan, for an independent check. */
function mixedImage(before: Uint8Array): Uint8Array {
  const image = before.slice();
  image.fill(0, 0x1000, 0x2000).set(noise(100), 0x1000);
  image.fill(0, 0x1_0000, 0x2_5000).set(noise(20 * PAGE, 2).subarray(7, 7 + 18 * PAGE), 0x1_0123);
  image.fill(0, 0x8000, 0x9000);
  image.fill(0, 0x3_0000, 0x3_4000).set(noise(3 * PAGE + 5, 3), 0x3_0000);
  return image;
}

/** The tables' bytes are the business of the hot paths' own tests. */
function withoutTables(bytes: Uint8Array): Uint8Array {
  return bytes.slice().fill(0, 0x2000, 0x8000);
}

describe("a plan", () => {
  it("puts the same bytes into guest memory, synchronously and asynchronously", async () => {
    const sources: ((bytes: Uint8Array) => Source)[] = [
      (bytes) => new BytesSource(bytes),
      (bytes) => new BreakingSource(bytes, never, undefined),
    ];
    for (const source of sources) {
      const [first, second] = [overGarbage(), overGarbage()];
      const before = first.bytes.slice();
      applyPlanSync(mixedPlan(source), first.importer);
      await applyPlan(mixedPlan(source), second.importer);
      assert.equal(Buffer.compare(withoutTables(first.bytes), withoutTables(mixedImage(before))), 0);
      assert.equal(Buffer.compare(first.bytes, second.bytes), 0);
      assert.deepEqual(first.importer.registerList, [CR3, RIP]);
      assert.deepEqual(second.importer.registerList, [CR3, RIP]);
      assert.deepEqual(first.importer.regions, second.importer.regions);
    }
    const third = overGarbage();
    const before = third.bytes.slice();
    await applyPlan(mixedPlan(asyncOnly), third.importer);
    assert.equal(Buffer.compare(withoutTables(third.bytes), withoutTables(mixedImage(before))), 0);
  });

  it("gives an importer that only knows importPages the same pages", async () => {
    const direct = overGarbage();
    applyPlanSync(
      mixedPlan((bytes) => new BytesSource(bytes)),
      direct.importer,
    );
    for (const source of [(bytes: Uint8Array) => new BytesSource(bytes), asyncOnly]) {
      const recording = new RecordingImporter<X86Register>();
      await applyPlan(mixedPlan(source), recording);
      const { importer, bytes } = overGarbage();
      for (const call of recording.calls) {
        if (call.op === "register") importer.importVpRegister(call.register);
        else importer.importPages(call.pageBase, call.pageCount, call.tag, call.acceptance, call.data);
      }
      assert.equal(Buffer.compare(bytes, direct.bytes), 0);
      assert.deepEqual(importer.registerList, direct.importer.registerList);
    }
  });
});

describe("a plan that is doomed", () => {
  it("touches nothing, whichever step it is", async () => {
    const aDoom = fc.constantFrom(
      "overlap",
      "taken",
      "not RAM",
      "too long",
      "empty",
      "register",
      "register taken",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(
          Array.from({ length: PAGES / 2 - 2 }, (_, i) => 2 * i),
          { minLength: 1 },
        ),
        aDoom,
        fc.nat(),
        fc.boolean(),
        async (bases, doom, at, isAsync) => {
          const { importer, bytes } = overGarbage();
          importer.importPages(60n, 1, "earlier", "Exclusive", noise(1));
          importer.importVpRegister({ name: "cr0", value: 1n });
          const before = bytes.slice();
          const steps = bases.map((base) => pages(base, 1 + (base % 2), noise(base * 10)));
          steps.push(register(RIP));
          const [base = 0] = bases;
          const doomed: Readonly<Record<typeof doom, [PlanStep<X86Register>, string]>> = {
            overlap: [pages(base, 2, noise(1)), "IMPORT_OVERLAP"],
            taken: [pages(60, 1, noise(1)), "IMPORT_OVERLAP"],
            "not RAM": [pages(63, 2, noise(1)), "GUEST_MEMORY_NOT_RAM"],
            "too long": [pages(62, 1, noise(4097)), "IMPORT_DATA_TOO_LONG"],
            empty: [pages(62, 0, noise(0)), "IMPORT_EMPTY"],
            register: [register(RIP), "IMPORT_REGISTER_TWICE"],
            "register taken": [register({ name: "cr0", value: 2n }), "IMPORT_REGISTER_TWICE"],
          };
          const [step, code] = doomed[doom];
          steps.splice(at % (steps.length + 1), 0, step);
          const plan: LoadPlan<X86Register> = { steps, sources: [] };
          let seen: string;
          if (isAsync) {
            const error: unknown = await applyPlan(plan, importer).catch((thrown: unknown) => thrown);
            seen = error instanceof DirectBootError ? error.code : String(error);
          } else seen = outcome(() => applyPlanSync(plan, importer));
          assert.equal(seen, code);
          assert.equal(Buffer.compare(bytes, before), 0);
          assert.deepEqual(
            importer.regions.map(({ tag }) => tag),
            ["earlier"],
          );
          assert.deepEqual(importer.registerList, [{ name: "cr0", value: 1n }]);
        },
      ),
    );
  });

  it("names both steps that overlap", () => {
    const plan = { steps: [pages(1, 2, noise(1), "gdt"), pages(2, 1, noise(1), "initrd")], sources: [] };
    const matches = refusal("IMPORT_OVERLAP", "initrd at 0x2000-0x3000", "gdt at 0x1000-0x3000");
    assert.throws(() => applyPlanSync(plan, overGarbage().importer), matches);
  });
});

describe("a source that breaks midway", () => {
  const reason = new Error("the disk is gone");

  it("leaves every page that was touched zero and free, registers forgotten, the rest as it was", async () => {
    for (const isAsync of [false, true]) {
      for (const failAt of [0, 1]) {
        const { importer } = overGarbage();
        importer.importPages(62n, 1, "earlier", "Exclusive", noise(1));
        let reads = 0;
        const plan = mixedPlan((content) => {
          const source = new BreakingSource(content, never, undefined);
          const readSync = source.readSync.bind(source);
          source.readSync = (target, offset) => {
            if (reads++ === failAt) {
              readSync(target.subarray(0, 100), offset);
              throw reason;
            }
            readSync(target, offset);
          };
          return source;
        });
        const [code, tag] =
          failAt === 0 ? (["REGION_READ", "kernel"] as const) : (["SOURCE_READ", "initrd"] as const);
        const matches = refusalBecause(code, reason, tag, "the disk is gone", "zero again");
        if (isAsync) await assert.rejects(applyPlan(plan, importer), matches);
        else assert.throws(() => applyPlanSync(plan, importer), matches);

        assert.ok(importer.memory.read(0x1_0000, 0x1_5000).every((byte) => byte === 0));
        assert.deepEqual(
          importer.regions.map(({ tag: each }) => each),
          ["earlier"],
        );
        assert.deepEqual(importer.registerList, []);
        applyPlanSync(
          mixedPlan((content) => new BytesSource(content)),
          importer,
        );
        assert.equal(importer.regions.length, 6);
      }
    }
  });

  it("leaves what a foreign importer accepted, and does not say that it is zero", () => {
    const recording = new RecordingImporter<X86Register>();
    const plan = mixedPlan((content) => new BreakingSource(content, 1, reason));
    assert.throws(
      () => applyPlanSync(plan, recording),
      (error) => {
        refusalBecause("REGION_READ", reason)(error);
        assert.ok(error instanceof DirectBootError && !error.message.includes("zero again"));
        return true;
      },
    );
    assert.equal(recording.calls.filter(({ op }) => op === "pages").length, 2);
  });
});

describe("a foreign importer", () => {
  const reason = new RangeError("no");

  /** Accepts all but the method named, in which it throws. */
  function refusingIn(method: keyof ImageLoad, error: unknown): ImageLoad<X86Register> {
    const importer: ImageLoad<X86Register> = { importPages: () => {}, importVpRegister: () => {} };
    const refuse = (): never => {
      throw error;
    };
    return { ...importer, [method]: refuse };
  }

  function onePlan(kind: "bytes" | "region" | "whole" | "tables" | "register"): LoadPlan<X86Register> {
    const builder = new PlanBuilder<X86Register>();
    const source = new BytesSource(noise(100));
    const region = { source, fileOffset: 0n, fileLength: 9n, gpa: 0n, memoryLength: 9n, tag: "it" } as const;
    if (kind === "bytes") builder.bytes(0n, "it", noise(1));
    if (kind === "region") builder.fileRegion({ ...region, acceptance: "Exclusive" });
    if (kind === "whole") builder.wholeSource(0n, "it", source);
    if (kind === "register") builder.register(RIP);
    if (kind === "tables") {
      const map = { addressBias: 0, gibibytes: 4, encryption: 0, linkIndex: -1, linkTarget: 0 };
      builder.identityMap("it", { ...map, tableAddress: 0 });
    }
    return builder;
  }

  const cases: readonly (readonly [
    keyof ImageLoad,
    Parameters<typeof onePlan>[0],
    Parameters<typeof refusal>[0],
  ])[] = [
    ["importPages", "bytes", "IMPORTER"],
    ["importPages", "whole", "IMPORTER"],
    ["importPages", "tables", "IMPORTER"],
    ["importPages", "region", "REGION_IMPORT_PAGES"],
    ["checkPages", "bytes", "IMPORTER"],
    ["checkPages", "region", "REGION_IMPORT_PAGES"],
    ["importIdentityMap", "tables", "IMPORTER"],
    ["importVpRegister", "register", "IMPORTER"],
    ["checkVpRegister", "register", "IMPORTER"],
    ["importSource", "region", "REGION_IMPORT_PAGES"],
    ["importSource", "whole", "IMPORTER"],
  ];
  for (const [method, kind, code] of cases) {
    it(`that refuses in ${method} (${kind}) is ${code}, with what it threw as the cause`, async () => {
      const plan = onePlan(kind);
      const what = kind === "register" ? "rip" : "it";
      const matches = refusalBecause(code, reason, what, "no");
      assert.throws(() => applyPlanSync(plan, refusingIn(method, reason)), matches);
      await assert.rejects(applyPlan(plan, refusingIn(method, reason)), matches);
    });

    it(`that throws a DirectBootError in ${method} (${kind}) has it thrown as it is`, async () => {
      const ours = new DirectBootError("OUTPUT_FAILED", "full");
      assert.throws(
        () => applyPlanSync(onePlan(kind), refusingIn(method, ours)),
        (error) => error === ours,
      );
      await assert.rejects(applyPlan(onePlan(kind), refusingIn(method, ours)), (error) => error === ours);
    });
  }

  it("that refuses midway keeps what it accepted", () => {
    class Full extends RecordingImporter<X86Register> {
      override importVpRegister(): void {
        throw reason;
      }
    }
    const full = new Full();
    const plan = { steps: [pages(1, 1, noise(1)), register(RIP), pages(2, 1, noise(1))], sources: [] };
    assert.throws(() => applyPlanSync(plan, full), refusalBecause("IMPORTER", reason));
    assert.equal(full.calls.length, 1);
  });

  it("with a transaction has it rolled back when it refuses midway, once", () => {
    let rollbacks = 0;
    const importer = {
      ...refusingIn("importVpRegister", reason),
      begin: () => ({ rollback: () => void rollbacks++ }),
    };
    assert.throws(() => applyPlanSync(onePlan("register"), importer), refusal("IMPORTER"));
    assert.equal(rollbacks, 1);
    applyPlanSync(onePlan("bytes"), importer);
    assert.equal(rollbacks, 1);
  });
});

describe("a source without readSync", () => {
  it("can't be applied synchronously: SOURCE_NOT_SYNCHRONOUS, and nothing is touched", () => {
    const plan = mixedPlan(asyncOnly);
    const { importer, bytes } = overGarbage();
    const before = bytes.slice();
    assert.throws(() => applyPlanSync(plan, importer), refusal("SOURCE_NOT_SYNCHRONOUS", "async bytes"));
    assert.equal(Buffer.compare(bytes, before), 0);
    assert.deepEqual(importer.regions, []);
  });
});

describe("an aborted load", () => {
  it("touches nothing if it is aborted before, and takes back its pages if it is aborted midway", async () => {
    const reason = new Error("not wanted any more");
    const before = overGarbage();
    const untouched = before.bytes.slice();
    const signal = AbortSignal.abort(reason);
    await assert.rejects(
      applyPlan(mixedPlan(asyncOnly), before.importer, { signal }),
      refusalBecause("ABORTED", reason),
    );
    assert.equal(Buffer.compare(before.bytes, untouched), 0);
    for (const at of [1, 2]) {
      const controller = new AbortController();
      let reads = 0;
      const source = (content: Uint8Array): Source => ({
        ...asyncOnly(content),
        read: async (target, offset) => {
          target.set(content.subarray(offset, offset + target.byteLength));
          if (++reads === at) controller.abort(reason);
        },
      });
      const { importer, bytes } = overGarbage();
      await assert.rejects(
        applyPlan(mixedPlan(source), importer, { signal: controller.signal }),
        refusalBecause("ABORTED", reason, "zero again"),
      );
      assert.ok(bytes.subarray(0x1_0000, 0x2_5000).every((byte) => byte === 0));
      assert.deepEqual([importer.regions, importer.registerList], [[], []]);
    }
  });

  it("is ABORTED also when the source throws what the signal says, as fetch does", async () => {
    const controller = new AbortController();
    const reason = new DOMException("This operation was aborted", "AbortError");
    const source = (bytes: Uint8Array): Source => ({
      name: "response",
      byteLength: bytes.byteLength,
      read: async (_target, _offset, signal) => {
        controller.abort(reason);
        signal?.throwIfAborted();
      },
    });
    const { importer, bytes } = overGarbage();
    const load = applyPlan(mixedPlan(source), importer, { signal: controller.signal });
    await assert.rejects(load, refusalBecause("ABORTED", reason));
    assert.ok(bytes.subarray(0x1_0000, 0x2_5000).every((byte) => byte === 0));
    assert.deepEqual(importer.regions, []);
  });
});

describe("onProgress", () => {
  /** A plan of 20 MiB from a source, after some bytes. */
  function largePlan(): LoadPlan<X86Register> {
    const builder = new PlanBuilder<X86Register>();
    builder.bytes(0x1000n, "bytes", noise(100));
    const source = new BreakingSource(new Uint8Array(20 * MIB), never, undefined);
    const region = {
      source,
      fileOffset: 0n,
      fileLength: 20n << 20n,
      memoryLength: 21n << 20n,
      tag: "kernel",
    };
    builder.fileRegion({ ...region, gpa: 0x10_0010n, acceptance: "Exclusive" });
    return builder;
  }

  const runs: Readonly<
    Record<string, (importer: ImageLoad<X86Register>, options: ApplyOptions) => Promise<void>>
  > = {
    synchronously: async (importer, options) => applyPlanSync(largePlan(), importer, options),
    asynchronously: (importer, options) => applyPlan(largePlan(), importer, options),
  };
  for (const [how, run] of Object.entries(runs)) {
    it(`starts at 0, never goes back, ends at the total, and says something in between (${how})`, async () => {
      for (const importer of [
        new GuestMemoryImporter<X86Register>(GuestMemory.create(32 * MIB)),
        new RecordingImporter<X86Register>(),
      ]) {
        const seen: LoadProgress[] = [];
        await run(importer, { onProgress: (progress) => void seen.push(progress) });
        const total = 100 + 16 + 20 * MIB;
        assert.ok(seen.every((progress) => progress.total === total && progress.phase === "load"));
        const loaded = seen.map((progress) => progress.loaded);
        assert.equal(loaded[0], 0);
        assert.equal(loaded.at(-1), total);
        assert.deepEqual(
          loaded,
          [...loaded].sort((a, b) => a - b),
        );
        assert.ok(new Set(loaded).size >= 5, loaded.join(" "));
      }
    });

    it(`ends the load by throwing, at whichever report: what it threw is thrown, all is taken back (${how})`, async () => {
      const reason = new Error("stop");
      for (let failAt = 0; failAt < 5; failAt++) {
        const memory = GuestMemory.create(32 * MIB);
        const importer = new GuestMemoryImporter<X86Register>(memory);
        let reports = 0;
        const onProgress = (): void => {
          if (reports++ === failAt) throw reason;
        };
        await assert.rejects(run(importer, { onProgress }), (error) => {
          assert.equal(error, reason, `report ${failAt}: ${String(error)}`);
          return true;
        });
        assert.deepEqual(importer.regions, []);
        assert.ok(memory.read(0x1000, PAGE).every((byte) => byte === 0));
      }
    });
  }

  it("of an empty plan reports 0 of 0", () => {
    const seen: number[][] = [];
    const onProgress = ({ loaded, total = -1 }: LoadProgress): void => void seen.push([loaded, total]);
    applyPlanSync({ steps: [], sources: [] }, overGarbage().importer, { onProgress });
    assert.deepEqual(seen.at(-1), [0, 0]);
  });
});

describe("a source that no buffer holds", () => {
  it("is SOURCE_TOO_LARGE for an importer that only knows importPages, not a RangeError", async () => {
    const source: Source = { name: "huge", byteLength: 2 ** 52, read: async () => {}, readSync: () => {} };
    const builder = new PlanBuilder<X86Register>();
    builder.wholeSource(0x1000n, "initrd", source);
    assert.throws(
      () => applyPlanSync(builder, new RecordingImporter()),
      refusal("SOURCE_TOO_LARGE", "initrd"),
    );
    await assert.rejects(applyPlan(builder, new RecordingImporter()), refusal("SOURCE_TOO_LARGE"));
  });
});

describe("an importer of a caller's", () => {
  const plan: LoadPlan<X86Register> = { steps: [pages(1, 1, noise(100)), register(RIP)], sources: [] };
  const silent = { importPages: () => {}, importVpRegister: () => {} };

  it("whose functions are asynchronous is refused, as nobody would wait for them, and no rejection is left over", async () => {
    const late = async (): Promise<void> => {
      await Promise.resolve();
      throw new Error("too late");
    };
    for (const name of [
      "importPages",
      "importVpRegister",
      "checkPages",
      "checkVpRegister",
      "begin",
    ] as const) {
      const importer: unknown = { ...silent, [name]: late };
      const isIt = refusal("IMPORTER", "gave a promise");
      assert.throws(() => Reflect.apply(applyPlanSync, undefined, [plan, importer]), isIt, name);
      await assert.rejects(
        async () => await Reflect.apply(applyPlan, undefined, [plan, importer]),
        isIt,
        name,
      );
    }
  });

  it("may throw anything, and what it throws is one of our errors", () => {
    const textless: unknown = Object.create(null);
    for (const thrown of [textless, undefined, "text", new Error("text")]) {
      for (const name of ["importPages", "importVpRegister", "begin"] as const) {
        const importer: unknown = {
          ...silent,
          [name]: () => {
            throw thrown;
          },
        };
        assert.throws(
          () => Reflect.apply(applyPlanSync, undefined, [plan, importer]),
          (error) => error instanceof DirectBootError && error.code === "IMPORTER" && error.cause === thrown,
        );
      }
    }
  });

  it("that breaks midway leaves the cure of its error a cure, and what became of the pages a detail", () => {
    const { steps } = plan;
    const bad: LoadPlan<X86Register> = { steps: [...steps, pages(9999, 1, noise(100))], sources: [] };
    const importer = { ...silent, begin: () => ({ rollback: () => {} }) };
    const failing: unknown = {
      ...importer,
      importPages: (base: bigint) => {
        if (base === 9999n) throw new DirectBootError("GUEST_MEMORY_NOT_RAM", "page 9999 is no RAM");
      },
    };
    assert.throws(
      () => Reflect.apply(applyPlanSync, undefined, [bad, failing]),
      (error) =>
        error instanceof DirectBootError &&
        error.details === "page 9999 is no RAM; every page that was written is zero again" &&
        error.message === `${error.details}; ${error.cure}` &&
        error.cure === new DirectBootError("GUEST_MEMORY_NOT_RAM", "a").cure,
    );
  });

  it("is not called at all for a plan, or a callback, that is none", () => {
    for (const [given, options, message] of [
      [null, {}, /^plan must have steps/],
      [plan, { onProgress: 5 }, /^onProgress must be a function, got 5/],
    ] as const) {
      assert.throws(() => Reflect.apply(applyPlanSync, undefined, [given, silent, options]), {
        name: "TypeError",
        message,
      });
    }
  });
});
