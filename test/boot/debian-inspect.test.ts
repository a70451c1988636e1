/** The inspector's reading of Debian's kernels, beside that of other tools. Nothing is booted. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import * as decoders from "../../src/decoders/index.js";
import { extractKernelSync, loadLinuxSync, planLinuxSync } from "../../src/index.js";
import {
  describeRegister,
  drawMemoryMap,
  inspectKernel,
  inspectKernelSync,
  memoryMapOf,
  pageTableTree,
} from "../../src/inspect/index.js";
import { attribute, boxOf, ofClass, overlap, parseXml } from "../inspect/svg-reader.js";
import { runProgram } from "../support/command.js";
import { memoryTree } from "../support/device-tree-maker.js";
import { tempFolder } from "../support/temp-folder.js";
import { debianKernel } from "./support/debian.js";

const MIB = 0x10_0000;
const GIB = 0x4000_0000;
const folder = tempFolder();

describe("the inspector, of Debian's kernels", () => {
  for (const arch of ["amd64", "i386"] as const) {
    it(`tells of ${arch} its version, its compression, and the segments that readelf sees in the ELF inside`, async () => {
      const { vmlinuz, packageName } = await debianKernel(arch);
      const told = inspectKernelSync(vmlinuz, { decoders, unpack: "all" });
      assert.ok(told.kernelVersion?.startsWith(packageName.replace("linux-image-", "")), told.kernelVersion);
      assert.equal(told.architecture, arch === "amd64" ? "x86_64" : "i386");
      const file = readFileSync(vmlinuz);
      for (const { name, offset, size, value } of told.fields) {
        const found = [...file.subarray(Number(offset), Number(offset) + size)].reverse();
        assert.equal(BigInt(value), BigInt(`0x${Buffer.from(found).toString("hex")}`), name);
      }
      const { kernel } = extractKernelSync(vmlinuz, { decoders });
      const path = join(folder, `vmlinux-${arch}`);
      writeFileSync(path, kernel);
      const { stdout } = await runProgram("readelf", ["-lW", path]);
      const loads = [...stdout.matchAll(/^ {2}LOAD +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+)/gm)].map(
        ([, ...cells]) => cells.map(BigInt),
      );
      assert.ok(loads.length >= 2);
      const found = told.inside?.segments.filter(({ type }) => type === "LOAD") ?? [];
      assert.deepEqual(
        found.map(({ offset, virtualAddress, physicalAddress, fileSize, memorySize }) =>
          [offset, virtualAddress, physicalAddress, fileSize, memorySize].map(BigInt),
        ),
        loads,
      );
      assert.ok((told.compression?.bytes ?? 0) >= kernel.byteLength);
      assert.deepEqual(await inspectKernel(new Blob([readFileSync(vmlinuz)]), { unpack: "all" }), {
        ...told,
        name: "kernel",
        inside: { ...told.inside, name: "kernel" },
      });
    });
  }

  it("tells of arm64 what its header says", async () => {
    const { vmlinuz } = await debianKernel("arm64");
    const told = inspectKernelSync(vmlinuz);
    assert.deepEqual([told.format, told.architecture], ["arm64-image", "aarch64"]);
    const size = readFileSync(vmlinuz).readBigUInt64LE(16);
    assert.equal(told.header?.["imageSize"], Number(size));
  });

  it("draws each in memories of every size, with no label on another", async () => {
    const initrd = new Uint8Array(9_000_000);
    for (const arch of ["amd64", "i386", "arm64"] as const) {
      const { vmlinuz: kernel } = await debianKernel(arch);
      for (const memory of arch === "arm64" ? [128 * MIB, 8 * GIB] : [128 * MIB, 3 * GIB, 6 * GIB]) {
        const plan = planLinuxSync({
          kernel,
          memory,
          decoders,
          ...(arch === "arm64" ? { deviceTree: memoryTree(memory) } : { initrd, commandLine: "quiet" }),
        });
        for (const width of [undefined, 360]) {
          const regions = ofClass(parseXml(drawMemoryMap(memoryMapOf(plan), { width })), "region");
          const names = regions.filter((region) => attribute(region, "data-kind") !== "hole");
          assert.equal(names.length, plan.pages.length);
          const labels = regions.flatMap((region) => ofClass(region, "hit").map(boxOf));
          for (const [index, label] of labels.entries()) {
            assert.ok(!labels.slice(index + 1).some((other) => overlap(label, other)), `${arch} ${memory}`);
          }
        }
      }
    }
  });

  it("reads the page tables and registers of the loaded amd64 kernel", async () => {
    const { vmlinuz: kernel } = await debianKernel("amd64");
    const guest = loadLinuxSync({ kernel, memory: 256 * MIB, decoders });
    const root = pageTableTree(guest.memory, guest.registers, guest.architecture);
    const directories = root?.entries[0]?.children()?.entries.filter(({ present }) => present) ?? [];
    assert.equal(directories.length, 4);
    for (const { role, fields, name } of guest.registerList.map(describeRegister)) {
      assert.notEqual(role, "", name);
      assert.ok(
        fields.every(({ name: field }) => field !== "reserved"),
        name,
      );
    }
  });
});
