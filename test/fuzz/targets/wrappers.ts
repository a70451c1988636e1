/** Kernels in their wrappers, and initrds of several members: told apart, unpacked, taken out. */
import type { CompressionFormat } from "../../../src/decoders/index.js";
import type { DetectedKernel } from "../../../src/linux/detect-kernel.js";
import type { ExtractedKernel } from "../../../src/linux/extract-kernel.js";
import { readWhole } from "../../../src/sources/reading.js";
import type { Source } from "../../../src/sources/source.js";
import { runAsync, runSync } from "../../../src/task/run.js";
import type { Unpacking } from "../../../src/unpack/kernel-file.js";
import { compress, type Method, ONE_OF_EACH, pipe } from "../../decoders/tools.js";
import { makeElf } from "../../support/elf-maker.js";
import { makeElf32 } from "../../support/elf32-maker.js";
import { bzImageAround, compressible, makeImage, withTrailer } from "../../support/packed-kernels.js";
import { noise } from "../../support/sources.js";
import { makeZboot } from "../../support/zboot-maker.js";
import type { Driver } from "../drivers.js";
import { bytesOf, listOf, numbersOf, type Value } from "../input.js";
import { chunkLengths, type Field, fieldsOf, mutate, type Seed } from "../mutate.js";
import { expect, Finding, type Observed, type Outcome, observe, observeAsync, show } from "../outcome.js";
import type { Random } from "../random.js";
import { arm64Fields, bzImageFields, elfFields } from "../seed-files.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy } from "./shared.js";

/** A small vmlinux at 1 MiB, with code behind its segments that is not loaded. */
export function smallElf(is64: boolean): Uint8Array<ArrayBuffer> {
  const at = 0x10_0000n;
  const shape = {
    entry: at + 0x40n,
    fill: compressible(9000),
    segments: [
      { offset: 4096n, vaddr: at, paddr: at, filesz: 2000n, memsz: 4096n },
      { offset: 6200n, vaddr: at + 4096n, paddr: at + 4096n + 8n, filesz: 1500n, memsz: 9000n },
      { type: 4, offset: 8000n, filesz: 64n, memsz: 64n, align: 4n },
    ],
  };
  const bytes = is64 ? makeElf(shape) : makeElf32(shape);
  // A PVH note.
  const view = new DataView(bytes.buffer);
  bytes.fill(0, 8000, 8064);
  view.setUint32(8000, 4, true);
  view.setUint32(8004, 4, true);
  view.setUint32(8008, 18, true);
  bytes.set(new TextEncoder().encode("Xen"), 8012);
  view.setUint32(8016, 0x10_0040, true);
  return bytes;
}

export function smallImage(): Uint8Array<ArrayBuffer> {
  return makeImage(12_000, 40_000);
}

/** A bzImage of code alone, whose payload nobody can take out. */
export function smallBzImage(xloadflags = 3): Uint8Array<ArrayBuffer> {
  return bzImageAround({ payload: noise(2000, 3), xloadflags, fields: BZIMAGE_PLACE });
}

/** pref_address and kernel_alignment of a kernel that fits a small guest. */
export const BZIMAGE_PLACE = [
  [0x230, 4, 0x1000],
  [0x258, 8, 0x10_0000n],
  [0x260, 4, 0x8000],
] as const;

const methods = lazy(() => ONE_OF_EACH);
/** Bytes before the payload in what bzImageAround makes. */
const PAYLOAD_AT = 0x400 + 0x2c0;

/** Places in a payload that decide how it is decoded. */
function payloadFields(at: number, length: number): Field[] {
  const shape: (readonly [string, number, number])[] = [];
  for (let offset = 0; offset < 16; offset++) shape.push([`payload+${offset}`, offset, 1]);
  shape.push(["trailer", length - 4, 4], ["end", length - 8, 4], ["crc", length - 12, 4]);
  return fieldsOf(shape, at);
}

/** A vmlinux in a bzImage. */
export function packedBzImage(method: Method, vmlinux: Uint8Array, xloadflags = 3): Seed {
  const payload = withTrailer(method, compress(method, vmlinux), vmlinux.length);
  const bytes = bzImageAround({ payload, xloadflags, fields: BZIMAGE_PLACE });
  return {
    name: `bzImage ${method.format}`,
    bytes,
    fields: [...bzImageFields(), ...payloadFields(PAYLOAD_AT, payload.length)],
  };
}

/** An Image in a zboot image. */
export function packedZboot(method: Method, image: Uint8Array): Seed {
  const stream = compress(method, image);
  const payload = withTrailer(method, stream, image.length);
  const bytes = makeZboot({ compression: method.format, payload, payloadLength: stream.length });
  const header = fieldsOf([
    ["payload_offset", 8, 4],
    ["payload_size", 12, 4],
    ["image_type", 4, 4],
  ]);
  return { name: `zboot ${method.format}`, bytes, fields: [...header, ...payloadFields(96, payload.length)] };
}

/** A kernel file that is compressed as a whole. */
export function packedFile(format: CompressionFormat, kernel: Uint8Array, name: string): Seed {
  const method = methods().find((each) => each.format === format);
  if (method === undefined) throw new Error(`there is no tool for ${format}`);
  const bytes = compress(method, kernel);
  return { name, bytes, fields: payloadFields(0, bytes.length) };
}

/** A kernel in an .xz with filters. */
function filtered(name: string, parameters: readonly string[], kernel: Uint8Array): Seed {
  const bytes = pipe("xz", ["-c", ...parameters], kernel);
  return { name, bytes, fields: payloadFields(0, bytes.length) };
}

/** An ELF whose notes lie behind the end of the file. */
function notesBehind(): Uint8Array<ArrayBuffer> {
  const bytes = smallElf(true);
  // p_offset of the third program header.
  new DataView(bytes.buffer).setBigUint64(64 + 2 * 56 + 8, 1n << 32n, true);
  return bytes;
}

/** Kernels in every wrapper. */
export const kernelSeeds = lazy((): readonly Seed[] => {
  const elf = smallElf(true);
  const image = smallImage();
  const plain: Seed[] = [
    { name: "elf64", bytes: elf, fields: elfFields(elf, 8000) },
    { name: "elf32", bytes: smallElf(false), fields: elfFields(smallElf(false), 8000) },
    { name: "image", bytes: image, fields: arm64Fields() },
    { name: "bzImage", bytes: smallBzImage(), fields: bzImageFields() },
    { name: "bzImage 32", bytes: smallBzImage(0), fields: bzImageFields() },
    { name: "text", bytes: new TextEncoder().encode("no kernel at all\n".repeat(40)), fields: [] },
    { name: "empty", bytes: new Uint8Array(0), fields: [] },
    { name: "riscv elf", bytes: makeElf({ machine: 243, segments: [{}] }), fields: elfFields(makeElf({})) },
    { name: "arm64 elf", bytes: makeElf({ machine: 183, segments: [{}] }), fields: elfFields(makeElf({})) },
  ];
  const packed = methods().flatMap((method) => [
    packedBzImage(method, elf),
    packedZboot(method, image),
    packedFile(method.format, method.format === "xz" ? image : elf, method.format),
    packedFile(method.format, image, method.format),
  ]);
  const [gzip] = methods();
  if (gzip === undefined) throw new Error("there is no gzip");
  const nested: Seed[] = [
    packedBzImage(gzip, smallElf(false), 0),
    packedFile("gzip", smallBzImage(), "gzip in"),
    packedFile("gzip", packedZboot(gzip, image).bytes, "zboot in gzip"),
    packedFile("gzip", packedFile("xz", packedFile("zstd", elf, "").bytes, "").bytes, "three"),
    packedFile(
      "gzip",
      packedFile("gzip", packedFile("gzip", packedFile("gzip", elf, "").bytes, "").bytes, "").bytes,
      "four",
    ),
    packedFile("gzip", new TextEncoder().encode("text"), "text in gzip"),
  ];
  const [elfLike] = packed;
  if (elfLike === undefined) throw new Error("there is nothing packed");
  // Payloads that tell of no bytes, are shorter than their size, or of a kind that nobody knows here.
  const odd = (
    name: string,
    change: (bytes: Uint8Array, view: DataView) => void,
    from = elfLike.bytes,
  ): Seed => {
    const bytes = from.slice();
    change(bytes, new DataView(bytes.buffer));
    return { name, bytes, fields: elfLike.fields };
  };
  const zstd = packed.find(({ name }) => name === "bzImage zstd")?.bytes;
  const payloadEnd = (view: DataView): number =>
    0x400 + view.getUint32(0x248, true) + view.getUint32(0x24c, true);
  const strange: Seed[] = [
    odd("bzImage of 0 bytes", (_, view) => view.setUint32(payloadEnd(view) - 4, 0, true), zstd),
    odd("bzImage, 3 bytes", (_, view) => view.setUint32(0x24c, 3, true)),
    odd("bzImage without payload", (_, view) => view.setUint32(0x248, 0, true)),
    odd("bzImage, dictionary", (bytes) => bytes.fill(1, PAYLOAD_AT + 4, PAYLOAD_AT + 12), zstd),
    odd("bzImage of an Image", () => {}, packedBzImage(gzip, image).bytes),
    // Filters, which are undone when a block is complete: what its first bytes are is not known before.
    filtered("xz arm64", ["--arm64", "--lzma2=preset=0"], image),
    filtered("xz arm64, sizes", ["--arm64", "--lzma2=preset=0", "-T2", "--block-size=20000"], image),
    filtered("xz delta arm64", ["--delta", "--arm64", "--lzma2=preset=0"], image),
    filtered("xz arm64 elf", ["--arm64", "--lzma2=preset=0"], elf),
    { name: "notes behind the file", bytes: notesBehind(), fields: [] },
  ];
  return [...plain, ...packed, ...nested, ...strange];
});

/** An outcome without what differs by how bytes come: of a stream nobody knows the length. */
function shape(observed: Observed): string {
  if (observed.code !== "ok") return /^DECOMPRESS_/.test(observed.code) ? "DECOMPRESS" : observed.code;
  return JSON.stringify(observed.detail);
}

/** Streams of unknown length are told of by other codes; gzip is undone by the platform there, which takes other damage. */
function agree(a: Observed, b: Observed, isOpen: boolean, isGzip: boolean): boolean {
  if (shape(a) === shape(b)) return true;
  if (a.code !== "ok" && b.code !== "ok") return isOpen || isGzip;
  if (isGzip && (/^DECOMPRESS/.test(a.code) || /^DECOMPRESS/.test(b.code))) return true;
  return isOpen && /TRUNCATED|SHORT|UNKNOWN|SPOOL/.test(`${a.code} ${b.code}`);
}

const MOST_BYTES = 1 << 20;
/** How often an execution looks into the file, each time into two wrappers at most. */
const LOOKS = 8;

/** True if there is gzip in it somewhere near the beginning. */
function holdsGzip(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes("\x1f\x8b\x08", 0, "latin1");
}

export function kernelFileTarget(subject: Subject): Target {
  const { decoders } = subject;
  return {
    name: "kernel-file",
    corpus: lazy(() =>
      kernelSeeds().map(({ bytes }, i) => ({
        file: bytes,
        driver: i % 2 === 0 ? "stream" : "open",
        chunks: [4096],
        hasDecoders: true,
        maximum: MOST_BYTES,
      })),
    ),
    executions: 150,
    // To look at the first bytes of a payload, address space for 512 MiB is taken, of which little is touched.
    mostGrowth: LOOKS * (600 << 20),
    make: (random) => {
      const { bytes } = mutate(random, kernelSeeds());
      return {
        file: bytes,
        driver: random.pick(["sync", "async", "stream", "open", "blob"]),
        chunks: chunkLengths(random, bytes.byteLength),
        hasDecoders: !random.oneIn(4),
        maximum: random.pick([MOST_BYTES, MOST_BYTES, 9000, 100]),
      };
    },
    run: async (input): Promise<Outcome> => {
      const file = bytesOf(input, "file");
      const driver = input["driver"] as Driver;
      const chunks = numbersOf(input, "chunks");
      const open = (): Source => subject.openDriver(driver, file, chunks);
      const synchronous = input["hasDecoders"] === true ? { decoders } : {};
      const isGzip = holdsGzip(file);
      const detected = observe(() => subject.detectKernelSync(file, synchronous));
      const awaited = await observeAsync(() => subject.detectKernel(open()));
      const maxDecompressedSize = Number(input["maximum"]);
      const taken = observe(() => subject.extractKernelSync(file, { ...synchronous, maxDecompressedSize }));
      let reports = 0;
      const onProgress = (): void => {
        reports++;
      };
      const streamed = await observeAsync(() =>
        subject.extractKernel(open(), { maxDecompressedSize, onProgress }),
      );
      if (taken.code === "ok") checkExtracted(taken.value as ExtractedKernel, maxDecompressedSize);
      if (streamed.code === "ok") checkExtracted(streamed.value as ExtractedKernel, maxDecompressedSize);
      const isOpen = driver === "open";
      if (input["hasDecoders"] === true) {
        if (!agree(detected, awaited, isOpen, isGzip))
          throw new Finding(
            `detectKernelSync and ${driver} disagree: ${show(detected)} and ${show(awaited)}`,
          );
        if (!agree(taken, streamed, isOpen, isGzip))
          throw new Finding(`extractKernelSync and ${driver} disagree: ${show(taken)} and ${show(streamed)}`);
      }
      const kind = detected.code === "ok" ? (detected.value as DetectedKernel).kernelFormat : detected.code;
      const isIdentified = detected.code !== "ok" || !["unknown", "text", "empty"].includes(kind);
      return { kind: `${kind} ${taken.code} ${reports > 0}`, isIdentified };
    },
  };
}

function checkExtracted({ kernel, format, size }: ExtractedKernel, most: number): void {
  expect(kernel.byteLength === size, "the size is another");
  expect(["elf64", "elf32", "arm64-image"].includes(format), `the kernel is ${format}`);
  expect(size <= Math.max(most, 20_000), `the kernel has ${size} bytes, the limit is ${most}`);
}

/** A cpio archive of one file (newc), and the trailer. */
function cpio(name: string, content: Uint8Array): Uint8Array {
  const entry = (entryName: string, data: Uint8Array): Buffer => {
    const hex = (value: number): string => value.toString(16).padStart(8, "0");
    const fields = [1, 0o100644, 0, 0, 1, 0, data.length, 0, 0, 0, 0, entryName.length + 1, 0];
    const header = Buffer.from(`070701${fields.map(hex).join("")}${entryName}\0`);
    const pad = (bytes: Uint8Array): Buffer =>
      Buffer.concat([bytes, new Uint8Array((4 - (bytes.length % 4)) % 4)]);
    return Buffer.concat([pad(header), pad(data)]);
  };
  return Uint8Array.from(Buffer.concat([entry(name, content), entry("TRAILER!!!", new Uint8Array(0))]));
}

const initrdParts = lazy(() => {
  const archive = cpio("init", noise(700, 4));
  return [archive, cpio("x", new Uint8Array(0)), ...methods().map((method) => compress(method, archive))];
});

function makeInitrd(random: Random): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = random.below(4); i >= 0; i--) {
    parts.push(random.oneIn(20) ? random.bytes(random.below(20)) : random.pick(initrdParts()));
    if (random.oneIn(2)) parts.push(new Uint8Array(random.below(9)));
  }
  const bytes = Uint8Array.from(Buffer.concat(parts));
  if (random.oneIn(3)) return bytes;
  // Numbers of a cpio header are text.
  const shapes: [string, number, number][] = [];
  for (let at = 0; at < Math.min(bytes.length, 110); at += 4) shapes.push([`byte ${at}`, at, 1]);
  return mutate(random, [{ name: "initrd", bytes, fields: fieldsOf(shapes) }]).bytes;
}

export function initrdTarget(subject: Subject): Target {
  return {
    name: "initrd",
    executions: 150,
    make: (random) => ({
      initrds: Array.from({ length: 1 + random.below(2) }, () => makeInitrd(random)),
      hasDecoders: !random.oneIn(6),
      maximum: random.pick([MOST_BYTES, MOST_BYTES, 1000, 0]),
    }),
    run: async (input): Promise<Outcome> => {
      const files = listOf(input, "initrds").map((each: Value) => {
        if (!(each instanceof Uint8Array)) throw new TypeError("the input holds no initrd");
        return each;
      });
      const maximumBytes = Number(input["maximum"]);
      const unpacking: Unpacking = {
        gunzip: undefined,
        decoders: input["hasDecoders"] === true ? subject.decoders : undefined,
        maximumBytes,
        decompress: undefined,
        entry: undefined,
        hasKernelAddress: false,
        inPlace: false,
        progress: undefined,
      };
      const read = function* (driver: Driver) {
        const sources = files.map((bytes) => subject.openDriver(driver, bytes, [100]));
        const plain = yield* subject.plainInitrds(sources, unpacking);
        const whole: Uint8Array[] = [];
        for (const each of plain) whole.push((yield* readWhole(each)).slice());
        return whole;
      };
      const a = observe(() => runSync(read("peek")));
      const b = await observeAsync(() => runAsync(read("async")));
      if (a.code !== b.code || a.detail !== b.detail)
        throw new Finding(`peek and async disagree: ${show(a)} and ${show(b)}`);
      if (a.code === "ok") {
        const sum = (a.value as Uint8Array[]).reduce((total, bytes) => total + bytes.byteLength, 0);
        const given = files.reduce((total, bytes) => total + bytes.byteLength, 0);
        expect(sum <= maximumBytes + given + 64, `${sum} bytes come out, the limit is ${maximumBytes}`);
      }
      return {
        kind: `${a.code} ${files.length}`,
        isIdentified: a.code === "ok" || /^DECOMPRESS/.test(a.code),
      };
    },
  };
}
