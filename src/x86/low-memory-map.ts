/**
 * Low memory of an x86 guest, where the caller does not say otherwise and nothing else has the place:
 *
 *     0x00000000 ┌──────────────────────────────┐
 *                │ free (real-mode vectors)     │
 *     0x00001000 ├──────────────────────────────┤
 *                │ GDT                          │ default-gdt, linux-gdt32
 *     0x00002000 ├──────────────────────────────┤
 *                │ zero page (boot_params), or  │ linux-zeropage
 *                │ PVH start info               │ linux-start-info
 *     0x00003000 ├──────────────────────────────┤
 *                │ command line                 │ linux-commandline
 *     0x00004000 ├──────────────────────────────┤
 *                │ page tables (64-bit entry)   │ linux-pagetables
 *     0x0000a000 ├──────────────────────────────┤
 *                │ setup_data, if there is any  │ linux-setup-data
 *                ├──────────────────────────────┤
 *                │ free                         │
 *     0x000e0000 ├──────────────────────────────┤
 *                │ RSDP                         │ linux-rdsp
 *     0x000e1000 ├──────────────────────────────┤
 *                │ ACPI tables                  │ linux-acpi-tables
 *                ├──────────────────────────────┤
 *                │ free                         │
 *     0x000f0000 ├──────────────────────────────┤
 *                │ SMBIOS and the MP table of a │ linux-smbios-mp-table
 *                │ machine that is described    │
 *                ├──────────────────────────────┤
 *                │ free                         │
 *     0x00100000 ├──────────────────────────────┤ the kernel may not lie below
 *                │ kernel: an ELF where it is   │ linux-kernel
 *                │ linked, a bzImage at its     │
 *                │ pref_address, with init_size │
 *                ├──────────────────────────────┤ next 2 MiB boundary
 *                │ initrd                       │ linux-initrd
 *                └──────────────────────────────┘
 *
 * A part whose usual place is taken goes to the lowest free place below 640 KiB, else to the lowest one above 1 MiB and
 * below 4 GiB. The initrd goes to the next 2 MiB boundary behind the kernel that has room for it, else to the next page
 * there, else to any place above 1 MiB. The ACPI tables don't move: their addresses stand in them. Where the caller gives
 * none, two zero pages lie there; they are left out if their place is no RAM or reserved.
 */
import { LARGE_PAGE_SIZE } from "../base/address.js";
import { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import type { Window } from "../plan/placement.js";

/** Where the map has the small parts, by the names that callers use, in the order in which they are placed. */
export const USUAL_ADDRESSES = {
  gdt: 0x1000n,
  zeroPage: 0x2000n,
  commandLine: 0x3000n,
  pageTables: 0x4000n,
  setupData: 0xa000n,
} as const;

/** Where the BIOS area starts that Linux searches for the RSDP (ACPI specification, 5.2.5.1). */
export const RSDP_ADDRESS = 0xe_0000n;
export const ACPI_TABLES_ADDRESS = 0xe_1000n;
/** Where kernels search for SMBIOS and the MP table; the last page is the reset vector's. */
export const LEGACY_TABLES_ADDRESS = 0xf_0000n;
export const LEGACY_TABLES_END = 0xf_f000n;
/** End of low memory and of the BIOS area. */
export const KERNEL_MINIMUM_START_ADDRESS = 0x10_0000n;
export const FOUR_GIB = 0x1_0000_0000n;

/** The first page, with the real-mode vectors, is not given out. */
const LOWEST_ADDRESS = 0x1000n;
/** End of conventional memory; a PC has video memory and firmware behind. */
const CONVENTIONAL_END = 0xa_0000n;

/** Where a small part may lie: at its usual address, in low memory, or above 1 MiB; it ends at `below` or below. */
export function lowWindows(usual: bigint, byteLength: bigint, below: bigint): Window[] {
  const end = usual + byteLength;
  const low = below < CONVENTIONAL_END ? below : CONVENTIONAL_END;
  return [
    { from: usual, below: end < low ? end : low },
    { from: LOWEST_ADDRESS, below: low },
    { from: KERNEL_MINIMUM_START_ADDRESS, below },
  ];
}

/** Where an initrd may lie: behind the kernel at a 2 MiB boundary or at any page, or anywhere above 1 MiB. */
export function initrdWindows(kernelEnd: bigint, below: bigint): Window[] {
  return [
    { from: kernelEnd, below, alignment: LARGE_PAGE_SIZE },
    { from: kernelEnd, below },
    { from: KERNEL_MINIMUM_START_ADDRESS, below },
  ];
}

/** [3 GiB, 4 GiB): QEMU's microvm and pc split RAM here; 3-4 GiB is for devices. */
export const LOW_MMIO_GAP = /* @__PURE__ */ new MemoryRange(0xc000_0000n, FOUR_GIB);

/** RAM of which only the size is known: from 0 up, around the low MMIO gap. */
export function x86LayoutOfSize(size: bigint): MemoryLayout {
  return new MemoryLayout(size, size > LOW_MMIO_GAP.start ? [LOW_MMIO_GAP] : []);
}
