/** The asynchronous forms of OpenVMM's functions import what the synchronous ones import, from any kind of source. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  GuestMemory,
  type ImageLoad,
  MemoryLayout,
  RecordingImporter,
  type VpRegister,
} from "../../src/index.js";
import * as loader from "../../src/loader.js";
import { makeDeviceTree } from "../support/device-tree-maker.js";
import { makeImage, makeVmlinux } from "../support/packed-kernels.js";
import { noise } from "../support/sources.js";
import { makeStream } from "../support/streams.js";

const vmlinux = makeVmlinux(50_000);
const image = makeImage(50_000, 60_000);
const initrd = noise(10_001);
const tree = makeDeviceTree();
const config = {
  commandLine: { address: 0x3000, commandLine: "quiet" },
  zeroPage: {
    address: 0x2000,
    memoryLayout: new MemoryLayout(32 << 20),
    acpiBaseAddress: 0xe_0000,
    acpiLength: 0x2000,
  },
  acpi: { rdspAddress: 0xe_0000, rdsp: noise(36), tablesAddress: 0xe_1000, tables: noise(100) },
  registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
};

type Bytes = (bytes: Uint8Array<ArrayBuffer>) => Uint8Array | Blob | Response | ReadableStream<Uint8Array>;

const CARRIERS: Readonly<Record<string, Bytes>> = {
  "a Blob": (bytes) => new Blob([bytes]),
  "a Response": (bytes) => new Response(bytes),
  "a stream without a length": (bytes) => makeStream(bytes).stream,
};

async function callsOf(load: (importer: RecordingImporter) => unknown): Promise<unknown> {
  const importer = new RecordingImporter();
  const info = await load(importer);
  return { info: JSON.stringify(info), calls: importer.calls };
}

const kernelMinimumStartAddress = 0x10_0000n;
const FUNCTIONS: Readonly<
  Record<
    string,
    readonly [
      sync: (importer: ImageLoad<VpRegister>) => unknown,
      async: (importer: ImageLoad<VpRegister>, carry: Bytes) => Promise<unknown>,
    ]
  >
> = {
  loadKernelAndInitrdX64Async: [
    (importer) =>
      loader.loadKernelAndInitrdX64(importer, {
        kernel: vmlinux,
        kernelMinimumStartAddress,
        initrd: { initrd },
      }),
    (importer, carry) =>
      loader.loadKernelAndInitrdX64Async(importer, {
        kernel: carry(vmlinux),
        kernelMinimumStartAddress,
        initrd: { initrd: carry(initrd) },
      }),
  ],
  loadX86Async: [
    (importer) => loader.loadX86(importer, { ...config, kernel: vmlinux, kernelMinimumStartAddress }),
    (importer, carry) =>
      loader.loadX86Async(importer, { ...config, kernel: carry(vmlinux), kernelMinimumStartAddress }),
  ],
  loadKernelAndInitrdArm64Async: [
    (importer) =>
      loader.loadKernelAndInitrdArm64(importer, {
        kernel: image,
        kernelMinimumStartAddress: 0x4000_0000,
        deviceTree: tree,
        initrd: { initrd },
      }),
    (importer, carry) =>
      loader.loadKernelAndInitrdArm64Async(importer, {
        // A stream of unknown length fills image_size: its import is as long.
        kernel: image,
        kernelMinimumStartAddress: 0x4000_0000,
        deviceTree: carry(Uint8Array.from(tree)),
        initrd: { initrd: carry(initrd) },
      }),
  ],
  loadStaticElfAsync: [
    (importer) => loader.loadStaticElf(importer, { image: vmlinux, tag: "x" }),
    (importer, carry) => loader.loadStaticElfAsync(importer, { image: carry(vmlinux), tag: "x" }),
  ],
};

describe("an asynchronous function of OpenVMM's", () => {
  for (const [name, [sync, load]] of Object.entries(FUNCTIONS)) {
    for (const [carrier, carry] of Object.entries(CARRIERS)) {
      it(`${name} imports from ${carrier} what the synchronous one imports from bytes`, async () => {
        assert.deepEqual(await callsOf((importer) => load(importer, carry)), await callsOf(sync));
      });
    }
  }

  it("rejects what the synchronous one throws, also for wrong options", async () => {
    const wrong = loader.loadX86Async(new RecordingImporter(), {
      ...config,
      kernel: new Blob([noise(100)]),
      kernelMinimumStartAddress,
    });
    await assert.rejects(wrong, { code: "ELF_INVALID_FILE_HEADER" });
  });

  it("takes no GuestMemory, which would lose the registers; nor do the synchronous ones", async () => {
    const memory = GuestMemory.create(32 << 20);
    const options = { ...config, kernel: vmlinux, kernelMinimumStartAddress };
    const info = loader.loadX86(new RecordingImporter(), options);
    const arm64 = { kernel: image, kernelMinimumStartAddress: 0 };
    for (const call of [
      () => Reflect.apply(loader.loadX86, undefined, [memory, options]),
      () => Reflect.apply(loader.loadX86Async, undefined, [memory, options]),
      () =>
        Reflect.apply(loader.loadKernelAndInitrdX64, undefined, [
          memory,
          { kernel: vmlinux, kernelMinimumStartAddress },
        ]),
      () => Reflect.apply(loader.loadConfig, undefined, [memory, info, config]),
      () => Reflect.apply(loader.loadKernelAndInitrdArm64, undefined, [memory, arm64]),
      () => Reflect.apply(loader.setDirectBootRegistersArm64, undefined, [memory, info]),
      () => Reflect.apply(loader.loadStaticElf, undefined, [memory, { image: vmlinux }]),
    ]) {
      await assert.rejects(async () => call(), { name: "TypeError", message: /GuestMemoryImporter/ });
    }
  });

  it("ChunkBuf.importFileRegionAsync imports a region of a Blob", async () => {
    const region = {
      fileOffset: 5,
      fileLength: 9000,
      gpa: 0x2100,
      memoryLength: 0x5000,
      acceptance: "Exclusive",
      tag: "x",
    } as const;
    const buffer = loader.ChunkBuf.withSize(4096);
    const sync = await callsOf((importer) => buffer.importFileRegion(importer, { ...region, file: initrd }));
    const file = new Blob([initrd]);
    const async = await callsOf((importer) => buffer.importFileRegionAsync(importer, { ...region, file }));
    assert.deepEqual(async, sync);
  });
});

describe("register constants", () => {
  it("have the bits of the kernel's header", () => {
    const header = readFileSync("/usr/include/x86_64-linux-gnu/asm/processor-flags.h", "utf8");
    for (const [ours, theirs] of [
      [loader.X64_CR0_PE, "CR0_PE"],
      [loader.X64_CR0_PG, "CR0_PG"],
      [loader.X64_CR4_PAE, "CR4_PAE"],
    ] as const) {
      const bit = new RegExp(`#define X86_${theirs}_BIT\\s+(\\d+)`).exec(header)?.[1];
      assert.equal(ours, 1n << BigInt(bit ?? -1), theirs);
    }
  });

  it("make up EFER and PAT of a 64-bit entry", async () => {
    const importer = new RecordingImporter();
    await loader.loadX86Async(importer, { ...config, kernel: vmlinux, kernelMinimumStartAddress });
    const value = (name: string): unknown =>
      importer.calls.find((call) => call.op === "register" && call.register.name === name);
    const { X64_EFER_LMA, X64_EFER_LME, X64_EFER_NXE, X64_EFER_SCE, X86X_MSR_DEFAULT_PAT } = loader;
    const efer = X64_EFER_LMA | X64_EFER_LME | X64_EFER_NXE | X64_EFER_SCE;
    assert.deepEqual(value("efer"), { op: "register", register: { name: "efer", value: efer } });
    assert.deepEqual(value("pat"), {
      op: "register",
      register: { name: "pat", value: X86X_MSR_DEFAULT_PAT },
    });
  });
});
