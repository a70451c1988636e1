/**
 * Debian's arm64 kernel reaches userspace in QEMU from exactly the pages and registers that directboot made, and
 * sees what the plan says: once through the command `boot` with QEMU's own device tree, once from an export by a
 * script that shares no code.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { applyPlanSync, GuestMemory, GuestMemoryImporter, planLinuxSync } from "../../src/index.js";
import { directboot, runProgram } from "../support/command.js";
import { inRoot } from "../support/paths.js";
import { runTool } from "../support/tool.js";
import { busybox, debianKernel } from "./support/debian.js";
import { busyboxInitramfs, initThatAlso, parseInitReport } from "./support/initramfs.js";

const COMMAND_LINE = "console=ttyAMA0 panic=-1 directboot.test=42";
// Seconds; a machine under load has needed ten times its usual time.
const TIMEOUT = "240";
const TIMEOUT_MILLISECONDS = 300_000;

/** What init says beyond `DEFAULT_INIT`: the device tree as the kernel has it. */
const INIT = initThatAlso(
  "for end in start end; do",
  `  echo "initrd-$end: $($b od -An -v -tx1 /proc/device-tree/chosen/linux,initrd-$end | $b tr -d ' ')"`,
  "done",
  'echo "tree: $($b sha256sum </sys/firmware/fdt)"',
);

interface Manifest {
  readonly version: number;
  readonly arch: string;
  readonly entryMode: string;
  readonly ram: readonly { start: string; end: string }[];
  readonly regions: readonly {
    gpa: string;
    length: string;
    fileLength: string;
    offset: string;
    tag: string;
  }[];
  readonly registers: Record<string, string>;
  readonly info: {
    kernel: { gpa: string; size: string; entrypoint: string };
    initrd: { gpa: string; size: string };
    dtb: { start: string; end: string };
  };
}

/** A range of addresses, `[start, end)`. */
interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/** What the kernel must find. */
interface Expectation {
  readonly ram: readonly Range[];
  /** Where the kernel's image lies, with its bss. */
  readonly kernel: Range;
  readonly initrd: Range;
  readonly tree: Uint8Array;
}

/** The machine's device tree, as QEMU writes it. */
function dumpTree(file: string, memory: string): void {
  runTool("qemu-system-arm", "qemu-system-aarch64", [
    ...["-machine", `virt,dumpdtb=${file},dtb-randomness=off`],
    ...["-cpu", "cortex-a57", "-m", memory, "-smp", "1"],
  ]);
}

/** Ranges of /proc/iomem with that name, at any depth. */
function iomemRanges(lines: readonly string[], name: string): Range[] {
  return lines.flatMap((line) => {
    const [, first, last, what] = /^ *([0-9a-f]+)-([0-9a-f]+) : (.*)$/.exec(line) ?? [];
    if (what !== name) return [];
    return [{ start: BigInt(`0x${first}`), end: BigInt(`0x${last}`) + 1n }];
  });
}

function checkReport(serial: string, expected: Expectation): void {
  const report = parseInitReport(serial);
  assert.ok(report?.complete, "init did not reach its marker");
  assert.equal(report.cmdline, COMMAND_LINE);
  assert.match(report.uname ?? "", /aarch64/);

  assert.deepEqual(iomemRanges(report.iomem, "System RAM"), expected.ram, report.iomem.join("\n"));
  // Without an EFI stub nobody moves the kernel: it runs where it was loaded.
  for (const name of ["Kernel code", "Kernel data"]) {
    const [found] = iomemRanges(report.iomem, name);
    assert.ok(found !== undefined, report.iomem.join("\n"));
    assert.ok(expected.kernel.start <= found.start && found.end <= expected.kernel.end, name);
  }

  const said = (what: string): string | undefined =>
    new RegExp(`^${what}: ([0-9a-f]+)`, "m").exec(serial.replaceAll("\r", ""))?.[1];
  const cells = (address: bigint): string => address.toString(16).padStart(16, "0");
  assert.equal(said("initrd-start"), cells(expected.initrd.start));
  assert.equal(said("initrd-end"), cells(expected.initrd.end));
  // The kernel keeps the tree that x0 led it to, and shows it only if it is unharmed.
  assert.equal(said("tree"), createHash("sha256").update(expected.tree).digest("hex"));
}

describe("Debian's arm64 kernel", () => {
  const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
  const initrd = join(folder, "initrd.img");
  const out = join(folder, "export");
  let image = "";

  before(async () => {
    ({ vmlinuz: image } = await debianKernel("arm64"));
    const box = readFileSync(await busybox("arm64"));
    writeFileSync(initrd, busyboxInitramfs({ busybox: box, init: INIT }));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** What a plan with that tree says, by the library. */
  const expectationOf = (deviceTree: string, memory: number): Expectation => {
    const plan = planLinuxSync({ kernel: image, initrd, commandLine: COMMAND_LINE, memory, deviceTree });
    try {
      const importer = new GuestMemoryImporter(GuestMemory.create(plan.layout));
      applyPlanSync(plan, importer);
      const { kernel, initrd: ramdisk, dtb } = plan.info;
      assert.ok(ramdisk !== undefined && dtb !== undefined);
      return {
        ram: plan.layout.ram.map(({ range: { start, end } }) => ({ start, end })),
        kernel: { start: kernel.gpa, end: kernel.entrypoint + kernel.size },
        initrd: { start: ramdisk.gpa, end: ramdisk.gpa + ramdisk.size },
        tree: importer.memory.read(dtb.start, Number(dtb.end - dtb.start)),
      };
    } finally {
      plan.close();
    }
  };

  test("reaches its init by `directboot boot` with QEMU's own device tree, and finds what the plan says", async () => {
    const { status, stdout, stderr } = await directboot(
      [
        ...["boot", image, "--initrd", initrd, "--append", COMMAND_LINE],
        ...["--memory", "256M", "--timeout", TIMEOUT],
      ],
      { timeoutMs: TIMEOUT_MILLISECONDS },
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /Linux version 6\./);
    assert.match(stdout, /Kernel command line: console=ttyAMA0/);
    assert.match(stderr, /linux-device-tree/);
    assert.doesNotMatch(stderr, /\u2588|\u2591/, "no progress bar in a pipe");
    const tree = join(folder, "256M.dtb");
    dumpTree(tree, "256M");
    const expected = expectationOf(tree, 256 << 20);
    assert.deepEqual(expected.ram, [{ start: 0x4000_0000n, end: 0x5000_0000n }]);
    checkReport(stdout, expected);
  });

  describe("exported with a device tree", () => {
    const tree = join(folder, "512M.dtb");
    let manifest: Manifest;
    const regionBytes = (tag: string): Buffer => {
      const region = manifest.regions.find((each) => each.tag === tag);
      assert.ok(region !== undefined, tag);
      const offset = Number(region.offset);
      return readFileSync(join(out, "memory.bin")).subarray(offset, offset + Number(region.fileLength));
    };

    before(async () => {
      dumpTree(tree, "512M");
      const { status, stderr } = await directboot([
        ...["export", image, "--initrd", initrd, "--append", COMMAND_LINE],
        ...["--memory", "512M", "--dtb", tree, "--out", out],
      ]);
      assert.equal(status, 0, stderr);
      manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
    });

    test("reaches its init, booted by a script that shares no code with directboot", async () => {
      const { status, stdout, stderr } = await runProgram(
        process.execPath,
        [inRoot("test/boot/independent-boot.mjs"), out, "--timeout", TIMEOUT],
        { timeoutMs: TIMEOUT_MILLISECONDS },
      );
      assert.equal(status, 0, stderr);
      const { kernel, initrd: ramdisk, dtb } = manifest.info;
      const range = (start: string, length: string): Range => ({
        start: BigInt(start),
        end: BigInt(start) + BigInt(length),
      });
      // The export leaves the zeros at the tree's end out.
      const whole = new Uint8Array(Number(BigInt(dtb.end) - BigInt(dtb.start)));
      whole.set(regionBytes("linux-device-tree"));
      checkReport(stdout, {
        ram: [{ start: 0x4000_0000n, end: 0x6000_0000n }],
        kernel: range(kernel.entrypoint, kernel.size),
        initrd: range(ramdisk.gpa, ramdisk.size),
        tree: whole,
      });
    });

    test("is a manifest for aarch64, whose regions lie back to back in memory.bin and not on each other", () => {
      assert.deepEqual([manifest.version, manifest.arch, manifest.entryMode], [1, "aarch64", "aarch64"]);
      assert.deepEqual(manifest.ram, [{ start: "0x40000000", end: "0x60000000" }]);
      assert.deepEqual(
        manifest.regions.map(({ tag }) => tag),
        ["linux-kernel", "linux-device-tree", "linux-initrd"],
      );
      let offset = 0n;
      let address = 0x4020_0000n;
      for (const region of manifest.regions) {
        assert.equal(BigInt(region.offset), offset);
        assert.ok(BigInt(region.fileLength) <= BigInt(region.length));
        assert.ok(BigInt(region.gpa) >= address, region.tag);
        offset += BigInt(region.fileLength);
        address = BigInt(region.gpa) + BigInt(region.length);
      }
      assert.equal(BigInt(statSync(join(out, "memory.bin")).size), offset);
    });

    test("has the kernel's bytes, and room for all that its header asks for", () => {
      const file = readFileSync(image);
      // Documentation/arch/arm64/booting.rst, section 4: text_offset and image_size.
      const textOffset = file.readBigUInt64LE(8);
      const imageSize = file.readBigUInt64LE(16);
      const [kernel] = manifest.regions;
      assert.equal(BigInt(kernel?.gpa ?? 0), 0x4020_0000n + textOffset);
      assert.ok(BigInt(kernel?.length ?? 0) >= imageSize);
      const bytes = regionBytes("linux-kernel");
      assert.ok(bytes.equals(file.subarray(0, bytes.length)));
      assert.ok(file.subarray(bytes.length).every((byte) => byte === 0));
    });

    test("starts at the kernel's first byte, with x0 at the device tree", () => {
      assert.equal(manifest.registers["pc"], manifest.info.kernel.entrypoint);
      assert.equal(manifest.registers["x0"], manifest.info.dtb.start);
      assert.deepEqual(Object.keys(manifest.registers), [
        ...["pc", "cpsr", "sctlrEl1", "tcrEl1", "ttbr0El1", "ttbr1El1", "vbarEl1", "x0"],
      ]);
    });

    test("has a device tree whose /chosen fdtget reads: the command line and the initrd's place", () => {
      const file = join(folder, "exported.dtb");
      const { dtb, initrd: ramdisk } = manifest.info;
      const whole = new Uint8Array(Number(BigInt(dtb.end) - BigInt(dtb.start)));
      whole.set(regionBytes("linux-device-tree"));
      writeFileSync(file, whole);
      const chosen = (type: string, name: string): string =>
        runTool("device-tree-compiler", "fdtget", ["-t", type, file, "/chosen", name]).trim();
      const cells = (address: bigint): string =>
        `${(address >> 32n).toString(16)} ${(address & 0xffff_ffffn).toString(16)}`;
      assert.equal(chosen("s", "bootargs"), COMMAND_LINE);
      assert.equal(chosen("x", "linux,initrd-start"), cells(BigInt(ramdisk.gpa)));
      assert.equal(chosen("x", "linux,initrd-end"), cells(BigInt(ramdisk.gpa) + BigInt(ramdisk.size)));
      assert.equal(BigInt(ramdisk.size), BigInt(statSync(initrd).size));
    });
  });
});
