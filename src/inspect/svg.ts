/** SVG as text, and about how wide text is set. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Characters that XML 1.0 forbids (section 2.2, "Characters"): most control characters, halves of surrogate pairs. */
const FORBIDDEN = /[^\t\n\r -\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** `text` for an element or an attribute. Characters that XML forbids become U+FFFD. */
export function escapeXml(text: string): string {
  return text
    .replace(FORBIDDEN, "\ufffd")
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** At most two decimals: a picture does not change with the last bit of a division. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An element; attributes that are undefined are left out. A string as its content is text, an array is elements. */
export function element(
  name: string,
  attributes: Attributes,
  content: string | readonly string[] = [],
): string {
  const text = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? round(value) : escapeXml(value ?? "")}"`)
    .join("");
  const inner = typeof content === "string" ? escapeXml(content) : content.join("");
  return content.length === 0 && typeof content !== "string"
    ? `<${name}${text}/>`
    : `<${name}${text}>${inner}</${name}>`;
}

/** How text is set. */
export type Face = "sans" | "bold" | "mono";

/**
 * The width of a character in ems, as DejaVu Sans has it, the widest of the fonts that are asked for: nothing runs into its
 * neighbour.
 */
function advance(character: string, face: Face): number {
  // East Asian and other wide characters.
  if ((character.codePointAt(0) ?? 0) >= 0x1100 && character !== "…") return 1.1;
  if (face === "mono") return 0.61;
  const factor = face === "bold" ? 1.12 : 1;
  if ("iIjlftr.,:;'|!()[]/ -".includes(character)) return 0.42 * factor;
  if ("mwMW@%".includes(character)) return factor;
  return (character >= "A" && character <= "Z" ? 0.7 : 0.62) * factor;
}

/** About how wide `text` is set, in pixels. */
export function textWidth(text: string, size: number, face: Face): number {
  let width = 0;
  for (const character of text) width += advance(character, face);
  return width * size;
}

/** As much of `text` as fits in `width` pixels, with "…" where it is cut. */
export function cutText(text: string, size: number, face: Face, width: number): string {
  if (textWidth(text, size, face) <= width) return text;
  let cut = "";
  for (const character of text) {
    if (textWidth(`${cut}${character}…`, size, face) > width) break;
    cut += character;
  }
  return `${cut}…`;
}
