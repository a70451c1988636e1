/**
 * Linux on x86-64 by the 64-bit boot protocol, as OpenVMM loads it (linux.rs): `load_kernel_and_initrd_x64`,
 * `load_config`, `load_x86`.
 */
import {
  type AddressLike,
  checkAddressAlignment,
  PAGE_BYTES,
  toAddress,
  toPageAddress,
} from "../base/address.js";
import { describeType } from "../base/describe.js";
import { DirectBootError } from "../base/errors.js";
import { isAddress, named, options } from "../base/options.js";
import type { ImageLoad, X86Register } from "../importers/importer.js";
import type { MemoryLayout } from "../memory/memory-layout.js";
import { applyPlanSync, carryOut, checkImporter } from "../plan/apply.js";
import { commandLineBytes, withNul } from "../plan/command-line.js";
import { checkInitrdConfig, type InitrdConfig, planInitrd } from "../plan/initrd.js";
import { LoadInfo, type LoadInfoInput, toLoadInfo } from "../plan/load-info.js";
import { PlanBuilder } from "../plan/plan.js";
import { planStaticElf } from "../plan/static-elf.js";
import { checkByteInput, withSources } from "../sources/open.js";
import { withKnownLength } from "../sources/reading.js";
import type { AsyncByteInput, ByteInput } from "../sources/source.js";
import { runAsync, runSync } from "../task/run.js";
import type { Task } from "../task/task.js";
import { planDefaultGdt } from "./gdt.js";
import { toIdentityMap } from "./page-table.js";
import { planLongModeRegisters } from "./registers.js";
import { buildZeroPage, type CommandLineConfig } from "./zero-page.js";

/** ACPI tables and their places (`rdsp`: sic, OpenVMM's spelling). */
export interface AcpiConfig {
  /** Guest physical address of the RSDP, page-aligned; it is given one page. */
  readonly rdspAddress: AddressLike;
  /** The RSDP, at most 4096 bytes. */
  readonly rdsp: Uint8Array | ArrayBuffer;
  /** Guest physical address of the tables, page-aligned. */
  readonly tablesAddress: AddressLike;
  /** The tables; the addresses in them are the caller's business. */
  readonly tables: Uint8Array | ArrayBuffer;
}

/** The zero page and what it says of memory. */
export interface ZeroPageConfig {
  /** Guest physical address of the zero page, page-aligned. */
  readonly address: AddressLike;
  /** The layout that the e820 map is built from. */
  readonly memoryLayout: MemoryLayout;
  /** Where the ACPI tables are: 0xe0000. */
  readonly acpiBaseAddress: AddressLike;
  /** Bytes of all ACPI tables. */
  readonly acpiLength: AddressLike;
}

/** Where the GDT and the page tables go; both page-aligned. */
export interface RegisterConfig {
  /** Guest physical address of the GDT, one page. */
  readonly gdtAddress: AddressLike;
  /** Guest physical address of the page tables, 6 pages. */
  readonly pageTableAddress: AddressLike;
}

/** Options of {@link loadKernelAndInitrdX64}. */
export interface KernelAndInitrdX64Options<Input = ByteInput> {
  /** The uncompressed ELF (vmlinux): bytes, a source, or in Node a path. */
  readonly kernel: Input;
  /** No segment and no entry of the kernel may lie below. */
  readonly kernelMinimumStartAddress: AddressLike;
  /** The initrd and its place; none by default. */
  readonly initrd?: InitrdConfig<Input> | null | undefined;
}

/** Options of {@link loadConfig}. */
export interface ConfigOptions {
  /** The command line and its place. */
  readonly commandLine: CommandLineConfig;
  /** The zero page's place, and what it says of memory. */
  readonly zeroPage: ZeroPageConfig;
  /** The ACPI tables and their places. */
  readonly acpi: AcpiConfig;
  /** Where the GDT and the page tables go. */
  readonly registers: RegisterConfig;
}

/** Options of {@link loadX86}. */
export interface LoadX86Options<Input = ByteInput> extends KernelAndInitrdX64Options<Input>, ConfigOptions {}

const KERNEL_OPTIONS = {
  kernelMinimumStartAddress: isAddress,
  kernel: checkByteInput,
  initrd: checkInitrdConfig,
};
const CONFIG_OPTIONS = {
  commandLine: named("address", "commandLine"),
  zeroPage: named("address", "memoryLayout", "acpiBaseAddress", "acpiLength"),
  acpi: named("rdspAddress", "rdsp", "tablesAddress", "tables"),
  registers: named("gdtAddress", "pageTableAddress"),
};
const checkKernelOptions = /* @__PURE__ */ options(KERNEL_OPTIONS);
const checkConfigOptions = /* @__PURE__ */ options(CONFIG_OPTIONS);
const checkAllOptions = options({ ...KERNEL_OPTIONS, ...CONFIG_OPTIONS });

/** Bytes of a table. Throws TypeError for anything but a Uint8Array or an ArrayBuffer. */
function toBytes(input: Uint8Array | ArrayBuffer, name: string): Uint8Array {
  if (input instanceof Uint8Array) return input;
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  throw new TypeError(`${name} must be a Uint8Array or an ArrayBuffer, got ${describeType(input)}`);
}

/** Throws ACPI_RSDP_TOO_LONG for one that its page does not hold. */
export function checkRsdpLength({ byteLength }: Uint8Array): void {
  if (byteLength > PAGE_BYTES) {
    throw new DirectBootError("ACPI_RSDP_TOO_LONG", `the RSDP has ${byteLength} bytes, its page has 4096`);
  }
}

/**
 * Adds command line, GDT, page tables, ACPI, zero page and registers to a plan, in upstream's order. An empty
 * command line is neither imported nor checked for alignment.
 */
function planConfig(builder: PlanBuilder<X86Register>, loadInfo: LoadInfo, options: ConfigOptions): void {
  const { commandLine, zeroPage, acpi, registers } = options;

  const text = commandLineBytes(commandLine.commandLine);
  const commandLineAddress = toAddress(commandLine.address, "commandLine.address");
  if (text.byteLength > 0) {
    checkAddressAlignment(commandLineAddress, "commandLine.address");
    builder.bytes(commandLineAddress, "linux-commandline", withNul(text));
  }
  planDefaultGdt(builder, toPageAddress(registers.gdtAddress, "registers.gdtAddress"));
  const pageTableAddress = toPageAddress(registers.pageTableAddress, "registers.pageTableAddress");
  builder.identityMap("linux-pagetables", toIdentityMap({ pageTableGpa: pageTableAddress }));

  const rdspAddress = toPageAddress(acpi.rdspAddress, "acpi.rdspAddress");
  const tablesAddress = toPageAddress(acpi.tablesAddress, "acpi.tablesAddress");
  const rdsp = toBytes(acpi.rdsp, "acpi.rdsp");
  const tables = toBytes(acpi.tables, "acpi.tables");
  checkRsdpLength(rdsp);
  builder.bytes(rdspAddress, "linux-rdsp", rdsp, 1);
  builder.bytes(tablesAddress, "linux-acpi-tables", tables);

  const zeroPageAddress = toPageAddress(zeroPage.address, "zeroPage.address");
  const bootParams = buildZeroPage({
    memoryLayout: zeroPage.memoryLayout,
    acpiBase: zeroPage.acpiBaseAddress,
    acpiLength: zeroPage.acpiLength,
    commandLine: { address: commandLineAddress, commandLine: text },
    initrdBase: loadInfo.initrd?.gpa ?? 0n,
    initrdSize: loadInfo.initrd?.size ?? 0n,
  });
  builder.bytes(zeroPageAddress, "linux-zeropage", bootParams, 1);
  planLongModeRegisters(builder, pageTableAddress, loadInfo.kernel.entrypoint, zeroPageAddress);
}

/** Plans kernel, initrd and what `more` adds, and carries the plan out. */
function* load(
  importer: ImageLoad<X86Register>,
  options: KernelAndInitrdX64Options<AsyncByteInput>,
  more: (builder: PlanBuilder<X86Register>, info: LoadInfo) => void = () => {},
): Task<LoadInfo> {
  checkImporter(importer);
  const startAddress = toAddress(options.kernelMinimumStartAddress, "kernelMinimumStartAddress");
  const inputs = { kernel: options.kernel, initrd: options.initrd?.initrd };
  return yield* withSources(inputs, function* ({ kernel, initrd }) {
    const builder = new PlanBuilder<X86Register>();
    const elf = yield* planStaticElf(builder, kernel, {
      architecture: "x86_64",
      startAddress,
      loadOffset: 0n,
      assumePic: false,
      acceptance: "Exclusive",
      tag: "linux-kernel",
    });
    const { minimumAddressUsed: gpa, nextAvailableAddress: end, entrypoint } = elf;
    const whole = initrd == null ? initrd : yield* withKnownLength(initrd);
    const initrdInfo = planInitrd(builder, whole, options.initrd?.initrdAddress, end);
    const info = new LoadInfo({ gpa, size: end - gpa, entrypoint }, initrdInfo, undefined);
    more(builder, info);
    yield* carryOut(builder, importer, {});
    return info;
  });
}

/**
 * Loads an ELF kernel and an optional initrd, without any configuration.
 *
 * @throws DirectBootError ELF_*, REGION_*, UNALIGNED_ADDRESS, ADDRESS_OVERFLOW before anything is imported; see
 *   {@link applyPlanSync} for the rest
 *
 * @example
 * ```ts
 * import { RecordingImporter } from "directboot";
 * import { loadKernelAndInitrdX64 } from "directboot/loader";
 *
 * const importer = new RecordingImporter();
 * const { kernel } = loadKernelAndInitrdX64(importer, { kernel: "vmlinux", kernelMinimumStartAddress: 0x10_0000 });
 * console.log(kernel.gpa.toString(16), kernel.size); // 1000000 8192n
 * ```
 */
export function loadKernelAndInitrdX64(
  importer: ImageLoad<X86Register>,
  options: KernelAndInitrdX64Options,
): LoadInfo {
  checkKernelOptions(options, "");
  return runSync(load(importer, options));
}

/** The asynchronous {@link loadKernelAndInitrdX64}: kernel and initrd may also come from Blobs, Responses and streams. */
export async function loadKernelAndInitrdX64Async(
  importer: ImageLoad<X86Register>,
  options: KernelAndInitrdX64Options<AsyncByteInput>,
): Promise<LoadInfo> {
  checkKernelOptions(options, "");
  return await runAsync(load(importer, options));
}

/**
 * Loads what a kernel that is loaded already needs: command line, GDT, page tables, ACPI tables, zero page,
 * registers.
 *
 * @throws DirectBootError UNALIGNED_ADDRESS, COMMAND_LINE_NUL, ZERO_PAGE_*, PAGE_TABLE_INVALID_ADDRESS,
 *   GDT_INVALID_ADDRESS, ACPI_RSDP_TOO_LONG before anything is imported; see {@link applyPlanSync} for the rest
 */
export function loadConfig(
  importer: ImageLoad<X86Register>,
  loadInfo: LoadInfoInput,
  options: ConfigOptions,
): void {
  checkImporter(importer);
  checkConfigOptions(options, "");
  const builder = new PlanBuilder<X86Register>();
  planConfig(builder, toLoadInfo(loadInfo), options);
  applyPlanSync(builder, importer);
}

/**
 * Loads an ELF kernel and all that its 64-bit entry needs: {@link loadKernelAndInitrdX64} and {@link loadConfig}
 * in one, so that nothing is imported when anything is wrong.
 *
 * The low-memory map is the caller's. One that works:
 *
 *     0x00001000  GDT
 *     0x00002000  zero page (boot_params)
 *     0x00003000  command line
 *     0x00004000  page tables, 6 pages
 *     0x000e0000  RSDP
 *     0x000e1000  ACPI tables
 *     0x00100000  first address for the kernel; distributions link theirs at 0x1000000
 *     next 2 MiB  initrd
 *
 * @example
 * ```ts
 * import { GuestMemory, GuestMemoryImporter } from "directboot";
 * import { loadX86 } from "directboot/loader";
 *
 * const memory = GuestMemory.create(64 * 1024 * 1024);
 * const importer = new GuestMemoryImporter(memory);
 * const info = loadX86(importer, {
 *   kernel: "vmlinux",
 *   kernelMinimumStartAddress: 0x10_0000,
 *   initrd: { initrdAddress: "AfterKernel", initrd: "initrd.img" },
 *   commandLine: { address: 0x3000, commandLine: "console=ttyS0" },
 *   zeroPage: { address: 0x2000, memoryLayout: memory.layout, acpiBaseAddress: 0xe_0000, acpiLength: 0x2000 },
 *   acpi: {
 *     rdspAddress: 0xe_0000,
 *     rdsp: new Uint8Array(4096),
 *     tablesAddress: 0xe_1000,
 *     tables: new Uint8Array(4096),
 *   },
 *   registers: { gdtAddress: 0x1000, pageTableAddress: 0x4000 },
 * });
 * console.log(JSON.stringify(info.kernel.entrypoint === 0x100_0000n), importer.registerList.length > 0); // true true
 * ```
 */
export function loadX86(importer: ImageLoad<X86Register>, options: LoadX86Options): LoadInfo {
  checkAllOptions(options, "");
  return runSync(load(importer, options, (builder, info) => planConfig(builder, info, options)));
}

/** The asynchronous {@link loadX86}: kernel and initrd may also come from Blobs, Responses and streams. */
export async function loadX86Async(
  importer: ImageLoad<X86Register>,
  options: LoadX86Options<AsyncByteInput>,
): Promise<LoadInfo> {
  checkAllOptions(options, "");
  return await runAsync(load(importer, options, (builder, info) => planConfig(builder, info, options)));
}
