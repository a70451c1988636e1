/** Input and output of the planners of all architectures. */
import type { AddressLike } from "../base/address.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import type { MemoryInput } from "../memory/memory-input.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import type { Source } from "../sources/source.js";
import type { Decompression } from "../unpack/kernel-file.js";
import type { LoadInfo } from "./load-info.js";
import type { LoadPlan } from "./plan.js";

/** In which state a kernel is entered: x86 long mode, x86 protected mode without paging, or an arm64 direct boot. */
export type EntryMode = "long64" | "protected32" | "aarch64";

/** The processor that a guest needs. An "i386" kernel runs on an x86-64 processor, too. */
export type GuestArchitecture = "x86_64" | "i386" | "aarch64";

/** Page-aligned guest physical addresses that a caller can choose for a guest of any architecture. */
export interface GuestAddresses {
  /** The initrd; by default the next 2 MiB boundary behind the kernel with room for it. */
  readonly initrd?: AddressLike | undefined;
}

/** Options that every planner knows. */
export interface GuestOptions {
  /** Text (UTF-8) or bytes, without NUL; x86: empty by default; arm64: what the device tree has by default. */
  readonly commandLine?: string | Uint8Array | undefined;
  /**
   * Bytes for the guest's random number generator, which is then seeded early in its start. x86: in setup_data, which PVH
   * lacks. arm64: in the device tree.
   */
  readonly rngSeed?: Uint8Array | undefined;
  /**
   * RAM: a number of bytes, a layout, a guest memory, or a buffer. On x86 up to 3 GiB is one range from 0, more is
   * [0, 3 GiB) and [4 GiB, …). On arm64 a size or a whole buffer starts where the device tree's first /memory range
   * does. With an `importer`: a number or a layout.
   */
  readonly memory: MemoryInput;
  /** Where things go; by default each finds its own place. */
  readonly addresses?: GuestAddresses | undefined;
}

/** What one guest of many has for itself: a plan takes another without looking at its files again. */
export type GuestText = Pick<GuestOptions, "commandLine" | "rngSeed">;

/** Options that are opened as sources. */
export interface GuestSources<T = Source> {
  readonly kernel: T;
  /** All archives in one. */
  readonly initrd: T | undefined;
  readonly deviceTree: T | undefined;
  readonly acpi: { readonly rsdp: T; readonly tables: T } | undefined;
}

/** A plan, for whom it is, and the guest memory that the caller gave, if any. */
export interface PlannedGuest {
  readonly plan: LoadPlan;
  readonly architecture: GuestArchitecture;
  readonly entryMode: EntryMode;
  readonly info: LoadInfo;
  readonly layout: MemoryLayout;
  readonly memory: GuestMemory | undefined;
  /** What is decompressed, where the planner has taken another form of the kernel than it was given. */
  readonly decompression?: Decompression | undefined;
  /** Plans the same guest with another command line and seed; throws what planning throws. */
  readonly with: (text: GuestText) => PlannedGuest;
}
