/** `directboot inspect`: what a file is, header field by header field. */

import { hex } from "../base/address.js";
import { describeFormat } from "../images/detect.js";
import type { InspectedField } from "../inspect/kernel-headers.js";
import {
  type InspectedCompression,
  inspectSourceSync,
  type KernelInspection,
} from "../inspect/kernel-inspection.js";
import { formatSize } from "../inspect/sizes.js";
import { openSource } from "../sources/open.js";
import { formatTable } from "./format.js";
import { kernelInput } from "./load.js";
import type { Arguments, Command } from "./options.js";

function formatValue({ kind, value }: InspectedField): string {
  return kind === "text" ? JSON.stringify(value) : value;
}

/** Aligned tables, each under the section that its fields are from. */
function fieldTables(fields: readonly InspectedField[]): string[] {
  const sections = [...new Set(fields.map(({ section }) => section))];
  // One width for all tables: a header and the structure that it points to are read together.
  const rows = fields.map((field) => [
    hex(field.offset),
    `${field.size}`,
    field.name,
    formatValue(field),
    field.since === undefined ? field.meaning : `${field.since}+  ${field.meaning}`,
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

/** The program headers, one a row, in place of their fields. */
function segmentTable({ segments, segmentCount }: KernelInspection): string {
  const table = formatTable([
    ["p_type", "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_align"],
    ...segments.map((segment) =>
      Object.values(segment).map((value: string | number) =>
        typeof value === "number" ? hex(value) : value,
      ),
    ),
  ]);
  const more = segmentCount > segments.length ? `\n  and ${segmentCount - segments.length} more` : "";
  return `gABI, "Program Header":\n${table}${more}`;
}

function tables(inspection: KernelInspection): string[] {
  const { fields, format, header } = inspection;
  const isElf = (format === "elf64" || format === "elf32") && header !== null;
  if (!isElf) return fieldTables(fields);
  const fileFields = fields.filter(({ name }) => name.startsWith("e_"));
  const noteFields = fields.filter(({ name }) => name.startsWith("XEN_"));
  return [...fieldTables(fileFields), segmentTable(inspection), ...fieldTables(noteFields)];
}

/** An inspection as data; JSON leaves out what is undefined. */
function json({ name, byteLength, format, header, fields, compression, inside }: KernelInspection): unknown {
  return {
    file: name,
    byteLength,
    format,
    header,
    fields: fields.map(({ kind: _, ...field }) => field),
    compression: compression && { ...compression, description: undefined },
    inside: inside && json(inside),
  };
}

/** The compression, in a line. */
function compressionLine({ description, compressedBytes, bytes }: InspectedCompression): string {
  const sizes = [
    ...(compressedBytes === undefined ? [] : [formatSize(compressedBytes)]),
    ...(bytes === undefined ? [] : [`${formatSize(bytes)} unpacked`]),
  ];
  return [`inside: ${description}`, ...sizes].join(", ");
}

/** An inspection as text, with the kernel inside below it. */
function text(inspection: KernelInspection, title: string): string[] {
  const { byteLength, format, description, fields, compression, inside } = inspection;
  const size = byteLength === undefined ? "" : `, ${formatSize(byteLength)}`;
  return [
    // Where there is no header, the words say more than the format.
    `${title}: ${fields.length === 0 ? description : describeFormat(format)}${size}`,
    ...tables(inspection),
    // The first line has named the compression of a whole file.
    ...(compression === undefined || compression.format === format ? [] : [compressionLine(compression)]),
    ...(inside === undefined ? [] : ["", ...text(inside, "the kernel inside")]),
  ];
}

/**
 * Shows the file, and with --unpack the kernel inside. A file that the loaders would refuse is shown as far as it can be
 * read, then refused.
 *
 * @throws DirectBootError what the parser of its format throws
 */
async function run(args: Arguments): Promise<number> {
  const { source, close } = openSource(await kernelInput(args), "kernel");
  try {
    const isUnpacked = args.flag("unpack");
    // Whether anything can load a compressed file is only told by what is inside.
    const { inspection: whole, error } = inspectSourceSync(source, {
      decoders: await import("../decoders/index.js"),
      unpack: isUnpacked ? "all" : "wrappers",
    });
    const inspection = isUnpacked ? whole : { ...whole, inside: undefined };
    const shown = args.flag("json")
      ? JSON.stringify(json(inspection), null, 2)
      : text(inspection, source.name).join("\n");
    process.stdout.write(`${shown}\n`);
    if (error !== undefined) throw error;
    return 0;
  } finally {
    close();
  }
}

export const inspectCommand: Command = {
  summary: "what a file is, and its header, field by field",
  operands: "[FILE]",
  options: { unpack: { help: "show the kernel inside a compressed file, a bzImage or a zboot image, too" } },
  examples: [["inspect vmlinuz --unpack", "the bzImage, and the ELF inside"]],
  run,
};
