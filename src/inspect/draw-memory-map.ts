/**
 * A picture of guest memory:
 *
 *     title
 *     All RAM
 *     0x0 ┌──┐] → 1
 *         │  │
 *         ├──┤  linux-kernel 24 MiB
 *         │  │  0x01000000–0x02800000
 *         └──┘
 *     1 · The first 16 MiB
 *         ┌──┐  …
 *     legend
 *
 * Each window (map-windows.ts) is a bar to scale with an axis on its left and labels on its right. A region is labelled once,
 * in the window that shows it best; elsewhere it is a mark.
 */
import { toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { drawLegend, drawWindows, itemText, MARGIN, NAME_SIZE } from "./map-drawing.js";
import { checkMap, type DrawMemoryMapOptions } from "./map-input.js";
import { styleSheet } from "./map-theme.js";
import type { MemoryMapInput } from "./memory-map.js";
import { cutText, element, textWidth } from "./svg.js";

const TITLE_SIZE = 16;
const LINE_HEIGHT = 16;
/** A title or a fact does not make a picture wider than this. */
const MOST_TITLE = 900;
/**
 * Draws a guest's memory as an SVG picture: to scale, with windows onto the parts where the regions would be too small to
 * see. The same input gives the same text.
 *
 * @param input what `memoryMapOf` gives, as it is or parsed from its JSON; or a map that was made by hand
 * @returns one `<svg>` element, to be written to a file or put into a page; all names in it are escaped. Each region is a
 *   `<g class="region" data-name data-kind data-start data-end>`, each window a `<g class="window" data-start data-end data-y
 *   data-height>`
 * @throws TypeError for addresses and options of a wrong type; DirectBootError ADDRESS_OUT_OF_RANGE, MEMORY_RANGE_INVALID
 *
 * @example
 * ```ts
 * import { writeFileSync } from "node:fs";
 * import { loadLinuxSync } from "directboot";
 * import { drawMemoryMap, memoryMapOf } from "directboot/inspect";
 *
 * const guest = loadLinuxSync({ kernel: "vmlinuz", memory: 256 * 1024 * 1024 });
 * writeFileSync("map.svg", drawMemoryMap(memoryMapOf(guest)));
 * ```
 */
export function drawMemoryMap(input: MemoryMapInput, options: DrawMemoryMapOptions = {}): string {
  const { theme = "auto", title = "Guest memory" } = options;
  if (theme !== "auto" && theme !== "light" && theme !== "dark") {
    throw new TypeError(`theme must be "auto", "light" or "dark", got ${describeType(theme)}`);
  }
  const map = checkMap(input, options);
  const wanted = options.width === undefined ? undefined : toLength(options.width, "width");
  const windows = drawWindows(map, 46 + map.facts.length * LINE_HEIGHT);
  const titleWidth = Math.min(textWidth(title, TITLE_SIZE, "bold"), MOST_TITLE);
  const factWidths = map.facts.map((fact) => Math.min(textWidth(fact, NAME_SIZE, "sans"), MOST_TITLE));
  const width = Math.ceil(Math.max(windows.right, MARGIN + Math.max(titleWidth, ...factWidths)) + MARGIN);
  const textRoom = width - 2 * MARGIN;
  const legend = drawLegend(map, windows.bottom, width);
  const height = Math.ceil(windows.bottom + legend.height + MARGIN - 8);

  const shownWidth = wanted ?? width;
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg",
    class: `directboot-map theme-${theme}`,
    width: shownWidth,
    height: Math.round((height * shownWidth) / width),
    viewBox: `0 0 ${width} ${height}`,
    role: map.isInteractive ? "group" : "img",
    "aria-label": title,
  };
  return `${element("svg", attributes, [
    element("title", {}, title),
    element("desc", {}, `${map.facts.join(" · ")}. ${map.items.map(itemText).join("; ")}`),
    element("style", {}, [styleSheet(theme)]),
    element("rect", { class: "background", width, height }),
    element("text", { class: "title", x: MARGIN, y: 30 }, cutText(title, TITLE_SIZE, "bold", textRoom)),
    ...map.facts.map((text, index) => {
      const y = 48 + index * LINE_HEIGHT;
      return element("text", { class: "muted", x: MARGIN, y }, cutText(text, NAME_SIZE, "sans", textRoom));
    }),
    ...windows.parts,
    ...legend.parts,
  ])}\n`;
}
