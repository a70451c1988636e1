/** Kernels in the formats that they are shipped in, through the one call that takes them all. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { type LinuxGuest, loadLinux, loadLinuxSync, MemoryLayout, planLinuxSync } from "../../src/index.js";
import { StreamSource } from "../../src/sources/stream.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree, memoryTree } from "../support/device-tree-maker.js";
import { type ElfShape, makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { AARCH64_GUEST, X86_64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { x86Registers } from "../support/x86-registers.js";
import { makeZboot } from "../support/zboot-maker.js";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const vmlinux = new Uint8Array(readFileSync(X86_64_GUEST));
const image = new Uint8Array(readFileSync(AARCH64_GUEST));
const code = noise(8192);
const bzImage = makeBzImage({ code });

/** An ELF with one segment at 16 MiB, and Xen's note: its entry is 0x100 behind that of the file. */
function shapeWithNote(): ElfShape {
  const note = new Uint8Array(new Uint32Array([4, 4, 18, 0x6e_6558, 0x100_0100]).buffer);
  const fill = new Uint8Array(0x2000);
  fill.set(note, 0x200);
  fill.set(code.subarray(0, 0x1000), 0x1000);
  const kernel = { offset: 0x1000n, vaddr: 0x100_0000n, paddr: 0x100_0000n, filesz: 0x1000n, memsz: 0x2000n };
  const notes = { type: 4, offset: 0x200n, filesz: BigInt(note.byteLength), align: 4n };
  return { entry: 0x100_0000n, segments: [kernel, notes], fill };
}

/** The zero page of a guest. */
function zeroPage(guest: { memory: { read(at: number, length: number): Uint8Array } }): DataView {
  return new DataView(guest.memory.read(0x2000, 4096).buffer);
}

/** The regions of a guest, with the CRC-32 of each. */
function contents({ regions, memory }: LinuxGuest): string[] {
  return regions
    .map(({ range, tag }) => `${range} ${tag} ${memory.crc32(range.start, Number(range.length))}`)
    .sort();
}

describe("a kernel as it is shipped", () => {
  it("is entered by its 64-bit entry if it is a bzImage that has one", () => {
    const guest = loadLinuxSync({ kernel: bzImage, memory: RAM });
    assert.deepEqual([guest.architecture, guest.entryMode], ["x86_64", "long64"]);
    assert.deepEqual([x86Registers(guest).rip, x86Registers(guest).rsi], [0x100_0200n, 0x2000n]);
    assert.deepEqual(guest.memory.read(0x100_0000, code.byteLength), code);
  });

  it("is entered by the 32-bit entry of a bzImage, without paging, if that is asked for or all it has", () => {
    const only32 = makeBzImage({ code, fields: [[0x236, 2, 0]] });
    for (const options of [{ kernel: bzImage, entry: "32" as const }, { kernel: only32 }]) {
      const guest = loadLinuxSync({ ...options, memory: RAM });
      assert.equal(guest.entryMode, "protected32");
      assert.deepEqual([x86Registers(guest).rip, x86Registers(guest).cr0], [0x100_0000n, 1n]);
    }
  });

  it("is whole if the last 15 bytes of its last paragraph are missing: they are zero, from every kind of source", async () => {
    // Behind a gzip stream's end stands a checksum; behind a bzImage's, what a distribution appends to it.
    const trailer = noise(100);
    for (const version of [0x204, 0x20f]) {
      for (const [missing, behind] of [
        [0, trailer.subarray(0, 0)],
        [0, trailer],
        [1, trailer.subarray(0, 0)],
        [15, trailer.subarray(0, 0)],
        [16, trailer.subarray(0, 0)],
      ] as const) {
        const cut = makeBzImage({ version, code, trailer: behind });
        const kernel = cut.subarray(0, cut.byteLength - missing);
        const expected = code.slice();
        expected.fill(0, code.byteLength - missing);
        const inputs = [
          kernel,
          makeStream(kernel, { chunks: [997] }).stream,
          new StreamSource(makeStream(kernel).stream, { byteLength: kernel.byteLength }),
          makeStream(gzipSync(kernel)).stream,
        ];
        for (const [index, input] of inputs.entries()) {
          const what = `2.${version & 0xff}, ${missing} missing, ${behind.byteLength} behind, input ${index}`;
          const loading = loadLinux({ kernel: input, memory: RAM, decompress: "guest" });
          if (missing > 15) {
            await assert.rejects(loading, refusal("BZIMAGE_TRUNCATED"), what);
            continue;
          }
          const { memory, info, regions } = await loading;
          const read = memory.read(info.kernel.gpa, code.byteLength);
          assert.deepEqual(read, expected, what);
          const region = regions.find(({ tag }) => tag === "linux-kernel");
          assert.equal(region?.dataLength, code.byteLength, what);
        }
      }
    }
  });

  it("is entered in 32 bits if it is an ELF32", () => {
    const guest = loadLinuxSync({ kernel: makeElf32(shapeWithNote()), memory: RAM });
    assert.deepEqual([guest.architecture, guest.entryMode], ["i386", "protected32"]);
    assert.equal(x86Registers(guest).rip, 0x100_0000n);
  });

  it("is entered by its PVH note, with the start info in RBX, whatever the class of the ELF", () => {
    for (const kernel of [makeElf(shapeWithNote()), makeElf32(shapeWithNote())]) {
      const guest = loadLinuxSync({ kernel, entry: "pvh", memory: RAM });
      assert.deepEqual([x86Registers(guest).rip, x86Registers(guest).rbx], [0x100_0100n, 0x2000n]);
      assert.equal(zeroPage(guest).getUint32(0, true), 0x336e_c578); // XEN_HVM_START_MAGIC_VALUE
    }
  });

  for (const [name, plain, shipped] of [
    ["a gzipped vmlinux", vmlinux, gzipSync(vmlinux)],
    ["an Image.gz", image, gzipSync(image)],
    ["an EFI zboot image", image, makeZboot({ payload: gzipSync(image) })],
  ] as const) {
    it(`gives the guest of the plain kernel if it is ${name}`, async () => {
      const machine = { memory: RAM, deviceTree: memoryTree(RAM) };
      const expected = loadLinuxSync({ kernel: plain, ...machine });
      const guests = [
        loadLinuxSync({ kernel: shipped, ...machine }),
        await loadLinux({ kernel: makeStream(shipped).stream, ...machine }),
      ];
      for (const guest of guests) {
        assert.deepEqual(guest.registerList, expected.registerList);
        assert.deepEqual(contents(guest), contents(expected));
      }
    });
  }
});

describe("what a shipped kernel is started with", () => {
  it("is an initrd above 4 GiB only if the kernel says that it takes one there", () => {
    const initrd = noise(5000);
    const high = { initrd, addresses: { initrd: 5n << 30n }, memory: 6n << 30n };
    assert.equal(planLinuxSync({ kernel: bzImage, ...high }).info.initrd?.gpa, 5n << 30n);
    const below = makeBzImage({ code, fields: [[0x236, 2, 1]] }); // XLF_KERNEL_64 alone
    assert.throws(() => planLinuxSync({ kernel: below, ...high }), refusal("INITRD_TOO_HIGH"));
  });

  it("is several initrds, one behind the other, each at a multiple of 4 bytes", () => {
    const [first, second] = [noise(5001), noise(7, 2)];
    const guest = loadLinuxSync({ kernel: bzImage, initrd: [first, second], memory: RAM });
    const all = guest.memory.read(guest.info.initrd?.gpa ?? 0n, Number(guest.info.initrd?.size));
    assert.deepEqual(all.subarray(0, 5001), first);
    assert.deepEqual(all.subarray(5004, 5011), second);
  });

  it("is a list of setup_data with a device tree and random bytes", () => {
    const [deviceTree, rngSeed] = [makeDeviceTree(100), noise(32, 2)];
    const guest = loadLinuxSync({ kernel: bzImage, deviceTree, rngSeed, memory: RAM });
    const types: number[] = [];
    for (let at = zeroPage(guest).getBigUint64(0x250, true); at !== 0n; ) {
      const node = new DataView(guest.memory.read(at, 16).buffer);
      types.push(node.getUint32(8, true));
      at = node.getBigUint64(0, true);
    }
    assert.deepEqual(types.sort(), [2, 9]); // SETUP_DTB, SETUP_RNG_SEED
  });

  it("is an e820 map of more than 128 entries, the rest of it in setup_data", () => {
    const start = (index: number): bigint => BigInt(index) * 0x20_0000n;
    const ram = Array.from({ length: 200 }, (_, i) => ({ start: start(i), end: start(i) + 0x10_0000n }));
    ram[0] = { start: 0n, end: start(20) };
    const layout = new MemoryLayout([ram[0], ...ram.slice(21)]);
    const guest = loadLinuxSync({ kernel: bzImage, memory: layout });
    const page = zeroPage(guest);
    assert.equal(page.getUint8(0x1e8), 128);
    const node = new DataView(guest.memory.read(page.getBigUint64(0x250, true), 16).buffer);
    assert.equal(node.getUint32(8, true), 1); // SETUP_E820_EXT
    // 180 ranges, the first of them cut in two by the ACPI pages.
    assert.equal(node.getUint32(12, true), (180 + 2 - 128) * 20);
  });

  it("is a command line of at most the bytes that its header allows", () => {
    const kernel = makeBzImage({ code, fields: [[0x238, 4, 10]] });
    assert.ok(planLinuxSync({ kernel, commandLine: "x".repeat(10), memory: RAM }).pages.length > 0);
    const long = (): unknown => planLinuxSync({ kernel, commandLine: "x".repeat(11), memory: RAM });
    assert.throws(long, refusal("COMMAND_LINE_TOO_LONG", "11", "10"));
  });
});
