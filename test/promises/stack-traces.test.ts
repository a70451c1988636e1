import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  applyPlan,
  applyPlanSync,
  detectKernel,
  detectKernelSync,
  extractKernel,
  extractKernelSync,
  GuestMemory,
  loadLinux,
  loadLinuxSync,
  planLinux,
  planLinuxSync,
  type Source,
} from "../../src/index.js";
import { makeBzImage } from "../support/bzimage-maker.js";
import { makeVmlinux } from "../support/packed-kernels.js";

const RAM = 64 << 20;
const GOOD = makeVmlinux(100_000);
const BAD = makeBzImage({ version: 0x100 });

/** A source that breaks when more of the kernel is read than its headers. */
const breaking: Source & { readSync: (target: Uint8Array, offset: number) => void } = {
  name: "vmlinux",
  byteLength: GOOD.byteLength,
  readSync(target, offset) {
    if (target.byteLength > 10_000) throw new Error("the disk is gone");
    target.set(GOOD.subarray(offset, offset + target.byteLength));
  },
  async read(target, offset) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.readSync(target, offset);
  },
};

type Options = Parameters<typeof loadLinuxSync>[0];
/** Errors of a header, of a type deep in a plan, and of a source that breaks midway. */
const wrong: Readonly<Record<string, Options>> = {
  "a header": { kernel: BAD, memory: RAM },
  "the memory": { kernel: GOOD, memory: 4096 },
  "an option's type": { kernel: GOOD, memory: RAM, commandLine: 5 as unknown as string },
  "a source midway": { kernel: breaking, memory: RAM },
};

/** The synchronous calls; each has to be in a function of this name, and of this file. */
const sync: Readonly<Record<string, (options: Options) => unknown>> = {
  loadLinuxSync: function theCaller(options) {
    return loadLinuxSync(options);
  },
  planLinuxSync: function theCaller(options) {
    const plan = planLinuxSync(options);
    return applyPlanSync(plan, GuestMemory.create(plan.layout));
  },
  detectKernelSync: function theCaller({ kernel }) {
    return detectKernelSync(kernel);
  },
  extractKernelSync: function theCaller({ kernel }) {
    return extractKernelSync(kernel);
  },
};

const async: Readonly<Record<string, (options: Options) => Promise<unknown>>> = {
  loadLinux: async function theCaller(options) {
    return await loadLinux(options);
  },
  planLinux: async function theCaller(options) {
    const plan = await planLinux(options);
    return await applyPlan(plan, GuestMemory.create(plan.layout));
  },
  detectKernel: async function theCaller({ kernel }) {
    return await detectKernel(kernel);
  },
  extractKernel: async function theCaller({ kernel }) {
    return await extractKernel(kernel);
  },
};

function check(error: unknown, what: string): void {
  assert.ok(error instanceof Error, what);
  assert.match(error.stack ?? "", /theCaller.*stack-traces\.test/, what);
}

describe("the stack trace of what a call throws ends in the caller's line", () => {
  for (const [what, options] of Object.entries(wrong)) {
    // These two read no more than headers, or have no such option.
    const isForAll = what === "a header";
    for (const [name, call] of Object.entries(sync)) {
      if (!isForAll && !name.includes("Linux")) continue;
      it(`${name}: ${what}`, () => {
        assert.throws(
          () => call(options),
          (error) => {
            check(error, name);
            return true;
          },
        );
      });
    }
    for (const [name, call] of Object.entries(async)) {
      if (!isForAll && !name.includes("Linux")) continue;
      it(`${name}: ${what}`, async () => {
        await assert.rejects(call(options), (error) => {
          check(error, name);
          return true;
        });
      });
    }
  }

  it("leaves the host's own limit as it was", () => {
    const before = Error.stackTraceLimit;
    assert.throws(() => loadLinuxSync({ kernel: BAD, memory: RAM }));
    assert.equal(Error.stackTraceLimit, before);
  });
});
