/** Plans as plain data: made by somebody else, kept, posted; carried out synchronously and asynchronously. */

import { DirectBootError } from "../../../src/base/errors.js";
import { GuestMemoryImporter } from "../../../src/importers/guest-memory-importer.js";
import type { ImageLoad, ImportTransaction } from "../../../src/importers/importer.js";
import { RecordingImporter } from "../../../src/importers/recording-importer.js";
import { GuestMemory } from "../../../src/memory/guest-memory.js";
import type { LoadPlan } from "../../../src/plan/plan.js";
import type { SyncSource } from "../../../src/sources/source.js";
import type { Driver } from "../drivers.js";
import { bytesOf, type FuzzInput, listOf, numbersOf, type Value } from "../input.js";
import { chunkLengths, edge } from "../mutate.js";
import {
  alike,
  expect,
  Finding,
  type Observed,
  type Outcome,
  observe,
  observeAsync,
  show,
} from "../outcome.js";
import type { Random } from "../random.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy } from "./shared.js";

const PAGE_BYTES = 4096;
/** Pages of the guest, in two banks. */
const FIRST_PAGES = 12;
const SECOND_PAGE = 20;
const SECOND_PAGES = 8;
const CANARY = 0xa5;

/** Where numbers of plans go wrong. */
const BAD_NUMBERS: readonly Value[] = [
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 31,
  2 ** 53,
  2 ** 60,
  -0,
  "1",
  null,
  3n,
  undefined,
];

/** Pages of page tables: with a bias there is no PML4 among them. */
function tablePages(data: Value): number | undefined {
  const { kind, map } = data as { kind?: Value; map?: { addressBias?: Value } };
  if (kind !== "identity-map") return undefined;
  return map?.addressBias === 0 ? 3 : 2;
}

function makeStep(random: Random, isBad: () => boolean): Value {
  if (random.oneIn(6)) {
    const register = { name: random.pick(["rip", "cr3", "rax", "rbx", "x0"]), value: random.u64() };
    return isBad()
      ? random.pick<Value>([
          { kind: "register" },
          { kind: "register", register: { name: 5, value: 1n } },
          { kind: "register", register: null },
        ])
      : { kind: "register", register };
  }
  const number = (good: number): Value => (isBad() ? random.pick(BAD_NUMBERS) : good);
  const pageCount = 1 + random.below(3);
  const page = random.oneIn(5) ? SECOND_PAGE + random.below(SECOND_PAGES - 2) : random.below(FIRST_PAGES - 1);
  const pageBase: Value = isBad()
    ? random.pick<Value>([-1n, 1n << 52n, (1n << 52n) - 1n, 1n << 64n, edge(random, 8), 3, "1", undefined])
    : BigInt(page);
  const room = pageCount * PAGE_BYTES;
  const length = random.pick([0, 1, 100, PAGE_BYTES, room, random.below(room + 1)]);
  const leadingBytes = random.oneIn(3) ? random.below(room - length + 1) : 0;
  const data = ((): Value => {
    switch (random.below(8)) {
      case 0:
      case 1:
        return {
          kind: "bytes",
          bytes: isBad()
            ? random.pick<Value>([new Uint8Array(room + 1), [1, 2], "text", undefined])
            : random.bytes(Math.min(length, 300)),
        };
      case 2:
        return {
          kind: "identity-map",
          map: {
            tableAddress: number(page * PAGE_BYTES),
            addressBias: number(random.pick([0, 0, 2 ** 21])),
            gibibytes: number(1),
            encryption: number(random.pick([0, 2 ** 47])),
            linkIndex: number(random.pick([-1, 3])),
            linkTarget: number(0),
          },
        };
      default: {
        // Bytes from the file of 12 KiB.
        const offset = random.below(2) === 0 ? 0 : random.below(PAGE_BYTES);
        return {
          kind: isBad() && random.oneIn(2) ? random.pick<Value>(["file", undefined]) : "source",
          source: number(random.oneIn(4) ? 1 : 0),
          offset: number(offset),
          length: number(Math.min(length, 8192)),
          leadingBytes: number(leadingBytes),
          chunked: random.oneIn(2),
        };
      }
    }
  })();
  return {
    kind: isBad() && random.oneIn(3) ? random.pick<Value>(["page", undefined]) : "pages",
    pageBase,
    pageCount: number(random.oneIn(20) ? 0 : (tablePages(data) ?? pageCount)),
    tag: isBad() && random.oneIn(3) ? random.pick<Value>([undefined, 7]) : `step ${random.below(100)}`,
    acceptance: "Exclusive",
    data: isBad() && random.oneIn(3) ? random.pick<Value>([undefined, null, 5]) : data,
  };
}

const guests = lazy(() => {
  const bytes = (FIRST_PAGES + SECOND_PAGES) * PAGE_BYTES;
  const banks = [
    { guestPhysicalAddress: 0, byteOffset: 0, byteLength: FIRST_PAGES * PAGE_BYTES },
    {
      guestPhysicalAddress: SECOND_PAGE * PAGE_BYTES,
      byteOffset: FIRST_PAGES * PAGE_BYTES,
      byteLength: SECOND_PAGES * PAGE_BYTES,
    },
  ];
  const make = () => {
    const buffer = new ArrayBuffer(bytes);
    return { bytes: new Uint8Array(buffer), memory: GuestMemory.attach(buffer, banks) };
  };
  return { first: make(), second: make(), fresh: new Uint8Array(bytes).fill(CANARY) };
});

/** Codes of failures that come midway, after which pages are zero again. */
const MIDWAY = new Set([
  "ABORTED",
  "IMPORTER",
  "SOURCE_READ",
  "SOURCE_SHORT",
  "REGION_READ",
  "SOURCE_CONSUMED",
]);

/** Every page is as it was, or zero. */
function checkUntouched(bytes: Uint8Array, fresh: Uint8Array, observed: Observed): void {
  if (observed.code === "ok") return;
  if (!MIDWAY.has(observed.code)) {
    expect(
      Buffer.compare(bytes, fresh) === 0,
      `guest memory was changed by a load that was refused: ${show(observed)}`,
    );
    return;
  }
  for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    const isFresh = Buffer.compare(page, fresh.subarray(at, at + PAGE_BYTES)) === 0;
    expect(
      isFresh || page.every((byte) => byte === 0),
      `page ${at / PAGE_BYTES} holds what a failed load wrote`,
    );
  }
}

/** A step that reads from the file. */
function fromFile(page: number, pageCount: number, offset: number, length: number, more: object = {}): Value {
  return {
    kind: "pages",
    pageBase: BigInt(page),
    pageCount,
    tag: `file at ${page}`,
    acceptance: "Exclusive",
    data: { kind: "source", source: 0, offset, length, leadingBytes: 0, chunked: false, ...more },
  };
}

/** Plans that can be carried out, with every kind of step; and, of such a plan, one thing that is wrong. */
function plans(): readonly FuzzInput[] {
  const pages = (page: number, pageCount: number, data: Value, more: object = {}): Value => ({
    kind: "pages",
    pageBase: BigInt(page),
    pageCount,
    tag: `page ${page}`,
    acceptance: "Exclusive",
    data,
    ...more,
  });
  const register = (given: Value): Value => ({ kind: "register", register: given });
  const map = (page: number): Value => ({
    kind: "identity-map",
    map: {
      tableAddress: page * PAGE_BYTES,
      addressBias: 0,
      gibibytes: 1,
      encryption: 0,
      linkIndex: -1,
      linkTarget: 0,
    },
  });
  const bytes: Value = { kind: "bytes", bytes: new Uint8Array(100).fill(7) };
  const right = [
    register({ name: "rip", value: 1n }),
    pages(0, 1, bytes),
    fromFile(1, 2, 0, 8192),
    pages(3, 3, map(3)),
    fromFile(6, 2, 8192, 4096, { chunked: true, leadingBytes: 10 }),
    fromFile(SECOND_PAGE, 1, 100, 3000, { source: 1 }),
    register({ name: "gdtr", value: { base: 1n, limit: 5 } }),
  ];
  const plain = {
    steps: right,
    file: new Uint8Array(12_288).fill(3),
    second: new Uint8Array(9000).fill(4),
    stopAt: 1,
    driver: "peek",
    chunks: [1000],
  };
  const drivers: readonly Driver[] = ["peek", "sync", "async", "stream", "open"];
  // Ended by the progress, the signal or the importer, at each of the first steps.
  const stopped = drivers.flatMap((driver) =>
    Array.from({ length: 8 }, (_, stopAt) => ({ ...plain, driver, stopAt })),
  );
  // A source that breaks, chunked and whole: it has fewer bytes than it says.
  const broken = [false, true].flatMap((chunked) =>
    [0, 3].map((stopAt) => ({
      ...plain,
      steps: [
        pages(0, 1, bytes),
        fromFile(1, 2, 0, 8192, { chunked }),
        fromFile(4, 1, 8192, 4000, { chunked }),
      ],
      driver: "broken",
      stopAt,
    })),
  );
  const wrong: readonly Value[] = [
    pages(8, 1, map(8)),
    pages(8, 4, map(8)),
    pages(8, 1, { kind: "identity-map", map: null }),
    pages(8, 1, { kind: "bytes", bytes: "text" }),
    pages(8, 1, { kind: "bytes", bytes: new Uint8Array(PAGE_BYTES + 1) }),
    pages(8, 1, bytes, { tag: 7 }),
    pages(8, 1, bytes, { pageCount: -1 }),
    pages(8, 1, bytes, { pageBase: 1n << 52n }),
    pages(8, 1, bytes, { pageBase: -1n }),
    pages(0, 1, bytes),
    pages(FIRST_PAGES - 1, 2, bytes),
    fromFile(8, 1, 0, 1, { source: 2 }),
    fromFile(8, 1, 0, 1, { leadingBytes: PAGE_BYTES }),
    fromFile(8, 1, 12_288, 1),
    register({ name: 5, value: 1n }),
    register({ name: "rip", value: "1" }),
    register({ name: "rip", value: null }),
    register({ name: "rip", value: 2n }),
    register(null),
    null,
    { kind: "page" },
  ];
  return [
    ...stopped,
    ...broken,
    ...wrong.map((step) => ({ ...plain, steps: [...right, step] })),
    // More at once than can be held, of a stream that does not say how long it is.
    { ...plain, steps: [fromFile(0, 2 ** 33, 0, 2 ** 45)], driver: "open", stopAt: 0 },
    ...["no steps", "no sources", "another source", "null"].map((shape) => ({ ...plain, shape })),
  ];
}

/** A source that is shorter than it says. */
function breaking(bytes: Uint8Array): SyncSource {
  const fail = (target: Uint8Array, offset: number): void => {
    if (offset >= 8000) throw new Error("the disk is gone");
    target.set(bytes.subarray(offset, offset + target.byteLength));
  };
  return {
    name: "broken",
    byteLength: bytes.byteLength,
    readSync: fail,
    read: async (target, offset) => fail(target, offset),
  };
}

/** A plan that is none. */
function misshapen(plan: LoadPlan, shape: Value): LoadPlan {
  const given: unknown =
    shape === "no steps"
      ? { ...plan, steps: 5 }
      : shape === "no sources"
        ? { ...plan, sources: undefined }
        : { ...plan, sources: [shape === "null" ? null : { name: "x" }] };
  return given as LoadPlan;
}

export function planTarget(subject: Subject): Target {
  return {
    name: "plan",
    corpus: lazy(plans),
    executions: 450,
    make: (random) => {
      // One in three is well-formed; in others one thing in so many is wrong.
      const rarity = random.pick([0, 6, 20]);
      const isBad = (): boolean => rarity !== 0 && random.oneIn(rarity * 2);
      const count = random.below(7);
      return {
        steps: Array.from({ length: count }, () => makeStep(random, isBad)),
        file: random.bytes(random.pick([12_288, 12_288, 5000, 100])),
        second: random.bytes(random.pick([9000, 50])),
        stopAt: random.below(6),
        driver: random.pick(["peek", "sync", "async", "stream", "open"]),
        chunks: chunkLengths(random, 12_288),
      };
    },
    run: async (input): Promise<Outcome> => {
      const { first, second, fresh } = guests();
      const chunks = numbersOf(input, "chunks");
      const files = [bytesOf(input, "file"), bytesOf(input, "second")];
      const steps = listOf(input, "steps") as unknown as LoadPlan["steps"];
      const isBroken = input["driver"] === "broken";
      const planBy = (driver: Driver): LoadPlan => {
        const plan = {
          steps,
          sources: files.map((bytes) =>
            isBroken ? breaking(bytes) : subject.openDriver(driver, bytes, chunks),
          ),
        };
        return input["shape"] === undefined ? plan : misshapen(plan, input["shape"]);
      };
      first.bytes.set(fresh);
      second.bytes.set(fresh);
      const allowed = { typeErrors: true };
      const a = observe(() => subject.applyPlanSync(planBy("peek"), first.memory), allowed);
      checkUntouched(first.bytes, fresh, a);
      const driver = input["driver"] as Driver;
      const importer = new GuestMemoryImporter(second.memory, { crc32: true });
      const b = await observeAsync(() => subject.applyPlan(planBy(driver), importer), allowed);
      checkUntouched(second.bytes, fresh, b);
      // Of a stream of unknown length nobody knows before that it is too short.
      const isPast = driver === "open" && a.code === "SOURCE_SHORT";
      if (!isPast && (a.code === "ok" || b.code === "ok")) {
        alike({ ...a, detail: "" }, { ...b, detail: "" }, `peek and ${driver}`);
      }
      if (a.code === "ok") {
        if (Buffer.compare(first.bytes, second.bytes) !== 0)
          throw new Finding(`peek and ${driver} wrote other bytes`);
        checkRegions(importer);
      }
      // An importer that only records is handed everything by importPages.
      const recorded = observe(() => {
        const recorder = new RecordingImporter();
        subject.applyPlanSync(planBy("sync"), recorder);
        return recorder;
      }, allowed);
      await checkStopped(subject, planBy, input, first, fresh);
      const isPlain = a.code === "ok" && recorded.code !== "ok";
      if (isPlain) throw new Finding(`guest memory takes what importPages does not: ${show(recorded)}`);
      return {
        kind: `${a.code} ${b.code === a.code ? "" : b.code}`,
        isIdentified: a.code !== "TypeError" && a.code !== "PLAN_INVALID",
      };
    },
  };
}

/** A load that its progress, its signal or its importer ends. */
async function checkStopped(
  subject: Subject,
  planBy: (driver: Driver) => LoadPlan,
  input: FuzzInput,
  { bytes, memory }: { readonly bytes: Uint8Array; readonly memory: GuestMemory },
  fresh: Uint8Array,
): Promise<void> {
  const stopAt = Number(input["stopAt"]);
  const allowed = { typeErrors: true };
  const controller = new AbortController();
  let reports = 0;
  const stop = (): void => {
    if (reports++ < stopAt) return;
    controller.abort();
    throw new DirectBootError("ABORTED", "that is enough");
  };
  const driver = input["driver"] as Driver;
  for (const isSync of [true, false]) {
    bytes.set(fresh);
    reports = 0;
    const stopped = isSync
      ? observe(() => subject.applyPlanSync(planBy("sync"), memory, { onProgress: stop }), allowed)
      : await observeAsync(() => subject.applyPlan(planBy(driver), memory, { onProgress: stop }), allowed);
    checkUntouched(bytes, fresh, stopped);
  }
  bytes.set(fresh);
  reports = 0;
  const onProgress = (): void => {
    if (reports++ >= stopAt) controller.abort();
  };
  const { signal } = controller;
  const aborted = await observeAsync(
    () => subject.applyPlan(planBy(driver), memory, { onProgress, signal }),
    allowed,
  );
  checkUntouched(bytes, fresh, aborted);
  // Importers of others: one that takes whole sources synchronously only, one that refuses.
  const importer = new GuestMemoryImporter(memory);
  const whole: ImageLoad = {
    importPages: (...page) => importer.importPages(...page),
    importVpRegister: (register) => importer.importVpRegister(register),
    importSource: (...page) => importer.importSource(...page),
  };
  await observeAsync(() => subject.applyPlan(planBy(driver), whole), allowed);
  // Those that can take back what was imported, and those that fail at that, too.
  for (const isBad of [false, true]) {
    const begin = (): ImportTransaction => ({
      rollback: () => {
        if (isBad) throw new Error("the pages are gone");
      },
    });
    reports = 0;
    const ending = new AbortController();
    const end = (): void => {
      if (reports++ >= stopAt) ending.abort();
    };
    let imports = 0;
    const take = (): void => {
      if (isBad && imports++ >= stopAt) throw new Error("no more");
    };
    const taking: ImageLoad = { importPages: take, importVpRegister: () => {}, begin };
    await observeAsync(
      () => subject.applyPlan(planBy(driver), taking, { onProgress: end, signal: ending.signal }),
      allowed,
    );
    imports = 0;
    observe(() => subject.applyPlanSync(planBy("sync"), taking), allowed);
  }
  let calls = 0;
  const refuse = (): void => {
    if (calls++ >= stopAt) throw new Error("no more");
  };
  const refusing: ImageLoad =
    stopAt % 2 === 0
      ? { importPages: refuse, importVpRegister: refuse }
      : {
          importPages: refuse,
          importVpRegister: refuse,
          importSourceAsync: async () => refuse(),
          checkPages: refuse,
        };
  observe(() => subject.applyPlanSync(planBy("sync"), refusing), allowed);
  await observeAsync(() => subject.applyPlan(planBy(driver), refusing), allowed);
}

function checkRegions(importer: GuestMemoryImporter): void {
  for (const { range, dataLength, crc32 } of importer.regions) {
    expect(dataLength <= Number(range.length), "a region has more data than pages");
    expect(crc32 === importer.memory.crc32(range.start, dataLength), "a region's CRC-32 is another");
  }
}
