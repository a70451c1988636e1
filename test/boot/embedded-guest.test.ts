/**
 * The embedded x86-64 guest, booted in QEMU from directboot's pages and registers, reads back what it was started
 * with. Each value is compared with the plan, or with what the host computes by other means (zlib).
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import {
  applyPlanSync,
  GuestMemory,
  GuestMemoryImporter,
  planLinuxSync,
  type X86Register,
} from "../../src/index.js";
import { directboot } from "../support/command.js";
import { X86_64_GUEST } from "../support/paths.js";
import { parseReport, reportNumber } from "./support/report.js";

const MIB = 1 << 20;
const COMMAND_LINE = 'console=ttyS0 name=Grüße quoted="a b" last';
const INITRD = Uint8Array.from({ length: 3 * MIB + 123 }, (_, i) => (i * 7 + (i >> 8) * 13) & 255);

function isJson(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

for (const { machine, cpu, memory } of [
  { machine: "microvm", cpu: "max", memory: 256 * MIB },
  { machine: "pc", cpu: "qemu64", memory: 96 * MIB },
]) {
  describe(`the embedded guest on ${machine}, CPU ${cpu}, ${memory / MIB} MiB`, () => {
    const folder = mkdtempSync(join(tmpdir(), "directboot-test-"));
    const initrd = join(folder, "initrd, with a comma.bin");
    let report: ReadonlyMap<string, string> = new Map();
    const number = (name: string): bigint => reportNumber(report, name);

    const plan = planLinuxSync({ kernel: X86_64_GUEST, initrd: INITRD, commandLine: COMMAND_LINE, memory });
    const importer = new GuestMemoryImporter<X86Register>(GuestMemory.create(plan.layout));
    applyPlanSync(plan, importer);
    const guest = importer.memory;
    const register = new Map(importer.registerList.map(({ name, value }) => [name, value]));
    const value = (name: X86Register["name"]): bigint => {
      const found = register.get(name) ?? 0n;
      if (typeof found !== "bigint") throw new TypeError(`${name} is no plain register`);
      return found;
    };
    const fields = (name: "cs" | "ds" | "es" | "fs" | "gs" | "ss" | "gdtr") => {
      const found = register.get(name);
      if (typeof found !== "object") throw new TypeError(`${name} has no fields`);
      return found;
    };

    before(async () => {
      writeFileSync(initrd, INITRD);
      const { status, stdout, stderr } = await directboot([
        "boot",
        ...["--initrd", initrd, "--append", COMMAND_LINE, "--memory", `${memory}`],
        ...["--machine", machine, "--cpu", cpu, "--timeout", "120", "--json"],
      ]);
      assert.equal(status, 0, stderr);
      const result: unknown = JSON.parse(stdout);
      assert.ok(isJson(result) && typeof result["serial"] === "string");
      report = parseReport(result["serial"]);
    });
    after(() => {
      plan.close();
      rmSync(folder, { recursive: true, force: true });
    });

    test("finds the control registers of the plan; CR0.ET (bit 4) is set by nature", () => {
      assert.equal(number("cr0"), value("cr0") | 0x10n);
      for (const name of ["cr3", "cr4", "efer", "pat"] as const)
        assert.equal(number(name), value(name), name);
    });

    test("finds the MTRRs of the plan, and zero in those that the plan leaves out", () => {
      const names = [...report.keys()].filter((name) => name.startsWith("mtrr") && name !== "mtrrCap");
      assert.ok(names.length >= 17, names.join(" "));
      for (const name of names) {
        assert.equal(number(name), value(name as X86Register["name"]), name);
      }
      for (const name of register.keys()) if (name.startsWith("mtrr")) assert.ok(report.has(name), name);
    });

    test("finds GDTR, and the selectors of the plan in every segment register", () => {
      const gdtr = fields("gdtr");
      assert.deepEqual([number("gdtrBase"), number("gdtrLimit")], [gdtr.base, BigInt(gdtr.limit)]);
      for (const name of ["cs", "ds", "es", "fs", "gs", "ss"] as const) {
        const segment = fields(name);
        assert.ok("selector" in segment);
        assert.equal(number(name), BigInt(segment.selector), name);
      }
    });

    test("finds the attributes of the plan in its descriptors; their limit lacks bits 16-19, as OpenVMM's GDT does", () => {
      for (const name of ["cs", "ds"] as const) {
        const segment = fields(name);
        assert.ok("attributes" in segment);
        // lar: bits 8-23 of the descriptor's upper half, the attributes
        assert.equal((number(`${name}Access`) >> 8n) & 0xf0ffn, BigInt(segment.attributes) & 0xf0ffn, name);
        assert.equal(number(`${name}Limit`), 0x0fff_ffffn, name);
      }
    });

    test("is entered at RIP, with RSI at the zero page, interrupts off and all else zero", () => {
      assert.equal(number("rip"), value("rip"));
      assert.equal(number("rsi"), value("rsi"));
      assert.equal(number("rflags"), 2n);
      for (const name of ["rax", "rbx", "rcx", "rdx", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12"]) {
        assert.equal(number(name), 0n, name);
      }
    });

    test("finds the zero page of the plan, byte for byte", () => {
      assert.equal(number("zeroPageCrc32"), BigInt(zlibCrc32(guest.read(value("rsi"), 4096))));
      assert.equal(number("bootFlag"), 0xaa55n);
      assert.equal(number("headerMagic"), 0x5372_6448n);
      assert.equal(number("typeOfLoader"), 0xffn);
      assert.equal(number("sentinel"), 0n);
    });

    test("finds the e820 map: low memory, ACPI, and RAM up to the end of the layout", () => {
      assert.equal(number("e820Entries"), 3n);
      assert.deepEqual(
        [0, 1, 2].map((index) => report.get(`e820[${index}]`)),
        ["0x0 0xe0000 1", "0xe0000 0x2000 3", `0xe2000 0x${(memory - 0xe2000).toString(16)} 1`],
      );
    });

    test("finds the command line, in UTF-8", () => {
      assert.equal(report.get("commandLine"), COMMAND_LINE);
      assert.equal(number("cmdlineSize"), BigInt(Buffer.byteLength(COMMAND_LINE)));
    });

    test("finds the initrd where the plan put it, whole", () => {
      assert.equal(number("ramdiskImage"), plan.info.initrd?.gpa);
      assert.equal(number("ramdiskSize"), BigInt(INITRD.byteLength));
      assert.equal(number("initrdCrc32"), BigInt(zlibCrc32(INITRD)));
    });

    test("finds its own image as in the file, and zeros in its bss", () => {
      const elf = readFileSync(X86_64_GUEST);
      const segment = (index: number): Buffer => {
        const at = Number(elf.readBigUInt64LE(32)) + index * 56;
        const offset = Number(elf.readBigUInt64LE(at + 8));
        return elf.subarray(offset, offset + Number(elf.readBigUInt64LE(at + 32)));
      };
      assert.equal(number("kernelCrc32"), BigInt(zlibCrc32(segment(0))));
      assert.equal(number("dataCrc32"), BigInt(zlibCrc32(segment(1))));
      assert.equal(number("bssNonzero"), 0n);
    });

    test("finds the ACPI pages zero", () => {
      const zeros = BigInt(zlibCrc32(new Uint8Array(4096)));
      assert.equal(number("rsdpCrc32"), zeros);
      assert.equal(number("acpiTablesCrc32"), zeros);
    });

    test("walks page tables that map 4 GiB onto themselves, the bytes of the plan", () => {
      assert.equal(number("pageTables.tables"), 6n);
      assert.equal(number("pageTables.crc32"), BigInt(zlibCrc32(guest.read(value("cr3"), 6 * 4096))));
      assert.equal(number("pageTables.identity"), 1n);
      assert.equal(number("pageTables.mapped"), 1n << 32n);
      assert.equal(number("pageTables.leaf2m"), 2048n);
      assert.equal(number("pageTables.leaf4k") + number("pageTables.leaf1g"), 0n);
    });
  });
}
