/**
 * The meaning of every error code, and the variant of OpenVMM's loader that it answers to. The cures are in errors.ts, as
 * every bundle that throws carries them.
 */
import { type DirectBootErrorCode, ERROR_CURES } from "./errors.js";

/** Meaning, cure and upstream variant of a code. */
export interface ErrorCode {
  /** The failure, in one sentence. */
  readonly meaning: string;
  /** Advice to the caller; ends every message. */
  readonly cure: string;
  /** The upstream variant, `Type::Variant`; not there for a check of our own, where upstream panics, wraps or has no check. */
  readonly openvmm?: string;
  /** OpenVMM has it; never raised here. */
  readonly reserved?: true;
}

/**
 * A check of our own has its meaning alone. `reserved`: OpenVMM declares the variant but never raises it, it only wraps
 * another, or it is a failure to seek: our sources have no position.
 */
type Meaning = string | readonly [meaning: string, origin: "upstream" | "reserved", variant?: string];

const MEANINGS: Readonly<Record<DirectBootErrorCode, Meaning>> = {
  // linux.rs, Error
  ELF_LOADER: ["the ELF loader failed", "reserved", "Error::ElfLoader"],
  FLAT_LOADER: ["the flat image loader failed", "reserved", "Error::FlatLoader"],
  UNALIGNED_ADDRESS: ["an address is not a multiple of the page size", "upstream", "Error::UnalignedAddress"],
  IMPORTER: ["the importer refused a page range or a register", "upstream", "Error::Importer"],
  // linux.rs, FlatLoaderError
  ARM64_BIG_ENDIAN_ELF_ON_LITTLE: ["unsupported ELF byte order", "reserved"],
  ARM64_BAD_IMAGE_MAGIC: ["the file is not an arm64 Image", "upstream"],
  ARM64_BIG_ENDIAN_KERNEL_IMAGE: ["the arm64 Image is big-endian", "upstream"],
  ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED: ["the arm64 Image does not state 4 KiB pages", "upstream"],
  ARM64_LOW_MEMORY_KERNEL: ["the arm64 Image must lie at the start of RAM", "upstream"],
  ARM64_READ_KERNEL_IMAGE: ["the arm64 Image could not be read whole", "upstream"],
  ARM64_SEEK_KERNEL_START: ["the arm64 Image could not be positioned at its start", "reserved"],
  ARM64_SEEK_KERNEL_IMAGE: ["the arm64 Image could not be positioned", "reserved"],
  ARM64_START_UNALIGNED: "the start address of an arm64 kernel is not a multiple of 2 MiB",
  ARM64_BAD_IMAGE_SIZE: "the arm64 Image's text_offset or image_size can't be true",
  ARM64_INITRD_OUT_OF_REACH: "the initrd and the kernel do not lie in one 1 GiB-aligned window of 32 GiB",

  // elf.rs, Error
  ELF_READ_FILE_HEADER: ["the file is too short for an ELF header", "upstream"],
  ELF_INVALID_FILE_HEADER: ["the file is not a 64-bit ELF", "upstream"],
  ELF_TARGET_MACHINE_MISMATCH: ["the ELF is for another machine", "upstream"],
  ELF_BIG_ENDIAN_ELF_ON_LITTLE: ["the ELF is big-endian", "upstream"],
  ELF_INVALID_ENTRY_ADDRESS: ["the entry address lies below the start address or overflows", "upstream"],
  ELF_INVALID_PROGRAM_HEADER: ["the ELF program headers can't be read", "upstream"],
  ELF_LOAD_OFFSET_OVERFLOW: ["a segment's address plus the load offset passes 2^64", "upstream"],
  ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET: ["a segment lies below the start address", "upstream"],
  ELF_RELOC_BIAS_OVERFLOW: ["a segment's address falls below 0 when it is relocated", "upstream"],
  ELF_READ_KERNEL_IMAGE: ["the kernel could not be read", "reserved"],
  ELF_IMPORT_FILE_REGION: ["a segment could not be imported", "reserved"],
  ELF_SEEK_KERNEL_IMAGE: ["the kernel could not be positioned", "reserved"],
  ELF_NO_LOADABLE_SEGMENT: "the ELF has no PT_LOAD segment",

  // common.rs, ImportFileRegionError
  REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH: [
    "a region has more bytes in the file than in memory",
    "upstream",
  ],
  REGION_SEEK: ["a file offset can't be reached", "reserved"],
  REGION_READ: ["a region's bytes can't be read from the file", "upstream"],
  REGION_IMPORT_PAGES: ["the importer refused the pages of a region", "upstream"],
  REGION_OVERFLOW: ["a region's address plus its length passes 2^64", "upstream"],
  CHUNK_SIZE_TOO_SMALL: "a chunk buffer is smaller than one page",

  // vm_topology, memory::Error
  LAYOUT_BAD_SIZE: ["the RAM size is zero or not a multiple of the page size", "upstream"],
  LAYOUT_BAD_NUMA_SIZE: ["the size of a NUMA node is invalid", "reserved"],
  LAYOUT_EMPTY_NUMA_SIZES: ["the list of NUMA sizes is empty", "reserved"],
  LAYOUT_BAD_MMIO_GAPS: ["the MMIO gaps are empty, unsorted or overlap", "reserved"],
  LAYOUT_BAD_MEMORY_RANGES: [
    "the RAM ranges or gaps are missing, empty, unsorted or overlapping, or RAM lies over a gap",
    "upstream",
  ],
  LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM: ["the VTL2 range starts below the end of RAM", "upstream"],
  LAYOUT_RAM_DOES_NOT_FIT: "the RAM does not fit below 2^64 - 4096",

  // page_table
  PAGE_TABLE_BAD_BUFFER_SIZE: ["the page table buffer is not a multiple of the table size", "upstream"],
  PAGE_TABLE_UNSORTED: [
    "the ranges to map are not sorted",
    "upstream",
    "page_table::Error::UnsortedMappings",
  ],
  PAGE_TABLE_OVERLAPPING: ["the ranges to map overlap", "upstream", "page_table::Error::OverlappingMappings"],
  PAGE_TABLE_INVALID_RANGE: ["a range to map is reversed, unaligned or beyond 2^48", "upstream"],
  PAGE_TABLE_NOT_ENOUGH_MEMORY: ["the page tables need more memory than they are given", "upstream"],
  PAGE_TABLE_ATTEMPTED_OVERWRITE: [
    "a page table entry is set already",
    "upstream",
    "page_table::Error::AttemptedEntryOverwrite",
  ],
  PAGE_TABLE_INVALID_ADDRESS: "an address can't stand in a page table entry",
  GDT_INVALID_ADDRESS: "the GDT lies at or above 2^52",
  X86_ENTRY_NOT_MAPPED:
    "the kernel's entry lies outside the kernel, or the kernel beyond the 4 GiB that are mapped",
  MTRR_BAD_LOW_GAP: "the low MMIO gap is empty or starts at 0 although there is RAM above 128 MiB",

  // zero page
  ZERO_PAGE_COMMAND_LINE_TOO_HIGH: "the command line's address does not fit cmd_line_ptr (32 bits)",
  ZERO_PAGE_INITRD_TOO_HIGH:
    "the initrd's address or size does not fit ramdisk_image or ramdisk_size (32 bits)",
  ZERO_PAGE_BAD_RAM: "the first RAM range does not cover [0, 1 MiB)",
  ZERO_PAGE_BAD_ACPI: "the ACPI range does not start at 0xe0000 or passes the end of the first RAM range",
  ZERO_PAGE_TOO_MANY_E820_ENTRIES: "the memory layout needs more than 128 e820 entries",
  COMMAND_LINE_NUL: "the command line holds a NUL byte",
  ACPI_RSDP_TOO_LONG: "the RSDP is longer than its page",

  // addresses and ranges
  ADDRESS_OUT_OF_RANGE: "a number is negative or passes 2^64 - 1",
  ADDRESS_OVERFLOW: "an address computation passes 2^64",
  MEMORY_RANGE_INVALID: "a memory range is reversed or not page-aligned",

  // guest memory and its importer
  GUEST_MEMORY_TOO_LARGE: "the host can't allocate guest memory of that size",
  GUEST_MEMORY_BAD_BANKS: "a memory bank is unaligned, overlaps another, or lies outside its buffer",
  GUEST_MEMORY_DETACHED: "the buffer of the guest memory was detached, grown or shrunk",
  GUEST_MEMORY_BUSY: "a load into the same bytes of host memory is under way",
  GUEST_MEMORY_TOO_SMALL: "a compressed kernel or initrd unpacks to more than the guest's RAM",
  GUEST_MEMORY_NOT_RAM: "a range does not lie in RAM",
  GUEST_MEMORY_SPLIT_VIEW: "a range crosses from one host buffer to the next and has no single view",
  IMPORT_OVERLAP: "a page range overlaps one that was imported before",
  IMPORT_DATA_TOO_LONG: "the data is longer than its page range",
  IMPORT_EMPTY: "an imported page range is empty",
  IMPORT_REGISTER_TWICE: "a register was imported twice",

  // sources
  SOURCE_NOT_FOUND: "the file does not exist or can't be opened",
  SOURCE_READ: "reading from a source failed",
  SOURCE_SHORT: "a source ends before the bytes that are asked for",
  SOURCE_NOT_SYNCHRONOUS: "the source can't be read synchronously",
  SOURCE_TOO_LARGE: "a source is larger than can be handled",
  SOURCE_EMPTY: "the file is empty",

  // device trees
  DEVICE_TREE_MALFORMED: "the device tree's header, blocks or structure are malformed",
  DEVICE_TREE_UNSUPPORTED_VERSION:
    "the device tree's format version is not one that readers of version 17 can use",
  DEVICE_TREE_CHOSEN: "what is to be written into the device tree's /chosen node does not fit there",
  DEVICE_TREE_TOO_LARGE: "the device tree is larger than the boot protocol allows",
  DEVICE_TREE_MISSING: "there is no device tree for what only a device tree can say",
  ARCHITECTURE_MISMATCH: "the kernel is for another architecture than was asked for",
  DEVICE_TREE_MEMORY: "the device tree's /memory has no RAM, or other RAM than the guest",
  OPTION_NOT_FOR_ARCHITECTURE: "an option was given that the kernel's architecture does not have",

  // x86: what the kernel is told, beyond OpenVMM
  E820_INVALID_ENTRY: "an e820 entry is reversed, has no valid type, or is a reservation of the type RAM",
  E820_OVERLAP: "two e820 reservations of different types overlap",
  BOOT_PARAMS_NOT_SUPPORTED:
    "the kernel's setup header has no field or flag for what the kernel must be told",
  BOOT_PARAMS_BAD_ADDRESS: "an address of the caller's is 0, which Linux takes for none",
  BOOT_PARAMS_BAD_E820: "the bytes to read an e820 map from are no boot_params",
  SETUP_DATA_INVALID: "a list of setup_data is longer than 2 GiB",
  PROTECTED_MODE_ADDRESS_TOO_HIGH: "what the 32-bit or the PVH entry needs does not lie below 4 GiB",
  PVH_BAD_MEMORY_MAP: "the PVH memory map is longer than Linux takes",

  // bzImage, zboot and ELF notes
  BZIMAGE_TRUNCATED: "the bzImage ends before its setup header or its kernel does",
  BZIMAGE_BAD_BOOT_FLAG: "the file is not a bzImage: it lacks the boot sector's mark 0xaa55",
  BZIMAGE_BAD_MAGIC: "the boot sector has no setup header of Linux",
  BZIMAGE_BAD_VERSION: "the setup header's protocol version is older than bzImages",
  BZIMAGE_BAD_HEADER_LENGTH: "the setup header's length does not fit its protocol version",
  BZIMAGE_NOT_LOADED_HIGH: "the kernel is a zImage, which only the real-mode protocol can start",
  BZIMAGE_UNKNOWN_LENGTH: "the kernel's size is in neither its header nor its source",
  BZIMAGE_NO_KERNEL: "the bzImage has no protected-mode code",
  BZIMAGE_BAD_PAYLOAD: "the bzImage's payload does not lie within its protected-mode code",
  ZBOOT_TRUNCATED: "the EFI zboot image ends before its header or its payload does",
  ZBOOT_BAD_MAGIC: "the file is not an EFI zboot image",
  ZBOOT_BAD_COMPRESSION_NAME: "the zboot header does not name the compression of its payload",
  ZBOOT_BAD_PAYLOAD: "the zboot payload is empty or lies within the header",
  ELF_BAD_NOTE: "the ELF notes, where the PVH entry point would be, can't be read",
  NO_KERNEL_INSIDE: "there is no kernel in a file",

  // placement
  PLACEMENT_NO_ROOM: "what is to be placed finds no room in RAM within its limits",
  BZIMAGE_BAD_ALIGNMENT: "the alignment that a bzImage asks for is none",
  BZIMAGE_BAD_LOAD_ADDRESS: "a bzImage can't be loaded at the address that was chosen for it",
  X86_ENTRY_NOT_AVAILABLE: "the kernel does not have the entry that was asked for",
  OPTION_NOT_FOR_KERNEL: "an option was given that this format of kernel, or its entry, does not have",
  INITRD_TOO_HIGH: "the initrd lies above what the kernel and its entry allow",
  ACPI_TOO_LONG: "an ACPI table or a device tree is longer than any can be",
  COMMAND_LINE_TOO_LONG: "the command line is longer than the kernel takes",
  ELF_SEGMENTS_OVERLAP: "two segments of the kernel have bytes for the same address",

  // sources that arrive, and compressed ones
  SOURCE_LENGTH_UNKNOWN: "the length of a stream is needed before it has ended",
  SOURCE_SPOOL_LIMIT: "more of a stream had to be kept than its spool may hold",
  SOURCE_CONSUMED: "bytes of a stream are wanted again after they were let go",
  DECOMPRESS_UNSUPPORTED: "there is no decompressor for a compressed format here",
  DECOMPRESS_CORRUPT: "compressed data is corrupt or ends too early",
  DECOMPRESS_TOO_LARGE: "compressed data decompresses to more than the limit",

  // decoders
  DECOMPRESS_TRUNCATED: "a compressed stream ends too early",
  DECOMPRESS_CHECKSUM: "decompressed bytes do not have the checksum that their stream states",
  DECOMPRESS_WRONG_SIZE: "decompressed bytes are not as many as declared",
  DECOMPRESS_TRAILING_DATA: "bytes that are no part of the stream follow it",

  V86_UNSUPPORTED: "v86 has no processor for the kernel",
  V86_INTERNALS: "a field of the v86 emulator is not what it is in the version that is known",
  V86_RUNNING: "the v86 machine runs already",
  V86_DOWNLOAD: "v86 can't load a file that it needs",

  // machines
  MACHINE_BAD_VALUE: "a number or a name in a machine's description is not one that its tables can hold",
  MACHINE_DUPLICATE: "two parts of a machine have the same id",
  MACHINE_OVERLAP:
    "two parts of a machine, or one and RAM, share an address, a port, a bus or an interrupt line",
  MACHINE_NO_SUCH_INTERRUPT: "a device's interrupt line is none of the machine's controllers",
  MACHINE_INCOMPLETE: "a machine's description lacks what its tables need",
  MACHINE_TABLES_TOO_LARGE: "a machine's tables do not fit where they must lie",

  // plans
  PLAN_INVALID: "a plan's step is malformed",
  PLAN_NOT_TRANSFERABLE: "a plan, or a file of it, can't be sent to another thread as it is",
  PLAN_DOES_NOT_FIT_MEMORY: "the plan was made for RAM that the memory does not have",
  ABORTED: "the load was aborted",

  // the command
  OUTPUT_FAILED: "the output can't be written",
  TOOL_MISSING: "a program that is needed is not installed",
  TOOL_FAILED: "a program failed",
  GUEST_RESET: "the guest reset its machine, as one does that crashes",
};

/** OpenVMM's types of errors, by what their codes begin with. The rest of a code is the variant, unless its row names one. */
const UPSTREAM_TYPES = /* @__PURE__ */ Object.entries({
  ARM64: "FlatLoaderError",
  ELF: "elf::Error",
  REGION: "ImportFileRegionError",
  LAYOUT: "MemoryLayout",
  PAGE_TABLE: "page_table::Error",
});

function variantOf(code: string): string {
  const [prefix, type] = UPSTREAM_TYPES.find(([name]) => code.startsWith(`${name}_`)) ?? ["", ""];
  const words = code.slice(prefix.length).toLowerCase();
  return `${type}::${words.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())}`;
}

function describeAll(): Record<DirectBootErrorCode, ErrorCode> {
  const all: Partial<Record<DirectBootErrorCode, ErrorCode>> = {};
  for (const [code, row] of Object.entries(MEANINGS) as [DirectBootErrorCode, Meaning][]) {
    const [meaning, origin, openvmm = variantOf(code)] = typeof row === "string" ? [row] : row;
    const reserved = origin === "reserved" && ({ reserved: true } as const);
    all[code] = { meaning, cure: ERROR_CURES[code], ...(origin && { openvmm }), ...reserved };
  }
  return all as Record<DirectBootErrorCode, ErrorCode>;
}

/**
 * Every error code, by name, with its meaning, cure and upstream variant.
 *
 * @example
 * ```ts
 * import { ERROR_CODES } from "directboot";
 *
 * console.log(ERROR_CODES.COMMAND_LINE_NUL.meaning); // the command line holds a NUL byte
 * ```
 */
export const ERROR_CODES: Readonly<Record<DirectBootErrorCode, ErrorCode>> = /* @__PURE__ */ describeAll();
