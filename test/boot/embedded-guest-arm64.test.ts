/**
 * The embedded arm64 guest, booted in QEMU from directboot's pages and registers, reads back what it was started
 * with. Each value is compared with the plan, or with what the host computes by other means (zlib, fdtget, QEMU's own
 * device tree).
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import {
  type Aarch64Register,
  type Aarch64RegisterName,
  applyPlanSync,
  GuestMemory,
  GuestMemoryImporter,
  planLinuxSync,
} from "../../src/index.js";
import { directboot } from "../support/command.js";
import { AARCH64_GUEST } from "../support/paths.js";
import { runTool } from "../support/tool.js";
import { parseReport, reportNumber } from "./support/report.js";

const MIB = 1 << 20;
const COMMAND_LINE = 'console=ttyAMA0 name=Grüße quoted="a b" 起動 last';
const INITRD = Uint8Array.from({ length: 3 * MIB + 123 }, (_, i) => (i * 7 + (i >> 8) * 13) & 255);
const RAM_START = 0x4000_0000n;
// PSTATE as SPSR_EL1 holds it: Arm Architecture Reference Manual (DDI 0487), C5.2.19.
const CPSR_DAIF = 0x3c0n;
const CPSR_CURRENT_EL = 0xcn;
const CPSR_SPSEL = 1n;

function isJson(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

for (const { cpu, megabytes, givesTree } of [
  { cpu: "cortex-a57", megabytes: 256, givesTree: true },
  { cpu: "max", megabytes: 512, givesTree: false },
]) {
  const whose = givesTree ? "a device tree by --dtb" : "the device tree that boot dumps";
  describe(`the embedded arm64 guest on virt, CPU ${cpu}, ${megabytes} MiB, ${whose}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
    const initrd = join(folder, "initrd, with a comma.bin");
    const machineTree = join(folder, "machine.dtb");
    let report: ReadonlyMap<string, string> = new Map();
    let bootInfo: unknown;
    const number = (name: string): bigint => reportNumber(report, name);

    // The machine's own tree, asked for by other arguments than directboot's.
    runTool("qemu-system-arm", "qemu-system-aarch64", [
      ...["-machine", `virt,dumpdtb=${machineTree},dtb-randomness=off`],
      ...["-cpu", cpu, "-m", `${megabytes}M`, "-smp", "1"],
    ]);
    const plan = planLinuxSync({
      kernel: AARCH64_GUEST,
      initrd: INITRD,
      commandLine: COMMAND_LINE,
      memory: megabytes * MIB,
      deviceTree: machineTree,
    });
    const importer = new GuestMemoryImporter<Aarch64Register>(GuestMemory.create(plan.layout));
    applyPlanSync(plan, importer);
    const guest = importer.memory;
    const register = new Map(importer.registerList.map(({ name, value }) => [name, value]));
    const value = (name: Aarch64RegisterName): bigint => register.get(name) ?? 0n;
    const dtb = plan.info.dtb ?? { start: 0n, end: 0n };
    const tree = guest.read(dtb.start, Number(dtb.end - dtb.start));

    before(async () => {
      writeFileSync(initrd, INITRD);
      const { status, stdout, stderr } = await directboot([
        ...["boot", AARCH64_GUEST, "--initrd", initrd, "--append", COMMAND_LINE],
        ...["--memory", `${megabytes}M`, "--cpu", cpu, "--timeout", "120", "--json"],
        ...(givesTree ? ["--dtb", machineTree] : []),
      ]);
      assert.equal(status, 0, stderr);
      const result: unknown = JSON.parse(stdout);
      assert.ok(isJson(result) && typeof result["serial"] === "string");
      assert.equal(result["machine"], "virt");
      bootInfo = result["info"];
      report = parseReport(result["serial"]);
    });
    after(() => {
      plan.close();
      rmSync(folder, { recursive: true, force: true });
    });

    test("is loaded by the command where the plan says", () => {
      assert.deepEqual(bootInfo, JSON.parse(JSON.stringify(plan.info)));
    });

    test("finds the system registers of the plan, and zero in those that the plan leaves out", () => {
      for (const name of ["sctlrEl1", "tcrEl1", "ttbr0El1", "ttbr1El1", "vbarEl1", "mairEl1"] as const) {
        assert.equal(number(name), value(name), name);
      }
      assert.ok(register.has("sctlrEl1") && register.has("tcrEl1"));
    });

    test("finds the plan's CPSR in DAIF, CurrentEL and SPSel: EL1 with its own stack pointer, all masked", () => {
      const cpsr = value("cpsr");
      assert.equal(number("daif"), cpsr & CPSR_DAIF);
      assert.equal(number("currentEl"), cpsr & CPSR_CURRENT_EL);
      assert.equal(number("spsel"), cpsr & CPSR_SPSEL);
      assert.deepEqual([number("daif"), number("currentEl"), number("spsel")], [0x3c0n, 4n, 1n]);
    });

    test("is entered at PC, with x0 at the device tree and x1 to x3 zero", () => {
      assert.equal(number("pc"), value("pc"));
      assert.equal(number("pc"), plan.info.kernel.entrypoint);
      assert.equal(number("x0"), value("x0"));
      assert.equal(number("x0"), dtb.start);
      for (const name of ["x1", "x2", "x3"]) assert.equal(number(name), 0n, name);
    });

    test("finds the device tree of the plan, byte for byte", () => {
      assert.equal(number("dtbMagic"), 0xd00d_feedn);
      assert.equal(number("dtbTotalSize"), BigInt(tree.byteLength));
      assert.equal(number("dtbCrc32"), BigInt(zlibCrc32(tree)));
    });

    test("finds the command line in /chosen, in UTF-8", () => {
      assert.equal(report.get("bootargs"), COMMAND_LINE);
    });

    test("finds the initrd where the plan and /chosen say, whole", () => {
      const start = plan.info.initrd?.gpa ?? 0n;
      assert.equal(number("initrdStart"), start);
      assert.equal(number("initrdEnd"), start + BigInt(INITRD.byteLength));
      assert.equal(number("initrdCrc32"), BigInt(zlibCrc32(INITRD)));
    });

    test("finds in /memory the RAM of the machine, which is that of the plan", () => {
      const memory = [...report].filter(([name]) => name.startsWith("memory["));
      const size = BigInt(megabytes * MIB);
      assert.deepEqual(memory, [["memory[0]", `0x${RAM_START.toString(16)} 0x${size.toString(16)}`]]);
      const cells = runTool("device-tree-compiler", "fdtget", [
        ...["-t", "x", machineTree, "/memory@40000000", "reg"],
      ]);
      assert.equal(cells.trim(), `0 ${RAM_START.toString(16)} 0 ${size.toString(16)}`);
      assert.deepEqual(
        plan.layout.ram.map(({ range }) => [range.start, range.end]),
        [[RAM_START, RAM_START + size]],
      );
    });

    test("finds its own image as in the file, and zeros in its bss", () => {
      assert.equal(number("imageCrc32"), BigInt(zlibCrc32(readFileSync(AARCH64_GUEST))));
      assert.equal(number("bssNonzero"), 0n);
    });
  });
}

describe("the embedded arm64 guest", () => {
  test("boots with RAM of no whole MiB, from a temporary folder with a comma, its initrd where the stub would be", async () => {
    const folder = mkdtempSync(join(tmpdir(), "directboot-test, comma-"));
    try {
      const initrd = join(folder, "initrd");
      writeFileSync(initrd, new Uint8Array(0x2000).fill(7));
      // 0x7dc000 bytes: QEMU's machine gets the next MiB.
      const { status, stdout, stderr } = await directboot(
        [
          ...["boot", AARCH64_GUEST, "--memory", "8048K", "--timeout", "120"],
          ...["--initrd", initrd, "--initrd-address", "0x407da000"],
        ],
        { env: { ...process.env, TMPDIR: folder } },
      );
      assert.equal(status, 0, stderr);
      const report = parseReport(stdout);
      assert.equal(report.get("memory[0]"), "0x40000000 0x800000");
      const crc32 = zlibCrc32(new Uint8Array(0x2000).fill(7));
      assert.equal(reportNumber(report, "initrdCrc32"), BigInt(crc32));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
