/**
 * PVH, Xen's direct boot ABI for x86, which Linux takes from any host (CONFIG_PVH): a 32-bit entry that an ELF kernel
 * names in its note XEN_ELFNOTE_PHYS32_ENTRY, and a start info in place of boot_params. Sources: Xen's
 * docs/misc/pvh.pandoc, "x86/HVM direct boot ABI", and xen/include/public/arch-x86/hvm/start_info.h.
 *
 *     address ┌────────────────────────────┐ ◄─ EBX
 *             │ struct hvm_start_info      │ 56 bytes
 *             ├────────────────────────────┤ ◄─ modlist_paddr
 *             │ struct hvm_modlist_entry   │ 32 bytes, if there is an initrd
 *             ├────────────────────────────┤ ◄─ memmap_paddr
 *             │ hvm_memmap_table_entry …   │ 24 bytes each
 *             └────────────────────────────┘ at most 3160 bytes
 */
import { DirectBootError } from "../base/errors.js";
import type { BootParamsOptions } from "./boot-params.js";
import { E820_MAX_ENTRIES, encodeE820Entries } from "./e820.js";

// start_info.h
/** XEN_HVM_START_MAGIC_VALUE: "xEn3" with bit 7 of the "E" set. */
export const HVM_START_MAGIC = 0x336e_c578;
/** The version of hvm_start_info that has a memory map. */
const HVM_START_INFO_VERSION = 1;
/** sizeof(struct hvm_start_info), version 1 */
export const HVM_START_INFO_BYTES = 56;
/** sizeof(struct hvm_modlist_entry) */
export const HVM_MODLIST_ENTRY_BYTES = 32;
/** sizeof(struct hvm_memmap_table_entry) */
export const HVM_MEMMAP_ENTRY_BYTES = 24;

/** Offsets of fields in `struct hvm_start_info`. */
export const HVM_START_INFO_OFFSETS = {
  magic: 0,
  version: 4,
  flags: 8,
  nr_modules: 12,
  modlist_paddr: 16,
  cmdline_paddr: 24,
  rsdp_paddr: 32,
  memmap_paddr: 40,
  memmap_entries: 48,
  reserved: 52,
} as const;

/** Parameters of {@link buildHvmStartInfo}, as of boot_params: the types of e820 are Xen's, too. */
export type HvmStartInfoOptions = Pick<BootParamsOptions, "e820" | "initrd" | "acpiRsdpAddress"> &
  Partial<Pick<BootParamsOptions, "commandLine">>;

/**
 * The start info of a PVH guest, with its list of modules and its memory map behind it, for `address`. Nothing lies at
 * 0; all but the RSDP lies below 4 GiB: Linux keeps 32 bits of the addresses of initrd and command line.
 *
 * 64-bit Linux reads the start info, the list and the map through page tables that map the first GiB alone: low memory
 * is the place for them. It adds the reservation of [0xa0000, 0x100000) itself.
 *
 * @param address a multiple of 8 above 0
 * @throws DirectBootError PVH_BAD_MEMORY_MAP: Linux writes a map past 128 entries over its own data
 */
export function buildHvmStartInfo(address: bigint, options: HvmStartInfoOptions): Uint8Array {
  const { e820: memoryMap, initrd, commandLine, acpiRsdpAddress = 0n } = options;
  if (memoryMap.length > E820_MAX_ENTRIES) {
    throw new DirectBootError(
      "PVH_BAD_MEMORY_MAP",
      `the memory map has ${memoryMap.length} entries, the limit is ${E820_MAX_ENTRIES}`,
    );
  }
  const moduleCount = initrd === undefined ? 0 : 1;
  const modlistAt = HVM_START_INFO_BYTES;
  const memmapAt = modlistAt + moduleCount * HVM_MODLIST_ENTRY_BYTES;
  const bytes = new Uint8Array(memmapAt + memoryMap.length * HVM_MEMMAP_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  const at = HVM_START_INFO_OFFSETS;
  view.setUint32(at.magic, HVM_START_MAGIC, true);
  view.setUint32(at.version, HVM_START_INFO_VERSION, true);
  view.setUint32(at.nr_modules, moduleCount, true);
  if (initrd !== undefined) {
    view.setBigUint64(modlistAt, initrd.address, true);
    view.setBigUint64(modlistAt + 8, initrd.byteLength, true);
    view.setBigUint64(at.modlist_paddr, address + BigInt(modlistAt), true);
  }
  view.setBigUint64(at.cmdline_paddr, commandLine?.address ?? 0n, true);
  view.setBigUint64(at.rsdp_paddr, acpiRsdpAddress, true);
  view.setBigUint64(at.memmap_paddr, address + BigInt(memmapAt), true);
  view.setUint32(at.memmap_entries, memoryMap.length, true);

  // An entry is e820's, and four zero bytes.
  bytes.set(encodeE820Entries(memoryMap, HVM_MEMMAP_ENTRY_BYTES), memmapAt);
  return bytes;
}
