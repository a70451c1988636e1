/** Colours and type of a memory map. */

/** "auto" follows the reader's system. */
export type MemoryMapTheme = "auto" | "light" | "dark";

/** What is coloured, with its words in the legend. */
export const KIND_NAMES: Readonly<Record<string, string>> = {
  kernel: "kernel",
  initrd: "initrd",
  "device-tree": "device tree",
  "command-line": "command line",
  "boot-params": "zero page, start info",
  "setup-data": "setup_data",
  descriptors: "GDT",
  "page-tables": "page tables",
  acpi: "ACPI",
  other: "other",
  hole: "no RAM",
  ram: "free RAM",
};

interface Palette {
  readonly background: string;
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  readonly zoom: string;
  readonly kinds: Readonly<Record<string, string>>;
  readonly e820: Readonly<Record<string, string>>;
}

// Fills stand out from the background by 3:1 at least, and text by 4.5:1 (WCAG 2.1, 1.4.11 and 1.4.3).
const LIGHT: Palette = {
  background: "#ffffff",
  text: "#1b2733",
  muted: "#56636f",
  line: "#8a96a1",
  zoom: "#5b7fa6",
  kinds: {
    ram: "#e4e9ee",
    hole: "#f6f7f8",
    kernel: "#2f6fb7",
    initrd: "#1f8a5b",
    "device-tree": "#0e8593",
    "command-line": "#b7791f",
    "boot-params": "#cf4a2e",
    "setup-data": "#8d6346",
    descriptors: "#b83280",
    "page-tables": "#7650c7",
    acpi: "#6b8016",
    other: "#68757f",
  },
  e820: { ram: "#9fb0bf", reserved: "#cf4a2e", acpi: "#6b8016", other: "#68757f" },
};

const DARK: Palette = {
  background: "#11171d",
  text: "#e6edf3",
  muted: "#9aa7b3",
  line: "#6b7884",
  zoom: "#7fa6d1",
  kinds: {
    ram: "#2a333c",
    hole: "#171e25",
    kernel: "#5b9be6",
    initrd: "#3fb984",
    "device-tree": "#38b6c6",
    "command-line": "#dba23f",
    "boot-params": "#f0765a",
    "setup-data": "#b98b6b",
    descriptors: "#e56cb0",
    "page-tables": "#a98bf0",
    acpi: "#a3b84a",
    other: "#9aa7b3",
  },
  e820: { ram: "#5d6d7c", reserved: "#f0765a", acpi: "#a3b84a", other: "#9aa7b3" },
};

const SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
const MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";

/** Rules of one palette for what is inside `root`. */
function colours(root: string, { background, text, muted, line, zoom, kinds, e820 }: Palette): string[] {
  return [
    `${root} .background{fill:${background}}`,
    `${root} text{fill:${text}}`,
    `${root} .muted{fill:${muted}}`,
    `${root} .frame,${root} .tick,${root} .leader{stroke:${line}}`,
    `${root} .bracket{stroke:${zoom}}`,
    `${root} .zoom{fill:${zoom};stroke:${zoom}}`,
    `${root} .edged{stroke:${background}}`,
    `${root} .hole .shape{stroke:${line}}`,
    `${root} .entry{fill:${text};stroke:${background}}`,
    `${root} .region:hover .shape,${root} .region:focus .shape{stroke:${text}}`,
    `${root} .region:hover .leader,${root} .region:focus .leader{stroke:${text}}`,
    ...Object.entries(kinds).map(([kind, fill]) => `${root} .fill-${kind}{fill:${fill}}`),
    ...Object.entries(e820).map(([kind, fill]) => `${root} .e820-${kind}{fill:${fill}}`),
  ];
}

/** The content of the picture's <style>; it holds for this picture alone, also where pictures stand in one page. */
export function styleSheet(theme: MemoryMapTheme): string {
  const root = `.directboot-map.theme-${theme}`;
  const rules = [
    `${root} text{font-family:${SANS};font-size:12px}`,
    `${root} .title{font-size:16px;font-weight:600}`,
    `${root} .caption,${root} .name{font-weight:600}`,
    `${root} .size,${root} .legend{font-size:11px;font-weight:400}`,
    `${root} .mono{font-family:${MONO};font-size:10.5px}`,
    `${root} .tick-label{font-family:${MONO};font-size:10px;text-anchor:end}`,
    `${root} .frame,${root} .leader,${root} .tick{fill:none;stroke-width:1}`,
    `${root} .bracket{fill:none;stroke-width:1.5}`,
    `${root} .zoom{fill-opacity:.1;stroke-opacity:.55;stroke-width:1}`,
    `${root} .hit{fill:transparent}`,
    `${root} .edged{stroke-width:.75}`,
    `${root} .entry{stroke-width:1}`,
    `${root} .above{pointer-events:none}`,
    `${root} .region:focus{outline:none}`,
    `${root} .region:hover .shape,${root} .region:focus .shape{stroke-width:2}`,
    `${root} .region:focus .name{text-decoration:underline}`,
    ...colours(root, theme === "dark" ? DARK : LIGHT),
  ];
  if (theme === "auto") rules.push(`@media (prefers-color-scheme:dark){${colours(root, DARK).join("")}}`);
  return rules.join("");
}
