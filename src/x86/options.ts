/** Options of loadLinux that only an x86 guest has. */
import type { AddressLike } from "../base/address.js";
import type { MachineDescription } from "../machine/description.js";
import type { GuestAddresses } from "../plan/planned-guest.js";
import type { E820EntryInput } from "./e820.js";

/** How an x86 kernel is entered: by the 64-bit or the 32-bit boot protocol, or by PVH. */
export type X86Entry = "64" | "32" | "pvh";

/** Where the caller wants things; page-aligned guest physical addresses. */
export interface X86Addresses extends GuestAddresses {
  /** A bzImage's load address. An ELF kernel lies where it is linked. */
  readonly kernel?: AddressLike | undefined;
  /** The global descriptor table, one page. */
  readonly gdt?: AddressLike | undefined;
  /** boot_params, or the start info of a PVH guest. */
  readonly zeroPage?: AddressLike | undefined;
  /** The command line and its NUL. */
  readonly commandLine?: AddressLike | undefined;
  /** Page tables of the 64-bit entry: 6 pages for the first 4 GiB. */
  readonly pageTables?: AddressLike | undefined;
  /** The list of setup_data: e820 entries beyond 128, a device tree, random bytes. */
  readonly setupData?: AddressLike | undefined;
  /** The RSDP, one page. */
  readonly rsdp?: AddressLike | undefined;
  /** The ACPI tables; the addresses in them must agree. */
  readonly acpiTables?: AddressLike | undefined;
}

/** Options that only an x86 guest has; `Input` is what bytes may come from. */
export interface X86Options<Input> {
  /**
   * x86: the machine, from which ACPI tables, SMBIOS and an MP table are made; the guest finds all of its CPUs. `acpi` goes
   * in place of the tables that it would have given.
   */
  readonly machine?: MachineDescription | undefined;
  /** x86: RSDP and tables; zero pages by default: Linux then finds no ACPI and uses the PIC. */
  readonly acpi?: { readonly rsdp: Input; readonly tables: Input } | undefined;
  /** x86: the entry; the kernel's 64-bit entry by default, the 32-bit one of a 32-bit kernel. */
  readonly entry?: X86Entry | undefined;
  /** Where things go; what is left out is placed by the low-memory map. */
  readonly addresses?: X86Addresses | undefined;
  /** x86: ranges that the guest must not use as RAM; nothing is placed in them. */
  readonly reservations?: readonly E820EntryInput[] | undefined;
  /** x86: "variable" (default) sets the variable MTRRs for the layout, too; "fixed-only" what OpenVMM sets. */
  readonly mtrrs?: "variable" | "fixed-only" | undefined;
  /** x86: physical address bits of the guest's CPU, for the MTRR masks; 40 by default. */
  readonly physicalAddressWidth?: number | undefined;
}
