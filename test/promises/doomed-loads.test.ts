/** A load that fails for what the image, the memory or the options say leaves guest memory bit-identical. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ERROR_CODES } from "../../src/base/error-codes.js";
import * as decoders from "../../src/decoders/index.js";
import { detectKernelSync } from "../../src/linux/detect-kernel.js";
import { loadLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync } from "../../src/linux/load-linux-sync.js";
import type { LoadLinuxSyncOptions } from "../../src/linux/options.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeElf } from "../support/elf-maker.js";
import { makeImage, makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { failureOf, MIB, noisyBanks, noisyMemory } from "./support/guests.js";

const RAM = 24 * MIB;
const vmlinux = makeVmlinux(20_000);
const bzImage = makeBzImage({ code: noise(8192) });
const image = makeImage(20_000, 30_000);
const tree = memoryTree(RAM, 0);
const xz = compress(ONE_OF_EACH.find(({ format }) => format === "xz") ?? assert.fail(), vmlinux);

/** A number of a header, or of an option, at its limits and beyond. */
const number64 = fc.oneof(
  fc.bigInt(0n, (1n << 64n) - 1n),
  fc.constantFrom(0n, 1n, 4095n, 4096n, 1n << 20n, 1n << 24n, (1n << 32n) - 1n, 1n << 63n, (1n << 64n) - 1n),
);
const mutation = fc.record({ at: fc.nat(1200), value: number64, size: fc.constantFrom(1, 2, 4, 8) });

function mutate(
  bytes: Uint8Array,
  changes: readonly { at: number; value: bigint; size: number }[],
): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  for (const { at, value, size } of changes) {
    for (let i = 0; i < size && at + i < copy.byteLength; i++) {
      copy[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    }
  }
  return copy;
}

const badOptions: fc.Arbitrary<Partial<LoadLinuxSyncOptions>> = fc.record(
  {
    commandLine: fc.constantFrom("quiet", "a\0b", "x".repeat(5000)),
    initrd: fc.constantFrom(noise(100), new Uint8Array(0), noise(3 * MIB), [noise(5), noise(0)]),
    acpi: fc.constantFrom(
      { rsdp: noise(36), tables: noise(100) },
      { rsdp: new Uint8Array(0), tables: noise(10) },
      { rsdp: noise(36), tables: new Uint8Array(0) },
      { rsdp: noise(5000), tables: noise(10) },
    ),
    addresses: fc.record(
      {
        gdt: number64,
        zeroPage: number64,
        commandLine: number64,
        pageTables: number64,
        kernel: number64,
        initrd: number64,
      },
      { requiredKeys: [] },
    ),
    reservations: fc.constantFrom(
      [{ start: 0n, end: 1n << 30n, type: 2 }],
      [{ start: 5n, end: 1n, type: 2 }],
      [
        { start: 0n, end: 8192n, type: 2 },
        { start: 4096n, end: 8193n, type: 3 },
      ],
    ),
    entry: fc.constantFrom("64" as const, "32" as const, "pvh" as const),
    decompress: fc.constantFrom("host" as const, "guest" as const),
    maxDecompressedSize: fc.constantFrom(0, 100, 1 << 20),
    deviceTree: fc.constantFrom(tree, tree.subarray(0, 30), new Uint8Array(0)),
    physicalAddressWidth: fc.constantFrom(0, 36, 64),
  },
  { requiredKeys: [] },
);

describe("a doomed load", () => {
  for (const [where, make] of [
    ["flat memory", () => noisyMemory(RAM)],
    ["banks", () => noisyBanks(RAM)],
  ] as const) {
    it(`leaves ${where} bit-identical, whichever header or option dooms it`, async () => {
      const { memory, read, before } = make();
      const seen = new Set<string>();
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(vmlinux, bzImage, image, xz),
          fc.oneof(fc.constant([]), fc.array(mutation, { minLength: 1, maxLength: 3 })),
          badOptions,
          fc.constantFrom("sync", "async", "stream"),
          async (kernel, changes, options, how) => {
            const bytes = mutate(kernel, changes);
            // In a buffer first: what is corrupt inside a stream is another promise.
            const all = { deviceTree: tree, ...options, memory, decoders, decompressInto: "buffer" as const };
            const failure = await failureOf(() =>
              how === "sync"
                ? loadLinuxSync({ ...all, kernel: bytes })
                : loadLinux({ ...all, kernel: how === "async" ? bytes : makeStream(bytes).stream }),
            );
            if (failure === undefined) {
              // It was none: put back what was there.
              for (const { guestPhysicalAddress, byteOffset, byteLength, buffer } of memory.banks) {
                void guestPhysicalAddress;
                new Uint8Array(buffer).set(before.subarray(byteOffset, byteOffset + byteLength), byteOffset);
              }
              return;
            }
            seen.add(failure.code);
            const isMidway = /zero again/.test(failure.message);
            assert.ok(!isMidway || how === "stream", failure.message);
            if (isMidway) {
              for (const { byteOffset, byteLength, buffer } of memory.banks) {
                new Uint8Array(buffer).set(before.subarray(byteOffset, byteOffset + byteLength), byteOffset);
              }
              return;
            }
            assert.equal(Buffer.compare(read(), before), 0, failure.message);
          },
        ),
        { numRuns: 150 },
      );
      assert.ok(seen.size > 5, [...seen].join());
      for (const code of seen) assert.ok(code in ERROR_CODES);
    });
  }
});

describe("what was let through before", () => {
  it("acpi without a byte of RSDP or tables is SOURCE_EMPTY", () => {
    for (const acpi of [
      { rsdp: new Uint8Array(0), tables: noise(10) },
      { rsdp: noise(36), tables: new Uint8Array(0) },
    ]) {
      assert.throws(
        () => loadLinuxSync({ kernel: vmlinux, memory: RAM, acpi }),
        refusal("SOURCE_EMPTY", "acpi.", "leave acpi out"),
      );
    }
  });

  it("detectKernel tells what a kernel with damaged notes is: it has no PVH entry", () => {
    const kernel = makeElf({
      byteLength: 4000,
      entry: 0x100_0000n,
      segments: [
        { paddr: 0x100_0000n, memsz: 4096n },
        { type: 4, offset: 200n, filesz: 1n << 40n },
      ],
    });
    assert.deepEqual(detectKernelSync(kernel).entries, ["64"]);
    loadLinuxSync({ kernel, memory: RAM });
    assert.throws(() => loadLinuxSync({ kernel, memory: RAM, entry: "pvh" }), refusal("ELF_BAD_NOTE"));
  });
});
