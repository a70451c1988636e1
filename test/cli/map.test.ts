import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { drawMemoryMap } from "../../src/inspect/draw-memory-map.js";
import { attribute, ofClass, parseXml } from "../inspect/svg-reader.js";
import { directboot } from "../support/command.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();
const initrd = join(folder, "initrd.img");
writeFileSync(initrd, new Uint8Array(3_000_000).fill(7));
const LOAD = [X86_64_GUEST, "--initrd", initrd, "--append", "quiet", "--memory", "512M"];

describe("directboot map", () => {
  it("writes a picture to standard output, with the regions of the plan", async () => {
    const { stdout, stderr, status } = await directboot(["map", ...LOAD]);
    assert.deepEqual([status, stderr], [0, ""]);
    const svg = parseXml(stdout.trimEnd());
    const drawn = ofClass(svg, "region").map(
      (region) => `${attribute(region, "data-name")} ${attribute(region, "data-start")}`,
    );
    const plan: unknown = JSON.parse((await directboot(["plan", "--json", ...LOAD])).stdout);
    assert.ok(typeof plan === "object" && plan !== null && "steps" in plan && Array.isArray(plan.steps));
    const planned = plan.steps.flatMap((step: { kind: string; tag: string; gpa: string }) =>
      step.kind === "pages" ? [`${step.tag} ${step.gpa}`] : [],
    );
    assert.deepEqual(drawn.sort(), planned.sort());
  });

  it("writes a file with --out", async () => {
    const out = join(folder, "map.svg");
    const look = ["--title", "A <guest>", "--theme", "dark", "--width", "700"];
    const { stdout, status } = await directboot(["map", ...LOAD, "--out", out, ...look]);
    assert.equal(status, 0);
    assert.match(stdout, /^wrote [\d.]+ KiB to /);
    const svg = parseXml(readFileSync(out, "utf8").trimEnd());
    assert.equal(svg.children[0]?.text, "A <guest>");
    assert.equal(attribute(svg, "width"), "700");
    assert.match(attribute(svg, "class"), /theme-dark/);
  });

  it("gives with --json what the picture is drawn from", async () => {
    const json: unknown = JSON.parse((await directboot(["map", "--json", ...LOAD])).stdout);
    const { stdout } = await directboot(["map", ...LOAD]);
    assert.equal(drawMemoryMap(json as Parameters<typeof drawMemoryMap>[0]), stdout);
  });

  it("draws an arm64 guest, and without KERNEL the embedded one", async () => {
    const dtb = join(folder, "machine.dtb");
    writeFileSync(dtb, memoryTree(256 << 20));
    const arm64 = parseXml((await directboot(["map", AARCH64_GUEST, "--dtb", dtb])).stdout.trimEnd());
    assert.match(arm64.text, /arm64 · entered at 0x40200000 with the MMU off · 256 MiB of RAM/);
    const x86 = parseXml((await directboot(["map"])).stdout.trimEnd());
    assert.match(x86.text, /x86-64 · entered at 0x[0-9a-f]+ in long mode/);
  });

  it("takes the options of plan", async () => {
    const { stdout } = await directboot(["map", "--json", ...LOAD, "--initrd-address", "0x4000000"]);
    assert.match(stdout, /"linux-initrd",\s+"kind": "initrd",\s+"start": "0x4000000"/);
  });

  it("says what is wrong: usage with 2, a bad input or output with 1", async () => {
    for (const [args, status, code] of [
      [["--theme", "blue"], 2, "give auto, light or dark"],
      [["--width", "0"], 2, "give pixels"],
      [["--width", "1e3"], 2, "give pixels"],
      [["-o", ""], 2, "-o needs a file"],
      [["-o", join(folder, "none", "map.svg")], 1, "OUTPUT_FAILED"],
      [["-o", folder], 1, "OUTPUT_FAILED"],
      [["--entry", "pvh"], 1, "X86_ENTRY_NOT_AVAILABLE"],
    ] as const) {
      const result = await directboot(["map", X86_64_GUEST, ...args]);
      assert.deepEqual([result.status, result.stdout], [status, ""], args.join(" "));
      assert.ok(result.stderr.includes(code), result.stderr);
    }
  });
});
