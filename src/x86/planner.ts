/**
 * x86: plans all that a kernel needs to be entered by the 64-bit boot protocol, the 32-bit one or PVH. low-memory-map.ts
 * draws where things go.
 */
import {
  type AddressLike,
  addAddresses,
  hex,
  hexRange,
  PAGE_BYTES,
  pagesOf,
  toPageAddress,
} from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { checkDeviceTree, readTree } from "../firmware/device-tree.js";
import type { X86Register } from "../importers/importer.js";
import { resolveMemory } from "../memory/memory-input.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { checkCommandLineLength, commandLineBytes, withNul } from "../plan/command-line.js";
import { type InitrdInfo, LoadInfo } from "../plan/load-info.js";
import { Placement } from "../plan/placement.js";
import { PlanBuilder } from "../plan/plan.js";
import type { GuestOptions, GuestSources, PlannedGuest } from "../plan/planned-guest.js";
import { readBytes } from "../sources/reading.js";
import { knownLength, type Source } from "../sources/source.js";
import type { Task } from "../task/task.js";
import { BOOT_PARAMS_BYTES, buildBootParams, checkReach } from "./boot-params.js";
import {
  buildE820Map,
  E820_ACPI,
  E820_MAX_ENTRIES,
  E820_RAM,
  type E820Entry,
  encodeE820Entries,
} from "./e820.js";
import { entryTablesBytes, planEntryTables, TABLES_TAG } from "./entry-tables.js";
import { DEFAULT_GDT_SIZE, planDefaultGdt } from "./gdt.js";
import {
  initrdLimit,
  type PlacedKernel,
  planKernel,
  readX86Kernel,
  type X86Kernel,
  type X86KernelFile,
} from "./kernel.js";
import {
  ACPI_TABLES_ADDRESS,
  FOUR_GIB,
  initrdWindows,
  lowWindows,
  RSDP_ADDRESS,
  USUAL_ADDRESSES,
} from "./low-memory-map.js";
import { computeVariableMtrrs } from "./mtrr.js";
import { checkRsdpLength, planLongModeRegisters } from "./openvmm.js";
import type { X86Addresses, X86Options } from "./options.js";
import {
  PROTECTED_MODE_GDT_SIZE,
  planProtectedModeGdt,
  planProtectedModeRegisters,
} from "./protected-mode.js";
import { buildHvmStartInfo } from "./pvh.js";
import { LOW_MMIO_GAP, x86LayoutOfSize } from "./ram-layout.js";
import {
  buildSetupData,
  SETUP_DTB,
  SETUP_E820_EXT,
  SETUP_RNG_SEED,
  type SetupDataNode,
  setupDataBytes,
} from "./setup-data.js";

/** Physical address bits of QEMU's CPU models under emulation (its default, phys-bits=40). */
const PHYSICAL_ADDRESS_WIDTH = 40;
/** COMMAND_LINE_SIZE - 1 (arch/x86/include/asm/setup.h): what a kernel without a setup header takes. */
const ELF_COMMAND_LINE_BYTES = 2047;
/** A 64-bit kernel maps no more when it reads a PVH start info (arch/x86/platform/pvh/head.S). */
const PVH_START_INFO_BELOW = 0x4000_0000n;
/** Most bytes of an RSDP or of tables that are read: what lies between 0xe0000 and 1 MiB, many times over. */
const MOST_ACPI_BYTES = 16 * 1024 * 1024;
const INITRD_TAG = "linux-initrd";

type X86GuestOptions = GuestOptions & X86Options<unknown>;

/** Small parts that low memory holds, by the names that callers use. */
type LowName = keyof typeof USUAL_ADDRESSES;

/** Bytes that the guest gets beside its kernel and initrd. */
interface X86Parts {
  /** Without its NUL. */
  readonly commandLine: Uint8Array;
  /** One page of tables, all zero, and an empty RSDP, where the caller gives none. */
  readonly acpi: { readonly rsdp: Uint8Array; readonly tables: Uint8Array; readonly isGiven: boolean };
  readonly reservations: readonly E820Entry[];
  readonly setupData: readonly SetupDataNode[];
}

/** Addresses of the caller's choice. */
type Chosen = { readonly [name in keyof X86Addresses]?: bigint };

/** Where all is. */
interface X86Places {
  readonly kernel: PlacedKernel;
  readonly initrd: InitrdInfo | undefined;
  /** Undefined for zero pages that have no place. */
  readonly acpi: { readonly rsdp: bigint | undefined; readonly tables: bigint | undefined };
  readonly e820: readonly E820Entry[];
  readonly setupData: readonly SetupDataNode[];
  readonly low: { readonly [name in LowName]?: bigint };
  /** One past all that the page tables map. */
  readonly mappedEnd: bigint;
}

/** Plans an x86 guest in the memory that the caller means. */
export function* planX86Guest(
  options: X86GuestOptions,
  sources: GuestSources,
  file: X86KernelFile,
): Task<PlannedGuest> {
  const { layout, memory } = resolveMemory(options.memory, x86LayoutOfSize);
  const kernel = yield* readX86Kernel(sources.kernel, file, options.entry);
  const { architecture, entry } = kernel;
  const parts = yield* readParts(options, sources, layout, kernel);
  const plan = new PlanBuilder<X86Register>();
  const chosen = chosenAddresses(options.addresses ?? {});
  const places = yield* placeAll(plan, new Placement(layout), chosen, sources.initrd, kernel, parts);
  planParts(plan, sources, kernel, parts, places);
  planEntry(plan, kernel, parts, places);
  planMtrrs(plan, options, layout);
  const info = new LoadInfo(places.kernel.info, places.initrd, undefined);
  return { plan, layout, memory, info, architecture, entryMode: entry === "64" ? "long64" : "protected32" };
}

/** Reads and checks the small inputs. */
function* readParts(
  options: X86GuestOptions,
  { acpi, deviceTree }: GuestSources,
  layout: MemoryLayout,
  { entry, image }: X86Kernel,
): Task<X86Parts> {
  const commandLine = commandLineBytes(options.commandLine ?? "");
  checkCommandLineLength(commandLine, image?.cmdlineSize ?? ELF_COMMAND_LINE_BYTES);
  const rsdp = acpi === undefined ? new Uint8Array(0) : yield* readTables(acpi.rsdp);
  const tables = acpi === undefined ? new Uint8Array(PAGE_BYTES) : yield* readTables(acpi.tables);
  checkRsdpLength(rsdp);
  // Checked, sorted and joined.
  const map = buildE820Map(layout, options.reservations ?? []);
  const reservations = map.filter(({ type }) => type !== E820_RAM);
  const setupData: SetupDataNode[] = [];
  if (deviceTree !== undefined) {
    const tree = yield* readTree(deviceTree);
    checkDeviceTree(tree);
    setupData.push({ type: SETUP_DTB, data: tree });
  }
  if (options.rngSeed !== undefined) setupData.push({ type: SETUP_RNG_SEED, data: options.rngSeed });
  if (entry === "pvh" && setupData.length > 0) {
    throw new DirectBootError(
      "OPTION_NOT_FOR_KERNEL",
      "deviceTree and rngSeed go by setup_data, which PVH does not have",
    );
  }
  return { commandLine, acpi: { rsdp, tables, isGiven: acpi !== undefined }, reservations, setupData };
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

/** The caller's addresses. Throws UNALIGNED_ADDRESS, ADDRESS_OUT_OF_RANGE. */
function chosenAddresses(addresses: X86Addresses): Chosen {
  const chosen: { [name: string]: bigint } = {};
  for (const [name, address] of Object.entries(addresses) as [string, AddressLike | undefined][]) {
    if (address === undefined) continue;
    chosen[name] = toPageAddress(address, `addresses.${name}`);
  }
  return chosen;
}

/** Takes what is fixed; places the kernel, then the small parts in the order of the map, then the initrd. */
function* placeAll(
  builder: PlanBuilder<X86Register>,
  placement: Placement,
  chosen: Chosen,
  initrdSource: Source | undefined,
  kernel: X86Kernel,
  parts: X86Parts,
): Task<X86Places> {
  const { entry } = kernel;
  placement.takeAll(parts.reservations, "reservation");
  const { e820, ...acpi } = placeAcpi(placement, chosen, parts);
  const setupData = [...parts.setupData];
  if (entry !== "pvh" && e820.length > E820_MAX_ENTRIES) {
    setupData.unshift({ type: SETUP_E820_EXT, data: encodeE820Entries(e820.slice(E820_MAX_ENTRIES)) });
  }
  const sizes = lowSizes(kernel, parts, setupData, mappedEnd(chosen, parts, chosen.kernel ?? 0n));
  takeChosen(placement, chosen, kernel, sizes, initrdSource);
  const placed = yield* planKernel(builder, placement, kernel, chosen.kernel);

  const end = mappedEnd(chosen, parts, placed.end);
  const low: { [name in LowName]?: bigint } = {};
  for (const [name, tag, byteLength] of lowSizes(kernel, parts, setupData, end)) {
    const below = entry === "pvh" ? PVH_START_INFO_BELOW : FOUR_GIB;
    low[name] =
      chosen[name] ?? placement.place(tag, byteLength, lowWindows(USUAL_ADDRESSES[name], byteLength, below));
  }
  // A kernel that went above 4 GiB needs more tables than were taken at the caller's address.
  const tablesBytes = entry === "64" ? entryTablesBytes(end) : 0n;
  const taken = sizes.find(([name]) => name === "pageTables")?.[2] ?? 0n;
  if (chosen.pageTables !== undefined && tablesBytes > taken) {
    placement.take(chosen.pageTables + taken, tablesBytes - taken, TABLES_TAG);
  }
  let initrd: InitrdInfo | undefined;
  if (initrdSource !== undefined) {
    const size = BigInt(knownLength(initrdSource));
    const windows = initrdWindows(placed.end, initrdLimit(kernel));
    initrd = { gpa: chosen.initrd ?? placement.place(INITRD_TAG, size, windows), size };
  }
  return { kernel: placed, initrd, acpi, e820, setupData, low, mappedEnd: end };
}

/** ACPI where the caller wants it, or where it usually is, and the e820 map that says so. */
function placeAcpi(
  placement: Placement,
  chosen: Chosen,
  { acpi, reservations }: X86Parts,
): X86Places["acpi"] & Pick<X86Places, "e820"> {
  const ranges: E820Entry[] = [];
  const place = (
    tag: string,
    address: bigint | undefined,
    usual: bigint,
    pages: number,
  ): bigint | undefined => {
    const byteLength = BigInt(pages * PAGE_BYTES);
    // Zero pages in place of tables keep what memory held from the kernel's search; they are not worth a refusal.
    if (address === undefined && !acpi.isGiven && !placement.isFree(usual, byteLength)) return undefined;
    const start = address ?? usual;
    placement.take(start, byteLength, tag);
    ranges.push({ start, end: start + byteLength, type: E820_ACPI });
    return start;
  };
  const rsdp = place("linux-rdsp", chosen.rsdp, RSDP_ADDRESS, 1);
  const tablesPages = pagesOf(acpi.tables.byteLength);
  const tables = place("linux-acpi-tables", chosen.acpiTables, ACPI_TABLES_ADDRESS, tablesPages);
  return { rsdp, tables, e820: buildE820Map(placement.layout, [...ranges, ...reservations]) };
}

/** Names, tags and lengths of the small parts, in the order of the map, with page tables that map all below `end`. */
function lowSizes(
  { entry }: X86Kernel,
  { commandLine }: X86Parts,
  setupData: readonly SetupDataNode[],
  end: bigint,
): [name: LowName, tag: string, byteLength: bigint][] {
  const isLong = entry === "64";
  const gdtBytes = isLong ? DEFAULT_GDT_SIZE : PROTECTED_MODE_GDT_SIZE;
  const sizes: [LowName, string, bigint][] = [
    ["gdt", isLong ? "default-gdt" : "linux-gdt32", gdtBytes],
    ["zeroPage", entry === "pvh" ? "linux-start-info" : "linux-zeropage", BigInt(BOOT_PARAMS_BYTES)],
  ];
  // Without a command line nothing lies there, and Linux must not read what does: it takes 0 for none.
  if (commandLine.byteLength > 0) {
    sizes.push(["commandLine", "linux-commandline", BigInt(commandLine.byteLength + 1)]);
  }
  if (isLong) sizes.push(["pageTables", TABLES_TAG, entryTablesBytes(end)]);
  if (setupData.length > 0) {
    sizes.push(["setupData", "linux-setup-data", BigInt(setupDataBytes(setupData))]);
  }
  return sizes;
}

/** Takes the places that the caller has chosen for the small parts and the initrd. */
function takeChosen(
  placement: Placement,
  chosen: Chosen,
  kernel: X86Kernel,
  sizes: ReturnType<typeof lowSizes>,
  initrd: Source | undefined,
): void {
  for (const [name, tag, byteLength] of sizes) {
    const address = chosen[name];
    if (address === undefined) continue;
    checkChosen(kernel, name, address, byteLength);
    placement.take(address, byteLength, tag);
  }
  if (chosen.initrd !== undefined && initrd !== undefined) {
    const size = BigInt(knownLength(initrd));
    const end = addAddresses(chosen.initrd, size, "end of the initrd");
    const limit = initrdLimit(kernel);
    if (size > 0n) checkChosen(kernel, "initrd", chosen.initrd, 0n);
    if (limit !== undefined && end > limit) {
      throw new DirectBootError(
        "INITRD_TOO_HIGH",
        `the initrd at ${hexRange(chosen.initrd, end)} passes ${hex(limit)}, which this kernel and entry allow`,
      );
    }
    placement.take(chosen.initrd, size, INITRD_TAG);
  }
  if (chosen.kernel !== undefined && kernel.format === "elf") {
    throw new DirectBootError(
      "OPTION_NOT_FOR_KERNEL",
      `addresses.kernel, but ${kernel.source.name} is an ELF`,
    );
  }
}

/** Throws for an address that Linux takes for none, or that a 32-bit entry does not reach. */
function checkChosen(
  { entry }: X86Kernel,
  name: keyof X86Addresses,
  address: bigint,
  byteLength: bigint,
): void {
  const isAnywhere = name === "gdt" || name === "pageTables" || (name === "zeroPage" && entry !== "pvh");
  if (address === 0n && !isAnywhere) {
    throw new DirectBootError("BOOT_PARAMS_BAD_ADDRESS", `addresses.${name} is 0x0: Linux takes 0 for none`);
  }
  const isLow = entry === "pvh" || (entry === "32" && (name === "gdt" || name === "zeroPage"));
  if (isLow && address + byteLength > FOUR_GIB) {
    throw new DirectBootError(
      "PROTECTED_MODE_ADDRESS_TOO_HIGH",
      `addresses.${name} is ${hex(address)} with ${hex(byteLength)} bytes, past ${hex(FOUR_GIB)}`,
    );
  }
}

/** One past what must be mapped at the 64-bit entry (boot.rst, "64-bit Boot Protocol"), and the GDT. */
function mappedEnd(
  { gdt = 0n, zeroPage = 0n, commandLine = 0n }: Chosen,
  { commandLine: { byteLength } }: X86Parts,
  kernelEnd: bigint,
): bigint {
  const page = BigInt(PAGE_BYTES);
  const textEnd = byteLength === 0 ? 0n : commandLine + BigInt(byteLength + 1);
  return [gdt + page, zeroPage + page, textEnd].reduce((most, end) => (end > most ? end : most), kernelEnd);
}

/** Adds all but the kernel and the parameters of its entry, in the order in which OpenVMM does. */
function planParts(
  builder: PlanBuilder<X86Register>,
  { initrd }: GuestSources,
  { entry }: X86Kernel,
  { commandLine, acpi }: X86Parts,
  places: X86Places,
): void {
  const { low } = places;
  if (initrd !== undefined && places.initrd !== undefined) {
    builder.wholeSource(places.initrd.gpa, INITRD_TAG, initrd);
  }
  if (low.commandLine !== undefined) {
    builder.bytes(low.commandLine, "linux-commandline", withNul(commandLine));
  }
  const { gdt = 0n } = low;
  if (entry === "64") planDefaultGdt(builder, gdt);
  else planProtectedModeGdt(builder, gdt);
  if (low.pageTables !== undefined) planEntryTables(builder, low.pageTables, places.mappedEnd);
  if (places.acpi.rsdp !== undefined) builder.bytes(places.acpi.rsdp, "linux-rdsp", acpi.rsdp, 1);
  if (places.acpi.tables !== undefined) {
    builder.bytes(places.acpi.tables, "linux-acpi-tables", acpi.tables);
  }
  if (low.setupData !== undefined) {
    builder.bytes(low.setupData, "linux-setup-data", buildSetupData(low.setupData, places.setupData));
  }
}

/** Adds boot_params or a PVH start info, and the registers of the entry. */
function planEntry(
  builder: PlanBuilder<X86Register>,
  { entry, format, image }: X86Kernel,
  { commandLine, acpi }: X86Parts,
  { kernel, initrd, low, e820, ...places }: X86Places,
): void {
  const { zeroPage = 0n } = low;
  const told = {
    initrd: initrd === undefined ? undefined : { address: initrd.gpa, byteLength: initrd.size },
    acpiRsdpAddress: acpi.isGiven ? places.acpi.rsdp : undefined,
  };
  const { entrypoint, gpa } = kernel.info;
  if (entry === "pvh") {
    const parameters = { ...told, commandLineAddress: low.commandLine, memoryMap: e820 };
    builder.bytes(zeroPage, "linux-start-info", buildHvmStartInfo(zeroPage, parameters), 1);
    planProtectedModeRegisters(builder, { cr4: 0n, rip: entrypoint, rbx: zeroPage });
    return;
  }
  checkReach(image, zeroPage, "the address of boot_params");
  const bootParams = buildBootParams({
    ...told,
    image,
    e820,
    commandLine: { address: low.commandLine ?? 0n, byteLength: commandLine.byteLength },
    setupDataAddress: low.setupData,
    // The field has 32 bits; the 64-bit entry does not look at it.
    code32Start: format === "bzImage" && gpa < FOUR_GIB ? gpa : undefined,
  });
  builder.bytes(zeroPage, "linux-zeropage", bootParams, 1);
  if (low.pageTables === undefined) {
    const zeros = { rbp: 0n, rdi: 0n, rbx: 0n };
    planProtectedModeRegisters(builder, { rip: entrypoint, rsi: zeroPage, ...zeros });
  } else {
    planLongModeRegisters(builder, low.pageTables, entrypoint, zeroPage);
  }
}

function planMtrrs(
  builder: PlanBuilder<X86Register>,
  { mtrrs = "variable", physicalAddressWidth = PHYSICAL_ADDRESS_WIDTH }: X86GuestOptions,
  layout: MemoryLayout,
): void {
  if (mtrrs === "fixed-only") return;
  const registers = computeVariableMtrrs(layout, physicalAddressWidth, LOW_MMIO_GAP, MemoryRange.EMPTY);
  for (const register of registers) builder.register(register);
}
