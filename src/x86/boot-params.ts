/**
 * `struct boot_params`, complete: any e820 map, the kernel's own setup header, addresses above 4 GiB, setup_data, the
 * RSDP. zero-page.ts builds OpenVMM's part of it. Sources: the kernel's arch/x86/include/uapi/asm/bootparam.h,
 * Documentation/arch/x86/boot.rst and Documentation/arch/x86/zero-page.rst.
 *
 * Left zero on purpose:
 * - `heap_end_ptr`, and CAN_USE_HEAP in `loadflags` as the kernel's file has it: the heap is the real-mode code's,
 *   which the 32-bit and 64-bit entries skip.
 * - `screen_info`: without firmware no video mode is set; zeros say that there is no VGA text screen and no frame
 *   buffer. `vid_mode` stays the kernel's: only real-mode code sets modes.
 * - `alt_mem_k` and `screen_info.ext_mem_k`: memory sizes for when there is no e820 map.
 * - `sentinel`: the kernel's file has 0xff there; Linux distrusts boot_params that still have it.
 * - EDD, EFI, APM, IST, disks: data of firmware that this guest does not have.
 */
import { type AddressLike, addAddresses, HV_PAGE_SIZE, hex, toAddress, toLength } from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { E820_MAX_ENTRIES, type E820Entry, encodeE820Entries } from "./e820.js";

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
  jump: 0x200,
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

/** type_of_loader of a boot loader without an assigned id (boot.rst); with 0 Linux ignores the initrd. */
export const TYPE_OF_LOADER_UNKNOWN = 0xff;
/** boot_flag (boot.rst) */
export const BOOT_FLAG = 0xaa55;
/** header: "HdrS" (boot.rst) */
export const HEADER_MAGIC = 0x5372_6448;
/** kernel_alignment of a kernel without a setup header, as in OpenVMM (linux.rs): 1 MiB. */
export const ELF_KERNEL_ALIGNMENT = 0x10_0000;

/**
 * The version for a kernel without a setup header: 2.12, the first with ext_cmd_line_ptr and ext_ramdisk_*; Linux's
 * own PVH entry enters the same. With 0, as OpenVMM leaves it, older kernels ignore setup_data.
 */
const ELF_PROTOCOL_VERSION = 0x020c;
// Protocol versions that brought fields (boot.rst, "The Linux/x86 Boot Protocol").
const VERSION_CMD_LINE_PTR = 0x0202;
const VERSION_CMDLINE_SIZE = 0x0206;
const VERSION_SETUP_DATA = 0x0209;
const VERSION_XLOADFLAGS = 0x020c;
/** Bytes of command line that protocols before 2.06 take, without the NUL (boot.rst, cmdline_size). */
const OLD_CMDLINE_SIZE = 255;
/** xloadflags, bit 1 (boot.rst): kernel, boot_params, command line and initrd can be above 4 GiB. */
const XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1;

/** Where the setup header starts, in the kernel's file and in boot_params (boot.rst, "32-bit Boot Protocol"). */
const SETUP_HEADER_START = 0x1f1;
/** The byte at 0x201, the reach of the header's jump: the header ends at 0x202 + this (boot.rst). */
const SETUP_HEADER_REACH = 0x201;
/** The end of the place for the header in boot_params, where edd_mbr_sig_buffer starts. */
const SETUP_HEADER_LIMIT = 0x290;

const U32_MAX = 0xffff_ffffn;

/** Parameters of {@link buildBootParams}; all addresses are guest physical. */
export interface BootParamsOptions {
  /**
   * The kernel's own setup header as it stands in the file from 0x1f1 on; what follows its end is ignored. None for an
   * ELF kernel, which has no such header.
   */
  readonly setupHeader?: Uint8Array | undefined;
  /** The map, ascending. The first 128 entries go into the table, the rest must be in a SETUP_E820_EXT node. */
  readonly e820: readonly E820Entry[];
  /** The command line that lies in memory, ended by a NUL that `byteLength` does not count. */
  readonly commandLine: { readonly address: AddressLike; readonly byteLength: number };
  /** The initrd that lies in memory. */
  readonly initrd?: { readonly address: AddressLike; readonly byteLength: AddressLike } | undefined;
  /** The first node of the setup_data list. */
  readonly setupDataAddress?: AddressLike | undefined;
  /** The RSDP, at any address. Kernels that do not know the field search [0xe0000, 0xfffff] for it. */
  readonly acpiRsdpAddress?: AddressLike | undefined;
  /** Where the protected-mode code of a bzImage was loaded: the 32-bit entry. */
  readonly code32Start?: AddressLike | undefined;
}

/** The header fields that decide which fields of boot_params the kernel reads. */
interface KernelHeader {
  readonly bytes: Uint8Array;
  readonly version: number;
  readonly aboveFourGib: boolean;
  /** The longest command line, without the NUL. */
  readonly cmdlineSize: number;
}

/** The kernel's setup header, from 0x1f1 to its end. */
function readSetupHeader(input: Uint8Array): KernelHeader {
  if (!(input instanceof Uint8Array)) {
    throw new TypeError(`setupHeader must be a Uint8Array, got ${describeType(input)}`);
  }
  const reach = input[SETUP_HEADER_REACH - SETUP_HEADER_START];
  const end = Math.min(BOOT_PARAMS_OFFSETS.header + (reach ?? 0), SETUP_HEADER_LIMIT);
  const bytes = input.slice(0, end - SETUP_HEADER_START);
  // As much as tells the version; what the header's end leaves out is zero.
  const view = new DataView(new ArrayBuffer(SETUP_HEADER_LIMIT - SETUP_HEADER_START));
  new Uint8Array(view.buffer).set(bytes);
  const u16 = (field: number): number => view.getUint16(field - SETUP_HEADER_START, true);
  const u32 = (field: number): number => view.getUint32(field - SETUP_HEADER_START, true);
  const at = BOOT_PARAMS_OFFSETS;
  if (reach === undefined || bytes.byteLength < end - SETUP_HEADER_START) {
    throw new DirectBootError(
      "BOOT_PARAMS_BAD_SETUP_HEADER",
      `the setup header has ${input.byteLength} bytes and ends at ${hex(end)}, ${end - SETUP_HEADER_START} bytes from its start`,
    );
  }
  if (u16(at.boot_flag) !== BOOT_FLAG || u32(at.header) !== HEADER_MAGIC) {
    throw new DirectBootError(
      "BOOT_PARAMS_BAD_SETUP_HEADER",
      `boot_flag is ${hex(u16(at.boot_flag))} and header ${hex(u32(at.header))}, not ${hex(BOOT_FLAG)} and ${hex(HEADER_MAGIC)} ("HdrS")`,
    );
  }
  const version = u16(at.version);
  return {
    bytes,
    version,
    aboveFourGib: version >= VERSION_XLOADFLAGS && (u16(at.xloadflags) & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0,
    cmdlineSize: version >= VERSION_CMDLINE_SIZE ? u32(at.cmdline_size) : OLD_CMDLINE_SIZE,
  };
}

/** "2.12" */
function versionName(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, "0")}`;
}

function requireVersion(header: KernelHeader | undefined, version: number, field: string): void {
  if (header !== undefined && header.version < version) {
    throw new DirectBootError(
      "BOOT_PARAMS_NOT_SUPPORTED",
      `the kernel's boot protocol is ${versionName(header.version)}, ${field} came with ${versionName(version)}`,
    );
  }
}

/** An address, or a size, whose upper half goes into a field of its own. */
function split(value: bigint, header: KernelHeader | undefined, what: string): readonly [number, number] {
  if (value > U32_MAX && header !== undefined && !header.aboveFourGib) {
    throw new DirectBootError(
      "BOOT_PARAMS_NOT_SUPPORTED",
      `${what} is ${hex(value)}, and the kernel (boot protocol ${versionName(header.version)}) does not have XLF_CAN_BE_LOADED_ABOVE_4G`,
    );
  }
  return [Number(value & U32_MAX), Number(value >> 32n)];
}

function badAddress(what: string, value: bigint, why: string): DirectBootError {
  return new DirectBootError("BOOT_PARAMS_BAD_ADDRESS", `${what} is ${hex(value)}: ${why}`);
}

/**
 * The entries for the table. A map of one entry comes as its two halves: Linux took one entry for the mistake of a
 * BIOS and ignored it, until `append_e820_table` dropped that in 2025. It joins the halves again.
 */
function tableEntries({ e820, setupDataAddress }: BootParamsOptions): readonly E820Entry[] {
  const [first] = e820;
  if (first === undefined) throw new DirectBootError("BOOT_PARAMS_BAD_E820", "the e820 map is empty");
  if (e820.length > E820_MAX_ENTRIES && setupDataAddress === undefined) {
    throw new DirectBootError(
      "BOOT_PARAMS_BAD_E820",
      `the e820 map has ${e820.length} entries, ${E820_MAX_ENTRIES} fit, and there is no setup_data for the rest`,
    );
  }
  if (e820.length > 1) return e820.slice(0, E820_MAX_ENTRIES);
  const pages = (first.end - first.start) / HV_PAGE_SIZE;
  const middle = first.start + (pages / 2n) * HV_PAGE_SIZE;
  return [
    { ...first, end: middle },
    { ...first, start: middle },
  ];
}

/**
 * The 4096 bytes of `struct boot_params` for the 32-bit and the 64-bit entry.
 *
 * With a setup header that header is copied, and only what boot.rst makes the boot loader's is written into it:
 * type_of_loader, ramdisk_image, ramdisk_size, cmd_line_ptr, setup_data, and code32_start if it is given; `cmdline_size`
 * and all else stay the kernel's. Without one, boot_flag, header, kernel_alignment and cmdline_size are as OpenVMM
 * writes them, and version is 2.12. Both have the e820 table, the upper halves of addresses above 4 GiB and the RSDP;
 * every other byte is zero.
 *
 * @throws DirectBootError BOOT_PARAMS_BAD_SETUP_HEADER, BOOT_PARAMS_NOT_SUPPORTED (the kernel has no field for what it
 *   must be told), BOOT_PARAMS_BAD_ADDRESS (Linux would take it for nothing, or it does not fit),
 *   BOOT_PARAMS_BAD_E820, COMMAND_LINE_TOO_LONG, E820_INVALID_ENTRY, ADDRESS_OUT_OF_RANGE,
 *   ADDRESS_OVERFLOW
 */
export function buildBootParams(options: BootParamsOptions): Uint8Array {
  const header = options.setupHeader === undefined ? undefined : readSetupHeader(options.setupHeader);
  const page = new Uint8Array(BOOT_PARAMS_BYTES);
  const view = new DataView(page.buffer);
  const at = BOOT_PARAMS_OFFSETS;

  const commandLineLength = toLength(options.commandLine.byteLength, "commandLine.byteLength");
  if (header !== undefined) {
    page.set(header.bytes, SETUP_HEADER_START);
  } else {
    view.setUint16(at.boot_flag, BOOT_FLAG, true);
    view.setUint32(at.header, HEADER_MAGIC, true);
    view.setUint16(at.version, ELF_PROTOCOL_VERSION, true);
    view.setUint32(at.kernel_alignment, ELF_KERNEL_ALIGNMENT, true);
    view.setUint32(at.cmdline_size, commandLineLength, true);
  }
  view.setUint8(at.type_of_loader, TYPE_OF_LOADER_UNKNOWN);

  const longest = header?.cmdlineSize ?? Number(U32_MAX);
  if (commandLineLength > longest) {
    throw new DirectBootError(
      "COMMAND_LINE_TOO_LONG",
      `the command line has ${commandLineLength} bytes, the kernel takes ${longest}`,
    );
  }
  const commandLine = toAddress(options.commandLine.address, "commandLine.address");
  requireVersion(header, VERSION_CMD_LINE_PTR, "cmd_line_ptr");
  if (commandLine === 0n && commandLineLength > 0) {
    throw badAddress("cmd_line_ptr", commandLine, "Linux takes 0 for no command line");
  }
  const [pointer, extPointer] = split(commandLine, header, "the address of the command line");
  view.setUint32(at.cmd_line_ptr, pointer, true);
  view.setUint32(at.ext_cmd_line_ptr, extPointer, true);

  const initrd = toAddress(options.initrd?.address ?? 0n, "initrd.address");
  const initrdLength = toAddress(options.initrd?.byteLength ?? 0n, "initrd.byteLength");
  addAddresses(initrd, initrdLength, "end of the initrd");
  if (initrd === 0n && initrdLength > 0n) {
    throw badAddress("ramdisk_image", initrd, "Linux takes 0 for no initrd");
  }
  const [image, extImage] = split(initrd, header, "the address of the initrd");
  const [size, extSize] = split(initrdLength, header, "the length of the initrd");
  view.setUint32(at.ramdisk_image, image, true);
  view.setUint32(at.ext_ramdisk_image, extImage, true);
  view.setUint32(at.ramdisk_size, size, true);
  view.setUint32(at.ext_ramdisk_size, extSize, true);

  const setupData = toAddress(options.setupDataAddress ?? 0n, "setupDataAddress");
  if (setupData !== 0n) requireVersion(header, VERSION_SETUP_DATA, "setup_data");
  // Also if there is none: a file can't know of a list in memory.
  view.setBigUint64(at.setup_data, setupData, true);
  view.setBigUint64(at.acpi_rsdp_addr, toAddress(options.acpiRsdpAddress ?? 0n, "acpiRsdpAddress"), true);

  if (options.code32Start !== undefined) {
    const code32Start = toAddress(options.code32Start, "code32Start");
    if (code32Start > U32_MAX) throw badAddress("code32_start", code32Start, "the field has 32 bits");
    view.setUint32(at.code32_start, Number(code32Start), true);
  }

  const table = encodeE820Entries(tableEntries(options));
  page.set(table, at.e820_table);
  view.setUint8(at.e820_entries, Math.min(Math.max(options.e820.length, 2), E820_MAX_ENTRIES));
  return page;
}
