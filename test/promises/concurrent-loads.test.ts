/** Two loads into one memory: the second is told so before anything changes, whatever stands for the memory. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GuestMemoryImporter } from "../../src/importers/guest-memory-importer.js";
import type { X86Register } from "../../src/importers/importer.js";
import { loadLinux } from "../../src/linux/load-linux.js";
import { loadLinuxSync } from "../../src/linux/load-linux-sync.js";
import { GuestMemory } from "../../src/memory/guest-memory.js";
import { MemoryLayout } from "../../src/memory/memory-layout.js";
import { applyPlan, applyPlanSync } from "../../src/plan/apply.js";
import { BytesSource } from "../../src/sources/bytes.js";
import type { Source } from "../../src/sources/source.js";
import { compress, ONE_OF_EACH } from "../decoders/tools.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeImage, makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { isZero, MIB, smallPlan } from "./support/guests.js";

const vmlinux = makeVmlinux(MIB);
const RAM = 32 * MIB;
const busy = refusal("GUEST_MEMORY_BUSY", "another load", "await that load first");

/** A source whose reads wait until they are let go on. */
function held(bytes: Uint8Array): { source: Source; letGo: () => void; isReading: Promise<void> } {
  let letGo = (): void => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let began = (): void => {};
  const isReading = new Promise<void>((resolve) => {
    began = resolve;
  });
  const source: Source = {
    name: "held",
    byteLength: bytes.byteLength,
    read: async (target, offset) => {
      began();
      await gate;
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
  };
  return { source, letGo, isReading };
}

const initrd = new BytesSource(noise(9000, 4));
const quick = (): ReturnType<typeof smallPlan> => smallPlan(new BytesSource(noise(50_000, 3)), initrd);

describe("a second load into one memory", () => {
  it("is refused from the first call of loadLinux on, before it reads or writes anything", async () => {
    for (const memory of [
      GuestMemory.create(RAM),
      GuestMemory.create(6n << 30n),
      new WebAssembly.Memory({ initial: RAM / 65536 }),
      new ArrayBuffer(RAM),
      new SharedArrayBuffer(RAM),
      {
        buffer: new ArrayBuffer(2 * RAM),
        banks: [{ guestPhysicalAddress: 0, byteOffset: RAM, byteLength: RAM }],
      },
    ] as const) {
      const first = held(vmlinux);
      const loading = loadLinux({ kernel: first.source, memory });
      let reads = 0;
      const kernel: Source = { ...asyncOnly(vmlinux), read: async () => void reads++ };
      await assert.rejects(loadLinux({ kernel, memory }), busy);
      assert.equal(reads, 0);
      first.letGo();
      const guest = await loading;
      const alone = loadLinuxSync({ kernel: vmlinux, memory: guest.layout });
      const start = guest.info.kernel.gpa;
      assert.equal(guest.memory.crc32(start, MIB), alone.memory.crc32(start, MIB));
      // It is over: the next may come.
      await loadLinux({ kernel: vmlinux, memory });
    }
  });

  it("is refused whichever of the two objects stands for its bytes", async () => {
    const wasm = new WebAssembly.Memory({ initial: 16 });
    const shared = new WebAssembly.Memory({ initial: 16, maximum: 32, shared: true });
    const oldShared = shared.buffer;
    const attached = GuestMemory.attach(shared);
    shared.grow(1);
    const created = GuestMemory.create(MIB);
    const sparse = GuestMemory.create(new MemoryLayout([{ start: 0n, end: 5n << 30n }]));
    const bank = sparse.banks[0]?.buffer;
    assert.ok(bank instanceof ArrayBuffer && oldShared instanceof SharedArrayBuffer);
    const createdBuffer = created.banks[0]?.buffer;
    assert.ok(createdBuffer instanceof ArrayBuffer);
    const pairs: readonly (readonly [GuestMemory, GuestMemory])[] = [
      [GuestMemory.attach(wasm), GuestMemory.attach(wasm)],
      [GuestMemory.attach(wasm), GuestMemory.attach(wasm.buffer)],
      [attached, GuestMemory.attach(shared)],
      [attached, GuestMemory.attach(oldShared)],
      [created, GuestMemory.attach(createdBuffer)],
      [sparse, GuestMemory.attach(bank)],
      [
        GuestMemory.attach(wasm, [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: 0x4_0000 }]),
        GuestMemory.attach(wasm, [
          { guestPhysicalAddress: 0, byteOffset: 0x6_0000, byteLength: 0x4_0000 },
          { guestPhysicalAddress: 0x8_0000, byteOffset: 0x3_f000, byteLength: 0x1000 },
        ]),
      ],
    ];
    for (const [one, other] of [...pairs, ...pairs.map(([a, b]) => [b, a] as const)]) {
      const first = held(noise(50_000, 3));
      const loading = applyPlan(smallPlan(first.source, initrd), one);
      await first.isReading;
      const before = Buffer.from(other.read(0, 0x4_0000));
      await assert.rejects(applyPlan(quick(), other), busy);
      assert.throws(() => applyPlanSync(quick(), other), busy);
      assert.equal(Buffer.compare(other.read(0, 0x4_0000), before), 0);
      first.letGo();
      await loading;
      applyPlanSync(quick(), other);
    }
  });

  it("is none if it goes to other bytes of the same buffer", async () => {
    const wasm = new WebAssembly.Memory({ initial: 16 });
    const [one, other] = [0, 0x8_0000].map((byteOffset) =>
      GuestMemory.attach(wasm, [{ guestPhysicalAddress: 0, byteOffset, byteLength: 0x8_0000 }]),
    );
    assert.ok(one !== undefined && other !== undefined);
    const first = held(noise(50_000, 3));
    const loading = applyPlan(smallPlan(first.source, initrd), one);
    await applyPlan(quick(), other);
    first.letGo();
    await loading;
    assert.equal(one.crc32(0, 0x8_0000), other.crc32(0, 0x8_0000));
  });

  it("by one importer or two, by OpenVMM's calls or by parts, is refused", async () => {
    const memory = GuestMemory.create(MIB);
    const first = held(noise(50_000, 3));
    const importer = new GuestMemoryImporter<X86Register>(memory);
    const loading = applyPlan(smallPlan(first.source, initrd), importer);
    await first.isReading;
    await assert.rejects(applyPlan(quick(), importer), busy);
    const other = new GuestMemoryImporter<X86Register>(memory);
    assert.throws(() => applyPlanSync(quick(), other), busy);
    assert.throws(() => other.importPages(0xf0n, 1, "page", "Exclusive", noise(1)), busy);
    assert.deepEqual(other.regions, []);
    assert.throws(() => memory.zero(0x1000, 1), busy);
    assert.throws(() => memory.reset(), busy);
    first.letGo();
    await loading;
    memory.zero(0xf_0000, 1);
    memory.reset();
    assert.ok(isZero(memory.read(0, MIB)));
  });

  it("can't pass with the claim of another memory", () => {
    const [mine, other] = [GuestMemory.create(MIB), GuestMemory.create(MIB)];
    const [claim, foreign] = [mine.claim(), other.claim()];
    const importer = new GuestMemoryImporter<X86Register>(mine);
    assert.throws(() => importer.begin(foreign), TypeError);
    assert.throws(() => importer.importPages(1n, 1, "page", "Exclusive", noise(1)), busy);
    assert.throws(() => mine.zero(0, 1, foreign), busy);
    importer.begin(claim);
    importer.importPages(1n, 1, "page", "Exclusive", noise(1));
    claim.release();
    foreign.release();
  });

  it("through an importer of the caller's that hands on to ours is refused where they meet", async () => {
    const memory = GuestMemory.create(MIB);
    const into = (): GuestMemoryImporter<X86Register> => {
      const inner = new GuestMemoryImporter<X86Register>(memory);
      return Object.assign(Object.create(inner), {
        importPages: inner.importPages.bind(inner),
        importVpRegister: inner.importVpRegister.bind(inner),
        importSourceAsync: inner.importSourceAsync.bind(inner),
        checkPages: undefined,
        checkVpRegister: undefined,
        begin: undefined,
        importSource: undefined,
        importIdentityMap: undefined,
      });
    };
    const wrap = (importer: GuestMemoryImporter<X86Register>) => ({
      importPages: importer.importPages,
      importVpRegister: importer.importVpRegister,
      importSourceAsync: importer.importSourceAsync,
    });
    const first = held(noise(50_000, 3));
    const loading = applyPlan(smallPlan(first.source, initrd), wrap(into()));
    await first.isReading;
    await assert.rejects(applyPlan(quick(), wrap(into())), busy);
    first.letGo();
    await loading;
  });

  it("that is started in a callback of the first ends the first", async () => {
    const memory = GuestMemory.create(MIB);
    const onProgress = ({ loaded }: { loaded: number }): void => {
      if (loaded > 0) applyPlanSync(quick(), memory);
    };
    assert.throws(() => applyPlanSync(quick(), memory, { onProgress }), busy);
    assert.ok(isZero(memory.read(0, MIB)));
    await assert.rejects(applyPlan(quick(), memory, { onProgress }), busy);
    applyPlanSync(quick(), memory);
  });
});

describe("a memory is free again", () => {
  it("after a load that failed while planning, midway, at its start, or was aborted", async () => {
    const memory = GuestMemory.create(RAM);
    const broken: Source = {
      name: "broken",
      byteLength: vmlinux.byteLength,
      read: async (target, offset) => {
        if (offset > 5000) throw new Error("gone");
        target.set(vmlinux.subarray(offset, offset + target.byteLength));
      },
    };
    await assert.rejects(loadLinux({ kernel: new Uint8Array(10), memory }), refusal("NO_KERNEL_INSIDE"));
    await assert.rejects(loadLinux({ kernel: broken, memory }), refusal("REGION_READ", "zero again"));
    await assert.rejects(loadLinux({ kernel: vmlinux, memory, commandLine: "a\0" }));
    await assert.rejects(loadLinux({ kernel: "/nowhere", memory }), refusal("SOURCE_NOT_FOUND"));
    await assert.rejects(
      loadLinux({ kernel: vmlinux, memory, signal: AbortSignal.abort() }),
      refusal("ABORTED"),
    );
    const controller = new AbortController();
    const waiting = held(vmlinux);
    const loading = loadLinux({ kernel: waiting.source, memory, signal: controller.signal });
    await waiting.isReading;
    controller.abort();
    waiting.letGo();
    await assert.rejects(loading, refusal("ABORTED"));
    assert.ok(isZero(memory.read(0, RAM)));
    await loadLinux({ kernel: vmlinux, memory });
  });

  it("after loads whose memory is refused: the reason is theirs", async () => {
    const buffer = new ArrayBuffer(4097);
    const deviceTree = memoryTree(MIB);
    for (const kernel of [vmlinux, vmlinux, makeImage(50_000)]) {
      await assert.rejects(
        loadLinux({ kernel, deviceTree, memory: buffer }),
        refusal("LAYOUT_BAD_SIZE", "0x1001"),
      );
      // @ts-expect-error: what a caller without types may give
      await assert.rejects(loadLinux({ kernel: vmlinux, memory: {} }), TypeError);
    }
  });
});

describe("decompressing in place", () => {
  it("is not disturbed by a second load, which is refused", async () => {
    const [image, deviceTree] = [makeImage(3 * MIB), memoryTree(32 * MIB)];
    const memory = GuestMemory.create(new MemoryLayout([{ start: 0x4000_0000n, end: 0x4200_0000n }]));
    for (const method of ONE_OF_EACH) {
      const kernel = compress(method, image);
      const loading = loadLinux({ kernel, deviceTree, memory });
      const second = loadLinux({ kernel, deviceTree, memory }).then(() => undefined, busy);
      const third = new Promise((resolve) => setTimeout(resolve, 1)).then(() =>
        loadLinux({ kernel, deviceTree, memory }).then(() => undefined, busy),
      );
      const guest = await loading;
      await Promise.all([second, third]);
      const alone = loadLinuxSync({ kernel: image, deviceTree, memory: guest.layout });
      assert.equal(
        guest.memory.crc32(guest.info.kernel.gpa, 3 * MIB),
        alone.memory.crc32(guest.info.kernel.gpa, 3 * MIB),
      );
    }
  });
});

describe("loads at once into memories of their own", () => {
  it("don't disturb each other, if one is corrupt and one is aborted, too", async () => {
    const packed = compress(ONE_OF_EACH[0] ?? assert.fail(), vmlinux);
    const corrupt = packed.subarray(0, packed.byteLength - 100);
    const load = (kernel: Uint8Array, signal?: AbortSignal): Promise<number> =>
      loadLinux({ kernel, memory: RAM, ...(signal === undefined ? {} : { signal }) }).then(({ memory }) =>
        memory.crc32(0, RAM),
      );
    const alone = await load(vmlinux);
    const results = await Promise.allSettled([
      load(vmlinux),
      load(packed),
      load(corrupt),
      load(packed, AbortSignal.abort()),
      load(vmlinux),
    ]);
    const told = results.map((result) => (result.status === "fulfilled" ? result.value : result.reason.code));
    assert.deepEqual([told[0], told[1], told[4]], [alone, alone, alone]);
    assert.match(told[2], /^DECOMPRESS_/);
    assert.equal(told[3], "ABORTED");
  });
});
