import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { REGION_KINDS, styleSheet } from "../../src/inspect/map-theme.js";

/** Relative luminance (WCAG 2.1, "relative luminance"). */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [darker = 0, lighter = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (lighter + 0.05) / (darker + 0.05);
}

describe("the colours of a memory map", () => {
  for (const theme of ["light", "dark"] as const) {
    const style = styleSheet(theme);
    const fill = (name: string): string => {
      const found = new RegExp(`theme-${theme} ${name.replace(".", "\\.")}\\{fill:(#[0-9a-f]{6})`).exec(
        style,
      )?.[1];
      assert.ok(found !== undefined, name);
      return found;
    };

    it(`set ${theme} text off from the background by 4.5 to 1`, () => {
      for (const name of ["text", ".muted"]) {
        assert.ok(contrast(fill(name), fill(".background")) >= 4.5, name);
      }
    });

    it(`set ${theme} regions off from the background and from free RAM by 3 to 1`, () => {
      for (const kind of Object.keys(REGION_KINDS)) {
        for (const behind of [".background", ".fill-ram"]) {
          const found = contrast(fill(`.fill-${kind}`), fill(behind));
          assert.ok(found >= 3, `${kind} on ${behind}: ${found}`);
        }
      }
    });
  }
});
