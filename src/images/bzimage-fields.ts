/**
 * The setup header of a bzImage and its kernel_info, field by field. Names, offsets and meanings:
 * Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" and below.
 */
import { hex } from "../base/address.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import {
  CAN_USE_HEAP,
  formatProtocolVersion,
  KASLR_FLAG,
  KEEP_SEGMENTS,
  LOADED_HIGH,
  QUIET_FLAG,
  SETUP_HEADER_LIMIT,
  XLF_5LEVEL,
  XLF_5LEVEL_ENABLED,
  XLF_CAN_BE_LOADED_ABOVE_4G,
  XLF_EFI_HANDOVER_32,
  XLF_EFI_HANDOVER_64,
  XLF_EFI_KEXEC,
  XLF_KERNEL_64,
} from "./bzimage.js";
import { describeFormat, detectFormat } from "./detect.js";
import {
  bitNames,
  decodeFields,
  type FieldDefinition,
  type HeaderField,
  magicMeaning,
  printableText,
  readInteger,
  valueName,
} from "./header-fields.js";

const HEADER_SECTION = 'boot.rst, "Details of Header Fields"';
const KERNEL_INFO_SECTION = 'boot.rst, "Details of the kernel_info Fields"';
const SECTOR_BYTES = 512;
/** kernel_version is relative to this. */
const KERNEL_VERSION_BASE = 0x200;
/** Longest kernel version that is shown. */
const MOST_VERSION_BYTES = 256;
/** Bytes of a payload that tell its compression. */
const PAYLOAD_MAGIC_BYTES = 16;

/** The bits of loadflags. */
export const LOADFLAGS: Readonly<Record<string, number>> = {
  LOADED_HIGH,
  KASLR_FLAG,
  QUIET_FLAG,
  KEEP_SEGMENTS,
  CAN_USE_HEAP,
};

/** The bits of xloadflags. */
export const XLOADFLAGS: Readonly<Record<string, number>> = {
  XLF_KERNEL_64,
  XLF_CAN_BE_LOADED_ABOVE_4G,
  XLF_EFI_HANDOVER_32,
  XLF_EFI_HANDOVER_64,
  XLF_EFI_KEXEC,
  XLF_5LEVEL,
  XLF_5LEVEL_ENABLED,
  XLF_MEM_ENCRYPTION: 0x80, // bootparam.h; set by the decompressor for the kernel
};

// boot.rst, type_of_loader
const LOADERS: Readonly<Record<string, string>> = {
  "0x0": "LILO, or not set",
  "0x1": "Loadlin",
  "0x2": "bootsect-loader",
  "0x3": "Syslinux",
  "0x4": "Etherboot, gPXE or iPXE",
  "0x5": "ELILO",
  "0x7": "GRUB",
  "0x8": "U-Boot",
  "0x9": "Xen",
  "0xa": "Gujin",
  "0xb": "QEMU",
  "0xc": "Arcturus Networks uCbootloader",
  "0xd": "kexec-tools",
  "0xe": "extended, see ext_loader_type",
  "0xf": "special (0xff: undefined)",
};

// boot.rst, hardware_subarch
const SUBARCHES: Readonly<Record<string, string>> = {
  "0x0": "PC",
  "0x1": "lguest",
  "0x2": "Xen",
  "0x3": "Moorestown MID",
  "0x4": "CE4100 TV platform",
};

// boot.rst, "Special Command Line Options"
const VIDEO_MODES: Readonly<Record<string, string>> = {
  "0xffff": "normal",
  "0xfffe": "ext",
  "0xfffd": "ask",
};

/** A field of the setup header, and the first protocol that has it (0: all). */
export interface SetupHeaderField extends FieldDefinition {
  readonly since: number;
}

const fromLoader = (what: string) => (value: bigint) =>
  `${what}${value === 0n ? ", not set" : ""} (for the loader)`;
const fromCode = (what: string) => (value: bigint) =>
  value === 0n ? "none" : `${what} at ${hex(value)} of the protected-mode code`;

/** All fields of `struct setup_header`, protocols 2.00 to 2.15, by their offset in the file. */
export function setupHeaderFields(): readonly SetupHeaderField[] {
  return [
    {
      name: "setup_sects",
      offset: 0x1f1,
      size: 1,
      since: 0,
      meaning: (value) => {
        const sectors = value === 0n ? 4n : value;
        return `${sectors} sectors of setup code; the protected-mode code starts at byte ${hex((sectors + 1n) * 512n)}`;
      },
    },
    {
      name: "root_flags",
      offset: 0x1f2,
      size: 2,
      since: 0,
      meaning: (value) =>
        `the root is mounted ${value === 0n ? "read-write" : "read-only"} by default (deprecated)`,
    },
    {
      name: "syssize",
      offset: 0x1f4,
      size: 4,
      since: 0x204,
      meaning: (value) => `${value * 16n} bytes of protected-mode code, in units of 16`,
    },
    { name: "ram_size", offset: 0x1f8, size: 2, since: 0, meaning: "obsolete" },
    {
      name: "vid_mode",
      offset: 0x1fa,
      size: 2,
      since: 0,
      meaning: (value) => `video mode: ${valueName(value, VIDEO_MODES, "a number")}`,
    },
    {
      name: "root_dev",
      offset: 0x1fc,
      size: 2,
      since: 0,
      meaning: (value) =>
        value === 0n
          ? "no default root device"
          : `default root device ${value >> 8n}:${value & 0xffn} (deprecated)`,
    },
    {
      name: "boot_flag",
      offset: 0x1fe,
      size: 2,
      since: 0,
      meaning: (value) => magicMeaning(value, 0xaa55, "the mark of a boot sector"),
    },
    {
      name: "jump",
      offset: 0x200,
      size: 2,
      since: 0x200,
      meaning: (value) =>
        (value & 0xffn) === 0xebn
          ? `a jump over the header, which ends at ${hex(0x202n + (value >> 8n))}`
          : "not a short jump (0xeb)",
    },
    {
      name: "header",
      offset: 0x202,
      size: 4,
      since: 0x200,
      meaning: (value) => magicMeaning(value, 0x5372_6448, '"HdrS"'),
    },
    {
      name: "version",
      offset: 0x206,
      size: 2,
      since: 0x200,
      meaning: (value) => `boot protocol ${formatProtocolVersion(Number(value))}`,
    },
    {
      name: "realmode_swtch",
      offset: 0x208,
      size: 4,
      since: 0x200,
      meaning: fromLoader("far address of a hook that runs before protected mode"),
    },
    {
      name: "start_sys_seg",
      offset: 0x20c,
      size: 2,
      since: 0x200,
      meaning: "the load-low segment (obsolete)",
    },
    {
      name: "kernel_version",
      offset: 0x20e,
      size: 2,
      since: 0x200,
      meaning: "pointer to the kernel's version",
    },
    {
      name: "type_of_loader",
      offset: 0x210,
      size: 1,
      since: 0x200,
      meaning: (value) => `boot loader: ${valueName(value >> 4n, LOADERS)} (for the loader)`,
    },
    {
      name: "loadflags",
      offset: 0x211,
      size: 1,
      since: 0x200,
      meaning: (value) => bitNames(value, LOADFLAGS),
    },
    {
      name: "setup_move_size",
      offset: 0x212,
      size: 2,
      since: 0x200,
      meaning: (value) => `${value} bytes to move to 0x90000 (protocols 2.00 and 2.01 only)`,
    },
    {
      name: "code32_start",
      offset: 0x214,
      size: 4,
      since: 0x200,
      meaning: "address that the real-mode code jumps to: the load address",
    },
    {
      name: "ramdisk_image",
      offset: 0x218,
      size: 4,
      since: 0x200,
      meaning: fromLoader("address of the initrd"),
    },
    {
      name: "ramdisk_size",
      offset: 0x21c,
      size: 4,
      since: 0x200,
      meaning: fromLoader("bytes of the initrd"),
    },
    { name: "bootsect_kludge", offset: 0x220, size: 4, since: 0x200, meaning: "obsolete" },
    {
      name: "heap_end_ptr",
      offset: 0x224,
      size: 2,
      since: 0x201,
      meaning: fromLoader("end of the setup code's heap, less 0x200"),
    },
    {
      name: "ext_loader_ver",
      offset: 0x226,
      size: 1,
      since: 0x202,
      meaning: fromLoader("more bits of the boot loader's version"),
    },
    {
      name: "ext_loader_type",
      offset: 0x227,
      size: 1,
      since: 0x202,
      meaning: fromLoader("boot loader's type less 0x10, if type_of_loader is 0xe_"),
    },
    {
      name: "cmd_line_ptr",
      offset: 0x228,
      size: 4,
      since: 0x202,
      meaning: fromLoader("address of the command line"),
    },
    {
      name: "initrd_addr_max",
      offset: 0x22c,
      size: 4,
      since: 0x203,
      meaning: "highest address that a byte of the initrd may have",
    },
    {
      name: "kernel_alignment",
      offset: 0x230,
      size: 4,
      since: 0x205,
      meaning: (value) => `a relocatable kernel wants to lie at a multiple of ${value} bytes`,
    },
    {
      name: "relocatable_kernel",
      offset: 0x234,
      size: 1,
      since: 0x205,
      meaning: (value) => (value === 0n ? "not relocatable" : "may be loaded anywhere that is aligned"),
    },
    {
      name: "min_alignment",
      offset: 0x235,
      size: 1,
      since: 0x20a,
      meaning: (value) =>
        value === 0n
          ? "no lesser alignment will do"
          : value < 64n
            ? `a multiple of ${1n << value} bytes will do`
            : `2 to the power of ${value} bytes: no such alignment`,
    },
    {
      name: "xloadflags",
      offset: 0x236,
      size: 2,
      since: 0x20c,
      meaning: (value) => bitNames(value, XLOADFLAGS),
    },
    {
      name: "cmdline_size",
      offset: 0x238,
      size: 4,
      since: 0x206,
      meaning: (value) => `the command line may have ${value} bytes, and a NUL`,
    },
    {
      name: "hardware_subarch",
      offset: 0x23c,
      size: 4,
      since: 0x207,
      meaning: (value) => `${valueName(value, SUBARCHES)} (for the loader)`,
    },
    {
      name: "hardware_subarch_data",
      offset: 0x240,
      size: 8,
      since: 0x207,
      meaning: fromLoader("data of the subarchitecture"),
    },
    { name: "payload_offset", offset: 0x248, size: 4, since: 0x208, meaning: fromCode("the payload starts") },
    {
      name: "payload_length",
      offset: 0x24c,
      size: 4,
      since: 0x208,
      meaning: (value) => `${value} bytes of payload`,
    },
    {
      name: "setup_data",
      offset: 0x250,
      size: 8,
      since: 0x209,
      meaning: fromLoader("address of the first setup_data"),
    },
    {
      name: "pref_address",
      offset: 0x258,
      size: 8,
      since: 0x20a,
      meaning: (value) => (value === 0n ? "no preferred load address" : "the preferred load address"),
    },
    {
      name: "init_size",
      offset: 0x260,
      size: 4,
      since: 0x20a,
      meaning: (value) => `${value} bytes of memory are needed from the kernel's start on`,
    },
    {
      name: "handover_offset",
      offset: 0x264,
      size: 4,
      since: 0x20b,
      meaning: fromCode("the EFI handover entry is"),
    },
    { name: "kernel_info_offset", offset: 0x268, size: 4, since: 0x20f, meaning: fromCode("kernel_info is") },
  ];
}

// boot.rst, "Details of the kernel_info Fields"
const KERNEL_INFO_BYTES = 16;
const KERNEL_INFO_MAGIC = 0x506f_544c; // "LToP"

function kernelInfoFields(): readonly FieldDefinition[] {
  return [
    {
      name: "header",
      offset: 0,
      size: 4,
      meaning: (value) => magicMeaning(value, KERNEL_INFO_MAGIC, '"LToP"'),
    },
    { name: "size", offset: 4, size: 4, meaning: (value) => `${value} bytes of fixed size` },
    { name: "size_total", offset: 8, size: 4, meaning: (value) => `${value} bytes in all` },
    {
      name: "setup_type_max",
      offset: 12,
      size: 4,
      meaning: (value) =>
        `setup_data types up to ${value & 0x7fff_ffffn}${(value >> 31n) & 1n ? ", also as setup_indirect" : ""}`,
    },
  ];
}

/** The fields that `inspect` shows of a bzImage. */
export interface BzImageDescription {
  readonly fields: readonly HeaderField[];
  /** The text that kernel_version points to. */
  readonly kernelVersion: string | undefined;
}

/** The kernel's version, and words for the field kernel_version. */
function* readKernelVersion(
  source: Source,
  pointer: number,
  setupSectors: number,
): Task<{ kernelVersion: string | undefined; meaning: string }> {
  if (pointer === 0) return { kernelVersion: undefined, meaning: "the kernel's version is not told" };
  const start = pointer + KERNEL_VERSION_BASE;
  const end = Math.min((setupSectors + 1) * SECTOR_BYTES, source.byteLength);
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
 * The fields of a file that starts like a bzImage, whatever their values: a file that the loaders refuse can be looked
 * at, too. What a shorter file does not have is left out; fields that the protocol's version does not have are marked.
 */
export function* readBzImageFields(source: Source): Task<BzImageDescription> {
  const { byteLength } = source;
  const head = (yield* readBytes(source, 0, Math.min(byteLength, SETUP_HEADER_LIMIT))).slice();
  const number = (offset: number, size: number): number => Number(readInteger(head, offset, size));
  const version = number(0x206, 2);
  const setupSectors = number(0x1f1, 1) || 4;
  const protectedModeOffset = (setupSectors + 1) * SECTOR_BYTES;
  const has = (since: number): boolean => version >= since;

  const { kernelVersion, meaning } = yield* readKernelVersion(source, number(0x20e, 2), setupSectors);
  const payload = has(0x208) ? number(0x248, 4) : 0;
  const payloadFormat =
    payload === 0 ? undefined : yield* readPayloadFormat(source, protectedModeOffset + payload);

  const definitions = setupHeaderFields();
  const fields = decodeFields(head, definitions, HEADER_SECTION).map((field, index): HeaderField => {
    const since = definitions[index]?.since ?? 0;
    const described: HeaderField = {
      ...field,
      ...(since === 0 ? {} : { since: formatProtocolVersion(since) }),
    };
    if (field.name === "syssize" && !has(since)) {
      return { ...described, meaning: "before 2.04: the low 16 bits of the size, which do not tell it" };
    }
    if (!has(since)) {
      return { ...described, meaning: `no field of protocol ${formatProtocolVersion(version)}` };
    }
    if (field.name === "kernel_version") return { ...described, meaning };
    if (field.name === "payload_length" && payloadFormat !== undefined) {
      return { ...described, meaning: `${field.meaning}: ${payloadFormat}` };
    }
    return described;
  });

  const kernelInfo = has(0x20f) ? number(0x268, 4) : 0;
  const at = protectedModeOffset + kernelInfo;
  if (kernelInfo !== 0 && at + KERNEL_INFO_BYTES <= byteLength) {
    const bytes = yield* readBytes(source, at, KERNEL_INFO_BYTES);
    fields.push(...decodeFields(bytes, kernelInfoFields(), KERNEL_INFO_SECTION, at, "kernel_info."));
  }
  return { fields, kernelVersion };
}
