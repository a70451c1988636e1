/**
 * The zero page, `struct boot_params`, as the seeds build it (linux.rs, `build_zero_page`). Offsets: the kernel's
 * arch/x86/include/uapi/asm/bootparam.h and Documentation/arch/x86/zero-page.rst.
 */
import { type AddressLike, addAddresses, HV_PAGE_SIZE, hex, toAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import type { MemoryLayout } from "../memory/memory-layout.js";

/** sizeof(struct boot_params) */
export const BOOT_PARAMS_BYTES = 4096;

/** Offsets of fields in `struct boot_params`. */
export const BOOT_PARAMS_OFFSETS = {
  acpi_rsdp_addr: 0x070,
  ext_ramdisk_image: 0x0c0,
  ext_ramdisk_size: 0x0c4,
  ext_cmd_line_ptr: 0x0c8,
  e820_entries: 0x1e8,
  sentinel: 0x1ef,
  setup_sects: 0x1f1,
  root_flags: 0x1f2,
  syssize: 0x1f4,
  boot_flag: 0x1fe,
  header: 0x202,
  version: 0x206,
  type_of_loader: 0x210,
  loadflags: 0x211,
  code32_start: 0x214,
  ramdisk_image: 0x218,
  ramdisk_size: 0x21c,
  cmd_line_ptr: 0x228,
  initrd_addr_max: 0x22c,
  kernel_alignment: 0x230,
  relocatable_kernel: 0x234,
  min_alignment: 0x235,
  xloadflags: 0x236,
  cmdline_size: 0x238,
  hardware_subarch: 0x23c,
  hardware_subarch_data: 0x240,
  payload_offset: 0x248,
  payload_length: 0x24c,
  setup_data: 0x250,
  pref_address: 0x258,
  init_size: 0x260,
  handover_offset: 0x264,
  kernel_info_offset: 0x268,
  edd_mbr_sig_buffer: 0x290,
  e820_table: 0x2d0,
  eddbuf: 0xd00,
} as const;

/** E820 types (asm/bootparam.h of older kernels, asm/e820/types.h). */
export const E820_RAM = 1;
export const E820_RESERVED = 2;
export const E820_ACPI = 3;
export const E820_NVS = 4;
export const E820_UNUSABLE = 5;

/** E820_MAX_ENTRIES_ZEROPAGE */
export const E820_MAX_ENTRIES = 128;
/** sizeof(struct boot_e820_entry), packed: addr u64, size u64, type u32 */
export const E820_ENTRY_BYTES = 20;

const TYPE_OF_LOADER_UNKNOWN = 0xff; // boot.rst: no assigned id
const BOOT_FLAG = 0xaa55;
const HEADER_MAGIC = 0x5372_6448; // "HdrS"
const KERNEL_ALIGNMENT = 0x10_0000;
const ACPI_BASE = 0xe_0000n;
const ONE_MIB = 0x10_0000n;
const U32_LIMIT = 1n << 32n;

/** A kernel command line and its place. */
export interface CommandLineConfig {
  /** Guest physical address, page-aligned. */
  readonly address: AddressLike;
  /** Text (as UTF-8) or bytes, without the NUL that ends it in memory; no NUL inside. */
  readonly commandLine: string | Uint8Array;
}

/** Parameters of {@link buildZeroPage}. */
export interface ZeroPageOptions {
  readonly memoryLayout: MemoryLayout;
  /** Where the ACPI tables lie: 0xe0000, the only value that the seeds know. */
  readonly acpiBase: AddressLike;
  /** Bytes of all ACPI tables; rounded up to pages. */
  readonly acpiLength: AddressLike;
  readonly commandLine: CommandLineConfig;
  /** Guest physical address of the initrd, or 0; below 4 GiB. */
  readonly initrdBase: AddressLike;
  /** Bytes of the initrd; below 4 GiB. */
  readonly initrdSize: AddressLike;
}

/** The bytes of a command line, without NUL. Throws COMMAND_LINE_NUL if there is one inside. */
export function commandLineBytes(commandLine: string | Uint8Array): Uint8Array {
  if (typeof commandLine !== "string" && !(commandLine instanceof Uint8Array)) {
    throw new TypeError(`commandLine must be a string or a Uint8Array, got ${typeof commandLine}`);
  }
  const bytes = typeof commandLine === "string" ? new TextEncoder().encode(commandLine) : commandLine;
  const nul = bytes.indexOf(0);
  if (nul >= 0) {
    throw new DirectBootError(
      "COMMAND_LINE_NUL",
      `byte ${nul} of ${bytes.byteLength} of the command line is NUL`,
    );
  }
  return bytes;
}

function u32(
  value: bigint,
  code: "ZERO_PAGE_INITRD_TOO_HIGH" | "ZERO_PAGE_COMMAND_LINE_TOO_HIGH",
  what: string,
): number {
  if (value >= U32_LIMIT)
    throw new DirectBootError(code, `${what} is ${hex(value)}, the limit is ${hex(U32_LIMIT - 1n)}`);
  return Number(value);
}

/**
 * The 4096 bytes of `struct boot_params` exactly as the seeds build them: RAM below 0xe0000, ACPI from there, RAM
 * up to the end of the first range, then the other RAM ranges. Fields that the seeds do not name are zero.
 *
 * @throws DirectBootError ZERO_PAGE_* and COMMAND_LINE_NUL
 */
export function buildZeroPage(options: ZeroPageOptions): Uint8Array {
  const { memoryLayout } = options;
  const text = commandLineBytes(options.commandLine.commandLine);
  const commandLineAddress = u32(
    toAddress(options.commandLine.address, "commandLine.address"),
    "ZERO_PAGE_COMMAND_LINE_TOO_HIGH",
    "cmd_line_ptr",
  );
  const initrdBase = u32(
    toAddress(options.initrdBase, "initrdBase"),
    "ZERO_PAGE_INITRD_TOO_HIGH",
    "ramdisk_image",
  );
  const initrdSize = u32(
    toAddress(options.initrdSize, "initrdSize"),
    "ZERO_PAGE_INITRD_TOO_HIGH",
    "ramdisk_size",
  );

  const [first, ...others] = memoryLayout.ram;
  if (first === undefined || first.range.start !== 0n || first.range.end < ONE_MIB) {
    throw new DirectBootError(
      "ZERO_PAGE_BAD_RAM",
      `the first RAM range is ${first?.range ?? "missing"}, it must cover 0x0-${hex(ONE_MIB)}`,
    );
  }
  const acpiBase = toAddress(options.acpiBase, "acpiBase");
  if (acpiBase !== ACPI_BASE) {
    throw new DirectBootError(
      "ZERO_PAGE_BAD_ACPI",
      `acpiBase is ${hex(acpiBase)}, it must be ${hex(ACPI_BASE)}`,
    );
  }
  const acpiLength = toAddress(options.acpiLength, "acpiLength");
  const acpiEnd =
    addAddresses(ACPI_BASE + HV_PAGE_SIZE - 1n, acpiLength, "end of the ACPI tables") & ~(HV_PAGE_SIZE - 1n);
  if (acpiEnd > first.range.end) {
    throw new DirectBootError(
      "ZERO_PAGE_BAD_ACPI",
      `the ACPI tables end at ${hex(acpiEnd)}, behind the first RAM range ${first.range}`,
    );
  }
  const entryCount = 3 + others.length;
  if (entryCount > E820_MAX_ENTRIES) {
    throw new DirectBootError(
      "ZERO_PAGE_TOO_MANY_E820_ENTRIES",
      `${memoryLayout.ram.length} RAM ranges need ${entryCount} e820 entries, the limit is ${E820_MAX_ENTRIES}`,
    );
  }

  const page = new Uint8Array(BOOT_PARAMS_BYTES);
  const view = new DataView(page.buffer);
  const at = BOOT_PARAMS_OFFSETS;
  view.setUint8(at.type_of_loader, TYPE_OF_LOADER_UNKNOWN);
  view.setUint16(at.boot_flag, BOOT_FLAG, true);
  view.setUint32(at.header, HEADER_MAGIC, true);
  view.setUint32(at.cmd_line_ptr, commandLineAddress, true);
  view.setUint32(at.cmdline_size, text.byteLength, true);
  view.setUint32(at.ramdisk_image, initrdBase, true);
  view.setUint32(at.ramdisk_size, initrdSize, true);
  view.setUint32(at.kernel_alignment, KERNEL_ALIGNMENT, true);

  let count = 0;
  const e820 = (start: bigint, end: bigint, type: number): void => {
    const entry = at.e820_table + count * E820_ENTRY_BYTES;
    view.setBigUint64(entry, start, true);
    view.setBigUint64(entry + 8, end - start, true);
    view.setUint32(entry + 16, type, true);
    count++;
  };
  e820(0n, ACPI_BASE, E820_RAM);
  e820(ACPI_BASE, acpiEnd, E820_ACPI);
  e820(acpiEnd, first.range.end, E820_RAM);
  for (const { range } of others) e820(range.start, range.end, E820_RAM);
  view.setUint8(at.e820_entries, count);
  return page;
}
