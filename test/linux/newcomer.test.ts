/** What a newcomer broke, each held since. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  GuestMemory,
  GuestMemoryImporter,
  loadLinux,
  loadLinuxSync,
  planLinuxSync,
} from "../../src/index.js";
import { ChunkBuf } from "../../src/loader.js";
import { X86_64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";

const MIB = 1 << 20;
const KERNEL = new Uint8Array(readFileSync(X86_64_GUEST));

/** The embedded guest with its segments and its entry moved up. */
function moved(by: bigint, entryBy = by): Uint8Array {
  const elf = KERNEL.slice();
  const view = new DataView(elf.buffer);
  view.setBigUint64(24, view.getBigUint64(24, true) + entryBy, true);
  const count = view.getUint16(56, true);
  for (let i = 0; i < count; i++) {
    const at = Number(view.getBigUint64(32, true)) + i * 56 + 24;
    view.setBigUint64(at, view.getBigUint64(at, true) + by, true);
  }
  return elf;
}

describe("a WebAssembly.Memory that grows in a progress callback", () => {
  for (const growAt of [1, 3, 4, 5]) {
    it(`is noticed at report ${growAt}, or the load is whole`, async () => {
      for (const isAsync of [false, true]) {
        const memory = new WebAssembly.Memory({ initial: 2048, maximum: 65536 });
        const initrd = noise(40 * MIB, 3);
        let reports = 0;
        const onProgress = (): void => {
          if (reports++ === growAt) memory.grow(1);
        };
        const read = { name: "file", byteLength: initrd.byteLength };
        const source = {
          ...read,
          readSync: (target: Uint8Array, offset: number) =>
            target.set(initrd.subarray(offset, offset + target.byteLength)),
          read: async (target: Uint8Array, offset: number) =>
            target.set(initrd.subarray(offset, offset + target.byteLength)),
        };
        const bank = { guestPhysicalAddress: 0, byteOffset: 0, byteLength: 128 * MIB };
        const options = {
          kernel: KERNEL,
          initrd: source,
          memory: { buffer: memory, banks: [bank] },
          onProgress,
        };
        try {
          const guest = isAsync ? await loadLinux(options) : loadLinuxSync(options);
          const loaded = guest.memory.read(guest.info.initrd?.gpa ?? 0n, initrd.byteLength);
          assert.equal(Buffer.compare(loaded, initrd), 0);
        } catch (error) {
          refusal("GUEST_MEMORY_DETACHED")(error);
        }
      }
    });
  }
});

describe("a WebAssembly.Memory that grows while a file is read into it", () => {
  it("is noticed, and what was written is zero again", async () => {
    const folder = tempFolder();
    const initrd = join(folder, "initrd");
    writeFileSync(initrd, noise(40 * MIB, 3));
    const memory = new WebAssembly.Memory({ initial: 2048, maximum: 65536 });
    const banks = [{ guestPhysicalAddress: 0, byteOffset: 0, byteLength: 128 * MIB }];
    const load = loadLinux({ kernel: KERNEL, initrd, memory: { buffer: memory, banks } });
    setImmediate(() => memory.grow(1));
    await assert.rejects(load, refusal("GUEST_MEMORY_DETACHED"));
    assert.ok(new Uint8Array(memory.buffer, 0, 128 * MIB).every((byte) => byte === 0));
  });
});

describe("a kernel that can't be started", () => {
  it("is refused if it lies beyond the 4 GiB that are mapped", () => {
    const options = { kernel: moved(5n << 30n), memory: 8n << 30n };
    assert.throws(() => planLinuxSync(options), refusal("X86_ENTRY_NOT_MAPPED", "0x1410"));
  });

  it("is refused if its entry lies outside of it", () => {
    const options = { kernel: moved(0n, 0x1000_0000n), memory: 64 * MIB };
    assert.throws(() => planLinuxSync(options), refusal("X86_ENTRY_NOT_MAPPED"));
  });
});

describe("ACPI tables", () => {
  it("may be ArrayBuffers", () => {
    const acpi = { rsdp: new ArrayBuffer(36), tables: noise(5000).buffer };
    const guest = loadLinuxSync({ kernel: KERNEL, memory: 64 * MIB, acpi });
    assert.deepEqual(guest.memory.read(0xe_1000, 5000), noise(5000));
  });

  it("that are nothing of the kind are a TypeError before memory changes", () => {
    for (const rsdp of [new Uint16Array(4), new DataView(new ArrayBuffer(8)), 5, {}, undefined]) {
      const buffer = new ArrayBuffer(64 * MIB);
      new Uint8Array(buffer).fill(0xa5);
      const acpi = { rsdp: rsdp as unknown as Uint8Array, tables: new Uint8Array(36) };
      if (rsdp === undefined) continue;
      assert.throws(() => loadLinuxSync({ kernel: KERNEL, memory: buffer, acpi }), TypeError);
      assert.ok(new Uint8Array(buffer).every((byte) => byte === 0xa5));
    }
  });
});

describe("a ChunkBuf", () => {
  it("writes nothing of a region that the importer refuses as a whole", () => {
    const buffer = new ArrayBuffer(MIB);
    new Uint8Array(buffer).fill(0xa5);
    const importer = new GuestMemoryImporter(GuestMemory.attach(buffer));
    const region = {
      file: noise(200_000),
      fileOffset: 0,
      fileLength: 200_000,
      gpa: MIB - 65536,
      memoryLength: 200_000,
      acceptance: "Exclusive" as const,
      tag: "late",
    };
    assert.throws(
      () => new ChunkBuf().importFileRegion(importer, region),
      refusal("GUEST_MEMORY_NOT_RAM", "late"),
    );
    assert.ok(new Uint8Array(buffer).every((byte) => byte === 0xa5));
  });
});
