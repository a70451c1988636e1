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

/** Every error code, by name, with its upstream variant, meaning and cure. */
export const ERROR_CODES = {
  // linux.rs, Error
  ELF_LOADER: {
    seed: "Error::ElfLoader",
    meaning: "the ELF loader failed",
    cure: "see the ELF_* code that is thrown instead",
    reserved: true,
  },
  FLAT_LOADER: {
    seed: "Error::FlatLoader",
    meaning: "the flat image loader failed",
    cure: "see the ARM64_* code that is thrown instead",
    reserved: true,
  },
  UNALIGNED_ADDRESS: {
    seed: "Error::UnalignedAddress",
    meaning: "an address is not a multiple of the page size",
    cure: "use a page-aligned guest physical address",
  },
  IMPORTER: {
    seed: "Error::Importer",
    meaning: "the importer refused a page range or a register",
    cure: "see the cause",
  },

  // linux.rs, FlatLoaderError
  ARM64_BIG_ENDIAN_ELF_ON_LITTLE: {
    seed: "FlatLoaderError::BigEndianElfOnLittle",
    meaning: "unsupported ELF byte order",
    cure: "build the kernel little-endian",
    reserved: true,
  },
  ARM64_BAD_IMAGE_MAGIC: {
    seed: "FlatLoaderError::BadImageMagic",
    meaning: "the file is not an arm64 Image",
    cure: "give arch/arm64/boot/Image, uncompressed",
  },
  ARM64_BIG_ENDIAN_KERNEL_IMAGE: {
    seed: "FlatLoaderError::BigEndianKernelImage",
    meaning: "the arm64 Image is big-endian",
    cure: "build the kernel with CONFIG_CPU_LITTLE_ENDIAN",
  },
  ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED: {
    seed: "FlatLoaderError::FourKibPageImageIsRequired",
    meaning: "the arm64 Image does not state 4 KiB pages",
    cure: "build the kernel with CONFIG_ARM64_4K_PAGES",
  },
  ARM64_LOW_MEMORY_KERNEL: {
    seed: "FlatLoaderError::LowMemoryKernel",
    meaning: "the arm64 Image must lie at the start of RAM",
    cure: "use a kernel of Linux 4.6 or later, which may be placed anywhere",
  },
  ARM64_READ_KERNEL_IMAGE: {
    seed: "FlatLoaderError::ReadKernelImage",
    meaning: "the arm64 Image could not be read whole",
    cure: "check that the file is complete",
  },
  ARM64_SEEK_KERNEL_START: {
    seed: "FlatLoaderError::SeekKernelStart",
    meaning: "the arm64 Image could not be positioned at its start",
    cure: "check that the source can be read at any offset",
    reserved: true,
  },
  ARM64_SEEK_KERNEL_IMAGE: {
    seed: "FlatLoaderError::SeekKernelImage",
    meaning: "the arm64 Image could not be positioned",
    cure: "check that the source can be read at any offset",
    reserved: true,
  },

  ARM64_START_UNALIGNED: {
    seed: "",
    meaning: "the start address of an arm64 kernel is not a multiple of 2 MiB",
    cure: "use a 2 MiB aligned kernelMinimumStartAddress",
  },
  ARM64_BAD_IMAGE_SIZE: {
    seed: "",
    meaning: "the arm64 Image's text_offset or image_size can't be true",
    cure: "check that the file is an unmodified Image",
  },

  ARM64_INITRD_OUT_OF_REACH: {
    seed: "",
    meaning: "the initrd and the kernel do not lie in one 1 GiB-aligned window of 32 GiB",
    cure: "place the initrd nearer to the kernel",
  },

  // elf.rs, Error
  ELF_READ_FILE_HEADER: {
    seed: "elf::Error::ReadFileHeader",
    meaning: "the file is too short for an ELF header",
    cure: "give an uncompressed ELF kernel (vmlinux)",
  },
  ELF_INVALID_FILE_HEADER: {
    seed: "elf::Error::InvalidFileHeader",
    meaning: "the file is not a 64-bit ELF",
    cure: "give an uncompressed 64-bit ELF kernel (vmlinux)",
  },
  ELF_TARGET_MACHINE_MISMATCH: {
    seed: "elf::Error::TargetMachineMismatch",
    meaning: "the ELF is for another machine",
    cure: "give a kernel of the guest's architecture",
  },
  ELF_BIG_ENDIAN_ELF_ON_LITTLE: {
    seed: "elf::Error::BigEndianElfOnLittle",
    meaning: "the ELF is big-endian",
    cure: "give a little-endian kernel",
  },
  ELF_INVALID_ENTRY_ADDRESS: {
    seed: "elf::Error::InvalidEntryAddress",
    meaning: "the entry address lies below the start address or overflows",
    cure: "lower kernelMinimumStartAddress or the load offset, or give a kernel linked higher",
  },
  ELF_INVALID_PROGRAM_HEADER: {
    seed: "elf::Error::InvalidProgramHeader",
    meaning: "the ELF program headers can't be read",
    cure: "check that the file is complete",
  },
  ELF_LOAD_OFFSET_OVERFLOW: {
    seed: "elf::Error::LoadOffsetOverflow",
    meaning: "a segment's address plus the load offset passes 2^64",
    cure: "use a smaller load offset",
  },
  ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET: {
    seed: "elf::Error::InvalidProgramHeaderMemoryOffset",
    meaning: "a segment lies below the start address",
    cure: "lower kernelMinimumStartAddress, or give a kernel linked higher",
  },
  ELF_RELOC_BIAS_OVERFLOW: {
    seed: "elf::Error::RelocBiasOverflow",
    meaning: "a segment's address falls below 0 when it is relocated",
    cure: "use a smaller start address or load offset",
  },
  ELF_READ_KERNEL_IMAGE: {
    seed: "elf::Error::ReadKernelImage",
    meaning: "the kernel could not be read",
    cure: "check that the file is complete",
    reserved: true,
  },
  ELF_IMPORT_FILE_REGION: {
    seed: "elf::Error::ImportFileRegion",
    meaning: "a segment could not be imported",
    cure: "see the REGION_* code that is thrown instead",
    reserved: true,
  },
  ELF_SEEK_KERNEL_IMAGE: {
    seed: "elf::Error::SeekKernelImage",
    meaning: "the kernel could not be positioned",
    cure: "check that the source can be read at any offset",
    reserved: true,
  },
  ELF_NO_LOADABLE_SEGMENT: {
    seed: "",
    meaning: "the ELF has no PT_LOAD segment",
    cure: "give a linked kernel (vmlinux), not an object file or a debug file",
  },

  // common.rs, ImportFileRegionError
  REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH: {
    seed: "ImportFileRegionError::FileLengthExceedsMemoryLength",
    meaning: "a region has more bytes in the file than in memory",
    cure: "check the program header: p_filesz must not exceed p_memsz",
  },
  REGION_SEEK: {
    seed: "ImportFileRegionError::Seek",
    meaning: "a file offset can't be reached",
    cure: "check that the file is complete",
    reserved: true,
  },
  REGION_READ: {
    seed: "ImportFileRegionError::Read",
    meaning: "a region's bytes can't be read from the file",
    cure: "check that the file is complete",
  },
  REGION_IMPORT_PAGES: {
    seed: "ImportFileRegionError::ImportPages",
    meaning: "the importer refused the pages of a region",
    cure: "see the cause",
  },
  REGION_OVERFLOW: {
    seed: "ImportFileRegionError::Overflow",
    meaning: "a region's address plus its length passes 2^64",
    cure: "place the region lower",
  },
  CHUNK_SIZE_TOO_SMALL: {
    seed: "",
    meaning: "a chunk buffer is smaller than one page",
    cure: "use at least 4096 bytes",
  },

  // vm_topology, memory::Error
  LAYOUT_BAD_SIZE: {
    seed: "MemoryLayout::BadSize",
    meaning: "the RAM size is zero or not a multiple of the page size",
    cure: "use a positive multiple of 4096 bytes",
  },
  LAYOUT_BAD_NUMA_SIZE: {
    seed: "MemoryLayout::BadNumaSize",
    meaning: "the size of a NUMA node is invalid",
    cure: "use positive multiples of 4096 bytes",
    reserved: true,
  },
  LAYOUT_EMPTY_NUMA_SIZES: {
    seed: "MemoryLayout::EmptyNumaSizes",
    meaning: "the list of NUMA sizes is empty",
    cure: "give at least one NUMA node",
    reserved: true,
  },
  LAYOUT_BAD_MMIO_GAPS: {
    seed: "MemoryLayout::BadMmioGaps",
    meaning: "the MMIO gaps are empty, unsorted or overlap",
    cure: "give non-empty gaps in ascending order, without overlaps",
    reserved: true,
  },
  LAYOUT_BAD_MEMORY_RANGES: {
    seed: "MemoryLayout::BadMemoryRanges",
    meaning: "the RAM ranges or gaps are missing, empty, unsorted or overlapping, or RAM lies over a gap",
    cure: "give non-empty ranges and gaps in ascending order, without overlaps",
  },
  LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM: {
    seed: "MemoryLayout::Vtl2RangeBeforeEndOfRam",
    meaning: "the VTL2 range starts below the end of RAM",
    cure: "place the VTL2 range behind all RAM",
  },
  LAYOUT_RAM_DOES_NOT_FIT: {
    seed: "",
    meaning: "the RAM does not fit below 2^64 - 4096",
    cure: "use less RAM or smaller gaps",
  },

  // page_table
  PAGE_TABLE_BAD_BUFFER_SIZE: {
    seed: "page_table::Error::BadBufferSize",
    meaning: "the page table buffer is not a multiple of the table size",
    cure: "use a buffer of whole 4096-byte tables",
  },
  PAGE_TABLE_UNSORTED: {
    seed: "page_table::Error::UnsortedMappings",
    meaning: "the ranges to map are not sorted",
    cure: "sort the ranges by start address",
  },
  PAGE_TABLE_OVERLAPPING: {
    seed: "page_table::Error::OverlappingMappings",
    meaning: "the ranges to map overlap",
    cure: "give ranges without overlaps",
  },
  PAGE_TABLE_INVALID_RANGE: {
    seed: "page_table::Error::InvalidRange",
    meaning: "a range to map is reversed, unaligned or beyond 2^48",
    cure: "give page-aligned ranges with end >= start, below 2^48",
  },
  PAGE_TABLE_NOT_ENOUGH_MEMORY: {
    seed: "page_table::Error::NotEnoughMemory",
    meaning: "the page tables need more memory than they are given",
    cure: "raise the limit of tables, or map less",
  },
  PAGE_TABLE_ATTEMPTED_OVERWRITE: {
    seed: "page_table::Error::AttemptedEntryOverwrite",
    meaning: "a page table entry is set already",
    cure: "choose another entry, or give ranges without overlaps",
  },
  PAGE_TABLE_INVALID_ADDRESS: {
    seed: "",
    meaning: "an address can't stand in a page table entry",
    cure: "use an address with the required alignment below 2^52",
  },

  GDT_INVALID_ADDRESS: {
    seed: "",
    meaning: "the GDT lies at or above 2^52",
    cure: "place the GDT below 2^52",
  },

  X86_ENTRY_NOT_MAPPED: {
    seed: "",
    meaning: "the kernel's entry lies outside the kernel, or the kernel beyond the 4 GiB that are mapped",
    cure: "give a kernel that is linked below 4 GiB, with its entry in a loaded segment",
  },
  MTRR_BAD_LOW_GAP: {
    seed: "",
    meaning: "the low MMIO gap is empty or starts at 0 although there is RAM above 128 MiB",
    cure: "give the gap below 4 GiB that the layout was made with",
  },

  // zero page
  ZERO_PAGE_COMMAND_LINE_TOO_HIGH: {
    seed: "",
    meaning: "the command line's address does not fit cmd_line_ptr (32 bits)",
    cure: "place the command line below 4 GiB",
  },
  ZERO_PAGE_INITRD_TOO_HIGH: {
    seed: "",
    meaning: "the initrd's address or size does not fit ramdisk_image or ramdisk_size (32 bits)",
    cure: "place the initrd below 4 GiB",
  },
  ZERO_PAGE_BAD_RAM: {
    seed: "",
    meaning: "the first RAM range does not cover [0, 1 MiB)",
    cure: "give a memory layout whose RAM starts at 0 and has at least 1 MiB",
  },
  ZERO_PAGE_BAD_ACPI: {
    seed: "",
    meaning: "the ACPI range does not start at 0xe0000 or passes the end of the first RAM range",
    cure: "use acpiBase 0xe0000 and a length within RAM",
  },
  ZERO_PAGE_TOO_MANY_E820_ENTRIES: {
    seed: "",
    meaning: "the memory layout needs more than 128 e820 entries",
    cure: "use at most 126 RAM ranges",
  },
  COMMAND_LINE_NUL: {
    seed: "",
    meaning: "the command line holds a NUL byte",
    cure: "remove the NUL; it ends the command line",
  },
  ACPI_RSDP_TOO_LONG: {
    seed: "",
    meaning: "the RSDP is longer than its page",
    cure: "give at most 4096 bytes",
  },

  // addresses and ranges
  ADDRESS_OUT_OF_RANGE: {
    seed: "",
    meaning: "a number is negative or passes 2^64 - 1",
    cure: "use an integer from 0 to 2^64 - 1",
  },
  ADDRESS_OVERFLOW: {
    seed: "",
    meaning: "an address computation passes 2^64",
    cure: "use lower addresses or smaller sizes",
  },
  MEMORY_RANGE_INVALID: {
    seed: "",
    meaning: "a memory range is reversed or not page-aligned",
    cure: "use page-aligned bounds with start <= end",
  },

  // guest memory and its importer
  GUEST_MEMORY_TOO_LARGE: {
    seed: "",
    meaning: "the host can't allocate guest memory of that size",
    cure: "use less RAM, or attach a buffer of your own",
  },
  GUEST_MEMORY_BAD_BANKS: {
    seed: "",
    meaning: "a memory bank is unaligned, overlaps another, or lies outside its buffer",
    cure: "give page-aligned banks within the buffer, without overlaps",
  },
  GUEST_MEMORY_DETACHED: {
    seed: "",
    meaning: "the buffer of the guest memory was detached, grown or shrunk",
    cure: "attach the new buffer and load again",
  },
  GUEST_MEMORY_NOT_RAM: {
    seed: "",
    meaning: "a range does not lie in RAM",
    cure: "give the guest more RAM, or place the range elsewhere",
  },
  GUEST_MEMORY_SPLIT_VIEW: {
    seed: "",
    meaning: "a range crosses from one host buffer to the next and has no single view",
    cure: "use read and write, or view each part",
  },
  IMPORT_OVERLAP: {
    seed: "",
    meaning: "a page range overlaps one that was imported before",
    cure: "place one of the two elsewhere",
  },
  IMPORT_DATA_TOO_LONG: {
    seed: "",
    meaning: "the data is longer than its page range",
    cure: "give more pages or less data",
  },
  IMPORT_EMPTY: {
    seed: "",
    meaning: "an imported page range is empty",
    cure: "leave the import out, or give it data",
  },
  IMPORT_REGISTER_TWICE: {
    seed: "",
    meaning: "a register was imported twice",
    cure: "use a fresh importer for each load",
  },

  // sources
  SOURCE_NOT_FOUND: {
    seed: "",
    meaning: "the file does not exist or can't be opened",
    cure: "check the path and its permissions",
  },
  SOURCE_READ: {
    seed: "",
    meaning: "reading from a source failed",
    cure: "check that the file is complete and readable",
  },
  SOURCE_SHORT: {
    seed: "",
    meaning: "a source ends before the bytes that are asked for",
    cure: "check that the file is complete",
  },
  SOURCE_NOT_SYNCHRONOUS: {
    seed: "",
    meaning: "the source can't be read synchronously",
    cure: "use the asynchronous function, or read the bytes first",
  },
  SOURCE_TOO_LARGE: {
    seed: "",
    meaning: "a source is larger than can be handled",
    cure: "use a smaller file",
  },
  SOURCE_EMPTY: {
    seed: "",
    meaning: "the file is empty",
    cure: "check the path; a kernel or initrd has at least one byte",
  },

  // device trees
  DEVICE_TREE_MALFORMED: {
    seed: "",
    meaning: "the device tree's header, blocks or structure are malformed",
    cure: "give a complete flattened device tree (.dtb), as dtc or QEMU's dumpdtb writes it",
  },
  DEVICE_TREE_UNSUPPORTED_VERSION: {
    seed: "",
    meaning: "the device tree's format version is not one that readers of version 17 can use",
    cure: "compile the device tree again with a current dtc",
  },
  DEVICE_TREE_CHOSEN: {
    seed: "",
    meaning: "what is to be written into the device tree's /chosen node does not fit there",
    cure: "give an initrd range with start <= end, and less data",
  },
  DEVICE_TREE_TOO_LARGE: {
    seed: "",
    meaning: "the device tree is larger than the boot protocol allows",
    cure: "give a device tree of at most 2 MiB",
  },
  DEVICE_TREE_MISSING: {
    seed: "",
    meaning: "there is no device tree for what only a device tree can say",
    cure: "give the machine's device tree",
  },
  DEVICE_TREE_MEMORY: {
    seed: "",
    meaning: "the size of the memory disagrees with /memory of the device tree",
    cure: "give the size that the device tree has, or a tree for this machine",
  },

  OPTION_NOT_FOR_ARCHITECTURE: {
    seed: "",
    meaning: "an option was given that the kernel's architecture does not have",
    cure: "leave the option out",
  },

  // x86: what the kernel is told, beyond the seeds
  E820_INVALID_ENTRY: {
    seed: "",
    meaning: "an e820 entry is reversed, has no valid type, or is a reservation of the type RAM",
    cure: "give start <= end and a type of the ACPI specification, other than RAM (1) in a reservation",
  },
  E820_OVERLAP: {
    seed: "",
    meaning: "two e820 reservations of different types overlap",
    cure: "give each byte one type",
  },
  BOOT_PARAMS_BAD_SETUP_HEADER: {
    seed: "",
    meaning: "the setup header is cut off, or is none",
    cure: "give the bytes of a bzImage from 0x1f1 to the end of its setup header",
  },
  BOOT_PARAMS_NOT_SUPPORTED: {
    seed: "",
    meaning: "the kernel's setup header has no field or flag for what the kernel must be told",
    cure: "place everything below 4 GiB and use no setup_data, or give a newer kernel",
  },
  BOOT_PARAMS_BAD_ADDRESS: {
    seed: "",
    meaning: "an address does not fit its field of boot_params, or means nothing to Linux",
    cure: "use an address above 0, and code32_start below 4 GiB",
  },
  BOOT_PARAMS_BAD_E820: {
    seed: "",
    meaning: "the e820 map is empty, or is longer than boot_params and there is no setup_data",
    cure: "give the guest RAM; put the entries past 128 into a SETUP_E820_EXT node",
  },
  SETUP_DATA_INVALID: {
    seed: "",
    meaning: "a list of setup_data lies at 0 or unaligned, or a node does not fit its fields",
    cure: "place the list at a multiple of 8 above 0; give types of 32 bits, and less than 2 GiB in all",
  },
  PROTECTED_MODE_ADDRESS_TOO_HIGH: {
    seed: "",
    meaning: "what the 32-bit or the PVH entry needs does not lie below 4 GiB",
    cure: "place it below 4 GiB; give a kernel that is linked below 4 GiB",
  },
  PVH_BAD_ADDRESS: {
    seed: "",
    meaning: "an address of the PVH start info is 0, unaligned, or not below 4 GiB",
    cure: "use addresses above 0 and below 4 GiB; a multiple of 8 for the start info",
  },
  PVH_BAD_MEMORY_MAP: {
    seed: "",
    meaning: "the PVH memory map is empty or longer than Linux takes",
    cure: "give 1 to 128 entries",
  },

  // bzImage, zboot and ELF notes
  BZIMAGE_TRUNCATED: {
    seed: "",
    meaning: "the bzImage ends before its setup header or its kernel does",
    cure: "check that the file is complete",
  },
  BZIMAGE_BAD_BOOT_FLAG: {
    seed: "",
    meaning: "the file is not a bzImage: it lacks the boot sector's mark 0xaa55",
    cure: "give arch/x86/boot/bzImage (vmlinuz)",
  },
  BZIMAGE_BAD_MAGIC: {
    seed: "",
    meaning: "the boot sector has no setup header of Linux",
    cure: "give arch/x86/boot/bzImage (vmlinuz), not another boot sector",
  },
  BZIMAGE_BAD_VERSION: {
    seed: "",
    meaning: "the setup header's protocol version is older than bzImages",
    cure: "check that the file is not damaged, or give a bzImage",
  },
  BZIMAGE_BAD_HEADER_LENGTH: {
    seed: "",
    meaning: "the setup header's length does not fit its protocol version",
    cure: "check that the file is not damaged",
  },
  BZIMAGE_NOT_LOADED_HIGH: {
    seed: "",
    meaning: "the kernel is a zImage, which only the real-mode protocol can start",
    cure: "build a bzImage",
  },
  BZIMAGE_UNKNOWN_LENGTH: {
    seed: "",
    meaning: "the kernel's size is in neither its header nor its source",
    cure: "give its bytes, or a source that knows its length",
  },
  BZIMAGE_NO_KERNEL: {
    seed: "",
    meaning: "the bzImage has no protected-mode code",
    cure: "check that the file is not damaged",
  },
  BZIMAGE_BAD_PAYLOAD: {
    seed: "",
    meaning: "the bzImage's payload does not lie within its protected-mode code",
    cure: "check that the file is not damaged",
  },
  ZBOOT_TRUNCATED: {
    seed: "",
    meaning: "the EFI zboot image ends before its header or its payload does",
    cure: "check that the file is complete",
  },
  ZBOOT_BAD_MAGIC: {
    seed: "",
    meaning: "the file is not an EFI zboot image",
    cure: "give an EFI zboot image, vmlinuz.efi in arch/arm64/boot",
  },
  ZBOOT_BAD_COMPRESSION_NAME: {
    seed: "",
    meaning: "the zboot header does not name the compression of its payload",
    cure: "check that the file is not damaged",
  },
  ZBOOT_BAD_PAYLOAD: {
    seed: "",
    meaning: "the zboot payload is empty or lies within the header",
    cure: "check that the file is not damaged",
  },
  ELF_BAD_NOTE: {
    seed: "",
    meaning: "the ELF notes, where the PVH entry point would be, can't be read",
    cure: "start the kernel by its own entry point, or give one whose notes are whole",
  },

  NO_KERNEL_INSIDE: {
    seed: "",
    meaning: "there is no kernel in a file",
    cure: "give a bzImage, an EFI zboot image, an ELF or an arm64 Image, also compressed",
  },

  // placement
  PLACEMENT_NO_ROOM: {
    seed: "",
    meaning: "what is to be placed finds no room in RAM within its limits",
    cure: "give the guest more RAM, or choose the address yourself",
  },
  BZIMAGE_BAD_ALIGNMENT: {
    seed: "",
    meaning: "the alignment that a bzImage asks for is none",
    cure: "check that the file is an unmodified bzImage",
  },
  BZIMAGE_BAD_LOAD_ADDRESS: {
    seed: "",
    meaning: "a bzImage can't be loaded at the address that was chosen for it",
    cure: "leave the address out, or choose one that the kernel's header allows",
  },
  X86_ENTRY_NOT_AVAILABLE: {
    seed: "",
    meaning: "the kernel does not have the entry that was asked for",
    cure: "leave the entry out, or give a kernel that has it",
  },
  OPTION_NOT_FOR_KERNEL: {
    seed: "",
    meaning: "an option was given that this format of kernel, or its entry, does not have",
    cure: "leave the option out",
  },
  INITRD_TOO_HIGH: {
    seed: "",
    meaning: "the initrd lies above what the kernel and its entry allow",
    cure: "leave the initrd's address out, or choose a lower one",
  },
  ACPI_TOO_LONG: {
    seed: "",
    meaning: "an ACPI table or a device tree is longer than any can be",
    cure: "check that the right file was given",
  },
  COMMAND_LINE_TOO_LONG: {
    seed: "",
    meaning: "the command line is longer than the kernel takes",
    cure: "shorten the command line",
  },
  ELF_SEGMENTS_OVERLAP: {
    seed: "",
    meaning: "two segments of the kernel have bytes for the same address",
    cure: "check that the file is an unmodified kernel",
  },

  // sources that arrive, and compressed ones
  SOURCE_LENGTH_UNKNOWN: {
    seed: "",
    meaning: "the length of a stream is needed before it has ended",
    cure: "declare the length, or read the stream whole first",
  },
  SOURCE_SPOOL_LIMIT: {
    seed: "",
    meaning: "more of a stream had to be kept than its spool may hold",
    cure: "raise spoolLimit, or read the stream whole first",
  },
  SOURCE_CONSUMED: {
    seed: "",
    meaning: "bytes of a stream are wanted again after they were let go",
    cure: "use a new stream for each load, or read it whole first",
  },
  DECOMPRESS_UNSUPPORTED: {
    seed: "",
    meaning: "there is no decompressor for a compressed format here",
    cure: "decompress the file first, or use a runtime with a decompressor for it",
  },
  DECOMPRESS_CORRUPT: {
    seed: "",
    meaning: "compressed data is corrupt or ends too early",
    cure: "check that the file is complete and unmodified",
  },
  DECOMPRESS_TOO_LARGE: {
    seed: "",
    meaning: "compressed data decompresses to more than the limit",
    cure: "raise the limit if the file is to be trusted",
  },

  // decoders
  DECOMPRESS_TRUNCATED: {
    seed: "",
    meaning: "a compressed stream ends too early",
    cure: "check that the file is complete",
  },
  DECOMPRESS_CHECKSUM: {
    seed: "",
    meaning: "decompressed bytes do not have the checksum that their stream states",
    cure: "check that the file is the original one and complete",
  },
  DECOMPRESS_WRONG_SIZE: {
    seed: "",
    meaning: "decompressed bytes are not as many as declared",
    cure: "check that the file is the original one and complete",
  },
  DECOMPRESS_TRAILING_DATA: {
    seed: "",
    meaning: "bytes that are no part of the stream follow it",
    cure: "cut the file, or set allowTrailing",
  },

  // plans
  PLAN_INVALID: {
    seed: "",
    meaning: "a plan's step is malformed",
    cure: "make plans with directboot's functions",
  },
  ABORTED: { seed: "", meaning: "the load was aborted", cure: "load again when it is wanted" },

  // the command
  OUTPUT_FAILED: {
    seed: "",
    meaning: "the output can't be written",
    cure: "check the path, its permissions and the free space",
  },
  TOOL_MISSING: {
    seed: "",
    meaning: "a program that is needed is not installed",
    cure: "install the package that is named",
  },
  TOOL_FAILED: { seed: "", meaning: "a program failed", cure: "see its output" },
} as const satisfies Record<string, CodeEntry>;

/** The code of a {@link DirectBootError}: a string literal for each cause. */
export type DirectBootErrorCode = keyof typeof ERROR_CODES;

/**
 * `Error`, whose type lets a subclass have `name` as an accessor: code that sets it on the prototype would keep this
 * file and its table in bundles that throw none of it.
 */
const PlatformError: new (message: string, options: ErrorOptions) => Omit<Error, "name"> = Error;

/**
 * The only class of errors that directboot throws, besides `TypeError` for arguments of a wrong type.
 *
 * `code` says which cause it was; `message` names the value, the limit and the cure; `cause` is the error
 * underneath, where there is one (a file system error, or what a foreign importer threw).
 */
export class DirectBootError extends PlatformError {
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

  /** "DirectBootError": on the prototype, as with the platform's own errors. */
  get name(): string {
    return "DirectBootError";
  }
}
