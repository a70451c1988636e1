/** Compressed kernels are the same guests as the plain ones, whoever decompresses them and however the bytes come. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import * as decoders from "../../src/decoders/index.js";
import { detectKernel, detectKernelSync } from "../../src/linux/detect-kernel.js";
import { loadLinux, planLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync, planLinuxSync } from "../../src/linux/load-linux-sync.js";
import type { LinuxGuest } from "../../src/linux/loaded-linux.js";
import type { LoadLinuxOptions } from "../../src/linux/options.js";
import type { RegistersByName } from "../../src/linux/registers.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { applyPlanSync } from "../../src/plan/apply.js";
import type { Decoders } from "../../src/unpack/unpacking.js";
import { compress, METHODS, type Method, nameOf, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import {
  bzImageAround,
  compressible,
  makeImage,
  makeVmlinux,
  makeVmlinux32,
  packBzImage,
  packZboot,
  withTrailer,
} from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly } from "../support/sources.js";
import { isSame, makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { x86Registers } from "../support/x86-registers.js";

const MIB = 1 << 20;
const RAM = 32 * MIB;
const folder = tempFolder();
const vmlinux = makeVmlinux();
const vmlinux32 = makeVmlinux32();
const image = makeImage();
/** The formats of the kernel's build: all but the frames of LZ4. */
const PAYLOADS = ONE_OF_EACH.filter(({ format }) => format !== "lz4");

function methodOf(format: string): Method {
  const found = ONE_OF_EACH.find((method) => method.format === format);
  assert.ok(found !== undefined);
  return found;
}
const [GZIP, XZ, ZSTD, LZ4] = [methodOf("gzip"), methodOf("xz"), methodOf("zstd"), methodOf("lz4-legacy")];

/** All RAM, but for the setup header in the zero page. */
function ramOf(guest: LinuxGuest): Uint8Array {
  const { memory, layout } = guest;
  const registers: RegistersByName = guest.registers;
  const bytes = memory.read(layout.ram[0]?.range.start ?? 0n, RAM);
  if (registers.rsi !== undefined)
    bytes.fill(0, Number(registers.rsi) + 0x1f1, Number(registers.rsi) + 0x290);
  return bytes;
}

function checkSameGuest(guest: LinuxGuest, plain: LinuxGuest): void {
  assert.equal(guest.architecture, plain.architecture);
  assert.equal(guest.entryMode, plain.entryMode);
  assert.deepEqual(guest.registerList, plain.registerList);
  assert.deepEqual(guest.info, plain.info);
  assert.ok(isSame(ramOf(guest), ramOf(plain)), "RAM differs");
}

const plainX86 = loadLinuxSync({ kernel: vmlinux, memory: RAM, commandLine: "a=b" });
const arm64 = (kernel: Uint8Array) => ({ kernel, memory: RAM, deviceTree: memoryTree(RAM) });
const plainArm64 = loadLinuxSync(arm64(image));
const x86 = (kernel: Uint8Array) => ({ kernel, memory: RAM, commandLine: "a=b" });

describe("a compressed kernel is the same guest as the plain one", () => {
  for (const method of ONE_OF_EACH) {
    it(`as a file of ${nameOf(method)}`, async () => {
      const packed = compress(method, image);
      for (const decompressInto of ["memory", "buffer"] as const) {
        const options = { ...arm64(packed), decompressInto };
        const guest = loadLinuxSync({ ...options, decoders });
        checkSameGuest(guest, plainArm64);
        assert.deepEqual([guest.decompression?.by, guest.decompression?.format], ["host", method.format]);
        assert.equal(guest.decompression?.compressedBytes, packed.length);
        checkSameGuest(await loadLinux(options), plainArm64);
      }
    });
  }

  it("as a file that holds an ELF", async () => {
    const kernel = compress(XZ, vmlinux);
    checkSameGuest(loadLinuxSync({ ...x86(kernel), decoders }), plainX86);
    checkSameGuest(await loadLinux(x86(kernel)), plainX86);
  });

  it("as a bzImage, relocations behind the ELF", async () => {
    const kernel = packBzImage(LZ4, vmlinux);
    const guest = loadLinuxSync({ ...x86(kernel), decoders });
    checkSameGuest(guest, plainX86);
    const { by, format, bytes } = guest.decompression ?? {};
    assert.deepEqual([by, format, bytes], ["host", "lz4-legacy", vmlinux.length + 4000]);
    checkSameGuest(await loadLinux(x86(kernel)), plainX86);
  });

  it("as an EFI zboot image", async () => {
    const kernel = packZboot(ZSTD, image);
    const guest = loadLinuxSync({ ...arm64(kernel), decoders });
    checkSameGuest(guest, plainArm64);
    const { by, format, bytes } = guest.decompression ?? {};
    assert.deepEqual([by, format, bytes], ["host", "zstd", image.length]);
    checkSameGuest(await loadLinux(arm64(kernel)), plainArm64);
  });

  it("in whatever format its payload is", () => {
    for (const method of PAYLOADS) {
      const { compression } = detectKernelSync(packZboot(method, image), { decoders });
      assert.equal(compression, method.format);
      const { decompression } = planLinuxSync({ ...x86(packBzImage(method, vmlinux)), decoders });
      assert.deepEqual([decompression?.by, decompression?.format], ["host", method.format]);
    }
  });

  it("whatever filters an .xz file has, also where they change the Image's first bytes", async () => {
    const changing = makeImage();
    // BL, ADRP, CALL: what the filters look for.
    new DataView(changing.buffer).setUint32(100, 0x9400_1234, true);
    new DataView(changing.buffer).setUint32(104, 0x9000_1234, true);
    changing[16 + 8 + 40] = 0xe8;
    for (const kernel of [image, changing]) {
      const plain = loadLinuxSync(arm64(kernel));
      for (const method of METHODS.filter(({ format }) => format === "xz")) {
        const packed = compress(method, kernel);
        checkSameGuest(loadLinuxSync({ ...arm64(packed), decoders }), plain);
      }
    }
  });

  it("from bytes, a path, a Blob, an asynchronous source, and streams with and without a length", async () => {
    for (const [packed, plain] of [
      [compress(XZ, image), plainArm64],
      [packZboot(ZSTD, image), plainArm64],
      [compress(GZIP, image), plainArm64],
      [packBzImage(LZ4, vmlinux), plainX86],
      [compress(ZSTD, vmlinux), plainX86],
    ] as const) {
      const path = join(folder, "kernel");
      writeFileSync(path, packed);
      const options = plain === plainX86 ? x86(packed) : arm64(packed);
      checkSameGuest(loadLinuxSync({ ...options, kernel: path, decoders }), plain);
      const stream = (): ReadableStream<Uint8Array> =>
        makeStream(packed, { chunks: [70_000, 1, 300] }).stream;
      const inputs: LoadLinuxOptions["kernel"][] = [
        packed.slice().buffer,
        path,
        new Blob([packed]),
        asyncOnly(packed),
        stream(),
        new Response(stream()),
        new Response(packed.slice(), { headers: { "content-length": `${packed.length}` } }),
      ];
      for (const kernel of inputs) {
        checkSameGuest(await loadLinux({ ...options, kernel }), plain);
      }
      checkSameGuest(await loadLinux({ ...options, kernel: stream(), decompressInto: "buffer" }), plain);
    }
  });

  it("in wrappers around wrappers, streams of unknown length too", async () => {
    for (const kernel of [
      compress(GZIP, compress(XZ, image)),
      compress(XZ, compress(GZIP, image)),
      compress(GZIP, packZboot(ZSTD, image)),
      compress(ZSTD, packZboot(GZIP, image)),
    ]) {
      checkSameGuest(loadLinuxSync({ ...arm64(kernel), decoders }), plainArm64);
      checkSameGuest(await loadLinux({ ...arm64(kernel), kernel: makeStream(kernel).stream }), plainArm64);
    }
    const bzImage = compress(GZIP, packBzImage(XZ, vmlinux));
    checkSameGuest(await loadLinux({ ...x86(bzImage), kernel: makeStream(bzImage).stream }), plainX86);
    const four = [GZIP, XZ, ZSTD, GZIP].reduce((bytes, method) => compress(method, bytes), image);
    assert.throws(
      () => loadLinuxSync({ kernel: four, memory: RAM, decoders }),
      refusal("DECOMPRESS_UNSUPPORTED", "still"),
    );
  });

  it("though the time in a gzip header reads as a zboot image's magic", async () => {
    const kernel = gzipSync(vmlinux);
    kernel.set(Buffer.from("zimg"), 4);
    checkSameGuest(loadLinuxSync(x86(kernel)), plainX86);
    checkSameGuest(await loadLinux(x86(kernel)), plainX86);
  });

  it("in memory that the caller made, of any kind", () => {
    const kernel = compress(ZSTD, image);
    for (const buffer of [new ArrayBuffer(RAM), new WebAssembly.Memory({ initial: RAM / 65536 })]) {
      checkSameGuest(loadLinuxSync({ ...arm64(kernel), memory: buffer, decoders }), plainArm64);
    }
  });

  it("by a plan that is applied again and again, also over what a guest has left", () => {
    const plan = planLinuxSync({ ...arm64(compress(ZSTD, image)), decoders });
    const memory = GuestMemory.create(plan.layout);
    memory.write(0x4000_0000, new Uint8Array(RAM).fill(0xee));
    memory.zero(0x4000_0000, 0x20_0000);
    applyPlanSync(plan, memory);
    const { gpa, size } = plan.info.kernel;
    const kernel = memory.read(gpa, Number(size));
    assert.ok(isSame(kernel.subarray(0, image.length), image));
    assert.ok(kernel.subarray(image.length).every((byte) => byte === 0));
    const again = GuestMemory.create(plan.layout);
    applyPlanSync(plan, again);
    assert.ok(isSame(again.read(gpa, Number(size)), kernel));
  });
});

describe("a compressed Image", () => {
  it("is decompressed where it is to lie, and nowhere else", () => {
    const never = (): never => {
      throw new Error("a buffer was made");
    };
    for (const method of ONE_OF_EACH.filter(({ format }) => format !== "bzip2" && format !== "lzo")) {
      const places: WebAssembly.Memory[] = [];
      const watched: Decoders = {
        ...decoders,
        tasks: {
          decode: never,
          decodeInto: (format, input, target, options, onProgress) => {
            assert.ok(target.scratchOffset !== undefined);
            places.push(target.memory);
            return decoders.tasks.decodeInto(format, input, target, options, onProgress);
          },
        },
      };
      const guest = loadLinuxSync({ ...arm64(compress(method, image)), decoders: watched });
      checkSameGuest(guest, plainArm64);
      // The first, of which one step was made, was to look at its header.
      assert.equal(places.length, 2, nameOf(method));
      assert.equal(places[1]?.buffer, guest.memory.view(guest.info.kernel.entrypoint, 1).buffer);
    }
  });

  it("is decompressed once into one buffer with decompressInto: buffer", () => {
    let made = 0;
    const never = (): never => {
      throw new Error("it was made in place");
    };
    const watched: Decoders = {
      ...decoders,
      tasks: {
        decodeInto: never,
        decode: (...args) => {
          made++;
          return decoders.tasks.decode(...args);
        },
      },
    };
    const kernel = compress(ZSTD, image);
    checkSameGuest(
      loadLinuxSync({ ...arm64(kernel), decoders: watched, decompressInto: "buffer" }),
      plainArm64,
    );
    assert.equal(made, 1);
  });
});

describe("the decompression of a bzImage", () => {
  const gzipped = packBzImage(GZIP, vmlinux);
  const lz4 = packBzImage(LZ4, vmlinux);

  it("is the host's by default where it has decoders, else the guest's; plan and guest say so", async () => {
    const by = (plan: { decompression: { by: string } | undefined }): string | undefined =>
      plan.decompression?.by;
    assert.equal(by(await planLinux({ kernel: lz4, memory: RAM })), "host");
    assert.equal(by(await loadLinux({ kernel: lz4, memory: RAM })), "host");
    assert.equal(by(planLinuxSync({ kernel: lz4, memory: RAM, decoders })), "host");
    assert.equal(by(planLinuxSync({ kernel: lz4, memory: RAM })), "guest");
    assert.equal(by(loadLinuxSync({ kernel: gzipped, memory: RAM })), "guest");
    const guest = await loadLinux({ kernel: lz4, memory: RAM, decompress: "guest" });
    assert.equal(by(guest), "guest");
    assert.deepEqual(JSON.parse(JSON.stringify(guest)).decompression, {
      by: "guest",
      format: "lz4-legacy",
      compressedBytes: guest.decompression?.compressedBytes,
      bytes: vmlinux.length + 4000,
    });
  });

  it("is nobody's where nothing is compressed", () => {
    assert.equal(loadLinuxSync({ kernel: vmlinux, memory: RAM, decoders }).decompression, undefined);
  });

  it("stays the guest's where the decoders don't know the payload, or it holds no ELF", async () => {
    const raw = compressible(3 * MIB);
    for (const payload of [
      withTrailer(ZSTD, compress(ZSTD, raw), raw.length),
      Uint8Array.from([0x4b, 0x45, 0x52, 0x4e, ...new Uint8Array(500)]),
    ]) {
      const kernel = bzImageAround({ payload });
      const guest = await loadLinux({ kernel, memory: RAM });
      assert.equal(guest.decompression?.by, "guest");
      await assert.rejects(
        loadLinux({ kernel, memory: RAM, decompress: "host" }),
        refusal(payload.length > 600 ? "NO_KERNEL_INSIDE" : "DECOMPRESS_UNSUPPORTED"),
      );
    }
  });

  it("stays the guest's where WebAssembly is missing", async () => {
    const before = decoders.decoders.implementation;
    decoders.decoders.use("javascript");
    try {
      assert.equal((await loadLinux({ kernel: lz4, memory: RAM })).decompression?.by, "guest");
      await assert.rejects(
        loadLinux({ kernel: lz4, memory: RAM, decompress: "host" }),
        refusal("DECOMPRESS_UNSUPPORTED", "WebAssembly"),
      );
      checkSameGuest(await loadLinux(x86(gzipped)), plainX86);
    } finally {
      if (before === "wasm") decoders.decoders.use("auto");
    }
  });

  it("stays the guest's for a kernel whose address the caller has chosen", async () => {
    const addresses = { kernel: 0x40_0000 };
    const guest = await loadLinux({ kernel: lz4, memory: RAM, addresses });
    assert.equal(guest.decompression?.by, "guest");
    assert.equal(guest.info.kernel.gpa, 0x40_0000n);
    await assert.rejects(
      loadLinux({ kernel: lz4, memory: RAM, addresses, decompress: "host" }),
      refusal("OPTION_NOT_FOR_KERNEL", "addresses.kernel"),
    );
  });

  it("needs decoders where the host is asked for, but for gzip in Node", () => {
    const options = { memory: RAM, decompress: "host" } as const;
    assert.throws(
      () => loadLinuxSync({ ...options, kernel: lz4 }),
      refusal("DECOMPRESS_UNSUPPORTED", "LZ4", "give the option decoders"),
    );
    checkSameGuest(loadLinuxSync({ ...x86(gzipped), ...options }), plainX86);
  });

  it("is refused as the host's where the header does not say where the payload is", () => {
    const kernel = bzImageAround({ payload: compress(LZ4, vmlinux), fields: [[0x206, 2, 0x207]] });
    assert.throws(
      () => loadLinuxSync({ kernel, memory: RAM, decoders, decompress: "host" }),
      refusal("DECOMPRESS_UNSUPPORTED", "2.08", "guest"),
    );
  });

  it("takes host and guest for an answer, and nothing else", () => {
    for (const wrong of ["Host", 1, null]) {
      // @ts-expect-error: what a caller without types may give
      assert.throws(() => loadLinuxSync({ kernel: lz4, memory: RAM, decompress: wrong }), TypeError);
      // @ts-expect-error: the same
      assert.throws(() => loadLinuxSync({ kernel: lz4, memory: RAM, decompressInto: wrong }), TypeError);
    }
  });
});

describe("the entry of a bzImage that the host decompresses", () => {
  const kernel = packBzImage(LZ4, vmlinux);
  const kernel32 = packBzImage(XZ, vmlinux32, { xloadflags: 0 });

  it("is the ELF's own: 64-bit, or 32-bit for an ELF32", () => {
    const long = loadLinuxSync({ kernel, memory: RAM, decoders });
    assert.deepEqual([long.entryMode, x86Registers(long).rip], ["long64", 0x100_0123n]);
    const short = loadLinuxSync({ kernel: kernel32, memory: RAM, decoders });
    assert.deepEqual([short.entryMode, x86Registers(short).rip], ["protected32", 0x100_0123n]);
    checkSameGuest(short, loadLinuxSync({ kernel: vmlinux32, memory: RAM }));
    assert.equal(
      loadLinuxSync({ kernel: kernel32, memory: RAM, decoders, entry: "32" }).decompression?.by,
      "host",
    );
  });

  it("stays with the guest for the 32-bit entry of a 64-bit kernel, also where the header does not tell the bits", () => {
    for (const xloadflags of [3, 0]) {
      const guest = loadLinuxSync({
        kernel: packBzImage(LZ4, vmlinux, { xloadflags }),
        memory: RAM,
        decoders,
        entry: "32",
      });
      assert.deepEqual([guest.decompression?.by, guest.entryMode], ["guest", "protected32"]);
    }
  });

  it("is refused where the kernel inside has none of the kind", () => {
    const host = { memory: RAM, decoders, decompress: "host" } as const;
    for (const options of [
      { ...host, kernel, entry: "32" },
      { ...host, kernel: kernel32, entry: "64" },
      { ...host, kernel, entry: "pvh" },
      { memory: RAM, decoders, kernel, entry: "pvh" },
      { memory: RAM, decoders, kernel, entry: "pvh", decompress: "guest" },
      { memory: RAM, decoders, kernel: kernel32, entry: "64" },
    ] as const) {
      assert.throws(() => loadLinuxSync(options), refusal("X86_ENTRY_NOT_AVAILABLE"));
    }
  });
});

describe("the setup header of a bzImage that the host decompresses", () => {
  const header = (xloadflags: number): Uint8Array =>
    packBzImage(LZ4, vmlinux, {
      xloadflags,
      fields: [
        [0x238, 4, 99],
        [0x22c, 4, 0x1bf_ffff],
      ],
    });

  it("goes into boot_params", () => {
    const kernel = header(3);
    const guest = loadLinuxSync({ kernel, memory: RAM, decoders });
    const page = guest.memory.read(x86Registers(guest).rsi ?? 0n, 4096);
    // hdr.boot_flag and header, then from initrd_addr_max to payload_length.
    assert.ok(isSame(page.subarray(0x1fe, 0x208), kernel.subarray(0x1fe, 0x208)));
    assert.ok(isSame(page.subarray(0x22c, 0x250), kernel.subarray(0x22c, 0x250)));
  });

  it("limits the command line", () => {
    const options = { kernel: header(3), memory: RAM, decoders };
    loadLinuxSync({ ...options, commandLine: "x".repeat(99) });
    assert.throws(
      () => loadLinuxSync({ ...options, commandLine: "x".repeat(100) }),
      refusal("COMMAND_LINE_TOO_LONG", "99"),
    );
  });

  it("limits the initrd, unless it may lie above 4 GiB", () => {
    const at = (xloadflags: number): LinuxGuest =>
      loadLinuxSync({
        kernel: header(xloadflags),
        memory: RAM,
        decoders,
        initrd: new Uint8Array(4096).fill(1),
        addresses: { initrd: 0x1c0_0000 },
      });
    assert.equal(at(3).info.initrd?.gpa, 0x1c0_0000n);
    assert.throws(() => at(1), refusal("INITRD_TOO_HIGH", "0x1c00000"));
  });
});

describe("the synchronous functions without decoders", () => {
  it("take gzip in Node", () => {
    checkSameGuest(loadLinuxSync(x86(compress(GZIP, vmlinux))), plainX86);
    checkSameGuest(loadLinuxSync(arm64(compress(GZIP, image))), plainArm64);
    checkSameGuest(loadLinuxSync(arm64(packZboot(GZIP, image))), plainArm64);
  });

  it("refuse other formats, and say what to do", () => {
    for (const method of ONE_OF_EACH.filter(({ format }) => format !== "gzip")) {
      assert.throws(
        () => loadLinuxSync(arm64(compress(method, image))),
        refusal("DECOMPRESS_UNSUPPORTED", "directboot/decoders", "asynchronous"),
      );
    }
  });
});

describe("detectKernel", () => {
  it("tells what is in a compressed file or zboot image, however it comes", async () => {
    for (const [input, architecture, format] of [
      [compress(XZ, vmlinux), "x86_64", "elf64"],
      [compress(XZ, vmlinux32), "i386", "elf32"],
      [compress(XZ, image), "aarch64", "arm64-image"],
      [packZboot(XZ, image), "aarch64", "arm64-image"],
    ] as const) {
      for (const told of [
        await detectKernel(input),
        await detectKernel(makeStream(input).stream),
        detectKernelSync(input, { decoders }),
      ]) {
        assert.deepEqual(
          [told.architecture, told.kernelFormat, told.compression],
          [architecture, format, "xz"],
        );
      }
    }
  });

  it("tells every format", () => {
    for (const method of ONE_OF_EACH) {
      const { architecture, compression } = detectKernelSync(compress(method, image), { decoders });
      assert.deepEqual([architecture, compression], ["aarch64", method.format]);
    }
  });

  it("tells without decoders what a file is, and of gzip what is in it", () => {
    const { format, architecture, compression } = detectKernelSync(compress(XZ, vmlinux));
    assert.deepEqual([format, architecture, compression], ["xz", undefined, "xz"]);
    assert.equal(detectKernelSync(packZboot(ZSTD, image)).compression, "zstd");
    assert.equal(detectKernelSync(compress(GZIP, image)).architecture, "aarch64");
  });
});
