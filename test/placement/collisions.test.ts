/** Any two regions that collide are named, both with their ranges: every pair, in every way that it can come about. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type E820Entry,
  type LoadLinuxSyncOptions,
  MemoryLayout,
  MemoryRange,
  planLinuxSync,
  type X86Addresses,
} from "../../src/index.js";
import { makeArm64Image, pvhNote } from "../linux/guest-reader.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { machineTree, makeDeviceTree } from "../support/device-tree-maker.js";
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
      // A range that the guest must not use need not be RAM.
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
});

describe("two regions of an arm64 guest that collide are both named with their ranges:", () => {
  const START = 0x4000_0000;
  const GIB = 1 << 30;
  const kernel = makeArm64Image();
  const ram = [
    { start: BigInt(START), end: BigInt(START + 2 * MIB) },
    { start: BigInt(START + 40 * GIB), end: BigInt(START + 40 * GIB + MIB) },
  ];
  const deviceTree = machineTree(ram);
  it("by loadLinux: an initrd that leaves the kernel no room", () => {
    const memory = new MemoryLayout([{ start: START, end: START + 2 * MIB }]);
    assert.throws(
      () =>
        planLinuxSync({
          kernel,
          memory,
          deviceTree,
          initrd: INITRD,
          addresses: { initrd: START + PAGE },
        }),
      refusal("PLACEMENT_NO_ROOM", "linux-kernel: 0x5000 bytes", `${range(START + PAGE, 3)} (linux-initrd)`),
    );
  });

  it("by loadLinux: an initrd out of the kernel's reach", () => {
    const memory = new MemoryLayout(ram);
    const initrdAddress = START + 40 * GIB;
    assert.throws(
      () =>
        planLinuxSync({
          kernel,
          memory,
          deviceTree,
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
