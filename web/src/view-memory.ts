/** Guest memory: the picture, what the region under the pointer or the focus is, and the same as tables. */
import { drawMemoryMap, type NamedE820Entry } from "directboot/inspect";
import { code, el, section, table } from "./dom.js";
import { formatAddress, formatBytes, formatCrc32 } from "./format.js";
import type { GuestView, RegionView } from "./protocol.js";
import { currentTheme } from "./theme.js";

const ZOOM_BYTES = 16n << 20n;
/** From here on the picture is drawn in its own size, and scrolls where that is more. */
const WIDE_PIXELS = 720;
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
  /** Of the place for the picture, pixels; 0 until it is in the page. */
  #width = 0;

  constructor(guest: GuestView) {
    this.#guest = guest;
    const radio = (label: string, isZoomed: boolean): HTMLElement => {
      const input = el("input", { type: "radio", name: "zoom", checked: !isZoomed });
      input.addEventListener("change", () => {
        this.#isZoomed = isZoomed;
        this.draw();
      });
      return el("label", {}, input, el("span", {}, label));
    };
    const zoom = el(
      "fieldset",
      { class: "segmented" },
      el("legend", { class: "visually-hidden" }, "What the picture shows"),
      radio("All RAM", false),
      radio("First 16 MiB", true),
    );
    this.#hint();
    this.element = el("div", { class: "memory-view" }, zoom, this.#details, this.#picture);
    for (const type of ["focusin", "pointerover", "click"]) {
      this.#picture.addEventListener(type, (event) => {
        const target = event.target instanceof Element ? event.target.closest(".region") : null;
        if (target !== null) this.#show(target);
      });
    }
    new ResizeObserver(() => {
      const width = this.#picture.clientWidth;
      if (width === this.#width) return;
      const isWide = width >= WIDE_PIXELS && this.#width >= WIDE_PIXELS;
      this.#width = width;
      if (!isWide) this.draw();
    }).observe(this.#picture);
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
      (each) => each.tag === name && (start === null || BigInt(start) === each.start),
    );
    for (const other of this.#picture.querySelectorAll(".is-shown")) other.classList.remove("is-shown");
    element.classList.add("is-shown");
    if (region === undefined) this.#hint();
    else this.#details.replaceChildren(...regionDetails(region));
  }

  /** Draws anew: another zoom, theme or width. */
  draw(): void {
    if (this.#width === 0) return;
    const { map } = this.#guest;
    const start = map.ram[0]?.start ?? 0n;
    const text = drawMemoryMap(map, {
      theme: currentTheme(),
      title: this.#isZoomed ? "Guest memory, first 16 MiB" : "Guest memory",
      // A wide place does not make the picture larger than its type should be.
      ...(this.#width < WIDE_PIXELS ? { width: this.#width } : {}),
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

function regionTable(regions: readonly RegionView[]): HTMLElement {
  return table(
    "Regions",
    [
      { title: "From", kind: "code" },
      { title: "To", kind: "code" },
      { title: "Size", kind: "number" },
      { title: "Data", kind: "number" },
      { title: "CRC-32", kind: "code" },
      { title: "Region", kind: "code" },
    ],
    regions.map(({ start, end, dataLength, crc32, tag }) => [
      code(formatAddress(start)),
      code(formatAddress(end)),
      formatBytes(end - start),
      dataLength === 0 ? "zeros" : formatBytes(dataLength),
      code(formatCrc32(crc32)),
      code(tag),
    ]),
  );
}

/** The section with the picture and the table of regions. */
export function memorySection(picture: MemoryPicture, guest: GuestView): HTMLElement {
  return section(
    "memory-map",
    "Guest memory",
    picture.element,
    el("h3", {}, "Regions"),
    regionTable(guest.regions),
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
