/** What callers of loadLinux and planLinux say. */
import type { AddressLike } from "../base/address.js";
import type { InitrdAddressType } from "../loading/initrd.js";
import type { GuestBuffer, GuestMemory, MemoryBankInput } from "../memory/guest-memory.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { ByteInput } from "../sources/source.js";

/** A guest's memory: bytes of RAM, a layout, a memory made before, or a buffer of the caller's. */
export type MemoryInput =
  | AddressLike
  | MemoryLayout
  | GuestMemory
  | GuestBuffer
  | { readonly buffer: GuestBuffer; readonly banks: readonly MemoryBankInput[] };

/** Options of {@link planLinux} and {@link loadLinux}. */
export interface LinuxOptions {
  /** An x86-64 ELF (vmlinux) or an arm64 Image: bytes, a source, or in Node a path. */
  readonly kernel: ByteInput;
  readonly initrd?: ByteInput | undefined;
  /** "AfterKernel" (the next 2 MiB boundary) by default, or a page-aligned address. */
  readonly initrdAddress?: InitrdAddressType | undefined;
  /** Text (UTF-8) or bytes, without NUL; x86: empty by default; arm64: what the device tree has by default. */
  readonly commandLine?: string | Uint8Array | undefined;
  /**
   * RAM: a number of bytes, a layout, a guest memory, or a buffer. On x86 up to 3 GiB is one range from 0, more is
   * [0, 3 GiB) and [4 GiB, …). On arm64 a size or a whole buffer starts where the device tree's first /memory range
   * does, without a tree at 0x40000000.
   */
  readonly memory: MemoryInput;
  /** arm64: the machine's flattened device tree. Its /chosen gets the command line and the initrd's place. */
  readonly deviceTree?: ByteInput | undefined;
  /** x86: RSDP and tables; zero pages by default: Linux then finds no ACPI and uses the PIC. */
  readonly acpi?:
    | { readonly rdsp: Uint8Array | ArrayBuffer; readonly tables: Uint8Array | ArrayBuffer }
    | undefined;
  /** x86: "variable" (default) sets the variable MTRRs for the layout, too; "fixed-only" what the seeds set. */
  readonly mtrrs?: "variable" | "fixed-only" | undefined;
  /** x86: physical address bits of the guest's CPU, for the MTRR masks; 40 by default. */
  readonly physicalAddressWidth?: number | undefined;
}

/** Options that are opened as sources. */
export interface LinuxSources<T> {
  readonly kernel: T;
  readonly initrd: T | undefined;
  readonly deviceTree: T | undefined;
}
