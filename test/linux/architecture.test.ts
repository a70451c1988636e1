/** The option `architecture`: what the caller's machine is, held against what the kernel is for. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import {
  type GuestArchitecture,
  loadLinux,
  loadLinuxSync,
  planLinux,
  planLinuxSync,
} from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeElf32 } from "../support/elf32-maker.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { makeZboot } from "../support/zboot-maker.js";
import { ELF_KERNEL, makeArm64Image } from "./guest-reader.js";

const RAM = 24 << 20;
const ALL: readonly GuestArchitecture[] = ["x86_64", "i386", "aarch64"];
const deviceTree = memoryTree(RAM);
const elf32 = makeElf32({
  entry: 0x100_0000n,
  segments: [{ paddr: 0x100_0000n, offset: 84n, filesz: 16n, memsz: 0x5000n }],
});
/** XLF_KERNEL_64 clear in xloadflags (boot.rst). */
const bzImage32 = makeBzImage({ code: noise(4096), fields: [[0x236, 2, 0]] });
const image = makeArm64Image();

const KERNELS: readonly (readonly [name: string, kernel: Uint8Array, own: GuestArchitecture])[] = [
  ["an ELF64", ELF_KERNEL, "x86_64"],
  ["a bzImage", makeBzImage({ code: noise(4096) }), "x86_64"],
  ["a gzipped ELF64", gzipSync(ELF_KERNEL), "x86_64"],
  ["an ELF32", elf32, "i386"],
  ["a bzImage without a 64-bit entry", bzImage32, "i386"],
  ["an arm64 Image", image, "aarch64"],
  ["an Image.gz", gzipSync(image), "aarch64"],
  ["an EFI zboot image", makeZboot({ payload: gzipSync(image) }), "aarch64"],
];

describe("the architecture that a caller expects", () => {
  for (const [name, kernel, own] of KERNELS) {
    it(`is that of ${name}, which loads, or another, for which memory is not touched`, async () => {
      for (const architecture of [undefined, ...ALL]) {
        const memory = new Uint8Array(RAM).fill(0xa5);
        const options = { kernel, deviceTree, architecture, memory: memory.buffer };
        const stream = { ...options, kernel: makeStream(kernel).stream };
        if (architecture === undefined || architecture === own) {
          assert.equal(planLinuxSync(options).architecture, own);
          assert.equal((await loadLinux(stream)).architecture, own);
          assert.equal(loadLinuxSync(options).architecture, own);
          continue;
        }
        const refused = refusal(
          "ARCHITECTURE_MISMATCH",
          "kernel is for ",
          `architecture says ${architecture}`,
        );
        assert.throws(() => planLinuxSync(options), refused);
        assert.throws(() => loadLinuxSync(options), refused);
        await assert.rejects(planLinux(options), refused);
        await assert.rejects(loadLinux(stream), refused);
        assert.ok(memory.every((byte) => byte === 0xa5));
      }
    });
  }

  it("is missed before what only the kernel's own architecture needs is missed", () => {
    const options = { kernel: image, memory: RAM, architecture: "x86_64" } as const;
    assert.throws(() => planLinuxSync(options), refusal("ARCHITECTURE_MISMATCH", "arm64", "x86_64"));
    const x86 = { ...options, mtrrs: "variable", rngSeed: noise(8) } as const;
    assert.throws(() => planLinuxSync(x86), refusal("ARCHITECTURE_MISMATCH"));
  });

  it("does not change with the entry: a kernel that starts in 32 bits may be for x86-64", () => {
    const options = { kernel: makeBzImage({ code: noise(4096) }), memory: RAM, entry: "32" } as const;
    assert.equal(planLinuxSync({ ...options, architecture: "x86_64" }).entryMode, "protected32");
  });

  it("is one of three names", () => {
    for (const architecture of ["arm64", "x86", "amd64", "", 64, null]) {
      const options = { kernel: image, memory: RAM, architecture: architecture as "i386" };
      assert.throws(
        () => planLinuxSync(options),
        /^TypeError: architecture must be one of .*"x86_64".*"i386".*"aarch64"/,
      );
    }
  });
});
