/**
 * The one class of errors, and the cure of each of its codes, which every bundle that throws carries. The meanings of the
 * codes, for documentation, are in error-codes.ts.
 */

/** Advice to the caller, for every code; ends every message. */
export const ERROR_CURES = {
  // linux.rs, Error
  ELF_LOADER: "see the ELF_* code that is thrown instead",
  FLAT_LOADER: "see the ARM64_* code that is thrown instead",
  UNALIGNED_ADDRESS: "use a page-aligned guest physical address",
  IMPORTER: "see the cause",
  // linux.rs, FlatLoaderError
  ARM64_BIG_ENDIAN_ELF_ON_LITTLE: "build the kernel little-endian",
  ARM64_BAD_IMAGE_MAGIC: "give arch/arm64/boot/Image, uncompressed",
  ARM64_BIG_ENDIAN_KERNEL_IMAGE: "build the kernel with CONFIG_CPU_LITTLE_ENDIAN",
  ARM64_FOUR_KIB_PAGE_IMAGE_IS_REQUIRED:
    "allow its page size with arm64.pageSizes, if the guest's CPU has it",
  ARM64_LOW_MEMORY_KERNEL: "allow it with arm64.lowPlacement, or give a newer kernel",
  ARM64_READ_KERNEL_IMAGE: "check that the file is complete",
  ARM64_SEEK_KERNEL_START: "check that the source can be read at any offset",
  ARM64_SEEK_KERNEL_IMAGE: "check that the source can be read at any offset",
  ARM64_START_UNALIGNED: "use a 2 MiB aligned kernelMinimumStartAddress",
  ARM64_BAD_IMAGE_SIZE: "check that the file is an unmodified Image",
  ARM64_INITRD_OUT_OF_REACH: "place the initrd nearer to the kernel",

  // elf.rs, Error
  ELF_READ_FILE_HEADER: "give a complete vmlinux",
  ELF_INVALID_FILE_HEADER: "give an uncompressed 64-bit vmlinux",
  ELF_TARGET_MACHINE_MISMATCH: "give a kernel of the guest's architecture",
  ELF_BIG_ENDIAN_ELF_ON_LITTLE: "give a little-endian kernel",
  ELF_INVALID_ENTRY_ADDRESS:
    "lower kernelMinimumStartAddress or the load offset, or give a kernel linked higher",
  ELF_INVALID_PROGRAM_HEADER: "check that the file is complete",
  ELF_LOAD_OFFSET_OVERFLOW: "use a smaller load offset",
  ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET: "lower kernelMinimumStartAddress, or give a kernel linked higher",
  ELF_RELOC_BIAS_OVERFLOW: "use a smaller start address or load offset",
  ELF_READ_KERNEL_IMAGE: "check that the file is complete",
  ELF_IMPORT_FILE_REGION: "see the REGION_* code that is thrown instead",
  ELF_SEEK_KERNEL_IMAGE: "check that the source can be read at any offset",
  ELF_NO_LOADABLE_SEGMENT: "give a linked kernel (vmlinux), not an object file or a debug file",

  // common.rs, ImportFileRegionError
  REGION_FILE_LENGTH_EXCEEDS_MEMORY_LENGTH: "p_filesz must not exceed p_memsz",
  REGION_SEEK: "check that the file is complete",
  REGION_READ: "check that the file is complete",
  REGION_IMPORT_PAGES: "see the cause",
  REGION_OVERFLOW: "place the region lower",
  CHUNK_SIZE_TOO_SMALL: "use at least 4096 bytes",

  // vm_topology, memory::Error
  LAYOUT_BAD_SIZE: "use a positive multiple of 4096 bytes",
  LAYOUT_BAD_NUMA_SIZE: "use positive multiples of 4096 bytes",
  LAYOUT_EMPTY_NUMA_SIZES: "give at least one NUMA node",
  LAYOUT_BAD_MMIO_GAPS: "give non-empty gaps in ascending order, without overlaps",
  LAYOUT_BAD_MEMORY_RANGES: "give non-empty ranges in ascending order, without overlaps",
  LAYOUT_VTL2_RANGE_BEFORE_END_OF_RAM: "place the VTL2 range behind all RAM",
  LAYOUT_RAM_DOES_NOT_FIT: "use less RAM or smaller gaps",

  // page_table
  PAGE_TABLE_BAD_BUFFER_SIZE: "use a buffer of whole 4096-byte tables",
  PAGE_TABLE_UNSORTED: "sort the ranges by start address",
  PAGE_TABLE_OVERLAPPING: "give ranges without overlaps",
  PAGE_TABLE_INVALID_RANGE: "give page-aligned ranges with end >= start, below 2^48",
  PAGE_TABLE_NOT_ENOUGH_MEMORY: "raise the limit of tables, or map less",
  PAGE_TABLE_ATTEMPTED_OVERWRITE: "choose another entry, or give ranges without overlaps",
  PAGE_TABLE_INVALID_ADDRESS: "use an address with the required alignment below 2^52",
  GDT_INVALID_ADDRESS: "place the GDT below 2^52",
  X86_ENTRY_NOT_MAPPED: "give a kernel linked below 4 GiB, with its entry in a loaded segment",
  MTRR_BAD_LOW_GAP: "give the gap below 4 GiB that the layout was made with",

  // zero page
  ZERO_PAGE_COMMAND_LINE_TOO_HIGH: "place the command line below 4 GiB",
  ZERO_PAGE_INITRD_TOO_HIGH: "place the initrd below 4 GiB",
  ZERO_PAGE_BAD_RAM: "give a memory layout whose RAM starts at 0 and has at least 1 MiB",
  ZERO_PAGE_BAD_ACPI: "use acpiBase 0xe0000 and a length within RAM",
  ZERO_PAGE_TOO_MANY_E820_ENTRIES: "use at most 126 RAM ranges",
  COMMAND_LINE_NUL: "remove the NUL; it ends the command line",
  ACPI_RSDP_TOO_LONG: "give at most 4096 bytes",

  // addresses and ranges
  ADDRESS_OUT_OF_RANGE: "use an integer from 0 to 2^64 - 1",
  ADDRESS_OVERFLOW: "use lower addresses or smaller sizes",
  MEMORY_RANGE_INVALID: "use page-aligned bounds with start <= end",

  // guest memory and its importer
  GUEST_MEMORY_TOO_LARGE: "use less RAM, or attach a buffer of your own",
  GUEST_MEMORY_BAD_BANKS: "give page-aligned banks within the buffer, without overlaps",
  GUEST_MEMORY_DETACHED: "attach the new buffer and load again",
  GUEST_MEMORY_BUSY: "await that load first, or give each guest a memory of its own",
  GUEST_MEMORY_TOO_SMALL: "give the guest more RAM",
  GUEST_MEMORY_NOT_RAM: "give the guest more RAM, or place the range elsewhere",
  GUEST_MEMORY_SPLIT_VIEW: "use read and write, or view each part",
  IMPORT_OVERLAP: "place one of the two elsewhere",
  IMPORT_DATA_TOO_LONG: "give more pages or less data",
  IMPORT_EMPTY: "leave the import out, or give it data",
  IMPORT_REGISTER_TWICE: "use a fresh importer for each load",

  // sources
  SOURCE_NOT_FOUND: "check the path and its permissions",
  SOURCE_READ: "check that the file is complete and readable",
  SOURCE_SHORT: "check that the file is complete",
  SOURCE_NOT_SYNCHRONOUS: "use the asynchronous function, or read the bytes first",
  SOURCE_TOO_LARGE: "use a smaller file",
  SOURCE_EMPTY: "check the path; a kernel or initrd has at least one byte",

  // device trees
  DEVICE_TREE_MALFORMED: "give a complete device tree (.dtb), as dtc writes it",
  DEVICE_TREE_UNSUPPORTED_VERSION: "compile the device tree again with a current dtc",
  DEVICE_TREE_CHOSEN: "give an initrd range with start <= end, and less data",
  DEVICE_TREE_TOO_LARGE: "give a device tree of at most 2 MiB",
  DEVICE_TREE_MISSING: "give the machine's device tree (deviceTree, or --dtb)",
  ARCHITECTURE_MISMATCH: "give a kernel for that architecture, or start this one's machine",
  DEVICE_TREE_MEMORY: "give the size that the device tree has, or a tree for this machine",
  OPTION_NOT_FOR_ARCHITECTURE: "leave the option out",

  // x86: what the kernel is told, beyond OpenVMM
  E820_INVALID_ENTRY: "give start <= end and an ACPI type, in a reservation none of RAM (1)",
  E820_OVERLAP: "give each byte one type",
  BOOT_PARAMS_NOT_SUPPORTED: "place everything below 4 GiB and use no setup_data, or give a newer kernel",
  BOOT_PARAMS_BAD_ADDRESS: "use an address above 0",
  BOOT_PARAMS_BAD_E820: "give the 4096 bytes of boot_params",
  SETUP_DATA_INVALID: "give a shorter rngSeed",
  PROTECTED_MODE_ADDRESS_TOO_HIGH: "place it, or link the kernel, below 4 GiB",
  PVH_BAD_MEMORY_MAP: "use fewer RAM ranges and reservations: at most 128 entries",

  // bzImage, zboot and ELF notes
  BZIMAGE_TRUNCATED: "check that the file is complete",
  BZIMAGE_BAD_BOOT_FLAG: "give arch/x86/boot/bzImage (vmlinuz)",
  BZIMAGE_BAD_MAGIC: "give arch/x86/boot/bzImage (vmlinuz), not another boot sector",
  BZIMAGE_BAD_VERSION: "check that the file is not damaged, or give a bzImage",
  BZIMAGE_BAD_HEADER_LENGTH: "check that the file is not damaged",
  BZIMAGE_NOT_LOADED_HIGH: "build a bzImage",
  BZIMAGE_UNKNOWN_LENGTH: "give its bytes, or a source that knows its length",
  BZIMAGE_NO_KERNEL: "check that the file is not damaged",
  BZIMAGE_BAD_PAYLOAD: "check that the file is not damaged",
  ZBOOT_TRUNCATED: "check that the file is complete",
  ZBOOT_BAD_MAGIC: "give an EFI zboot image, vmlinuz.efi in arch/arm64/boot",
  ZBOOT_BAD_COMPRESSION_NAME: "check that the file is not damaged",
  ZBOOT_BAD_PAYLOAD: "check that the file is not damaged",
  ELF_BAD_NOTE: "start the kernel by its own entry point, or give one whose notes are whole",
  NO_KERNEL_INSIDE: "give a bzImage, an EFI zboot image, an ELF or an arm64 Image, also compressed",

  // placement
  PLACEMENT_NO_ROOM: "give the guest more RAM, or choose the address yourself",
  BZIMAGE_BAD_ALIGNMENT: "check that the file is an unmodified bzImage",
  BZIMAGE_BAD_LOAD_ADDRESS: "leave the address out, or choose one that the kernel's header allows",
  X86_ENTRY_NOT_AVAILABLE: "leave the entry out, or give a kernel that has it",
  OPTION_NOT_FOR_KERNEL: "leave the option out",
  INITRD_TOO_HIGH: "leave the initrd's address out, or choose a lower one",
  ACPI_TOO_LONG: "check that the right file was given",
  COMMAND_LINE_TOO_LONG: "shorten the command line",
  ELF_SEGMENTS_OVERLAP: "check that the file is an unmodified kernel",

  // sources that arrive, and compressed ones
  SOURCE_LENGTH_UNKNOWN: "declare the length, or read the stream whole first",
  SOURCE_SPOOL_LIMIT: "raise spoolLimit, or read the stream whole first",
  SOURCE_CONSUMED: "use a new stream for each load, or read it whole first",
  DECOMPRESS_UNSUPPORTED: "decompress the file first, or use a runtime with a decompressor for it",
  DECOMPRESS_CORRUPT: "check that the file is complete and unmodified",
  DECOMPRESS_TOO_LARGE: "raise maxDecompressedSize, if you trust the file",

  // decoders
  DECOMPRESS_TRUNCATED: "check that the file is complete",
  DECOMPRESS_CHECKSUM: "check that the file is the original one and complete",
  DECOMPRESS_WRONG_SIZE: "check that the file is the original one and complete",
  DECOMPRESS_TRAILING_DATA: "cut the file there; a device tree is a file of its own",

  // v86
  V86_UNSUPPORTED: "give a 32-bit x86 kernel, and no entry but the 32-bit one",
  V86_INTERNALS: "install the version of v86 that is named",
  V86_RUNNING: "make it with autostart: false, and run it when the load is done",
  V86_DOWNLOAD: "check wasm_path and the machine's images",

  // machines
  MACHINE_BAD_VALUE: "give a value within the limit that is named",
  MACHINE_DUPLICATE: "give each its own",
  MACHINE_OVERLAP: "move one of the two",
  MACHINE_NO_SUCH_INTERRUPT: "use a line that an interrupt controller of the machine has",
  MACHINE_INCOMPLETE: "add what is missing",
  MACHINE_TABLES_TOO_LARGE: "describe fewer devices, or leave more room",

  // plans
  PLAN_INVALID: "make plans with directboot's functions",
  PLAN_NOT_TRANSFERABLE: 'post the data of plan.toTransferable({ read: "here" })',
  PLAN_DOES_NOT_FIT_MEMORY: "give a memory with the plan's RAM, or plan for this one",
  ABORTED: "load again when it is wanted",

  // the command
  OUTPUT_FAILED: "check the path, its permissions and the free space",
  TOOL_MISSING: "install the package that is named",
  TOOL_FAILED: "see its output",
  GUEST_RESET: "see the guest's output",
} as const satisfies Record<string, string>;

/** The code of a {@link DirectBootError}: a string literal for each cause. */
export type DirectBootErrorCode = keyof typeof ERROR_CURES;

/**
 * `Error`, with a type that lets a subclass have `name` as an accessor. Setting it on the prototype instead would be a side
 * effect, which would keep this file in bundles that throw no DirectBootError.
 */
const PlatformError: new (message: string, options: ErrorOptions) => Omit<Error, "name"> = Error;

/** Frames between a parser and the caller of a load are more than V8's default of 10, most of them of generators. */
const STACK_FRAMES = 100;

/** Lets stack traces reach the caller's line until {@link restoreStacks}, which takes the result. */
export function deepenStacks(): number | undefined {
  const limit: unknown = Reflect.get(Error, "stackTraceLimit");
  // Other engines have no limit, and a host may freeze it or ask for no traces.
  if (typeof limit !== "number" || limit <= 0 || limit >= STACK_FRAMES) return undefined;
  return Reflect.set(Error, "stackTraceLimit", STACK_FRAMES) ? limit : undefined;
}

/** Restores what {@link deepenStacks} changed. */
export function restoreStacks(limit: number | undefined): void {
  if (limit !== undefined) Reflect.set(Error, "stackTraceLimit", limit);
}

/**
 * The only class of errors that directboot throws, besides `TypeError` for arguments of a wrong type.
 *
 * `code` says which cause it was; `message` names the value, the limit and the cure; `cause` is the error
 * underneath, where there is one (a file system error, or what a foreign importer threw).
 *
 * @example
 * ```ts
 * import { DirectBootError, loadLinuxSync } from "directboot";
 *
 * try {
 *   loadLinuxSync({ kernel: "vmlinuz", initrd: "initrd.img", addresses: { initrd: 0x200_0001 }, memory: 1 << 28 });
 * } catch (error) {
 *   if (!(error instanceof DirectBootError)) throw error;
 *   console.log(error.code); // UNALIGNED_ADDRESS
 * }
 * ```
 */
export class DirectBootError extends PlatformError {
  /** Which cause it was. All of them: [docs/errors.md](../../docs/errors.md). */
  readonly code: DirectBootErrorCode;
  // Private: who prints an error prints its properties, and the message has both.
  readonly #details: string;
  readonly #cure: string;

  /**
   * @param code one cause of ERROR_CODES
   * @param details the value and the limit, in words; the cure of the code is added
   */
  constructor(code: DirectBootErrorCode, details: string, options?: { cause?: unknown; cure?: string }) {
    const cure = options?.cure ?? ERROR_CURES[code];
    const limit = deepenStacks();
    super(`${details}; ${cure}`, options !== undefined && "cause" in options ? { cause: options.cause } : {});
    restoreStacks(limit);
    this.code = code;
    this.#details = details;
    this.#cure = cure;
  }

  /** Advice to the caller: the end of the message. */
  get cure(): string {
    return this.#cure;
  }

  /** The message without the cure. */
  get details(): string {
    return this.#details;
  }

  /** "DirectBootError": on the prototype, as with the platform's own errors. */
  get name(): string {
    return "DirectBootError";
  }
}
