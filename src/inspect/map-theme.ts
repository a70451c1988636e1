/** Colours and type of a memory map. */
import type { RegionKind } from "./memory-map.js";

/** "auto" follows the reader's system. */
export type MemoryMapTheme = "auto" | "light" | "dark";

type Colours = readonly [light: string, dark: string];

const BACKGROUND: Colours = ["#ffffff", "#11171d"];
const TEXT: Colours = ["#1b2733", "#e6edf3"];
const MUTED: Colours = ["#56636f", "#9aa7b3"];
const LINE: Colours = ["#8a96a1", "#6b7884"];
const BRACKET: Colours = ["#5b7fa6", "#7fa6d1"];

type Kind = readonly [legend: string, light: string, dark: string];

/**
 * Purposes of regions, with their names in the legend and their colours, in the legend's order. Fills stand out from the
 * background by 3:1 at least, and text by 4.5:1 (WCAG 2.1, 1.4.11 and 1.4.3).
 */
export const REGION_KINDS: Readonly<Record<RegionKind, Kind>> = {
  kernel: ["kernel", "#2f6fb7", "#5b9be6"],
  initrd: ["initrd", "#1f8a5b", "#3fb984"],
  "device-tree": ["device tree", "#0e8593", "#38b6c6"],
  "command-line": ["command line", "#a8690f", "#dba23f"],
  "boot-params": ["zero page, start info", "#cf4a2e", "#f0765a"],
  "setup-data": ["setup_data", "#8d6346", "#b98b6b"],
  descriptors: ["GDT", "#b83280", "#e56cb0"],
  "page-tables": ["page tables", "#7650c7", "#a98bf0"],
  acpi: ["ACPI", "#6b8016", "#a3b84a"],
  other: ["other", "#68757f", "#9aa7b3"],
};

/** All that has a colour: regions, RAM, and entries of the e820 map. */
export const KINDS: Readonly<Record<string, Kind>> = {
  ...REGION_KINDS,
  hole: ["no RAM", "#f6f7f8", "#171e25"],
  ram: ["free RAM", "#e4e9ee", "#2a333c"],
  "e820-ram": ["e820: usable RAM", "#9fb0bf", "#5d6d7c"],
  "e820-reserved": ["e820: reserved", "#cf4a2e", "#f0765a"],
  "e820-acpi": ["e820: ACPI", "#6b8016", "#a3b84a"],
  "e820-other": ["e820: other", "#68757f", "#9aa7b3"],
};

const SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
const MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";

const TYPE = [
  `text{font-family:${SANS};font-size:12px}`,
  ".title{font-size:16px;font-weight:600}",
  ".caption{font-weight:600}",
  ".name{font-weight:600}",
  ".size{font-size:11px;font-weight:400}",
  ".legend{font-size:11px;font-weight:400}",
  `.mono{font-family:${MONO};font-size:10.5px}`,
  `.tick-label{font-family:${MONO};font-size:10px;text-anchor:end}`,
  ".line{fill:none;stroke-width:1}",
  ".bracket{fill:none;stroke-width:1.5}",
  ".hit{fill:transparent}",
  ".fill-hole{stroke-dasharray:3 3}",
  ".edged{stroke-width:.75}",
  ".entry{stroke-width:1}",
  ".above{pointer-events:none}",
  ".region:focus{outline:none}",
  ".region:focus .name{text-decoration:underline}",
  ".region:is(:hover,:focus) .shape{stroke-width:2}",
];

/** The rules of one palette. */
function colours(isDark: boolean): string[] {
  const of = ([light, dark]: Colours): string => (isDark ? dark : light);
  return [
    `.background{fill:${of(BACKGROUND)}}`,
    `text{fill:${of(TEXT)}}`,
    `.muted{fill:${of(MUTED)}}`,
    `.line{stroke:${of(LINE)}}`,
    `.bracket{stroke:${of(BRACKET)}}`,
    `.edged{stroke:${of(BACKGROUND)}}`,
    `.fill-hole{stroke:${of(LINE)}}`,
    `.entry{fill:${of(TEXT)};stroke:${of(BACKGROUND)}}`,
    ...Object.entries(KINDS).map(([kind, [, ...fill]]) => `.fill-${kind}{fill:${of(fill)}}`),
    `.region:is(:hover,:focus) :is(.shape,.leader){stroke:${of(TEXT)}}`,
  ];
}

/** The content of the picture's <style>. It applies to this picture alone, even with others on one page. */
export function styleSheet(theme: MemoryMapTheme): string {
  const within = (rules: readonly string[]): string =>
    rules.map((rule) => `.directboot-map.theme-${theme} ${rule}`).join("");
  const dark = theme === "auto" ? `@media (prefers-color-scheme:dark){${within(colours(true))}}` : "";
  return within([...TYPE, ...colours(theme === "dark")]) + dark;
}
