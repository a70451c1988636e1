/**
 * `struct boot_params`, complete: any e820 map, the kernel's own setup header, addresses above 4 GiB, setup_data, the
 * RSDP. zero-page.ts has the map that OpenVMM builds. Sources: the kernel's arch/x86/include/uapi/asm/bootparam.h,
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
import { HV_PAGE_SIZE, hex } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import {
  type BzImage,
  formatProtocolVersion,
  SETUP_HEADER_OFFSET,
  XLF_CAN_BE_LOADED_ABOVE_4G,
} from "../images/bzimage.js";
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
  boot_flag: 0x1fe,
  header: 0x202,
  version: 0x206,
  type_of_loader: 0x210,
  code32_start: 0x214,
  ramdisk_image: 0x218,
  ramdisk_size: 0x21c,
  cmd_line_ptr: 0x228,
  kernel_alignment: 0x230,
  cmdline_size: 0x238,
  setup_data: 0x250,
  e820_table: 0x2d0,
} as const;

/** type_of_loader of a boot loader without an assigned id (boot.rst); with 0 Linux ignores the initrd. */
const TYPE_OF_LOADER_UNKNOWN = 0xff;
/** boot_flag (boot.rst) */
const BOOT_FLAG = 0xaa55;
/** header: "HdrS" (boot.rst) */
const HEADER_MAGIC = 0x5372_6448;
/** kernel_alignment of a kernel without a setup header, as in OpenVMM (linux.rs): 1 MiB. */
const ELF_KERNEL_ALIGNMENT = 0x10_0000;

/**
 * The version for a kernel without a setup header: 2.12, the first with ext_cmd_line_ptr and ext_ramdisk_*; Linux's
 * own PVH entry enters the same. With 0, as OpenVMM leaves it, older kernels ignore setup_data.
 */
const ELF_PROTOCOL_VERSION = 0x020c;
// Protocol versions that brought fields (boot.rst, "The Linux/x86 Boot Protocol").
const VERSION_CMD_LINE_PTR = 0x0202;
const VERSION_SETUP_DATA = 0x0209;

const U32_MAX = 0xffff_ffffn;

/** Parameters of {@link buildBootParams}; all addresses are guest physical. */
export interface BootParamsOptions {
  /** The header of a bzImage; an ELF kernel has none. */
  readonly image?: BzImage | undefined;
  /** The map, ascending. The first 128 entries go into the table; the rest must be in a SETUP_E820_EXT node. */
  readonly e820: readonly E820Entry[];
  /** The command line that lies in memory, ended by a NUL that `byteLength` does not count; at 0 if there is none. */
  readonly commandLine: { readonly address: bigint; readonly byteLength: number };
  /** The initrd that lies in memory. */
  readonly initrd?: { readonly address: bigint; readonly byteLength: bigint } | undefined;
  /** The first node of the setup_data list. */
  readonly setupDataAddress?: bigint | undefined;
  /** The RSDP, at any address. Kernels that do not know the field search [0xe0000, 0xfffff] for it. */
  readonly acpiRsdpAddress?: bigint | undefined;
  /** Where the protected-mode code of a bzImage was loaded, below 4 GiB: the 32-bit entry. */
  readonly code32Start?: bigint | undefined;
}

function notSupported(why: string, options = {}): DirectBootError {
  return new DirectBootError("BOOT_PARAMS_NOT_SUPPORTED", why, options);
}

function requireVersion(image: BzImage | undefined, version: number, field: string): void {
  if (image !== undefined && image.version < version) {
    const [has, wants] = [formatProtocolVersion(image.version), formatProtocolVersion(version)];
    throw notSupported(`the kernel's boot protocol is ${has}, ${field} came with ${wants}`, {
      cure: `give a kernel of protocol ${wants} or later`,
    });
  }
}

/** Throws BOOT_PARAMS_NOT_SUPPORTED for a value above 4 GiB that the kernel does not look at. */
export function checkReach(image: BzImage | undefined, value: bigint, what: string): void {
  if (value > U32_MAX && image !== undefined && (image.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) === 0) {
    const version = formatProtocolVersion(image.version);
    throw notSupported(
      `${what} is ${hex(value)}, and the kernel (boot protocol ${version}) does not have XLF_CAN_BE_LOADED_ABOVE_4G`,
    );
  }
}

/**
 * The entries for the table. A map of one entry comes as its two halves: Linux took one entry for the mistake of a
 * BIOS and ignored it, until `append_e820_table` dropped that in 2025. It joins the halves again.
 */
function tableEntries(e820: readonly E820Entry[]): readonly E820Entry[] {
  const [first] = e820;
  if (first === undefined || e820.length > 1) return e820.slice(0, E820_MAX_ENTRIES);
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
 * @throws DirectBootError BOOT_PARAMS_NOT_SUPPORTED: the kernel has no field for what it must be told
 */
export function buildBootParams(options: BootParamsOptions): Uint8Array {
  const { image, commandLine, initrd, setupDataAddress, acpiRsdpAddress, code32Start } = options;
  const page = new Uint8Array(BOOT_PARAMS_BYTES);
  const view = new DataView(page.buffer);
  const at = BOOT_PARAMS_OFFSETS;
  const setHalves = (low: number, high: number, value: bigint, what: string): void => {
    checkReach(image, value, what);
    view.setUint32(low, Number(value & U32_MAX), true);
    view.setUint32(high, Number(value >> 32n), true);
  };

  if (image !== undefined) {
    page.set(image.header, SETUP_HEADER_OFFSET);
  } else {
    view.setUint16(at.boot_flag, BOOT_FLAG, true);
    view.setUint32(at.header, HEADER_MAGIC, true);
    view.setUint16(at.version, ELF_PROTOCOL_VERSION, true);
    view.setUint32(at.kernel_alignment, ELF_KERNEL_ALIGNMENT, true);
    view.setUint32(at.cmdline_size, commandLine.byteLength, true);
  }
  view.setUint8(at.type_of_loader, TYPE_OF_LOADER_UNKNOWN);
  if (code32Start !== undefined) view.setUint32(at.code32_start, Number(code32Start), true);

  requireVersion(image, VERSION_CMD_LINE_PTR, "cmd_line_ptr");
  setHalves(at.cmd_line_ptr, at.ext_cmd_line_ptr, commandLine.address, "the address of the command line");
  setHalves(at.ramdisk_image, at.ext_ramdisk_image, initrd?.address ?? 0n, "the address of the initrd");
  setHalves(at.ramdisk_size, at.ext_ramdisk_size, initrd?.byteLength ?? 0n, "the length of the initrd");
  if (setupDataAddress !== undefined) requireVersion(image, VERSION_SETUP_DATA, "setup_data");
  // Also if there is none: a file can't know of a list in memory.
  view.setBigUint64(at.setup_data, setupDataAddress ?? 0n, true);
  view.setBigUint64(at.acpi_rsdp_addr, acpiRsdpAddress ?? 0n, true);

  const entries = tableEntries(options.e820);
  page.set(encodeE820Entries(entries), at.e820_table);
  view.setUint8(at.e820_entries, entries.length);
  return page;
}
