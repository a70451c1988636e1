/** Whole loads: mutated kernels, initrds, trees and options, into memory that is looked at afterwards. */

import { regionViews } from "../../../src/linux/guest-export.js";
import type { LinuxPlan } from "../../../src/linux/linux-plan.js";
import type { LinuxGuest } from "../../../src/linux/loaded-linux.js";
import type { LinuxSyncOptions } from "../../../src/linux/options.js";
import { MemoryLayout } from "../../../src/memory/memory-layout.js";
import { hotPaths } from "../../../src/wasm/hot-paths.js";
import { makeElf } from "../../support/elf-maker.js";
import { makeImage } from "../../support/packed-kernels.js";
import { noise } from "../../support/sources.js";
import type { Driver } from "../drivers.js";
import { bytesOf, type FuzzInput, listOf, numbersOf, type Value } from "../input.js";
import { chunkLengths, edge, mutate, type Seed } from "../mutate.js";
import {
  describe,
  expect,
  Finding,
  type Observed,
  type Outcome,
  observe,
  observeAsync,
  show,
} from "../outcome.js";
import type { Random } from "../random.js";
import { cells, deviceTreeSeeds, elfFields, machineTree } from "../seed-files.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy } from "./shared.js";
import { kernelSeeds, packedFile } from "./wrappers.js";

const MIB = 1 << 20;
const PAGE_BYTES = 4096;
const CANARY = 0xa5;
const X86_BYTES = 4 * MIB;
const ARM64_BYTES = 8 * MIB;
const ARM64_START = 0x4000_0000;

/** Two guests over buffers, one for each way of loading, and what they are before. */
interface Guests {
  readonly first: Uint8Array<ArrayBuffer>;
  readonly second: Uint8Array<ArrayBuffer>;
  readonly fresh: Uint8Array;
}

const buffers = (byteLength: number): (() => Guests) =>
  lazy(() => ({
    first: new Uint8Array(byteLength).fill(CANARY),
    second: new Uint8Array(byteLength).fill(CANARY),
    fresh: new Uint8Array(byteLength).fill(CANARY),
  }));
const x86Guests = buffers(X86_BYTES);
const arm64Guests = buffers(ARM64_BYTES);

const ADDRESS_NAMES = [
  "kernel",
  "gdt",
  "zeroPage",
  "commandLine",
  "pageTables",
  "setupData",
  "rsdp",
  "acpiTables",
] as const;

function anAddress(random: Random): Value {
  return random.pick<Value>([
    0x1000n,
    0x2000n,
    0x20_0000n,
    0x10_0000n,
    BigInt(X86_BYTES) - 4096n,
    BigInt(random.below(1024)) * 4096n,
    edge(random, 8, [BigInt(X86_BYTES)]),
    0x20_0000,
    0x1234,
    -1n,
    1n << 64n,
  ]);
}

/** Options that are right for the most part. */
function x86Options(random: Random): Record<string, Value> {
  const options: Record<string, Value> = {};
  if (random.oneIn(2))
    options["commandLine"] = random.pick(["console=ttyS0", "", "x".repeat(300), "y".repeat(5000), "a\0b"]);
  if (random.oneIn(3)) options["entry"] = random.pick(["64", "32", "pvh", "pvh", "65"]);
  if (random.oneIn(5)) options["mtrrs"] = random.pick(["variable", "fixed-only", "none"]);
  if (random.oneIn(6)) options["physicalAddressWidth"] = random.pick([36, 52, 0, 99]);
  if (random.oneIn(4)) options["rngSeed"] = random.bytes(random.below(40));
  if (random.oneIn(4)) options["decompress"] = random.pick(["host", "guest", "nobody"]);
  if (random.oneIn(4)) {
    options["reservations"] = Array.from({ length: random.pick([1, 2, 3, 150]) }, (_, i) => {
      const start =
        random.pick([0n, 0x8_0000n, 0x9_f000n, 0x10_0000n, BigInt(random.below(X86_BYTES)), 0xfec0_0000n]) +
        BigInt(i) * 0x3000n;
      return {
        start,
        end: start + random.pick([0n, 1n, 0x1000n, 0x10_0000n, -1n]),
        type: random.pick([2, 2, 3, 4, 1, 0]),
      };
    });
  }
  if (random.oneIn(4)) {
    const addresses: Record<string, Value> = {};
    for (let i = random.below(3); i >= 0; i--) addresses[random.pick(ADDRESS_NAMES)] = anAddress(random);
    options["addresses"] = addresses;
  }
  if (random.oneIn(8)) {
    options["acpi"] = {
      rsdp: random.bytes(random.pick([36, 4096, 4097, 0])),
      tables: random.bytes(random.pick([100, 9000, 0])),
    };
  }
  return options;
}

function commonOptions(random: Random): Record<string, Value> {
  const options: Record<string, Value> = {};
  if (random.oneIn(5))
    options["addresses"] = { initrd: random.pick<Value>([anAddress(random), 0x4050_0000n, "Before"]) };
  if (random.oneIn(6))
    options["maxDecompressedSize"] = random.pick<Value>([100, 20_000, 1 << 20, 1n << 64n, -1]);
  if (random.oneIn(4)) options["decompressInto"] = random.pick(["memory", "buffer", "guest"]);
  if (random.oneIn(4)) options["decompressInitrd"] = true;
  if (random.oneIn(6)) options["spoolLimit"] = random.pick([64 << 20, 1000, 100, 0]);
  return options;
}

function makeInitrds(random: Random): Value {
  if (random.oneIn(3)) return undefined;
  const one = (): Uint8Array => random.bytes(random.pick([0, 1, 512, 5000]));
  return random.oneIn(3) ? [one(), one()] : [one()];
}

/** ELF files as they are: segments that share pages, overlap, or are empty. */
const elfKernels = lazy((): readonly Seed[] => {
  const at = 0x10_0000n;
  const segment = (offset: bigint, paddr: bigint, filesz: bigint, memsz: bigint) => ({
    offset,
    paddr,
    vaddr: paddr,
    filesz,
    memsz,
  });
  const shapes = [
    [segment(4096n, at, 4096n, 4096n)],
    [segment(4096n, at, 100n, 100n), segment(5000n, at + 200n, 300n, 9000n)],
    [segment(5000n, at + 200n, 300n, 9000n), segment(4096n, at, 100n, 100n)],
    [segment(4096n, at, 100n, 5000n), segment(5000n, at + 200n, 300n, 9000n)],
    [segment(0n, at, 0n, 8192n), segment(4096n, at + 8192n, 0n, 0n), segment(4097n, at + 8193n, 7n, 7n)],
    [
      segment(100n, at + 5n, 9n, 9n),
      segment(4096n, at + 20n, 4n, 9000n),
      segment(4200n, at + 9100n, 90n, 90n),
    ],
  ];
  return shapes.flatMap((segments) => {
    const bytes = makeElf({ entry: at, segments, fill: noise(8192, 3), byteLength: 8192 });
    return [{ name: "segments", bytes, fields: elfFields(bytes) }];
  });
});

const x86Seeds = lazy(() => [
  ...elfKernels(),
  ...elfKernels(),
  ...kernelSeeds().filter(({ name }) => !/image|zboot/.test(name) || /bzImage/.test(name)),
]);
const arm64SeedList = lazy(() =>
  kernelSeeds().filter(({ name }) => /^image|zboot|gzip|xz|zstd|lzma|lz4|lzo|bzip2/.test(name)),
);

/** Images that are unpacked in several steps, where they are to lie. */
const bigImages = lazy(() => {
  const image = makeImage(2_600_000, 2_700_000);
  const formats = ["zstd", "xz", "lz4-legacy", "gzip", "bzip2"] as const;
  return formats.map((format) => packedFile(format, image, `big ${format}`));
});

const trees = lazy((): readonly Seed[] => {
  const reg = cells(0, ARM64_START, 0, ARM64_BYTES);
  const right = machineTree([["memory@40000000", reg]], { addressCells: 2, sizeCells: 2 });
  const [first] = deviceTreeSeeds();
  const good = { name: "right", bytes: right, fields: first?.fields ?? [] };
  return [good, good, good, good, ...deviceTreeSeeds()];
});

function wrongTree(random: Random): Uint8Array {
  return random.oneIn(3) ? mutate(random, trees()).bytes : random.pick(trees()).bytes;
}

function driverOf(random: Random): Driver {
  return random.pick(["peek", "sync", "async", "stream", "open", "blob", "response"]);
}

export function loadX86Target(subject: Subject): Target {
  return {
    name: "load-x86",
    corpus: lazy(() =>
      [...x86Seeds(), ...kernelSeeds()].flatMap(({ name, bytes }) =>
        (/bzImage/.test(name) ? ["host", "guest", undefined] : [undefined]).map((decompress) => ({
          kernel: bytes,
          options: { commandLine: "console=ttyS0", ...(decompress === undefined ? {} : { decompress }) },
          driver: "blob",
          chunks: [4096],
        })),
      ),
    ),
    executions: 110,
    make: (random) => {
      const { bytes } = mutate(random, x86Seeds());
      return {
        kernel: random.oneIn(3) ? random.pick(x86Seeds()).bytes : bytes,
        initrds: makeInitrds(random),
        tree: random.oneIn(10) ? wrongTree(random) : undefined,
        options: { ...x86Options(random), ...commonOptions(random) },
        driver: driverOf(random),
        chunks: chunkLengths(random, bytes.byteLength),
      };
    },
    run: (input) => runLoad(subject, input, x86Guests(), 0),
  };
}

export function loadArm64Target(subject: Subject): Target {
  return {
    name: "load-arm64",
    corpus: lazy(() =>
      [...arm64SeedList(), ...bigImages()].map(({ bytes }) => ({
        kernel: bytes,
        tree: trees()[0]?.bytes,
        options: {},
        driver: "stream",
        chunks: [65536],
        isCreated: true,
      })),
    ),
    executions: 60,
    make: (random) => {
      const { bytes } = mutate(random, arm64SeedList());
      const options = commonOptions(random);
      if (random.oneIn(3))
        options["commandLine"] = random.pick(["console=ttyAMA0", "", "z".repeat(3000), "\0"]);
      if (random.oneIn(3)) {
        options["arm64"] = {
          pageSizes: random.pick<Value>([["4KiB"], ["4KiB", "16KiB", "64KiB", "unspecified"], [], ["8KiB"]]),
          lowPlacement: random.oneIn(2),
        };
      }
      if (random.oneIn(20)) options["entry"] = "64";
      return {
        kernel: random.oneIn(60)
          ? mutate(random, bigImages()).bytes
          : random.oneIn(3)
            ? random.pick(arm64SeedList()).bytes
            : bytes,
        initrds: makeInitrds(random),
        tree: random.oneIn(6) ? undefined : wrongTree(random),
        options,
        driver: driverOf(random),
        chunks: chunkLengths(random, bytes.byteLength),
        isCreated: random.oneIn(8),
      };
    },
    run: (input) => runLoad(subject, input, arm64Guests(), ARM64_START),
  };
}

/** Failures that only reading the data shows. */
const MIDWAY = /^(DECOMPRESS_|SOURCE_|REGION_READ|ARM64_BAD_IMAGE_SIZE)/;

/** Memory is as it was; or, where reading failed, its pages are as they were or zero. */
function checkFailed(bytes: Uint8Array, fresh: Uint8Array, observed: Observed, isKnown: boolean): void {
  if (Buffer.compare(bytes, fresh) === 0) return;
  if (isKnown || !MIDWAY.test(observed.code)) {
    throw new Finding(`guest memory was changed by a load that was refused: ${show(observed)}`);
  }
  for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    const isFresh = page.every((byte) => byte === CANARY);
    expect(
      isFresh || page.every((byte) => byte === 0),
      `page ${at / PAGE_BYTES} holds what a failed load wrote`,
    );
  }
}

function optionsOf(
  subject: Subject,
  input: FuzzInput,
  bytes: Uint8Array<ArrayBuffer>,
  start: number,
  open: (file: Uint8Array) => LinuxSyncOptions["kernel"],
): LinuxSyncOptions {
  const { initrds, tree, options } = input;
  const files = initrds === undefined ? undefined : listOf(input, "initrds");
  return {
    ...(options as object),
    kernel: open(bytesOf(input, "kernel")),
    ...(files === undefined ? {} : { initrd: files.map((each) => open(each as Uint8Array)) }),
    ...(tree === undefined ? {} : { deviceTree: open(tree as Uint8Array) }),
    decoders: subject.decoders,
    memory: {
      buffer: bytes.buffer,
      banks: [{ guestPhysicalAddress: start, byteOffset: 0, byteLength: bytes.byteLength }],
    },
  } as LinuxSyncOptions;
}

/**
 * The result without what depends on how the bytes came: who unpacked them, and whether the zeros behind a kernel are
 * its file's or its memory's.
 */
function told(guest: unknown): string {
  const { decompression: _, ...rest } = JSON.parse(JSON.stringify(guest));
  const regions: readonly { tag: string; dataLength: string }[] = rest.regions;
  return describe({
    ...rest,
    regions: regions.map((region) =>
      region.tag === "linux-kernel" ? { ...region, dataLength: "" } : region,
    ),
  });
}

/** Restores a guest quickly: most loads are refused and leave it as it was. */
function refresh(bytes: Uint8Array, fresh: Uint8Array): void {
  if (Buffer.compare(bytes, fresh) !== 0) bytes.set(fresh);
}

async function runLoad(
  subject: Subject,
  input: FuzzInput,
  { first, second, fresh }: Guests,
  start: number,
): Promise<Outcome> {
  refresh(first, fresh);
  refresh(second, fresh);
  const allowed = { typeErrors: true };
  const chunks = numbersOf(input, "chunks");
  const driver = input["driver"] as Driver;
  const kernel = bytesOf(input, "kernel");
  const before = kernel.slice();

  const planned = observe(
    () => subject.planLinuxSync(optionsOf(subject, input, first, start, (file) => file)),
    allowed,
  );
  expect(Buffer.compare(first, fresh) === 0, "planning changed guest memory");
  if (planned.code === "ok") JSON.stringify(planned.value as LinuxPlan);
  const loaded = observe(
    () => subject.loadLinuxSync(optionsOf(subject, input, first, start, (file) => file)),
    allowed,
  );
  expect(Buffer.compare(before, kernel) === 0, "the kernel's bytes were modified");
  if (loaded.code !== "ok") checkFailed(first, fresh, loaded, planned.code !== "ok");
  if (planned.code !== "ok")
    expect(loaded.code === planned.code, `planning says ${planned.code}, loading ${loaded.code}`);

  // The other hot paths, and the other way for bytes to come.
  const { implementation } = hotPaths;
  hotPaths.use(implementation === "wasm" ? "javascript" : "wasm");
  let awaited: Observed;
  try {
    awaited = await observeAsync(
      () =>
        subject.loadLinux(
          optionsOf(subject, input, second, start, (file) => subject.openDriver(driver, file, chunks)),
        ),
      allowed,
    );
  } finally {
    hotPaths.use(implementation);
  }
  if (awaited.code !== "ok") checkFailed(second, fresh, awaited, false);
  compareLoads(input, loaded, awaited, driver, kernel);
  if (loaded.code === "ok") {
    const guest = loaded.value as LinuxGuest;
    if (awaited.code === "ok") {
      if (Buffer.compare(first, second) !== 0)
        throw new Finding(`sync and ${driver}, WASM and twins: other bytes in guest memory`);
      const other = awaited.value as LinuxGuest;
      if (told(guest) !== told(other))
        throw new Finding(`sync and ${driver} tell of other guests: ${told(guest)} and ${told(other)}`);
    }
    checkExport(guest, first, fresh, start);
  }
  if (input["isCreated"] === true) await loadCreated(subject, input, first, start, loaded);
  const kind =
    loaded.code === "ok"
      ? `ok ${(loaded.value as LinuxGuest).entryMode} ${(loaded.value as LinuxGuest).info.initrd !== undefined}`
      : loaded.code;
  return {
    kind,
    isIdentified: !["ELF_INVALID_FILE_HEADER", "ELF_READ_FILE_HEADER", "TypeError"].includes(loaded.code),
  };
}

/** Into memory that directboot makes: there compressed Images are unpacked where they are to lie. */
async function loadCreated(
  subject: Subject,
  input: FuzzInput,
  memory: Uint8Array<ArrayBuffer>,
  start: number,
  loaded: Observed,
): Promise<void> {
  let reports = 0;
  const onProgress = (): void => {
    reports++;
  };
  const layout = new MemoryLayout([{ start, end: start + memory.byteLength }]);
  const options = { ...optionsOf(subject, input, memory, start, (file) => file), memory: layout, onProgress };
  const created = await observeAsync(() => subject.loadLinux(options), { typeErrors: true });
  if (created.code !== "ok" || loaded.code !== "ok") {
    const areDecoded = /DECOMPRESS|SPOOL_LIMIT/.test(`${created.code} ${loaded.code}`);
    expect(
      created.code === loaded.code || areDecoded,
      `attached: ${show(loaded)}; created: ${show(created)}`,
    );
    return;
  }
  expect(reports > 0, "nobody was told of progress");
  const guest = created.value as LinuxGuest;
  for (const { range, tag } of guest.regions) {
    const at = Number(range.start) - start;
    const bytes = guest.memory.read(range.start, Number(range.length));
    const isSame = Buffer.compare(bytes, memory.subarray(at, at + bytes.byteLength)) === 0;
    expect(isSame, `${tag} has other bytes in memory that was created`);
  }
}

/** Where the two ways may come to other ends. */
function compareLoads(
  input: FuzzInput,
  loaded: Observed,
  awaited: Observed,
  driver: Driver,
  kernel: Uint8Array,
): void {
  if (loaded.code === awaited.code) return;
  const isStream = driver === "stream" || driver === "open" || driver === "response";
  const isGzip = Buffer.from(kernel.buffer, kernel.byteOffset, kernel.byteLength).includes(
    "\x1f\x8b\x08",
    0,
    "latin1",
  );
  const limited = (input["options"] as { spoolLimit?: Value }).spoolLimit !== undefined;
  const both = `${loaded.code} ${awaited.code}`;
  // A stream is kept up to its limit only; of one of unknown length nobody can say before that it is too short.
  if ((isStream || isGzip) && limited && /SPOOL|CONSUMED|SHORT|UNKNOWN/.test(both)) return;
  if (driver === "open" && loaded.code !== "ok" && awaited.code !== "ok") return;
  if (driver === "open" && /TRUNCATED|UNKNOWN|SHORT|REGION_READ|LENGTH_UNKNOWN/.test(both)) return;
  // The platform's gzip finds other mistakes than the decoder, and streams what it unpacks.
  if (isGzip && (/DECOMPRESS_/.test(both) || (loaded.code !== "ok" && awaited.code !== "ok"))) return;
  // What only streams have: a limit of what is kept of them.
  if (awaited.code === "SOURCE_SPOOL_LIMIT") return;
  throw new Finding(`sync and ${driver} disagree: ${show(loaded)} and ${show(awaited)}`);
}

/** What `directboot export` would write, and any VMM reads: memory is made of it once more, and compared. */
function checkExport(guest: LinuxGuest, memory: Uint8Array, fresh: Uint8Array, start: number): void {
  const manifest = JSON.parse(JSON.stringify(guest));
  const again = Uint8Array.from(fresh);
  const ram: readonly { start: string; end: string }[] = manifest.ram;
  for (const [index, region] of guest.regions.entries()) {
    const { gpa, length, dataLength } = manifest.regions[index];
    const [from, size] = [BigInt(gpa), BigInt(length)];
    expect(
      ram.some((range) => BigInt(range.start) <= from && from + size <= BigInt(range.end)),
      "a region lies outside of RAM",
    );
    const at = Number(from) - start;
    again.fill(0, at, at + Number(size));
    let offset = 0;
    for (const view of regionViews(guest, region)) {
      again.set(view, at + offset);
      offset += view.byteLength;
    }
    expect(
      offset <= Number(dataLength) && Number(dataLength) <= Number(size),
      "a region has more bytes than it tells of",
    );
  }
  expect(Buffer.compare(again, memory) === 0, "the exported regions are another memory");
  for (const value of Object.values<unknown>(manifest.registers)) {
    const numbers = typeof value === "string" ? [value] : Object.values(value as object);
    expect(
      numbers.every((number) => /^0x[0-9a-f]+$/.test(String(number))),
      "a register is no hex number",
    );
  }
}
