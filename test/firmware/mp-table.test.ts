/** The MP table, read by the specification's own words (MPS 1.4, chapter 4). Kernels that boot by it are in test/boot. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { buildMpTable } from "../../src/firmware/mp-table.js";
import { machines } from "../../src/machine/machines.js";
import { x86Machine } from "../machine/random-machine.js";
import { refusal } from "../support/refusal.js";

const ADDRESS = 0xf_0000;
/** Bytes of the entries (table 4-3). */
const ENTRY_BYTES = [20, 8, 8, 8, 8];

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 255, 0);
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** The entries, by type, of a table whose sums and lengths hold. */
function entriesOf(bytes: Uint8Array): Uint8Array[][] {
  const view = new DataView(bytes.buffer);
  assert.equal(text(bytes.subarray(0, 4)), "_MP_");
  assert.equal(sum(bytes.subarray(0, 16)), 0);
  assert.equal(view.getUint32(4, true), ADDRESS + 16);
  assert.deepEqual([...bytes.subarray(8, 10)], [1, 4]);
  const table = bytes.subarray(16);
  assert.equal(text(table.subarray(0, 4)), "PCMP");
  assert.equal(view.getUint16(16 + 4, true), table.length);
  assert.equal(sum(table), 0);
  const byType: Uint8Array[][] = [[], [], [], [], []];
  let count = 0;
  let at = 44;
  let last = 0;
  while (at < table.length) {
    const type = table[at] ?? 99;
    assert.ok(type >= last, "in ascending order");
    last = type;
    const length = ENTRY_BYTES[type] ?? 0;
    byType[type]?.push(table.subarray(at, at + length));
    at += length;
    count += 1;
  }
  assert.equal(at, table.length);
  assert.equal(view.getUint16(16 + 34, true), count);
  return byType;
}

describe("the MP table", () => {
  it("lists CPUs, buses, I/O APICs and interrupts of a pc", () => {
    const [cpus = [], buses = [], ioApics = [], interrupts = [], local = []] = entriesOf(
      buildMpTable(machines.qemuPc({ cpus: 4 }), { address: ADDRESS }),
    );
    // Usable; the first one starts.
    assert.deepEqual(
      cpus.map((cpu) => [cpu[1], cpu[3]]),
      [
        [0, 3],
        [1, 1],
        [2, 1],
        [3, 1],
      ],
    );
    assert.deepEqual(
      buses.map((bus) => [bus[1], text(bus.subarray(2))]),
      [
        [0, "PCI   "],
        [255, "ISA   "],
      ],
    );
    assert.deepEqual(
      ioApics.map((apic) => [...apic]),
      [[2, 0, 0x11, 1, 0, 0, 0xc0, 0xfe]],
    );
    // Type INT, flags, bus, source, I/O APIC, pin. PCI device 3 INTB; the timer on pin 2; the SCI level and high.
    const has = (...entry: number[]) => interrupts.some((each) => each.join() === [3, 0, ...entry].join());
    assert.ok(has(0, 0, 0, (3 << 2) | 1, 0, 11));
    assert.ok(has(0, 0, 255, 0, 0, 2));
    assert.ok(has(0x0d, 0, 255, 9, 0, 9));
    assert.ok(has(0, 0, 255, 4, 0, 4));
    assert.equal(interrupts.length, 32 * 4 + 15);
    assert.deepEqual(
      local.map((entry) => [...entry]),
      [
        [4, 3, 0, 0, 255, 0, 255, 0],
        [4, 1, 0, 0, 255, 0, 255, 1],
      ],
    );
  });

  it("of random machines is as long as it says, or names the CPU that it can't hold", () => {
    fc.assert(
      fc.property(x86Machine, (machine) => {
        const high = typeof machine.cpus === "number" ? [] : machine.cpus.filter(({ id }) => id > 254);
        const build = () => buildMpTable(machine, { address: ADDRESS });
        if (high.length > 0)
          assert.throws(build, refusal("MACHINE_BAD_VALUE", /machine\.cpus\[\d\]\.id/, "254"));
        else entriesOf(build());
      }),
    );
  });

  it("is refused off a multiple of 16, and for an arm64 machine", () => {
    assert.throws(
      () => buildMpTable(machines.qemuPc(), { address: ADDRESS + 8 }),
      refusal("UNALIGNED_ADDRESS"),
    );
    assert.throws(
      () => buildMpTable(machines.qemuPc(), { address: 1n << 32n }),
      refusal("MACHINE_BAD_VALUE", "32 bits"),
    );
    const arm64 = machines.qemuVirtArm64();
    assert.throws(
      () => buildMpTable(arm64, { address: ADDRESS }),
      refusal("OPTION_NOT_FOR_ARCHITECTURE", "arm64"),
    );
  });
});
