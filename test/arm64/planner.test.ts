/**
 * Plans for arm64 kernels: where things go, what the device tree is told, and what is refused. Trees are compiled by
 * dtc and read back by fdtget, which share no code with directboot.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  applyPlanSync,
  GuestMemory,
  GuestMemoryImporter,
  type LinuxPlan,
  type LoadLinuxSyncOptions,
  loadLinux,
  loadLinuxSync,
  MemoryLayout,
  planLinuxSync,
} from "../../src/index.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { BreakingSource, noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const PAGE = 4096;
const MIB = 1 << 20;
/** Documentation/arch/arm64/booting.rst, section 2. */
const MOST_TREE_BYTES = 2 * MIB;
const KERNEL = new Uint8Array(readFileSync(AARCH64_GUEST));
const INITRD = noise(3 * PAGE + 5);

const folder = tempFolder();
let files = 0;
const newFile = (extension: string): string => join(folder, `${files++}.${extension}`);

/** A /memory node of `[start, size]` ranges, of two cells each. */
function memoryNode(...ranges: readonly (readonly [start: number, size: number])[]): string {
  const cells = ranges.map(([start, size]) => `0 0x${start.toString(16)} 0 0x${size.toString(16)}`);
  const unit = ranges[0]?.[0] ?? 0;
  return `memory@${unit.toString(16)} { device_type = "memory"; reg = <${cells.join(" ")}>; };`;
}

/** A tree with these nodes, compiled by dtc. */
function compile(nodes: string, dtcArguments: readonly string[] = []): Uint8Array {
  const source = newFile("dts");
  const target = newFile("dtb");
  writeFileSync(
    source,
    `/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; compatible = "linux,dummy-virt"; ${nodes} };`,
  );
  runTool("device-tree-compiler", "dtc", [
    ...["-q", "-I", "dts", "-O", "dtb", ...dtcArguments, "-o", target, source],
  ]);
  return new Uint8Array(readFileSync(target));
}

/** 16 MiB of RAM where QEMU's virt has it. */
const MEMORY = 16 * MIB;
const CHOSEN = 'chosen { stdout-path = "/pl011@9000000"; bootargs = "from the tree"; };';
const TREE = compile(`${memoryNode([0x4000_0000, MEMORY])} ${CHOSEN}`);

const guestOptions = { kernel: KERNEL, memory: MEMORY, deviceTree: TREE } as const;

function plan(options: Partial<LoadLinuxSyncOptions> = {}): LinuxPlan {
  return planLinuxSync({ ...guestOptions, ...options });
}

/** The device tree as a guest finds it. */
function treeOf(made: LinuxPlan): Uint8Array {
  const memory = GuestMemory.create(made.layout);
  applyPlanSync(made, new GuestMemoryImporter(memory));
  const { dtb } = made.info;
  assert.ok(dtb !== undefined);
  return memory.read(dtb.start, Number(dtb.end - dtb.start));
}

/** A property of that tree's /chosen, by fdtget: `s` a string, `x` cells. */
function chosen(made: LinuxPlan, type: "s" | "x", name: string): string {
  const file = newFile("dtb");
  writeFileSync(file, treeOf(made));
  return runTool("device-tree-compiler", "fdtget", ["-t", type, file, "/chosen", name]).replace(/\n$/, "");
}

/** Names of the properties of /chosen. */
function chosenNames(made: LinuxPlan): string[] {
  const file = newFile("dtb");
  writeFileSync(file, treeOf(made));
  return runTool("device-tree-compiler", "fdtget", ["-p", file, "/chosen"]).trim().split("\n");
}

const ramOf = ({ layout }: LinuxPlan): [bigint, bigint][] =>
  layout.ram.map(({ range }) => [range.start, range.end]);
const pagesOf = (made: LinuxPlan): [string, bigint, bigint][] =>
  made.pages.map(({ tag, range }) => [tag, range.start, range.end]);

describe("the placement of an arm64 guest", () => {
  it("puts the kernel 2 MiB into RAM, the tree on the next page, the initrd at the next 2 MiB boundary", () => {
    const made = plan({ initrd: INITRD });
    // Its header: text_offset 0, image_size 0x13000, of which 6.4 KiB are in the file.
    assert.deepEqual(pagesOf(made), [
      ["linux-kernel", 0x4020_0000n, 0x4021_3000n],
      ["linux-device-tree", 0x4021_3000n, 0x4021_4000n],
      ["linux-initrd", 0x4040_0000n, 0x4040_4000n],
    ]);
    const { kernel, initrd, dtb } = made.info;
    assert.deepEqual(kernel, { gpa: 0x4020_0000n, size: 0x1_3000n, entrypoint: 0x4020_0000n });
    assert.deepEqual(initrd, { gpa: 0x4040_0000n, size: BigInt(INITRD.byteLength) });
    assert.deepEqual(dtb, { start: 0x4021_3000n, end: 0x4021_3000n + BigInt(treeOf(made).byteLength) });
    assert.deepEqual([made.architecture, made.entryMode], ["aarch64", "aarch64"]);
  });

  it("goes on from the end of a tree that is longer than the space up to the 2 MiB boundary", () => {
    const bytes = newFile("bin");
    writeFileSync(bytes, noise(MOST_TREE_BYTES - 64 * 1024));
    const deviceTree = compile(
      `${memoryNode([0x4000_0000, MEMORY])} big { data = /incbin/("${bytes}"); }; ${CHOSEN}`,
    );
    const { info } = plan({ deviceTree, initrd: INITRD });
    assert.equal(info.dtb?.start, 0x4021_3000n);
    assert.ok((info.dtb?.end ?? 0n) > 0x4040_0000n);
    assert.equal(info.initrd?.gpa, 0x4060_0000n);
  });

  it("rounds a start of RAM that is no multiple of 2 MiB up", () => {
    const made = plan({ deviceTree: compile(memoryNode([0x8000_1000, MEMORY])) });
    assert.equal(made.info.kernel.gpa, 0x8040_0000n);
  });

  it("makes room for an initrd that the caller has put where the kernel or the tree would be", () => {
    const onKernel = plan({ initrd: INITRD, addresses: { initrd: 0x4021_2000 } });
    assert.equal(onKernel.info.kernel.gpa, 0x4040_0000n);
    assert.equal(onKernel.info.initrd?.gpa, 0x4021_2000n);
    assert.equal(chosen(onKernel, "x", "linux,initrd-start"), "0 40212000");
    const onTree = plan({ initrd: INITRD, addresses: { initrd: 0x4021_3000 } });
    assert.equal(onTree.info.kernel.gpa, 0x4020_0000n);
    assert.equal(onTree.info.initrd?.gpa, 0x4021_3000n);
    assert.equal(onTree.info.dtb?.start, 0x4021_7000n);
  });

  it("is refused if RAM ends before the kernel does", () => {
    const memory = 0x21_1000;
    const deviceTree = compile(memoryNode([0x4000_1000, memory]));
    assert.throws(
      () => plan({ deviceTree, memory }),
      refusal(
        "PLACEMENT_NO_ROOM",
        "linux-kernel: 0x13000 bytes find no room from 0x40400000 up (aligned to 0x200000)",
        "0x40001000-0x40212000",
      ),
    );
  });
});

describe("the registers of an arm64 guest", () => {
  // OpenVMM's set_direct_boot_registers_arm64.
  const wanted = {
    x0: 0x4021_3000n,
    pc: 0x4020_0000n,
    cpsr: 0x3c5n,
    sctlrEl1: 0x30d0_1804n,
    tcrEl1: 0x5_8080_3591n,
    ttbr0El1: 0n,
    ttbr1El1: 0n,
    vbarEl1: 0n,
  };

  it("start the kernel with the MMU off, masked, and with x0 at the tree", () => {
    assert.deepEqual(plan({ initrd: INITRD }).registers, wanted);
  });
});

describe("/chosen of an arm64 guest's device tree", () => {
  it("has the command line, in UTF-8, in place of the tree's own", () => {
    const commandLine = 'console=ttyAMA0 name=Grüße quoted="a b" 起動';
    assert.equal(chosen(plan({ commandLine }), "s", "bootargs"), commandLine);
  });

  it("keeps the tree's own command line if the caller gives none", () => {
    assert.equal(chosen(plan(), "s", "bootargs"), "from the tree");
  });

  it("has where the initrd starts and ends, in two cells each", () => {
    const made = plan({ initrd: INITRD });
    assert.equal(chosen(made, "x", "linux,initrd-start"), "0 40400000");
    assert.equal(
      chosen(made, "x", "linux,initrd-end"),
      `0 ${(0x4040_0000 + INITRD.byteLength).toString(16)}`,
    );
  });

  it("has both cells of an address above 4 GiB", () => {
    const memory = 4 * MIB + PAGE * 64;
    const deviceTree = compile(
      `memory@1200000000 { device_type = "memory"; reg = <0x12 0x0 0 0x${memory.toString(16)}>; };`,
    );
    const made = plan({ deviceTree, memory, initrd: INITRD });
    assert.equal(made.info.kernel.gpa, 0x12_0020_0000n);
    assert.equal(chosen(made, "x", "linux,initrd-start"), "12 400000");
    assert.equal(chosen(made, "x", "linux,initrd-end"), `12 ${(0x40_0000 + INITRD.byteLength).toString(16)}`);
  });

  it("forgets the initrd of the machine that the tree was saved from", () => {
    const deviceTree = compile(
      `${memoryNode([0x4000_0000, MEMORY])} chosen { linux,initrd-start = <1>; linux,initrd-end = <2>; x; };`,
    );
    assert.deepEqual(chosenNames(plan({ deviceTree })), ["x"]);
  });
});

describe("the memory of an arm64 guest", () => {
  it("is two ranges if /memory has two, in ascending order, the kernel in the lower one", () => {
    const deviceTree = compile(memoryNode([0x9000_0000, 4 * MIB], [0x4000_0000, 12 * MIB]));
    const made = plan({ deviceTree, initrd: INITRD });
    assert.deepEqual(ramOf(made), [
      [0x4000_0000n, 0x40c0_0000n],
      [0x9000_0000n, 0x9040_0000n],
    ]);
    assert.equal(made.info.kernel.gpa, 0x4020_0000n);
    assert.equal(made.info.initrd?.gpa, 0x4040_0000n);
  });

  it("is what ranges of /memory that overlap have in all, as memblock_add joins them", () => {
    const at4000 = memoryNode([0x4000_0000, 12 * MIB], [0x4080_0000, 8 * MIB], [0x4010_0000, PAGE]);
    const other = 'memory@4 { device_type = "memory"; reg = <0 0x40000000 0 0x800000>; };';
    const deviceTree = compile(`${at4000} ${other}`);
    const all = [[0x4000_0000n, 0x4100_0000n]];
    const layout = new MemoryLayout([{ start: 0x4000_0000, end: 0x4100_0000 }]);
    for (const memory of [MEMORY, new ArrayBuffer(MEMORY), layout, GuestMemory.create(layout)]) {
      assert.deepEqual(ramOf(plan({ deviceTree, memory })), all);
    }
    const { kernel } = loadLinuxSync({ ...guestOptions, deviceTree }).info;
    assert.equal(kernel.gpa, 0x4020_0000n);
  });

  it("is the whole pages of each range of /memory, as early_init_dt_add_memory_arch has it", () => {
    const ranges = [
      [0x4000_0800, 12 * MIB],
      [0x4100_0000, 4 * MIB + 0xfff],
      // Not a page, though the two touch; not a whole one, though it has the bytes of one.
      [0x4200_0000, 0x800],
      [0x4200_0800, 0x800],
      [0x4300_0001, PAGE + 0xffe],
    ] as const;
    const deviceTree = compile(memoryNode(...ranges));
    const wanted = [
      [0x4000_1000n, 0x40c0_0000n],
      [0x4100_0000n, 0x4140_0000n],
    ];
    const memory = 16 * MIB - PAGE;
    assert.deepEqual(ramOf(plan({ deviceTree, memory })), wanted);
    assert.equal(loadLinuxSync({ ...guestOptions, deviceTree, memory }).info.kernel.gpa, 0x4040_0000n);
    assert.throws(() => plan({ deviceTree, memory: 16 * MIB }), refusal("DEVICE_TREE_MEMORY", "0x1000000"));
  });

  const NO_RAM: Readonly<Record<string, string>> = {
    "no /memory": CHOSEN,
    "a /memory without device_type": "memory@40000000 { reg = <0 0x40000000 0 0x1000000>; };",
    "a /memory of another device_type": memoryNode([0x4000_0000, MEMORY]).replace('"memory"', '"flash"'),
    "a /memory without reg": 'memory { device_type = "memory"; };',
    "a /memory with an empty reg": 'memory { device_type = "memory"; reg; };',
    "a /memory of no bytes, as a boot loader is to fill in": memoryNode([0, 0]),
    "a /memory of less than a page": memoryNode([0x4000_0800, PAGE]),
    "a /memory that is disabled": memoryNode([0x4000_0000, MEMORY]).replace("};", 'status = "disabled"; };'),
    "memory below another node": `soc { #address-cells = <2>; #size-cells = <2>; ${memoryNode([0x4000_0000, MEMORY])} };`,
  };
  const layout = new MemoryLayout([{ start: 0x4000_0000, end: 0x4000_0000 + MEMORY }]);
  const trees = Object.entries(NO_RAM).map(([name, nodes]) => [name, compile(nodes, ["-f"])] as const);
  for (const [name, deviceTree] of [["no device tree", undefined] as const, ...trees]) {
    it(`is refused before it is touched if there is ${name}`, async () => {
      const refused =
        deviceTree === undefined
          ? refusal("DEVICE_TREE_MISSING", "device tree")
          : refusal("DEVICE_TREE_MEMORY", "/memory", "no RAM");
      const bytes = new Uint8Array(MEMORY).fill(0xa5);
      const before = bytes.slice();
      const banks = [{ guestPhysicalAddress: 0x4000_0000, byteOffset: 0, byteLength: MEMORY }];
      for (const memory of [bytes.buffer, { buffer: bytes.buffer, banks }, layout, MEMORY]) {
        const options = { ...guestOptions, deviceTree, memory };
        assert.throws(() => loadLinuxSync(options), refused);
        assert.throws(() => planLinuxSync({ ...options, commandLine: "quiet", initrd: INITRD }), refused);
        await assert.rejects(loadLinux(options), refused);
      }
      assert.equal(Buffer.compare(bytes, before), 0);
    });
  }

  it("is refused if its size is not the one that /memory has", () => {
    for (const memory of [MEMORY - PAGE, MEMORY + PAGE]) {
      assert.throws(
        () => plan({ memory }),
        refusal("DEVICE_TREE_MEMORY", `0x${memory.toString(16)} bytes`, "0x1000000", "0x40000000"),
      );
    }
    assert.throws(() => plan({ memory: 0 }), refusal("LAYOUT_BAD_SIZE"));
    const deviceTree = compile(memoryNode([0x4000_0000, 12 * MIB], [0x9000_0000, 4 * MIB]));
    assert.throws(
      () => plan({ deviceTree, memory: 12 * MIB }),
      refusal("DEVICE_TREE_MEMORY", "0xc00000", "0x1000000"),
    );
  });

  it("is refused if a layout or banks lie where /memory has none", () => {
    const layout = new MemoryLayout([{ start: 0x4080_0000, end: 0x4180_0000 }]);
    const matches = refusal("DEVICE_TREE_MEMORY", "0x40800000-0x41800000", "0x40000000-0x41000000");
    assert.throws(() => plan({ memory: layout }), matches);
    assert.throws(() => plan({ memory: GuestMemory.create(layout) }), matches);
    const banks = [{ guestPhysicalAddress: 0x4080_0000, byteOffset: 0, byteLength: 16 * MIB }];
    assert.throws(() => plan({ memory: { buffer: new ArrayBuffer(16 * MIB), banks } }), matches);
  });
});

describe("what the device tree of an arm64 guest reserves", () => {
  const reserve = (start: number, size: number): string =>
    `reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges; secure@${start.toString(16)} { reg = <0 0x${start.toString(16)} 0 0x${size.toString(16)}>; no-map; }; };`;
  const memory = memoryNode([0x4000_0000, MEMORY]);

  it("is given to nobody: /reserved-memory", () => {
    const made = plan({ deviceTree: compile(`${memory} ${reserve(0x4020_5000, PAGE)}`), initrd: INITRD });
    assert.deepEqual(pagesOf(made), [
      ["linux-kernel", 0x4040_0000n, 0x4041_3000n],
      ["linux-device-tree", 0x4041_3000n, 0x4041_4000n],
      ["linux-initrd", 0x4060_0000n, 0x4060_4000n],
    ]);
  });

  it("is given to nobody: the memory reservation block", () => {
    const source = newFile("dts");
    const target = newFile("dtb");
    const node = `#address-cells = <2>; #size-cells = <2>; ${memory}`;
    writeFileSync(source, `/dts-v1/; /memreserve/ 0x40200800 0x10; / { ${node} };`);
    runTool("device-tree-compiler", "dtc", ["-q", "-I", "dts", "-O", "dtb", "-o", target, source]);
    const deviceTree = new Uint8Array(readFileSync(target));
    assert.equal(plan({ deviceTree }).info.kernel.gpa, 0x4040_0000n);
    const onIt = { deviceTree, initrd: INITRD, addresses: { initrd: 0x401f_f000 } };
    const said = ["linux-initrd at 0x401ff000-0x40203000", "reserved memory at 0x40200000-0x40201000"];
    assert.throws(() => plan(onIt), refusal("IMPORT_OVERLAP", ...said));
  });

  it("is not in the way of the initrd that it was made for", () => {
    const deviceTree = compile(`${memory} ${reserve(0x4070_0000, 4 * PAGE)}`);
    const made = plan({ deviceTree, initrd: INITRD, addresses: { initrd: 0x4070_0000 } });
    assert.equal(made.info.initrd?.gpa, 0x4070_0000n);
  });

  it("is nothing where a node is disabled, has no reg, or cells that are not the root's", () => {
    const nodes = [
      'a@40200000 { reg = <0 0x40200000 0 0x1000>; status = "disabled"; };',
      "b { size = <0 0x1000>; };",
      "c@40200000 { reg = <0x40200000 0x1000 0>; };",
    ];
    const parent = `reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges; ${nodes.join(" ")} };`;
    const made = plan({ deviceTree: compile(`${memory} ${parent}`, ["-f"]) });
    assert.equal(made.info.kernel.gpa, 0x4020_0000n);
  });
});

describe("a buffer as the memory of an arm64 guest", () => {
  const at8000 = compile(`${memoryNode([0x8000_0000, MEMORY])} ${CHOSEN}`);
  const kernelAt = (buffer: ArrayBufferLike, offset: number): Uint8Array =>
    new Uint8Array(buffer, offset, KERNEL.byteLength);

  it("starts at the first range of /memory", () => {
    const buffer = new ArrayBuffer(MEMORY);
    const guest = loadLinuxSync({ ...guestOptions, memory: buffer, deviceTree: at8000 });
    assert.equal(guest.info.kernel.gpa, 0x8020_0000n);
    assert.deepEqual(kernelAt(buffer, 2 * MIB), KERNEL);
  });

  for (const start of [0x4000_0000, 0]) {
    it(`holds two ranges of /memory one behind the other, the lower one, at 0x${start.toString(16)}, first`, () => {
      const deviceTree = compile(memoryNode([0x9000_0000, 4 * MIB], [start, 12 * MIB]));
      const buffer = new ArrayBuffer(MEMORY);
      const guest = loadLinuxSync({
        ...guestOptions,
        memory: buffer,
        deviceTree,
        initrd: INITRD,
        addresses: { initrd: 0x9010_0000 },
      });
      assert.equal(guest.info.kernel.gpa, BigInt(start + 2 * MIB));
      assert.deepEqual(kernelAt(buffer, 2 * MIB), KERNEL);
      assert.deepEqual(new Uint8Array(buffer, 13 * MIB, INITRD.byteLength), INITRD);
    });
  }
});

describe("a device tree of the caller's", () => {
  it("is not modified by a plan, nor by applying it", () => {
    const deviceTree = TREE.slice();
    const made = plan({ deviceTree, commandLine: "quiet", initrd: INITRD });
    treeOf(made);
    assert.deepEqual(deviceTree, TREE);
  });

  it("may have 2 MiB", () => {
    const deviceTree = compile(`${memoryNode([0x4000_0000, MEMORY])} ${CHOSEN}`, [
      "-S",
      `${MOST_TREE_BYTES}`,
    ]);
    assert.equal(deviceTree.byteLength, MOST_TREE_BYTES);
    assert.equal(chosen(plan({ deviceTree, commandLine: "quiet" }), "s", "bootargs"), "quiet");
  });

  it("is refused above 2 MiB, before it is read", () => {
    const deviceTree = new BreakingSource(new Uint8Array(MOST_TREE_BYTES + 1), 0, new Error("was read"));
    assert.throws(() => plan({ deviceTree }), refusal("DEVICE_TREE_TOO_LARGE", "2097153", "2097152"));
    assert.equal(deviceTree.reads, 0);
  });

  it("is refused if what goes into /chosen makes it larger than 2 MiB", () => {
    const bytes = newFile("bin");
    writeFileSync(bytes, noise(MOST_TREE_BYTES - 1024));
    const deviceTree = compile(`${memoryNode([0x4000_0000, MEMORY])} big { data = /incbin/("${bytes}"); };`);
    assert.ok(deviceTree.byteLength <= MOST_TREE_BYTES);
    assert.equal(plan({ deviceTree, commandLine: "short" }).architecture, "aarch64");
    assert.throws(
      () => plan({ deviceTree, commandLine: "x".repeat(2000) }),
      refusal("DEVICE_TREE_TOO_LARGE", "/chosen", "2097152"),
    );
  });
});

describe("options of another architecture are refused:", () => {
  const rows: readonly (readonly [string, Partial<LoadLinuxSyncOptions>])[] = [
    ["acpi", { acpi: { rsdp: new Uint8Array(36), tables: new Uint8Array(PAGE) } }],
    ["mtrrs", { mtrrs: "variable" }],
    ["physicalAddressWidth", { physicalAddressWidth: 40 }],
    ["arm64", { kernel: X86_64_GUEST, memory: 64 << 20, arm64: {} }],
  ];
  for (const [name, options] of rows) {
    it(name, () => assert.throws(() => plan(options), refusal("OPTION_NOT_FOR_ARCHITECTURE", name)));
  }
});
