/** Too little RAM is told as that, before anything about decompression, and the error says how much would do. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import {
  DirectBootError,
  GuestMemory,
  loadLinux,
  loadLinuxSync,
  MemoryLayout,
  planLinux,
  planLinuxSync,
} from "../../src/index.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

const MIB = 1 << 20;
const vmlinux = makeVmlinux(3 * MIB);
const [method] = ONE_OF_EACH;
assert.ok(method !== undefined);
const bzImage = packBzImage(method, vmlinux);

/** The MiB that the error advises. */
function advised(cause: unknown): number {
  assert.ok(cause instanceof DirectBootError, String(cause));
  const found = /(\d+) MiB would do/.exec(cause.cure)?.[1];
  assert.ok(found !== undefined, cause.message);
  return Number(found);
}

function refused(act: () => unknown): unknown {
  try {
    act();
  } catch (cause) {
    return cause;
  }
  return assert.fail("it was not refused");
}

describe("memory is looked at before a kernel is unpacked", () => {
  for (const [what, kernel] of [
    ["a vmlinux", vmlinux],
    ["a compressed vmlinux", compress(method, vmlinux)],
    ["a bzImage", bzImage],
  ] as const) {
    it(`${what}: sizes that are no whole pages are LAYOUT_BAD_SIZE`, async () => {
      for (const memory of [0, 4097, 1n]) {
        assert.throws(() => loadLinuxSync({ kernel, memory, decoders }), refusal("LAYOUT_BAD_SIZE"));
        await assert.rejects(loadLinux({ kernel, memory }), refusal("LAYOUT_BAD_SIZE"));
      }
      assert.throws(
        () => loadLinuxSync({ kernel, memory: new ArrayBuffer(5000), decoders }),
        refusal("LAYOUT_BAD_SIZE"),
      );
    });

    it(`${what}: banks outside of their buffer are GUEST_MEMORY_BAD_BANKS`, () => {
      const banks = [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: 2 * MIB }];
      const memory = { buffer: new ArrayBuffer(MIB), banks };
      assert.throws(() => loadLinuxSync({ kernel, memory, decoders }), refusal("GUEST_MEMORY_BAD_BANKS"));
    });
  }
});

describe("too little RAM for kernel and initrd", () => {
  for (const [what, kernel, initrd] of [
    ["a vmlinux", vmlinux, undefined],
    ["a vmlinux and an initrd", vmlinux, noise(5 * MIB)],
    ["a bzImage", bzImage, undefined],
    ["a bzImage and an initrd", bzImage, noise(5 * MIB)],
  ] as const) {
    it(`${what}: the error says how many MiB would do; so much does, and it is no cure to unpack more`, () => {
      for (const memory of [MIB, 2 * MIB, 17 * MIB, new ArrayBuffer(17 * MIB), new MemoryLayout(17 * MIB)]) {
        const cause = refused(() => planLinuxSync({ kernel, initrd, memory, decoders }));
        const mebibytes = advised(cause);
        assert.doesNotMatch(String(cause), /maxDecompressedSize/);
        planLinuxSync({ kernel, initrd, memory: mebibytes * MIB, decoders }).close();
      }
    });
  }

  it("is the least that does for a kernel that is not compressed", () => {
    const initrd = noise(5 * MIB);
    const mebibytes = advised(refused(() => planLinuxSync({ kernel: vmlinux, initrd, memory: 18 * MIB })));
    assert.throws(() => planLinuxSync({ kernel: vmlinux, initrd, memory: (mebibytes - 1) * MIB }));
  });

  it("of a memory that the caller made says the same", async () => {
    const memory = GuestMemory.create(17 * MIB);
    const cause = await loadLinux({ kernel: vmlinux, memory }).catch((thrown: unknown) => thrown);
    assert.ok(advised(cause) >= 19);
  });

  it("says nothing of size where RAM lies elsewhere, and size is not what is wrong", () => {
    const memory = new MemoryLayout([
      { start: 0, end: MIB },
      { start: 64 * MIB, end: 128 * MIB },
    ]);
    const cause = refused(() => planLinuxSync({ kernel: vmlinux, memory }));
    assert.ok(cause instanceof DirectBootError && !/would do/.test(cause.message));
  });

  it("of a compressed file is GUEST_MEMORY_TOO_SMALL, which names the file and its RAM, unless the caller set a limit", async () => {
    const kernel = compress(method, vmlinux);
    const small = { kernel, memory: MIB, decoders };
    assert.throws(() => planLinuxSync(small), refusal("GUEST_MEMORY_TOO_SMALL", "kernel unpacks", "1048576"));
    // A gzip file is read as far as its headers: the planner knows what it needs.
    const cause = await planLinux({ kernel, memory: MIB }).catch((thrown: unknown) => thrown);
    assert.ok(cause instanceof DirectBootError && cause.code.startsWith("GUEST_MEMORY_"), String(cause));
    assert.throws(
      () => planLinuxSync({ ...small, memory: 64 * MIB, maxDecompressedSize: MIB }),
      refusal("DECOMPRESS_TOO_LARGE", "maxDecompressedSize"),
    );
    const initrd = compress(method, noise(2 * MIB));
    assert.throws(
      () => planLinuxSync({ kernel: vmlinux, initrd, decompressInitrd: true, memory: MIB, decoders }),
      refusal("GUEST_MEMORY_TOO_SMALL", "initrd"),
    );
  });
});
