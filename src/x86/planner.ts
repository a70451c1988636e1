/**
 * x86: plans all that a kernel needs to be entered by the 64-bit boot protocol, the 32-bit one or PVH. low-memory-map.ts
 * draws where things go.
 */

import { addAddresses, hex, hexRange, PAGE_BYTES, pagesOf, toPageAddress } from "../base/address.js";
import { DirectBootError } from "../base/errors.js";
import { readDeviceTree, readTree } from "../firmware/device-tree.js";
import type { BzImage } from "../images/bzimage.js";
import type { X86Register } from "../importers/importer.js";
import { resolveMemory } from "../memory/memory-input.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { MemoryRange } from "../memory/memory-range.js";
import { checkCommandLineLength, commandLineBytes, withNul } from "../plan/command-line.js";
import { type InitrdInfo, LoadInfo } from "../plan/load-info.js";
import { Placement } from "../plan/placement.js";
import { PlanBuilder } from "../plan/plan.js";
import type { GuestOptions, GuestSources, PlannedGuest } from "../plan/planned-guest.js";
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
import { DEFAULT_GDT_SIZE, planDefaultGdt, planProtectedModeGdt } from "./gdt.js";
import { readTables } from "./given-tables.js";
import {
  initrdLimit,
  type PlacedKernel,
  planKernel,
  readX86Kernel,
  type X86Kernel,
  type X86KernelFile,
} from "./kernel.js";
import { withLeastMemory } from "./least-memory.js";
import {
  ACPI_TABLES_ADDRESS,
  FOUR_GIB,
  initrdWindows,
  LEGACY_TABLES_ADDRESS,
  LOW_MMIO_GAP,
  lowWindows,
  RSDP_ADDRESS,
  USUAL_ADDRESSES,
  x86LayoutOfSize,
} from "./low-memory-map.js";
import { tablesOfMachine } from "./machine-tables.js";
import { computeVariableMtrrs } from "./mtrr.js";
import { checkRsdpLength } from "./openvmm.js";
import type { X86Addresses, X86Options } from "./options.js";
import { buildHvmStartInfo } from "./pvh.js";
import { planLongModeRegisters, planProtectedModeRegisters } from "./registers.js";
import {
  buildSetupData,
  SETUP_DTB,
  SETUP_E820_EXT,
  SETUP_RNG_SEED,
  type SetupDataNode,
  setupDataBytes,
} from "./setup-data.js";

/** Whose tables the planner makes: whoever loads it on demand needs the check of the description, too. */
export { checkMachine } from "../machine/check-machine.js";

/** Physical address bits of QEMU's CPU models under emulation (its default, phys-bits=40). */
const PHYSICAL_ADDRESS_WIDTH = 40;
/** COMMAND_LINE_SIZE - 1 (arch/x86/include/asm/setup.h): what a kernel without a setup header takes. */
const ELF_COMMAND_LINE_BYTES = 2047;
/** A 64-bit kernel maps no more when it reads a PVH start info (arch/x86/platform/pvh/head.S). */
const PVH_START_INFO_BELOW = 0x4000_0000n;
const INITRD_TAG = "linux-initrd";

type X86GuestOptions = GuestOptions & X86Options<unknown>;

/** Small inputs that are read. */
interface X86Files {
  /** One page of tables, all zero, and an empty RSDP, where the caller gives none. */
  readonly acpi: { readonly rsdp: Uint8Array; readonly tables: Uint8Array; readonly isGiven: boolean };
  readonly deviceTree: Uint8Array | undefined;
}

/** Bytes that the guest gets beside its kernel and initrd. */
interface X86Parts extends Pick<X86Files, "acpi"> {
  /** Without its NUL. */
  readonly commandLine: Uint8Array;
  /** SMBIOS and the MP table of a machine that was described. */
  readonly legacyTables: Uint8Array | undefined;
  readonly reservations: readonly E820Entry[];
  readonly setupData: readonly SetupDataNode[];
}

/** Addresses by the names that callers use. */
type Addresses = { -readonly [name in keyof X86Addresses]?: bigint };

/** Where all is. */
interface X86Places {
  readonly kernel: PlacedKernel;
  readonly initrd: InitrdInfo | undefined;
  /** Without parts that are not there, and zero pages that have no place. */
  readonly at: Readonly<Addresses>;
  readonly e820: readonly E820Entry[];
  readonly setupData: readonly SetupDataNode[];
  /** One past all that the page tables map. */
  readonly mappedEnd: bigint;
}

/**
 * True if something lies where a relocatable bzImage's kernel is linked, and it finds a place elsewhere: told from its
 * header, before it is unpacked.
 */
export function* isPlaceTaken(
  options: X86GuestOptions,
  initrdBytes: number,
  { prefAddress, initSize, kernelAlignment }: BzImage,
): Task<boolean> {
  const { layout } = resolveMemory(options.memory, x86LayoutOfSize);
  const placement = new Placement(layout);
  const taken = buildE820Map(layout, options.reservations ?? []).filter(({ type }) => type !== E820_RAM);
  for (const [name, address] of Object.entries(options.addresses ?? {})) {
    if (address === undefined) continue;
    const start = toPageAddress(address, `addresses.${name}`);
    taken.push({ start, end: start + BigInt(name === "initrd" ? initrdBytes : PAGE_BYTES), type: E820_ACPI });
  }
  // Whether these overlap is told when all is placed.
  placement.takeAll(taken, "taken");
  const size = BigInt(initSize);
  if (placement.isFree(prefAddress, size)) return false;
  const window = { from: prefAddress, below: FOUR_GIB, alignment: BigInt(kernelAlignment) };
  return placement.find(size, [window]) !== undefined;
}

/**
 * Plans an x86 guest in the memory that the caller means. Where the kernel out of a relocatable bzImage has no place, the
 * bzImage is loaded in its stead, which unpacks itself elsewhere.
 */
export function* planX86Guest(
  options: X86GuestOptions,
  sources: GuestSources,
  file: X86KernelFile,
): Task<PlannedGuest> {
  const movable = file.format === "bzImage" ? undefined : file.movable;
  try {
    return yield* planFile(options, sources, file);
  } catch (cause) {
    const isPlace =
      cause instanceof DirectBootError && ["IMPORT_OVERLAP", "GUEST_MEMORY_NOT_RAM"].includes(cause.code);
    if (movable === undefined || !isPlace) throw cause;
    try {
      const planned = yield* planFile(options, { ...sources, kernel: movable.source }, movable);
      return { ...planned, decompression: movable.decompression };
    } catch {
      throw cause;
    }
  }
}

function* planFile(options: X86GuestOptions, sources: GuestSources, file: X86KernelFile): Task<PlannedGuest> {
  const resolved = resolveMemory(options.memory, x86LayoutOfSize);
  const kernel = yield* readX86Kernel(sources.kernel, file, options.entry);
  const files = yield* readFiles(sources);
  const planned = (given: X86GuestOptions): PlannedGuest => ({
    ...planGuest(given, resolved.layout, sources, kernel, files),
    ...resolved,
    with: (text) => planned({ ...given, ...text }),
  });
  try {
    return planned(options);
  } catch (cause) {
    const { layout } = resolved;
    throw withLeastMemory(cause, layout, (other) => planGuest(options, other, sources, kernel, files));
  }
}

/** Plans with all that was read. */
function planGuest(
  options: X86GuestOptions,
  layout: MemoryLayout,
  sources: GuestSources,
  kernel: X86Kernel,
  files: X86Files,
): Pick<PlannedGuest, "plan" | "info" | "architecture" | "entryMode"> {
  const { architecture, entry } = kernel;
  const plan = new PlanBuilder<X86Register>();
  const chosen: Addresses = {};
  for (const [name, address] of Object.entries(options.addresses ?? {})) {
    if (address !== undefined) {
      chosen[name as keyof Addresses] = toPageAddress(address, `addresses.${name}`);
    }
  }
  const parts = partsOf(options, layout, kernel, files, chosen);
  const places = placeAll(plan, new Placement(layout), chosen, sources.initrd, kernel, parts);
  planParts(plan, sources, kernel, parts, places);
  planEntry(plan, kernel, parts, places);
  if (options.mtrrs !== "fixed-only") {
    const width = options.physicalAddressWidth ?? PHYSICAL_ADDRESS_WIDTH;
    const registers = computeVariableMtrrs(layout, width, LOW_MMIO_GAP, MemoryRange.EMPTY);
    for (const register of registers) plan.register(register);
  }
  const info = new LoadInfo(places.kernel.info, places.initrd, undefined);
  return { plan, info, architecture, entryMode: entry === "64" ? "long64" : "protected32" };
}

/** Reads and checks the small inputs. */
function* readFiles({ acpi, deviceTree }: GuestSources): Task<X86Files> {
  const rsdp = acpi === undefined ? new Uint8Array(0) : yield* readTables(acpi.rsdp);
  const tables = acpi === undefined ? new Uint8Array(PAGE_BYTES) : yield* readTables(acpi.tables);
  checkRsdpLength(rsdp);
  const tree = deviceTree && (yield* readTree(deviceTree));
  // Only to refuse a malformed one.
  if (tree !== undefined) readDeviceTree(tree);
  return { acpi: { rsdp, tables, isGiven: acpi !== undefined }, deviceTree: tree };
}

/** The parts of one guest, checked. */
function partsOf(
  options: X86GuestOptions,
  layout: MemoryLayout,
  { entry, image }: X86Kernel,
  { acpi: files, deviceTree }: X86Files,
  { acpiTables }: Readonly<Addresses>,
): X86Parts {
  const commandLine = commandLineBytes(options.commandLine ?? "");
  checkCommandLineLength(commandLine, image?.cmdlineSize ?? ELF_COMMAND_LINE_BYTES);
  const machine =
    options.machine && tablesOfMachine(options.machine, layout, acpiTables ?? ACPI_TABLES_ADDRESS);
  const acpi = files.isGiven || machine === undefined ? files : { ...machine.acpi, isGiven: true };
  // Checked, sorted and joined.
  const map = buildE820Map(layout, [...(options.reservations ?? []), ...(machine?.reserved ?? [])]);
  const reservations = map.filter(({ type }) => type !== E820_RAM);
  const setupData: SetupDataNode[] = [];
  if (deviceTree !== undefined) setupData.push({ type: SETUP_DTB, data: deviceTree });
  if (options.rngSeed !== undefined) setupData.push({ type: SETUP_RNG_SEED, data: options.rngSeed });
  if (entry === "pvh" && setupData.length > 0) {
    throw new DirectBootError(
      "OPTION_NOT_FOR_KERNEL",
      "deviceTree and rngSeed go by setup_data, which PVH does not have",
    );
  }
  return { commandLine, acpi, legacyTables: machine?.legacy, reservations, setupData };
}

/** Takes what is fixed; places the kernel, then the small parts in the order of the map, then the initrd. */
function placeAll(
  builder: PlanBuilder<X86Register>,
  placement: Placement,
  chosen: Readonly<Addresses>,
  initrd: Source | undefined,
  kernel: X86Kernel,
  parts: X86Parts,
): X86Places {
  const { entry } = kernel;
  placement.takeAll(parts.reservations, "reservation");
  const at: Addresses = {};
  const e820 = placeAcpi(placement, chosen, parts, at);
  const setupData = [...parts.setupData];
  if (entry !== "pvh" && e820.length > E820_MAX_ENTRIES) {
    setupData.unshift({ type: SETUP_E820_EXT, data: encodeE820Entries(e820.slice(E820_MAX_ENTRIES)) });
  }
  const small = smallParts(kernel, parts, setupData, mappedEnd(chosen, parts, chosen.kernel ?? 0n));
  for (const [name, tag, byteLength] of small) {
    const address = chosen[name];
    if (address === undefined) continue;
    checkChosen(kernel, name, address, byteLength);
    placement.take(address, byteLength, tag);
  }
  if (initrd !== undefined && chosen.initrd !== undefined) {
    takeInitrd(placement, kernel, chosen.initrd, BigInt(knownLength(initrd)));
  }
  if (chosen.kernel !== undefined && kernel.format === "elf") {
    throw new DirectBootError(
      "OPTION_NOT_FOR_KERNEL",
      `addresses.kernel, but ${kernel.source.name} is an ELF`,
    );
  }
  const placed = planKernel(builder, placement, kernel, chosen.kernel);

  const end = mappedEnd(chosen, parts, placed.end);
  const below = entry === "pvh" ? PVH_START_INFO_BELOW : FOUR_GIB;
  for (const [name, tag, taken] of small) {
    const byteLength = name === "pageTables" ? entryTablesBytes(end) : taken;
    const address = chosen[name];
    at[name] =
      address ?? placement.place(tag, byteLength, lowWindows(USUAL_ADDRESSES[name], byteLength, below));
    // A kernel that went above 4 GiB needs more tables than were taken at the caller's address.
    if (address !== undefined && byteLength > taken) {
      placement.take(address + taken, byteLength - taken, tag);
    }
  }
  const places = { kernel: placed, at, e820, setupData, mappedEnd: end };
  if (initrd === undefined) return { ...places, initrd };
  const size = BigInt(knownLength(initrd));
  const windows = initrdWindows(placed.end, initrdLimit(kernel));
  const gpa = chosen.initrd ?? placement.place(INITRD_TAG, size, windows);
  return { ...places, initrd: { gpa, size } };
}

/** Puts ACPI where the caller wants it, or where it usually is, and returns the e820 map that says so. */
function placeAcpi(
  placement: Placement,
  chosen: Readonly<Addresses>,
  { acpi, reservations }: X86Parts,
  at: Addresses,
): readonly E820Entry[] {
  const ranges: E820Entry[] = [];
  for (const [name, tag, usual, pages] of [
    ["rsdp", "linux-rdsp", RSDP_ADDRESS, 1],
    ["acpiTables", "linux-acpi-tables", ACPI_TABLES_ADDRESS, pagesOf(acpi.tables.byteLength)],
  ] as const) {
    const byteLength = BigInt(pages * PAGE_BYTES);
    const start = chosen[name] ?? usual;
    // Zero pages in place of tables keep what memory held from the kernel's search; they are not worth a refusal.
    if (chosen[name] === undefined && !acpi.isGiven && !placement.isFree(usual, byteLength)) continue;
    placement.take(start, byteLength, tag);
    ranges.push({ start, end: start + byteLength, type: E820_ACPI });
    at[name] = start;
  }
  return buildE820Map(placement.layout, [...ranges, ...reservations]);
}

/** The small parts that low memory holds, in the order of the map, with page tables that map all below `end`. */
function smallParts(
  { entry }: X86Kernel,
  { commandLine }: X86Parts,
  setupData: readonly SetupDataNode[],
  end: bigint,
): (readonly [name: keyof typeof USUAL_ADDRESSES, tag: string, byteLength: bigint])[] {
  const isLong = entry === "64";
  // Without a command line nothing lies there, and Linux must not read what does: it takes 0 for none.
  const commandLineLength = commandLine.byteLength === 0 ? 0 : commandLine.byteLength + 1;
  const parts = [
    ["gdt", isLong ? "default-gdt" : "linux-gdt32", DEFAULT_GDT_SIZE],
    ["zeroPage", entry === "pvh" ? "linux-start-info" : "linux-zeropage", BigInt(BOOT_PARAMS_BYTES)],
    ["commandLine", "linux-commandline", BigInt(commandLineLength)],
    ["pageTables", TABLES_TAG, isLong ? entryTablesBytes(end) : 0n],
    ["setupData", "linux-setup-data", BigInt(setupDataBytes(setupData))],
  ] as const;
  return parts.filter(([, , byteLength]) => byteLength > 0n);
}

/** Takes the place that the caller has chosen for the initrd. */
function takeInitrd(placement: Placement, kernel: X86Kernel, address: bigint, size: bigint): void {
  const end = addAddresses(address, size, "end of the initrd");
  const limit = initrdLimit(kernel);
  if (size > 0n) checkChosen(kernel, "initrd", address, 0n);
  if (end > limit) {
    throw new DirectBootError(
      "INITRD_TOO_HIGH",
      `the initrd at ${hexRange(address, end)} passes ${hex(limit)}, which this kernel and entry allow`,
    );
  }
  placement.take(address, size, INITRD_TAG);
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
  { gdt = 0n, zeroPage = 0n, commandLine = 0n }: Readonly<Addresses>,
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
  { commandLine, acpi, legacyTables }: X86Parts,
  { at, ...places }: X86Places,
): void {
  const { gdt = 0n } = at;
  if (initrd !== undefined && places.initrd !== undefined) {
    builder.wholeSource(places.initrd.gpa, INITRD_TAG, initrd);
  }
  if (at.commandLine !== undefined) {
    builder.bytes(at.commandLine, "linux-commandline", withNul(commandLine));
  }
  if (entry === "64") planDefaultGdt(builder, gdt);
  else planProtectedModeGdt(builder, gdt);
  if (at.pageTables !== undefined) planEntryTables(builder, at.pageTables, places.mappedEnd);
  if (at.rsdp !== undefined) builder.bytes(at.rsdp, "linux-rdsp", acpi.rsdp, 1);
  if (at.acpiTables !== undefined) builder.bytes(at.acpiTables, "linux-acpi-tables", acpi.tables);
  if (legacyTables !== undefined) builder.bytes(LEGACY_TABLES_ADDRESS, "linux-smbios-mp-table", legacyTables);
  if (at.setupData !== undefined) {
    builder.bytes(at.setupData, "linux-setup-data", buildSetupData(at.setupData, places.setupData));
  }
}

/** Adds boot_params or a PVH start info, and the registers of the entry. */
function planEntry(
  builder: PlanBuilder<X86Register>,
  { entry, format, image }: X86Kernel,
  { commandLine, acpi }: X86Parts,
  { kernel, initrd, at, e820 }: X86Places,
): void {
  const { zeroPage = 0n } = at;
  const told = {
    e820,
    commandLine: { address: at.commandLine ?? 0n, byteLength: commandLine.byteLength },
    initrd: initrd === undefined ? undefined : { address: initrd.gpa, byteLength: initrd.size },
    acpiRsdpAddress: acpi.isGiven ? at.rsdp : undefined,
  };
  const { entrypoint, gpa } = kernel.info;
  if (entry === "pvh") {
    builder.bytes(zeroPage, "linux-start-info", buildHvmStartInfo(zeroPage, told), 1);
    planProtectedModeRegisters(builder, { cr4: 0n, rip: entrypoint, rbx: zeroPage });
    return;
  }
  checkReach(image, zeroPage, "the address of boot_params");
  const bootParams = buildBootParams({
    ...told,
    image,
    setupDataAddress: at.setupData,
    // The field has 32 bits; the 64-bit entry does not look at it.
    code32Start: format === "bzImage" && gpa < FOUR_GIB ? gpa : undefined,
  });
  builder.bytes(zeroPage, "linux-zeropage", bootParams, 1);
  if (at.pageTables === undefined) {
    const zeros = { rbp: 0n, rdi: 0n, rbx: 0n };
    planProtectedModeRegisters(builder, { rip: entrypoint, rsi: zeroPage, ...zeros });
  } else {
    planLongModeRegisters(builder, at.pageTables, entrypoint, zeroPage);
  }
}
