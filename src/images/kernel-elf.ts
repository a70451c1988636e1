/** An ELF that is to start as an x86 kernel: what tells one from other ELF files. */
import { hex } from "../base/address.js";
import { DirectBootError, type DirectBootErrorCode } from "../base/errors.js";
import { readHead } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { type ElfImage, EM_386, EM_AARCH64, EM_X86_64, PT_LOAD } from "./elf.js";
import { ELF_MACHINES, MULTIBOOT_BYTES, multibootIn } from "./kinds.js";

/** Vectors, tables and the BIOS area lie below; every kernel is linked above. */
const LEAST_ADDRESS = 0x10_0000n;
/** e_type of object files and kernel modules, and of crash dumps (gABI). */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  1: "an object file or a kernel module (e_type 1)",
  4: "a core dump (e_type 4)",
};
/** p_type of the path of a program's interpreter (gABI). */
const PT_INTERP = 3;
const MACHINES = { 32: EM_386, 64: EM_X86_64 } as const;
const OTHER_MACHINE_CURES: Readonly<Record<number, string>> = {
  [EM_AARCH64]: "give arch/arm64/boot/Image (or vmlinuz) of the same build: arm64 starts no ELF",
  [EM_386]: "give a kernel whose class and machine agree",
  [EM_X86_64]: "give a kernel whose class and machine agree",
};
const LINKED_ELSEWHERE = "give the vmlinux of the top folder of the kernel's build, or arch/x86/boot/bzImage";

/**
 * Throws for an ELF that is no x86 kernel: ELF_TARGET_MACHINE_MISMATCH for another machine, ELF_NO_LOADABLE_SEGMENT,
 * NO_KERNEL_INSIDE for a program of a user's, ELF_INVALID_ENTRY_ADDRESS and ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET for
 * one that is linked below 1 MiB, X86_ENTRY_NOT_MAPPED for an entry that is a virtual address.
 *
 * @param name the file in messages
 * @param isEntered by e_entry, not by a PVH note
 */
export function checkKernelElf(name: string, elf: ElfImage, elfClass: 32 | 64, isEntered: boolean): void {
  const fail = (code: DirectBootErrorCode, why: string, cure?: string): never => {
    throw new DirectBootError(code, `${name} ${why}`, cure === undefined ? {} : { cure });
  };
  const { entry, machine, type, programHeaders } = elf;
  if (machine !== MACHINES[elfClass]) {
    const its = ELF_MACHINES[machine] ?? "another machine";
    fail(
      "ELF_TARGET_MACHINE_MISMATCH",
      `is a ${elfClass}-bit ELF for ${its} (e_machine ${machine}); of ELF files only those for x86 are loaded`,
      OTHER_MACHINE_CURES[machine] ?? "give a kernel for x86 or arm64",
    );
  }
  const other = OTHER_TYPES[type];
  if (other !== undefined) fail("ELF_NO_LOADABLE_SEGMENT", `is ${other}`);
  const segments = loadedSegments(elf);
  if (segments.length === 0) {
    fail(
      "ELF_NO_LOADABLE_SEGMENT",
      `: none of ${programHeaders.length} program headers is a PT_LOAD with bytes`,
    );
  }
  if (programHeaders.some((header) => header.type === PT_INTERP)) {
    fail("NO_KERNEL_INSIDE", "is a program that runs under Linux, not a kernel");
  }
  if (entry < LEAST_ADDRESS) {
    fail("ELF_INVALID_ENTRY_ADDRESS", `is linked to start at ${hex(entry)}, below 1 MiB`, LINKED_ELSEWHERE);
  }
  const low = segments.find(({ physicalAddress }) => physicalAddress < LEAST_ADDRESS);
  if (low !== undefined) {
    const at = hex(low.physicalAddress);
    fail("ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET", `has a segment at ${at}, below 1 MiB`, LINKED_ELSEWHERE);
  }
  if (!isEntered) return;
  const within = (start: bigint, size: bigint): boolean => entry >= start && entry < start + size;
  if (segments.some(({ physicalAddress, memorySize }) => within(physicalAddress, memorySize))) return;
  const virtual = segments.find(({ virtualAddress, memorySize }) => within(virtualAddress, memorySize));
  if (virtual === undefined) return;
  const physical = entry - virtual.virtualAddress + virtual.physicalAddress;
  fail(
    "X86_ENTRY_NOT_MAPPED",
    `: its entry ${hex(entry)} is a virtual address, which lies at ${hex(physical)} in physical memory`,
    "link the kernel with the physical address as its entry, or start it by its PVH note (entry pvh), if it has one",
  );
}

/** The segments that take memory: an empty PT_LOAD, which some linkers leave at address 0, is nothing to load. */
export function loadedSegments({ programHeaders }: ElfImage): ElfImage["programHeaders"] {
  return programHeaders.filter(({ type, memorySize }) => type === PT_LOAD && memorySize > 0n);
}

/**
 * NO_KERNEL_INSIDE for an ELF that is made for a multiboot loader: Linux has no such header. Only segments are searched,
 * with which the header is loaded; those of a vmlinux start behind all that a header may lie in.
 *
 * @param name the file in messages
 */
export function* refuseMultiboot(source: Source, name: string, elf: ElfImage): Task<void> {
  const offsets = loadedSegments(elf).map(({ offset }) => offset);
  if (!offsets.some((offset) => offset < MULTIBOOT_BYTES)) return;
  const protocol = multibootIn(yield* readHead(source, MULTIBOOT_BYTES));
  if (protocol === undefined) return;
  throw new DirectBootError(
    "NO_KERNEL_INSIDE",
    `${name} is a ${protocol} kernel, not Linux: started as Linux it would hang`,
    {
      cure: `start it with a ${protocol} loader (GRUB); if it has an entry of Linux's boot protocol or a PVH note too, ask for that: entry 64, 32 or pvh`,
    },
  );
}
