/**
 * The one class of errors, and the table of all its codes.
 *
 * Each code has one cause. `seed` names the variant of OpenVMM's loader that it answers to (empty where the
 * seeds panic, wrap or have no check); `reserved` marks variants that are never raised: upstream declares them only,
 * they only wrap another, or they are failures to seek, which our sources, having no position, don't know.
 */

interface CodeEntry {
  /** The upstream variant, `Type::Variant`, or "" for a check of our own. */
  readonly seed: string;
  /** What went wrong, in one sentence. */
  readonly meaning: string;
  /** What the caller can do about it; ends every message. */
  readonly cure: string;
  /** Never raised here. */
  readonly reserved?: true;
}

const code = (seed: string, meaning: string, cure: string): CodeEntry => ({ seed, meaning, cure });
const reserved = (seed: string, meaning: string, cure: string): CodeEntry => ({
  seed,
  meaning,
  cure,
  reserved: true,
});

/** Every error code, by name, with its upstream variant, meaning and cure. */
export const ERROR_CODES = {
  // linux.rs, Error
  ELF_LOADER: reserved(
    "Error::ElfLoader",
    "the ELF loader failed",
    "see the ELF_* code that is thrown instead",
  ),
  FLAT_LOADER: reserved(
    "Error::FlatLoader",
    "the flat image loader failed",
    "see the ARM64_* code that is thrown instead",
  ),
  UNALIGNED_ADDRESS: code(
    "Error::UnalignedAddress",
    "an address is not a multiple of the page size",
    "use a page-aligned guest physical address",
  ),
  IMPORTER: code("Error::Importer", "the importer refused a page range or a register", "see the cause"),

  // linux.rs, FlatLoaderError
  ARM64_BIG_ENDIAN_ELF_ON_LITTLE: reserved(
    "FlatLoaderError::BigEndianElfOnLittle",
    "unsupported ELF byte order",
    "build the kernel little-endian",
  ),
  ARM64_BAD_IMAGE_MAGIC: code(
    "FlatLoaderError::BadImageMagic",
    "the file is not an arm64 Image",
    "give arch/arm64/boot/Image, uncompressed",
  ),
  ARM64_BIG_ENDIAN_KERNEL_IMAGE: code(
    "FlatLoaderError::BigEndianKernelImage",
    "the arm64 Image is big-endian",
    "build the kernel with CONFIG_CPU_LITTLE_ENDIAN",
  ),
  ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED: code(
    "FlatLoaderError::FourKibPageImageIsRequired",
    "the arm64 Image does not state 4 KiB pages",
    "build the kernel with CONFIG_ARM64_4K_PAGES",
  ),
  ARM64_LOW_MEMORY_KERNEL: code(
    "FlatLoaderError::LowMemoryKernel",
    "the arm64 Image must lie at the start of RAM",
    "use a kernel of Linux 4.6 or later, which may be placed anywhere",
  ),
  ARM64_READ_KERNEL_IMAGE: code(
    "FlatLoaderError::ReadKernelImage",
    "the arm64 Image could not be read whole",
    "check that the file is complete",
  ),
  ARM64_SEEK_KERNEL_START: reserved(
    "FlatLoaderError::SeekKernelStart",
    "the arm64 Image could not be positioned at its start",
    "check that the source can be read at any offset",
  ),
  ARM64_SEEK_KERNEL_IMAGE: reserved(
    "FlatLoaderError::SeekKernelImage",
    "the arm64 Image could not be positioned",
    "check that the source can be read at any offset",
  ),

  ARM64_START_UNALIGNED: code(
    "",
    "the start address of an arm64 kernel is not a multiple of 2 MiB",
    "use a 2 MiB aligned kernelMinimumStartAddress",
  ),
  ARM64_BAD_IMAGE_SIZE: code(
    "",
    "the arm64 Image's text_offset or image_size can't be true",
    "check that the file is an unmodified Image",
  ),

  ARM64_INITRD_OUT_OF_REACH: code(
    "",
    "the initrd and the kernel do not lie in one 1 GiB-aligned window of 32 GiB",
    "place the initrd nearer to the kernel",
  ),

  // elf.rs, Error
  ELF_READ_FILE_HEADER: code(
    "elf::Error::ReadFileHeader",
    "the file is too short for an ELF header",
    "give an uncompressed ELF kernel (vmlinux)",
  ),
  ELF_INVALID_FILE_HEADER: code(
    "elf::Error::InvalidFileHeader",
    "the file is not a 64-bit ELF",
    "give an uncompressed 64-bit ELF kernel (vmlinux)",
  ),
  ELF_TARGET_MACHINE_MISMATCH: code(
    "elf::Error::TargetMachineMismatch",
    "the ELF is for another machine",
    "give a kernel of the guest's architecture",
  ),
  ELF_BIG_ENDIAN_ELF_ON_LITTLE: code(
    "elf::Error::BigEndianElfOnLittle",
    "the ELF is big-endian",
    "give a little-endian kernel",
  ),
  ELF_INVALID_ENTRY_ADDRESS: code(
    "elf::Error::InvalidEntryAddress",
    "the entry address lies below the start address or overflows",
    "lower kernelMinimumStartAddress or the load offset, or give a kernel linked higher",
  ),
  ELF_INVALID_PROGRAM_HEADER: code(
    "elf::Error::InvalidProgramHeader",
    "the ELF program headers can't be read",
    "check that the file is complete",
  ),
  ELF_LOAD_OFFSET_OVERFLOW: code(
    "elf::Error::LoadOffsetOverflow",
    "a segment's address plus the load offset passes 2^64",
    "use a smaller load offset",
  ),
  ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET: code(
    "elf::Error::InvalidProgramHeaderMemoryOffset",
    "a segment lies below the start address",
    "lower kernelMinimumStartAddress, or give a kernel linked higher",
  ),
  ELF_RELOC_BIAS_OVERFLOW: code(
    "elf::Error::RelocBiasOverflow",
    "a segment's address falls below 0 when it is relocated",
    "use a smaller start address or load offset",
  ),
  ELF_READ_KERNEL_IMAGE: reserved(
    "elf::Error::ReadKernelImage",
    "the kernel could not be read",
    "check that the file is complete",
  ),
  ELF_IMPORT_FILE_REGION: reserved(
    "elf::Error::ImportFileRegion",
    "a segment could not be imported",
    "see the REGION_* code that is thrown instead",
  ),
  ELF_SEEK_KERNEL_IMAGE: reserved(
    "elf::Error::SeekKernelImage",
    "the kernel could not be positioned",
    "check that the source can be read at any offset",
  ),
  ELF_NO_LOADABLE_SEGMENT: code(
    "",
    "the ELF has no PT_LOAD segment",
    "give a linked kernel (vmlinux), not an object file or a debug file",
  ),

  // common.rs, ImportFileRegionError
  REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH: code(
    "ImportFileRegionError::FileLengthExceedsMemoryLength",
    "a region has more bytes in the file than in memory",
    "check the program header: p_filesz must not exceed p_memsz",
  ),
  REGION_SEEK: reserved(
    "ImportFileRegionError::Seek",
    "a file offset can't be reached",
    "check that the file is complete",
  ),
  REGION_READ: code(
    "ImportFileRegionError::Read",
    "a region's bytes can't be read from the file",
    "check that the file is complete",
  ),
  REGION_IMPORT_PAGES: code(
    "ImportFileRegionError::ImportPages",
    "the importer refused the pages of a region",
    "see the cause",
  ),
  REGION_OVERFLOW: code(
    "ImportFileRegionError::Overflow",
    "a region's address plus its length passes 2^64",
    "place the region lower",
  ),
  CHUNK_SIZE_TOO_SMALL: code("", "a chunk buffer is smaller than one page", "use at least 4096 bytes"),

  // vm_topology, memory::Error
  LAYOUT_BAD_SIZE: code(
    "MemoryLayout::BadSize",
    "the RAM size is zero or not a multiple of the page size",
    "use a positive multiple of 4096 bytes",
  ),
  LAYOUT_BAD_NUMA_SIZE: reserved(
    "MemoryLayout::BadNumaSize",
    "the size of a NUMA node is invalid",
    "use positive multiples of 4096 bytes",
  ),
  LAYOUT_EMPTY_NUMA_SIZES: reserved(
    "MemoryLayout::EmptyNumaSizes",
    "the list of NUMA sizes is empty",
    "give at least one NUMA node",
  ),
  LAYOUT_BAD_MMIO_GAPS: reserved(
    "MemoryLayout::BadMmioGaps",
    "the MMIO gaps are empty, unsorted or overlap",
    "give non-empty gaps in ascending order, without overlaps",
  ),
  LAYOUT_BAD_MEMORY_RANGES: code(
    "MemoryLayout::BadMemoryRanges",
    "the RAM ranges or gaps are missing, empty, unsorted or overlapping, or RAM lies over a gap",
    "give non-empty ranges and gaps in ascending order, without overlaps",
  ),
  LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM: code(
    "MemoryLayout::Vtl2RangeBeforeEndOfRam",
    "the VTL2 range starts below the end of RAM",
    "place the VTL2 range behind all RAM",
  ),
  LAYOUT_RAM_DOES_NOT_FIT: code("", "the RAM does not fit below 2^64 - 4096", "use less RAM or smaller gaps"),

  // page_table
  PAGE_TABLE_BAD_BUFFER_SIZE: code(
    "page_table::Error::BadBufferSize",
    "the page table buffer is not a multiple of the table size",
    "use a buffer of whole 4096-byte tables",
  ),
  PAGE_TABLE_UNSORTED: code(
    "page_table::Error::UnsortedMappings",
    "the ranges to map are not sorted",
    "sort the ranges by start address",
  ),
  PAGE_TABLE_OVERLAPPING: code(
    "page_table::Error::OverlappingMappings",
    "the ranges to map overlap",
    "give ranges without overlaps",
  ),
  PAGE_TABLE_INVALID_RANGE: code(
    "page_table::Error::InvalidRange",
    "a range to map is reversed, unaligned or beyond 2^48",
    "give page-aligned ranges with end >= start, below 2^48",
  ),
  PAGE_TABLE_NOT_ENOUGH_MEMORY: code(
    "page_table::Error::NotEnoughMemory",
    "the page tables need more memory than they are given",
    "raise the limit of tables, or map less",
  ),
  PAGE_TABLE_ATTEMPTED_OVERWRITE: code(
    "page_table::Error::AttemptedEntryOverwrite",
    "a page table entry is set already",
    "choose another entry, or give ranges without overlaps",
  ),
  PAGE_TABLE_INVALID_ADDRESS: code(
    "",
    "an address can't stand in a page table entry",
    "use an address with the required alignment below 2^52",
  ),

  GDT_INVALID_ADDRESS: code("", "the GDT lies at or above 2^52", "place the GDT below 2^52"),

  X86_ENTRY_NOT_MAPPED: code(
    "",
    "the kernel's entry lies outside the kernel, or the kernel beyond the 4 GiB that are mapped",
    "give a kernel that is linked below 4 GiB, with its entry in a loaded segment",
  ),
  MTRR_BAD_LOW_GAP: code(
    "",
    "the low MMIO gap is empty or starts at 0 although there is RAM above 128 MiB",
    "give the gap below 4 GiB that the layout was made with",
  ),

  // zero page
  ZERO_PAGE_COMMAND_LINE_TOO_HIGH: code(
    "",
    "the command line's address does not fit cmd_line_ptr (32 bits)",
    "place the command line below 4 GiB",
  ),
  ZERO_PAGE_INITRD_TOO_HIGH: code(
    "",
    "the initrd's address or size does not fit ramdisk_image or ramdisk_size (32 bits)",
    "place the initrd below 4 GiB",
  ),
  ZERO_PAGE_BAD_RAM: code(
    "",
    "the first RAM range does not cover [0, 1 MiB)",
    "give a memory layout whose RAM starts at 0 and has at least 1 MiB",
  ),
  ZERO_PAGE_BAD_ACPI: code(
    "",
    "the ACPI range does not start at 0xe0000 or passes the end of the first RAM range",
    "use acpiBase 0xe0000 and a length within RAM",
  ),
  ZERO_PAGE_TOO_MANY_E820_ENTRIES: code(
    "",
    "the memory layout needs more than 128 e820 entries",
    "use at most 126 RAM ranges",
  ),
  COMMAND_LINE_NUL: code("", "the command line holds a NUL byte", "remove the NUL; it ends the command line"),
  ACPI_RSDP_TOO_LONG: code("", "the RSDP is longer than its page", "give at most 4096 bytes"),

  // addresses and ranges
  ADDRESS_OUT_OF_RANGE: code(
    "",
    "a number is negative or passes 2^64 - 1",
    "use an integer from 0 to 2^64 - 1",
  ),
  ADDRESS_OVERFLOW: code("", "an address computation passes 2^64", "use lower addresses or smaller sizes"),
  MEMORY_RANGE_INVALID: code(
    "",
    "a memory range is reversed or not page-aligned",
    "use page-aligned bounds with start <= end",
  ),

  // guest memory and its importer
  GUEST_MEMORY_TOO_LARGE: code(
    "",
    "the host can't allocate guest memory of that size",
    "use less RAM, or attach a buffer of your own",
  ),
  GUEST_MEMORY_BAD_BANKS: code(
    "",
    "a memory bank is unaligned, overlaps another, or lies outside its buffer",
    "give page-aligned banks within the buffer, without overlaps",
  ),
  GUEST_MEMORY_DETACHED: code(
    "",
    "the buffer of the guest memory was detached, grown or shrunk",
    "attach the new buffer and load again",
  ),
  GUEST_MEMORY_NOT_RAM: code(
    "",
    "a range does not lie in RAM",
    "give the guest more RAM, or place the range elsewhere",
  ),
  GUEST_MEMORY_SPLIT_VIEW: code(
    "",
    "a range crosses from one host buffer to the next and has no single view",
    "use read and write, or view each part",
  ),
  IMPORT_OVERLAP: code(
    "",
    "a page range overlaps one that was imported before",
    "place one of the two elsewhere",
  ),
  IMPORT_DATA_TOO_LONG: code("", "the data is longer than its page range", "give more pages or less data"),
  IMPORT_EMPTY: code("", "an imported page range is empty", "leave the import out, or give it data"),
  IMPORT_REGISTER_TWICE: code("", "a register was imported twice", "use a fresh importer for each load"),

  // sources
  SOURCE_NOT_FOUND: code(
    "",
    "the file does not exist or can't be opened",
    "check the path and its permissions",
  ),
  SOURCE_READ: code("", "reading from a source failed", "check that the file is complete and readable"),
  SOURCE_SHORT: code(
    "",
    "a source ends before the bytes that are asked for",
    "check that the file is complete",
  ),
  SOURCE_NOT_SYNCHRONOUS: code(
    "",
    "the source can't be read synchronously",
    "use the asynchronous function, or read the bytes first",
  ),
  SOURCE_TOO_LARGE: code("", "a source is larger than can be handled", "use a smaller file"),
  SOURCE_EMPTY: code("", "the file is empty", "check the path; a kernel or initrd has at least one byte"),

  // device trees
  DEVICE_TREE_MALFORMED: code(
    "",
    "the device tree's header, blocks or structure are malformed",
    "give a complete flattened device tree (.dtb), as dtc or QEMU's dumpdtb writes it",
  ),
  DEVICE_TREE_UNSUPPORTED_VERSION: code(
    "",
    "the device tree's format version is not one that readers of version 17 can use",
    "compile the device tree again with a current dtc",
  ),
  DEVICE_TREE_CHOSEN: code(
    "",
    "what is to be written into the device tree's /chosen node does not fit there",
    "give an initrd range with start <= end, and less data",
  ),
  DEVICE_TREE_TOO_LARGE: code(
    "",
    "the device tree is larger than the boot protocol allows",
    "give a device tree of at most 2 MiB",
  ),
  DEVICE_TREE_MISSING: code(
    "",
    "there is no device tree for what only a device tree can say",
    "give the machine's device tree",
  ),
  DEVICE_TREE_MEMORY: code(
    "",
    "the size of the memory disagrees with /memory of the device tree",
    "give the size that the device tree has, or a tree for this machine",
  ),

  OPTION_NOT_FOR_ARCHITECTURE: code(
    "",
    "an option was given that the kernel's architecture does not have",
    "leave the option out",
  ),

  // plans
  PLAN_INVALID: code("", "a plan's step is malformed", "make plans with directboot's functions"),
  ABORTED: code("", "the load was aborted", "load again when it is wanted"),

  // the command
  OUTPUT_FAILED: code(
    "",
    "the output can't be written",
    "check the path, its permissions and the free space",
  ),
  TOOL_MISSING: code("", "a program that is needed is not installed", "install the package that is named"),
  TOOL_FAILED: code("", "a program failed", "see its output"),
} as const satisfies Record<string, CodeEntry>;

/** The code of a {@link DirectBootError}: a string literal for each cause. */
export type DirectBootErrorCode = keyof typeof ERROR_CODES;

/**
 * The only class of errors that directboot throws, besides `TypeError` for arguments of a wrong type.
 *
 * `code` says which cause it was; `message` names the value, the limit and the cure; `cause` is the error
 * underneath, where there is one (a file system error, or what a foreign importer threw).
 */
export class DirectBootError extends Error {
  readonly code: DirectBootErrorCode;

  /**
   * @param code one cause of {@link ERROR_CODES}
   * @param details the value and the limit, in words; the cure of the code is added
   */
  constructor(code: DirectBootErrorCode, details: string, options?: { cause?: unknown; cure?: string }) {
    const cure = options?.cure ?? ERROR_CODES[code].cure;
    super(`${details}; ${cure}`, options !== undefined && "cause" in options ? { cause: options.cause } : {});
    this.code = code;
  }

  static {
    // On the prototype, as with the platform's own errors: not an own, enumerable property.
    Object.defineProperty(DirectBootError.prototype, "name", {
      value: "DirectBootError",
      configurable: true,
      writable: true,
    });
  }
}
