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
import { type AddressLike, hex, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { X86Register } from "../importers/importer.js";
import type { PlanBuilder } from "../plan/plan.js";
import { E820_MAX_ENTRIES, type E820Entry, encodeE820Entries } from "./e820.js";
import { checkBelow4Gib, planMemoryTypes } from "./protected-mode.js";
import { X64_CR0_PE, X86_RFLAGS_DEFAULT } from "./registers.js";

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

/** Of the 64-bit fields. */
const START_INFO_ALIGNMENT = 8n;
const FOUR_GIB = 0x1_0000_0000n;

/** Parameters of {@link buildHvmStartInfo}; all addresses are guest physical. */
export interface HvmStartInfoOptions {
  /** The command line that lies in memory, ended by a NUL; none if it is left out. */
  readonly commandLineAddress?: AddressLike | undefined;
  /** The initrd that lies in memory: the first and only module. */
  readonly initrd?: { readonly address: AddressLike; readonly byteLength: AddressLike } | undefined;
  /** The RSDP, at any address; none if it is left out. */
  readonly acpiRsdpAddress?: AddressLike | undefined;
  /** The memory map, ascending; the types are e820's, which Xen's are the same as. */
  readonly memoryMap: readonly E820Entry[];
}

/** An address of at least `byteLength` bytes below 4 GiB. 0 is no address: it says that there is none. */
function toPvhAddress(input: AddressLike, byteLength: bigint, what: string): bigint {
  const address = toAddress(input, what);
  if (address === 0n || address + byteLength > FOUR_GIB) {
    throw new DirectBootError(
      "PVH_BAD_ADDRESS",
      `${what} is ${hex(address)} with ${hex(byteLength)} bytes, outside 0x1-${hex(FOUR_GIB)}`,
    );
  }
  return address;
}

/**
 * The start info of a PVH guest, with its list of modules and its memory map behind it, for `address`. Nothing lies at
 * 0; all but the RSDP lies below 4 GiB: Linux keeps 32 bits of the addresses of initrd and command line.
 *
 * 64-bit Linux reads the start info, the list and the map through page tables that map the first GiB alone: low memory
 * is the place for them. It adds the reservation of [0xa0000, 0x100000) itself.
 *
 * @param address a multiple of 8 above 0
 * @throws DirectBootError PVH_BAD_ADDRESS, PVH_BAD_MEMORY_MAP (Linux writes a map past 128 entries over its own data),
 *   E820_INVALID_ENTRY, ADDRESS_OUT_OF_RANGE
 */
export function buildHvmStartInfo(address: AddressLike, options: HvmStartInfoOptions): Uint8Array {
  const { memoryMap, initrd } = options;
  if (memoryMap.length === 0 || memoryMap.length > E820_MAX_ENTRIES) {
    throw new DirectBootError(
      "PVH_BAD_MEMORY_MAP",
      `the memory map has ${memoryMap.length} entries, not 1 to ${E820_MAX_ENTRIES}`,
    );
  }
  const moduleCount = initrd === undefined ? 0 : 1;
  const modlistAt = HVM_START_INFO_BYTES;
  const memmapAt = modlistAt + moduleCount * HVM_MODLIST_ENTRY_BYTES;
  const bytes = new Uint8Array(memmapAt + memoryMap.length * HVM_MEMMAP_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);

  const base = toPvhAddress(address, BigInt(bytes.byteLength), "the address of the start info");
  if (base % START_INFO_ALIGNMENT !== 0n) {
    throw new DirectBootError(
      "PVH_BAD_ADDRESS",
      `the address of the start info is ${hex(base)}, not a multiple of ${START_INFO_ALIGNMENT}`,
    );
  }
  const at = HVM_START_INFO_OFFSETS;
  view.setUint32(at.magic, HVM_START_MAGIC, true);
  view.setUint32(at.version, HVM_START_INFO_VERSION, true);
  view.setUint32(at.nr_modules, moduleCount, true);
  if (initrd !== undefined) {
    const byteLength = toAddress(initrd.byteLength, "the length of the initrd");
    view.setBigUint64(modlistAt, toPvhAddress(initrd.address, byteLength, "the address of the initrd"), true);
    view.setBigUint64(modlistAt + 8, byteLength, true);
    view.setBigUint64(at.modlist_paddr, base + BigInt(modlistAt), true);
  }
  if (options.commandLineAddress !== undefined) {
    const commandLine = toPvhAddress(options.commandLineAddress, 1n, "the address of the command line");
    view.setBigUint64(at.cmdline_paddr, commandLine, true);
  }
  view.setBigUint64(at.rsdp_paddr, toAddress(options.acpiRsdpAddress ?? 0n, "acpiRsdpAddress"), true);
  view.setBigUint64(at.memmap_paddr, base + BigInt(memmapAt), true);
  view.setUint32(at.memmap_entries, memoryMap.length, true);

  // An entry is e820's, and four zero bytes.
  const entries = encodeE820Entries(memoryMap);
  const entryBytes = entries.byteLength / memoryMap.length;
  for (let i = 0; i < memoryMap.length; i++) {
    bytes.set(entries.subarray(i * entryBytes, (i + 1) * entryBytes), memmapAt + i * HVM_MEMMAP_ENTRY_BYTES);
  }
  return bytes;
}

/** Input of {@link planPvhRegisters}; guest physical addresses below 4 GiB. */
export interface PvhEntry {
  /** The value of the kernel's note XEN_ELFNOTE_PHYS32_ENTRY (18, owner "Xen"). */
  readonly entry: AddressLike;
  /** Where the start info lies. */
  readonly startInfo: AddressLike;
}

/**
 * Adds the registers of the PVH entry that are no segments (pvh.pandoc): CR0 with PE alone, CR4 zero, EIP, EBX = start
 * info, EFLAGS with VM, TF and IF clear; PAT and MTRRs. The segments and TR are those of `planProtectedModeGdt`: CS
 * 32-bit execute/read, DS, ES and SS 32-bit read/write, flat; TR a busy 32-bit TSS at 0 with the limit 0x67. Xen
 * promises that RAM is write-back, which takes the variable MTRRs (`computeVariableMtrrs`), too.
 *
 * @throws DirectBootError PROTECTED_MODE_ADDRESS_TOO_HIGH, PVH_BAD_ADDRESS, ADDRESS_OUT_OF_RANGE
 */
export function planPvhRegisters(builder: PlanBuilder<X86Register>, options: PvhEntry): void {
  const entry = toAddress(options.entry, "entry");
  checkBelow4Gib(entry, 1n, "the entry");
  const startInfo = toPvhAddress(
    options.startInfo,
    BigInt(HVM_START_INFO_BYTES),
    "the address of the start info",
  );
  builder.register({ name: "cr0", value: X64_CR0_PE });
  builder.register({ name: "cr4", value: 0n });
  builder.register({ name: "rip", value: entry });
  builder.register({ name: "rbx", value: startInfo });
  builder.register({ name: "rflags", value: X86_RFLAGS_DEFAULT });
  planMemoryTypes(builder);
}
