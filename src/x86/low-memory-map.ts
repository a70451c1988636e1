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
 *     0x00100000 ├──────────────────────────────┤ the kernel may not lie below
 *                │ kernel: an ELF where it is   │ linux-kernel
 *                │ linked, a bzImage at its     │
 *                │ pref_address, with init_size │
 *                ├──────────────────────────────┤ next 2 MiB boundary
 *                │ initrd                       │ linux-initrd
 *                └──────────────────────────────┘
 *
 * What finds its place taken goes elsewhere: below 640 KiB, else above 1 MiB and below 4 GiB. The ACPI tables don't:
 * their addresses stand in them. Where the caller gives none, two zero pages lie there; they are left out if their
 * place is no RAM or reserved.
 */
import type { Wish } from "../plan/packing.js";
import type { Placement } from "../plan/placement.js";

export const GDT_ADDRESS = 0x1000n;
export const ZERO_PAGE_ADDRESS = 0x2000n;
export const COMMAND_LINE_ADDRESS = 0x3000n;
export const PAGE_TABLE_ADDRESS = 0x4000n;
export const SETUP_DATA_ADDRESS = 0xa000n;
/** Where the BIOS area starts that Linux searches for the RSDP (ACPI specification, 5.2.5.1). */
export const RSDP_ADDRESS = 0xe_0000n;
export const ACPI_TABLES_ADDRESS = 0xe_1000n;
/** End of low memory and of the BIOS area. */
export const KERNEL_MINIMUM_START_ADDRESS = 0x10_0000n;

/** The first page, with the real-mode vectors, is not given out. */
const LOWEST_ADDRESS = 0x1000n;
/** End of conventional memory; a PC has video memory and firmware behind. */
const CONVENTIONAL_END = 0xa_0000n;
export const FOUR_GIB = 0x1_0000_0000n;

/** Something that goes into low memory, or to where there is room below 4 GiB. */
export interface LowRequest {
  readonly tag: string;
  readonly byteLength: bigint;
  /** It must end here or below; 4 GiB by default. */
  readonly below?: bigint;
}

function lowWindows({ below = FOUR_GIB }: LowRequest): { from: bigint; below: bigint }[] {
  return [
    { from: LOWEST_ADDRESS, below: below < CONVENTIONAL_END ? below : CONVENTIONAL_END },
    { from: KERNEL_MINIMUM_START_ADDRESS, below },
  ];
}

/** Wherever it may be. */
export function wishOfLow(request: LowRequest): Wish {
  const { tag, byteLength } = request;
  return { tag, byteLength, windows: lowWindows(request) };
}

/**
 * Takes `wanted` if it is free, else another place: in low memory, or in what is left below `below`. Undefined if there
 * is none.
 */
export function placeLow(placement: Placement, wanted: bigint, request: LowRequest): bigint | undefined {
  const { tag, byteLength } = request;
  const end = wanted + byteLength;
  return placement.tryPlace(
    // What is so long that it would reach into video memory does not fit there.
    { tag, byteLength, from: wanted, below: end < CONVENTIONAL_END ? end : CONVENTIONAL_END },
    ...lowWindows(request).map((window) => ({ tag, byteLength, ...window })),
  );
}
