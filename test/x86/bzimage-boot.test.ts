/** Where a bzImage goes: Documentation/arch/x86/boot.rst, "Loading The Rest of The Kernel", pref_address, init_size. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type BzImage, readBzImage } from "../../src/images/bzimage.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { Placement } from "../../src/plan/placement.js";
import { BytesSource } from "../../src/sources/bytes.js";
import { runSync } from "../../src/task/run.js";
import { type PlacedBzImage, placeBzImage } from "../../src/x86/bzimage-boot.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { refusal } from "../support/refusal.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;

/** The header's fields; in the maker: pref_address 16 MiB, 2 MiB aligned, init_size 128 KiB, 4 KiB of code. */
interface Header {
  readonly pref?: bigint;
  readonly align?: number;
  readonly relocatable?: number;
  readonly initSize?: number;
  readonly xloadflags?: number;
  readonly version?: number;
  readonly code?: number;
}

function image(header: Header = {}): BzImage {
  const bytes = makeBzImage({
    code: new Uint8Array(header.code ?? 4096),
    version: header.version ?? 0x20f,
    fields: [
      [0x258, 8, header.pref ?? 16n * MIB],
      [0x230, 4, header.align ?? 0x20_0000],
      [0x234, 1, header.relocatable ?? 1],
      [0x260, 4, header.initSize ?? 0x2_0000],
      [0x236, 2, header.xloadflags ?? 3],
    ],
  });
  return runSync(readBzImage(new BytesSource(bytes, "vmlinuz")));
}

interface Situation {
  readonly ram?: MemoryLayout;
  readonly taken?: readonly (readonly [start: bigint, length: bigint])[];
  readonly address?: bigint;
  readonly entry?: "64" | "32";
}

function place(header: Header = {}, situation: Situation = {}): PlacedBzImage {
  const placement = new Placement(situation.ram ?? new MemoryLayout(64n * MIB));
  for (const [start, length] of situation.taken ?? []) placement.take(start, length, "other");
  return placeBzImage(placement, image(header), situation.entry ?? "64", situation.address, "linux-kernel");
}

describe("the place of a bzImage", () => {
  it("is its preferred address, with init_size bytes behind it", () => {
    assert.deepEqual(place(), { loadAddress: 16n * MIB, end: 16n * MIB + 0x2_0000n });
  });

  it("is 1 MiB for one without a preference, relocatable or not", () => {
    for (const relocatable of [0, 1]) {
      assert.equal(place({ pref: 0n, align: 4096, relocatable }).loadAddress, MIB);
      assert.equal(place({ pref: 0n, align: 4096, relocatable }).end, MIB + 0x2_0000n);
    }
  });

  it("is 1 MiB for an old one (2.09), and three times its code is kept free", () => {
    const placed = place({ version: 0x209, relocatable: 0, code: 0x4000 });
    assert.deepEqual([placed.loadAddress, placed.end], [MIB, MIB + 0xc000n]);
  });

  it("is the next free multiple of kernel_alignment above, if it is relocatable and something lies there", () => {
    assert.equal(place({}, { taken: [[16n * MIB, 1n]] }).loadAddress, 18n * MIB);
    // Also where only the last page of init_size is taken.
    assert.equal(place({}, { taken: [[16n * MIB + 0x1_f000n, 1n]] }).loadAddress, 18n * MIB);
    assert.equal(place({}, { taken: [[16n * MIB + 0x2_0000n, 1n]] }).loadAddress, 16n * MIB);
    assert.equal(place({ align: 0x100_0000 }, { taken: [[16n * MIB, 1n]] }).loadAddress, 32n * MIB);
  });

  it("is never below the preferred address by itself: a kernel that finds no room above has none", () => {
    const ram = new MemoryLayout(16n * MIB);
    assert.throws(
      () => place({}, { ram }),
      refusal("PLACEMENT_NO_ROOM", "init_size", "0x1000000", "0x200000"),
    );
  });

  it("is fixed for one that is not relocatable: what is in its way is named", () => {
    const taken = [[16n * MIB, 1n]] as const;
    assert.throws(
      () => place({ relocatable: 0 }, { taken }),
      refusal("IMPORT_OVERLAP", "linux-kernel", "other"),
    );
    const ram = new MemoryLayout(16n * MIB);
    assert.throws(() => place({ relocatable: 0 }, { ram }), refusal("GUEST_MEMORY_NOT_RAM", "linux-kernel"));
  });

  it("is the caller's choice, and what runs at the preferred address all the same is kept free", () => {
    // Loaded below, it moves itself up (head_64.S, LOAD_PHYSICAL_ADDR).
    const low = place({}, { address: MIB });
    assert.deepEqual([low.loadAddress, low.end], [MIB, 16n * MIB + 0x2_0000n]);
    const taken = [[16n * MIB, 1n]] as const;
    assert.throws(() => place({}, { address: MIB, taken }), refusal("IMPORT_OVERLAP", "init_size", "other"));
    // Above, it aligns itself up.
    const high = place({}, { address: 20n * MIB + 0x1000n });
    assert.deepEqual([high.loadAddress, high.end], [20n * MIB + 0x1000n, 22n * MIB + 0x2_0000n]);
  });

  it("is refused if the kernel can't be loaded where the caller wants it", () => {
    const bad: readonly (readonly [Header, Situation, string])[] = [
      [{ relocatable: 0 }, { address: 18n * MIB }, "not relocatable"],
      [{}, { address: MIB - 0x1000n }, "below 1 MiB"],
      [{}, { address: 0n }, "below 1 MiB"],
      [{}, { address: 16n * MIB + 1n }, "page-aligned"],
      [{ xloadflags: 1 }, { address: 4n * GIB }, "4 GiB"],
      [{}, { address: 4n * GIB, entry: "32" }, "4 GiB"],
      // The place that it moves to counts, not where it is loaded.
      [{ xloadflags: 1, align: 0x8000_0000 }, { address: 3n * GIB }, "4 GiB"],
      [{ xloadflags: 1, code: 0x4_0000 }, { address: 4n * GIB - 0x2_0000n }, "4 GiB"],
    ];
    for (const [header, situation, why] of bad) {
      const ram = new MemoryLayout(8n * GIB);
      assert.throws(() => place(header, { ram, ...situation }), refusal("BZIMAGE_BAD_LOAD_ADDRESS", why));
    }
    assert.equal(place({ relocatable: 0 }, { address: 16n * MIB }).loadAddress, 16n * MIB);
    assert.equal(place({ relocatable: 0 }, { address: MIB }).end, 16n * MIB + 0x2_0000n);
  });

  it("is above 4 GiB only for a kernel that says that it can, for the 64-bit entry, and where there is no room below", () => {
    const ram = new MemoryLayout(8n * GIB);
    const taken = [[16n * MIB, 4n * GIB - 16n * MIB]] as const;
    assert.equal(place({}, { ram, taken }).loadAddress, 4n * GIB);
    assert.equal(place({}, { ram, taken: [[16n * MIB, GIB]] }).loadAddress, GIB + 16n * MIB);
    for (const [header, entry] of [
      [{ xloadflags: 1 }, "64"],
      [{}, "32"],
    ] as const) {
      assert.throws(
        () => place(header, { ram, taken, entry }),
        refusal("PLACEMENT_NO_ROOM", "below 0x100000000"),
      );
    }
    assert.equal(place({}, { ram, address: 5n * GIB }).loadAddress, 5n * GIB);
  });

  it("is refused for headers that make no sense", () => {
    const ram = new MemoryLayout(8n * GIB);
    const bad: readonly (readonly [Header, Parameters<typeof refusal>[0]])[] = [
      [{ pref: 16n * MIB + 1n }, "BZIMAGE_BAD_ALIGNMENT"],
      [{ pref: 16n * MIB + 1n, relocatable: 0 }, "BZIMAGE_BAD_ALIGNMENT"],
      [{ align: 0x30_0000 }, "BZIMAGE_BAD_ALIGNMENT"],
      [{ pref: 5n * GIB, xloadflags: 0 }, "BZIMAGE_BAD_LOAD_ADDRESS"],
      [{ pref: 5n * GIB, xloadflags: 0, relocatable: 0 }, "BZIMAGE_BAD_LOAD_ADDRESS"],
      [{ pref: 0xffff_ffff_ffff_f000n }, "PLACEMENT_NO_ROOM"],
      [{ pref: 0xffff_ffff_ffff_f000n, relocatable: 0 }, "ADDRESS_OVERFLOW"],
      [{ initSize: 0xffff_ffff, xloadflags: 1 }, "BZIMAGE_BAD_LOAD_ADDRESS"],
    ];
    for (const [header, code] of bad) assert.throws(() => place(header, { ram }), refusal(code));
    // No kernel lies below 1 MiB, whatever it prefers.
    assert.equal(place({ pref: 0x1000n, align: 4096 }).loadAddress, MIB);
  });
});
