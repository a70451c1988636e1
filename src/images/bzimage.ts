/**
 * The x86 bzImage: real-mode code whose setup header describes the protected-mode code behind it. Offsets, versions and
 * defaults: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" and "Details of Header Fields"; names as in
 * `struct setup_header` (arch/x86/include/uapi/asm/bootparam.h).
 *
 *     0x000  boot sector          0x1f1  setup header, up to 0x202 + the byte at 0x201 (at most 0x281)
 *     0x200  setup code           (setup_sects + 1) * 512: protected-mode code, syssize * 16 bytes
 *                                     payload_offset from there: the compressed vmlinux, payload_length bytes
 */
import { hex, PAGE_BYTES } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { readBytes } from "../sources/reading.js";
import type { Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { describeFormat, detectFormat } from "./detect.js";

/** Offset of the setup header, in the file and in `struct boot_params`. */
export const SETUP_HEADER_OFFSET = 0x1f1;
/** One past the last byte that the setup header may have in `struct boot_params` (its `_pad7` ends there). */
export const SETUP_HEADER_LIMIT = 0x290;
/** boot.rst, "a sector" */
const SECTOR_BYTES = 512;
/** Unit of syssize. */
const PARAGRAPH_BYTES = 16;
const BOOT_FLAG = 0xaa55;
/** Up to and with the version, without which nothing can be told. */
const LEAST_BYTES = 0x208;
const HEADER_MAGIC = 0x5372_6448; // "HdrS"
/** boot.rst: if setup_sects is 0, the real value is 4. */
const DEFAULT_SETUP_SECTORS = 4;
/** The jump at 0x200 is relative to 0x202, and its byte is signed. */
const JUMP_ORIGIN = 0x202;
const LONGEST_JUMP = 0x7f;

/** loadflags: the protected-mode code is loaded at 0x100000, not at 0x10000. */
export const LOADED_HIGH = 0x01;

/** xloadflags: there is a 64-bit entry point at 0x200 of the protected-mode code. */
export const XLF_KERNEL_64 = 0x01;
/** xloadflags: kernel, boot_params, command line and initrd may lie above 4 GiB. */
export const XLF_CAN_BE_LOADED_ABOVE_4G = 0x02;

// Values for kernels whose protocol lacks the field.
const OLD_INITRD_ADDR_MAX = 0x37ff_ffff; // boot.rst, initrd_addr_max: before 2.03
const OLD_CMDLINE_SIZE = 255; // boot.rst, cmdline_size: before 2.06
const OLD_LOAD_ADDRESS = 0x10_0000; // boot.rst, "Loading The Rest of The Kernel": where every bzImage may be loaded
/** Times the protected-mode code: what GRUB assumes that an old kernel needs to unpack (loader/i386/linux.c). */
const OLD_UNPACK_FACTOR = 3;

/** The first version of the protocol that has a header up to this offset. */
const HEADER_ENDS: readonly (readonly [version: number, end: number])[] = [
  [0x200, 0x224], // bootsect_kludge
  [0x201, 0x226], // heap_end_ptr
  [0x202, 0x22c], // cmd_line_ptr
  [0x203, 0x230], // initrd_addr_max
  [0x205, 0x235], // relocatable_kernel
  [0x206, 0x23c], // cmdline_size
  [0x207, 0x248], // hardware_subarch_data
  [0x208, 0x250], // payload_length
  [0x209, 0x258], // setup_data
  [0x20a, 0x264], // init_size
  [0x20b, 0x268], // handover_offset
  [0x20f, 0x26c], // kernel_info_offset
];

/**
 * An x86 bzImage: the fields of its setup header that loading takes, in bytes unless said otherwise. A field that is newer
 * than `version` has the value that a loader must assume, which its comment gives.
 */
export interface BzImage {
  /** The file's bytes from 0x1f1 to the end of the setup header: what is copied into boot_params. A copy. */
  readonly header: Uint8Array;
  /** The boot protocol: 0x20f is 2.15. */
  readonly version: number;
  /** Highest address that the initrd's last byte may have. Before 2.03: 0x37ffffff. */
  readonly initrdAddrMax: number;
  /** Alignment that a relocatable kernel prefers. Before 2.05: 0x100000, where such a kernel must lie. */
  readonly kernelAlignment: number;
  /** May be loaded at any multiple of `kernelAlignment`. Before 2.05: false. */
  readonly relocatableKernel: boolean;
  /** Bits: {@link XLF_KERNEL_64} and others. Before 2.12: 0. */
  readonly xloadflags: number;
  /** Bytes that the command line may have, without its NUL. Before 2.06: 255. */
  readonly cmdlineSize: number;
  /** Where the compressed kernel lies in the file; undefined if the header does not say (before 2.08, or 0). */
  readonly payload: { readonly offset: number; readonly length: number } | undefined;
  /** The load address that the kernel prefers; 0 if it has no preference. Before 2.10: 0x100000. */
  readonly prefAddress: bigint;
  /**
   * Bytes of memory that the kernel needs from its start on until it knows its memory map. Before 2.10: 3 times the
   * protected-mode code, in whole pages, as GRUB has it (boot.rst gives none).
   */
  readonly initSize: number;
  /** Where the protected-mode code starts in the file: (setup_sects + 1) * 512. */
  readonly protectedModeOffset: number;
  /**
   * Bytes of protected-mode code: syssize * 16, of which the last 15 need not be in the file: they are zero then. Bytes
   * behind it in the file (a signature) are no part of it. Before 2.04: all that follows, since syssize is too narrow to
   * tell.
   */
  readonly protectedModeLength: number;
}

/** "2.15" for 0x20f. */
export function formatProtocolVersion(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, "0")}`;
}

/** Where the setup header ends: one past its last byte, in the file. Throws BZIMAGE_BAD_HEADER_LENGTH. */
function headerEnd(source: Source, jump: number, version: number): number {
  const end = JUMP_ORIGIN + jump;
  const least = HEADER_ENDS.reduce((found, [since, at]) => (version >= since ? at : found), 0);
  if (jump > LONGEST_JUMP || end < least) {
    throw new DirectBootError(
      "BZIMAGE_BAD_HEADER_LENGTH",
      `${source.name}: the byte at 0x201 is ${hex(jump)}, the header of protocol ${formatProtocolVersion(version)} needs ${hex(least - JUMP_ORIGIN)} to ${hex(LONGEST_JUMP)}`,
    );
  }
  return end;
}

/** Bytes of protected-mode code. Throws BZIMAGE_NO_KERNEL, BZIMAGE_UNKNOWN_LENGTH, BZIMAGE_TRUNCATED. */
function protectedModeBytes(source: Source, version: number, syssize: number, offset: number): number {
  if (version < 0x204) {
    if (source.byteLength === Number.MAX_SAFE_INTEGER) {
      throw new DirectBootError(
        "BZIMAGE_UNKNOWN_LENGTH",
        `${source.name} has protocol ${formatProtocolVersion(version)}, whose header does not tell the kernel's size, and comes from a stream of unknown length`,
      );
    }
    if (source.byteLength > offset) return source.byteLength - offset;
  }
  const length = syssize * PARAGRAPH_BYTES;
  if (length === 0) {
    throw new DirectBootError("BZIMAGE_NO_KERNEL", `${source.name}: syssize is 0`);
  }
  if (source.byteLength < leastBzImageBytes(offset, length)) {
    throw cutOffBzImage(source.name, source.byteLength, offset + length);
  }
  return length;
}

/**
 * Bytes that a file must have whose protected-mode code, `length` bytes, starts at `offset`: syssize is rounded up to
 * whole paragraphs, and the builds of old kernels and other projects do not pad the file to them.
 */
export function leastBzImageBytes(offset: number, length: number): number {
  return offset + length - (PARAGRAPH_BYTES - 1);
}

/** The error for a bzImage that ends too early. */
export function cutOffBzImage(name: string, has: number, wants: number): DirectBootError {
  return new DirectBootError("BZIMAGE_TRUNCATED", `${name} has ${has} bytes, its header tells of ${wants}`);
}

/** Checks what tells a bzImage from other files. Returns its protocol version, and where its setup header ends. */
function checkHeader(source: Source, head: Uint8Array, view: DataView): { version: number; end: number } {
  const { name, byteLength } = source;
  if (view.getUint16(0x1fe, true) !== BOOT_FLAG) {
    throw new DirectBootError(
      "BZIMAGE_BAD_BOOT_FLAG",
      `${name} is ${describeFormat(detectFormat(head))}: boot_flag at 0x1fe is ${hex(view.getUint16(0x1fe, true))}, ${hex(BOOT_FLAG)} is wanted`,
    );
  }
  if (view.getUint32(0x202, true) !== HEADER_MAGIC) {
    throw new DirectBootError(
      "BZIMAGE_BAD_MAGIC",
      `${name}: the magic at 0x202 is ${hex(view.getUint32(0x202, true))}, ${hex(HEADER_MAGIC)} ("HdrS") is wanted`,
    );
  }
  const version = view.getUint16(0x206, true);
  if (version < 0x200) {
    throw new DirectBootError(
      "BZIMAGE_BAD_VERSION",
      `${name} has boot protocol ${formatProtocolVersion(version)}, 2.00 is the first`,
    );
  }
  const end = headerEnd(source, view.getUint8(0x201), version);
  if (byteLength < end) {
    throw new DirectBootError(
      "BZIMAGE_TRUNCATED",
      `${name} has ${byteLength} bytes, its setup header ends at ${end}`,
    );
  }
  const loadflags = view.getUint8(0x211);
  if ((loadflags & LOADED_HIGH) === 0) {
    throw new DirectBootError(
      "BZIMAGE_NOT_LOADED_HIGH",
      `${name} is a zImage: loadflags is ${hex(loadflags)}, without LOADED_HIGH`,
    );
  }
  return { version, end };
}

/**
 * Reads the setup header of a bzImage of protocol 2.00 or later, with one request. Of the file behind the header only
 * the length is looked at; a source that ends before all the same fails when the kernel is read.
 *
 * @throws DirectBootError in this order: BZIMAGE_TRUNCATED below 0x208 bytes, BZIMAGE_BAD_BOOT_FLAG,
 *   BZIMAGE_BAD_MAGIC, BZIMAGE_BAD_VERSION, BZIMAGE_BAD_HEADER_LENGTH, BZIMAGE_TRUNCATED, BZIMAGE_NOT_LOADED_HIGH,
 *   BZIMAGE_UNKNOWN_LENGTH, BZIMAGE_NO_KERNEL, BZIMAGE_TRUNCATED, BZIMAGE_BAD_PAYLOAD
 */
export function* readBzImage(source: Source): Task<BzImage> {
  const { name, byteLength } = source;
  const head = yield* readBytes(source, 0, Math.min(byteLength, SETUP_HEADER_LIMIT));
  if (head.byteLength < LEAST_BYTES) {
    throw new DirectBootError(
      "BZIMAGE_TRUNCATED",
      `${name} is ${describeFormat(detectFormat(head))} of ${byteLength} bytes, the version of a bzImage ends at ${LEAST_BYTES}`,
    );
  }
  // Fields that the file does not have are read as 0, as the loader leaves them in boot_params.
  const whole = new Uint8Array(SETUP_HEADER_LIMIT);
  whole.set(head);
  const view = new DataView(whole.buffer);
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const { version, end } = checkHeader(source, head, view);

  const has = (since: number): boolean => version >= since;
  const setupSectors = view.getUint8(0x1f1) || DEFAULT_SETUP_SECTORS;
  const protectedModeOffset = (setupSectors + 1) * SECTOR_BYTES;
  const syssize = has(0x204) ? u32(0x1f4) : u16(0x1f4);
  const protectedModeLength = protectedModeBytes(source, version, syssize, protectedModeOffset);
  const payloadOffset = has(0x208) ? u32(0x248) : 0;
  const payloadLength = has(0x208) ? u32(0x24c) : 0;
  if (payloadOffset !== 0 && payloadOffset + payloadLength > protectedModeLength) {
    throw new DirectBootError(
      "BZIMAGE_BAD_PAYLOAD",
      `${name}: the payload of ${payloadLength} bytes at ${payloadOffset} passes the end of the protected-mode code, ${protectedModeLength} bytes`,
    );
  }
  const pages = Math.ceil(protectedModeLength / PAGE_BYTES);
  return {
    header: whole.slice(SETUP_HEADER_OFFSET, end),
    version,
    initrdAddrMax: has(0x203) ? u32(0x22c) : OLD_INITRD_ADDR_MAX,
    kernelAlignment: has(0x205) ? u32(0x230) : OLD_LOAD_ADDRESS,
    relocatableKernel: has(0x205) && view.getUint8(0x234) !== 0,
    xloadflags: has(0x20c) ? u16(0x236) : 0,
    cmdlineSize: has(0x206) ? u32(0x238) : OLD_CMDLINE_SIZE,
    payload:
      payloadOffset === 0 || payloadLength === 0
        ? undefined
        : { offset: protectedModeOffset + payloadOffset, length: payloadLength },
    prefAddress: has(0x20a) ? view.getBigUint64(0x258, true) : BigInt(OLD_LOAD_ADDRESS),
    initSize: has(0x20a) ? u32(0x260) : pages * PAGE_BYTES * OLD_UNPACK_FACTOR,
    protectedModeOffset,
    protectedModeLength,
  };
}
