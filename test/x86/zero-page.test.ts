import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { buildZeroPage, type ZeroPageOptions } from "../../src/x86/zero-page.js";
import { outcome, refusal } from "../support/refusal.js";

const MIB = 1n << 20n;

function options(changes: Partial<ZeroPageOptions> = {}): ZeroPageOptions {
  return {
    memoryLayout: new MemoryLayout(256n * MIB),
    acpiBase: 0xe_0000,
    acpiLength: 0x2000,
    commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
    initrdBase: 0,
    initrdSize: 0,
    ...changes,
  };
}

interface Entry {
  readonly start: bigint;
  readonly size: bigint;
  readonly type: number;
}

/** The e820 map of a zero page. */
function e820(page: Uint8Array): Entry[] {
  const view = new DataView(page.buffer, page.byteOffset);
  return Array.from({ length: page[0x1e8] ?? 0 }, (_, index) => {
    const at = 0x2d0 + index * 20;
    return {
      start: view.getBigUint64(at, true),
      size: view.getBigUint64(at + 8, true),
      type: view.getUint32(at + 16, true),
    };
  });
}

describe("buildZeroPage", () => {
  it("covers the RAM exactly, ACPI included, in ascending order without overlaps", () => {
    const aLength = fc.integer({ min: 0, max: 0x12_0000 });
    const moreRanges = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat(5)), { maxLength: 20 });
    fc.assert(
      fc.property(fc.integer({ min: 512, max: 4000 }), aLength, moreRanges, (pages, acpiLength, more) => {
        const ranges = [new MemoryRange(0, pages * 4096)];
        for (const [length, gap] of more) {
          const start = (ranges.at(-1)?.end ?? 0n) + BigInt(gap) * 4096n;
          ranges.push(new MemoryRange(start, start + BigInt(length) * 4096n));
        }
        const entries = e820(buildZeroPage(options({ memoryLayout: new MemoryLayout(ranges), acpiLength })));
        assert.equal(entries.length, ranges.length + 2);
        let sum = 0n;
        let end = 0n;
        for (const { start, size } of entries) {
          assert.ok(start >= end);
          end = start + size;
          sum += size;
        }
        assert.equal(
          sum,
          ranges.reduce((total, { length }) => total + length, 0n),
        );
        assert.equal(entries[1]?.size, BigInt(Math.ceil(acpiLength / 4096)) * 4096n);
      }),
    );
  });

  it("a NUL in the command line is refused, with its place", () => {
    for (const commandLine of ["ab\0c", Uint8Array.from([97, 98, 0])]) {
      const page = (): unknown => buildZeroPage(options({ commandLine: { address: 0, commandLine } }));
      assert.throws(page, refusal("COMMAND_LINE_NUL", "byte 2"));
    }
    const page = (): unknown =>
      buildZeroPage(options({ commandLine: { address: 0, commandLine: 5 as unknown as string } }));
    assert.throws(page, TypeError);
  });

  it("the first RAM range must cover the first MiB", () => {
    const layouts = [
      [new MemoryRange(0x1000, 16n * MIB)],
      [new MemoryRange(0, MIB - 0x1000n)],
      [new MemoryRange(0, 0xa_0000n), new MemoryRange(MIB, 2n * MIB)],
    ];
    for (const ranges of layouts) {
      const memoryLayout = new MemoryLayout(ranges);
      const matches = refusal("ZERO_PAGE_BAD_RAM", `${ranges[0]}`, "0x0-0x100000");
      assert.throws(() => buildZeroPage(options({ memoryLayout })), matches);
    }
  });

  it("ACPI starts at 0xe0000 and ends within the first RAM range", () => {
    const act = (changes: Partial<ZeroPageOptions>) => (): unknown => buildZeroPage(options(changes));
    assert.throws(act({ acpiBase: 0xe_1000 }), refusal("ZERO_PAGE_BAD_ACPI", "0xe1000"));
    const memoryLayout = new MemoryLayout([new MemoryRange(0, MIB), new MemoryRange(MIB, 2n * MIB)]);
    assert.equal(buildZeroPage(options({ memoryLayout, acpiLength: 0x2_0000 }))[0x1e8], 4);
    assert.throws(act({ memoryLayout, acpiLength: 0x2_0001 }), refusal("ZERO_PAGE_BAD_ACPI", "0x101000"));
    assert.throws(act({ acpiLength: (1n << 64n) - 1n }), refusal("ADDRESS_OVERFLOW"));
  });

  it("tells faults in order: command line, its address, initrd, RAM, ACPI, entries", () => {
    const memoryLayout = new MemoryLayout([new MemoryRange(0x1000, 0x2000)]);
    const high = { address: 1n << 32n, commandLine: "" };
    const rows: readonly (readonly [Partial<ZeroPageOptions>, string])[] = [
      [
        { commandLine: { ...high, commandLine: "\0" }, initrdBase: 1n << 32n, memoryLayout, acpiBase: 0 },
        "COMMAND_LINE_NUL",
      ],
      [
        { commandLine: high, initrdBase: 1n << 32n, memoryLayout, acpiBase: 0 },
        "ZERO_PAGE_COMMAND_LINE_TOO_HIGH",
      ],
      [{ initrdBase: 1n << 32n, memoryLayout, acpiBase: 0 }, "ZERO_PAGE_INITRD_TOO_HIGH"],
      [{ memoryLayout, acpiBase: 0 }, "ZERO_PAGE_BAD_RAM"],
      [{ acpiBase: 0 }, "ZERO_PAGE_BAD_ACPI"],
    ];
    for (const [changes, code] of rows)
      assert.equal(
        outcome(() => buildZeroPage(options(changes))),
        code,
      );
  });
});
