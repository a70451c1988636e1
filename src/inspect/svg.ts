/** SVG as text. */

/**
 * `text` for an element or an attribute. What XML 1.0 has no place for (section 2.2, "Characters": most control characters,
 * halves of surrogate pairs) becomes U+FFFD.
 */
export function escapeXml(text: string): string {
  let escaped = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const isForbidden =
      (code < 0x20 && code !== 0x9 && code !== 0xa && code !== 0xd) ||
      (code >= 0xd800 && code <= 0xdfff) ||
      code === 0xfffe ||
      code === 0xffff;
    escaped += isForbidden ? "\ufffd" : (ENTITIES[character] ?? character);
  }
  return escaped;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** A number with two decimals at most: what is drawn does not change with the last bit of a division. */
export function number(value: number): string {
  return String(Math.round(value * 100) / 100);
}

type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An element; attributes that are undefined are left out. Attributes are escaped, `children` are elements already. */
export function element(name: string, attributes: Attributes, children: readonly string[] = []): string {
  const text = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? number(value) : escapeXml(value ?? "")}"`)
    .join("");
  return children.length === 0 ? `<${name}${text}/>` : `<${name}${text}>${children.join("")}</${name}>`;
}

/** An element that holds text. */
export function textElement(name: string, attributes: Attributes, text: string): string {
  return element(name, attributes, [escapeXml(text)]);
}

// Advance widths in ems, as DejaVu Sans has them, the widest of the fonts that are asked for: nothing runs into its neighbour.
const NARROW = "iIjlftr.,:;'|!()[]/ -";
const BROAD = "mwMW@%";
const NARROW_EM = 0.42;
const BROAD_EM = 1;
const CAPITAL_EM = 0.7;
const OTHER_EM = 0.62;
const MONO_EM = 0.61;
/** Bold is so many times as wide. */
const BOLD_FACTOR = 1.12;
/** East Asian and other wide characters. */
const WIDE_EM = 1.1;
const FIRST_WIDE = 0x1100;

/** How text is set. */
export type Face = "sans" | "bold" | "mono";

function advance(character: string, face: Face): number {
  if ((character.codePointAt(0) ?? 0) >= FIRST_WIDE && character !== "…") return WIDE_EM;
  if (face === "mono") return MONO_EM;
  const factor = face === "bold" ? BOLD_FACTOR : 1;
  if (NARROW.includes(character)) return NARROW_EM * factor;
  if (BROAD.includes(character)) return BROAD_EM * factor;
  return (character >= "A" && character <= "Z" ? CAPITAL_EM : OTHER_EM) * factor;
}

/** About as wide as `text` is set, in pixels. */
export function textWidth(text: string, size: number, face: Face): number {
  let width = 0;
  for (const character of text) width += advance(character, face);
  return width * size;
}

/** `text` as far as it fits in `width` pixels, with "…" where it is cut. */
export function cutText(text: string, size: number, face: Face, width: number): string {
  if (textWidth(text, size, face) <= width) return text;
  let cut = "";
  for (const character of text) {
    if (textWidth(`${cut}${character}…`, size, face) > width) break;
    cut += character;
  }
  return `${cut}…`;
}
