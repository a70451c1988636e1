/** Only DirectBootError, or TypeError for what is of a wrong type, leaves a public function, whatever it is given. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import * as v86 from "../../src/hosts/v86.js";
import * as directboot from "../../src/index.js";
import { DirectBootError } from "../../src/index.js";
import * as loader from "../../src/loader.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { makeDeviceTree, memoryTree } from "../support/device-tree-maker.js";
import { makeImage, makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";

const MIB = 1 << 20;

function detached<T extends ArrayBufferView | ArrayBuffer>(value: T): T {
  const buffer = value instanceof ArrayBuffer ? value : value.buffer;
  assert.ok(buffer instanceof ArrayBuffer);
  structuredClone(buffer, { transfer: [buffer] });
  return value;
}

/** Values that no caller with types would give, or only by mistake. Each is made anew. */
const HOSTILE: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => true,
  () => 0,
  () => -0,
  () => -1,
  () => 1.5,
  () => Number.NaN,
  () => Number.POSITIVE_INFINITY,
  () => Number.NEGATIVE_INFINITY,
  () => 2 ** 53,
  () => 2 ** 53 - 1,
  () => -(2 ** 53),
  () => 2 ** 64,
  () => 1e308,
  () => 4096,
  () => 2 ** 32,
  () => 1n,
  () => -1n,
  () => 2n ** 53n,
  () => 2n ** 64n - 1n,
  () => 2n ** 64n,
  () => 2n ** 200n,
  () => -(2n ** 64n),
  () => "",
  () => "x",
  () => "12",
  () => "\0",
  () => "\ud800",
  () => "__proto__",
  () => Symbol("x"),
  () => () => 1,
  () => async () => 1,
  () => [],
  () => [undefined],
  () => [[]],
  () => [{}],
  () => [-1n, Number.NaN],
  () => ({}),
  () => ({ length: 2 ** 40 }),
  () => ({ byteLength: 5, read: 5 }),
  () => ({ byteLength: Number.NaN, read: async () => {} }),
  () => ({ byteLength: 2 ** 53 - 1, read: async () => {} }),
  () => ({ name: Symbol("x"), byteLength: 100, read: async () => {}, readSync: () => {} }),
  () => ({ byteLength: 100, read: () => 5, readSync: () => 5 }),
  () => ({ start: -1n, end: 5 }),
  () => ({ start: 5n, end: 2n ** 70n, type: Number.NaN }),
  () => ({ buffer: {}, banks: 5 }),
  () => ({ buffer: new ArrayBuffer(4096), banks: [{ guestPhysicalAddress: Number.NaN }] }),
  () => ({ steps: [{}], sources: [] }),
  () => ({ steps: 5, sources: 5 }),
  () => Object.create(null),
  () => new Date(Number.NaN),
  () => /x/,
  () => new Map(),
  () => new Error("x"),
  () => new Uint8Array(0),
  () => noise(3),
  () => noise(5000),
  () => new Uint8Array(new SharedArrayBuffer(64)),
  () => detached(new Uint8Array(64)),
  () => detached(new ArrayBuffer(64)),
  () => new ArrayBuffer(0),
  () => new ArrayBuffer(5),
  () => new ArrayBuffer(8192),
  () => new SharedArrayBuffer(8192),
  () => new Float64Array(8),
  () => new DataView(new ArrayBuffer(8)),
  () => new WebAssembly.Memory({ initial: 0 }),
  () => new WebAssembly.Memory({ initial: 1 }),
  () => new Blob(["abc"]),
  () => new Response("abc"),
  () => new Response(null),
  () => makeStream(noise(100)).stream,
  () => AbortSignal.abort(),
  () => new directboot.MemoryLayout(MIB),
  () => directboot.MemoryRange.EMPTY,
  () => directboot.GuestMemory.create(MIB),
  () => new directboot.RecordingImporter(),
  () => new directboot.BytesSource(noise(100)),
];

/** The same in every run. */
function random(seed: number): (limit: number) => number {
  let state = seed | 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const leaks = new Map<string, string>();

/** The engine's own words, which tell of our code and not of the caller's mistake. */
const ENGINE =
  /Cannot (read|mix|convert|destructure|set|assign|access|perform|create)|is not (a function|iterable|a constructor|defined|callable|extensible)|private member|incompatible receiver|Illegal (constructor|invocation)|^undefined|undefined,|\+ undefined/;

/** What only directboot calls: methods of public classes, reads of a source, the constructor of errors. */
const INTERNAL =
  /^(\w+\.(checkClaim|pageAt|begin|importIdentityMap|writeIdentityMap|buildIn|read|readSync)|DirectBootError(\.prepareStackTrace)?|LinuxGuest|LinuxPlan|LoadedLinux)\(/;

function judge(what: string, cause: unknown): void {
  if (cause instanceof DirectBootError) return;
  if (cause instanceof TypeError && (!ENGINE.test(cause.message) || INTERNAL.test(what))) return;
  const said = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
  // One of each kind will do.
  const kind = `${what.replace(/( = |\().*/s, "")} ${said.slice(0, 30)}`;
  if (!leaks.has(kind)) leaks.set(kind, `${what}: ${said}`);
}

/** Calls, and waits for what is promised; notes what leaks, and what takes long. */
async function attempt(what: string, act: () => unknown): Promise<void> {
  const start = performance.now();
  let result: unknown;
  try {
    result = act();
    if (result instanceof Promise) result = await result;
    // Generators are driven by whoever has them: decoders.
    if (
      typeof result === "object" &&
      result !== null &&
      "next" in result &&
      typeof result.next === "function"
    ) {
      for (let i = 0; i < 100; i++) {
        const step: unknown = result.next();
        if (typeof step === "object" && step !== null && "done" in step && step.done === true) break;
      }
    }
  } catch (cause) {
    judge(what, cause);
  }
  if (performance.now() - start > 10_000) leaks.set(what, `${what}: ${performance.now() - start} ms`);
}

function checkNothingLeaked(): void {
  const found = [...leaks.values()];
  leaks.clear();
  assert.deepEqual(found, []);
}

type Callable = (...args: readonly unknown[]) => unknown;

function isCallable(value: unknown): value is Callable {
  return typeof value === "function";
}

function isClass(value: Callable): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value));
}

function label(value: unknown): string {
  if (typeof value === "symbol" || typeof value === "bigint" || typeof value === "number")
    return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null
    ? (value.constructor?.name ?? "null-object")
    : typeof value;
}

/** Methods, static ones and accessors of an object, up to Object.prototype. */
function members(value: object): string[] {
  const names = new Set<string>();
  for (
    let at: object | null = value;
    at !== null && at !== Object.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    if (at === Function.prototype) break;
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  for (const name of ["constructor", "prototype", "length", "name", "arguments", "caller"])
    names.delete(name);
  return [...names];
}

/** Calls all methods of an object with hostile arguments; accessors and fields are read. */
async function tryMembers(what: string, make: () => object, rounds: number, seed: number): Promise<void> {
  const next = random(seed);
  for (const name of members(make())) {
    for (let round = 0; round < rounds; round++) {
      const value = make();
      let member: unknown;
      await attempt(`${what}.${name}`, () => {
        member = Reflect.get(value, name);
      });
      if (!isCallable(member) || isClass(member)) break;
      const args = Array.from({ length: next(6) }, () => HOSTILE[next(HOSTILE.length)]?.());
      const method = member;
      await attempt(`${what}.${name}(${args.map(label).join(", ")})`, () => method.apply(value, [...args]));
    }
  }
}

const MODULES = { directboot, loader, decoders, v86 };

describe("hostile arguments to every export", () => {
  for (const [moduleName, module] of Object.entries(MODULES)) {
    it(`of ${moduleName}: one for all, and mixed`, async () => {
      const next = random(7);
      for (const [name, value] of Object.entries(module)) {
        const exported: unknown = value;
        if (!isCallable(exported)) {
          if (
            typeof exported === "object" &&
            exported !== null &&
            name !== "hotPaths" &&
            name !== "decoders"
          ) {
            await tryMembers(name, () => exported, 5, 3);
          }
          continue;
        }
        const call = (args: readonly unknown[]): unknown =>
          isClass(exported) ? Reflect.construct(exported, [...args]) : exported(...args);
        const tried = async (args: readonly unknown[]): Promise<void> =>
          attempt(`${name}(${args.map(label).join(", ")})`, () => call(args));
        for (const make of HOSTILE)
          for (const count of [1, 2, 4]) await tried(Array.from({ length: count }, make));
        for (let round = 0; round < 60; round++) {
          await tried(Array.from({ length: next(6) }, () => HOSTILE[next(HOSTILE.length)]?.()));
        }
        if (isClass(exported)) await tryMembers(name, () => exported, 25, 5);
      }
      checkNothingLeaked();
    });
  }

  it("of methods of what they make", async () => {
    const layout = new directboot.MemoryLayout(2 * MIB);
    const plan = directboot.planLinuxSync({ kernel: makeVmlinux(50_000), memory: 24 * MIB });
    const guest = directboot.loadLinuxSync({ kernel: makeVmlinux(50_000), memory: 24 * MIB });
    const instances: Readonly<Record<string, () => object>> = {
      layout: () => layout,
      range: () => new directboot.MemoryRange(0, 8192),
      memory: () => directboot.GuestMemory.create(layout),
      attached: () => directboot.GuestMemory.attach(new ArrayBuffer(2 * MIB)),
      shared: () => directboot.GuestMemory.create(layout, { shared: true }),
      detached: () => {
        const buffer = new ArrayBuffer(2 * MIB);
        const memory = directboot.GuestMemory.attach(buffer);
        structuredClone(buffer, { transfer: [buffer] });
        return memory;
      },
      sparse: () => directboot.GuestMemory.create(5n << 30n),
      importer: () => new directboot.GuestMemoryImporter(directboot.GuestMemory.create(layout)),
      recording: () => new directboot.RecordingImporter(),
      chunkBuf: () => new loader.ChunkBuf(),
      bytes: () => new directboot.BytesSource(noise(100)),
      blob: () => new directboot.BlobSource(new Blob([noise(100)])),
      file: () => new directboot.FileSource("package.json"),
      concat: () => directboot.concatSources([new directboot.BytesSource(noise(10))]),
      plan: () => plan,
      guest: () => guest,
      pageTables: () =>
        new loader.PageTableBuilder({ pageTableGpa: 4096, ranges: [{ start: 0n, end: 1n << 30n }] }),
      hotPaths: () => ({ ...directboot.hotPaths }),
      decoders: () => ({ implementation: decoders.decoders.implementation }),
    };
    for (const [name, make] of Object.entries(instances)) await tryMembers(name, make, 40, 11);
    checkNothingLeaked();
  });
});

/** Valid calls, each argument and option of which is made hostile in turn. */
const vmlinux = makeVmlinux(50_000);
const [method] = ONE_OF_EACH;
assert.ok(method !== undefined);
const bzImage = packBzImage(method, vmlinux);
const image = makeImage(50_000, 60_000);
const tree = makeDeviceTree();
const recipes: Readonly<Record<string, readonly [Callable | undefined, () => readonly unknown[]]>> = (() => {
  const all: Readonly<Record<string, unknown>> = { ...directboot, ...loader, ...decoders };
  const recipe = (
    name: string,
    ...args: readonly unknown[]
  ): [string, readonly [Callable | undefined, () => readonly unknown[]]] => {
    const found = all[name];
    return [`${name} ${args.map(label).join()}`, [isCallable(found) ? found : undefined, () => args]];
  };
  const x86 = (kernel: Uint8Array): object => ({
    kernel,
    initrd: [noise(100), noise(20)],
    commandLine: "quiet",
    memory: 32 * MIB,
    acpi: { rsdp: noise(36), tables: noise(100) },
    addresses: { gdt: 0x1000, zeroPage: 0x7000, commandLine: 0x8000n, initrd: 0x180_0000 },
    reservations: [{ start: 0x9_f000n, end: 0xa_0000n, type: 2 }],
    rngSeed: noise(32),
    mtrrs: "variable",
    physicalAddressWidth: 40,
    entry: "64",
    crc32: true,
    spoolLimit: MIB,
    maxDecompressedSize: 16 * MIB,
    decompress: "host",
    decompressInto: "memory",
    decompressInitrd: false,
    onProgress: () => {},
    deviceTree: tree,
  });
  const arm64 = {
    kernel: image,
    memory: 32 * MIB,
    arm64: { pageSizes: ["4KiB"], lowPlacement: true },
    deviceTree: memoryTree(32 * MIB),
    importer: undefined,
  };
  const banks = {
    buffer: new ArrayBuffer(32 * MIB),
    banks: [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: 32 * MIB }],
  };
  const entries = [
    ...["loadLinux", "loadLinuxSync", "planLinux", "planLinuxSync"].flatMap((name) => [
      recipe(name, x86(vmlinux)),
      recipe(name, { ...x86(bzImage), decoders }),
      recipe(name, arm64),
      recipe(name, { kernel: vmlinux, memory: banks }),
      recipe(name, { kernel: vmlinux, memory: 32 * MIB, importer: new directboot.RecordingImporter() }),
    ]),
    ...["extractKernel", "extractKernelSync", "detectKernel", "detectKernelSync"].map((name) =>
      recipe(name, bzImage, { maxDecompressedSize: 16 * MIB, decoders, onProgress: () => {} }),
    ),
    recipe("loadStaticElf", new directboot.RecordingImporter(), {
      image: vmlinux,
      startAddress: 0n,
      loadOffset: 0,
      assumePic: true,
      acceptance: "Exclusive",
      tag: "x",
      architecture: "x86_64",
    }),
    recipe("loadKernelAndInitrdX64", new directboot.RecordingImporter(), {
      kernel: vmlinux,
      kernelMinimumStartAddress: 0x10_0000,
      initrd: { initrd: noise(10), initrdAddress: "AfterKernel" },
    }),
    recipe("loadX86", new directboot.RecordingImporter(), {
      kernel: vmlinux,
      kernelMinimumStartAddress: 0x10_0000,
      initrd: { initrd: noise(10), initrdAddress: 0x180_0000 },
      commandLine: { address: 0x3000, commandLine: "quiet" },
      zeroPage: {
        address: 0x2000,
        memoryLayout: new directboot.MemoryLayout(32 * MIB),
        acpiBaseAddress: 0xe_0000,
        acpiLength: 0x2000,
      },
      acpi: { rdspAddress: 0xe_0000, rdsp: noise(36), tablesAddress: 0xe_1000, tables: noise(100) },
      registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
    }),
    recipe("loadKernelAndInitrdArm64", new directboot.RecordingImporter(), {
      kernel: image,
      kernelMinimumStartAddress: 0x4000_0000,
      initrd: { initrd: noise(10), initrdAddress: "AfterKernel" },
      deviceTree: tree,
    }),
    recipe("buildZeroPage", {
      memoryLayout: new directboot.MemoryLayout(32 * MIB),
      acpiBase: 0xe_0000,
      acpiLength: 4096,
      commandLine: { address: 0x3000, commandLine: "x" },
      initrdBase: 0,
      initrdSize: 0,
    }),
    recipe(
      "computeVariableMtrrs",
      new directboot.MemoryLayout(32 * MIB),
      40,
      directboot.MemoryRange.EMPTY,
      directboot.MemoryRange.EMPTY,
    ),
    recipe("mtrrMask", 40, 0xffffn),
    recipe("buildPageTables64", {
      pageTableGpa: 4096,
      addressBias: 0,
      size: "4GiB",
      pml4eLink: { linkTargetGpa: 4096, linkageGpa: 1n << 39n },
      confidentialBit: 51,
    }),
    recipe("PageTableBuilder", {
      pageTableGpa: 4096,
      ranges: [{ start: 0n, end: 1n << 30n }],
      largestPage: "2MiB",
    }),
    recipe("setChosen", tree, { bootargs: "x", initrdStart: 1n, initrdEnd: 5n }),
    recipe(
      "applyPlanSync",
      {
        steps: [
          {
            kind: "pages",
            pageBase: 1n,
            pageCount: 1,
            tag: "a",
            acceptance: "Exclusive",
            data: { kind: "bytes", bytes: noise(5) },
          },
          {
            kind: "pages",
            pageBase: 2n,
            pageCount: 1,
            tag: "b",
            acceptance: "Exclusive",
            data: { kind: "source", source: 0, offset: 0, length: 5, leadingBytes: 3, chunked: false },
          },
          {
            kind: "pages",
            pageBase: 8n,
            pageCount: 6,
            tag: "c",
            acceptance: "Exclusive",
            data: {
              kind: "identity-map",
              map: {
                tableAddress: 0x8000,
                addressBias: 0,
                gibibytes: 4,
                encryption: 0,
                linkIndex: -1,
                linkTarget: 0,
              },
            },
          },
          { kind: "register", register: { name: "rip", value: 5n } },
        ],
        sources: [new directboot.BytesSource(noise(10))],
      },
      directboot.GuestMemory.create(MIB),
      { onProgress: () => {} },
    ),
    recipe("decompress", "gzip", compress(method, noise(1000)), {
      maxDecompressedSize: 5000,
      expectedBytes: 1000,
      allowTrailing: true,
    }),
    recipe(
      "decompressInto",
      "gzip",
      compress(method, noise(1000)),
      { memory: new WebAssembly.Memory({ initial: 20 }), offset: 0, byteLength: 5000, scratchOffset: 65536 },
      { maxDecompressedSize: 5000 },
    ),
    recipe("crc32", noise(10), 5),
    recipe("concatSources", [new directboot.BytesSource(noise(10))], 4, "x"),
  ];
  return Object.fromEntries(entries);
})();

/** Every place in a value that holds another, down to a depth: how to make a copy with something else there. */
function* places(
  value: unknown,
  depth: number,
): Generator<{ path: string; swap: (other: unknown) => unknown }> {
  const isPlain =
    typeof value === "object" &&
    value !== null &&
    (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype);
  if (!isPlain || depth === 0) return;
  for (const [key, inner] of Object.entries(value)) {
    const swap = (other: unknown): unknown =>
      Array.isArray(value)
        ? value.map((each, index) => (String(index) === key ? other : each))
        : { ...value, [key]: other };
    yield { path: key, swap };
    for (const { path, swap: swapInner } of places(inner, depth - 1)) {
      yield { path: `${key}.${path}`, swap: (other) => swap(swapInner(other)) };
    }
  }
}

describe("a call that would be right, but for one argument or option", () => {
  for (const [name, [call, make]] of Object.entries(recipes)) {
    it(name, async () => {
      assert.ok(call !== undefined, name);
      // Loads take all values in turn, one in five at each place.
      const every = name.startsWith("load") || name.startsWith("plan") || name.startsWith("extract") ? 5 : 1;
      let turn = 0;
      for (const { path, swap } of places(make(), 5)) {
        turn++;
        for (const [index, hostile] of HOSTILE.entries()) {
          if ((index + turn) % every !== 0) continue;
          const value = hostile();
          const args = swap(value);
          assert.ok(Array.isArray(args));
          await attempt(`${name}: ${path} = ${label(value)}`, () =>
            isClass(call) ? Reflect.construct(call, args) : call(...args),
          );
        }
      }
      checkNothingLeaked();
    });
  }
});

/** Calls whose arguments are right, with the index of their options, and the options' own options by name. */
const OPTION_BAGS: Readonly<Record<string, readonly [index: number, nested?: readonly string[]]>> = {
  loadLinux: [0, ["acpi", "addresses", "arm64"]],
  loadLinuxSync: [0, ["acpi", "addresses", "arm64"]],
  planLinux: [0, ["acpi", "addresses", "arm64"]],
  planLinuxSync: [0, ["acpi", "addresses", "arm64"]],
  loadStaticElf: [1],
  loadKernelAndInitrdX64: [1, ["initrd"]],
  loadKernelAndInitrdArm64: [1, ["initrd"]],
  loadX86: [1, ["initrd", "commandLine", "zeroPage", "acpi", "registers"]],
  buildZeroPage: [0],
  buildPageTables64: [0],
  PageTableBuilder: [0],
  setChosen: [1],
  decompress: [2],
  decompressInto: [3],
};

/** A name with its third letter left out. */
const misspelt = (name: string): string => `${name.slice(0, 2)}${name.slice(3)}`;

/** An object in which a field has another name. */
function renamed(bag: object, name: string): object {
  const { [name]: value, ...rest } = { ...bag } as Record<string, unknown>;
  return { ...rest, [misspelt(name)]: value };
}

describe("an option with a letter too few is refused, and the error has the name that is meant", () => {
  for (const [recipe, [call, make]] of Object.entries(recipes)) {
    const [name = ""] = recipe.split(" ");
    const [index, nested = []] = OPTION_BAGS[name] ?? [];
    if (index === undefined) continue;
    it(recipe, async () => {
      assert.ok(call !== undefined);
      const args = make();
      const bag = args[index];
      assert.ok(typeof bag === "object" && bag !== null);
      const wrong: [meant: string, bag: object][] = Object.keys(bag).map((each) => [
        each,
        renamed(bag, each),
      ]);
      for (const outer of nested) {
        const inner: unknown = Reflect.get(bag, outer);
        if (typeof inner !== "object" || inner === null) continue;
        for (const each of Object.keys(inner)) {
          wrong.push([`${outer}.${each}`, { ...bag, [outer]: renamed(inner, each) }]);
        }
      }
      for (const [meant, options] of wrong) {
        const given = args.with(index, options);
        const act = async (): Promise<unknown> =>
          isClass(call) ? Reflect.construct(call, given) : call(...given);
        await assert.rejects(act, (cause: unknown) => {
          assert.ok(cause instanceof TypeError, `${meant}: ${cause}`);
          assert.ok(cause.message.includes(meant), `${meant}: ${cause.message}`);
          return true;
        });
      }
    });
  }

  it("covers every function that takes options", () => {
    const covered = new Set(Object.keys(recipes).map((recipe) => recipe.split(" ")[0]));
    assert.deepEqual(
      Object.keys(OPTION_BAGS).filter((name) => !covered.has(name)),
      [],
    );
  });
});
