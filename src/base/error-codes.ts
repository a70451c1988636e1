/**
 * What every error code means.
 *
 * Each code has one cause. `seed` names the variant of OpenVMM's loader that it answers to (empty where the
 * seeds panic, wrap or have no check); `reserved` marks variants that are never raised: upstream declares them only,
 * they only wrap another, or they are failures to seek, which our sources, having no position, don't know.
 */
import { type DirectBootErrorCode, ERROR_CURES } from "./errors.js";

interface Meaning {
  /** The upstream variant, `Type::Variant`, or "" for a check of our own. */
  readonly seed: string;
  /** What went wrong, in one sentence. */
  readonly meaning: string;
  /** Never raised here. */
  readonly reserved?: true;
}

/** What is known of a code. */
export interface ErrorCode extends Meaning {
  /** What the caller can do about it; ends every message. */
  readonly cure: string;
}

const MEANINGS: Readonly<Record<DirectBootErrorCode, Meaning>> = {
  // linux.rs, Error
  ELF_LOADER: { seed: "Error::ElfLoader", meaning: "the ELF loader failed", reserved: true },
  FLAT_LOADER: { seed: "Error::FlatLoader", meaning: "the flat image loader failed", reserved: true },
  UNALIGNED_ADDRESS: {
    seed: "Error::UnalignedAddress",
    meaning: "an address is not a multiple of the page size",
  },
  IMPORTER: { seed: "Error::Importer", meaning: "the importer refused a page range or a register" },
  // linux.rs, FlatLoaderError
  ARM64_BIG_ENDIAN_ELF_ON_LITTLE: {
    seed: "FlatLoaderError::BigEndianElfOnLittle",
    meaning: "unsupported ELF byte order",
    reserved: true,
  },
  ARM64_BAD_IMAGE_MAGIC: {
    seed: "FlatLoaderError::BadImageMagic",
    meaning: "the file is not an arm64 Image",
  },
  ARM64_BIG_ENDIAN_KERNEL_IMAGE: {
    seed: "FlatLoaderError::BigEndianKernelImage",
    meaning: "the arm64 Image is big-endian",
  },
  ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED: {
    seed: "FlatLoaderError::FourKibPageImageIsRequired",
    meaning: "the arm64 Image does not state 4 KiB pages",
  },
  ARM64_LOW_MEMORY_KERNEL: {
    seed: "FlatLoaderError::LowMemoryKernel",
    meaning: "the arm64 Image must lie at the start of RAM",
  },
  ARM64_READ_KERNEL_IMAGE: {
    seed: "FlatLoaderError::ReadKernelImage",
    meaning: "the arm64 Image could not be read whole",
  },
  ARM64_SEEK_KERNEL_START: {
    seed: "FlatLoaderError::SeekKernelStart",
    meaning: "the arm64 Image could not be positioned at its start",
    reserved: true,
  },
  ARM64_SEEK_KERNEL_IMAGE: {
    seed: "FlatLoaderError::SeekKernelImage",
    meaning: "the arm64 Image could not be positioned",
    reserved: true,
  },
  ARM64_START_UNALIGNED: {
    seed: "",
    meaning: "the start address of an arm64 kernel is not a multiple of 2 MiB",
  },
  ARM64_BAD_IMAGE_SIZE: { seed: "", meaning: "the arm64 Image's text_offset or image_size can't be true" },
  ARM64_INITRD_OUT_OF_REACH: {
    seed: "",
    meaning: "the initrd and the kernel do not lie in one 1 GiB-aligned window of 32 GiB",
  },

  // elf.rs, Error
  ELF_READ_FILE_HEADER: {
    seed: "elf::Error::ReadFileHeader",
    meaning: "the file is too short for an ELF header",
  },
  ELF_INVALID_FILE_HEADER: { seed: "elf::Error::InvalidFileHeader", meaning: "the file is not a 64-bit ELF" },
  ELF_TARGET_MACHINE_MISMATCH: {
    seed: "elf::Error::TargetMachineMismatch",
    meaning: "the ELF is for another machine",
  },
  ELF_BIG_ENDIAN_ELF_ON_LITTLE: {
    seed: "elf::Error::BigEndianElfOnLittle",
    meaning: "the ELF is big-endian",
  },
  ELF_INVALID_ENTRY_ADDRESS: {
    seed: "elf::Error::InvalidEntryAddress",
    meaning: "the entry address lies below the start address or overflows",
  },
  ELF_INVALID_PROGRAM_HEADER: {
    seed: "elf::Error::InvalidProgramHeader",
    meaning: "the ELF program headers can't be read",
  },
  ELF_LOAD_OFFSET_OVERFLOW: {
    seed: "elf::Error::LoadOffsetOverflow",
    meaning: "a segment's address plus the load offset passes 2^64",
  },
  ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET: {
    seed: "elf::Error::InvalidProgramHeaderMemoryOffset",
    meaning: "a segment lies below the start address",
  },
  ELF_RELOC_BIAS_OVERFLOW: {
    seed: "elf::Error::RelocBiasOverflow",
    meaning: "a segment's address falls below 0 when it is relocated",
  },
  ELF_READ_KERNEL_IMAGE: {
    seed: "elf::Error::ReadKernelImage",
    meaning: "the kernel could not be read",
    reserved: true,
  },
  ELF_IMPORT_FILE_REGION: {
    seed: "elf::Error::ImportFileRegion",
    meaning: "a segment could not be imported",
    reserved: true,
  },
  ELF_SEEK_KERNEL_IMAGE: {
    seed: "elf::Error::SeekKernelImage",
    meaning: "the kernel could not be positioned",
    reserved: true,
  },
  ELF_NO_LOADABLE_SEGMENT: { seed: "", meaning: "the ELF has no PT_LOAD segment" },

  // common.rs, ImportFileRegionError
  REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH: {
    seed: "ImportFileRegionError::FileLengthExceedsMemoryLength",
    meaning: "a region has more bytes in the file than in memory",
  },
  REGION_SEEK: {
    seed: "ImportFileRegionError::Seek",
    meaning: "a file offset can't be reached",
    reserved: true,
  },
  REGION_READ: {
    seed: "ImportFileRegionError::Read",
    meaning: "a region's bytes can't be read from the file",
  },
  REGION_IMPORT_PAGES: {
    seed: "ImportFileRegionError::ImportPages",
    meaning: "the importer refused the pages of a region",
  },
  REGION_OVERFLOW: {
    seed: "ImportFileRegionError::Overflow",
    meaning: "a region's address plus its length passes 2^64",
  },
  CHUNK_SIZE_TOO_SMALL: { seed: "", meaning: "a chunk buffer is smaller than one page" },

  // vm_topology, memory::Error
  LAYOUT_BAD_SIZE: {
    seed: "MemoryLayout::BadSize",
    meaning: "the RAM size is zero or not a multiple of the page size",
  },
  LAYOUT_BAD_NUMA_SIZE: {
    seed: "MemoryLayout::BadNumaSize",
    meaning: "the size of a NUMA node is invalid",
    reserved: true,
  },
  LAYOUT_EMPTY_NUMA_SIZES: {
    seed: "MemoryLayout::EmptyNumaSizes",
    meaning: "the list of NUMA sizes is empty",
    reserved: true,
  },
  LAYOUT_BAD_MMIO_GAPS: {
    seed: "MemoryLayout::BadMmioGaps",
    meaning: "the MMIO gaps are empty, unsorted or overlap",
    reserved: true,
  },
  LAYOUT_BAD_MEMORY_RANGES: {
    seed: "MemoryLayout::BadMemoryRanges",
    meaning: "the RAM ranges or gaps are missing, empty, unsorted or overlapping, or RAM lies over a gap",
  },
  LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM: {
    seed: "MemoryLayout::Vtl2RangeBeforeEndOfRam",
    meaning: "the VTL2 range starts below the end of RAM",
  },
  LAYOUT_RAM_DOES_NOT_FIT: { seed: "", meaning: "the RAM does not fit below 2^64 - 4096" },

  // page_table
  PAGE_TABLE_BAD_BUFFER_SIZE: {
    seed: "page_table::Error::BadBufferSize",
    meaning: "the page table buffer is not a multiple of the table size",
  },
  PAGE_TABLE_UNSORTED: {
    seed: "page_table::Error::UnsortedMappings",
    meaning: "the ranges to map are not sorted",
  },
  PAGE_TABLE_OVERLAPPING: {
    seed: "page_table::Error::OverlappingMappings",
    meaning: "the ranges to map overlap",
  },
  PAGE_TABLE_INVALID_RANGE: {
    seed: "page_table::Error::InvalidRange",
    meaning: "a range to map is reversed, unaligned or beyond 2^48",
  },
  PAGE_TABLE_NOT_ENOUGH_MEMORY: {
    seed: "page_table::Error::NotEnoughMemory",
    meaning: "the page tables need more memory than they are given",
  },
  PAGE_TABLE_ATTEMPTED_OVERWRITE: {
    seed: "page_table::Error::AttemptedEntryOverwrite",
    meaning: "a page table entry is set already",
  },
  PAGE_TABLE_INVALID_ADDRESS: { seed: "", meaning: "an address can't stand in a page table entry" },
  GDT_INVALID_ADDRESS: { seed: "", meaning: "the GDT lies at or above 2^52" },
  X86_ENTRY_NOT_MAPPED: {
    seed: "",
    meaning: "the kernel's entry lies outside the kernel, or the kernel beyond the 4 GiB that are mapped",
  },
  MTRR_BAD_LOW_GAP: {
    seed: "",
    meaning: "the low MMIO gap is empty or starts at 0 although there is RAM above 128 MiB",
  },

  // zero page
  ZERO_PAGE_COMMAND_LINE_TOO_HIGH: {
    seed: "",
    meaning: "the command line's address does not fit cmd_line_ptr (32 bits)",
  },
  ZERO_PAGE_INITRD_TOO_HIGH: {
    seed: "",
    meaning: "the initrd's address or size does not fit ramdisk_image or ramdisk_size (32 bits)",
  },
  ZERO_PAGE_BAD_RAM: { seed: "", meaning: "the first RAM range does not cover [0, 1 MiB)" },
  ZERO_PAGE_BAD_ACPI: {
    seed: "",
    meaning: "the ACPI range does not start at 0xe0000 or passes the end of the first RAM range",
  },
  ZERO_PAGE_TOO_MANY_E820_ENTRIES: {
    seed: "",
    meaning: "the memory layout needs more than 128 e820 entries",
  },
  COMMAND_LINE_NUL: { seed: "", meaning: "the command line holds a NUL byte" },
  ACPI_RSDP_TOO_LONG: { seed: "", meaning: "the RSDP is longer than its page" },

  // addresses and ranges
  ADDRESS_OUT_OF_RANGE: { seed: "", meaning: "a number is negative or passes 2^64 - 1" },
  ADDRESS_OVERFLOW: { seed: "", meaning: "an address computation passes 2^64" },
  MEMORY_RANGE_INVALID: { seed: "", meaning: "a memory range is reversed or not page-aligned" },

  // guest memory and its importer
  GUEST_MEMORY_TOO_LARGE: { seed: "", meaning: "the host can't allocate guest memory of that size" },
  GUEST_MEMORY_BAD_BANKS: {
    seed: "",
    meaning: "a memory bank is unaligned, overlaps another, or lies outside its buffer",
  },
  GUEST_MEMORY_DETACHED: {
    seed: "",
    meaning: "the buffer of the guest memory was detached, grown or shrunk",
  },
  GUEST_MEMORY_BUSY: { seed: "", meaning: "a load into the same bytes of host memory is under way" },
  GUEST_MEMORY_NOT_RAM: { seed: "", meaning: "a range does not lie in RAM" },
  GUEST_MEMORY_SPLIT_VIEW: {
    seed: "",
    meaning: "a range crosses from one host buffer to the next and has no single view",
  },
  IMPORT_OVERLAP: { seed: "", meaning: "a page range overlaps one that was imported before" },
  IMPORT_DATA_TOO_LONG: { seed: "", meaning: "the data is longer than its page range" },
  IMPORT_EMPTY: { seed: "", meaning: "an imported page range is empty" },
  IMPORT_REGISTER_TWICE: { seed: "", meaning: "a register was imported twice" },

  // sources
  SOURCE_NOT_FOUND: { seed: "", meaning: "the file does not exist or can't be opened" },
  SOURCE_READ: { seed: "", meaning: "reading from a source failed" },
  SOURCE_SHORT: { seed: "", meaning: "a source ends before the bytes that are asked for" },
  SOURCE_NOT_SYNCHRONOUS: { seed: "", meaning: "the source can't be read synchronously" },
  SOURCE_TOO_LARGE: { seed: "", meaning: "a source is larger than can be handled" },
  SOURCE_EMPTY: { seed: "", meaning: "the file is empty" },

  // device trees
  DEVICE_TREE_MALFORMED: { seed: "", meaning: "the device tree's header, blocks or structure are malformed" },
  DEVICE_TREE_UNSUPPORTED_VERSION: {
    seed: "",
    meaning: "the device tree's format version is not one that readers of version 17 can use",
  },
  DEVICE_TREE_CHOSEN: {
    seed: "",
    meaning: "what is to be written into the device tree's /chosen node does not fit there",
  },
  DEVICE_TREE_TOO_LARGE: { seed: "", meaning: "the device tree is larger than the boot protocol allows" },
  DEVICE_TREE_MISSING: { seed: "", meaning: "there is no device tree for what only a device tree can say" },
  DEVICE_TREE_MEMORY: {
    seed: "",
    meaning: "the size of the memory disagrees with /memory of the device tree",
  },
  OPTION_NOT_FOR_ARCHITECTURE: {
    seed: "",
    meaning: "an option was given that the kernel's architecture does not have",
  },

  // x86: what the kernel is told, beyond the seeds
  E820_INVALID_ENTRY: {
    seed: "",
    meaning: "an e820 entry is reversed, has no valid type, or is a reservation of the type RAM",
  },
  E820_OVERLAP: { seed: "", meaning: "two e820 reservations of different types overlap" },
  BOOT_PARAMS_BAD_SETUP_HEADER: { seed: "", meaning: "the setup header is cut off, or is none" },
  BOOT_PARAMS_NOT_SUPPORTED: {
    seed: "",
    meaning: "the kernel's setup header has no field or flag for what the kernel must be told",
  },
  BOOT_PARAMS_BAD_ADDRESS: {
    seed: "",
    meaning: "an address does not fit its field of boot_params, or means nothing to Linux",
  },
  BOOT_PARAMS_BAD_E820: {
    seed: "",
    meaning: "the e820 map is empty, or is longer than boot_params and there is no setup_data",
  },
  SETUP_DATA_INVALID: {
    seed: "",
    meaning: "a list of setup_data lies at 0 or unaligned, or a node does not fit its fields",
  },
  PROTECTED_MODE_ADDRESS_TOO_HIGH: {
    seed: "",
    meaning: "what the 32-bit or the PVH entry needs does not lie below 4 GiB",
  },
  PVH_BAD_ADDRESS: {
    seed: "",
    meaning: "an address of the PVH start info is 0, unaligned, or not below 4 GiB",
  },
  PVH_BAD_MEMORY_MAP: { seed: "", meaning: "the PVH memory map is empty or longer than Linux takes" },

  // bzImage, zboot and ELF notes
  BZIMAGE_TRUNCATED: { seed: "", meaning: "the bzImage ends before its setup header or its kernel does" },
  BZIMAGE_BAD_BOOT_FLAG: {
    seed: "",
    meaning: "the file is not a bzImage: it lacks the boot sector's mark 0xaa55",
  },
  BZIMAGE_BAD_MAGIC: { seed: "", meaning: "the boot sector has no setup header of Linux" },
  BZIMAGE_BAD_VERSION: { seed: "", meaning: "the setup header's protocol version is older than bzImages" },
  BZIMAGE_BAD_HEADER_LENGTH: {
    seed: "",
    meaning: "the setup header's length does not fit its protocol version",
  },
  BZIMAGE_NOT_LOADED_HIGH: {
    seed: "",
    meaning: "the kernel is a zImage, which only the real-mode protocol can start",
  },
  BZIMAGE_UNKNOWN_LENGTH: { seed: "", meaning: "the kernel's size is in neither its header nor its source" },
  BZIMAGE_NO_KERNEL: { seed: "", meaning: "the bzImage has no protected-mode code" },
  BZIMAGE_BAD_PAYLOAD: {
    seed: "",
    meaning: "the bzImage's payload does not lie within its protected-mode code",
  },
  ZBOOT_TRUNCATED: { seed: "", meaning: "the EFI zboot image ends before its header or its payload does" },
  ZBOOT_BAD_MAGIC: { seed: "", meaning: "the file is not an EFI zboot image" },
  ZBOOT_BAD_COMPRESSION_NAME: {
    seed: "",
    meaning: "the zboot header does not name the compression of its payload",
  },
  ZBOOT_BAD_PAYLOAD: { seed: "", meaning: "the zboot payload is empty or lies within the header" },
  ELF_BAD_NOTE: { seed: "", meaning: "the ELF notes, where the PVH entry point would be, can't be read" },
  NO_KERNEL_INSIDE: { seed: "", meaning: "there is no kernel in a file" },

  // placement
  PLACEMENT_NO_ROOM: { seed: "", meaning: "what is to be placed finds no room in RAM within its limits" },
  BZIMAGE_BAD_ALIGNMENT: { seed: "", meaning: "the alignment that a bzImage asks for is none" },
  BZIMAGE_BAD_LOAD_ADDRESS: {
    seed: "",
    meaning: "a bzImage can't be loaded at the address that was chosen for it",
  },
  X86_ENTRY_NOT_AVAILABLE: { seed: "", meaning: "the kernel does not have the entry that was asked for" },
  OPTION_NOT_FOR_KERNEL: {
    seed: "",
    meaning: "an option was given that this format of kernel, or its entry, does not have",
  },
  INITRD_TOO_HIGH: { seed: "", meaning: "the initrd lies above what the kernel and its entry allow" },
  ACPI_TOO_LONG: { seed: "", meaning: "an ACPI table or a device tree is longer than any can be" },
  COMMAND_LINE_TOO_LONG: { seed: "", meaning: "the command line is longer than the kernel takes" },
  ELF_SEGMENTS_OVERLAP: { seed: "", meaning: "two segments of the kernel have bytes for the same address" },

  // sources that arrive, and compressed ones
  SOURCE_LENGTH_UNKNOWN: { seed: "", meaning: "the length of a stream is needed before it has ended" },
  SOURCE_SPOOL_LIMIT: { seed: "", meaning: "more of a stream had to be kept than its spool may hold" },
  SOURCE_CONSUMED: { seed: "", meaning: "bytes of a stream are wanted again after they were let go" },
  DECOMPRESS_UNSUPPORTED: { seed: "", meaning: "there is no decompressor for a compressed format here" },
  DECOMPRESS_CORRUPT: { seed: "", meaning: "compressed data is corrupt or ends too early" },
  DECOMPRESS_TOO_LARGE: { seed: "", meaning: "compressed data decompresses to more than the limit" },

  // decoders
  DECOMPRESS_TRUNCATED: { seed: "", meaning: "a compressed stream ends too early" },
  DECOMPRESS_CHECKSUM: {
    seed: "",
    meaning: "decompressed bytes do not have the checksum that their stream states",
  },
  DECOMPRESS_WRONG_SIZE: { seed: "", meaning: "decompressed bytes are not as many as declared" },
  DECOMPRESS_TRAILING_DATA: { seed: "", meaning: "bytes that are no part of the stream follow it" },

  V86_UNSUPPORTED: { seed: "", meaning: "v86 has no processor for the kernel" },
  V86_INTERNALS: {
    seed: "",
    meaning: "a field of the v86 emulator is not what it is in the version that is known",
  },
  V86_RUNNING: { seed: "", meaning: "the v86 machine runs already" },
  V86_DOWNLOAD: { seed: "", meaning: "v86 can't load a file that it needs" },

  // plans
  PLAN_INVALID: { seed: "", meaning: "a plan's step is malformed" },
  ABORTED: { seed: "", meaning: "the load was aborted" },

  // the command
  OUTPUT_FAILED: { seed: "", meaning: "the output can't be written" },
  TOOL_MISSING: { seed: "", meaning: "a program that is needed is not installed" },
  TOOL_FAILED: { seed: "", meaning: "a program failed" },
};

function withCures(): Record<DirectBootErrorCode, ErrorCode> {
  const codes = Object.keys(MEANINGS) as DirectBootErrorCode[];
  const entries = codes.map((code) => [code, { ...MEANINGS[code], cure: ERROR_CURES[code] }] as const);
  return Object.fromEntries(entries) as Record<DirectBootErrorCode, ErrorCode>;
}

/**
 * Every error code, by name, with its upstream variant, meaning and cure.
 *
 * @example
 * ```ts
 * import { ERROR_CODES } from "directboot";
 *
 * console.log(ERROR_CODES.COMMAND_LINE_NUL.meaning); // the command line holds a NUL byte
 * ```
 */
export const ERROR_CODES: Readonly<Record<DirectBootErrorCode, ErrorCode>> = /* @__PURE__ */ withCures();
