import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import {
  buildE820Map,
  E820_ACPI,
  E820_NVS,
  E820_RAM,
  E820_RESERVED,
  E820_UNUSABLE,
  type E820Entry,
  encodeE820Entries,
} from "../../src/x86/e820.js";
import { refusal } from "../support/refusal.js";
import { tempFolder } from "../support/temp-folder.js";
import { runTool } from "../support/tool.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const PAGE = 4096;
const folder = tempFolder();

function entry(start: bigint | number, end: bigint | number, type: number): E820Entry {
  return { start: BigInt(start), end: BigInt(end), type };
}

/** Entries of 20 bytes: addr u64, size u64, type u32 (asm/bootparam.h, struct boot_e820_entry). */
function decode(bytes: Uint8Array): E820Entry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  assert.equal(bytes.byteLength % 20, 0);
  return Array.from({ length: bytes.byteLength / 20 }, (_, i) => {
    const start = view.getBigUint64(i * 20, true);
    return entry(start, start + view.getBigUint64(i * 20 + 8, true), view.getUint32(i * 20 + 16, true));
  });
}

describe("the e820 types", () => {
  it("are those of the kernel's own header", () => {
    const source = join(folder, "types.c");
    const program = join(folder, "types");
    writeFileSync(
      source,
      `#include <stdio.h>
#include <asm/e820.h>
int main(void) {
  printf("%d %d %d %d %d", E820_RAM, E820_RESERVED, E820_ACPI, E820_NVS, E820_UNUSABLE);
  return 0;
}
`,
    );
    runTool("gcc libc6-dev linux-libc-dev", "cc", ["-Wall", "-Werror", "-o", program, source]);
    assert.equal(
      runTool("gcc", program, []),
      [E820_RAM, E820_RESERVED, E820_ACPI, E820_NVS, E820_UNUSABLE].join(" "),
    );
  });
});

describe("buildE820Map", () => {
  it("is the RAM of a layout without reservations, ranges that touch joined", () => {
    const layout = new MemoryLayout([
      { start: 0, end: MIB, vnode: 0 },
      { start: MIB, end: 2n * MIB, vnode: 1 },
      { start: 4n * GIB, end: 5n * GIB },
    ]);
    assert.deepEqual(buildE820Map(layout, []), [
      entry(0, 2n * MIB, E820_RAM),
      entry(4n * GIB, 5n * GIB, E820_RAM),
    ]);
  });

  it("cuts reservations out of the RAM, at any byte", () => {
    const layout = new MemoryLayout([new MemoryRange(0, 256n * MIB)]);
    const map = buildE820Map(layout, [
      entry(0xe_0000, 0xe_2345, E820_ACPI),
      entry(0x9_fc00, 0xa_0000, E820_RESERVED),
      entry(0xe_2345, 0xe_2346, E820_NVS),
    ]);
    assert.deepEqual(map, [
      entry(0, 0x9_fc00, E820_RAM),
      entry(0x9_fc00, 0xa_0000, E820_RESERVED),
      entry(0xa_0000, 0xe_0000, E820_RAM),
      entry(0xe_0000, 0xe_2345, E820_ACPI),
      entry(0xe_2345, 0xe_2346, E820_NVS),
      entry(0xe_2346, 256n * MIB, E820_RAM),
    ]);
  });

  it("lists reservations outside RAM as they are, and those across its bounds whole", () => {
    const layout = new MemoryLayout([new MemoryRange(MIB, 2n * MIB), new MemoryRange(3n * MIB, 4n * MIB)]);
    const map = buildE820Map(layout, [
      entry(0xfec0_0000, 0xfec0_1000, E820_RESERVED),
      entry(0x18_0000, 0x38_0000, E820_UNUSABLE),
      entry(0, 0x1234, E820_RESERVED),
    ]);
    assert.deepEqual(map, [
      entry(0, 0x1234, E820_RESERVED),
      entry(MIB, 0x18_0000, E820_RAM),
      entry(0x18_0000, 0x38_0000, E820_UNUSABLE),
      entry(0x38_0000, 4n * MIB, E820_RAM),
      entry(0xfec0_0000, 0xfec0_1000, E820_RESERVED),
    ]);
  });

  it("leaves no RAM entry where a reservation covers all of a range", () => {
    const layout = new MemoryLayout([new MemoryRange(MIB, 2n * MIB), new MemoryRange(3n * MIB, 4n * MIB)]);
    assert.deepEqual(buildE820Map(layout, [entry(0, 8n * MIB, E820_RESERVED)]), [
      entry(0, 8n * MIB, E820_RESERVED),
    ]);
  });

  it("joins reservations of one type that touch, overlap or contain each other", () => {
    const layout = new MemoryLayout([new MemoryRange(MIB, 2n * MIB)]);
    const map = buildE820Map(layout, [
      entry(50, 60, E820_RESERVED),
      entry(10, 20, E820_RESERVED),
      entry(12, 14, E820_RESERVED),
      entry(20, 30, E820_RESERVED),
      entry(25, 55, E820_RESERVED),
    ]);
    assert.deepEqual(map, [entry(10, 60, E820_RESERVED), entry(MIB, 2n * MIB, E820_RAM)]);
  });

  it("leaves empty reservations out, even within another of another type", () => {
    const layout = new MemoryLayout([new MemoryRange(0, MIB)]);
    const map = buildE820Map(layout, [
      entry(0x5000, 0x5000, E820_ACPI),
      entry(0x4000, 0x6000, E820_RESERVED),
    ]);
    assert.deepEqual(map, [
      entry(0, 0x4000, E820_RAM),
      entry(0x4000, 0x6000, E820_RESERVED),
      entry(0x6000, MIB, E820_RAM),
    ]);
  });

  it("refuses two types for one byte, and names both", () => {
    const layout = new MemoryLayout([new MemoryRange(0, MIB)]);
    const act = (reservations: readonly E820Entry[]) => (): unknown => buildE820Map(layout, reservations);
    assert.throws(
      act([entry(0x5000, 0x6000, E820_NVS), entry(0x4000, 0x5001, E820_ACPI)]),
      refusal("E820_OVERLAP", "0x4000-0x5001 (type 3)", "0x5000-0x6000 (type 4)"),
    );
    // The one that is overlapped starts far before.
    assert.throws(
      act([entry(0, 0x9000, E820_RESERVED), entry(1, 2, E820_RESERVED), entry(0x8fff, 0x9001, E820_ACPI)]),
      refusal("E820_OVERLAP", "0x0-0x9000 (type 2)", "0x8fff-0x9001 (type 3)"),
    );
  });

  it("refuses reservations that are none", () => {
    const layout = new MemoryLayout([new MemoryRange(0, MIB)]);
    const act = (start: unknown, end: unknown, type: unknown) => (): unknown =>
      buildE820Map(layout, [{ start, end, type } as E820Entry]);
    assert.throws(act(0n, 1n, E820_RAM), refusal("E820_INVALID_ENTRY", "reservation 0", "RAM"));
    assert.throws(act(2n, 1n, 2), refusal("E820_INVALID_ENTRY", "0x2-0x1"));
    for (const type of [0, -1, 1.5, 2 ** 32, Number.NaN]) {
      assert.throws(act(0n, 1n, type), refusal("E820_INVALID_ENTRY", "0xffffffff"));
    }
    assert.throws(act(0n, 1n << 64n, 2), refusal("ADDRESS_OUT_OF_RANGE", "reservation 0.end"));
    assert.throws(act(-1n, 1n, 2), refusal("ADDRESS_OUT_OF_RANGE", "reservation 0.start"));
    assert.throws(act("0", 1n, 2), TypeError);
    assert.throws(act(0n, 1n, 2n), TypeError);
  });

  it("does not change the caller's entries", () => {
    const layout = new MemoryLayout([new MemoryRange(0, MIB)]);
    const reservations = [entry(20, 40, 2), entry(10, 30, 2)];
    buildE820Map(layout, reservations);
    assert.deepEqual(reservations, [entry(20, 40, 2), entry(10, 30, 2)]);
  });

  it("gives every byte its one type, in ascending order, in as few entries as can be", () => {
    const gapAndLength = fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 4 }));
    const reservation = fc.tuple(
      fc.nat(40 * PAGE),
      fc.nat(5 * PAGE),
      fc.constantFrom(2, 3, 4, 5, 0xf000_0001),
    );
    fc.assert(
      fc.property(
        fc.array(gapAndLength, { minLength: 1, maxLength: 8 }),
        fc.array(reservation),
        (shape, wishes) => {
          const ranges: MemoryRange[] = [];
          for (const [gap, length] of shape) {
            const start = (ranges.at(-1)?.end ?? 0n) + BigInt(gap * PAGE);
            ranges.push(new MemoryRange(start, start + BigInt(length * PAGE)));
          }
          // Those that don't overlap a wish of another type before.
          const reservations: E820Entry[] = [];
          for (const [start, length, type] of wishes) {
            const wish = entry(start, start + length, type);
            const clash = reservations.some(
              (r) => r.type !== type && r.start < wish.end && wish.start < r.end,
            );
            if (!clash) reservations.push(wish);
          }
          const map = buildE820Map(new MemoryLayout(ranges), reservations);

          // An independent map: the type at each point where anything starts or ends.
          const typeAt = (address: bigint): number | undefined =>
            reservations.find((r) => r.start <= address && address < r.end)?.type ??
            (ranges.some((r) => r.start <= address && address < r.end) ? E820_RAM : undefined);
          const points = [...ranges, ...reservations].flatMap(({ start, end }) => [start, end]);
          for (const point of points) {
            for (const address of [point - 1n, point, point + 1n]) {
              const found = map.filter((e) => e.start <= address && address < e.end);
              assert.ok(found.length <= 1);
              assert.equal(found[0]?.type, address < 0n ? undefined : typeAt(address));
            }
          }
          map.forEach((e, i) => {
            const next = map[i + 1];
            assert.ok(e.start < e.end);
            assert.ok(points.includes(e.start) && points.includes(e.end));
            if (next === undefined) return;
            assert.ok(e.end <= next.start);
            assert.ok(e.end < next.start || e.type !== next.type);
          });
        },
      ),
    );
  });

  it("takes a hundred thousand reservations", () => {
    const count = 100_000;
    const layout = new MemoryLayout([new MemoryRange(0, BigInt(count) * 8192n)]);
    const reservations = Array.from({ length: count }, (_, i) =>
      entry(BigInt(i) * 8192n, BigInt(i) * 8192n + 100n, E820_RESERVED),
    ).reverse();
    assert.equal(buildE820Map(layout, reservations).length, 2 * count);
    const many = new MemoryLayout(
      Array.from({ length: count }, (_, i) => new MemoryRange(BigInt(i) * 8192n, BigInt(i) * 8192n + 4096n)),
    );
    assert.equal(buildE820Map(many, [entry(0, BigInt(count) * 8192n, E820_RESERVED)]).length, 1);
  });
});

describe("encodeE820Entries", () => {
  it("writes addr, size and type, packed to 20 bytes", () => {
    const bytes = encodeE820Entries([entry(0x1234, 0x1_0000_2234n, 0xf000_0001), entry(0, 0, 3)]);
    assert.deepEqual(
      [...bytes],
      [
        ...[0x34, 0x12, 0, 0, 0, 0, 0, 0, 0x00, 0x10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0xf0],
        ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0],
      ],
    );
    assert.equal(encodeE820Entries([]).byteLength, 0);
  });

  it("is read back as it was given", () => {
    const anEntry = fc
      .tuple(
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.integer({ min: 1, max: 0xffff_ffff }),
      )
      .map(([a, b, type]) => entry(a < b ? a : b, a < b ? b : a, type));
    fc.assert(
      fc.property(fc.array(anEntry), (entries) => {
        assert.deepEqual(decode(encodeE820Entries(entries)), entries);
      }),
    );
  });

  it("refuses entries that are none", () => {
    assert.throws(
      () => encodeE820Entries([entry(0, 1, 1), entry(2, 1, 1)]),
      refusal("E820_INVALID_ENTRY", "entry 1"),
    );
    assert.throws(() => encodeE820Entries([entry(0, 1, 0)]), refusal("E820_INVALID_ENTRY", "type 0"));
  });
});
