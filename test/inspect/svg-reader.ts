/** Reads SVG for tests: a strict parser of the XML that pictures are made of (XML 1.0), and what is in them. */
import assert from "node:assert/strict";

/** An element. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: XmlElement[];
  /** All text within, of children, too. */
  text: string;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };

function decode(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML 1.0, section 2.2, forbids.
  assert.doesNotMatch(text, /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/, "a forbidden character");
  assert.doesNotMatch(text, /\p{Surrogate}/u, "half of a surrogate pair");
  return text.replaceAll(/&([^;]*);?/g, (whole: string, name: string) => {
    const found = ENTITIES[name];
    assert.ok(whole.endsWith(";") && found !== undefined, `the entity ${whole}`);
    return found;
  });
}

/** Parses one element. Fails for what is not well-formed. */
export function parseXml(source: string): XmlElement {
  const root: XmlElement = { name: "", attributes: new Map(), children: [], text: "" };
  const open: XmlElement[] = [root];
  const token = /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)|</gy;
  for (const [whole, slash, name = "", rest = "", empty, text] of source.matchAll(token)) {
    const parent = open.at(-1);
    assert.ok(parent !== undefined);
    assert.notEqual(whole, "<", `no tag: ${source.slice(source.indexOf(whole), 60)}`);
    if (text !== undefined) {
      assert.doesNotMatch(text, /]]>/);
      for (const each of open) each.text += decode(text);
    } else if (slash === "/") {
      assert.equal(parent.name, name, "tags are nested");
      open.pop();
    } else {
      const attributes = new Map<string, string>();
      for (const [, key = "", value = ""] of rest.matchAll(/([\w:-]+)="([^"]*)"/g)) {
        assert.ok(!attributes.has(key), `${name} has ${key} twice`);
        attributes.set(key, decode(value));
      }
      const element: XmlElement = { name, attributes, children: [], text: "" };
      parent.children.push(element);
      if (empty !== "/") open.push(element);
    }
  }
  assert.equal(open.length, 1, "every element is closed");
  const [element, ...others] = root.children;
  assert.ok(element !== undefined && others.length === 0, "one root");
  return element;
}

/** All elements within, in their order. */
export function descendants(element: XmlElement): XmlElement[] {
  return element.children.flatMap((child) => [child, ...descendants(child)]);
}

/** True if the element is of that class. */
export function hasClass(element: XmlElement, name: string): boolean {
  return (element.attributes.get("class") ?? "").split(" ").includes(name);
}

/** The elements of that class. */
export function ofClass(element: XmlElement, name: string): XmlElement[] {
  return descendants(element).filter((each) => hasClass(each, name));
}

/** An attribute that must be there. */
export function attribute(element: XmlElement, name: string): string {
  const value = element.attributes.get(name);
  assert.ok(value !== undefined, `${element.name} has no ${name}`);
  return value;
}

/** A rectangle in pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Where a <rect> lies. */
export function boxOf(element: XmlElement): Box {
  const read = (name: string): number => Number(element.attributes.get(name) ?? 0);
  const box = { left: read("x"), top: read("y"), right: 0, bottom: 0 };
  return { ...box, right: box.left + read("width"), bottom: box.top + read("height") };
}

/** True if the boxes share more than an edge. */
export function overlap(a: Box, b: Box): boolean {
  const slack = 0.02; // numbers have two decimals
  return (
    a.left < b.right - slack &&
    b.left < a.right - slack &&
    a.top < b.bottom - slack &&
    b.top < a.bottom - slack
  );
}
