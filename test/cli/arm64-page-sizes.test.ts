/** arm64 kernels of every page size: plan takes them, and boot starts them on a CPU that has it. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { detectKernel } from "../../src/index.js";
import { directboot } from "../support/command.js";
import { AARCH64_GUEST } from "../support/paths.js";
import { tempFolder } from "../support/temp-folder.js";

const folder = tempFolder();

/** flags of the Image header (booting.rst, "Call the kernel image"): bits 1-2 are the page size. */
const FLAGS_OFFSET = 24;

function kernelOf(bits: number): string {
  const image = readFileSync(AARCH64_GUEST);
  image[FLAGS_OFFSET] = ((image[FLAGS_OFFSET] ?? 0) & ~6) | (bits << 1);
  const path = join(folder, `Image-${bits}`);
  writeFileSync(path, image);
  return path;
}

/** QEMU, which also writes down its arguments. */
const arguments_ = join(folder, "arguments");
const qemu = join(folder, "qemu");
writeFileSync(qemu, `#!/bin/sh\necho "$@" >'${arguments_}'\nexec qemu-system-aarch64 "$@"\n`);
chmodSync(qemu, 0o755);

describe("boot starts a kernel", () => {
  for (const [bits, name, cpu] of [
    [0, "unspecified", "cortex-a57"],
    [1, "4KiB", "cortex-a57"],
    [2, "16KiB", "max,"],
    [3, "64KiB", "cortex-a57"],
  ] as const) {
    test(`of page size ${name} on ${cpu}, and on the CPU that is asked for`, async () => {
      const kernel = kernelOf(bits);
      assert.equal((await detectKernel(kernel)).pageSize, name);
      for (const asked of [[], ["--cpu", "cortex-a72"]]) {
        const args = ["boot", kernel, "--qemu", qemu, "--timeout", "60", ...asked];
        const { status, stdout, stderr } = await directboot(args);
        assert.equal(status, 0, stderr);
        assert.match(stdout, /report ends/);
        const wanted = asked[1] ?? cpu;
        assert.ok(readFileSync(arguments_, "utf8").includes(`-cpu ${wanted}`), wanted);
      }
    });
  }
});
