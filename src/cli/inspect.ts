/** `directboot inspect`: what a file is. */
import { hex } from "../base/address.js";
import { decodeAarch64ImageFlags, readArm64Image } from "../images/arm64-image.js";
import { DETECT_BYTES, describeFormat, detectFormat } from "../images/detect.js";
import { type ElfImage, PT_LOAD, PT_NOTE, readElf } from "../images/elf.js";
import { openSource } from "../sources/open.js";
import { runSync } from "../sources/reader.js";
import type { Source } from "../sources/source.js";
import { formatBytes, formatTable } from "./format.js";
import { embeddedKernel } from "./load.js";
import { parseArguments, UsageError } from "./options.js";

// gABI: p_type and p_flags
const SEGMENT_TYPES: Readonly<Record<number, string>> = { [PT_LOAD]: "LOAD", [PT_NOTE]: "NOTE" };
const ELF_TYPES: Readonly<Record<number, string>> = { 1: "relocatable", 2: "executable", 3: "shared object" };
const MACHINES: Readonly<Record<number, string>> = { 3: "i386", 62: "x86-64", 183: "arm64" };
const PAGE_SIZES = ["unspecified", "4 KiB", "16 KiB", "64 KiB"];

function flags(bits: number): string {
  return `${bits & 4 ? "R" : "-"}${bits & 2 ? "W" : "-"}${bits & 1 ? "X" : "-"}`;
}

function describeElf(elf: ElfImage): { json: unknown; text: string } {
  const segments = elf.programHeaders.map((header) => ({
    type: SEGMENT_TYPES[header.type] ?? hex(header.type),
    flags: flags(header.flags),
    offset: hex(header.offset),
    virtualAddress: hex(header.virtualAddress),
    physicalAddress: hex(header.physicalAddress),
    fileSize: hex(header.fileSize),
    memorySize: hex(header.memorySize),
    alignment: hex(header.alignment),
  }));
  const json = {
    type: elf.type,
    machine: elf.machine,
    entry: hex(elf.entry),
    programHeaderOffset: hex(elf.programHeaderOffset),
    programHeaders: segments,
  };
  const head = formatTable([
    ["e_type", `${elf.type}`, ELF_TYPES[elf.type] ?? "other"],
    ["e_machine", `${elf.machine}`, MACHINES[elf.machine] ?? "other"],
    ["e_entry", hex(elf.entry), "address of the first instruction"],
    ["e_phoff", hex(elf.programHeaderOffset), `${elf.programHeaders.length} program headers`],
  ]);
  const table = formatTable([
    ["p_type", "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_align"],
    ...segments.map((segment) => [
      segment.type,
      segment.flags,
      segment.offset,
      segment.virtualAddress,
      segment.physicalAddress,
      segment.fileSize,
      segment.memorySize,
      segment.alignment,
    ]),
  ]);
  return { json, text: `${head}\n${table}` };
}

function describeArm64(source: Source): { json: unknown; text: string } {
  const header = runSync(readArm64Image(source));
  const decoded = decodeAarch64ImageFlags(header.flags);
  return {
    json: {
      textOffset: hex(header.textOffset),
      imageSize: hex(header.imageSize),
      flags: hex(header.flags),
      ...decoded,
    },
    text: formatTable([
      ["text_offset", hex(header.textOffset), "from a 2 MiB aligned base"],
      ["image_size", hex(header.imageSize), formatBytes(header.imageSize)],
      [
        "flags",
        hex(header.flags),
        `${decoded.bigEndian ? "big" : "little"}-endian, page size ${PAGE_SIZES[decoded.pageSize]}, ${
          decoded.anyStartAddress ? "may be placed anywhere" : "must lie at the start of RAM"
        }`,
      ],
    ]),
  };
}

export function inspectCommand(argv: readonly string[]): number {
  const args = parseArguments(argv, { json: { type: "boolean" } });
  if (args.positionals.length > 1) throw new UsageError("inspect takes one FILE");
  const { source, close } = openSource(args.positionals[0] ?? embeddedKernel(), "kernel");
  try {
    const head = new Uint8Array(Math.min(DETECT_BYTES, source.byteLength));
    source.readSync?.(head, 0);
    const format = detectFormat(head);
    const details =
      format === "elf64"
        ? describeElf(runSync(readElf(source, undefined)))
        : format === "arm64-image"
          ? describeArm64(source)
          : undefined;
    if (args.flag("json")) {
      const json = {
        file: source.name,
        byteLength: hex(source.byteLength),
        format,
        header: details?.json ?? null,
      };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    } else {
      const title = `${source.name}: ${describeFormat(format)}, ${formatBytes(source.byteLength)}`;
      process.stdout.write(details === undefined ? `${title}\n` : `${title}\n${details.text}\n`);
    }
    return 0;
  } finally {
    close();
  }
}
