/** `directboot inspect`: what a file is, header field by header field. */
import { hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { decodeAarch64ImageFlags, readArm64Image } from "../images/arm64-image.js";
import { readArm64ImageFields } from "../images/arm64-image-fields.js";
import { type BzImage, formatProtocolVersion, readBzImage } from "../images/bzimage.js";
import { readBzImageFields } from "../images/bzimage-fields.js";
import { DETECT_BYTES, describeFormat, detectFormat, type ImageFormat } from "../images/detect.js";
import { type ElfImage, readElf, readElf32 } from "../images/elf.js";
import {
  fileTypeName,
  MOST_PROGRAM_HEADERS_SHOWN,
  machineName,
  pvhNoteField,
  readElfFileHeaderFields,
  readElfProgramHeaderFields,
  segmentTypeName,
} from "../images/elf-fields.js";
import { findPvhNote } from "../images/elf-notes.js";
import type { HeaderField } from "../images/header-fields.js";
import { readZboot } from "../images/zboot.js";
import { readZbootFields } from "../images/zboot-fields.js";
import { openSource } from "../sources/open.js";
import { type Reading, runSync } from "../sources/reader.js";
import type { Source } from "../sources/source.js";
import { formatBytes, formatTable } from "./format.js";
import { embeddedKernel } from "./load.js";
import { parseArguments, UsageError } from "./options.js";

/** What is shown of a file. */
interface Description {
  /** The parser's result, for `--json`. */
  readonly header: unknown;
  readonly fields: readonly HeaderField[];
  /** Tables for people, one under the other. */
  readonly tables: readonly string[];
  /** Why the loaders would refuse the file: told after what can be shown of it. */
  readonly refusal?: DirectBootError | undefined;
}

interface Attempt<T> {
  readonly result?: T;
  readonly refusal?: DirectBootError;
}

/** What a parser says, or why it refuses. */
function attempt<T>(reading: Reading<T>): Attempt<T> {
  try {
    return { result: runSync(reading) };
  } catch (error) {
    if (error instanceof DirectBootError) return { refusal: error };
    throw error;
  }
}

function formatValue(value: bigint | string): string {
  return typeof value === "string" ? JSON.stringify(value) : hex(value);
}

/** Aligned tables, each under the section that its fields are from. */
function fieldTables(fields: readonly HeaderField[]): string[] {
  const sections = [...new Set(fields.map(({ section }) => section))];
  // One width for all tables: a header and the structure that it points to are read together.
  const rows = fields.map(({ offset, size, name, value, meaning, since }) => [
    hex(offset),
    `${size}`,
    name,
    formatValue(value),
    since === undefined ? meaning : `${since}+  ${meaning}`,
  ]);
  const lines = formatTable([["offset", "size", "field", "value", "meaning"], ...rows]).split("\n");
  const [heading = "", ...body] = lines;
  return sections.map((section, index) =>
    [
      `${section}:`,
      ...(index === 0 ? [heading] : []),
      ...body.filter((_, at) => fields[at]?.section === section),
    ].join("\n"),
  );
}

function flags(bits: number): string {
  return `${bits & 4 ? "R" : "-"}${bits & 2 ? "W" : "-"}${bits & 1 ? "X" : "-"}`;
}

/** The parser's result as data, and the table of program headers. */
function describeProgramHeaders(elf: ElfImage): { header: Record<string, unknown>; table: string } {
  const count = elf.programHeaders.length;
  const segments = elf.programHeaders.slice(0, MOST_PROGRAM_HEADERS_SHOWN).map((header) => ({
    type: segmentTypeName(header.type),
    flags: flags(header.flags),
    offset: hex(header.offset),
    virtualAddress: hex(header.virtualAddress),
    physicalAddress: hex(header.physicalAddress),
    fileSize: hex(header.fileSize),
    memorySize: hex(header.memorySize),
    alignment: hex(header.alignment),
  }));
  const table = formatTable([
    ["p_type", "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_align"],
    ...segments.map((segment) => Object.values(segment)),
  ]);
  return {
    header: {
      type: elf.type,
      typeName: fileTypeName(elf.type),
      machine: elf.machine,
      machineName: machineName(elf.machine),
      entry: hex(elf.entry),
      programHeaderOffset: hex(elf.programHeaderOffset),
      programHeaderCount: count,
      programHeaders: segments,
    },
    table: `gABI, "Program Header":\n${table}${count > segments.length ? `\n  and ${count - segments.length} more` : ""}`,
  };
}

function describeElf(source: Source, elfClass: 32 | 64): Description {
  const fileFields = runSync(readElfFileHeaderFields(source, elfClass));
  const { result: elf, refusal } = attempt((elfClass === 64 ? readElf : readElf32)(source, undefined));
  if (elf === undefined)
    return { header: null, fields: fileFields, tables: fieldTables(fileFields), refusal };
  const { header, table } = describeProgramHeaders(elf);
  const note = attempt(findPvhNote(source, elf));
  const noteFields = note.result === undefined ? [] : [pvhNoteField(note.result)];
  return {
    header: { ...header, pvhEntry: note.result === undefined ? null : hex(note.result.entry) },
    fields: [...fileFields, ...runSync(readElfProgramHeaderFields(source, elfClass, elf)), ...noteFields],
    tables: [...fieldTables(fileFields), table, ...fieldTables(noteFields)],
    refusal: note.refusal,
  };
}

function describeArm64(source: Source): Description {
  const fields = runSync(readArm64ImageFields(source));
  const { result, refusal } = attempt(readArm64Image(source));
  return {
    header:
      result === undefined
        ? null
        : {
            textOffset: hex(result.textOffset),
            imageSize: hex(result.imageSize),
            flags: hex(result.flags),
            ...decodeAarch64ImageFlags(result.flags),
          },
    fields,
    tables: fieldTables(fields),
    refusal,
  };
}

function bzImageHeader(image: BzImage, kernelVersion: string | undefined): Record<string, unknown> {
  return {
    protocol: formatProtocolVersion(image.version),
    kernelVersion: kernelVersion ?? null,
    setupHeaderLength: hex(image.header.byteLength),
    protectedModeOffset: hex(image.protectedModeOffset),
    protectedModeLength: hex(image.protectedModeLength),
    payload:
      image.payload === undefined
        ? null
        : { offset: hex(image.payload.offset), length: hex(image.payload.length) },
    relocatable: image.relocatableKernel,
    kernelAlignment: hex(image.kernelAlignment),
    prefAddress: hex(image.prefAddress),
    initSize: hex(image.initSize),
    initrdAddrMax: hex(image.initrdAddrMax),
    cmdlineSize: hex(image.cmdlineSize),
  };
}

function describeBzImage(source: Source): Description {
  const { fields, kernelVersion } = runSync(readBzImageFields(source));
  const { result, refusal } = attempt(readBzImage(source));
  const header = result === undefined ? null : bzImageHeader(result, kernelVersion);
  return { header, fields, tables: fieldTables(fields), refusal };
}

function describeZboot(source: Source): Description {
  const fields = runSync(readZbootFields(source));
  const { result, refusal } = attempt(readZboot(source));
  return {
    header:
      result === undefined
        ? null
        : {
            payloadOffset: hex(result.payloadOffset),
            payloadLength: hex(result.payloadLength),
            compression: result.compression,
          },
    fields,
    tables: fieldTables(fields),
    refusal,
  };
}

/** What is known of a file of that format: of compressed files and others, no more than what they are. */
function describeFile(source: Source, format: ImageFormat): Description {
  switch (format) {
    case "elf64":
      return describeElf(source, 64);
    case "elf32":
      return describeElf(source, 32);
    case "arm64-image":
      return describeArm64(source);
    case "bzImage":
      return describeBzImage(source);
    case "zboot":
      return describeZboot(source);
    default:
      return { header: null, fields: [], tables: [] };
  }
}

/** A field as data: numbers but the size are hex strings. */
function fieldJson({ name, offset, size, value, meaning, section, since }: HeaderField): unknown {
  return {
    name,
    offset: hex(offset),
    size,
    value: typeof value === "string" ? value : hex(value),
    meaning,
    section,
    ...(since === undefined ? {} : { since }),
  };
}

/**
 * Shows the file. A file that the loaders would refuse is shown as far as it can be read, then refused.
 *
 * @throws DirectBootError what the parser of its format throws
 */
export function inspectCommand(argv: readonly string[]): number {
  const args = parseArguments(argv, { json: { type: "boolean" } });
  if (args.positionals.length > 1) throw new UsageError("inspect takes one FILE");
  const { source, close } = openSource(args.positionals[0] ?? embeddedKernel(), "kernel");
  try {
    const head = new Uint8Array(Math.min(DETECT_BYTES, source.byteLength));
    source.readSync?.(head, 0);
    const format = detectFormat(head);
    const { header, fields, tables, refusal } = describeFile(source, format);
    if (args.flag("json")) {
      const json = {
        file: source.name,
        byteLength: hex(source.byteLength),
        format,
        header,
        fields: fields.map(fieldJson),
      };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    } else {
      const title = `${source.name}: ${describeFormat(format)}, ${formatBytes(source.byteLength)}`;
      process.stdout.write(`${[title, ...tables].join("\n")}\n`);
    }
    if (refusal !== undefined) throw refusal;
    return 0;
  } finally {
    close();
  }
}
