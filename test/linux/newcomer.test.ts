/** Mistakes that newcomers made or found; each is held. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { loadLinuxSync, planLinuxSync } from "../../src/index.js";
import { X86_64_GUEST } from "../support/paths.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";

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
