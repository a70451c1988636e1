import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError, type DirectBootErrorCode } from "../../src/base/errors.js";
import { type DeviceTreeNode, readDeviceTree } from "../../src/firmware/device-tree.js";
import { type Chosen, setChosen } from "../../src/firmware/device-tree-chosen.js";
import { memoryOfTree } from "../../src/firmware/device-tree-memory.js";

const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const NOP = 4;
const END = 9;
// Offsets of header fields: Devicetree Specification v0.4, 5.2.
const TOTAL_SIZE = 4;
const STRUCTURE_OFFSET = 8;
const STRINGS_OFFSET = 12;
const RESERVATION_OFFSET = 16;
const VERSION = 20;
const LAST_COMPATIBLE = 24;
const BOOT_CPU = 28;
const STRINGS_SIZE = 32;
const STRUCTURE_SIZE = 36;

/** Runs a tool; the tests need them all, so a missing one is a failure that names the Debian package. */
function run(
  debianPackage: string,
  tool: string,
  args: readonly string[],
  input?: string | Uint8Array,
): string {
  const result = spawnSync(tool, args, { input, encoding: "utf8", timeout: 60_000 });
  if (result.error !== undefined) {
    throw new Error(`${tool} is missing: apt-get install ${debianPackage}`, { cause: result.error });
  }
  assert.equal(result.status, 0, `${tool} ${args.join(" ")}: ${result.stderr}`);
  return result.stdout;
}

function refusal(code: DirectBootErrorCode, details: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DirectBootError, `not a DirectBootError: ${error}`);
    assert.equal(error.code, code);
    assert.match(error.message, details);
    return true;
  };
}

function word(tree: Uint8Array, offset: number): number {
  return new DataView(tree.buffer, tree.byteOffset, tree.byteLength).getUint32(offset);
}

/** A copy of `tree` with some words set. */
function patched(
  tree: Uint8Array,
  ...words: readonly (readonly [offset: number, value: number])[]
): Uint8Array {
  const copy = new Uint8Array(tree);
  const view = new DataView(copy.buffer);
  for (const [offset, value] of words) view.setUint32(offset, value);
  return copy;
}

const latin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A structure block from words and texts; a text gets its NUL and its padding. */
function structure(parts: readonly (number | string | Uint8Array)[]): Uint8Array {
  const bytes: number[] = [];
  for (const part of parts) {
    if (typeof part === "number")
      bytes.push(part >>> 24, (part >>> 16) & 255, (part >>> 8) & 255, part & 255);
    else bytes.push(...(typeof part === "string" ? [...latin1(part), 0] : part));
    while (bytes.length % 4 !== 0) bytes.push(0);
  }
  return Uint8Array.from(bytes);
}

/** A tree around blocks, laid out as dtc does; independent of what it is meant to test. */
function blob(body: Uint8Array, strings: Uint8Array, reservations: readonly bigint[] = []): Uint8Array {
  const structureAt = 40 + (reservations.length + 2) * 8;
  const stringsAt = structureAt + body.byteLength;
  const tree = new Uint8Array(stringsAt + strings.byteLength);
  const view = new DataView(tree.buffer);
  const header = [0xd00dfeed, tree.byteLength, structureAt, stringsAt, 40, 17, 16, 3, strings.byteLength];
  [...header, body.byteLength].forEach((value, index) => {
    view.setUint32(index * 4, value);
  });
  reservations.forEach((value, index) => {
    view.setBigUint64(40 + index * 8, value);
  });
  tree.set(body, structureAt);
  tree.set(strings, stringsAt);
  return tree;
}

interface Model {
  readonly name: string;
  readonly properties: readonly (readonly [string, Uint8Array])[];
  readonly children: readonly Model[];
}

/** The tree of a model; `nops` puts FDT_NOP before every token. */
function treeOf(root: Model, nops = false): Uint8Array {
  const strings: number[] = [];
  const parts: (number | string | Uint8Array)[] = [];
  const token = (value: number): number[] => (nops ? [NOP, value] : [value]);
  const write = ({ name, properties, children }: Model): void => {
    parts.push(...token(BEGIN_NODE), name);
    for (const [property, value] of properties) {
      parts.push(...token(PROPERTY), value.byteLength, strings.length, value);
      strings.push(...latin1(property), 0);
    }
    children.forEach(write);
    parts.push(...token(END_NODE));
  };
  write(root);
  parts.push(...token(END));
  return blob(structure(parts), Uint8Array.from(strings));
}

/** The expected reading of a model's tree. */
function nodeOf({ name, properties, children }: Model): DeviceTreeNode {
  const first = new Map<string, Uint8Array>();
  for (const [property, value] of properties) if (!first.has(property)) first.set(property, value);
  return { name, properties: first, children: children.map(nodeOf) };
}

function u64(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(56 - index * 8)) & 0xffn));
}

/** The law: what a tree must read as after setChosen. */
function withChosen(root: DeviceTreeNode, chosen: Chosen): DeviceTreeNode {
  const values = new Map<string, Uint8Array>();
  const { bootargs, initrdStart, initrdEnd, rngSeed } = chosen;
  if (bootargs !== undefined) {
    values.set(
      "bootargs",
      Uint8Array.from([...(typeof bootargs === "string" ? utf8(bootargs) : bootargs), 0]),
    );
  }
  if (initrdStart != null) values.set("linux,initrd-start", u64(BigInt(initrdStart)));
  if (initrdEnd != null) values.set("linux,initrd-end", u64(BigInt(initrdEnd)));
  if (rngSeed !== undefined) values.set("rng-seed", rngSeed);
  if (values.size === 0) return root;
  const index = root.children.findIndex(({ name }) => name === "chosen" || name.startsWith("chosen@"));
  const old = root.children[index] ?? {
    name: "chosen",
    properties: new Map<string, Uint8Array>(),
    children: [],
  };
  const replaced = { ...old, properties: new Map([...old.properties, ...values]) };
  const children = [...root.children];
  if (index < 0) children.push(replaced);
  else children[index] = replaced;
  return { ...root, children };
}

function child(node: DeviceTreeNode, name: string): DeviceTreeNode {
  const found = node.children.find((each) => each.name === name);
  assert.ok(found !== undefined, `no node ${name}`);
  return found;
}

const SOURCE = `/dts-v1/;
/memreserve/ 0x0000000040000000 0x0000000000010000;
/memreserve/ 0x0000000048000000 0x0000000000001000;
/ {
	#address-cells = <2>;
	#size-cells = <2>;
	compatible = "directboot,test", "linux,dummy-virt";
	empty;
	chosen {
		stdout-path = "/pl011@9000000";
		bootargs = "old command line that is longer than the new one";
		linux,initrd-start = <0x1000>;
		linux,initrd-end = <0x2000>;
		kaslr-seed = <1 2>;
		nested { bootargs = "not this one"; };
	};
	memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x8000000>, <8 0 1 0>; };
	pl011@9000000 { reg = <0 0x9000000 0 0x1000>; bytes = [01 02 03 04 05]; };
	soc { chosen { bootargs = "nor this one"; }; };
};
`;

describe("a device tree against dtc, fdtget and QEMU", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "directboot-tree-"));
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  const file = (name: string): string => join(folder, name);

  function compile(source: string): Uint8Array {
    const out = file("compiled.dtb");
    run("device-tree-compiler", "dtc", ["-q", "-I", "dts", "-O", "dtb", "-b", "5", "-o", out, "-"], source);
    return new Uint8Array(readFileSync(out));
  }

  /** Source text of a tree, nodes and properties sorted. Warnings are on: dtc then checks the tree, too. */
  function decompile(tree: Uint8Array): string {
    const path = file("decompiled.dtb");
    writeFileSync(path, tree);
    return run("device-tree-compiler", "dtc", ["-q", "-s", "-I", "dtb", "-O", "dts", path]);
  }

  function fdtget(tree: Uint8Array, ...args: readonly string[]): string {
    const path = file("fdtget.dtb");
    writeFileSync(path, tree);
    return run("device-tree-compiler", "fdtget", [path, ...args]).trim();
  }

  function dumpQemuTree(...options: readonly string[]): Uint8Array {
    const path = file("virt.dtb");
    const machine = `virt,dumpdtb=${path},dtb-randomness=off${options.map((each) => `,${each}`).join("")}`;
    const args = ["-machine", machine, "-cpu", "cortex-a57", "-m", "256M", "-display", "none"];
    run("qemu-system-arm", "timeout", ["50", "qemu-system-aarch64", ...args]);
    return new Uint8Array(readFileSync(path));
  }

  it("compiled by dtc and edited reads in dtc as the edited source", () => {
    const tree = compile(SOURCE);
    const before = new Uint8Array(tree);
    const edited = setChosen(tree, {
      bootargs: "console=ttyAMA0 quiet",
      initrdStart: 0x1_4040_0000n,
      initrdEnd: 0x1_4050_0001,
      rngSeed: Uint8Array.of(1, 2, 3, 4, 5, 6, 7),
    });
    assert.deepEqual(tree, before, "the input stays as it was");
    const expected = SOURCE.replace(/bootargs = "old[^;]*;/, 'bootargs = "console=ttyAMA0 quiet";')
      .replace("<0x1000>", "<0x1 0x40400000>")
      .replace("<0x2000>", "<0x1 0x40500001>")
      .replace("kaslr-seed", "rng-seed = [01 02 03 04 05 06 07]; kaslr-seed");
    assert.equal(decompile(edited), decompile(compile(expected)));
    assert.match(decompile(edited), /\/memreserve\/\t0x0+40000000 0x0+10000;\n\/memreserve\/\t0x0+48000000/);
    assert.equal(word(edited, VERSION), 17);
    assert.equal(word(edited, LAST_COMPATIBLE), 16);
    assert.equal(word(edited, BOOT_CPU), 5);
    assert.equal(word(edited, TOTAL_SIZE), edited.byteLength);
  });

  it("gets a /chosen where it has none, with or without other nodes", () => {
    for (const body of ["", "soc { x; };"]) {
      const edited = setChosen(compile(`/dts-v1/; / { a = "b"; ${body} };`), {
        bootargs: "",
        initrdStart: 0,
        initrdEnd: 0,
      });
      const chosen = `chosen { bootargs = ""; linux,initrd-start = <0 0>; linux,initrd-end = <0 0>; };`;
      assert.equal(decompile(edited), decompile(compile(`/dts-v1/; / { a = "b"; ${body} ${chosen} };`)));
    }
    const untouched = compile(`/dts-v1/; / { a = "b"; };`);
    assert.equal(decompile(setChosen(untouched, {})), decompile(untouched));
  });

  it("gives fdtget what setChosen wrote, UTF-8 included", () => {
    const edited = setChosen(compile(SOURCE), {
      bootargs: "root=/dev/vda Grüße=雪",
      initrdStart: 0xffff_ffff_ffff_f000n,
      initrdEnd: 0xffff_ffff_ffff_ffffn,
    });
    assert.equal(fdtget(edited, "-t", "s", "/chosen", "bootargs"), "root=/dev/vda Grüße=雪");
    assert.equal(fdtget(edited, "-t", "x", "/chosen", "linux,initrd-start"), "ffffffff fffff000");
    assert.equal(fdtget(edited, "-t", "x", "/chosen", "linux,initrd-end"), "ffffffff ffffffff");
    assert.equal(fdtget(edited, "/chosen/nested", "bootargs"), "not this one");
    assert.equal(fdtget(edited, "/soc/chosen", "bootargs"), "nor this one");
  });

  it("grows by a command line of 100 KiB and by exactly the padding", () => {
    const tree = compile(SOURCE);
    const long = "x".repeat(100 * 1024);
    const edited = setChosen(tree, { bootargs: long });
    assert.equal(fdtget(edited, "/chosen", "bootargs"), long);
    const small = setChosen(edited, { bootargs: "y" });
    assert.equal(small.byteLength, edited.byteLength - 100 * 1024);
    assert.equal(fdtget(small, "/chosen", "bootargs"), "y");

    const roomy = setChosen(tree, { bootargs: "y", padding: 4097 });
    assert.equal(roomy.byteLength, small.byteLength + 4097);
    assert.equal(word(roomy, TOTAL_SIZE), roomy.byteLength);
    assert.deepEqual(roomy.subarray(small.byteLength), new Uint8Array(4097));
    assert.equal(decompile(roomy), decompile(small));
    // dtc's own editor finds the room.
    const path = file("roomy.dtb");
    writeFileSync(path, roomy);
    run("device-tree-compiler", "fdtput", ["-t", "s", path, "/chosen", "bootargs", "z".repeat(4000)]);
    assert.equal(fdtget(new Uint8Array(readFileSync(path)), "/chosen", "bootargs"), "z".repeat(4000));
  });

  it("dumped by QEMU loses its padding and nothing else", () => {
    const dumped = dumpQemuTree();
    assert.equal(dumped.byteLength, 0x10_0000);
    const edited = setChosen(dumped, {
      bootargs: "console=ttyAMA0",
      initrdStart: 0x4800_0000,
      initrdEnd: 0x4900_0000,
    });
    assert.ok(edited.byteLength < 0x4000, `${edited.byteLength} bytes`);
    assert.equal(fdtget(edited, "/chosen", "bootargs"), "console=ttyAMA0");
    assert.equal(fdtget(edited, "-t", "x", "/chosen", "linux,initrd-end"), "0 49000000");
    const path = file("back.dtb");
    writeFileSync(path, edited);
    for (const name of ["bootargs", "linux,initrd-start", "linux,initrd-end"]) {
      run("device-tree-compiler", "fdtput", ["-d", path, "/chosen", name]);
    }
    assert.equal(decompile(new Uint8Array(readFileSync(path))), decompile(dumped));
    assert.deepEqual(memoryOfTree(dumped), [{ start: 0x4000_0000n, end: 0x5000_0000n }]);
    assert.deepEqual(memoryOfTree(edited), memoryOfTree(dumped));
  });

  it("dumped by QEMU describes its memory node by node, without the secure memory", () => {
    const secure = dumpQemuTree("secure=on");
    assert.match(decompile(secure), /secram@/);
    assert.deepEqual(memoryOfTree(secure), [{ start: 0x4000_0000n, end: 0x5000_0000n }]);
  });

  it("reads as fdtget reads it", () => {
    const root = readDeviceTree(compile(SOURCE));
    assert.equal(root.name, "");
    assert.deepEqual(
      root.children.map(({ name }) => name),
      ["chosen", "memory@40000000", "pl011@9000000", "soc"],
    );
    assert.deepEqual(root.properties.get("compatible"), latin1("directboot,test\0linux,dummy-virt\0"));
    assert.deepEqual(root.properties.get("empty"), new Uint8Array(0));
    assert.deepEqual(child(root, "pl011@9000000").properties.get("bytes"), Uint8Array.of(1, 2, 3, 4, 5));
    assert.deepEqual(memoryOfTree(compile(SOURCE)), [
      { start: 0x4000_0000n, end: 0x4800_0000n },
      { start: 0x8_0000_0000n, end: 0x9_0000_0000n },
    ]);
  });

  it("has memory in cells as the root says, 2 and 1 if it says nothing", () => {
    const memory = (root: string, node: string): readonly { start: bigint; end: bigint }[] =>
      memoryOfTree(compile(`/dts-v1/; / { ${root} ${node} };`));
    const typed = 'device_type = "memory";';
    assert.deepEqual(
      memory("#address-cells = <1>; #size-cells = <1>;", `memory { ${typed} reg = <16 32 64 1>; };`),
      [
        { start: 16n, end: 48n },
        { start: 64n, end: 65n },
      ],
    );
    assert.deepEqual(memory("", `memory@1 { ${typed} reg = <1 2 3>; };`), [
      { start: 0x1_0000_0002n, end: 0x1_0000_0005n },
    ]);
    assert.deepEqual(
      memory("#address-cells = <3>; #size-cells = <4>;", `memory@1 { ${typed} reg = <0 1 2 0 0 0 3>; };`),
      [{ start: 0x1_0000_0002n, end: 0x1_0000_0005n }],
    );
    assert.deepEqual(memory("", `memory@0 { ${typed} reg = <0xffffffff 0xfffff000 0x1000>; };`), [
      { start: 0xffff_ffff_ffff_f000n, end: 1n << 64n },
    ]);
  });

  it("has no memory in other nodes, in disabled ones, without a type or a size", () => {
    for (const node of [
      "memory@0 { reg = <0 0 1>; };",
      'memory@0 { device_type = "memorial"; reg = <0 0 1>; };',
      'memory@0 { device_type = "memor"; reg = <0 0 1>; };',
      'memories@0 { device_type = "memory"; reg = <0 0 1>; };',
      'memory@0 { device_type = "memory"; };',
      'memory@0 { device_type = "memory"; reg; };',
      'memory@0 { device_type = "memory"; reg = <0 0 0>; };',
      'memory@0 { device_type = "memory"; status = "disabled"; reg = <0 0 1>; };',
      'soc { memory@0 { device_type = "memory"; reg = <0 0 1>; }; };',
    ]) {
      assert.deepEqual(memoryOfTree(compile(`/dts-v1/; / { ${node} };`)), [], node);
    }
    const enabled = compile(
      '/dts-v1/; / { memory { device_type = "memory"; status = "okay"; reg = <0 0 1>; }; };',
    );
    assert.deepEqual(memoryOfTree(enabled), [{ start: 0n, end: 1n }]);
  });

  it("is refused if its memory can't be ranges below 2^64", () => {
    for (const [source, details] of [
      [
        'memory@0 { device_type = "memory"; reg = <0 0>; };',
        /reg of memory@0 has 8 bytes, not a multiple of 12/,
      ],
      ['memory@0 { device_type = "memory"; reg = <0xffffffff 0xfffff000 0x1001>; };', /passes 2\^64/],
      ['#address-cells = <3>; memory@0 { device_type = "memory"; reg = <1 0 0 1>; };', /passes 2\^64/],
      [
        '#size-cells = <0>; memory@0 { device_type = "memory"; reg = <0 0>; };',
        /#size-cells of the root is 0/,
      ],
      [
        '#address-cells = <5>; memory@0 { device_type = "memory"; reg = <0 0>; };',
        /#address-cells of the root is 5/,
      ],
      [
        '#address-cells = <0 2>; memory { device_type = "memory"; reg = <0 0>; };',
        /another length than 4 bytes/,
      ],
    ] as const) {
      const tree = compile(`/dts-v1/; / { ${source} };`);
      assert.throws(() => memoryOfTree(tree), refusal("DEVICE_TREE_MALFORMED", details), source);
    }
  });
});

/** A small tree for the tables below: 40 header, 16 reservations, then this structure at 56. */
const BODY = structure([
  BEGIN_NODE,
  "",
  PROPERTY,
  3,
  0,
  Uint8Array.of(1, 2, 3),
  BEGIN_NODE,
  "n",
  END_NODE,
  END_NODE,
  END,
]);
const SMALL = blob(BODY, latin1("abc\0def\0"));
const AT = 56;
const wrapped = (parts: readonly (number | string | Uint8Array)[]): Uint8Array =>
  blob(structure(parts), latin1("abc\0def"));
const malformedBody = (...parts: readonly (number | string | Uint8Array)[]): Uint8Array => wrapped(parts);
const nested = (depth: number): Uint8Array => {
  const begin = Array.from({ length: depth }, () => [BEGIN_NODE, ""]).flat();
  return wrapped([...begin, ...Array.from({ length: depth }, () => END_NODE), END]);
};

const MALFORMED: readonly (readonly [what: string, tree: Uint8Array, details: RegExp])[] = [
  ["no bytes", new Uint8Array(0), /it has 0 bytes, fewer than its header's 40/],
  ["39 bytes", SMALL.subarray(0, 39), /it has 39 bytes/],
  ["a bad magic", patched(SMALL, [0, 0xedfe0dd0]), /it starts with 0xedfe0dd0 instead of 0xd00dfeed/],
  ["a totalsize past its bytes", SMALL.subarray(0, -1), /totalsize 0x[0-9a-f]+ is outside 40-0x/],
  ["a totalsize smaller than the header", patched(SMALL, [TOTAL_SIZE, 39]), /totalsize 0x27 is outside/],
  [
    "a totalsize that cuts off the strings",
    patched(SMALL, [TOTAL_SIZE, SMALL.byteLength - 1]),
    /strings block .* outside/,
  ],
  [
    "a structure past the end",
    patched(SMALL, [STRUCTURE_OFFSET, 0xffff_fff0]),
    /structure block at 0xfffffff0 .* outside/,
  ],
  [
    "a structure size that overflows",
    patched(SMALL, [STRUCTURE_SIZE, 0xffff_ffff]),
    /structure block .* outside/,
  ],
  [
    "a structure over the header",
    patched(SMALL, [STRUCTURE_OFFSET, 36]),
    /structure block at 0x24 .* outside 0x28/,
  ],
  [
    "an unaligned structure",
    patched(SMALL, [STRUCTURE_OFFSET, AT + 2]),
    /structure block at 0x3a is not aligned to 4/,
  ],
  ["strings past the end", patched(SMALL, [STRINGS_OFFSET, SMALL.byteLength]), /strings block .* outside/],
  ["a strings size that overflows", patched(SMALL, [STRINGS_SIZE, 0xffff_ffff]), /strings block .* outside/],
  [
    "strings within the structure",
    patched(SMALL, [STRINGS_OFFSET, AT + 8]),
    /structure block and the strings block overlap/,
  ],
  [
    "the structure in its reservations",
    patched(SMALL, [STRUCTURE_OFFSET, 48]),
    /memory reservation block and the structure block overlap/,
  ],
  [
    "unaligned reservations",
    patched(SMALL, [RESERVATION_OFFSET, 44]),
    /reservation block at 0x2c is not aligned to 8/,
  ],
  [
    "reservations past the end",
    patched(SMALL, [RESERVATION_OFFSET, 0xffff_fff8]),
    /memory reservation block .* outside/,
  ],
  [
    "reservations without an end",
    patched(SMALL, [40, 1], [RESERVATION_OFFSET, AT + 8]),
    /memory reservation block at 0x40 has no end before/,
  ],
  [
    "reservations that run on into the structure",
    patched(blob(structure([0, 0, 0, 0, END]), latin1("")), [40, 1]),
    /overlap/,
  ],
  ["no structure at all", patched(SMALL, [STRUCTURE_SIZE, 0]), /ends at 0x38 without FDT_END/],
  ["no FDT_END", patched(SMALL, [STRUCTURE_SIZE, BODY.byteLength - 4]), /without FDT_END/],
  ["a token that is cut off", patched(SMALL, [STRUCTURE_SIZE, BODY.byteLength - 1]), /without FDT_END/],
  ["an unknown token", malformedBody(BEGIN_NODE, "", 5, END_NODE, END), /unknown token 0x5 at 0x40/],
  ["a token of zero", malformedBody(0), /unknown token 0x0 at 0x38/],
  ["no root", malformedBody(NOP, END), /no root node/],
  [
    "two roots",
    malformedBody(BEGIN_NODE, "", END_NODE, BEGIN_NODE, "", END_NODE, END),
    /second root at 0x44/,
  ],
  [
    "a property before the root",
    malformedBody(PROPERTY, 0, 0, BEGIN_NODE, "", END_NODE, END),
    /outside of a node/,
  ],
  [
    "a property behind the root",
    malformedBody(BEGIN_NODE, "", END_NODE, PROPERTY, 0, 0, END),
    /outside of a node/,
  ],
  [
    "a property after a child",
    malformedBody(BEGIN_NODE, "", BEGIN_NODE, "a", END_NODE, PROPERTY, 0, 0, END_NODE, END),
    /property at 0x4c comes after a child/,
  ],
  [
    "a node that is still open",
    malformedBody(BEGIN_NODE, "", BEGIN_NODE, "a", END_NODE, END),
    /with 1 nodes still open/,
  ],
  ["an end without a beginning", malformedBody(BEGIN_NODE, "", END_NODE, END_NODE, END), /has no beginning/],
  [
    "a node name without an end",
    malformedBody(BEGIN_NODE, latin1("abcdefgh")),
    /name of the node at 0x38 has no end/,
  ],
  [
    "a node name of 256 bytes",
    malformedBody(BEGIN_NODE, "n".repeat(256), END_NODE, END),
    /node at 0x38 is longer than 255/,
  ],
  [
    "a property that is cut off",
    malformedBody(BEGIN_NODE, "", PROPERTY, 0),
    /property at 0x40 passes the end/,
  ],
  [
    "a value past the end",
    malformedBody(BEGIN_NODE, "", PROPERTY, 9, 0, END_NODE, END),
    /property at 0x40 has 0x9 bytes, past/,
  ],
  [
    "a value whose length overflows",
    malformedBody(BEGIN_NODE, "", PROPERTY, 0xffff_ffff, 0, END_NODE, END),
    /has 0xffffffff bytes, past/,
  ],
  [
    "a name outside of the strings",
    malformedBody(BEGIN_NODE, "", PROPERTY, 0, 7, END_NODE, END),
    /name at 0x7 of 0x7 bytes of strings/,
  ],
  [
    "a name offset that overflows",
    malformedBody(BEGIN_NODE, "", PROPERTY, 0, 0xffff_ffff, END_NODE, END),
    /name at 0xffffffff of 0x7/,
  ],
  [
    "a property name without an end",
    malformedBody(BEGIN_NODE, "", PROPERTY, 0, 5, END_NODE, END),
    /name of the property at 0x40 has no end/,
  ],
  [
    "a property name of 256 bytes",
    blob(structure([BEGIN_NODE, "", PROPERTY, 0, 0, END_NODE, END]), latin1(`${"p".repeat(256)}\0`)),
    /property at 0x40 is longer than 255/,
  ],
  ["65 levels", nested(65), /deeper than 64 levels/],
  ["100,000 levels", nested(100_000), /deeper than 64 levels/],
  [
    "more than 16 MiB",
    patched(new Uint8Array(0x100_0001), [0, 0xd00dfeed], [TOTAL_SIZE, 0x100_0001]),
    /totalsize 0x1000001 is above the limit/,
  ],
];

describe("a device tree", () => {
  it("is refused when it is malformed, by every function", () => {
    readDeviceTree(SMALL);
    for (const [what, tree, details] of MALFORMED) {
      for (const use of [readDeviceTree, memoryOfTree, (each: Uint8Array) => setChosen(each, {})]) {
        assert.throws(() => use(tree), refusal("DEVICE_TREE_MALFORMED", details), what);
      }
    }
  });

  it("is refused in versions that can't be read as 17", () => {
    for (const [version, lastCompatible] of [
      [16, 16],
      [3, 2],
      [18, 18],
      [0xffff_ffff, 0xffff_ffff],
    ] as const) {
      const tree = patched(SMALL, [VERSION, version], [LAST_COMPATIBLE, lastCompatible]);
      const details = new RegExp(`version ${version}, compatible back to ${lastCompatible}, can't be read`);
      assert.throws(() => readDeviceTree(tree), refusal("DEVICE_TREE_UNSUPPORTED_VERSION", details));
    }
    const newer = patched(SMALL, [VERSION, 18], [LAST_COMPATIBLE, 17]);
    readDeviceTree(newer);
    assert.equal(word(setChosen(newer, {}), VERSION), 17);
    assert.equal(word(setChosen(newer, {}), LAST_COMPATIBLE), 16);
  });

  it("may have blocks in any order, empty strings, NOPs, and bytes behind its end", () => {
    const strings = latin1("abc\0def\0");
    const body = 40 + strings.byteLength;
    const turned = new Uint8Array(200);
    turned.set(
      patched(
        SMALL,
        [STRINGS_OFFSET, 40],
        [STRUCTURE_OFFSET, body],
        [RESERVATION_OFFSET, 160],
        [TOTAL_SIZE, 176],
      ).subarray(0, 40),
    );
    turned.set(strings, 40);
    turned.set(BODY, body);
    assert.deepEqual(readDeviceTree(turned), readDeviceTree(SMALL));
    assert.deepEqual(setChosen(turned, {}), setChosen(SMALL, {}));

    const noStrings = blob(structure([NOP, BEGIN_NODE, "", NOP, END_NODE, NOP, END, 77]), new Uint8Array(0));
    readDeviceTree(patched(noStrings, [STRINGS_OFFSET, AT + 4]));
    const edited = setChosen(noStrings, { bootargs: "x" });
    assert.deepEqual(child(readDeviceTree(edited), "chosen").properties.get("bootargs"), latin1("x\0"));
    assert.throws(
      () => readDeviceTree(patched(noStrings, [STRINGS_OFFSET, 39])),
      refusal("DEVICE_TREE_MALFORMED", /strings/),
    );
  });

  it("may have 64 levels and names of 255 bytes", () => {
    readDeviceTree(nested(64));
    const long = {
      name: "n".repeat(255),
      properties: [["p".repeat(255), Uint8Array.of(1)]],
      children: [],
    } as const;
    const root = { name: "", properties: [], children: [long] };
    assert.deepEqual(readDeviceTree(treeOf(root)), nodeOf(root));
  });

  it("can lie anywhere in a buffer, and what is read from it is independent of it", () => {
    const buffer = Buffer.alloc(SMALL.byteLength + 9, 0xff);
    buffer.set(SMALL, 3);
    const tree = buffer.subarray(3, 3 + SMALL.byteLength + 2);
    const root = readDeviceTree(tree);
    const edited = setChosen(tree, { bootargs: "x" });
    const copy = new Uint8Array(edited);
    assert.equal(Object.getPrototypeOf(edited), Uint8Array.prototype);
    buffer.fill(0);
    assert.deepEqual(root.properties.get("abc"), Uint8Array.of(1, 2, 3));
    assert.deepEqual(edited, copy);
  });

  it("with a property or a /chosen twice has the first", () => {
    const chosen = (value: string): Model => ({
      name: "chosen@0",
      properties: [
        ["bootargs", latin1(value)],
        ["bootargs", latin1(`${value}2`)],
        ["other", latin1(value)],
      ],
      children: [],
    });
    const root = { name: "", properties: [], children: [chosen("a"), chosen("b")] };
    assert.deepEqual(readDeviceTree(treeOf(root)), nodeOf(root));
    const edited = readDeviceTree(setChosen(treeOf(root), { bootargs: "c" }));
    assert.deepEqual(
      edited.children.map(({ properties }) => properties),
      [
        new Map([
          ["other", latin1("a")],
          ["bootargs", latin1("c\0")],
        ]),
        new Map([
          ["bootargs", latin1("b")],
          ["other", latin1("b")],
        ]),
      ],
    );
  });

  it("refuses what can't stand in /chosen", () => {
    const nul = refusal("COMMAND_LINE_NUL", /byte 1 of \d+ of bootargs is NUL/);
    assert.throws(() => setChosen(SMALL, { bootargs: "a\0b" }), nul);
    assert.throws(() => setChosen(SMALL, { bootargs: Uint8Array.of(65, 0) }), nul);
    assert.throws(
      () => setChosen(SMALL, { initrdStart: 2, initrdEnd: 1n }),
      refusal("DEVICE_TREE_CHOSEN", /initrdEnd 0x1 is below initrdStart 0x2/),
    );
    assert.throws(
      () => setChosen(SMALL, { initrdStart: -1, initrdEnd: 1 }),
      refusal("ADDRESS_OUT_OF_RANGE", /initrdStart is -0x1/),
    );
    assert.throws(
      () => setChosen(SMALL, { initrdStart: 0, initrdEnd: 1n << 64n }),
      refusal("ADDRESS_OUT_OF_RANGE", /initrdEnd is 0x10000000000000000/),
    );
    const tooLarge = refusal("DEVICE_TREE_CHOSEN", /bytes passes the limit of 16777216/);
    assert.throws(() => setChosen(SMALL, { bootargs: "x".repeat(0x100_0001) }), tooLarge);
    assert.throws(() => setChosen(SMALL, { rngSeed: new Uint8Array(0x100_0001) }), tooLarge);
    assert.throws(() => setChosen(SMALL, { padding: 0x100_0000 }), tooLarge);
    assert.throws(() => setChosen(SMALL, { padding: Number.MAX_SAFE_INTEGER }), tooLarge);
  });
});

describe("any device tree", () => {
  const name = fc.oneof(
    fc.constantFrom(
      "chosen",
      "chosen@0",
      "chosens",
      "memory@0",
      "bootargs",
      "linux,initrd-start",
      "rng-seed",
      "",
    ),
    fc.stringMatching(/^[a-z#][a-z0-9,._+-]{0,30}$/),
  );
  const property = fc.tuple(name, fc.uint8Array({ maxLength: 20 }));
  const nodes = (children: fc.Arbitrary<Model[]>): fc.Arbitrary<Model> =>
    fc.record({ name, properties: fc.array(property, { maxLength: 5 }), children });
  const leaf = nodes(fc.constant([]));
  const node = nodes(fc.array(nodes(fc.array(leaf, { maxLength: 3 })), { maxLength: 4 }));
  const text = fc.oneof(
    fc.string({ unit: "grapheme" }).map((each) => each.replaceAll("\0", "")),
    fc.uint8Array().map((each) => each.filter((byte) => byte !== 0)),
  );
  const u64s = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
  const initrd = fc.option(fc.tuple(u64s, u64s), { nil: undefined });
  const chosen = fc
    .tuple(
      fc.option(text, { nil: undefined }),
      initrd,
      fc.option(fc.uint8Array(), { nil: undefined }),
      fc.nat(50),
    )
    .map(([bootargs, range, rngSeed, padding]): Chosen => {
      const [a, b] = range ?? [];
      if (a === undefined || b === undefined) return { bootargs, rngSeed, padding };
      return { bootargs, initrdStart: a < b ? a : b, initrdEnd: a < b ? b : a, rngSeed, padding };
    });

  it("reads as it was written, and after setChosen differs in /chosen alone", () => {
    fc.assert(
      fc.property(node, chosen, fc.boolean(), (root, what, nops) => {
        const tree = treeOf(root, nops);
        assert.deepEqual(readDeviceTree(tree), nodeOf(root));
        const edited = setChosen(tree, what);
        assert.deepEqual(readDeviceTree(edited), withChosen(nodeOf(root), what));
        assert.equal(word(edited, BOOT_CPU), 3);
        assert.deepEqual(setChosen(edited, what), edited);
      }),
      { numRuns: 1000 },
    );
  });
});
