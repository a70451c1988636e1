/**
 * A load whose source fails midway, or that is aborted: every page that it touched is zero, all others are as they were, and
 * the error says so. Tried at every read and at every turn that a load gives.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DirectBootError } from "../../src/base/errors.js";
import * as decoders from "../../src/decoders/index.js";
import { loadLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync } from "../../src/linux/load-linux-sync.js";
import type { LoadLinuxSyncOptions } from "../../src/linux/options.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import { BlobSource } from "../../src/sources/blob.js";
import type { ChunkSupply } from "../../src/sources/chunk-supply.js";
import type { SyncSource } from "../../src/sources/source.js";
import { StreamSource } from "../../src/sources/stream.js";
import { concatSources } from "../../src/sources/views.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { compressible, makeImage, makeVmlinux, packBzImage } from "../support/packed-kernels.js";
import { asyncOnly, noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import {
  checkTakenBack,
  failureOf,
  MIB,
  noisyBanks,
  noisyMemory,
  PAGE,
  smallPlan,
} from "./support/guests.js";

const kernelBytes = noise(60_000, 3);
const initrdBytes = noise(9000, 4);
const RAM = 0x4_0000;

/** How the nth read goes wrong. */
type Fault = "throws" | "throws halfway" | "rejects late";

/** Bytes whose nth read goes wrong; counts over several sources. */
class Faults {
  reads = 0;
  readonly failAt: number;
  readonly fault: Fault;
  readonly error = new Error("the disk is gone");

  constructor(failAt: number, fault: Fault) {
    this.failAt = failAt;
    this.fault = fault;
  }

  over(bytes: Uint8Array, name: string): SyncSource {
    const readSync = (target: Uint8Array, offset: number): void => {
      const isBad = this.reads++ === this.failAt;
      const own = bytes.subarray(offset, offset + target.byteLength);
      if (isBad && this.fault !== "throws") target.set(own.subarray(0, own.byteLength >> 1));
      if (isBad) throw this.error;
      target.set(own);
    };
    return {
      name,
      byteLength: bytes.byteLength,
      readSync,
      read: async (target, offset) => {
        if (this.fault === "rejects late") await new Promise((resolve) => setImmediate(resolve));
        readSync(target, offset);
      },
    };
  }
}

/** The error says what failed, and what became of the pages. */
function checkSaid(failure: DirectBootError, what: string): void {
  assert.match(failure.message, /every page that was written is zero again/, what);
}

describe("a read that fails, whichever it is", () => {
  for (const [where, make] of [
    ["flat memory of the caller's", () => noisyMemory(RAM)],
    ["banks of a WebAssembly.Memory", () => noisyBanks(RAM)],
  ] as const) {
    it(`leaves ${where} as it was but for zero pages, by applyPlan and applyPlanSync`, async () => {
      for (const fault of ["throws", "throws halfway", "rejects late"] as const) {
        for (const isSync of [true, false]) {
          let n = 0;
          for (; ; n++) {
            const faults = new Faults(n, fault);
            const plan = smallPlan(faults.over(kernelBytes, "kernel"), faults.over(initrdBytes, "initrd"));
            const { memory, read, before } = make();
            const failure = await failureOf(() =>
              isSync ? applyPlanSync(plan, memory) : applyPlan(plan, memory),
            );
            if (failure === undefined) break;
            const what = `${fault}, read ${n}`;
            checkTakenBack(read(), before, what);
            checkSaid(failure, what);
            assert.match(failure.message, /the disk is gone/);
            assert.equal(
              memory.read(0x1000, PAGE).some((byte) => byte !== 0),
              false,
              what,
            );
          }
          // Two regions of the two sources at least, and nothing was missed.
          assert.ok(n >= 2, `${n}`);
        }
      }
    });
  }

  it("leaves sparse memory zero: a region in three buffers", async () => {
    for (let n = 0; n < 3; n++) {
      const memory = GuestMemory.create(new MemoryLayout([{ start: 0n, end: 5n << 30n }]));
      const faults = new Faults(n, "throws halfway");
      const region = faults.over(noise(2 * PAGE), "region");
      const first = smallPlan(faults.over(kernelBytes, "kernel"), faults.over(initrdBytes, "initrd"));
      first.wholeSource((1n << 30n) - 4096n, "across", region);
      const failure = await failureOf(() => applyPlan(first, memory));
      assert.ok(failure !== undefined);
      checkSaid(failure, `read ${n}`);
      for (const at of [0n, (1n << 30n) - 4096n, 1n << 30n]) {
        assert.ok(memory.read(at, at === 0n ? RAM : PAGE).every((byte) => byte === 0));
      }
    }
  });

  it("while a kernel is loaded: kernel, initrds, tree, plain and packed", async () => {
    const vmlinux = makeVmlinux(300_000);
    const kernels = { vmlinux, bzImage: packBzImage(ONE_OF_EACH[2] ?? assert.fail(), vmlinux) };
    for (const [name, bytes] of Object.entries(kernels)) {
      for (const isSync of [true, false]) {
        let n = 0;
        for (; ; n++) {
          const faults = new Faults(n, "throws halfway");
          const { memory, read, before } = noisyMemory(24 * MIB);
          const options: LoadLinuxSyncOptions = {
            kernel: faults.over(bytes, "kernel"),
            initrd: [faults.over(initrdBytes, "one"), faults.over(kernelBytes, "other")],
            commandLine: "quiet",
            memory,
            decoders,
          };
          const failure = await failureOf(() => (isSync ? loadLinuxSync(options) : loadLinux(options)));
          if (failure === undefined) break;
          const after = read();
          checkTakenBack(after, before, `${name}, read ${n}`);
          // Bit-identical, or the error says that pages are zero.
          const isSame = Buffer.compare(after, before) === 0;
          assert.equal(isSame, !/zero again/.test(failure.message), `${name}, read ${n}: ${failure.message}`);
        }
        assert.ok(n >= 3, `${n}`);
      }
    }
  });
});

/** A supply of chunks that does one thing at the nth pull. */
function supply(bytes: Uint8Array, n: number, fault: string, abort: () => void): ChunkSupply {
  let at = 0;
  let pulls = 0;
  return {
    pull: async () => {
      await Promise.resolve();
      const isBad = pulls++ === n;
      if (isBad && fault === "errors") throw new Error("connection reset");
      if (isBad && fault === "ends") return undefined;
      if (isBad && fault === "is no bytes") return "text";
      if (isBad && fault === "is aborted") abort();
      if (at >= bytes.byteLength) return undefined;
      const chunk = bytes.slice(at, at + 4000);
      at += chunk.byteLength;
      return chunk;
    },
    cancel: () => {},
  };
}

describe("a stream that breaks, at whichever chunk", () => {
  for (const fault of ["errors", "ends", "is no bytes", "is aborted"]) {
    it(fault, async () => {
      let n = 0;
      for (; ; n++) {
        const controller = new AbortController();
        const { signal } = controller;
        const source = new StreamSource(
          supply(kernelBytes, n, fault, () => controller.abort(new Error("enough"))),
          { byteLength: kernelBytes.byteLength, name: "kernel" },
        );
        const { memory, read, before } = noisyBanks(RAM);
        const plan = smallPlan(source, asyncOnly(initrdBytes));
        const failure = await failureOf(() => applyPlan(plan, memory, { signal }));
        if (failure === undefined) break;
        checkTakenBack(read(), before, `chunk ${n}`);
        checkSaid(failure, `chunk ${n}`);
        if (fault === "is aborted") {
          assert.equal(failure.code, "ABORTED");
          assert.equal(failure.cause, signal.reason);
        }
      }
      assert.equal(n, Math.ceil(kernelBytes.byteLength / 4000));
    });
  }

  it("as the body of a response, of a length that is right, too large, too small or not known", async () => {
    const vmlinux = makeVmlinux(100_000);
    for (const length of [undefined, vmlinux.byteLength, vmlinux.byteLength + 1, vmlinux.byteLength - 5000]) {
      for (let failAt = 0; failAt < 30; failAt++) {
        const error = new Error("connection reset");
        const { stream } = makeStream(vmlinux, { chunks: [5000], failAt, error });
        const headers: Record<string, string> = length === undefined ? {} : { "content-length": `${length}` };
        const { memory, read, before } = noisyMemory(24 * MIB);
        const kernel = new Response(stream, { headers });
        const failure = await failureOf(() => loadLinux({ kernel, memory }));
        if (failure === undefined) {
          // The last bytes of the file are no segment's.
          assert.ok(failAt > 20 && length !== vmlinux.byteLength - 5000, `${length}, ${failAt}`);
          continue;
        }
        const after = read();
        checkTakenBack(after, before, `${length}, chunk ${failAt}`);
        assert.equal(Buffer.compare(after, before) === 0, !/zero again/.test(failure.message));
      }
    }
  });
});

describe("an abort at the nth turn of a load", () => {
  const image = makeImage(3 * MIB);
  const vmlinux = makeVmlinux(300_000);
  const START = 0x4000_0000n;
  const tree = memoryTree(16 * MIB);
  const inputs: Readonly<Record<string, () => Parameters<typeof loadLinux>[0]["kernel"]>> = {
    "a source": () => asyncOnly(vmlinux),
    "a Blob": () => new Blob([vmlinux]),
    "a stream": () => makeStream(vmlinux, { chunks: [30_000] }).stream,
    "several sources": () =>
      concatSources([asyncOnly(vmlinux.subarray(0, 1000)), asyncOnly(vmlinux.subarray(1000))]),
    ...Object.fromEntries(
      ONE_OF_EACH.map((method) => {
        const packed = compress(method, image);
        return [method.format, () => new BlobSource(new Blob([packed]))];
      }),
    ),
  };
  for (const [name, kernel] of Object.entries(inputs)) {
    it(`of ${name}: ABORTED with the signal's reason, and memory as it was or zero`, async () => {
      for (const decompressInto of ["memory", "buffer"] as const) {
        let aborts = 0;
        for (let n = 0; n < 60; n++) {
          const isImage = ONE_OF_EACH.some(({ format }) => format === name);
          const memory = isImage
            ? GuestMemory.create(new MemoryLayout([{ start: START, end: START + BigInt(16 * MIB) }]))
            : noisyMemory(24 * MIB).memory;
          const start = isImage ? START : 0n;
          const bytes = Number(memory.ramSize);
          if (isImage) memory.write(START, noise(PAGE));
          const before = memory.read(start, bytes);
          const controller = new AbortController();
          const reason = new Error("enough");
          let turn = 0;
          let isOver = false;
          const next = (): void => {
            if (isOver) return;
            if (turn++ === n) controller.abort(reason);
            else setImmediate(next);
          };
          next();
          const initrd = isImage ? undefined : asyncOnly(initrdBytes);
          const deviceTree = isImage ? tree : undefined;
          const failure = await failureOf(() =>
            loadLinux({
              kernel: kernel(),
              initrd,
              deviceTree,
              memory,
              decompressInto,
              signal: controller.signal,
            }),
          );
          isOver = true;
          if (failure === undefined) break;
          aborts++;
          assert.equal(failure.code, "ABORTED", failure.message);
          assert.equal(failure.cause, reason);
          const after = memory.read(start, bytes);
          checkTakenBack(after, before, `turn ${n}`);
          const isSame = Buffer.compare(after, before) === 0;
          if (!isSame) assert.match(failure.message, /zero again/);
          // A claim or a decoder's scratch would keep this from the next load.
          assert.doesNotThrow(() => memory.checkUnclaimed());
        }
        assert.ok(aborts > 0, decompressInto);
      }
    });
  }
});

describe("a source whose bytes change between the plan and the load", () => {
  it("is loaded within the plan's ranges, or fails with memory as promised", async () => {
    const vmlinux = makeVmlinux(300_000);
    for (let n = 0; n < 8; n++) {
      let reads = 0;
      const other = noise(vmlinux.byteLength, n + 1);
      const kernel: SyncSource = {
        name: "changing",
        byteLength: vmlinux.byteLength,
        readSync: (target, offset) => {
          const from = reads++ >= n ? other : vmlinux;
          target.set(from.subarray(offset, offset + target.byteLength));
        },
        read: async (target, offset) => kernel.readSync(target, offset),
      };
      const { memory, read, before } = noisyMemory(24 * MIB);
      let ranges: readonly { start: bigint; end: bigint }[] = [];
      const failure = await failureOf(async () => {
        const guest = await loadLinux({ kernel, memory });
        ranges = guest.regions.map(({ range }) => range);
      });
      const after = read();
      if (failure !== undefined) checkTakenBack(after, before, `${n}`);
      for (const { start, end } of ranges)
        after.set(before.subarray(Number(start), Number(end)), Number(start));
      assert.ok(failure !== undefined || Buffer.compare(after, before) === 0);
    }
  });
});

describe("an initrd that is decompressed", () => {
  it("and is corrupt, cut off or too large leaves memory bit-identical: it is unpacked before", async () => {
    const cpio = compressible(200_000);
    cpio.set(new TextEncoder().encode("070701"));
    for (const method of ONE_OF_EACH) {
      const packed = compress(method, cpio);
      for (const [what, initrd, maxDecompressedSize] of [
        ["cut off", packed.subarray(0, packed.length - 20), undefined],
        ["too large", packed, 199_999],
      ] as const) {
        for (const isSync of [true, false]) {
          const { memory, read, before } = noisyMemory(24 * MIB);
          const options = {
            kernel: makeVmlinux(100_000),
            initrd,
            memory,
            decoders,
            decompressInitrd: true,
            maxDecompressedSize,
          };
          const failure = await failureOf(() => (isSync ? loadLinuxSync(options) : loadLinux(options)));
          assert.ok(failure !== undefined, `${method.format} ${what}`);
          assert.match(failure.code, /^DECOMPRESS_/);
          assert.equal(Buffer.compare(read(), before), 0);
        }
      }
    }
  });
});
