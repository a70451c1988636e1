import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { E820Entry } from "../../src/x86/e820.js";
import { buildHvmStartInfo } from "../../src/x86/pvh.js";
import { refusal } from "../support/refusal.js";

const MEMORY: readonly E820Entry[] = [
  { start: 0n, end: 0xa_0000n, type: 1 },
  { start: 0x10_0000n, end: 0x1_8000_0000n, type: 1 },
];

/** Little-endian bytes of the fields of a struct. */
function fields(...list: readonly (readonly [8 | 4, bigint])[]): number[] {
  return list.flatMap(([width, value]) =>
    Array.from({ length: width }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)),
  );
}

/** Reads a start info at `base` as start_info.h describes it, through its own pointers. */
function read(bytes: Uint8Array, base: bigint) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const list = <T>(pointerAt: number, countAt: number, each: number, one: (at: number) => T): T[] => {
    const at = Number(view.getBigUint64(pointerAt, true) - base);
    return Array.from({ length: view.getUint32(countAt, true) }, (_, i) => one(at + i * each));
  };
  return {
    magic: view.getUint32(0, true),
    version: view.getUint32(4, true),
    commandLine: view.getBigUint64(24, true),
    rsdp: view.getBigUint64(32, true),
    modules: list(16, 12, 32, (at) => ({
      address: view.getBigUint64(at, true),
      byteLength: view.getBigUint64(at + 8, true),
      commandLine: view.getBigUint64(at + 16, true),
      reserved: view.getBigUint64(at + 24, true),
    })),
    memoryMap: list(40, 48, 24, (at): E820Entry => {
      assert.equal(view.getUint32(at + 20, true), 0);
      const start = view.getBigUint64(at, true);
      return { start, end: start + view.getBigUint64(at + 8, true), type: view.getUint32(at + 16, true) };
    }),
  };
}

describe("buildHvmStartInfo", () => {
  it("is start info, module list and memory map, as start_info.h lays them out", () => {
    const bytes = buildHvmStartInfo(0x6000n, {
      commandLine: { address: 0x3000n, byteLength: 5 },
      initrd: { address: 0x400_0000n, byteLength: 0x12_3456n },
      acpiRsdpAddress: 0xe_0000n,
      e820: MEMORY,
    });
    const startInfo = fields(
      [4, 0x336e_c578n], // magic
      [4, 1n], // version
      [4, 0n], // flags
      [4, 1n], // nr_modules
      [8, 0x6038n], // modlist_paddr
      [8, 0x3000n], // cmdline_paddr
      [8, 0xe_0000n], // rsdp_paddr
      [8, 0x6058n], // memmap_paddr
      [4, 2n], // memmap_entries
      [4, 0n], // reserved
    );
    const modules = fields([8, 0x400_0000n], [8, 0x12_3456n], [8, 0n], [8, 0n]);
    const map = fields(
      ...([
        [8, 0n],
        [8, 0xa_0000n],
        [4, 1n],
        [4, 0n],
        [8, 0x10_0000n],
        [8, 0x1_7ff0_0000n],
        [4, 1n],
        [4, 0n],
      ] as const),
    );
    assert.deepEqual([startInfo.length, modules.length, map.length], [56, 32, 48]);
    assert.deepEqual([...bytes], [...startInfo, ...modules, ...map]);
    // "xEn3", with bit 7 of the "E"
    assert.deepEqual([...bytes.subarray(0, 4)], [0x78, 0x45 | 0x80, 0x6e, 0x33]);
  });

  it("is read back as it was given", () => {
    const below4Gib = fc.bigInt({ min: 1n, max: 0xffff_ffffn });
    const aType = fc.constantFrom(1, 2, 3, 4, 5, 0xf000_0001);
    const bound = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    const anEntry = fc
      .tuple(bound, bound, aType)
      .map(([a, b, type]): E820Entry => ({ start: a < b ? a : b, end: a < b ? b : a, type }));
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 0x1fff_fe00 }),
        fc.array(anEntry, { minLength: 1, maxLength: 128 }),
        fc.option(below4Gib),
        fc.option(below4Gib),
        bound,
        (eighth, memoryMap, commandLine, initrd, rsdp) => {
          const address = BigInt(eighth) * 8n;
          const bytes = buildHvmStartInfo(address, {
            e820: memoryMap,
            commandLine: { address: commandLine ?? 0n, byteLength: 5 },
            initrd: initrd === null ? undefined : { address: initrd, byteLength: 0x1_0000_0000n - initrd },
            acpiRsdpAddress: rsdp,
          });
          const found = read(bytes, address);
          assert.deepEqual(found, {
            magic: 0x336e_c578,
            version: 1,
            commandLine: commandLine ?? 0n,
            rsdp,
            modules:
              initrd === null
                ? []
                : [
                    {
                      address: initrd,
                      byteLength: 0x1_0000_0000n - initrd,
                      commandLine: 0n,
                      reserved: 0n,
                    },
                  ],
            memoryMap,
          });
          assert.ok(bytes.byteLength <= 3160);
        },
      ),
    );
  });

  it("has at most 128 entries in its map, as many as Linux has room for", () => {
    const many = (length: number): E820Entry[] =>
      Array.from({ length }, (_, i) => ({ start: BigInt(i), end: BigInt(i + 1), type: 2 }));
    buildHvmStartInfo(0x6000n, { e820: many(128) });
    const act = (): unknown => buildHvmStartInfo(0x6000n, { e820: many(129) });
    assert.throws(act, refusal("PVH_BAD_MEMORY_MAP", "129", "128"));
  });
});
