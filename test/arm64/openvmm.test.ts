import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type KernelAndInitrdArm64Options, loadKernelAndInitrdArm64 } from "../../src/arm64/openvmm.js";
import type { Aarch64Register } from "../../src/importers/importer.js";
import { type RecordedCall, RecordingImporter } from "../../src/importers/recording-importer.js";
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
  it("tells faults in OpenVMM's order", () => {
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
});
