/** The inputs of docs/hostile-inputs.md, each as its row says. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import * as decoders from "../../src/decoders/index.js";
import {
  type Aarch64Register,
  type DirectBootErrorCode,
  GuestMemory,
  GuestMemoryImporter,
  type LoadLinuxSyncOptions,
  loadLinuxSync,
  MemoryLayout,
  MemoryRange,
  planLinuxSync,
  type X86Register,
} from "../../src/index.js";
import {
  type ConfigOptions,
  loadConfig,
  loadKernelAndInitrdArm64,
  loadKernelAndInitrdX64,
} from "../../src/loader.js";
import { makeArm64Image, pvhNote } from "../linux/guest-reader.js";
import { type BzImageShape, makeBzImage } from "../support/bzimage-maker.js";
import { machineTree, makeDeviceTree, memoryTree } from "../support/device-tree-maker.js";
import { type ElfShape, makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { makePeImage } from "../support/pe-image.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { unread } from "./support.js";

const MIB = 1 << 20;
const GIB = 1n << 30n;
const RAM = 64 * MIB;
const AT = 0x100_0000n;

const memory64 = Buffer.alloc(RAM, 0x5a);
const untouched = Buffer.alloc(RAM, 0x5a);

/** A guest of 64 MiB; what it is refused for leaves a memory of the caller's as it was. */
function load(options: Partial<LoadLinuxSyncOptions>): void {
  try {
    loadLinuxSync({ kernel: makeBzImage(), memory: memory64.buffer, ...options });
  } catch (error) {
    assert.ok(memory64.equals(untouched), "memory was touched");
    throw error;
  }
}

const plan = (options: Partial<LoadLinuxSyncOptions>): unknown =>
  planLinuxSync({ kernel: makeBzImage(), memory: RAM, ...options });

/** A row of the page: what is refused, and with which code. */
function row(name: string, code: DirectBootErrorCode, act: () => void, ...details: readonly string[]): void {
  it(name, () => assert.throws(act, refusal(code, ...details)));
}

const SEGMENT = { paddr: AT, offset: 0x1000n, filesz: 0x1000n, memsz: 0x2000n };

/** An ELF of one segment at 16 MiB, or of others. */
const elf = (shape: ElfShape = {}): Uint8Array => makeElf({ entry: AT, segments: [SEGMENT], ...shape });
const elfOf = (...segments: NonNullable<ElfShape["segments"]>): Uint8Array => elf({ segments });
const bzImage = (shape: BzImageShape): Uint8Array => makeBzImage(shape);

function pvh(note: Uint8Array): void {
  const fill = new Uint8Array(400);
  fill.set(note, 300);
  const segments = [
    { paddr: AT, offset: 320n, filesz: 64n, memsz: 0x5000n },
    { type: 4, offset: 300n, filesz: BigInt(note.byteLength), align: 4n },
  ];
  load({ kernel: makeElf({ entry: AT, segments, fill, byteLength: 400 }), entry: "pvh" });
}

function noteWith(nameSize: number, descriptionSize: number): Uint8Array {
  const note = pvhNote(Number(AT));
  const view = new DataView(note.buffer);
  view.setUint32(0, nameSize, true);
  view.setUint32(4, descriptionSize, true);
  return note;
}

describe("a hostile ELF:", () => {
  row("an empty file", "NO_KERNEL_INSIDE", () => load({ kernel: new Uint8Array(0) }));
  row("a file that ends within the ELF header", "ELF_READ_FILE_HEADER", () =>
    load({ kernel: elf().subarray(0, 63) }),
  );
  row("a file that ends within a segment", "REGION_READ", () => load({ kernel: elf().subarray(0, 0x1800) }));
  row("a big-endian ELF", "ELF_BIG_ENDIAN_ELF_ON_LITTLE", () =>
    load({ kernel: elf({ ident: [0x7f, 0x45, 0x4c, 0x46, 2, 2, 1] }) }),
  );
  row("an ELF for another machine", "ELF_TARGET_MACHINE_MISMATCH", () =>
    load({ kernel: elf({ machine: 183 }) }),
  );
  row("a 32-bit ELF where a 64-bit one is wanted", "ELF_INVALID_FILE_HEADER", () => {
    const kernel = makeElf32({ entry: AT, segments: [SEGMENT] });
    const importer = new GuestMemoryImporter<X86Register>(GuestMemory.create(RAM));
    loadKernelAndInitrdX64(importer, { kernel, kernelMinimumStartAddress: MIB });
  });
  row("an e_phentsize that is not 56", "ELF_INVALID_PROGRAM_HEADER", () =>
    load({ kernel: elf({ phentsize: 55 }) }),
  );
  row("an e_phoff beyond the file", "ELF_INVALID_PROGRAM_HEADER", () =>
    load({ kernel: elf({ phoff: 1n << 40n }) }),
  );
  row("an e_phnum of 65,534 in a small file", "ELF_INVALID_PROGRAM_HEADER", () =>
    load({ kernel: elf({ phnum: 65_534 }) }),
  );
  row("an e_phnum of 0xffff without a section 0 that has the count", "ELF_INVALID_PROGRAM_HEADER", () =>
    load({ kernel: elf({ phnum: 0xffff }) }),
  );
  row("no PT_LOAD segment", "ELF_NO_LOADABLE_SEGMENT", () =>
    load({ kernel: elfOf({ ...SEGMENT, type: 4 }) }),
  );
  row("a p_filesz above p_memsz", "REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH", () =>
    load({ kernel: elfOf({ ...SEGMENT, memsz: 0xfffn }) }),
  );
  row("a p_offset of 2^63", "REGION_READ", () =>
    load({ kernel: elf({ segments: [{ ...SEGMENT, offset: 1n << 63n }], byteLength: 0x2000 }) }),
  );
  row("a p_memsz of 2^64 - 1", "REGION_OVERFLOW", () =>
    load({ kernel: elfOf({ ...SEGMENT, memsz: (1n << 64n) - 1n }) }),
  );
  row("a p_memsz of 1 TiB", "X86_ENTRY_NOT_MAPPED", () =>
    load({ kernel: elfOf({ ...SEGMENT, memsz: 1n << 40n }) }),
  );
  row("a p_paddr in the last page of the address space", "REGION_OVERFLOW", () =>
    load({ kernel: elfOf({ ...SEGMENT, paddr: (1n << 64n) - 0x1000n }) }),
  );
  row("a p_paddr below 1 MiB", "ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET", () =>
    load({ kernel: elfOf(SEGMENT, { ...SEGMENT, paddr: 0x2000n }) }),
  );
  row("two segments with bytes for one address", "ELF_SEGMENTS_OVERLAP", () =>
    load({ kernel: elfOf(SEGMENT, { ...SEGMENT, paddr: AT + 0x1800n }) }),
  );
  it("two segments that share a page but no byte", () => {
    const kernel = elf({
      fill: noise(0x3000, 1),
      segments: [
        { ...SEGMENT, filesz: 0x10n, memsz: 0x10n },
        { ...SEGMENT, paddr: AT + 0x20n, offset: 0x2000n, filesz: 0x10n, memsz: 0x10n },
      ],
    });
    const { memory } = loadLinuxSync({ kernel, memory: RAM });
    assert.deepEqual(memory.read(AT, 0x10), new Uint8Array(kernel.subarray(0x1000, 0x1010)));
    assert.deepEqual(memory.read(AT + 0x20n, 0x10), new Uint8Array(kernel.subarray(0x2000, 0x2010)));
  });
  it("a p_memsz above p_filesz over memory that was used before", () => {
    const kernel = elf({ fill: noise(0x2000, 1) });
    const memory = new Uint8Array(RAM).fill(0x5a);
    loadLinuxSync({ kernel, memory: memory.buffer });
    assert.ok(memory.subarray(Number(AT) + 0x1000, Number(AT) + 0x2000).every((byte) => byte === 0));
  });
  row(
    "a segment behind the end of RAM",
    "GUEST_MEMORY_NOT_RAM",
    () => load({ kernel: elf({ entry: 0x500_0000n, segments: [{ ...SEGMENT, paddr: 0x500_0000n }] }) }),
    "the end of RAM",
  );
  row(
    "a segment that reaches into the MMIO gap",
    "GUEST_MEMORY_NOT_RAM",
    () => {
      const memory = new MemoryLayout(64n * BigInt(MIB), [new MemoryRange(AT + 0x1000n, AT + 0x2000n)]);
      plan({ kernel: elf(), memory });
    },
    "linux-kernel at 0x1000000-0x1002000",
    "the MMIO gap at 0x1001000-0x1002000",
  );
  row("an entry point outside of every segment", "X86_ENTRY_NOT_MAPPED", () =>
    load({ kernel: elf({ entry: 0x200_0000n }) }),
  );
  row("an entry point below 1 MiB", "ELF_INVALID_ENTRY_ADDRESS", () =>
    load({ kernel: elf({ entry: 0x1000n }) }),
  );
  row("a PVH note whose sizes pass the segment", "ELF_BAD_NOTE", () => pvh(noteWith(4, 0xffff_fff0)));
  row("a PVH note with a value of 2 bytes", "ELF_BAD_NOTE", () => pvh(noteWith(4, 2)));
  row("a PVH entry outside of the kernel", "X86_ENTRY_NOT_MAPPED", () => pvh(pvhNote(0x900_0000)));
});

describe("a hostile bzImage:", () => {
  row("a file that ends within the setup header", "BZIMAGE_TRUNCATED", () =>
    load({ kernel: bzImage({}).subarray(0, 0x210) }),
  );
  row("a boot sector without a setup header", "NO_KERNEL_INSIDE", () =>
    load({ kernel: bzImage({ magic: 0 }) }),
  );
  row("a wrong boot_flag", "BZIMAGE_BAD_BOOT_FLAG", () => load({ kernel: bzImage({ bootFlag: 0 }) }));
  row("a protocol version below 2.00", "BZIMAGE_BAD_VERSION", () =>
    load({ kernel: bzImage({ version: 0x1ff }) }),
  );
  row("a zImage, which is not loaded high", "BZIMAGE_NOT_LOADED_HIGH", () =>
    load({ kernel: bzImage({ loadflags: 0 }) }),
  );
  row("a setup_sects beyond the file", "BZIMAGE_TRUNCATED", () => {
    const kernel = bzImage({});
    kernel[0x1f1] = 255;
    load({ kernel });
  });
  row("a syssize beyond the file", "BZIMAGE_TRUNCATED", () =>
    load({ kernel: bzImage({ syssize: 0xffff_ffff }) }),
  );
  it("bytes behind syssize", () => {
    const kernel = bzImage({ code: noise(0x1000), trailer: noise(0x1000, 3) });
    const { memory, info } = loadLinuxSync({ kernel, memory: RAM });
    assert.equal(info.kernel.size, 0x1000n);
    assert.ok(memory.read(AT + 0x1000n, 0x1000).every((byte) => byte === 0));
  });
  row("a setup header longer than its protocol version has", "BZIMAGE_BAD_HEADER_LENGTH", () =>
    load({ kernel: bzImage({ jump: 0x80 }) }),
  );
  row("a kernel_alignment that is no power of two", "BZIMAGE_BAD_ALIGNMENT", () =>
    load({ kernel: bzImage({ fields: [[0x230, 4, 0x30_0000]] }) }),
  );
  row("a pref_address above 4 GiB in a kernel that can't be there", "BZIMAGE_BAD_LOAD_ADDRESS", () =>
    plan({
      kernel: bzImage({
        fields: [
          [0x258, 8, 5n * GIB],
          [0x236, 2, 1],
          [0x234, 1, 0],
        ],
      }),
      memory: 8n * GIB,
    }),
  );
  row(
    "an init_size of 4 GiB",
    "PLACEMENT_NO_ROOM",
    () => load({ kernel: bzImage({ fields: [[0x260, 4, 0xffff_ffff]] }) }),
    "init_size",
  );
  it("an initrd where init_size has the kernel unpack itself", () => {
    const kernel = bzImage({ fields: [[0x260, 4, 0x100_0000]] });
    const { info } = planLinuxSync({ kernel, memory: RAM, initrd: unread(5000) });
    assert.equal(info.initrd?.gpa, 0x200_0000n);
  });
  row("an initrd above initrd_addr_max", "INITRD_TOO_HIGH", () =>
    load({
      kernel: bzImage({
        fields: [
          [0x22c, 4, 0x17f_ffff],
          [0x236, 2, 1],
        ],
      }),
      initrd: noise(5000),
      addresses: { initrd: 0x200_0000 },
    }),
  );
  row("a payload beyond the protected-mode code", "BZIMAGE_BAD_PAYLOAD", () =>
    load({ kernel: bzImage({ payloadOffset: 8, payloadLength: 0xffff_ffff }) }),
  );
});

/** A bzImage whose payload is this. */
function packed(payload: Uint8Array): Uint8Array {
  const code = new Uint8Array(Math.ceil((payload.byteLength + 4096) / 16) * 16);
  code.set(payload, 1024);
  return bzImage({
    code,
    payloadOffset: 1024,
    payloadLength: payload.byteLength,
    fields: [[0x260, 4, 0x40_0000]],
  });
}

/** gzip, and the size that Linux's build writes behind it. */
function withSize(compressed: Uint8Array, size: number): Uint8Array {
  const bytes = new Uint8Array(compressed.byteLength + 4);
  bytes.set(compressed);
  new DataView(bytes.buffer).setUint32(compressed.byteLength, size, true);
  return bytes;
}

describe("hostile compressed data:", () => {
  row("a gzipped kernel that is cut off", "DECOMPRESS_TRUNCATED", () => {
    const packedElf = gzipSync(elf({ fill: noise(0x2000, 1) }));
    load({ kernel: new Uint8Array(packedElf.subarray(0, packedElf.byteLength - 100)) });
  });
  row("a gzip bomb", "GUEST_MEMORY_TOO_SMALL", () =>
    load({ kernel: new Uint8Array(gzipSync(Buffer.concat([elf(), Buffer.alloc(RAM)]))) }),
  );
  row("a bzImage's payload that unpacks to more than guest RAM", "GUEST_MEMORY_TOO_SMALL", () => {
    const payload = withSize(gzipSync(Buffer.concat([elf(), Buffer.alloc(RAM)])), RAM + 0x2000);
    load({ kernel: packed(payload), decompress: "host", decoders });
  });
});

describe("a hostile command line:", () => {
  row("a command line with a NUL", "COMMAND_LINE_NUL", () => load({ commandLine: "quiet\0init=/bin/sh" }));
  row("a command line longer than the kernel keeps", "COMMAND_LINE_TOO_LONG", () =>
    load({ commandLine: "x".repeat(2048) }),
  );
  row("a command line over the zero page", "IMPORT_OVERLAP", () =>
    load({ commandLine: "quiet", addresses: { commandLine: 0x2000, zeroPage: 0x2000 } }),
  );
  row("a command line behind the end of RAM", "GUEST_MEMORY_NOT_RAM", () =>
    load({ commandLine: "quiet", addresses: { commandLine: RAM } }),
  );
  it("a command line of 600 KB, which reaches into video memory from its usual place", () => {
    const kernel = bzImage({ fields: [[0x238, 4, 1_000_000]] });
    const made = planLinuxSync({ kernel, memory: RAM, commandLine: "x".repeat(640_000) });
    const found = made.pages.find(({ tag }) => tag === "linux-commandline");
    assert.ok(found !== undefined && (found.range.end <= 0xa_0000n || found.range.start >= 0x10_0000n));
  });
});

describe("a hostile initrd:", () => {
  row("an empty initrd", "SOURCE_EMPTY", () => load({ initrd: new Uint8Array(0) }));
  row(
    "an initrd larger than RAM",
    "PLACEMENT_NO_ROOM",
    () => plan({ initrd: unread(2 * RAM) }),
    "linux-initrd",
  );
  row("an initrd over an ELF kernel", "IMPORT_OVERLAP", () =>
    load({ kernel: elf(), initrd: noise(5000), addresses: { initrd: AT + 0x1000n } }),
  );
  row("an initrd at an address that is not page-aligned", "UNALIGNED_ADDRESS", () =>
    load({ initrd: noise(5000), addresses: { initrd: 0x200_0001 } }),
  );
  it("an initrd that fits between other things only, or at no 2 MiB boundary", () => {
    const memory = new MemoryLayout([
      { start: 0n, end: AT + 0x2_1000n },
      { start: 0x200_1000n, end: 0x200_3000n },
    ]);
    const { info } = planLinuxSync({ kernel: makeBzImage(), memory, initrd: unread(0x1800) });
    assert.equal(info.initrd?.gpa, 0x200_1000n);
  });
});

describe("a hostile configuration of x86-64:", () => {
  const config: ConfigOptions = {
    commandLine: { address: 0x3000, commandLine: "quiet" },
    zeroPage: {
      address: 0x2000,
      memoryLayout: new MemoryLayout(RAM),
      acpiBaseAddress: 0xe_0000,
      acpiLength: 0x1000,
    },
    acpi: { rdspAddress: 0xe_0000, rdsp: noise(36), tablesAddress: 0xe_1000, tables: noise(100) },
    registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
  };
  const configure = (changes: Partial<ConfigOptions>, initrd?: { gpa: bigint; size: bigint }): void => {
    const importer = new GuestMemoryImporter<X86Register>(GuestMemory.create(RAM));
    const kernel = { gpa: AT, size: 0x1000n, entrypoint: AT };
    loadConfig(importer, { kernel, initrd }, { ...config, ...changes });
  };
  row("a command line at 4 GiB in OpenVMM's zero page", "ZERO_PAGE_COMMAND_LINE_TOO_HIGH", () =>
    configure({ commandLine: { address: 4n * GIB, commandLine: "quiet" } }),
  );
  row("an initrd at 4 GiB in OpenVMM's zero page", "ZERO_PAGE_INITRD_TOO_HIGH", () =>
    configure({}, { gpa: 4n * GIB, size: 1n }),
  );
  row("an RSDP longer than its page", "ACPI_RSDP_TOO_LONG", () =>
    configure({ acpi: { ...config.acpi, rdsp: noise(4097) } }),
  );
  row("ACPI tables that pass the end of the first RAM range", "ZERO_PAGE_BAD_ACPI", () =>
    configure({ zeroPage: { ...config.zeroPage, acpiLength: RAM } }),
  );
  row("more RAM ranges than the zero page holds", "ZERO_PAGE_TOO_MANY_E820_ENTRIES", () => {
    const ram = Array.from({ length: 127 }, (_, i) => ({
      start: BigInt(i) * 0x20_0000n,
      end: BigInt(i) * 0x20_0000n + 0x10_0000n,
    }));
    configure({ zeroPage: { ...config.zeroPage, memoryLayout: new MemoryLayout(ram) } });
  });
  row("a zero page over the GDT", "IMPORT_OVERLAP", () =>
    configure({ zeroPage: { ...config.zeroPage, address: 0x1000 } }),
  );
  row("page tables at 2^52", "PAGE_TABLE_INVALID_ADDRESS", () =>
    configure({ registers: { ...config.registers, pageTableAddress: 1n << 52n } }),
  );
  row("two e820 types for one byte", "E820_OVERLAP", () =>
    load({
      reservations: [
        { start: 0x5000n, end: 0x7000n, type: 2 },
        { start: 0x6000n, end: 0x8000n, type: 3 },
      ],
    }),
  );
});

describe("a hostile arm64 Image:", () => {
  const START = 0x4000_0000;
  const memory = new MemoryLayout([{ start: START, end: START + RAM }]);
  const loadImage = (kernel: Uint8Array, deviceTree?: Uint8Array): void => {
    const importer = new GuestMemoryImporter<Aarch64Register>(GuestMemory.create(memory));
    loadKernelAndInitrdArm64(importer, { kernel, deviceTree, kernelMinimumStartAddress: START });
  };
  const planImage = (options: Partial<LoadLinuxSyncOptions>): ReturnType<typeof planLinuxSync> =>
    planLinuxSync({ kernel: makeArm64Image(), memory, deviceTree: tree, ...options });
  const tree = memoryTree(RAM);

  row("an Image shorter than its header", "ARM64_READ_KERNEL_IMAGE", () =>
    loadImage(makeArm64Image().subarray(0, 63)),
  );
  row("an Image that ends before what its PE header names", "ARM64_READ_KERNEL_IMAGE", () => {
    planImage({ kernel: makePeImage().subarray(0, 0x2000) });
  });
  row("an Image without its magic", "ARM64_BAD_IMAGE_MAGIC", () => loadImage(new Uint8Array(4096)));
  row("a big-endian Image", "ARM64_BIG_ENDIAN_KERNEL_IMAGE", () =>
    loadImage(makeArm64Image({ flags: 0b1011n })),
  );
  row("an Image of 64 KiB pages", "ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED", () =>
    loadImage(makeArm64Image({ flags: 0b1110n })),
  );
  row("an Image that must lie at the start of RAM", "ARM64_LOW_MEMORY_KERNEL", () =>
    loadImage(makeArm64Image({ flags: 0b0010n })),
  );
  row("a text_offset near 2^64", "ADDRESS_OVERFLOW", () =>
    loadImage(makeArm64Image({ textOffset: (1n << 64n) - 0x1000n })),
  );
  row("a text_offset that is not page-aligned", "ARM64_BAD_IMAGE_SIZE", () =>
    loadImage(makeArm64Image({ textOffset: 0x8_0001n })),
  );
  row("an image_size below the file's length", "ARM64_BAD_IMAGE_SIZE", () =>
    loadImage(makeArm64Image({ imageSize: 0x1000n })),
  );
  row("an image_size of 1 TiB", "GUEST_MEMORY_NOT_RAM", () =>
    loadImage(makeArm64Image({ imageSize: 1n << 40n })),
  );
  row("an image_size near 2^64", "ADDRESS_OVERFLOW", () =>
    loadImage(makeArm64Image({ imageSize: (1n << 64n) - 1n })),
  );
  it("an image_size larger than the file, and a device tree behind it", () => {
    const { info } = planImage({ kernel: makeArm64Image({ imageSize: 0x10_0000n }) });
    assert.equal(info.dtb?.start, info.kernel.entrypoint + 0x10_0000n);
  });
  it("an image_size of 0, and a device tree behind it", () => {
    const { info } = planImage({ kernel: makeArm64Image({ imageSize: 0n }) });
    assert.equal(info.kernel.entrypoint, info.kernel.gpa + 0x8_0000n);
    assert.equal(info.dtb?.start, info.kernel.entrypoint + 0x100_0000n);
  });
  row("a device tree of more than 2 MiB", "DEVICE_TREE_TOO_LARGE", () =>
    planImage({ deviceTree: makeDeviceTree(2 * MIB) }),
  );
  row("a device tree that is none", "DEVICE_TREE_MALFORMED", () => planImage({ deviceTree: noise(4096) }));
  it("a device tree that reserves where the kernel would be", () => {
    const at = BigInt(START) + 0x20_0000n;
    const ram = { start: BigInt(START), end: BigInt(START + RAM) };
    const deviceTree = machineTree([ram], { reserved: [{ start: at, end: at + 0x1000n }] });
    const { info } = planImage({ deviceTree });
    assert.equal(info.kernel.gpa, BigInt(START) + 0x40_0000n);
  });
  row("an initrd over the Image that can't move", "IMPORT_OVERLAP", () => {
    const importer = new GuestMemoryImporter<Aarch64Register>(GuestMemory.create(memory));
    const initrd = { initrd: noise(5000), initrdAddress: START + 0x1000 };
    loadKernelAndInitrdArm64(importer, {
      kernel: makeArm64Image(),
      kernelMinimumStartAddress: START,
      initrd,
    });
  });
  row("an initrd more than 32 GiB from the Image", "ARM64_INITRD_OUT_OF_REACH", () => {
    const far = BigInt(START) + 40n * GIB;
    const two = [
      { start: BigInt(START), end: BigInt(START + RAM) },
      { start: far, end: far + 0x10_0000n },
    ];
    const machine = { memory: new MemoryLayout(two), deviceTree: machineTree(two) };
    planImage({ ...machine, initrd: noise(5000), addresses: { initrd: far } });
  });
  row("no device tree", "DEVICE_TREE_MISSING", () => planImage({ deviceTree: undefined }));
  row("a device tree without /memory", "DEVICE_TREE_MEMORY", () =>
    planImage({ deviceTree: makeDeviceTree() }),
  );
});
