/** Guest memory: the picture, what the region under the pointer or the focus is, and the same as tables. */
import { drawMemoryMap, type NamedE820Entry } from "directboot/inspect";
import { code, el, section, table } from "./dom.js";
import { formatAddress, formatBytes, formatCrc32 } from "./format.js";
import type { GuestView, RegionView } from "./protocol.js";
import { segmented } from "./segmented.js";
import { currentTheme } from "./theme.js";

const ZOOM_BYTES = 16n << 20n;
/** The rules in a picture; no name of a region can end them. */
const STYLE = /<style>([^<]*)<\/style>/;

/** The purpose of a region, by its tag. */
const PURPOSES: Readonly<Record<string, string>> = {
  "linux-kernel": "the kernel's image, where its headers want it",
  "linux-initrd": "the initial RAM file system",
  "linux-device-tree": "the flattened device tree, with /chosen filled in",
  "linux-commandline": "the kernel's command line",
  "linux-zeropage": "boot_params, the “zero page”: all that the kernel is told, with the e820 map",
  "linux-start-info": "the PVH start info: what the kernel is told, with the memory map",
  "linux-setup-data": "setup_data: more that the kernel is told, as a list",
  "default-gdt": "the global descriptor table that the segment registers were loaded from",
  "linux-gdt32": "the global descriptor table that the segment registers were loaded from",
  "linux-pagetables": "page tables that map low memory onto itself, for the 64-bit entry",
  "linux-rdsp": "where ACPI's root pointer would be; zero without ACPI tables",
  "linux-acpi-tables": "the ACPI tables; zero without any",
};

/** "kernel: code", so that the kernel's regions can be told apart; short, since the picture is narrow. */
function pictureName({ tag, segments }: RegionView): string {
  return segments.length === 0
    ? tag
    : `${tag.replace(/^linux-/, "")}: ${segments.map(({ name }) => name).join(", ")}`;
}

/** "0: code, R-X, 0xffffffff81000000" */
function segmentWords({ segments }: RegionView): string {
  return segments
    .map(({ index, name, flags, virtualAddress }) => `${index}: ${name}, ${flags}, ${virtualAddress}`)
    .join("; ");
}

function regionDetails(region: RegionView): HTMLElement[] {
  const { start, end, tag, dataLength, crc32, acceptance } = region;
  const fact = (term: string, ...value: (HTMLElement | string)[]): HTMLElement =>
    el("div", {}, el("dt", {}, term), el("dd", {}, ...value));
  return [
    el("h3", {}, code(tag)),
    el("p", {}, PURPOSES[tag] ?? "pages of the plan"),
    el(
      "dl",
      { class: "facts" },
      fact("Range", code(`${formatAddress(start)}-${formatAddress(end)}`)),
      fact("Size", formatBytes(end - start)),
      fact("Data", dataLength === 0 ? "none: zeros" : formatBytes(dataLength)),
      fact("CRC-32 of the data", code(formatCrc32(crc32))),
      fact("Acceptance", acceptance),
      ...(region.segments.length === 0 ? [] : [fact("Program header", segmentWords(region))]),
    ),
  ];
}

/** The picture with its zoom and its details. */
export class MemoryPicture {
  readonly element: HTMLElement;
  readonly #picture = el("div", {
    class: "picture scroller",
    role: "group",
    tabindex: "0",
    "aria-label": "Picture of guest memory",
  });
  readonly #details = el("div", { class: "region-details", "aria-live": "polite" });
  readonly #guest: GuestView;
  #isZoomed = false;

  /** @param onBytes called with a region whose bytes are to be shown */
  constructor(guest: GuestView, onBytes: (region: RegionView) => void) {
    this.#guest = guest;
    const zoomTo = (isZoomed: boolean) => (): void => {
      this.#isZoomed = isZoomed;
      this.draw();
    };
    const zoom = segmented("What the picture shows", "zoom", [
      ["All RAM", zoomTo(false)],
      ["First 16 MiB", zoomTo(true)],
    ]);
    this.#hint();
    this.element = el(
      "div",
      { class: "memory-view" },
      el("div", { class: "memory-picture" }, zoom, this.#picture),
      el(
        "div",
        { class: "memory-regions" },
        this.#details,
        el("h3", {}, "Regions"),
        regionTable(guest.regions, onBytes),
      ),
    );
    for (const type of ["focusin", "pointerover", "click"]) {
      this.#picture.addEventListener(type, (event) => {
        const target = event.target instanceof Element ? event.target.closest(".region") : null;
        if (target !== null) this.#show(target);
      });
    }
    this.draw();
  }

  #hint(): void {
    this.#details.replaceChildren(
      el("p", { class: "quiet-text" }, "Point at a region, or go to it with the Tab key, to see what it is."),
    );
  }

  #show(element: Element): void {
    const name = element.getAttribute("data-name");
    const start = element.getAttribute("data-start");
    const region = this.#guest.regions.find(
      (each) => pictureName(each) === name && (start === null || BigInt(start) === each.start),
    );
    for (const other of this.#picture.querySelectorAll(".is-shown")) other.classList.remove("is-shown");
    element.classList.add("is-shown");
    if (region === undefined) this.#hint();
    else this.#details.replaceChildren(...regionDetails(region));
  }

  /** Draws anew: another zoom or theme. */
  draw(): void {
    const { regions } = this.#guest;
    const names = new Map(regions.map((region) => [region.start, pictureName(region)]));
    const map = {
      ...this.#guest.map,
      regions: this.#guest.map.regions.map((each) => ({ ...each, name: names.get(each.start) ?? each.name })),
    };
    const start = map.ram[0]?.start ?? 0n;
    const text = drawMemoryMap(map, {
      theme: currentTheme(),
      title: this.#isZoomed ? "Guest memory, first 16 MiB" : "Guest memory",
      ...(this.#isZoomed ? { start, end: start + ZOOM_BYTES } : {}),
    });
    // A policy without 'unsafe-inline' leaves a <style> without effect; a constructed style sheet is the script's own.
    const [, rules = ""] = STYLE.exec(text) ?? [];
    pictureSheet().replaceSync(rules);
    const svg = new DOMParser().parseFromString(text.replace(STYLE, ""), "image/svg+xml").documentElement;
    this.#picture.replaceChildren(document.importNode(svg, true));
  }
}

let sheet: CSSStyleSheet | undefined;

/** The style sheet of the picture that is shown. */
function pictureSheet(): CSSStyleSheet {
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  }
  return sheet;
}

function regionTable(regions: readonly RegionView[], onBytes: (region: RegionView) => void): HTMLElement {
  const hasSegments = regions.some(({ segments }) => segments.length > 0);
  return table(
    "Regions",
    [
      { title: "From", kind: "code" },
      { title: "To", kind: "code" },
      { title: "Size", kind: "number" },
      { title: "Data", kind: "number" },
      { title: "CRC-32", kind: "code" },
      { title: "Region", kind: "code" },
      ...(hasSegments ? [{ title: "Program header" }] : []),
      { title: "Bytes" },
    ],
    regions.map((region) => {
      const { start, end, dataLength, crc32, tag } = region;
      const label = `Show the bytes of ${tag} at ${formatAddress(start)}`;
      const button = el("button", { type: "button", class: "quiet", "aria-label": label }, "Show");
      button.addEventListener("click", () => onBytes(region));
      return [
        code(formatAddress(start)),
        code(formatAddress(end)),
        formatBytes(end - start),
        dataLength === 0 ? "zeros" : formatBytes(dataLength),
        code(formatCrc32(crc32)),
        code(tag),
        ...(hasSegments ? [segmentWords(region)] : []),
        button,
      ];
    }),
  );
}

/** The section with the e820 map; undefined where the kernel gets none. */
export function e820Section(entries: readonly NamedE820Entry[] | undefined): HTMLElement | undefined {
  if (entries === undefined) return undefined;
  return section(
    "e820",
    "e820 map",
    el("p", { class: "lead" }, "What the kernel is told of its memory."),
    table(
      "e820 map",
      [
        { title: "From", kind: "code" },
        { title: "To", kind: "code" },
        { title: "Size", kind: "number" },
        { title: "Type" },
      ],
      entries.map(({ start, end, type, typeName }) => [
        code(formatAddress(start)),
        code(formatAddress(end)),
        formatBytes(end - start),
        `${type}: ${typeName}`,
      ]),
    ),
  );
}
