import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { DirectBootError } from "../../../src/base/errors.js";
import type { CodeSize, Instruction } from "../../../src/hosts/qemu/assembler.js";
import { assembleResetRom, buildResetRom, type ResetRom } from "../../../src/hosts/qemu/reset-rom.js";
import type { SegmentRegister, X86Register } from "../../../src/importers/importer.js";

const ROM_BASE = 0xffff_0000;
const RESET_VECTOR_OFFSET = 0xfff0;

/** The selectors and attributes of SPEC §6. */
const CODE64: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x8, attributes: 0xa09b };
const DATA64: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x10, attributes: 0xc093 };
/** Those of the 32-bit protocol: SPEC §10. */
const CODE32: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x10, attributes: 0xc09b };
const DATA32: SegmentRegister = { base: 0n, limit: 0xffff_ffff, selector: 0x18, attributes: 0xc093 };

/** What load_config gives a 64-bit kernel at 16 MiB. */
const LONG_REGISTERS: readonly X86Register[] = [
  { name: "gdtr", value: { base: 0x1000n, limit: 31 } },
  { name: "ds", value: DATA64 },
  { name: "es", value: DATA64 },
  { name: "fs", value: DATA64 },
  { name: "gs", value: DATA64 },
  { name: "ss", value: DATA64 },
  { name: "cs", value: CODE64 },
  { name: "cr0", value: 0x8000_0001n },
  { name: "cr3", value: 0x4000n },
  { name: "cr4", value: 0x20n },
  { name: "efer", value: 0xd01n },
  { name: "pat", value: 0x0007_0406_0007_0406n },
  { name: "rip", value: 0x100_0000n },
  { name: "rsi", value: 0x2000n },
  { name: "mtrrDefType", value: 0xc00n },
  { name: "mtrrFix64k00000", value: 0x0606_0606_0606_0606n },
  { name: "mtrrFix16k80000", value: 0x0606_0606_0606_0606n },
];

const PROTECTED_REGISTERS: readonly X86Register[] = [
  { name: "gdtr", value: { base: 0x1000n, limit: 31 } },
  { name: "ds", value: DATA32 },
  { name: "es", value: DATA32 },
  { name: "ss", value: DATA32 },
  { name: "cs", value: CODE32 },
  { name: "cr0", value: 0x1n },
  { name: "rip", value: 0x10_0000n },
  { name: "rsi", value: 0x2000n },
];

/** All the others, each with a value of its own. */
const REMAINING_REGISTERS: readonly X86Register[] = [
  { name: "idtr", value: { base: 0x5000n, limit: 0xfff } },
  { name: "tr", value: { base: 0n, limit: 0x67, selector: 0x18, attributes: 0x8b } },
  { name: "rflags", value: 0x246n },
  { name: "rsp", value: 0x9_0000n },
  { name: "rbp", value: 0x5b50n },
  { name: "rax", value: 0xa5a5n },
  { name: "rbx", value: 0xb5b5n },
  { name: "rcx", value: 0xc5c5n },
  { name: "rdx", value: 0xd5d5n },
  { name: "rdi", value: 0xd1d1n },
  { name: "mtrrPhysBase0", value: 0x6n },
  { name: "mtrrPhysMask0", value: 0xf_f800_0800n },
  { name: "mtrrPhysBase1", value: 0x800_0006n },
  { name: "mtrrPhysMask1", value: 0xf_8000_0800n },
  { name: "mtrrPhysBase2", value: 0x1_0000_0006n },
  { name: "mtrrPhysMask2", value: 0xf_0000_0800n },
  { name: "mtrrPhysBase3", value: 0x800_0000_0006n },
  { name: "mtrrPhysMask3", value: 0xe_0000_0800n },
  { name: "mtrrPhysBase4", value: 0x900_0000_0006n },
  { name: "mtrrPhysMask4", value: 0xc_0000_0800n },
  { name: "mtrrFix4kE0000", value: 0xe0n },
  { name: "mtrrFix4kE8000", value: 0xe8n },
  { name: "mtrrFix4kF0000", value: 0xf0n },
  { name: "mtrrFix4kF8000", value: 0xf8n },
];

const EXTENDED_REGISTERS: readonly X86Register[] = [
  { name: "r8", value: 0x8888_8888_8888_8888n },
  { name: "r9", value: 0x9999_9999_9999_9999n },
  { name: "r10", value: 0x1010_1010_1010_1010n },
  { name: "r11", value: 0x1111_1111_1111_1111n },
  { name: "r12", value: 0xffff_ffff_ffff_ffffn },
];

/** `registers` with those of `changes` in the place of their own. */
function changed(registers: readonly X86Register[], ...changes: readonly X86Register[]): X86Register[] {
  return [...registers.filter(({ name }) => !changes.some((change) => change.name === name)), ...changes];
}

function without(registers: readonly X86Register[], name: X86Register["name"]): X86Register[] {
  return registers.filter((register) => register.name !== name);
}

function assertRefused(registers: readonly X86Register[], message: RegExp): void {
  assert.throws(
    () => buildResetRom(registers),
    (error) =>
      error instanceof DirectBootError && error.code === "PLAN_INVALID" && message.test(error.message),
  );
}

function texts(rom: ResetRom, codeSize: CodeSize): string[] {
  return rom.instructions
    .filter((instruction) => instruction.codeSize === codeSize && instruction.offset < RESET_VECTOR_OFFSET)
    .map(({ text }) => text);
}

/** The 8 bytes, at most, that lie at a linear address in the ROM. */
function romWord(rom: ResetRom, address: number, byteLength: 2 | 4 | 8): bigint {
  const view = new DataView(rom.bytes.buffer, address - ROM_BASE);
  if (byteLength === 2) return BigInt(view.getUint16(0, true));
  return byteLength === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
}

describe("the reset ROM", () => {
  test("is 64 KiB", () => {
    assert.equal(buildResetRom(LONG_REGISTERS).length, 65536);
  });

  test("jumps from the reset vector to its first instruction, within the segment", () => {
    const rom = assembleResetRom(LONG_REGISTERS);
    const displacement = new DataView(rom.bytes.buffer).getInt16(RESET_VECTOR_OFFSET + 1, true);
    assert.equal(rom.bytes[RESET_VECTOR_OFFSET], 0xe9);
    assert.equal(RESET_VECTOR_OFFSET + 3 + displacement, rom.instructions[0]?.offset);
  });

  test("is the same for the same registers", () => {
    assert.deepEqual(buildResetRom(LONG_REGISTERS), buildResetRom([...LONG_REGISTERS].reverse()));
  });

  test("leaves real mode through a flat temporary GDT", () => {
    const rom = assembleResetRom(LONG_REGISTERS);
    assert.deepEqual(texts(rom, 16), [
      "cli",
      "lgdtd cs:0xe018",
      "mov eax,cr0",
      "or al,0x1",
      "mov cr0,eax",
      "jmp 0x8:0xfffff018",
    ]);
    assert.equal(romWord(rom, 0xffff_e018, 2), 23n, "limit");
    assert.equal(romWord(rom, 0xffff_e01a, 4), 0xffff_e000n, "base");
    assert.equal(romWord(rom, 0xffff_e008, 8), 0x00cf_9b00_0000_ffffn, "code");
    assert.equal(romWord(rom, 0xffff_e010, 8), 0x00cf_9300_0000_ffffn, "data");
  });

  test("enters long mode in the processor's order: GDT, CR4, CR3, EFER without LMA, CR0, far jump", () => {
    const switching = texts(assembleResetRom(LONG_REGISTERS), 32);
    assert.deepEqual(switching.slice(switching.indexOf("lgdtd ds:0xffffe020")), [
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
      switching.at(-1),
    ]);
    assert.match(String(switching.at(-1)), /^jmp 0x8:0xfffff[0-9a-f]{3}$/);
  });

  test("switches the caches on before it writes PAT and MTRRs, and the MTRRs on after all of them", () => {
    const code = texts(assembleResetRom([...LONG_REGISTERS, ...REMAINING_REGISTERS]), 32);
    const written = code.filter((text) => text.startsWith("mov ecx,"));
    assert.deepEqual(
      written.map((text) => Number(text.slice("mov ecx,".length))),
      [
        0x277, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x250, 0x258, 0x26c,
        0x26d, 0x26e, 0x26f, 0x2ff, 0xc0000080,
      ],
    );
    assert.ok(code.indexOf("and eax,0x9fffffff") < code.indexOf("mov ecx,0x277"));
  });

  test("writes no MSR that the registers do not name", () => {
    const code = texts(assembleResetRom(PROTECTED_REGISTERS), 32);
    assert.ok(!code.includes("wrmsr"));
  });

  test("loads every general register in 64-bit code, those that are not given with zero", () => {
    const code = texts(assembleResetRom([...LONG_REGISTERS, ...EXTENDED_REGISTERS]), 64);
    assert.deepEqual(code.slice(code.indexOf("popf") + 1, -1), [
      "movabs rax,0x0",
      "movabs rcx,0x0",
      "movabs rdx,0x0",
      "movabs rbx,0x0",
      "movabs rsp,0x0",
      "movabs rbp,0x0",
      "movabs rsi,0x2000",
      "movabs rdi,0x0",
      "movabs r8,0x8888888888888888",
      "movabs r9,0x9999999999999999",
      "movabs r10,0x1010101010101010",
      "movabs r11,0x1111111111111111",
      "movabs r12,0xffffffffffffffff",
      "movabs r13,0x0",
      "movabs r14,0x0",
      "movabs r15,0x0",
    ]);
  });

  test("takes RFLAGS from a word in the ROM, with bit 1 set", () => {
    const rom = assembleResetRom(changed(LONG_REGISTERS, { name: "rflags", value: 0x40n }));
    const code = texts(rom, 64);
    const stack = code[code.indexOf("popf") - 1];
    assert.match(String(stack), /^movabs rsp,0xffffe0/);
    assert.equal(romWord(rom, Number(stack?.slice("movabs rsp,".length)), 8), 0x42n);
  });

  test("loads TR only if there is a selector for it", () => {
    assert.ok(!texts(assembleResetRom(LONG_REGISTERS), 64).includes("ltr ax"));
    assert.ok(texts(assembleResetRom([...LONG_REGISTERS, ...REMAINING_REGISTERS]), 64).includes("ltr ax"));
  });

  test("makes each far jump to the instruction behind it", () => {
    for (const registers of [LONG_REGISTERS, PROTECTED_REGISTERS]) {
      const { instructions } = assembleResetRom(registers);
      const jumps = instructions.filter(({ text }) => /^jmp 0x[0-9a-f]+:/.test(text));
      assert.equal(jumps.length, 2);
      for (const { offset, length, text } of jumps) {
        assert.equal(Number(text.split(":")[1]), ROM_BASE + offset + length);
      }
    }
  });

  test("makes the 32-bit entry when CR0.PG is clear", () => {
    const rom = assembleResetRom(PROTECTED_REGISTERS);
    const code = texts(rom, 32);
    assert.deepEqual(texts(rom, 64), []);
    assert.deepEqual(code.slice(code.indexOf("popf") + 2), [
      "mov eax,0x18",
      "mov ds,eax",
      "mov eax,0x18",
      "mov es,eax",
      "mov eax,0x0",
      "mov fs,eax",
      "mov eax,0x0",
      "mov gs,eax",
      "mov eax,0x18",
      "mov ss,eax",
      "mov eax,0x0",
      "mov ecx,0x0",
      "mov edx,0x0",
      "mov ebx,0x0",
      "mov esp,0x0",
      "mov ebp,0x0",
      "mov esi,0x2000",
      "mov edi,0x0",
      "jmp 0x100000",
    ]);
  });
});

describe("the reset ROM as objdump reads it", () => {
  const directory = mkdtempSync(join(tmpdir(), "directboot-reset-rom-"));
  after(() => rmSync(directory, { recursive: true }));

  /** The instructions that lie between `start` and `end`, linear addresses, in the form of our own listing. */
  function disassemble(
    rom: ResetRom,
    codeSize: CodeSize,
    start: number,
    end: number,
  ): Partial<Instruction>[] {
    const file = join(directory, "rom.bin");
    writeFileSync(file, rom.bytes);
    // 16-bit code runs at offsets in its segment.
    const base = codeSize === 16 ? 0 : ROM_BASE;
    const machine = { 16: "i8086", 32: "i386", 64: "i386:x86-64" }[codeSize];
    const result = spawnSync("objdump", [
      ...["-D", "-b", "binary", "-m", machine, "-M", "intel", "--wide", `--adjust-vma=${base}`],
      ...[`--start-address=${base + start}`, `--stop-address=${base + end}`, file],
    ]);
    assert.equal(result.status, 0, `objdump (package binutils): ${result.error?.message ?? result.stderr}`);
    return [...String(result.stdout).matchAll(/^ *([0-9a-f]+):\t([0-9a-f ]+)\t([^\n#]*)/gm)].map(
      ([, address, bytes, text]) => ({
        offset: Number.parseInt(String(address), 16) - base,
        length: String(bytes).trim().split(" ").length,
        codeSize,
        text: String(text).trim().replace(/ +/g, " "),
      }),
    );
  }

  /** Holds the whole listing against objdump, run by run of one code size. */
  function assertListing(rom: ResetRom): void {
    let rest = [...rom.instructions];
    for (let first = rest[0]; first !== undefined; first = rest[0]) {
      const { codeSize, offset } = first;
      const end = rest.findIndex((instruction) => instruction.codeSize !== codeSize);
      const run = end < 0 ? rest : rest.slice(0, end);
      const last = run.at(-1) ?? first;
      assert.deepEqual(disassemble(rom, codeSize, offset, last.offset + last.length), run);
      rest = rest.slice(run.length);
    }
  }

  test("holds the listed instructions for what load_config gives", () => {
    assertListing(assembleResetRom(LONG_REGISTERS));
  });

  test("holds the listed instructions for the 64-bit entry with all registers", () => {
    assertListing(assembleResetRom([...LONG_REGISTERS, ...REMAINING_REGISTERS, ...EXTENDED_REGISTERS]));
  });

  test("holds the listed instructions for the 32-bit entry", () => {
    assertListing(assembleResetRom(PROTECTED_REGISTERS));
  });

  test("holds the listed instructions for the 32-bit entry with all registers", () => {
    const rest: readonly X86Register[] = [
      { name: "cr3", value: 0x4000n },
      { name: "cr4", value: 0x10n },
      { name: "efer", value: 0x1n },
    ];
    assertListing(assembleResetRom([...PROTECTED_REGISTERS, ...REMAINING_REGISTERS, ...rest]));
  });

  test("reads the plan's entry, GDT and IDT where the instructions point", () => {
    const rom = assembleResetRom([...LONG_REGISTERS, ...REMAINING_REGISTERS]);
    const operand = (text: string): number => {
      const found = rom.instructions.find((instruction) => instruction.text.startsWith(text));
      assert.ok(found, text);
      const displacement = BigInt.asIntN(64, BigInt(/0x[0-9a-f]+/.exec(found.text)?.[0] ?? "0"));
      return text.includes("rip")
        ? ROM_BASE + found.offset + found.length + Number(displacement)
        : Number(BigInt.asUintN(32, displacement));
    };
    assert.equal(romWord(rom, operand("jmp QWORD PTR [rip+"), 8), 0x100_0000n);
    assert.equal(romWord(rom, operand("lgdtd ds:"), 2), 31n);
    assert.equal(romWord(rom, operand("lgdtd ds:") + 2, 4), 0x1000n);
    assert.equal(romWord(rom, operand("lidt [rip+"), 2), 0xfffn);
    assert.equal(romWord(rom, operand("lidt [rip+") + 2, 8), 0x5000n);
  });
});

describe("the reset ROM refuses with PLAN_INVALID", () => {
  for (const name of ["gdtr", "cs", "rip", "cr3"] as const) {
    test(`a 64-bit entry without ${name}`, () => {
      assertRefused(without(LONG_REGISTERS, name), new RegExp(`register ${name} is missing`));
    });
  }

  for (const name of ["cr0", "cr4", "efer"] as const) {
    test(`a 64-bit entry without ${name}`, () => {
      assertRefused(without(LONG_REGISTERS, name), new RegExp(`${name}\\b.* 0x0`));
    });
  }

  test("no registers at all", () => {
    assertRefused([], /missing/);
  });

  test("a register that is given twice", () => {
    assertRefused([...LONG_REGISTERS, { name: "rip", value: 0n }], /register rip is given twice/);
  });

  test("a GDT at or above 4 GiB", () => {
    const gdtr: X86Register = { name: "gdtr", value: { base: 0x1_0000_0000n, limit: 31 } };
    assertRefused(changed(LONG_REGISTERS, gdtr), /gdtr\.base is 0x100000000/);
  });

  test("page tables at or above 4 GiB", () => {
    assertRefused(
      changed(LONG_REGISTERS, { name: "cr3", value: 0x1_0000_0000n }),
      /cr3 is 0x100000000, outside 0x0-0xffffffff/,
    );
  });

  test("a value that is negative or passes 64 bits", () => {
    assertRefused(changed(LONG_REGISTERS, { name: "rsi", value: -1n }), /rsi is -0x1/);
    assertRefused(changed(LONG_REGISTERS, { name: "rsi", value: 1n << 64n }), /rsi is 0x10000000000000000/);
  });

  test("a limit that is no integer", () => {
    const gdtr: X86Register = { name: "gdtr", value: { base: 0x1000n, limit: 31.5 } };
    assertRefused(changed(LONG_REGISTERS, gdtr), /gdtr\.limit is 31\.5, no integer/);
  });

  test("a code segment without 64-bit code in the 64-bit entry", () => {
    assertRefused(
      changed(LONG_REGISTERS, { name: "cs", value: { ...CODE64, attributes: 0xc09b } }),
      /bit 13/,
    );
  });

  test("a code segment without 32-bit code in the 32-bit entry", () => {
    assertRefused(
      changed(PROTECTED_REGISTERS, { name: "cs", value: { ...CODE32, attributes: 0x809b } }),
      /bit 14/,
    );
  });

  test("the null selector for CS", () => {
    assertRefused(
      changed(LONG_REGISTERS, { name: "cs", value: { ...CODE64, selector: 3 } }),
      /cs is the null/,
    );
  });

  test("no SS in the 32-bit entry", () => {
    assertRefused(without(PROTECTED_REGISTERS, "ss"), /ss is missing/);
  });

  test("a selector past the end of the GDT", () => {
    assertRefused(
      changed(LONG_REGISTERS, { name: "fs", value: { ...DATA64, selector: 0x20 } }),
      /fs\.selector is 0x20, past gdtr\.limit 0x1f/,
    );
  });

  test("a register of 64 bits in the 32-bit entry", () => {
    assertRefused(changed(PROTECTED_REGISTERS, { name: "rip", value: 0x1_0000_0000n }), /rip is 0x100000000/);
    assertRefused(changed(PROTECTED_REGISTERS, { name: "r8", value: 1n }), /r8 is 0x1, in the 32-bit entry/);
  });
});
