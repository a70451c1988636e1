/** The reset ROM as objdump reads it; that it starts kernels is shown by the boots. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { buildResetRom, type X86State } from "../../../src/hosts/qemu/reset-rom.js";
import type { SegmentRegister } from "../../../src/importers/importer.js";
import { refusal } from "../../support/refusal.js";
import { tempFolder } from "../../support/temp-folder.js";
import { runTool } from "../../support/tool.js";

const ROM_BASE = 0xffff_0000;
const RESET_VECTOR_OFFSET = 0xfff0;

/** The selectors and attributes of SPEC §6. */
const CODE64: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x8, attributes: 0xa09b };
const DATA64: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x10, attributes: 0xc093 };
/** Those of the 32-bit protocol: SPEC §10. */
const CODE32: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x10, attributes: 0xc09b };
const DATA32: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x18, attributes: 0xc093 };

/** The registers that OpenVMM's load_config gives a 64-bit kernel at 16 MiB. */
const LONG: X86State = {
  gdtr: { base: 0x1000n, limit: 31 },
  ds: DATA64,
  es: DATA64,
  fs: DATA64,
  gs: DATA64,
  ss: DATA64,
  cs: CODE64,
  cr0: 0x8000_0001n,
  cr3: 0x4000n,
  cr4: 0x20n,
  efer: 0xd01n,
  pat: 0x0007_0406_0007_0406n,
  rip: 0x100_0000n,
  rsi: 0x2000n,
  mtrrDefType: 0xc00n,
  mtrrFix64k00000: 0x0606_0606_0606_0606n,
};

const PROTECTED: X86State = {
  gdtr: { base: 0x1000n, limit: 31 },
  ds: DATA32,
  es: DATA32,
  ss: DATA32,
  cs: CODE32,
  cr0: 0x1n,
  rip: 0x10_0000n,
  rsi: 0x2000n,
};

const OTHERS: X86State = {
  idtr: { base: 0x5000n, limit: 0xfff },
  tr: { base: 0n, limit: 0x67, selector: 0x18, attributes: 0x8b },
  rflags: 0x246n,
  mtrrPhysBase0: 0x6n,
  mtrrPhysMask0: 0xf_f800_0800n,
  mtrrPhysMask4: 0xc_0000_0800n,
  mtrrFix4kF8000: 0xf8n,
  r8: 0x8888_8888_8888_8888n,
  r12: 0xffff_ffff_ffff_ffffn,
};

const folder = tempFolder();

/** The instructions from an offset on, up to a jump out of this code. 16-bit code runs at offsets in its segment. */
function disassemble(rom: Uint8Array, codeSize: 16 | 32 | 64, start: number): string[] {
  const file = join(folder, "rom.bin");
  writeFileSync(file, rom);
  const base = codeSize === 16 ? 0 : ROM_BASE;
  const machine = { 16: "i8086", 32: "i386", 64: "i386:x86-64" }[codeSize];
  const output = runTool("binutils", "objdump", [
    ...["-D", "-b", "binary", "-m", machine, "-M", "intel", "--wide", `--adjust-vma=${base}`],
    ...[`--start-address=${base + start}`, `--stop-address=${base + RESET_VECTOR_OFFSET}`, file],
  ]);
  const texts = [...String(output).matchAll(/^ *[0-9a-f]+:\t[0-9a-f ]+\t([^\n#]*)/gm)].map(([, text = ""]) =>
    text.trim().replace(/ +/g, " "),
  );
  // A far jump within the ROM leads from 32-bit code to 64-bit code, and to itself in the 32-bit entry.
  const end = texts.findIndex((text) => /^jmp (0x8:|0x[0-9a-f]+$|QWORD)/.test(text));
  return texts.slice(0, end + 1);
}

interface Listing {
  readonly rom: Uint8Array;
  readonly real: readonly string[];
  readonly protected: readonly string[];
  readonly long: readonly string[];
}

function listing(state: X86State): Listing {
  const rom = buildResetRom(state);
  const target = (code: readonly string[]): number => Number(code.at(-1)?.split(":")[1]) - ROM_BASE;
  const real = disassemble(rom, 16, 0xf000);
  const code = disassemble(rom, 32, target(real));
  const isLong = code.at(-1)?.startsWith("jmp 0x8:") === true;
  return { rom, real, protected: code, long: isLong ? disassemble(rom, 64, target(code)) : [] };
}

/** The integer at a linear address in the ROM. */
function wordAt(rom: Uint8Array, address: number, byteLength: 2 | 4 | 8): bigint {
  const view = new DataView(rom.buffer, address - ROM_BASE);
  if (byteLength === 8) return view.getBigUint64(0, true);
  return BigInt(byteLength === 2 ? view.getUint16(0, true) : view.getUint32(0, true));
}

describe("the reset ROM", () => {
  test("jumps from the reset vector to its first instruction, within the segment", () => {
    const rom = buildResetRom(LONG);
    assert.equal(rom.byteLength, 65536);
    assert.equal(rom[RESET_VECTOR_OFFSET], 0xe9);
    assert.equal(
      RESET_VECTOR_OFFSET + 3 + new DataView(rom.buffer).getInt16(RESET_VECTOR_OFFSET + 1, true),
      0xf000,
    );
  });

  test("leaves real mode through a flat temporary GDT", () => {
    const { rom, real } = listing(LONG);
    assert.deepEqual(real, [
      "cli",
      "lgdtd cs:0xe018",
      "mov eax,cr0",
      "or al,0x1",
      "mov cr0,eax",
      "jmp 0x8:0xfffff018",
    ]);
    assert.equal(wordAt(rom, 0xffff_e018, 2), 23n, "limit");
    assert.equal(wordAt(rom, 0xffff_e01a, 4), 0xffff_e000n, "base");
    assert.equal(wordAt(rom, 0xffff_e008, 8), 0x00cf_9b00_0000_ffffn, "code");
    assert.equal(wordAt(rom, 0xffff_e010, 8), 0x00cf_9300_0000_ffffn, "data");
  });

  test("enters long mode in the processor's order: GDT, CR4, CR3, EFER without LMA, CR0, far jump", () => {
    const { rom, protected: code } = listing(LONG);
    assert.deepEqual(code.slice(code.indexOf("lgdtd ds:0xffffe020"), -1), [
      "lgdtd ds:0xffffe020",
      "mov eax,0x20",
      "mov cr4,eax",
      "mov eax,0x4000",
      "mov cr3,eax",
      "mov ecx,0xc0000080",
      "mov edx,0x0",
      "mov eax,0x901",
      "wrmsr",
      "mov eax,0x80000001",
      "mov cr0,eax",
    ]);
    assert.equal(wordAt(rom, 0xffff_e020, 2), 31n);
    assert.equal(wordAt(rom, 0xffff_e022, 4), 0x1000n);
  });

  test("switches the caches on, then writes PAT and MTRRs, and the MTRRs on after all of them", () => {
    const { protected: code } = listing({ ...LONG, ...OTHERS });
    const written = code.filter((text) => text.startsWith("mov ecx,")).map((text) => Number(text.slice(8)));
    assert.deepEqual(written, [0x277, 0x200, 0x201, 0x209, 0x250, 0x26f, 0x2ff, 0xc000_0080]);
    assert.ok(code.indexOf("and eax,0x9fffffff") < code.indexOf("mov ecx,0x277"));
    const at = code.indexOf("mov ecx,0x201");
    assert.deepEqual(code.slice(at + 1, at + 4), ["mov edx,0xf", "mov eax,0xf8000800", "wrmsr"]);
    assert.ok(!listing(PROTECTED).protected.includes("wrmsr"), "no MSR that is not given");
  });

  test("loads segments, IDT, flags and every general register in 64-bit code, then jumps", () => {
    const { rom, long } = listing({ ...LONG, ...OTHERS });
    const general = long.indexOf("popf");
    assert.deepEqual(long.slice(general + 1, -1), [
      ...["rax", "rcx", "rdx", "rbx", "rsp", "rbp"].map((name) => `movabs ${name},0x0`),
      "movabs rsi,0x2000",
      "movabs rdi,0x0",
      "movabs r8,0x8888888888888888",
      ...["r9", "r10", "r11"].map((name) => `movabs ${name},0x0`),
      "movabs r12,0xffffffffffffffff",
      ...["r13", "r14", "r15"].map((name) => `movabs ${name},0x0`),
    ]);
    assert.equal(wordAt(rom, Number(long[general - 1]?.replace("movabs rsp,", "")), 8), 0x246n, "rflags");
    assert.ok(long.includes("ltr ax"));
    assert.ok(!listing(LONG).long.includes("ltr ax"), "no TR that is not given");
    // Data is placed in the order of its use: GDTR, IDTR, RFLAGS, RIP.
    assert.match(long[general - 2] ?? "", /^lidt \[rip\+/);
    assert.equal(wordAt(rom, 0xffff_e028, 2), 0xfffn);
    assert.equal(wordAt(rom, 0xffff_e02a, 8), 0x5000n);
    assert.match(long.at(-1) ?? "", /^jmp QWORD PTR \[rip\+/);
    assert.equal(wordAt(rom, 0xffff_e040, 8), 0x100_0000n);
  });

  test("makes the 32-bit entry when CR0.PG is clear, with bit 1 of the flags set", () => {
    const { rom, protected: code, long } = listing({ ...PROTECTED, rflags: 0x40n });
    assert.deepEqual(long, []);
    const flags = code.indexOf("popf");
    assert.equal(wordAt(rom, Number(code[flags - 1]?.replace("mov esp,", "")), 4), 0x42n);
    assert.match(code[flags + 1] ?? "", /^jmp 0x10:0xfffff/);
    const segments = [
      ["0x18", "ds"],
      ["0x18", "es"],
      ["0x0", "fs"],
      ["0x0", "gs"],
      ["0x18", "ss"],
    ] as const;
    assert.deepEqual(code.slice(flags + 2), [
      ...segments.flatMap(([value, name]) => [`mov eax,${value}`, `mov ${name},eax`]),
      ...["eax", "ecx", "edx", "ebx", "esp", "ebp"].map((name) => `mov ${name},0x0`),
      "mov esi,0x2000",
      "mov edi,0x0",
      "jmp 0x100000",
    ]);
  });

  test("refuses what 32-bit code can't load", () => {
    for (const [state, said] of [
      [{ ...LONG, cr3: 0x1_0000_0000n }, "cr3 is 0x100000000"],
      [{ ...LONG, gdtr: { base: 0x1_0000_0000n, limit: 31 } }, "gdtr.base is 0x100000000"],
      [{ ...PROTECTED, rip: 0x1_0000_0000n }, "rip is 0x100000000"],
    ] as const) {
      assert.throws(() => buildResetRom(state), refusal("PLAN_INVALID", said));
    }
  });
});
