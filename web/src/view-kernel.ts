/** The view of the file: its headers, field by field. */
import type { InspectedField, InspectedSegment, KernelInspection } from "directboot/inspect";
import { code, el, section, table } from "./dom.js";
import { formatBytes, formatHex } from "./format.js";

/** "an x86 bzImage, protocol 2.15, xz-compressed data inside" */
export function describeFile({ description, compression, inside, format }: KernelInspection): string {
  if (compression === undefined) return description;
  if (inside !== undefined && format !== "bzImage") return `${description}: ${describeFile(inside)} inside`;
  return `${description}, ${compression.description} inside`;
}

/** "1 field", "2 fields" */
export function countOf(fields: number): string {
  return `${fields} field${fields === 1 ? "" : "s"}`;
}

export function fieldTable(title: string, fields: readonly InspectedField[]): HTMLElement {
  return table(
    title,
    [
      { title: "Offset", kind: "code" },
      { title: "Size", kind: "number" },
      { title: "Field", kind: "code" },
      { title: "Value", kind: "code" },
      { title: "Meaning" },
    ],
    fields.map(({ offset, size, name, value, kind, meaning, since }) => [
      code(formatHex(offset)),
      String(size),
      code(name),
      code(kind === "text" ? JSON.stringify(value) : value),
      el(
        "span",
        {},
        since === undefined ? undefined : el("span", { class: "since" }, `since ${since} `),
        meaning,
      ),
    ]),
  );
}

function segmentTable(segments: readonly InspectedSegment[]): HTMLElement {
  return table(
    "Program headers",
    [
      { title: "Number", kind: "number" },
      { title: "Type", kind: "code" },
      { title: "Flags", kind: "code" },
      { title: "Offset", kind: "code" },
      { title: "Virtual", kind: "code" },
      { title: "Physical", kind: "code" },
      { title: "In the file", kind: "number" },
      { title: "In memory", kind: "number" },
    ],
    segments.map((segment, index) => [
      String(index),
      code(segment.type),
      code(segment.flags),
      code(formatHex(segment.offset)),
      code(segment.virtualAddress),
      code(segment.physicalAddress),
      formatBytes(segment.fileSize),
      formatBytes(segment.memorySize),
    ]),
  );
}

export function fold(title: string, count: string, isOpen: boolean, content: HTMLElement): HTMLElement {
  return el(
    "details",
    { class: "fold", open: isOpen },
    el("summary", {}, el("span", {}, title), " ", el("span", { class: "count" }, count)),
    content,
  );
}

function layers(inspection: KernelInspection): KernelInspection[] {
  return inspection.inside === undefined ? [inspection] : [inspection, ...layers(inspection.inside)];
}

/**
 * The section with all headers; undefined if there are none to show.
 *
 * @param unpacked the kernel that was unpacked out of a bzImage
 */
export function kernelSection(
  inspection: KernelInspection,
  unpacked?: KernelInspection,
): HTMLElement | undefined {
  const content: HTMLElement[] = [];
  for (const layer of [...layers(inspection), ...(unpacked === undefined ? [] : [unpacked])]) {
    const { fields, segments, segmentCount } = layer;
    if (layer !== inspection) content.push(el("h3", {}, `Inside: ${layer.description}`));
    const sections = new Set(fields.map(({ section }) => section));
    for (const title of sections) {
      const inSection = fields.filter((field) => field.section === title);
      const isFirst = content.length === 0;
      content.push(fold(title, countOf(inSection.length), isFirst, fieldTable(title, inSection)));
    }
    if (segments.length > 0) {
      const count =
        segments.length < segmentCount ? `${segments.length} of ${segmentCount}` : `${segmentCount}`;
      content.push(fold("Program headers", count, layer === unpacked, segmentTable(segments)));
    }
  }
  return content.length === 0 ? undefined : section("header", "Headers", ...content);
}
