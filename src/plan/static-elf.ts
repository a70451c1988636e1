/** `load_static_elf` of OpenVMM's loader: the PT_LOAD segments of an ELF at their physical addresses. */

import {
  ADDRESS_LIMIT,
  type AddressLike,
  addAddresses,
  HV_PAGE_SIZE,
  hex,
  toAddress,
} from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { named } from "../base/options.js";
import {
  type ElfImage,
  type ElfProgramHeader,
  EM_AARCH64,
  EM_X86_64,
  PT_LOAD,
  readElf,
} from "../images/elf.js";
import { loadedSegments } from "../images/kernel-elf.js";
import { checkFileRegion, type FileRegion } from "../importers/file-region.js";
import type { BootPageAcceptance, ImageLoad, VpRegister } from "../importers/importer.js";
import { checkByteInput, withSources } from "../sources/open.js";
import type { AsyncByteInput, ByteInput, Source } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { carryOut, checkImporter } from "./apply.js";
import { PlanBuilder } from "./plan.js";
import { planSegments } from "./segments.js";

/** Architectures of guests. */
export type Architecture = "x86_64" | "aarch64";

/** Where an ELF was loaded. `JSON.stringify` gives hex strings. */
export class ElfLoadInfo {
  /** Lowest page that a segment lies in. */
  readonly minimumAddressUsed: bigint;
  /** First page behind all segments. */
  readonly nextAvailableAddress: bigint;
  /** Guest physical address of the entry point. */
  readonly entrypoint: bigint;

  constructor(minimumAddressUsed: bigint, nextAvailableAddress: bigint, entrypoint: bigint) {
    this.minimumAddressUsed = minimumAddressUsed;
    this.nextAvailableAddress = nextAvailableAddress;
    this.entrypoint = entrypoint;
  }

  /** With hex strings. */
  toJSON(): { minimumAddressUsed: string; nextAvailableAddress: string; entrypoint: string } {
    return {
      minimumAddressUsed: hex(this.minimumAddressUsed),
      nextAvailableAddress: hex(this.nextAvailableAddress),
      entrypoint: hex(this.entrypoint),
    };
  }
}

const floorToPage = (address: bigint): bigint => address - (address % HV_PAGE_SIZE);

/**
 * Adds the PT_LOAD segments of `source` to a plan. The order of the checks is upstream's: header, program
 * headers, entry, the addresses of all segments, then each segment's region.
 */
export function* planStaticElf<R extends VpRegister>(
  builder: PlanBuilder<R>,
  source: Source,
  placement: StaticElfPlacement,
): Task<ElfLoadInfo> {
  const machine = placement.architecture === "x86_64" ? EM_X86_64 : EM_AARCH64;
  const { regions, info } = staticElf(source, yield* readElf(source, machine), placement);
  for (const region of regions) builder.fileRegion(region);
  return info;
}

/**
 * Adds the PT_LOAD segments of a kernel to a plan, as {@link planStaticElf} does, but segments that share a page become
 * one region there: the page's bytes are read while planning.
 *
 * @throws DirectBootError also ELF_SEGMENTS_OVERLAP if two of them have bytes for the same address
 */
export function* planKernelElf<R extends VpRegister>(
  builder: PlanBuilder<R>,
  source: Source,
  elf: ElfImage,
  tag: string,
): Task<ElfLoadInfo> {
  const loaded = { ...elf, programHeaders: loadedSegments(elf) };
  const { regions, info } = staticElf(source, loaded, {
    tag,
    startAddress: 0n,
    loadOffset: 0n,
    assumePic: false,
    acceptance: "Exclusive",
  });
  // Checked as they are, before anything of them is moved.
  for (const region of regions) checkFileRegion(region);
  yield* planSegments(builder, regions);
  return info;
}

/** How far the image is moved: a position-independent one at least to startAddress. */
function loadOffsetOf(
  name: string,
  segments: readonly ElfProgramHeader[],
  { loadOffset, assumePic, startAddress }: Omit<StaticElfPlacement, "architecture">,
): bigint {
  if (!assumePic || segments.length === 0) return loadOffset;
  const lowest = segments.reduce(
    (low, { physicalAddress }) => (physicalAddress < low ? physicalAddress : low),
    ADDRESS_LIMIT,
  );
  if (lowest >= startAddress) return loadOffset;
  const more = startAddress - lowest;
  return addAddresses(loadOffset, more, `${name}: load offset`, "ELF_LOAD_OFFSET_OVERFLOW");
}

/** The lowest page of all segments, and one past the last. */
function extentOf(
  name: string,
  segments: readonly ElfProgramHeader[],
  loadOffset: bigint,
  checkStart: (address: bigint) => void,
): { lowest: bigint; last: bigint } {
  let lowest = ADDRESS_LIMIT;
  let last = loadOffset;
  for (const { physicalAddress, memorySize } of segments) {
    const what = `${name}: segment address`;
    const address = addAddresses(physicalAddress, loadOffset, what, "ELF_LOAD_OFFSET_OVERFLOW");
    checkStart(address);
    const page = floorToPage(address);
    const pageCount = ((address % HV_PAGE_SIZE) + memorySize + HV_PAGE_SIZE - 1n) / HV_PAGE_SIZE;
    const end = page + pageCount * HV_PAGE_SIZE;
    if (end >= ADDRESS_LIMIT) {
      throw new DirectBootError(
        "REGION_OVERFLOW",
        `${name}: a segment of ${hex(memorySize)} bytes at ${hex(address)} passes 2^64`,
      );
    }
    if (page < lowest) lowest = page;
    if (end > last) last = end;
  }
  return { lowest, last };
}

/** The segments of an ELF as regions of its file, in the file's order, and where they lie. */
function staticElf(
  source: Source,
  elf: ElfImage,
  placement: Omit<StaticElfPlacement, "architecture">,
): { regions: readonly FileRegion[]; info: ElfLoadInfo } {
  const { startAddress, assumePic, acceptance, tag } = placement;
  const { name } = source;
  const segments = elf.programHeaders.filter(({ type }) => type === PT_LOAD);
  const loadOffset = loadOffsetOf(name, segments, placement);
  const entry = addAddresses(elf.entry, loadOffset, `${name}: entry address`, "ELF_INVALID_ENTRY_ADDRESS");
  if (entry < startAddress) {
    throw new DirectBootError(
      "ELF_INVALID_ENTRY_ADDRESS",
      `${name}: the entry address ${hex(entry)} lies below the start address ${hex(startAddress)}`,
    );
  }
  if (segments.length === 0) {
    throw new DirectBootError(
      "ELF_NO_LOADABLE_SEGMENT",
      `${name}: none of ${elf.programHeaders.length} program headers is a PT_LOAD`,
    );
  }
  const checkStart = (address: bigint): void => {
    if (address >= startAddress) return;
    throw new DirectBootError(
      "ELF_INVALID_PROGRAM_HEADER_MEMORY_OFFSET",
      `${name}: a segment at ${hex(address)} lies below the start address ${hex(startAddress)}`,
    );
  };
  const { lowest, last } = extentOf(name, segments, loadOffset, checkStart);
  const regions: FileRegion[] = [];
  const bias = assumePic ? lowest - startAddress : 0n;
  for (const { physicalAddress, memorySize, fileSize, offset } of segments) {
    const address = physicalAddress + loadOffset - bias;
    if (address < 0n) {
      throw new DirectBootError(
        "ELF_RELOC_BIAS_OVERFLOW",
        `${name}: a segment at ${hex(physicalAddress + loadOffset)} less the bias ${hex(bias)} is below 0`,
      );
    }
    checkStart(address);
    if (memorySize === 0n) continue;
    const file = { source, fileOffset: offset, fileLength: fileSize };
    regions.push({ ...file, gpa: address, memoryLength: memorySize, acceptance, tag });
  }
  return { regions, info: new ElfLoadInfo(lowest - bias, last - bias, entry - bias) };
}

/** Options of {@link loadStaticElf}. */
export interface StaticElfOptions<Input = ByteInput> {
  /** The ELF: bytes, a source, or in Node a path. */
  readonly image: Input;
  /** No segment and no entry may lie below; 0 by default. */
  readonly startAddress?: AddressLike;
  /** Added to every address; 0 by default. */
  readonly loadOffset?: AddressLike;
  /** The image is position-independent and moved to `startAddress`; false by default. */
  readonly assumePic?: boolean;
  /** "Exclusive" by default. */
  readonly acceptance?: BootPageAcceptance;
  /** Who the pages belong to; "elf" by default. */
  readonly tag?: string;
  /** The importer's architecture; "x86_64" by default. */
  readonly architecture?: Architecture;
}

const checkNames = /* @__PURE__ */ named(
  "image",
  "startAddress",
  "loadOffset",
  "assumePic",
  "acceptance",
  "tag",
  "architecture",
);

/** How an ELF is to be loaded; every address a u64. */
export interface StaticElfPlacement
  extends Omit<Required<StaticElfOptions>, "image" | "startAddress" | "loadOffset"> {
  readonly startAddress: bigint;
  readonly loadOffset: bigint;
}

/**
 * Loads the PT_LOAD segments of an ELF64 file at their physical addresses (OpenVMM's `load_static_elf`).
 *
 * @throws DirectBootError ELF_* and REGION_* before anything is imported; see applyPlanSync for the rest
 *
 * @example
 * ```ts
 * import { RecordingImporter } from "directboot";
 * import { loadStaticElf } from "directboot/loader";
 *
 * const { entrypoint } = loadStaticElf(new RecordingImporter(), {
 *   architecture: "x86_64",
 *   image: "vmlinux",
 *   startAddress: 0,
 *   loadOffset: 0x100_0000,
 *   tag: "monitor",
 * });
 * console.log(entrypoint.toString(16)); // 2000000
 * ```
 */
export function loadStaticElf<R extends VpRegister>(
  importer: ImageLoad<R>,
  options: StaticElfOptions,
): ElfLoadInfo {
  return runSync(load(importer, options));
}

/** The asynchronous {@link loadStaticElf}: the file may also come from a Blob, a Response or a stream. */
export function loadStaticElfAsync<R extends VpRegister>(
  importer: ImageLoad<R>,
  options: StaticElfOptions<AsyncByteInput>,
): Promise<ElfLoadInfo> {
  return runAsync(load(importer, options));
}

function* load<R extends VpRegister>(
  importer: ImageLoad<R>,
  options: StaticElfOptions<AsyncByteInput>,
): Task<ElfLoadInfo> {
  checkImporter(importer);
  checkNames(options, "");
  checkByteInput(options.image, "image");
  const placement = {
    architecture: options.architecture ?? "x86_64",
    startAddress: toAddress(options.startAddress ?? 0n, "startAddress"),
    loadOffset: toAddress(options.loadOffset ?? 0n, "loadOffset"),
    assumePic: options.assumePic ?? false,
    acceptance: options.acceptance ?? "Exclusive",
    tag: options.tag ?? "elf",
  } as const;
  return yield* withSources({ image: options.image }, function* ({ image }) {
    const builder = new PlanBuilder<R>();
    const info = yield* planStaticElf(builder, image, placement);
    yield* carryOut(builder, importer, {});
    return info;
  });
}
