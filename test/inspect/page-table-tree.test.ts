import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GuestMemory, loadLinuxSync } from "../../src/index.js";
import { type PageTable, pageTableTree } from "../../src/inspect/page-table-tree.js";
import { PageTableBuilder } from "../../src/loader.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { entriesOf, walkPages } from "../support/page-walk.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { noise } from "../support/sources.js";

const MIB = 0x10_0000;
const LONG_MODE = { cr0: 0x8000_0001n, cr4: 0x20n, efer: 0x500n };

interface Leaf {
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly bytes: bigint;
  readonly pageSize: bigint;
  readonly flags: readonly string[];
}

/** All pages of a tree; at most `most` tables are unfolded. */
function leaves(table: PageTable, most = { left: 5000 }): Leaf[] {
  if (most.left-- <= 0) return [];
  return table.entries.flatMap((entry) => {
    const child = entry.children();
    if (child !== undefined) return leaves(child, most);
    if (entry.maps === undefined) return [];
    const { virtualStart, virtualEnd, physical, pageSize } = entry.maps;
    return [
      { virtual: virtualStart, physical, bytes: virtualEnd - virtualStart, pageSize, flags: entry.flags },
    ];
  });
}

describe("pageTableTree", () => {
  it("shows the identity map of a loaded guest as one run for each directory", () => {
    const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: 64 * MIB });
    const root = pageTableTree(guest.memory, guest.registers, guest.architecture);
    assert.ok(root !== undefined);
    assert.deepEqual([root.address, root.level, root.name], [0x4000n, 4, "PML4"]);
    const [first, rest] = root.entries;
    assert.deepEqual([first?.index, first?.table, first?.present], [0, 0x5000n, true]);
    assert.deepEqual([rest?.index, rest?.count, rest?.present], [1, 511, false]);
    const found = leaves(root);
    assert.equal(found.length, 4);
    for (const [index, leaf] of found.entries()) {
      assert.equal(leaf.virtual, BigInt(index) << 30n);
      assert.equal(leaf.physical, leaf.virtual);
      assert.equal(leaf.bytes, 1n << 30n);
      assert.equal(leaf.pageSize, 2n << 20n);
      assert.deepEqual(leaf.flags, ["P", "R/W", "A", "D", "PS"]);
    }
  });

  it("says what an independent walk says, for tables of every page size", () => {
    const builder = new PageTableBuilder({
      pageTableGpa: 0x10_0000,
      ranges: [
        { start: 0x1000, end: 0x40_3000 },
        { start: 0x40_3000, end: 0x60_0000, readOnly: true },
        { start: 0x3fff_f000, end: 0x1_4000_5000 },
        { start: 0x7fff_ffe0_0000, end: 0x8000_0000_0000 },
      ],
    });
    const tables = builder.build();
    const memory = GuestMemory.create(16 * MIB);
    memory.write(0x10_0000, tables);
    const root = pageTableTree(memory, { ...LONG_MODE, cr3: 0x10_0000n }, "x86_64");
    assert.ok(root !== undefined);
    const entryAt = entriesOf(tables, 0x10_0000n);
    const sizes = new Set<bigint>();
    let mapped = 0n;
    for (const { virtual, physical, bytes, pageSize, flags } of leaves(root)) {
      sizes.add(pageSize);
      mapped += bytes;
      for (const offset of [0n, bytes - pageSize, bytes - 1n]) {
        const walk = walkPages(entryAt, 0x10_0000n, virtual + offset);
        assert.equal(walk?.address, physical + offset);
        assert.equal(walk?.pageBytes, pageSize);
        assert.equal(walk?.writable, flags.includes("R/W"));
      }
    }
    assert.deepEqual(sizes, new Set([0x1000n, 0x20_0000n, 0x4000_0000n]));
    assert.equal(mapped, 0x5f_f000n + (0x1_4000_5000n - 0x3fff_f000n) + 0x20_0000n);
  });

  it("gives addresses of the upper half their sign", () => {
    const memory = GuestMemory.create(MIB);
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, 0x3003n, true);
    memory.write(0x2000 + 511 * 8, new Uint8Array(view.buffer));
    view.setBigUint64(0, 0x83n, true);
    memory.write(0x3000 + 510 * 8, new Uint8Array(view.buffer));
    const root = pageTableTree(memory, { ...LONG_MODE, cr3: 0x2000n }, "x86_64");
    assert.ok(root !== undefined);
    assert.deepEqual(
      leaves(root).map(({ virtual, bytes }) => [virtual, bytes]),
      [[0xffff_ffff_8000_0000n, 0x4000_0000n]],
    );
  });

  it("has no tree where paging is off, or where the first table is not in RAM", () => {
    const memory = GuestMemory.create(MIB);
    assert.equal(pageTableTree(memory, { cr0: 1n, cr3: 0x1000n }, "i386"), undefined);
    assert.equal(pageTableTree(memory, { ...LONG_MODE, cr3: 0x100_0000n }, "x86_64"), undefined);
    const machine = { memory: 64 * MIB, deviceTree: memoryTree(64 * MIB) };
    const guest = loadLinuxSync({ kernel: AARCH64_GUEST, ...machine });
    assert.equal(pageTableTree(guest.memory, guest.registers, guest.architecture), undefined);
  });

  it("knows 32-bit and PAE paging, and five levels", () => {
    const memory = GuestMemory.create(MIB);
    const words = new Uint32Array([0x83, 0x40_0083, 0x2003]);
    memory.write(0x1000, new Uint8Array(words.buffer));
    const legacy = pageTableTree(memory, { cr0: 0x8000_0001n, cr3: 0x1000n, cr4: 0x10n }, "i386");
    assert.deepEqual([legacy?.level, legacy?.entryCount], [2, 1024]);
    assert.deepEqual(legacy?.entries[0]?.maps, {
      virtualStart: 0n,
      virtualEnd: 0x80_0000n,
      physical: 0n,
      pageSize: 0x40_0000n,
    });
    assert.equal(legacy?.entries[1]?.children()?.address, 0x2000n);
    const pae = pageTableTree(memory, { cr0: 0x8000_0001n, cr3: 0x1020n, cr4: 0x20n }, "i386");
    assert.deepEqual([pae?.address, pae?.level, pae?.entryCount], [0x1020n, 3, 4]);
    memory.write(0x1020, new Uint8Array(new BigUint64Array([0x83n]).buffer));
    const reserved = pageTableTree(memory, { cr0: 0x8000_0001n, cr3: 0x1020n, cr4: 0x20n }, "i386");
    assert.equal(reserved?.entries[0]?.problem, "PS is set where no page can be that large");
    const five = pageTableTree(memory, { ...LONG_MODE, cr4: 0x1020n, cr3: 0x1000n }, "x86_64");
    assert.deepEqual([five?.level, five?.name], [5, "PML5"]);
  });

  it("walks arm64 tables: blocks, pages, and the upper half", () => {
    const memory = GuestMemory.create(MIB);
    const put = (address: number, value: bigint): void => {
      memory.write(address, new Uint8Array(new BigUint64Array([value]).buffer));
    };
    // 39 address bits, 4 KiB pages in both halves: three levels.
    const tcrEl1 = 25n | (25n << 16n) | (2n << 30n);
    put(0x1000, 0x4000_0705n);
    put(0x1008, 0x2003n);
    put(0x2000, 0x3003n);
    put(0x3000, 0x8000_0707n);
    const lower = pageTableTree(memory, { sctlrEl1: 1n, tcrEl1, ttbr0El1: 0x1000n }, "aarch64");
    assert.deepEqual([lower?.level, lower?.name], [3, "level 1 table"]);
    assert.ok(lower !== undefined);
    assert.deepEqual(
      leaves(lower).map(({ virtual, physical, pageSize }) => [virtual, physical, pageSize]),
      [
        [0n, 0x4000_0000n, 0x4000_0000n],
        [0x4000_0000n, 0x8000_0000n, 0x1000n],
      ],
    );
    const upper = pageTableTree(memory, { sctlrEl1: 1n, tcrEl1, ttbr1El1: 0x1000n }, "aarch64", {
      half: "upper",
    });
    assert.ok(upper !== undefined);
    assert.equal(leaves(upper)[0]?.virtual, 0xffff_ff80_0000_0000n);
  });

  it("shows tables that point to themselves as deep as the processor walks, and marks them", () => {
    const memory = GuestMemory.create(MIB);
    memory.write(0x1000, new Uint8Array(new BigUint64Array([0x1003n]).buffer));
    let table = pageTableTree(memory, { ...LONG_MODE, cr3: 0x1000n }, "x86_64");
    let depth = 0;
    while (table !== undefined) {
      depth++;
      const [entry] = table.entries;
      if (depth < 4) assert.equal(entry?.problem, "the table is its own ancestor");
      table = entry?.children();
    }
    assert.equal(depth, 4);
  });

  it("says of a table that is not in RAM, and of reserved bits, what is wrong", () => {
    const memory = GuestMemory.create(MIB);
    memory.write(0x1000, new Uint8Array(new BigUint64Array([0x7fff_f003n, 0x83n]).buffer));
    const [far, large] = pageTableTree(memory, { ...LONG_MODE, cr3: 0x1000n }, "x86_64")?.entries ?? [];
    assert.equal(far?.problem, "the table is not in RAM");
    assert.equal(far?.children(), undefined);
    assert.equal(large?.problem, "PS is set where no page can be that large");
    assert.equal(large?.maps, undefined);
  });

  it("reads nothing that nobody looks at, and each table once", () => {
    const memory = GuestMemory.create(MIB);
    memory.write(0x1000, new Uint8Array(new BigUint64Array([0x2003n, 0x3003n]).buffer));
    const reads: bigint[] = [];
    const watched = {
      read: (address: bigint, byteLength: number): Uint8Array => {
        if (byteLength > 1) reads.push(address);
        return memory.read(address, byteLength);
      },
    };
    const root = pageTableTree(watched, { ...LONG_MODE, cr3: 0x1000n }, "x86_64");
    assert.ok(!reads.includes(0x2000n));
    root?.entries[0]?.children()?.entries;
    assert.equal(root?.entries[0]?.children(), root?.entries[0]?.children());
    assert.ok(reads.includes(0x2000n) && !reads.includes(0x3000n));
  });

  it("is data for JSON, with hex strings", () => {
    const guest = loadLinuxSync({ kernel: X86_64_GUEST, memory: 64 * MIB });
    const root = pageTableTree(guest.memory, guest.registers, guest.architecture);
    const json: unknown = JSON.parse(JSON.stringify(root));
    assert.ok(typeof json === "object" && json !== null && "address" in json && "entries" in json);
    assert.equal(json.address, "0x4000");
  });

  it("comes to an end with any bytes for tables, and throws nothing", () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.bigInt(0n, (1n << 64n) - 1n),
        fc.bigInt(0n, (1n << 64n) - 1n),
        fc.constantFrom("x86_64" as const, "aarch64" as const),
        (seed, cr4, tcrEl1, arch) => {
          const memory = GuestMemory.create(0x8000);
          // Entries that point into the little RAM there is, to each other and to themselves.
          const words = new DataView(noise(0x8000, seed).buffer);
          for (let at = 0; at < 0x8000; at += 16)
            words.setBigUint64(at, words.getBigUint64(at, true) & 0x7fffn, true);
          memory.write(0, new Uint8Array(words.buffer));
          for (const half of ["lower", "upper"] as const) {
            const registers = {
              cr0: 0x8000_0001n,
              cr3: 0x1000n,
              cr4,
              efer: 0x500n,
              sctlrEl1: 1n,
              tcrEl1,
              ttbr0El1: 0x2000n,
              ttbr1El1: 0x3000n,
            };
            const root = pageTableTree(memory, registers, arch, { half });
            if (root !== undefined) leaves(root, { left: 40 });
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it("goes on where reading fails in a way of the caller's own", () => {
    const broken = {
      read: (): Uint8Array => {
        throw new RangeError("of the caller's");
      },
    };
    assert.equal(pageTableTree(broken, { ...LONG_MODE, cr3: 0n }, "x86_64"), undefined);
  });
});
