/**
 * Names for files that are no kernel that can be loaded, by their magic numbers. Nothing of this is looked at before a
 * file is refused.
 */
import { DirectBootError } from "../base/errors.js";
import { readHead } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { type BzImage, SETUP_HEADER_OFFSET } from "./bzimage.js";
import { DETECT_BYTES, describeFormat, detectFormat, type ImageFormat } from "./detect.js";

/** e_machine of ELF files (gABI, "ELF Header"; <elf.h>), by the names that Linux has for the architectures. */
export const ELF_MACHINES: Readonly<Record<number, string>> = {
  2: "sparc",
  3: "i386",
  4: "m68k",
  8: "mips",
  15: "parisc",
  20: "powerpc",
  21: "powerpc64",
  22: "s390",
  40: "arm",
  42: "sh",
  43: "sparc64",
  50: "ia64",
  62: "x86-64",
  183: "arm64",
  243: "riscv",
  247: "bpf",
  258: "loongarch",
};

/** Machine of PE files (Microsoft's "PE Format", "Machine Types"). */
const PE_MACHINES: Readonly<Record<number, string>> = {
  332: "i386",
  448: "arm",
  450: "arm",
  452: "arm",
  512: "ia64",
  3772: "EFI byte code",
  20530: "riscv32",
  20580: "riscv64",
  25138: "loongarch32",
  25188: "loongarch64",
  34404: "x86-64",
  43620: "arm64",
};

/** A kind of file, and advice where there is better than "give a kernel". */
interface Kind {
  readonly what: string;
  readonly cure?: string | undefined;
}

/** Bytes, one a character, their offset, and what a file is that has them there. */
type Row = readonly [magic: string, offset: number, what: string, cure?: string];

const AS_INITRD = "give the kernel's file here, and this one as the initrd";
const UNPACK = "unpack it first, and give the kernel that is in it";
const UNPACK_UBOOT = "take the kernel out of it (dumpimage, of u-boot-tools), and give that";
const UNPACK_ANDROID = "take the kernel out of it (unpack_bootimg, of mkbootimg), and give that";
const FROM_DISK = "take the kernel out of it (most have it in /boot), and give that";
const NOT_YET = "give a kernel for x86 or arm64: there is no loader for this architecture";

/** In order: the first that fits names the file. */
const KINDS: readonly Row[] = [
  // Documentation/arch/riscv/boot-image-header.rst; arch/arm/boot/compressed/head.S; arch/s390/boot/head.S
  ["RISCV\0\0\0", 0x30, "a riscv64 Image", NOT_YET],
  ["RSC\x05", 0x38, "a riscv64 Image", NOT_YET],
  ["\x18\x28\x6f\x01", 0x24, "a zImage for 32-bit ARM", NOT_YET],
  ["S390EP", 0x1_0008, "a kernel for s390", NOT_YET],
  ["\x02\0\0\x18\x60\0\0\x50", 8, "a kernel for s390", NOT_YET],
  ["\x27\x05\x19\x56", 0, "a uImage, of U-Boot", UNPACK_UBOOT],
  ["ANDROID!", 0, "an Android boot image", UNPACK_ANDROID],
  ["VNDRBOOT", 0, "an Android vendor boot image, which holds no kernel", "give boot.img's kernel"],
  ["AVB0", 0, "Android's verified boot metadata, without a kernel"],
  ["\x3a\xff\x26\xed", 0, "an Android sparse image", FROM_DISK],
  ["\xd7\xb7\xab\x1e", 0, "an Android table of device trees"],
  ["\xd0\x0d\xfe\xed", 0, "a device tree", "give the kernel's file here, and this one as the device tree"],
  // Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5)
  ["070701", 0, "a cpio archive, as initrds are", AS_INITRD],
  ["070702", 0, "a cpio archive, as initrds are", AS_INITRD],
  ["070707", 0, "a cpio archive of an old format"],
  ["\xc7\x71", 0, "a cpio archive of an old format"],
  ["!<arch>\ndebian-binary", 0, "a Debian package (.deb)", UNPACK],
  ["!<arch>\n", 0, "an ar archive, such as a library (.a)"],
  ["\xed\xab\xee\xdb", 0, "an RPM package", UNPACK],
  ["ustar", 257, "a tar archive", UNPACK],
  ["PK\x03\x04", 0, "a ZIP archive", UNPACK],
  ["7z\xbc\xaf\x27\x1c", 0, "a 7z archive", UNPACK],
  ["Rar!", 0, "a RAR archive", UNPACK],
  ["xar!", 0, "a xar archive", UNPACK],
  ["LZIP", 0, "lzip-compressed data", UNPACK],
  ["\x1f\x9d", 0, "data compressed by compress (.Z)", UNPACK],
  ["\x1f\xa0", 0, "data compressed by compress -H", UNPACK],
  ["version https://git-lfs", 0, "a pointer of Git LFS, not the file itself", "fetch it with git lfs pull"],
  ["#!", 0, "a script"],
  ["<?xml", 0, "an XML file"],
  ["%PDF", 0, "a PDF document"],
  ["\x89PNG", 0, "a PNG picture"],
  ["\0asm", 0, "a WebAssembly module"],
  ["\xcf\xfa\xed\xfe", 0, "a Mach-O program (macOS)"],
  ["\xce\xfa\xed\xfe", 0, "a Mach-O program (macOS)"],
  ["\xca\xfe\xba\xbe", 0, "a Mach-O program (macOS) or a Java class"],
  ["KDUMP   ", 0, "a crash dump of a kernel"],
  ["_FVH", 0x28, "a UEFI firmware image", "give a kernel: no firmware is needed"],
  ["\x55\xaa", 0, "an option ROM"],
  ["QFI\xfb", 0, "a qcow2 disk image", FROM_DISK],
  ["KDMV", 0, "a VMDK disk image", FROM_DISK],
  ["# Disk DescriptorFile", 0, "the description of a VMDK disk image", FROM_DISK],
  ["vhdxfile", 0, "a VHDX disk image", FROM_DISK],
  ["conectix", 0, "a VHD disk image", FROM_DISK],
  ["\x7f\x10\xda\xbe", 0x40, "a VDI disk image", FROM_DISK],
  ["hsqs", 0, "a squashfs image", FROM_DISK],
  ["sqsh", 0, "a squashfs image", FROM_DISK],
  ["\x45\x3d\xcd\x28", 0, "a cramfs image", FROM_DISK],
  ["-rom1fs-", 0, "a romfs image", FROM_DISK],
  ["XFSB", 0, "an XFS image", FROM_DISK],
  ["\xe2\xe1\xf5\xe0", 1024, "an EROFS image", FROM_DISK],
  ["\x10\x20\xf5\xf2", 1024, "an F2FS image", FROM_DISK],
  ["\x53\xef", 0x438, "an ext2, ext3 or ext4 image", FROM_DISK],
  ["_BHRfS_M", 0x1_0040, "a Btrfs image", FROM_DISK],
  ["CD001", 0x8001, "an ISO 9660 image (a CD or DVD)", FROM_DISK],
  ["LUKS\xba\xbe", 0, "an encrypted disk image (LUKS)", FROM_DISK],
  ["LABELONE", 512, "an LVM volume", FROM_DISK],
  ["EFI PART", 512, "a disk image with a partition table (GPT)", FROM_DISK],
  ["EFI PART", 4096, "a disk image with a partition table (GPT)", FROM_DISK],
  ["NTFS    ", 3, "an NTFS image", FROM_DISK],
  ["EXFAT   ", 3, "an exFAT image", FROM_DISK],
  ["FAT", 0x36, "a FAT image", FROM_DISK],
  ["FAT32", 0x52, "a FAT image", FROM_DISK],
];

/** Bytes that are looked at: past the superblock of Btrfs. */
const KIND_BYTES = 0x1_0100;

// Microsoft's "PE Format": "MS-DOS Stub", "COFF File Header", "Section Table".
const PE_OFFSET = 0x3c;
const PE_SECTION_COUNT = 6;
const PE_OPTIONAL_HEADER_BYTES = 20;
const PE_HEADER_BYTES = 24;
const PE_SECTION_BYTES = 40;

/** A program for DOS, Windows or EFI; with a section .linux it is a unified kernel image (UAPI.5). */
function portableExecutable(text: string, view: DataView): Kind {
  const at = view.byteLength >= PE_OFFSET + 4 ? view.getUint32(PE_OFFSET, true) : 0;
  if (!text.startsWith("PE\0\0", at) || at + PE_HEADER_BYTES > view.byteLength)
    return { what: "a DOS program" };
  const machine = PE_MACHINES[view.getUint16(at + 4, true)] ?? "another machine";
  const sections = at + PE_HEADER_BYTES + view.getUint16(at + PE_OPTIONAL_HEADER_BYTES, true);
  const count = view.getUint16(at + PE_SECTION_COUNT, true);
  const names = Array.from({ length: count }, (_, index) =>
    text.slice(sections + index * PE_SECTION_BYTES).slice(0, 8),
  );
  if (!names.includes(".linux\0\0")) return { what: `a PE file, such as an EFI application, for ${machine}` };
  return {
    what: `a unified kernel image (UKI), an EFI application for ${machine}`,
    cure: "take the kernel out of it (objcopy -O binary --only-section=.linux), and give that",
  };
}

// A master boot record: four entries of 16 bytes, each with a status and a type, then the mark.
const PARTITIONS = 0x1be;
const PARTITION_BYTES = 16;
const BOOT_MARK = 0x1fe;

/** A boot sector, or a disk that starts with one. */
function bootSector(view: DataView): Kind | undefined {
  if (view.byteLength < BOOT_MARK + 2 || view.getUint16(BOOT_MARK, true) !== 0xaa55) return undefined;
  const entries = [0, 1, 2, 3].map((index) => PARTITIONS + index * PARTITION_BYTES);
  const isTable =
    entries.every((at) => (view.getUint8(at) & 0x7f) === 0) &&
    entries.some((at) => view.getUint8(at + 4) !== 0);
  if (isTable) return { what: "a disk image with a partition table (MBR)", cure: FROM_DISK };
  return { what: "a boot sector, without the setup header of a Linux kernel" };
}

/** Magic numbers of multiboot, where they may lie, and how many words, from the magic on, add up to 0. */
const MULTIBOOT = [
  // "Multiboot Specification" 0.6.96, 3.1; "Multiboot2 Specification" 2.0, 3.1
  { name: "multiboot", magic: 0x1bad_b002, below: 8192, words: 3 },
  { name: "multiboot2", magic: 0xe852_50d6, below: 32_768, words: 4 },
] as const;
/** Bytes of a file in which a multiboot header lies. */
export const MULTIBOOT_BYTES = 32_768;

/** The multiboot protocol that a file which starts with `head` has a header for, with its checksum. */
export function multibootIn(head: Uint8Array): "multiboot" | "multiboot2" | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  for (const { name, magic, below, words } of MULTIBOOT) {
    const text = Uint8Array.of(magic & 0xff, (magic >> 8) & 0xff, (magic >> 16) & 0xff, magic >>> 24);
    for (let at = indexOf(head, text, 0, below); at >= 0; at = indexOf(head, text, at + 1, below)) {
      if (at % 4 !== 0 || at + 4 * words > head.byteLength) continue;
      let sum = 0;
      for (let word = 0; word < words; word++) sum = (sum + view.getUint32(at + 4 * word, true)) >>> 0;
      if (sum === 0) return name;
    }
  }
  return undefined;
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array, from: number, below: number): number {
  const [first = 0, ...others] = wanted;
  for (let at = bytes.indexOf(first, from); at >= 0 && at < below; at = bytes.indexOf(first, at + 1)) {
    if (others.every((byte, index) => bytes[at + 1 + index] === byte)) return at;
  }
  return -1;
}

const HTML = /^\s*(<!--[\s\S]*?-->\s*)?<(!doctype\s+html|html|head|body)/i;
/** A node of a flattened device tree, FDT_BEGIN_NODE and its name, that only a FIT image has. */
const FIT_NODE = "\0\0\0\x01images\0";

/** What a file is that starts with `head`, if it is none of the formats that detectFormat knows. */
function kindOf(head: Uint8Array): Kind {
  const text = new TextDecoder("latin1").decode(head);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  // The label "latin1" means windows-1252, in which some bytes are other characters: compared as bytes.
  const has = (magic: string, offset: number): boolean =>
    Array.from(magic).every((character, index) => head[offset + index] === character.charCodeAt(0));
  const row = KINDS.find(([magic, offset]) => has(magic, offset));
  if (row !== undefined) {
    const [, , what, cure] = row;
    const isFit = what === "a device tree" && text.includes(FIT_NODE);
    return isFit ? { what: "a FIT image, of U-Boot", cure: UNPACK_UBOOT } : { what, cure };
  }
  if (has("MZ", 0)) return portableExecutable(text, view);
  if (HTML.test(text.slice(0, 4096))) {
    return { what: "an HTML page", cure: "check the address that it was downloaded from" };
  }
  const sector = bootSector(view);
  if (sector !== undefined) return sector;
  const multiboot = multibootIn(head);
  if (multiboot !== undefined) return { what: `a ${multiboot} kernel, not Linux` };
  const format = detectFormat(head.subarray(0, DETECT_BYTES));
  if (format !== "unknown") return { what: describeFormat(format) };
  if (head.every((byte) => byte === 0)) return { what: "a file of zeros" };
  const first = [...head.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0"));
  return { what: `a file of unknown format (it starts with ${first.join(" ")})` };
}

/** What a file is that is no kernel that can be loaded, and what to do instead, as far as its first bytes tell. */
export function* describeFile(source: Source): Task<Kind> {
  let head: Uint8Array;
  try {
    head = yield* readHead(source, KIND_BYTES);
  } catch (cause) {
    // So much of a stream may not be kept; so little was looked at already.
    if (!(cause instanceof DirectBootError) || cause.code !== "SOURCE_SPOOL_LIMIT") throw cause;
    head = yield* readHead(source, DETECT_BYTES);
  }
  // A format that is known by its first bytes keeps its name, whatever stands further inside by chance.
  const format = detectFormat(head.subarray(0, DETECT_BYTES));
  return format === "unknown" || format === "text" ? kindOf(head) : { what: describeFormat(format) };
}

/** A file's name in messages; where it was unpacked from something, what is inside is to blame. */
export function nameOfInner(name: string, packing: ImageFormat | undefined): string {
  return packing === undefined ? name : `${name}: the ${describeFormat(packing).replace(/^an? /, "")} in it`;
}

/**
 * NO_KERNEL_INSIDE for a file that is no kernel, or holds none.
 *
 * @param packing what the file was unpacked from
 */
export function* noKernel(source: Source, packing: ImageFormat | undefined): Task<DirectBootError> {
  const { what, cure } = yield* describeFile(source);
  return new DirectBootError(
    "NO_KERNEL_INSIDE",
    `${nameOfInner(source.name, packing)} is ${what}${source.byteLength === 0 ? " of 0 bytes" : ""}`,
    cure === undefined ? {} : { cure },
  );
}

/** Since this protocol (2.04) a bzImage says how long it is; memdisk has 2.03. */
const SYSSIZE_OF_32_BITS = 0x204;
/** kernel_version, in the setup header, points to a text from 0x200 on (boot.rst). */
const KERNEL_VERSION = 0x20e;
const KERNEL_VERSION_BASE = 0x200;

/** NO_KERNEL_INSIDE for memdisk, a program of SYSLINUX's with the header of a bzImage. */
export function* refuseMemdisk(source: Source, { header, version }: BzImage): Task<void> {
  if (version >= SYSSIZE_OF_32_BITS) return;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const at = KERNEL_VERSION_BASE + view.getUint16(KERNEL_VERSION - SETUP_HEADER_OFFSET, true);
  const name = "MEMDISK";
  const text = new TextDecoder().decode((yield* readHead(source, at + name.length)).subarray(at));
  if (text !== name) return;
  throw new DirectBootError(
    "NO_KERNEL_INSIDE",
    `${source.name} is memdisk, of SYSLINUX, which starts disk images by a BIOS, and there is none`,
  );
}
