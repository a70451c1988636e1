/** The parsers of kernels' files: ELF with its notes, bzImage, arm64 Image, zboot; and what `inspect` says of them. */

import type { BzImage } from "../../../src/images/bzimage.js";
import { DETECT_BYTES, describeFormat, detectCompression, detectFormat } from "../../../src/images/detect.js";
import type { ElfImage } from "../../../src/images/elf.js";
import type { PvhNote } from "../../../src/images/elf-notes.js";
import type { ZbootImage } from "../../../src/images/zboot.js";
import { readBytes } from "../../../src/sources/reading.js";
import type { Source } from "../../../src/sources/source.js";
import type { Task } from "../../../src/task/task.js";
import { driversOf, type MayDiffer, pickDrivers, runDrivers } from "../drivers.js";
import { bytesOf, type FuzzInput, maybeNumberOf, numberOf } from "../input.js";
import { mutate, type Seed } from "../mutate.js";
import { expect, type Observed, type Outcome } from "../outcome.js";
import { arm64Seeds, bzImageSeeds, elfSeeds, zbootSeeds } from "../seed-files.js";
import type { Subject } from "../subject.js";
import type { Target } from "../target.js";
import { lazy, then } from "./shared.js";

/** A file, and how it is read. */
function fileInput(
  seeds: () => readonly Seed[],
  more: (bytes: Uint8Array, pick: (n: number) => number) => FuzzInput,
) {
  return (random: Parameters<Target["make"]>[0]): FuzzInput => {
    const { bytes } = mutate(random, seeds());
    return { file: bytes, ...pickDrivers(random, bytes.byteLength), ...more(bytes, (n) => random.below(n)) };
  };
}

/** Each of the seeds as it is, once. */
function wholeFiles(seeds: () => readonly Seed[], more: (bytes: Uint8Array) => FuzzInput = () => ({})) {
  return lazy((): readonly FuzzInput[] =>
    [...new Set(seeds().map(({ bytes }) => bytes))].map((file) => ({
      file,
      drivers: ["sync", "async", "stream", "open"],
      chunks: [100],
      ...more(file),
    })),
  );
}

/** Runs a parser and the reader of its fields, by all drivers of the input. */
function runParser<T>(
  subject: Subject,
  input: FuzzInput,
  parse: (source: Source) => Task<T>,
  fields: (source: Source) => Task<unknown>,
  check: (value: T, bytes: Uint8Array) => void,
  identified: (code: string) => boolean,
  mayDiffer?: MayDiffer,
): Outcome | Promise<Outcome> {
  const bytes = bytesOf(input, "file");
  const before = bytes.slice();
  const drivers = driversOf(input);
  const judge = (observed: Observed): Outcome => {
    if (observed.code === "ok") check(observed.value as T, bytes);
    expect(Buffer.compare(before, bytes) === 0, "the input was modified");
    return { kind: observed.code, isIdentified: identified(observed.code) };
  };
  const first = runDrivers(subject.openDriver, bytes, drivers, parse, mayDiffer);
  // What people are shown must cope with files that loaders refuse, too.
  const second = runDrivers(subject.openDriver, bytes, drivers, fields, () => true);
  return then(first, (observed) =>
    then(second, (told) => {
      expect(
        told.code === "ok" || observed.code !== "ok",
        `the fields fail with ${told.code}, the parser does not`,
      );
      return judge(observed);
    }),
  );
}

/** Fields that can be read of anything; with a stream of unknown length their reads may pass its end. */
export function elfTarget(subject: Subject): Target {
  const seeds = lazy(elfSeeds);
  return {
    name: "elf",
    corpus: wholeFiles(seeds, (bytes) => ({ elfClass: bytes[4] === 1 ? 32 : 64 })),
    executions: 700,
    make: fileInput(seeds, (bytes, pick) => ({
      elfClass: bytes[4] === 1 ? (pick(8) === 0 ? 64 : 32) : pick(8) === 0 ? 32 : 64,
      machine: [undefined, undefined, 62, 3][pick(4)],
    })),
    run: (input) => {
      const is64 = numberOf(input, "elfClass") === 64;
      const machine = maybeNumberOf(input, "machine");
      const read = is64 ? subject.readElf : subject.readElf32;
      const parse = function* (source: Source): Task<{ elf: ElfImage; note: PvhNote | undefined }> {
        const elf = yield* read(source, machine);
        return { elf, note: yield* subject.findPvhNote(source, elf) };
      };
      const fields = function* (source: Source): Task<unknown> {
        const header = yield* subject.readElfFileHeaderFields(source, is64 ? 64 : 32);
        const elf = yield* read(source, machine);
        const table = yield* subject.readElfProgramHeaderFields(source, is64 ? 64 : 32, elf);
        const note = yield* subject.findPvhNote(source, elf);
        return [header, table, note === undefined ? undefined : subject.pvhNoteField(note)];
      };
      return runParser(
        subject,
        input,
        parse,
        fields,
        ({ elf, note }, bytes) => checkElf(elf, note, bytes, is64),
        (code) => !["ELF_READ_FILE_HEADER", "ELF_INVALID_FILE_HEADER"].includes(code),
      );
    },
  };
}

/** Reads the table once more, plainly. */
function checkElf(elf: ElfImage, note: PvhNote | undefined, bytes: Uint8Array, is64: boolean): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): bigint =>
    is64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
  const entryBytes = is64 ? 56 : 32;
  const count = elf.programHeaders.length;
  const start = elf.programHeaderOffset;
  expect(bytes.byteLength >= (is64 ? 64 : 52), "a header that is not there was read");
  expect(elf.entry === word(24), "the entry is another");
  expect(
    count === 0 || start + BigInt(count * entryBytes) <= BigInt(bytes.byteLength),
    "the program headers pass the end of the file",
  );
  for (const [index, header] of elf.programHeaders.entries()) {
    const at = Number(start) + index * entryBytes;
    expect(header.type === view.getUint32(at, true), `p_type of ${index} is another`);
    expect(header.offset === word(at + (is64 ? 8 : 4)), `p_offset of ${index} is another`);
    expect(header.physicalAddress === word(at + (is64 ? 24 : 12)), `p_paddr of ${index} is another`);
    expect(header.fileSize === word(at + (is64 ? 32 : 16)), `p_filesz of ${index} is another`);
    expect(header.memorySize === word(at + (is64 ? 40 : 20)), `p_memsz of ${index} is another`);
  }
  if (note === undefined) return;
  expect(note.offset + note.size <= bytes.byteLength, "the PVH entry lies behind the end of the file");
  const entry =
    note.size === 8 ? view.getBigUint64(note.offset, true) : BigInt(view.getUint32(note.offset, true));
  expect(entry === note.entry, "the PVH entry is another");
}

/** What only the length of the file tells against. */
const LENGTH_CODES = ["BZIMAGE_TRUNCATED", "ZBOOT_TRUNCATED"];

export function bzImageTarget(subject: Subject): Target {
  const seeds = lazy(bzImageSeeds);
  const mayDiffer: MayDiffer = (known, open) =>
    LENGTH_CODES.includes(known.code) || open.code === "BZIMAGE_UNKNOWN_LENGTH";
  return {
    name: "bzimage",
    corpus: wholeFiles(seeds),
    executions: 700,
    make: fileInput(seeds, () => ({})),
    run: (input) =>
      runParser(
        subject,
        input,
        subject.readBzImage,
        subject.readBzImageFields,
        checkBzImage,
        (code) =>
          !["BZIMAGE_BAD_BOOT_FLAG", "BZIMAGE_BAD_MAGIC"].includes(code) &&
          bytesOf(input, "file").length >= 0x208,
        mayDiffer,
      ),
  };
}

function checkBzImage(image: BzImage, bytes: Uint8Array): void {
  const { byteLength } = bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, byteLength);
  const codeEnd = image.protectedModeOffset + image.protectedModeLength;
  expect(image.protectedModeLength > 0, "there is no protected-mode code");
  expect(codeEnd <= byteLength, "the protected-mode code passes the end of the file");
  expect(image.header.byteLength === 0x202 + view.getUint8(0x201) - 0x1f1, "the header has another length");
  expect(image.version === view.getUint16(0x206, true), "the version is another");
  if (image.payload === undefined) return;
  const { offset, length } = image.payload;
  expect(
    length > 0 && offset >= image.protectedModeOffset && offset + length <= codeEnd,
    "the payload lies outside",
  );
}

export function arm64ImageTarget(subject: Subject): Target {
  const seeds = lazy(arm64Seeds);
  return {
    name: "arm64-image",
    corpus: wholeFiles(seeds),
    executions: 500,
    make: fileInput(seeds, () => ({})),
    run: (input) =>
      runParser(
        subject,
        input,
        subject.readArm64Image,
        function* (source) {
          const fields = yield* subject.readArm64ImageFields(source);
          const head = yield* readBytes(source, 0, Math.min(source.byteLength, DETECT_BYTES));
          const format = detectFormat(head);
          return [fields, format, describeFormat(format), detectCompression(head)];
        },
        (image, bytes) => {
          const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
          expect(image.imageSize === view.getBigUint64(16, true), "image_size is another");
          expect(image.textOffset === view.getBigUint64(8, true), "text_offset is another");
        },
        (code) => code === "ok",
      ),
  };
}

export function zbootTarget(subject: Subject): Target {
  const seeds = lazy(zbootSeeds);
  return {
    name: "zboot",
    corpus: wholeFiles(seeds),
    executions: 500,
    make: fileInput(seeds, () => ({})),
    run: (input) =>
      runParser<ZbootImage>(
        subject,
        input,
        subject.readZboot,
        subject.readZbootFields,
        ({ payloadOffset, payloadLength, compression }, bytes) => {
          expect(payloadOffset >= 64 && payloadLength > 0, "the payload lies in the header, or is empty");
          expect(payloadOffset + payloadLength <= bytes.byteLength, "the payload passes the end of the file");
          expect(/^[!-~]+$/.test(compression), "the compression has a name that can't be printed");
        },
        (code) => code !== "ZBOOT_BAD_MAGIC",
        (known) => LENGTH_CODES.includes(known.code),
      ),
  };
}
