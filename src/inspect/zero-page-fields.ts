/**
 * What a kernel is told, field by field, out of memory: the zero page (`struct boot_params`), and the start info of PVH.
 * Sources: the kernel's asm/bootparam.h, linux/screen_info.h and Documentation/arch/x86/zero-page.rst; Xen's
 * xen/include/public/arch-x86/hvm/start_info.h.
 */
import { type Meaning, magic, zeroOr } from "../base/field-meaning.js";
import { decodeSetupHeader } from "../images/bzimage-fields.js";
import { decodeFields, type FieldRow, type HeaderField, readInteger } from "../images/header-fields.js";
import { BOOT_PARAMS_BYTES, BOOT_PARAMS_OFFSETS } from "../x86/boot-params.js";
import { E820_ENTRY_BYTES, E820_MAX_ENTRIES } from "../x86/e820.js";
import {
  HVM_MEMMAP_ENTRY_BYTES,
  HVM_MODLIST_ENTRY_BYTES,
  HVM_START_INFO_BYTES,
  HVM_START_INFO_OFFSETS,
  HVM_START_MAGIC,
} from "../x86/pvh.js";
import { e820TypeName, viewOf, viewOfZeroPage } from "./e820-table.js";

const unused: Meaning = zeroOr("unused", "unused, but not zero");
const firmware = (text: string): Meaning => zeroOr(`none: ${text} come from firmware`, text);
const at = (none: string, what: string): Meaning => zeroOr(none, `${what} at {hex}`);
const upperHalf = (what: string): Meaning => `the upper 32 bits of ${what}`;

// linux/screen_info.h, VIDEO_TYPE_*
const SCREENS: Meaning = {
  0: "no screen that the kernel could use as it is",
  16: "monochrome text",
  17: "CGA",
  32: "EGA, monochrome",
  33: "EGA, colour",
  34: "VGA text",
  35: "a linear frame buffer (VESA)",
  112: "a linear frame buffer (EFI)",
};

/** `struct screen_info`, from offset 0 on. */
const SCREEN_INFO: readonly FieldRow[] = [
  ["orig_x", 1, "column of the cursor"],
  ["orig_y", 1, "row of the cursor"],
  ["ext_mem_k", 2, "KiB of memory above 1 MiB, for want of an e820 map"],
  ["orig_video_page", 2, "page of the text screen"],
  ["orig_video_mode", 1, "BIOS video mode"],
  ["orig_video_cols", 1, "columns of the text screen"],
  ["flags", 1, "VIDEO_FLAGS_* of the screen"],
  ["unused2", 1, unused],
  ["orig_video_ega_bx", 2, "what the EGA BIOS said"],
  ["unused3", 2, unused],
  ["orig_video_lines", 1, "lines of the text screen"],
  ["orig_video_isVGA", 1, SCREENS],
  ["orig_video_points", 2, "lines of pixels in a letter"],
  ["lfb_width", 2, "{} pixels wide"],
  ["lfb_height", 2, "{} pixels high"],
  ["lfb_depth", 2, "{} bits a pixel"],
  ["lfb_base", 4, at("no frame buffer", "the frame buffer is")],
  ["lfb_size", 4, "{} bytes of frame buffer, or units of 64 KiB (VESA)"],
  ["cl_magic", 2, "0xa33f where cl_offset is an old-style command line"],
  ["cl_offset", 2, "the old-style command line"],
  ["lfb_linelength", 2, "{} bytes from a line to the next"],
  ...["red", "green", "blue", "rsvd"].flatMap((colour): FieldRow[] => [
    [`${colour}_size`, 1, `{} bits of ${colour === "rsvd" ? "nothing" : colour} in a pixel`],
    [`${colour}_pos`, 1, "from bit {} on"],
  ]),
  ["vesapm_seg", 2, "segment of VESA's interface in protected mode"],
  ["vesapm_off", 2, "its offset"],
  ["pages", 2, "pages of the frame buffer"],
  ["vesa_attributes", 2, "VESA's attributes of the mode"],
  ["capabilities", 4, "VIDEO_CAPABILITY_*"],
  ["ext_lfb_base", 4, upperHalf("lfb_base")],
  ["_reserved", 2, unused],
];

/** From the screen's fields on to EFI's. */
const BEFORE_EFI: readonly FieldRow[] = [
  ["apm_bios_info", 20, firmware("the entry points of APM")],
  ["_pad2", 4, unused],
  ["tboot_addr", 8, at("not started by tboot", "tboot's shared page is")],
  ["ist_info", 16, firmware("the words of Intel SpeedStep")],
  ["acpi_rsdp_addr", 8, at("the kernel looks for ACPI's root pointer itself", "ACPI's root pointer is")],
  ["_pad3", 8, unused],
  ["hd0_info", 16, firmware("the geometry of the first disk (obsolete)")],
  ["hd1_info", 16, firmware("the geometry of the second disk (obsolete)")],
  ["sys_desc_table", 16, firmware("the words of a MicroChannel machine (obsolete)")],
  ["olpc_ofw_header", 16, firmware("the words of OLPC's OpenFirmware")],
  ["ext_ramdisk_image", 4, upperHalf("ramdisk_image")],
  ["ext_ramdisk_size", 4, upperHalf("ramdisk_size")],
  ["ext_cmd_line_ptr", 4, upperHalf("cmd_line_ptr")],
  ["_pad4", 112, unused],
  ["cc_blob_address", 4, at("no confidential guest", "the words for a confidential guest are")],
  ["edid_info", 128, firmware("the words of the monitor (EDID)")],
];

/** `struct efi_info` */
const EFI_INFO: readonly FieldRow[] = [
  ["efi_loader_signature", 4, zeroOr("not started by EFI", '"EL32" or "EL64": started by EFI')],
  ["efi_systab", 4, at("none", "EFI's system table is")],
  ["efi_memdesc_size", 4, "{} bytes for each range of EFI's memory map"],
  ["efi_memdesc_version", 4, "version of such a range"],
  ["efi_memmap", 4, at("none", "EFI's memory map is")],
  ["efi_memmap_size", 4, "{} bytes of EFI's memory map"],
  ["efi_systab_hi", 4, upperHalf("efi_systab")],
  ["efi_memmap_hi", 4, upperHalf("efi_memmap")],
];

/** From there on to the setup header. */
const BEFORE_HEADER: readonly FieldRow[] = [
  ["alt_mem_k", 4, "KiB of memory above 1 MiB, for want of an e820 map"],
  ["scratch", 4, "for the real-mode code's own use"],
  ["e820_entries", 1, "{} entries of e820_table are in use"],
  ["eddbuf_entries", 1, "{} entries of eddbuf are in use"],
  ["edd_mbr_sig_buf_entries", 1, "{} entries of edd_mbr_sig_buffer are in use"],
  ["kbd_status", 1, "what the BIOS said of the keyboard"],
  [
    "secure_boot",
    1,
    ["not told whether secure boot is on", "not told", "secure boot is off", "secure boot is on"],
  ],
  ["_pad5", 2, unused],
  [
    "sentinel",
    1,
    zeroOr(
      "zero: the kernel believes the fields above",
      "not zero: the kernel clears fields that it does not trust",
    ),
  ],
  ["_pad6", 1, unused],
];

/** From the end of the room for the setup header on to the e820 table, and behind it. */
const BEFORE_E820: readonly FieldRow[] = [
  ["edd_mbr_sig_buffer", 64, firmware("the signatures of BIOS disks")],
];
const BEHIND_E820: readonly FieldRow[] = [
  ["_pad8", 48, unused],
  ["eddbuf", 492, firmware("the words of BIOS disks (EDD)")],
  ["_pad9", 276, unused],
];

const RANGE: readonly FieldRow[] = [
  ["addr", 8, "starts at {hex}"],
  ["size", 8, "{} bytes"],
  ["type", 4, (value) => e820TypeName(Number(value))],
];

/** Rows at their place in the bytes. */
type Part = readonly [offset: number, rows: readonly FieldRow[], section: string, prefix?: string];

function decodeParts(bytes: Uint8Array, parts: readonly Part[]): HeaderField[] {
  return parts.flatMap(([offset, rows, section, prefix]) =>
    decodeFields(bytes.subarray(offset), rows, section, offset, prefix),
  );
}

/** As many lists of the same rows as are in use. */
function list(
  name: string,
  offset: number,
  entryBytes: number,
  count: number,
  rows: readonly FieldRow[],
): Part[] {
  return Array.from({ length: count }, (_, index) => [
    offset + index * entryBytes,
    rows,
    name,
    `${name}[${index}].`,
  ]);
}

/**
 * The fields of a zero page, `struct boot_params`, in the order of their offsets: what the kernel is told, whoever wrote it.
 * Of the e820 table the entries in use are shown.
 *
 * @param zeroPage all of `struct boot_params`, 4096 bytes; what follows is not looked at
 * @throws DirectBootError BOOT_PARAMS_BAD_E820 if there are fewer bytes
 *
 * @example
 * ```ts
 * import { loadLinuxSync } from "directboot";
 * import { describeZeroPage } from "directboot/inspect";
 *
 * const guest = loadLinuxSync({ kernel: "vmlinux", memory: 64 * 1024 * 1024 });
 * const page = guest.regions.find(({ tag }) => tag === "linux-zeropage");
 * if (page !== undefined) {
 *   const fields = describeZeroPage(guest.memory.read(page.range.start, 4096));
 *   console.log(fields.find(({ name }) => name === "e820_entries")?.meaning); // 3 entries of e820_table are in use
 * }
 * ```
 */
export function describeZeroPage(zeroPage: Uint8Array): HeaderField[] {
  const used = Math.min(
    viewOfZeroPage(zeroPage).getUint8(BOOT_PARAMS_OFFSETS.e820_entries),
    E820_MAX_ENTRIES,
  );
  const page = zeroPage.subarray(0, BOOT_PARAMS_BYTES);
  const { e820_table } = BOOT_PARAMS_OFFSETS;
  const header = decodeSetupHeader(page).map((field) => ({
    ...field,
    section: "struct setup_header",
    // Here the loader has been at work.
    meaning: field.meaning.replace(/ \(for the loader\)$/, ""),
  }));
  return [
    ...decodeParts(page, [
      [0, SCREEN_INFO, "struct screen_info", "screen_info."],
      [0x40, BEFORE_EFI, "struct boot_params"],
      [0x1c0, EFI_INFO, "struct efi_info", "efi_info."],
      [0x1e0, BEFORE_HEADER, "struct boot_params"],
    ]),
    ...header,
    ...decodeParts(page, [
      [0x290, BEFORE_E820, "struct boot_params"],
      ...list("e820_table", e820_table, E820_ENTRY_BYTES, used, RANGE),
      [e820_table + E820_MAX_ENTRIES * E820_ENTRY_BYTES, BEHIND_E820, "struct boot_params"],
    ]),
  ];
}

/** `struct hvm_start_info`, version 1. */
const START_INFO: readonly FieldRow[] = [
  ["magic", 4, magic(HVM_START_MAGIC, "the mark of a start info")],
  ["version", 4, "version {}: from 1 on there is a memory map"],
  ["flags", 4, "SIF_*"],
  ["nr_modules", 4, "{} modules: the first is the initrd"],
  ["modlist_paddr", 8, at("no list of modules", "the list of modules is")],
  ["cmdline_paddr", 8, at("no command line", "the command line is")],
  ["rsdp_paddr", 8, at("the kernel looks for ACPI's root pointer itself", "ACPI's root pointer is")],
  ["memmap_paddr", 8, at("no memory map", "the memory map is")],
  ["memmap_entries", 4, "{} entries"],
  ["reserved", 4, unused],
];
const MODULE: readonly FieldRow[] = [
  ["paddr", 8, "lies at {hex}"],
  ["size", 8, "{} bytes"],
  ["cmdline_paddr", 8, at("no command line of its own", "its command line is")],
  ["reserved", 8, unused],
];

/**
 * The fields of a PVH start info that lies at `address`, with the modules and the memory map as far as they are in `bytes`.
 *
 * @returns the fields in the order of start info, modules, memory map; none of fewer bytes than a start info has
 */
export function describeStartInfo(bytes: Uint8Array, address: bigint): HeaderField[] {
  if (viewOf(bytes).byteLength < HVM_START_INFO_BYTES) return [];
  type Field = keyof typeof HVM_START_INFO_OFFSETS;
  const listAt = (
    name: string,
    start: Field,
    count: Field,
    entryBytes: number,
    rows: readonly FieldRow[],
  ) => {
    const offset = readInteger(bytes, HVM_START_INFO_OFFSETS[start], 8) - address;
    if (offset < 0n || offset >= BigInt(bytes.byteLength)) return [];
    const most = Math.floor((bytes.byteLength - Number(offset)) / entryBytes);
    const entries = Number(readInteger(bytes, HVM_START_INFO_OFFSETS[count], 4));
    return list(name, Number(offset), entryBytes, Math.min(entries, most), rows);
  };
  const range: readonly FieldRow[] = [...RANGE, ["reserved", 4, unused]];
  return decodeParts(bytes, [
    [0, START_INFO, "struct hvm_start_info"],
    ...listAt("modules", "modlist_paddr", "nr_modules", HVM_MODLIST_ENTRY_BYTES, MODULE),
    ...listAt("memmap", "memmap_paddr", "memmap_entries", HVM_MEMMAP_ENTRY_BYTES, range),
  ]);
}
