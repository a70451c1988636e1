#!/usr/bin/env node
/**
 * Boots what `directboot export` wrote, without a line of directboot: the second opinion on the manifest, on the
 * memory and above all on directboot's own reset ROM and arm64 stub. This file must never import from src/ or dist/.
 *
 *     node test/boot/independent-boot.mjs DIR [--timeout SECONDS]
 *
 * x86_64 and i386 start on microvm, aarch64 on virt. The serial port goes to standard output. Exit status: 0 when QEMU ends by
 * itself, 1 on time-out or any other failure. A guest that triple-faults ends QEMU, too: look for a marker in the output.
 *
 * Needs qemu-system-x86_64, qemu-system-i386 or qemu-system-aarch64, and GNU as, ld and objcopy for the ROM or the stub, which is
 * written in assembly here so that it shares nothing with the machine code that directboot makes.
 */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const FOUR_GIB = 4n * GIB;
/** Where microvm stops RAM below 4 GiB and go on at 4 GiB. */
const LOW_RAM_END = 3n * GIB;
const ROM_SIZE = 0x10000;
const PAGE = 4096n;
/** Where virt has its RAM (QEMU, hw/arm/virt.c, VIRT_MEM). */
const VIRT_RAM_START = 0x4000_0000n;

class Refusal extends Error {}

// ---------------------------------------------------------------------------------------------------------------
// The manifest

/** @param {unknown} condition @param {string} message @returns {asserts condition} */
function check(condition, message) {
  if (!condition) throw new Refusal(message);
}

/** Integers are hex strings; `bits` is what the field may hold. */
function hex(value, where, bits = 64) {
  check(
    typeof value === "string" && /^0x[0-9a-f]+$/i.test(value),
    `${where} is ${JSON.stringify(value)}, not a hex string`,
  );
  const number = BigInt(value);
  check(number < 1n << BigInt(bits), `${where} is ${value}, more than ${bits} bits`);
  return number;
}

function readManifest(folder) {
  const path = join(folder, "manifest.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  check(manifest !== null && typeof manifest === "object", `${path} is not an object`);
  check(manifest.version === 1, `${path} has version ${JSON.stringify(manifest.version)}, not 1`);
  const architecture = Object.hasOwn(ARCHITECTURES, manifest.arch) ? ARCHITECTURES[manifest.arch] : undefined;
  check(
    architecture !== undefined,
    `arch is ${JSON.stringify(manifest.arch)}, not one of ${Object.keys(ARCHITECTURES).join(", ")}`,
  );
  const mode = Object.hasOwn(architecture.modes, manifest.entryMode)
    ? architecture.modes[manifest.entryMode]
    : undefined;
  check(
    mode !== undefined,
    `entryMode is ${JSON.stringify(manifest.entryMode)}, not one of ${Object.keys(architecture.modes).join(", ")}`,
  );
  check(Array.isArray(manifest.ram) && manifest.ram.length > 0, "ram is not a list of ranges");
  check(Array.isArray(manifest.regions) && manifest.regions.length > 0, "regions is not a list of regions");
  check(manifest.registers !== null && typeof manifest.registers === "object", "registers is not an object");

  const ram = manifest.ram.map((range, index) => {
    const start = hex(range?.start, `ram[${index}].start`);
    const end = hex(range?.end, `ram[${index}].end`);
    check(start < end, `ram[${index}] ends before it starts`);
    return { start, end };
  });
  const contents = new Map();
  const contentOf = (file) => {
    check(typeof file === "string" && file !== "" && file === basename(file), `${file} is no file name`);
    if (!contents.has(file)) contents.set(file, readFileSync(join(folder, file)));
    return contents.get(file);
  };
  const regions = manifest.regions.map(({ gpa: address, file, tag, ...region }) => {
    const gpa = hex(address, `${tag}'s gpa`);
    const length = hex(region.length, `${tag}'s length`);
    const offset = Number(hex(region.offset, `${tag}'s offset`, 53));
    const fileLength = Number(hex(region.fileLength, `${tag}'s fileLength`, 53));
    const content = contentOf(file);
    check(length > 0n && BigInt(fileLength) <= length, `${tag} is empty, or has more bytes than pages`);
    check(offset + fileLength <= content.length, `${file} ends within ${tag}`);
    const isRam = ram.some(({ start, end }) => start <= gpa && gpa + length <= end);
    check(isRam, `${tag} at 0x${gpa.toString(16)} lies outside RAM`);
    return { gpa, length, tag, data: content.subarray(offset, offset + fileLength) };
  });
  const sorted = [...regions].sort((a, b) => (a.gpa < b.gpa ? -1 : 1));
  sorted.forEach((region, index) => {
    const previous = sorted[index - 1];
    if (previous === undefined) return;
    check(
      previous.gpa + previous.length <= region.gpa,
      `regions "${previous.tag}" and "${region.tag}" overlap at 0x${region.gpa.toString(16)}`,
    );
  });
  return { architecture, mode, ram, regions, registers: mode.readRegisters(manifest.registers) };
}

// ---------------------------------------------------------------------------------------------------------------
// x86: registers and memory

const GENERAL = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"].concat(
  [8, 9, 10, 11, 12, 13, 14, 15].map((number) => `r${number}`),
);
const SEGMENTS = ["cs", "ds", "es", "fs", "gs", "ss"];
const TABLES = ["gdtr", "idtr"];
// The assembly loads these in 32-bit code, in both modes.
const CONTROL = ["cr0", "cr3", "cr4"];

/** Model-specific registers in the order in which the ROM writes them: the MTRRs' master switch comes last. */
const MSRS = [
  ["pat", 0x277],
  ["mtrrFix64k00000", 0x250],
  ["mtrrFix16k80000", 0x258],
  ["mtrrFix16kA0000", 0x259],
  ["mtrrFix4kC0000", 0x268],
  ["mtrrFix4kC8000", 0x269],
  ["mtrrFix4kD0000", 0x26a],
  ["mtrrFix4kD8000", 0x26b],
  ["mtrrFix4kE0000", 0x26c],
  ["mtrrFix4kE8000", 0x26d],
  ["mtrrFix4kF0000", 0x26e],
  ["mtrrFix4kF8000", 0x26f],
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((n) => [
    [`mtrrPhysBase${n}`, 0x200 + 2 * n],
    [`mtrrPhysMask${n}`, 0x201 + 2 * n],
  ]),
  ["mtrrDefType", 0x2ff],
];
const EFER = 0xc0000080;
/** Long mode active: hardware sets it, when paging is switched on. */
const EFER_LMA = 1n << 10n;

/** A register of `bits`; one that the manifest leaves out is zero. */
const integer = (bits) => (value, where) => (value === undefined ? 0n : hex(value, where, bits));

/** Unknown registers are refused: they could not be set. */
function checkKnown(given, registers) {
  for (const name of Object.keys(given)) {
    check(name in registers, `registers.${name} is not something that this script can set`);
  }
}

/** The task register: it is loaded in the 32-bit entry alone. */
const TASK = "tr";

/** All x86 registers that this script can set; `width` is what the code before the entry can put into one. */
function readX86Registers(given, width) {
  const registers = {};
  const take = (name, read) => {
    registers[name] = read(given[name], `registers.${name}`);
  };
  const fields = (sizes) => (value, where) =>
    Object.fromEntries(
      Object.entries(sizes).map(([field, bits]) => [
        field,
        value === undefined ? 0n : hex(value?.[field], `${where}.${field}`, bits),
      ]),
    );
  for (const name of [...GENERAL, "rip", "rflags"]) take(name, integer(width));
  // 32 bits: they are loaded by 32-bit code, and tables above 4 GiB are not something directboot makes.
  for (const name of CONTROL) take(name, integer(32));
  for (const [name] of MSRS) take(name, integer(64));
  take("efer", integer(64));
  for (const name of TABLES) take(name, fields({ base: 32, limit: 16 }));
  const segments = width === 32 ? [...SEGMENTS, TASK] : SEGMENTS;
  for (const name of segments) take(name, fields({ base: width, limit: 32, selector: 16, attributes: 16 }));
  checkKnown(given, registers);
  return registers;
}

function readLongModeRegisters(given) {
  const registers = readX86Registers(given, 64);
  check(
    (registers.cr0 & 0x80000001n) === 0x80000001n,
    "cr0 lacks PG or PE, without which there is no long mode",
  );
  check((registers.cr4 & 0x20n) !== 0n, "cr4 lacks PAE, without which there is no long mode");
  check((registers.efer & 0x100n) !== 0n, "efer lacks LME, without which there is no long mode");
  return registers;
}

/** boot.rst, "32-bit Boot Protocol", and Xen's pvh.pandoc: both have paging and interrupts off. */
function readProtectedModeRegisters(given) {
  const registers = readX86Registers(given, 32);
  check((registers.cr0 & 0x80000001n) === 1n, "cr0 lacks PE or has PG: that is no 32-bit entry");
  check(registers.efer === 0n, "efer is set, which no 32-bit entry asks for");
  check((registers.rflags & 0x200n) === 0n, "rflags has interrupts on");
  for (const name of ["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"]) {
    check(registers[name] === 0n, `${name} is set, which 32-bit code can't do`);
  }
  return registers;
}

/**
 * A segment register can only be loaded from the GDT, so the descriptors there must say what the manifest says.
 * Limits are not compared: 64-bit mode ignores them, and OpenVMM's GDT leaves bits 16-19 zero.
 */
function checkDescriptors({ regions, registers }) {
  for (const name of SEGMENTS) {
    const segment = registers[name];
    if (segment.selector === 0n && name !== "cs") continue;
    const descriptor = readDescriptor(regions, registers.gdtr, name, segment.selector);
    checkAttributes(name, descriptor, segment.attributes);
    check(descriptor.base === segment.base, `${name}'s base is not that of its descriptor`);
  }
}

function checkAttributes(name, { attributes }, expected) {
  check(
    attributes === (expected & 0xf0ffn),
    `${name}'s attributes should be 0x${expected.toString(16)}, but its descriptor says 0x${attributes.toString(16)}`,
  );
}

/** A segment descriptor of the GDT in guest memory (Intel SDM 3A, section 3.4.5). */
function readDescriptor(regions, { base, limit }, name, selector) {
  const offset = selector & ~7n;
  check((selector & 4n) === 0n, `${name} is selected from an LDT`);
  check(offset !== 0n && offset + 7n <= limit, `${name}'s selector is not within the GDT's limit`);
  const bytes = readGuest(regions, base + offset, 8);
  const low = BigInt(bytes[0] | (bytes[1] << 8) | ((bytes[6] & 0x0f) << 16));
  const isInPages = (bytes[6] & 0x80) !== 0;
  return {
    attributes: BigInt(bytes[5] | ((bytes[6] & 0xf0) << 8)),
    base: BigInt((bytes[2] | (bytes[3] << 8) | (bytes[4] << 16)) + bytes[7] * 2 ** 24),
    limit: isInPages ? (low << 12n) | 0xfffn : low,
  };
}

/**
 * The 32-bit entry looks at limits, too: segments are flat, or code would fault; and TR has a TSS that LTR takes, which
 * must be marked as available, while the manifest tells what TR holds after that: a busy one.
 */
function checkProtectedModeDescriptors(manifest) {
  checkDescriptors(manifest);
  const { regions, registers } = manifest;
  for (const name of SEGMENTS) {
    const { selector, limit } = registers[name];
    check(selector !== 0n, `${name} has the null selector`);
    const descriptor = readDescriptor(regions, registers.gdtr, name, selector);
    check(descriptor.base === 0n && descriptor.limit === 0xffffffffn, `${name} is not flat`);
    check(descriptor.limit === limit, `${name}'s limit is not that of its descriptor`);
  }
  const task = registers[TASK];
  if (task.selector === 0n) return;
  const descriptor = readDescriptor(regions, registers.gdtr, TASK, task.selector);
  check(task.attributes === 0x8bn, `${TASK}'s attributes are not those of a busy 32-bit TSS`);
  checkAttributes(TASK, descriptor, 0x89n);
  check(descriptor.base === task.base && descriptor.limit === task.limit, `${TASK} is not its descriptor`);
}

// ---------------------------------------------------------------------------------------------------------------
// arm64: registers and memory

/** System registers in the order in which the stub writes them: the one that could switch the MMU on comes last. */
const SYSTEM_REGISTERS = [
  ["mairEl1", "mair_el1"],
  ["tcrEl1", "tcr_el1"],
  ["ttbr0El1", "ttbr0_el1"],
  ["ttbr1El1", "ttbr1_el1"],
  ["vbarEl1", "vbar_el1"],
  ["sctlrEl1", "sctlr_el1"],
];
const X_REGISTERS = Array.from({ length: 31 }, (_, number) => `x${number}`);
// Documentation/arch/arm64/booting.rst, section 2.
const MOST_TREE_BYTES = 2 << 20;
const TREE_MAGIC = 0xd00dfeed;

/** All arm64 registers that this script can set. */
function readArm64Registers(given) {
  const registers = {};
  for (const name of ["pc", "cpsr", ...X_REGISTERS, ...SYSTEM_REGISTERS.map(([name]) => name)]) {
    registers[name] = integer(64)(given[name], `registers.${name}`);
  }
  checkKnown(given, registers);
  // Arm ARM (DDI 0487), C5.2.19: M[4] AArch64, M[3:2] the exception level. virt starts at EL1 and can't rise.
  check((registers.cpsr & 0x1cn) === 4n, `cpsr is 0x${registers.cpsr.toString(16)}, which is not EL1`);
  check((registers.sctlrEl1 & 1n) === 0n, "sctlrEl1 switches the MMU on, and the stub is not mapped");
  return registers;
}

/** booting.rst's demands on PC and x0, as far as memory can tell. */
function checkArm64Memory({ regions, registers: { pc, x0 } }) {
  check(
    regions.some(({ gpa, length }) => gpa <= pc && pc < gpa + length),
    `pc is 0x${pc.toString(16)}, where no region is`,
  );
  if (x0 === 0n) return;
  check(x0 % 8n === 0n, `x0 is 0x${x0.toString(16)}, but a device tree is aligned to 8 bytes`);
  const header = new DataView(readGuest(regions, x0, 8).buffer);
  check(header.getUint32(0) === TREE_MAGIC, `there is no device tree at x0, 0x${x0.toString(16)}`);
  check(header.getUint32(4) <= MOST_TREE_BYTES, "the device tree is larger than 2 MiB");
}

// ---------------------------------------------------------------------------------------------------------------
// Memory

/** Guest memory as it will be: the regions' bytes, and zeros elsewhere. */
function readGuest(regions, address, length) {
  const bytes = new Uint8Array(length);
  for (const { gpa, data } of regions) {
    const skip = Number(address > gpa ? address - gpa : 0n);
    const into = Number(gpa > address ? gpa - address : 0n);
    if (into < length) bytes.set(data.subarray(skip, skip + length - into), into);
  }
  return bytes;
}

// ---------------------------------------------------------------------------------------------------------------
// The reset ROM

const number = (value) => `0x${value.toString(16)}`;

const wrmsr = (msr, value) => `
        movl    $${number(BigInt(msr))}, %ecx
        movl    $${number(value & 0xffffffffn)}, %eax
        movl    $${number(value >> 32n)}, %edx
        wrmsr`;

/** DS, ES, FS, GS and SS, in 32-bit and in 64-bit code. */
const loadSegments = (registers) =>
  ["ds", "es", "fs", "gs", "ss"]
    .map(
      (name) => `
        movl    $${number(registers[name].selector)}, %eax
        movl    %eax, %${name}`,
    )
    .join("");

/** From the plan's GDT to its entry, by the 64-bit boot protocol. The page tables must map the ROM to itself. */
const longModeEntry = (registers) => `
        movl    $${number(registers.cr4)}, %eax
        movl    %eax, %cr4
        movl    $${number(registers.cr3)}, %eax
        movl    %eax, %cr3
${wrmsr(EFER, registers.efer & ~EFER_LMA)}
        movl    $${number(registers.cr0)}, %eax
        movl    %eax, %cr0              # long mode is active now, in its 32-bit submode
        ljmpl   *far_entry

        .code64
entry:
${loadSegments(registers)}
        movl    $flags, %esp
        popfq
${GENERAL.map((name) => `        movabsq $${number(registers[name])}, %${name}`).join("\n")}
        jmpq    *rip(%rip)
`;

/** From the plan's GDT to its entry, by the 32-bit boot protocol or by PVH. */
const protectedModeEntry = (registers) => `
        movl    $${number(registers.cr4)}, %eax
        movl    %eax, %cr4
        movl    $${number(registers.cr3)}, %eax
        movl    %eax, %cr3
        movl    $${number(registers.cr0)}, %eax
        movl    %eax, %cr0
        ljmpl   *far_entry

entry:
${loadSegments(registers)}
${registers[TASK].selector === 0n ? "" : `        movl    $${number(registers[TASK].selector)}, %eax\n        ltr     %ax`}
        movl    $flags, %esp
        popfl
${GENERAL32.map((name) => `        movl    $${number(registers[`r${name}`])}, %e${name}`).join("\n")}
        jmpl    *rip
`;

/** Registers that 32-bit code has, without their first letter. */
const GENERAL32 = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];

/**
 * The ROM is 64 KiB at 0xffff0000, and needs no RAM: data and temporary GDT are read where they lie, and even the
 * flags are popped from there. `enter` writes the code from the plan's GDT on, which ends at the plan's entry.
 */
function romSource(registers, enter) {
  return `
        .text
rom:    .org    0xf000                  # near enough for a 16-bit jump back from the reset vector

        .code16
start:  cli
        cld
        lgdtl   %cs:(rom_gdtr - rom)    # CS is based at 0xffff0000: offsets within the ROM will do
        movl    %cr0, %eax
        orl     $1, %eax                # PE
        movl    %eax, %cr0
        ljmpl   $0x08, $protected

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    %cr0, %eax
        andl    $0x9fffffff, %eax       # CD and NW are set at reset
        movl    %eax, %cr0
${MSRS.map(([name, msr]) => (name in registers ? wrmsr(msr, registers[name]) : "")).join("")}

        lgdtl   gdtr
        lidtl   idtr
${enter(registers)}

        .balign 8
rom_gdt:                                # null, flat code, flat data
        .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
rom_gdtr:
        .word   . - rom_gdt - 1
        .long   rom_gdt
gdtr:   .word   ${number(registers.gdtr.limit)}
        .long   ${number(registers.gdtr.base)}
idtr:   .word   ${number(registers.idtr.limit)}
        .long   ${number(registers.idtr.base)}
far_entry:
        .long   entry
        .word   ${number(registers.cs.selector)}
        .balign 8
flags:  .quad   ${number(registers.rflags | 2n)}   # bit 1 is always set
rip:    .quad   ${number(registers.rip)}

        .org    0xfff0                  # the reset vector
        .code16
        jmp     start
        .org    ${ROM_SIZE}
`;
}

/** Assembles `source`, which defines `start`, to run at `address`; returns the bytes of its .text. */
function assemble({ prefix, packageName, asArgs, emulation }, source, address, folder) {
  const file = (name) => join(folder, name);
  const run = (tool, ...args) => {
    const program = `${prefix}${tool}`;
    try {
      execFileSync(program, args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
    } catch (error) {
      throw new Refusal(
        `${program} failed: ${error.stderr || error.message} (Debian package ${packageName})`,
      );
    }
  };
  writeFileSync(file("code.s"), source);
  run("as", ...asArgs, "-o", file("code.o"), file("code.s"));
  const text = `-Ttext=0x${address.toString(16)}`;
  run("ld", "-m", emulation, text, "-e", "start", "-o", file("code.elf"), file("code.o"));
  run("objcopy", "-O", "binary", "-j", ".text", file("code.elf"), file("code.bin"));
  return readFileSync(file("code.bin"));
}

// ---------------------------------------------------------------------------------------------------------------
// The arm64 stub

/**
 * QEMU can start a processor at an address, but not set its registers: the stub does that, at EL1 with the MMU off,
 * and leaves no trace but itself.
 */
function stubSource(registers) {
  return `
        .text
        .global start
start:
${SYSTEM_REGISTERS.map(
  ([name, register]) => `
        ldr     x0, =${number(registers[name])}
        msr     ${register}, x0`,
).join("")}
        isb
        ldr     x0, =${number(registers.pc)}
        msr     elr_el1, x0
        ldr     x0, =${number(registers.cpsr)}
        msr     spsr_el1, x0
${X_REGISTERS.map((name) => `        ldr     ${name}, =${number(registers[name])}`).join("\n")}
        eret

        .balign 8                       // with the MMU off an unaligned load faults
        .ltorg
`;
}

/** The last page of RAM that no region covers. The first ones won't do: virt leaves a tree of its own there. */
function freePage({ ram, regions }) {
  const latestFirst = (a, b) => (a.start > b.start ? -1 : 1);
  const taken = regions.map(({ gpa, length }) => ({ start: gpa, end: gpa + length })).sort(latestFirst);
  for (const { start, end } of [...ram].sort(latestFirst)) {
    let page = (end / PAGE) * PAGE - PAGE;
    for (const region of taken) {
      if (region.start < page + PAGE && page < region.end) page = (region.start / PAGE) * PAGE - PAGE;
    }
    if (page >= start) return page;
  }
  throw new Refusal("RAM has no free page for the stub");
}

// ---------------------------------------------------------------------------------------------------------------
// QEMU

/** virt's RAM in MiB. */
function virtRamSize(ram) {
  let end = VIRT_RAM_START;
  for (const range of [...ram].sort((a, b) => (a.start < b.start ? -1 : 1))) {
    check(
      range.start === end,
      `ram has a range at 0x${range.start.toString(16)}, but virt has all of it in one piece from 0x40000000`,
    );
    end = range.end;
  }
  return (end - VIRT_RAM_START + MIB - 1n) / MIB;
}

/** RAM of microvm in MiB. */
function x86RamSize(ram) {
  let low = 0n;
  let high = 0n;
  for (const { start, end } of ram) {
    if (start >= FOUR_GIB) {
      if (end > high) high = end;
    } else {
      check(
        end <= LOW_RAM_END,
        `ram ends at 0x${end.toString(16)}, in the gap that the machine has below 4 GiB`,
      );
      if (end > low) low = end;
    }
  }
  const size = high === 0n ? low : LOW_RAM_END + (high - FOUR_GIB);
  return (size + MIB - 1n) / MIB;
}

/** The reset ROM, as QEMU's arguments; `write` puts bytes into a file beside QEMU and gives its name. */
function x86Start({ mode, registers }, write, temporary) {
  const rom = assemble(mode.binutils, romSource(registers, mode.enter), 0xffff0000n, temporary);
  check(rom.length === ROM_SIZE, `the assembled ROM has ${rom.length} bytes, not ${ROM_SIZE}`);
  return ["-bios", write("rom.bin", rom)];
}

/** The stub and where to start, as QEMU's arguments. */
function arm64Start(manifest, write, temporary) {
  const page = freePage(manifest);
  const stub = assemble(manifest.mode.binutils, stubSource(manifest.registers), page, temporary);
  check(stub.length <= PAGE, `the assembled stub has ${stub.length} bytes, more than a page`);
  const address = `addr=0x${page.toString(16)}`;
  return [
    ...["-device", `loader,file=${write("stub.bin", stub)},${address},force-raw=on`],
    ...["-device", `loader,${address},cpu-num=0`],
  ];
}

/** QEMU's arguments; the files that they name lie in `temporary`. */
function prepareQemu(manifest, temporary) {
  const { architecture, mode, ram, regions } = manifest;
  const write = (name, bytes) => {
    writeFileSync(join(temporary, name), bytes);
    return name;
  };
  return [
    ...[...architecture.machine, "-m", `${architecture.ramSize(ram)}M`, "-smp", "1"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"],
    ...mode.start(manifest, write, temporary),
    // RAM is zero already.
    ...regions.flatMap(({ gpa, data }, index) => {
      if (data.length === 0) return [];
      const file = write(`region-${index}.bin`, data);
      return ["-device", `loader,file=${file},addr=0x${gpa.toString(16)},force-raw=on`];
    }),
  ];
}

function runQemu({ qemu, packageName }, args, cwd, seconds) {
  // The kernel kills QEMU if this process is killed without a chance to clean up.
  const setpriv = "/usr/bin/setpriv";
  const command = existsSync(setpriv) ? [setpriv, "--pdeathsig", "KILL", "--", qemu] : [qemu];
  return new Promise((resolve, reject) => {
    const options = {
      cwd,
      stdio: ["ignore", "inherit", "inherit"],
      timeout: 1000 * seconds,
      killSignal: "SIGKILL",
    };
    const child = spawn(command[0], [...command.slice(1), ...args], options);
    child.on("error", ({ message }) => {
      reject(new Refusal(`cannot run ${qemu} (Debian package ${packageName}): ${message}`));
    });
    child.on("close", (code, signal) => {
      if (signal !== null) reject(new Refusal(`${qemu} was ended by ${signal}, after at most ${seconds} s`));
      else if (code !== 0) reject(new Refusal(`${qemu} failed with status ${code}`));
      else resolve();
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

const MICROVM = ["-M", "microvm,accel=tcg", "-cpu", "max"];

/** Long mode: the 64-bit boot protocol. */
const LONG_MODE = {
  binutils: { prefix: "", packageName: "binutils", asArgs: ["--64"], emulation: "elf_x86_64" },
  readRegisters: readLongModeRegisters,
  checkMemory: checkDescriptors,
  start: x86Start,
  enter: longModeEntry,
};

/** Protected mode without paging: the 32-bit boot protocol, and PVH. */
const PROTECTED_MODE = {
  binutils: { prefix: "", packageName: "binutils", asArgs: ["--32"], emulation: "elf_i386" },
  readRegisters: readProtectedModeRegisters,
  checkMemory: checkProtectedModeDescriptors,
  start: x86Start,
  enter: protectedModeEntry,
};

/** Each `arch` of a manifest, with its QEMU and its `entryMode`. */
const ARCHITECTURES = {
  x86_64: {
    modes: { long64: LONG_MODE, protected32: PROTECTED_MODE },
    qemu: "qemu-system-x86_64",
    packageName: "qemu-system-x86",
    machine: MICROVM,
    ramSize: x86RamSize,
  },
  i386: {
    modes: { protected32: PROTECTED_MODE },
    qemu: "qemu-system-i386",
    packageName: "qemu-system-x86",
    machine: MICROVM,
    ramSize: x86RamSize,
  },
  aarch64: {
    modes: {
      aarch64: {
        binutils: {
          prefix: "aarch64-linux-gnu-",
          packageName: "binutils-aarch64-linux-gnu",
          asArgs: [],
          emulation: "aarch64linux",
        },
        readRegisters: readArm64Registers,
        checkMemory: checkArm64Memory,
        start: arm64Start,
      },
    },
    qemu: "qemu-system-aarch64",
    packageName: "qemu-system-arm",
    machine: ["-M", "virt,dtb-randomness=off", "-accel", "tcg", "-cpu", "cortex-a57"],
    ramSize: virtRamSize,
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { timeout: { type: "string", default: "120" } },
});
const temporary = mkdtempSync(join(tmpdir(), "directboot-independent-"));
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }));
try {
  const [folder] = positionals;
  check(folder !== undefined, "usage: node test/boot/independent-boot.mjs DIR [--timeout SECONDS]");
  const manifest = readManifest(folder);
  manifest.mode.checkMemory(manifest);
  const args = prepareQemu(manifest, temporary);
  await runQemu(manifest.architecture, args, temporary, Number(values.timeout));
} catch (error) {
  // An unreadable file or broken JSON speaks for itself, too.
  process.stderr.write(`independent-boot: ${error.message}\n`);
  process.exitCode = 1;
}
