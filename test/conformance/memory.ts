/** Memory contents: of recorded imports, and of directboot's own guest memory after the same load. */
import { createHash } from "node:crypto";
import {
  GuestMemory,
  GuestMemoryImporter,
  hotPaths,
  MemoryLayout,
  type VpRegister,
} from "../../src/index.js";
import { hex, PAGE_BYTES, sha256 } from "./blobs.js";
import { compare, compareResult, type Deviation, describeThrown } from "./compare.js";
import type { Expectation, MemoryRun } from "./expectation.js";
import { asLength, asString, type JsonValue } from "./json.js";
import type { Run } from "./operations.js";
import { registerToJson, type TracingImporter } from "./tracing-importer.js";

/** Where upstream's driver gave up listing memory, and where this one does. */
const MOST_PAGES = 32768;
const PAGE = BigInt(PAGE_BYTES);
const ZEROS = new Uint8Array(PAGE_BYTES);

/** The imports applied in order, as golden lists them; undefined if there are too many pages. */
export function memoryOf({ imported }: TracingImporter): JsonValue[] | undefined {
  const total = imported.reduce((sum, { start, end }) => sum + (end - start) / PAGE, 0n);
  if (total > BigInt(MOST_PAGES)) return undefined;
  const pages = new Map<bigint, Uint8Array>();
  for (const { start, end, data } of imported) {
    for (let at = start; at < end; at += PAGE) {
      const offset = Number(at - start);
      pages.set(at / PAGE, data.subarray(offset, offset + PAGE_BYTES));
    }
  }
  const numbers = [...pages.keys()].sort((a, b) => (a < b ? -1 : 1));
  const runs: JsonValue[] = [];
  for (let i = 0; i < numbers.length; ) {
    const first = numbers[i] ?? 0n;
    const hash = createHash("sha256");
    let count = 0;
    for (; numbers[i] === first + BigInt(count); i++, count++) {
      const data = pages.get(first + BigInt(count)) ?? ZEROS;
      hash.update(data).update(ZEROS.subarray(data.byteLength));
    }
    runs.push({ pageBase: hex(first), pageCount: count, sha256: hash.digest("hex") });
  }
  return runs;
}

export function memoryToJson(runs: readonly MemoryRun[]): JsonValue[] {
  return runs.map((run) => ({ ...run, pageBase: hex(run.pageBase) }));
}

/**
 * True if a load can be repeated into guest memory that refuses overlaps, empty ranges and registers set twice,
 * and that is small enough.
 */
export function fitsGuestMemory(expected: Expectation): boolean {
  if (expected.memory === undefined || expected.calls.length === 0) return false;
  let inCalls = 0;
  const names = new Set<string>();
  let registers = 0;
  for (const call of expected.calls) {
    if (call["op"] === "register") {
      registers++;
      names.add(asString(call["name"], "name"));
      continue;
    }
    const pageCount = asLength(call["pageCount"], "pageCount");
    if (pageCount === 0) return false;
    inCalls += pageCount;
  }
  const inMemory = expected.memory.reduce((sum, { pageCount }) => sum + pageCount, 0);
  // Fewer pages in memory than in the calls: two calls share some.
  return inCalls === inMemory && inMemory <= MOST_PAGES && names.size === registers;
}

/** Guest memory to load into. */
interface Guest {
  readonly name: string;
  readonly memory: GuestMemory;
  /** What was written to outside the banks. */
  readonly checkGuards: () => Deviation[];
}

type Pages = Pick<MemoryRun, "pageBase" | "pageCount">;

const GARBAGE = 0xaa;
/** Pages around each bank of an attached buffer that nothing may touch. */
const GUARD_BYTES = PAGE_BYTES;

function createGuest(banks: readonly Pages[]): Guest {
  const ram = banks.map(({ pageBase, pageCount }) => ({
    start: pageBase * PAGE,
    end: (pageBase + BigInt(pageCount)) * PAGE,
  }));
  return {
    name: "GuestMemory.create",
    memory: GuestMemory.create(new MemoryLayout(ram)),
    checkGuards: () => [],
  };
}

/** A buffer full of garbage, so that zeros that are missing show. */
function attachGuest(ranges: readonly Pages[]): Guest {
  let byteOffset = GUARD_BYTES;
  const banks = ranges.map(({ pageBase, pageCount }) => {
    const bank = { guestPhysicalAddress: pageBase * PAGE, byteOffset, byteLength: pageCount * PAGE_BYTES };
    byteOffset += bank.byteLength + GUARD_BYTES;
    return bank;
  });
  // What is attached is what the chosen hot paths work on in place: WASM can't work in an ArrayBuffer.
  const wasmMemory =
    hotPaths.implementation === "wasm"
      ? new WebAssembly.Memory({ initial: Math.ceil(byteOffset / 65536) })
      : undefined;
  const buffer = wasmMemory?.buffer ?? new ArrayBuffer(byteOffset);
  const bytes = new Uint8Array(buffer).fill(GARBAGE);
  return {
    name: `GuestMemory.attach(${wasmMemory === undefined ? "ArrayBuffer" : "WebAssembly.Memory"})`,
    memory: GuestMemory.attach(wasmMemory ?? buffer, banks),
    checkGuards: () =>
      [0, ...banks.map((bank) => bank.byteOffset + bank.byteLength)].flatMap((start) =>
        bytes.subarray(start, start + GUARD_BYTES).every((byte) => byte === GARBAGE)
          ? []
          : [{ where: `buffer byte ${start}`, expected: "an untouched page", got: "something written" }],
      ),
  };
}

function loadInto(guest: Guest, run: Run, expected: Expectation): Deviation[] {
  const importer = new GuestMemoryImporter<VpRegister>(guest.memory);
  const result = run(importer);
  const registers = expected.calls.filter((call) => call["op"] === "register");
  const memory = (expected.memory ?? []).map(({ pageBase, pageCount }) => ({
    pageBase,
    pageCount,
    sha256: sha256(guest.memory.read(pageBase * PAGE, pageCount * PAGE_BYTES)),
  }));
  return [
    ...compareResult(expected, result),
    ...compare("registers", registers, importer.registerList.map(registerToJson)),
    ...compare("memory", memoryToJson(expected.memory ?? []), memoryToJson(memory)),
    ...guest.checkGuards(),
  ];
}

/**
 * Repeats a load into directboot's own guest memory, new and over garbage, whose RAM is exactly what upstream's
 * memory has; nothing if {@link fitsGuestMemory} says that it can't be.
 */
export function repeatInGuestMemory(run: Run, expected: Expectation): Deviation[] {
  if (!fitsGuestMemory(expected) || expected.memory === undefined) return [];
  // Guest memory without RAM can't be made: registers alone get a page, which is not looked at.
  const banks = expected.memory.length > 0 ? expected.memory : [{ pageBase: 0n, pageCount: 1 }];
  return [createGuest, attachGuest].flatMap((make) => {
    let name = make.name;
    try {
      const guest = make(banks);
      name = guest.name;
      return loadInto(guest, run, expected).map(({ where, ...rest }) => ({
        where: `${name}: ${where}`,
        ...rest,
      }));
    } catch (cause) {
      return [{ where: name, expected: "a load as before", got: describeThrown(cause) }];
    }
  });
}
