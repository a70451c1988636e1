/** Any two regions that collide are named, both with their ranges: every pair, in every way that it can come about. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Aarch64Register,
  type E820Entry,
  GuestMemory,
  GuestMemoryImporter,
  type LoadLinuxSyncOptions,
  MemoryLayout,
  MemoryRange,
  planLinuxSync,
  type X86Addresses,
  type X86Register,
} from "../../src/index.js";
import {
  type ConfigOptions,
  loadConfig,
  loadKernelAndInitrdArm64,
  loadKernelAndInitrdX64,
  loadX86,
} from "../../src/loader.js";
import { makeArm64Image, pvhNote } from "../linux/guest-reader.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

const PAGE = 0x1000;
const MIB = 1 << 20;
/** Where everything is put: where the kernels of this test are linked. */
const PLACE = 16 * MIB;

const range = (start: number | bigint, pages: number): string =>
  `0x${start.toString(16)}-0x${(BigInt(start) + BigInt(pages * PAGE)).toString(16)}`;

/** Both names and both ranges. */
const both = (a: string, atA: string, b: string, atB: string): ((error: unknown) => boolean) =>
  refusal("IMPORT_OVERLAP", `${a} at ${atA}`, `${b} at ${atB}`, "overlaps");

/** Two pages of kernel, four of memory, at PLACE. */
const segments = [
  { paddr: BigInt(PLACE), offset: 320n, filesz: 64n, memsz: 0x4000n },
  { type: 4, offset: 300n, filesz: 20n, align: 4n },
];
const fill = new Uint8Array(400);
fill.set(pvhNote(PLACE), 300);
const ELF64 = makeElf({ entry: BigInt(PLACE), segments, fill, byteLength: 400 });
const ELF32 = makeElf32({ entry: BigInt(PLACE), segments, fill, byteLength: 400 });
/** init_size is 4 pages; not relocatable, at PLACE. */
const fixed = [
  [0x234, 1, 0],
  [0x260, 4, 0x4000],
] as const;
const BZIMAGE = makeBzImage({ fields: fixed });
const BZIMAGE_32 = makeBzImage({ fields: [...fixed, [0x236, 2, 0]] });

/** A kind of region: what puts it at an address, the name that it goes by, and its pages. */
interface Kind {
  readonly name: string;
  readonly tag: string;
  readonly pages: number;
  readonly at: (address: number) => Partial<LoadLinuxSyncOptions> & {
    readonly addresses?: X86Addresses;
    readonly reservations?: readonly E820Entry[];
  };
}

const COMMAND_LINE = "x".repeat(1500);
const ACPI = { rsdp: noise(36), tables: noise(2 * PAGE + 1) };
const TREE = makeDeviceTree(PAGE);
const INITRD = noise(2 * PAGE + 100);

function kindsOf(entry: LoadLinuxSyncOptions["entry"]): Kind[] {
  const isLong = entry === "64";
  const address = (name: keyof X86Addresses, tag: string, pages: number): Kind => ({
    name,
    tag,
    pages,
    at: (place) => ({ addresses: { [name]: place } }),
  });
  return [
    { name: "kernel", tag: "linux-kernel", pages: 4, at: () => ({}) },
    {
      name: "initrd",
      tag: "linux-initrd",
      pages: 3,
      at: (place) => ({ initrd: INITRD, addresses: { initrd: place } }),
    },
    {
      name: "reservation",
      tag: "reservation",
      pages: 2,
      at: (place) => ({ reservations: [{ start: BigInt(place), end: BigInt(place + PAGE + 1), type: 2 }] }),
    },
    address("gdt", isLong ? "default-gdt" : "linux-gdt32", 1),
    address("zeroPage", entry === "pvh" ? "linux-start-info" : "linux-zeropage", 1),
    address("commandLine", "linux-commandline", 1),
    ...(isLong ? [address("pageTables", "linux-pagetables", 6)] : []),
    ...(entry === "pvh" ? [] : [address("setupData", "linux-setup-data", 2)]),
    address("rsdp", "linux-rdsp", 1),
    address("acpiTables", "linux-acpi-tables", 3),
  ];
}

const ENTRIES = [
  ["a bzImage by its 64-bit entry", BZIMAGE, "64"],
  ["a bzImage by its 32-bit entry", BZIMAGE, "32"],
  ["a 32-bit bzImage", BZIMAGE_32, "32"],
  ["an ELF64", ELF64, "64"],
  ["an ELF32", ELF32, "32"],
  ["an ELF64 by PVH", ELF64, "pvh"],
  ["an ELF32 by PVH", ELF32, "pvh"],
] as const;

/** 64 MiB, with what both kinds need. */
function planBoth(
  kernel: Uint8Array,
  entry: LoadLinuxSyncOptions["entry"],
  a: ReturnType<Kind["at"]>,
  b: ReturnType<Kind["at"]>,
  memory: LoadLinuxSyncOptions["memory"] = 64 * MIB,
): unknown {
  return planLinuxSync({
    kernel,
    entry,
    memory,
    commandLine: COMMAND_LINE,
    acpi: ACPI,
    ...(entry === "pvh" ? {} : { deviceTree: TREE }),
    ...a,
    ...b,
    addresses: { ...a.addresses, ...b.addresses },
  });
}

for (const [what, kernel, entry] of ENTRIES) {
  const kinds = kindsOf(entry);
  describe(`two regions of ${what} that collide are both named with their ranges:`, () => {
    for (const [index, a] of kinds.entries()) {
      for (const b of kinds.slice(index + 1)) {
        it(`${a.name} and ${b.name}`, () => {
          const [atA, atB] = [range(PLACE, a.pages), range(PLACE, b.pages)];
          const refused = both(a.tag, atA, b.tag, atB);
          assert.throws(() => planBoth(kernel, entry, a.at(PLACE), b.at(PLACE)), refused);
        });
      }
    }
  });

  describe(`a region of ${what} that meets what is no RAM is named with it, both with their ranges:`, () => {
    const page = (start: number, end: number): MemoryRange => new MemoryRange(start, end);
    // 4 KiB of RAM at PLACE, then something else.
    const behind = PLACE + PAGE;
    const ram = [
      { start: 0, end: behind },
      { start: 32 * MIB, end: 64 * MIB },
    ];
    const gap = page(behind, 32 * MIB);
    const holes: readonly (readonly [name: string, layout: MemoryLayout, said: string])[] = [
      ["a hole between two banks", new MemoryLayout(ram), `the hole in RAM at ${gap}`],
      ["the MMIO gap", new MemoryLayout(ram, [gap]), `the MMIO gap at ${gap}`],
      ["the PCI ECAM gap", new MemoryLayout(ram, [], [gap]), `the PCI ECAM gap at ${gap}`],
      ["the PCI MMIO gap", new MemoryLayout(ram, [], [], [gap]), `the PCI MMIO gap at ${gap}`],
      ["the end of RAM", new MemoryLayout(behind), `the end of RAM, whose last range is 0x0-0x1001000`],
      [
        "the VTL2 range",
        new MemoryLayout(behind, [], [], [], page(behind, 18 * MIB)),
        `the VTL2 range at ${page(behind, 18 * MIB)}`,
      ],
    ];
    for (const kind of kinds) {
      // What the guest must not use need not be RAM.
      if (kind.name === "reservation") continue;
      for (const [name, layout, said] of holes) {
        it(`${kind.name} and ${name}`, () => {
          // One page of it lies in RAM if it has more than one.
          const at = kind.pages === 1 ? PLACE + PAGE : PLACE;
          const options = kind.at(at);
          const elsewhere = makeBzImage({ fields: [...fixed, [0x258, 8, 0x10_0000]] });
          const used = kind.name === "kernel" ? kernel : elsewhere;
          const asked = kind.name === "kernel" ? entry : entry === "pvh" ? "32" : entry;
          const tag =
            kind.name !== "kernel" && entry === "pvh" && kind.name === "zeroPage"
              ? "linux-zeropage"
              : kind.tag;
          assert.throws(
            () => planBoth(used, asked, options, {}, layout),
            refusal("GUEST_MEMORY_NOT_RAM", tag, `at ${range(at, kind.pages)}`, `it meets ${said}`),
          );
        });
      }
    }
  });
}

describe("what a caller has chosen collides with what has one place only:", () => {
  it("init_size behind a kernel that is loaded low, and an initrd", () => {
    const initrdAddress = PLACE + 0x3000;
    assert.throws(
      () =>
        planBoth(
          BZIMAGE,
          "64",
          { addresses: { kernel: MIB } },
          { initrd: INITRD, addresses: { initrd: initrdAddress } },
        ),
      both("linux-kernel (init_size)", range(PLACE, 4), "linux-initrd", range(initrdAddress, 3)),
    );
  });

  it("the last page of the kernel's bss, and the last page of the initrd's reach", () => {
    const initrdAddress = PLACE - 2 * PAGE;
    assert.throws(
      () => planBoth(ELF64, "64", {}, { initrd: INITRD, addresses: { initrd: initrdAddress } }),
      both("linux-kernel", range(PLACE, 4), "linux-initrd", range(initrdAddress, 3)),
    );
  });

  it("two reservations of different types that share a byte", () => {
    const reservations = [
      { start: 0x5000n, end: 0x6001n, type: 2 },
      { start: 0x6000n, end: 0x7000n, type: 4 },
    ];
    assert.throws(
      () => planBoth(BZIMAGE, "64", { reservations }, {}),
      refusal("E820_OVERLAP", "0x5000-0x6001 (type 2)", "0x6000-0x7000 (type 4)"),
    );
  });

  it("two segments of an ELF that have bytes for one address", () => {
    const overlapping = makeElf({
      entry: BigInt(PLACE),
      segments: [
        { paddr: BigInt(PLACE), offset: 0n, filesz: 64n, memsz: 0x1800n },
        { paddr: BigInt(PLACE + 0x17ff), offset: 0n, filesz: 64n, memsz: 0x1000n },
      ],
    });
    assert.throws(
      () => planBoth(overlapping, "64", {}, {}),
      refusal("ELF_SEGMENTS_OVERLAP", "0x1000000-0x1001800", "0x10017ff-0x10027ff"),
    );
  });

  it("two banks of RAM, RAM and a gap, two gaps, RAM and the VTL2 range", () => {
    const [a, b] = [new MemoryRange(0, 0x3000), new MemoryRange(0x2000, 0x4000)];
    const said = refusal("LAYOUT_BAD_MEMORY_RANGES", `${a}`, `${b}`);
    assert.throws(() => new MemoryLayout([a, b]), said);
    assert.throws(() => new MemoryLayout([a], [b]), said);
    assert.throws(() => new MemoryLayout([a], [], [b]), said);
    assert.throws(
      () => new MemoryLayout([new MemoryRange(0, 0x1000)], [b], [new MemoryRange(0x1000, 0x3000)]),
      (error) => refusal("LAYOUT_BAD_MEMORY_RANGES", `${b}`, "0x1000-0x3000")(error),
    );
    assert.throws(
      () => new MemoryLayout([a], [], [], [], b),
      refusal("LAYOUT_BAD_MEMORY_RANGES", "VTL2", `${a}`, `${b}`),
    );
  });

  it("two banks of a buffer, in the guest's addresses", () => {
    const banks = [
      { guestPhysicalAddress: 0, byteOffset: 0, byteLength: 0x3000 },
      { guestPhysicalAddress: 0x2000, byteOffset: 0x3000, byteLength: 0x2000 },
    ];
    assert.throws(
      () => GuestMemory.attach(new ArrayBuffer(0x5000), banks),
      refusal("GUEST_MEMORY_BAD_BANKS", "0x0-0x3000", "0x2000-0x4000"),
    );
  });
});

describe("two regions of loadX86 that collide are both named with their ranges, and memory is as it was:", () => {
  const RAM = 20 * MIB;
  interface Place {
    readonly name: string;
    readonly tag: string;
    readonly pages: number;
    readonly at: (options: ConfigOptions, place: number) => ConfigOptions;
  }
  const config: ConfigOptions = {
    commandLine: { address: 0x3000, commandLine: COMMAND_LINE },
    zeroPage: {
      address: 0x2000,
      memoryLayout: new MemoryLayout(RAM),
      acpiBaseAddress: 0xe_0000,
      acpiLength: 0x4000,
    },
    acpi: { rdspAddress: 0xe_0000, rdsp: ACPI.rsdp, tablesAddress: 0xe_1000, tables: ACPI.tables },
    registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
  };
  const places: readonly Place[] = [
    { name: "kernel", tag: "linux-kernel", pages: 4, at: (options) => options },
    { name: "initrd", tag: "linux-initrd", pages: 3, at: (options) => options },
    {
      name: "commandLine",
      tag: "linux-commandline",
      pages: 1,
      at: (options, address) => ({ ...options, commandLine: { ...options.commandLine, address } }),
    },
    {
      name: "gdt",
      tag: "default-gdt",
      pages: 1,
      at: (options, gdtAddress) => ({ ...options, registers: { ...options.registers, gdtAddress } }),
    },
    {
      name: "pageTables",
      tag: "linux-pagetables",
      pages: 6,
      at: (options, pageTableAddress) => ({
        ...options,
        registers: { ...options.registers, pageTableAddress },
      }),
    },
    {
      name: "rsdp",
      tag: "linux-rdsp",
      pages: 1,
      at: (options, rdspAddress) => ({ ...options, acpi: { ...options.acpi, rdspAddress } }),
    },
    {
      name: "acpiTables",
      tag: "linux-acpi-tables",
      pages: 3,
      at: (options, tablesAddress) => ({ ...options, acpi: { ...options.acpi, tablesAddress } }),
    },
    {
      name: "zeroPage",
      tag: "linux-zeropage",
      pages: 1,
      at: (options, address) => ({ ...options, zeroPage: { ...options.zeroPage, address } }),
    },
  ];
  for (const [index, a] of places.entries()) {
    for (const b of places.slice(index + 1)) {
      it(`${a.name} and ${b.name}`, () => {
        const options = b.at(a.at(config, PLACE), PLACE);
        // An initrd that takes no part lies where nothing else is.
        const initrdAddress = a.name === "initrd" || b.name === "initrd" ? PLACE : 18 * MIB;
        const kernel = makeElf({
          entry: BigInt(MIB),
          segments: [
            {
              paddr: a.name === "kernel" ? BigInt(PLACE) : BigInt(MIB),
              offset: 0n,
              filesz: 64n,
              memsz: 0x4000n,
            },
          ],
        });
        const load = { kernel, kernelMinimumStartAddress: MIB, initrd: { initrd: INITRD, initrdAddress } };
        const refused = both(a.tag, range(PLACE, a.pages), b.tag, range(PLACE, b.pages));

        const memory = new Uint8Array(RAM).fill(0x5a);
        const whole = new GuestMemoryImporter<X86Register>(GuestMemory.attach(memory.buffer));
        assert.throws(() => loadX86(whole, { ...load, ...options }), refused);
        assert.ok(Buffer.from(memory.buffer).equals(Buffer.alloc(RAM, 0x5a)));

        // In two calls, as a caller may do who puts something between them.
        const parts = new GuestMemoryImporter<X86Register>(GuestMemory.create(RAM));
        assert.throws(() => {
          const info = loadKernelAndInitrdX64(parts, load);
          loadConfig(parts, info, options);
        }, refused);
      });
    }
  }

  it("each of them and the end of RAM", () => {
    for (const place of places.slice(2)) {
      const importer = new GuestMemoryImporter<X86Register>(GuestMemory.create(RAM));
      const info = { kernel: { gpa: MIB, size: PAGE, entrypoint: MIB } };
      const at = place.pages === 1 ? RAM : RAM - PAGE;
      assert.throws(
        () => loadConfig(importer, info, place.at(config, at)),
        refusal("GUEST_MEMORY_NOT_RAM", `${place.tag} at ${range(at, place.pages)}`, "0x0-0x1400000"),
      );
    }
  });
});

describe("two regions of an arm64 guest that collide are both named with their ranges:", () => {
  const START = 0x4000_0000;
  const kernel = makeArm64Image();
  const importer = (): GuestMemoryImporter<Aarch64Register> =>
    new GuestMemoryImporter<Aarch64Register>(
      GuestMemory.create(new MemoryLayout([{ start: START, end: START + 8 * MIB }])),
    );
  const load = (initrdAddress: number): unknown =>
    loadKernelAndInitrdArm64(importer(), {
      kernel,
      kernelMinimumStartAddress: START,
      deviceTree: TREE,
      initrd: { initrd: INITRD, initrdAddress },
    });

  it("kernel and initrd", () => {
    const at = START + 4 * PAGE;
    const refused = both("linux-initrd", range(at, 3), "linux-device-tree", range(START + 5 * PAGE, 2));
    assert.throws(
      () => load(START + 2 * PAGE),
      both("linux-initrd", range(START + 2 * PAGE, 3), "linux-kernel", range(START, 5)),
    );
    assert.throws(
      () => load(START + 6 * PAGE),
      both("linux-initrd", range(START + 6 * PAGE, 3), "linux-device-tree", range(START + 5 * PAGE, 2)),
    );
    // Both at once: it names one of them.
    assert.throws(
      () => load(at),
      (error) => {
        assert.ok(error instanceof Error);
        if (error.message.includes("linux-kernel"))
          return both("linux-initrd", range(at, 3), "linux-kernel", range(START, 5))(error);
        return refused(error);
      },
    );
  });

  it("each of them and the end of RAM", () => {
    const end = START + 8 * MIB;
    const last = "the end of RAM, whose last range is 0x40000000-0x40800000";
    assert.throws(
      () => load(end - PAGE),
      refusal("GUEST_MEMORY_NOT_RAM", `linux-initrd at ${range(end - PAGE, 3)}`, last),
    );
    const at = (kernelMinimumStartAddress: number, image: Uint8Array): unknown =>
      loadKernelAndInitrdArm64(importer(), { kernel: image, kernelMinimumStartAddress, deviceTree: TREE });
    const long = makeArm64Image({ imageSize: 0x20_1000n });
    assert.throws(
      () => at(end - 2 * MIB, long),
      refusal("GUEST_MEMORY_NOT_RAM", `linux-kernel at ${range(end - 2 * MIB, 513)}`, last),
    );
    const full = makeArm64Image({ imageSize: 0x1f_f000n });
    assert.throws(
      () => at(end - 2 * MIB, full),
      refusal("GUEST_MEMORY_NOT_RAM", `linux-device-tree at ${range(end - PAGE, 2)}`, last),
    );
  });

  it("by loadLinux: an initrd that leaves the kernel no room", () => {
    const memory = new MemoryLayout([{ start: START, end: START + 2 * MIB }]);
    assert.throws(
      () =>
        planLinuxSync({
          kernel,
          memory,
          deviceTree: TREE,
          initrd: INITRD,
          addresses: { initrd: START + PAGE },
        }),
      refusal("PLACEMENT_NO_ROOM", "linux-kernel: 0x5000 bytes", `${range(START + PAGE, 3)} (linux-initrd)`),
    );
  });

  it("by loadLinux: an initrd out of the kernel's reach", () => {
    const GIB = 1 << 30;
    const memory = new MemoryLayout([
      { start: START, end: START + 2 * MIB },
      { start: START + 40 * GIB, end: START + 40 * GIB + MIB },
    ]);
    const initrdAddress = START + 40 * GIB;
    assert.throws(
      () =>
        planLinuxSync({
          kernel,
          memory,
          deviceTree: TREE,
          initrd: INITRD,
          addresses: { initrd: initrdAddress },
        }),
      refusal(
        "ARM64_INITRD_OUT_OF_REACH",
        `linux-initrd at 0x${initrdAddress.toString(16)}-`,
        `linux-kernel at ${range(START, 5)}`,
      ),
    );
  });
});
