/** What callers of loadLinux and planLinux say. */
import type { AddressLike } from "../base/address.js";
import type { ImageLoad } from "../importers/importer.js";
import type { GuestBuffer, GuestMemory, MemoryBankInput } from "../memory/guest-memory.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { InitrdAddressType } from "../plan/initrd.js";
import type { AsyncByteInput, ByteInput } from "../sources/source.js";
import type { Decoders } from "../unpack/decoding.js";
import type { E820Entry } from "../x86/e820.js";
import type { X86Addresses } from "../x86/low-memory-map.js";

/** A guest's memory: bytes of RAM, a layout, a memory made before, or a buffer of the caller's. */
export type MemoryInput =
  | AddressLike
  | MemoryLayout
  | GuestMemory
  | GuestBuffer
  | { readonly buffer: GuestBuffer; readonly banks: readonly MemoryBankInput[] };

/** How an x86 kernel is entered: by the 64-bit or the 32-bit boot protocol, or by PVH. */
export type X86Entry = "64" | "32" | "pvh";

/** What an arm64 guest can do that is not asked of every machine (booting.rst, "Call the kernel image"). */
export interface Arm64Allowances {
  /** Kernel page sizes that the guest's CPU has; `["4KiB"]` by default. "unspecified" is what kernels before 4.6 say. */
  readonly pageSizes?: readonly ("unspecified" | "4KiB" | "16KiB" | "64KiB")[] | undefined;
  /** Take kernels that must lie at the start of RAM, and put them there; false by default. */
  readonly lowPlacement?: boolean | undefined;
}

/** Options of {@link planLinux} and {@link loadLinux}; `Input` is what bytes may come from. */
export interface LinuxOptionsOf<Input> {
  /**
   * A kernel as it is distributed: an ELF (vmlinux), a bzImage (vmlinuz), an arm64 Image, an EFI zboot image; ELF, bzImage
   * and Image also gzipped.
   */
  readonly kernel: Input;
  /** One archive or several, which are put one behind the other, each at a multiple of 4 bytes. */
  readonly initrd?: Input | readonly Input[] | undefined;
  /** "AfterKernel" by default: the next 2 MiB boundary with room for it; or a page-aligned address. */
  readonly initrdAddress?: InitrdAddressType | undefined;
  /** Text (UTF-8) or bytes, without NUL; x86: empty by default; arm64: what the device tree has by default. */
  readonly commandLine?: string | Uint8Array | undefined;
  /**
   * RAM: a number of bytes, a layout, a guest memory, or a buffer. On x86 up to 3 GiB is one range from 0, more is
   * [0, 3 GiB) and [4 GiB, …). On arm64 a size or a whole buffer starts where the device tree's first /memory range
   * does, without a tree at 0x40000000. With an `importer`: a number or a layout.
   */
  readonly memory: MemoryInput;
  /**
   * arm64: the machine's flattened device tree. Its /chosen gets the command line and the initrd's place. x86: handed
   * to the kernel as it is, in setup_data.
   */
  readonly deviceTree?: Input | undefined;
  /** x86: RSDP and tables; zero pages by default: Linux then finds no ACPI and uses the PIC. */
  readonly acpi?: { readonly rdsp: Input; readonly tables: Input } | undefined;
  /** x86: the entry; the kernel's 64-bit entry by default, the 32-bit one of a 32-bit kernel. */
  readonly entry?: X86Entry | undefined;
  /** x86: where things go; what is left out is placed by the low-memory map. */
  readonly addresses?: X86Addresses | undefined;
  /** x86: ranges that the guest must not use as RAM; nothing is placed in them. */
  readonly reservations?: readonly E820Entry[] | undefined;
  /** x86: bytes for the guest's random number generator, in setup_data; none by default. */
  readonly rngSeed?: Uint8Array | undefined;
  /** x86: "variable" (default) sets the variable MTRRs for the layout, too; "fixed-only" what the seeds set. */
  readonly mtrrs?: "variable" | "fixed-only" | undefined;
  /** x86: physical address bits of the guest's CPU, for the MTRR masks; 40 by default. */
  readonly physicalAddressWidth?: number | undefined;
  /** arm64: kernels that are taken although not every machine can start them. */
  readonly arm64?: Arm64Allowances | undefined;
  /** Bytes of a stream that are kept at most for reading them again; 64 MiB by default. */
  readonly spoolLimit?: number | undefined;
  /** Most bytes that compressed input may have when it is unpacked; the size of guest RAM by default. */
  readonly maxDecompressedSize?: AddressLike | undefined;
  /**
   * Who decompresses the kernel in a bzImage: "host" before the guest starts, which is much faster where the guest is
   * emulated, or "guest". By default the host, where it can; else the guest.
   */
  readonly decompress?: "host" | "guest" | undefined;
  /**
   * Where a compressed arm64 Image is unpacked: straight in guest memory (default), where memory that directboot has made
   * allows it, or in a buffer first. Data that is corrupt midway leaves touched memory zero, the buffer leaves it as it was.
   */
  readonly decompressInto?: "memory" | "buffer" | undefined;
  /** Decompress the initrd, too, and hand the guest the plain archive; false by default. */
  readonly decompressInitrd?: boolean | undefined;
  /**
   * `import * as decoders from "directboot/decoders"`: what the synchronous functions decompress with. The asynchronous
   * ones load them when they need them.
   */
  readonly decoders?: Decoders | undefined;
}

/** Options of {@link planLinuxSync} and {@link loadLinuxSync}. */
export type LinuxSyncOptions = LinuxOptionsOf<ByteInput>;

/** Options of {@link planLinux} and {@link loadLinux}: bytes may also come from Blobs, Responses and streams. */
export type LinuxOptions = LinuxOptionsOf<AsyncByteInput>;

/** A host that takes pages and registers itself, in place of a memory. */
export interface ImporterOption {
  /** Gets the pages and registers, in the order of the plan. */
  readonly importer: ImageLoad;
}

/** Options that are opened as sources. */
export interface LinuxSources<T> {
  readonly kernel: T;
  /** All archives in one. */
  readonly initrd: T | undefined;
  readonly deviceTree: T | undefined;
  readonly acpi: { readonly rdsp: T; readonly tables: T } | undefined;
}
