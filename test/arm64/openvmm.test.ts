import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type KernelAndInitrdArm64Options,
  loadKernelAndInitrdArm64,
  setDirectBootRegistersArm64,
} from "../../src/arm64/openvmm.js";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { Aarch64Register } from "../../src/importers/importer.js";
import { type RecordedCall, RecordingImporter } from "../../src/importers/recording-importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import type { LoadInfo } from "../../src/plan/load-info.js";
import { AARCH64_GUEST } from "../support/paths.js";
import { outcome, refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";

const MIB2 = 0x20_0000;
const START = 0x4000_0000;

interface ImageShape {
  readonly textOffset?: bigint;
  readonly imageSize?: bigint;
  readonly flags?: bigint;
  readonly magic?: number;
  readonly byteLength?: number;
}

/** An arm64 Image (booting.rst): 4 KiB pages, any placement, unless the shape says otherwise. */
function makeImage(shape: ImageShape = {}): Uint8Array<ArrayBuffer> {
  const bytes = noise(Math.max(64, shape.byteLength ?? 0x3000), 8);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8, shape.textOffset ?? 0n, true);
  view.setBigUint64(16, shape.imageSize ?? 0x5000n, true);
  view.setBigUint64(24, shape.flags ?? 0b1010n, true);
  view.setUint32(56, shape.magic ?? 0x644d5241, true);
  return bytes.slice(0, shape.byteLength ?? 0x3000);
}

function load(options: Partial<KernelAndInitrdArm64Options> = {}): {
  info: LoadInfo;
  calls: readonly RecordedCall<Aarch64Register>[];
} {
  const importer = new RecordingImporter<Aarch64Register>();
  const info = loadKernelAndInitrdArm64(importer, {
    kernel: makeImage(),
    kernelMinimumStartAddress: START,
    ...options,
  });
  return { info, calls: importer.calls };
}

describe("loadKernelAndInitrdArm64", () => {
  it("imports the whole Image at the start address and text_offset, in one import of image_size", () => {
    const kernel = makeImage({ textOffset: 0x8_0000n, imageSize: 0x5001n });
    const { info, calls } = load({ kernel });
    assert.deepEqual(calls, [
      {
        op: "pages",
        pageBase: BigInt(START + 0x8_0000) / 4096n,
        pageCount: 6,
        tag: "linux-kernel",
        acceptance: "Exclusive",
        data: kernel,
      },
    ]);
    assert.deepEqual(info.kernel, {
      gpa: BigInt(START),
      size: 0x6000n,
      entrypoint: BigInt(START + 0x8_0000),
    });
    assert.deepEqual([info.initrd, info.dtb], [undefined, undefined]);
  });

  it("with image_size 0 takes the file's length, and text_offset as it stands", () => {
    const { info } = load({ kernel: makeImage({ imageSize: 0n, byteLength: 0x3001, textOffset: 0x1000n }) });
    assert.deepEqual(info.kernel, { gpa: BigInt(START), size: 0x4000n, entrypoint: BigInt(START + 0x1000) });
  });

  it("puts the device tree at the next page, and the initrd at the next 2 MiB behind its unpadded end", () => {
    const aSize = fc.integer({ min: 64, max: 3 * MIB2 });
    const aTree = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.constantFrom(MIB2, MIB2 - 1, MIB2 + 1));
    fc.assert(
      fc.property(aSize, aTree, fc.boolean(), (imageSize, treeLength, hasTree) => {
        const kernel = makeImage({ imageSize: BigInt(imageSize), byteLength: 64 });
        const deviceTree = hasTree ? new Uint8Array(treeLength) : undefined;
        const { info, calls } = load({ kernel, deviceTree, initrd: { initrd: noise(100) } });
        const kernelEnd = START + Math.ceil(imageSize / 4096) * 4096;
        const end = hasTree ? kernelEnd + treeLength : kernelEnd;
        if (hasTree) assert.deepEqual(info.dtb, { start: BigInt(kernelEnd), end: BigInt(end) });
        else assert.equal(info.dtb, undefined);
        const initrdStart = BigInt(Math.ceil(end / MIB2) * MIB2);
        assert.deepEqual(info.initrd, { gpa: initrdStart, size: 100n });
        const tags = calls.map((call) => (call.op === "pages" ? call.tag : ""));
        const expected = ["linux-kernel", "linux-device-tree", "linux-initrd"];
        assert.deepEqual(tags, hasTree ? expected : expected.filter((tag) => tag !== "linux-device-tree"));
      }),
    );
  });

  it("puts an initrd where it is told, page-aligned", () => {
    assert.equal(
      load({ initrd: { initrd: noise(1), initrdAddress: 0x5000_1000 } }).info.initrd?.gpa,
      0x5000_1000n,
    );
    const off = (): unknown => load({ initrd: { initrd: noise(1), initrdAddress: 0x5000_1001 } });
    assert.throws(off, refusal("UNALIGNED_ADDRESS", "0x50001001"));
  });

  it("loads the embedded guest, its bytes where the entry point is", () => {
    const memory = GuestMemory.create(new MemoryLayout([{ start: START, end: START + 0x100_0000 }]));
    const importer = new GuestMemoryImporter<Aarch64Register>(memory);
    const options = { kernel: AARCH64_GUEST, kernelMinimumStartAddress: START };
    const info = loadKernelAndInitrdArm64(importer, options);
    const file = readFileSync(AARCH64_GUEST);
    assert.equal(info.kernel.entrypoint, BigInt(START) + file.readBigUInt64LE(8));
    assert.equal(Buffer.compare(memory.read(info.kernel.entrypoint, file.byteLength), file), 0);
    assert.equal(importer.regions.length, 1);
  });

  // SPEC §11.7: each row lacks the first fault of the row above.
  it("tells faults in upstream's order", () => {
    const rows: readonly (readonly [Partial<KernelAndInitrdArm64Options>, string])[] = [
      [
        { kernelMinimumStartAddress: START + 0x1000, kernel: makeImage({ byteLength: 63 }) },
        "ARM64_START_UNALIGNED",
      ],
      [{ kernel: makeImage({ byteLength: 63, magic: 0 }) }, "ARM64_READ_KERNEL_IMAGE"],
      [{ kernel: makeImage({ magic: 0, flags: 0b0101n }) }, "ARM64_BAD_IMAGE_MAGIC"],
      [{ kernel: makeImage({ flags: 0b0101n }) }, "ARM64_BIG_ENDIAN_KERNEL_IMAGE"],
      [{ kernel: makeImage({ flags: 0b0100n }) }, "ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED"],
      [{ kernel: makeImage({ flags: 0b0010n, textOffset: 1n }) }, "ARM64_LOW_MEMORY_KERNEL"],
      [{ kernel: makeImage({ textOffset: 1n }) }, "ARM64_BAD_IMAGE_SIZE"],
      [{}, "accepted"],
    ];
    for (const [options, code] of rows)
      assert.equal(
        outcome(() => load(options)),
        code,
      );
  });

  it("checks the start address before it reads the file", () => {
    const kernel = asyncOnly(makeImage());
    const act = (): unknown => load({ kernel, kernelMinimumStartAddress: 0x1000 });
    assert.throws(act, refusal("ARM64_START_UNALIGNED", "0x1000", "0x200000"));
    assert.throws(() => load({ kernel }), refusal("SOURCE_NOT_SYNCHRONOUS"));
  });

  it("takes 4 KiB pages only: unspecified is refused, too; reserved flags are ignored", () => {
    for (const pageSize of [0n, 2n, 3n]) {
      const act = (): unknown => load({ kernel: makeImage({ flags: 0b1000n | (pageSize << 1n) }) });
      assert.throws(act, refusal("ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED", `page size ${pageSize}`));
    }
    load({ kernel: makeImage({ flags: 0xffff_ffff_ffff_fffan }) });
  });

  it("refuses an Image that is longer than its image_size, and numbers that pass 2^64", () => {
    const act =
      (shape: ImageShape, start: number | bigint = START) =>
      (): unknown =>
        load({ kernel: makeImage(shape), kernelMinimumStartAddress: start });
    const longer = refusal("ARM64_BAD_IMAGE_SIZE", "0x3000", "0x2000");
    assert.throws(act({ imageSize: 0x2000n }), longer);
    // A page's worth of padding is the file's own.
    act({ imageSize: 0x2001n })();
    assert.throws(act({ imageSize: (1n << 64n) - 1n }), refusal("ADDRESS_OVERFLOW"));
    assert.throws(act({ imageSize: (1n << 64n) - 4096n }), refusal("ADDRESS_OVERFLOW"));
    assert.throws(act({ textOffset: (1n << 64n) - 4096n }), refusal("ADDRESS_OVERFLOW"));
    // Almost at the end of the address space is not beyond it: RAM is the importer's business.
    act({}, (1n << 64n) - BigInt(MIB2))();
  });

  it("touches nothing when anything is wrong", () => {
    const memory = noise(0x10_0000, 2);
    const before = memory.slice();
    const banks = [{ guestPhysicalAddress: START, byteOffset: 0, byteLength: 0x10_0000 }];
    const doomed: readonly (readonly [
      Partial<KernelAndInitrdArm64Options>,
      Parameters<typeof refusal>[0],
    ])[] = [
      [{ initrd: { initrd: noise(1), initrdAddress: START + 1 } }, "UNALIGNED_ADDRESS"],
      [{ initrd: { initrd: noise(1), initrdAddress: START } }, "IMPORT_OVERLAP"],
      [{ initrd: { initrd: noise(1) } }, "GUEST_MEMORY_NOT_RAM"],
      [{ deviceTree: new Uint8Array(0x10_0000) }, "GUEST_MEMORY_NOT_RAM"],
      [{ deviceTree: new Uint8Array(0) }, "IMPORT_EMPTY"],
      [{ kernel: makeImage({ imageSize: 0x10_0001n }) }, "GUEST_MEMORY_NOT_RAM"],
    ];
    for (const [options, code] of doomed) {
      const importer = new GuestMemoryImporter<Aarch64Register>(GuestMemory.attach(memory.buffer, banks));
      const act = (): unknown =>
        loadKernelAndInitrdArm64(importer, {
          kernel: makeImage(),
          kernelMinimumStartAddress: START,
          ...options,
        });
      assert.throws(act, refusal(code));
      assert.equal(Buffer.compare(memory, before), 0);
    }
  });
});

describe("setDirectBootRegistersArm64", () => {
  const kernel = { gpa: START, size: 0x1000, entrypoint: START + 0x8_0000 };

  function registers(dtb?: { start: number; end: number }): Aarch64Register[] {
    const importer = new RecordingImporter<Aarch64Register>();
    setDirectBootRegistersArm64(importer, { kernel, dtb });
    return importer.calls.map((call) => {
      assert.ok(call.op === "register");
      return call.register;
    });
  }

  it("sets PC, the MMU's registers and X0 in upstream's order", () => {
    assert.deepEqual(registers({ start: 0x4800_0000, end: 0x4800_1234 }), [
      { name: "pc", value: BigInt(START + 0x8_0000) },
      { name: "cpsr", value: 0x3c5n },
      { name: "sctlrEl1", value: 0x30d0_1804n },
      { name: "tcrEl1", value: 0x5_8080_3591n },
      { name: "ttbr0El1", value: 0n },
      { name: "ttbr1El1", value: 0n },
      { name: "vbarEl1", value: 0n },
      { name: "x0", value: 0x4800_0000n },
    ]);
  });

  it("sets no X0 without a device tree", () => {
    assert.ok(registers().every(({ name }) => name !== "x0"));
    assert.equal(registers().length, 7);
  });
});
