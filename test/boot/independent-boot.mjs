#!/usr/bin/env node
/**
 * Boots what `directboot export` wrote, without a line of directboot: the second opinion on the manifest, on the
 * memory and above all on directboot's own reset ROM. This file must never import from src/ or dist/.
 *
 *     node test/boot/independent-boot.mjs DIR [--timeout SECONDS] [--machine microvm|pc] [--expect TEXT]
 *
 * The serial port goes to standard output. Exit status: 0 when QEMU ends by itself (and TEXT was printed, if one
 * is expected), 1 on time-out or any other failure, 2 for wrong usage. A guest that triple-faults ends QEMU, too:
 * look for a marker in the output, or give --expect.
 *
 * Needs qemu-system-x86_64, and GNU as, ld and objcopy for the ROM, which is written in assembly here so that it
 * shares nothing with the machine code that directboot makes.
 */

import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const FOUR_GIB = 4n * GIB;
/** Where both machines stop RAM below 4 GiB and go on at 4 GiB. */
const LOW_RAM_END = 3n * GIB;
const ROM_SIZE = 0x10000;
const COPY_BUFFER_SIZE = 4 << 20;

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
  check(manifest.arch === "x86_64", `arch is ${JSON.stringify(manifest.arch)}, not "x86_64"`);
  check(manifest.entryMode === "long64", `entryMode is ${JSON.stringify(manifest.entryMode)}, not "long64"`);
  check(Array.isArray(manifest.ram) && manifest.ram.length > 0, "ram is not a list of ranges");
  check(Array.isArray(manifest.regions) && manifest.regions.length > 0, "regions is not a list of regions");
  check(manifest.registers !== null && typeof manifest.registers === "object", "registers is not an object");

  const ram = manifest.ram.map((range, index) => {
    const start = hex(range?.start, `ram[${index}].start`);
    const end = hex(range?.end, `ram[${index}].end`);
    check(start < end, `ram[${index}] ends before it starts`);
    return { start, end };
  });
  const regions = manifest.regions.map((region, index) => {
    const where = `regions[${index}]`;
    const gpa = hex(region?.gpa, `${where}.gpa`);
    const length = hex(region.length, `${where}.length`);
    const offset = hex(region.offset, `${where}.offset`, 53);
    const fileLength = hex(region.fileLength, `${where}.fileLength`, 53);
    const { file, tag } = region;
    check(
      typeof file === "string" && file !== "" && file === basename(file),
      `${where}.file is no file name`,
    );
    check(length > 0n, `${where} is empty`);
    check(fileLength <= length, `${where}: fileLength exceeds length`);
    check(
      ram.some(({ start, end }) => start <= gpa && gpa + length <= end),
      `${where} (${tag}) at 0x${gpa.toString(16)} lies outside RAM`,
    );
    return {
      gpa,
      length,
      offset: Number(offset),
      fileLength: Number(fileLength),
      path: join(folder, file),
      tag,
    };
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
  return { ram, regions, registers: readRegisters(manifest.registers) };
}

const GENERAL = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"].concat(
  [8, 9, 10, 11, 12, 13, 14, 15].map((number) => `r${number}`),
);
const SEGMENTS = ["cs", "ds", "es", "fs", "gs", "ss"];
const TABLES = ["gdtr", "idtr"];
// The assembly loads these in 32-bit code, before long mode can be on.
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

/** All registers that this script can set; what the manifest leaves out is zero, what is unknown here is refused. */
function readRegisters(given) {
  const registers = {};
  const take = (name, read) => {
    registers[name] = read(given[name], `registers.${name}`);
  };
  const integer = (bits) => (value, where) => (value === undefined ? 0n : hex(value, where, bits));
  const fields = (sizes) => (value, where) =>
    Object.fromEntries(
      Object.entries(sizes).map(([field, bits]) => [
        field,
        value === undefined ? 0n : hex(value?.[field], `${where}.${field}`, bits),
      ]),
    );
  for (const name of [...GENERAL, "rip", "rflags"]) take(name, integer(64));
  // 32 bits: they are loaded by 32-bit code, and tables above 4 GiB are not something directboot makes.
  for (const name of CONTROL) take(name, integer(32));
  for (const [name] of MSRS) take(name, integer(64));
  take("efer", integer(64));
  for (const name of TABLES) take(name, fields({ base: 32, limit: 16 }));
  for (const name of SEGMENTS) take(name, fields({ base: 64, limit: 32, selector: 16, attributes: 16 }));
  for (const name of Object.keys(given)) {
    check(name in registers, `registers.${name} is not something that this script can set`);
  }
  check(
    (registers.cr0 & 0x80000001n) === 0x80000001n,
    "cr0 lacks PG or PE, without which there is no long mode",
  );
  check((registers.cr4 & 0x20n) !== 0n, "cr4 lacks PAE, without which there is no long mode");
  check((registers.efer & 0x100n) !== 0n, "efer lacks LME, without which there is no long mode");
  return registers;
}

/**
 * A segment register can only be loaded from the GDT, so the descriptors there must say what the manifest says.
 * Limits are not compared: 64-bit mode ignores them, and OpenVMM's GDT leaves bits 16-19 zero.
 */
function checkDescriptors({ regions, registers }) {
  const { base, limit } = registers.gdtr;
  for (const name of SEGMENTS) {
    const segment = registers[name];
    if (segment.selector === 0n && name !== "cs") continue;
    const offset = segment.selector & ~7n;
    check((segment.selector & 4n) === 0n, `${name} is selected from an LDT`);
    check(offset !== 0n && offset + 7n <= limit, `${name}'s selector is not within the GDT's limit`);
    const bytes = readGuest(regions, base + offset, 8);
    const attributes = bytes[5] | ((bytes[6] & 0xf0) << 8);
    const descriptorBase = bytes[2] | (bytes[3] << 8) | (bytes[4] << 16) | (bytes[7] * 2 ** 24);
    check(
      BigInt(attributes) === (segment.attributes & 0xf0ffn),
      `${name}'s attributes are 0x${segment.attributes.toString(16)}, but its descriptor says 0x${attributes.toString(16)}`,
    );
    check(BigInt(descriptorBase) === segment.base, `${name}'s base is not that of its descriptor`);
  }
}

/** Guest memory as it will be: the regions' bytes, and zeros elsewhere. */
function readGuest(regions, address, length) {
  const bytes = new Uint8Array(length);
  for (const { gpa, offset, fileLength, path } of regions) {
    const skip = Number(address > gpa ? address - gpa : 0n);
    const into = Number(gpa > address ? gpa - address : 0n);
    const count = Math.min(fileLength - skip, length - into);
    if (count > 0)
      withFile(path, "r", (file) => readFully(file, bytes.subarray(into, into + count), offset + skip));
  }
  return bytes;
}

function withFile(path, flags, use) {
  const file = openSync(path, flags);
  try {
    return use(file);
  } finally {
    closeSync(file);
  }
}

function readFully(file, target, position) {
  for (let done = 0; done < target.length; ) {
    const count = readSync(file, target, done, target.length - done, position + done);
    check(count > 0, `a region's bytes end after ${position + done}, inside the region`);
    done += count;
  }
}

/**
 * A file for QEMU, whose loader device takes whole files only. It loses its name before we write to it: it
 * vanishes with the last process that has it open, however that ends.
 */
function anonymousFile(temporary, write) {
  const path = join(temporary, "anonymous");
  const file = openSync(path, "wx+");
  rmSync(path);
  write(file);
  return file;
}

function copyRegion({ path, offset, fileLength }, target) {
  withFile(path, "r", (source) => {
    check(offset + fileLength <= fstatSync(source).size, `${path} ends before offset ${offset + fileLength}`);
    const buffer = new Uint8Array(Math.min(fileLength, COPY_BUFFER_SIZE));
    for (let done = 0; done < fileLength; ) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, fileLength - done));
      readFully(source, chunk, offset + done);
      writeFully(target, chunk);
      done += chunk.length;
    }
  });
}

function writeFully(file, bytes) {
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
}

// ---------------------------------------------------------------------------------------------------------------
// The reset ROM

/**
 * The ROM is 64 KiB at 0xffff0000, and needs no RAM: data and temporary GDT are read where they lie, and even the
 * flags are popped from there. The page tables must map it to itself, as tables for the first 4 GiB do.
 */
function romSource(registers, machine) {
  const number = (value) => `0x${value.toString(16)}`;
  const wrmsr = (msr, value) => `
        movl    $${number(BigInt(msr))}, %ecx
        movl    $${number(value & 0xffffffffn)}, %eax
        movl    $${number(value >> 32n)}, %edx
        wrmsr`;
  // The i440FX answers 0xc0000-0xfffff from the PCI bus, until its PAM registers (host bridge, 0x59-0x5f; data
  // sheet 290549, section 3.2.18) hand the range to RAM. Bits 4-5 of 0x59 are for 0xf0000-0xfffff.
  const enableShadowRam = [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33].map(
    (value, index) => `
        movl    $0x${(0x80000000 + ((0x59 + index) & ~3)).toString(16)}, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movb    $0x${value.toString(16)}, %al
        movw    $0x${(0xcfc + ((0x59 + index) & 3)).toString(16)}, %dx
        outb    %al, %dx`,
  );
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
${machine === "pc" ? enableShadowRam.join("") : ""}
${MSRS.map(([name, msr]) => (name in registers ? wrmsr(msr, registers[name]) : "")).join("")}

        lgdtl   gdtr
        lidtl   idtr
        movl    $${number(registers.cr4)}, %eax
        movl    %eax, %cr4
        movl    $${number(registers.cr3)}, %eax
        movl    %eax, %cr3
${wrmsr(EFER, registers.efer & ~EFER_LMA)}
        movl    $${number(registers.cr0)}, %eax
        movl    %eax, %cr0              # long mode is active now, in its 32-bit submode
        ljmpl   *long_entry

        .code64
long:
${["ds", "es", "fs", "gs", "ss"]
  .map(
    (name) => `
        movl    $${number(registers[name].selector)}, %eax
        movl    %eax, %${name}`,
  )
  .join("")}
        movl    $flags, %esp
        popfq
${GENERAL.map((name) => `        movabsq $${number(registers[name])}, %${name}`).join("\n")}
        jmpq    *rip(%rip)

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
long_entry:
        .long   long
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

function assembleRom(registers, machine, folder) {
  const file = (name) => join(folder, name);
  const run = (program, ...args) => {
    try {
      execFileSync(program, args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
    } catch (error) {
      throw new Refusal(`${program} failed: ${error.stderr || error.message} (Debian package binutils)`);
    }
  };
  writeFileSync(file("rom.s"), romSource(registers, machine));
  run("as", "--64", "-o", file("rom.o"), file("rom.s"));
  run("ld", "-m", "elf_x86_64", "-Ttext=0xffff0000", "-e", "start", "-o", file("rom.elf"), file("rom.o"));
  run("objcopy", "-O", "binary", "-j", ".text", file("rom.elf"), file("rom.bin"));
  const rom = readFileSync(file("rom.bin"));
  check(rom.length === ROM_SIZE, `the assembled ROM has ${rom.length} bytes, not ${ROM_SIZE}`);
  return rom;
}

// ---------------------------------------------------------------------------------------------------------------
// QEMU

function ramSize(ram) {
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

/** QEMU's arguments, and the open files that they name by number: the first is QEMU's descriptor 3. */
function prepareQemu({ ram, regions }, machine, rom, temporary) {
  const files = [];
  const attach = (write) => `/dev/fd/${files.push(anonymousFile(temporary, write)) + 2}`;
  const args = [
    ["-M", machine === "pc" ? "pc,accel=tcg,max-ram-below-4g=3G" : "microvm,accel=tcg"],
    ["-cpu", "max", "-m", `${ramSize(ram)}M`, "-smp", "1", "-nodefaults", "-no-user-config"],
    ["-display", "none", "-serial", "stdio", "-no-reboot"],
    ["-bios", attach((file) => writeFully(file, rom))],
  ];
  for (const region of regions) {
    if (region.fileLength === 0) continue; // RAM is zero already
    if (machine === "pc" && region.gpa < 0x100000n && region.gpa + BigInt(region.fileLength) > 0xc0000n) {
      // Loaded before the ROM can map RAM there, the bytes would be lost.
      throw new Refusal(
        `"${region.tag}" has bytes in 0xc0000-0xfffff, which is not RAM at reset on pc: use microvm`,
      );
    }
    const path = attach((file) => copyRegion(region, file));
    args.push(["-device", `loader,file=${path},addr=0x${region.gpa.toString(16)},force-raw=on`]);
  }
  return { args: args.flat(), files };
}

let child;

function runQemu({ args, files }, timeoutSeconds, expected) {
  const qemu = "qemu-system-x86_64";
  // If this process is killed without a chance to clean up, the kernel kills QEMU.
  const setpriv = "/usr/bin/setpriv";
  const command = existsSync(setpriv) ? [setpriv, "--pdeathsig", "KILL", "--", qemu] : [qemu];
  return new Promise((resolve, reject) => {
    child = spawn(command[0], [...command.slice(1), ...args], {
      stdio: ["ignore", "pipe", "inherit", ...files],
    });
    for (const file of files) closeSync(file);
    let timedOut = false;
    let tail = "";
    let seen = expected === undefined;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutSeconds * 1000);
    child.stdout.on("data", (chunk) => {
      process.stdout.write(chunk);
      if (seen) return;
      tail += chunk.toString("latin1");
      seen = tail.includes(expected);
      tail = tail.slice(-expected.length);
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new Refusal(`cannot run ${qemu} (Debian package qemu-system-x86): ${error.message}`));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      if (timedOut) reject(new Refusal(`no end after ${timeoutSeconds} s`));
      else if (code !== 0) reject(new Refusal(`${qemu} failed with status ${code}`));
      else if (!seen) reject(new Refusal(`${qemu} ended, but the guest never printed "${expected}"`));
      else resolve();
    });
  });
}

// ---------------------------------------------------------------------------------------------------------------

const USAGE =
  "usage: node test/boot/independent-boot.mjs DIR [--timeout SECONDS] [--machine microvm|pc] [--expect TEXT]";

function parseCommandLine() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        timeout: { type: "string", default: "120" },
        machine: { type: "string", default: "microvm" },
        expect: { type: "string" },
      },
    });
    const timeoutSeconds = Number(values.timeout);
    check(positionals.length === 1, "give one folder");
    check(timeoutSeconds > 0 && timeoutSeconds <= 86_400, "--timeout is a number of seconds");
    check(values.machine === "microvm" || values.machine === "pc", "--machine is microvm or pc");
    return {
      folder: positionals[0],
      timeoutSeconds,
      machine: values.machine,
      expected: values.expect || undefined,
    };
  } catch (error) {
    process.stderr.write(`${error.message}\n${USAGE}\n`);
    process.exit(2);
  }
}

const { folder, timeoutSeconds, machine, expected } = parseCommandLine();
const temporary = mkdtempSync(join(tmpdir(), "directboot-independent-"));
process.on("exit", () => {
  child?.kill("SIGKILL");
  rmSync(temporary, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => process.exit(128 + constants.signals[signal]));
}
try {
  const manifest = readManifest(folder);
  checkDescriptors(manifest);
  const rom = assembleRom(manifest.registers, machine, temporary);
  const qemu = prepareQemu(manifest, machine, rom, temporary);
  // Nothing in there has a name any more that QEMU would need.
  rmSync(temporary, { recursive: true, force: true });
  await runQemu(qemu, timeoutSeconds, expected);
} catch (error) {
  // What is not a refusal of ours (an unreadable file, JSON that is none) speaks for itself, too.
  process.stderr.write(`independent-boot: ${error.message}\n`);
  process.exitCode = 1;
}
