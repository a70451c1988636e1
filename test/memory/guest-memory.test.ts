import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { DirectBootError } from "../../src/base/errors.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import type { GuestBuffer } from "../../src/memory/host-buffer.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import type { MemoryBankInput } from "../../src/memory/segments.js";
import { type IdentityMap, identityMapBytes } from "../../src/wasm/identity-map.js";
import { identityMapTwin } from "../../src/wasm/twins.js";
import { inRoot } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

const PAGE = 4096;
const MIB = 1 << 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;

const SMALL_MAP: IdentityMap = {
  tableAddress: 0x4000,
  addressBias: 0,
  gibibytes: 4,
  encryption: 0,
  linkIndex: -1,
  linkTarget: 0,
};

function tablesOf(map: IdentityMap): Uint8Array {
  const tables = new Uint8Array(identityMapBytes(map));
  identityMapTwin(tables, map);
  return tables;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Buffers of `byteLength` bytes, of every kind that guest memory can lie in. */
const BUFFERS: Readonly<Record<string, (byteLength: number) => GuestBuffer>> = {
  ArrayBuffer: (byteLength) => new ArrayBuffer(byteLength),
  SharedArrayBuffer: (byteLength) => new SharedArrayBuffer(byteLength),
  "WebAssembly.Memory": (byteLength) => new WebAssembly.Memory({ initial: Math.ceil(byteLength / 65536) }),
  "shared WebAssembly.Memory": (byteLength) => {
    const pages = Math.ceil(byteLength / 65536);
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  },
};

function bytesOf(buffer: GuestBuffer): Uint8Array {
  return new Uint8Array(buffer instanceof WebAssembly.Memory ? buffer.buffer : buffer);
}

describe("GuestMemory.create", () => {
  it("up to 4 GiB makes one buffer, in which the banks follow each other", () => {
    const layout = new MemoryLayout(4 * MIB, [new MemoryRange(MIB, 2 * MIB)]);
    const memory = GuestMemory.create(layout);
    assert.equal(memory.layout, layout);
    assert.equal(memory.ramSize, 4n * BigInt(MIB));
    const [low, high, ...others] = memory.banks;
    assert.ok(low !== undefined && high !== undefined);
    assert.equal(others.length, 0);
    assert.equal(low.buffer, high.buffer);
    assert.ok(low.buffer instanceof ArrayBuffer);
    assert.deepEqual(
      [low, high].map(({ guestPhysicalAddress, byteOffset, byteLength }) => [
        guestPhysicalAddress,
        byteOffset,
        byteLength,
      ]),
      [
        [0n, 0, MIB],
        [2n * BigInt(MIB), MIB, 3 * MIB],
      ],
    );
  });

  it("takes bytes of RAM instead of a layout", () => {
    assert.equal(`${GuestMemory.create(MIB).layout}`, "0x0-0x100000");
    assert.throws(() => GuestMemory.create(1), refusal("LAYOUT_BAD_SIZE"));
    assert.throws(() => GuestMemory.create(0), refusal("LAYOUT_BAD_SIZE"));
  });

  it("is zero, and can be shared", () => {
    assert.ok(isZero(GuestMemory.create(MIB).read(0, MIB)));
    const memory = GuestMemory.create(MIB, { shared: true });
    assert.ok(memory.banks[0]?.buffer instanceof SharedArrayBuffer);
    memory.write(5, noise(1000));
    assert.deepEqual(memory.read(5, 1000), noise(1000));
    assert.equal(memory.crc32(5, 1000), zlibCrc32(noise(1000)));
    memory.reset();
    assert.ok(isZero(memory.read(0, MIB)));
  });

  it("joins RAM ranges that are adjacent: they have one view", () => {
    const memory = GuestMemory.create(
      new MemoryLayout([new MemoryRange(0, 0x2000), new MemoryRange(0x2000, 0x4000)]),
    );
    assert.equal(memory.banks.length, 1);
    assert.equal(memory.view(0x1000, 0x2000).byteLength, 0x2000);
  });

  it("refuses what the host can't allocate", () => {
    const huge = new MemoryLayout(8n << 40n);
    // Sparse memory is allocated when it is needed, shared memory can't be sparse.
    assert.equal(GuestMemory.create(huge).ramSize, 8n << 40n);
    assert.throws(() => GuestMemory.create(huge, { shared: true }), refusal("GUEST_MEMORY_TOO_LARGE"));
  });

  it("is made, or refused, at once for the most RAM that a layout can have", () => {
    // In a process of its own: one that allocates for each GiB dies.
    const script = `
      const { DirectBootError, GuestMemory, MemoryLayout } = await import(${JSON.stringify(inRoot("build/src/index.js"))});
      try {
        const memory = GuestMemory.create(new MemoryLayout((1n << 64n) - 4096n));
        memory.write((1n << 63n) + 5n, new Uint8Array([1]));
        console.log("made");
      } catch (error) {
        console.log(error instanceof DirectBootError ? error.code : String(error));
      }
    `;
    const args = ["--max-old-space-size=200", "--input-type=module", "-e", script];
    const run = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
    assert.match(run.stdout, /^(made|GUEST_MEMORY_TOO_LARGE)$/m, run.stderr.slice(0, 300));
  });

  it("holds exactly 4 GiB, to the last byte", () => {
    const memory = GuestMemory.create(4 * GIB);
    assert.equal(memory.banks.length, 1);
    const last = 4 * GIB - PAGE;
    for (const address of [0, 2 * GIB - 100, 3 * GIB + 1, last]) {
      const bytes = noise(PAGE, address % 97);
      memory.write(address, bytes);
      assert.deepEqual(memory.read(address, PAGE), bytes);
      assert.equal(memory.crc32(address, PAGE), zlibCrc32(bytes));
    }
    const map = { ...SMALL_MAP, tableAddress: 3 * GIB + MIB };
    memory.writeIdentityMap(map.tableAddress, map);
    assert.deepEqual(memory.read(map.tableAddress, 6 * PAGE), tablesOf(map));
    assert.throws(() => memory.read(last, PAGE + 1), refusal("GUEST_MEMORY_NOT_RAM", "0x100000000"));
    memory.reset();
    for (const address of [0, 2 * GIB - 100, 3 * GIB + 1, last, map.tableAddress]) {
      assert.ok(isZero(memory.read(address, PAGE)), `0x${address.toString(16)}`);
    }
  });

  it("holds almost 4 GiB, where there is just no room for scratch", () => {
    for (const size of [4 * GIB - 65536, 4 * GIB - 65536 + PAGE, 4 * GIB - PAGE]) {
      const memory = GuestMemory.create(size);
      const bytes = noise(PAGE, 3);
      memory.write(size - PAGE, bytes);
      assert.equal(memory.crc32(size - PAGE, PAGE), zlibCrc32(bytes));
      // The tables of the CRC must not have come to lie in RAM.
      assert.deepEqual(memory.read(size - PAGE, PAGE), bytes);
      assert.ok(isZero(memory.read(size - PAGE - 65536, 65536)));
    }
  });

  it("beyond 4 GiB makes a buffer a GiB, only where it is needed", () => {
    const memory = GuestMemory.create(new MemoryLayout(6n << 30n, [new MemoryRange(3n << 30n, 4n << 30n)]));
    const starts = memory.banks.map(({ guestPhysicalAddress }) => Number(guestPhysicalAddress) / GIB);
    assert.deepEqual(starts, [0, 1, 2, 4, 5, 6]);
    const bytes = noise(3 * PAGE);
    const across = 5 * GIB - PAGE;
    memory.write(across, bytes);
    assert.deepEqual(memory.read(across, 3 * PAGE), bytes);
    assert.equal(memory.crc32(across, 3 * PAGE), zlibCrc32(bytes));
    assert.throws(() => memory.view(across, 3 * PAGE), refusal("GUEST_MEMORY_SPLIT_VIEW", "2 buffers"));
    assert.deepEqual(
      memory.parts(across, 3 * PAGE).map(({ byteLength }) => byteLength),
      [PAGE, 2 * PAGE],
    );
    assert.deepEqual(memory.view(5 * GIB, PAGE), bytes.subarray(PAGE, 2 * PAGE));
    const map = { ...SMALL_MAP, tableAddress: 6 * GIB - 2 * PAGE };
    memory.writeIdentityMap(map.tableAddress, map);
    assert.deepEqual(memory.read(map.tableAddress, 6 * PAGE), tablesOf(map));
    memory.reset();
    assert.ok(isZero(memory.read(across, 3 * PAGE)));
    assert.ok(isZero(memory.read(map.tableAddress, 6 * PAGE)));
  });

  it("holds RAM at 1 TiB", () => {
    const layout = new MemoryLayout([new MemoryRange(0, MIB), new MemoryRange(TIB, TIB + MIB)]);
    const memory = GuestMemory.create(layout);
    memory.write(TIB + 7, noise(100));
    assert.deepEqual(memory.read(BigInt(TIB) + 7n, 100), noise(100));
    assert.equal(memory.banks[1]?.guestPhysicalAddress, BigInt(TIB));
    assert.throws(() => memory.read(TIB - 1, 2), refusal("GUEST_MEMORY_NOT_RAM"));
  });
});

describe("GuestMemory.attach", () => {
  for (const [kind, make] of Object.entries(BUFFERS)) {
    it(`takes all of a ${kind} for RAM from 0, where no banks are given`, () => {
      const buffer = make(65536);
      const memory = GuestMemory.attach(buffer);
      assert.equal(`${memory.layout}`, "0x0-0x10000");
      memory.write(0x1234, noise(500));
      assert.deepEqual(bytesOf(buffer).slice(0x1234, 0x1234 + 500), noise(500));
      assert.equal(memory.banks[0]?.buffer, bytesOf(buffer).buffer);
    });

    it(`over a ${kind} does to the banks what is asked, as to plain bytes, and nothing else`, () => {
      // Guest pages 0-7, 8-11 (adjacent, another bank) and 16-23; in the buffer in another order, with gaps.
      const banks: MemoryBankInput[] = [
        { guestPhysicalAddress: 16 * PAGE, byteOffset: 3 * PAGE + 24, byteLength: 8 * PAGE },
        { guestPhysicalAddress: 0n, byteOffset: 13 * PAGE, byteLength: 8 * PAGE },
        { guestPhysicalAddress: 8 * PAGE, byteOffset: 24 * PAGE + 8, byteLength: 4 * PAGE },
      ];
      const isRam = (address: number): boolean =>
        address < 12 * PAGE || (address >= 16 * PAGE && address < 24 * PAGE);

      const anAddress = fc.oneof(
        fc.nat(25 * PAGE),
        fc
          .tuple(fc.constantFrom(0, 8, 12, 16, 24), fc.integer({ min: -20, max: 20 }))
          .map(([page, by]) => Math.max(0, page * PAGE + by)),
      );
      const aLength = fc.oneof(fc.nat(60), fc.nat(9 * PAGE));
      const place = { address: anAddress, length: aLength };
      const aCommand = fc.oneof(
        fc.record({ op: fc.constant("write" as const), ...place }),
        fc.record({ op: fc.constant("zero" as const), ...place }),
        fc.record({ op: fc.constant("read" as const), ...place }),
        fc.record({ op: fc.constant("crc32" as const), ...place }),
        fc.record({ op: fc.constant("view" as const), ...place }),
        fc.record({
          op: fc.constant("map" as const),
          address: fc.nat(25).map((page) => page * PAGE),
          length: fc.constant(6 * PAGE),
        }),
        fc.record({ op: fc.constant("reset" as const), address: fc.constant(0), length: fc.constant(0) }),
      );

      fc.assert(
        fc.property(fc.array(aCommand, { maxLength: 12 }), (commands) => {
          const buffer = make(32 * PAGE);
          const host = bytesOf(buffer);
          host.set(noise(host.byteLength, 5));
          const expected = host.slice();
          const memory = GuestMemory.attach(buffer, banks);
          /** Offset in the buffer of a guest address. */
          const offsetOf = (address: number): number => {
            if (address < 8 * PAGE) return 13 * PAGE + address;
            if (address < 12 * PAGE) return 24 * PAGE + 8 + address - 8 * PAGE;
            return 3 * PAGE + 24 + address - 16 * PAGE;
          };
          const model = (address: number, length: number): Uint8Array =>
            Uint8Array.from({ length }, (_, i) => expected[offsetOf(address + i)] ?? 0);
          const change = (address: number, bytes: Uint8Array): void => {
            for (const [i, byte] of bytes.entries()) expected[offsetOf(address + i)] = byte;
          };

          for (const [index, { op, address, length }] of commands.entries()) {
            let fits = true;
            for (let i = 0; i < length; i++) fits &&= isRam(address + i);
            const bytes = noise(length, index + 2);
            const map = { ...SMALL_MAP, tableAddress: address };
            const run = (): unknown => {
              switch (op) {
                case "write":
                  return memory.write(address, bytes);
                case "zero":
                  return memory.zero(address, length);
                case "read":
                  return memory.read(address, length);
                case "crc32":
                  return memory.crc32(address, length);
                case "map":
                  return memory.writeIdentityMap(address, map);
                case "reset":
                  return memory.reset();
                case "view":
                  return memory.view(address, length).set(bytes);
              }
            };
            const isSplit = address < 8 * PAGE && address + length > 8 * PAGE;
            if (!fits) assert.throws(run, refusal("GUEST_MEMORY_NOT_RAM"));
            else if (op === "view" && isSplit) assert.throws(run, refusal("GUEST_MEMORY_SPLIT_VIEW"));
            else {
              const result = run();
              if (op === "read") assert.deepEqual(result, model(address, length));
              if (op === "crc32") assert.equal(result, zlibCrc32(model(address, length)));
              if (op === "write" || op === "view") change(address, bytes);
              if (op === "zero") change(address, new Uint8Array(length));
              if (op === "map") change(address, tablesOf(map));
              if (op === "reset") {
                change(0, new Uint8Array(12 * PAGE));
                change(16 * PAGE, new Uint8Array(8 * PAGE));
              }
            }
            assert.equal(Buffer.compare(host, expected), 0, `${op} at ${address}`);
          }
        }),
        { numRuns: 40 },
      );
    });
  }

  it("reset clears what was there before, also when it is the first thing that is asked", () => {
    for (const make of Object.values(BUFFERS)) {
      const buffer = make(65536);
      bytesOf(buffer).fill(0x77);
      GuestMemory.attach(buffer, [{ guestPhysicalAddress: 0, byteOffset: PAGE, byteLength: PAGE }]).reset();
      assert.ok(isZero(bytesOf(buffer).subarray(PAGE, 2 * PAGE)));
      assert.equal(bytesOf(buffer)[PAGE - 1], 0x77);
      assert.equal(bytesOf(buffer)[2 * PAGE], 0x77);
    }
  });

  it("takes nothing for zero: reset and zero clear what was there before", () => {
    const buffer = new WebAssembly.Memory({ initial: 1 });
    bytesOf(buffer).fill(0x77);
    const memory = GuestMemory.attach(buffer);
    memory.zero(0x1000, 0x1000);
    assert.ok(isZero(memory.read(0x1000, 0x1000)));
    assert.equal(memory.read(0x2000, 1)[0], 0x77);
    memory.reset();
    assert.ok(isZero(bytesOf(buffer)));
  });

  it("keeps working when the WebAssembly.Memory has grown", () => {
    const buffer = new WebAssembly.Memory({ initial: 1, maximum: 4 });
    const memory = GuestMemory.attach(buffer);
    memory.write(0, noise(300));
    buffer.grow(1);
    assert.deepEqual(memory.read(0, 300), noise(300));
    memory.write(0x8000, noise(300, 2));
    assert.deepEqual(bytesOf(buffer).slice(0x8000, 0x8000 + 300), noise(300, 2));
    assert.equal(memory.crc32(0x8000, 300), zlibCrc32(noise(300, 2)));
    memory.writeIdentityMap(0x4000, SMALL_MAP);
    assert.deepEqual(memory.read(0x4000, 6 * PAGE), tablesOf(SMALL_MAP));
    memory.reset();
    assert.ok(isZero(bytesOf(buffer)));
    assert.equal(memory.banks[0]?.buffer, buffer.buffer);
  });

  it("says that the buffer was detached, whatever is asked", () => {
    const buffer = new ArrayBuffer(65536);
    const memory = GuestMemory.attach(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    const asked: (() => unknown)[] = [
      () => memory.read(0, 1),
      () => memory.write(0, noise(1)),
      () => memory.view(0, 1),
      () => memory.zero(0, 1),
      () => memory.reset(),
      () => memory.crc32(0, 1),
      () => memory.writeIdentityMap(0x4000, SMALL_MAP),
    ];
    for (const ask of asked) assert.throws(ask, refusal("GUEST_MEMORY_DETACHED", "0 bytes left"));
  });

  it("refuses banks that are unaligned, empty, outside the buffer, overlapping, or none", () => {
    const buffer = new ArrayBuffer(8 * PAGE);
    const bank = (gpa: number | bigint, byteOffset: number, byteLength: number): MemoryBankInput => ({
      guestPhysicalAddress: gpa,
      byteOffset,
      byteLength,
    });
    const bad: readonly (readonly MemoryBankInput[])[] = [
      [],
      [bank(1, 0, PAGE)],
      [bank(0, 0, 0)],
      [bank(0, 0, PAGE + 1)],
      [bank(0, 1, 8 * PAGE)],
      [bank(0, 8 * PAGE, PAGE)],
      [bank(0, 0, 9 * PAGE)],
      [bank((1n << 64n) - 4096n, 0, PAGE)],
      // the same bytes twice, adjacent in neither order
      [bank(0, 0, 2 * PAGE), bank(4 * PAGE, PAGE, PAGE)],
      [bank(4 * PAGE, PAGE, PAGE), bank(0, 0, 2 * PAGE)],
      // the same addresses twice
      [bank(0, 0, 2 * PAGE), bank(PAGE, 4 * PAGE, PAGE)],
      [bank(0, 0, PAGE), bank(0, 4 * PAGE, PAGE)],
    ];
    for (const banks of bad) {
      assert.throws(() => GuestMemory.attach(buffer, banks), refusal("GUEST_MEMORY_BAD_BANKS"));
    }
    assert.throws(() => GuestMemory.attach(buffer, [bank(-1, 0, PAGE)]), refusal("ADDRESS_OUT_OF_RANGE"));
    assert.throws(() => GuestMemory.attach(buffer, [bank(0, -1, PAGE)]), TypeError);
    assert.throws(() => GuestMemory.attach(buffer, [bank(0, 0, 0.5)]), TypeError);
    assert.throws(() => GuestMemory.attach(new ArrayBuffer(0)), refusal("GUEST_MEMORY_BAD_BANKS"));
    assert.throws(() => GuestMemory.attach(new ArrayBuffer(100)), refusal("GUEST_MEMORY_BAD_BANKS"));
  });

  it("is a TypeError for what is no buffer", () => {
    for (const value of [
      undefined,
      null,
      1,
      "x",
      new Uint8Array(4096),
      new DataView(new ArrayBuffer(1)),
      {},
    ]) {
      assert.throws(() => GuestMemory.attach(value as unknown as ArrayBuffer), TypeError);
    }
  });
});

describe("GuestMemory", () => {
  it("a length of 0 reads, writes and changes nothing", () => {
    const memory = GuestMemory.create(MIB);
    assert.equal(memory.read(0, 0).byteLength, 0);
    assert.equal(memory.view(0x1000, 0).byteLength, 0);
    memory.write(0x1000, new Uint8Array(0));
    memory.zero(0x1000, 0);
    assert.equal(memory.crc32(0x1000, 0, 0x1234), 0x1234);
    assert.ok(isZero(memory.read(0, MIB)));
  });

  it("checks a range whole before it writes any of it", () => {
    const memory = GuestMemory.create(
      new MemoryLayout([new MemoryRange(0, 0x2000), new MemoryRange(0x3000, 0x4000)]),
    );
    memory.write(0, noise(0x2000));
    const refused = refusal("GUEST_MEMORY_NOT_RAM", "0x1000-0x3800", "0x2000 is not");
    assert.throws(() => memory.write(0x1000, new Uint8Array(0x2800)), refused);
    assert.throws(() => memory.zero(0x1000, 0x2800), refused);
    assert.throws(() => memory.writeIdentityMap(0x1000, SMALL_MAP), refusal("GUEST_MEMORY_NOT_RAM"));
    assert.deepEqual(memory.read(0, 0x2000), noise(0x2000));
    assert.throws(() => memory.read(0xffff_ffff_ffff_ffffn, 2), refusal("GUEST_MEMORY_NOT_RAM"));
  });

  it("addresses and lengths of a wrong type are TypeErrors", () => {
    const memory = GuestMemory.create(MIB);
    assert.throws(() => memory.read("0" as unknown as number, 1), TypeError);
    assert.throws(() => memory.read(0, -1), TypeError);
    assert.throws(() => memory.read(0, 0.5), TypeError);
    assert.throws(() => memory.view(0.5, 1), TypeError);
    assert.throws(() => memory.read(-1, 1), refusal("ADDRESS_OUT_OF_RANGE"));
  });

  it("view is the memory itself, read is a copy", () => {
    const memory = GuestMemory.create(MIB);
    const view = memory.view(0x1000, 4);
    const copy = memory.read(0x1000, 4);
    view[0] = 7;
    assert.equal(memory.read(0x1000, 1)[0], 7);
    assert.equal(copy[0], 0);
  });

  it("crc32 is a TypeError for a seed that is no CRC", () => {
    const memory = GuestMemory.create(MIB);
    for (const seed of [-1, 2 ** 32, 0.5, Number.NaN]) {
      assert.throws(() => memory.crc32(0, 100, seed), TypeError);
      assert.throws(() => memory.writeWithCrc32(0, new Uint8Array(100), seed), TypeError);
    }
  });

  it("crc32 goes on from its seed", () => {
    const memory = GuestMemory.create(MIB);
    memory.write(100, noise(5000));
    assert.equal(memory.crc32(1100, 4000, memory.crc32(100, 1000)), zlibCrc32(noise(5000)));
  });

  it("reset makes all RAM zero, whichever way it was written", () => {
    const memory = GuestMemory.create(MIB);
    const kept = memory.view(0x1_0000, 10);
    for (let round = 0; round < 3; round++) {
      memory.write(0x1000, noise(100));
      memory.writeIdentityMap(0x4000, SMALL_MAP);
      for (const part of memory.parts(0x2_0000, 10)) part.fill(1);
      // A view that was handed out earlier is written to after a reset, too.
      kept.fill(2);
      memory.reset();
      assert.ok(isZero(memory.read(0, MIB)), `round ${round}`);
    }
  });

  it("zero clears what was written through a view that was handed out", () => {
    const memory = GuestMemory.create(MIB);
    const kept = memory.view(0x1000, 0x1000);
    memory.reset();
    kept.fill(3);
    memory.zero(0, 0x4000);
    assert.ok(isZero(memory.read(0, 0x4000)));
  });

  it("reset makes all RAM zero after a bank's buffer was handed out", () => {
    const layouts = [new MemoryLayout(MIB), new MemoryLayout(5n << 30n)];
    for (const layout of layouts) {
      const memory = GuestMemory.create(layout);
      const bank = memory.banks[0];
      assert.ok(bank !== undefined);
      const bytes = new Uint8Array(bank.buffer, bank.byteOffset, MIB);
      for (let round = 0; round < 2; round++) {
        bytes.set(noise(100), 0x5000);
        memory.reset();
        assert.ok(isZero(memory.read(0, MIB)), `round ${round} of ${layout}`);
      }
    }
  });

  it("reset makes exactly 4 GiB zero after the buffer was handed out", () => {
    const memory = GuestMemory.create(4 * GIB);
    const bank = memory.banks[0];
    assert.ok(bank !== undefined);
    new Uint8Array(bank.buffer, 0x1000, 100).fill(9);
    memory.reset();
    assert.ok(isZero(memory.read(0x1000, 100)));
  });

  it("refuses page tables that have no room in their own tables, and touches nothing", () => {
    const bad: readonly Partial<IdentityMap>[] = [
      { linkIndex: 512 },
      { linkIndex: 100_000_000 },
      { gibibytes: 513 },
      { gibibytes: 1.5 },
      { gibibytes: -1 },
      { encryption: Number.NaN },
      { tableAddress: Number.NaN },
      { linkIndex: 1, linkTarget: -1 },
    ];
    const memory = GuestMemory.create(8 * MIB);
    for (const part of bad) {
      const isTyped = (error: unknown): boolean =>
        error instanceof DirectBootError || error instanceof TypeError;
      const said = JSON.stringify(part);
      assert.throws(() => memory.writeIdentityMap(0x4000, { ...SMALL_MAP, ...part }), isTyped, said);
      assert.ok(isZero(memory.read(0, 8 * MIB)), said);
    }
  });
});
