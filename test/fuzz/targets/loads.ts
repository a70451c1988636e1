/** Whole loads: mutated kernels, initrds, trees and options, into memory that is looked at afterwards. */
import fc from "fast-check";
import * as decoders from "../../../src/decoders/index.js";
import { detectKernel, detectKernelSync } from "../../../src/linux/detect-kernel.js";
import { extractKernel, extractKernelSync } from "../../../src/linux/extract-kernel.js";
import { loadLinux } from "../../../src/linux/load-linux.js";
import { loadLinuxSync, planLinuxSync } from "../../../src/linux/load-linux-sync.js";
import { hotPaths } from "../../../src/wasm/hot-paths.js";
import { makeElf } from "../../support/elf-maker.js";
import { noise } from "../../support/sources.js";
import { arm64Kernels, deviceTreeSeeds, initrds, strangers, x86Kernels } from "../files.js";
import { expect, type Target, target } from "../fuzzer.js";
import { edge, type Mutant, mutants, type Seed, whole } from "../mutants.js";
import { compare, open, type Way, way } from "../openings.js";
import { describe, isEqual, type Observed, observe, observeAsync, show } from "../outcome.js";

const MIB = 1 << 20;
const CANARY = 0xa5;

/** Optional keys, each absent half of the time. */
function options(model: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(model, { requiredKeys: [], noNullPrototype: true });
}

/** For the most part a good value: an option that is always wrong would hide the others. */
function mostly(good: unknown, ...bad: readonly fc.Arbitrary<unknown>[]): fc.Arbitrary<unknown> {
  return fc.oneof(
    {
      weight: 12,
      arbitrary: good === undefined ? fc.constant(undefined) : fc.constantFrom(...(good as unknown[])),
    },
    ...bad.map((arbitrary) => ({ weight: 1, arbitrary })),
  );
}

const address = fc.oneof(
  fc.nat(1023).map((page) => BigInt(page) * 4096n),
  edge,
  fc.constantFrom(0x1234, -1n),
);
const ADDRESSES = [
  "kernel",
  "gdt",
  "zeroPage",
  "commandLine",
  "pageTables",
  "setupData",
  "rsdp",
  "acpiTables",
  "initrd",
];
const reservation = fc
  .tuple(fc.nat(4 * MIB), fc.constantFrom(0n, 1n, 0x1000n, 0x10_0000n), fc.constantFrom(2, 2, 3, 4, 1, 0))
  .map(([start, length, type]) => ({ start: BigInt(start), end: BigInt(start) + length, type }));

const common = {
  commandLine: mostly(["console=ttyS0", ""], fc.constantFrom("y".repeat(5000), "a\0b", 7)),
  maxDecompressedSize: mostly([MIB], fc.constantFrom(100, 1n << 64n, -1)),
  decompressInitrd: fc.boolean(),
  spoolLimit: mostly([64 * MIB], fc.constantFrom(1000, 0)),
};
const x86Options = options({
  ...common,
  entry: mostly(["64", "32", "pvh"], fc.constant("65")),
  mtrrs: mostly(["variable", "fixed-only", "none"]),
  physicalAddressWidth: mostly([36, 52], fc.constantFrom(0, 99)),
  rngSeed: fc.uint8Array({ maxLength: 40 }),
  decompress: mostly(["host", "guest"], fc.constant("nobody")),
  reservations: fc.oneof(fc.constant([]), fc.array(reservation, { maxLength: 150 })),
  addresses: mostly(
    [{}],
    fc.dictionary(fc.constantFrom(...ADDRESSES), address, { maxKeys: 2, noNullPrototype: true }),
  ),
  acpi: mostly(
    [undefined],
    fc
      .tuple(fc.constantFrom(0, 36, 4096, 4097), fc.constantFrom(0, 100, 9000))
      .map(([rsdp, tables]) => ({ rsdp: noise(rsdp), tables: noise(tables) })),
  ),
});
const arm64Options = options({
  ...common,
  arm64: mostly(
    [{}],
    fc.constantFrom({ pageSizes: ["4KiB"] }, { pageSizes: ["8KiB"] }, { lowPlacement: true }),
  ),
  addresses: mostly(
    [{}],
    address.map((initrd) => ({ initrd })),
  ),
  entry: mostly([undefined], fc.constant("64")),
});

interface Load {
  readonly kernel: Mutant;
  readonly initrds: readonly Mutant[];
  readonly tree: Mutant | undefined;
  readonly options: Record<string, unknown>;
  readonly by: Way;
}

/** Failures that only reading the data shows. */
const MIDWAY = /^(DECOMPRESS_|SOURCE_|REGION_READ|ARM64_BAD_IMAGE_SIZE)/;

/** Memory is as it was; or, where reading failed, each page is as it was or zero. */
function checkFailed(bytes: Uint8Array, fresh: Uint8Array, observed: Observed): void {
  if (observed.code === "ok" || isEqual(bytes, fresh)) return;
  expect(MIDWAY.test(observed.code), `a load that was refused changed guest memory: ${show(observed)}`);
  for (let at = 0; at < bytes.byteLength; at += 4096) {
    const page = bytes.subarray(at, at + 4096);
    const [first] = page;
    const isClean = (first === 0 || first === CANARY) && page.every((byte) => byte === first);
    expect(isClean, `page ${at / 4096} holds data of a failed load`);
  }
}

const holdsGzip = (bytes: Uint8Array): boolean => Buffer.from(bytes).includes("\x1f\x8b\x08", 0, "latin1");

/** The platform's gzip, which asynchronous functions use, finds other damage than the decoder. */
function isGzipMatter(bytes: readonly Uint8Array[], a: Observed, b: Observed): boolean {
  if (!bytes.some(holdsGzip)) return false;
  return (a.code !== "ok" && b.code !== "ok") || /DECOMPRESS/.test(`${a.code} ${b.code}`);
}

/** The result without what depends on how the bytes came. */
function told(guest: unknown): string {
  const { decompression: _, regions, ...rest } = JSON.parse(JSON.stringify(guest));
  const same = (regions as { tag: string }[]).map((region) => ({ ...region, dataLength: "" }));
  return describe({ ...rest, regions: same });
}

interface Machine {
  readonly name: string;
  readonly runs: number;
  readonly start: number;
  readonly byteLength: number;
  readonly kernels: readonly Seed[];
  readonly options: fc.Arbitrary<Record<string, unknown>>;
  readonly trees: readonly Seed[];
}

function load({ name, runs, start, byteLength, kernels, options, trees }: Machine): Target {
  const fresh = new Uint8Array(byteLength).fill(CANARY);
  const [first, second] = [fresh.slice(), fresh.slice()];
  const isArm64 = start !== 0;
  const tree = fc.oneof(
    { weight: isArm64 ? 3 : 8, arbitrary: fc.constant(isArm64 ? whole(trees)[0] : undefined) },
    { weight: 1, arbitrary: mutants(trees) },
  );
  return target<Load>({
    name,
    runs,
    input: fc.record(
      {
        kernel: mutants(kernels),
        initrds: fc.array(mutants(initrds()), { maxLength: 2 }),
        tree,
        options,
        by: way,
      },
      { noNullPrototype: true },
    ),
    examples: whole(kernels).map((kernel) => ({
      ...{ kernel, initrds: [], tree: isArm64 ? whole(trees)[0] : undefined },
      ...{ options: { commandLine: "quiet" }, by: { opening: "stream", chunk: 4096 } as const },
    })),
    run: async ({ kernel, initrds, tree, options, by }) => {
      const given = (bytes: Uint8Array, opened: (each: Uint8Array) => unknown) =>
        ({
          ...options,
          ...(tree === undefined ? {} : { deviceTree: opened(tree.bytes) }),
          kernel: opened(kernel.bytes),
          initrd: initrds.map((each) => opened(each.bytes)),
          decoders,
          memory: {
            buffer: bytes.buffer,
            banks: [{ guestPhysicalAddress: start, byteOffset: 0, byteLength }],
          },
        }) as Parameters<typeof loadLinuxSync>[0];
      for (const bytes of [first, second]) if (!isEqual(bytes, fresh)) bytes.set(fresh);
      const plain = given(first, (bytes) => bytes);
      const before = kernel.bytes.slice();
      const planned = observe(() => JSON.stringify(planLinuxSync(plain)));
      expect(isEqual(first, fresh), "planning changed guest memory");
      const loaded = observe(() => loadLinuxSync(plain));
      checkFailed(first, fresh, loaded);
      expect(
        planned.code === "ok" || loaded.code === planned.code,
        `planned ${planned.code}, loaded ${loaded.code}`,
      );
      expect(isEqual(before, kernel.bytes), "the kernel's bytes were modified");
      // The other hot paths, and another way for bytes to come.
      const { implementation } = hotPaths;
      hotPaths.use(implementation === "wasm" ? "javascript" : "wasm");
      let awaited: Observed;
      try {
        awaited = await observeAsync(() => loadLinux(given(second, (bytes) => open(bytes, by))));
      } finally {
        hotPaths.use(implementation);
      }
      checkFailed(second, fresh, awaited);
      if (loaded.code === "ok" && awaited.code === "ok") {
        expect(isEqual(first, second), `sync and ${by.opening}, or WASM and twins, make other memory`);
        expect(told(loaded.value) === told(awaited.value), `sync and ${by.opening} tell of other guests`);
      } else if (!isGzipMatter([kernel.bytes, ...initrds.map(({ bytes }) => bytes)], loaded, awaited)) {
        const isSpooled = "spoolLimit" in options || awaited.code === "SOURCE_SPOOL_LIMIT";
        if (!isSpooled) compare({ ...loaded, detail: "" }, { ...awaited, detail: "" }, by);
      }
      return loaded.code;
    },
  });
}

function kernelFile(): Target {
  const seeds = [...x86Kernels(), ...arm64Kernels(), ...strangers()];
  return target<{ file: Mutant; by: Way; maxDecompressedSize: number }>({
    name: "kernel-file",
    runs: 150,
    // A look into a payload reserves address space for 512 MiB, of which little is touched.
    mostBytes: 8 * (600 << 20),
    input: fc.record(
      { file: mutants(seeds), by: way, maxDecompressedSize: fc.constantFrom(MIB, 9000, 100) },
      { noNullPrototype: true },
    ),
    examples: whole(seeds).map((file) => ({
      ...{ file, by: { opening: "open", chunk: 4096 } as const, maxDecompressedSize: MIB },
    })),
    run: async ({ file: { bytes }, by, maxDecompressedSize }) => {
      const detected = observe(() => detectKernelSync(bytes, { decoders }));
      const awaited = await observeAsync(() => detectKernel(open(bytes, by)));
      const taken = observe(() => extractKernelSync(bytes, { decoders, maxDecompressedSize }));
      const streamed = await observeAsync(() => extractKernel(open(bytes, by), { maxDecompressedSize }));
      for (const [a, b] of [
        [detected, awaited],
        [taken, streamed],
      ] as const) {
        if (a.code === "ok" || b.code === "ok" || !/DECOMPRESS/.test(a.code)) {
          if (!isGzipMatter([bytes], a, b)) compare(a, b, by);
        }
      }
      return taken.code;
    },
  });
}

interface Segment {
  readonly gap: number;
  readonly memsz: number;
  readonly filesz: number;
  readonly offset: number;
}

/** ELF files whose segments share pages, in any order, beside a plain copy. */
function segments(): Target {
  const FILE_BYTES = 9000;
  const size = fc.oneof(fc.nat(20), fc.nat(9000));
  const segment = fc
    .record(
      { gap: fc.constantFrom(0, 0, 1, 100, 5000), memsz: size, filesz: size, offset: fc.nat(FILE_BYTES) },
      { noNullPrototype: true },
    )
    .map(({ filesz, offset, ...each }) => ({
      ...each,
      offset,
      filesz: Math.min(filesz, each.memsz, FILE_BYTES - offset),
    }));
  const file = noise(FILE_BYTES, 3).map((byte) => byte | 1);
  const list = fc
    .array(segment, { minLength: 1, maxLength: 6 })
    .chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray([...all.keys()], { minLength: all.length })),
    );
  const BASE = 0x10_0000;
  return target<[readonly Segment[], readonly number[]]>({
    name: "segments",
    runs: 300,
    input: list,
    run: ([all, order]) => {
      const wanted = new Uint8Array(2 * MIB).fill(CANARY);
      let at = BASE;
      const placed = all.map(({ gap, memsz, filesz, offset }) => {
        const start = at + gap;
        at = start + memsz;
        return { start, memsz, filesz, offset };
      });
      for (const { start, memsz } of placed) {
        if (memsz > 0) wanted.fill(0, start & ~4095, Math.ceil((start + memsz) / 4096) * 4096);
      }
      for (const { start, filesz, offset } of placed)
        wanted.set(file.subarray(offset, offset + filesz), start);
      // The program headers lie behind the file's data.
      const kernel = makeElf({
        entry: BigInt(BASE),
        phoff: BigInt(FILE_BYTES),
        byteLength: FILE_BYTES + 56 * all.length,
        segments: [],
      });
      kernel.set(file.subarray(64), 64);
      file.set(kernel.subarray(0, 64), 0);
      const headers = makeElf({
        segments: order.flatMap((index) => {
          const each = placed[index];
          if (each === undefined) return [];
          const paddr = BigInt(each.start);
          return {
            offset: BigInt(each.offset),
            paddr,
            vaddr: paddr,
            filesz: BigInt(each.filesz),
            memsz: BigInt(each.memsz),
          };
        }),
      });
      kernel.set(headers.subarray(64, 64 + 56 * all.length), FILE_BYTES);
      new DataView(kernel.buffer).setUint16(56, all.length, true);
      for (const { start, filesz, offset } of placed)
        wanted.set(kernel.subarray(offset, offset + filesz), start);
      const bytes = new Uint8Array(2 * MIB).fill(CANARY);
      const banks = [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: bytes.byteLength }];
      const loaded = observe(() => loadLinuxSync({ kernel, memory: { buffer: bytes.buffer, banks } }));
      if (loaded.code === "ok") {
        expect(isEqual(bytes.subarray(BASE), wanted.subarray(BASE)), "segments have other bytes in memory");
      }
      return loaded.code;
    },
  });
}

export const LOADS = {
  "kernel-file": kernelFile,
  segments,
  "load-x86": () =>
    load({
      ...{ name: "load-x86", runs: 110, start: 0, byteLength: 4 * MIB },
      ...{ kernels: x86Kernels(), options: x86Options, trees: deviceTreeSeeds() },
    }),
  "load-arm64": () =>
    load({
      ...{ name: "load-arm64", runs: 60, start: 0x4000_0000, byteLength: 8 * MIB },
      ...{ kernels: arm64Kernels(), options: arm64Options, trees: deviceTreeSeeds() },
    }),
};
