/**
 * x86: what a kernel needs to be entered by the 64-bit boot protocol, the 32-bit one or PVH. Where things go is drawn in
 * x86-map.ts.
 */
import {
  type AddressLike,
  addAddresses,
  alignUpTo1GbPageSize,
  checkAddressAlignment,
  hex,
  hexRange,
  LARGE_PAGE_SIZE,
  PAGE_BYTES,
  pagesOf,
  toAddress,
} from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { checkDeviceTree } from "../firmware/device-tree.js";
import { type BzImage, readBzImage, XLF_CAN_BE_LOADED_ABOVE_4G, XLF_KERNEL_64 } from "../images/bzimage.js";
import { type ElfImage, EM_386, EM_X86_64, readElf, readElf32 } from "../images/elf.js";
import { findPvhEntry } from "../images/elf-notes.js";
import type { X86Register } from "../importers/importer.js";
import { checkCommandLineLength, commandLineBytes } from "../loading/command-line.js";
import { LoadInfo } from "../loading/load-info.js";
import { Placement } from "../loading/placement.js";
import { planKernelElf } from "../loading/static-elf.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { PlanBuilder } from "../plan/plan.js";
import { type Reading, readBytes } from "../sources/reader.js";
import { knownLength, type Source } from "../sources/source.js";
import { BOOT_PARAMS_BYTES, buildBootParams } from "../x86/boot-params.js";
import { placeBzImage } from "../x86/bzimage-boot.js";
import { buildE820Map, E820_ACPI, type E820Entry, encodeE820Entries } from "../x86/e820.js";
import { DEFAULT_GDT_SIZE, planDefaultGdt } from "../x86/gdt.js";
import { planLongModeRegisters } from "../x86/linux.js";
import { computeVariableMtrrs } from "../x86/mtrr.js";
import { PageTableBuilder, toIdentityMap } from "../x86/page-table.js";
import {
  PROTECTED_MODE_GDT_SIZE,
  planProtectedModeGdt,
  planProtectedModeRegisters,
} from "../x86/protected-mode.js";
import { buildHvmStartInfo, planPvhRegisters } from "../x86/pvh.js";
import {
  buildSetupData,
  SETUP_DTB,
  SETUP_E820_EXT,
  SETUP_RNG_SEED,
  type SetupDataNode,
  splitE820,
} from "../x86/setup-data.js";
import { readTree } from "./device-tree-file.js";
import type { EntryMode, GuestArchitecture, PlannedGuest } from "./linux-plan.js";
import { LOW_MMIO_GAP, resolveMemory, x86LayoutOfSize } from "./memory.js";
import type { LinuxOptions, LinuxSources, X86Entry } from "./options.js";
import {
  ACPI_TABLES_ADDRESS,
  COMMAND_LINE_ADDRESS,
  FOUR_GIB,
  GDT_ADDRESS,
  KERNEL_MINIMUM_START_ADDRESS,
  PAGE_TABLE_ADDRESS,
  placeLow,
  RSDP_ADDRESS,
  SETUP_DATA_ADDRESS,
  type X86Addresses,
  ZERO_PAGE_ADDRESS,
} from "./x86-map.js";

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
): Reading<X86Kernel> {
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

/** The kernel, placed and planned. */
interface PlannedKernel {
  readonly info: LoadInfo["kernel"];
  /** One past all that it uses. */
  readonly end: bigint;
}

function* planKernel(
  builder: PlanBuilder<X86Register>,
  placement: Placement,
  source: Source,
  kernel: X86Kernel,
  address: bigint | undefined,
): Reading<PlannedKernel> {
  const tag = "linux-kernel";
  if (kernel.format === "bzImage") {
    const { image, entry } = kernel;
    const { loadAddress, end, entry32, entry64 } = placeBzImage(
      placement,
      image,
      entry === "64" ? "64" : "32",
      address,
      tag,
    );
    const pageCount = pagesOf(image.protectedModeLength);
    builder.sourceRange(loadAddress, tag, source, image.protectedModeOffset, image.protectedModeLength);
    const size = BigInt(pageCount * PAGE_BYTES);
    return { info: { gpa: loadAddress, size, entrypoint: entry === "64" ? entry64 : entry32 }, end };
  }
  if (address !== undefined) {
    throw new DirectBootError("OPTION_NOT_FOR_KERNEL", `addresses.kernel, but ${source.name} is an ELF`);
  }
  const elf = yield* planKernelElf(builder, source, kernel.elf, {
    startAddress: KERNEL_MINIMUM_START_ADDRESS,
    tag,
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
  placement.take(gpa, size, tag);
  placement.layout.checkIsRam(new MemoryRange(gpa, gpa + size), tag);
  return { info: { gpa, size, entrypoint }, end: gpa + size };
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

function placeInitrd(
  placement: Placement,
  source: Source,
  kernel: X86Kernel,
  kernelEnd: bigint,
  wanted: LinuxOptions["initrdAddress"],
): { gpa: bigint; size: bigint } {
  const tag = "linux-initrd";
  const size = BigInt(knownLength(source));
  const limit = initrdLimit(kernel);
  if (wanted !== undefined && wanted !== "AfterKernel") {
    const gpa = toAddress(wanted, "initrdAddress");
    checkAddressAlignment(gpa, "initrd address");
    const end = addAddresses(gpa, size, "end of the initrd");
    if (limit !== undefined && end > limit) {
      throw new DirectBootError(
        "INITRD_TOO_HIGH",
        `the initrd at ${hexRange(gpa, end)} passes ${hex(limit)}, which this kernel and entry allow`,
      );
    }
    placement.take(gpa, size, tag);
    return { gpa, size };
  }
  const request = {
    tag,
    byteLength: size,
    from: kernelEnd,
    ...(limit === undefined ? {} : { below: limit }),
  };
  const gpa = placement.place({ ...request, alignment: LARGE_PAGE_SIZE }, request, {
    ...request,
    from: KERNEL_MINIMUM_START_ADDRESS,
  });
  return { gpa, size };
}

/** All of a small source. Throws SOURCE_EMPTY without a byte, ACPI_TOO_LONG above 16 MiB. */
function* readTables(source: Source): Reading<Uint8Array> {
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
function checkCommandLine(options: LinuxOptions, kernel: X86Kernel): Uint8Array {
  const text = commandLineBytes(options.commandLine ?? "");
  const longest = kernel.image?.cmdlineSize ?? ELF_COMMAND_LINE_BYTES;
  checkCommandLineLength(text, longest);
  return text;
}

/** Plans an x86 guest in the memory that the caller means. */
export function* planX86Guest(
  options: LinuxOptions,
  sources: LinuxSources<Source>,
  format: "elf64" | "elf32" | "bzImage",
  bzImage: BzImage | undefined,
): Reading<PlannedGuest> {
  const { layout, memory } = resolveMemory(options.memory, x86LayoutOfSize);
  const { builder: plan, ...planned } = yield* planX86(options, layout, sources, format, bzImage);
  return { plan, layout, memory, ...planned };
}

/** Plans an x86 kernel and all that its entry needs. */
function* planX86(
  options: LinuxOptions,
  layout: MemoryLayout,
  sources: LinuxSources<Source>,
  format: "elf64" | "elf32" | "bzImage",
  bzImage: BzImage | undefined,
): Reading<X86Plan> {
  const { addresses = {} } = options;
  if (options.arm64 !== undefined) {
    throw new DirectBootError("OPTION_NOT_FOR_ARCHITECTURE", `arm64, but ${sources.kernel.name} is for x86`);
  }
  const kernel = yield* readKernel(sources.kernel, format, options.entry, bzImage);
  const { architecture, entry } = kernel;
  const text = checkCommandLine(options, kernel);
  const builder = new PlanBuilder<X86Register>();
  const placement = new Placement(layout);

  // First what has one place only: reservations, ACPI, what the caller has chosen; then the kernel, then the rest.
  const reservations = options.reservations ?? [];
  const rsdp = sources.acpi === undefined ? new Uint8Array(0) : yield* readTables(sources.acpi.rdsp);
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

  const low = (
    name: "gdt" | "zeroPage" | "commandLine" | "pageTables" | "setupData",
    tag: string,
    byteLength: bigint,
  ): (() => bigint) => {
    const address = chosen(addresses[name], name);
    if (address !== undefined) {
      placement.take(address, byteLength, tag);
      return () => address;
    }
    const below = entry === "pvh" ? PVH_START_INFO_BELOW : FOUR_GIB;
    return () => placeLow(placement, DEFAULTS[name], { tag, byteLength, below });
  };
  const isLong = entry === "64";
  // The size of a list does not depend on where it lies.
  const setupDataBytes = nodes.length === 0 ? 0 : buildSetupData(8n, nodes).byteLength;
  const gdtAt = low(
    "gdt",
    isLong ? "default-gdt" : "linux-gdt32",
    isLong ? DEFAULT_GDT_SIZE : PROTECTED_MODE_GDT_SIZE,
  );
  const zeroPageAt = low(
    "zeroPage",
    entry === "pvh" ? "linux-start-info" : "linux-zeropage",
    BigInt(BOOT_PARAMS_BYTES),
  );
  // Without a command line nothing lies there, and Linux must not read what does: it takes 0 for none.
  const commandLineAt =
    text.byteLength === 0 ? () => 0n : low("commandLine", "linux-commandline", BigInt(text.byteLength + 1));
  const setupDataAt =
    nodes.length === 0 ? undefined : low("setupData", "linux-setup-data", BigInt(setupDataBytes));
  const initrdIsChosen = options.initrdAddress !== undefined && options.initrdAddress !== "AfterKernel";
  const initrdAt = (kernelEnd: bigint): LoadInfo["initrd"] =>
    sources.initrd === undefined
      ? undefined
      : placeInitrd(placement, sources.initrd, kernel, kernelEnd, options.initrdAddress);
  const initrdEarly = initrdIsChosen ? initrdAt(0n) : undefined;

  const { info: kernelInfo, end: kernelEnd } = yield* planKernel(
    builder,
    placement,
    sources.kernel,
    kernel,
    chosen(addresses.kernel, "kernel"),
  );
  const tablesOf = isLong ? pageTables(mappedEnd(kernelEnd, addresses, text.byteLength)) : undefined;
  const pageTablesAt =
    tablesOf === undefined ? undefined : low("pageTables", "linux-pagetables", tablesOf.byteLength);
  const [gdt, zeroPage, commandLine] = [gdtAt(), zeroPageAt(), commandLineAt()];
  const pageTableAddress = pageTablesAt?.();
  const setupData = setupDataAt?.();
  const initrd = initrdEarly ?? initrdAt(kernelEnd);

  if (sources.initrd !== undefined && initrd !== undefined) {
    builder.wholeSource(initrd.gpa, "linux-initrd", sources.initrd);
  }
  if (text.byteLength > 0) {
    const withNul = new Uint8Array(text.byteLength + 1);
    withNul.set(text);
    builder.bytes(commandLine, "linux-commandline", withNul);
  }
  if (isLong) planDefaultGdt(builder, gdt / BigInt(PAGE_BYTES));
  else planProtectedModeGdt(builder, gdt);
  if (pageTableAddress !== undefined) tablesOf?.plan(builder, pageTableAddress);
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

const DEFAULTS = {
  gdt: GDT_ADDRESS,
  zeroPage: ZERO_PAGE_ADDRESS,
  commandLine: COMMAND_LINE_ADDRESS,
  pageTables: PAGE_TABLE_ADDRESS,
  setupData: SETUP_DATA_ADDRESS,
} as const;

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

/** Page tables that map all that the kernel must see at its 64-bit entry: the first 4 GiB, and what lies up to `end`. */
function pageTables(end: bigint): {
  byteLength: bigint;
  plan: (builder: PlanBuilder<X86Register>, address: bigint) => void;
} {
  if (end <= FOUR_GIB) {
    return {
      byteLength: BigInt(6 * PAGE_BYTES),
      plan: (builder, address) => {
        builder.identityMap("linux-pagetables", toIdentityMap({ pageTableGpa: address }));
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
    plan: (builder, address) => builder.bytes(address, "linux-pagetables", tablesAt(address).build()),
  };
}

function planMtrrs(builder: PlanBuilder<X86Register>, options: LinuxOptions, layout: MemoryLayout): void {
  const { mtrrs = "variable", physicalAddressWidth = PHYSICAL_ADDRESS_WIDTH } = options;
  if (mtrrs === "variable") {
    const registers = computeVariableMtrrs(layout, physicalAddressWidth, LOW_MMIO_GAP, MemoryRange.EMPTY);
    for (const register of registers) builder.register(register);
  } else if (mtrrs !== "fixed-only") {
    throw new TypeError(`mtrrs must be "variable" or "fixed-only", got ${describeType(mtrrs)}`);
  }
}
