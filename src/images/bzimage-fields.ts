/**
 * The setup header of a bzImage and its kernel_info, field by field. Names, offsets and meanings:
 * Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" and below.
 */
import { hex } from "../base/address.js";
import { flagNames, type Meaning, magic, meaningOf, zeroOr } from "../base/field-meaning.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import {
  formatProtocolVersion,
  LOADED_HIGH,
  SETUP_HEADER_LIMIT,
  SETUP_HEADER_OFFSET,
  XLF_CAN_BE_LOADED_ABOVE_4G,
  XLF_KERNEL_64,
} from "./bzimage.js";
import { describeFormat, detectFormat } from "./detect.js";
import {
  decodeFields,
  type FieldRow,
  type HeaderField,
  printableText,
  readInteger,
} from "./header-fields.js";

const HEADER_SECTION = 'boot.rst, "Details of Header Fields"';
const KERNEL_INFO_SECTION = 'boot.rst, "Details of the kernel_info Fields"';
const SECTOR_BYTES = 512;
const VERSION_OFFSET = 0x206;
/** kernel_version is relative to this. */
const KERNEL_VERSION_BASE = 0x200;
/** Longest kernel version that is shown. */
const MOST_VERSION_BYTES = 256;
/** Bytes of a payload that tell its compression. */
const PAYLOAD_MAGIC_BYTES = 16;

/** The bits of loadflags. */
export const LOADFLAGS: Readonly<Record<string, number>> = {
  LOADED_HIGH,
  KASLR_FLAG: 0x02, // the decompressor has chosen the kernel's place
  QUIET_FLAG: 0x20,
  KEEP_SEGMENTS: 0x40, // obsolete
  CAN_USE_HEAP: 0x80, // heap_end_ptr is valid
};

/** The bits of xloadflags. */
export const XLOADFLAGS: Readonly<Record<string, number>> = {
  XLF_KERNEL_64,
  XLF_CAN_BE_LOADED_ABOVE_4G,
  XLF_EFI_HANDOVER_32: 0x04,
  XLF_EFI_HANDOVER_64: 0x08,
  XLF_EFI_KEXEC: 0x10,
  XLF_5LEVEL: 0x20,
  XLF_5LEVEL_ENABLED: 0x40,
  XLF_MEM_ENCRYPTION: 0x80, // bootparam.h; set by the decompressor for the kernel
};

// boot.rst, type_of_loader; the type is the upper half.
const LOADERS: Meaning = {
  0: "LILO, or not set",
  1: "Loadlin",
  2: "bootsect-loader",
  3: "Syslinux",
  4: "Etherboot, gPXE or iPXE",
  5: "ELILO",
  7: "GRUB",
  8: "U-Boot",
  9: "Xen",
  10: "Gujin",
  11: "QEMU",
  12: "Arcturus Networks uCbootloader",
  13: "kexec-tools",
  14: "extended, see ext_loader_type",
  15: "special (0xff: undefined)",
};

// boot.rst, hardware_subarch
const SUBARCHES: Meaning = { 0: "PC", 1: "lguest", 2: "Xen", 3: "Moorestown MID", 4: "CE4100 TV platform" };

// boot.rst, "Special Command Line Options"
const VIDEO_MODES: Readonly<Record<number, string>> = { 65535: "normal", 65534: "ext", 65533: "ask" };

const fromLoader = (text: string): Meaning =>
  zeroOr(`${text}, not set (for the loader)`, `${text} (for the loader)`);
const fromCode = (text: string): Meaning => zeroOr("none", `${text} at {hex} of the protected-mode code`);

function describeSetupSectors(value: bigint): string {
  const sectors = value === 0n ? 4n : value;
  return `${sectors} sectors of setup code; the protected-mode code starts at byte ${hex((sectors + 1n) * 512n)}`;
}

function describeRootDevice(value: bigint): string {
  return value === 0n
    ? "no default root device"
    : `default root device ${value >> 8n}:${value & 0xffn} (deprecated)`;
}

function describeJump(value: bigint): string {
  return (value & 0xffn) === 0xebn
    ? `a jump over the header, which ends at ${hex(0x202n + (value >> 8n))}`
    : "not a short jump (0xeb)";
}

function describeMinAlignment(value: bigint): string {
  if (value === 0n) return "no lesser alignment will do";
  return value < 64n
    ? `a multiple of ${1n << value} bytes will do`
    : `2 to the power of ${value} bytes: no such alignment`;
}

/** All fields of `struct setup_header`, protocols 2.00 to 2.15. */
function setupHeader(): readonly FieldRow[] {
  return [
    ["setup_sects", 1, describeSetupSectors],
    [
      "root_flags",
      2,
      (value) => `the root is mounted ${value === 0n ? "read-write" : "read-only"} by default (deprecated)`,
    ],
    ["syssize", 4, (value) => `${value * 16n} bytes of protected-mode code, in units of 16`, 0x204],
    ["ram_size", 2, "obsolete"],
    ["vid_mode", 2, (value) => `video mode: ${VIDEO_MODES[Number(value)] ?? "a number"}`],
    ["root_dev", 2, describeRootDevice],
    ["boot_flag", 2, magic(0xaa55, "the mark of a boot sector")],
    ["jump", 2, describeJump, 0x200],
    ["header", 4, magic(0x5372_6448, '"HdrS"'), 0x200],
    ["version", 2, (value) => `boot protocol ${formatProtocolVersion(Number(value))}`, 0x200],
    ["realmode_swtch", 4, fromLoader("far address of a hook that runs before protected mode"), 0x200],
    ["start_sys_seg", 2, "the load-low segment (obsolete)", 0x200],
    ["kernel_version", 2, "pointer to the kernel's version", 0x200],
    [
      "type_of_loader",
      1,
      (value) => `boot loader: ${meaningOf(LOADERS, value >> 4n)} (for the loader)`,
      0x200,
    ],
    ["loadflags", 1, flagNames(LOADFLAGS), 0x200],
    ["setup_move_size", 2, "{} bytes to move to 0x90000 (protocols 2.00 and 2.01 only)", 0x200],
    ["code32_start", 4, "address that the real-mode code jumps to: the load address", 0x200],
    ["ramdisk_image", 4, fromLoader("address of the initrd"), 0x200],
    ["ramdisk_size", 4, fromLoader("bytes of the initrd"), 0x200],
    ["bootsect_kludge", 4, "obsolete", 0x200],
    ["heap_end_ptr", 2, fromLoader("end of the setup code's heap, less 0x200"), 0x201],
    ["ext_loader_ver", 1, fromLoader("more bits of the boot loader's version"), 0x202],
    ["ext_loader_type", 1, fromLoader("boot loader's type less 0x10, if type_of_loader is 0xe_"), 0x202],
    ["cmd_line_ptr", 4, fromLoader("address of the command line"), 0x202],
    ["initrd_addr_max", 4, "highest address that a byte of the initrd may have", 0x203],
    ["kernel_alignment", 4, "a relocatable kernel wants to lie at a multiple of {} bytes", 0x205],
    ["relocatable_kernel", 1, zeroOr("not relocatable", "may be loaded anywhere that is aligned"), 0x205],
    ["min_alignment", 1, describeMinAlignment, 0x20a],
    ["xloadflags", 2, flagNames(XLOADFLAGS), 0x20c],
    ["cmdline_size", 4, "the command line may have {} bytes, and a NUL", 0x206],
    ["hardware_subarch", 4, (value) => `${meaningOf(SUBARCHES, value)} (for the loader)`, 0x207],
    ["hardware_subarch_data", 8, fromLoader("data of the subarchitecture"), 0x207],
    ["payload_offset", 4, fromCode("the payload starts"), 0x208],
    ["payload_length", 4, "{} bytes of payload", 0x208],
    ["setup_data", 8, fromLoader("address of the first setup_data"), 0x209],
    ["pref_address", 8, zeroOr("no preferred load address", "the preferred load address"), 0x20a],
    ["init_size", 4, "{} bytes of memory are needed from the kernel's start on", 0x20a],
    ["handover_offset", 4, fromCode("the EFI handover entry is"), 0x20b],
    ["kernel_info_offset", 4, fromCode("kernel_info is"), 0x20f],
  ];
}

function describeSetupTypes(value: bigint): string {
  return `setup_data types up to ${value & 0x7fff_ffffn}${value >> 31n === 1n ? ", also as setup_indirect" : ""}`;
}

// boot.rst, "Details of the kernel_info Fields"
const KERNEL_INFO_BYTES = 16;
const KERNEL_INFO: readonly FieldRow[] = [
  ["header", 4, magic(0x506f_544c, '"LToP"')],
  ["size", 4, "{} bytes of fixed size"],
  ["size_total", 4, "{} bytes in all"],
  ["setup_type_max", 4, describeSetupTypes],
];

/** The fields that `inspect` shows of a bzImage. */
export interface BzImageDescription {
  readonly fields: readonly HeaderField[];
  /** The text that kernel_version points to. */
  readonly kernelVersion: string | undefined;
}

/** The kernel's version, and words for the field kernel_version; `limit` is the end of the setup code. */
function* readKernelVersion(
  source: Source,
  pointer: number,
  limit: number,
): Task<{ kernelVersion: string | undefined; meaning: string }> {
  if (pointer === 0) return { kernelVersion: undefined, meaning: "the kernel's version is not told" };
  const start = pointer + KERNEL_VERSION_BASE;
  const end = Math.min(limit, source.byteLength);
  if (start >= end) {
    return { kernelVersion: undefined, meaning: `points to byte ${hex(start)}, outside the setup code` };
  }
  const bytes = yield* readBytes(source, start, Math.min(MOST_VERSION_BYTES, end - start));
  const kernelVersion = printableText(bytes);
  return { kernelVersion, meaning: `at byte ${hex(start)}: ${kernelVersion}` };
}

/** The format that the payload's first bytes tell, or undefined if it is not in the file. */
function* readPayloadFormat(source: Source, offset: number): Task<string | undefined> {
  if (offset + PAYLOAD_MAGIC_BYTES > source.byteLength) return undefined;
  return describeFormat(detectFormat(yield* readBytes(source, offset, PAYLOAD_MAGIC_BYTES)));
}

/**
 * The fields of a setup header: of a bzImage's first bytes, or of a zero page, where it has the same place. Fields that the
 * protocol's version does not have are marked.
 */
export function decodeSetupHeader(head: Uint8Array): HeaderField[] {
  const version = Number(readInteger(head, VERSION_OFFSET, 2));
  const rows = setupHeader();
  const header = head.subarray(SETUP_HEADER_OFFSET, SETUP_HEADER_LIMIT);
  return decodeFields(header, rows, HEADER_SECTION, SETUP_HEADER_OFFSET).map((field, index) => {
    const since = rows[index]?.[3] ?? 0;
    if (since === 0) return field;
    const words = { since: formatProtocolVersion(since) };
    if (version >= since) return { ...field, ...words };
    const meaning =
      field.name === "syssize"
        ? "before 2.04: the low 16 bits of the size, which do not tell it"
        : `no field of protocol ${formatProtocolVersion(version)}`;
    return { ...field, meaning, ...words };
  });
}

/**
 * The fields of a file that starts like a bzImage, whatever their values: a file that the loaders refuse can be looked
 * at, too. Fields behind the end of a shorter file are left out; fields that the protocol's version does not have are marked.
 */
export function* readBzImageFields(source: Source): Task<BzImageDescription> {
  const { byteLength } = source;
  const head = (yield* readBytes(source, 0, Math.min(byteLength, SETUP_HEADER_LIMIT))).slice();
  const number = (offset: number, size: number): number => Number(readInteger(head, offset, size));
  const version = number(VERSION_OFFSET, 2);
  const protectedModeOffset = ((number(0x1f1, 1) || 4) + 1) * SECTOR_BYTES;
  const has = (since: number): boolean => version >= since;

  const { kernelVersion, meaning } = yield* readKernelVersion(source, number(0x20e, 2), protectedModeOffset);
  const payload = has(0x208) ? number(0x248, 4) : 0;
  const payloadFormat =
    payload === 0 ? undefined : yield* readPayloadFormat(source, protectedModeOffset + payload);

  const fields = decodeSetupHeader(head).map((field) => {
    if (field.name === "kernel_version" && has(0x200)) return { ...field, meaning };
    if (field.name !== "payload_length" || payloadFormat === undefined) return field;
    return { ...field, meaning: `${field.meaning}: ${payloadFormat}` };
  });

  const kernelInfo = has(0x20f) ? number(0x268, 4) : 0;
  const at = protectedModeOffset + kernelInfo;
  if (kernelInfo !== 0 && at + KERNEL_INFO_BYTES <= byteLength) {
    const bytes = yield* readBytes(source, at, KERNEL_INFO_BYTES);
    fields.push(...decodeFields(bytes, KERNEL_INFO, KERNEL_INFO_SECTION, at, "kernel_info."));
  }
  return { fields, kernelVersion };
}
