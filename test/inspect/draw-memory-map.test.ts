import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { planLinuxSync } from "../../src/index.js";
import { drawMemoryMap } from "../../src/inspect/draw-memory-map.js";
import { type MemoryMapInput, memoryMapOf } from "../../src/inspect/memory-map.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import {
  attribute,
  boxOf,
  descendants,
  hasClass,
  ofClass,
  overlap,
  parseXml,
  type XmlElement,
} from "./svg-reader.js";

const MIB = 0x10_0000;
const GIB = 0x4000_0000;

/** The low memory of x86-map.ts. */
const LOW = [
  { name: "default-gdt", start: 0x1000, end: 0x2000 },
  { name: "linux-zeropage", start: 0x2000, end: 0x3000 },
  { name: "linux-commandline", start: 0x3000, end: 0x4000 },
  { name: "linux-pagetables", start: 0x4000, end: 0xa000 },
  { name: "linux-rdsp", start: 0xe_0000, end: 0xe_1000 },
  { name: "linux-acpi-tables", start: 0xe_1000, end: 0xe_2000 },
];

const x86: MemoryMapInput = {
  architecture: "x86_64",
  entryMode: "long64",
  entry: 0x100_0000,
  ram: [{ start: 0, end: 256 * MIB }],
  regions: [
    ...LOW,
    { name: "linux-kernel", start: 16 * MIB, end: 40 * MIB },
    { name: "linux-initrd", start: 40 * MIB, end: 48 * MIB },
  ],
};

const large: MemoryMapInput = {
  ...x86,
  ram: [
    { start: 0, end: 3 * GIB },
    { start: 4 * GIB, end: 7 * GIB },
  ],
  regions: [
    ...LOW,
    { name: "linux-kernel", start: 16 * MIB, end: 40 * MIB },
    { name: "linux-initrd", start: 5 * GIB, end: 5 * GIB + 8 * MIB },
  ],
  holes: [{ name: "MMIO", start: 3 * GIB, end: 4 * GIB }],
};

const arm64: MemoryMapInput = {
  architecture: "aarch64",
  ram: [{ start: GIB, end: 9 * GIB }],
  regions: [
    { name: "linux-kernel", start: GIB + 2 * MIB, end: GIB + 28 * MIB },
    { name: "linux-device-tree", start: GIB + 28 * MIB, end: GIB + 28 * MIB + 8192 },
    { name: "linux-initrd", start: 9 * GIB - 16 * MIB, end: 9 * GIB },
  ],
};

const oneMebibyte: MemoryMapInput = { architecture: "i386", ram: [{ start: 0, end: MIB }], regions: LOW };
const empty: MemoryMapInput = { architecture: "x86_64", ram: [], regions: [] };

const MAPS = { x86, large, arm64, oneMebibyte, empty };

interface Window {
  readonly element: XmlElement;
  readonly start: bigint;
  readonly end: bigint;
  readonly y: number;
  readonly height: number;
}

function windowsOf(svg: XmlElement): Window[] {
  return ofClass(svg, "window").map((element) => ({
    element,
    start: BigInt(attribute(element, "data-start")),
    end: BigInt(attribute(element, "data-end")),
    y: Number(attribute(element, "data-y")),
    height: Number(attribute(element, "data-height")),
  }));
}

/** The part of `element` that has this class, which must be one. */
function one(element: XmlElement, name: string): XmlElement {
  const [found, ...others] = ofClass(element, name);
  assert.ok(found !== undefined && others.length === 0, `one .${name}`);
  return found;
}

/** Labels lie where they should: none on another, on a bar or outside of the picture. */
function checkLabels(text: string): void {
  const svg = parseXml(text);
  const [, , width = 0, height = 0] = attribute(svg, "viewBox").split(" ").map(Number);
  const regions = ofClass(svg, "region");
  const labels = regions.map((region) => boxOf(one(region, "hit")));
  const bars = ofClass(svg, "frame")
    .filter(({ name }) => name === "rect")
    .map(boxOf);
  for (const [index, label] of labels.entries()) {
    assert.ok(
      label.left >= 0 && label.top >= 0 && label.right <= width && label.bottom <= height,
      text.slice(0, 200),
    );
    for (const other of labels.slice(index + 1)) assert.ok(!overlap(label, other), "labels overlap");
    for (const bar of bars) assert.ok(!overlap(label, bar), "a label lies on a bar");
  }
}

describe("drawMemoryMap", () => {
  for (const [name, map] of Object.entries(MAPS)) {
    it(`draws ${name} as well-formed XML, the same each time`, () => {
      const text = drawMemoryMap(map);
      assert.equal(parseXml(text).name, "svg");
      assert.equal(drawMemoryMap(map), text);
      assert.equal(drawMemoryMap({ ...map, regions: [...map.regions].reverse() }), text);
    });

    it(`names every region of ${name} once, by name, addresses and size`, () => {
      const regions = ofClass(parseXml(drawMemoryMap(map)), "region");
      const wanted = [...map.regions, ...(map.holes ?? [])].map(
        (region) => `${region.name} ${Number(region.start)} ${Number(region.end)}`,
      );
      const drawn = regions.map(
        (region) =>
          `${attribute(region, "data-name")} ${Number(attribute(region, "data-start"))} ${Number(attribute(region, "data-end"))}`,
      );
      assert.deepEqual(drawn.sort(), wanted.sort());
    });

    it(`draws the regions of ${name} to scale, each at least two pixels high`, () => {
      for (const { element, start, end, y, height } of windowsOf(parseXml(drawMemoryMap(map)))) {
        for (const region of ofClass(element, "region")) {
          const shape = boxOf(one(region, "shape"));
          const at = (address: bigint): number =>
            y + (Number(address - start) * height) / Number(end - start);
          const top = at(BigInt(attribute(region, "data-start")));
          const bottom = at(BigInt(attribute(region, "data-end")));
          if (bottom - top >= 2) {
            assert.ok(Math.abs(shape.top - top) < 0.02, `${shape.top} ${top}`);
            assert.ok(Math.abs(shape.bottom - bottom) < 0.02, `${shape.bottom} ${bottom}`);
          } else {
            assert.ok(Math.abs(shape.bottom - shape.top - 2) < 0.02);
            assert.ok(Math.abs(shape.top - top) <= 2.02);
          }
          assert.ok(shape.top >= y - 0.02 && shape.bottom <= y + height + 0.02);
        }
      }
    });

    it(`lays no label of ${name} on another or on a bar`, () => {
      checkLabels(drawMemoryMap(map));
    });
  }

  it("puts the windows below each other, numbered", () => {
    const svg = parseXml(drawMemoryMap(x86));
    assert.ok(Number(attribute(svg, "width")) < 440);
    const windows = windowsOf(svg);
    for (const [index, { y, height }] of windows.entries()) {
      const next = windows[index + 1];
      assert.ok(next === undefined || next.y > y + height);
    }
    const captions = ofClass(svg, "caption").map(({ text }) => text);
    assert.deepEqual(captions, [
      "All RAM: 256 MiB",
      "→ 1",
      "1 · The first 16 MiB",
      "→ 2",
      "2 · The first 48 KiB",
    ]);
  });

  it("shows the part that it is asked for", () => {
    const [low, ...others] = windowsOf(parseXml(drawMemoryMap(x86, { end: "0x100000" })));
    assert.deepEqual([low?.start, low?.end, others.length], [0n, 0x10_0000n, 2]);
    const svg = parseXml(drawMemoryMap(x86, { start: 32 * MIB, end: 44 * MIB }));
    const names = ofClass(svg, "region").map((region) => attribute(region, "data-name"));
    assert.deepEqual(names, ["linux-kernel", "linux-initrd"]);
    assert.throws(() => drawMemoryMap(x86, { start: 2, end: 1 }), refusal("MEMORY_RANGE_INVALID"));
  });

  it("shows the first 16 MiB of an x86 guest below the whole, and the low pages below those", () => {
    const windows = windowsOf(parseXml(drawMemoryMap(x86)));
    assert.deepEqual(
      windows.map(({ start, end }) => [start, end]),
      [
        [0n, 0x1000_0000n],
        [0n, 0x100_0000n],
        [0n, 0xc000n],
      ],
    );
  });

  it("shows an arm64 kernel and an initrd at the top, which 8 GiB hide, in windows of their own", () => {
    const [whole, ...windows] = windowsOf(parseXml(drawMemoryMap(arm64)));
    assert.deepEqual([whole?.start, whole?.end], [0x4000_0000n, 0x2_4000_0000n]);
    assert.equal(windows.length, 2);
    for (const { element } of windows) {
      const tall = ofClass(element, "region")
        .map((region) => boxOf(one(region, "shape")))
        .filter(({ top, bottom }) => bottom - top > 100);
      assert.equal(tall.length, 1);
    }
  });

  it("draws what is high and small: an initrd above 4 GiB, and the hole below", () => {
    const svg = parseXml(drawMemoryMap(large));
    const initrd = ofClass(svg, "region").find((region) => attribute(region, "data-name") === "linux-initrd");
    assert.ok(initrd !== undefined);
    const { top, bottom } = boxOf(one(initrd, "shape"));
    assert.ok(bottom - top > 50);
    assert.ok(ofClass(svg, "hole").some((hole) => attribute(hole, "data-name") === "MMIO"));
  });

  it("escapes what it is given", () => {
    const name = `</text><script>alert(1)</script>&amp;"'\u0000\ud800`;
    const text = drawMemoryMap(
      {
        ...x86,
        architecture: "<b>",
        regions: [{ name, start: 0, end: MIB }],
        e820: [{ start: 0, end: MIB, type: 1, typeName: "<&>" }],
      },
      { title: `<t> & "t"` },
    );
    const svg = parseXml(text);
    assert.doesNotMatch(text, /<script/);
    const [region] = ofClass(svg, "region");
    assert.ok(region !== undefined);
    assert.equal(
      attribute(region, "data-name"),
      name.replace("\u0000", "\ufffd").replace("\ud800", "\ufffd"),
    );
    assert.ok(
      descendants(svg).every(({ name: tag }) =>
        ["title", "desc", "style", "rect", "g", "path", "text", "tspan"].includes(tag),
      ),
    );
    assert.equal(svg.children[0]?.text, `<t> & "t"`);
  });

  it("has a name, a description of all regions, and regions that a keyboard reaches in the order of their addresses", () => {
    const svg = parseXml(drawMemoryMap(x86, { title: "A guest" }));
    const [title, desc] = svg.children;
    assert.deepEqual([title?.name, title?.text, desc?.name], ["title", "A guest", "desc"]);
    for (const { name } of x86.regions) assert.ok(desc?.text.includes(name), name);
    for (const { element } of windowsOf(svg)) {
      const regions = ofClass(element, "region");
      for (const region of regions) {
        assert.equal(attribute(region, "tabindex"), "0");
        assert.equal(attribute(region, "role"), "img");
        assert.match(attribute(region, "aria-label"), /: 0x[0-9a-f]{8,}–0x[0-9a-f]{8,}, [\d.]+ [KMG]iB$/);
        assert.equal(region.children[0]?.name, "title");
        assert.equal(region.children[0]?.text, attribute(region, "aria-label"));
      }
      const starts = regions.map((region) => BigInt(attribute(region, "data-start")));
      assert.deepEqual(
        starts,
        [...starts].sort((a, b) => (a < b ? -1 : 1)),
      );
    }
  });

  it("is one image where nothing in it is to be reached", () => {
    const svg = parseXml(drawMemoryMap(x86, { interactive: false }));
    assert.equal(attribute(svg, "role"), "img");
    assert.ok(
      descendants(svg).every(({ attributes }) => !attributes.has("tabindex") && !attributes.has("role")),
    );
  });

  it("follows the reader's system, or is light or dark", () => {
    const style = (theme: "auto" | "light" | "dark"): string => {
      const svg = parseXml(drawMemoryMap(x86, { theme }));
      assert.ok(hasClass(svg, `theme-${theme}`));
      return svg.children.find(({ name }) => name === "style")?.text ?? "";
    };
    assert.match(style("auto"), /@media \(prefers-color-scheme:dark\)/);
    assert.doesNotMatch(style("light"), /@media/);
    assert.doesNotMatch(style("dark"), /@media/);
    assert.notEqual(style("light"), style("dark").replaceAll("theme-dark", "theme-light"));
  });

  it("has the width that it is asked for, with all in proportion", () => {
    const usual = parseXml(drawMemoryMap(x86));
    const wide = parseXml(drawMemoryMap(x86, { width: 2000 }));
    assert.equal(attribute(wide, "width"), "2000");
    assert.equal(attribute(wide, "viewBox"), attribute(usual, "viewBox"));
    const ratio = Number(attribute(usual, "height")) / Number(attribute(usual, "width"));
    assert.ok(Math.abs(Number(attribute(wide, "height")) / 2000 - ratio) < 0.001);
  });

  it("takes a map after a way through JSON", () => {
    const plan = planLinuxSync({ kernel: makeBzImage(), decompress: "guest", memory: 64 * MIB });
    const map = memoryMapOf(plan);
    assert.equal(drawMemoryMap(JSON.parse(JSON.stringify(map))), drawMemoryMap(map));
  });

  it("draws the e820 map beside the bars, with the small entries above the large ones", () => {
    const plan = planLinuxSync({ kernel: makeVmlinux(), memory: 256 * MIB });
    const svg = parseXml(drawMemoryMap(memoryMapOf(plan)));
    assert.ok(ofClass(svg, "fill-e820-ram").length > 0);
    const acpi = ofClass(svg, "fill-e820-acpi").map((element) => element.text);
    assert.ok(acpi.includes("e820: 0x000e0000–0x000e2000, ACPI tables, reclaimable"), acpi.join("\n"));
  });

  it("labels the largest of very many regions, and marks the others", () => {
    const regions = Array.from({ length: 3000 }, (_, index) => ({
      name: `r${index}`,
      start: index * MIB,
      end: index * MIB + (index % 20 === 0 ? MIB : 4096),
    }));
    const text = drawMemoryMap({ architecture: "x86_64", ram: [{ start: 0, end: 3 * GIB }], regions });
    const svg = parseXml(text);
    assert.ok(ofClass(svg, "region").length >= 150);
    checkLabels(text);
    assert.ok(text.length < 4_000_000, `${text.length}`);
  });

  it("never overlaps labels, and never fails, whatever lies where", () => {
    const address = fc.oneof(
      fc.bigInt(0n, 0x10_0000n),
      fc.bigInt(0n, 0x4_0000_0000n),
      fc.bigInt(0n, (1n << 64n) - 1n),
    );
    const range = fc
      .tuple(address, address)
      .map(([a, b]) => (a < b ? { start: a, end: b } : { start: b, end: a }));
    const named = fc
      .record({ range, name: fc.string({ maxLength: 60 }) })
      .map(({ range: { start, end }, name }) => ({ name, start, end }));
    fc.assert(
      fc.property(
        fc.record({
          architecture: fc.constantFrom("x86_64", "i386", "aarch64"),
          ram: fc.array(range, { maxLength: 4 }),
          regions: fc.array(named, { maxLength: 30 }),
          holes: fc.array(named, { maxLength: 3 }),
        }),
        (map) => checkLabels(drawMemoryMap(map)),
      ),
      { numRuns: 150 },
    );
  });

  it("refuses what is no map", () => {
    assert.throws(
      () => drawMemoryMap({ ...x86, ram: [{ start: 2, end: 1 }] }),
      refusal("MEMORY_RANGE_INVALID", "ram[0]"),
    );
    assert.throws(
      () => drawMemoryMap({ ...x86, ram: [{ start: -1, end: 1 }] }),
      refusal("ADDRESS_OUT_OF_RANGE", "ram[0].start"),
    );
    assert.throws(() => drawMemoryMap({ ...x86, ram: [{ start: "one", end: 1 }] }), TypeError);
    assert.throws(() => drawMemoryMap(x86, { width: -1 }), TypeError);
    const theme: unknown = "blue";
    assert.throws(
      () => drawMemoryMap(x86, { theme: theme as "light" }),
      /theme must be "auto", "light" or "dark"/,
    );
  });
});
