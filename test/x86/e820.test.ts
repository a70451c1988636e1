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
const PAGE = 4096;
const folder = tempFolder();

function entry(start: bigint | number, end: bigint | number, type: number): E820Entry {
  return { start: BigInt(start), end: BigInt(end), type };
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
});
