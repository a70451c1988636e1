/**
 * x86: what a kernel needs to be entered by the 64-bit boot protocol, the 32-bit one or PVH. Where things go is drawn in
 * x86-map.ts.
 */
import {
  ADDRESS_LIMIT,
  type AddressLike,
  addAddresses,
  alignUpTo1GbPageSize,
  checkAddressAlignment,
  hex,
  hexRange,
  PAGE_BYTES,
  pagesOf,
  toAddress,
} from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { checkDeviceTree } from "../firmware/device-tree.js";
import { readTree } from "../firmware/device-tree-file.js";
import { type BzImage, readBzImage, XLF_CAN_BE_LOADED_ABOVE_4G, XLF_KERNEL_64 } from "../images/bzimage.js";
import { type ElfImage, EM_386, EM_X86_64, readElf, readElf32 } from "../images/elf.js";
import { findPvhEntry } from "../images/elf-notes.js";
import type { X86Register } from "../importers/importer.js";
import { resolveMemory } from "../memory/memory-input.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { checkCommandLineLength, commandLineBytes } from "../plan/command-line.js";
import { LoadInfo } from "../plan/load-info.js";
import type { Wish } from "../plan/packing.js";
import { Placement, pagesAround } from "../plan/placement.js";
import { PlanBuilder } from "../plan/plan.js";
import type {
  EntryMode,
  GuestArchitecture,
  GuestOptions,
  GuestSources,
  PlannedGuest,
} from "../plan/planned-guest.js";
import { planKernelElf } from "../plan/static-elf.js";
import { readBytes } from "../sources/reading.js";
import { knownLength, type Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { BOOT_PARAMS_BYTES, buildBootParams } from "./boot-params.js";
import { placeBzImage, wishesOfBzImage } from "./bzimage-boot.js";
import { buildE820Map, E820_ACPI, type E820Entry, encodeE820Entries } from "./e820.js";
import { DEFAULT_GDT_SIZE, planDefaultGdt } from "./gdt.js";
import {
  ACPI_TABLES_ADDRESS,
  FOUR_GIB,
  KERNEL_MINIMUM_START_ADDRESS,
  RSDP_ADDRESS,
} from "./low-memory-map.js";
import { computeVariableMtrrs } from "./mtrr.js";
import { planLongModeRegisters } from "./openvmm.js";
import type { X86Addresses, X86Entry, X86Options } from "./options.js";
import { PageTableBuilder, toIdentityMap } from "./page-table.js";
import {
  type FreeParts,
  type LowName,
  type NamedLowRequest,
  type PlacedKernel,
  placeFreely,
} from "./placement.js";
import {
  PROTECTED_MODE_GDT_SIZE,
  planProtectedModeGdt,
  planProtectedModeRegisters,
} from "./protected-mode.js";
import { buildHvmStartInfo, planPvhRegisters } from "./pvh.js";
import { LOW_MMIO_GAP, x86LayoutOfSize } from "./ram-layout.js";
import {
  buildSetupData,
  SETUP_DTB,
  SETUP_E820_EXT,
  SETUP_RNG_SEED,
  type SetupDataNode,
  splitE820,
} from "./setup-data.js";

/** Physical address bits of QEMU's CPU models under emulation (its default, phys-bits=40). */
const PHYSICAL_ADDRESS_WIDTH = 40;
/** COMMAND_LINE_SIZE - 1 (arch/x86/include/asm/setup.h): what a kernel without a setup header takes. */
const ELF_COMMAND_LINE_BYTES = 2047;
/** MAXMEM of a 32-bit kernel with the usual split, less 1: what every such bzImage has as initrd_addr_max. */
const I386_INITRD_ADDRESS_MAX = 0x37ff_ffffn;
/** What a 64-bit kernel maps when it reads a PVH start info (arch/x86/platform/pvh/head.S). */
const PVH_START_INFO_BELOW = 0x4000_0000n;
/** Most bytes of an RSDP or of tables that are read: what lies between 0xe0000 and 1 MiB, many times over. */
const MOST_ACPI_BYTES = 16 * 1024 * 1024;
/** 64 TiB: one past the highest address that the 64-bit entry's page tables are made for. */
const MOST_MAPPED = 0x4000_0000_0000n;

type X86PlannerOptions = GuestOptions & X86Options<unknown>;

/** What an x86 kernel is, and how it will be entered. */
type X86Kernel = { readonly entry: X86Entry; readonly architecture: GuestArchitecture } & (
  | {
      readonly format: "elf";
      readonly elf: ElfImage;
      readonly pvhEntry: bigint | undefined;
      /** The header of the bzImage that it was taken out of. */
      readonly image: BzImage | undefined;
    }
  | { readonly format: "bzImage"; readonly image: BzImage }
);

/** What {@link planX86} made. */
export interface X86Plan {
  readonly builder: PlanBuilder<X86Register>;
  readonly info: LoadInfo;
  readonly architecture: GuestArchitecture;
  readonly entryMode: EntryMode;
}

function notAvailable(source: Source, entry: X86Entry, has: string): DirectBootError {
  return new DirectBootError(
    "X86_ENTRY_NOT_AVAILABLE",
    `${source.name}: entry ${entry} was asked for, the kernel has ${has}`,
  );
}

/** Reads the kernel's headers and chooses its entry. Throws X86_ENTRY_NOT_AVAILABLE and what the parsers throw. */
function* readKernel(
  source: Source,
  format: "elf64" | "elf32" | "bzImage",
  asked: X86Entry | undefined,
  bzImage: BzImage | undefined,
): Task<X86Kernel> {
  if (asked !== undefined && asked !== "64" && asked !== "32" && asked !== "pvh") {
    throw new TypeError(`entry must be "64", "32" or "pvh", got ${describeType(asked)}`);
  }
  if (format === "bzImage") {
    const image = yield* readBzImage(source);
    const has64 = (image.xloadflags & XLF_KERNEL_64) !== 0;
    const entry = asked ?? (has64 ? "64" : "32");
    if (entry === "pvh" || (entry === "64" && !has64)) {
      throw notAvailable(
        source,
        entry,
        has64 ? "a 64-bit and a 32-bit one; PVH is an ELF's" : "a 32-bit one",
      );
    }
    return { format, entry, image, architecture: has64 ? "x86_64" : "i386" };
  }
  const is64 = format === "elf64";
  const elf = yield* is64 ? readElf(source, EM_X86_64) : readElf32(source, EM_386);
  const entry = asked ?? (is64 ? "64" : "32");
  if (entry !== "pvh" && entry !== (is64 ? "64" : "32")) {
    throw notAvailable(source, entry, is64 ? "the 64-bit one of an ELF64" : "the 32-bit one of an ELF32");
  }
  const pvhEntry = entry === "pvh" ? yield* findPvhEntry(source, elf) : undefined;
  if (entry === "pvh" && pvhEntry === undefined) {
    throw notAvailable(source, entry, "no PVH note (CONFIG_PVH)");
  }
  return { format: "elf", entry, elf, pvhEntry, image: bzImage, architecture: is64 ? "x86_64" : "i386" };
}

const KERNEL_TAG = "linux-kernel";
const INITRD_TAG = "linux-initrd";
const TABLES_TAG = "linux-pagetables";

/** Plans an ELF kernel, which lies where it is linked, and takes its place. */
function* planElf(
  builder: PlanBuilder<X86Register>,
  placement: Placement,
  source: Source,
  kernel: X86Kernel & { readonly format: "elf" },
): Task<PlacedKernel> {
  const elf = yield* planKernelElf(builder, source, kernel.elf, {
    startAddress: KERNEL_MINIMUM_START_ADDRESS,
    tag: KERNEL_TAG,
  });
  const gpa = elf.minimumAddressUsed;
  const size = elf.nextAvailableAddress - gpa;
  const entrypoint = kernel.pvhEntry ?? elf.entrypoint;
  if (gpa + size > FOUR_GIB || entrypoint < gpa || entrypoint >= gpa + size) {
    throw new DirectBootError(
      "X86_ENTRY_NOT_MAPPED",
      `${source.name}: entry ${hex(entrypoint)}, kernel ${hexRange(gpa, gpa + size)}, mapped are 0x0-${hex(FOUR_GIB)}`,
    );
  }
  // Gaps between segments stay free for nobody: the kernel may use them before it knows its memory map.
  placement.take(gpa, size, KERNEL_TAG);
  placement.layout.checkIsRam(new MemoryRange(gpa, gpa + size), KERNEL_TAG);
  return { info: { gpa, size, entrypoint }, end: gpa + size };
}

/** Places a bzImage: at `address`, or where it wants to be, or where there is room. */
function takeBzImage(
  placement: Placement,
  image: BzImage,
  entry: "64" | "32",
  address: bigint | undefined,
): PlacedKernel {
  const { loadAddress, end, entry32, entry64 } = placeBzImage(placement, image, entry, address, KERNEL_TAG);
  const size = BigInt(pagesOf(image.protectedModeLength) * PAGE_BYTES);
  return { info: { gpa: loadAddress, size, entrypoint: entry === "64" ? entry64 : entry32 }, end };
}

/** One past the highest address that the initrd may have a byte at. */
function initrdLimit(kernel: X86Kernel): bigint | undefined {
  if (kernel.entry === "pvh" && kernel.architecture === "x86_64") return FOUR_GIB;
  if (kernel.image === undefined) {
    return kernel.architecture === "i386" ? I386_INITRD_ADDRESS_MAX + 1n : undefined;
  }
  const { xloadflags, initrdAddrMax } = kernel.image;
  const isFree = kernel.entry === "64" && (xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0;
  return isFree ? undefined : BigInt(initrdAddrMax) + 1n;
}

/** Takes the place that the caller has chosen for the initrd. */
function takeInitrd(
  placement: Placement,
  size: bigint,
  limit: bigint | undefined,
  wanted: AddressLike,
): { gpa: bigint; size: bigint } {
  const gpa = toAddress(wanted, "addresses.initrd");
  checkAddressAlignment(gpa, "initrd address");
  const end = addAddresses(gpa, size, "end of the initrd");
  if (limit !== undefined && end > limit) {
    throw new DirectBootError(
      "INITRD_TOO_HIGH",
      `the initrd at ${hexRange(gpa, end)} passes ${hex(limit)}, which this kernel and entry allow`,
    );
  }
  placement.take(gpa, size, INITRD_TAG);
  return { gpa, size };
}

/** All of a small source. Throws SOURCE_EMPTY without a byte, ACPI_TOO_LONG above 16 MiB. */
function* readTables(source: Source): Task<Uint8Array> {
  const length = knownLength(source);
  if (length > MOST_ACPI_BYTES) {
    throw new DirectBootError(
      "ACPI_TOO_LONG",
      `${source.name} has ${length} bytes, the limit is ${MOST_ACPI_BYTES}`,
    );
  }
  if (length === 0) {
    throw new DirectBootError("SOURCE_EMPTY", `${source.name} has 0 bytes`, {
      cure: "leave acpi out, or give the RSDP and the tables",
    });
  }
  return (yield* readBytes(source, 0, length)).slice();
}

/** The command line's bytes. Throws COMMAND_LINE_NUL, COMMAND_LINE_TOO_LONG. */
function checkCommandLine(options: X86PlannerOptions, kernel: X86Kernel): Uint8Array {
  const text = commandLineBytes(options.commandLine ?? "");
  const longest = kernel.image?.cmdlineSize ?? ELF_COMMAND_LINE_BYTES;
  checkCommandLineLength(text, longest);
  return text;
}

/** Plans an x86 guest in the memory that the caller means. */
export function* planX86Guest(
  options: X86PlannerOptions,
  sources: GuestSources,
  format: "elf64" | "elf32" | "bzImage",
  bzImage: BzImage | undefined,
): Task<PlannedGuest> {
  const { layout, memory } = resolveMemory(options.memory, x86LayoutOfSize);
  const { builder: plan, ...planned } = yield* planX86(options, layout, sources, format, bzImage);
  return { plan, layout, memory, ...planned };
}

/** Plans an x86 kernel and all that its entry needs. */
function* planX86(
  options: X86PlannerOptions,
  layout: MemoryLayout,
  sources: GuestSources,
  format: "elf64" | "elf32" | "bzImage",
  bzImage: BzImage | undefined,
): Task<X86Plan> {
  const { addresses = {} } = options;
  const kernel = yield* readKernel(sources.kernel, format, options.entry, bzImage);
  const { architecture, entry } = kernel;
  const text = checkCommandLine(options, kernel);
  const builder = new PlanBuilder<X86Register>();
  const placement = new Placement(layout);

  // First what has one place only: reservations, ACPI, what the caller has chosen; then the kernel, then the rest.
  const reservations = options.reservations ?? [];
  const rsdp = sources.acpi === undefined ? new Uint8Array(0) : yield* readTables(sources.acpi.rsdp);
  const tables =
    sources.acpi === undefined ? new Uint8Array(PAGE_BYTES) : yield* readTables(sources.acpi.tables);
  if (rsdp.byteLength > PAGE_BYTES) {
    throw new DirectBootError(
      "ACPI_RSDP_TOO_LONG",
      `the RSDP has ${rsdp.byteLength} bytes, its page has 4096`,
    );
  }
  // What the map is made of is checked before anything is computed from it.
  buildE820Map(layout, reservations);
  const isUsable = (address: bigint, byteLength: bigint): boolean =>
    layout.isRam(new MemoryRange(address, address + byteLength)) &&
    !reservations.some(({ start, end }) => start < address + byteLength && address < end);
  const acpiRanges: E820Entry[] = [];
  const acpiAt = (
    name: "rsdp" | "acpiTables",
    tag: string,
    byteLength: bigint,
    usual: bigint,
  ): bigint | undefined => {
    const address = chosen(addresses[name], name);
    // Zero pages in place of tables keep what memory held from the kernel's search; they are not worth a refusal.
    const isDispensable = address === undefined && sources.acpi === undefined;
    if (isDispensable && !isUsable(usual, byteLength)) return undefined;
    const start = address ?? usual;
    if (byteLength > 0n) layout.checkIsRam(pagesAround(start, byteLength, tag), tag);
    placement.take(start, byteLength, tag);
    acpiRanges.push({ start, end: start + byteLength, type: E820_ACPI });
    return start;
  };
  const rsdpAddress = acpiAt("rsdp", "linux-rdsp", BigInt(PAGE_BYTES), RSDP_ADDRESS);
  const tablesAddress = acpiAt(
    "acpiTables",
    "linux-acpi-tables",
    BigInt(pagesOf(tables.byteLength) * PAGE_BYTES),
    ACPI_TABLES_ADDRESS,
  );
  placement.takeAll(reservations, "reservation");
  const e820 = buildE820Map(layout, [...acpiRanges, ...reservations]);

  const nodes: SetupDataNode[] = [];
  const { extended } = splitE820(e820);
  if (entry !== "pvh" && extended.length > 0) {
    nodes.push({ type: SETUP_E820_EXT, data: encodeE820Entries(extended) });
  }
  if (sources.deviceTree !== undefined) {
    const tree = yield* readTree(sources.deviceTree);
    checkDeviceTree(tree);
    nodes.push({ type: SETUP_DTB, data: tree });
  }
  if (options.rngSeed !== undefined) nodes.push({ type: SETUP_RNG_SEED, data: options.rngSeed });
  if (entry === "pvh" && nodes.length > 0) {
    throw new DirectBootError(
      "OPTION_NOT_FOR_KERNEL",
      "deviceTree and rngSeed go by setup_data, which PVH does not have",
    );
  }

  const isLong = entry === "64";
  const chosenLows: { [name in LowName]?: bigint } = {};
  const lows: NamedLowRequest[] = [];
  const low = (name: LowName, tag: string, byteLength: bigint): void => {
    const address = chosen(addresses[name], name);
    if (address === undefined) {
      lows.push({ name, tag, byteLength, below: entry === "pvh" ? PVH_START_INFO_BELOW : FOUR_GIB });
    } else {
      placement.take(address, byteLength, tag);
      chosenLows[name] = address;
    }
  };
  low("gdt", isLong ? "default-gdt" : "linux-gdt32", isLong ? DEFAULT_GDT_SIZE : PROTECTED_MODE_GDT_SIZE);
  low("zeroPage", entry === "pvh" ? "linux-start-info" : "linux-zeropage", BigInt(BOOT_PARAMS_BYTES));
  // Without a command line nothing lies there, and Linux must not read what does: it takes 0 for none.
  if (text.byteLength > 0) low("commandLine", "linux-commandline", BigInt(text.byteLength + 1));
  // The size of a list does not depend on where it lies.
  const setupDataBytes = nodes.length === 0 ? 0 : buildSetupData(8n, nodes).byteLength;
  if (nodes.length > 0) low("setupData", "linux-setup-data", BigInt(setupDataBytes));

  let initrd: LoadInfo["initrd"];
  let initrdWish: Wish | undefined;
  if (sources.initrd !== undefined) {
    const size = BigInt(knownLength(sources.initrd));
    const limit = initrdLimit(kernel);
    if (addresses.initrd === undefined) {
      const window = { from: KERNEL_MINIMUM_START_ADDRESS, below: limit ?? ADDRESS_LIMIT };
      initrdWish = { tag: INITRD_TAG, byteLength: size, windows: [window] };
    } else {
      initrd = takeInitrd(placement, size, limit, addresses.initrd);
    }
  }

  const kernelAddress = chosen(addresses.kernel, "kernel");
  if (kernelAddress !== undefined && kernel.format === "elf") {
    throw new DirectBootError(
      "OPTION_NOT_FOR_KERNEL",
      `addresses.kernel, but ${sources.kernel.name} is an ELF`,
    );
  }
  const tablesFor = (kernelEnd: bigint): PageTables =>
    pageTables(mappedEnd(kernelEnd, addresses, text.byteLength));
  // What they need if the kernel ends up below 4 GiB, or where the caller has put it.
  const chosenTables = isLong ? chosen(addresses.pageTables, "pageTables") : undefined;
  const leastTables = isLong ? tablesFor(kernelAddress ?? 0n).byteLength : 0n;
  if (chosenTables !== undefined) placement.take(chosenTables, leastTables, TABLES_TAG);

  let placeKernel: FreeParts["placeKernel"];
  let kernelWishes: readonly Wish[] = [];
  if (kernel.format === "elf") {
    const elf = yield* planElf(builder, placement, sources.kernel, kernel);
    placeKernel = () => elf;
  } else {
    const { image } = kernel;
    const protocol = isLong ? "64" : "32";
    placeKernel = (where, address = kernelAddress) => {
      const taken = takeBzImage(where, image, protocol, address);
      const more = isLong && chosenTables !== undefined ? tablesFor(taken.end).byteLength - leastTables : 0n;
      if (more > 0n) where.take((chosenTables ?? 0n) + leastTables, more, TABLES_TAG);
      return taken;
    };
    if (kernelAddress === undefined) kernelWishes = wishesOfBzImage(image, protocol, KERNEL_TAG);
  }
  const placed = placeFreely(placement, {
    placeKernel,
    kernelWishes,
    lows,
    pageTables: (kernelEnd) =>
      isLong && chosenTables === undefined
        ? { name: "pageTables", tag: TABLES_TAG, byteLength: tablesFor(kernelEnd).byteLength }
        : undefined,
    initrd: initrdWish,
  });
  const { info: kernelInfo, end: kernelEnd } = placed.kernel;
  const { gdt = 0n, zeroPage = 0n, commandLine = 0n, setupData } = { ...chosenLows, ...placed.lows };
  const pageTableAddress = chosenTables ?? placed.lows.pageTables;
  if (initrdWish !== undefined && placed.initrd !== undefined) {
    initrd = { gpa: placed.initrd, size: initrdWish.byteLength };
  }
  if (kernel.format === "bzImage") {
    const { protectedModeOffset, protectedModeLength } = kernel.image;
    builder.sourceRange(kernelInfo.gpa, KERNEL_TAG, sources.kernel, protectedModeOffset, protectedModeLength);
  }

  if (sources.initrd !== undefined && initrd !== undefined) {
    builder.wholeSource(initrd.gpa, INITRD_TAG, sources.initrd);
  }
  if (text.byteLength > 0) {
    const withNul = new Uint8Array(text.byteLength + 1);
    withNul.set(text);
    builder.bytes(commandLine, "linux-commandline", withNul);
  }
  if (isLong) planDefaultGdt(builder, gdt / BigInt(PAGE_BYTES));
  else planProtectedModeGdt(builder, gdt);
  if (pageTableAddress !== undefined) tablesFor(kernelEnd).plan(builder, pageTableAddress);
  if (rsdpAddress !== undefined) builder.bytes(rsdpAddress, "linux-rdsp", rsdp, 1);
  if (tablesAddress !== undefined) builder.bytes(tablesAddress, "linux-acpi-tables", tables);
  if (setupData !== undefined) {
    builder.bytes(setupData, "linux-setup-data", buildSetupData(setupData, nodes));
  }

  const acpiRsdpAddress = sources.acpi === undefined ? undefined : rsdpAddress;
  if (entry === "pvh") {
    const startInfo = buildHvmStartInfo(zeroPage, {
      commandLineAddress: text.byteLength === 0 ? undefined : commandLine,
      initrd: initrd === undefined ? undefined : { address: initrd.gpa, byteLength: initrd.size },
      acpiRsdpAddress,
      memoryMap: e820,
    });
    builder.bytes(zeroPage, "linux-start-info", startInfo, 1);
    planPvhRegisters(builder, { entry: kernelInfo.entrypoint, startInfo: zeroPage });
  } else {
    if (
      zeroPage >= FOUR_GIB &&
      kernel.image !== undefined &&
      (kernel.image.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) === 0
    ) {
      throw new DirectBootError(
        "BOOT_PARAMS_NOT_SUPPORTED",
        `boot_params lie at ${hex(zeroPage)}, and the kernel does not have XLF_CAN_BE_LOADED_ABOVE_4G`,
      );
    }
    const bootParams = buildBootParams({
      setupHeader: kernel.image?.header,
      e820,
      commandLine: { address: commandLine, byteLength: text.byteLength },
      initrd: initrd === undefined ? undefined : { address: initrd.gpa, byteLength: initrd.size },
      setupDataAddress: setupData,
      acpiRsdpAddress,
      // The field has 32 bits; the 64-bit entry does not look at it.
      code32Start: kernel.format === "bzImage" && kernelInfo.gpa < FOUR_GIB ? kernelInfo.gpa : undefined,
    });
    builder.bytes(zeroPage, "linux-zeropage", bootParams, 1);
    if (pageTableAddress === undefined) {
      planProtectedModeRegisters(builder, { entry: kernelInfo.entrypoint, bootParams: zeroPage });
    } else {
      planLongModeRegisters(builder, pageTableAddress, kernelInfo.entrypoint, zeroPage);
    }
  }
  planMtrrs(builder, options, layout);
  return {
    builder,
    info: new LoadInfo(kernelInfo, initrd, undefined),
    architecture,
    entryMode: isLong ? "long64" : "protected32",
  };
}

/** An address of the caller's choice. Throws UNALIGNED_ADDRESS. */
function chosen(address: AddressLike | undefined, name: string): bigint | undefined {
  if (address === undefined) return undefined;
  const found = toAddress(address, `addresses.${name}`);
  checkAddressAlignment(found, `addresses.${name}`);
  return found;
}

/** One past what must be mapped at the 64-bit entry (boot.rst, "64-bit Boot Protocol"), and the GDT. */
function mappedEnd(kernelEnd: bigint, addresses: X86Addresses, commandLineLength: number): bigint {
  const { gdt, zeroPage, commandLine } = addresses;
  const page = BigInt(PAGE_BYTES);
  return [
    (chosen(gdt, "gdt") ?? 0n) + page,
    (chosen(zeroPage, "zeroPage") ?? 0n) + page,
    commandLineLength === 0
      ? 0n
      : (chosen(commandLine, "commandLine") ?? 0n) + BigInt(pagesOf(commandLineLength + 1)) * page,
  ].reduce((most, end) => (end > most ? end : most), kernelEnd);
}

interface PageTables {
  readonly byteLength: bigint;
  readonly plan: (builder: PlanBuilder<X86Register>, address: bigint) => void;
}

/** Page tables that map all that the kernel must see at its 64-bit entry: the first 4 GiB, and what lies up to `end`. */
function pageTables(end: bigint): PageTables {
  if (end <= FOUR_GIB) {
    return {
      byteLength: BigInt(6 * PAGE_BYTES),
      plan: (builder, address) => {
        builder.identityMap(TABLES_TAG, toIdentityMap({ pageTableGpa: address }));
      },
    };
  }
  if (end > MOST_MAPPED) {
    throw new DirectBootError(
      "X86_ENTRY_NOT_MAPPED",
      `what the kernel must see ends at ${hex(end)}, page tables are made up to ${hex(MOST_MAPPED)}`,
    );
  }
  // 2 MiB pages: not every CPU has larger ones.
  const tablesAt = (address: bigint): PageTableBuilder =>
    new PageTableBuilder({
      pageTableGpa: address,
      ranges: [{ start: 0n, end: alignUpTo1GbPageSize(end) }],
      largestPage: "2MiB",
    });
  return {
    byteLength: BigInt(tablesAt(0n).byteLength),
    plan: (builder, address) => builder.bytes(address, TABLES_TAG, tablesAt(address).build()),
  };
}

function planMtrrs(
  builder: PlanBuilder<X86Register>,
  options: X86PlannerOptions,
  layout: MemoryLayout,
): void {
  const { mtrrs = "variable", physicalAddressWidth = PHYSICAL_ADDRESS_WIDTH } = options;
  if (mtrrs === "variable") {
    const registers = computeVariableMtrrs(layout, physicalAddressWidth, LOW_MMIO_GAP, MemoryRange.EMPTY);
    for (const register of registers) builder.register(register);
  } else if (mtrrs !== "fixed-only") {
    throw new TypeError(`mtrrs must be "variable" or "fixed-only", got ${describeType(mtrrs)}`);
  }
}
