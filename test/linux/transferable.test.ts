/** A plan that travels: its data, cloned as postMessage clones it, makes the same guest where it arrives. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { MessageChannel } from "node:worker_threads";
import { gzipSync } from "node:zlib";
import {
  type AsyncByteInput,
  applyPlan,
  GuestMemory,
  type LinuxPlan,
  type PlanLinuxOptions,
  planFromTransferable,
  planLinux,
} from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { makeVmlinux } from "../support/packed-kernels.js";
import { refusal } from "../support/refusal.js";
import { asyncOnly, noise } from "../support/sources.js";
import { tempFolder } from "../support/temp-folder.js";
import { ELF_KERNEL, makeArm64Image } from "./guest-reader.js";

const RAM = 32 << 20;
const folder = tempFolder();
let files = 0;

function path(bytes: Uint8Array): string {
  const file = join(folder, `${files++}`);
  writeFileSync(file, bytes);
  return file;
}

async function guestOf(plan: LinuxPlan): Promise<Buffer> {
  const memory = GuestMemory.create(plan.layout);
  await applyPlan(plan, memory);
  const { start, end } = plan.layout.ram[0]?.range ?? { start: 0n, end: 0n };
  return Buffer.from(memory.read(start, Number(end - start)));
}

async function assertArrives(plan: LinuxPlan, read: "here" | "there", wanted: Buffer): Promise<void> {
  const { data, transfer } = await plan.toTransferable({ read });
  const arrived = planFromTransferable(structuredClone(data, { transfer }));
  assert.deepEqual(arrived.registerList, plan.registerList);
  assert.deepEqual(arrived.info, plan.info);
  assert.equal(JSON.stringify(arrived), JSON.stringify(plan));
  assert.ok((await guestOf(arrived)).equals(wanted));
  arrived.close();
}

const GUESTS: Readonly<Record<string, Omit<PlanLinuxOptions, "memory" | "kernel"> & { kernel: Uint8Array }>> =
  {
    "an ELF": { kernel: ELF_KERNEL, commandLine: "quiet" },
    "a gzipped vmlinux": { kernel: gzipSync(makeVmlinux()), decompressInto: "buffer" },
    "a bzImage": { kernel: makeBzImage({ code: noise(0x9010) }), rngSeed: noise(8) },
    "an arm64 Image": { kernel: makeArm64Image(), deviceTree: memoryTree(RAM) },
  };

const ANYWHERE: Readonly<Record<string, (bytes: Uint8Array) => AsyncByteInput>> = {
  bytes: (bytes) => bytes,
  "a path": path,
  "a file: URL": (bytes) => pathToFileURL(path(bytes)),
  "a Blob": (bytes) => new Blob([new Uint8Array(bytes)]),
};

describe("a plan as data", () => {
  for (const [name, options] of Object.entries(GUESTS)) {
    it(`makes the guest of ${name} where it arrives, wherever its files are read`, async () => {
      const initrd = noise(5003);
      const initrds = options.deviceTree === undefined && name !== "an ELF" ? [initrd] : [initrd, noise(99)];
      const wanted = await guestOf(await planLinux({ ...options, initrd: initrds, memory: RAM }));
      for (const form of Object.values(ANYWHERE)) {
        const inputs = { kernel: form(options.kernel), initrd: initrds.map(form) };
        const plan = await planLinux({ ...options, ...inputs, memory: RAM });
        await assertArrives(plan, "there", wanted);
        await assertArrives(plan, "here", wanted);
        plan.close();
      }
    });
  }

  it("needs no file any more once it was read here", async () => {
    const kernel = path(ELF_KERNEL);
    const plan = await planLinux({ kernel, memory: RAM });
    const wanted = await guestOf(plan);
    const { data } = await plan.toTransferable({ read: "here" });
    plan.close();
    rmSync(kernel);
    assert.ok((await guestOf(planFromTransferable(data))).equals(wanted));
  });

  it("is refused with its code for what cannot be opened elsewhere, and may be read here", async () => {
    const handle = await open(path(ELF_KERNEL));
    try {
      for (const kernel of [handle, asyncOnly(ELF_KERNEL), new Response(new Uint8Array(ELF_KERNEL))]) {
        const plan = await planLinux({ kernel, memory: RAM });
        await assert.rejects(plan.toTransferable({ read: "there" }), refusal("PLAN_NOT_TRANSFERABLE"));
        const { data } = await plan.toTransferable({ read: "here" });
        assert.ok(
          (await guestOf(planFromTransferable(data))).equals(
            await guestOf(await planLinux({ kernel: ELF_KERNEL, memory: RAM })),
          ),
        );
      }
    } finally {
      await handle.close();
    }
  });

  it("is refused where a file has changed its length, or is gone", async () => {
    const kernel = path(ELF_KERNEL);
    const plan = await planLinux({ kernel, memory: RAM });
    const { data } = await plan.toTransferable({ read: "there" });
    writeFileSync(kernel, ELF_KERNEL.subarray(1));
    assert.throws(() => planFromTransferable(data), refusal("PLAN_NOT_TRANSFERABLE"));
    rmSync(kernel);
    assert.throws(() => planFromTransferable(data), refusal("SOURCE_NOT_FOUND"));
    plan.close();
  });

  it("a plan that is posted as it is fails at once, and names toTransferable", async () => {
    const plan = await planLinux({ kernel: asyncOnly(ELF_KERNEL), memory: RAM });
    const { port1 } = new MessageChannel();
    for (const act of [() => port1.postMessage(plan), () => structuredClone(plan)]) {
      assert.throws(act, refusal("PLAN_NOT_TRANSFERABLE", "a plan can't be posted"));
      assert.throws(act, /toTransferable/);
    }
    port1.close();
  });

  it("wrong options and data are a TypeError, another command line after the journey has a code", async () => {
    const plan = await planLinux({ kernel: ELF_KERNEL, memory: RAM });
    const loose = plan as unknown as { toTransferable(how?: unknown): Promise<never> };
    for (const how of [undefined, {}, { read: "elsewhere" }, { read: "here", when: 1 }]) {
      await assert.rejects(loose.toTransferable(how), TypeError);
    }
    for (const data of [undefined, null, 5, {}, plan.toJSON(), { kind: "directboot-plan" }]) {
      assert.throws(() => planFromTransferable(data as never), TypeError);
    }
    const { data } = await plan.toTransferable({ read: "here" });
    assert.throws(
      () => planFromTransferable(data).with({ commandLine: "x" }),
      refusal("PLAN_NOT_TRANSFERABLE"),
    );
  });
});
