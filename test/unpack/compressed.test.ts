/** Kernels in wrappers, what is told of any file, and headers that lie. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import {
  detectKernel,
  detectKernelSync,
  GuestMemory,
  loadLinux,
  loadLinuxSync,
  MemoryLayout,
  planLinux,
  planLinuxSync,
} from "../../src/index.js";
import { ELF_KERNEL, makeArm64Image, pvhNote } from "../linux/guest-reader.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { makeZboot } from "../support/zboot-maker.js";

const RAM = 24 << 20;
const deviceTree = memoryTree(RAM);
const ARM64 = makeArm64Image();
const BZIMAGE = makeBzImage({ code: noise(4096) });
const ELF32 = makeElf32({
  entry: 0x100_0000n,
  segments: [{ paddr: 0x100_0000n, offset: 84n, filesz: 16n, memsz: 0x5000n }],
});
const zboot = (payload: Uint8Array, compression = "gzip"): Uint8Array => makeZboot({ payload, compression });

describe("a compressed kernel", () => {
  it("that is damaged or cut off behind what is loaded of it is refused, from wherever it comes, and leaves no page", async () => {
    // A vmlinux has sections behind its segments: what is loaded ends long before the file does.
    const gz = gzipSync(Buffer.concat([ELF_KERNEL, noise(1 << 20)]));
    const badTrailer = Buffer.from(gz);
    badTrailer.writeUInt8(gz.readUInt8(gz.length - 8) ^ 1, gz.length - 8);
    const folder = tempFolder();
    for (const [name, bytes, code] of [
      ["trailer", badTrailer, "DECOMPRESS_CHECKSUM"],
      ["cut", gz.subarray(0, -1), "DECOMPRESS_TRUNCATED"],
      ["cut", gz.subarray(0, -100), "DECOMPRESS_TRUNCATED"],
    ] as const) {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      for (const kernel of [path, bytes, new Blob([bytes]), makeStream(bytes, { chunks: [4096] }).stream]) {
        const memory = GuestMemory.create(RAM);
        await assert.rejects(loadLinux({ kernel, memory }), refusal("DECOMPRESS_CORRUPT"));
        assert.ok(memory.read(0, RAM).every((byte) => byte === 0));
      }
      assert.throws(() => loadLinuxSync({ kernel: path, memory: RAM }), refusal(code));
    }
  });

  it("in a zboot image of an unknown compression is DECOMPRESS_UNSUPPORTED, which names it", async () => {
    // Four bytes of size stand behind the payload.
    const payload = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const kernel = makeZboot({ payload, payloadLength: 4, compression: "snappy" });
    await assert.rejects(loadLinux({ kernel, memory: RAM }), refusal("DECOMPRESS_UNSUPPORTED", "snappy"));
  });

  it("is the guest that it is uncompressed, in gzip, zboot, or both", () => {
    for (const kernel of [ELF_KERNEL, BZIMAGE, ELF32, ARM64]) {
      const expected = loadLinuxSync({ kernel, deviceTree, memory: RAM });
      const { start, end } = expected.layout.ram[0]?.range ?? { start: 0n, end: 0n };
      const gz = gzipSync(kernel);
      for (const packed of [gz, gzipSync(gz), zboot(gz), gzipSync(zboot(gz))]) {
        const guest = loadLinuxSync({ kernel: packed, deviceTree, memory: RAM });
        assert.deepEqual(guest.registerList, expected.registerList);
        const [own, other] = [guest, expected].map(({ memory }) => memory.read(start, Number(end - start)));
        assert.ok(own !== undefined && other !== undefined && Buffer.compare(own, other) === 0);
      }
    }
  });

  it("may be unpacked for a guest of any size, of more than 4 GiB, too", () => {
    const memory = new MemoryLayout(1n << 36n);
    assert.equal(planLinuxSync({ kernel: gzipSync(BZIMAGE), memory }).info.kernel.gpa, 0x100_0000n);
  });

  it("is no reason to take what is no memory", () => {
    for (const memory of [undefined, null, {}, "64M", new Uint8Array(5)] as unknown as number[]) {
      assert.throws(() => planLinuxSync({ kernel: gzipSync(BZIMAGE), memory }), TypeError);
    }
  });
});

describe("an arm64 Image with an image_size of 0", () => {
  const kernel = makeArm64Image({ imageSize: 0n, textOffset: 0x1234n, byteLength: 0x3001 });

  it("has its text_offset at 0x80000, whatever the header says, and 16 MiB to itself", () => {
    const { info } = planLinuxSync({ kernel, deviceTree, memory: RAM });
    assert.equal(info.kernel.entrypoint, 0x4028_0000n);
    assert.equal(info.kernel.size, 0x4000n);
  });

  it("is the same from streams of unknown length", async () => {
    for (const bytes of [kernel, gzipSync(kernel)]) {
      const { info } = await planLinux({ kernel: makeStream(bytes).stream, deviceTree, memory: RAM });
      assert.deepEqual([info.kernel.entrypoint, info.kernel.size], [0x4028_0000n, 0x4000n]);
    }
  });
});

describe("options for arm64", () => {
  it("take page sizes that the CPU has, and kernels for the start of RAM, which go there", () => {
    for (const [name, bits] of [
      ["unspecified", 0n],
      ["16KiB", 2n],
      ["64KiB", 3n],
    ] as const) {
      const kernel = makeArm64Image({ flags: 8n | (bits << 1n) });
      const refused = refusal("ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED");
      assert.throws(() => planLinuxSync({ kernel, deviceTree, memory: RAM }), refused);
      planLinuxSync({ kernel, deviceTree, memory: RAM, arm64: { pageSizes: [name] } });
      assert.throws(
        () => planLinuxSync({ kernel: ARM64, deviceTree, memory: RAM, arm64: { pageSizes: [name] } }),
        refused,
      );
    }
    const kernel = makeArm64Image({ flags: 2n, textOffset: 0x8_0000n });
    assert.throws(
      () => planLinuxSync({ kernel, deviceTree, memory: RAM }),
      refusal("ARM64_LOW_MEMORY_KERNEL"),
    );
    const low = planLinuxSync({ kernel, deviceTree, memory: RAM, arm64: { lowPlacement: true } });
    assert.equal(low.info.kernel.entrypoint, 0x4008_0000n);
    const wrong = { kernel, deviceTree, memory: RAM, arm64: { pageSizes: ["8KiB" as "4KiB"] } };
    assert.throws(() => planLinuxSync(wrong), TypeError);
  });
});

describe("detectKernel", () => {
  const note = new Uint8Array(300);
  note.set(pvhNote(0x100_0000), 200);
  const pvh = makeElf({ segments: [{ type: 4, offset: 200n, filesz: 20n }], fill: note, byteLength: 300 });
  const files: readonly (readonly [Uint8Array, readonly unknown[]])[] = [
    [ELF_KERNEL, ["elf64", "elf64", "x86_64", ["64"], undefined]],
    [pvh, ["elf64", "elf64", "x86_64", ["64", "pvh"], undefined]],
    [ELF32, ["elf32", "elf32", "i386", ["32"], undefined]],
    [makeElf({ machine: 183 }), ["elf64", "elf64", undefined, [], undefined]],
    // A machine that no file of this class is loaded for.
    [makeElf({ machine: 3 }), ["elf64", "elf64", undefined, [], undefined]],
    [makeElf32({ machine: 62 }), ["elf32", "elf32", undefined, [], undefined]],
    [BZIMAGE, ["bzImage", "bzImage", "x86_64", ["64", "32"], undefined]],
    [makeBzImage({ fields: [[0x236, 2, 0]] }), ["bzImage", "bzImage", "i386", ["32"], undefined]],
    [ARM64, ["arm64-image", "arm64-image", "aarch64", [], undefined]],
    [gzipSync(ARM64), ["gzip", "arm64-image", "aarch64", [], "gzip"]],
    [zboot(gzipSync(ARM64)), ["zboot", "arm64-image", "aarch64", [], "gzip"]],
    [new TextEncoder().encode("hello"), ["text", "text", undefined, [], undefined]],
    [new Uint8Array(0), ["empty", "empty", undefined, [], undefined]],
    [Uint8Array.of(1, 2, 3), ["unknown", "unknown", undefined, [], undefined]],
  ];

  it("tells what each file is, from bytes and from a stream", async () => {
    for (const [bytes, expected] of files) {
      const streamed = makeStream(bytes);
      for (const found of [
        detectKernelSync(bytes),
        await detectKernel(bytes),
        await detectKernel(streamed.stream),
      ]) {
        const { format, kernelFormat, architecture, entries, compression } = found;
        assert.deepEqual(
          [format, kernelFormat, architecture, entries, compression],
          expected,
          found.description,
        );
      }
    }
  });
});
