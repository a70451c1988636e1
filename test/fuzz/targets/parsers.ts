/** Parsers of images and device trees, beside a second, plain reading of the same bytes. */
import fc from "fast-check";
import { type DeviceTreeNode, readDeviceTree } from "../../../src/firmware/device-tree.js";
import { setChosen } from "../../../src/firmware/device-tree-chosen.js";
import { memoryOfTree, reservationsOfTree } from "../../../src/firmware/device-tree-memory.js";
import { type Aarch64ImageHeader, readArm64Image } from "../../../src/images/arm64-image.js";
import { type BzImage, readBzImage } from "../../../src/images/bzimage.js";
import { type ElfImage, readElf } from "../../../src/images/elf.js";
import { findPvhNote, type PvhNote } from "../../../src/images/elf-notes.js";
import { readZboot, type ZbootImage } from "../../../src/images/zboot.js";
import { inspectKernelSync } from "../../../src/inspect/index.js";
import type { Source } from "../../../src/sources/source.js";
import type { Task } from "../../../src/task/task.js";
import { arm64Seeds, bzImageSeeds, deviceTreeSeeds, elfSeeds, zbootSeeds } from "../files.js";
import { expect, type Target, target } from "../fuzzer.js";
import { edge, type Mutant, mutants, type Seed, whole } from "../mutants.js";
import { runBoth, type Way, way } from "../openings.js";
import { describe, isEqual, observe } from "../outcome.js";

interface Elf {
  readonly elf: ElfImage;
  readonly note: PvhNote | undefined;
}

function* readAnyElf(source: Source, bytes: Uint8Array): Task<Elf> {
  const elf = yield* readElf(source, undefined, bytes[4] === 1 ? 32 : 64);
  return { elf, note: yield* findPvhNote(source, elf) };
}

function checkElf({ elf, note }: Elf, view: DataView): void {
  const is64 = view.getUint8(4) !== 1;
  const word = (at: number): bigint =>
    is64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
  expect(elf.entry === word(24), "the entry is another");
  for (const [index, header] of elf.programHeaders.entries()) {
    const at = Number(elf.programHeaderOffset) + index * (is64 ? 56 : 32);
    expect(at + (is64 ? 56 : 32) <= view.byteLength, "a program header passes the end of the file");
    expect(header.type === view.getUint32(at, true), `p_type of ${index} is another`);
    expect(header.offset === word(at + (is64 ? 8 : 4)), `p_offset of ${index} is another`);
    expect(header.physicalAddress === word(at + (is64 ? 24 : 12)), `p_paddr of ${index} is another`);
    expect(header.fileSize === word(at + (is64 ? 32 : 16)), `p_filesz of ${index} is another`);
    expect(header.memorySize === word(at + (is64 ? 40 : 20)), `p_memsz of ${index} is another`);
  }
  if (note === undefined) return;
  expect(note.offset + note.size <= view.byteLength, "the PVH entry lies behind the end of the file");
  const { offset, size } = note;
  const entry = size === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true));
  expect(entry === note.entry, "the PVH entry is another");
}

function checkBzImage(image: BzImage, view: DataView): void {
  const end = image.protectedModeOffset + image.protectedModeLength;
  expect(image.protectedModeLength > 0 && end <= view.byteLength, "the code passes the end of the file");
  expect(image.version === view.getUint16(0x206, true), "the version is another");
  if (image.payload === undefined) return;
  const { offset, length } = image.payload;
  expect(
    length > 0 && offset >= image.protectedModeOffset && offset + length <= end,
    "the payload lies outside of the code",
  );
}

function checkImage(image: Aarch64ImageHeader, view: DataView): void {
  expect(image.textOffset === view.getBigUint64(8, true), "text_offset is another");
  expect(image.imageSize === view.getBigUint64(16, true), "image_size is another");
}

function checkZboot({ payloadOffset, payloadLength }: ZbootImage, view: DataView): void {
  expect(payloadOffset >= 64 && payloadLength > 0, "the payload lies in the header, or is empty");
  expect(payloadOffset + payloadLength <= view.byteLength, "the payload passes the end of the file");
}

/** A parser: its files, the task, and what must be true of its result. */
function parser<T>(
  name: string,
  runs: number,
  seeds: readonly Seed[],
  read: (source: Source, bytes: Uint8Array) => Task<T>,
  check: (value: T, view: DataView) => void,
): Target {
  return target<{ file: Mutant; by: Way }>({
    name,
    runs,
    input: fc.record({ file: mutants(seeds), by: way }, { noNullPrototype: true }),
    examples: whole(seeds).map((file) => ({ file, by: { opening: "stream", chunk: 100 } })),
    run: async ({ file: { bytes }, by }) => {
      const before = bytes.slice();
      const { code, value } = await runBoth(bytes, by, (source) => read(source, bytes));
      if (code === "ok") check(value as T, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      // People are shown files that loaders refuse, too.
      observe(() => inspectKernelSync(bytes));
      expect(isEqual(before, bytes), "the input was modified");
      return code;
    },
  });
}

const chosen = fc.record(
  {
    bootargs: fc.constantFrom("", "quiet", "a\0b", "é".repeat(20), 7),
    initrdStart: fc.oneof(edge, fc.constantFrom(0x4400_0000, -1n)),
    initrdEnd: fc.oneof(edge, fc.constantFrom(0x4500_0000, 1n << 64n)),
    rngSeed: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant("seed")),
  },
  { requiredKeys: [], noNullPrototype: true },
);

function countNodes(node: DeviceTreeNode): number {
  return node.children.reduce((sum, child) => sum + countNodes(child), 1);
}

/** The new tree has what was set, and all that there was. */
function checkChosen(
  old: DeviceTreeNode,
  bytes: Uint8Array,
  { bootargs, rngSeed }: Record<string, unknown>,
): void {
  const tree = readDeviceTree(bytes);
  const isChosen = ({ name }: DeviceTreeNode): boolean => name === "chosen" || name.startsWith("chosen@");
  const properties = tree.children.find(isChosen)?.properties;
  const bytesOf = (name: string): Buffer => Buffer.from(properties?.get(name) ?? []);
  if (typeof bootargs === "string")
    expect(bytesOf("bootargs").toString() === `${bootargs}\0`, "bootargs are not set");
  if (rngSeed instanceof Uint8Array) expect(isEqual(bytesOf("rng-seed"), rngSeed), "rng-seed is not set");
  const isNew = properties !== undefined && !old.children.some(isChosen);
  expect(countNodes(tree) - countNodes(old) === (isNew ? 1 : 0), "the tree has other nodes");
  expect(describe(tree.properties) === describe(old.properties), "the root has other properties");
}

function deviceTree(): Target {
  const seeds = deviceTreeSeeds();
  return target<{ file: Mutant; set: Record<string, unknown> }>({
    name: "device-tree",
    runs: 1000,
    input: fc.record({ file: mutants(seeds), set: chosen }, { noNullPrototype: true }),
    examples: whole(seeds).map((file) => ({ file, set: { bootargs: "quiet", rngSeed: new Uint8Array(3) } })),
    run: ({ file: { bytes }, set }) => {
      const before = bytes.slice();
      const read = observe(() => readDeviceTree(bytes));
      for (const rangesOf of [memoryOfTree, reservationsOfTree]) {
        const { code, value } = observe(() => rangesOf(bytes));
        expect(read.code === "ok" || code === read.code, `${rangesOf.name} reads a bad tree`);
        for (const { start, end } of (value ?? []) as readonly { start: bigint; end: bigint }[]) {
          expect(0n <= start && start < end && end <= 1n << 64n, `${rangesOf.name} gives ${start}-${end}`);
        }
      }
      const made = observe(() => setChosen(bytes, set));
      expect(isEqual(before, bytes), "the tree was modified");
      if (made.code === "ok") {
        expect(read.code === "ok", "/chosen was set in a bad tree");
        checkChosen(read.value as DeviceTreeNode, made.value as Uint8Array, set);
      }
      return read.code === "ok" ? made.code : read.code;
    },
  });
}

export const PARSERS = {
  elf: () => parser("elf", 700, elfSeeds(), readAnyElf, checkElf),
  bzimage: () => parser("bzimage", 700, bzImageSeeds(), readBzImage, checkBzImage),
  "arm64-image": () => parser("arm64-image", 500, arm64Seeds(), readArm64Image, checkImage),
  zboot: () => parser("zboot", 500, zbootSeeds(), readZboot, checkZboot),
  "device-tree": deviceTree,
};
