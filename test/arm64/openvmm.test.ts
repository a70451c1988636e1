import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type KernelAndInitrdArm64Options,
  loadKernelAndInitrdArm64,
  setDirectBootRegistersArm64,
} from "../../src/arm64/openvmm.js";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { Aarch64Register } from "../../src/importers/importer.js";
import { type RecordedCall, RecordingImporter } from "../../src/importers/recording-importer.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import type { LoadInfo } from "../../src/plan/load-info.js";
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
});
