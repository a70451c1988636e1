/** plan.with(): the guest is the one that a plan of its own would give, and no file is looked at again. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import type { Source } from "../../src/index.js";
import { applyPlanSync, GuestMemory, type LinuxPlan, planLinux, planLinuxSync } from "../../src/index.js";
import type { PlanLinuxSyncOptions } from "../../src/linux/options.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { noise } from "../support/sources.js";
import { ELF_KERNEL, makeArm64Image } from "./guest-reader.js";

const RAM = 32 << 20;
const deviceTree = memoryTree(RAM);

/** Everything that a plan makes of a guest. */
function guestOf(plan: LinuxPlan): unknown {
  const memory = GuestMemory.create(plan.layout);
  applyPlanSync(plan, memory);
  const { start, end } = plan.layout.ram[0]?.range ?? { start: 0n, end: 0n };
  const bytes = Buffer.from(memory.read(start, Number(end - start)));
  return { bytes: bytes.toString("latin1"), plan: JSON.stringify(plan), registers: plan.registerList };
}

const GUESTS: Readonly<Record<string, Partial<PlanLinuxSyncOptions> & { kernel: Uint8Array }>> = {
  "an ELF": { kernel: ELF_KERNEL, initrd: noise(5000) },
  "a gzipped vmlinux": { kernel: gzipSync(makeVmlinux()) },
  "a bzImage": { kernel: makeBzImage({ code: noise(0x9010) }), entry: "32" },
  "an x86 kernel with a device tree in setup_data": { kernel: ELF_KERNEL, deviceTree },
  "an arm64 Image": { kernel: makeArm64Image(), deviceTree, initrd: noise(5000) },
};

describe("plan.with", () => {
  for (const [name, options] of Object.entries(GUESTS)) {
    it(`gives ${name} another command line and seed, as a plan of its own would`, () => {
      const plan = planLinuxSync({ ...options, commandLine: "first", memory: RAM });
      const before = guestOf(plan);
      // Of another length: what follows it may move.
      for (const text of [
        { commandLine: "second", rngSeed: noise(32, 2) },
        { commandLine: "long ".repeat(300) },
        { commandLine: "" },
        { rngSeed: noise(4000, 3) },
        {},
      ]) {
        const own = planLinuxSync({ ...options, commandLine: "first", memory: RAM, ...text });
        assert.deepEqual(guestOf(plan.with(text)), guestOf(own));
      }
      assert.deepEqual(guestOf(plan), before);
    });
  }

  it("keeps what it is not given, also of a plan that was made this way", () => {
    const options = { kernel: ELF_KERNEL, memory: RAM };
    const plan = planLinuxSync(options)
      .with({ commandLine: "kept" })
      .with({ rngSeed: noise(16) });
    const own = planLinuxSync({ ...options, commandLine: "kept", rngSeed: noise(16) });
    assert.deepEqual(guestOf(plan.with({ commandLine: undefined })), guestOf(own));
  });

  it("reads nothing: a kernel that only comes asynchronously needs no waiting", async () => {
    const file = gzipSync(makeVmlinux());
    let reads = 0;
    const kernel: Source = {
      name: "counted",
      byteLength: file.byteLength,
      read: async (target, offset) => {
        reads++;
        target.set(file.subarray(offset, offset + target.byteLength));
      },
    };
    const plan = await planLinux({ kernel, memory: RAM, decompressInto: "buffer" });
    const before = reads;
    plan.with({ commandLine: "quiet", rngSeed: noise(8) });
    assert.ok(before > 0);
    assert.equal(reads, before);
  });

  it("refuses what planning refuses, and leaves the plan as it was", () => {
    const plan = planLinuxSync({ kernel: ELF_KERNEL, memory: RAM });
    const before = guestOf(plan);
    assert.throws(() => plan.with({ commandLine: "a\0b" }), refusal("COMMAND_LINE_NUL"));
    assert.throws(() => plan.with({ commandLine: "a".repeat(2048) }), refusal("COMMAND_LINE_TOO_LONG"));
    assert.throws(() => plan.with({ rngSeed: new Uint8Array(RAM) }), refusal("PLACEMENT_NO_ROOM"));
    const arm64 = planLinuxSync({ kernel: makeArm64Image(), deviceTree, memory: RAM });
    assert.throws(() => arm64.with({ rngSeed: noise(2 << 20) }), refusal("DEVICE_TREE_TOO_LARGE"));
    assert.deepEqual(guestOf(plan), before);
  });

  it("takes a command line and a seed, and names any other option", () => {
    const plan = planLinuxSync({ kernel: ELF_KERNEL, memory: RAM });
    const loose = (options: unknown): LinuxPlan => plan.with(options as { commandLine?: string });
    assert.throws(() => loose({ cmdline: "quiet" }), /^TypeError: there is no option cmdline.*commandLine/);
    assert.throws(() => loose({ commandLine: 5 }), /^TypeError: commandLine must be/);
    assert.throws(() => loose({ rngSeed: "seed" }), /^TypeError: rngSeed must be/);
    assert.throws(() => loose(undefined), TypeError);
  });
});
