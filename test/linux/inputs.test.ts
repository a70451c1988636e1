/** One guest, whatever its bytes come from, and whatever becomes of the load. */
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import {
  type AsyncByteInput,
  applyPlan,
  applyPlanSync,
  type ByteInput,
  GuestMemory,
  GuestMemoryImporter,
  type ImageLoad,
  type LinuxGuest,
  loadLinux,
  loadLinuxSync,
  MemoryLayout,
  planLinux,
  planLinuxSync,
  RecordingImporter,
} from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeDeviceTree, memoryTree } from "../support/device-tree-maker.js";
import { refusal, refusalBecause } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";
import { tempFolder } from "../support/temp-folder.js";
import { ELF_KERNEL, makeArm64Image } from "./guest-reader.js";

const RAM = 24 << 20;
const BZIMAGE = makeBzImage({ code: noise(0x9010, 5) });
const ARM64 = makeArm64Image();
const folder = tempFolder();
let files = 0;

/** The inputs of a load, of bytes. */
interface Inputs<T> {
  readonly kernel: T;
  readonly initrd: readonly T[];
  readonly deviceTree: T;
  readonly acpi: { readonly rsdp: T; readonly tables: T };
}

const BYTES: Inputs<Uint8Array> = {
  kernel: BZIMAGE,
  initrd: [noise(5003, 2), noise(70_001, 3)],
  deviceTree: makeDeviceTree(999, 4),
  acpi: { rsdp: noise(36, 5), tables: noise(5000, 6) },
};

function mapped<T>(
  { kernel, initrd, deviceTree, acpi }: Inputs<Uint8Array>,
  to: (bytes: Uint8Array) => T,
): Inputs<T> {
  return {
    kernel: to(kernel),
    initrd: initrd.map((bytes) => to(bytes)),
    deviceTree: to(deviceTree),
    acpi: { rsdp: to(acpi.rsdp), tables: to(acpi.tables) },
  };
}

const common = { memory: RAM, commandLine: "quiet", rngSeed: noise(16, 9) } as const;
const expected = loadLinuxSync({ ...mapped(BYTES, (bytes) => bytes), ...common });

function assertSame(guest: LinuxGuest, wanted: LinuxGuest = expected): void {
  assert.deepEqual(guest.registerList, wanted.registerList);
  assert.deepEqual(guest.info, wanted.info);
  const where = ({ regions }: LinuxGuest): string[] =>
    regions.map(({ range, tag, dataLength }) => `${range} ${tag} ${dataLength}`);
  assert.deepEqual(where(guest), where(wanted));
  const [own, other] = [guest.memory, wanted.memory].map((memory) => {
    const { start, end } = memory.layout.ram[0]?.range ?? { start: 0n, end: 0n };
    return memory.read(start, Number(end - start));
  });
  assert.ok(own !== undefined && other !== undefined && Buffer.compare(own, other) === 0);
}

function path(bytes: Uint8Array): string {
  const file = join(folder, `${files++}`);
  writeFileSync(file, bytes);
  return file;
}

const stream = (bytes: Uint8Array, chunk = 777): ReadableStream<Uint8Array> =>
  makeStream(bytes, { chunks: [chunk] }).stream;
const body = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

const SYNC_FORMS: Readonly<Record<string, (bytes: Uint8Array) => ByteInput>> = {
  "a Uint8Array in the middle of a buffer": (bytes) => {
    const larger = new Uint8Array(bytes.byteLength + 7).fill(0xee);
    larger.set(bytes, 3);
    return larger.subarray(3, 3 + bytes.byteLength);
  },
  "an ArrayBuffer": (bytes) => body(bytes).buffer,
  "a Node Buffer": (bytes) => Buffer.from(bytes),
  "a path": path,
  "a file: URL": (bytes) => pathToFileURL(path(bytes)),
};

const ASYNC_FORMS: Readonly<Record<string, (bytes: Uint8Array) => AsyncByteInput>> = {
  "a source without readSync": asyncOnly,
  "a Blob": (bytes) => new Blob([body(bytes)]),
  "a Response": (bytes) => new Response(body(bytes)),
  "a Response with a length": (bytes) =>
    new Response(stream(bytes), { headers: { "content-length": `${bytes.byteLength}` } }),
  "a ReadableStream": stream,
  "a ReadableStream of single bytes": (bytes) => stream(bytes, bytes.byteLength > 10_000 ? 4099 : 1),
};

describe("an input of loadLinux", () => {
  for (const [name, form] of Object.entries(SYNC_FORMS)) {
    it(`may be ${name}, synchronously and asynchronously: the guest is the same`, async () => {
      assertSame(loadLinuxSync({ ...mapped(BYTES, form), ...common }));
      assertSame(await loadLinux({ ...mapped(BYTES, form), ...common }));
    });
  }
  for (const [name, form] of Object.entries(ASYNC_FORMS)) {
    it(`may be ${name}: the guest is the same`, async () => {
      assertSame(await loadLinux({ ...mapped(BYTES, form), ...common }));
    });
  }

  it("may be a FileHandle, which stays open", async () => {
    const handle = await open(path(BZIMAGE));
    try {
      const inputs = { ...mapped(BYTES, (bytes) => bytes), kernel: handle };
      assertSame(await loadLinux({ ...inputs, ...common }));
      assertSame(loadLinuxSync({ ...inputs, ...common }));
      assert.equal((await handle.read(new Uint8Array(4), 0, 4, 0)).bytesRead, 4);
    } finally {
      await handle.close();
    }
  });

  it("may be one initrd or a list of one, and a list is one archive, padded to 4 bytes", () => {
    const [first, second] = BYTES.initrd;
    assert.ok(first !== undefined && second !== undefined);
    const whole = new Uint8Array(5004 + second.byteLength);
    whole.set(first);
    whole.set(second, 5004);
    const inputs = mapped(BYTES, (bytes) => bytes);
    assertSame(loadLinuxSync({ ...inputs, ...common, initrd: whole }));
    assertSame(loadLinuxSync({ ...inputs, ...common, initrd: [whole] }));
    const none = loadLinuxSync({ ...inputs, ...common, initrd: [] });
    assertSame(none, loadLinuxSync({ ...inputs, ...common, initrd: undefined }));
    assert.equal(none.info.initrd, undefined);
    const empty = { ...inputs, ...common, initrd: [first, new Uint8Array(0)] };
    assert.throws(() => loadLinuxSync(empty), refusal("SOURCE_EMPTY", "initrd 1"));
  });

  it("may come in chunks of any size, gzipped or not, of any kernel", async () => {
    const kernels = [
      [BZIMAGE, undefined],
      [ELF_KERNEL, undefined],
      [ARM64, undefined],
      [makeArm64Image({ imageSize: 0n, byteLength: 0x3001 }), undefined],
    ] as const;
    const deviceTree = memoryTree(RAM);
    const guests = kernels.map(([kernel]) => loadLinuxSync({ kernel, deviceTree, memory: RAM }));
    const someChunks = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        fc.nat(kernels.length - 1),
        fc.boolean(),
        someChunks,
        async (which, isPacked, chunks) => {
          const kernel = kernels[which]?.[0] ?? BZIMAGE;
          const bytes = isPacked ? gzipSync(kernel) : kernel;
          const { stream } = makeStream(bytes, { chunks });
          const guest = await loadLinux({ kernel: stream, deviceTree, memory: RAM });
          assertSame(guest, guests[which]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is never written to", async () => {
    const inputs = mapped(BYTES, (bytes) => bytes.slice());
    const before = structuredClone(inputs);
    loadLinuxSync({ ...inputs, ...common });
    await loadLinux({ ...inputs, ...common });
    assert.deepEqual(inputs, before);
  });
});

describe("loadLinux with an importer", () => {
  const inputs = { ...mapped(BYTES, (bytes) => bytes), ...common };

  it("hands it pages and registers that make the same guest", async () => {
    for (const isSync of [true, false]) {
      const recorder = new RecordingImporter();
      const loaded = isSync
        ? loadLinuxSync({ ...inputs, importer: recorder })
        : await loadLinux({ ...inputs, importer: recorder });
      const ram = new Uint8Array(RAM);
      for (const call of recorder.calls)
        if (call.op === "pages") ram.set(call.data, Number(call.pageBase) * 4096);
      assert.equal(Buffer.compare(ram, expected.memory.read(0, RAM)), 0);
      const registers = recorder.calls.flatMap((call) => (call.op === "register" ? [call.register] : []));
      assert.deepEqual(registers, expected.registerList);
      assert.deepEqual(loaded.registers, expected.registers);
      assert.deepEqual(loaded.info, expected.info);
      const where = ({ regions }: Pick<LinuxGuest, "regions">): unknown =>
        regions.map(({ range, tag, dataLength }) => [`${range}`, tag, dataLength]);
      assert.deepEqual(where(loaded), where(expected));
      assert.equal("memory" in loaded, false);
      assert.deepEqual(JSON.parse(JSON.stringify(loaded)), JSON.parse(JSON.stringify(expected)));
    }
  });

  it("takes a size or a layout for memory, and no memory itself", async () => {
    const importer = new RecordingImporter();
    for (const memory of [RAM, BigInt(RAM), new MemoryLayout(RAM)]) {
      assert.equal(loadLinuxSync({ ...inputs, memory, importer }).layout.ramSize, BigInt(RAM));
    }
    for (const memory of [GuestMemory.create(RAM), new ArrayBuffer(RAM), undefined, null, {}]) {
      const wrong = { ...inputs, memory: memory as number, importer };
      assert.throws(() => loadLinuxSync(wrong), TypeError);
      await assert.rejects(loadLinux(wrong), TypeError);
    }
  });

  it("fails with what the importer throws as the cause", async () => {
    const reason = new Error("full");
    const importer: ImageLoad = {
      importPages: () => {
        throw reason;
      },
      importVpRegister: () => {},
    };
    assert.throws(() => loadLinuxSync({ ...inputs, importer }), refusalBecause("IMPORTER", reason));
    await assert.rejects(loadLinux({ ...inputs, importer }), refusalBecause("IMPORTER", reason));
  });
});

describe("a plan of loadLinux's options", () => {
  it("is applied to as many guests as one likes, and its files are closed by close", async () => {
    const fds = (): number => readdirSync("/proc/self/fd").length;
    const before = fds();
    for (const isSync of [true, false]) {
      const options = { ...mapped(BYTES, path), ...common };
      const plan = isSync ? planLinuxSync(options) : await planLinux(options);
      for (let i = 0; i < 4; i++) {
        const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout));
        if (i % 2 === 0) applyPlanSync(plan, importer);
        else await applyPlan(plan, importer);
        assert.equal(Buffer.compare(importer.memory.read(0, RAM), expected.memory.read(0, RAM)), 0);
        assert.deepEqual(importer.registerList, expected.registerList);
      }
      plan.close();
      assert.equal(fds(), before);
    }
  });

  it("of streams is applied once", async () => {
    for (const form of [stream, (bytes: Uint8Array) => stream(gzipSync(bytes))]) {
      const plan = await planLinux({ kernel: form(BZIMAGE), memory: RAM });
      await applyPlan(plan, GuestMemory.create(RAM));
      const memory = GuestMemory.create(RAM);
      await assert.rejects(applyPlan(plan, memory), refusal("SOURCE_CONSUMED"));
      assert.ok(memory.read(0, RAM).every((byte) => byte === 0));
      plan.close();
    }
  });

  it("that is closed without being applied ends its streams", async () => {
    for (const bytes of [
      BZIMAGE,
      gzipSync(noise(2 << 20)),
      gzipSync(makeBzImage({ code: noise(2 << 20) })),
    ]) {
      const made = makeStream(bytes);
      const plan = await planLinux({ kernel: made.stream, memory: RAM }).catch(() => undefined);
      plan?.close();
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(made.isCancelled(), true);
    }
  });
});
