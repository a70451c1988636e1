/** The options of loadLinux and planLinux. */
import type { Arm64Options } from "../arm64/options.js";
import type { AddressLike } from "../base/address.js";
import type { GuestMemoryImporterOptions } from "../importers/guest-memory-importer.js";
import type { ImageLoad } from "../importers/importer.js";
import type { ApplyOptions, ApplySyncOptions } from "../plan/apply.js";
import type { GuestArchitecture, GuestOptions } from "../plan/planned-guest.js";
import type { AsyncByteInput, ByteInput } from "../sources/source.js";
import type { Decoders } from "../unpack/unpacking.js";
import type { X86Addresses, X86Options } from "../x86/options.js";

/** The options that planning and loading share; `Input` is the type of byte inputs. */
export interface LinuxOptionsOf<Input> extends GuestOptions, X86Options<Input>, Arm64Options {
  /**
   * A kernel as it is distributed: an ELF (vmlinux), a bzImage (vmlinuz), an arm64 Image, an EFI zboot image; ELF, bzImage
   * and Image also gzipped.
   */
  readonly kernel: Input;
  /** The architecture that the kernel must be for; by default any. An i386 kernel is not one for "x86_64". */
  readonly architecture?: GuestArchitecture | undefined;
  /** Where things go; by default each finds its own place. arm64: `initrd` only. */
  readonly addresses?: X86Addresses | undefined;
  /** One archive or several, which are put one behind the other, each at a multiple of 4 bytes. */
  readonly initrd?: Input | readonly Input[] | undefined;
  /**
   * arm64: the machine's flattened device tree, which such a guest must have. Its /chosen gets the command line and the
   * initrd's place. x86: handed to the kernel as it is, in setup_data.
   */
  readonly deviceTree?: Input | undefined;
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

/** Options of {@link planLinuxSync}. */
export interface PlanLinuxSyncOptions extends LinuxOptionsOf<ByteInput>, ApplySyncOptions {}

/** Options of {@link planLinux}: bytes may also come from Blobs, Responses and streams. */
export interface PlanLinuxOptions extends LinuxOptionsOf<AsyncByteInput>, ApplyOptions {}

/** Options of {@link loadLinuxSync}. */
export interface LoadLinuxSyncOptions extends PlanLinuxSyncOptions, GuestMemoryImporterOptions {}

/** Options of {@link loadLinux}: bytes may also come from Blobs, Responses and streams. */
export interface LoadLinuxOptions extends PlanLinuxOptions, GuestMemoryImporterOptions {}

/** A host that takes pages and registers itself, in place of a memory. */
export interface ImporterOption {
  /** Gets the pages and registers, in the order of the plan. */
  readonly importer: ImageLoad;
}

/** Options of {@link loadLinuxSync} with an importer. */
export interface ImportLinuxSyncOptions extends PlanLinuxSyncOptions, ImporterOption {}

/** Options of {@link loadLinux} with an importer. */
export interface ImportLinuxOptions extends PlanLinuxOptions, ImporterOption {}
