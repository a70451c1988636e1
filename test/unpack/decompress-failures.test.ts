/** Compressed input that is broken, too large or given up: typed errors, and memory as it was. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DirectBootError, type DirectBootErrorCode } from "../../src/base/errors.js";
import * as decoders from "../../src/decoders/index.js";
import { loadLinux, planLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync } from "../../src/linux/load-linux-sync.js";
import type { LinuxGuest } from "../../src/linux/loaded-linux.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { MemoryRange } from "../../src/memory/memory-range.js";
import { applyPlan } from "../../src/plan/apply.js";
import type { LoadProgress } from "../../src/plan/progress.js";
import { compress, METHODS, type Method, nameOf, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import {
  bzImageAround,
  makeImage,
  makeVmlinux,
  packBzImage,
  packZboot,
  withTrailer,
} from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { isSame, makeStream } from "../support/streams.js";

const MIB = 1 << 20;
const RAM = 32 * MIB;
const START = 0x4000_0000n;
const vmlinux = makeVmlinux();
const image = makeImage();
const deviceTree = memoryTree(RAM);

function methodOf(format: string): Method {
  const found = ONE_OF_EACH.find((method) => method.format === format);
  assert.ok(found !== undefined);
  return found;
}
const [GZIP, XZ, ZSTD, LZ4] = [methodOf("gzip"), methodOf("xz"), methodOf("zstd"), methodOf("lz4-legacy")];

/** Guest memory of an arm64 machine with something in it where no kernel goes. */
function usedMemory(): { memory: GuestMemory; before: Uint8Array } {
  const memory = GuestMemory.create(new MemoryLayout([new MemoryRange(START, START + BigInt(RAM))]));
  memory.write(START + 0x1000n, new Uint8Array(5000).fill(0xab));
  memory.write(START + BigInt(RAM - 5000), new Uint8Array(5000).fill(0xcd));
  return { memory, before: memory.read(START, RAM) };
}

const both = [
  [
    "synchronously",
    async (options: Parameters<typeof loadLinuxSync>[0]) => loadLinuxSync({ ...options, decoders }),
  ],
  ["asynchronously", async (options: Parameters<typeof loadLinuxSync>[0]) => loadLinux(options)],
] as const;

/** Loads an Image in both ways: the error has a code and a position, and memory is as it was. */
async function checkImageFails(
  kernel: Uint8Array,
  codes: readonly DirectBootErrorCode[],
  said = /at byte \d+ of|up to byte \d+/,
): Promise<void> {
  for (const decompressInto of ["memory", "buffer"] as const) {
    for (const [how, load] of both) {
      const { memory, before } = usedMemory();
      let error: unknown;
      try {
        await load({ kernel, memory, deviceTree, decompressInto });
      } catch (cause) {
        error = cause;
      }
      assert.ok(error instanceof DirectBootError, `${how}: ${error}`);
      assert.ok(codes.includes(error.code), `${how}: ${error.message}`);
      assert.match(error.message, said, how);
      assert.ok(isSame(memory.read(START, RAM), before), `${how}, ${decompressInto}: memory changed`);
      if (decompressInto === "buffer") assert.doesNotMatch(error.message, /zero again/);
    }
  }
}

describe("a compressed Image that is broken leaves memory as it was", () => {
  const BROKEN: readonly DirectBootErrorCode[] = [
    "DECOMPRESS_CORRUPT",
    "DECOMPRESS_TRUNCATED",
    "DECOMPRESS_CHECKSUM",
    "DECOMPRESS_WRONG_SIZE",
    "DECOMPRESS_TOO_LARGE",
    "DECOMPRESS_UNSUPPORTED",
  ];
  for (const method of ONE_OF_EACH) {
    it(`as a file of ${nameOf(method)}, cut off`, async () => {
      const packed = compress(method, image);
      await checkImageFails(packed.subarray(0, packed.length - 9), BROKEN);
      await checkImageFails(packed.subarray(0, packed.length >> 1), BROKEN);
    });
  }

  it("whose checksum is another", async () => {
    for (const [method, fromEnd] of [
      [GZIP, 8],
      [METHODS.find(({ format, args }) => format === "xz" && args.includes("--check=crc64")) ?? XZ, 60],
      [ZSTD, 2],
      [methodOf("lz4"), 2],
    ] as const) {
      const packed = compress(method, image);
      const at = packed.length - fromEnd;
      packed[at] = (packed[at] ?? 0) ^ 0x10;
      await checkImageFails(packed, ["DECOMPRESS_CHECKSUM", "DECOMPRESS_CORRUPT"]);
    }
  });

  it("that is a bomb: more than its image_size comes out", async () => {
    const bomb = Buffer.concat([makeImage(3 * MIB, 4 * MIB), new Uint8Array(200 * MIB)]);
    for (const method of [GZIP, ZSTD]) {
      await checkImageFails(
        compress(method, bomb),
        ["DECOMPRESS_TOO_LARGE", "GUEST_MEMORY_TOO_SMALL", "ARM64_BAD_IMAGE_SIZE"],
        /limit|more/,
      );
    }
  });

  it("that is a zboot image with another size behind the payload, or none", async () => {
    const zboot = packZboot(ZSTD, image);
    for (const change of [1, -1]) {
      const wrong = zboot.slice();
      const view = new DataView(wrong.buffer);
      view.setUint32(wrong.length - 4, image.length + change, true);
      await checkImageFails(wrong, ["DECOMPRESS_WRONG_SIZE"], new RegExp(`${image.length + change}`));
    }
    await checkImageFails(zboot.subarray(0, -4), ["ZBOOT_TRUNCATED"], /size behind/);
  });

  it("and midway in memory says that the pages are zero again", () => {
    const packed = compress(ZSTD, image);
    packed[packed.length - 1] = (packed.at(-1) ?? 0) ^ 1;
    assert.throws(
      () => loadLinuxSync({ kernel: packed, deviceTree, memory: RAM, decoders }),
      refusal("DECOMPRESS_CHECKSUM", "linux-kernel", "every page that was written is zero again"),
    );
  });

  it("wherever a byte is wrong", async () => {
    const small = makeImage(3 * MIB, 3 * MIB);
    for (const method of [XZ, ZSTD, LZ4, GZIP]) {
      const packed = compress(method, small);
      fc.assert(
        fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
          const wrong = packed.slice();
          wrong[at] = (wrong[at] ?? 0) ^ flip;
          const { memory, before } = usedMemory();
          let guest: LinuxGuest;
          try {
            guest = loadLinuxSync({ kernel: wrong, deviceTree, memory, decoders });
          } catch (cause) {
            assert.ok(cause instanceof DirectBootError, `${cause}`);
            assert.ok(isSame(memory.read(START, RAM), before));
            return;
          }
          // A format without a checksum can't tell, nor does a header's every bit count.
          assert.equal(guest.architecture, "aarch64");
        }),
        { numRuns: 15 },
      );
    }
  });
});

describe("the payload of a bzImage that is broken", () => {
  const whole = Buffer.concat([vmlinux, new Uint8Array(4000)]);
  const stream = compress(LZ4, whole);
  const load = (payload: Uint8Array, maxDecompressedSize?: number): unknown =>
    loadLinuxSync({ kernel: bzImageAround({ payload }), memory: RAM, decoders, maxDecompressedSize });

  it("is not what its trailer says", () => {
    for (const size of [whole.length - 1, whole.length + 1, 0, 5]) {
      assert.throws(
        () => load(withTrailer(LZ4, stream, size)),
        refusal("DECOMPRESS_WRONG_SIZE", `declared are ${size}`),
      );
    }
  });

  it("is cut off", () => {
    for (const method of ONE_OF_EACH.filter(({ format }) => format !== "lz4")) {
      const packed = compress(method, whole);
      const cut = withTrailer(method, packed.subarray(0, packed.length - 2000), whole.length);
      assert.throws(
        () => load(cut),
        (error) =>
          error instanceof DirectBootError &&
          /^(DECOMPRESS_(TRUNCATED|CORRUPT|WRONG_SIZE|CHECKSUM|TOO_LARGE)|GUEST_MEMORY_TOO_SMALL)$/.test(
            error.code,
          ),
        nameOf(method),
      );
    }
  });

  it("declares more than may be made, which is guest RAM unless the caller says so", () => {
    const declared = withTrailer(LZ4, stream, 0xffff_fff0);
    assert.throws(() => load(declared), refusal("GUEST_MEMORY_TOO_SMALL", `${RAM}`));
    assert.throws(
      () => load(withTrailer(LZ4, stream, whole.length), whole.length - 1),
      refusal("DECOMPRESS_TOO_LARGE", `${whole.length}`),
    );
    load(withTrailer(LZ4, stream, whole.length), whole.length);
  });

  it("is smaller than any stream", () => {
    for (let length = 1; length < 9; length++) {
      const kernel = bzImageAround({ payload: stream.subarray(0, length) });
      for (const decompress of [undefined, "host"] as const) {
        try {
          loadLinuxSync({ kernel, memory: RAM, decoders, decompress });
        } catch (cause) {
          assert.ok(cause instanceof DirectBootError, `${cause}`);
        }
      }
    }
  });
});

describe("maxDecompressedSize", () => {
  it("is the limit of a compressed file, however it comes", async () => {
    for (const method of ONE_OF_EACH) {
      const kernel = compress(method, vmlinux);
      const options = { kernel, memory: RAM, maxDecompressedSize: vmlinux.length - 1 };
      assert.throws(
        () => loadLinuxSync({ ...options, decoders }),
        refusal("DECOMPRESS_TOO_LARGE"),
        nameOf(method),
      );
      await assert.rejects(loadLinux(options), refusal("DECOMPRESS_TOO_LARGE"), nameOf(method));
      loadLinuxSync({ ...options, decoders, maxDecompressedSize: vmlinux.length });
    }
  });
});

describe("onProgress", () => {
  const cases = [
    ["a bzImage", packBzImage(XZ, vmlinux), {}],
    ["an ELF in wrappers", compress(XZ, compress(ZSTD, vmlinux)), {}],
    [
      "a bzImage and initrds",
      packBzImage(LZ4, vmlinux),
      { initrd: [compress(XZ, image), compress(GZIP, image)], decompressInitrd: true },
    ],
    ["an Image in a buffer", compress(XZ, image), { decompressInto: "buffer", deviceTree }],
  ] as const;
  for (const [name, kernel, more] of cases) {
    it(`tells of ${name}: first "decompress", then "load", never back`, async () => {
      for (const [how, load] of both) {
        const seen: LoadProgress[] = [];
        await load({
          kernel,
          memory: RAM,
          ...more,
          onProgress: (progress) => void (progress.phase === "read" || seen.push(progress)),
        } as Parameters<typeof loadLinuxSync>[0]);
        const first = seen.findIndex(({ phase }) => phase === "load");
        assert.ok(first > 0, how);
        for (const part of [seen.slice(0, first), seen.slice(first)]) {
          assert.equal(new Set(part.map(({ phase }) => phase)).size, 1);
          part.forEach(({ loaded, total = 0 }, index) => {
            assert.ok(
              loaded <= total && loaded >= (part[index - 1]?.loaded ?? 0),
              `${how} ${loaded}/${total}`,
            );
            assert.ok(total >= (part[index - 1]?.total ?? 0));
          });
          assert.equal(part.at(-1)?.loaded, part.at(-1)?.total);
        }
      }
    });
  }

  it("that throws ends the load with what it threw, at every call, and memory is as it was", async () => {
    const thrown = new RangeError("enough");
    for (const [kernel, decompressInto] of [
      [compress(XZ, image), "memory"],
      [compress(XZ, image), "buffer"],
      [compress(GZIP, image), "memory"],
      [packZboot(ZSTD, image), "memory"],
    ] as const) {
      for (const [how, load] of both) {
        for (let at = 1; ; at++) {
          const { memory, before } = usedMemory();
          let calls = 0;
          const onProgress = (): void => {
            if (++calls === at) throw thrown;
          };
          try {
            await load({ kernel, memory, deviceTree, decompressInto, onProgress } as Parameters<
              typeof loadLinuxSync
            >[0]);
          } catch (cause) {
            assert.equal(cause, thrown, `${how}: ${cause}`);
            assert.ok(isSame(memory.read(START, RAM), before), how);
            continue;
          }
          assert.ok(calls < at && at > 2);
          break;
        }
      }
    }
  });
});

describe("a signal", () => {
  const turns = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 0));
  };
  const kernels = {
    xz: compress(XZ, image),
    gzip: compress(GZIP, image),
    zboot: packZboot(ZSTD, image),
    stream: compress(LZ4, image),
  };
  it("ends a load whenever it comes, with ABORTED and memory as it was", async () => {
    let aborted = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(12),
        fc.constantFrom(...(["xz", "gzip", "zboot", "stream"] as const)),
        fc.constantFrom("memory" as const, "buffer" as const),
        async (count, name, decompressInto) => {
          const { memory, before } = usedMemory();
          const controller = new AbortController();
          const kernel =
            name === "stream" ? makeStream(kernels[name], { chunks: [5000] }).stream : kernels[name];
          const loading = loadLinux({
            kernel,
            memory,
            deviceTree,
            decompressInto,
            signal: controller.signal,
          });
          const settled = loading.then(
            () => undefined,
            (cause: unknown) => cause,
          );
          await turns(count);
          controller.abort(new Error("no more"));
          const cause = await settled;
          if (cause === undefined) return;
          aborted++;
          refusal("ABORTED")(cause);
          assert.ok(isSame(memory.read(START, RAM), before), `${name}, ${decompressInto}, turn ${count}`);
        },
      ),
      { numRuns: 60 },
    );
    assert.ok(aborted > 10, `${aborted}`);
  });

  it("that is aborted already ends it before anything is read", async () => {
    const { memory, before } = usedMemory();
    await assert.rejects(
      loadLinux({ kernel: kernels.xz, deviceTree, memory, signal: AbortSignal.abort() }),
      refusal("ABORTED"),
    );
    assert.ok(isSame(memory.read(START, RAM), before));
  });
});

describe("memory that grows while a kernel is decompressed into it", () => {
  it("ends the load with GUEST_MEMORY_DETACHED", async () => {
    const plan = await planLinux({ kernel: compress(XZ, image), deviceTree, memory: RAM });
    const memory = GuestMemory.create(plan.layout);
    let grown: unknown;
    const onProgress = ({ loaded }: LoadProgress): void => {
      if (loaded === 0 || grown !== undefined) return;
      grown = memory.place(START, 1)?.memory.grow(1);
    };
    await assert.rejects(applyPlan(plan, memory, { onProgress }), refusal("GUEST_MEMORY_DETACHED"));
  });
});
