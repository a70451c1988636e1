/** An x86 guest's memory and registers (boot.rst; pvh.pandoc), read by the readers of guest-reader.ts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  GuestMemory,
  type LinuxGuest,
  type LoadLinuxSyncOptions,
  loadLinuxSync,
  MemoryLayout,
  planLinuxSync,
} from "../../src/index.js";
import {
  type BootParams,
  type E820,
  ELF_KERNEL,
  joined,
  pvhNote,
  readBootParams,
  readStartInfo,
} from "../linux/guest-reader.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { walkPages } from "../support/page-walk.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { x86Registers } from "../support/x86-registers.js";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const RAM = 64 << 20;
const CODE = noise(0x2010, 5);
const KERNEL = makeBzImage({ code: CODE });

function load(options: Partial<LoadLinuxSyncOptions> = {}): LinuxGuest {
  return loadLinuxSync({ kernel: KERNEL, memory: RAM, ...options });
}

function paramsOf(guest: LinuxGuest): BootParams {
  return readBootParams(guest.memory, x86Registers(guest).rsi ?? 0n);
}

describe("a bzImage guest", () => {
  it("has the protected-mode code at pref_address, entered 0x200 behind it", () => {
    const guest = load();
    assert.deepEqual(guest.memory.read(16n * MIB, CODE.byteLength), CODE);
    assert.deepEqual([guest.entryMode, guest.architecture], ["long64", "x86_64"]);
    assert.deepEqual(guest.info.kernel, { gpa: 16n * MIB, size: 0x3000n, entrypoint: 16n * MIB + 0x200n });
    assert.equal(x86Registers(guest).rip, 16n * MIB + 0x200n);
  });

  it("has its own setup header, with what boot.rst asks of the loader", () => {
    const kernel = makeBzImage({
      code: CODE,
      fields: [
        [0x1ef, 1, 0xff],
        [0x210, 1, 0x55],
        [0x250, 8, 0x1234n],
        [0x240, 8, 77n],
      ],
    });
    const { page } = paramsOf(load({ kernel, commandLine: "quiet" }));
    const expected = kernel.slice(0x1f1, 0x26c);
    const header = new DataView(expected.buffer);
    header.setUint8(0x210 - 0x1f1, 0xff); // type_of_loader
    header.setUint32(0x214 - 0x1f1, 0x100_0000, true); // code32_start
    header.setUint32(0x228 - 0x1f1, 0x3000, true); // cmd_line_ptr
    header.setBigUint64(0x250 - 0x1f1, 0n, true); // setup_data
    assert.deepEqual(new Uint8Array(page.buffer, 0x1f1, 0x26c - 0x1f1), expected);
    assert.equal(page.getUint8(0x1ef), 0); // sentinel
  });

  it("is entered at its load address by the 32-bit entry, which code32_start says, too", () => {
    const guest = load({ entry: "32" });
    assert.equal(guest.entryMode, "protected32");
    assert.equal(x86Registers(guest).rip, 16n * MIB);
    assert.equal(paramsOf(guest).page.getUint32(0x214, true), 0x100_0000);
    assert.equal(x86Registers(guest).cr3, undefined);
  });

  it("without a 64-bit entry is an i386 guest, and refused by that entry", () => {
    const kernel = makeBzImage({ fields: [[0x236, 2, 0]] });
    const guest = load({ kernel });
    assert.deepEqual([guest.architecture, guest.entryMode], ["i386", "protected32"]);
    assert.throws(() => load({ kernel, entry: "64" }), refusal("X86_ENTRY_NOT_AVAILABLE", "64"));
    assert.throws(() => load({ entry: "pvh" }), refusal("X86_ENTRY_NOT_AVAILABLE", "pvh"));
  });

  it("takes a command line of cmdline_size bytes, and none that is longer", () => {
    const kernel = makeBzImage({ fields: [[0x238, 4, 300]] });
    assert.equal(paramsOf(load({ kernel, commandLine: "x".repeat(300) })).commandLine.length, 300);
    assert.throws(
      () => load({ kernel, commandLine: "x".repeat(301) }),
      refusal("COMMAND_LINE_TOO_LONG", "300"),
    );
    const old = makeBzImage({ version: 0x205 });
    assert.throws(
      () => load({ kernel: old, commandLine: "x".repeat(256) }),
      refusal("COMMAND_LINE_TOO_LONG", "255"),
    );
  });

  it("has its initrd above all that the kernel uses until it knows better, and below initrd_addr_max", () => {
    const initrd = noise(5000);
    const initrdOf = (guest: LinuxGuest): bigint => {
      const { address, size } = paramsOf(guest).initrd;
      assert.equal(size, 5000n);
      assert.deepEqual(guest.memory.read(address, 5000), initrd);
      assert.deepEqual(guest.info.initrd, { gpa: address, size });
      return address;
    };
    const withSize = (size: number): Uint8Array => makeBzImage({ code: CODE, fields: [[0x260, 4, size]] });
    assert.equal(initrdOf(load({ initrd })), 18n * MIB);
    assert.equal(initrdOf(load({ kernel: withSize(0x20_0000), initrd })), 18n * MIB);
    assert.equal(initrdOf(load({ kernel: withSize(0x20_0001), initrd })), 20n * MIB);
    // Loaded lower, it runs at pref_address all the same.
    const kernel = withSize(0x20_0001);
    assert.equal(initrdOf(load({ kernel, initrd, addresses: { kernel: MIB } })), 20n * MIB);
    const low = makeBzImage({
      fields: [
        [0x236, 2, 1],
        [0x22c, 4, 20 * (1 << 20) - 1],
      ],
    });
    assert.equal(initrdOf(load({ kernel: low, initrd })), 18n * MIB);
    const said = refusal("INITRD_TOO_HIGH", "0x1400000");
    assert.throws(() => load({ kernel: low, initrd, addresses: { initrd: 20n * MIB } }), said);
    assert.throws(() => load({ kernel: low, initrd, addresses: { initrd: 20n * MIB - 4096n } }), said);
    assert.equal(
      initrdOf(load({ kernel: low, initrd, addresses: { initrd: 20n * MIB - 8192n } })),
      20n * MIB - 8192n,
    );
    // A relocatable kernel makes room for one that the caller has placed, another can't.
    const inTheWay = { initrd, addresses: { initrd: 16n * MIB + 0x1_f000n } };
    assert.equal(load(inTheWay).info.kernel.gpa, 18n * MIB);
    const fixed = makeBzImage({ fields: [[0x234, 1, 0]] });
    const overlap = refusal("IMPORT_OVERLAP", "linux-initrd", "linux-kernel");
    assert.throws(() => load({ kernel: fixed, ...inTheWay }), overlap);
    // XLF_CAN_BE_LOADED_ABOVE_4G: initrd_addr_max is for the 32-bit entry.
    const memory = new MemoryLayout([
      { start: 0n, end: 64n * MIB },
      { start: 5n * GIB, end: 5n * GIB + 2n * MIB },
    ]);
    assert.equal(initrdOf(load({ initrd, memory, addresses: { initrd: 5n * GIB } })), 5n * GIB);
    const of32 = { initrd, memory, addresses: { initrd: 5n * GIB }, entry: "32" } as const;
    assert.throws(() => load(of32), refusal("INITRD_TOO_HIGH", "0x80000000"));
  });

  it("above 4 GiB is mapped by its page tables, with boot_params and command line there, too", () => {
    const memory = GuestMemory.create(8n * GIB + 64n * MIB);
    const addresses = { kernel: 6n * GIB, zeroPage: 8n * GIB, commandLine: 8n * GIB + 4096n };
    const guest = load({ memory, addresses, commandLine: "quiet", initrd: noise(100) });
    assert.equal(x86Registers(guest).rip, 6n * GIB + 0x200n);
    assert.equal(x86Registers(guest).rsi, 8n * GIB);
    assert.deepEqual(memory.read(6n * GIB, CODE.byteLength), CODE);
    const params = paramsOf(guest);
    assert.equal(params.commandLine, "quiet");
    assert.equal(params.commandLineAddress, 8n * GIB + 4096n);
    assert.equal(params.initrd.address, 6n * GIB + 2n * MIB);
    const entryAt = (address: bigint): bigint =>
      new DataView(memory.read(address, 8).buffer).getBigUint64(0, true);
    for (const linear of [0n, 0x1000n, 6n * GIB, 6n * GIB + 0x1_ffffn, 8n * GIB, 8n * GIB + 4097n]) {
      assert.equal(
        walkPages(entryAt, x86Registers(guest).cr3 ?? 0n, linear)?.address,
        linear,
        `0x${linear.toString(16)}`,
      );
    }
  });

  it("that can't be above 4 GiB has nothing there", () => {
    const kernel = makeBzImage({ fields: [[0x236, 2, 1]] });
    const memory = new MemoryLayout(8n * GIB);
    const plan = (addresses: LoadLinuxSyncOptions["addresses"]): unknown =>
      planLinuxSync({ kernel, memory, commandLine: "x", addresses });
    assert.throws(() => plan({ kernel: 5n * GIB }), refusal("BZIMAGE_BAD_LOAD_ADDRESS"));
    assert.throws(() => plan({ zeroPage: 5n * GIB }), refusal("BOOT_PARAMS_NOT_SUPPORTED", "boot_params"));
    assert.throws(
      () => plan({ commandLine: 5n * GIB }),
      refusal("BOOT_PARAMS_NOT_SUPPORTED", "command line"),
    );
  });
});

describe("an x86 guest", () => {
  it("is pointed to no command line where there is none, whatever memory held before", () => {
    for (const kernel of [KERNEL, ELF_KERNEL]) {
      for (const commandLine of [undefined, ""]) {
        const memory = new Uint8Array(RAM).fill(0x41).buffer;
        assert.equal(paramsOf(load({ kernel, memory, commandLine })).commandLineAddress, 0n);
        const initrd = { initrd: noise(1), addresses: { initrd: 0x3000 } };
        assert.equal(paramsOf(load({ kernel, memory, commandLine, ...initrd })).commandLine, "");
      }
    }
  });

  it("is told of an RSDP only if there is one", () => {
    const acpi = { rsdp: noise(36), tables: noise(100) };
    assert.equal(paramsOf(load()).rsdp, 0n);
    assert.equal(paramsOf(load({ acpi })).rsdp, 0xe_0000n);
    const addresses = { rsdp: 0x5_0000 };
    assert.equal(paramsOf(load({ acpi, addresses })).rsdp, 0x5_0000n);
    assert.equal(paramsOf(load({ addresses })).rsdp, 0n);
  });

  it("has a device tree and a seed in its setup_data, 8-byte aligned", () => {
    const deviceTree = makeDeviceTree(3001);
    const rngSeed = noise(32, 3);
    const { nodes } = paramsOf(load({ deviceTree, rngSeed }));
    assert.deepEqual(
      nodes.map(({ type, data }) => [type, data]),
      [
        [2, deviceTree],
        [9, rngSeed],
      ],
    );
    assert.ok(nodes.every(({ address }) => address % 8n === 0n));
    assert.throws(() => load({ rngSeed: "seed" as unknown as Uint8Array }), TypeError);
  });

  it("knows its RAM and its reservations, however many, through the table and SETUP_E820_EXT", () => {
    const aReservation = fc
      .tuple(fc.bigInt({ min: 0n, max: 20n * MIB }), fc.bigInt({ min: 1n, max: 0x3000n }))
      .map(([from, length]) => [48n * MIB + from, 48n * MIB + from + length] as const);
    fc.assert(
      fc.property(fc.array(aReservation, { maxLength: 300 }), (ranges) => {
        const reservations = ranges.map(([start, end]) => ({ start, end, type: 2 }));
        const guest = load({ reservations, initrd: noise(4096), rngSeed: noise(8) });
        const params = paramsOf(guest);
        assert.ok(params.tableEntries <= 128);
        // Naively: a byte's type changes at bounds only.
        const acpi: E820 = [0xe_0000n, 0xe_2000n, 3];
        const bounds = [0n, BigInt(RAM), ...acpi.slice(0, 2).map(BigInt), ...ranges.flat()];
        const sorted = [...new Set(bounds)].sort((a, b) => (a < b ? -1 : 1));
        const expected = sorted.slice(0, -1).flatMap((start, index): E820[] => {
          const end = sorted[index + 1] ?? start;
          if (start >= acpi[0] && start < acpi[1]) return [[start, end, 3]];
          if (ranges.some(([from, to]) => from <= start && start < to)) return [[start, end, 2]];
          return start < BigInt(RAM) ? [[start, end, 1]] : [];
        });
        assert.deepEqual(params.e820, joined(expected));
        for (const { range } of guest.regions) {
          assert.ok(ranges.every(([from, to]) => to <= range.start || range.end <= from));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("has no zero pages for ACPI where the BIOS area is reserved or is no RAM; tables of the caller's are refused there", () => {
    const acpi = { rsdp: noise(36), tables: noise(100) };
    const reservations = [{ start: 0xa_0000n, end: MIB, type: 2 }];
    const guest = load({ reservations });
    assert.deepEqual(paramsOf(guest).e820, [
      [0n, 0xa_0000n, 1],
      [0xa_0000n, MIB, 2],
      [MIB, BigInt(RAM), 1],
    ]);
    assert.ok(guest.regions.every(({ tag }) => tag !== "linux-rdsp" && tag !== "linux-acpi-tables"));
    assert.throws(() => load({ reservations, acpi }), refusal("IMPORT_OVERLAP", "reservation", "linux-rdsp"));
    const memory = new MemoryLayout([
      { start: 0n, end: 0xa_0000n },
      { start: MIB, end: 64n * MIB },
    ]);
    assert.deepEqual(paramsOf(load({ memory })).e820, [
      [0n, 0xa_0000n, 1],
      [MIB, 64n * MIB, 1],
    ]);
    assert.throws(() => load({ memory, acpi }), refusal("GUEST_MEMORY_NOT_RAM", "linux-rdsp"));
  });
});

describe("an ELF32 guest", () => {
  const kernel = makeElf32({
    entry: 0x100_0010n,
    segments: [{ paddr: 0x100_0000n, offset: 84n, filesz: 64n, memsz: 0x5000n }],
    byteLength: 200,
  });

  it("is entered in protected mode at e_entry, with its initrd in low memory", () => {
    const guest = load({ kernel, initrd: noise(10), commandLine: "x" });
    assert.deepEqual(
      [guest.architecture, guest.entryMode, x86Registers(guest).rip],
      ["i386", "protected32", 0x100_0010n],
    );
    assert.equal(paramsOf(guest).commandLine, "x");
    assert.equal(paramsOf(guest).initrd.address, 18n * MIB);
    const high = { kernel, memory: 2 ** 30, initrd: noise(10), addresses: { initrd: 0x3800_0000 } };
    assert.throws(() => load(high), refusal("INITRD_TOO_HIGH", "0x38000000"));
    assert.throws(() => load({ kernel, entry: "64" }), refusal("X86_ENTRY_NOT_AVAILABLE"));
  });
});

describe("a PVH guest", () => {
  const note = pvhNote(0x100_0040);
  const fill = new Uint8Array(400);
  fill.set(note, 300);
  const segments = [
    { paddr: 0x100_0000n, offset: 320n, filesz: 64n, memsz: 0x5000n },
    { type: 4, offset: 300n, filesz: 20n, align: 4n },
  ];
  const elf64 = makeElf({ entry: 0x100_0000n, segments, fill, byteLength: 400 });
  const elf32 = makeElf32({ entry: 0x100_0000n, segments, fill, byteLength: 400 });

  it("is entered where its note says, with a start info that has all of it", () => {
    const acpi = { rsdp: noise(36), tables: noise(100) };
    for (const kernel of [elf64, elf32]) {
      const guest = load({ kernel, entry: "pvh", initrd: noise(5000), commandLine: "console=hvc0", acpi });
      assert.equal(guest.entryMode, "protected32");
      assert.equal(x86Registers(guest).rip, 0x100_0040n);
      const info = readStartInfo(guest.memory, x86Registers(guest).rbx ?? 0n);
      assert.deepEqual(info, {
        magic: 0x336e_c578,
        version: 1,
        modules: [{ address: 18n * MIB, size: 5000n }],
        commandLine: "console=hvc0",
        rsdp: 0xe_0000n,
        e820: [
          [0n, 0xe_0000n, 1],
          [0xe_0000n, 0xe_2000n, 3],
          [0xe_2000n, BigInt(RAM), 1],
        ],
      });
    }
    const bare = load({ kernel: elf64, entry: "pvh" });
    const info = readStartInfo(bare.memory, x86Registers(bare).rbx ?? 0n);
    assert.deepEqual([info.modules, info.commandLine, info.rsdp], [[], undefined, 0n]);
  });

  it("is not one by default, and is refused without a note, or with what PVH can't say", () => {
    assert.equal(load({ kernel: elf64 }).entryMode, "long64");
    assert.throws(
      () => load({ kernel: ELF_KERNEL, entry: "pvh" }),
      refusal("X86_ENTRY_NOT_AVAILABLE", "PVH note"),
    );
    for (const more of [{ rngSeed: noise(8) }, { deviceTree: makeDeviceTree() }]) {
      assert.throws(() => load({ kernel: elf64, entry: "pvh", ...more }), refusal("OPTION_NOT_FOR_KERNEL"));
    }
    const far = makeElf({
      entry: 0x100_0000n,
      segments,
      byteLength: 400,
      fill: (() => {
        const f = fill.slice();
        f.set(pvhNote(0x900_0000), 300);
        return f;
      })(),
    });
    assert.throws(() => load({ kernel: far, entry: "pvh" }), refusal("X86_ENTRY_NOT_MAPPED"));
  });
});
